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
mod loaded;
mod loader;
mod log;
mod maps;
pub(crate) mod parts;
mod percpu;
mod programs;
mod relocate;
mod reuse;
mod settings;
mod state;
mod struct_ops;
mod symbols;
mod templates;
mod token;
mod usdt;
mod verdict;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

pub use self::loaded::Loaded;
use self::parts::Parts;
use self::state::State;
pub(crate) use self::state::{MapState, ProgramState};
use crate::abi::{Body, Object, Patch, Span, Step};
use crate::btf::Types;
use crate::error::{self, Error, Result, Subject};
use crate::open::{LoadEvent, LoadOptions, Log, OpenProgram};
use crate::pins::Pinned;
use crate::program::{Program, SharedSpecs};
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
    maps: Vec<MapState>,
    programs: Vec<ProgramState>,
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

/// A load in progress.
pub(crate) struct Executor {
    object: &'static Object,
    /// The number of steps that were executed.
    executed: usize,
    /// The parts that the object and its settings need.
    parts: Parts,
    options: LoadOptions,
    maps: Vec<MapState>,
    programs: Vec<ProgramState>,
    btf: Option<OwnedFd>,
    /// Whether the kernel rejected the object's BTF, but accepted it after it was sanitized.
    btf_sanitized: bool,
    /// The error for the object's BTF, if the kernel rejected both the original and the sanitized BTF.
    btf_refused: Option<String>,
    symbols: symbols::Symbols,
    /// The types of the kernel, read when they are first needed.
    kernel_types: Option<Arc<Types>>,
    /// The relocator of the object's programs, created when it is first needed.
    relocator: Option<State>,
    /// Whether a request that fails with `EPERM` may look for a token.
    may_find_token: bool,
    /// Whether raising the limit on locked memory was attempted. It is attempted only once.
    memlock: bool,
    /// Whether this load emulates percpu data, instead of direct access to percpu arrays.
    emulate: bool,
    /// The buffers in which programs are assembled, while no program uses them.
    code: assemble::Assembled,
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
        maps: Vec<MapState>,
        programs: Vec<ProgramState>,
    ) -> Self {
        let symbols = symbols::Symbols::default();
        let mut parts = parts;
        parts.add(&options.parts);
        maps.iter().for_each(|map| parts.add(&map.open.parts));
        programs.iter().for_each(|program| parts.add(&program.open.parts));
        Self {
            object,
            executed: 0,
            parts,
            options,
            maps,
            programs,
            btf: None,
            btf_sanitized: false,
            btf_refused: None,
            has_cookies: None,
            symbols,
            kernel_types: None,
            relocator: None,
            may_find_token: false,
            memlock: false,
            emulate: false,
            code: assemble::Assembled::default(),
            hashed: Vec::new(),
        }
    }

    fn prepare(&mut self) -> Result<()> {
        if self.is_in_kernel() {
            let part = parts::needed(self.parts.loader, "loader");
            return part.and_then(|part| (part.check)(self)).map_err(|error| self.during(error::Step::Check, error));
        }
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
        match (&self.object.loader, self.parts.loader) {
            (Some(loader), Some(part)) => (part.load)(&mut self, loader)?,
            _ => self.run(|_| true)?,
        }
        let usdt_specs = self.usdt_specs().map_err(|error| self.during(error::Step::Check, error))?;
        let pinned = match self.parts.pins {
            Some(part) => Some((part.pin)(&self).map_err(|error| self.during(error::Step::Pin, error))?),
            None => None,
        };
        Ok(self.finish(usdt_specs, pinned))
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
            if let Err(error) = self.permitted(|executor| executor.step(step)) {
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
        at(&self.programs, program).is_some_and(|program| program.open.optional)
    }

    /// Leaves a program out of the load.
    fn reject(&mut self, program: u32, error: Error) {
        if let Some(ProgramState { open, rejected, .. }) = at_mut(&mut self.programs, program) {
            open.autoload = false;
            let name = open.name();
            let error = rejected.insert(error);
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

    /// Returns whether a loader program executes the steps of the plan.
    pub(crate) fn is_in_kernel(&self) -> bool {
        self.object.loader.is_some()
    }

    /// Returns the name of the object.
    pub(crate) fn name(&self) -> &'static str {
        &self.object.name
    }

    /// Returns the map with this name, if it was created.
    pub(crate) fn map(&self, name: &str) -> Option<BorrowedFd<'_>> {
        let index = self.object.maps.iter().position(|map| map.name == name && !map.template)?;
        Some(self.maps.get(index)?.created.as_ref()?.map.as_fd())
    }

    fn step(&mut self, step: &Step) -> Result<()> {
        match *step {
            Step::LoadBtf => self.load_btf(),
            Step::ResolveSymbols => self.resolve_symbols(),
            Step::CreateMap { map } => self.create_map(map),
            Step::FillMap { map, flags } => self.fill_map(map, flags),
            Step::FillKconfig { map } => (parts::needed(self.parts.kconfig, "kconfig")?.fill)(self, map),
            Step::FreezeMap { map } => self.freeze_map(map),
            Step::InsertMap { outer, key, inner } => {
                (parts::needed(self.parts.inner_maps, "inner_maps")?.insert)(self, outer, key, inner)
            }
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

    fn finish(mut self, usdt_specs: Option<SharedSpecs>, pinned: Option<Box<dyn Pinned>>) -> Loaded {
        let struct_ops = match self.parts.struct_ops {
            Some(part) => (part.take)(&mut self),
            None => Vec::new(),
        };
        Loaded::new(self.object, (self.maps, struct_ops), (self.programs, usdt_specs, self.btf_refused), pinned)
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
pub(crate) fn at_mut<T>(items: &mut [T], index: u32) -> Option<&mut T> {
    items.get_mut(usize::try_from(index).ok()?)
}

/// Returns the error of an index that is out of range.
fn no_such(what: &str, index: u32) -> Error {
    Error::malformed(format_args!("the load plan refers to {what} {index}, which the object does not have"))
}
