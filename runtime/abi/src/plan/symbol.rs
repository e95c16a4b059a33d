//! What a plan looks up in the running kernel: symbols by their names, and values of the kernel configuration.

use super::Text;
use super::row::row;

row! {
    /// A name to look up in the running kernel's BTF.
    pub struct Symbol {
        /// The name of the BTF type, whole: `btf_trace_sched_switch`, `bpf_iter_task`, `do_unlinkat`.
        name: Text,
        /// The kind of the BTF type.
        kind: SymbolKind;
        /// Whether its absence is not an error.
        weak: bool = false,
        /// The type that the object declares it with, by its id in the object's BTF: of a function its prototype. What the kernel has
        /// under the name must be compatible with it. Not set for what a program attaches to.
        ty: Option<u32> = None,
    }
}

/// The kinds of things that are looked up by name.
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
    /// No type: an address of `/proc/kallsyms`.
    Address,
}

/// The part of a name that counts where an object has several declarations of one type or function of the kernel: it ends before the
/// last `___` that stands between two other characters, as in libbpf.
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
    // Before an underscore, a name in UTF-8 can be cut.
    end.and_then(|end| name.get(..end)).unwrap_or(name)
}

row! {
    /// A variable that gets its value from the running kernel's configuration.
    pub struct Kconfig {
        /// `CONFIG_…`, or one of the `LINUX_…` that are about the kernel itself.
        name: Text,
        /// What its type can hold.
        kind: KconfigKind,
        /// Where it begins in the section, in bytes.
        offset: u32,
        /// Its size in bytes.
        size: u32;
        /// Whether it may be missing, and is zero then.
        weak: bool = false,
    }
}

/// What a variable of kernel configuration can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KconfigKind {
    /// `y` or `n`.
    Bool,
    /// `n`, `y` or `m`, as 0, 1 and 2 (`enum libbpf_tristate`).
    Tristate,
    /// The character `n`, `y` or `m` itself, or a number that fits.
    Char {
        /// Whether it is signed.
        signed: bool,
    },
    /// A number.
    Integer {
        /// Whether it is signed.
        signed: bool,
    },
    /// A text with a NUL at its end, cut to what fits.
    Text,
}
