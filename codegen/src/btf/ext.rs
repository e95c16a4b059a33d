//! The records of `.BTF.ext`: which function, source line and CO-RE relocation belongs to which instruction.

use super::read::Reader;
use super::{Btf, StringRef, TypeId};
use crate::error::{Code, Diagnostic, Result};
use crate::insn::{Endian, InsnIndex};

/// The records of `.BTF.ext`, by the section their instructions are in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BtfExt {
    /// One for each section that has records of any kind, in the order of first mention.
    pub sections: Vec<SectionInfo>,
}

/// The records about one section's instructions. Instruction indexes count slots from the section's beginning.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SectionInfo {
    /// The section's name.
    pub name: StringRef,
    /// Where functions begin and what their types are.
    pub funcs: Vec<FuncInfo>,
    /// Which line the instructions from here on come from.
    pub lines: Vec<LineInfo>,
    /// What must be adjusted to the running kernel's types.
    pub relos: Vec<CoreRelo>,
}

/// `struct bpf_func_info`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FuncInfo {
    /// The function's first instruction.
    pub insn: InsnIndex,
    /// Its BTF type.
    pub ty: TypeId,
}

/// `struct bpf_line_info`. The offsets are into the strings of the object's BTF.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineInfo {
    /// The first instruction of the line.
    pub insn: InsnIndex,
    /// The file's name.
    pub file: StringRef,
    /// The text of the line.
    pub text: StringRef,
    /// The line, from 1.
    pub line: u32,
    /// The column, from 1.
    pub column: u32,
}

/// `struct bpf_core_relo`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CoreRelo {
    /// The instruction to adjust.
    pub insn: InsnIndex,
    /// The root type of the access.
    pub ty: TypeId,
    /// The access path: numbers and colons.
    pub access: StringRef,
    /// What is asked (`enum bpf_core_relo_kind`).
    pub kind: u32,
}

impl BtfExt {
    /// Reads the contents of a section `.BTF.ext`, whose strings and types are those of `btf`.
    ///
    /// # Errors
    /// [`Code::BadBtfExt`] with the byte it is about.
    pub fn parse(bytes: &[u8], endian: Endian, btf: &Btf) -> Result<Self> {
        let mut header = Reader::new(bytes, endian);
        let head = (|| {
            let _magic_version_flags = (header.u16()?, header.u16()?);
            let len = header.u32()? as usize;
            let mut parts = [(0u32, 0u32); 3];
            for (index, part) in parts.iter_mut().enumerate() {
                // The CO-RE part is younger than the others: a short header has none.
                if index == 2 && len < 32 {
                    break;
                }
                *part = (header.u32()?, header.u32()?);
            }
            Some((len, parts))
        })();
        let Some((len, [funcs, lines, relos])) = head else { return Err(bad("the header is cut short", bytes.len())) };
        let mut this = Self::default();
        let mut records = |part: (u32, u32), size: usize, add: &mut dyn FnMut(&mut SectionInfo, &[u32]) -> bool| {
            let from = len.checked_add(part.0 as usize);
            let range = from.and_then(|from| bytes.get(from..from.checked_add(part.1 as usize)?));
            let Some(range) = range else { return Err(bad("records lie outside the section", len)) };
            if range.is_empty() {
                return Ok(());
            }
            this.part(Reader::new(range, endian), size, btf, add)
                .map_err(|(message, at)| bad(message, len + part.0 as usize + at))
        };
        let string = |offset: u32| btf.contains_string(StringRef(offset)).then_some(StringRef(offset));
        let ty = |id: u32| ((id as usize) < btf.len()).then_some(TypeId(id));
        let insn = |bytes: u32| (bytes % 8 == 0).then_some(InsnIndex(bytes as usize / 8));
        records(funcs, 2, &mut |section, words| {
            let record = insn(words[0]).zip(ty(words[1])).map(|(insn, ty)| FuncInfo { insn, ty });
            record.map(|record| section.funcs.push(record)).is_some()
        })?;
        records(lines, 4, &mut |section, words| {
            let strings = string(words[1]).zip(string(words[2]));
            let record = insn(words[0]).zip(strings).map(|(insn, (file, text))| LineInfo {
                insn,
                file,
                text,
                line: words[3] >> 10,
                column: words[3] & 0x3ff,
            });
            record.map(|record| section.lines.push(record)).is_some()
        })?;
        records(relos, 4, &mut |section, words| {
            let path = ty(words[1]).zip(string(words[2]));
            let record =
                insn(words[0]).zip(path).map(|(insn, (ty, access))| CoreRelo { insn, ty, access, kind: words[3] });
            record.map(|record| section.relos.push(record)).is_some()
        })?;
        Ok(this)
    }

    /// Reads one of the three parts: the size of a record, then for each section its name, a count and the records.
    fn part(
        &mut self,
        mut reader: Reader<'_>,
        words: usize,
        btf: &Btf,
        add: &mut dyn FnMut(&mut SectionInfo, &[u32]) -> bool,
    ) -> std::result::Result<(), (&'static str, usize)> {
        const CUT: &str = "records are cut short";
        let size = reader.u32().ok_or((CUT, 0))? as usize;
        if size < words * 4 || size % 4 != 0 {
            return Err(("a record's size is less than this version knows", 0));
        }
        let mut record = vec![0; words];
        while !reader.is_empty() {
            let at = reader.position();
            let head = reader.u32().zip(reader.u32());
            let (name, count) = head.ok_or((CUT, at))?;
            if !btf.contains_string(StringRef(name)) {
                return Err(("a section's name is no string", at));
            }
            let section = self.section(StringRef(name), btf);
            for _ in 0..count {
                let at = reader.position();
                for word in &mut record {
                    *word = reader.u32().ok_or((CUT, at))?;
                }
                reader.skip(size - words * 4).ok_or((CUT, at))?;
                if !add(section, &record) {
                    return Err(("a record names a type or string that does not exist, or half an instruction", at));
                }
            }
        }
        Ok(())
    }

    fn section(&mut self, name: StringRef, btf: &Btf) -> &mut SectionInfo {
        let known = self.sections.iter().position(|section| btf.str(section.name) == btf.str(name));
        let index = known.unwrap_or_else(|| {
            self.sections.push(SectionInfo { name, ..SectionInfo::default() });
            self.sections.len() - 1
        });
        &mut self.sections[index]
    }
}

fn bad(message: &str, at: usize) -> crate::error::Error {
    Diagnostic::new(Code::BadBtfExt, message).section(".BTF.ext").offset(at as u64).into()
}
