//! All symbols of the running kernel, to look up by address or name.
//!
//! The symbols are sorted by address once. The first lookup by name makes an index by name. To store more about a symbol, add it to `Line` of
//! `kallsyms.rs` first. This module does not depend on where addresses come from.

use std::collections::HashMap;
use std::fmt;
use std::sync::OnceLock;

use super::kallsyms::{self, Line};
use crate::error::{Error, ErrorKind, Result, Step, Subject};
use crate::escape;

/// The largest distance in bytes from a symbol to an address that can belong to it: for code, and for variables.
/// Functions and variables are shorter; an address at a greater distance is in memory whose symbols the kernel does not
/// list. The largest variables are those of the log (`__log_buf`) and of debugging options.
const FARTHEST: u64 = 1 << 20;
const FARTHEST_DATA: u64 = 1 << 25;

/// The symbols of the running kernel, its modules and the BPF programs at the time of [`Symbols::load`].
///
/// A symbol takes 16 bytes and the length of its name: 5 MB for the 120,000 symbols of a small kernel. The first lookup by name adds four
/// bytes for each symbol. A lookup is a binary search and makes no request.
///
/// # Examples
/// Prints a stack trace that a program recorded with `bpf_get_stackid`:
/// ```no_run
/// use skelgen_runtime::{Result, kernel::Symbols, map::StackTraces};
///
/// fn print_stack(stacks: &StackTraces, symbols: &Symbols, id: u32) -> Result<()> {
///     for address in stacks.get(id)?.unwrap_or_default() {
///         match symbols.find(address) {
///             Some(location) => println!("  {address:#x} {location}"),
///             None => println!("  {address:#x}"),
///         }
///     }
///     Ok(())
/// }
/// ```
pub struct Symbols {
    /// Sorted by address. Symbols with one address are in the order of the file, in which the best name comes first.
    entries: Vec<Entry>,
    /// The names, each followed by a NUL.
    names: Vec<u8>,
    modules: Vec<Box<str>>,
    /// The indexes of the entries, by name and then by address.
    by_name: OnceLock<Vec<u32>>,
}

struct Entry {
    address: u64,
    /// The offset of the name in `names`.
    name: u32,
    /// The index of the symbol's module plus one; 0 for the kernel itself.
    module: u16,
    kind: u8,
}

/// A symbol of the kernel.
///
/// ```no_run
/// # fn f() -> skelgen_runtime::Result<()> {
/// let symbols = skelgen_runtime::kernel::Symbols::load()?;
/// for symbol in symbols.named("do_exit") {
///     println!("{:#x} {} {:?}", symbol.address, symbol.kind, symbol.module);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Symbol<'a> {
    /// The symbol's name.
    pub name: &'a str,
    /// The symbol's address.
    pub address: u64,
    /// The module that has the symbol, or `bpf` for a BPF program; `None` for the kernel itself.
    pub module: Option<&'a str>,
    /// The symbol's type as a letter, as `nm` prints it: `t` and `T` for code.
    pub kind: char,
}

/// An address as a symbol and a distance from it. Its `Display` is `NAME+OFFSET`, followed by the module in brackets.
///
/// ```no_run
/// # fn f(symbols: &skelgen_runtime::kernel::Symbols, address: u64) -> skelgen_runtime::Result<()> {
/// if let Some(location) = symbols.find(address) {
///     println!("{location}: {} bytes after {}", location.offset, location.symbol.name);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Location<'a> {
    /// The symbol with the highest address at or before this address.
    pub symbol: Symbol<'a>,
    /// The distance from the symbol to the address in bytes.
    pub offset: u64,
}

impl Symbols {
    /// Reads the symbols from `/proc/kallsyms`, which takes the kernel some hundredths of a second.
    ///
    /// Modules and programs that are loaded later are missing; if an address is not found, call this function again.
    ///
    /// # Errors
    /// If the file cannot be read or is empty, or the kernel hides addresses from this process: reading them requires
    /// `CAP_SYSLOG`, and a value below 2 in `/proc/sys/kernel/kptr_restrict`. If addresses are hidden, the kind is
    /// [`ErrorKind::NotPermitted`].
    pub fn load() -> Result<Self> {
        let mut builder = Builder::default();
        kallsyms::each(|line| builder.add(line)).map_err(|error| kallsyms::unread(&error))?;
        builder.finish()
    }

    /// Finds the symbol that contains an address, such as an address of a stack trace. Returns `None` if no symbol of
    /// the kernel contains the address.
    ///
    /// The kernel does not list the sizes of symbols, so the result is the symbol with the highest address at or before
    /// this address. If several symbols have that address, it is the first in `/proc/kallsyms`.
    #[must_use]
    pub fn find(&self, address: u64) -> Option<Location<'_>> {
        let behind = self.entries.partition_point(|entry| entry.address <= address);
        let last = self.entries.get(behind.checked_sub(1)?)?;
        let first = self.entries.partition_point(|entry| entry.address < last.address);
        // Percpu variables of older kernels have offsets instead of addresses.
        let aliases = self.entries[first..behind].iter().filter(|entry| !matches!(entry.kind, b'a' | b'A'));
        let entry = aliases.min_by_key(|entry| !is_code(entry.kind))?;
        let offset = address - entry.address;
        let farthest = if is_code(entry.kind) { FARTHEST } else { FARTHEST_DATA };
        (offset < farthest).then(|| Location { symbol: self.symbol(entry), offset })
    }

    /// Iterates over the symbols with this name, ordered by address. Static functions of different files can have one name.
    ///
    /// ```no_run
    /// # fn main() -> skelgen_runtime::Result<()> {
    /// let symbols = skelgen_runtime::kernel::Symbols::load()?;
    /// let address = symbols.named("do_unlinkat").next().map(|symbol| symbol.address);
    /// # let _ = address;
    /// # Ok(())
    /// # }
    /// ```
    pub fn named<'a>(
        &'a self,
        name: &str,
    ) -> impl ExactSizeIterator<Item = Symbol<'a>> + DoubleEndedIterator + use<'a> {
        let by_name = self.by_name.get_or_init(|| self.sorted_by_name());
        let name_of = |&index: &u32| self.entry(index).map_or("", |entry| self.name(entry));
        let begin = by_name.partition_point(|index| name_of(index) < name);
        let len = by_name[begin..].partition_point(|index| name_of(index) == name);
        by_name[begin..begin + len].iter().map(|&index| self.symbol(&self.entries[index as usize]))
    }

    /// Iterates over all symbols, ordered by address.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Symbol<'_>> + DoubleEndedIterator {
        self.entries.iter().map(|entry| self.symbol(entry))
    }

    fn sorted_by_name(&self) -> Vec<u32> {
        let count = u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
        let mut indexes: Vec<u32> = (0..count).collect();
        // The sort is stable, and indexes are in the order of addresses.
        indexes.sort_by_key(|&index| self.entry(index).map_or("", |entry| self.name(entry)));
        indexes
    }

    fn entry(&self, index: u32) -> Option<&Entry> {
        self.entries.get(usize::try_from(index).ok()?)
    }

    fn name(&self, entry: &Entry) -> &str {
        let rest = usize::try_from(entry.name).ok().and_then(|begin| self.names.get(begin..)).unwrap_or_default();
        let name = rest.split(|&byte| byte == 0).next().unwrap_or_default();
        std::str::from_utf8(name).unwrap_or_default()
    }

    fn symbol(&self, entry: &Entry) -> Symbol<'_> {
        let module = usize::from(entry.module).checked_sub(1).and_then(|index| self.modules.get(index));
        Symbol {
            name: self.name(entry),
            address: entry.address,
            module: module.map(|module| &**module),
            kind: char::from(entry.kind),
        }
    }
}

impl fmt::Debug for Symbols {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Symbols").field("len", &self.entries.len()).finish_non_exhaustive()
    }
}

impl fmt::Display for Location<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{:#x}", escape::Line(self.symbol.name), self.offset)?;
        self.symbol.module.map_or(Ok(()), |module| write!(f, " [{}]", escape::Line(module)))
    }
}

/// Collects the symbols from the lines of `/proc/kallsyms`.
#[derive(Default)]
struct Builder {
    entries: Vec<Entry>,
    names: Vec<u8>,
    modules: Vec<Box<str>>,
    known: HashMap<Box<str>, u16>,
    shown: bool,
}

impl Builder {
    fn add(&mut self, line: Line<'_>) {
        // All lines together have far less than 4 GiB.
        let Ok(name) = u32::try_from(self.names.len()) else { return };
        self.names.extend_from_slice(String::from_utf8_lossy(line.name).as_bytes());
        self.names.push(0);
        self.shown |= line.address != 0;
        let module = line.module.map_or(0, |module| self.module(&String::from_utf8_lossy(module)));
        self.entries.push(Entry { address: line.address, name, module, kind: line.kind });
    }

    /// Returns the index of a module plus one; 0 if there are too many.
    fn module(&mut self, name: &str) -> u16 {
        if let Some(&known) = self.known.get(name) {
            return known;
        }
        let Ok(number) = u16::try_from(self.modules.len() + 1) else { return 0 };
        self.modules.push(name.into());
        self.known.insert(name.into(), number);
        number
    }

    fn finish(mut self) -> Result<Symbols> {
        let failed = |kind, context: &str| {
            Error::of(kind, context).during(Step::ReadKernel).about(Subject::Path(kallsyms::PATH.as_ref()))
        };
        if self.entries.is_empty() {
            return Err(failed(ErrorKind::NotFound, "/proc/kallsyms is empty")
                .note("a sandbox hides the file, or the kernel is built without CONFIG_KALLSYMS"));
        }
        if !self.shown {
            return Err(failed(
                ErrorKind::NotPermitted,
                "the kernel hides the addresses of its symbols from this process",
            )
            .with_help(kallsyms::HIDDEN));
        }
        self.entries.sort_by_key(|entry| entry.address);
        self.entries.shrink_to_fit();
        self.names.shrink_to_fit();
        let Self { entries, names, modules, .. } = self;
        Ok(Symbols { entries, names, modules, by_name: OnceLock::new() })
    }
}

/// Returns whether the type of a symbol is that of code.
fn is_code(kind: u8) -> bool {
    matches!(kind, b't' | b'T' | b'w' | b'W')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn symbols(text: &str) -> Result<Symbols> {
        let mut builder = Builder::default();
        kallsyms::each_of(text.as_bytes(), |line| builder.add(line)).unwrap();
        builder.finish()
    }

    #[test]
    fn addresses_and_names() {
        let symbols = symbols(
            "0000000000000000 A percpu\nffffffff81000100 T second\nffffffff81000000 D data_there\nffffffff81000000 T _text\n\
             ffffffff81000000 T _stext\nffffffff81000200 t twice\nffffffff81000300 t twice\nffffffffc0000000 t in_module\t[some_module]\n\
             ffffffffc0000100 t bpf_prog_1\t[bpf]\n",
        )
        .unwrap();
        let shown = |address| symbols.find(address).map(|location| location.to_string());
        assert_eq!(shown(0xffff_ffff_8100_0010).unwrap(), "_text+0x10");
        assert_eq!(shown(0xffff_ffff_8100_0100).unwrap(), "second+0x0");
        assert_eq!(shown(0xffff_ffff_8100_01ff).unwrap(), "second+0xff");
        assert_eq!(shown(0xffff_ffff_c000_0042).unwrap(), "in_module+0x42 [some_module]");
        assert_eq!(shown(0xffff_ffff_c000_0100).unwrap(), "bpf_prog_1+0x0 [bpf]");
        assert_eq!((shown(0x7fff_0000_0000), shown(0), shown(u64::MAX)), (None, None, None));
        assert_eq!(shown(0xffff_ffff_a000_0000), None, "far behind the last symbol of the kernel's code");
        let data = self::symbols("ffffffff81000000 D first\nffffffff82000000 B _end\n").unwrap();
        assert_eq!(data.find(0xffff_ffff_81ff_ffff).unwrap().to_string(), "first+0xffffff");
        assert_eq!(data.find(0xffff_ffff_83ff_ffff).unwrap().symbol.name, "_end");
        assert_eq!(data.find(0xffff_ffff_8400_0000), None, "far behind the last variable");
        let addresses = |name| symbols.named(name).map(|symbol| symbol.address & 0xfff).collect::<Vec<_>>();
        assert_eq!(addresses("twice"), [0x200, 0x300]);
        assert_eq!((addresses("second"), addresses("twic"), addresses("twicer")), (vec![0x100], vec![], vec![]));
        let found = symbols.named("in_module").next().unwrap();
        assert_eq!((found.module, found.kind), (Some("some_module"), 't'));
        assert_eq!(symbols.iter().len(), 9);
    }

    #[test]
    fn hidden_addresses_are_an_error() {
        let hidden = symbols("0000000000000000 T _text\n0000000000000000 t other\n").unwrap_err();
        assert_eq!(hidden.kind(), ErrorKind::NotPermitted);
        assert!(hidden.help().unwrap().contains("kptr_restrict"), "{hidden}");
        assert_eq!(symbols("").unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[test]
    fn symbols_of_this_kernel() {
        let Ok(symbols) = Symbols::load() else {
            eprintln!("skipped: the kernel hides addresses from this process");
            return;
        };
        let text = symbols.named("_text").next().unwrap();
        assert_eq!(symbols.find(text.address + 1).unwrap().offset, 1);
    }
}
