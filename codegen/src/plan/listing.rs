//! The instructions of assembled programs as text, with the names of maps, variables and functions and with source
//! lines. Names are escaped by [`Line`].

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;

use serde::Serialize;

use skelgen_abi::escape::Line;
use skelgen_abi::plan::PatchKind;
use skelgen_abi::uapi::pseudo;

use super::LoadPlan;
use super::assemble::Assembled;
use crate::btf::ext::LineInfo;
use crate::btf::{Btf, TypeId};
use crate::insn::{Insn, disassemble_one};

/// The column at which comments begin, after the instruction's index.
const COMMENTS: usize = 40;

/// The plan with the lookups that listings need.
pub(super) struct Listing<'a> {
    plan: &'a LoadPlan,
    /// The types in the plan's blob. Its strings contain source lines and names.
    btf: Option<Btf>,
}

/// An instruction of a program.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    /// The index of its first slot in the program.
    index: usize,
    /// The function that begins here, if the program has several.
    #[serde(skip_serializing_if = "Option::is_none")]
    function: Option<String>,
    /// The source lines that begin here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    source: Vec<Source>,
    text: String,
    /// What the instruction refers to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    comments: Vec<String>,
}

/// A line of the C source.
#[derive(Debug, Serialize)]
struct Source {
    file: String,
    line: u32,
    text: String,
}

impl Row {
    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { index, .. } = self;
        if let Some(function) = &self.function {
            writeln!(f, "{}:", Line(function))?;
        }
        for Source { file, line, text } in &self.source {
            let space = if text.is_empty() { "" } else { " " };
            writeln!(f, "  ; {}{space}@ {}:{line}", Line(text), Line(file))?;
        }
        let text = Line(&self.text).to_string();
        match self.comments.is_empty() {
            true => writeln!(f, "{index:>4}: {text}"),
            false => writeln!(f, "{index:>4}: {text:<COMMENTS$} // {}", Line(self.comments.join("; "))),
        }
    }
}

/// Groups items by instruction.
fn by_insn<T>(items: &[T], insn: impl Fn(&T) -> usize) -> BTreeMap<usize, Vec<&T>> {
    let mut found = BTreeMap::<_, Vec<_>>::new();
    for item in items {
        found.entry(insn(item)).or_default().push(item);
    }
    found
}

impl<'a> Listing<'a> {
    pub(super) fn new(plan: &'a LoadPlan) -> Self {
        let bytes = plan.object.btf.and_then(|span| plan.object.bytes(span));
        Self { plan, btf: bytes.and_then(|bytes| Btf::parse(bytes, plan.endian).ok()) }
    }

    /// Writes the instructions of a program, one per line, in the C-like notation of the kernel verifier's log.
    pub(super) fn write(&self, f: &mut fmt::Formatter<'_>, program: &Assembled) -> fmt::Result {
        self.each(program, |row| row.write(f))
    }

    /// Returns the instructions of a program.
    pub(super) fn rows(&self, program: &Assembled) -> Vec<Row> {
        let mut rows = Vec::new();
        let all = self.each(program, |row| {
            rows.push(row);
            Ok::<(), Infallible>(())
        });
        match all {
            Ok(()) => rows,
        }
    }

    /// Calls `visit` with each instruction of a program.
    fn each<E>(&self, program: &Assembled, mut visit: impl FnMut(Row) -> Result<(), E>) -> Result<(), E> {
        let mut lines = program.lines.iter().peekable();
        // Indexed, because an object can have as many of these items as instructions.
        let functions: BTreeMap<_, _> = program.functions.iter().copied().collect();
        let patches = by_insn(&program.patches, |patch| patch.insn as usize);
        let relocations = by_insn(&program.relos, |relocation| relocation.insn.0);
        let (mut index, mut shown) = (0, None);
        while let Some(&insn) = program.insns.get(index) {
            let begins = functions.get(&index).filter(|_| program.functions.len() > 1);
            let mut source = Vec::new();
            while let Some(line) = lines.next_if(|line| line.insn.0 <= index) {
                // Records of the same line differ only in their columns.
                if shown.replace((line.file, line.line, line.text)) != Some((line.file, line.line, line.text)) {
                    source.extend(self.source(line));
                }
            }
            let next = program.insns.get(index + 1).copied();
            let (mut text, mut comments) = (disassemble_one(insn, next), Vec::new());
            for patch in patches.get(&index).into_iter().flatten() {
                self.reference(patch.kind, (insn, next, index), &functions, &mut text, &mut comments);
            }
            if let Some(btf) = &self.btf {
                let relocations = relocations.get(&index).into_iter().flatten();
                comments.extend(relocations.map(|relocation| format!("CO-RE: {}", btf.relocation(relocation))));
            }
            // A 64-bit immediate load has two slots. Without its second slot it is shown as bytes.
            let slots = if insn.is_ld_imm64() && !text.starts_with(".bytes") { 2 } else { 1 };
            visit(Row { index, function: begins.map(|id| self.function(*id)), source, text, comments })?;
            index += slots;
        }
        Ok(())
    }

    /// Returns the source line of a line record.
    fn source(&self, line: &LineInfo) -> Option<Source> {
        let btf = self.btf.as_ref()?;
        let path = btf.str(line.file);
        let file = path.rsplit('/').next().unwrap_or(path).to_owned();
        Some(Source { file, line: line.line, text: btf.str(line.text).trim().replace('\t', " ") })
    }

    /// Writes the name of the target of a reference, in the instruction's text or in a comment.
    fn reference(
        &self,
        kind: PatchKind,
        (insn, next, index): (Insn, Option<Insn>, usize),
        functions: &BTreeMap<usize, u32>,
        text: &mut String,
        comments: &mut Vec<String>,
    ) {
        let object = &self.plan.object;
        let map = |map: u32| object.maps.get(map as usize).map_or("?", |map| &*map.name);
        let symbol = |symbol: u32| object.symbols.get(symbol as usize).map_or("?", |symbol| &*symbol.name);
        let dst = insn.dst;
        let offset = next.map_or(0, immediate);
        match kind {
            PatchKind::Subprogram(_) => {
                let to = usize::try_from(i64::try_from(index).unwrap_or(0) + 1 + i64::from(insn.imm)).ok();
                let found = to.and_then(|to| functions.get(&to));
                let name = found.map_or_else(|| "?".to_owned(), |id| self.function(*id));
                *text = if insn.is_ld_imm64() { format!("r{dst} = &{name} ll") } else { format!("call {name}") };
            }
            PatchKind::Map(id) if insn.src == pseudo::MAP_VALUE => {
                let name = map(id);
                *text = match offset {
                    0 => format!("r{dst} = &{name} ll"),
                    offset => format!("r{dst} = &{name}+{offset} ll"),
                };
                comments.extend(self.variable(id, offset));
            }
            PatchKind::Map(id) => *text = format!("r{dst} = map[{}] ll", map(id)),
            PatchKind::JumpTable(_) => *text = format!("r{dst} = &.jumptables ll"),
            PatchKind::ArenaValue(id) => {
                let value = u64::from(offset) << 32 | u64::from(immediate(insn));
                *text = format!("r{dst} = &arena+{value} ll");
                let variable = u32::try_from(value).ok().and_then(|offset| self.variable(id, offset));
                comments.push(variable.unwrap_or_else(|| format!("variables of {}", map(id))));
            }
            PatchKind::Variable(id) => *text = format!("r{dst} = &{} ll", symbol(id)),
            PatchKind::Address(id) => {
                *text = format!("r{dst} = &{} ll", symbol(id));
                comments.push("address".to_owned());
            }
            PatchKind::CpuMask => comments.push("mask of the possible CPUs".to_owned()),
            PatchKind::Stride(id) => comments.push(format!("stride of {}", map(id))),
            PatchKind::Function(id) => {
                *text = format!("call {}", symbol(id));
                comments.push("kernel function".to_owned());
            }
        }
    }

    /// Returns the variable at an offset of a section.
    fn variable(&self, map: u32, offset: u32) -> Option<String> {
        let map = self.plan.object.maps.get(map as usize)?;
        self.btf.as_ref()?.variable_at(TypeId(map.btf_value_type_id), offset)
    }

    /// Returns the name of a function in the object's BTF.
    fn function(&self, id: u32) -> String {
        let btf = self.btf.as_ref().filter(|btf| id != 0 && btf.try_get(TypeId(id)).is_some());
        btf.map_or_else(|| "function".to_owned(), |btf| btf.name(TypeId(id)).to_owned())
    }
}

/// Returns the immediate of an instruction as an unsigned number.
fn immediate(insn: Insn) -> u32 {
    u32::from_le_bytes(insn.imm.to_le_bytes())
}
