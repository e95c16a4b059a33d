//! The records of `.BTF.ext`: which function, source line and CO-RE relocation belongs to which instruction.

use super::{StringRef, TypeId};
use crate::insn::InsnIndex;

/// The records of `.BTF.ext`, by the section their instructions are in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BtfExt {
    /// One for each section that has records of any kind, in the order of first mention.
    pub sections: Vec<SectionInfo>,
}

/// The records about one section's instructions. Instruction indexes count slots from the section's beginning.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SectionInfo {
    /// The section's name.
    pub name: StringRef,
    /// Where functions begin and what their types are.
    pub funcs: Vec<FuncInfo>,
    /// Which line the instructions from here on come from.
    pub lines: Vec<LineInfo>,
    /// What must be adjusted to the running kernel's types.
    pub relos: Vec<CoreRelo>,
}

/// `struct bpf_func_info`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FuncInfo {
    /// The function's first instruction.
    pub insn: InsnIndex,
    /// Its BTF type.
    pub ty: TypeId,
}

/// `struct bpf_line_info`. The offsets are into the strings of the object's BTF.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineInfo {
    /// The first instruction of the line.
    pub insn: InsnIndex,
    /// The file's name.
    pub file: StringRef,
    /// The text of the line.
    pub text: StringRef,
    /// The line, from 1.
    pub line: u32,
    /// The column, from 1.
    pub column: u32,
}

/// `struct bpf_core_relo`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CoreRelo {
    /// The instruction to adjust.
    pub insn: InsnIndex,
    /// The root type of the access.
    pub ty: TypeId,
    /// The access path: numbers and colons.
    pub access: StringRef,
    /// What is asked (`enum bpf_core_relo_kind`).
    pub kind: u32,
}
