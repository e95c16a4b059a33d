//! Assembles a program from its functions, and patches values of the running system into the instructions.
//!
//! The blob contains each function once, even if several programs call it. A function's offset in a program is known only here, so the
//! offsets of calls and the instruction indices of records are computed here. A program of one function is copied only if something is
//! patched. Copies use buffers that the next program reuses. Makes no requests to the kernel.

use std::ops::Deref;
use std::os::fd::{AsFd, AsRawFd};

use super::state::open_map;
use super::{Executor, absent, at, at_mut, no_such, parts};
use crate::abi::{Body, Function, Object, Patch, PatchKind, Program, Span, decode_lines, percpu_stride};
use crate::error::{Error, ErrorKind, Result};
use crate::opcode::{self, INSN_SIZE};

/// The size of a line or CO-RE record in bytes.
const RECORD: usize = 16;
/// The size of a function record in bytes.
const FUNCTION: usize = 8;
/// Marks a function that is not in the program, instead of the index of its first instruction.
const ABSENT: u32 = u32::MAX;

/// A program's instructions for the running system, with their records. Its buffers are used for one program after another.
#[derive(Debug, Default)]
pub(super) struct Assembled {
    pub(super) insns: Piece,
    /// BTF file descriptors of the modules whose kfuncs the program calls.
    pub(super) fd_array: Vec<i32>,
    /// The function records, then the line records.
    records: Vec<u8>,
    /// Where the line records begin.
    lines: usize,
    pub(super) core_relos: Piece,
    /// The index of each function's first instruction while a program is assembled, by function; otherwise `ABSENT`, or empty.
    pub(super) starts: Vec<u32>,
}

/// Bytes of a request: a range of the blob, or a copy in a buffer.
#[derive(Debug, Default)]
pub(super) struct Piece {
    blob: &'static [u8],
    copy: Vec<u8>,
    is_copy: bool,
}

impl Piece {
    /// Changes the bytes to a range of the blob.
    pub(super) fn set(&mut self, blob: &'static [u8]) {
        (self.blob, self.is_copy) = (blob, false);
    }

    /// Changes the bytes to an empty copy.
    fn start_copy(&mut self) -> &mut Vec<u8> {
        self.is_copy = true;
        self.copy.clear();
        &mut self.copy
    }

    /// Returns mutable access to the bytes, which are copied if they are in the blob.
    pub(super) fn to_mut(&mut self) -> &mut Vec<u8> {
        if !self.is_copy {
            let blob = self.blob;
            self.start_copy().extend_from_slice(blob);
        }
        &mut self.copy
    }
}

impl Deref for Piece {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        if self.is_copy { &self.copy } else { self.blob }
    }
}

impl Assembled {
    /// Returns the function records (`struct bpf_func_info`).
    pub(super) fn func_info(&self) -> &[u8] {
        self.records.get(..self.lines).unwrap_or_default()
    }

    /// Returns the line records (`struct bpf_line_info`).
    pub(super) fn line_info(&self) -> &[u8] {
        self.records.get(self.lines..).unwrap_or_default()
    }
}

impl Executor {
    /// Assembles a program.
    pub(super) fn assemble(&mut self, index: u32, code: &mut Assembled) -> Result<()> {
        let program = at(&self.object.programs, index).ok_or_else(|| no_such("program", index))?;
        code.fd_array.clear();
        code.starts.resize(self.object.functions.len(), ABSENT);
        let located = self.locate_functions(program, &mut code.starts);
        let result =
            located.and_then(|()| self.instructions(index, program, code)).and_then(|()| self.describe(program, code));
        // Only the functions of this program, because an object can have many of both.
        for &function in &*program.functions {
            if let Some(start) = at_mut(&mut code.starts, function) {
                *start = ABSENT;
            }
        }
        result?;
        self.core_relos(program, &mut code.core_relos)
    }

    /// Writes the function and line records of a program, if the kernel accepts them and all functions have types.
    fn describe(&mut self, program: &'static Program, code: &mut Assembled) -> Result<()> {
        let Assembled { records, lines, starts, .. } = code;
        records.clear();
        *lines = 0;
        if !self.accepts_program_btf()? || !self.is_described(program)? {
            return Ok(());
        }
        // A line record has at least four bytes in the blob.
        self.reserve(records, program, |body| FUNCTION + size(body.line_info).saturating_mul(RECORD / 4))?;
        for (number, function) in functions(self.object, program) {
            records.extend_from_slice(&at(starts, number).copied().unwrap_or(ABSENT).to_ne_bytes());
            records.extend_from_slice(&function?.btf_id.to_ne_bytes());
        }
        *lines = records.len();
        for (number, function) in functions(self.object, program) {
            let start = at(starts, number).copied().unwrap_or(ABSENT);
            for line in decode_lines(self.bytes(self.body(function?).line_info)?) {
                let [insn, rest @ ..] = line.ok_or_else(|| Error::malformed("a line record is not valid"))?;
                records.extend_from_slice(&start.saturating_add(insn).to_ne_bytes());
                records.extend_from_slice(rest.map(u32::to_ne_bytes).as_flattened());
            }
        }
        Ok(())
    }

    /// Reserves memory in an empty buffer for a size that each function of a program contributes to. If the buffer has to grow, it becomes
    /// large enough for every program, so that the buffers of a load are allocated once.
    fn reserve(&self, buffer: &mut Vec<u8>, program: &'static Program, size: fn(&Body) -> usize) -> Result<()> {
        if buffer.capacity() >= self.total(program, size)? {
            return Ok(());
        }
        let mut most = 0;
        for program in &*self.object.programs {
            most = most.max(self.total(program, size)?);
        }
        buffer.reserve(most);
        Ok(())
    }

    /// Joins the instructions of a program's functions, and patches them.
    fn instructions(&mut self, index: u32, program: &'static Program, code: &mut Assembled) -> Result<()> {
        let Assembled { insns, fd_array, starts, .. } = code;
        if let Some(body) = self.body_of_one(program)? {
            if body.patches.len == 0 {
                insns.set(self.bytes(body.insns)?);
                return Ok(());
            }
        }
        let joined = insns.start_copy();
        self.reserve(joined, program, |body| size(body.insns))?;
        for (_, function) in functions(self.object, program) {
            joined.extend_from_slice(self.bytes(self.body(function?).insns)?);
        }
        for (number, function) in functions(self.object, program) {
            let body = self.body(function?);
            let start = at(starts, number).copied().unwrap_or(ABSENT);
            let begin = bytes_of(start);
            let len = self.bytes(body.insns)?.len();
            let own = insns.to_mut().get_mut(begin..).and_then(|rest| rest.get_mut(..len)).ok_or_else(outside)?;
            for patch in self.patches(body)? {
                match patch? {
                    Patch { insn, kind: PatchKind::Subprogram(callee) } => {
                        let callee = at(starts, callee).copied().filter(|&callee| callee != ABSENT);
                        let distance = callee.and_then(|callee| distance(start.checked_add(insn)?, callee));
                        let distance = distance
                            .ok_or_else(|| Error::malformed("a call's target is not in the program or too far away"))?;
                        set_immediate(at_insn(own, insn)?, 0, distance).ok_or_else(outside)?;
                    }
                    Patch { insn, kind: PatchKind::JumpTable(table) } => {
                        let map = self.jump_table(index, number, table)?;
                        self.patch(own, Patch { insn, kind: PatchKind::Map(map) }, fd_array)?;
                    }
                    patch => self.patch(own, patch, fd_array)?,
                }
            }
        }
        Ok(())
    }

    /// Writes the CO-RE records of a program.
    pub(super) fn core_relos(&self, program: &'static Program, records: &mut Piece) -> Result<()> {
        if let Some(body) = self.body_of_one(program)? {
            records.set(self.bytes(body.core_relos)?);
            return Ok(());
        }
        let buffer = records.start_copy();
        let mut start = 0_u32;
        for (_, function) in functions(self.object, program) {
            let body = self.body(function?);
            let begin = buffer.len();
            buffer.extend_from_slice(self.bytes(body.core_relos)?);
            for record in buffer[begin..].chunks_exact_mut(RECORD) {
                // The first word of a record is the offset of its instruction in bytes.
                if let Some(first) = record.first_chunk_mut() {
                    *first = u32::from_ne_bytes(*first).wrapping_add(start.wrapping_mul(8)).to_ne_bytes();
                }
            }
            start = start.wrapping_add(count(body));
        }
        Ok(())
    }

    /// Finds the first instruction of each function of a program.
    fn locate_functions(&self, program: &'static Program, starts: &mut [u32]) -> Result<()> {
        let mut end = 0_u32;
        for (number, function) in functions(self.object, program) {
            let body = self.body(function?);
            let start = at_mut(starts, number).filter(|start| **start == ABSENT);
            *start.ok_or_else(|| Error::malformed("a program contains a function twice"))? = end;
            end = end
                .checked_add(count(body))
                .ok_or_else(|| Error::of(ErrorKind::LimitReached, "the program has too many instructions"))?;
        }
        Ok(())
    }

    /// Returns the index of a function's first instruction in a program.
    pub(super) fn start_of(&self, program: &'static Program, function: u32) -> Result<u32> {
        let mut start = 0_u32;
        for (number, found) in functions(self.object, program) {
            if number == function {
                return Ok(start);
            }
            start = start.saturating_add(count(self.body(found?)));
        }
        Err(no_such("function", function))
    }

    /// Returns the sum of a size over the functions of a program.
    fn total(&self, program: &'static Program, size: fn(&Body) -> usize) -> Result<usize> {
        let mut total = 0_usize;
        for (_, function) in functions(self.object, program) {
            total = total.saturating_add(size(self.body(function?)));
        }
        Ok(total)
    }

    /// Returns the body of a program's only function; `None` if it has several.
    fn body_of_one(&self, program: &'static Program) -> Result<Option<&'static Body>> {
        match *program.functions {
            [one] => {
                let function = at(&self.object.functions, one).ok_or_else(|| no_such("function", one))?;
                Ok(Some(self.body(function)))
            }
            _ => Ok(None),
        }
    }

    /// Returns whether all functions of a program have BTF types.
    fn is_described(&self, program: &'static Program) -> Result<bool> {
        for (_, function) in functions(self.object, program) {
            if function?.btf_id == 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Returns a function's emulated body (for kernels without direct access to percpu data) if this load uses
    /// emulation and the function has one, otherwise its ordinary body.
    pub(super) fn body(&self, function: &'static Function) -> &'static Body {
        function.emulated.as_ref().filter(|_| self.emulate).unwrap_or(&function.body)
    }

    /// Returns the index of the map for a jump table of a function in a program.
    fn jump_table(&self, program: u32, function: u32, number: u32) -> Result<u32> {
        let owned = (0..).zip(&*self.object.maps).filter(|(_, map)| {
            map.jump_table.is_some_and(|table| (table.program, table.function) == (program, function))
        });
        let mut numbered = (0..).zip(owned);
        let found = numbered.find_map(|(at, (map, _))| (at == number).then_some(map));
        found.ok_or_else(|| no_such("jump table", number))
    }

    /// Returns the name of a percpu section that a program uses, if it uses one.
    pub(super) fn percpu_section(&self, program: &'static Program) -> Option<&'static str> {
        let functions = functions(self.object, program).filter_map(|(_, function)| function.ok());
        let patches = functions.filter_map(|function| self.patches(self.body(function)).ok()).flatten();
        let mut maps = patches.filter_map(|patch| match patch.ok()?.kind {
            PatchKind::Map(map) => at(&self.object.maps, map),
            _ => None,
        });
        maps.find(|map| map.is_percpu_section()).map(|map| &*map.name)
    }

    /// Patches an instruction with a value of the running system.
    fn patch(&mut self, insns: &mut [u8], patch: Patch, fd_array: &mut Vec<i32>) -> Result<()> {
        let rest = at_insn(insns, patch.insn)?;
        match patch.kind {
            PatchKind::Map(map) => match self.map_fd(map)? {
                Some(fd) => set_immediate(rest, 0, fd).ok_or_else(outside),
                None => poison(rest, map).ok_or_else(outside),
            },
            PatchKind::ArenaValue(map) => {
                let Some(fd) = self.map_fd(map)? else {
                    return poison(rest, map).ok_or_else(outside);
                };
                set_immediate(rest, 0, fd).ok_or_else(outside)?;
                let begin = (parts::needed(self.parts.arenas, "arenas")?.globals)(self, map)?;
                let immediate = rest.get_mut(INSN_SIZE + 4..INSN_SIZE + 8).ok_or_else(outside)?;
                let offset = immediate.first_chunk().map_or(0, |&offset| u32::from_ne_bytes(offset));
                immediate.copy_from_slice(&offset.wrapping_add(begin).to_ne_bytes());
                Ok(())
            }
            // The value depends on the program, so the caller patches the instruction.
            PatchKind::Subprogram(_) | PatchKind::JumpTable(_) => Ok(()),
            PatchKind::CpuMask => {
                let mask = (parts::needed(self.parts.percpu, "percpu")?.mask)()?;
                set_immediate(rest, 0, number(mask)?).ok_or_else(outside)
            }
            PatchKind::Stride(map) => {
                let open = open_map(&self.maps, map)?;
                let align = open.definition.section.map_or(1, |section| section.align);
                let stride = percpu_stride(open.row.value_size, align).and_then(|stride| i32::try_from(stride).ok());
                let stride = stride.ok_or_else(|| {
                    Error::of(
                        ErrorKind::LimitReached,
                        format_args!("section `{}` is too large", &*open.definition.name),
                    )
                })?;
                set_immediate(rest, 0, stride).ok_or_else(outside)
            }
            PatchKind::Variable(symbol) => {
                let (id, fd) = match self.symbol(symbol)? {
                    Some(found) => (found.id, self.module_fd(found.module)),
                    None => {
                        // The address of an absent symbol is zero: the instruction becomes a plain 64-bit immediate load.
                        *rest.get_mut(1).ok_or_else(outside)? &= registers_without_source();
                        (0, 0)
                    }
                };
                set_immediate(rest, 0, number(id)?).ok_or_else(outside)?;
                set_immediate(rest, 1, fd).ok_or_else(outside)
            }
            PatchKind::Address(symbol) => {
                let [a, b, c, d, high @ ..] = self.address(symbol)?.to_le_bytes();
                set_immediate(rest, 0, i32::from_le_bytes([a, b, c, d])).ok_or_else(outside)?;
                set_immediate(rest, 1, i32::from_le_bytes(high)).ok_or_else(outside)
            }
            PatchKind::Function(symbol) => {
                let Some(found) = self.symbol(symbol)? else {
                    *rest.get_mut(1).ok_or_else(outside)? &= registers_without_source();
                    return set_immediate(rest, 0, absent::function(symbol)).ok_or_else(outside);
                };
                let module = match found.module {
                    None => 0,
                    Some(_) => fd_index(fd_array, self.module_fd(found.module)).ok_or_else(|| {
                        Error::of(
                            ErrorKind::LimitReached,
                            format_args!("the program calls kfuncs of more than {MODULES} modules"),
                        )
                    })?,
                };
                rest.get_mut(2..4).ok_or_else(outside)?.copy_from_slice(&module.to_ne_bytes());
                set_immediate(rest, 0, number(found.id)?).ok_or_else(outside)
            }
        }
    }

    /// Returns the file descriptor of a map; `None` if the load leaves it out; -1 if it is not created yet. That
    /// happens only while a program is hashed, and the hash does not contain descriptors.
    fn map_fd(&self, map: u32) -> Result<Option<i32>> {
        const NOT_YET: i32 = -1;
        Ok(match &at(&self.maps, map).ok_or_else(|| no_such("map", map))?.created {
            Some(created) => Some(created.map.as_fd().as_raw_fd()),
            None => self.is_wanted(map)?.then_some(NOT_YET),
        })
    }

    fn module_fd(&self, module: Option<usize>) -> i32 {
        self.symbols.module(module).map_or(0, AsRawFd::as_raw_fd)
    }
}

/// Iterates over the functions of a program in order, with their indices.
pub(super) fn functions(
    object: &'static Object,
    program: &'static Program,
) -> impl Iterator<Item = (u32, Result<&'static Function>)> + use<> {
    program.functions.iter().map(|&index| {
        let function = at(&object.functions, index).ok_or_else(|| no_such("function", index));
        (index, function)
    })
}

/// Returns the size of a range in bytes.
fn size(span: Span) -> usize {
    usize::try_from(span.len).unwrap_or(usize::MAX)
}

/// Returns the number of instructions of a body.
fn count(body: &Body) -> u32 {
    body.insns.len / 8
}

/// Returns the offset of an instruction in bytes.
fn bytes_of(insn: u32) -> usize {
    usize::try_from(insn).ok().and_then(|insn| insn.checked_mul(INSN_SIZE)).unwrap_or(usize::MAX)
}

/// Returns the bytes of a function from an instruction on.
fn at_insn(insns: &mut [u8], insn: u32) -> Result<&mut [u8]> {
    insns.get_mut(bytes_of(insn)..).ok_or_else(outside)
}

fn outside() -> Error {
    Error::malformed("a patch is outside of its function")
}

/// Returns the immediate of a call from one instruction to another; `None` if it does not fit.
fn distance(from: u32, to: u32) -> Option<i32> {
    i32::try_from(i64::from(to) - i64::from(from) - 1).ok()
}

/// The number of modules whose kfuncs a program can call (`MAX_KFUNC_BTFS` of kernel/bpf/verifier.c).
const MODULES: usize = 256;

/// Returns the index of a module's BTF in a program's `fd_array`, and adds it if it is missing. Returns `None` if a program cannot call
/// kfuncs of one more module.
fn fd_index(fd_array: &mut Vec<i32>, fd: i32) -> Option<i16> {
    // Index 0 stands for vmlinux, so the first element is never used.
    if fd_array.is_empty() {
        fd_array.push(0);
    }
    let known = fd_array.iter().skip(1).position(|&known| known == fd);
    let index = known.map_or(fd_array.len(), |known| known + 1);
    if index > MODULES {
        return None;
    }
    if index == fd_array.len() {
        fd_array.push(fd);
    }
    i16::try_from(index).ok()
}

/// Replaces the 64-bit immediate load of an absent map by two calls of a helper that does not exist, which the verifier rejects if it can
/// reach them.
fn poison(insns: &mut [u8], map: u32) -> Option<()> {
    for slot in 0..2 {
        let insn = insns.get_mut(slot * INSN_SIZE..(slot + 1) * INSN_SIZE)?;
        insn.fill(0);
        *insn.first_mut()? = opcode::CALL;
        set_immediate(insn, 0, absent::map(map))?;
    }
    Some(())
}

/// Sets the immediate of the instruction `after` instructions after the first.
fn set_immediate(insns: &mut [u8], after: usize, value: i32) -> Option<()> {
    let begin = after * INSN_SIZE + 4;
    insns.get_mut(begin..begin + 4)?.copy_from_slice(&value.to_ne_bytes());
    Some(())
}

/// Returns the mask that keeps only the destination register of an instruction's second byte.
const fn registers_without_source() -> u8 {
    if cfg!(target_endian = "little") { 0x0f } else { 0xf0 }
}

fn number(id: u32) -> Result<i32> {
    i32::try_from(id).map_err(|_| Error::malformed("a BTF id is out of range"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_is_added_once() {
        let mut fds = Vec::new();
        let indices: Vec<_> = [7, 8, 7, 8, 7].into_iter().map(|fd| fd_index(&mut fds, fd)).collect();
        assert_eq!((indices, fds), ([1, 2, 1, 2, 1].map(Some).to_vec(), vec![0, 7, 8]));
        let mut fds = (0..=256).collect();
        assert_eq!(
            (fd_index(&mut fds, 5), fd_index(&mut fds, 256), fd_index(&mut fds, -1)),
            (Some(5), Some(256), None)
        );
        assert_eq!(fds.len(), 257);
    }
}
