//! Values of C types as text: `{ .pid = 7, .comm = "sh" }`.

use super::{Btf, Kind, TypeId};
use crate::insn::Endian;

/// The maximum nesting of a value.
const MAX_DEPTH: usize = 8;
/// The maximum number of elements of an array that are written.
const MAX_ELEMENTS: u32 = 16;

impl Btf {
    /// Returns the value of a type in these bytes, in C-like notation. A value with missing bytes is written as `?`,
    /// and a value of a type without a notation in hexadecimal.
    #[must_use]
    pub fn value(&self, ty: TypeId, bytes: &[u8], endian: Endian) -> String {
        self.value_at(ty, bytes, endian, 0)
    }

    fn value_at(&self, ty: TypeId, bytes: &[u8], endian: Endian, depth: usize) -> String {
        if self.try_get(ty).is_none() || depth > MAX_DEPTH {
            return hex(bytes);
        }
        let ty = self.resolve(ty);
        let size = self.size_of(ty).and_then(|size| usize::try_from(size).ok());
        let Some(own) = size.and_then(|size| bytes.get(..size)) else { return "?".to_owned() };
        match &self.get(ty).kind {
            Kind::Int(int) if int.bool => (number(own, endian) != 0).to_string(),
            Kind::Int(int) => integer(number(own, endian), u32::from(int.bits), int.signed),
            Kind::Enum(all) => {
                let bits = u32::try_from(own.len()).unwrap_or(8) * 8;
                let text = integer(number(own, endian), bits, all.signed);
                let named = all.values.iter().find(|(_, value)| {
                    // Numbers are stored in 64 bits, signed or not.
                    let unsigned = || u64::from_ne_bytes(value.to_ne_bytes()).to_string();
                    text == if all.signed { value.to_string() } else { unsigned() }
                });
                named.map_or(text, |(name, _)| self.str(*name).to_owned())
            }
            Kind::Ptr(_) => format!("{:#x}", number(own, endian)),
            Kind::Array { element, len, .. } => self.array(*element, *len, own, endian, depth),
            Kind::Struct(composite) | Kind::Union(composite) => {
                let members = composite.members.iter().map(|member| {
                    let value = match member.bit_size {
                        0 => {
                            let at = usize::try_from(member.bit_offset / 8).unwrap_or(usize::MAX);
                            self.value_at(member.ty, own.get(at..).unwrap_or_default(), endian, depth + 1)
                        }
                        bits => self.bitfield(member.ty, own, endian, (member.bit_offset, bits)),
                    };
                    match self.str(member.name) {
                        "" => value,
                        name => format!(".{name} = {value}"),
                    }
                });
                format!("{{ {} }}", members.collect::<Vec<_>>().join(", "))
            }
            _ => hex(own),
        }
    }

    fn array(&self, element: TypeId, len: u32, bytes: &[u8], endian: Endian, depth: usize) -> String {
        let resolved = self.resolve(element);
        if let Kind::Int(int) = &self.get(resolved).kind {
            // Most compilers do not mark characters in the encoding; they only name the type `char`.
            if int.size == 1 && (int.char || self.name(resolved) == "char") {
                let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
                return format!("{:?}", String::from_utf8_lossy(&bytes[..end]));
            }
        }
        let size = self.size_of(element).and_then(|size| usize::try_from(size).ok()).unwrap_or(0);
        let elements = (0..usize::try_from(len.min(MAX_ELEMENTS)).unwrap_or(0)).map(|index| {
            let own = bytes.get(index * size..).unwrap_or_default();
            self.value_at(element, own, endian, depth + 1)
        });
        let more = if len > MAX_ELEMENTS { ", …" } else { "" };
        format!("[{}{more}]", elements.collect::<Vec<_>>().join(", "))
    }

    fn bitfield(&self, ty: TypeId, bytes: &[u8], endian: Endian, (offset, bits): (u32, u8)) -> String {
        let bit = |index: u32| {
            let byte = usize::try_from(index / 8).ok().and_then(|at| bytes.get(at)).copied().unwrap_or(0);
            // Bits of big-endian machines are counted from the most significant one.
            let shift = if endian == Endian::Little { index % 8 } else { 7 - index % 8 };
            u64::from(byte >> shift & 1)
        };
        let bits = u32::from(bits);
        let value = (0..bits).fold(0_u64, |value, at| match endian {
            Endian::Little => value | bit(offset + at).checked_shl(at).unwrap_or(0),
            Endian::Big => value << 1 | bit(offset + at),
        });
        let signed = matches!(&self.get(self.resolve(ty)).kind, Kind::Int(int) if int.signed);
        integer(value.into(), bits, signed)
    }
}

/// Returns up to 16 bytes as a number.
fn number(bytes: &[u8], endian: Endian) -> u128 {
    let add = |number: u128, byte: &u8| number << 8 | u128::from(*byte);
    match endian {
        Endian::Little => bytes.iter().rev().fold(0, add),
        Endian::Big => bytes.iter().fold(0, add),
    }
}

fn integer(number: u128, bits: u32, signed: bool) -> String {
    let sign = bits.checked_sub(1).and_then(|shift| 1_u128.checked_shl(shift)).unwrap_or(0);
    if signed && number & sign != 0 {
        let magnitude = sign.wrapping_sub(number & sign.wrapping_sub(1));
        return format!("-{magnitude}");
    }
    number.to_string()
}

/// Returns bytes in hexadecimal, separated by spaces.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::super::{Composite, Enum, Int, Member, Type};
    use super::*;

    #[test]
    fn values_are_in_c_notation() {
        let mut btf = Btf::new();
        let mut add = |name: &str, kind| {
            let name = btf.add_string(name);
            btf.push(Type { name, kind })
        };
        let int = |size: u32, signed| {
            let bits = u8::try_from(size * 8).expect("small");
            Kind::Int(Int { size, bits, bit_offset: 0, signed, char: false, bool: false })
        };
        let (s32, u64_, char_) = (add("int", int(4, true)), add("u64", int(8, false)), add("char", int(1, true)));
        let name = add("", Kind::Array { element: char_, index: s32, len: 4 });
        let pair = add("", Kind::Array { element: s32, index: s32, len: 2 });
        let ptr = add("", Kind::Ptr(s32));
        let record = add("record", Kind::Struct(Composite::default()));
        let mode = add("mode", Kind::Enum(Enum { size: 4, signed: false, wide: false, values: Vec::new() }));
        let [a, b, c, on] = ["a", "b", "c", "ON"].map(|name| btf.add_string(name));
        btf.get_mut(mode).kind = Kind::Enum(Enum { size: 4, signed: false, wide: false, values: vec![(on, 1)] });
        let member = |name, ty, bit_offset, bit_size| Member { name, ty, bit_offset, bit_size };
        let members = vec![member(a, s32, 0, 0), member(b, name, 32, 0), member(c, s32, 64, 3)];
        btf.get_mut(record).kind = Kind::Struct(Composite { size: 12, members, bitfields: true });
        let value = |ty, bytes: &[u8]| btf.value(ty, bytes, Endian::Little);
        assert_eq!(value(s32, &[0xfe, 0xff, 0xff, 0xff]), "-2");
        assert_eq!(value(u64_, &[0xff; 8]), u64::MAX.to_string());
        assert_eq!(value(pair, &[1, 0, 0, 0, 2, 0, 0, 0]), "[1, 2]");
        assert_eq!(value(ptr, &[0x10, 0, 0, 0, 0, 0, 0, 0]), "0x10");
        assert_eq!([value(mode, &[1, 0, 0, 0]), value(mode, &[2, 0, 0, 0])], ["ON", "2"]);
        let bytes = [7, 0, 0, 0, b's', b'h', 0, 9, 0b111, 0, 0, 0];
        assert_eq!(value(record, &bytes), "{ .a = 7, .b = \"sh\", .c = -1 }");
        assert_eq!(value(record, &bytes[..4]), "?");
        assert_eq!(btf.value(s32, &[0, 0, 1, 0], Endian::Big), "256");
    }
}
