//! Attaches programs the way their sections say.

use std::path::Path;

use super::{Kprobe, KprobeMulti, Link, Uprobe, UprobeMulti, Usdt};
use crate::abi::Attach;
use crate::error::{Error, Result};
use crate::open::OpenProgram;
use crate::program::Program;
use crate::sys::link as sys;
use crate::uapi::{AttachType, ProgramType};

/// How a program attaches: as its section says, or, where that leaves open to what, as what the user chose before the load says.
pub(crate) fn way(open: &OpenProgram) -> Attach {
    match (open.definition.attach, open.program_type) {
        (Attach::Needs(_), ProgramType::TRACING | ProgramType::LSM | ProgramType::EXT)
            if open.target.is_some() || open.target_program.is_some() =>
        {
            match open.attach_type {
                AttachType::TRACE_ITER => Attach::Iter,
                AttachType::LSM_CGROUP => open.definition.attach,
                AttachType::TRACE_FENTRY_MULTI | AttachType::TRACE_FEXIT_MULTI | AttachType::TRACE_FSESSION_MULTI => {
                    Attach::TracingMulti { pattern: "" }
                }
                _ => Attach::Tracing,
            }
        }
        (Attach::Needs(_), kind) if open.target.is_some() => match kind {
            ProgramType::RAW_TRACEPOINT | ProgramType::RAW_TRACEPOINT_WRITABLE => Attach::RawTracepoint(""),
            ProgramType::TRACEPOINT => Attach::Tracepoint { category: "", name: "" },
            ProgramType::KPROBE => {
                of_probe(open.definition.section.trim_start_matches('?')).unwrap_or(open.definition.attach)
            }
            _ => open.definition.attach,
        },
        (attach, kind) if fits(attach, kind) => attach,
        _ => Attach::Needs("what programs of the type attach to that was chosen for it"),
    }
}

/// How a probe attaches whose section does not say to what.
fn of_probe(section: &str) -> Option<Attach> {
    let kind = section.split('/').next()?;
    let at_return = kind.starts_with("kret") || kind.starts_with("uret");
    Some(match kind.trim_end_matches(".s") {
        "kprobe" | "kretprobe" => Attach::Kprobe { function: "", offset: 0, at_return },
        "ksyscall" | "kretsyscall" => Attach::Ksyscall { name: "", at_return },
        "uprobe" | "uretprobe" => Attach::Uprobe { place: "", at_return },
        "kprobe.multi" | "kretprobe.multi" | "kprobe.session" => Attach::KprobeMulti { pattern: "", at_return },
        "uprobe.multi" | "uretprobe.multi" | "uprobe.session" => Attach::UprobeMulti { place: "", at_return },
        "usdt" => Attach::Usdt { place: "" },
        _ => return None,
    })
}

/// Whether a program whose section leaves open what it attaches to can be told before the load.
fn takes_target(program: &Program) -> bool {
    match program.program_type() {
        ProgramType::RAW_TRACEPOINT | ProgramType::RAW_TRACEPOINT_WRITABLE | ProgramType::TRACEPOINT => true,
        ProgramType::KPROBE => of_probe(program.section().trim_start_matches('?')).is_some(),
        _ => false,
    }
}

/// Whether a program attaches so if it is loaded as this type, which need not be that of its section.
fn fits(attach: Attach, kind: ProgramType) -> bool {
    match attach {
        Attach::RawTracepoint(_) => {
            matches!(kind, ProgramType::RAW_TRACEPOINT | ProgramType::RAW_TRACEPOINT_WRITABLE)
        }
        Attach::TracingMulti { .. } => kind == ProgramType::TRACING,
        Attach::Tracing | Attach::Iter => matches!(kind, ProgramType::TRACING | ProgramType::LSM | ProgramType::EXT),
        Attach::Tracepoint { .. } => kind == ProgramType::TRACEPOINT,
        Attach::Kprobe { .. }
        | Attach::KprobeMulti { .. }
        | Attach::Ksyscall { .. }
        | Attach::Uprobe { .. }
        | Attach::UprobeMulti { .. }
        | Attach::Usdt { .. } => kind == ProgramType::KPROBE,
        Attach::Needs(_) | Attach::Never(_) => true,
    }
}

/// Attaches a loaded program in this way; `target` replaces the name that its section has. Ways without cookies take 0 only.
pub(crate) fn attach(program: &Program, attach: Attach, target: Option<&str>, cookie: u64) -> Result<Link> {
    let within = |error: Error| error.within(format_args!("attaching program `{}`", program.name()));
    match attach {
        Attach::Needs(what) => Err(Error::invalid(format_args!(
            "program `{}` (section `{}`) cannot attach by itself: it needs {what}",
            program.name(),
            program.section()
        ))
        .note(if takes_target(program) {
            "choose it with `set_attach_target` before loading, or let it be with `set_autoattach(false)`"
        } else {
            "attach it with the method of `Program` for that (`attach_cgroup`, `attach_xdp` …), and switch this off with \
             `set_autoattach(false)` before loading"
        })),
        Attach::Never(how) => Err(Error::invalid(format_args!(
            "program `{}` (section `{}`) is not attached: it runs {how}",
            program.name(),
            program.section()
        ))),
        Attach::Iter if cookie == 0 => sys::create_iter(program.fd()?, &[])
            .map(|fd| Link::new(fd, program.name()))
            .map_err(|errno| {
                let error = program.refused("the iterator it was loaded for", errno);
                match errno.raw() {
                    libc::EBADF | libc::EINVAL => {
                        error.note("iterators over elements of a map need the map: `attach_iter` takes it")
                    }
                    _ => error,
                }
            }),
        Attach::Iter => Err(within(Error::invalid("iterators have no cookies"))),
        Attach::RawTracepoint(name) => program.attach_raw_tracepoint(target.unwrap_or(name), cookie),
        Attach::Tracing => program.attach_trace(cookie),
        Attach::Tracepoint { category, name } => {
            let (category, name) = match target {
                None => (category, name),
                Some(target) => target.split_once('/').ok_or_else(|| {
                    within(Error::invalid(format_args!(
                        "its target `{target}` is no tracepoint, which would be `category/name`"
                    )))
                })?,
            };
            program.attach_tracepoint(category, name, cookie)
        }
        Attach::Kprobe { function, offset, at_return } => {
            let function = target.unwrap_or(function);
            program.attach_kprobe(&Kprobe { function, offset, at_return, cookie })
        }
        Attach::Ksyscall { name, at_return } => program.attach_ksyscall(target.unwrap_or(name), at_return, cookie),
        Attach::KprobeMulti { pattern, at_return } => {
            let functions = [target.unwrap_or(pattern)];
            let cookies = [cookie];
            let cookies = if cookie == 0 { &[][..] } else { &cookies };
            program.attach_kprobe_multi(&KprobeMulti { functions: &functions, cookies, at_return, pattern: "" })
        }
        Attach::Uprobe { place, at_return } => {
            let (path, function) = path_and_function(target.unwrap_or(place)).map_err(within)?;
            let (function, offset) = function_and_offset(function);
            if at_return && offset != 0 {
                return Err(within(Error::invalid(format_args!("the return of `{function}` has no offset"))));
            }
            program.attach_uprobe(&Uprobe { offset, at_return, cookie, ..Uprobe::new(path, function) })
        }
        Attach::UprobeMulti { place, at_return } => {
            let (path, function) = path_and_function(target.unwrap_or(place)).map_err(within)?;
            let (functions, cookies) = ([function], [cookie]);
            let cookies = if cookie == 0 { &[][..] } else { &cookies };
            let probes = UprobeMulti { functions: &functions, cookies, at_return, ..UprobeMulti::new(path) };
            program.attach_uprobe_multi(&probes)
        }
        Attach::TracingMulti { pattern } => {
            let cookies = [cookie];
            let cookies = if cookie == 0 { &[][..] } else { &cookies };
            program.attach_trace_multi(&[target.unwrap_or(pattern)], cookies)
        }
        Attach::Usdt { place } => {
            let place = target.unwrap_or(place);
            let (path, probe) = path_and_function(place).map_err(within)?;
            let (provider, name) = probe.split_once(':').ok_or_else(|| {
                within(Error::invalid(format_args!("its target `{place}` is no USDT probe, which would be `path:provider:name`")))
            })?;
            program.attach_usdt(&Usdt { cookie, ..Usdt::new(path, provider, name) })
        }
    }
}

/// `PATH:FUNCTION`.
fn path_and_function(place: &str) -> Result<(&Path, &str)> {
    match place.split_once(':') {
        Some((path, function)) if !path.is_empty() => Ok((Path::new(path), function)),
        _ => Err(Error::invalid(format_args!(
            "its target `{place}` is no place in a program file, which would be `path:function`"
        ))),
    }
}

/// `FUNCTION`, `FUNCTION+OFFSET`; what follows a plus and is no number belongs to the name.
fn function_and_offset(text: &str) -> (&str, u64) {
    let split = text.rsplit_once('+').and_then(|(function, offset)| {
        let number = match offset.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16),
            None => offset.parse(),
        };
        Some((function, number.ok()?))
    });
    split.unwrap_or((text, 0))
}

impl Program {
    /// Attaches it the way its section says.
    ///
    /// # Errors
    /// If it was not loaded, cannot attach by itself, or the kernel refuses.
    pub fn attach(&self) -> Result<Link> {
        self.attach_with_cookie(0)
    }

    /// The same with a cookie: a number that the program gets from `bpf_get_attach_cookie`, by which it knows which of its attachments
    /// it runs for (Linux 5.15 for probes and tracepoints, 6.0 for tracing programs, 6.10 for raw tracepoints).
    ///
    /// ```no_run
    /// # fn f(program: &skelgen_runtime::Program) -> skelgen_runtime::Result<()> {
    /// let links = [program.attach_with_cookie(1)?, program.attach_with_cookie(2)?];
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If it was not loaded, cannot attach by itself, or the kernel refuses.
    pub fn attach_with_cookie(&self, cookie: u64) -> Result<Link> {
        attach(self, self.way(), self.target(), cookie)
    }

    /// The same for the skeleton's `attach`: `None` if it was not loaded or auto-attach is off.
    ///
    /// # Errors
    /// If it cannot attach by itself or the kernel refuses.
    pub fn auto_attach(&self) -> Result<Option<Link>> {
        if self.autoattaches() && self.is_loaded() { self.attach().map(Some) } else { Ok(None) }
    }

    /// The error of this program, which the kernel does not attach.
    pub(super) fn refused(&self, to: impl std::fmt::Display, errno: crate::Errno) -> Error {
        super::refused(self.name(), to, errno)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_in_files() {
        assert!(path_and_function("/bin/true").is_err() && path_and_function(":f").is_err());
        assert_eq!(path_and_function("/a/b:c+1").unwrap(), (Path::new("/a/b"), "c+1"));
        assert_eq!(function_and_offset("f"), ("f", 0));
        assert_eq!(function_and_offset("f+0x10"), ("f", 16));
        assert_eq!(function_and_offset("operator+"), ("operator+", 0));
        assert_eq!(function_and_offset("+16"), ("", 16));
    }

    #[test]
    fn probes_by_their_sections() {
        assert_eq!(of_probe("uretprobe.s"), Some(Attach::Uprobe { place: "", at_return: true }));
        assert_eq!(of_probe("kprobe.session"), Some(Attach::KprobeMulti { pattern: "", at_return: false }));
        assert_eq!(of_probe("uprobe.multi.s/x"), Some(Attach::UprobeMulti { place: "", at_return: false }));
        assert_eq!(of_probe("usdt.s"), Some(Attach::Usdt { place: "" }));
        assert_eq!(of_probe("fentry.multi"), None);
    }
}
