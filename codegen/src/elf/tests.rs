//! Tests of parsing ELF files that are made for each case.

use super::{
    Binding, ElfObject, RelocationKind, SectionId, SectionKind, SymbolId, SymbolKind, SymbolSection, section_of_any,
};
use crate::error::Code;
use crate::insn::Endian;

/// A section to write.
#[derive(Clone)]
struct Part {
    name: &'static str,
    kind: u32,
    flags: u64,
    data: Vec<u8>,
    size: Option<u64>,
    link: u32,
    info: u32,
    align: u64,
}

fn part(name: &'static str, kind: u32, flags: u64, data: Vec<u8>) -> Part {
    Part { name, kind, flags, data, size: None, link: 0, info: 0, align: 8 }
}

/// An output buffer with a byte order.
struct Out {
    bytes: Vec<u8>,
    big: bool,
}

impl Out {
    fn num(&mut self, value: u64, width: usize) -> &mut Self {
        let all = value.to_be_bytes();
        let low = &all[8 - width..];
        if self.big {
            self.bytes.extend_from_slice(low);
        } else {
            self.bytes.extend(low.iter().rev());
        }
        self
    }
}

/// Writes an ELF file with the null section, a string table of the section names (section 1), and these sections.
fn write(parts: &[Part], big: bool, machine: u64, kind: u64) -> Vec<u8> {
    let mut strings = vec![0];
    let names: Vec<usize> = parts
        .iter()
        .map(|part| {
            let at = strings.len();
            strings.extend_from_slice(part.name.as_bytes());
            strings.push(0);
            at
        })
        .collect();
    let mut body = strings.clone();
    let mut offsets = Vec::new();
    for part in parts {
        body.resize(body.len().next_multiple_of(8), 0);
        offsets.push(64 + body.len());
        body.extend_from_slice(&part.data);
    }
    body.resize(body.len().next_multiple_of(8), 0);

    let mut out = Out { bytes: b"\x7fELF\x02".to_vec(), big };
    out.num(if big { 2 } else { 1 }, 1).num(1, 1).num(0, 1).num(0, 8);
    out.num(kind, 2).num(machine, 2).num(1, 4).num(0, 8).num(0, 8).num(64 + body.len() as u64, 8);
    out.num(0, 4).num(64, 2).num(0, 2).num(0, 2).num(64, 2).num(parts.len() as u64 + 2, 2).num(1, 2);
    assert_eq!(out.bytes.len(), 64);
    out.bytes.extend_from_slice(&body);
    out.bytes.extend_from_slice(&[0; 64]);
    out.num(0, 4).num(3, 4).num(0, 8).num(0, 8).num(64, 8).num(strings.len() as u64, 8);
    out.num(0, 4).num(0, 4).num(1, 8).num(0, 8);
    for ((part, name), offset) in parts.iter().zip(names).zip(offsets) {
        out.num(name as u64, 4).num(part.kind.into(), 4).num(part.flags, 8).num(0, 8).num(offset as u64, 8);
        out.num(part.size.unwrap_or(part.data.len() as u64), 8).num(part.link.into(), 4).num(part.info.into(), 4);
        out.num(part.align, 8).num(0, 8);
    }
    out.bytes
}

fn symbol(big: bool, name: u64, info: u64, section: u64, value: u64) -> Vec<u8> {
    let mut out = Out { bytes: Vec::new(), big };
    out.num(name, 4).num(info, 1).num(0, 1).num(section, 2).num(value, 8).num(8, 8);
    out.bytes
}

fn relocation(big: bool, offset: u64, symbol: u64, kind: u64) -> Vec<u8> {
    let mut out = Out { bytes: Vec::new(), big };
    out.num(offset, 8).num(symbol << 32 | kind, 8);
    out.bytes
}

const CODE: usize = 0;
const ZEROS: usize = 1;
const SYMBOLS: usize = 2;
const RELOCATIONS: usize = 3;

/// Returns code of four slots. It loads the address of a variable, symbol 2, and calls an undefined function, symbol 3.
fn parts(big: bool) -> Vec<Part> {
    let mut symbols = vec![0; 24];
    symbols.extend(symbol(big, 0, 3, 2, 0));
    symbols.extend(symbol(big, 1, 0x11, 3, 8));
    symbols.extend(symbol(big, 1, 0x20, 0, 0));
    let mut relocations = relocation(big, 16, 3, 10);
    relocations.extend(relocation(big, 0, 2, 1));
    vec![
        part("tc", 1, 6, vec![0; 32]),
        Part { size: Some(400), ..part(".bss", 8, 3, Vec::new()) },
        Part { link: 1, ..part(".symtab", 2, 0, symbols) },
        Part { link: 4, info: 2, ..part(".reltc", 9, 0, relocations) },
    ]
}

fn error_of(parts: &[Part]) -> crate::error::Diagnostic {
    let bytes = write(parts, false, 247, 1);
    let error = ElfObject::parse(&bytes).expect_err("the file is invalid");
    error.diagnostics()[0].clone()
}

#[test]
fn reads_both_byte_orders() {
    for big in [false, true] {
        let bytes = write(&parts(big), big, 247, 1);
        let elf = ElfObject::parse(&bytes).expect("the file is valid");
        assert_eq!(elf.endian, if big { Endian::Big } else { Endian::Little });
        assert_eq!(elf.sections.len(), 6);
        let code = elf.section_named("tc").expect("it exists");
        assert_eq!((code.id, code.kind, code.size, code.flags), (SectionId(2), SectionKind::Instructions, 32, 6));
        let zeros = elf.section(SectionId(3));
        assert_eq!((zeros.kind, zeros.size, zeros.data), (SectionKind::Zeros, 400, &[][..]));

        let of_section = elf.symbol(SymbolId(1));
        assert_eq!((of_section.name, of_section.kind), ("tc", SymbolKind::Section));
        let variable = elf.symbol(SymbolId(2));
        assert_eq!(
            (variable.kind, variable.section, variable.value),
            (SymbolKind::Object, SymbolSection::Section(SectionId(3)), 8)
        );
        let function = elf.symbol(SymbolId(3));
        assert_eq!(
            (function.name, function.section, function.binding),
            ("tc", SymbolSection::Undefined, Binding::Weak)
        );

        let kinds: Vec<_> = code.relocations.iter().map(|one| (one.offset, one.kind, one.symbol)).collect();
        assert_eq!(kinds, [(0, RelocationKind::Load, SymbolId(2)), (16, RelocationKind::Call, SymbolId(3))]);
    }
}

#[test]
fn refuses_every_truncation() {
    let bytes = write(&parts(false), false, 247, 1);
    for len in 0..bytes.len() {
        assert!(ElfObject::parse(&bytes[..len]).is_err(), "{len} bytes");
    }
}

#[test]
fn survives_any_byte_changed() {
    let bytes = write(&parts(false), false, 247, 1);
    for at in 0..bytes.len() {
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let mut bytes = bytes.clone();
            bytes[at] = value;
            let _ = ElfObject::parse(&bytes);
        }
    }
}

#[test]
fn reads_from_any_address() {
    let bytes = write(&parts(false), false, 247, 1);
    let mut shifted = vec![0];
    shifted.extend_from_slice(&bytes);
    assert!(ElfObject::parse(&shifted[1..]).is_ok());
}

#[test]
fn names_other_files() {
    let code = |bytes: &[u8]| ElfObject::parse(bytes).expect_err("not an object").diagnostics()[0].code;
    assert_eq!(code(b""), Code::NotElf);
    assert_eq!(code(b"#!/bin/sh\n"), Code::NotElf);
    assert_eq!(code(b"\x7fELF\x01\x01\x01"), Code::NotBpf);
    assert_eq!(code(&write(&parts(false), false, 62, 1)), Code::NotBpf);
    assert_eq!(code(&write(&parts(false), false, 247, 2)), Code::NotBpf);
}

#[test]
fn finds_a_section_in_a_file_for_another_machine() {
    for big in [false, true] {
        let bytes = write(&parts(big), big, 62, 2);
        let (endian, data) = section_of_any(&bytes, "tc").expect("it is an ELF file").expect("it has the section");
        assert_eq!((endian == Endian::Big, data), (big, &[0; 32][..]));
        assert!(section_of_any(&bytes, ".BTF").expect("it is an ELF file").is_none());
    }
    let code = |bytes: &[u8]| section_of_any(bytes, ".BTF").expect_err("no such file").diagnostics()[0].code;
    assert_eq!((code(b"MZ"), code(b"\x7fELF\x01\x01\x01")), (Code::NotElf, Code::NotBpf));
    assert_eq!(code(b"\x7fELF\x02\x01\x01"), Code::BadElf);
}

#[test]
fn checks_sections() {
    let mut bad = parts(false);
    bad[CODE].align = 3;
    assert_eq!(error_of(&bad).code, Code::BadElf);

    let mut bad = parts(false);
    bad[ZEROS].size = Some(1 << 32);
    assert_eq!(error_of(&bad).code, Code::BadElf);

    let mut bad = parts(false);
    bad[CODE].size = Some(1 << 40);
    let error = error_of(&bad);
    assert_eq!((error.code, error.location.section.as_deref()), (Code::BadElf, Some("tc")));

    let mut bad = parts(false);
    bad[CODE].size = Some(40);
    let error = error_of(&bad);
    assert_eq!((error.code, error.location.section.as_deref()), (Code::OverlappingSections, Some(".symtab")));
}

#[test]
fn checks_symbols() {
    let mut bad = parts(false);
    bad[SYMBOLS].data.extend(symbol(false, 1, 0x11, 77, 0));
    assert_eq!(error_of(&bad).code, Code::BadElf);

    let mut bad = parts(false);
    bad[SYMBOLS].data.extend(symbol(false, 0xffff, 0x11, 2, 0));
    assert_eq!(error_of(&bad).code, Code::BadElf);
}

#[test]
fn checks_relocations() {
    // The type, offset and symbol of the invalid relocation, and the instruction that the diagnostic names.
    let wrong = [
        (99, 8, 2, 1),
        (10, 32, 2, 4),
        (1, 24, 2, 3),
        (10, 24, 99, 3),
        (10, 24, 0, 3),
        (10, u64::MAX, 2, usize::MAX / 8),
        (10, 16, 2, 2),
    ];
    for (kind, offset, symbol, insn) in wrong {
        let mut bad = parts(false);
        bad[RELOCATIONS].data.extend(relocation(false, offset, symbol, kind));
        let error = error_of(&bad);
        assert_eq!(error.code, Code::BadRelocation);
        assert_eq!(error.location.section.as_deref(), Some("tc"));
        assert_eq!((error.location.offset, error.location.insn), (Some(offset), Some(insn)));
    }

    let mut bad = parts(false);
    bad[RELOCATIONS].info = 40;
    assert_eq!(error_of(&bad).code, Code::BadRelocation);

    let mut debug = parts(false);
    debug[CODE].name = ".debug_info";
    debug[RELOCATIONS].data.extend(relocation(false, 1000, 1000, 1000));
    let bytes = write(&debug, false, 247, 1);
    let elf = ElfObject::parse(&bytes).expect("debug information is not parsed");
    assert!(elf.section(SectionId(2)).relocations.is_empty());
}
