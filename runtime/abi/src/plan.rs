//! The load plan of an object: tables and one blob, which connect the generator, generated code and the runtime.
//!
//! All three use the same types. The generator creates a plan with owned names and lists, and prints it as constants in
//! which they are borrowed; the runtime executes either form. The plan is data only: this module does not talk to a
//! kernel or execute steps. Adding, removing or reinterpreting a field requires a new [`VERSION`], so that a file of
//! a different version fails to compile instead of misbehaving at run time.
//!
//! To add a field, add a line to the declaration of its row, with a default value. The generator's printer then fails
//! to compile until it prints the field.

mod attach;
mod lines;
mod loader;
mod map;
mod program;
mod row;
mod symbol;

use alloc::borrow::Cow;
use core::ffi::CStr;

pub use self::attach::{Attach, Malformed, TargetKind};
pub use self::lines::{Line, decode_lines, encode_lines};
pub use self::loader::{HostValue, Loader, Setting};
pub use self::map::{JumpTable, Map, Member, Section, SectionKind, StructOps};
pub use self::program::{Body, Function, Patch, PatchKind, Program};
use self::row::row;
pub use self::symbol::{Kconfig, KconfigKind, Symbol, SymbolKind, absent_function, essential_name};

/// A string of a plan: borrowed in the constants of a generated file, owned in a plan under construction.
pub type Text = Cow<'static, str>;

/// A NUL-terminated string of a plan, borrowed or owned like [`Text`].
pub type CText = Cow<'static, CStr>;

/// A list of a plan, borrowed or owned like [`Text`].
pub type List<T> = Cow<'static, [T]>;

/// A Linux version: major and minor number.
pub type Version = (u16, u16);

/// The version of the plan format. A generated file asserts at compile time that it is the runtime's.
pub const VERSION: u32 = 10;

row! {
    /// A BPF object: all data that the runtime needs to load it.
    pub struct Object {
        /// The object's name: the file name up to the first dot, with characters that kernel names cannot contain
        /// replaced by `_`.
        name: Text,
        /// The license string of the object; empty if the object has none.
        license: CText,
        /// All long data: BTF, instructions, records and initial values, referenced by [`Span`]s.
        blob: List<u8>;
        /// The number in section `version`, or 0. Kernels since 5.0 ignore the number.
        kernel_version: u32 = 0,
        /// The BTF to load into the kernel.
        btf: Option<Span> = None,
        /// How the object's programs access percpu data; [`PercpuForm::Native`] if the object has no percpu data.
        percpu: PercpuForm = PercpuForm::Native,
        /// The maps, referenced by index elsewhere.
        maps: List<Map> = List::Borrowed(&[]),
        /// The functions that programs are assembled from, referenced by index elsewhere.
        functions: List<Function> = List::Borrowed(&[]),
        /// The programs, referenced by index elsewhere.
        programs: List<Program> = List::Borrowed(&[]),
        /// The symbols to look up in the running kernel, referenced by index elsewhere.
        symbols: List<Symbol> = List::Borrowed(&[]),
        /// The kernel configuration to read at load time, for the section of kind [`SectionKind::Kconfig`].
        kconfig: List<Kconfig> = List::Borrowed(&[]),
        /// The steps of the load, in order.
        steps: List<Step> = List::Borrowed(&[]),
        /// The loader program, which executes the steps in the kernel. The object then has no functions, because the
        /// programs are parts of its table.
        loader: Option<Loader> = None,
    }
}

impl Object {
    /// Returns a range of the blob; `None` if it is out of bounds.
    #[must_use]
    pub fn bytes(&self, span: Span) -> Option<&[u8]> {
        let from = usize::try_from(span.offset).ok()?;
        self.blob.get(from..)?.get(..usize::try_from(span.len).ok()?)
    }
}

/// How programs access percpu global data, which determines the map of a percpu section.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PercpuForm {
    /// Direct access to a percpu array. Requires Linux 7.3, on an architecture whose JIT supports percpu instructions.
    Native,
    /// Emulation, for kernels without direct access: each function computes the address of its CPU's copy. The map is
    /// an array of one element with the copies of all CPUs. Requires Linux 5.5, for arrays that can be mapped into
    /// memory.
    Emulated,
    /// Both: the skeleton contains code for direct access and for emulation, and the runtime chooses by the features of
    /// the running kernel.
    #[default]
    Either,
}

/// Returns the distance in bytes between the copies that two CPUs have of an emulated percpu section: a multiple of the
/// cache line size and of the alignment.
///
/// ```
/// use skelgen_abi::plan::percpu_stride;
/// assert_eq!(percpu_stride(65, 8), Some(128));
/// assert_eq!(percpu_stride(1, 256), Some(256));
/// ```
#[must_use]
pub const fn percpu_stride(size: u32, align: u32) -> Option<u32> {
    const CACHE_LINE: u32 = 64;
    let unit = if align > CACHE_LINE { align } else { CACHE_LINE };
    let size = if size == 0 { 1 } else { size };
    size.checked_next_multiple_of(unit)
}

/// Bytes that are aligned to eight bytes, as instructions and records require: the blob of a generated file.
#[derive(Debug)]
#[repr(C, align(8))]
pub struct Blob<T: ?Sized>(pub T);

/// A range of the blob, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// The offset of the range's first byte.
    pub offset: u32,
    /// The length of the range.
    pub len: u32,
}

impl Span {
    /// The empty range.
    pub const EMPTY: Self = Self { offset: 0, len: 0 };

    /// Creates the range of `len` bytes from `offset`.
    #[must_use]
    pub const fn new(offset: u32, len: u32) -> Self {
        Self { offset, len }
    }
}

/// A step of a load: one request to the kernel, except for [`Step::ResolveSymbols`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Loads the object's BTF (`BPF_BTF_LOAD`).
    LoadBtf,
    /// Finds the BTF ids of all symbols that the remaining steps need, in one pass over the kernel's BTF.
    ResolveSymbols,
    /// Creates a map (`BPF_MAP_CREATE`).
    CreateMap {
        /// The map.
        map: u32,
    },
    /// Writes the initial value of a global data map: one `BPF_MAP_UPDATE_ELEM` of key 0 with these flags.
    FillMap {
        /// The map.
        map: u32,
        /// The flags of the update; `BPF_F_ALL_CPUS` for percpu data.
        flags: u64,
    },
    /// Writes the running kernel's configuration to its section, with one `BPF_MAP_UPDATE_ELEM` of key 0.
    FillKconfig {
        /// The map.
        map: u32,
    },
    /// Makes a map read-only for system calls (`BPF_MAP_FREEZE`).
    FreezeMap {
        /// The map.
        map: u32,
    },
    /// Inserts a map into a map of maps (`BPF_MAP_UPDATE_ELEM`).
    InsertMap {
        /// The map of maps.
        outer: u32,
        /// The key, an integer as in an array of maps.
        key: u32,
        /// The map to insert.
        inner: u32,
    },
    /// Loads a program (`BPF_PROG_LOAD`).
    LoadProgram {
        /// The program.
        program: u32,
    },
    /// Binds a map that a program does not use to the program (`BPF_PROG_BIND_MAP`). Such maps contain constants that
    /// describe the program, such as the `bpf_metadata_` variables that bpftool prints.
    BindMap {
        /// The program.
        program: u32,
        /// The map.
        map: u32,
    },
    /// Inserts a program into a program array (`BPF_MAP_UPDATE_ELEM`).
    InsertProgram {
        /// The program array.
        map: u32,
        /// The key.
        key: u32,
        /// The program.
        program: u32,
    },
}
