//! The steps for maps: create, fill, freeze, insert, pin.

use std::borrow::Cow;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use super::arena::Arena;
use super::state::{created, open_map};
use super::{Executor, at, no_such, parts};
use crate::abi::{self, JumpTable, SectionKind, Span, Step};
use crate::error::{Errno, Error, Result};
use crate::kernel::causes::advise;
use crate::kernel::token::Delegable;
use crate::map::{self, Info, rejected, send};
use crate::open::{Inner, LoadEvent, OpenMap};
use crate::sys;
use crate::sys::elem::Definition;
use crate::uapi::elem_flags;
use skelgen_abi::map_types::{Fault, MapFacts};

/// A map that was created or reused.
#[derive(Debug)]
pub(super) struct Created {
    pub(super) map: sys::map::Map,
    pub(super) info: Info<'static>,
    /// Whether the map existed before the load. The load does not change the contents of such a map.
    reused: bool,
    /// Whether the map was opened from its pin.
    pinned: bool,
    /// The memory of an arena.
    pub(super) arena: Option<Arena>,
}

/// The map from which the kernel copies the definition of inner maps.
#[derive(Debug)]
pub(super) enum InnerMap {
    /// The map that the user passed.
    Given,
    /// A map of the object, by its index.
    OfObject(u32),
    /// A map that is closed after the outer map was created.
    Template(OwnedFd),
}

impl Created {
    /// Wraps a map that the load created.
    pub(super) fn new(map: sys::map::Map, info: Info<'static>) -> Self {
        Self { map, info, reused: false, pinned: false, arena: None }
    }

    /// Wraps a map that existed before the load; `pinned` is whether it was opened from its pin.
    pub(super) fn reused(map: sys::map::Map, info: Info<'static>, pinned: bool) -> Self {
        Self { map, info, reused: true, pinned, arena: None }
    }

    /// Returns whether the map existed before the load.
    pub(super) fn is_reused(&self) -> bool {
        self.reused
    }
}

impl Executor {
    pub(super) fn create_map(&mut self, index: u32) -> Result<()> {
        if !self.is_wanted(index)? {
            return Ok(());
        }
        let existing = match self.parts.pins {
            Some(part) => (part.existing)(self, index)?,
            None => None,
        };
        let created = match existing {
            Some(created) => created,
            None => self.create(index)?,
        };
        self.emit_map(&created, index);
        let reused = created.reused;
        let section = at(&self.object.maps, index).and_then(|map| map.section);
        let map = super::at_mut(&mut self.maps, index).ok_or_else(|| no_such("map", index))?;
        let changed = map.open.value.is_some();
        map.created = Some(created);
        if let Some(part) = self.parts.arenas {
            (part.map)(self, index)?;
        }
        // The plan has no fill step for a section of zeros, so a section whose value the user changed is filled here. A struct_ops map is
        // filled when it is attached.
        let filled = || self.object.steps.iter().any(|step| matches!(*step, Step::FillMap { map, .. } if map == index));
        match section {
            Some(section) if changed && !reused && section.kind != SectionKind::StructOps && !filled() => {
                let flags = if section.kind == SectionKind::Percpu { elem_flags::ALL_CPUS } else { elem_flags::ANY };
                self.fill_map(index, flags)
            }
            _ => Ok(()),
        }
    }

    /// Emits the event that a map was created or reused.
    pub(super) fn emit_map(&self, created: &Created, index: u32) {
        let name = created.info.name;
        let Definition { map_type, key_size, value_size, max_entries, .. } = *created.map.definition();
        let pin = at(&self.maps, index).filter(|_| created.pinned).and_then(|map| self.options.pin_path(&map.open));
        self.emit(&match created.reused {
            true => LoadEvent::MapReused { name, pin: pin.as_deref() },
            false => LoadEvent::MapCreated { name, map_type, key_size, value_size, max_entries },
        });
    }

    /// Returns whether the load creates a map, or reuses one in its place.
    pub(super) fn is_wanted(&self, index: u32) -> Result<bool> {
        let open = open_map(&self.maps, index)?;
        let left_out = |program: u32| at(&self.programs, program).is_none_or(|program| !program.open.autoload);
        Ok(open.autocreate && !open.definition.jump_table.is_some_and(|table| left_out(table.program)))
    }

    pub(super) fn create(&mut self, index: u32) -> Result<Created> {
        let exclusive = self.exclusive_hash(index)?;
        let open = open_map(&self.maps, index)?;
        let name = &*open.definition.name;
        if open.definition.section.is_some() && open.row.value_size < open.definition.value_size {
            return Err(Error::invalid(format_args!(
                "section `{name}` cannot be shorter than its variables, which have {} bytes",
                open.definition.value_size
            )));
        }
        let template = match self.parts.inner_maps {
            Some(part) => (part.template)(self, index)?,
            None => None,
        };
        let open = open_map(&self.maps, index)?;
        let inner = match (&template, &open.inner) {
            (Some(InnerMap::Given), Some(Inner::Map(given))) => Some(given.as_fd()),
            (Some(InnerMap::OfObject(inner)), _) => created(&self.maps, *inner).map(|created| created.map.as_fd()),
            (Some(InnerMap::Template(template)), _) => Some(template.as_fd()),
            _ => None,
        };
        let mut shape = self.shape(open)?;
        let kernel_value = self.parts.struct_ops.and_then(|part| (part.value)(self, index)).map(|value| {
            shape.value_size = value.size;
            (value.type_id, self.symbols.module(value.module).map(AsFd::as_fd))
        });
        let unchanged = open.row.key_size == open.definition.key_size && shape.value_size == open.definition.value_size;
        let typed = (open.row.btf_key_type_id, open.row.btf_value_type_id) != (0, 0);
        let mut map = abi::Map {
            map_type: shape.map_type,
            value_size: shape.value_size,
            max_entries: max_entries(open)?,
            flags: shape.flags,
            ..open.row.clone()
        };
        let mut btf = self.btf.as_ref().map(AsFd::as_fd);
        if kernel_value.is_some() {
            // The value has a type of the kernel, so it has no type ids of the object; the kernel still requires the object's BTF.
            (map.btf_key_type_id, map.btf_value_type_id) = (0, 0);
        } else if !unchanged || shape.emulated || !typed {
            btf = None;
        }
        let mut request = sys::map::Request {
            map,
            inner,
            btf,
            kernel_value,
            token: self.token(),
            ifindex: open.ifindex,
            exclusive: exclusive.as_ref(),
        };
        if request.inner.is_none() && MapFacts::of(request.map.map_type).is_some_and(|facts| facts.inner) {
            let fault = Fault::NoInner { map_type: request.map.map_type };
            return Err(Error::invalid(format_args!("map `{name}`: {fault}")).with_help(remedy(open, &fault)));
        }
        let info = match (self.parts.inner_maps, request.inner) {
            (Some(part), Some(inner)) => Info { inner: (part.definition)(inner), ..info(open) },
            _ => info(open),
        };
        let (had_name, had_types) = (!request.map.kernel_name.is_empty(), request.btf.is_some());
        let mut memlock = self.memlock;
        let map = send(&mut request, true, &mut memlock)?.map_err(|errno| {
            rejected(name, &request, typed, errno, |fault| remedy(open, fault))
                .unwrap_or_else(|error| self.advise(error, Delegable::Map(request.map.map_type)))
        });
        let (has_name, has_types) = (!request.map.kernel_name.is_empty(), request.btf.is_some());
        let before = std::mem::replace(&mut self.memlock, memlock);
        self.emit_memlock(before);
        let map = map?;
        if had_name && !has_name {
            self.emit(&LoadEvent::MapChanged { name, what: "its name" });
        }
        if had_types && !has_types {
            self.emit(&LoadEvent::MapChanged { name, what: "its BTF types" });
        }
        Ok(Created::new(map, info))
    }

    pub(super) fn fill_map(&mut self, index: u32, flags: u64) -> Result<()> {
        let open = open_map(&self.maps, index)?;
        let Some(created) = created(&self.maps, index).filter(|created| !created.reused) else {
            return Ok(());
        };
        let Some(section) = &open.definition.section else {
            return Err(no_such("section map", index));
        };
        match section.kind {
            SectionKind::Arena => return (parts::needed(self.parts.arenas, "arenas")?.fill)(self, index),
            SectionKind::JumpTable => {
                return self.fill_jump_table(created, section.initial, open.definition.jump_table);
            }
            _ => {}
        }
        let size = usize::try_from(open.row.value_size).unwrap_or(usize::MAX);
        let initial = match &open.value {
            Some(value) => (**value).as_ref(),
            None => self.bytes(section.initial)?,
        };
        let mut short = [0; 256];
        let value = match (initial.get(..size), short.get_mut(..size)) {
            (Some(value), _) => Cow::Borrowed(value),
            (None, Some(short)) => {
                short[..initial.len()].copy_from_slice(initial);
                Cow::Borrowed(&*short)
            }
            (None, None) => {
                let mut value = vec![0; size];
                value[..initial.len()].copy_from_slice(initial);
                Cow::Owned(value)
            }
        };
        let key = &0_u32.to_ne_bytes();
        let shape = self.shape(open)?;
        let result = if shape.emulated {
            created.map.update(
                key,
                &(parts::needed(self.parts.percpu, "percpu")?.spread)(&value, shape.value_size)?,
                elem_flags::ANY,
            )
        } else {
            match created.map.update(key, &value, flags) {
                // The kernel is older than 7.0 and does not support the flag. It reads a value for every CPU before it checks the flags,
                // so it may return EFAULT instead of EINVAL.
                Err(errno) if flags == elem_flags::ALL_CPUS && [libc::EINVAL, libc::EFAULT].contains(&errno.raw()) => {
                    (parts::needed(self.parts.percpu, "percpu")?.update_each)(&created.map, key, &value)?
                }
                result => result,
            }
        };
        result.map_err(|errno| {
            let name = &*open.definition.name;
            advise(Error::refused(format_args!("cannot fill map `{name}` ({size} bytes, flags {flags})"), errno))
        })
    }

    /// Writes the indices of a program's instructions into its jump table.
    fn fill_jump_table(&self, created: &Created, insns: Span, owner: Option<JumpTable>) -> Result<()> {
        let start = match owner.and_then(|owner| Some((at(&self.object.programs, owner.program)?, owner.function))) {
            Some((program, function)) => self.start_of(program, function)?,
            None => 0,
        };
        for (key, insn) in (0_u32..).zip(self.bytes(insns)?.chunks_exact(4)) {
            // `orig_off` of `struct bpf_insn_array_value`; the kernel sets the other fields.
            let mut value = [0; 16];
            let insn = u32::from_le_bytes(insn.first_chunk().copied().unwrap_or_default());
            // An index outside of the function stays outside of the program.
            let insn = start.saturating_add(insn);
            value[..4].copy_from_slice(&insn.to_ne_bytes());
            created.map.update(&key.to_ne_bytes(), &value, elem_flags::ANY).map_err(|errno| {
                Error::refused(format_args!("cannot write instruction {insn} into a jump table at index {key}"), errno)
            })?;
        }
        Ok(())
    }

    pub(super) fn freeze_map(&self, index: u32) -> Result<()> {
        match &at(&self.maps, index).ok_or_else(|| no_such("map", index))?.created {
            Some(created) if !created.reused => created
                .map
                .freeze()
                .map_err(|errno| Error::refused(format_args!("cannot freeze map `{}`", created.info.name), errno)),
            _ => Ok(()),
        }
    }

    pub(super) fn insert_program(&self, map: u32, key: u32, program: u32) -> Result<()> {
        let to = &at(&self.maps, map).ok_or_else(|| no_such("map", map))?.created;
        let from = &at(&self.programs, program).ok_or_else(|| no_such("program", program))?.loaded;
        let (Some(to), Some(from)) = (to.as_ref().filter(|to| !to.reused), from) else {
            return Ok(());
        };
        let name = at(&self.object.programs, program).map_or("?", |program| &program.name);
        let what =
            format_args!("cannot insert program `{name}` into map `{}` at index {key}", to.info.name).to_string();
        insert(to, key, from.fd.as_raw_fd()).map_err(|errno| advise(Error::refused(what, errno)))
    }

    /// Binds a map to a program. Kernels before 5.10 cannot do this, and programs run without it.
    pub(super) fn bind_map(&self, program: u32, map: u32) -> Result<()> {
        let to = &at(&self.programs, program).ok_or_else(|| no_such("program", program))?.loaded;
        let from = &at(&self.maps, map).ok_or_else(|| no_such("map", map))?.created;
        let (Some(to), Some(from)) = (to, from) else {
            return Ok(());
        };
        match sys::prog::bind_map(to.fd.as_fd(), from.map.as_fd()) {
            Err(errno) if errno.raw() != libc::EINVAL => {
                let name = at(&self.object.programs, program).map_or("?", |program| &program.name);
                let what = format_args!("cannot bind map `{}` to program `{name}`", from.info.name).to_string();
                Err(advise(Error::refused(what, errno)))
            }
            _ => Ok(()),
        }
    }
}

/// Returns how to correct a fault of a map. The user cannot change a template itself, but can set another one with a
/// method of the outer map.
fn remedy(open: &OpenMap, fault: &Fault) -> String {
    if open.definition.template {
        return format!(
            "set {} for the inner maps in the BPF source, or set the inner maps with `set_inner_definition` or `set_inner_map` of the outer \
            map before the load",
            fault.source()
        );
    }
    format!("set {} in the BPF source, or call `{}` before the load", fault.source(), fault.setter())
}

/// Writes a file descriptor into an array-like map.
pub(super) fn insert(map: &Created, key: u32, fd: i32) -> Result<(), Errno> {
    map.map.update(&key.to_ne_bytes(), &fd.to_ne_bytes(), elem_flags::ANY)
}

pub(super) fn info(open: &OpenMap) -> Info<'static> {
    Info {
        name: &open.definition.name,
        data_size: open.definition.value_size,
        section_size: open.row.value_size,
        inner: None,
        frozen: None,
    }
}

/// Returns the number of entries to request.
pub(super) fn max_entries(open: &OpenMap) -> Result<u32> {
    map::max_entries(open.row.map_type, open.row.max_entries)
}
