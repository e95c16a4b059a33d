//! The USDT specifications that the programs of an object share, and their use by attachments.
//!
//! The map `__bpf_usdt_specs` of libbpf's `usdt.bpf.h` is an array of specifications. A program finds the index of its specification by its
//! attach cookie or, on kernels without cookies (before 5.15), by the instruction's address in the hash map `__bpf_usdt_ip_to_spec_id`. A
//! [`Taken`] owns the entries that an attachment uses in both maps, and frees them when it is dropped with the attachment's
//! [`Link`](crate::Link). If the attachment outlives the `Link` (pinned, leaked, converted to a file descriptor), the entries stay in use,
//! because the program still reads them. Other modules find the locations of a probe and encode its arguments.

use std::collections::BTreeMap;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::abi::Map;
use crate::error::{Error, ErrorKind, LinuxVersion, Result, Step};
use crate::sys;
use crate::uapi::elem_flags;

/// The name of the map of specifications.
pub(crate) const SPECS: &str = Map::USDT_SPECS;
/// The name of the map from addresses to indices of specifications.
pub(crate) const IPS: &str = "__bpf_usdt_ip_to_spec_id";

/// How a program finds the index of its specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// By the attach cookie, which is the index.
    Cookie,
    /// By the instruction's address, in the map of addresses.
    Address,
}

/// The maps that the programs of an object share, and their entries in use.
#[derive(Debug)]
pub(crate) struct Specs {
    map: OwnedFd,
    ips: Option<OwnedFd>,
    by: By,
    used: Mutex<Used>,
}

/// The entries that attachments use.
#[derive(Debug, Default)]
struct Used {
    /// For each index, the bytes of the specification, and the number of attachments that use it.
    specs: Vec<Option<(Vec<u8>, usize)>>,
    /// For each address, the index of its specification, and the number of attachments that use it.
    ips: BTreeMap<u64, (u32, usize)>,
}

impl Specs {
    /// Wraps the maps. `has_cookies` is the value that the programs read in `LINUX_HAS_BPF_COOKIE`; programs that do not read it rely on
    /// cookies.
    pub(crate) fn new(map: OwnedFd, ips: Option<OwnedFd>, has_cookies: Option<bool>) -> Arc<Self> {
        let by = if has_cookies == Some(false) { By::Address } else { By::Cookie };
        Arc::new(Self { map, ips, by, used: Mutex::default() })
    }

    /// Returns how programs find their specification.
    pub(super) fn by(&self) -> By {
        self.by
    }

    /// Returns the size of a specification in bytes, and the maximum number of specifications.
    pub(super) fn size(&self) -> Result<(usize, u32)> {
        let info = sys::map::info(self.map.as_fd())
            .map_err(|errno| Error::refused(writing(SPECS), errno).during(Step::Attach))?;
        Ok((usize::try_from(info.value_size).unwrap_or(0), info.max_entries))
    }

    /// Adds specifications to the map, each with the addresses of its programs. Equal specifications are shared.
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
            return Err(Error::of(ErrorKind::LimitReached, format_args!("map `{SPECS}` is full: {most} specifications are in use")).during(Step::Attach).with_help(
                "detach programs, define a larger BPF_USDT_MAX_SPEC_CNT before including usdt.bpf.h, or call `set_max_entries` before the load",
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
                return Err(Error::of(
                    ErrorKind::Busy,
                    format_args!(
                        "the instruction at {ip:#x} already has a USDT program with different arguments or a different cookie"
                    ),
                )
                .during(Step::Attach)
                .needs(LinuxVersion::new(5, 15))
                .with_kind(ErrorKind::Busy)
                .note("without attach cookies (before Linux 5.15), a program can find its specification only by the instruction's address"));
            }
            *links += 1;
            return Ok(());
        }
        let map = self.ips.as_ref().ok_or_else(no_ips)?;
        let key = key(map, ip)?;
        update(map, IPS, &key, &number.to_ne_bytes(), elem_flags::ANY).map_err(|error| {
            match error.errno().map(crate::Errno::raw) {
                Some(libc::E2BIG | libc::ENOSPC) => error.note(
                    "the map is full: define a larger BPF_USDT_MAX_IP_CNT before including usdt.bpf.h, or call `set_max_entries` before the load",
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

/// The entries of the maps that an attachment uses, until it is dropped.
#[derive(Debug)]
pub(super) struct Taken {
    of: Arc<Specs>,
    /// For each location, in order, the index of its specification.
    pub(super) numbers: Vec<u32>,
    ips: Vec<u64>,
    keep: AtomicBool,
}

impl Taken {
    /// Keeps the entries: the attachment outlives this value.
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
                // An element that cannot be removed is overwritten by the next attachment to its address.
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
            // No program reads an unused specification, so the map keeps its bytes.
            if spec.as_ref().is_some_and(|(_, links)| *links == 0) {
                *spec = None;
            }
        }
        while used.specs.last().is_some_and(Option::is_none) {
            used.specs.pop();
        }
    }
}

/// Returns the error for an object whose programs must find their specification by address, but which has no map of
/// addresses.
pub(super) fn no_ips() -> Error {
    Error::unsupported(format_args!("the kernel has no attach cookies, and the object has no map `{IPS}` to find specifications by address")).needs(LinuxVersion::new(5, 15)).with_help(
        "use Linux 5.15 or later, or add the map: libbpf's <bpf/usdt.bpf.h> defines it; if the object has it, do not call `set_autocreate(false)` on it",
    )
}

fn writing(map: &str) -> String {
    format!("cannot write to map `{map}`")
}

fn update(fd: &OwnedFd, name: &str, key: &[u8], value: &[u8], flags: u64) -> Result<()> {
    let fd = fd.try_clone().map_err(|error| Error::io(writing(name), &error).during(Step::Attach))?;
    let refused = |errno| Error::refused(writing(name), errno).during(Step::Attach);
    let map = sys::elem::Map::new(fd).map_err(|error| error.within(writing(name)))?;
    if map.key_len() != key.len() || map.value_len() != value.len() {
        return Err(Error::mismatch(format_args!("map `{name}` does not have the layout of libbpf's usdt.bpf.h"))
            .during(Step::Attach));
    }
    map.update(key, value, flags).map_err(refused)
}

fn remove(map: &OwnedFd, ip: u64) -> Result<()> {
    let key = key(map, ip)?;
    let fd = map.try_clone().map_err(|error| Error::io(writing(IPS), &error).during(Step::Attach))?;
    let map = sys::elem::Map::new(fd).map_err(|error| error.within(writing(IPS)))?;
    map.delete(&key).map_err(|errno| Error::refused(writing(IPS), errno).during(Step::Attach))
}

/// Returns an address as a key of the map, which is a `long`.
fn key(map: &OwnedFd, ip: u64) -> Result<Vec<u8>> {
    let info = sys::map::info(map.as_fd()).map_err(|errno| Error::refused(writing(IPS), errno).during(Step::Attach))?;
    match (info.key_size, u32::try_from(ip)) {
        (8, _) => Ok(ip.to_ne_bytes().to_vec()),
        (4, Ok(ip)) => Ok(ip.to_ne_bytes().to_vec()),
        _ => Err(Error::mismatch(format_args!("map `{IPS}` does not have the layout of libbpf's usdt.bpf.h"))
            .during(Step::Attach)),
    }
}
