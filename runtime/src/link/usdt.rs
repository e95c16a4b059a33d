//! Programs of USDT probes: places in a program file that name themselves and say where their arguments are.
//!
//! Programs get at the arguments by what libbpf's `usdt.bpf.h` puts into the object: a map of specifications, from which each run takes the
//! one for where it is (`usdt_specs`). They are written in the layout of that header: of libbpf 1.7 and later, or of those before, by the size
//! of the map's values (`usdt_arguments`). Everything is found and computed before the first location is attached.

use std::path::Path;
use std::sync::Arc;

use super::{Link, Uprobe, UprobeMulti, addresses, elf, notes, search, usdt_arguments as arguments};
use crate::error::{Error, ErrorKind, LinuxVersion, Result, Step, Subject};
use crate::program::Program;
use crate::uapi::AttachType;
use crate::usdt_specs::{By, SPECS, Specs, Taken};

/// A USDT probe of a program file.
///
/// A path without a directory is searched for where libraries (`.so`) or programs are.
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
    /// Creates a probe by its provider and its name, in every process.
    pub fn new(path: &'a (impl AsRef<Path> + ?Sized), provider: &'a str, name: &'a str) -> Self {
        Self { path: path.as_ref(), provider, name, pid: None, cookie: 0 }
    }

    /// Limits the probe to the process of this id; `None`, the default, is all processes.
    pub fn pid(self, pid: impl Into<Option<u32>>) -> Self {
        Self { pid: pid.into(), ..self }
    }

    /// Sets the number that the program reads with `bpf_usdt_cookie`; 0 by default.
    pub const fn cookie(self, cookie: u64) -> Self {
        Self { cookie, ..self }
    }
}

impl Program {
    /// Attaches to each location of a USDT probe, as a program of section `usdt` whose object includes libbpf's `usdt.bpf.h`. Arguments are
    /// known of x86-64, arm64 and s390x.
    ///
    /// A program that was given the attach type [`AttachType::TRACE_UPROBE_MULTI`] before the load
    /// ([`set_type`](crate::OpenProgram::set_type), Linux 6.6) has one link for all locations, which can be pinned.
    ///
    /// The specifications of the arguments, of which an object's map has room for 256 different ones (`BPF_USDT_MAX_SPEC_CNT`), are given back
    /// when the link is dropped or detached. A link that outlives its value, because it is pinned, leaked or was made into a file descriptor,
    /// keeps them for as long as this skeleton's programs are loaded, also if its pin is removed later.
    ///
    /// Before Linux 5.15 there are no attach cookies, and programs tell locations apart by their addresses: those of one process
    /// ([`Usdt::pid`]), which must have loaded the file, or of a program that is not position-independent.
    ///
    /// # Errors
    /// If it was not loaded, the file cannot be read or has no such probe, an address is needed and not known, or the kernel refuses. It is
    /// attached to no location then.
    pub fn attach_usdt(&self, probe: Usdt<'_>) -> Result<Link> {
        self.fd()?;
        let within = |error: Error| self.attaching(error);
        let specs = self.usdt_specs().ok_or_else(|| {
            within(
                Error::not_found(format_args!("its object has no map `{SPECS}`"))
                    .with_help("include libbpf's <bpf/usdt.bpf.h>, by which programs get at the arguments of probes"),
            )
        })?;
        let path = search::resolve(probe.path).map_err(within)?;
        let places = look(&path, probe).map_err(within)?;
        let taken = take(specs, &path, &places, probe).map_err(within)?;
        if self.expected_attach_type() == AttachType::TRACE_UPROBE_MULTI {
            let offsets: Vec<u64> = places.iter().map(|place| place.offset).collect();
            let counters: Vec<u64> = places.iter().map(|place| place.counter).collect();
            let cookies: Vec<u64> = taken.numbers.iter().copied().map(u64::from).collect();
            let link = self.attach_uprobe_multi(
                UprobeMulti::offsets(&path, &offsets).ref_ctr_offsets(&counters).cookies(&cookies).pid(probe.pid),
            )?;
            return Ok(link.holding(taken));
        }
        let mut all: Option<Link> = None;
        for (place, number) in places.iter().zip(&taken.numbers) {
            let at = Uprobe::at(&path, place.offset).ref_ctr_offset(place.counter).pid(probe.pid);
            let link = match specs.by() {
                By::Cookie => self.attach_uprobe_with_cookie(at.cookie(u64::from(*number)))?,
                By::Address => self.attach_uprobe(at)?,
            };
            match &mut all {
                Some(all) => all.add(link),
                None => all = Some(link),
            }
        }
        let all = all.ok_or_else(|| within(Error::not_found("the probe has no location")))?;
        Ok(all.holding(taken))
    }
}

/// Takes a specification for each place.
fn take(specs: &Arc<Specs>, path: &Path, places: &[notes::Note], probe: Usdt<'_>) -> Result<Taken> {
    let (size, _) = specs.size()?;
    let one = |place: &notes::Note| {
        let arguments = arguments::parse(&place.arguments)?;
        let bytes = arguments::encode(&arguments, probe.cookie, size).ok_or_else(|| {
            Error::mismatch(format_args!("its arguments do not fit into values of {size} bytes of map `{SPECS}`")).with_help(
                "the map must be that of libbpf's usdt.bpf.h; arguments that are elements of arrays need that of 1.7",
            )
        })?;
        let ips = match specs.by() {
            By::Cookie => Vec::new(),
            By::Address => addresses_of(path, place, probe.pid)?,
        };
        Ok((bytes, ips))
    };
    specs.take(places.iter().map(one).collect::<Result<_>>()?)
}

/// The addresses at which programs reach a place of the file.
fn addresses_of(path: &Path, place: &notes::Note, pid: Option<u32>) -> Result<Vec<u64>> {
    match (place.address, pid) {
        (Some(address), _) => Ok(vec![address]),
        (None, Some(pid)) => {
            let found = addresses::of_offset(pid, path, place.offset)?;
            if found.is_empty() {
                return Err(Error::not_found(format_args!(
                    "process {pid} does not have {} in its memory",
                    path.display()
                ))
                .needs(LinuxVersion::new(5, 15))
                .with_kind(ErrorKind::NotFound)
                .note("before Linux 5.15 a process must have loaded the file before a program is attached"));
            }
            Ok(found)
        }
        (None, None) => Err(Error::unsupported(format_args!(
            "the kernel has no attach cookies, and {} is at other addresses in each process",
            path.display()
        ))
        .needs(LinuxVersion::new(5, 15))
        .with_help("give the process (`Usdt::pid`); all processes at once need Linux 5.15")),
    }
}

/// The places of the probe, at least one.
fn look(path: &Path, probe: Usdt<'_>) -> Result<Vec<notes::Note>> {
    let places = elf::read_file(path, "USDT probes", |elf| notes::places(elf, probe.provider, probe.name))?;
    if places.is_empty() {
        let (provider, name) = (probe.provider, probe.name);
        return Err(Error::not_found(format_args!("{} has no USDT probe `{provider}:{name}`", path.display()))
            .during(Step::FindSymbol)
            .about(Subject::Symbol(name))
            .about(Subject::Path(path))
            .with_help("`readelf -n` shows those that a file has"));
    }
    Ok(places)
}
