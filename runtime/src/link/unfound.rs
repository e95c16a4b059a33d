//! Explanations why a function name has no offset in an ELF file, with the next step for the user.
//!
//! Each cause (an inlined, imported, stripped or indirect function) has a note of its own, because "not found" alone
//! does not show what to do next. The symbols are read again, but only for an error. This module depends on neither
//! programs nor the kernel.

use object::NativeEndian;
use object::elf::{SHT_DYNAMIC, SHT_GNU_VERNEED};
use object::read::elf::SectionHeader as _;

use super::elf::{Elf, Fault, Symbol, Table, text};
use super::symbols::{Name, Versions};

/// The reason why a name has no offset, as a phrase that follows the name of the file, and the next step for the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unfound {
    pub(super) what: String,
    pub(super) note: String,
}

/// The maximum number of names and offsets in a note.
const MOST_LISTED: usize = 4;

/// Explains why no function with code in this file has the name.
#[cold]
pub(super) fn explain(elf: &Elf<'_>, name: &str) -> Result<Unfound, Fault> {
    let wanted = Name::new(name.as_bytes());
    let seen = Seen::read(elf, wanted)?;
    let what = format!("has no function `{name}`");
    let similar = list(seen.similar);
    let has_similar = if similar.is_empty() { String::new() } else { format!("; the file has {similar}") };
    let has_full_table = elf.table(Table::Full).is_some();
    let note = if elf.sections.is_empty() {
        "the file has no section headers, so its symbols cannot be found: attach by an offset in the file".to_owned()
    } else if let (false, Some(version)) = (seen.versions.is_empty(), wanted.version) {
        let version = String::from_utf8_lossy(version);
        let function = String::from_utf8_lossy(wanted.function);
        if seen.has_versions {
            format!("the function has no version `{version}`; the file has {}", list(seen.versions))
        } else {
            format!("the file has `{function}` without versions: omit `@{version}`")
        }
    } else if let Some(offset) = seen.indirect {
        format!(
            "the function is indirect (IFUNC): its resolver at offset {offset:#x} selects the code when a process starts{has_similar}; \
             attach to the selected function by name or by an offset in the file"
        )
    } else if let Some(library) = &seen.imported {
        let from = match (library, needed(elf)) {
            (Some(library), _) => library.clone(),
            (None, libraries) if libraries.is_empty() => "the library that defines it".to_owned(),
            (None, libraries) => format!("the library that defines it, one of {}", list(libraries)),
        };
        format!("the file only imports the function: attach to {from}")
    } else if seen.without_code {
        "the symbol has no code in this file, as in a file with separate debug information: attach to the file that has the code"
            .to_owned()
    } else if seen.untyped {
        "the symbol has no type (STT_NOTYPE), as in assembler code without `.type`: attach by an offset in the file"
            .to_owned()
    } else if seen.other {
        "the symbol is not a function, but data".to_owned()
    } else if has_full_table {
        format!("it may be inlined{has_similar}")
    } else if elf.table(Table::Dynamic).is_none() {
        "the file was stripped of all symbols: attach by an offset in the file".to_owned()
    } else {
        let compressed = match elf.address_of_section(b".gnu_debugdata")? {
            Some(_) => "; `.gnu_debugdata`, which may contain others, is not supported",
            None => "",
        };
        format!(
            "the file was stripped: only exported functions have names{compressed}{has_similar}; attach by an offset in the file, or to a \
             file with symbols"
        )
    };
    Ok(Unfound { what, note })
}

/// Explains which functions have an ambiguous name.
#[cold]
pub(super) fn ambiguous(elf: &Elf<'_>, name: &str) -> Result<Unfound, Fault> {
    let wanted = Name::new(name.as_bytes());
    let mut all: Vec<String> = Vec::new();
    let mut offsets = Vec::new();
    let mut versioned = false;
    for table in [Table::Dynamic, Table::Full] {
        let versions = Versions::read(elf, table, true).unwrap_or_default();
        elf.symbols(table, &mut |symbol| {
            let name = versions.name_of(&symbol);
            let Some(offset) = elf.code_of(&symbol).filter(|_| symbol.is_function()) else { return };
            if name.function == wanted.function && (wanted.version.is_none() || wanted.version == name.version) {
                versioned |= name.version.is_some() && wanted.version.is_none();
                offsets.push(offset);
                push_new(&mut all, format!("`{name}` at offset {offset:#x}"));
            }
        })?;
        if !all.is_empty() {
            break;
        }
    }
    offsets.sort_unstable();
    offsets.dedup();
    let functions = list(all);
    Ok(Unfound {
        what: format!("has {} functions `{name}`", offsets.len()),
        note: format!(
            "the file has {functions}: attach by {}an offset in the file",
            if versioned { "a version or " } else { "" }
        ),
    })
}

/// What the file has under a name for which no function with code was found.
#[derive(Default)]
struct Seen {
    /// Functions with this name but a different version. `has_versions` is whether any of them has a version.
    versions: Vec<String>,
    has_versions: bool,
    /// The offset of the resolver of an indirect function.
    indirect: Option<u64>,
    /// `Some` if the file imports the function, with the library's name if it is known.
    imported: Option<Option<String>>,
    without_code: bool,
    untyped: bool,
    other: bool,
    /// Functions that the compiler may have created from the function with the name.
    similar: Vec<String>,
}

impl Seen {
    #[cold]
    fn read(elf: &Elf<'_>, wanted: Name<'_>) -> Result<Self, Fault> {
        let mut seen = Self::default();
        for table in [Table::Dynamic, Table::Full] {
            let versions = Versions::read(elf, table, true).unwrap_or_default();
            elf.symbols(table, &mut |symbol| {
                let name = versions.name_of(&symbol);
                if name.function == wanted.function {
                    seen.add(elf, &symbol, name, table);
                } else if symbol.is_function() && symbol.is_defined() && is_similar(name.function, wanted.function) {
                    push_new(&mut seen.similar, format!("`{name}`"));
                }
            })?;
        }
        Ok(seen)
    }

    #[cold]
    fn add(&mut self, elf: &Elf<'_>, symbol: &Symbol<'_>, name: Name<'_>, table: Table) {
        if !symbol.is_defined() {
            if self.imported.as_ref().is_none_or(Option::is_none) {
                let library = if table == Table::Dynamic { library_of(elf, symbol.index) } else { None };
                self.imported = Some(library);
            }
        } else if symbol.is_indirect() {
            self.indirect = self.indirect.or(elf.code_of(symbol)).or(Some(0));
        } else if symbol.is_function() && elf.code_of(symbol).is_none() {
            self.without_code = true;
        } else if symbol.is_function() {
            push_new(&mut self.versions, format!("`{name}`"));
            self.has_versions |= name.version.is_some();
        } else if symbol.is_untyped() {
            self.untyped = true;
        } else {
            self.other = true;
        }
    }
}

/// Returns whether a function may be derived from another: a part or a clone that the compiler created, a mangled name
/// of C++ or Rust, or the code of an indirect function.
fn is_similar(function: &[u8], wanted: &[u8]) -> bool {
    if wanted.is_empty() {
        return false;
    }
    if let Some(suffix) = function.strip_prefix(wanted) {
        if suffix.starts_with(b".") || suffix.starts_with(b"_") {
            return true;
        }
    }
    let is_mangled = function.starts_with(b"_Z") || function.starts_with(b"_R");
    let chosen = function.strip_prefix(b"__").and_then(|rest| rest.strip_prefix(wanted));
    chosen.is_some_and(|rest| rest.starts_with(b"_"))
        || is_mangled && contains(function, &[wanted.len().to_string().as_bytes(), wanted].concat())
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// Returns the library that an imported symbol comes from, by its required version.
#[cold]
fn library_of(elf: &Elf<'_>, symbol: usize) -> Option<String> {
    let numbers = elf.content(elf.section(object::elf::SHT_GNU_VERSYM)?).ok()?;
    let number = u16::from_ne_bytes(*numbers.get(symbol.checked_mul(2)?..)?.first_chunk()?) & 0x7fff;
    let section = elf.section(SHT_GNU_VERNEED)?;
    let strings = elf.strings(section).ok()?;
    let (mut needs, _) = section.gnu_verneed(NativeEndian, elf.data()).ok()??;
    // A file can claim many more entries than it has space for.
    let mut left = 1 << 16_u32;
    while let Some((need, mut versions)) = needs.next().ok()? {
        while let Some(version) = versions.next().ok()? {
            left = u32::checked_sub(left, 1)?;
            if version.vna_other(NativeEndian).index().0 == number {
                return text(strings, need.vn_file.get(NativeEndian))
                    .map(|file| String::from_utf8_lossy(file).into_owned());
            }
        }
    }
    None
}

/// Returns the libraries that a file needs.
#[cold]
fn needed(elf: &Elf<'_>) -> Vec<String> {
    let libraries = || {
        let section = elf.section(SHT_DYNAMIC)?;
        let (strings, bytes) = (elf.strings(section).ok()?, elf.content(section).ok()?);
        let width = elf.address_size();
        let number = |bytes: &[u8]| match width {
            8 => bytes.first_chunk().map(|bytes| u64::from_ne_bytes(*bytes)),
            _ => bytes.first_chunk().map(|bytes| u64::from(u32::from_ne_bytes(*bytes))),
        };
        let needed = bytes.chunks_exact(2 * width).filter(|entry| number(entry) == Some(1));
        let names = needed.filter_map(|entry| text(strings, u32::try_from(number(&entry[width..])?).ok()?));
        Some(names.take(MOST_LISTED + 1).map(|name| String::from_utf8_lossy(name).into_owned()).collect())
    };
    libraries().unwrap_or_default()
}

/// Adds a text, unless the list contains it or is full. A file can have millions of symbols.
fn push_new(all: &mut Vec<String>, text: String) {
    if all.len() <= MOST_LISTED && !all.contains(&text) {
        all.push(text);
    }
}

/// Formats a list as `A, B`, with `…` in place of the entries beyond the limit.
fn list(mut all: Vec<String>) -> String {
    if all.len() > MOST_LISTED {
        all[MOST_LISTED] = "…".to_owned();
    }
    all.join(", ")
}
