//! The steps for maps: create, initialize, freeze, insert.

use std::mem::offset_of;

use skelgen_abi::attr::{MapCreate, MapElem};
use skelgen_abi::loader;
use skelgen_abi::plan::{Loader, Map, SectionKind, Setting, Step};
use skelgen_abi::uapi::{Command, elem_flags};

use super::{Lowering, field};
use crate::loader::attr::Attr;
use crate::loader::table::{Copied, Place, TableError};
use crate::plan::entries;

/// The size of `struct bpf_insn_array_value`, an element of a jump table.
const JUMP_TARGET: usize = 16;

impl Lowering<'_> {
    pub(super) fn create_map(&mut self, index: u32) -> Result<(), TableError> {
        let map = &self.object.maps[index as usize];
        if map.is_percpu_section() {
            return self.by_form(|lowering| lowering.create(index, None), |lowering| lowering.create_emulated(index));
        }
        let Some(inner) = map.inner else { return self.create(index, None) };
        // The process closes the template: until then, the kernel describes the inner maps by it.
        self.create(inner, None)?;
        self.create(index, Some(inner))
    }

    /// Creates a map, with the template of its inner maps if it is a map of maps.
    fn create(&mut self, index: u32, template: Option<u32>) -> Result<(), TableError> {
        let map = &self.object.maps[index as usize];
        let has_types = (map.btf_key_type_id, map.btf_value_type_id) != (0, 0) && self.object.btf.is_some();
        let attr = self.table.data(self.definition(map, has_types).bytes())?;
        if has_types {
            let btf = self.slot(Loader::BTF_SLOT);
            self.set_fd(attr, offset_of!(MapCreate, btf_fd), btf)?;
        }
        if let Some(template) = template {
            let template = self.map_slot(template);
            self.set_fd(attr, offset_of!(MapCreate, inner_map_fd), template)?;
        }
        if let Some(entries) = self.host.place(Setting::MaxEntries { map: index }) {
            self.table.copy(field(attr, offset_of!(MapCreate, max_entries)), Copied::U32, entries)?;
        }
        let slot = self.map_slot(index);
        self.table.request(Command::MAP_CREATE, attr, size_of::<MapCreate>(), Some(slot))?;
        let filled = |step: &Step| matches!(*step, Step::FillMap { map, .. } if map == index);
        // The plan has no fill step for a section of zeros, but the process can pass another value.
        match self.host.initial(index) {
            Some((is_changed, initial)) if !self.object.steps.iter().any(filled) => {
                let size = map.value_size as usize;
                self.unless_zero(is_changed, |lowering| {
                    let value = lowering.table.reserve(size)?;
                    lowering.table.copy_from_host(value, size, initial)?;
                    lowering.update(index, &0_u32.to_ne_bytes(), value, elem_flags::ANY)
                })
            }
            _ => Ok(()),
        }
    }

    /// Returns the request to create a map, without file descriptors.
    pub(super) fn definition(&self, map: &Map, has_types: bool) -> Attr {
        let attr = Attr::new::<MapCreate>(self.endian)
            .word(offset_of!(MapCreate, map_type), map.map_type.0)
            .word(offset_of!(MapCreate, key_size), map.key_size)
            .word(offset_of!(MapCreate, value_size), map.value_size)
            .word(offset_of!(MapCreate, max_entries), map.max_entries)
            .word(offset_of!(MapCreate, map_flags), map.flags)
            .word(offset_of!(MapCreate, numa_node), map.numa_node)
            .wide(offset_of!(MapCreate, map_extra), map.extra)
            .name(offset_of!(MapCreate, map_name), &map.kernel_name);
        if !has_types {
            return attr;
        }
        attr.word(offset_of!(MapCreate, btf_key_type_id), map.btf_key_type_id)
            .word(offset_of!(MapCreate, btf_value_type_id), map.btf_value_type_id)
    }

    pub(super) fn fill_map(&mut self, index: u32, flags: u64) -> Result<(), TableError> {
        let map = &self.object.maps[index as usize];
        let Some(section) = map.section else { return Ok(()) };
        let initial = self.object.bytes(section.initial).unwrap_or_default();
        if section.kind == SectionKind::JumpTable {
            return self.fill_jump_table(index, initial);
        }
        if map.value_size > loader::MAX_VALUE {
            return Err(TableError::TooLarge { size: u64::from(map.value_size) });
        }
        let mut value = initial.to_vec();
        value.resize(map.value_size as usize, 0);
        let place = self.table.data(&value)?;
        self.initial[index as usize] = Some(place);
        if let Some((is_changed, initial)) = self.host.initial(index) {
            self.unless_zero(is_changed, |lowering| {
                lowering.table.copy_from_host(place, value.len(), initial).map(drop)
            })?;
        }
        let update = |lowering: &mut Self| lowering.update(index, &[0; 4], place, flags);
        // The process writes the copies of an emulated section, whose number the table does not have.
        if map.is_percpu_section() { self.by_form(update, |_| Ok(())) } else { update(self) }
    }

    /// Writes the indices of a program's instructions into its jump table.
    fn fill_jump_table(&mut self, index: u32, initial: &[u8]) -> Result<(), TableError> {
        let Some(owner) = self.object.maps[index as usize].jump_table else { return Ok(()) };
        for (key, insn) in (0_u32..).zip(entries(self.object, owner, initial).chunks_exact(4)) {
            let insn = insn.first_chunk().copied().map_or(0, u32::from_le_bytes);
            // `orig_off` of `struct bpf_insn_array_value`; the kernel sets the other fields.
            let mut value = [0; JUMP_TARGET];
            value[..4].copy_from_slice(&self.endian.to_bytes(insn));
            let value = self.table.data(&value)?;
            self.update(index, &self.endian.to_bytes(key), value, elem_flags::ANY)?;
        }
        Ok(())
    }

    pub(super) fn freeze_map(&mut self, index: u32) -> Result<(), TableError> {
        let attr = self.table.reserve(size_of::<MapElem>())?;
        let slot = self.map_slot(index);
        self.set_fd(attr, offset_of!(MapElem, map_fd), slot)?;
        self.table.request(Command::MAP_FREEZE, attr, size_of::<MapElem>(), None).map(drop)
    }

    /// Inserts a map or program into a map of maps or a program array.
    pub(super) fn insert(&mut self, map: u32, key: u32, slot: u32) -> Result<(), TableError> {
        let value = self.table.reserve(4)?;
        let slot = self.slot(slot);
        self.table.copy(value, Copied::U32, slot)?;
        self.update(map, &self.endian.to_bytes(key), value, elem_flags::ANY)
    }

    /// Sets an element of a map.
    fn update(&mut self, map: u32, key: &[u8], value: Place, flags: u64) -> Result<(), TableError> {
        let key = self.constant(key)?;
        let attr = Attr::new::<MapElem>(self.endian).wide(offset_of!(MapElem, flags), flags);
        let attr = self.table.data(attr.bytes())?;
        self.table.point(field(attr, offset_of!(MapElem, key)), key)?;
        self.table.point(field(attr, offset_of!(MapElem, value)), value)?;
        let slot = self.map_slot(map);
        self.set_fd(attr, offset_of!(MapElem, map_fd), slot)?;
        self.table.request(Command::MAP_UPDATE_ELEM, attr, size_of::<MapElem>(), None).map(drop)
    }
}
