//! Programs of a plan, the functions they are assembled from, and patches of instructions.

use super::row::row;
use super::{Attach, List, Span, Text, Version};
use crate::uapi::{AttachType, ProgramType};

row! {
    /// A program to load.
    pub struct Program {
        /// The name of the program's function.
        name: Text,
        /// The name of the program's section in the object.
        section: Text,
        /// The program's type.
        program_type: ProgramType,
        /// How the program attaches.
        attach: Attach,
        /// The program's functions, as unique indices into [`Object::functions`](super::Object::functions), in the
        /// order in which they are loaded. The program's own function is first.
        functions: List<u32>;
        /// The attach type that the kernel requires at load time, or 0.
        expected_attach_type: AttachType = AttachType(0),
        /// Flags of `BPF_PROG_LOAD`.
        flags: u32 = 0,
        /// Whether the program is loaded by default (`?` before the section's name disables it).
        autoload: bool = true,
        /// The first upstream Linux version that loads programs of the section; `(0, 0)` if unknown.
        since: Version = (0, 0),
        /// The symbol whose BTF id is the program's `attach_btf_id`.
        target: Option<u32> = None,
    }
}

row! {
    /// A function of one or more programs.
    ///
    /// An object contains a function once, even if several programs call it. [`PatchKind::Subprogram`] marks instructions
    /// that call other functions.
    pub struct Function {
        /// The BTF id of the function in the object, or 0. A program is loaded with function and line records only if
        /// all its functions have an id.
        btf_id: u32,
        /// The ordinary body: with direct access to percpu data or, if the object's [`PercpuForm`](super::PercpuForm)
        /// is `Emulated`, with emulation.
        body: Body;
        /// The emulated body, for kernels without direct access to percpu data, if the function uses percpu data and
        /// the object's [`PercpuForm`](super::PercpuForm) is `Either`.
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
    /// Line records in the form of [`encode_lines`](super::encode_lines).
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
    /// The size of a patch in the blob, in bytes. A patch is two little-endian 32-bit words: the instruction's index;
    /// then a 24-bit operand in the low bits and the number of the kind in the high bits.
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

/// The value that a patch writes, and the part of the instruction that it writes the value to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchKind {
    /// Writes a map's file descriptor to the immediate of an `ld_imm64`. The source register and the second immediate
    /// are already set.
    Map(u32),
    /// Writes an arena's file descriptor to the immediate of an `ld_imm64`, and adds the offset of the arena's
    /// variables to the second immediate.
    ArenaValue(u32),
    /// Writes the BTF id of a kernel variable or function and its BTF file descriptor to the two immediates of an
    /// `ld_imm64`.
    Variable(u32),
    /// Writes the address of a kernel symbol to the two immediates of an `ld_imm64`: 0 if the symbol is weak and
    /// missing.
    Address(u32),
    /// Writes the BTF id of a kernel function to the immediate of a call, and the index of its module in the program's
    /// `fd_array` to the offset.
    Function(u32),
    /// Writes a mask of CPU numbers to the immediate of an `and`: the smallest 2^n - 1 that is not less than the number
    /// of the last possible CPU.
    CpuMask,
    /// Writes the distance in bytes between the copies of an emulated percpu section to the immediate of a
    /// multiplication. It depends on the size of the section, which can change before the load.
    Stride(u32),
    /// Writes the distance in instructions to a function of the same program to the immediate of a call or an
    /// `ld_imm64`.
    Subprogram(u32),
    /// Writes the file descriptor of a jump table, given by its index in the function, to the immediate of an
    /// `ld_imm64`. The source register is already set.
    JumpTable(u32),
}
