//! Attaching programs to USDT probes: named locations in an ELF file with a description of their arguments.
//!
//! Programs read the arguments with libbpf's `usdt.bpf.h`, which adds a map of specifications to the object
//! (`usdt_specs`). Each location has a specification, which describes where its arguments are. Specifications are
//! written in the layout of libbpf 1.7 and later, or in the earlier layout, depending on the size of the map's values
//! (`usdt_arguments`). All specifications are computed before the first location is attached.

use std::path::Path;
use std::sync::Arc;

use super::undo::Entries;
use super::{Link, Uprobe, UprobeMulti, addresses, elf, notes, search, usdt_arguments as arguments};
use crate::error::{Error, ErrorKind, LinuxVersion, Result, Step, Subject};
use crate::program::Program;
use crate::uapi::AttachType;
use crate::usdt_specs::{By, SPECS, Specs, Taken};

/// A USDT probe of an ELF file.
///
/// A path without a directory is searched for in the directories of libraries (`.so`) or programs.
///
/// ```no_run
/// use skelgen_runtime::link::Usdt;
/// # fn f(program: &skelgen_runtime::Program) -> skelgen_runtime::Result<()> {
/// let link = program.attach_usdt(Usdt::new("libc.so.6", "libc", "setjmp").pid(1234))?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Usdt<'a> {
    path: &'a Path,
    provider: &'a str,
    name: &'a str,
    pid: Option<u32>,
    cookie: u64,
}

impl<'a> Usdt<'a> {
    /// Creates a probe with this provider and name in a file, in all processes.
    pub fn new(path: &'a (impl AsRef<Path> + ?Sized), provider: &'a str, name: &'a str) -> Self {
        Self { path: path.as_ref(), provider, name, pid: None, cookie: 0 }
    }

    /// Limits the probe to the process with this id; `None`, the default, is all processes.
    pub fn pid(self, pid: impl Into<Option<u32>>) -> Self {
        Self { pid: pid.into(), ..self }
    }

    /// Sets the number that the program reads with `bpf_usdt_cookie`; 0 by default.
    pub const fn cookie(self, cookie: u64) -> Self {
        Self { cookie, ..self }
    }
}

impl Program {
    /// Attaches to each location of a USDT probe, as a program of section `usdt` whose object includes libbpf's
    /// `usdt.bpf.h`. Arguments are supported on x86-64, arm64 and s390x.
    ///
    /// A program that is loaded with the attach type [`AttachType::TRACE_UPROBE_MULTI`]
    /// ([`set_type`](crate::OpenProgram::set_type), Linux 6.6) has one link for all locations, which can be pinned.
    ///
    /// The object's map has room for 256 different specifications of arguments (`BPF_USDT_MAX_SPEC_CNT`). They are
    /// released when the link is dropped or detached. The specifications of a pinned, leaked or converted link stay
    /// allocated until the skeleton's programs are unloaded, even if the pin is removed earlier.
    ///
    /// Before Linux 5.15 there are no attach cookies, and programs distinguish locations by their addresses. So the probe
    /// must be limited to one process ([`Usdt::pid`]) that has already loaded the file, or the file must not be
    /// position-independent.
    ///
    /// # Errors
    /// If the program was not loaded or its object does not include `usdt.bpf.h`, the file cannot be read or has no such
    /// probe, an argument of the probe is not supported, the object's maps are full, the address of a location is needed
    /// (before Linux 5.15) but unknown, or the kernel rejects the program. On error, the program is not attached to any
    /// location.
    pub fn attach_usdt(&self, probe: Usdt<'_>) -> Result<Link> {
        self.fd()?;
        let within = |error: Error| self.attaching(error);
        let specs = self.usdt_specs().ok_or_else(|| {
            within(
                Error::not_found(format_args!("the program's object has no map `{SPECS}`"))
                    .with_help("include libbpf's <bpf/usdt.bpf.h>, which defines the map"),
            )
        })?;
        let path = search::resolve(probe.path).map_err(within)?;
        let locations = look(&path, probe).map_err(within)?;
        let taken = take(&specs, &path, &locations, probe).map_err(within)?;
        if self.attach_type() == Some(AttachType::TRACE_UPROBE_MULTI) {
            let offsets: Vec<u64> = locations.iter().map(|location| location.offset).collect();
            let counters: Vec<u64> = locations.iter().map(|location| location.counter).collect();
            let cookies: Vec<u64> = taken.numbers.iter().copied().map(u64::from).collect();
            let link = self.attach_uprobe_multi(
                UprobeMulti::offsets(&path, &offsets).ref_ctr_offsets(&counters).cookies(&cookies).pid(probe.pid),
            )?;
            return Ok(link.with_taken(taken));
        }
        let mut all: Option<Link> = None;
        for (location, number) in locations.iter().zip(&taken.numbers) {
            let at = Uprobe::at(&path, location.offset).ref_ctr_offset(location.counter).pid(probe.pid);
            let link = match specs.by() {
                By::Cookie => self.attach_uprobe_with_cookie(at.cookie(u64::from(*number)))?,
                By::Address => self.attach_uprobe(at)?,
            };
            match &mut all {
                Some(all) => all.add(link),
                None => all = Some(link),
            }
        }
        let all = all.ok_or_else(|| within(Error::not_found("the probe has no locations")))?;
        Ok(all.with_taken(taken))
    }
}

/// Allocates a specification for each location.
fn take(specs: &Arc<Specs>, path: &Path, locations: &[notes::Note], probe: Usdt<'_>) -> Result<Taken> {
    let (size, _) = specs.size()?;
    let one = |location: &notes::Note| {
        let arguments = arguments::parse(&location.arguments)?;
        let bytes = arguments::encode(&arguments, probe.cookie, size).ok_or_else(|| {
            Error::mismatch(format_args!("the probe's arguments do not fit in values of {size} bytes of map `{SPECS}`"))
                .with_help("the map must be the one that libbpf's usdt.bpf.h defines; arguments with an index register require libbpf 1.7")
        })?;
        let ips = match specs.by() {
            By::Cookie => Vec::new(),
            By::Address => addresses_of(path, location, probe.pid)?,
        };
        Ok((bytes, ips))
    };
    specs.take(locations.iter().map(one).collect::<Result<_>>()?)
}

/// Returns the addresses in memory of a location in the file, in a process or in all.
fn addresses_of(path: &Path, location: &notes::Note, pid: Option<u32>) -> Result<Vec<u64>> {
    match (location.address, pid) {
        (Some(address), _) => Ok(vec![address]),
        (None, Some(pid)) => {
            let found = addresses::of_offset(pid, path, location.offset)?;
            if found.is_empty() {
                return Err(Error::not_found(format_args!(
                    "process {pid} has not loaded {}",
                    path.display()
                ))
                .needs(LinuxVersion::new(5, 15))
                .with_kind(ErrorKind::NotFound)
                .note("kernels before 5.15 have no attach cookies: with these kernels, attach after the process has loaded the file"));
            }
            Ok(found)
        }
        (None, None) => Err(Error::unsupported(format_args!(
            "the kernel has no attach cookies, and {} is position-independent, so its addresses differ between processes",
            path.display()
        ))
        .needs(LinuxVersion::new(5, 15))
        .with_help("set the process with `Usdt::pid`; all processes at once need Linux 5.15")),
    }
}

/// Returns the locations of the probe in the file, at least one.
fn look(path: &Path, probe: Usdt<'_>) -> Result<Vec<notes::Note>> {
    let locations = elf::read_file(path, "USDT probes", |elf| notes::locations(elf, probe.provider, probe.name))?;
    if locations.is_empty() {
        let (provider, name) = (probe.provider, probe.name);
        return Err(Error::not_found(format_args!("{} has no USDT probe `{provider}:{name}`", path.display()))
            .during(Step::FindSymbol)
            .about(Subject::Symbol(name))
            .about(Subject::Path(path))
            .with_help("`readelf -n` lists the probes of a file"));
    }
    Ok(locations)
}

impl Entries for Taken {
    fn keep(&self) {
        Self::keep(self);
    }
}
