//! The steps for maps: create, fill, freeze, insert, pin.

use std::borrow::Cow;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use super::arena::Arena;
use super::token::Delegable;
use super::{Executor, advise, at, lift_memlock, no_such, percpu};
use crate::abi::{self, JumpTable, SectionKind, Span, Step};
use crate::error::{Errno, Error, ErrorKind, LinuxVersion, Result, Subject};
use crate::kernel;
use crate::map::{Info, definition_of, not_inner, other_than_map};
use crate::open::OpenMap;
use crate::pins::PinSet;
use crate::sys;
use crate::uapi::{MapType, elem_flags};
use skelgen_abi::map_types::{Definition, Fault, MapFacts};

/// A map that was created or reused.
#[derive(Debug)]
pub(super) struct Created {
    pub(super) map: sys::map::Map,
    info: Info,
    /// Whether it existed before the load. Its contents are left as they are.
    reused: bool,
    /// The memory of an arena.
    pub(super) arena: Option<Arena>,
}

impl Created {
    /// Wraps a map that existed before the load.
    pub(super) fn reused(map: sys::map::Map, info: Info) -> Self {
        Self { map, info, reused: true, arena: None }
    }

    /// Returns whether the map existed before the load.
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
        if !open.autocreate || open.definition.jump_table.is_some_and(|table| left_out(table.program)) {
            return Ok(());
        }
        let created = match self.existing(index)? {
            Some(created) => created,
            None => self.create(index)?,
        };
        let reused = created.reused;
        let section = at(&self.object.maps, index).and_then(|map| map.section);
        let changed = at(&self.open_maps, index).is_some_and(|open| open.value.is_some());
        if let Some(slot) = super::at_mut(&mut self.maps, index) {
            *slot = Some(created);
        }
        self.map_arena(index)?;
        // The plan has no step that fills a section of zeros, but one that the user changed needs it. A struct_ops map is filled when it is
        // attached.
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
        let name = &*open.definition.name;
        if open.definition.section.is_some() && open.row.value_size < open.definition.value_size {
            return Err(Error::invalid(format_args!(
                "section `{name}` cannot be shorter than its variables, which have {} bytes",
                open.definition.value_size
            )));
        }
        if let Some(given) = &open.inner {
            check_template(name, given.as_fd())?;
        }
        // The kernel copies the definition of inner maps from a template, which is closed after the outer map was created.
        let template = match open.definition.inner.filter(|_| open.inner.is_none()) {
            Some(inner) if at(&self.maps, inner).is_none_or(Option::is_none) => {
                Some(self.create_template(index, inner)?)
            }
            _ => None,
        };
        let open = at(&self.open_maps, index).ok_or_else(|| no_such("map", index))?;
        let inner = match (&open.inner, &template, open.definition.inner) {
            (Some(given), ..) => Some(given.as_fd()),
            (None, Some(template), _) => Some(template.map.as_fd()),
            (None, None, Some(inner)) => {
                at(&self.maps, inner).and_then(Option::as_ref).map(|created| created.map.as_fd())
            }
            (None, None, None) => None,
        };
        let mut shape = self.shape(open)?;
        let table = at(&self.struct_ops_maps, index).and_then(Option::as_ref);
        let kernel_value = table.map(|table| {
            shape.value_size = table.value_size;
            let module = self.symbols.module(table.module);
            (table.value_type, module.map(AsFd::as_fd))
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
        let mut request = sys::map::Request { map, inner, btf, kernel_value, token: self.token() };
        if request.inner.is_none() && MapFacts::of(request.map.map_type).is_some_and(|facts| facts.inner) {
            let fault = Fault::NoInner { map_type: request.map.map_type };
            return Err(Error::invalid(format_args!("map `{name}`: {fault}")).with_help(remedy(open, &fault)));
        }
        let inner = request.inner.and_then(|inner| definition_of(inner).ok());
        let info = Info { max_entries: request.map.max_entries, flags: request.map.flags, inner, ..info(open, &shape) };
        let mut memlock = self.memlock;
        let mut result = sys::map::Map::create(&request);
        if is(&result, libc::EPERM) && lift_memlock(&mut memlock) {
            result = sys::map::Map::create(&request);
        }
        // Kernels return this for unknown fields of a request.
        if is(&result, libc::E2BIG) && !kernel::features::names()? {
            request.map.kernel_name = "".into();
            result = sys::map::Map::create(&request);
        }
        // Some map types do not accept BTF of keys and values, and which types do depends on the kernel.
        if request.btf.is_some()
            && kernel_value.is_none()
            && (is(&result, libc::EINVAL) || is(&result, 524) || is(&result, libc::EOPNOTSUPP))
        {
            request.btf = None;
            result = match (sys::map::Map::create(&request), result) {
                // BTF was not the cause.
                (Err(again), Err(first)) if again.raw() == libc::EINVAL => Err(first),
                (again, _) => again,
            };
        }
        let map = result.map_err(|errno| {
            let definition = Definition::of(&request.map, request.inner.is_some(), typed);
            let error = Error::refused(format_args!("cannot create map `{name}` ({definition})"), errno);
            let known = about_creation(error, open, &definition, &request, errno);
            known.unwrap_or_else(|error| self.advise(error, Delegable::Map(info.map_type)))
        });
        self.memlock = memlock;
        let map = map?;
        Ok(Created { map, info, reused: false, arena: None })
    }

    fn create_template(&mut self, outer: u32, inner: u32) -> Result<Created> {
        if at(&self.object.maps, inner).is_none_or(|map| map.inner.is_some()) {
            return Err(no_such("template map", inner));
        }
        let name = at(&self.object.maps, outer).map_or("?", |map| &map.name);
        self.create(inner)
            .map_err(|error| error.within(format_args!("cannot create the template of the inner maps of `{name}`")))
    }

    pub(super) fn fill_map(&mut self, index: u32, flags: u64) -> Result<()> {
        let open = at(&self.open_maps, index).ok_or_else(|| no_such("map", index))?;
        let Some(created) = at(&self.maps, index).and_then(Option::as_ref).filter(|created| !created.reused) else {
            return Ok(());
        };
        let Some(section) = &open.definition.section else {
            return Err(no_such("section map", index));
        };
        match section.kind {
            SectionKind::Arena => return self.fill_arena(index),
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
                // A kernel before 7.0, which does not know the flag. It reads a value for every CPU before it checks the flags, so it may
                // return EFAULT first.
                Err(errno) if flags == elem_flags::ALL_CPUS && [libc::EINVAL, libc::EFAULT].contains(&errno.raw()) => {
                    created.map.update_each(key, &percpu::repeat(&value)?, elem_flags::ANY)
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
            // `orig_off` of `struct bpf_insn_array_value`; the kernel fills in the rest.
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
        match at(&self.maps, index).ok_or_else(|| no_such("map", index))? {
            Some(created) if !created.reused => created
                .map
                .freeze()
                .map_err(|errno| Error::refused(format_args!("cannot freeze map `{}`", created.info.name), errno)),
            _ => Ok(()),
        }
    }

    pub(super) fn insert_map(&self, outer: u32, key: u32, inner: u32) -> Result<()> {
        let to = at(&self.maps, outer).ok_or_else(|| no_such("map", outer))?;
        let from = at(&self.maps, inner).ok_or_else(|| no_such("map", inner))?;
        let (Some(to), Some(from)) = (to.as_ref().filter(|to| !to.reused), from) else {
            return Ok(());
        };
        let what = format_args!("cannot insert map `{}` into map `{}` at index {key}", from.info.name, to.info.name)
            .to_string();
        insert(to, key, from.map.as_fd().as_raw_fd()).map_err(|errno| {
            let error = Error::refused(what, errno);
            match not_inner(from.map.as_fd(), to.info.inner.as_ref(), errno) {
                Some(note) => error.note(note),
                None => advise(error),
            }
        })
    }

    pub(super) fn insert_program(&self, map: u32, key: u32, program: u32) -> Result<()> {
        let to = at(&self.maps, map).ok_or_else(|| no_such("map", map))?;
        let from = at(&self.programs, program).ok_or_else(|| no_such("program", program))?;
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
        let to = at(&self.programs, program).ok_or_else(|| no_such("program", program))?;
        let from = at(&self.maps, map).ok_or_else(|| no_such("map", map))?;
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

    /// Pins the maps. This is the last part of a load that can fail.
    pub(super) fn pin(&self) -> Result<PinSet> {
        let mut pins = PinSet::default();
        for (open, created) in self.open_maps.iter().zip(&self.maps) {
            let Some(created) = created.as_ref().filter(|created| !created.reused) else {
                continue;
            };
            let Some(path) = self.options.pin_path(open) else {
                continue;
            };
            // The directory of maps that are pinned by name is created; that of a path which the user set is not.
            if let Some(directory) = self.options.pin_dir.as_deref().filter(|_| open.pin_path.is_none()) {
                pins.directory(directory)
                    .map_err(|error| error.within(format_args!("cannot pin map `{}`", created.info.name)))?;
            }
            let doing = format!("cannot pin map `{}` to {}", created.info.name, path.display());
            pins.pin(created.map.as_fd(), &path, doing)
                .map_err(|error| error.about(Subject::Map(created.info.name)))?;
        }
        Ok(pins)
    }
}

/// Adds the faults of the definition and the kernel's own reason to the error of a rejected map. Returns the unchanged error as `Err` if
/// neither is known.
fn about_creation(
    error: Error,
    open: &OpenMap,
    definition: &Definition,
    request: &sys::map::Request<'_>,
    errno: Errno,
) -> Result<Error> {
    // 524 is ENOTSUPP, which is internal to the kernel.
    let about_definition = matches!(errno.raw(), libc::EINVAL | libc::E2BIG | libc::EOPNOTSUPP | 524);
    let faults: Vec<Fault> = definition.faults().filter(|_| about_definition).collect();
    let reason = sys::map::Map::reason(request, errno);
    if !faults.is_empty() || reason.is_some() {
        let error = if faults.is_empty() { error } else { error.with_kind(ErrorKind::InvalidInput) };
        let error =
            faults.iter().fold(error, |error, fault| error.with_help(format_args!("{fault}: {}", remedy(open, fault))));
        return Ok(reason
            .into_iter()
            .fold(error, |error, reason| error.note(format_args!("the kernel reports: {reason}"))));
    }
    Ok(match errno.raw() {
        libc::EINVAL => unknown_to_kernel(error, definition.map_type),
        libc::EOPNOTSUPP if definition.map_type == MapType::ARENA => error.note(
            "arenas require a kernel with a JIT compiler (CONFIG_BPF_JIT) that supports them on this architecture",
        ),
        libc::E2BIG | libc::ENOMEM => error
            .with_kind(ErrorKind::LimitReached)
            .note("a value, or all values together, need more memory than the kernel allocates for a map"),
        _ => return Err(error),
    })
}

/// Returns how to correct a fault of a map. A template has no methods; the outer map has one for it.
fn remedy(open: &OpenMap, fault: &Fault) -> String {
    if open.definition.template {
        return format!(
            "set {} for the inner maps in the BPF source, or pass a map like them to `set_inner_map` of the outer map before \
            the load",
            fault.source()
        );
    }
    format!("set {} in the BPF source, or call `{}` before the load", fault.source(), fault.setter())
}

/// Adds why the kernel may have rejected a definition that is valid for its type.
fn unknown_to_kernel(error: Error, map_type: MapType) -> Error {
    let Some(facts) = MapFacts::of(map_type) else {
        return error.note(format_args!("this kernel may not have maps of type {map_type}"));
    };
    let since = LinuxVersion::new(facts.since.0, facts.since.1);
    match kernel::causes::older_than(since) {
        Some(running) => error
            .needs(since)
            .note(format_args!("maps of type {map_type} require Linux {since}; this is {running}")),
        None => error.note(format_args!(
            "sizes and flags are valid for maps of type {map_type}; this kernel may be built without this type, or not support one of the flags"
        )),
    }
}

/// Checks the template of the inner maps of `outer` that the user set.
fn check_template(outer: &str, template: BorrowedFd<'_>) -> Result<()> {
    if let Some(other) = other_than_map(template) {
        return Err(Error::invalid(format_args!(
            "cannot create map `{outer}`: the template of its inner maps is not a map, but {other}"
        ))
        .with_help("pass a map to `set_inner_map`"));
    }
    let found = definition_of(template).map_err(|errno| {
        Error::refused(
            format_args!("cannot read the definition of the template of the inner maps of map `{outer}`"),
            errno,
        )
    })?;
    match MapFacts::of(found.map_type) {
        Some(facts) if !facts.can_be_inner => Err(Error::mismatch(format_args!(
            "cannot create map `{outer}`: the template of its inner maps has type {}, which a map of maps cannot contain",
            found.map_type
        ))
        .with_help("pass a map of another type to `set_inner_map`")),
        _ => Ok(()),
    }
}

/// Writes a file descriptor into an array-like map.
fn insert(map: &Created, key: u32, fd: i32) -> Result<(), Errno> {
    map.map.update(&key.to_ne_bytes(), &fd.to_ne_bytes(), elem_flags::ANY)
}

pub(super) fn info(open: &OpenMap, shape: &percpu::Shape) -> Info {
    Info {
        name: &open.definition.name,
        map_type: shape.map_type,
        key_size: open.row.key_size,
        value_size: shape.value_size,
        data_size: open.definition.value_size,
        section_size: open.row.value_size,
        max_entries: open.row.max_entries,
        flags: open.row.flags,
        inner: None,
    }
}

/// Returns the number of entries to request. Where the definition does not set it, the kernel has no default.
pub(super) fn max_entries(open: &OpenMap) -> Result<u32> {
    match open.row.map_type {
        MapType::PERF_EVENT_ARRAY if open.row.max_entries == 0 => {
            // Programs index it by the number of their CPU, and the numbers of CPUs can have gaps.
            Ok(kernel::cpus::possible()?.width())
        }
        MapType::RINGBUF | MapType::USER_RINGBUF if open.row.max_entries != 0 => {
            // Most sources assume pages of 4 KiB, but some architectures have 64 KiB.
            let size = open.row.max_entries.max(u32::try_from(sys::mmap::page_size()).unwrap_or(u32::MAX));
            Ok(size.checked_next_power_of_two().unwrap_or(open.row.max_entries))
        }
        _ => Ok(open.row.max_entries),
    }
}

fn is<T>(result: &Result<T, Errno>, number: i32) -> bool {
    result.as_ref().is_err_and(|errno| errno.raw() == number)
}
