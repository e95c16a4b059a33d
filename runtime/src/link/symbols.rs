//! Functions of ELF files by name: their file offsets, which uprobes need.
//!
//! Names and versions are matched as in libbpf 1.8, so that a target has the same offset in both. `unfound` explains
//! why a name has no offset. This module depends on neither programs nor the kernel.

use std::fmt;

use object::NativeEndian;
use object::elf::{SHT_GNU_VERDEF, SHT_GNU_VERSYM};
use object::read::elf::SectionHeader as _;

use super::elf::{CUT, Elf, Fault, Symbol, Table, text};
use super::pattern;
use super::unfound::{self, Unfound};

/// The name of a function with an optional version: `NAME`, `NAME@VERSION` or `NAME@@VERSION`.
///
/// Symbols in `.symtab` have names of this form; `@@` marks the default version, which new programs are linked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Name<'n> {
    pub(super) function: &'n [u8],
    pub(super) version: Option<&'n [u8]>,
}

impl<'n> Name<'n> {
    pub(super) fn new(name: &'n [u8]) -> Self {
        let Some(at) = name.iter().position(|&byte| byte == b'@') else {
            return Self { function: name, version: None };
        };
        let (function, version) = (&name[..at], &name[at + 1..]);
        Self { function, version: Some(version.strip_prefix(b"@").unwrap_or(version)) }
    }
}

/// Formats the name as callers pass it: `NAME` or `NAME@VERSION`.
impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.function))?;
        self.version.map_or(Ok(()), |version| write!(f, "@{}", String::from_utf8_lossy(version)))
    }
}

/// Returns the offset of each of these functions, in their order.
///
/// As in libbpf, exported symbols are searched first, and all other symbols only for names that are not exported. A
/// strong symbol has precedence over a weak one. A name that still has several offsets is ambiguous.
pub(super) fn find_each(elf: &Elf<'_>, names: &[&str]) -> Result<Result<Vec<u64>, Unfound>, Fault> {
    let mut wanted: Vec<(Name<'_>, Offsets)> =
        names.iter().map(|name| (Name::new(name.as_bytes()), Offsets::default())).collect();
    for table in [Table::Dynamic, Table::Full] {
        for (_, offsets) in &mut wanted {
            offsets.is_closed = *offsets != Offsets::default();
        }
        if wanted.iter().all(|(_, offsets)| offsets.is_closed) {
            break;
        }
        functions(elf, table, wanted.iter().any(|(name, _)| name.version.is_some()), &mut |function| {
            for (name, offsets) in &mut wanted {
                if !offsets.is_closed
                    && name.function == function.name.function
                    && (name.version.is_none() || name.version == function.name.version)
                {
                    offsets.add(function);
                }
            }
        })?;
    }
    let mut found = Vec::with_capacity(names.len());
    for (name, (_, offsets)) in names.iter().zip(&wanted) {
        match offsets.the_one() {
            Found::One(offset) => found.push(offset),
            Found::None => return unfound::explain(elf, name).map(Err),
            Found::Several => return unfound::ambiguous(elf, name).map(Err),
        }
    }
    Ok(Ok(found))
}

/// Returns the offsets of all functions that match one of the patterns, in ascending order. A pattern without a version
/// matches every version.
pub(super) fn find_all(elf: &Elf<'_>, patterns: &[&str]) -> Result<Vec<u64>, Fault> {
    let patterns: Vec<Name<'_>> = patterns.iter().map(|pattern| Name::new(pattern.as_bytes())).collect();
    let with_versions = patterns.iter().any(|pattern| pattern.version.is_some());
    let mut offsets = Vec::new();
    for table in [Table::Dynamic, Table::Full] {
        functions(elf, table, with_versions, &mut |Function { name, offset, .. }| {
            let is = |pattern: &Name<'_>| {
                pattern::matches(pattern.function, name.function)
                    && pattern.version.is_none_or(|wanted| pattern::matches(wanted, name.version.unwrap_or_default()))
            };
            if patterns.iter().any(is) {
                offsets.push(offset);
            }
        })?;
    }
    offsets.sort_unstable();
    offsets.dedup();
    Ok(offsets)
}

/// Calls `take` with each function that has code in the file, exported functions first.
pub(super) fn each<'d>(elf: &Elf<'d>, take: &mut dyn FnMut(Function<'d>)) -> Result<(), Fault> {
    functions(elf, Table::Dynamic, false, take)?;
    functions(elf, Table::Full, false, take)
}

/// A function that has code in the file.
#[derive(Clone, Copy)]
pub(super) struct Function<'d> {
    pub(super) name: Name<'d>,
    pub(super) offset: u64,
    /// The function's size in bytes, or 0 if the file does not state it.
    pub(super) size: u64,
    pub(super) is_weak: bool,
}

/// The result of a lookup by name: no offset, one, or several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Found {
    #[default]
    None,
    One(u64),
    Several,
}

/// The offsets of the functions with one name.
#[derive(Default, PartialEq, Eq)]
struct Offsets {
    strong: Found,
    weak: Found,
    /// Whether an earlier table has the name, so that later tables are ignored.
    is_closed: bool,
}

impl Offsets {
    fn add(&mut self, function: Function<'_>) {
        let found = if function.is_weak { &mut self.weak } else { &mut self.strong };
        *found = match *found {
            Found::None => Found::One(function.offset),
            Found::One(offset) if offset == function.offset => Found::One(offset),
            _ => Found::Several,
        };
    }

    fn the_one(&self) -> Found {
        if self.strong == Found::None { self.weak } else { self.strong }
    }
}

/// Calls `take` with each function of a table that has code in the file.
fn functions<'d>(
    elf: &Elf<'d>,
    table: Table,
    with_versions: bool,
    take: &mut dyn FnMut(Function<'d>),
) -> Result<(), Fault> {
    let versions = Versions::read(elf, table, with_versions)?;
    elf.symbols(table, &mut |symbol| {
        if !symbol.is_function() {
            return;
        }
        let Some(offset) = elf.code_of(&symbol) else { return };
        let (name, size) = (versions.name_of(&symbol), symbol.size());
        take(Function { name, offset, size, is_weak: symbol.is_weak() });
    })
}

/// The versions of the symbols of a table.
#[derive(Default)]
pub(super) struct Versions<'d> {
    /// The version index of each symbol, by its index.
    numbers: &'d [u8],
    /// The names of the versions that the file defines, with their version index.
    names: Vec<(u16, &'d [u8])>,
}

impl<'d> Versions<'d> {
    /// Reads the symbol versions of a table. If `wanted` is `false`, does not read the version sections: then only
    /// versions in the names of symbols are known.
    pub(super) fn read(elf: &Elf<'d>, table: Table, wanted: bool) -> Result<Self, Fault> {
        let (true, Table::Dynamic, Some(numbers)) = (wanted, table, elf.section(SHT_GNU_VERSYM)) else {
            return Ok(Self::default());
        };
        let numbers = elf.content(numbers)?;
        let Some(section) = elf.section(SHT_GNU_VERDEF) else { return Ok(Self { numbers, names: Vec::new() }) };
        // The size is checked before the table is read.
        let strings = elf.content(section).and_then(|_| elf.strings(section))?;
        let Some((mut definitions, _)) = section.gnu_verdef(NativeEndian, elf.data()).map_err(|_| CUT)? else {
            return Err(CUT);
        };
        let mut names = Vec::new();
        while let Some((definition, mut parts)) = definitions.next().map_err(|_| CUT)? {
            // The first entry is the version itself; the others are its predecessors.
            let Some(part) = parts.next().map_err(|_| CUT)? else { continue };
            names.push((
                definition.vd_ndx.get(NativeEndian).0,
                text(strings, part.vda_name.get(NativeEndian)).ok_or(CUT)?,
            ));
            if names.len() > MOST_VERSIONS {
                return Err(CUT);
            }
        }
        Ok(Self { numbers, names })
    }

    /// Returns the name of a symbol of the table with its version.
    pub(super) fn name_of(&self, symbol: &Symbol<'d>) -> Name<'d> {
        let name = Name::new(symbol.name);
        let number = symbol.index.checked_mul(2).and_then(|at| self.numbers.get(at..)?.first_chunk::<2>());
        let Some(number) = number else { return name };
        let number = u16::from_ne_bytes(*number) & !HIDDEN;
        let version = self.names.iter().find(|(other, _)| *other == number).map(|(_, version)| *version);
        Name { version, ..name }
    }
}

/// `VERSYM_HIDDEN`: the version is not the default one. A name without a version also matches symbols with this flag.
const HIDDEN: u16 = 0x8000;
/// A version index has 15 bits.
const MOST_VERSIONS: usize = 1 << 15;

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;

    use super::super::elf::{damage, read_bytes, read_file};
    use super::*;

    /// Returns a number. Its symbol, which contains this name in mangled form, is looked up.
    #[inline(never)]
    fn skelgen_symbols_are_found(number: u32) -> u32 {
        std::hint::black_box(number).wrapping_mul(0x1234_5677)
    }

    #[test]
    fn this_program_is_read() {
        assert_eq!(skelgen_symbols_are_found(1), 0x1234_5677);
        let wanted = ["*skelgen_symbols_are_found*"];
        let found = read_file(Path::new("/proc/self/exe"), "functions", |elf| find_all(elf, &wanted)).unwrap();
        // The address in memory minus that of the mapping is the offset in the file.
        let address = skelgen_symbols_are_found as *const () as usize as u64;
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let mapped = maps.lines().find_map(|line| {
            let mut words = line.split(' ');
            let (from, to) = words.next()?.split_once('-')?;
            let number = |text| u64::from_str_radix(text, 16).ok();
            let (from, to) = (number(from)?, number(to)?);
            let file = number(words.nth(1)?)?;
            (from..to).contains(&address).then(|| address - from + file)
        });
        assert!(found.contains(&mapped.unwrap()), "{found:x?} {mapped:x?}");
    }

    #[test]
    fn damaged_files_are_errors() {
        let whole = std::fs::read("/bin/true").or_else(|_| std::fs::read("/proc/self/exe")).unwrap();
        let all = |bytes: &[u8]| {
            read_bytes(bytes, |elf| {
                let _ = find_each(elf, &["nobody@V"]);
                find_all(elf, &["*"])
            })
        };
        assert!(all(&whole).is_ok());
        damage(&whole, |damaged| {
            let _ = all(damaged);
        });
        assert_eq!(all(b"#!/bin/sh"), Err(Fault::Bad("the file is not an ELF file".into())));
        let mut other = whole;
        other[5] = 3 - other[5];
        assert!(matches!(all(&other), Err(Fault::Bad(why)) if why.contains("-endian")));
    }

    const SOURCE: &str = r#"
        int puts(const char *);
        int plain(void) { return puts("x"); }
        static int chosen_a(void) { return 1; }
        static int (*choose(void))(void) { return chosen_a; }
        int chosen(void) __attribute__((ifunc("choose")));
        __attribute__((used)) int both_old(void) { return 1; }
        __attribute__((used)) int both_new(void) { return 2; }
        __attribute__((used, noinline)) static int hidden(void) { return 3; }
        __attribute__((used)) static int copy(void) __asm__("small.isra.0");
        static int copy(void) { return 4; }
        __attribute__((weak)) int soft(void) { return 5; }
        int data = 6;
        __asm__(".symver both_old,both@V1\n.symver both_new,both@@V2");
        __asm__(".text\n.globl untyped\nuntyped: nop\n.globl sizeless\n.type sizeless,@function\nsizeless: nop");
    "#;

    /// Builds a library. Returns `None` if there is no C compiler that can.
    fn library(name: &str, options: &[&str]) -> Option<Vec<u8>> {
        let work = std::env::temp_dir().join(format!("skelgen-symbols-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&work).unwrap();
        std::fs::write(work.join("lib.c"), SOURCE).unwrap();
        let map =
            "V1 { global: both; }; V2 { global: plain; chosen; both; soft; data; untyped; sizeless; local: *; } V1;";
        std::fs::write(work.join("map"), map).unwrap();
        let mut command = Command::new("cc");
        command.current_dir(&work).args(["-O1", "-shared", "-fPIC", "-Wl,--version-script=map", "-o", "out"]);
        let made = command.args(options).arg("lib.c").output().is_ok_and(|output| output.status.success());
        let bytes = made.then(|| std::fs::read(work.join("out")).unwrap());
        std::fs::remove_dir_all(work).unwrap();
        bytes
    }

    fn offset(bytes: &[u8], name: &str) -> Result<u64, Unfound> {
        read_bytes(bytes, |elf| find_each(elf, &[name])).unwrap().map(|offsets| offsets[0])
    }

    fn explained(bytes: &[u8], name: &str) -> String {
        let Unfound { what, note } = offset(bytes, name).unwrap_err();
        format!("{what}; {note}")
    }

    #[test]
    fn versions_are_libbpfs() {
        for options in [&[][..], &["-s"]] {
            let Some(bytes) = library(if options.is_empty() { "whole" } else { "exports" }, options) else { return };
            let [old, new] = ["both@V1", "both@@V2"].map(|name| offset(&bytes, name).unwrap());
            assert_ne!(old, new);
            // `@` and `@@` are equivalent.
            assert_eq!((offset(&bytes, "both@@V1"), offset(&bytes, "both@V2")), (Ok(old), Ok(new)));
            let ambiguous = explained(&bytes, "both");
            assert!(ambiguous.contains("2 functions") && ambiguous.contains("`both@V1` at"), "{ambiguous}");
            let other = explained(&bytes, "both@V3");
            assert!(other.contains("no version `V3`") && other.contains("both@V1"), "{other}");
            let all = read_bytes(&bytes, |elf| find_all(elf, &["bot?"])).unwrap();
            assert!(all.contains(&old) && all.contains(&new), "{all:?}");
            assert_eq!(read_bytes(&bytes, |elf| find_all(elf, &["bot?@V1"])), Ok(vec![old]));
            for name in ["plain", "soft", "sizeless", "plain@V2"] {
                assert!(offset(&bytes, name).is_ok(), "{name}");
            }
        }
    }

    #[test]
    fn each_cause_has_its_note() {
        let (Some(whole), Some(stripped)) = (library("notes", &[]), library("stripped", &["-s"])) else { return };
        for (bytes, name, words) in [
            (&whole, "chosen", &["IFUNC", "resolver at offset", "`chosen_a`"][..]),
            (&whole, "puts", &["imports the function", "libc.so"]),
            (&whole, "small", &["may be inlined", "`small.isra.0`"]),
            (&whole, "untyped", &["STT_NOTYPE"]),
            (&whole, "data", &["not a function, but data"]),
            (&whole, "nobody", &["no function `nobody`", "may be inlined"]),
            (&stripped, "hidden", &["was stripped", "exported"]),
            (&stripped, "chosen", &["IFUNC"]),
        ] {
            let explained = explained(bytes, name);
            assert!(words.iter().all(|word| explained.contains(word)), "{name}: {explained}");
        }
        assert!(offset(&whole, "hidden").is_ok());
        // Without section headers the symbols cannot be found.
        let mut headless = whole;
        headless[40..48].fill(0);
        headless[58..64].fill(0);
        let explained = explained(&headless, "plain");
        assert!(explained.contains("no section headers"), "{explained}");
    }
}
