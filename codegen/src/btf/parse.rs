//! BTF from its bytes (`struct btf_header`, `struct btf_type` of linux/btf.h).
//!
//! Counts and offsets of the file are never trusted: a table is read to its end and then every id and string is checked.

use super::{
    Btf, Composite, Datasec, Enum, Int, Kind, Linkage, Member, Param, SecVar, StringRef, Type, TypeId, read::Reader,
};
use crate::error::{Code, Diagnostic, Result};
use crate::insn::Endian;

/// `BTF_MAGIC`.
pub(super) const MAGIC: u16 = 0xeb9f;
/// Size of the header that this version knows, in bytes.
pub(super) const HEADER_SIZE: usize = 24;

impl Btf {
    /// Reads the contents of a section `.BTF`.
    ///
    /// # Errors
    /// [`Code::BadBtf`] with the byte it is about.
    pub fn parse(bytes: &[u8], endian: Endian) -> Result<Self> {
        let mut header = Reader::new(bytes, endian);
        let head = (|| {
            let magic = header.u16()?;
            let _version_and_flags = header.u16()?;
            let (len, types, types_len) = (header.u32()?, header.u32()?, header.u32()?);
            let (strings, strings_len) = (header.u32()?, header.u32()?);
            Some((magic, len, (types, types_len), (strings, strings_len)))
        })();
        let Some((magic, len, types, strings)) = head else { return Err(bad("the header is cut short", bytes.len())) };
        if magic != MAGIC {
            return Err(bad(format!("the magic number is {magic:#06x} instead of {MAGIC:#06x}"), 0));
        }
        let part = |(offset, size): (u32, u32)| {
            let from = (len as usize).checked_add(offset as usize)?;
            bytes.get(from..from.checked_add(size as usize)?)
        };
        let strings = part(strings).ok_or_else(|| bad("the strings lie outside the section", 16))?;
        let types = part(types).ok_or_else(|| bad("the types lie outside the section", 8))?;
        if strings.first() != Some(&0) || strings.last() != Some(&0) {
            return Err(bad("the strings do not begin and end with NUL", 16));
        }
        let strings =
            std::str::from_utf8(strings).map_err(|error| bad("a string is not UTF-8", error.valid_up_to()))?.to_owned();
        let mut btf = Self { types: vec![Type { name: StringRef(0), kind: Kind::Void }], strings };
        let mut reader = Reader::new(types, endian);
        while !reader.is_empty() {
            let at = reader.position();
            let ty = read_type(&mut reader).map_err(|message| bad(message, len as usize + at))?;
            btf.types.push(ty);
        }
        btf.check()?;
        Ok(btf)
    }

    /// Checks that every id and every string is in the table, and that no type contains itself.
    fn check(&self) -> Result<()> {
        let count = self.types.len();
        let mut broken = None;
        for (id, ty) in self.iter() {
            let mut string = |string: StringRef| {
                if !self.strings.is_char_boundary(string.0 as usize) || string.0 as usize >= self.strings.len() {
                    broken.get_or_insert((id, "names a string that does not exist"));
                }
            };
            string(ty.name);
            match &ty.kind {
                Kind::Struct(it) | Kind::Union(it) => it.members.iter().for_each(|member| string(member.name)),
                Kind::Enum(it) => it.values.iter().for_each(|(name, _)| string(*name)),
                Kind::FuncProto { params, .. } => params.iter().for_each(|param| string(param.name)),
                _ => {}
            }
            ty.kind.for_each_id(|to| {
                if to.0 as usize >= count {
                    broken.get_or_insert((id, "names a type that does not exist"));
                }
            });
        }
        if let Some((id, what)) = broken {
            return Err(bad(format!("type {id} {what}"), 0));
        }
        self.check_cycles()
    }

    /// A type that contains itself other than through a pointer has no size. One colour a type: not seen, on the way, done.
    fn check_cycles(&self) -> Result<()> {
        let mut done = vec![0u8; self.types.len()];
        for (start, _) in self.iter() {
            let mut stack = vec![(start, false)];
            while let Some((id, leaving)) = stack.pop() {
                let slot = id.0 as usize;
                if leaving {
                    done[slot] = 2;
                    continue;
                }
                match done[slot] {
                    0 => {}
                    1 => return Err(bad(format!("type {id} contains itself"), 0)),
                    _ => continue,
                }
                done[slot] = 1;
                stack.push((id, true));
                self.get(id).kind.for_each_contained(|to| {
                    if done[to.0 as usize] != 2 {
                        stack.push((to, false));
                    }
                });
            }
        }
        Ok(())
    }
}

impl Kind {
    /// Every id in this type.
    fn for_each_id(&self, mut f: impl FnMut(TypeId)) {
        match self {
            Self::Void | Self::Int(_) | Self::Enum(_) | Self::Fwd { .. } | Self::Float(_) => {}
            Self::Ptr(to) | Self::Typedef(to) | Self::Volatile(to) | Self::Const(to) | Self::Restrict(to) => f(*to),
            Self::Func { proto: to, .. }
            | Self::Var { ty: to, .. }
            | Self::DeclTag { ty: to, .. }
            | Self::TypeTag { ty: to, .. } => f(*to),
            Self::Array { element, index, .. } => {
                f(*element);
                f(*index);
            }
            Self::Struct(it) | Self::Union(it) => it.members.iter().for_each(|member| f(member.ty)),
            Self::FuncProto { returns, params } => {
                f(*returns);
                params.iter().for_each(|param| f(param.ty));
            }
            Self::Datasec(it) => it.vars.iter().for_each(|var| f(var.ty)),
        }
    }

    /// Every type whose value lies inside a value of this one.
    fn for_each_contained(&self, mut f: impl FnMut(TypeId)) {
        match self {
            Self::Typedef(to) | Self::Volatile(to) | Self::Const(to) | Self::Restrict(to) => f(*to),
            Self::TypeTag { ty: to, .. } | Self::Array { element: to, .. } => f(*to),
            Self::Struct(it) | Self::Union(it) => it.members.iter().for_each(|member| f(member.ty)),
            _ => {}
        }
    }
}

fn bad(message: impl Into<String>, at: usize) -> crate::error::Error {
    Diagnostic::new(Code::BadBtf, message).section(".BTF").offset(at as u64).into()
}

fn read_type(reader: &mut Reader<'_>) -> std::result::Result<Type, String> {
    const CUT: &str = "a type is cut short";
    let (name, info, size) = (|| Some((reader.u32()?, reader.u32()?, reader.u32()?)))().ok_or(CUT)?;
    let (vlen, kind, flag) = (info & 0xffff, info >> 24 & 0x1f, info >> 31 == 1);
    let to = TypeId(size);
    let kind = match kind {
        1 => {
            let word = reader.u32().ok_or(CUT)?;
            let encoding = word >> 24 & 0xf;
            Kind::Int(Int {
                size,
                bits: (word & 0xff) as u8,
                bit_offset: (word >> 16 & 0xff) as u8,
                signed: encoding & 1 != 0,
                char: encoding & 2 != 0,
                bool: encoding & 4 != 0,
            })
        }
        2 => Kind::Ptr(to),
        3 => {
            let (element, index, len) = (|| Some((reader.u32()?, reader.u32()?, reader.u32()?)))().ok_or(CUT)?;
            Kind::Array { element: TypeId(element), index: TypeId(index), len }
        }
        4 => Kind::Struct(composite(reader, vlen, flag, size).ok_or(CUT)?),
        5 => Kind::Union(composite(reader, vlen, flag, size).ok_or(CUT)?),
        6 | 19 => Kind::Enum(enumeration(reader, vlen, flag, size, kind == 19).ok_or(CUT)?),
        7 => Kind::Fwd { union: flag },
        8 => Kind::Typedef(to),
        9 => Kind::Volatile(to),
        10 => Kind::Const(to),
        11 => Kind::Restrict(to),
        12 => Kind::Func { proto: to, linkage: linkage(vlen)? },
        13 => {
            let params =
                reader.list(vlen, |r| Some(Param { name: StringRef(r.u32()?), ty: TypeId(r.u32()?) })).ok_or(CUT)?;
            Kind::FuncProto { returns: to, params }
        }
        14 => Kind::Var { ty: to, linkage: linkage(reader.u32().ok_or(CUT)?)? },
        15 => {
            let var = |r: &mut Reader<'_>| Some(SecVar { ty: TypeId(r.u32()?), offset: r.u32()?, size: r.u32()? });
            Kind::Datasec(Datasec { size, vars: reader.list(vlen, var).ok_or(CUT)? })
        }
        16 => Kind::Float(size),
        17 => {
            let component = reader.u32().ok_or(CUT)?;
            Kind::DeclTag { ty: to, component: (component != u32::MAX).then_some(component), attribute: flag }
        }
        18 => Kind::TypeTag { ty: to, attribute: flag },
        other => return Err(format!("type kind {other} is not known")),
    };
    Ok(Type { name: StringRef(name), kind })
}

fn composite(reader: &mut Reader<'_>, vlen: u32, flag: bool, size: u32) -> Option<Composite> {
    let members = reader.list(vlen, |r| {
        let (name, ty, offset) = (StringRef(r.u32()?), TypeId(r.u32()?), r.u32()?);
        let (bit_offset, bit_size) = if flag { (offset & 0xff_ffff, (offset >> 24) as u8) } else { (offset, 0) };
        Some(Member { name, ty, bit_offset, bit_size })
    })?;
    Some(Composite { size, members, bitfields: flag })
}

fn enumeration(reader: &mut Reader<'_>, vlen: u32, signed: bool, size: u32, wide: bool) -> Option<Enum> {
    let values = reader.list(vlen, |r| {
        let (name, low) = (StringRef(r.u32()?), r.u32()?);
        let value = if wide {
            i64::from_ne_bytes((u64::from(r.u32()?) << 32 | u64::from(low)).to_ne_bytes())
        } else if signed {
            i64::from(i32::from_ne_bytes(low.to_ne_bytes()))
        } else {
            i64::from(low)
        };
        Some((name, value))
    })?;
    Some(Enum { size, signed, wide, values })
}

fn linkage(number: u32) -> std::result::Result<Linkage, String> {
    match number {
        0 => Ok(Linkage::Static),
        1 => Ok(Linkage::Global),
        2 => Ok(Linkage::Extern),
        other => Err(format!("linkage {other} is not known")),
    }
}
