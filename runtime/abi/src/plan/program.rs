//! Programs of a plan, the functions that they are assembled from, and what is written into instructions before they are loaded.

use super::row::row;
use super::{Attach, List, Span, Text, Version};
use crate::uapi::{AttachType, ProgramType};

row! {
    /// A program to load.
    pub struct Program {
        /// The name of its function.
        name: Text,
        /// The name of its section in the object.
        section: Text,
        /// Its type.
        program_type: ProgramType,
        /// How it attaches by itself.
        attach: Attach,
        /// Its functions in the order in which the kernel gets them, each once: indexes into [`Object::functions`](super::Object::functions). The program's own
        /// function is first.
        functions: List<u32>;
        /// What the kernel must know at load of where it will attach; 0 where it need not know.
        expected_attach_type: AttachType = AttachType(0),
        /// Flags of `BPF_PROG_LOAD`.
        flags: u32 = 0,
        /// Whether it is loaded unless the user says otherwise (`?` before a section's name switches it off).
        autoload: bool = true,
        /// The first upstream Linux that loads programs of its section, major and minor number; `(0, 0)` if that is not known.
        since: Version = (0, 0),
        /// The symbol whose BTF id is the program's `attach_btf_id`.
        target: Option<u32> = None,
    }
}

row! {
    /// A function of one or more programs.
    ///
    /// It stands once in an object, whichever programs call it: [`PatchKind::Subprogram`] says where its instructions call others.
    pub struct Function {
        /// BTF id of the function in the object's BTF, 0 if it has none. A program is loaded with function and line records only if all of
        /// its functions have an id.
        btf_id: u32,
        /// Instructions and what comes with them. Where the object holds only the emulated form of percpu data, that form.
        body: Body;
        /// The same function for kernels without direct access to percpu data, if it uses any and the object holds both forms.
        emulated: Option<Body> = None,
    }
}

/// The instructions of a function and the records that describe them. Instructions are counted from the function's first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Body {
    /// Instructions, eight bytes each.
    pub insns: Span,
    /// What to write into the instructions before they are loaded: [`Patch`]es, [`Patch::SIZE`] bytes each, by rising instruction.
    pub patches: Span,
    /// `struct bpf_line_info`, sixteen bytes each.
    pub line_info: Span,
    /// `struct bpf_core_relo`, sixteen bytes each.
    pub core_relos: Span,
}

impl Body {
    /// No instructions.
    pub const NONE: Self =
        Self { insns: Span::EMPTY, patches: Span::EMPTY, line_info: Span::EMPTY, core_relos: Span::EMPTY };
}

/// An instruction of a function that depends on the running system or on the program that the function is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patch {
    /// Index of the instruction in its function.
    pub insn: u32,
    /// What to write there.
    pub kind: PatchKind,
}

impl Patch {
    /// Bytes of a patch in the blob: the instruction's index, then the number of the kind above 24 bits of what it is about, both
    /// in little-endian order.
    pub const SIZE: usize = 8;

    /// The most that a kind can be about: maps, symbols, functions.
    pub const MAX_INDEX: u32 = (1 << 24) - 1;

    /// The patch as it stands in the blob; `None` if its kind is about more than [`Patch::MAX_INDEX`].
    ///
    /// ```
    /// use skelgen_abi::plan::{Patch, PatchKind};
    /// let patch = Patch { insn: 4, kind: PatchKind::Map(2) };
    /// assert_eq!(patch.to_bytes().and_then(Patch::from_bytes), Some(patch));
    /// ```
    #[must_use]
    pub fn to_bytes(self) -> Option<[u8; Self::SIZE]> {
        let (kind, index) = match self.kind {
            PatchKind::Map(index) => (0, index),
            PatchKind::ArenaValue(index) => (1, index),
            PatchKind::Variable(index) => (2, index),
            PatchKind::Address(index) => (3, index),
            PatchKind::Function(index) => (4, index),
            PatchKind::CpuMask => (5, 0),
            PatchKind::Stride(index) => (6, index),
            PatchKind::Subprogram(index) => (7, index),
            PatchKind::JumpTable(index) => (8, index),
        };
        let [a, b, c, d] = self.insn.to_le_bytes();
        let [e, f, g, over] = index.to_le_bytes();
        (over == 0).then_some([a, b, c, d, e, f, g, kind])
    }

    /// The patch that stands so in the blob; `None` if its kind is unknown.
    #[must_use]
    pub fn from_bytes([a, b, c, d, e, f, g, kind]: [u8; Self::SIZE]) -> Option<Self> {
        let index = u32::from_le_bytes([e, f, g, 0]);
        let kind = match kind {
            0 => PatchKind::Map(index),
            1 => PatchKind::ArenaValue(index),
            2 => PatchKind::Variable(index),
            3 => PatchKind::Address(index),
            4 => PatchKind::Function(index),
            5 => PatchKind::CpuMask,
            6 => PatchKind::Stride(index),
            7 => PatchKind::Subprogram(index),
            8 => PatchKind::JumpTable(index),
            _ => return None,
        };
        Some(Self { insn: u32::from_le_bytes([a, b, c, d]), kind })
    }
}

/// What a patch writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchKind {
    /// A map's file descriptor into the immediate of an `ld_imm64` whose source register and second immediate are right.
    Map(u32),
    /// The file descriptor of an arena into the immediate of an `ld_imm64` of one of its variables, and where its variables begin
    /// added to the second immediate.
    ArenaValue(u32),
    /// A kernel variable's or function's BTF id and BTF file descriptor into both immediates of an `ld_imm64`.
    Variable(u32),
    /// A kernel symbol's address into both immediates of an `ld_imm64`; 0 if it is weak and not there.
    Address(u32),
    /// A kernel function's BTF id into the immediate of a call, and its module into the offset.
    Function(u32),
    /// The smallest 2^n - 1 that is no less than the number of the last possible CPU, into the immediate of an `and`.
    CpuMask,
    /// How many bytes apart the copies of this emulated percpu section are, into the immediate of a multiplication: the size of
    /// a section may be changed before it is loaded.
    Stride(u32),
    /// The distance in instructions to a function of the same program, into the immediate of a call or of an `ld_imm64`.
    Subprogram(u32),
    /// The file descriptor of one of the function's jump tables, by its number among them, into the immediate of an `ld_imm64` whose
    /// source register is right.
    JumpTable(u32),
}
