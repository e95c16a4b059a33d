//! Writing of BTF, and construction of new tables.

use super::parse::{HEADER_LEN, MAGIC, VERSION};
use super::{Btf, Composite, Enum, Int, Kind, Linkage, StringRef, Type, TypeId};
use crate::insn::Endian;

impl Default for Btf {
    fn default() -> Self {
        Self::new()
    }
}

impl Btf {
    /// Creates a table with `void` and the empty string.
    #[must_use]
    pub fn new() -> Self {
        Self { types: vec![Type { name: StringRef(0), kind: Kind::Void }], strings: "\0".to_owned() }
    }

    /// Adds a type and returns its id. The types that it refers to may be added later, but before the table is read.
    pub fn push(&mut self, ty: Type) -> TypeId {
        let id = TypeId(u32::try_from(self.types.len()).unwrap_or(u32::MAX));
        self.types.push(ty);
        id
    }

    /// Returns the reference to a string; adds the string if the table does not have it. Truncates the string at a NUL.
    pub fn add_string(&mut self, string: &str) -> StringRef {
        let string = string.split('\0').next().unwrap_or_default();
        if string.is_empty() {
            return StringRef(0);
        }
        // Match only whole strings: between the NUL of the string before and their own.
        match self.strings.find(&format!("\0{string}\0")) {
            Some(before) => StringRef(u32::try_from(before + 1).unwrap_or(u32::MAX)),
            None => self.append_string(string),
        }
    }

    /// Adds a string that the table does not have and that contains no NUL. Unlike [`Btf::add_string`], this does not
    /// search the table.
    pub(crate) fn append_string(&mut self, string: &str) -> StringRef {
        let at = self.strings.len();
        self.strings.push_str(string);
        self.strings.push('\0');
        StringRef(u32::try_from(at).unwrap_or(u32::MAX))
    }

    /// Writes the table in the kernel's format, in this byte order.
    ///
    /// Kernels reject unknown kinds even if the kind layout has them. Types of such kinds and tags on them are written
    /// as unnamed one-byte integers.
    #[must_use]
    pub fn write(&self, endian: Endian) -> Vec<u8> {
        let mut out =
            Out { bytes: Vec::with_capacity(HEADER_LEN + self.types.len() * 24 + self.strings.len()), endian };
        // The lengths in the header are set at the end.
        out.bytes.resize(HEADER_LEN, 0);
        for ty in self.types.iter().skip(1) {
            let tags_unknown = match &ty.kind {
                Kind::DeclTag { ty, .. } => {
                    matches!(self.try_get(*ty), Some(Type { kind: Kind::Unknown(_), .. }))
                }
                _ => false,
            };
            write_type(&mut out, if tags_unknown { &STAND_IN } else { ty });
        }
        let types_len = count(out.bytes.len() - HEADER_LEN);
        out.bytes.extend_from_slice(self.strings.as_bytes());

        let mut header = Out { bytes: Vec::with_capacity(HEADER_LEN), endian };
        let magic = match endian {
            Endian::Little => MAGIC.to_le_bytes(),
            Endian::Big => MAGIC.to_be_bytes(),
        };
        header.bytes.extend_from_slice(&magic);
        header.bytes.extend_from_slice(&[VERSION, 0]);
        header.words(&[count(HEADER_LEN), 0, types_len, types_len, count(self.strings.len())]);
        out.bytes[..HEADER_LEN].copy_from_slice(&header.bytes);
        out.bytes
    }
}

/// The replacement for types of unknown kinds: no type is smaller, so it fits wherever the type is used.
const STAND_IN: Type = Type {
    name: StringRef(0),
    kind: Kind::Int(Int { size: 1, bits: 8, bit_offset: 0, signed: false, char: false, bool: false }),
};

/// An output buffer with a byte order.
struct Out {
    bytes: Vec<u8>,
    endian: Endian,
}

impl Out {
    fn words(&mut self, words: &[u32]) {
        for &word in words {
            self.bytes.extend_from_slice(&self.endian.to_bytes(word));
        }
    }
}

pub(super) fn count(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

impl Kind {
    /// Returns the kind's number in the format (`BTF_KIND_*` of `linux/btf.h`), 0 for void.
    #[must_use]
    pub fn number(&self) -> u32 {
        match self {
            Self::Void => 0,
            Self::Int(_) => 1,
            Self::Ptr(_) => 2,
            Self::Array { .. } => 3,
            Self::Struct(_) => 4,
            Self::Union(_) => 5,
            Self::Enum(enumeration) if enumeration.wide => 19,
            Self::Enum(_) => 6,
            Self::Fwd { .. } => 7,
            Self::Typedef(_) => 8,
            Self::Volatile(_) => 9,
            Self::Const(_) => 10,
            Self::Restrict(_) => 11,
            Self::Func { .. } => 12,
            Self::FuncProto { .. } => 13,
            Self::Var { .. } => 14,
            Self::Datasec(_) => 15,
            Self::Float(_) => 16,
            Self::DeclTag { .. } => 17,
            Self::TypeTag { .. } => 18,
            Self::Unknown(number) => *number,
        }
    }
}

fn write_type(out: &mut Out, ty: &Type) {
    let kind = ty.kind.number();
    let mut head = |flag: bool, len: u32, word: u32| {
        out.words(&[ty.name.0, u32::from(flag) << 31 | kind << 24 | len & 0xff_ffff, word]);
    };
    match &ty.kind {
        // Only id 0 is `void`, which is not written.
        Kind::Void => {}
        Kind::Int(int) => {
            head(false, 0, int.size);
            out.words(&[int_encoding(int)]);
        }
        Kind::Ptr(id) => head(false, 0, id.0),
        Kind::Array { element, index, len } => {
            head(false, 0, 0);
            out.words(&[element.0, index.0, *len]);
        }
        Kind::Struct(composite) => {
            head(composite.bitfields, count(composite.members.len()), composite.size);
            write_members(out, composite);
        }
        Kind::Union(composite) => {
            head(composite.bitfields, count(composite.members.len()), composite.size);
            write_members(out, composite);
        }
        Kind::Enum(enumeration) => {
            head(enumeration.signed, count(enumeration.values.len()), enumeration.size);
            write_values(out, enumeration);
        }
        Kind::Fwd { union } => head(*union, 0, 0),
        Kind::Typedef(id) => head(false, 0, id.0),
        Kind::Volatile(id) => head(false, 0, id.0),
        Kind::Const(id) => head(false, 0, id.0),
        Kind::Restrict(id) => head(false, 0, id.0),
        Kind::Func { proto, linkage } => head(false, linkage_number(*linkage), proto.0),
        Kind::FuncProto { returns, params } => {
            head(false, count(params.len()), returns.0);
            for param in params {
                out.words(&[param.name.0, param.ty.0]);
            }
        }
        Kind::Var { ty, linkage } => {
            head(false, 0, ty.0);
            out.words(&[linkage_number(*linkage)]);
        }
        Kind::Datasec(section) => {
            head(false, count(section.vars.len()), section.size);
            for var in &section.vars {
                out.words(&[var.ty.0, var.offset, var.size]);
            }
        }
        Kind::Float(size) => head(false, 0, *size),
        Kind::DeclTag { ty, component, attribute } => {
            head(*attribute, 0, ty.0);
            out.words(&[component.unwrap_or(u32::MAX)]);
        }
        Kind::TypeTag { ty, attribute } => head(*attribute, 0, ty.0),
        Kind::Unknown(_) => write_type(out, &STAND_IN),
    }
}

fn int_encoding(int: &Int) -> u32 {
    let flags = u32::from(int.signed) | u32::from(int.char) << 1 | u32::from(int.bool) << 2;
    flags << 24 | u32::from(int.bit_offset) << 16 | u32::from(int.bits)
}

fn write_members(out: &mut Out, composite: &Composite) {
    for member in &composite.members {
        let offset = if composite.bitfields {
            u32::from(member.bit_size) << 24 | member.bit_offset & 0xff_ffff
        } else {
            member.bit_offset
        };
        out.words(&[member.name.0, member.ty.0, offset]);
    }
}

fn write_values(out: &mut Out, enumeration: &Enum) {
    for (name, value) in &enumeration.values {
        let [b0, b1, b2, b3, b4, b5, b6, b7] = value.to_le_bytes();
        let (low, high) = (u32::from_le_bytes([b0, b1, b2, b3]), u32::from_le_bytes([b4, b5, b6, b7]));
        out.words(&[name.0, low]);
        if enumeration.wide {
            out.words(&[high]);
        }
    }
}

fn linkage_number(linkage: Linkage) -> u32 {
    match linkage {
        Linkage::Static => 0,
        Linkage::Global => 1,
        Linkage::Extern => 2,
    }
}
