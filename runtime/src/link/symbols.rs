//! Functions of program files by name: their offsets in the file, as the kernel wants them for uprobes.
//!
//! Names and versions mean what they mean to libbpf 1.8, so that a target that works there has the same offset here. Why a name has no
//! offset is up to `unfound`. Knows neither programs nor the kernel.

use std::fmt;

use object::NativeEndian;
use object::elf::{SHT_GNU_VERDEF, SHT_GNU_VERSYM};
use object::read::elf::SectionHeader as _;

use super::elf::{CUT, Elf, Fault, Symbol, Table, text};
use super::pattern;
use super::unfound::{self, Unfound};

/// The name of a function with the version that it may ask for: `NAME`, `NAME@VERSION` or `NAME@@VERSION`.
///
/// Symbols in `.symtab` are named in the same way; there, two signs mark the version that programs get that are linked now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Name<'n> {
    pub(super) function: &'n [u8],
    pub(super) version: Option<&'n [u8]>,
}

impl<'n> Name<'n> {
    pub(super) fn new(name: &'n [u8]) -> Self {
        let Some(at) = name.iter().position(|&byte| byte == b'@') else { return Self { function: name, version: None } };
        let (function, version) = (&name[..at], &name[at + 1..]);
        Self { function, version: Some(version.strip_prefix(b"@").unwrap_or(version)) }
    }
}

/// As it is given: `NAME` or `NAME@VERSION`.
impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.function))?;
        self.version.map_or(Ok(()), |version| write!(f, "@{}", String::from_utf8_lossy(version)))
    }
}

/// The offset of each of these functions, in their order.
///
/// As libbpf does, exported symbols are searched first and all others only for names that are not among these; a weak symbol yields to
/// one that is not; and a name that still has several offsets is ambiguous.
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

/// The offsets of all functions that one of the patterns stands for, in rising order. A pattern without a version stands for every
/// version.
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

/// A function that has code in the file.
#[derive(Clone, Copy)]
struct Function<'d> {
    name: Name<'d>,
    offset: u64,
    is_weak: bool,
}

/// How many offsets there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Found {
    #[default]
    None,
    One(u64),
    Several,
}

/// The offsets of the functions of one name.
#[derive(Default, PartialEq, Eq)]
struct Offsets {
    strong: Found,
    weak: Found,
    /// Whether a table had the name, so that the next one does not count.
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

/// Hands out the functions of a table that have code in the file.
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
        take(Function { name: versions.name_of(&symbol), offset, is_weak: symbol.is_weak() });
    })
}

/// Which versions the symbols of a table have.
#[derive(Default)]
pub(super) struct Versions<'d> {
    /// By the number of a symbol, the number of its version.
    numbers: &'d [u8],
    /// The names of the versions that the file defines, by their numbers.
    names: Vec<(u16, &'d [u8])>,
}

impl<'d> Versions<'d> {
    /// Those of a table; only what names of symbols themselves say if they are not `wanted`.
    pub(super) fn read(elf: &Elf<'d>, table: Table, wanted: bool) -> Result<Self, Fault> {
        let (true, Table::Dynamic, Some(numbers)) = (wanted, table, elf.section(SHT_GNU_VERSYM)) else {
            return Ok(Self::default());
        };
        let numbers = elf.content(numbers)?;
        let Some(section) = elf.section(SHT_GNU_VERDEF) else { return Ok(Self { numbers, names: Vec::new() }) };
        // Its size is checked before it is read.
        let strings = elf.content(section).and_then(|_| elf.strings(section))?;
        let Some((mut definitions, _)) = section.gnu_verdef(NativeEndian, elf.data()).map_err(|_| CUT)? else {
            return Err(CUT);
        };
        let mut names = Vec::new();
        while let Some((definition, mut parts)) = definitions.next().map_err(|_| CUT)? {
            // The first part is the version itself; the others are those that it continues.
            let Some(part) = parts.next().map_err(|_| CUT)? else { continue };
            names.push((definition.vd_ndx.get(NativeEndian).0, text(strings, part.vda_name.get(NativeEndian)).ok_or(CUT)?));
            if names.len() > MOST_VERSIONS {
                return Err(CUT);
            }
        }
        Ok(Self { numbers, names })
    }

    /// The name of a symbol of the table, with its version.
    pub(super) fn name_of(&self, symbol: &Symbol<'d>) -> Name<'d> {
        let name = Name::new(symbol.name);
        let number = symbol.index.checked_mul(2).and_then(|at| self.numbers.get(at..)?.first_chunk::<2>());
        let Some(number) = number else { return name };
        let number = u16::from_ne_bytes(*number) & !HIDDEN;
        let version = self.names.iter().find(|(other, _)| *other == number).map(|(_, version)| *version);
        Name { version, ..name }
    }
}

/// `VERSYM_HIDDEN`: a version that is only for programs that were linked to it. A name without a version stands for these as well.
const HIDDEN: u16 = 0x8000;
/// A number of a version has 15 bits.
const MOST_VERSIONS: usize = 1 << 15;
