//! The two forms of percpu data: direct access, and emulation by a map with a copy for each CPU.
//!
//! If the plan has both forms, a feature probe at the beginning of the table decides between them, as the runtime's does.
//! The sizes of emulated sections depend on the number of CPUs, so the process passes them, and writes the initial values
//! after the run: the table does not depend on the number of CPUs.

use std::mem::offset_of;

use skelgen_abi::attr::{MapCreate, ProgLoad};
use skelgen_abi::opcode;
use skelgen_abi::plan::{PatchKind, PercpuForm, Setting, percpu_stride};
use skelgen_abi::uapi::{Command, MapType, ProgramType, map_flags, pseudo};

use super::{Lowering, field, length};
use crate::insn::Insn;
use crate::loader::attr::Attr;
use crate::loader::table::{Copied, HeaderField, Place, TableBuilder, TableError};

/// The form of the percpu data that a table uses.
#[derive(Clone, Copy)]
pub(super) enum Form {
    Native,
    Emulated,
    /// The u32 at this position in the data is 0 for direct access and 1 for emulation.
    Either(Place),
}

/// The name of the map and program of the feature probe.
const PROBE: &str = "percpu_probe";

/// The results of a kernel that does not have direct access to percpu arrays: `EINVAL`, `EOPNOTSUPP` and `ENOTSUPP`.
const WITHOUT: [u32; 3] = [22_u32.wrapping_neg(), 95_u32.wrapping_neg(), 524_u32.wrapping_neg()];

impl Form {
    pub(super) fn new(form: PercpuForm, table: &mut TableBuilder) -> Result<Self, TableError> {
        Ok(match form {
            PercpuForm::Native => Self::Native,
            PercpuForm::Emulated => Self::Emulated,
            PercpuForm::Either => Self::Either(table.reserve(4)?),
        })
    }
}

impl Lowering<'_> {
    /// Adds the feature probe, if both forms are possible: a map, and a program that loads the address of its value. If
    /// the result is unclear, the table uses direct access, because the errors of the object's own requests are more
    /// helpful.
    pub(super) fn probe_percpu(&mut self) -> Result<(), TableError> {
        let Form::Either(is_emulated) = self.form else { return Ok(()) };
        let (map, program) = (self.table.slot(), self.table.slot());
        let (rejected, absent, end) = (self.table.label(), self.table.label(), self.table.label());
        let attr = Attr::new::<MapCreate>(self.endian)
            .word(offset_of!(MapCreate, map_type), MapType::PERCPU_ARRAY.0)
            .word(offset_of!(MapCreate, key_size), 4)
            .word(offset_of!(MapCreate, value_size), 8)
            .word(offset_of!(MapCreate, max_entries), 1)
            .name(offset_of!(MapCreate, map_name), PROBE);
        let attr = self.table.data(attr.bytes())?;
        let create = self.table.request(Command::MAP_CREATE, attr, size_of::<MapCreate>(), Some(map))?;
        self.table.on_error(create, end);
        let slot = i32::try_from(map.index()).unwrap_or(i32::MAX);
        let insns = [
            Insn { code: opcode::LD_IMM64, src: pseudo::MAP_IDX_VALUE, imm: slot, ..Insn::default() },
            Insn::default(),
            Insn { code: opcode::LDX | opcode::MEM | opcode::W, ..Insn::default() },
            Insn { code: opcode::EXIT, ..Insn::default() },
        ];
        let attr = Attr::new::<ProgLoad>(self.endian)
            .word(offset_of!(ProgLoad, prog_type), ProgramType::SOCKET_FILTER.0)
            .word(offset_of!(ProgLoad, insn_cnt), length(&insns))
            .name(offset_of!(ProgLoad, prog_name), PROBE);
        let attr = self.table.data(attr.bytes())?;
        let insns: Vec<u8> = insns.iter().flat_map(|insn| insn.encode(self.endian)).collect();
        let insns = self.table.data(&insns)?;
        let license = self.constant(b"GPL\0")?;
        let fds = self.slot(0);
        self.table.point(field(attr, offset_of!(ProgLoad, insns)), insns)?;
        self.table.point(field(attr, offset_of!(ProgLoad, license)), license)?;
        self.table.point(field(attr, offset_of!(ProgLoad, fd_array)), fds)?;
        let load = self.table.request(Command::PROG_LOAD, attr, size_of::<ProgLoad>(), Some(program))?;
        self.table.on_error(load, rejected);
        self.table.jump(end);
        self.table.bind(rejected);
        for result in WITHOUT {
            self.table.jump_if_equal(HeaderField::Result, result, absent)?;
        }
        self.table.jump(end);
        self.table.bind(absent);
        let one = self.constant(&self.endian.to_bytes(1))?;
        self.table.copy(is_emulated, Copied::U32, one)?;
        self.table.bind(end);
        self.table.close(program);
        self.table.close(map);
        Ok(())
    }

    /// Adds the steps of the form of percpu data that the table uses.
    pub(super) fn by_form(
        &mut self,
        native: impl FnOnce(&mut Self) -> Result<(), TableError>,
        emulated: impl FnOnce(&mut Self) -> Result<(), TableError>,
    ) -> Result<(), TableError> {
        match self.form {
            Form::Native => native(self),
            Form::Emulated => emulated(self),
            Form::Either(is_emulated) => {
                let (other, end) = (self.table.label(), self.table.label());
                self.table.jump_if_not_equal(is_emulated, 0, other)?;
                native(self)?;
                self.table.jump(end);
                self.table.bind(other);
                emulated(self)?;
                self.table.bind(end);
                Ok(())
            }
        }
    }

    /// Creates the map of an emulated section: an array whose only element has the copies of all CPUs.
    pub(super) fn create_emulated(&mut self, index: u32) -> Result<(), TableError> {
        let map = &self.object.maps[index as usize];
        let attr = self
            .definition(map, false)
            .word(offset_of!(MapCreate, map_type), MapType::ARRAY.0)
            .word(offset_of!(MapCreate, map_flags), map.flags | map_flags::MMAPABLE);
        let attr = self.table.data(attr.bytes())?;
        if let Some(size) = self.host.place(Setting::EmulatedSize { map: index }) {
            self.table.copy(field(attr, offset_of!(MapCreate, value_size)), Copied::U32, size)?;
        }
        let slot = self.map_slot(index);
        self.table.request(Command::MAP_CREATE, attr, size_of::<MapCreate>(), Some(slot)).map(drop)
    }

    /// Adds the step that writes a value of emulation to the instruction at a place, and returns the immediate that it
    /// has in the table.
    pub(super) fn set_emulation(&mut self, kind: PatchKind, at: Place) -> Result<(), TableError> {
        match (kind, self.host.place(Setting::CpuMask)) {
            (PatchKind::CpuMask, Some(mask)) => self.table.copy(at.plus(4), Copied::U32, mask).map(drop),
            _ => Ok(()),
        }
    }

    /// Returns the distance between the copies of an emulated section. The process cannot change the size of the section.
    pub(super) fn stride(&self, map: u32) -> i32 {
        let map = &self.object.maps[map as usize];
        let align = map.section.map_or(1, |section| section.align);
        percpu_stride(map.value_size, align).and_then(|stride| i32::try_from(stride).ok()).unwrap_or(0)
    }
}
