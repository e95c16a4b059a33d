//! Writing of `.BTF.ext`.

use super::{BtfExt, HEADER_LEN_CORE, SectionInfo};
use crate::btf::StringRef;
use crate::btf::parse::{MAGIC, VERSION};
use crate::insn::{Endian, INSN_SIZE, InsnIndex};

pub(super) fn write(ext: &BtfExt, endian: Endian) -> Vec<u8> {
    let funcs = part(ext, |section| section.funcs.iter().map(|it| [offset(it.insn), it.ty.0]).collect());
    let lines = part(ext, |section| {
        let record = |it: &super::LineInfo| [offset(it.insn), it.file.0, it.text.0, it.line << 10 | it.column & 0x3ff];
        section.lines.iter().map(record).collect()
    });
    let relos =
        part(ext, |section| section.relos.iter().map(|it| [offset(it.insn), it.ty.0, it.access.0, it.kind]).collect());
    let mut bytes = match endian {
        Endian::Little => MAGIC.to_le_bytes(),
        Endian::Big => MAGIC.to_be_bytes(),
    }
    .to_vec();
    bytes.extend_from_slice(&[VERSION, 0]);
    let mut header = vec![u32::try_from(HEADER_LEN_CORE).unwrap_or(u32::MAX)];
    let mut at = 0;
    for part in [&funcs, &lines, &relos] {
        let len = u32::try_from(part.len() * 4).unwrap_or(u32::MAX);
        header.extend([at, len]);
        at = at.saturating_add(len);
    }
    for word in header.into_iter().chain(funcs).chain(lines).chain(relos) {
        bytes.extend_from_slice(&endian.to_bytes(word));
    }
    bytes
}

/// Returns one kind of records of all sections, as the format's words. Loaders reject a record size without records.
fn part<const N: usize>(ext: &BtfExt, records: impl Fn(&SectionInfo) -> Vec<[u32; N]>) -> Vec<u32> {
    let mut words = Vec::new();
    for section in &ext.sections {
        let records = records(section);
        if records.is_empty() {
            continue;
        }
        if words.is_empty() {
            words.push(u32::try_from(N * 4).unwrap_or(u32::MAX));
        }
        let StringRef(name) = section.name;
        words.extend([name, u32::try_from(records.len()).unwrap_or(u32::MAX)]);
        words.extend(records.into_iter().flatten());
    }
    words
}

/// Returns the offset of an instruction in bytes.
fn offset(insn: InsnIndex) -> u32 {
    u32::try_from(insn.0 * INSN_SIZE).unwrap_or(u32::MAX)
}
