//! The steps that load a program.
//!
//! Maps are referred to by their slots, which are the program's array of file descriptors. Only symbols of the kernel are
//! copied to instructions, when they are known.

use std::collections::BTreeMap;
use std::mem::offset_of;

use skelgen_abi::attr::ProgLoad;
use skelgen_abi::plan::{Loader, Patch, PatchKind, Program};
use skelgen_abi::uapi::{Command, pseudo};

use super::symbols::{Lookup, symbol_of};
use super::{Lowering, field, length};
use crate::insn::{INSN_SIZE, Insn};
use crate::loader::attr::Attr;
use crate::loader::table::{Copied, Place, TableError};
use crate::plan::{Assembled, is_emulated};

/// The sizes of `struct bpf_func_info`, and of `struct bpf_line_info` and `struct bpf_core_relo`.
const FUNC_INFO: u32 = 8;
const RECORD: u32 = 16;

impl Lowering<'_> {
    pub(super) fn load_program(&mut self, index: u32) -> Result<(), TableError> {
        let program = &self.object.programs[index as usize];
        if is_emulated(self.object, program) {
            self.by_form(|lowering| lowering.load_form(index, false), |lowering| lowering.load_form(index, true))?;
        } else {
            self.load_form(index, false)?;
        }
        for (map, row) in (0..).zip(self.object.maps.iter()) {
            if row.jump_table.is_some_and(|table| table.program == index) {
                let slot = self.map_slot(map);
                self.table.close(slot);
            }
        }
        Ok(())
    }

    /// Adds the steps that load a program from the ordinary or the emulated bodies of its functions.
    fn load_form(&mut self, index: u32, emulated: bool) -> Result<(), TableError> {
        let program = &self.object.programs[index as usize];
        let mut assembled = Assembled::new(self.plan, program, emulated);
        self.refer_to_slots(index, &mut assembled);
        let insns: Vec<u8> = assembled.insns.iter().flat_map(|insn| insn.encode(self.endian)).collect();
        let insns = self.table.data(&insns)?;
        self.set_symbols(&assembled, insns)?;
        let attr = self.table.data(self.request(program, &assembled).bytes())?;
        let license = self.constant(self.object.license.to_bytes_with_nul())?;
        self.table.point(field(attr, offset_of!(ProgLoad, license)), license)?;
        self.table.point(field(attr, offset_of!(ProgLoad, insns)), insns)?;
        let fds = self.slot(Loader::BTF_SLOT);
        self.table.point(field(attr, offset_of!(ProgLoad, fd_array)), fds)?;
        for (offset, records) in self.records(&assembled) {
            if !records.is_empty() {
                let records = self.table.data(&records)?;
                self.table.point(field(attr, offset), records)?;
            }
        }
        if self.object.btf.is_some() {
            self.set_fd(attr, offset_of!(ProgLoad, prog_btf_fd), fds)?;
        }
        if let Some(Lookup { found, module, .. }) = program.target.map(|target| self.symbols[target as usize]) {
            self.table.copy(field(attr, offset_of!(ProgLoad, attach_btf_id)), Copied::U32, found)?;
            self.set_fd(attr, offset_of!(ProgLoad, attach_btf_obj_fd), module)?;
        }
        let slot = self.slot(self.program_slot(index));
        self.table.request_with_log(Command::PROG_LOAD, attr, size_of::<ProgLoad>(), Some(slot)).map(drop)
    }

    /// Returns the request to load a program, without pointers and file descriptors.
    fn request(&self, program: &Program, assembled: &Assembled) -> Attr {
        let attr = Attr::new::<ProgLoad>(self.endian)
            .word(offset_of!(ProgLoad, prog_type), program.program_type.0)
            .word(offset_of!(ProgLoad, expected_attach_type), program.expected_attach_type.0)
            .word(offset_of!(ProgLoad, insn_cnt), length(&assembled.insns))
            .word(offset_of!(ProgLoad, kern_version), self.object.kernel_version)
            .word(offset_of!(ProgLoad, prog_flags), program.flags)
            .name(offset_of!(ProgLoad, prog_name), &program.name);
        let size = |count: u32, size: u32| if count == 0 { 0 } else { size };
        let functions = if self.is_described(assembled) { length(&assembled.functions) } else { 0 };
        let lines = length(&assembled.lines);
        let relos = length(&assembled.relos);
        attr.word(offset_of!(ProgLoad, func_info_cnt), functions)
            .word(offset_of!(ProgLoad, func_info_rec_size), size(functions, FUNC_INFO))
            .word(offset_of!(ProgLoad, line_info_cnt), lines)
            .word(offset_of!(ProgLoad, line_info_rec_size), size(lines, RECORD))
            .word(offset_of!(ProgLoad, core_relo_cnt), relos)
            .word(offset_of!(ProgLoad, core_relo_rec_size), size(relos, RECORD))
    }

    /// Returns the records of a program, each kind with the offset of its pointer in the request.
    fn records(&self, assembled: &Assembled) -> [(usize, Vec<u8>); 3] {
        let bytes = |words: Vec<u32>| words.into_iter().flat_map(|word| self.endian.to_bytes(word)).collect();
        let index = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        let functions = assembled.functions.iter().filter(|_| self.is_described(assembled));
        let functions = functions.flat_map(|&(start, id)| [index(start), id]).collect();
        let lines = assembled.lines.iter();
        let lines =
            lines.flat_map(|r| [index(r.insn.0), r.file.0, r.text.0, r.line << 10 | r.column & 0x3ff]).collect();
        let relos = assembled.relos.iter();
        let relos = relos.flat_map(|r| [index(r.insn.0 * INSN_SIZE), r.ty.0, r.access.0, r.kind]).collect();
        [
            (offset_of!(ProgLoad, func_info), bytes(functions)),
            (offset_of!(ProgLoad, line_info), bytes(lines)),
            (offset_of!(ProgLoad, core_relos), bytes(relos)),
        ]
    }

    fn is_described(&self, assembled: &Assembled) -> bool {
        assembled.described && self.object.btf.is_some()
    }

    /// Makes instructions refer to maps by slots, and to symbols as if all weak symbols were absent.
    fn refer_to_slots(&self, program: u32, assembled: &mut Assembled) {
        let functions = &self.object.programs[program as usize].functions;
        for Patch { insn, kind } in assembled.patches.clone() {
            let at = insn as usize;
            match kind {
                PatchKind::Map(map) => refer_to_slot(&mut assembled.insns[at], map),
                PatchKind::JumpTable(number) => {
                    let position = assembled.functions.iter().rposition(|(start, _)| *start <= at);
                    let function = position.and_then(|position| functions.get(position)).copied();
                    if let Some(map) = function.and_then(|function| self.jump_table(program, function, number)) {
                        refer_to_slot(&mut assembled.insns[at], map);
                    }
                }
                PatchKind::Variable(symbol) if self.is_weak(symbol) => assembled.insns[at].src = 0,
                PatchKind::Function(symbol) if self.is_weak(symbol) => {
                    assembled.insns[at].src = 0;
                    assembled.insns[at].imm = skelgen_abi::plan::absent_function(symbol);
                }
                PatchKind::Stride(map) => assembled.insns[at].imm = self.stride(map),
                _ => {}
            }
        }
    }

    /// Returns the map of the jump table with this number in a function of a program.
    fn jump_table(&self, program: u32, function: u32, number: u32) -> Option<u32> {
        let tables = (0..).zip(self.object.maps.iter()).filter(|(_, map)| {
            map.jump_table.is_some_and(|table| (table.program, table.function) == (program, function))
        });
        tables.map(|(map, _)| map).nth(number as usize)
    }

    fn is_weak(&self, symbol: u32) -> bool {
        self.object.symbols.get(symbol as usize).is_some_and(|symbol| symbol.weak)
    }

    /// Adds the steps that write symbols to the instructions of a program.
    fn set_symbols(&mut self, assembled: &Assembled, insns: Place) -> Result<(), TableError> {
        let mut uses: BTreeMap<u32, Vec<Patch>> = BTreeMap::new();
        for patch in &assembled.patches {
            self.set_emulation(patch.kind, insns.plus(patch.insn.saturating_mul(8)))?;
            if let Some(symbol) = symbol_of(patch.kind) {
                uses.entry(symbol).or_default().push(*patch);
            }
        }
        for (symbol, uses) in uses {
            let found = self.symbols[symbol as usize].found;
            let set = |lowering: &mut Self| {
                uses.iter().try_for_each(|patch| {
                    let at = insns.plus(patch.insn.saturating_mul(8));
                    lowering.set_symbol(symbol, patch.kind, at, assembled.insns[patch.insn as usize])
                })
            };
            // The address of an absent symbol is zero.
            let is_address = uses.iter().all(|patch| matches!(patch.kind, PatchKind::Address(_)));
            if self.is_weak(symbol) && !is_address { self.unless_zero(found, set)? } else { set(self)? }
        }
        Ok(())
    }

    /// Adds the steps that write a symbol that was found to the instruction at a place.
    fn set_symbol(&mut self, symbol: u32, kind: PatchKind, at: Place, insn: Insn) -> Result<(), TableError> {
        let Lookup { found, module, .. } = self.symbols[symbol as usize];
        match kind {
            PatchKind::Address(_) => self.table.copy(at, Copied::Immediate, found).map(drop),
            PatchKind::Variable(_) => {
                if self.is_weak(symbol) {
                    self.set_first_word(at, Insn { src: pseudo::BTF_ID, ..insn })?;
                }
                self.table.copy(at.plus(4), Copied::U32, found)?;
                self.table.copy(at.plus(12), Copied::U32, module).map(drop)
            }
            _ => {
                let call = Insn { src: pseudo::KFUNC_CALL, ..insn };
                if self.is_weak(symbol) {
                    self.set_first_word(at, call)?;
                }
                self.table.copy(at.plus(4), Copied::U32, found)?;
                // The offset 0 stands for vmlinux. Slot 0 is not that of a module.
                let off =
                    i16::try_from(module.index()).map_err(|_| TableError::BadSize { size: module.index() as usize })?;
                self.unless_zero(module, |lowering| lowering.set_first_word(at, Insn { off, ..call }))
            }
        }
    }

    /// Adds a step that writes the opcode, registers and offset of an instruction.
    fn set_first_word(&mut self, at: Place, insn: Insn) -> Result<(), TableError> {
        let word = self.constant(&insn.encode(self.endian)[..4])?;
        self.table.copy(at, Copied::U32, word).map(drop)
    }
}

/// Makes a 64-bit immediate load refer to a map by its slot instead of by its file descriptor.
fn refer_to_slot(insn: &mut Insn, map: u32) {
    insn.src = if insn.src == pseudo::MAP_VALUE { pseudo::MAP_IDX_VALUE } else { pseudo::MAP_IDX };
    insn.imm = i32::try_from(Loader::map_slot(map)).unwrap_or(i32::MAX);
}
