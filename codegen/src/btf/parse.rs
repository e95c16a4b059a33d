//! Parsing of BTF. A count or length in the input is used only after checking that the bytes exist.

use super::layout::Layout;
use super::{Btf, Composite, Datasec, Enum, Int, Kind, Linkage, Member, Param, SecVar, StringRef, Type, TypeId};
use crate::error::{Code, Diagnostic, Result};
use crate::insn::Endian;

/// `BTF_MAGIC`, the magic number of `.BTF` and `.BTF.ext`.
pub(super) const MAGIC: u16 = 0xeb9f;
/// `BTF_VERSION`, the version of `.BTF` and `.BTF.ext`.
pub(super) const VERSION: u8 = 1;
/// The length in bytes of a header that ends with `str_len`.
pub(super) const HEADER_LEN: usize = 24;
/// The length in bytes of a header that ends with `layout_len`, as Linux 7.1 and later write it.
const LAYOUT_HEADER_LEN: usize = 32;

impl Btf {
    /// Parses a `.BTF` section, or a file of `/sys/kernel/btf` without a base.
    ///
    /// Bytes of the string table that are not UTF-8 become question marks. They occur only in source lines, because
    /// names that the kernel accepts are ASCII.
    ///
    /// Types of unknown kinds become [`Kind::Unknown`] if the header has a kind layout with their size (Linux 7.1).
    ///
    /// # Errors
    /// `BadBtf` if the bytes are not BTF or are truncated, if a type is invalid, refers to a type or string that does
    /// not exist, contains itself or is nested too deeply, if its kind is unknown and not in the kind layout, or if the
    /// names repeat long strings too often.
    pub fn parse(bytes: &[u8], endian: Endian) -> Result<Self> {
        let void = Type { name: StringRef(0), kind: Kind::Void };
        Self { types: vec![void], strings: String::new() }.extended(bytes, endian)
    }

    /// Parses split BTF: the BTF of a kernel module, whose types and strings continue those of the kernel. Returns a
    /// table of both.
    ///
    /// # Errors
    /// Those of [`Btf::parse`].
    pub fn parse_split(&self, bytes: &[u8], endian: Endian) -> Result<Self> {
        self.clone().extended(bytes, endian)
    }

    /// Searches for raw BTF in other bytes, such as a kernel image. Returns the bytes from the first valid header to
    /// the end; `None` if there is no valid header.
    #[must_use]
    pub fn find_raw(bytes: &[u8]) -> Option<&[u8]> {
        let little = [MAGIC.to_le_bytes()[0], MAGIC.to_le_bytes()[1], VERSION, 0];
        let big = [MAGIC.to_be_bytes()[0], MAGIC.to_be_bytes()[1], VERSION, 0];
        let is_raw = |rest: &[u8], endian| {
            parts(rest, endian).is_ok_and(|parts| !parts.types.is_empty() && parts.strings.first() == Some(&0))
        };
        let begins = |at: &usize| {
            let rest = &bytes[*at..];
            rest.starts_with(&little) && is_raw(rest, Endian::Little)
                || rest.starts_with(&big) && is_raw(rest, Endian::Big)
        };
        (0..bytes.len()).find(begins).map(|at| &bytes[at..])
    }

    /// Adds the types and strings of split BTF whose base is this table.
    fn extended(self, bytes: &[u8], endian: Endian) -> Result<Self> {
        let Self { types: mut table, strings: base } = self;
        let Parts { types, strings, layout } = parts(bytes, endian).map_err(|message| invalid(&message))?;
        // Strings of split BTF continue those of its base, which has the empty one.
        if base.is_empty() && strings.first() != Some(&0) {
            return Err(invalid("its strings do not begin with the empty string").into());
        }
        let strings = base + &text(strings);
        let mut reader = Reader { bytes: types, endian };
        // The smallest type is 12 bytes long, the average one about twice that.
        table.reserve(types.len() / 24);
        while !reader.bytes.is_empty() {
            let ty = reader.ty(&strings, layout).map_err(|message| {
                let offset = types.len() - reader.bytes.len();
                let message =
                    format!("type [{}] (at or before byte {offset} of the type section): {message}", table.len());
                invalid(&message)
            })?;
            table.push(ty);
        }
        Self { types: table, strings }.checked()
    }
}

pub(super) fn invalid(message: &str) -> Diagnostic {
    Diagnostic::new(Code::BadBtf, format!("invalid BTF: {message}"))
}

/// The sections of BTF.
struct Parts<'data> {
    types: &'data [u8],
    strings: &'data [u8],
    layout: Layout<'data>,
}

/// Finds the sections.
fn parts(bytes: &[u8], endian: Endian) -> Result<Parts<'_>, String> {
    let mut reader = Reader { bytes, endian };
    let header_len = reader.header()?;
    if header_len < HEADER_LEN {
        return Err(format!("its header of {header_len} bytes is too short"));
    }
    let [type_off, type_len, str_off, str_len] = [reader.u32()?, reader.u32()?, reader.u32()?, reader.u32()?];
    let body = bytes.get(header_len..).ok_or("it ends inside its header")?;
    let types = range(body, type_off, type_len).ok_or("its types extend past the end of the section")?;
    let strings = range(body, str_off, str_len).ok_or("its strings end after the section")?;
    if type_off % 4 != 0 {
        return Err("the offset of its types is not a multiple of 4".to_owned());
    }
    if strings.last().is_some_and(|last| *last != 0) {
        return Err("its last string is not terminated".to_owned());
    }
    let layout = match header_len >= LAYOUT_HEADER_LEN {
        true => Layout::parse(body, reader.u32()?, reader.u32()?)?,
        false => Layout::default(),
    };
    Ok(Parts { types, strings, layout })
}

/// Returns the part of `body` with this offset and length, if it is inside.
pub(super) fn range(body: &[u8], offset: u32, len: u32) -> Option<&[u8]> {
    let offset = usize::try_from(offset).ok()?;
    body.get(offset..offset.checked_add(usize::try_from(len).ok()?)?)
}

/// Converts bytes to text of the same length; bytes that are not UTF-8 become question marks.
fn text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| '?'));
    }
    text
}

/// A reader of integers from bytes.
pub(super) struct Reader<'data> {
    pub(super) bytes: &'data [u8],
    pub(super) endian: Endian,
}

impl<'data> Reader<'data> {
    /// Reads the common beginning of `.BTF` and `.BTF.ext`, and returns the header's length.
    pub(super) fn header(&mut self) -> Result<usize, String> {
        let [m0, m1, version, flags] = self.array()?;
        let magic = match self.endian {
            Endian::Little => u16::from_le_bytes([m0, m1]),
            Endian::Big => u16::from_be_bytes([m0, m1]),
        };
        if magic != MAGIC {
            return Err(format!("its magic is {magic:#06x} instead of {MAGIC:#06x}"));
        }
        if version != VERSION || flags != 0 {
            return Err(format!("version {version} with flags {flags:#x} is unknown"));
        }
        usize::try_from(self.u32()?).map_err(|error| error.to_string())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let (first, rest) = self.bytes.split_first_chunk().ok_or("it is truncated")?;
        self.bytes = rest;
        Ok(*first)
    }

    pub(super) fn u32(&mut self) -> Result<u32, String> {
        let bytes = self.array()?;
        Ok(match self.endian {
            Endian::Little => u32::from_le_bytes(bytes),
            Endian::Big => u32::from_be_bytes(bytes),
        })
    }

    /// Returns a reader of the next `count` records of `size` bytes, and skips them.
    pub(super) fn records(&mut self, count: u32, size: usize) -> Result<Self, String> {
        let len = usize::try_from(count).ok().and_then(|count| count.checked_mul(size));
        let (records, rest) = len
            .and_then(|len| self.bytes.split_at_checked(len))
            .ok_or_else(|| format!("it ends before the last of its {count} records"))?;
        self.bytes = rest;
        Ok(Reader { bytes: records, endian: self.endian })
    }

    fn list<T>(
        &mut self,
        count: u32,
        words: usize,
        mut record: impl FnMut(&mut Reader<'data>) -> Result<T, String>,
    ) -> Result<Vec<T>, String> {
        let size = words * 4;
        let mut records = self.records(count, size)?;
        let mut list = Vec::with_capacity(records.bytes.len() / size);
        while !records.bytes.is_empty() {
            list.push(record(&mut records)?);
        }
        Ok(list)
    }

    fn id(&mut self) -> Result<TypeId, String> {
        self.u32().map(TypeId)
    }

    pub(super) fn string(&mut self, strings: &str) -> Result<StringRef, String> {
        let offset = self.u32()?;
        let inside =
            usize::try_from(offset).is_ok_and(|offset| offset < strings.len() && strings.is_char_boundary(offset));
        if inside {
            Ok(StringRef(offset))
        } else {
            Err(format!("string offset {offset} is outside the string section or inside a UTF-8 character"))
        }
    }

    fn ty(&mut self, strings: &str, layout: Layout<'_>) -> Result<Type, String> {
        let name = self.string(strings);
        let info = self.u32()?;
        let (kind, flag, len) = (info >> 24 & 0x7f, info >> 31 != 0, info & 0xff_ffff);
        // This word is a size, a type id, or unused, depending on the kind.
        let word = self.u32()?;
        // Unused fields must be zero: a different value may have a meaning that this parser does not know.
        let only = |may_flag: bool, may_len: bool, may_word: bool| {
            if flag && !may_flag || len != 0 && !may_len || word != 0 && !may_word {
                Err(format!("a type of kind {kind} cannot have info {info:#010x} and size or type {word}"))
            } else {
                Ok(TypeId(word))
            }
        };
        let kind = match kind {
            1 => self.int(only(false, false, true)?.0)?,
            2 => Kind::Ptr(only(false, false, true)?),
            3 => {
                only(false, false, false)?;
                Kind::Array { element: self.id()?, index: self.id()?, len: self.u32()? }
            }
            4 => Kind::Struct(self.composite(flag, word, len, strings)?),
            5 => Kind::Union(self.composite(flag, word, len, strings)?),
            6 | 19 => Kind::Enum(self.enumeration(kind == 19, flag, word, len, strings)?),
            7 => {
                only(true, false, false)?;
                Kind::Fwd { union: flag }
            }
            8 => Kind::Typedef(only(false, false, true)?),
            9 => Kind::Volatile(only(false, false, true)?),
            10 => Kind::Const(only(false, false, true)?),
            11 => Kind::Restrict(only(false, false, true)?),
            12 => Kind::Func { proto: only(false, true, true)?, linkage: linkage(len)? },
            13 => Kind::FuncProto {
                returns: only(false, true, true)?,
                params: self.list(len, 2, |one| Ok(Param { name: one.string(strings)?, ty: one.id()? }))?,
            },
            14 => Kind::Var { ty: only(false, false, true)?, linkage: linkage(self.u32()?)? },
            15 => {
                only(false, true, true)?;
                let var = |one: &mut Reader<'_>| Ok(SecVar { ty: one.id()?, offset: one.u32()?, size: one.u32()? });
                Kind::Datasec(Datasec { size: word, vars: self.list(len, 3, var)? })
            }
            16 => match only(false, false, true)?.0 {
                size @ (2 | 4 | 8 | 12 | 16) => Kind::Float(size),
                size => return Err(format!("a floating-point type has an invalid size of {size} bytes")),
            },
            17 => {
                let component = match self.u32()? {
                    u32::MAX => None,
                    index if index >> 31 == 0 => Some(index),
                    index => {
                        return Err(format!(
                            "the component index {index:#x} of a declaration tag is negative, but not -1"
                        ));
                    }
                };
                Kind::DeclTag { ty: only(true, false, true)?, component, attribute: flag }
            }
            18 => Kind::TypeTag { ty: only(true, false, true)?, attribute: flag },
            other => {
                self.records(1, layout.tail_len(other, len)?)?;
                // The fields of a type of unknown kind are not interpreted, so an invalid name does no harm.
                return Ok(Type { name: name.unwrap_or_default(), kind: Kind::Unknown(other) });
            }
        };
        Ok(Type { name: name?, kind })
    }

    fn int(&mut self, size: u32) -> Result<Kind, String> {
        let word = self.u32()?;
        let [_, bit_offset, reserved, bits] = word.to_be_bytes();
        if size == 0 && word & 0xff_ffff == 0 {
            // rustc writes `()` as an integer of size 0, which the kernel rejects. An empty struct is equivalent.
            return Ok(Kind::Struct(Composite::default()));
        }
        let sound = matches!(size, 1 | 2 | 4 | 8 | 16)
            && word >> 27 == 0
            && reserved == 0
            && u32::from(bits) + u32::from(bit_offset) <= size * 8;
        if !sound {
            return Err(format!("an integer type has an invalid size ({size} bytes) or encoding ({word:#010x})"));
        }
        let flag = |bit: u32| word >> 24 & bit != 0;
        Ok(Kind::Int(Int { size, bits, bit_offset, signed: flag(1), char: flag(2), bool: flag(4) }))
    }

    fn composite(&mut self, bitfields: bool, size: u32, len: u32, strings: &str) -> Result<Composite, String> {
        let members = self.list(len, 3, |one| {
            let (name, ty, offset) = (one.string(strings)?, one.id()?, one.u32()?);
            let [size_byte, ..] = offset.to_be_bytes();
            let (bit_offset, bit_size) = if bitfields { (offset & 0xff_ffff, size_byte) } else { (offset, 0) };
            if (u64::from(bit_offset) + u64::from(bit_size)).div_ceil(8) > u64::from(size) {
                return Err(format!("a member at bit {bit_offset} lies outside the type's {size} bytes"));
            }
            Ok(Member { name, ty, bit_offset, bit_size })
        })?;
        Ok(Composite { size, members, bitfields })
    }

    fn enumeration(&mut self, wide: bool, signed: bool, size: u32, len: u32, strings: &str) -> Result<Enum, String> {
        // Compilers write neither size nor values of an enumeration that is only declared.
        if !matches!(size, 1 | 2 | 4 | 8) && (size, len) != (0, 0) {
            return Err(format!("an enumeration has an invalid size of {size} bytes"));
        }
        let values = self.list(len, if wide { 3 } else { 2 }, |one| {
            let (name, low) = (one.string(strings)?, one.u32()?);
            let high = match wide {
                true => one.u32()?,
                // Sign-extend into the upper half, which the file does not contain.
                false if signed && low >> 31 != 0 => u32::MAX,
                false => 0,
            };
            Ok((name, i64::from_le_bytes((u64::from(high) << 32 | u64::from(low)).to_le_bytes())))
        })?;
        Ok(Enum { size, signed, wide, values })
    }
}

fn linkage(number: u32) -> Result<Linkage, String> {
    match number {
        0 => Ok(Linkage::Static),
        1 => Ok(Linkage::Global),
        2 => Ok(Linkage::Extern),
        other => Err(format!("linkage {other} is unknown")),
    }
}
