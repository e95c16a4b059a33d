//! The steps about maps: create, fill, freeze, insert, pin.

use std::borrow::Cow;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use super::arena::Arena;
use super::token::Asked;
use super::{Executor, advise, at, lift_memlock, no_such, percpu};
use crate::abi::{SectionKind, Span, Step};
use crate::error::{Errno, Error, Result};
use crate::kernel;
use crate::link::c_path;
use crate::map::Info;
use crate::open::OpenMap;
use crate::sys;
use crate::uapi::{MapType, elem_flags};

/// A map that is there.
#[derive(Debug)]
pub(super) struct Created {
    pub(super) map: sys::map::Map,
    info: Info,
    /// Whether it was there before us: then it is left as it is.
    reused: bool,
    /// Of arenas: their memory.
    pub(super) arena: Option<Arena>,
}

impl Created {
    /// A map that was there before us.
    pub(super) fn reused(map: sys::map::Map, info: Info) -> Self {
        Self { map, info, reused: true, arena: None }
    }

    /// Whether it was there before us.
    pub(super) fn is_reused(&self) -> bool {
        self.reused
    }

    pub(super) fn into_parts(self) -> (OwnedFd, Info) {
        (self.map.into_fd(), self.info)
    }
}

impl Executor {
    pub(super) fn create_map(&mut self, index: u32) -> Result<()> {
        let open = at(&self.open_maps, index).ok_or_else(|| no_such("map", index))?;
        let left_out = |program: u32| at(&self.open_programs, program).is_none_or(|program| !program.autoload);
        if !open.autocreate || open.definition.program.is_some_and(left_out) {
            return Ok(());
        }
        let created = match self.existing(index)? {
            Some(created) => created,
            None => self.create(index)?,
        };
        let reused = created.reused;
        let section = at(self.object.maps, index).and_then(|map| map.section);
        let changed = at(&self.open_maps, index).is_some_and(|open| open.value.is_some());
        if let Some(place) = super::at_mut(&mut self.maps, index) {
            *place = Some(created);
        }
        self.map_arena(index)?;
        // A section of zeros has no step that fills it; one that was changed since needs it all the same. A table of functions is
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

    fn create(&mut self, index: u32) -> Result<Created> {
        let open = at(&self.open_maps, index).ok_or_else(|| no_such("map", index))?;
        let name = open.definition.name;
        if open.definition.section.is_some() && open.value_size < open.definition.value_size {
            return Err(Error::invalid(format_args!(
                "section `{name}` cannot be made shorter than its variables, which take {} bytes",
                open.definition.value_size
            )));
        }
        // What an outer map's inner ones look like is told by one of them, which is closed again when the outer one is there.
        let template = match open.definition.inner {
            Some(inner) if at(&self.maps, inner).is_none_or(Option::is_none) => {
                Some(self.create_template(index, inner)?)
            }
            _ => None,
        };
        let open = at(&self.open_maps, index).ok_or_else(|| no_such("map", index))?;
        let inner = match (&template, open.definition.inner) {
            (Some(template), _) => Some(template.map.as_fd()),
            (None, Some(inner)) => at(&self.maps, inner).and_then(Option::as_ref).map(|created| created.map.as_fd()),
            (None, None) => None,
        };
        let mut shape = self.shape(open)?;
        let table = at(&self.tables, index).and_then(Option::as_ref);
        let kernel_value = table.map(|table| {
            shape.value_size = table.value_size;
            let module = table.module.and_then(|module| self.symbols.modules.get(module));
            (table.value_type, module.map(AsFd::as_fd))
        });
        let unchanged = open.key_size == open.definition.key_size && shape.value_size == open.definition.value_size;
        let ids = (open.definition.btf_key_type_id, open.definition.btf_value_type_id);
        let btf = self
            .btf
            .as_ref()
            .filter(|_| unchanged && !shape.emulated && ids != (0, 0))
            .map(|fd| (fd.as_fd(), ids.0, ids.1));
        // With a type of the kernel's own there are none of the object's, but the kernel wants to see that it has some.
        let btf = if kernel_value.is_some() { self.btf.as_ref().map(|fd| (fd.as_fd(), 0, 0)) } else { btf };
        let mut request = sys::map::Request {
            name: open.definition.kernel_name,
            map_type: shape.map_type,
            key_size: open.key_size,
            value_size: shape.value_size,
            max_entries: max_entries(open)?,
            flags: shape.flags,
            numa_node: open.numa_node,
            extra: open.extra,
            inner,
            btf,
            kernel_value,
            token: self.token(),
        };
        let info = Info { max_entries: request.max_entries, flags: request.flags, ..info(open, &shape) };
        let mut memlock = self.memlock;
        let mut result = sys::map::Map::create(&request);
        if is(&result, libc::EPERM) && lift_memlock(&mut memlock) {
            result = sys::map::Map::create(&request);
        }
        // A kernel says so to fields of a request that it does not know.
        if is(&result, libc::E2BIG) && !kernel::features::names()? {
            request.name = "";
            result = sys::map::Map::create(&request);
        }
        // Some types take no BTF of their keys and values, and which do grows from kernel to kernel.
        if request.btf.is_some()
            && kernel_value.is_none()
            && (is(&result, libc::EINVAL) || is(&result, 524) || is(&result, libc::EOPNOTSUPP))
        {
            request.btf = None;
            result = match (sys::map::Map::create(&request), result) {
                // The same again: it was not for the BTF.
                (Err(again), Err(first)) if again.raw() == libc::EINVAL => Err(first),
                (again, _) => again,
            };
        }
        self.memlock = memlock;
        let map = result.map_err(|errno| {
            let context = format!(
                "creating map `{name}` ({}, {}-byte keys, {}-byte values, {} entries, flags {:#x})",
                info.map_type, info.key_size, info.value_size, info.max_entries, info.flags
            );
            let error = Error::refused(context, errno);
            match about_creation(&info, errno) {
                Some(note) => error.note(note),
                None => self.advise(error, Asked::Map(info.map_type)),
            }
        })?;
        Ok(Created { map, info, reused: false, arena: None })
    }

    fn create_template(&mut self, outer: u32, inner: u32) -> Result<Created> {
        if at(self.object.maps, inner).is_none_or(|map| map.inner.is_some()) {
            return Err(no_such("as template of a map of maps map", inner));
        }
        let name = at(self.object.maps, outer).map_or("?", |map| map.name);
        self.create(inner).map_err(|error| error.within(format_args!("template for the inner maps of `{name}`")))
    }

    pub(super) fn fill_map(&mut self, index: u32, flags: u64) -> Result<()> {
        let open = at(&self.open_maps, index).ok_or_else(|| no_such("map", index))?;
        let Some(created) = at(&self.maps, index).and_then(Option::as_ref).filter(|created| !created.reused) else {
            return Ok(());
        };
        let Some(section) = open.definition.section else {
            return Err(no_such("as a section map", index));
        };
        match section.kind {
            SectionKind::Arena => return self.fill_arena(index),
            SectionKind::JumpTable => return self.fill_jump_table(created, section.initial),
            _ => {}
        }
        let size = usize::try_from(open.value_size).unwrap_or(usize::MAX);
        let initial = match &open.value {
            Some(value) => (**value).as_ref(),
            None => self.bytes(section.initial)?,
        };
        let value = match initial.get(..size) {
            Some(value) => Cow::Borrowed(value),
            None => {
                let mut value = vec![0; size];
                value[..initial.len()].copy_from_slice(initial);
                Cow::Owned(value)
            }
        };
        let key = &0_u32.to_ne_bytes();
        let shape = self.shape(open)?;
        let result = if shape.emulated {
            created.map.update(key, &percpu::spread(&value, shape.value_size)?, elem_flags::ANY)
        } else {
            match created.map.update(key, &value, flags) {
                // A kernel before 7.0, which does not know the flag. It reads a value for every CPU before it looks at the flags,
                // so it may stumble first.
                Err(errno) if flags == elem_flags::ALL_CPUS && [libc::EINVAL, libc::EFAULT].contains(&errno.raw()) => {
                    created.map.update_each(key, &percpu::repeat(&value)?, elem_flags::ANY)
                }
                result => result,
            }
        };
        result.map_err(|errno| {
            let name = open.definition.name;
            advise(Error::refused(format_args!("filling map `{name}` ({size} bytes, flags {flags})"), errno))
        })
    }

    /// Puts a program's instructions into its jump table, one after another.
    fn fill_jump_table(&self, created: &Created, insns: Span) -> Result<()> {
        for (key, insn) in (0_u32..).zip(self.bytes(insns)?.chunks_exact(4)) {
            // `orig_off` of `struct bpf_insn_array_value`; the kernel fills in the rest.
            let mut value = [0; 16];
            let insn = u32::from_le_bytes(insn.first_chunk().copied().unwrap_or_default());
            value[..4].copy_from_slice(&insn.to_ne_bytes());
            created.map.update(&key.to_ne_bytes(), &value, elem_flags::ANY).map_err(|errno| {
                Error::refused(format_args!("putting instruction {insn} into a jump table at {key}"), errno)
            })?;
        }
        Ok(())
    }

    pub(super) fn freeze_map(&self, index: u32) -> Result<()> {
        match at(&self.maps, index).ok_or_else(|| no_such("map", index))? {
            Some(created) if !created.reused => created
                .map
                .freeze()
                .map_err(|errno| Error::refused(format_args!("freezing map `{}`", created.info.name), errno)),
            _ => Ok(()),
        }
    }

    pub(super) fn insert_map(&self, outer: u32, key: u32, inner: u32) -> Result<()> {
        let to = at(&self.maps, outer).ok_or_else(|| no_such("map", outer))?;
        let from = at(&self.maps, inner).ok_or_else(|| no_such("map", inner))?;
        let (Some(to), Some(from)) = (to.as_ref().filter(|to| !to.reused), from) else {
            return Ok(());
        };
        let what = format_args!("putting map `{}` into map `{}` at {key}", from.info.name, to.info.name).to_string();
        insert(to, key, from.map.as_fd().as_raw_fd()).map_err(|errno| advise(Error::refused(what, errno)))
    }

    pub(super) fn insert_program(&self, map: u32, key: u32, program: u32) -> Result<()> {
        let to = at(&self.maps, map).ok_or_else(|| no_such("map", map))?;
        let from = at(&self.programs, program).ok_or_else(|| no_such("program", program))?;
        let (Some(to), Some(from)) = (to.as_ref().filter(|to| !to.reused), from) else {
            return Ok(());
        };
        let name = at(self.object.programs, program).map_or("?", |program| program.name);
        let what = format_args!("putting program `{name}` into map `{}` at {key}", to.info.name).to_string();
        insert(to, key, from.fd.as_raw_fd()).map_err(|errno| advise(Error::refused(what, errno)))
    }

    /// Kernels before 5.10 cannot, and programs run as well without.
    pub(super) fn bind_map(&self, program: u32, map: u32) -> Result<()> {
        let to = at(&self.programs, program).ok_or_else(|| no_such("program", program))?;
        let from = at(&self.maps, map).ok_or_else(|| no_such("map", map))?;
        let (Some(to), Some(from)) = (to, from) else {
            return Ok(());
        };
        match sys::prog::bind_map(to.fd.as_fd(), from.map.as_fd()) {
            Err(errno) if errno.raw() != libc::EINVAL => {
                let name = at(self.object.programs, program).map_or("?", |program| program.name);
                let what = format_args!("binding map `{}` to program `{name}`", from.info.name).to_string();
                Err(advise(Error::refused(what, errno)))
            }
            _ => Ok(()),
        }
    }

    /// Pins what is to be pinned, once nothing can fail any more but this, and says where.
    pub(super) fn pin(&self) -> Result<Vec<PathBuf>> {
        let mut pinned = Vec::new();
        for (open, created) in self.open_maps.iter().zip(&self.maps) {
            let Some(created) = created.as_ref().filter(|created| !created.reused) else {
                continue;
            };
            let Some(path) = self.options.pin_path(open) else {
                continue;
            };
            // That the path is one was found out when something pinned there was looked for.
            if let Err(errno) = sys::link::pin(created.map.as_fd(), &c_path(&path)?) {
                unpin(pinned);
                return Err(not_pinned(created.info.name, &path, errno));
            }
            pinned.push(path);
        }
        Ok(pinned)
    }
}

/// Removes pins; nothing can be done about one that stays, and the error to tell is another.
pub(super) fn unpin(pinned: Vec<PathBuf>) {
    for path in pinned {
        let _ = std::fs::remove_file(path);
    }
}

fn not_pinned(map: &str, path: &Path, errno: Errno) -> Error {
    let error = Error::refused(format_args!("pinning map `{map}` to {}", path.display()), errno);
    match errno.raw() {
        libc::EPERM => error.note(
            "the folder must be in a bpffs (`mount -t bpf bpf /sys/fs/bpf`), names in it have no dots, and pinning needs the \
             capability CAP_BPF",
        ),
        libc::ENOENT | libc::ENOTDIR => error.note(
            "there is no such folder: make it in a bpffs (`mount -t bpf bpf /sys/fs/bpf`), or choose another with `set_pin_folder` or \
             `set_pin_path`",
        ),
        libc::EEXIST => error.note("something was pinned there since the load began, or it is to be pinned there twice"),
        _ => error,
    }
}

/// What is wrong with a map that the kernel refused, where its number is no help.
fn about_creation(info: &Info, errno: Errno) -> Option<&'static str> {
    const OF_OBJECTS: [MapType; 6] = [
        MapType::CGROUP_STORAGE,
        MapType::PERCPU_CGROUP_STORAGE,
        MapType::SK_STORAGE,
        MapType::INODE_STORAGE,
        MapType::TASK_STORAGE,
        MapType::CGRP_STORAGE,
    ];
    match errno.raw() {
        libc::EINVAL if info.max_entries == 0 && !OF_OBJECTS.contains(&info.map_type) => Some(
            "it has room for nothing: give `max_entries` in the BPF source, or by `set_max_entries` before loading",
        ),
        libc::EINVAL => Some("this kernel knows no maps of this type, or none with such sizes or flags"),
        libc::EOPNOTSUPP if info.map_type == MapType::ARENA => Some(
            "arenas are for kernels that compile programs (CONFIG_BPF_JIT), where the compiler for the machine knows them",
        ),
        libc::E2BIG | libc::ENOMEM => {
            Some("its values, or all of them together, take more memory than the kernel gives a map")
        }
        _ => None,
    }
}

/// Puts a file descriptor into a map whose keys are numbers.
fn insert(map: &Created, key: u32, fd: i32) -> Result<(), Errno> {
    map.map.update(&key.to_ne_bytes(), &fd.to_ne_bytes(), elem_flags::ANY)
}

pub(super) fn info(open: &OpenMap, shape: &percpu::Shape) -> Info {
    Info {
        name: open.definition.name,
        map_type: shape.map_type,
        key_size: open.key_size,
        value_size: shape.value_size,
        data_size: open.definition.value_size,
        section_size: open.value_size,
        max_entries: open.max_entries,
        flags: open.flags,
    }
}

/// How many entries to ask for: what is not said and the kernel would not guess.
pub(super) fn max_entries(open: &OpenMap) -> Result<u32> {
    match open.map_type {
        MapType::PERF_EVENT_ARRAY if open.max_entries == 0 => {
            // Programs take the element of their CPU's number, and numbers can have gaps.
            Ok(kernel::cpus::possible()?.width())
        }
        MapType::RINGBUF | MapType::USER_RINGBUF if open.max_entries != 0 => {
            // Pages are 4 KiB in most sources and 64 KiB on some machines.
            let size = open.max_entries.max(u32::try_from(sys::mmap::page_size()).unwrap_or(u32::MAX));
            Ok(size.checked_next_power_of_two().unwrap_or(open.max_entries))
        }
        _ => Ok(open.max_entries),
    }
}

fn is<T>(result: &Result<T, Errno>, number: i32) -> bool {
    result.as_ref().is_err_and(|errno| errno.raw() == number)
}
