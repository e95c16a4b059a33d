//! Kernel symbols and configuration values that a plan looks up in the running kernel.

use super::Text;
use super::row::row;

row! {
    /// A symbol to look up in the running kernel's BTF.
    pub struct Symbol {
        /// The full name of the BTF type: `btf_trace_sched_switch`, `bpf_iter_task`, `do_unlinkat`.
        name: Text,
        /// The kind of the BTF type.
        kind: SymbolKind;
        /// Whether the symbol may be missing.
        weak: bool = false,
        /// The object's declared type, as a BTF id; for a function its prototype. The kernel's symbol must be
        /// compatible with it. Not set for attach targets.
        ty: Option<u32> = None,
    }
}

/// The kinds of symbols.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SymbolKind {
    /// `BTF_KIND_FUNC`.
    Function,
    /// `BTF_KIND_TYPEDEF`.
    Typedef,
    /// `BTF_KIND_VAR`.
    Variable,
    /// `BTF_KIND_STRUCT`.
    Struct,
    /// No type: an address from `/proc/kallsyms`.
    Address,
}

impl SymbolKind {
    /// Returns the number of the kind of the symbol's type (`BTF_KIND_*` of `linux/btf.h`); 0, which no type has, for an address.
    #[must_use]
    pub const fn btf_kind(self) -> u8 {
        match self {
            Self::Struct => 4,
            Self::Typedef => 8,
            Self::Function => 12,
            Self::Variable => 14,
            Self::Address => 0,
        }
    }
}

/// Returns the number of a helper that no kernel has, which calls of an absent function with this index among the symbols refer to.
/// The verifier rejects a program only if it can reach such a call.
#[must_use]
pub const fn absent_function(symbol: u32) -> i32 {
    const FIRST: i32 = 2_002_000_000;
    FIRST.saturating_add_unsigned(symbol)
}

/// Returns the name without its flavor suffix, as in libbpf. An object can declare a kernel type or function several
/// times with different suffixes. The name ends before the last `___` between two other characters.
///
/// ```
/// use skelgen_abi::plan::essential_name;
/// assert_eq!(essential_name("task_struct___old"), "task_struct");
/// assert_eq!(essential_name("___ratelimit"), "___ratelimit");
/// ```
#[must_use]
pub fn essential_name(name: &str) -> &str {
    let separates = |window: &[u8]| matches!(window, [x, b'_', b'_', b'_', y] if *x != b'_' && *y != b'_');
    let end = name.as_bytes().windows(5).rposition(separates).map(|at| at + 1);
    // The cut is before an underscore, so it is a character boundary.
    end.and_then(|end| name.get(..end)).unwrap_or(name)
}

row! {
    /// A variable with a value from the running kernel's configuration.
    pub struct Kconfig {
        /// `CONFIG_…`, or one of the `LINUX_…` variables about the kernel itself.
        name: Text,
        /// The kind of the variable's values.
        kind: KconfigKind,
        /// The variable's offset in the section, in bytes.
        offset: u32,
        /// The variable's size in bytes.
        size: u32;
        /// Whether the option may be missing. The variable of a missing option is zero.
        weak: bool = false,
    }
}

/// The values of a kernel configuration variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KconfigKind {
    /// `y` or `n`.
    Bool,
    /// `n`, `y` or `m`, as 0, 1 and 2 (`enum libbpf_tristate`).
    Tristate,
    /// The character `n`, `y` or `m`, or a number in range.
    Char {
        /// Whether the `char` is signed.
        signed: bool,
    },
    /// An integer.
    Integer {
        /// Whether the integer is signed.
        signed: bool,
    },
    /// A NUL-terminated string, truncated to its size.
    Text,
}
