//! The specifications of USDT probes that the programs of an object share, and who uses which.
//!
//! The map `__bpf_usdt_specs` of libbpf's `usdt.bpf.h` is an array of them. A program finds the number of the one for where it runs by
//! its attach cookie or, on kernels without (before 5.15), by its address in the hash map `__bpf_usdt_ip_to_spec_id`. What an attachment
//! takes of both is a [`Taken`], which its [`Link`](crate::Link) holds and which gives it back when it is dropped. A link that outlives its
//! value (pinned, leaked, made into a file descriptor) keeps what it has taken: its programs still read it. Must not know how the places of
//! a probe are found, nor how arguments are encoded.

use std::collections::BTreeMap;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::{Error, Result};
use crate::sys;
use crate::uapi::elem_flags;

/// The name of the map of specifications.
pub(crate) const SPECS: &str = "__bpf_usdt_specs";
/// The name of the map from addresses to their numbers.
pub(crate) const IPS: &str = "__bpf_usdt_ip_to_spec_id";

/// How a program finds the number of its specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// The attach cookie is the number.
    Cookie,
    /// The map of addresses has it.
    Address,
}

/// The maps that the programs of an object share, and what is in them.
#[derive(Debug)]
pub(crate) struct Specs {
    map: OwnedFd,
    ips: Option<OwnedFd>,
    by: By,
    used: Mutex<Used>,
}

/// What attachments use.
#[derive(Debug, Default)]
struct Used {
    /// By number: the bytes of a specification, and how many attachments use it.
    specs: Vec<Option<(Vec<u8>, usize)>>,
    /// By address: the number it stands for, and how many attachments use it.
    ips: BTreeMap<u64, (u32, usize)>,
}

impl Specs {
    /// `has_cookies` is what the programs read in `LINUX_HAS_BPF_COOKIE`; programs that do not read it rely on cookies.
    pub(crate) fn new(map: OwnedFd, ips: Option<OwnedFd>, has_cookies: Option<bool>) -> Arc<Self> {
        let by = if has_cookies == Some(false) { By::Address } else { By::Cookie };
        Arc::new(Self { map, ips, by, used: Mutex::default() })
    }

    /// How programs find their specification.
    pub(super) fn by(&self) -> By {
        self.by
    }

    /// How many bytes a specification has, and how many there can be.
    pub(super) fn size(&self) -> Result<(usize, u32)> {
        let info = sys::map::info(self.map.as_fd()).map_err(|errno| Error::refused(writing(SPECS), errno))?;
        Ok((usize::try_from(info.value_size).unwrap_or(0), info.max_entries))
    }

    /// Puts specifications into the map, each beside the addresses that programs find it by; those that are there already are shared.
    pub(super) fn take(self: &Arc<Self>, wanted: Vec<(Vec<u8>, Vec<u64>)>) -> Result<Taken> {
        let mut taken =
            Taken { of: Arc::clone(self), numbers: Vec::new(), ips: Vec::new(), keep: AtomicBool::new(false) };
        let (_, most) = self.size()?;
        for (bytes, ips) in wanted {
            let number = self.take_spec(bytes, most)?;
            taken.numbers.push(number);
            for ip in ips {
                self.take_ip(ip, number)?;
                taken.ips.push(ip);
            }
        }
        Ok(taken)
    }

    fn take_spec(&self, bytes: Vec<u8>, most: u32) -> Result<u32> {
        let mut used = self.used();
        let is = |spec: &Option<(Vec<u8>, usize)>| spec.as_ref().is_some_and(|(other, _)| *other == bytes);
        let there = used.specs.iter().position(is);
        let place = there.or_else(|| used.specs.iter().position(Option::is_none)).unwrap_or(used.specs.len());
        let number = u32::try_from(place).unwrap_or(u32::MAX);
        if let Some((_, links)) = used.specs.get_mut(place).and_then(Option::as_mut) {
            *links += 1;
            return Ok(number);
        }
        if number >= most {
            return Err(Error::invalid(format_args!("map `{SPECS}` is full: {most} specifications are attached")).note(
                "detach some, define BPF_USDT_MAX_SPEC_CNT before usdt.bpf.h is included, or `set_max_entries` before loading",
            ));
        }
        update(&self.map, SPECS, &number.to_ne_bytes(), &bytes, elem_flags::ANY)?;
        let spec = Some((bytes, 1));
        match used.specs.get_mut(place) {
            Some(free) => *free = spec,
            None => used.specs.push(spec),
        }
        Ok(number)
    }

    fn take_ip(&self, ip: u64, number: u32) -> Result<()> {
        let mut used = self.used();
        if let Some((other, links)) = used.ips.get_mut(&ip) {
            if *other != number {
                return Err(Error::invalid(format_args!(
                    "the instruction at {ip:#x} has a USDT program with other arguments or another cookie"
                ))
                .note("kernels without attach cookies (before 5.15) tell programs apart by the instruction alone"));
            }
            *links += 1;
            return Ok(());
        }
        let map = self.ips.as_ref().ok_or_else(no_ips)?;
        let key = key(map, ip)?;
        update(map, IPS, &key, &number.to_ne_bytes(), elem_flags::ANY).map_err(|error| {
            match error.errno().map(crate::Errno::raw) {
                Some(libc::E2BIG | libc::ENOSPC) => error.note(
                    "it is full: define BPF_USDT_MAX_IP_CNT before usdt.bpf.h is included, or `set_max_entries` before loading",
                ),
                _ => error,
            }
        })?;
        used.ips.insert(ip, (number, 1));
        Ok(())
    }

    fn used(&self) -> MutexGuard<'_, Used> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an attachment has taken of the maps, until it is dropped.
#[derive(Debug)]
pub(super) struct Taken {
    of: Arc<Specs>,
    /// A number for each place, in their order.
    pub(super) numbers: Vec<u32>,
    ips: Vec<u64>,
    keep: AtomicBool,
}

impl Taken {
    /// Gives nothing back: the attachment outlives this value.
    pub(super) fn keep(&self) {
        self.keep.store(true, Ordering::Relaxed);
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if self.keep.load(Ordering::Relaxed) {
            return;
        }
        let mut used = self.of.used();
        for ip in &self.ips {
            let Some((_, links)) = used.ips.get_mut(ip) else { continue };
            *links -= 1;
            if *links == 0 {
                used.ips.remove(ip);
                // An element that could not be removed is overwritten by the next attachment to its address.
                let _ = self.of.ips.as_ref().map(|map| remove(map, *ip));
            }
        }
        for number in &self.numbers {
            let place = usize::try_from(*number).ok().and_then(|place| used.specs.get_mut(place)?.as_mut());
            if let Some((_, links)) = place {
                *links -= 1;
            }
        }
        for spec in &mut used.specs {
            // What the map holds at a free number is read by nobody.
            if spec.as_ref().is_some_and(|(_, links)| *links == 0) {
                *spec = None;
            }
        }
        while used.specs.last().is_some_and(Option::is_none) {
            used.specs.pop();
        }
    }
}

/// The error of an object whose programs have to find their specification by address, and cannot.
pub(super) fn no_ips() -> Error {
    Error::invalid(format_args!("the kernel has no attach cookies, and the object has no map `{IPS}` to do without")).note(
        "attach cookies need Linux 5.15; libbpf's <bpf/usdt.bpf.h> has the map, unless `set_autocreate(false)` leaves it out",
    )
}

fn writing(map: &str) -> String {
    format!("writing to map `{map}`")
}

fn update(fd: &OwnedFd, name: &str, key: &[u8], value: &[u8], flags: u64) -> Result<()> {
    let fd = fd.try_clone().map_err(|error| Error::io(writing(name), &error))?;
    let refused = |errno| Error::refused(writing(name), errno);
    let map = sys::elem::Map::new(fd).map_err(|error| error.within(writing(name)))?;
    if map.key_len() != key.len() || map.value_len() != value.len() {
        return Err(Error::invalid(format_args!("map `{name}` does not have the layout of libbpf's usdt.bpf.h")));
    }
    map.update(key, value, flags).map_err(refused)
}

fn remove(map: &OwnedFd, ip: u64) -> Result<()> {
    let key = key(map, ip)?;
    let fd = map.try_clone().map_err(|error| Error::io(writing(IPS), &error))?;
    let map = sys::elem::Map::new(fd).map_err(|error| error.within(writing(IPS)))?;
    map.delete(&key).map_err(|errno| Error::refused(writing(IPS), errno))
}

/// An address as the map has it, a `long`.
fn key(map: &OwnedFd, ip: u64) -> Result<Vec<u8>> {
    let info = sys::map::info(map.as_fd()).map_err(|errno| Error::refused(writing(IPS), errno))?;
    match (info.key_size, u32::try_from(ip)) {
        (8, _) => Ok(ip.to_ne_bytes().to_vec()),
        (4, Ok(ip)) => Ok(ip.to_ne_bytes().to_vec()),
        _ => Err(Error::invalid(format_args!("map `{IPS}` does not have the layout of libbpf's usdt.bpf.h"))),
    }
}
