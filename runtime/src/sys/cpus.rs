//! The CPUs of the running kernel: those that are possible and those that are online.
//!
//! Percpu maps have a value for each *possible* CPU, whether it is online or not. A full-width buffer (the values of all possible
//! CPUs) is indexed by the position among the possible CPUs, not by CPU number: with CPUs `0-1,4` the third value is that of CPU 4.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read as _};
use std::sync::OnceLock;

use super::probe::Probe;
use crate::error::{Errno, Error, ErrorKind, Result, Step};
use crate::sys::elem::percpu_values;

const POSSIBLE: &str = "/sys/devices/system/cpu/possible";
const ONLINE: &str = "/sys/devices/system/cpu/online";

/// An upper limit on the number of CPUs, beyond what any kernel supports. A file with larger numbers is malformed.
const MOST: u32 = 1 << 16;

/// A set of CPUs, in ascending order of their numbers.
///
/// ```no_run
/// # fn f() -> skelgen_runtime::Result<()> {
/// let cpus = skelgen_runtime::kernel::cpus::possible()?;
/// println!("{} CPUs, the last is {:?}", cpus.len(), cpus.iter().last());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuSet(Vec<u32>);

impl CpuSet {
    /// Iterates over the numbers of the CPUs, in ascending order.
    #[must_use]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = u32> + DoubleEndedIterator + Clone + '_ {
        self.0.iter().copied()
    }

    /// Returns the number of CPUs, which is also the number of values in a full-width buffer of a percpu map.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether the set is empty. The set of possible CPUs never is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the highest CPU number plus one. This exceeds [`Self::len`] if the numbers have gaps.
    #[must_use]
    pub fn width(&self) -> u32 {
        self.0.last().map_or(0, |&last| last.saturating_add(1))
    }

    /// Returns the smallest power of two above every CPU number: the number of copies of emulated percpu data.
    #[must_use]
    pub fn slots(&self) -> u32 {
        self.width().max(1).next_power_of_two()
    }

    /// Returns whether this CPU is in the set.
    #[must_use]
    pub fn contains(&self, cpu: u32) -> bool {
        self.position(cpu).is_some()
    }

    /// Returns the position of a CPU in the set: the index of its value in a full-width buffer.
    #[must_use]
    pub fn position(&self, cpu: u32) -> Option<usize> {
        self.0.binary_search(&cpu).ok()
    }

    /// Parses a list in the kernel's format: `0-3,5`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut cpus = Vec::new();
        for range in text.trim().split(',') {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let (first, last) = (first.parse::<u32>().ok()?, last.parse::<u32>().ok()?);
            let rising = cpus.last().is_none_or(|&before| before < first) && first <= last;
            if !rising || last >= MOST {
                return None;
            }
            cpus.extend(first..=last);
        }
        Some(Self(cpus))
    }
}

impl<'s> IntoIterator for &'s CpuSet {
    type Item = u32;
    type IntoIter = std::iter::Copied<std::slice::Iter<'s, u32>>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter().copied()
    }
}

/// Returns the possible CPUs of the running kernel, which are read once.
///
/// # Errors
/// If `/sys/devices/system/cpu/possible` cannot be read or is not a list of CPUs.
pub fn possible() -> Result<&'static CpuSet> {
    static POSSIBLE_CPUS: OnceLock<CpuSet> = OnceLock::new();
    if let Some(set) = POSSIBLE_CPUS.get() {
        return Ok(set);
    }
    let set = read(POSSIBLE)?;
    Ok(POSSIBLE_CPUS.get_or_init(|| set))
}

/// Returns the CPUs that are online now: the possible CPUs without those that are absent or offline.
///
/// # Errors
/// If `/sys/devices/system/cpu/online` cannot be read or is not a list of CPUs.
pub fn online() -> Result<CpuSet> {
    read(ONLINE)
}

/// Reads a text, into `short` if it is shorter.
fn text<'s>(path: &str, short: &'s mut [u8]) -> io::Result<Cow<'s, str>> {
    let mut file = File::open(path)?;
    let mut len = 0;
    while len < short.len() {
        match file.read(&mut short[len..]) {
            Ok(0) => {
                let text = std::str::from_utf8(&short[..len]);
                return text.map(Cow::Borrowed).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error));
            }
            Ok(more) => len += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let mut long = short.to_vec();
    file.read_to_end(&mut long)?;
    String::from_utf8(long).map(Cow::Owned).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

fn read(path: &str) -> Result<CpuSet> {
    // A list is short on most machines, so it is read without an allocation.
    let mut short = [0; 1024];
    let text = text(path, &mut short).map_err(|error| match error.raw_os_error() {
        Some(number) => {
            Error::refused(format_args!("cannot read {path}"), Errno::from_raw(number)).during(Step::ReadKernel)
        }
        None => Error::of(ErrorKind::Io, format_args!("cannot read {path}: {error}")).during(Step::ReadKernel),
    })?;
    CpuSet::parse(&text).ok_or_else(|| {
        Error::malformed(format_args!("{path} is not a list of CPUs: {:?}", text.trim())).during(Step::ReadKernel)
    })
}

/// The number of values in a full-width buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) cpus: usize,
    /// Whether the kernel has confirmed the number. If not, the kernel may write more values.
    pub(crate) confirmed: bool,
}

impl Count {
    /// The number of values of an element in a map that is not percpu.
    pub(crate) const ONE: Self = Self { cpus: 1, confirmed: true };
}

/// Returns the number of possible CPUs, for sizing buffers. A probe compares it once with the kernel's number, because another file can
/// be mounted over `/sys/devices/system/cpu/possible`.
///
/// # Errors
/// If the file cannot be read or does not match the kernel's number. If the process has no permission to create maps,
/// the number stays unconfirmed, which is not an error.
pub(crate) fn count() -> Result<Count> {
    static PROBE: Probe = Probe::new("has the CPUs that /sys/devices/system/cpu/possible lists");
    let cpus = possible()?.len();
    let mut found = None;
    let answer = PROBE.run(|| {
        found = percpu_values(cpus)?;
        Ok(found == Some(cpus))
    });
    match answer {
        Ok(true) => Ok(Count { cpus, confirmed: true }),
        Ok(false) => {
            let kernel = found.map_or_else(|| "a different number of".to_owned(), |found| found.to_string());
            Err(Error::malformed(format_args!(
                "{POSSIBLE} lists {cpus} CPUs, but the kernel has {kernel} values in a percpu map"
            ))
            .during(Step::ReadKernel)
            .with_help(
                "another file seems to be mounted over {POSSIBLE}: make the running kernel's file visible to this process",
            ))
        }
        Err(error) if error.errno().is_some_and(|errno| errno.raw() == libc::EPERM) => {
            Ok(Count { cpus, confirmed: false })
        }
        Err(error) => Err(error),
    }
}

/// Returns the possible CPUs, after comparing their number with the kernel's as [`count`] does.
pub(crate) fn counted() -> Result<&'static CpuSet> {
    count()?;
    possible()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists() {
        assert_eq!(CpuSet::parse("0\n"), Some(CpuSet(vec![0])));
        assert_eq!(CpuSet::parse("0-3,5"), Some(CpuSet(vec![0, 1, 2, 3, 5])));
        for bad in ["", "a", "0-", "3-0", "0,0", "1,0", "0-99999999", "-1", "0,,1"] {
            assert_eq!(CpuSet::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn gaps() {
        let set = CpuSet::parse("0-1,4").unwrap();
        assert_eq!((set.len(), set.width(), set.slots(), set.position(4), set.position(2)), (3, 5, 8, Some(2), None));
    }

    #[test]
    fn this_machine() {
        let set = possible().unwrap();
        assert!(set.contains(0) && !set.is_empty());
        let online = online().unwrap();
        assert!(!online.is_empty() && online.iter().all(|cpu| set.contains(cpu)));
    }
}
