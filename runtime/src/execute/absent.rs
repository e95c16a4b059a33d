//! Kernel symbols and maps that do not exist: instructions that refer to them are patched so that the verifier rejects a program only
//! if it can reach them, and its log is then translated to an error.
//!
//! Three kinds of instructions are replaced by calls of helpers that no kernel has: a call of an absent kernel function, a load of the
//! address of a map that was not created, and an instruction whose CO-RE relocation has no target. The verifier rejects the program only
//! if it can reach such a call. Its log then contains the helper's number, which identifies the absent function or map. The address of an
//! absent variable becomes zero, so that programs can test it.

use super::assemble::functions;
use super::{Executor, at};
pub(super) use crate::abi::absent_function as function;
use crate::abi::{PatchKind, Program, SymbolKind};

/// The first helper number for calls of absent functions; the symbol's index is added.
const FUNCTIONS: i32 = function(0);

/// The first helper number for addresses of maps that were not created; the map's index is added.
const MAPS: i32 = 2_001_000_000;

/// The number of helper numbers for functions, and for maps.
const EACH: i32 = 1_000_000;

/// The verifier's messages about a number that is used as an address, before and since Linux 5.18.
const NOT_AN_ADDRESS: [&str; 4] =
    ["invalid mem access 'scalar'", "invalid mem access 'inv'", "type=scalar expected=", "type=inv expected="];

/// Returns the helper number for the address of a map that was not created.
pub(super) const fn map(map: u32) -> i32 {
    MAPS.saturating_add_unsigned(map)
}

/// Why a symbol is absent.
#[derive(Clone, Debug)]
pub(super) enum Absence {
    /// No BTF that could be read has a symbol with this name. The notes list the BTF that could not be read.
    Unknown(Vec<String>),
    /// The kernel has a symbol with this name, but with a different type.
    OtherType(Mismatch),
    /// The symbol is in the BTF of `vmlinux` or of the module with this name, but has no address in `/proc/kallsyms`.
    NoAddress(String),
    /// The symbol is in the module with this name, whose BTF this process has no right to open.
    Forbidden(String),
}

/// Two types that are not compatible.
#[derive(Clone, Debug)]
pub(super) struct Mismatch {
    /// The object's declaration.
    pub(super) declared: String,
    /// The kernel's declaration.
    pub(super) found: String,
    /// `vmlinux`, or the name of the module.
    pub(super) owner: String,
}

impl Absence {
    /// Returns the reason, for a parenthesis in a sentence about the symbol.
    fn reason(&self) -> String {
        match self {
            Self::Unknown(unread) if unread.is_empty() => {
                "neither vmlinux nor a loaded module has the symbol".to_owned()
            }
            Self::Unknown(unread) => {
                format!("the symbol was not found, but not all BTF could be read: {}", unread.join("; "))
            }
            Self::OtherType(Mismatch { declared, found, owner }) => {
                format!("the object declares `{declared}`, and {owner} has `{found}`")
            }
            Self::NoAddress(owner) => {
                format!("the symbol is in the BTF of {owner}, but has no address in /proc/kallsyms")
            }
            Self::Forbidden(owner) => {
                format!("this process has no permission to open the BTF of {owner}, which has the symbol")
            }
        }
    }
}

impl Executor {
    /// Returns a note that names the absent function, map, type or variable, if the verifier rejected the program
    /// because it uses it.
    pub(super) fn absent(&self, program: &'static Program, log: Option<&str>) -> Option<String> {
        let log = log?;
        match called(log) {
            Some((_, number)) if in_range(number, MAPS) => self.absent_map(number - MAPS),
            Some((Some(insn), number)) if number == crate::relocate::ABSENT_HELPER => {
                self.parts.core.and_then(|part| (part.unresolved)(self, program, insn))
            }
            called => {
                self.parts.symbols.and_then(|part| (part.absent)(self, program, called.map(|(_, number)| number), log))
            }
        }
    }

    /// Returns a note that names the absent function or variable. `called` is the number of the last unknown helper that
    /// the log has.
    pub(super) fn absent_symbol(&self, program: &'static Program, called: Option<i32>, log: &str) -> Option<String> {
        match called {
            Some(number) if in_range(number, FUNCTIONS) => self.absent_function(number - FUNCTIONS),
            _ => self.absent_variables(program, log),
        }
    }

    fn absent_map(&self, map: i32) -> Option<String> {
        let map = at(&self.object.maps, u32::try_from(map).ok()?)?;
        Some(format!(
            "the program uses map `{}`, which was not created because its auto-create is off: leave the program out as well with \
            `set_autoload(false)`, enable auto-create of the map, or guard the use by a constant in .rodata",
            map.name
        ))
    }

    fn absent_function(&self, symbol: i32) -> Option<String> {
        let index = u32::try_from(symbol).ok()?;
        let symbol = at(&self.object.symbols, index)?;
        let reason = self.symbols.absence(index)?.reason();
        Some(format!(
            "the program calls kernel function `{0}`, which is declared `__weak` and was not found in this kernel ({reason}): guard the call by \
             `if (bpf_ksym_exists({0}))`, or leave the program out with `set_autoload(false)`",
            symbol.name
        ))
    }

    /// Returns a note about absent kernel variables, if the verifier rejected the program because it used a number (the zero in place of
    /// their address) as an address.
    fn absent_variables(&self, program: &'static Program, log: &str) -> Option<String> {
        if !NOT_AN_ADDRESS.iter().any(|text| log.contains(text)) {
            return None;
        }
        let mut found: Vec<(u32, &str)> = Vec::new();
        let mut patches = Vec::new();
        for (number, function) in functions(self.object, program) {
            let start = self.start_of(program, number).ok()?;
            for patch in self.patches(self.body(function.ok()?)).ok()? {
                patches.push((start, patch.ok()?));
            }
        }
        for (start, patch) in patches {
            let PatchKind::Variable(index) = patch.kind else { continue };
            let symbol = at(&self.object.symbols, index).filter(|symbol| symbol.kind == SymbolKind::Variable);
            let Some(symbol) = symbol.filter(|_| self.symbols.absence(index).is_some()) else { continue };
            // The log lists the instructions on the path to the error.
            let load = format!("{}: (18)", start.saturating_add(patch.insn));
            let is_passed = log.lines().any(|line| line.trim_start().starts_with(&load));
            if is_passed && !found.iter().any(|(known, _)| *known == index) {
                found.push((index, &*symbol.name));
            }
        }
        let (index, name) = found.last()?;
        let reason = self.symbols.absence(*index)?.reason();
        let others: Vec<_> = found[..found.len() - 1].iter().map(|(_, name)| format!("`{name}`")).collect();
        let others = if others.is_empty() { String::new() } else { format!("; also absent: {}", others.join(", ")) };
        Some(format!(
            "the program uses the address of kernel variable `{name}`, which is declared `__weak` and was not found in this kernel, so the address is 0 \
            ({reason}){others}: guard the use by `if (bpf_ksym_exists({name}))`, or leave the program out with `set_autoload(false)`"
        ))
    }
}

fn in_range(number: i32, first: i32) -> bool {
    (first..first + EACH).contains(&number)
}

/// Finds the last call of an unknown helper in a log: the index of the instruction, if the log has it, and the helper's number.
fn called(log: &str) -> Option<(Option<usize>, i32)> {
    const MARK: &str = "unknown#";
    let lines: Vec<&str> = log.lines().collect();
    let at = lines.iter().rposition(|line| line.contains(MARK))?;
    let (_, rest) = lines[at].rsplit_once(MARK)?;
    let digits = rest.find(|char: char| !char.is_ascii_digit()).map_or(rest, |end| &rest[..end]);
    // This line or an earlier one begins with the index of the instruction: `12: (85) call unknown#195896080`.
    let number = |line: &&str| line.split_once(": (85)").and_then(|(number, _)| number.trim().parse().ok());
    Some((lines[..=at].iter().rev().find_map(number), digits.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_in_logs() {
        let log = "0: R1=ctx()\n3: (85) call unknown#2002000007\ninvalid func unknown#2002000007\nprocessed 4 insns\n";
        assert_eq!(called(log), Some((Some(3), function(7))));
        assert_eq!(called("invalid func unknown#2001000001"), Some((None, map(1))));
        assert_eq!(called("12: (85) call bpf_probe_read#4"), None);
        assert_eq!(called("call unknown#99999999999"), None);
        assert!(in_range(function(0), FUNCTIONS) && in_range(map(999_999), MAPS) && !in_range(function(0), MAPS));
    }
}
