//! The step that loads a program.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use super::assemble::Assembled;
use super::state::open_program;
use super::{Executor, at, at_mut, log, no_such};
use crate::abi;
use crate::error::{Errno, Error, ErrorKind, LinuxVersion, Result, Step, Subject};
use crate::kernel;
use crate::kernel::causes;
use crate::kernel::token::Delegable;
use crate::opcode::INSN_SIZE;
use crate::open::{LoadEvent, Log, OpenProgram};
use crate::program::Program;
use crate::sys::lift_memlock_once;
use crate::sys::prog::{self as sys, Request};
use crate::uapi::{AttachType, ProgramType};

/// The maximum number of attempts of a load that the kernel interrupts (`EAGAIN`).
const TRIES: u32 = 5;

/// The error number of a rejected load, and the verifier's log if there is one.
type Refusal = (Errno, Option<String>);

/// A loaded program.
#[derive(Debug)]
pub(super) struct LoadedProgram {
    pub(super) fd: OwnedFd,
    /// The verifier's log, if it was requested.
    pub(super) log: Option<String>,
    /// The kernel's hash of the program's instructions; `None` if the kernel has relocated them.
    #[cfg(feature = "exclusive-maps")]
    pub(super) hash: Option<[u8; 32]>,
}

impl LoadedProgram {
    /// Wraps a program that was loaded without a log.
    pub(super) fn new(fd: OwnedFd) -> Self {
        Self {
            fd,
            log: None,
            #[cfg(feature = "exclusive-maps")]
            hash: None,
        }
    }
}

/// The request to load a program. After a rejection, features that the kernel lacks are removed from it for the next
/// attempt.
#[derive(Debug)]
pub(super) struct Form {
    pub(super) name: &'static str,
    /// The program's attach type, or the index of its member in a struct_ops map.
    pub(super) attach_type: AttachType,
    /// The program's instructions and records. The CO-RE records are empty if the program is relocated in user space
    /// instead of by the kernel.
    pub(super) code: Assembled,
    /// BTF for this program only, if the object's BTF does not have the types that the kernel requires for this program
    /// type.
    pub(super) btf: Option<OwnedFd>,
}

impl Form {
    /// Creates a form that uses these buffers, without a program.
    pub(super) fn with(code: Assembled) -> Self {
        Self { name: "", attach_type: AttachType(0), code, btf: None }
    }

    /// Returns the kernel's hash of the instructions; `None` if the kernel relocates them first.
    #[cfg(feature = "exclusive-maps")]
    fn hash(&self) -> Option<[u8; 32]> {
        self.code.core_relos.is_empty().then(|| super::exclusive::digest(&self.code.insns))
    }
}

impl Executor {
    /// Loads an additional copy of a program, with changed settings.
    pub(crate) fn load_once_more(&mut self, name: &str, change: impl FnOnce(&mut OpenProgram)) -> Result<Program> {
        let object = self.object;
        let of_object = |error: Error| {
            let error = error.during(Step::LoadProgram).about(Subject::Program(name));
            error.within(format_args!("object `{}`", object.name))
        };
        let position = object.programs.iter().position(|program| program.name == name);
        let index = position.and_then(|position| u32::try_from(position).ok());
        let Some((index, own)) = index.and_then(|index| Some((index, &mut at_mut(&mut self.programs, index)?.open)))
        else {
            return Err(of_object(Error::not_found(format_args!("the object has no program `{name}`"))));
        };
        let mut changed = own.try_clone().map_err(of_object)?;
        changed.autoload = true;
        change(&mut changed);
        let parts = changed.parts.clone();
        let own = std::mem::replace(own, changed);
        self.parts.add(&parts);
        self.symbols.resolve_again();
        let log = self.options.log.clone();
        let result = Log::during(log.as_ref(), || {
            self.resolve_symbols()?;
            self.permitted(|executor| executor.load_program(index))
        });
        let Some(program) = at_mut(&mut self.programs, index) else {
            return Err(of_object(no_such("program", index)));
        };
        let (loaded, changed) = (program.loaded.take(), std::mem::replace(&mut program.open, own));
        result.map_err(|error| of_object(self.after_btf(error)))?;
        let usdt_specs = self.usdt_specs().map_err(of_object)?;
        Ok(super::handle(changed, loaded, self.btf_refused.as_deref()).with_usdt_specs(usdt_specs))
    }

    pub(super) fn load_program(&mut self, index: u32) -> Result<()> {
        let open = open_program(&self.programs, index)?;
        if !open.autoload {
            return Ok(());
        }
        let program = open.definition;
        if open.program_type == ProgramType::UNSPEC {
            return Err(within(program)(Error::invalid(format_args!(
                "section `{}` does not set a program type",
                program.section
            )))
            .with_help(
                "set the type with `set_type` before the load, or leave the program out with `set_autoload(false)`",
            ));
        }
        let mut form = Form::with(std::mem::take(&mut self.code));
        let result = self.load(index, &mut form);
        self.code = form.code;
        match result? {
            Ok(()) => Ok(()),
            Err((errno, log)) => Err(self.load_error(index, errno, log)),
        }
    }

    /// Attempts to load a program until the kernel accepts it or nothing is left to change. The inner error is the kernel's.
    fn load(&mut self, index: u32, form: &mut Form) -> Result<Result<(), Refusal>> {
        let begin = self.options.log.is_some().then(Instant::now);
        let program = open_program(&self.programs, index)?.definition;
        self.form(index, form).map_err(within(program))?;
        loop {
            let (errno, log) = match self.attempt(index, form).map_err(within(program))? {
                Ok(loaded) => {
                    #[cfg(feature = "exclusive-maps")]
                    let loaded = LoadedProgram { hash: form.hash(), ..loaded };
                    let program = at_mut(&mut self.programs, index).ok_or_else(|| no_such("program", index))?;
                    program.loaded = Some(loaded);
                    if let (Some(begin), Some(program)) = (begin, at(&self.programs, index)) {
                        self.emit(&LoadEvent::ProgramLoaded {
                            name: program.open.name(),
                            program_type: program.open.program_type,
                            instructions: form.code.insns.len() / INSN_SIZE,
                            duration: begin.elapsed(),
                        });
                    }
                    return Ok(Ok(()));
                }
                Err(refusal) => refusal,
            };
            let symbols = self.parts.symbols;
            if symbols.map_or(Ok(false), |part| (part.without_address)(self, index, errno))? {
                self.form(index, form).map_err(within(program))?;
                continue;
            }
            if !self.fix_up(index, form, errno, log.as_deref()).map_err(within(program))? {
                return Ok(Err((errno, log)));
            }
        }
    }

    /// Assembles a program into the form of the first attempt to load it, with CO-RE relocations applied if the kernel does not apply them.
    pub(super) fn form(&mut self, index: u32, form: &mut Form) -> Result<()> {
        self.assemble(index, &mut form.code)?;
        let open = open_program(&self.programs, index)?;
        let member = self.struct_ops_target(index)?;
        form.attach_type = member.map_or(open.attach_type, |member| AttachType(member.member));
        form.name = &open.definition.name;
        form.btf = None;
        match self.parts.core.filter(|core| (core.is_required)(self, index, form)) {
            Some(core) => (core.relocate)(self, index, form),
            None => Ok(()),
        }
    }

    /// Attempts to load a program with this request.
    fn attempt(&mut self, index: u32, form: &Form) -> Result<Result<LoadedProgram, Refusal>> {
        let other = self.target_program(index)?;
        let target = self.target(index)?;
        let member = self.struct_ops_target(index)?;
        let open = open_program(&self.programs, index)?;
        let level = open.log_level.unwrap_or(self.options.log_level);
        let accepts_program_btf = self.accepts_program_btf()?;
        let module = member.map_or(target.and_then(|target| target.module), |member| member.module);
        let request = Request {
            name: form.name,
            program_type: open.program_type,
            expected_attach_type: form.attach_type,
            flags: open.flags,
            license: &self.object.license,
            kernel_version: self.object.kernel_version,
            insns: &form.code.insns,
            btf: form.btf.as_ref().or(self.btf.as_ref().filter(|_| accepts_program_btf)).map(AsFd::as_fd),
            func_info: form.code.func_info(),
            line_info: form.code.line_info(),
            core_relos: &form.code.core_relos,
            attach_btf_id: match (other, member) {
                (Some(id), _) => id,
                (None, Some(member)) => member.struct_type,
                (None, None) => target.map_or(0, |target| target.id),
            },
            attach_program: open.target_program.as_ref().map(|(fd, _)| fd.as_fd()),
            attach_btf: module
                .filter(|_| other.is_none())
                .and_then(|module| self.symbols.module(Some(module)))
                .map(AsFd::as_fd),
            fd_array: &form.code.fd_array,
            ifindex: open.ifindex,
            token: self.token(),
        };
        let mut memlock = self.memlock;
        let result = request_load(&request, (level, self.options.log_size), &mut memlock);
        let before = std::mem::replace(&mut self.memlock, memlock);
        self.emit_memlock(before);
        Ok(result)
    }

    /// Returns the error for a program that the kernel rejected in every attempt.
    pub(super) fn load_error(&self, index: u32, errno: Errno, log: Option<String>) -> Error {
        let Some(open) = at(&self.programs, index).map(|program| &program.open) else {
            return no_such("program", index);
        };
        let program = open.definition;
        let what = format!("{}, section `{}`", open.program_type, program.section);
        let error = Error::refused(format_args!("cannot load program `{}` ({what})", program.name), errno);
        let excluded = self.excluded(index, log.as_deref());
        let error = match (self.percpu_section(program), excluded) {
            (_, Some(why)) => error.with_kind(ErrorKind::NotPermitted).note(why),
            (Some(section), None) if log.as_deref().is_some_and(lacks_direct_access) => error.with_kind(ErrorKind::Unsupported).with_help(format_args!(
                "section `{section}` needs direct access to percpu arrays, which this kernel lacks (Linux 7.3, on architectures whose \
                JIT supports percpu instructions); for older kernels, generate the skeleton with `--percpu either` \
                (`Builder::percpu`), and do not force `PercpuForm::Native` with `set_percpu`"
            )),
            _ if open.ifindex != 0 && lacks_offload(errno, log.as_deref()) => {
                error.about_part(Subject::Interface(open.ifindex)).note(
                    "the network interface must exist, and its driver must support offloaded programs of this type; for XDP programs with \
                     `ProgramFlags::XDP_DEV_BOUND_ONLY` (Linux 6.3), the driver must support XDP",
                )
            }
            _ if lacks_target(open) => error.with_kind(ErrorKind::InvalidInput).with_help(
                "the program has no attach target: set one with `set_attach_target` or `set_attach_program` before the load, or leave \
                the program out with `set_autoload(false)`",
            ),
            _ => {
                let since = LinuxVersion::new(program.since.0, program.since.1);
                let absent = self.absent(program, log.as_deref());
                match (absent, causes::older_than(since)) {
                    (Some(note), _) => error.note(note),
                    (None, Some(running)) => error.needs(since).note(format_args!(
                        "programs of section `{}` require Linux {since}; this is {running}",
                        program.section
                    )),
                    (None, None) => match kernel::jit::explain(errno, log.as_deref()) {
                        Some(note) => error.note(note),
                        None => {
                            let error = self.advise(error, Delegable::Program(open.program_type, open.attach_type));
                            self.with_verdict(error, program, errno, log.as_deref())
                        }
                    },
                }
            }
        };
        error.log(log)
    }
}

/// Returns a function that adds the program to the error of a load.
fn within(program: &'static abi::Program) -> impl Fn(Error) -> Error {
    |error| error.within(format_args!("cannot load program `{}`", program.name))
}

/// Loads a program. The first attempt has no log, because a log costs time; after an error, the load is repeated with a
/// log.
fn request_load(
    request: &Request<'_>,
    (level, log_size): (u32, Option<usize>),
    memlock: &mut bool,
) -> Result<LoadedProgram, Refusal> {
    let attempt = |level, log: &mut [u8]| {
        sys::load(request, level, log)
            .map_or_else(|errno| (Err(errno), 0), |attempt| (attempt.result, attempt.log_size))
    };
    // With a log level set, requests the log on the first attempt.
    let try_once = || match level {
        0 => (attempt(0, &mut []).0, None),
        _ => log::result_and_log(log_size, |buffer| Ok(attempt(level, buffer)), || Ok(attempt(0, &mut [])))
            .unwrap_or_else(|errno| (Err(errno), None)),
    };
    let is = |result: &Result<OwnedFd, Errno>, number| result.as_ref().is_err_and(|errno| errno.raw() == number);
    let (mut result, mut log) = try_once();
    if is(&result, libc::EPERM) && lift_memlock_once(memlock) {
        (result, log) = try_once();
    }
    for _ in 1..TRIES {
        if !is(&result, libc::EAGAIN) {
            break;
        }
        (result, log) = try_once();
    }
    match result {
        Ok(fd) => Ok(LoadedProgram {
            fd,
            log,
            #[cfg(feature = "exclusive-maps")]
            hash: None,
        }),
        // Log level 4 has only statistics, which do not show why a program was rejected, and the kernel writes no log for a level
        // that it does not support.
        Err(errno) if level & 3 == 0 || log.is_none() => {
            let of_level = |level| log::whole(log_size, |buffer| Ok(attempt(level, buffer)));
            let wanted = (level & 3 == 0).then(|| of_level(level | 1)).flatten();
            Err((errno, wanted.or_else(|| if level == 0 { None } else { of_level(1) })))
        }
        Err(errno) => Err((errno, log)),
    }
}

/// Returns whether a program has a type that is loaded for one attach target, but has no target.
fn lacks_target(open: &OpenProgram) -> bool {
    let is_multi = [AttachType::TRACE_FENTRY_MULTI, AttachType::TRACE_FEXIT_MULTI, AttachType::TRACE_FSESSION_MULTI]
        .contains(&open.attach_type);
    matches!(open.program_type, ProgramType::TRACING | ProgramType::LSM)
        && !is_multi
        && open.definition.target.is_none()
        && open.target.is_none()
        && open.target_program.is_none()
}

/// Returns whether the kernel rejected a program for a network interface before it examined an instruction.
fn lacks_offload(errno: Errno, log: Option<&str>) -> bool {
    let is_empty = log.is_none_or(|log| log.lines().all(|line| line.starts_with("processed 0 ")));
    is_empty && [libc::EINVAL, libc::EOPNOTSUPP, libc::ENODEV].contains(&errno.raw())
}

/// Returns whether the log has the verifier's message about direct access to a percpu array's value.
fn lacks_direct_access(log: &str) -> bool {
    log.contains("no direct value access support")
}
