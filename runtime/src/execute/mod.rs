//! The execution of a load plan: one request to the kernel a step.
//!
//! The executor owns everything that it opens until the whole load has succeeded, so an error leaves nothing behind. The plan has the order
//! of the steps; this module has what each step means on the running kernel. Knows tables, settings and system calls; not the types that
//! generated code gives to maps and sections.

mod absent;
mod arena;
mod assemble;
mod btf;
mod fixups;
mod kconfig;
mod log;
mod maps;
mod percpu;
mod programs;
mod relocate;
mod reuse;
mod struct_ops;
mod symbols;
mod token;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;

use crate::abi::{Body, Object, Patch, Span, Step};
use crate::btf::Types;
use crate::error::{self, Error, Result, Subject};
use crate::link::StructOps;
use crate::map::{Arena, FromFd, Info};
use crate::open::{LoadOptions, OpenMap, OpenProgram};
use crate::pins::PinSet;
use crate::program::Program;
use crate::relocate::Relocator;
use crate::sys;
use crate::sys::trusted::Trusted;
use crate::usdt_specs::{self, Specs as UsdtSpecs};

/// Loads an object: executes its plan with these settings, which are in the order of the object's maps and programs. Maps and programs
/// without settings are loaded as the object defines them.
///
/// # Errors
/// If the kernel rejects a request, or lacks a type that a program attaches to. Nothing stays open or loaded then.
pub fn load(object: &Trusted, options: LoadOptions, maps: Vec<OpenMap>, programs: Vec<OpenProgram>) -> Result<Loaded> {
    let object = object.object();
    let mut executor = Executor::new(object, options, maps, programs)?;
    let of_object = |step| move |error: Error| error.during(step).within(format_args!("object `{}`", object.name));
    executor.choose_token().map_err(of_object(error::Step::UseToken))?;
    executor.choose_percpu().map_err(of_object(error::Step::Probe))?;
    executor.prepare_struct_ops().map_err(of_object(error::Step::CreateMap))?;
    for (number, step) in object.steps.iter().enumerate() {
        executor.step(step).map_err(|error| {
            let error = match &executor.btf_refused {
                Some(error_text) => error.after("the kernel rejected the object's BTF before", error_text),
                None => error,
            };
            about(error, object, step).within(format_args!(
                "object `{}`, step {} of {}",
                object.name,
                number + 1,
                object.steps.len()
            ))
        })?;
    }
    let usdt_specs = executor.usdt_specs().map_err(of_object(error::Step::Check))?;
    let pinned = executor.pin().map_err(of_object(error::Step::Pin))?;
    Ok(executor.finish(usdt_specs.as_ref(), pinned))
}

/// Adds the plan's step to an error, with the map or program that it is for.
fn about(error: Error, object: &Object, step: &Step) -> Error {
    let map = |error: Error, index| match at(&object.maps, index) {
        Some(map) => error.about(Subject::Map(&map.name)),
        None => error,
    };
    let program = |error: Error, index| match at(&object.programs, index) {
        Some(program) => error.about(Subject::Program(&program.name)),
        None => error,
    };
    match *step {
        Step::LoadBtf => error.during(error::Step::LoadBtf),
        Step::ResolveSymbols => error.during(error::Step::FindSymbol),
        Step::CreateMap { map: index } => map(error.during(error::Step::CreateMap), index),
        Step::FillMap { map: index, .. } | Step::FillKconfig { map: index } | Step::FreezeMap { map: index } => {
            map(error.during(error::Step::FillMap), index)
        }
        Step::InsertMap { outer, inner, .. } => map(map(error.during(error::Step::FillMap), outer), inner),
        Step::InsertProgram { map: outer, program: inner, .. } => {
            program(map(error.during(error::Step::FillMap), outer), inner)
        }
        Step::LoadProgram { program: index } | Step::BindMap { program: index, .. } => {
            program(error.during(error::Step::LoadProgram), index)
        }
    }
}

/// A loaded object, whose parts the generated code takes.
#[derive(Debug)]
pub struct Loaded {
    object: &'static Object,
    maps: Vec<Option<(OwnedFd, Info)>>,
    /// The memory of arenas, by map.
    arenas: Vec<Option<arena::Arena>>,
    struct_ops: Vec<Option<StructOps>>,
    programs: Vec<Option<Program>>,
    /// The pins of this load. They are kept once all handles were taken.
    pinned: Option<PinSet>,
}

impl Drop for Loaded {
    /// Keeps the pins: the generated code has taken all handles, or an error has removed the pins already.
    fn drop(&mut self) {
        if let Some(pins) = self.pinned.take() {
            pins.keep();
        }
    }
}

impl Loaded {
    /// Returns the map with this index, as a handle of the type that the generated code has for it.
    ///
    /// # Errors
    /// If the map does not exist (its auto-create was off, or it was taken before), or does not match the handle's type. Nothing stays
    /// pinned then.
    pub fn take_map<M: FromFd>(&mut self, index: u32) -> Result<M> {
        let taken = at_mut(&mut self.maps, index).and_then(Option::take);
        let map = taken.map_or_else(
            || {
                let name = at(&self.object.maps, index).map_or("?", |map| &map.name);
                Err(Error::not_loaded(format_args!("map `{name}` was not created"))
                    .about(Subject::Map(name))
                    .with_help(NOT_CREATED))
            },
            |(fd, info)| self.handle(index, fd, &info),
        );
        self.or_unpinned(map)
    }

    /// Returns the map with this index, or `None` if its auto-create was off.
    ///
    /// # Errors
    /// If the map does not match the handle's type. Nothing stays pinned then.
    pub fn take_map_if_created<M: FromFd>(&mut self, index: u32) -> Result<Option<M>> {
        let taken = at_mut(&mut self.maps, index).and_then(Option::take);
        let map = taken.map(|(fd, info)| self.handle(index, fd, &info)).transpose();
        self.or_unpinned(map)
    }

    /// Creates the handle of a map. If it does not match because the map was changed before the load, the error has help.
    fn handle<M: FromFd>(&self, index: u32, fd: OwnedFd, info: &Info) -> Result<M> {
        M::from_fd(fd, info).map_err(|error| match at(&self.object.maps, index) {
            Some(map) if map.section.is_none() && !info.is_as_defined(map) => error.with_help(CHANGED),
            _ => error,
        })
    }

    /// Returns the arena with this index and its variables.
    ///
    /// # Errors
    /// Those of [`Self::take_map`].
    pub fn take_arena<T>(&mut self, index: u32) -> Result<Arena<T>> {
        let arena = self.take_arena_if_created(index)?.ok_or_else(|| {
            let name = at(&self.object.maps, index).map_or("?", |map| &map.name);
            Error::not_loaded(format_args!("arena `{name}` was not created"))
                .about(Subject::Map(name))
                .with_help(NOT_CREATED)
        });
        self.or_unpinned(arena)
    }

    /// Returns the arena with this index, or `None` if its auto-create was off.
    ///
    /// # Errors
    /// Those of [`Self::take_map_if_created`].
    pub fn take_arena_if_created<T>(&mut self, index: u32) -> Result<Option<Arena<T>>> {
        let found = at_mut(&mut self.maps, index)
            .and_then(Option::take)
            .zip(at_mut(&mut self.arenas, index).and_then(Option::take));
        let arena = found.map(|((fd, info), arena)| Arena::mapped(fd, &info, arena.region, arena.globals)).transpose();
        self.or_unpinned(arena)
    }

    /// Returns the result. On error, removes the pins of this load, since nothing will use them.
    fn or_unpinned<T>(&mut self, result: Result<T>) -> Result<T> {
        if result.is_err() {
            drop(self.pinned.take());
        }
        result
    }

    /// Returns the struct_ops map with this index.
    ///
    /// # Panics
    /// If the object has no such map or it was taken before, which means that the generated code is inconsistent.
    #[must_use]
    pub fn take_struct_ops(&mut self, index: u32) -> StructOps {
        match at_mut(&mut self.struct_ops, index).and_then(Option::take) {
            Some(table) => table,
            None => panic!("object `{}` has no struct_ops map {index}, or it was taken before", self.object.name),
        }
    }

    /// Returns the program with this index.
    ///
    /// # Panics
    /// If the object has no such program or it was taken before, which means that the generated code is inconsistent.
    #[must_use]
    pub fn take_program(&mut self, index: u32) -> Program {
        match at_mut(&mut self.programs, index).and_then(Option::take) {
            Some(program) => program,
            None => panic!("object `{}` has no program {index}, or it was taken before", self.object.name),
        }
    }
}

/// A load in progress.
struct Executor {
    object: &'static Object,
    options: LoadOptions,
    open_maps: Vec<OpenMap>,
    open_programs: Vec<OpenProgram>,
    btf: Option<OwnedFd>,
    /// Whether the kernel rejected the object's BTF and got sanitized BTF.
    btf_sanitized: bool,
    /// The error of the object's BTF, if the kernel rejected it both as it is and sanitized.
    btf_refused: Option<String>,
    maps: Vec<Option<maps::Created>>,
    programs: Vec<Option<programs::LoadedProgram>>,
    symbols: symbols::Symbols,
    /// The struct_ops maps in the kernel's layout, by map.
    struct_ops_maps: Vec<Option<struct_ops::KernelMap>>,
    /// The types of the kernel, once they were needed.
    kernel_types: Option<Rc<Types>>,
    /// The relocator of the object's programs, once one was needed.
    relocator: Option<Relocator>,
    /// Whether raising the limit on locked memory was attempted, which happens once.
    memlock: bool,
    /// Whether percpu data is loaded in its emulated form.
    emulate: bool,
    /// The buffers in which programs are assembled.
    buffers: assemble::Buffers,
    /// The value of `LINUX_HAS_BPF_COOKIE` that programs see, if they read it.
    has_cookies: Option<bool>,
}

impl Executor {
    fn new(
        object: &'static Object,
        options: LoadOptions,
        mut open_maps: Vec<OpenMap>,
        mut open_programs: Vec<OpenProgram>,
    ) -> Result<Self> {
        if open_maps.len() > object.maps.len() || open_programs.len() > object.programs.len() {
            return Err(Error::malformed(format_args!(
                "object `{}` has fewer maps or programs than there are settings",
                object.name
            )));
        }
        for definition in &object.maps[open_maps.len()..] {
            open_maps.push(OpenMap::of(definition));
        }
        for definition in &object.programs[open_programs.len()..] {
            open_programs.push(OpenProgram::of(definition));
        }
        let maps = object.maps.iter().map(|_| None).collect();
        let struct_ops_maps = object.maps.iter().map(|_| None).collect();
        let programs = object.programs.iter().map(|_| None).collect();
        let symbols = symbols::Symbols::default();
        Ok(Self {
            object,
            options,
            open_maps,
            open_programs,
            btf: None,
            btf_sanitized: false,
            btf_refused: None,
            has_cookies: None,
            maps,
            programs,
            symbols,
            struct_ops_maps,
            kernel_types: None,
            relocator: None,
            memlock: false,
            emulate: false,
            buffers: assemble::Buffers::default(),
        })
    }

    fn step(&mut self, step: &Step) -> Result<()> {
        match *step {
            Step::LoadBtf => self.load_btf(),
            Step::ResolveSymbols => self.resolve_symbols(),
            Step::CreateMap { map } => self.create_map(map),
            Step::FillMap { map, flags } => self.fill_map(map, flags),
            Step::FillKconfig { map } => self.fill_kconfig(map),
            Step::FreezeMap { map } => self.freeze_map(map),
            Step::InsertMap { outer, key, inner } => self.insert_map(outer, key, inner),
            Step::LoadProgram { program } => self.load_program(program),
            Step::BindMap { program, map } => self.bind_map(program, map),
            Step::InsertProgram { map, key, program } => self.insert_program(map, key, program),
        }
    }

    /// Returns a range of the blob.
    fn bytes(&self, span: Span) -> Result<&'static [u8]> {
        let bytes = self.object.bytes(span);
        bytes.ok_or_else(|| Error::malformed("a range in the object's tables is outside of its blob"))
    }

    /// Iterates over the patches of a body.
    fn patches(&self, body: &Body) -> Result<impl Iterator<Item = Result<Patch>> + use<>> {
        let patch = |bytes: &[u8]| {
            let patch = bytes.first_chunk().and_then(|bytes| Patch::from_bytes(*bytes));
            patch.ok_or_else(|| Error::malformed("a program has a patch of unknown kind"))
        };
        Ok(self.bytes(body.patches)?.chunks(Patch::SIZE).map(patch))
    }

    fn token(&self) -> Option<BorrowedFd<'_>> {
        self.options.token.as_ref().map(AsFd::as_fd)
    }

    /// Returns the maps from which USDT programs read their arguments, if the object has them.
    fn usdt_specs(&self) -> Result<Option<Arc<UsdtSpecs>>> {
        let map = |name| {
            let index = self.object.maps.iter().position(|map| map.name == name);
            let Some(created) = index.and_then(|index| self.maps.get(index)?.as_ref()) else {
                return Ok(None);
            };
            let map = created.map.as_fd().try_clone_to_owned();
            map.map(Some).map_err(|error| {
                Error::io(format_args!("cannot duplicate the file descriptor of map `{name}`"), &error)
            })
        };
        let Some(specs) = map(usdt_specs::SPECS)? else { return Ok(None) };
        Ok(Some(UsdtSpecs::new(specs, map(usdt_specs::IPS)?, self.has_cookies)))
    }

    fn finish(mut self, usdt_specs: Option<&Arc<UsdtSpecs>>, pinned: PinSet) -> Loaded {
        let struct_ops = self.take_struct_ops();
        let arenas = self.maps.iter_mut().map(|created| created.as_mut()?.arena.take()).collect();
        let maps = self.maps.into_iter().zip(&*self.object.maps).map(|(created, definition)| {
            created.filter(|_| !definition.template && definition.jump_table.is_none()).map(maps::Created::into_parts)
        });
        let programs = self.programs.into_iter().zip(self.open_programs).map(|(loaded, open)| {
            let (fd, log) = loaded.map_or((None, None), |loaded| (Some(loaded.fd), loaded.log));
            let log = match (&self.btf_refused, fd.is_some()) {
                (Some(error_text), true) => {
                    Some(format!("loaded without BTF: {error_text}\n{}", log.unwrap_or_default()))
                }
                _ => log,
            };
            Some(Program::new(open, fd, log).with_usdt_specs(usdt_specs.cloned()))
        });
        let (maps, programs) = (maps.collect(), programs.collect());
        Loaded { object: self.object, maps, arenas, struct_ops, programs, pinned: Some(pinned) }
    }
}

/// Help for a map that was not created although the skeleton has a handle of it.
const NOT_CREATED: &str = "its auto-create was off, but the skeleton has a handle of it: generate the skeleton with the map declared optional \
(`Builder::optional_map`, `skelgen gen --optional-map`)";

/// Help for a map that does not match its handle because it was changed.
const CHANGED: &str = "its type or sizes were changed before the load, but its handle is for the map as the object defines it: generate the \
skeleton with a handle for any map (`Builder::untyped_map`, `skelgen gen --untyped-map`)";

/// Raises the limit on locked memory, unless that was attempted before. Returns whether the request is worth another attempt.
fn lift_memlock(tried: &mut bool) -> bool {
    !std::mem::replace(tried, true) && sys::lift_memlock().unwrap_or(false)
}

/// Returns whether the kernel rejected a request with `EPERM`.
fn is_eperm<T>(result: &Result<T>) -> bool {
    let errno = result.as_ref().err().and_then(Error::errno);
    errno.is_some_and(|errno| errno.raw() == libc::EPERM)
}

/// Adds help to an `EPERM`: what the request requires.
fn advise(error: Error) -> Error {
    if error.errno().is_some_and(|errno| errno.raw() == libc::EPERM) {
        error.with_help(
            "loading requires the capabilities CAP_BPF and, depending on the program, CAP_PERFMON or CAP_NET_ADMIN (CAP_SYS_ADMIN \
            before Linux 5.8); before 5.11 also a high enough limit of locked memory (ulimit -l); lockdown or a seccomp filter \
            can forbid it as well",
        )
    } else {
        error
    }
}

/// Returns the item at an index of the tables.
fn at<T>(items: &[T], index: u32) -> Option<&T> {
    items.get(usize::try_from(index).ok()?)
}

/// Returns mutable access to the item at an index of the tables.
fn at_mut<T>(items: &mut [T], index: u32) -> Option<&mut T> {
    items.get_mut(usize::try_from(index).ok()?)
}

/// Returns the error of an index that is out of range.
fn no_such(what: &str, index: u32) -> Error {
    Error::malformed(format_args!("the plan refers to {what} {index}, which the object does not have"))
}
