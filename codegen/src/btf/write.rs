//! BTF to its bytes, little-endian, as the kernel takes it.

use super::parse::{HEADER_SIZE, MAGIC};
use super::{Btf, Composite, Enum, Kind, Linkage, Type};

impl Btf {
    /// The contents of a section `.BTF`.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        let mut types = Vec::new();
        for (_, ty) in self.iter().skip(1) {
            write_type(ty, &mut types);
        }
        let mut bytes = Vec::with_capacity(HEADER_SIZE + types.len() + self.strings.len());
        bytes.extend_from_slice(&MAGIC.to_le_bytes());
        bytes.extend_from_slice(&[1, 0]);
        let size = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
        let strings = size(self.strings.len());
        for word in [size(HEADER_SIZE), 0, size(types.len()), size(types.len()), strings] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        bytes.extend_from_slice(&types);
        bytes.extend_from_slice(self.strings.as_bytes());
        bytes
    }
}

fn write_type(ty: &Type, out: &mut Vec<u8>) {
    let mut rest: Vec<u32> = Vec::new();
    let (kind, flag, vlen, size) = match &ty.kind {
        Kind::Void => (0, false, 0, 0),
        Kind::Int(int) => {
            let encoding = u32::from(int.signed) | u32::from(int.char) << 1 | u32::from(int.bool) << 2;
            rest.push(encoding << 24 | u32::from(int.bit_offset) << 16 | u32::from(int.bits));
            (1, false, 0, int.size)
        }
        Kind::Ptr(to) => (2, false, 0, to.0),
        Kind::Array { element, index, len } => {
            rest.extend([element.0, index.0, *len]);
            (3, false, 0, 0)
        }
        Kind::Struct(it) => (4, it.bitfields, composite(it, &mut rest), it.size),
        Kind::Union(it) => (5, it.bitfields, composite(it, &mut rest), it.size),
        Kind::Enum(it) => (if it.wide { 19 } else { 6 }, it.signed, enumeration(it, &mut rest), it.size),
        Kind::Fwd { union } => (7, *union, 0, 0),
        Kind::Typedef(to) => (8, false, 0, to.0),
        Kind::Volatile(to) => (9, false, 0, to.0),
        Kind::Const(to) => (10, false, 0, to.0),
        Kind::Restrict(to) => (11, false, 0, to.0),
        Kind::Func { proto, linkage } => (12, false, number(*linkage), proto.0),
        Kind::FuncProto { returns, params } => {
            rest.extend(params.iter().flat_map(|param| [param.name.0, param.ty.0]));
            (13, false, count(params.len()), returns.0)
        }
        Kind::Var { ty, linkage } => {
            rest.push(number(*linkage));
            (14, false, 0, ty.0)
        }
        Kind::Datasec(it) => {
            rest.extend(it.vars.iter().flat_map(|var| [var.ty.0, var.offset, var.size]));
            (15, false, count(it.vars.len()), it.size)
        }
        Kind::Float(size) => (16, false, 0, *size),
        Kind::DeclTag { ty, component, attribute } => {
            rest.push(component.unwrap_or(u32::MAX));
            (17, *attribute, 0, ty.0)
        }
        Kind::TypeTag { ty, attribute } => (18, *attribute, 0, ty.0),
    };
    let info = u32::from(flag) << 31 | kind << 24 | vlen;
    for word in [ty.name.0, info, size].into_iter().chain(rest) {
        out.extend_from_slice(&word.to_le_bytes());
    }
}

/// A list read from a `vlen` of sixteen bits never grows, so it fits again.
fn count(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(0xffff).min(0xffff)
}

fn number(linkage: Linkage) -> u32 {
    match linkage {
        Linkage::Static => 0,
        Linkage::Global => 1,
        Linkage::Extern => 2,
    }
}

fn composite(it: &Composite, rest: &mut Vec<u32>) -> u32 {
    for member in &it.members {
        let size = if it.bitfields { u32::from(member.bit_size) << 24 } else { 0 };
        rest.extend([member.name.0, member.ty.0, size | member.bit_offset]);
    }
    count(it.members.len())
}

fn enumeration(it: &Enum, rest: &mut Vec<u32>) -> u32 {
    for (name, value) in &it.values {
        let [a, b, c, d, e, f, g, h] = value.to_le_bytes();
        rest.extend([name.0, u32::from_le_bytes([a, b, c, d])]);
        if it.wide {
            rest.push(u32::from_le_bytes([e, f, g, h]));
        }
    }
    count(it.values.len())
}
