//! Programs of a plan, the functions they are assembled from, and patches of instructions.

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
        /// How it attaches.
        attach: Attach,
        /// Its functions, as unique indices into [`Object::functions`](super::Object::functions), in the order of the
        /// kernel. The program's own function is first.
        functions: List<u32>;
        /// The attach type that the kernel requires at load time, or 0.
        expected_attach_type: AttachType = AttachType(0),
        /// Flags of `BPF_PROG_LOAD`.
        flags: u32 = 0,
        /// Whether it is loaded by default (`?` before the section's name disables it).
        autoload: bool = true,
        /// The first upstream Linux that loads programs of its section; `(0, 0)` if unknown.
        since: Version = (0, 0),
        /// The symbol whose BTF id is the program's `attach_btf_id`.
        target: Option<u32> = None,
    }
}

row! {
    /// A function of one or more programs.
    ///
    /// An object contains a function once, whichever programs call it. [`PatchKind::Subprogram`] marks instructions
    /// that call other functions.
    pub struct Function {
        /// The BTF id of the function in the object, or 0. A program is loaded with function and line records only if
        /// all its functions have an id.
        btf_id: u32,
        /// The instructions and records; in the emulated form, if the object has only that form of percpu data.
        body: Body;
        /// The emulated form, for kernels without direct access to percpu data, if the function uses such data and the
        /// object has both forms.
        emulated: Option<Body> = None,
    }
}

/// The instructions of a function and the records about them. Indices are relative to the function's first instruction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Body {
    /// Eight-byte instruction slots.
    pub insns: Span,
    /// [`Patch`]es of [`Patch::SIZE`] bytes each, by ascending instruction.
    pub patches: Span,
    /// `struct bpf_line_info`, 16 bytes each.
    pub line_info: Span,
    /// `struct bpf_core_relo`, 16 bytes each.
    pub core_relos: Span,
}

impl Body {
    /// A body without instructions.
    pub const NONE: Self =
        Self { insns: Span::EMPTY, patches: Span::EMPTY, line_info: Span::EMPTY, core_relos: Span::EMPTY };
}

/// A patch of an instruction that depends on the running system or on the program that contains the function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patch {
    /// The index of the instruction in its function.
    pub insn: u32,
    /// The value to write.
    pub kind: PatchKind,
}

impl Patch {
    /// The size of a patch in the blob, in bytes: the instruction's index, then the kind's number above a 24-bit
    /// operand, both little-endian.
    pub const SIZE: usize = 8;

    /// The largest operand: an index of a map, symbol or function.
    pub const MAX_INDEX: u32 = (1 << 24) - 1;

    /// Encodes the patch; `None` if the operand exceeds [`Patch::MAX_INDEX`].
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

    /// Decodes a patch; `None` if its kind is unknown.
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

/// The value that a patch writes, and its position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchKind {
    /// A map's file descriptor, to the immediate of an `ld_imm64`. The source register and the second immediate are
    /// already set.
    Map(u32),
    /// An arena's file descriptor, to the immediate of an `ld_imm64`. The offset of the arena's variables is added to
    /// the second immediate.
    ArenaValue(u32),
    /// The BTF id and BTF file descriptor of a kernel variable or function, to both immediates of an `ld_imm64`.
    Variable(u32),
    /// The address of a kernel symbol, to both immediates of an `ld_imm64`; 0 if the symbol is weak and missing.
    Address(u32),
    /// The BTF id of a kernel function, to the immediate of a call, and its module, to the offset.
    Function(u32),
    /// The smallest 2^n - 1 that is not less than the number of the last possible CPU, to the immediate of an `and`.
    CpuMask,
    /// The stride of this emulated percpu section, in bytes, to the immediate of a multiplication. The size of a
    /// section can change before the load.
    Stride(u32),
    /// The distance in instructions to a function of the same program, to the immediate of a call or an `ld_imm64`.
    Subprogram(u32),
    /// The file descriptor of a jump table, given by its index in the function, to the immediate of an `ld_imm64`. The
    /// source register is already set.
    JumpTable(u32),
}
