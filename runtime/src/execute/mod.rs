//! The execution of a load plan: one request to the kernel per step.
//!
//! The executor owns everything that it opens until the whole load has succeeded, so an error leaves nothing behind. The plan determines
//! the order of the steps; this module implements each step for the running kernel. It knows the plan's tables, the settings and system
//! calls, but not the Rust types that generated code uses for maps and sections.

mod absent;
mod arena;
mod assemble;
mod btf;
mod exclusive;
mod fixups;
mod kconfig;
mod log;
mod maps;
pub(crate) mod parts;
mod percpu;
mod programs;
mod relocate;
mod reuse;
mod settings;
mod struct_ops;
mod symbols;
mod templates;
mod token;
mod usdt;
mod verdict;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use self::parts::Parts;
use crate::abi::{Body, Object, Patch, Span, Step};
use crate::btf::Types;
use crate::error::{self, Error, Result, Subject};
use crate::link::StructOps;
use crate::map::{Arena, FromFd, Info, Opened};
use crate::open::{LoadEvent, LoadOptions, Log, OpenMap, OpenProgram};
use crate::pins::PinSet;
use crate::program::{Program, SharedSpecs};
use crate::relocate::Relocator;
use crate::sys::trusted::Trusted;

/// Begins a load: executes the steps of the plan up to the first one that loads a program. `maps` and `programs` are in the
/// object's order.
///
/// # Errors
/// If a setting is not valid, or the kernel rejects a request or lacks a symbol that the object requires. On error, nothing stays
/// open or loaded.
pub(crate) fn prepare(
    object: &Trusted,
    parts: Parts,
    options: LoadOptions,
    maps: Vec<OpenMap>,
    programs: Vec<OpenProgram>,
) -> Result<Executor> {
    let object = object.object();
    let log = options.log.clone();
    let mut executor = Executor::new(object, parts, options, maps, programs);
    Log::during(log.as_ref(), || executor.prepare())?;
    Ok(executor)
}

/// Adds to an error the step that corresponds to a step of the plan, and the map or program of that step.
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
    maps: Vec<Option<(Opened, Info)>>,
    /// The memory of arenas, by map.
    arenas: Vec<Option<arena::Arena>>,
    struct_ops: Vec<Option<StructOps>>,
    programs: Vec<Option<Program>>,
    /// The pins of this load. They are kept when `Loaded` is dropped, and removed if a `take_*` function fails.
    pinned: Option<PinSet>,
}

impl Drop for Loaded {
    /// Keeps the pins. The generated code has taken all handles, or an error has removed the pins already.
    fn drop(&mut self) {
        if let Some(pins) = self.pinned.take() {
            pins.keep();
        }
    }
}

impl Loaded {
    /// Returns the map with this index, as a handle of the type that generated code requests.
    ///
    /// # Errors
    /// If the map does not exist (its auto-create was off, or it was taken before), or does not match the handle's type. On error, the
    /// pins of this load are removed.
    pub fn take_map<M: FromFd>(&mut self, index: u32) -> Result<M> {
        let taken = at_mut(&mut self.maps, index).and_then(Option::take);
        let map = taken.map_or_else(
            || {
                let name = at(&self.object.maps, index).map_or("?", |map| &map.name);
                Err(Error::not_loaded(format_args!("map `{name}` was not created"))
                    .about(Subject::Map(name))
                    .with_help(NOT_CREATED))
            },
            |(map, info)| self.handle(index, map, &info),
        );
        self.or_unpinned(map)
    }

    /// Returns the map with this index, or `None` if its auto-create was off.
    ///
    /// # Errors
    /// If the map does not match the handle's type. On error, the pins of this load are removed.
    pub fn take_map_if_created<M: FromFd>(&mut self, index: u32) -> Result<Option<M>> {
        let taken = at_mut(&mut self.maps, index).and_then(Option::take);
        let map = taken.map(|(map, info)| self.handle(index, map, &info)).transpose();
        self.or_unpinned(map)
    }

    /// Creates the handle of a map. If it does not match because the map was changed before the load, the error has help.
    fn handle<M: FromFd>(&self, index: u32, map: Opened, info: &Info) -> Result<M> {
        let defined = at(&self.object.maps, index);
        let changed = defined.is_some_and(|defined| defined.section.is_none() && !map.is_as_defined(defined));
        M::from_fd(map, info).map_err(|error| if changed { error.with_help(CHANGED) } else { error })
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
        let arena =
            found.map(|((map, info), arena)| Arena::mapped(map, &info, arena.region, arena.globals)).transpose();
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
pub(crate) struct Executor {
    object: &'static Object,
    /// The number of steps that were executed.
    executed: usize,
    /// The parts that the object and its settings need.
    parts: Parts,
    options: LoadOptions,
    open_maps: Vec<OpenMap>,
    open_programs: Vec<OpenProgram>,
    btf: Option<OwnedFd>,
    /// Whether the kernel rejected the object's BTF, but accepted it after it was sanitized.
    btf_sanitized: bool,
    /// The error for the object's BTF, if the kernel rejected both the original and the sanitized BTF.
    btf_refused: Option<String>,
    maps: Vec<Option<maps::Created>>,
    programs: Vec<Option<programs::LoadedProgram>>,
    /// The errors of programs that are left out because they cannot be loaded.
    rejected: Vec<Option<Error>>,
    symbols: symbols::Symbols,
    /// The struct_ops maps in the kernel's layout, by map.
    struct_ops_maps: Vec<Option<struct_ops::KernelMap>>,
    /// The types of the kernel, read when they are first needed.
    kernel_types: Option<Arc<Types>>,
    /// The relocator of the object's programs, created when it is first needed.
    relocator: Option<Relocator>,
    /// Whether raising the limit on locked memory was attempted. It is attempted only once.
    memlock: bool,
    /// Whether this load emulates percpu data, instead of direct access to percpu arrays.
    emulate: bool,
    /// The buffers in which programs are assembled.
    buffers: assemble::Buffers,
    /// The programs whose hash was computed, by index. Their instructions must not change any more.
    hashed: Vec<u32>,
    /// The value of `LINUX_HAS_BPF_COOKIE` that programs see, if they read it.
    has_cookies: Option<bool>,
}

impl Executor {
    fn new(
        object: &'static Object,
        parts: Parts,
        options: LoadOptions,
        open_maps: Vec<OpenMap>,
        open_programs: Vec<OpenProgram>,
    ) -> Self {
        let maps = object.maps.iter().map(|_| None).collect();
        let struct_ops_maps = object.maps.iter().map(|_| None).collect();
        let programs = object.programs.iter().map(|_| None).collect();
        let rejected = object.programs.iter().map(|_| None).collect();
        let symbols = symbols::Symbols::default();
        let mut parts = parts;
        parts.add(&options.parts);
        open_maps.iter().for_each(|open| parts.add(&open.parts));
        open_programs.iter().for_each(|open| parts.add(&open.parts));
        Self {
            object,
            executed: 0,
            parts,
            options,
            open_maps,
            open_programs,
            btf: None,
            btf_sanitized: false,
            btf_refused: None,
            has_cookies: None,
            maps,
            programs,
            rejected,
            symbols,
            struct_ops_maps,
            kernel_types: None,
            relocator: None,
            memlock: false,
            emulate: false,
            buffers: assemble::Buffers::default(),
            hashed: Vec::new(),
        }
    }

    fn prepare(&mut self) -> Result<()> {
        self.choose_token().map_err(|error| self.during(error::Step::UseToken, error))?;
        if let Some(part) = self.parts.percpu {
            (part.choose)(self).map_err(|error| self.during(error::Step::Probe, error))?;
        }
        if let Some(part) = self.parts.struct_ops {
            (part.prepare)(self).map_err(|error| self.during(error::Step::CreateMap, error))?;
        }
        self.run(|step| !matches!(step, Step::LoadProgram { .. }))
    }

    /// Executes the remaining steps, and returns the loaded object.
    ///
    /// # Errors
    /// Those of [`prepare`].
    pub(crate) fn complete(self) -> Result<Loaded> {
        Log::during(self.options.log.clone().as_ref(), || self.complete_now())
    }

    fn complete_now(mut self) -> Result<Loaded> {
        self.run(|_| true)?;
        let usdt_specs = self.usdt_specs().map_err(|error| self.during(error::Step::Check, error))?;
        let pinned = match self.parts.pins {
            Some(part) => (part.pin)(&self).map_err(|error| self.during(error::Step::Pin, error))?,
            None => PinSet::default(),
        };
        Ok(self.finish(usdt_specs.as_ref(), pinned))
    }

    /// Executes steps, beginning with the next one, up to the first for which `wanted` returns `false`.
    fn run(&mut self, wanted: impl Fn(&Step) -> bool) -> Result<()> {
        let object = self.object;
        while let Some(step) = object.steps.get(self.executed).filter(|step| wanted(step)) {
            self.executed += 1;
            let (number, all) = (self.executed, object.steps.len());
            let located = |error: Error| {
                about(error, object, step).within(format_args!("object `{}`, step {number} of {all}", object.name))
            };
            if let Err(error) = self.step(step) {
                let error = located(self.after_btf(error));
                match *step {
                    Step::LoadProgram { program } if self.is_optional(program) => self.reject(program, error),
                    _ => return Err(error),
                }
            }
        }
        Ok(())
    }

    /// Adds a note with the kernel's error for the object's BTF, which is often the cause.
    fn after_btf(&self, error: Error) -> Error {
        match &self.btf_refused {
            Some(error_text) => error.after("before that, the kernel rejected the object's BTF", error_text),
            None => error,
        }
    }

    /// Returns whether the load continues without this program if it cannot be loaded.
    fn is_optional(&self, program: u32) -> bool {
        at(&self.open_programs, program).is_some_and(|open| open.optional)
    }

    /// Leaves a program out of the load.
    fn reject(&mut self, program: u32, error: Error) {
        if let (Some(open), Some(slot)) =
            (at_mut(&mut self.open_programs, program), at_mut(&mut self.rejected, program))
        {
            open.autoload = false;
            let name = open.name();
            let error = slot.insert(error);
            if let Some(log) = &self.options.log {
                log.emit(&LoadEvent::ProgramLeftOut { name, error });
            }
        }
    }

    /// Passes an event to the function that the user set.
    fn emit(&self, event: &LoadEvent<'_>) {
        if let Some(log) = &self.options.log {
            log.emit(event);
        }
    }

    /// Emits the event that the limit on locked memory was raised, unless that was attempted `before`.
    fn emit_memlock(&self, before: bool) {
        if self.memlock && !before {
            self.emit(&LoadEvent::MemlockRaised);
        }
    }

    /// Adds the object, and a step that is not part of the plan, to an error.
    fn during(&self, step: error::Step, error: Error) -> Error {
        error.during(step).within(format_args!("object `{}`", self.object.name))
    }

    /// Returns the name of the object.
    pub(crate) fn name(&self) -> &'static str {
        &self.object.name
    }

    /// Returns the map with this name, if it was created.
    pub(crate) fn map(&self, name: &str) -> Option<BorrowedFd<'_>> {
        let index = self.object.maps.iter().position(|map| map.name == name && !map.template)?;
        Some(self.maps.get(index)?.as_ref()?.map.as_fd())
    }

    fn step(&mut self, step: &Step) -> Result<()> {
        match *step {
            Step::LoadBtf => self.load_btf(),
            Step::ResolveSymbols => self.resolve_symbols(),
            Step::CreateMap { map } => self.create_map(map),
            Step::FillMap { map, flags } => self.fill_map(map, flags),
            Step::FillKconfig { map } => (parts::needed(self.parts.kconfig, "kconfig")?.fill)(self, map),
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
        bytes.ok_or_else(|| Error::malformed("a range in the tables of the load plan is outside of its blob"))
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
    fn usdt_specs(&self) -> Result<Option<SharedSpecs>> {
        self.parts.usdt.map_or(Ok(None), |part| (part.specs)(self))
    }

    fn finish(mut self, usdt_specs: Option<&SharedSpecs>, pinned: PinSet) -> Loaded {
        let struct_ops = match self.parts.struct_ops {
            Some(part) => (part.take)(&mut self),
            None => Vec::new(),
        };
        let arenas = self.maps.iter_mut().map(|created| created.as_mut()?.arena.take()).collect();
        let maps = self.maps.into_iter().zip(&*self.object.maps).map(|(created, definition)| {
            created.filter(|_| !definition.template && definition.jump_table.is_none()).map(maps::Created::into_parts)
        });
        let programs = self.programs.into_iter().zip(self.open_programs).zip(self.rejected);
        let programs = programs.map(|((loaded, open), rejected)| {
            let program = handle(open, loaded, self.btf_refused.as_deref());
            Some(program.with_usdt_specs(usdt_specs.cloned()).with_load_error(rejected))
        });
        let (maps, programs) = (maps.collect(), programs.collect());
        Loaded { object: self.object, maps, arenas, struct_ops, programs, pinned: Some(pinned) }
    }
}

/// Creates the handle of a program. If the program was loaded without BTF, the handle's log has the reason.
fn handle(open: OpenProgram, loaded: Option<programs::LoadedProgram>, btf_refused: Option<&str>) -> Program {
    let Some(loaded) = loaded else { return Program::new(open, None, None) };
    let log = match btf_refused {
        Some(error_text) => Some(format!("loaded without BTF: {error_text}\n{}", loaded.log.unwrap_or_default())),
        None => loaded.log,
    };
    let program = Program::new(open, Some(loaded.fd), log);
    #[cfg(feature = "exclusive-maps")]
    let program = program.with_hash(loaded.hash);
    program
}

/// Help for a map that was not created although the skeleton has a handle of it.
const NOT_CREATED: &str = "auto-create of the map was off, but the skeleton has a handle for it: generate the skeleton with the map declared optional \
(`Builder::optional_map`, `skelgen gen --optional-map`)";

/// Help for a map that does not match its handle because it was changed.
const CHANGED: &str = "the type or sizes of the map were changed before the load, but the handle requires those that the object defines: generate the \
skeleton with a handle for any map (`Builder::untyped_map`, `skelgen gen --untyped-map`)";

/// Returns whether the kernel rejected a request with `EPERM`.
fn is_eperm<T>(result: &Result<T>) -> bool {
    let errno = result.as_ref().err().and_then(Error::errno);
    errno.is_some_and(|errno| errno.raw() == libc::EPERM)
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
    Error::malformed(format_args!("the load plan refers to {what} {index}, which the object does not have"))
}
