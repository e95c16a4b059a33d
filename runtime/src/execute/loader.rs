//! Loads with a loader program: one program executes the steps of the plan in the kernel.
//!
//! The process passes the settings that can change, runs the program, and takes the file descriptors of maps and programs. What a program
//! cannot do and does not affect other steps, it does afterwards: initial values of sections that are not constant, and maps that are bound
//! to programs. If a step failed, the error is that of the step of the plan; for its log, the load is repeated.

use std::os::fd::{AsFd, OwnedFd};

use super::maps::{Created, info, max_entries};
use super::parts::LoaderProgram;
use super::programs::LoadedProgram;
use super::state::{MapState, ProgramState, open_map, open_program};
use super::{Executor, about, at, at_mut, log, no_such, parts};
use crate::abi::{self, Loader, PercpuForm, SectionKind, Setting, Step};
use crate::error::{self, Errno, Error, ErrorKind, LinuxVersion, Result, Subject};
use crate::kernel::causes;
use crate::map::{Info, Template};
use crate::open::{LoadEvent, OpenMap, OpenProgram};
use crate::sys::loader::{self as sys, End, Image, Part, StepLog};
use crate::sys::map::Map;
use crate::uapi::{MapType, elem_flags};
use skelgen_abi::loader::Failure;
use skelgen_abi::map_types::Definition;

/// The part of the executor for objects with a loader program.
pub(super) static PART: LoaderProgram =
    LoaderProgram { check: Executor::check_settings, load: Executor::load_in_kernel };

/// The first Linux version with `may_goto`, which the loader program uses.
const FIRST: LinuxVersion = LinuxVersion::new(6, 9);

/// The size of the buffer for the log of the loader program itself.
const LOG_SIZE: usize = 64 << 10;

impl Executor {
    /// Checks that the loader program knows every changed setting.
    fn check_settings(&self) -> Result<()> {
        if let Some(what) = options(&self.options) {
            return Err(unknown(what));
        }
        for MapState { open, .. } in &self.maps {
            if let Some(what) = map_setting(open) {
                return Err(unknown(what).about(Subject::Map(open.name())));
            }
        }
        for ProgramState { open, .. } in &self.programs {
            if let Some(what) = program_setting(open) {
                return Err(unknown(what).about(Subject::Program(open.name())));
            }
        }
        Ok(())
    }

    /// Loads the object.
    fn load_in_kernel(&mut self, loader: &'static Loader) -> Result<()> {
        let outside = |error| self.during(error::Step::LoadProgram, error);
        let host = self.host(loader).map_err(|error| self.during(error::Step::Check, error))?;
        let end = self.execute(loader, &host, None).and_then(|end| end.map_err(|errno| Error::refused(RUN, errno)));
        match end.map_err(outside)? {
            End::Finished(fds) => self.adopt(fds).map_err(|error| self.during(error::Step::ReadInfo, error)),
            End::Failed(failure) => Err(self.failed(loader, &host, failure)),
            End::Aborted => {
                Err(outside(Error::of(ErrorKind::Refused, "the kernel ended the loader program before its last step")))
            }
        }
    }

    /// Returns the values that the loader program gets from the process.
    fn host(&self, loader: &Loader) -> Result<Vec<u8>> {
        let mut host = vec![0; usize::try_from(loader.host_size).unwrap_or(usize::MAX)];
        let mut put = |offset: u32, bytes: &[u8]| {
            let begin = usize::try_from(offset).unwrap_or(usize::MAX);
            let to = host.get_mut(begin..).and_then(|rest| rest.get_mut(..bytes.len()));
            to.map(|to| to.copy_from_slice(bytes))
                .ok_or_else(|| Error::malformed("a value of the process is out of range"))
        };
        for value in &*loader.host {
            let number = match value.setting {
                Setting::Autoload { program } => u32::from(open_program(&self.programs, program)?.autoload),
                Setting::MaxEntries { map: index } => max_entries(open_map(&self.maps, index)?)?,
                Setting::EmulatedSize { map } => {
                    let part = parts::needed(self.parts.percpu, "percpu")?;
                    (part.emulated)(open_map(&self.maps, map)?)?.value_size
                }
                Setting::CpuMask => (parts::needed(self.parts.percpu, "percpu")?.mask)()?,
                Setting::Initial { map: index, value } => {
                    let open = open_map(&self.maps, index)?;
                    if let Some(initial) = &open.value {
                        let size = usize::try_from(open.definition.value_size).unwrap_or(usize::MAX);
                        let initial = (**initial).as_ref();
                        put(value, initial.get(..size).unwrap_or(initial))?;
                    }
                    u32::from(open.value.is_some())
                }
            };
            put(value.offset, &number.to_ne_bytes())?;
        }
        Ok(host)
    }

    /// Loads and runs the loader program. The inner error is that of the run.
    fn execute(&self, loader: &Loader, host: &[u8], log: Option<StepLog<'_>>) -> Result<Result<End, Errno>> {
        let image = Image {
            insns: self.bytes(loader.insns)?,
            table: self.bytes(loader.table)?,
            value_size: loader.value_size,
            layout: loader.layout(),
        };
        let program = sys::Loader::new(image, &mut []).map_err(|(part, errno)| refused(image, part, errno))?;
        Ok(program.run(host, log))
    }

    /// Returns the error of the step that failed.
    fn failed(&self, loader: &'static Loader, host: &[u8], failure: Failure) -> Error {
        let object = self.object;
        let errno = Errno::from_raw(failure.errno);
        let index = loader.layout().step(failure.at).unwrap_or(0);
        let position = loader.first.partition_point(|first| *first <= index).checked_sub(1);
        let Some((number, step)) = position.and_then(|number| Some((number + 1, object.steps.get(number)?))) else {
            let error = Error::refused("the loader program cannot copy the settings", errno);
            return self.during(error::Step::LoadProgram, error);
        };
        let log = || {
            log::whole(self.options.log_size, |buffer| {
                let log = StepLog { step: index, level: 1, buffer };
                match self.execute(loader, host, Some(log)) {
                    Ok(Ok(End::Failed(again))) if again.at == failure.at => Ok((Err(Errno::from_raw(again.errno)), 0)),
                    // The result differs now, so its log does not have the reason.
                    _ => Err(errno),
                }
            })
        };
        let map = |index| at(&object.maps, index).map_or("?", |map| &*map.name);
        let error = match *step {
            Step::LoadBtf => Error::refused("cannot load the object's BTF", errno).log(log()),
            Step::ResolveSymbols => self.missing(loader, index, errno),
            Step::CreateMap { map: index } => {
                let row = at(&self.maps, index).map(|map| Definition::of(&map.open.row, false, true));
                let row = row.map_or_else(String::new, |row| format!(" ({row})"));
                Error::refused(format_args!("cannot create map `{}`{row}", map(index)), errno)
            }
            Step::FillMap { map: index, .. } | Step::FillKconfig { map: index } => {
                Error::refused(format_args!("cannot fill map `{}`", map(index)), errno)
            }
            Step::FreezeMap { map: index } => Error::refused(format_args!("cannot freeze map `{}`", map(index)), errno),
            Step::InsertMap { outer, key, inner } => Error::refused(
                format_args!("cannot insert map `{}` into map `{}` at index {key}", map(inner), map(outer)),
                errno,
            ),
            Step::InsertProgram { map: outer, key, program } => {
                let program = at(&object.programs, program).map_or("?", |program| &*program.name);
                Error::refused(
                    format_args!("cannot insert program `{program}` into map `{}` at index {key}", map(outer)),
                    errno,
                )
            }
            Step::LoadProgram { program } | Step::BindMap { program, .. } => self.load_error(program, errno, log()),
        };
        let located = format_args!("object `{}`, step {number} of {}", object.name, object.steps.len()).to_string();
        about(error, object, step).within(located)
    }

    /// Returns the error of a lookup of a symbol.
    fn missing(&self, loader: &Loader, step: u32, errno: Errno) -> Error {
        let symbol = loader.lookups.iter().position(|lookup| *lookup == step);
        let index = symbol.and_then(|symbol| u32::try_from(symbol).ok());
        let Some(symbol) = symbol.and_then(|symbol| self.object.symbols.get(symbol)) else {
            return Error::refused("cannot find the kernel's symbols", errno);
        };
        let user = self.object.programs.iter().find(|program| program.target.is_some() && program.target == index);
        let what = format!("kernel symbol `{}`", symbol.name.escape_debug());
        let error = match errno.raw() {
            libc::ENOENT => Error::not_found(format_args!("{what} not found in the kernel or a loaded module")).with_help(
                "load the module that has the symbol, declare the symbol `__weak`, or leave the program out with `set_autoload(false)`",
            ),
            _ => Error::refused(format_args!("cannot look up {what}"), errno),
        };
        let error = error.about(Subject::Symbol(&symbol.name));
        match user {
            Some(user) => error.about(Subject::Program(&user.name)),
            None => error,
        }
    }

    /// Takes the maps and programs that the loader program opened, and makes the requests that are left.
    fn adopt(&mut self, mut fds: Vec<Option<OwnedFd>>) -> Result<()> {
        let object = self.object;
        let maps = u32::try_from(object.maps.len()).unwrap_or(u32::MAX);
        for index in (0..maps).filter(|index| at(&object.maps, *index).is_some_and(|map| !map.template)) {
            let Some(fd) = at_mut(&mut fds, Loader::map_slot(index)).and_then(Option::take) else { continue };
            let open = open_map(&self.maps, index)?;
            let template = open.definition.inner.and_then(|inner| at(&fds, Loader::map_slot(inner))?.as_ref());
            let info = Info { inner: template.and_then(|fd| Template::of(fd.as_fd()).ok()), ..info(open) };
            let (map, _) = Map::adopt(fd)
                .map_err(|errno| Error::refused(format_args!("cannot query map `{}`", info.name), errno))?;
            let is_emulated = open.definition.is_percpu_section() && map.definition().map_type == MapType::ARRAY;
            let map = if is_emulated { map } else { map.with_flags(open.row.flags) };
            let created = Created::new(map, info);
            if is_emulated && !std::mem::replace(&mut self.emulate, true) {
                self.emit(&LoadEvent::PercpuEmulated);
            }
            self.emit_map(&created, index);
            at_mut(&mut self.maps, index).ok_or_else(|| no_such("map", index))?.created = Some(created);
            self.write_initial(index)?;
        }
        for (index, program) in (0..).zip(&mut self.programs) {
            let fd = at_mut(&mut fds, Loader::program_slot(maps, index)).and_then(Option::take);
            program.loaded = fd.map(LoadedProgram::new);
        }
        for step in &*object.steps {
            if let Step::BindMap { program, map } = *step {
                self.bind_map(program, map).map_err(|error| about(error, object, step))?;
            }
        }
        Ok(())
    }

    /// Writes the initial value of a section that the user changed, or that is emulated percpu data. The loader program gets the values of
    /// constants.
    fn write_initial(&mut self, index: u32) -> Result<()> {
        let open = open_map(&self.maps, index)?;
        let Some(section) = open.definition.section else { return Ok(()) };
        let (is_changed, is_written) = (open.value.is_some(), section.initial.len > 0);
        match section.kind {
            SectionKind::Data | SectionKind::Bss if is_changed => self.fill_map(index, elem_flags::ANY),
            SectionKind::Percpu if is_changed || self.emulate && is_written => {
                self.fill_map(index, elem_flags::ALL_CPUS)
            }
            _ => Ok(()),
        }
    }
}

/// The beginning of the error for a run that the kernel rejects.
const RUN: &str = "cannot run the loader program";

/// Returns the error for a loader program that the kernel rejects.
fn refused(image: Image<'_>, part: Part, errno: Errno) -> Error {
    match part {
        Part::Map => Error::refused("cannot create the map of the loader program", errno),
        Part::Program => {
            let error = Error::refused("cannot load the loader program", errno);
            if let Some(running) = causes::older_than(FIRST) {
                return error
                    .needs(FIRST)
                    .note(format_args!("loader programs require Linux {FIRST}; this is {running}"));
            }
            let mut buffer = vec![0; LOG_SIZE];
            match sys::Loader::new(image, &mut buffer) {
                Err(_) => error.log(log::text(&buffer)),
                Ok(_) => error,
            }
        }
    }
}

/// Returns the error for a setting that the loader program does not get.
fn unknown(what: &str) -> Error {
    Error::unsupported(format_args!("{what} was set, but the skeleton loads its object with a loader program"))
        .with_help("generate the skeleton with `--loader syscalls` (`Builder::loader`), the default")
}

/// Returns an option that was changed and that loader programs do not know.
fn options(options: &crate::open::LoadOptions) -> Option<&'static str> {
    let changed = [
        (options.token.is_some() || options.token_path.is_some(), "a BPF token"),
        (options.kernel_btf.is_some() || options.btf_set.is_some(), "BTF for CO-RE relocation"),
        (options.kconfig.is_some(), "the kernel's configuration"),
        (options.percpu != PercpuForm::Either, "a form of percpu data"),
        (options.log_level != 0, "a log level"),
    ];
    changed.into_iter().find_map(|(is_set, what)| is_set.then_some(what))
}

/// Returns a setting of a map that was changed and that loader programs do not know.
fn map_setting(open: &OpenMap) -> Option<&'static str> {
    let as_defined = abi::Map { max_entries: open.row.max_entries, ..open.definition.clone() };
    let is_section = open.definition.section.is_some() && open.row.max_entries != open.definition.max_entries;
    let changed = [
        (as_defined != open.row || is_section, "its definition other than `max_entries`"),
        (!open.autocreate, "auto-create off"),
        (open.reuse.is_some(), "a map to reuse"),
        (open.inner.is_some(), "a definition of inner maps"),
        (open.exclusive.is_some(), "the program that it is exclusive to"),
        (open.ifindex != 0, "a network interface"),
        (open.pin_path.is_some(), "a pin path"),
    ];
    changed.into_iter().find_map(|(is_set, what)| is_set.then_some(what))
}

/// Returns a setting of a program that was changed and that loader programs do not know.
fn program_setting(open: &OpenProgram) -> Option<&'static str> {
    let definition = open.definition;
    let changed = [
        (open.program_type != definition.program_type, "its type"),
        (open.attach_type != definition.expected_attach_type, "its attach type"),
        (open.flags != definition.flags, "its flags"),
        (open.target.is_some() || open.target_program.is_some(), "an attach target"),
        (open.optional, "that it is optional"),
        (open.log_level.is_some(), "a log level"),
        (open.ifindex != 0, "a network interface"),
    ];
    changed.into_iter().find_map(|(is_set, what)| is_set.then_some(what))
}
