//! The comparison of a request to load a program with the program of the plan.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::mem::offset_of;

use skelgen_abi::attr::ProgLoad;
use skelgen_abi::plan::{PatchKind, absent_function, percpu_stride};
use skelgen_abi::uapi::pseudo;

use super::machine::Machine;
use super::{CPU_MASK, Fd, Imitated, Request, same};
use crate::insn::{INSN_SIZE, Insn};
use crate::plan::Assembled;

/// Returns the id or address of a symbol in the imitated kernel.
pub(super) fn found(kind: u8, name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (kind, name).hash(&mut hasher);
    // Only addresses have a more significant half.
    if kind == 0 { hasher.finish() } else { hasher.finish() & 0x7fff_ffff }
}

/// A kind of records of a program, with the fields of the request about them.
struct Records {
    what: &'static str,
    pointer: usize,
    number: usize,
    size: usize,
}

const FUNCTIONS: Records = Records {
    what: "function",
    pointer: offset_of!(ProgLoad, func_info),
    number: offset_of!(ProgLoad, func_info_cnt),
    size: offset_of!(ProgLoad, func_info_rec_size),
};

const LINES: Records = Records {
    what: "line",
    pointer: offset_of!(ProgLoad, line_info),
    number: offset_of!(ProgLoad, line_info_cnt),
    size: offset_of!(ProgLoad, line_info_rec_size),
};

const RELOCATIONS: Records = Records {
    what: "CO-RE",
    pointer: offset_of!(ProgLoad, core_relos),
    number: offset_of!(ProgLoad, core_relo_cnt),
    size: offset_of!(ProgLoad, core_relo_rec_size),
};

impl Imitated<'_> {
    /// Compares a request with a program, and returns the size that the request must have.
    pub(super) fn check_program(&self, machine: &Machine, attr: u32, index: u32) -> Result<usize, String> {
        let program = &self.object.programs[index as usize];
        let in_program = |error| format!("program `{}`: {error}", program.name);
        let assembled = Assembled::new(self.plan, program, self.emulates());
        let mut request = Request::new::<ProgLoad>(machine, attr);
        self.check_request(&mut request, index, &assembled).map_err(in_program)?;
        self.check_records(&mut request, &assembled).map_err(in_program)?;
        self.check_insns(&mut request, index, &assembled).map_err(in_program)?;
        request.finish().map_err(in_program)?;
        Ok(size_of::<ProgLoad>())
    }

    fn check_request(&self, request: &mut Request<'_>, index: u32, assembled: &Assembled) -> Result<(), String> {
        let program = &self.object.programs[index as usize];
        let target = program.target.map(|target| (target, &self.object.symbols[target as usize]));
        let id = target.map_or(0, |(_, symbol)| found(symbol.kind.btf_kind(), &symbol.name));
        let (buffer, level, size) = self.log();
        for (what, offset, value) in [
            ("the type", offset_of!(ProgLoad, prog_type), program.program_type.0),
            ("the attach type", offset_of!(ProgLoad, expected_attach_type), program.expected_attach_type.0),
            ("the number of instructions", offset_of!(ProgLoad, insn_cnt), count(&assembled.insns)),
            ("the version", offset_of!(ProgLoad, kern_version), self.object.kernel_version),
            ("the flags", offset_of!(ProgLoad, prog_flags), program.flags),
            ("the attach target", offset_of!(ProgLoad, attach_btf_id), id as u32),
            ("the log level", offset_of!(ProgLoad, log_level), level),
            ("the log size", offset_of!(ProgLoad, log_size), size),
        ] {
            same(what, request.word(offset)?, value)?;
        }
        same("the log buffer", request.wide(offset_of!(ProgLoad, log_buf))?, buffer)?;
        request.name(offset_of!(ProgLoad, prog_name), &program.name)?;
        let license = self.object.license.to_bytes_with_nul();
        same("the license", request.pointed(offset_of!(ProgLoad, license), license.len())?, license)?;
        let slots = request.machine.slots_at();
        same("the array of file descriptors", request.target(offset_of!(ProgLoad, fd_array))?, slots)?;
        let btf = request.word(offset_of!(ProgLoad, prog_btf_fd))?;
        self.check_btf_fd(btf, self.object.btf.is_some())?;
        let module = request.word(offset_of!(ProgLoad, attach_btf_obj_fd))?;
        match target {
            Some((symbol, _)) if self.is_changed => {
                self.check_fd("the target's module", module, Fd::Module(self.first_of(symbol)))
            }
            _ => same("the target's module", module, 0),
        }
    }

    fn check_records(&self, request: &mut Request<'_>, assembled: &Assembled) -> Result<(), String> {
        let described = assembled.described && self.object.btf.is_some();
        let index = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        let functions = assembled.functions.iter().filter(|_| described).map(|&(start, id)| vec![index(start), id]);
        let lines = assembled.lines.iter().filter(|_| described);
        let lines =
            lines.map(|line| vec![index(line.insn.0), line.file.0, line.text.0, line.line << 10 | line.column & 0x3ff]);
        let relos = assembled.relos.iter();
        let relos = relos.map(|relo| vec![index(relo.insn.0 * INSN_SIZE), relo.ty.0, relo.access.0, relo.kind]);
        let functions = (FUNCTIONS, functions.collect());
        let kinds: [(Records, Vec<Vec<u32>>); 3] =
            [functions, (LINES, lines.collect()), (RELOCATIONS, relos.collect())];
        for (Records { what, pointer, number, size }, records) in kinds {
            same(&format!("the number of {what} records"), request.word(number)?, count(&records))?;
            let Some(first) = records.first() else { continue };
            let each = count(first) * 4;
            same(&format!("the size of {what} records"), request.word(size)?, each)?;
            let begin = request.target(pointer)?;
            for (position, word) in (0..).zip(records.concat()) {
                let found = request.machine.word(begin + position * 4)?;
                same(&format!("word {position} of {what} records"), found, word)?;
            }
        }
        Ok(())
    }

    fn check_insns(&self, request: &mut Request<'_>, index: u32, assembled: &Assembled) -> Result<(), String> {
        let machine = request.machine;
        let bytes = request.pointed(offset_of!(ProgLoad, insns), assembled.insns.len() * INSN_SIZE)?;
        let slots = bytes.chunks_exact(INSN_SIZE).filter_map(|slot| slot.first_chunk());
        let mut insns: Vec<Insn> = slots.map(|slot| Insn::decode(*slot, self.plan.endian)).collect();
        for patch in &assembled.patches {
            let at = patch.insn as usize;
            let in_insn = |error| format!("instruction {at}: {error}");
            self.undo(machine, patch.kind, (index, at), assembled, &mut insns).map_err(in_insn)?;
        }
        for (at, (found, expected)) in insns.iter().zip(&assembled.insns).enumerate() {
            same(&format!("instruction {at}"), found, expected)?;
        }
        Ok(())
    }

    /// Checks what was written for a patch, and replaces it by what the plan has before the patch.
    fn undo(
        &self,
        machine: &Machine,
        kind: PatchKind,
        (program, at): (u32, usize),
        assembled: &Assembled,
        insns: &mut [Insn],
    ) -> Result<(), String> {
        let insn = insns[at];
        match kind {
            PatchKind::Map(_) | PatchKind::JumpTable(_) => {
                let map = match kind {
                    PatchKind::Map(map) => Some(map),
                    _ => self.jump_table(kind, program, at, assembled),
                };
                let map = map.ok_or("refers to no jump table")?;
                self.check_fd("the map", machine.fd(insn.imm.unsigned_abs())?, Fd::Map(map))?;
                let by_value = (pseudo::MAP_IDX_VALUE, pseudo::MAP_VALUE);
                let forms = [by_value, (pseudo::MAP_IDX, pseudo::MAP_FD)];
                let form = forms.iter().find(|(by_slot, _)| *by_slot == insn.src);
                insns[at] = Insn { src: form.ok_or("does not refer to a slot")?.1, imm: 0, ..insn };
                Ok(())
            }
            PatchKind::Address(index) => {
                let symbol = &self.object.symbols[index as usize];
                let value = u64::from(bits(insn.imm)) | u64::from(bits(insns[at + 1].imm)) << 32;
                same("the address", value, if self.is_absent(index) { 0 } else { found(0, &symbol.name) })?;
                (insns[at].imm, insns[at + 1].imm) = (0, 0);
                Ok(())
            }
            PatchKind::Variable(index) | PatchKind::Function(index) => {
                let symbol = &self.object.symbols[index as usize];
                let is_call = matches!(kind, PatchKind::Function(_));
                let present = if is_call { pseudo::KFUNC_CALL } else { pseudo::BTF_ID };
                let id = found(symbol.kind.btf_kind(), &symbol.name) as i32;
                let (src, imm) = match (self.is_absent(index), is_call) {
                    (false, _) => (present, id),
                    (true, true) => (0, absent_function(index)),
                    (true, false) => (0, 0),
                };
                same("the source register", insn.src, src)?;
                same("the immediate", insn.imm, imm)?;
                insns[at] = Insn { src: present, imm: 0, ..insn };
                let is_in_module = self.is_changed && !self.is_absent(index);
                match (is_in_module, is_call) {
                    (true, true) => {
                        let slot = u32::from(insn.off.unsigned_abs());
                        self.check_fd("the module", machine.fd(slot)?, Fd::Module(self.first_of(index)))?;
                        insns[at].off = 0;
                    }
                    (true, false) => {
                        self.check_fd(
                            "the module",
                            insns[at + 1].imm.unsigned_abs(),
                            Fd::Module(self.first_of(index)),
                        )?;
                        insns[at + 1].imm = 0;
                    }
                    (false, _) => {}
                }
                Ok(())
            }
            PatchKind::Subprogram(_) => Ok(()),
            PatchKind::CpuMask => {
                same("the mask", bits(insn.imm), CPU_MASK)?;
                insns[at].imm = assembled.insns[at].imm;
                Ok(())
            }
            PatchKind::Stride(map) => {
                let map = &self.object.maps[map as usize];
                let stride = percpu_stride(map.value_size, map.section.map_or(1, |section| section.align));
                same("the stride", Some(bits(insn.imm)), stride)?;
                insns[at].imm = assembled.insns[at].imm;
                Ok(())
            }
            PatchKind::ArenaValue(_) => Err("cannot be lowered".to_owned()),
        }
    }

    /// Returns the map of a jump table.
    fn jump_table(&self, kind: PatchKind, program: u32, at: usize, assembled: &Assembled) -> Option<u32> {
        let PatchKind::JumpTable(mut number) = kind else { return None };
        let before = assembled.functions.iter().take_while(|(start, _)| *start <= at).count();
        let function = *self.object.programs[program as usize].functions.get(before.checked_sub(1)?)?;
        for (index, map) in (0..).zip(self.object.maps.iter()) {
            match map.jump_table {
                Some(table) if (table.program, table.function) != (program, function) => {}
                Some(_) if number == 0 => return Some(index),
                Some(_) => number -= 1,
                None => {}
            }
        }
        None
    }
}

fn count<T>(items: &[T]) -> u32 {
    u32::try_from(items.len()).unwrap_or(u32::MAX)
}

/// Returns the bits of an immediate.
fn bits(imm: i32) -> u32 {
    u32::from_ne_bytes(imm.to_ne_bytes())
}
