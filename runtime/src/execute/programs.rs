//! The step that loads a program.

use std::borrow::Cow;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use super::token::Asked;
use super::{Executor, at, at_mut, lift_memlock, log, no_such};
use crate::abi::{Body, Patch, PatchKind, Program, SectionKind, percpu_stride};
use crate::error::{Errno, Error, Result};
use crate::kernel;
use crate::open::OpenProgram;
use crate::sys::prog::{self as sys, Request};
use crate::uapi::{AttachType, ProgramType};

/// How often a load that the kernel gave up for the moment is tried again.
const TRIES: u32 = 5;
/// Bytes of an instruction.
const INSN: usize = 8;
/// The function that calls of absent weak functions are made to: none, by a number that shows where it comes from in a log.
const NO_FUNCTION: i32 = 2_002_000_000;

/// The functions that addresses of maps which were not created become calls of, the number of the map added: none, as above.
const NO_MAP: i32 = 2_001_000_000;

/// A program that is loaded.
#[derive(Debug)]
pub(super) struct LoadedProgram {
    pub(super) fd: OwnedFd,
    /// What the verifier said, if it was asked.
    pub(super) log: Option<String>,
}

/// A program as the kernel is asked to load it. What older kernels lack is taken out of it as that shows.
#[derive(Debug)]
pub(super) struct Form {
    pub(super) name: &'static str,
    /// Where it will attach, or which member of a table of functions it is.
    pub(super) attach_type: AttachType,
    pub(super) insns: Cow<'static, [u8]>,
    /// BTF file descriptors of modules whose functions it calls.
    fd_array: Vec<i32>,
    /// BTF of its own, where the object's is not as the kernel wants it in programs of this type.
    pub(super) btf: Option<OwnedFd>,
    pub(super) func_info: &'static [u8],
    pub(super) line_info: &'static [u8],
    /// Relocations that are left to the kernel.
    pub(super) core_relos: &'static [u8],
}

impl Executor {
    pub(super) fn load_program(&mut self, index: u32) -> Result<()> {
        let open = at(&self.open_programs, index).ok_or_else(|| no_such("program", index))?;
        if !open.autoload {
            return Ok(());
        }
        let program = open.definition;
        let within = |error: Error| error.within(format_args!("loading program `{}`", program.name));
        if open.program_type == ProgramType::UNSPEC {
            return Err(within(Error::invalid(format_args!(
                "section `{}` does not say what type it is",
                program.section
            )))
            .note(
                "give the type with `set_type` before loading, or leave the program out with `set_autoload(false)`",
            ));
        }
        let mut form = self.form(index).map_err(within)?;
        if self.must_relocate(&form) {
            self.relocate(&mut form).map_err(within)?;
        }
        loop {
            let (errno, log) = match self.attempt(index, &form).map_err(within)? {
                Ok(loaded) => {
                    if let Some(place) = at_mut(&mut self.programs, index) {
                        *place = Some(loaded);
                    }
                    return Ok(());
                }
                Err(refusal) => refusal,
            };
            if !self.fix_up(index, &mut form, errno, log.as_deref()).map_err(within)? {
                return Err(self.refusal(index, errno, log));
            }
        }
    }

    /// A program's instructions for the running system, and what describes them.
    fn form(&mut self, index: u32) -> Result<Form> {
        let program = at(self.object.programs, index).ok_or_else(|| no_such("program", index))?;
        let body = self.body(program);
        let mut fd_array = Vec::new();
        let mut insns = Cow::Borrowed(self.bytes(body.insns)?);
        for patch in self.patches(body)? {
            self.patch(insns.to_mut(), patch?, &mut fd_array)?;
        }
        let (func_info, line_info) = match self.takes_records()? {
            true => (self.bytes(body.func_info)?, self.bytes(body.line_info)?),
            false => (&[][..], &[][..]),
        };
        let core_relos = self.bytes(body.core_relos)?;
        let open = at(&self.open_programs, index).ok_or_else(|| no_such("program", index))?;
        let place = self.struct_ops_place(index)?;
        let attach_type = place.map_or(open.attach_type, |place| AttachType(place.member));
        Ok(Form { name: program.name, attach_type, insns, fd_array, btf: None, func_info, line_info, core_relos })
    }

    /// The body of a program that fits the form of percpu data which is loaded.
    pub(super) fn body(&self, program: &'static Program) -> &'static Body {
        program.emulated.as_ref().filter(|_| self.emulate).unwrap_or(&program.body)
    }

    /// Asks the kernel to load a program in this form.
    fn attempt(&mut self, index: u32, form: &Form) -> Result<Result<LoadedProgram, (Errno, Option<String>)>> {
        let other = self.target_program(index)?;
        let target = self.target(index)?;
        let place = self.struct_ops_place(index)?;
        let open = at(&self.open_programs, index).ok_or_else(|| no_such("program", index))?;
        let level = open.log_level.unwrap_or(self.options.log_level);
        let takes_records = self.takes_records()?;
        let module = place.map_or(target.and_then(|target| target.module), |place| place.module);
        let request = Request {
            name: form.name,
            program_type: open.program_type,
            expected_attach_type: form.attach_type,
            flags: open.flags,
            license: self.object.license,
            kernel_version: self.object.kernel_version,
            insns: &form.insns,
            btf: form.btf.as_ref().or(self.btf.as_ref().filter(|_| takes_records)).map(AsFd::as_fd),
            func_info: form.func_info,
            line_info: form.line_info,
            core_relos: form.core_relos,
            attach_btf_id: match (other, place) {
                (Some(id), _) => id,
                (None, Some(place)) => place.struct_type,
                (None, None) => target.map_or(0, |target| target.id),
            },
            attach_program: open.target_program.as_ref().map(|(fd, _)| fd.as_fd()),
            attach_btf: module
                .filter(|_| other.is_none())
                .and_then(|module| self.symbols.modules.get(module))
                .map(AsFd::as_fd),
            fd_array: &form.fd_array,
            ifindex: open.ifindex,
            token: self.token(),
        };
        let mut memlock = self.memlock;
        let result = request_load(&request, (level, self.options.log_size), &mut memlock);
        self.memlock = memlock;
        Ok(result)
    }

    /// What to say of a program that the kernel refused for good.
    fn refusal(&self, index: u32, errno: Errno, log: Option<String>) -> Error {
        let Some(open) = at(&self.open_programs, index) else {
            return no_such("program", index);
        };
        let program = open.definition;
        let what = format!("{}, section `{}`", open.program_type, program.section);
        let error = Error::refused(format_args!("loading program `{}` ({what})", program.name), errno);
        let body = self.body(program);
        let absent = || self.unresolved(self.bytes(body.core_relos).unwrap_or_default(), log.as_deref());
        let error = match self.percpu_section(body) {
            Some(section) if log.as_deref().is_some_and(lacks_direct_access) => error.note(format_args!(
                "this kernel lacks direct access to percpu arrays, by which programs use section `{section}`: Linux has it \
                 since 7.3 (where the JIT knows percpu instructions). For older ones, load or generate the emulated form too"
            )),
            _ if lacks_target(open) => error.note(
                "it was not told what it is for: choose a target with `set_attach_target` or `set_attach_program` before loading, or leave \
                 the program out with `set_autoload(false)`",
            ),
            _ => match self
                .uncreated(log.as_deref())
                .or_else(absent)
                .or_else(|| too_old(program.since, program.section))
                .or_else(|| kernel::jit::explain(errno, log.as_deref()))
            {
                Some(note) => error.note(note),
                None => self.advise(error, Asked::Program(open.program_type, open.attach_type)),
            },
        };
        match log {
            Some(log) => error.log(log),
            None => error,
        }
    }

    /// Writes into an instruction what depends on the running system.
    fn patch(&mut self, insns: &mut [u8], patch: Patch, fd_array: &mut Vec<i32>) -> Result<()> {
        let outside = || Error::invalid("a patch lies outside its program");
        let begin = usize::try_from(patch.insn).ok().and_then(|insn| insn.checked_mul(INSN)).ok_or_else(outside)?;
        let rest = insns.get_mut(begin..).ok_or_else(outside)?;
        match patch.kind {
            PatchKind::Map(map) => match self.map_fd(map)? {
                Some(fd) => set_immediate(rest, 0, fd).ok_or_else(outside),
                None => poison(rest, map).ok_or_else(outside),
            },
            PatchKind::ArenaValue(map) => {
                let Some(fd) = self.map_fd(map)? else {
                    return poison(rest, map).ok_or_else(outside);
                };
                set_immediate(rest, 0, fd).ok_or_else(outside)?;
                let begin = self.arena_globals(map)?;
                let place = rest.get_mut(INSN + 4..INSN + 8).ok_or_else(outside)?;
                let offset = place.first_chunk().map_or(0, |&offset| u32::from_ne_bytes(offset));
                place.copy_from_slice(&offset.wrapping_add(begin).to_ne_bytes());
                Ok(())
            }
            PatchKind::CpuMask => {
                let mask = kernel::cpus::counted()?.slots() - 1;
                set_immediate(rest, 0, number(mask)?).ok_or_else(outside)
            }
            PatchKind::Stride(map) => {
                let open = at(&self.open_maps, map).ok_or_else(|| no_such("map", map))?;
                let align = open.definition.section.map_or(1, |section| section.align);
                let stride = percpu_stride(open.value_size, align).and_then(|stride| i32::try_from(stride).ok());
                let stride = stride
                    .ok_or_else(|| Error::invalid(format_args!("section `{}` is too large", open.definition.name)))?;
                set_immediate(rest, 0, stride).ok_or_else(outside)
            }
            PatchKind::Variable(symbol) => {
                let (id, fd) = match self.symbol(symbol)? {
                    Some(found) => (found.id, self.module_fd(found.module)),
                    None => {
                        // The address of what is not there is zero: a plain load of a number.
                        *rest.get_mut(1).ok_or_else(outside)? &= registers_without_source();
                        (0, 0)
                    }
                };
                set_immediate(rest, 0, number(id)?).ok_or_else(outside)?;
                set_immediate(rest, 1, fd).ok_or_else(outside)
            }
            PatchKind::Address(symbol) => {
                let [a, b, c, d, high @ ..] = self.address(symbol)?.to_le_bytes();
                set_immediate(rest, 0, i32::from_le_bytes([a, b, c, d])).ok_or_else(outside)?;
                set_immediate(rest, 1, i32::from_le_bytes(high)).ok_or_else(outside)
            }
            PatchKind::Function(symbol) => {
                let Some(found) = self.symbol(symbol)? else {
                    *rest.get_mut(1).ok_or_else(outside)? &= registers_without_source();
                    return set_immediate(rest, 0, NO_FUNCTION).ok_or_else(outside);
                };
                let module = match found.module {
                    None => 0,
                    Some(_) => place(fd_array, self.module_fd(found.module))
                        .ok_or_else(|| Error::invalid("it calls functions of too many modules"))?,
                };
                rest.get_mut(2..4).ok_or_else(outside)?.copy_from_slice(&module.to_ne_bytes());
                set_immediate(rest, 0, number(found.id)?).ok_or_else(outside)
            }
        }
    }

    /// The file descriptor of a map, if it was created.
    fn map_fd(&self, map: u32) -> Result<Option<i32>> {
        let created = at(&self.maps, map).ok_or_else(|| no_such("map", map))?;
        Ok(created.as_ref().map(|created| created.map.as_fd().as_raw_fd()))
    }

    /// What a program needs of a map that was not created, if the verifier refused it for that.
    fn uncreated(&self, log: Option<&str>) -> Option<String> {
        let log = log?;
        let is_called =
            |&(map, _): &(u32, _)| log.contains(&format!("unknown#{}", NO_MAP.saturating_add_unsigned(map)));
        let (_, map) = (0..).zip(self.object.maps).find(is_called)?;
        Some(format!(
            "it uses map `{}`, which was not created, as its auto-create is off: leave the program out too with \
             `set_autoload(false)`, let the map be created, or keep the program from it by a constant in .rodata",
            map.name
        ))
    }

    fn module_fd(&self, module: Option<usize>) -> i32 {
        module.and_then(|module| self.symbols.modules.get(module)).map_or(0, AsRawFd::as_raw_fd)
    }

    /// The percpu section among the maps that a program uses.
    fn percpu_section(&self, body: &Body) -> Option<&'static str> {
        self.patches(body).ok()?.find_map(|patch| {
            let PatchKind::Map(map) = patch.ok()?.kind else {
                return None;
            };
            let map = at(self.object.maps, map)?;
            (map.section?.kind == SectionKind::Percpu).then_some(map.name)
        })
    }
}

/// Loads a program: without a log first, as the log costs time; with it again if that fails.
fn request_load(
    request: &Request<'_>,
    (level, log_size): (u32, Option<usize>),
    memlock: &mut bool,
) -> Result<LoadedProgram, (Errno, Option<String>)> {
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
    if is(&result, libc::EPERM) && lift_memlock(memlock) {
        (result, log) = try_once();
    }
    for _ in 1..TRIES {
        if !is(&result, libc::EAGAIN) {
            break;
        }
        (result, log) = try_once();
    }
    match result {
        Ok(fd) => Ok(LoadedProgram { fd, log }),
        // Statistics alone (4) are no use to see why a program was refused, and of a level that the kernel does not know there is no log.
        Err(errno) if level & 3 == 0 || log.is_none() => {
            let of_level = |level| log::whole(log_size, |buffer| Ok(attempt(level, buffer)));
            let wanted = (level & 3 == 0).then(|| of_level(level | 1)).flatten();
            Err((errno, wanted.or_else(|| if level == 0 { None } else { of_level(1) })))
        }
        Err(errno) => Err((errno, log)),
    }
}

/// The place of a module's BTF in the list of a program's, where it is put if it is not there yet. The kernel takes 256 places, however
/// often one module's functions are called.
fn place(fd_array: &mut Vec<i32>, fd: i32) -> Option<i16> {
    // The first is never used: place 0 is vmlinux.
    if fd_array.is_empty() {
        fd_array.push(0);
    }
    let known = fd_array.iter().skip(1).position(|&known| known == fd);
    let place = known.map_or(fd_array.len(), |known| known + 1);
    if place == fd_array.len() {
        fd_array.push(fd);
    }
    i16::try_from(place).ok()
}

/// Whether a program is of a type that is loaded for one target, and has none.
fn lacks_target(open: &OpenProgram) -> bool {
    let of_many = [AttachType::TRACE_FENTRY_MULTI, AttachType::TRACE_FEXIT_MULTI, AttachType::TRACE_FSESSION_MULTI]
        .contains(&open.attach_type);
    matches!(open.program_type, ProgramType::TRACING | ProgramType::LSM)
        && !of_many
        && open.definition.target.is_none()
        && open.target.is_none()
        && open.target_program.is_none()
}

/// What there is to say of a program that was refused by a kernel older than its section.
fn too_old(since: (u16, u16), section: &str) -> Option<String> {
    let running = kernel::kconfig::version().ok()?;
    // The number is three: major and minor version, patch level.
    let running = (running >> 16, running >> 8 & 0xff);
    let since = (u32::from(since.0), u32::from(since.1));
    (running < since).then(|| {
        format!(
            "programs of section `{section}` load since Linux {}.{}; this is {}.{}",
            since.0, since.1, running.0, running.1
        )
    })
}

/// What the verifier says where a percpu array's value may not be used directly.
fn lacks_direct_access(log: &str) -> bool {
    log.contains("no direct value access support")
}

/// Makes a wide load of a map that is not there into what the verifier refuses if it ever gets to it: two calls of no function.
fn poison(insns: &mut [u8], map: u32) -> Option<()> {
    const CALL: u8 = 0x85;
    for slot in 0..2 {
        let insn = insns.get_mut(slot * INSN..(slot + 1) * INSN)?;
        insn.fill(0);
        *insn.first_mut()? = CALL;
        set_immediate(insn, 0, NO_MAP.saturating_add_unsigned(map))?;
    }
    Some(())
}

/// Sets the immediate of the instruction this many after the first.
fn set_immediate(insns: &mut [u8], after: usize, value: i32) -> Option<()> {
    let begin = after * INSN + 4;
    insns.get_mut(begin..begin + 4)?.copy_from_slice(&value.to_ne_bytes());
    Some(())
}

/// Keeps the destination of the two registers in an instruction's second byte.
const fn registers_without_source() -> u8 {
    if cfg!(target_endian = "little") { 0x0f } else { 0xf0 }
}

fn number(id: u32) -> Result<i32> {
    i32::try_from(id).map_err(|_| Error::invalid("a BTF id is out of range"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_has_one_place_however_often_it_is_called() {
        let mut fds = Vec::new();
        let places: Vec<_> = [7, 8, 7, 8, 7].into_iter().map(|fd| place(&mut fds, fd)).collect();
        assert_eq!((places, fds), ([1, 2, 1, 2, 1].map(Some).to_vec(), vec![0, 7, 8]));
        let mut fds = (0..=i32::from(i16::MAX)).collect();
        assert_eq!((place(&mut fds, 5), place(&mut fds, -1)), (Some(5), None));
    }
}
