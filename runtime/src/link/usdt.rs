//! Programs of USDT probes: places in a program file that name themselves and say where their arguments are.
//!
//! Programs get at the arguments by what libbpf's `usdt.bpf.h` puts into the object: a map of specifications, from which each run
//! takes the one whose number is its cookie. Here the specifications are written (`Specs`), in the layout of that header: of libbpf
//! 1.7 and later, or of those before, by the size of the map's values.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::usdt_arguments::{self as arguments, Argument};
use super::{Link, Uprobe, UprobeMulti, elf, notes, search};
use crate::error::{Error, Result};
use crate::program::Program;
use crate::sys;
use crate::uapi::{AttachType, elem_flags};

/// A USDT probe of a program file.
///
/// ```no_run
/// use skelgen_runtime::link::Usdt;
/// # fn f(program: &skelgen_runtime::Program) -> skelgen_runtime::Result<()> {
/// let link = program.attach_usdt(&Usdt { pid: Some(1234), ..Usdt::new("libc.so.6", "libc", "setjmp") })?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usdt<'a> {
    /// The file. A name without a folder is looked for where libraries (`.so`) or programs are.
    pub path: &'a Path,
    /// Who has put the probe there.
    pub provider: &'a str,
    /// The probe.
    pub name: &'a str,
    /// In this process only, by its id.
    pub pid: Option<u32>,
    /// What the program gets from `bpf_usdt_cookie`.
    pub cookie: u64,
}

impl<'a> Usdt<'a> {
    /// A probe of this file, in every process.
    #[must_use]
    pub fn new(path: &'a (impl AsRef<Path> + ?Sized), provider: &'a str, name: &'a str) -> Self {
        Self { path: path.as_ref(), provider, name, pid: None, cookie: 0 }
    }
}

/// The name of the map.
pub(crate) const SPECS: &str = "__bpf_usdt_specs";

/// The map of specifications that the programs of an object share.
#[derive(Debug)]
pub(crate) struct Specs {
    map: OwnedFd,
    /// Those that are in the map, by their numbers. They stay there: the next attachment may want the same.
    known: Mutex<Vec<Vec<u8>>>,
}

impl Specs {
    pub(crate) fn new(map: OwnedFd) -> Arc<Self> {
        Arc::new(Self { map, known: Mutex::default() })
    }

    /// The numbers of specifications with these arguments, which are put into the map if they are not there.
    fn numbers(&self, places: &[Vec<Argument>], cookie: u64) -> Result<Vec<u32>> {
        let refused = |errno| Error::refused(format_args!("writing to map `{SPECS}`"), errno);
        let fd = self.map.try_clone().map_err(|error| Error::io(format_args!("writing to map `{SPECS}`"), &error))?;
        let (map, info) = sys::map::Map::adopt(fd).map_err(refused)?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let number = |arguments: &Vec<Argument>| {
            let size = usize::try_from(info.value_size).unwrap_or(0);
            let bytes = arguments::encode(arguments, cookie, size).ok_or_else(|| {
                Error::invalid(format_args!("its arguments do not fit into values of {size} bytes of map `{SPECS}`")).note(
                    "the map must be that of libbpf's usdt.bpf.h; arguments that are elements of arrays need that of 1.7",
                )
            })?;
            let place = known.iter().position(|other| *other == bytes);
            let number = u32::try_from(place.unwrap_or(known.len())).unwrap_or(u32::MAX);
            if number >= info.max_entries {
                return Err(Error::invalid(format_args!(
                    "map `{SPECS}` is full of {} specifications",
                    info.max_entries
                ))
                .note(
                    "define BPF_USDT_MAX_SPEC_CNT before usdt.bpf.h is included, or `set_max_entries` before loading",
                ));
            }
            if place.is_none() {
                map.update(&number.to_ne_bytes(), &bytes, elem_flags::ANY).map_err(refused)?;
                known.push(bytes);
            }
            Ok(number)
        };
        places.iter().map(number).collect()
    }
}

impl Program {
    /// Attaches to each place of a USDT probe (Linux 5.15), as a program of section `usdt` whose object includes libbpf's `usdt.bpf.h`.
    /// Arguments are known of x86-64, arm64 and s390x.
    ///
    /// A program that was given the attach type [`AttachType::TRACE_UPROBE_MULTI`] before the load
    /// ([`set_type`](crate::OpenProgram::set_type), Linux 6.6) has one link for all places, which can be pinned.
    ///
    /// # Errors
    /// If it was not loaded, the file cannot be read or has no such probe, or the kernel refuses.
    pub fn attach_usdt(&self, probe: &Usdt<'_>) -> Result<Link> {
        self.fd()?;
        let within = |error: Error| error.within(format_args!("attaching program `{}`", self.name()));
        let specs = self.usdt_specs().ok_or_else(|| {
            within(
                Error::invalid(format_args!("its object has no map `{SPECS}`"))
                    .note("include libbpf's <bpf/usdt.bpf.h>, by which programs get at the arguments of probes"),
            )
        })?;
        let path = search::resolve(probe.path).map_err(within)?;
        let places = look(&path, probe).map_err(within)?;
        let arguments = places.iter().map(|place| arguments::parse(&place.arguments)).collect::<Result<Vec<_>>>();
        let numbers = specs.numbers(&arguments.map_err(within)?, probe.cookie).map_err(within)?;
        if self.attach_type() == AttachType::TRACE_UPROBE_MULTI {
            let offsets: Vec<u64> = places.iter().map(|place| place.offset).collect();
            let counters: Vec<u64> = places.iter().map(|place| place.counter).collect();
            let cookies: Vec<u64> = numbers.into_iter().map(u64::from).collect();
            return self.attach_uprobe_multi(&UprobeMulti {
                offsets: &offsets,
                ref_ctr_offsets: &counters,
                cookies: &cookies,
                pid: probe.pid,
                ..UprobeMulti::new(&path)
            });
        }
        let mut all: Option<Link> = None;
        for (place, number) in places.iter().zip(numbers) {
            let link = self.attach_uprobe(&Uprobe {
                ref_ctr_offset: place.counter,
                cookie: u64::from(number),
                pid: probe.pid,
                ..Uprobe::at(&path, place.offset)
            })?;
            match &mut all {
                Some(all) => all.add(link),
                None => all = Some(link),
            }
        }
        all.ok_or_else(|| within(Error::invalid("the probe has no place")))
    }
}

/// The places of the probe, at least one.
fn look(path: &Path, probe: &Usdt<'_>) -> Result<Vec<notes::Note>> {
    let places = elf::read_file(path, "USDT probes", |elf| notes::places(elf, probe.provider, probe.name))?;
    if places.is_empty() {
        let (provider, name) = (probe.provider, probe.name);
        return Err(Error::invalid(format_args!("{} has no USDT probe `{provider}:{name}`", path.display()))
            .note("`readelf -n` shows those that a file has"));
    }
    Ok(places)
}
