//! The functions of an executable or shared library, for lookups by file offset: of addresses in stack traces, and for
//! probes.
//!
//! `elf` reads the file, and `symbols` iterates over its functions. The functions are sorted by offset once. Callers
//! convert the addresses of a process to file offsets.

use std::fmt;
use std::path::Path;

use super::elf::{self, Fault, Segment};
use super::search::resolve;
use super::symbols::{self, Function as Found};
use crate::error::Result;
use crate::escape;

/// The functions of an ELF file at the time of [`FileSymbols::load`]: those that it exports and, unless it was stripped, all others.
///
/// A function takes 24 bytes and the length of its name. A lookup is a binary search and makes no request. The symbols of the kernel are
/// [`kernel::Symbols`](crate::kernel::Symbols).
///
/// # Examples
/// Prints the function that contains an entry of a stack trace (`struct bpf_stack_build_id`, for maps with
/// [`MapFlags::STACK_BUILD_ID`](crate::uapi::MapFlags::STACK_BUILD_ID)):
/// ```no_run
/// # fn f(offset: u64) -> skelgen_runtime::Result<()> {
/// let symbols = skelgen_runtime::link::FileSymbols::load("/usr/bin/server")?;
/// if let Some(location) = symbols.find(offset) {
///     println!("{location}");
/// }
/// # Ok(())
/// # }
/// ```
///
/// ```
/// # fn f(symbols: &skelgen_runtime::link::FileSymbols, address: u64) {
/// // Converts an address that `nm` prints to the file offset that uprobes need.
/// println!("{:?}", symbols.offset_of(address));
/// # }
/// ```
pub struct FileSymbols {
    /// Sorted by offset. Functions with the same offset are in order of preference: exported before others, strong
    /// before weak.
    entries: Vec<Entry>,
    /// The names, each followed by a NUL.
    names: Vec<u8>,
    segments: Vec<Segment>,
}

struct Entry {
    offset: u64,
    size: u64,
    /// The offset of the name in `names`.
    name: u32,
    /// The index plus one of the nearest preceding entry that ends after this one; 0 if there is none.
    outer: u32,
}

/// A function of an ELF file.
///
/// ```no_run
/// # fn f() -> skelgen_runtime::Result<()> {
/// let symbols = skelgen_runtime::link::FileSymbols::load("libc.so.6")?;
/// for function in symbols.iter().filter(|function| function.name.starts_with("mall")) {
///     println!("{} at {:#x}", function.name, function.offset);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileFunction<'a> {
    /// The function's name, without a version; for C++ and Rust, the mangled name.
    pub name: &'a str,
    /// The offset of the function's first instruction in the file, in bytes; see [`Uprobe::at`](super::Uprobe::at).
    pub offset: u64,
    /// The function's size in bytes, or 0 if the file does not state it, as for some functions in assembler.
    pub size: u64,
}

/// A location in a file: a function and the distance from its first instruction. Its `Display` is `NAME+OFFSET`.
///
/// ```no_run
/// # fn f(symbols: &skelgen_runtime::link::FileSymbols) -> skelgen_runtime::Result<()> {
/// if let Some(location) = symbols.find(0x12_340) {
///     println!("{location}, in a function of {} bytes", location.function.size);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileLocation<'a> {
    /// The function.
    pub function: FileFunction<'a>,
    /// The distance from the function's first instruction in bytes.
    pub offset: u64,
}

impl FileSymbols {
    /// Reads the functions of an ELF file. A path without a directory is searched for in the directories of libraries (`.so`) or programs.
    ///
    /// # Errors
    /// If the file is not found, cannot be read, or is not an executable or shared library for this architecture.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = resolve(path.as_ref())?;
        elf::read_file(&path, "functions", Self::read)
    }

    fn read(elf: &elf::Elf<'_>) -> Result<Self, Fault> {
        let (mut found, mut names) = (Vec::new(), Vec::new());
        symbols::each(elf, &mut |Found { name, offset, size, is_weak }| {
            // All string tables of a file together are limited to far less than 4 GiB.
            let Ok(position) = u32::try_from(names.len()) else { return };
            names.extend_from_slice(String::from_utf8_lossy(name.function).as_bytes());
            names.push(0);
            found.push((Entry { offset, size, name: position, outer: 0 }, is_weak));
        })?;
        // The sort is stable: exported functions come first.
        found.sort_by_key(|(entry, is_weak): &(Entry, bool)| (entry.offset, *is_weak));
        let entries = found.into_iter().map(|(entry, _)| entry).collect();
        Ok(Self { entries: nested(entries), names, segments: elf.segments() })
    }

    /// Finds the function that contains the instruction at this offset of the file; of nested functions, the innermost
    /// one. Returns `None` if the file has no symbol for the instruction.
    #[must_use]
    pub fn find(&self, offset: u64) -> Option<FileLocation<'_>> {
        let mut behind = self.entries.partition_point(|entry| entry.offset <= offset);
        let nearest = behind;
        while let Some(last) = behind.checked_sub(1).and_then(|index| self.entries.get(index)) {
            let first = self.entries.partition_point(|entry| entry.offset < last.offset);
            let same = self.entries.get(first..nearest).into_iter().flatten();
            let mut same = same.take_while(|entry| entry.offset == last.offset);
            let distance = offset - last.offset;
            // A function without a size ends at the next function.
            let is_unsized = |entry: &Entry| entry.size == 0 && behind == nearest && self.is_in_segment(entry, offset);
            if let Some(entry) = same.find(|entry| distance < entry.size || is_unsized(entry)) {
                return Some(FileLocation { function: self.function(entry), offset: distance });
            }
            behind = usize::try_from(last.outer).unwrap_or(0);
        }
        None
    }

    /// Returns whether the offset is in the segment in which the function begins.
    fn is_in_segment(&self, function: &Entry, offset: u64) -> bool {
        self.segments.iter().any(|segment| {
            let range = elf::file_range(segment);
            range.contains(&function.offset) && range.contains(&offset)
        })
    }

    /// Returns the offset in the file of an address, as disassemblers and `nm` print it, or `None` if the file has no
    /// bytes for it. In a process, a position-independent file has different addresses: first subtract the address of the
    /// file's first mapping in `/proc/PID/maps`.
    #[must_use]
    pub fn offset_of(&self, address: u64) -> Option<u64> {
        elf::offset_in(&self.segments, address)
    }

    /// Iterates over the functions, ordered by offset. A function with several names appears with each.
    #[must_use]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = FileFunction<'_>> + DoubleEndedIterator {
        self.entries.iter().map(|entry| self.function(entry))
    }

    fn function(&self, entry: &Entry) -> FileFunction<'_> {
        let rest = usize::try_from(entry.name).ok().and_then(|begin| self.names.get(begin..)).unwrap_or_default();
        let name = rest.split(|&byte| byte == 0).next().unwrap_or_default();
        FileFunction { name: std::str::from_utf8(name).unwrap_or_default(), offset: entry.offset, size: entry.size }
    }
}

/// Sets `outer` of each entry. A lookup of an offset after the end of an entry continues with its `outer`: the entries
/// in between end even earlier.
fn nested(mut entries: Vec<Entry>) -> Vec<Entry> {
    let end = |entry: &Entry| entry.offset.saturating_add(entry.size);
    // The entries that can contain the next ones, as indexes plus one. Each of them ends after the following ones.
    let mut open: Vec<u32> = Vec::new();
    for index in 0..entries.len() {
        let Some(own) = entries.get(index).map(end) else { break };
        let ends_behind = |number: u32| {
            let outer = usize::try_from(number - 1).ok().and_then(|outer| entries.get(outer));
            outer.is_some_and(|outer| end(outer) > own)
        };
        let kept = open.iter().rposition(|number| ends_behind(*number)).map_or(0, |last| last + 1);
        open.truncate(kept);
        let outer = open.last().copied().unwrap_or(0);
        entries[index].outer = outer;
        open.extend(u32::try_from(index + 1));
    }
    entries
}

impl fmt::Display for FileLocation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{:#x}", escape::Line(self.function.name), self.offset)
    }
}

impl fmt::Debug for FileSymbols {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileSymbols").field("len", &self.entries.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn symbols(functions: &[(&str, u64, u64)]) -> FileSymbols {
        let mut names = Vec::new();
        let mut entries = Vec::new();
        for (name, offset, size) in functions {
            let position = u32::try_from(names.len()).unwrap();
            names.extend_from_slice(&[name.as_bytes(), b"\0"].concat());
            entries.push(Entry { offset: *offset, size: *size, name: position, outer: 0 });
        }
        FileSymbols { entries: nested(entries), names, segments: vec![elf::loading(0..40)] }
    }

    #[test]
    fn offsets_are_in_the_function_that_contains_them() {
        let symbols = symbols(&[("a", 10, 5), ("a_weak", 10, 8), ("b", 20, 0), ("c", 30, 1)]);
        let found = |offset| symbols.find(offset).map(|found| (found.function.name, found.offset));
        assert_eq!((found(9), found(10), found(14)), (None, Some(("a", 0)), Some(("a", 4))));
        assert_eq!((found(17), found(18)), (Some(("a_weak", 7)), None));
        assert_eq!((found(29), found(30), found(31), found(u64::MAX)), (Some(("b", 9)), Some(("c", 0)), None, None));
        assert_eq!(self::symbols(&[]).find(0), None);
    }

    #[test]
    fn functions_inside_of_others() {
        let all = [
            ("whole", 0, 30),
            ("part", 5, 10),
            ("also", 5, 12),
            ("deep", 6, 2),
            ("label", 9, 0),
            ("over", 25, 9),
            ("last", 36, 0),
        ];
        let symbols = symbols(&all);
        let found = |offset| symbols.find(offset).map(|found| found.function.name);
        assert_eq!([4, 5, 6, 8].map(found), [Some("whole"), Some("part"), Some("deep"), Some("part")]);
        // A label without a size extends to the next symbol.
        assert_eq!(
            [9, 16, 24, 25, 33].map(found),
            [Some("label"), Some("label"), Some("label"), Some("over"), Some("over")]
        );
        assert_eq!([34, 35, 36, 39, 40].map(found), [None, None, Some("last"), Some("last"), None], "the segment ends");
        let without = self::symbols(&[("whole", 0, 30), ("part", 5, 10), ("also", 5, 12), ("deep", 6, 2)]);
        let found = |offset| without.find(offset).map(|found| (found.function.name, found.offset));
        assert_eq!(
            [14, 15, 17, 29, 30].map(found),
            [Some(("part", 9)), Some(("also", 10)), Some(("whole", 17)), Some(("whole", 29)), None]
        );
    }

    #[test]
    #[cfg_attr(miri, ignore = "reads a file")]
    fn own_functions_are_found() {
        let symbols = FileSymbols::load("/proc/self/exe").unwrap();
        let own = symbols.iter().find(|function| function.name.contains("own_functions_are_found")).unwrap();
        assert_eq!(symbols.find(own.offset).map(|found| (found.function.offset, found.offset)), Some((own.offset, 0)));
        assert!(symbols.iter().zip(symbols.iter().skip(1)).all(|(one, next)| one.offset <= next.offset));
        assert_eq!(symbols.offset_of(u64::MAX), None);
        assert_eq!(FileSymbols::load("/proc/version").unwrap_err().kind(), ErrorKind::Malformed);
        assert_eq!(FileSymbols::load("/there/is/no").unwrap_err().kind(), ErrorKind::NotFound);
    }
}
