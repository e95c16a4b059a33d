//! The records of `.BTF.ext`: functions, source lines and CO-RE relocations of instructions.

mod write;

use super::parse::{Reader, range};
use super::{Btf, Kind, StringRef, TypeId};
use crate::error::{Code, Diagnostic, Result};
use crate::insn::{Endian, INSN_SIZE, InsnIndex};

/// The length in bytes of a header that ends with the line records, as compilers before CO-RE wrote it.
const HEADER_LEN: usize = 24;
/// The length in bytes of a header that ends with the CO-RE records.
const HEADER_LEN_CORE: usize = 32;

/// The records of `.BTF.ext`, by the section of their instructions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BtfExt {
    /// One item for each section with records, in the order in which the file first mentions them.
    pub sections: Vec<SectionInfo>,
}

/// The records about the instructions of one section. Instruction indices count eight-byte slots from the section's
/// beginning.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SectionInfo {
    /// The section's name.
    pub name: StringRef,
    /// The func_info records: the first instruction of each function, and its BTF type.
    pub funcs: Vec<FuncInfo>,
    /// The first instructions of source lines.
    pub lines: Vec<LineInfo>,
    /// The CO-RE relocations.
    pub relos: Vec<CoreRelo>,
}

/// `struct bpf_func_info`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FuncInfo {
    /// The function's first instruction.
    pub insn: InsnIndex,
    /// The function's BTF type.
    pub ty: TypeId,
}

/// `struct bpf_line_info`. Its strings are in the object's BTF.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineInfo {
    /// The first instruction of the line.
    pub insn: InsnIndex,
    /// The file's name.
    pub file: StringRef,
    /// The text of the line.
    pub text: StringRef,
    /// The line number, from 1.
    pub line: u32,
    /// The column number, from 1.
    pub column: u32,
}

/// `struct bpf_core_relo`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CoreRelo {
    /// The instruction to relocate.
    pub insn: InsnIndex,
    /// The root type of the access.
    pub ty: TypeId,
    /// The access path: indices separated by colons.
    pub access: StringRef,
    /// The kind of value that the relocation computes (`enum bpf_core_relo_kind`).
    pub kind: u32,
}

impl CoreRelo {
    /// Returns the relocation as objects store it (`struct bpf_core_relo`), in the byte order of this machine. The
    /// record's instruction offset is 0.
    #[must_use]
    pub fn record(&self) -> [u8; 16] {
        let mut record = [0; 16];
        for (bytes, word) in record.chunks_exact_mut(4).zip([0, self.ty.0, self.access.0, self.kind]) {
            bytes.copy_from_slice(&word.to_ne_bytes());
        }
        record
    }
}

impl BtfExt {
    /// Parses a `.BTF.ext` section, whose strings and types are those of `btf`.
    ///
    /// # Errors
    /// `BadBtfExt` if the header is invalid, the section is truncated, a record is too small, a section has no records,
    /// or a record refers to a type, function or string that does not exist or to the middle of an instruction.
    pub fn parse(bytes: &[u8], endian: Endian, btf: &Btf) -> Result<Self> {
        parse(bytes, endian, btf)
            .map_err(|message| Diagnostic::new(Code::BadBtfExt, format!("invalid .BTF.ext: {message}")).into())
    }

    /// Writes the records as a `.BTF.ext` section in this byte order.
    #[must_use]
    pub fn write(&self, endian: Endian) -> Vec<u8> {
        write::write(self, endian)
    }

    /// Returns the records about the section of this name.
    #[must_use]
    pub fn section_named(&self, btf: &Btf, name: &str) -> Option<&SectionInfo> {
        self.sections.iter().find(|section| btf.str(section.name) == name)
    }

    /// Returns the records about the section with this name; adds an empty item for the section if it has none.
    fn section_mut(&mut self, btf: &Btf, name: StringRef) -> &mut SectionInfo {
        // Also compares text, because a linker may leave duplicate names in the string table.
        let text = btf.str(name);
        let by_name = self.sections.iter().position(|section| section.name == name);
        let known = by_name.or_else(|| self.sections.iter().position(|section| btf.str(section.name) == text));
        let index = known.unwrap_or(self.sections.len());
        if known.is_none() {
            self.sections.push(SectionInfo { name, ..SectionInfo::default() });
        }
        &mut self.sections[index]
    }
}

fn parse(bytes: &[u8], endian: Endian, btf: &Btf) -> Result<BtfExt, String> {
    let mut header = Reader { bytes, endian };
    let header_len = header.header()?;
    if header_len < HEADER_LEN {
        return Err(format!("its header of {header_len} bytes is too short"));
    }
    let body = bytes.get(header_len..).ok_or("it ends inside its header")?;
    let mut part = |what: &str| {
        let (offset, len) = (header.u32()?, header.u32()?);
        let bytes = range(body, offset, len).ok_or_else(|| format!("its {what} records end after the section"))?;
        Ok::<_, String>(Reader { bytes, endian })
    };
    let funcs = part("function")?;
    let lines = part("line")?;
    let relos = if header_len >= HEADER_LEN_CORE { part("CO-RE")? } else { Reader { bytes: &[], endian } };

    let mut ext = BtfExt::default();
    each_record(funcs, 8, btf, |section, record| {
        let (insn, ty) = (insn(record)?, type_id(record, btf)?);
        if !matches!(btf.get(ty).kind, Kind::Func { .. }) {
            return Err(format!("type {ty} is not a function"));
        }
        ext.section_mut(btf, section).funcs.push(FuncInfo { insn, ty });
        Ok(())
    })
    .map_err(|message| format!("function records: {message}"))?;
    each_record(lines, 16, btf, |section, record| {
        let (insn, file, text) = (insn(record)?, record.string(&btf.strings)?, record.string(&btf.strings)?);
        let line_column = record.u32()?;
        // `BPF_LINE_INFO_LINE_NUM` and `BPF_LINE_INFO_LINE_COL`.
        let (line, column) = (line_column >> 10, line_column & 0x3ff);
        ext.section_mut(btf, section).lines.push(LineInfo { insn, file, text, line, column });
        Ok(())
    })
    .map_err(|message| format!("line records: {message}"))?;
    each_record(relos, 16, btf, |section, record| {
        let (insn, ty, access) = (insn(record)?, type_id(record, btf)?, record.string(&btf.strings)?);
        let kind = record.u32()?;
        ext.section_mut(btf, section).relos.push(CoreRelo { insn, ty, access, kind });
        Ok(())
    })
    .map_err(|message| format!("CO-RE records: {message}"))?;
    Ok(ext)
}

/// Calls `each` with the section and a reader of each record. The file states the record size; bytes of a record after
/// the first `known` are skipped.
fn each_record(
    mut reader: Reader<'_>,
    known: usize,
    btf: &Btf,
    mut each: impl FnMut(StringRef, &mut Reader<'_>) -> Result<(), String>,
) -> Result<(), String> {
    if reader.bytes.is_empty() {
        return Ok(());
    }
    let size = usize::try_from(reader.u32()?).unwrap_or(usize::MAX);
    if size < known || size % 4 != 0 {
        return Err(format!("records have {size} bytes; expected a multiple of 4, at least {known}"));
    }
    while !reader.bytes.is_empty() {
        let section = reader.string(&btf.strings)?;
        let count = reader.u32()?;
        if count == 0 {
            return Err(format!("section `{}` has no records", btf.str(section)));
        }
        let records = reader.records(count, size)?;
        for bytes in records.bytes.chunks_exact(size) {
            each(section, &mut Reader { bytes, endian: records.endian })
                .map_err(|message| format!("section `{}`: {message}", btf.str(section)))?;
        }
    }
    Ok(())
}

/// Reads an instruction offset, which the file states in bytes.
fn insn(record: &mut Reader<'_>) -> Result<InsnIndex, String> {
    let offset = record.u32()?;
    match usize::try_from(offset) {
        Ok(offset) if offset % INSN_SIZE == 0 => Ok(InsnIndex(offset / INSN_SIZE)),
        _ => Err(format!("byte {offset} is not the beginning of an instruction")),
    }
}

fn type_id(record: &mut Reader<'_>, btf: &Btf) -> Result<TypeId, String> {
    let id = TypeId(record.u32()?);
    if btf.try_get(id).is_some() { Ok(id) } else { Err(format!("type {id} does not exist")) }
}

#[cfg(test)]
mod tests {
    use super::super::{Linkage, Type};
    use super::*;

    const HEADER: [u32; 8] = [0x0001_eb9f, 32, 0, 20, 20, 28, 48, 28];

    /// Returns a table with a function of type 2 and the strings `tc` and `0:1`.
    fn btf() -> (Btf, StringRef, StringRef) {
        let mut btf = Btf::new();
        let (section, access) = (btf.add_string("tc"), btf.add_string("0:1"));
        let kind = Kind::FuncProto { returns: TypeId::VOID, params: Vec::new() };
        let proto = btf.push(Type { name: StringRef(0), kind });
        btf.push(Type { name: section, kind: Kind::Func { proto, linkage: Linkage::Global } });
        (btf, section, access)
    }

    fn words(section: StringRef, access: StringRef) -> Vec<u32> {
        let mut words = HEADER.to_vec();
        words.extend([8, section.0, 1, 0, 2]);
        words.extend([16, section.0, 1, 16, section.0, access.0, 7 << 10 | 3]);
        words.extend([16, section.0, 1, 24, 1, access.0, 8]);
        words
    }

    fn bytes(words: &[u32], endian: Endian) -> Vec<u8> {
        let mut bytes: Vec<u8> = words
            .iter()
            .flat_map(|word| if endian == Endian::Little { word.to_le_bytes() } else { word.to_be_bytes() })
            .collect();
        if endian == Endian::Big {
            bytes[..4].copy_from_slice(&[0xeb, 0x9f, 1, 0]);
        }
        bytes
    }

    #[test]
    fn reads_both_byte_orders() {
        let (btf, section, access) = btf();
        for endian in [Endian::Little, Endian::Big] {
            let ext = BtfExt::parse(&bytes(&words(section, access), endian), endian, &btf).expect("it is valid");
            let info = SectionInfo {
                name: section,
                funcs: vec![FuncInfo { insn: InsnIndex(0), ty: TypeId(2) }],
                lines: vec![LineInfo { insn: InsnIndex(2), file: section, text: access, line: 7, column: 3 }],
                relos: vec![CoreRelo { insn: InsnIndex(3), ty: TypeId(1), access, kind: 8 }],
            };
            assert_eq!(ext.section_named(&btf, "tc"), Some(&info));
            assert_eq!(ext.sections, [info]);
        }
    }

    #[test]
    fn reads_longer_records() {
        let (btf, section, _) = btf();
        let mut words = HEADER.to_vec();
        words[3..].copy_from_slice(&[24, 24, 0, 24, 0]);
        words.extend([12, section.0, 1, 0, 2, 99]);
        let ext = BtfExt::parse(&bytes(&words, Endian::Little), Endian::Little, &btf).expect("it is valid");
        assert_eq!(ext.sections[0].funcs.len(), 1);
    }

    #[test]
    fn refuses_damage() {
        let (btf, section, access) = btf();
        let right = words(section, access);
        let parse = |words: &[u32]| BtfExt::parse(&bytes(words, Endian::Little), Endian::Little, &btf);
        for len in 0..right.len() {
            let error = parse(&right[..len]).expect_err("it is truncated");
            assert_eq!(error.diagnostics()[0].code, Code::BadBtfExt);
        }
        // The words: header length, record size, section name, count, offset of an instruction, type of a function,
        // name of a file.
        for (at, value) in
            [(1, 8), (8, 4), (8, 10), (9, 999), (10, 0), (10, u32::MAX), (11, 4), (12, 1), (12, 9), (17, 999)]
        {
            let mut words = right.clone();
            words[at] = value;
            assert!(parse(&words).is_err(), "word {at} as {value}");
        }
    }
}
