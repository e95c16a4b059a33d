//! Events of the kernel's event sources (PMUs) by name, as sysfs describes them.
//!
//! `/sys/bus/event_source/devices/SOURCE` has the number of the source (`type`), the bits of each term in the configuration of an event
//! (`format/TERM`: `config:0-7,32-35`), and events with a name (`events/NAME`: `event=0x3c,umask=0x1`). This module does not open events.

use std::path::{Path, PathBuf};

use super::pmu::DEVICES;
use crate::error::{Error, Result, Step, Subject};
use crate::sys::cpus::CpuSet;

/// An event of a source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct SourceEvent {
    /// The number of the source, which is the type of its events.
    pub(super) event_type: u32,
    /// `config`, `config1` and so on.
    pub(super) config: [u64; 5],
    /// The CPU on which to open the event, for a source that counts for several CPUs.
    pub(super) cpu: Option<u32>,
}

/// The terms that set a whole 64-bit word of the configuration.
const WORDS: [&str; 5] = ["config", "config1", "config2", "config3", "config4"];

/// Reads the event of a source: a name in `events/`, or terms with values (`event=0xc0,umask=1`), separated by commas.
pub(super) fn find(source: &str, event: &str) -> Result<SourceEvent> {
    find_in(Path::new(DEVICES), source, event)
}

fn find_in(devices: &Path, source: &str, event: &str) -> Result<SourceEvent> {
    let source = Source { name: source, directory: devices.join(source) };
    if !is_file_name(source.name) {
        return Err(source.invalid("an event source name cannot be empty, `.` or `..`, or contain `/` or NUL"));
    }
    let mut found = SourceEvent { event_type: source.number()?, config: [0; 5], cpu: None };
    found.cpu = source.cpus()?.and_then(|cpus| cpus.iter().next());
    source.apply(event, &mut found.config, true)?;
    Ok(found)
}

/// Reads the CPUs on which to open the events of the source with this number. For a source that only some CPUs have,
/// these are the CPUs that have it; for a source that groups of CPUs share, one CPU of each group. Returns `None` if
/// the source has no list of CPUs, or sysfs is not readable.
pub(super) fn cpus(event_type: u32) -> Result<Option<CpuSet>> {
    cpus_in(Path::new(DEVICES), event_type)
}

fn cpus_in(devices: &Path, event_type: u32) -> Result<Option<CpuSet>> {
    let sources = std::fs::read_dir(devices).into_iter().flatten().flatten();
    for directory in sources.map(|source| source.path()) {
        let number = std::fs::read_to_string(directory.join("type")).ok().and_then(|text| text.trim().parse().ok());
        if number == Some(event_type) {
            let name = directory.file_name().unwrap_or_default().to_string_lossy();
            return Source { name: &name, directory: directory.clone() }.cpus();
        }
    }
    Ok(None)
}

/// An event source.
struct Source<'a> {
    name: &'a str,
    directory: PathBuf,
}

impl Source<'_> {
    /// Reads the number of the source.
    fn number(&self) -> Result<u32> {
        let path = self.directory.join("type");
        let text = std::fs::read_to_string(&path).map_err(|error| {
            let missing = error.kind() == std::io::ErrorKind::NotFound;
            let context = format!("cannot find event source `{}`", self.name);
            let reported = Error::io(context, &error).during(Step::ReadKernel).about(Subject::Path(&path));
            match self.directory.parent().map(names).unwrap_or_default() {
                list if missing && !list.is_empty() => reported.note(format_args!("this system has {list}")),
                _ if missing => reported.note("sysfs is not mounted, or the kernel is built without perf events"),
                _ => reported,
            }
        })?;
        text.trim().parse().map_err(|_| malformed(&path))
    }

    /// Reads the source's list of CPUs: `cpumask` (one CPU of each group that shares the source) or `cpus` (the CPUs
    /// that have the source).
    fn cpus(&self) -> Result<Option<CpuSet>> {
        for file in ["cpumask", "cpus"] {
            let path = self.directory.join(file);
            match std::fs::read_to_string(&path) {
                Ok(text) => return CpuSet::parse(&text).map(Some).ok_or_else(|| malformed(&path)),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => {
                    return Err(Error::io(format_args!("cannot read {}", path.display()), &error)
                        .during(Step::ReadKernel)
                        .about(Subject::Path(&path)));
                }
            }
        }
        Ok(None)
    }

    /// Sets the terms of an event. `accepts_names` is whether terms can be names of events. An event in sysfs cannot
    /// contain other events.
    fn apply(&self, event: &str, config: &mut [u64; 5], accepts_names: bool) -> Result<()> {
        for term in event.trim().split(',') {
            let (name, value) = term.split_once('=').map_or((term, None), |(name, value)| (name, Some(value)));
            let (name, value) = (name.trim(), value.map(str::trim));
            if !is_file_name(name) {
                return Err(self.invalid(format_args!("term {term:?} is neither a name nor `NAME=VALUE`")));
            }
            if value.is_none() && accepts_names {
                if let Some(terms) = self.read("events", name)? {
                    self.apply(&terms, config, false)?;
                    continue;
                }
            }
            let number = match value {
                // A term without a value is 1, as in perf.
                None => 1,
                Some("?") => {
                    return Err(self.invalid(format_args!(
                        "event `{event}` requires a value for `{name}`: append `,{name}=VALUE`"
                    )));
                }
                Some(text) => number(text).ok_or_else(|| {
                    self.invalid(format_args!("{text:?} is not a 64-bit decimal or hexadecimal number"))
                })?,
            };
            self.set(name, number, config)?;
        }
        Ok(())
    }

    /// Sets one term.
    fn set(&self, term: &str, value: u64, config: &mut [u64; 5]) -> Result<()> {
        let Some(format) = self.read("format", term)? else {
            let word = WORDS.iter().position(|word| *word == term).and_then(|index| config.get_mut(index));
            let Some(word) = word else {
                let error = Error::not_found(format_args!(
                    "event source `{}` has neither an event nor a term `{term}`",
                    self.name
                ));
                let list = |file: &str| names(&self.directory.join(file));
                let error = error.during(Step::ReadKernel).about(Subject::Path(&self.directory));
                return Err(match (list("events"), list("format")) {
                    (events, terms) if events.is_empty() && terms.is_empty() => error,
                    (events, terms) if events.is_empty() => {
                        error.note(format_args!("the terms of the source are {terms}"))
                    }
                    (events, terms) => {
                        error.note(format_args!("the events of the source are {events}; its terms are {terms}"))
                    }
                });
            };
            *word = value;
            return Ok(());
        };
        let bits = Bits::parse(&format).ok_or_else(|| malformed(&self.directory.join("format").join(term)))?;
        let word = config.get_mut(bits.word).ok_or_else(|| malformed(&self.directory.join("format").join(term)))?;
        match bits.set(*word, value) {
            Some(result) => *word = result,
            None => {
                let width = bits.ranges.iter().map(|(low, high)| high - low + 1).sum::<u32>();
                return Err(self.invalid(format_args!("value {value:#x} of `{term}` has more than {width} bits")));
            }
        }
        Ok(())
    }

    /// Reads a file of the source; `None` if it does not exist.
    fn read(&self, directory: &str, name: &str) -> Result<Option<String>> {
        let path = self.directory.join(directory).join(name);
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io(format_args!("cannot read {}", path.display()), &error)
                .during(Step::ReadKernel)
                .about(Subject::Path(&path))),
        }
    }

    fn invalid(&self, what: impl std::fmt::Display) -> Error {
        Error::invalid(format_args!("invalid perf event of event source {:?}: {what}", self.name))
    }
}

/// The bits of a term in the configuration.
#[derive(Debug, PartialEq, Eq)]
struct Bits {
    /// The index of the word.
    word: usize,
    /// The first and the last bit of each range. The first range has the lowest bits of the value.
    ranges: Vec<(u32, u32)>,
}

impl Bits {
    /// Parses `config1:0-7,32`.
    fn parse(text: &str) -> Option<Self> {
        let (word, ranges) = text.trim().split_once(':')?;
        let word = WORDS.iter().position(|known| *known == word)?;
        let range = |range: &str| {
            let (low, high) = range.split_once('-').unwrap_or((range, range));
            let (low, high): (u32, u32) = (low.parse().ok()?, high.parse().ok()?);
            (low <= high && high < u64::BITS).then_some((low, high))
        };
        Some(Self { word, ranges: ranges.split(',').map(range).collect::<Option<_>>()? })
    }

    /// Returns the word with the term set to this value; `None` if the value has too many bits.
    fn set(&self, mut word: u64, value: u64) -> Option<u64> {
        let mut rest = Some(value);
        for (low, high) in &self.ranges {
            let width = high - low + 1;
            let mask = u64::MAX >> (u64::BITS - width);
            let part = rest.unwrap_or(0) & mask;
            word = word & !(mask << low) | part << low;
            rest = rest.and_then(|rest| rest.checked_shr(width));
        }
        (rest.unwrap_or(0) == 0).then_some(word)
    }
}

/// Parses a number, decimal or hexadecimal.
fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) if !digits.starts_with('+') => u64::from_str_radix(digits, 16).ok(),
        Some(_) => None,
        None => text.parse().ok(),
    }
}

/// Returns whether a name is one path component, so that it cannot lead out of its directory.
fn is_file_name(name: &str) -> bool {
    !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\0'])
}

/// Returns some names in a directory, sorted.
fn names(directory: &Path) -> String {
    const MOST: usize = 12;
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    let others = names.len().saturating_sub(MOST);
    names.truncate(MOST);
    let list = names.join("`, `");
    match (names.is_empty(), others) {
        (true, _) => String::new(),
        (false, 0) => format!("`{list}`"),
        (false, _) => format!("`{list}` and {others} others"),
    }
}

fn malformed(path: &Path) -> Error {
    Error::malformed(format_args!("cannot parse {}", path.display()))
        .during(Step::ReadKernel)
        .about(Subject::Path(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    /// A directory with event sources, removed with the test.
    struct Devices(PathBuf);

    impl Devices {
        fn new(files: &[(&str, &str)]) -> Self {
            use std::sync::atomic::{AtomicU32, Ordering};
            static COUNT: AtomicU32 = AtomicU32::new(0);
            let number = COUNT.fetch_add(1, Ordering::Relaxed);
            let path = std::env::temp_dir().join(format!("skelgen-events-{}-{number}", std::process::id()));
            for (file, text) in files {
                let file = path.join(file);
                std::fs::create_dir_all(file.parent().unwrap()).unwrap();
                std::fs::write(file, text).unwrap();
            }
            Self(path)
        }

        fn config(&self, source: &str, event: &str) -> Result<[u64; 5]> {
            find_in(&self.0, source, event).map(|found| found.config)
        }
    }

    impl Drop for Devices {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn cpu() -> Devices {
        Devices::new(&[
            ("cpu/type", "4\n"),
            ("cpu/format/event", "config:0-7,32-35\n"),
            ("cpu/format/umask", "config:8-15\n"),
            ("cpu/format/inv", "config:23\n"),
            ("cpu/format/ldlat", "config1:0-15\n"),
            ("cpu/format/far", "config4:0-63\n"),
            ("cpu/format/broken", "config:7-0\n"),
            ("cpu/events/cycles", "event=0x3c\n"),
            ("cpu/events/loads", "event=0xcd,umask=0x1,ldlat=3\n"),
            ("cpu/events/cores", "event=0x1,umask=?\n"),
            ("cpu/events/cyclic", "cyclic\n"),
            ("uncore/type", "17\n"),
            ("uncore/cpumask", "2,18\n"),
            ("odd/type", "many\n"),
            ("odd-cpus/type", "1\n"),
            ("odd-cpus/cpus", "\n"),
        ])
    }

    #[test]
    fn events_by_name_and_by_terms() {
        let devices = cpu();
        let found = find_in(&devices.0, "cpu", "loads").unwrap();
        assert_eq!(found, SourceEvent { event_type: 4, config: [0x1cd, 3, 0, 0, 0], cpu: None });
        for (event, config) in [
            ("cycles", [0x3c, 0]),
            ("event=0xabc", [0xa_0000_00bc, 0]),
            ("event=60,umask=1,inv", [0x80_013c, 0]),
            ("loads,ldlat=0x1f", [0x1cd, 0x1f]),
            ("loads,umask=2", [0x2cd, 3]),
            (" event = 1 , umask = 2 ", [0x201, 0]),
            ("config=0xffff,umask=0", [0xff, 0]),
            ("config1=18446744073709551615", [0, u64::MAX]),
        ] {
            let [first, second, ..] = devices.config("cpu", event).unwrap();
            assert_eq!([first, second], config, "{event}");
        }
        assert_eq!(devices.config("cpu", "far=0xffffffffffffffff").unwrap()[4], u64::MAX);
        let uncore = find_in(&devices.0, "uncore", "config=1").unwrap();
        assert_eq!((uncore.event_type, uncore.cpu), (17, Some(2)));
        let cpus = |number| cpus_in(&devices.0, number).unwrap().map(|cpus| cpus.iter().collect::<Vec<_>>());
        assert_eq!((cpus(17), cpus(4), cpus(99)), (Some(vec![2, 18]), None, None));
        assert_eq!(cpus_in(&devices.0, 1).unwrap_err().kind(), ErrorKind::Malformed);
        assert_eq!(cpus_in(&devices.0.join("missing"), 4).unwrap(), None);
    }

    #[test]
    fn other_texts_are_errors() {
        let devices = cpu();
        let kind = |source: &str, event: &str| devices.config(source, event).unwrap_err().kind();
        for event in [
            "",
            ",",
            "event=",
            "event=0x",
            "event=-1",
            "event=0x+1",
            "event=0x1000",
            "umask=256",
            "inv=2",
            "../type",
            "..=1",
            "event=18446744073709551616",
            "a/b=1",
            "a\0b",
            "cores",
        ] {
            assert_eq!(kind("cpu", event), ErrorKind::InvalidInput, "{event:?}");
        }
        for source in ["", ".", "..", "cpu/format", "/", "a\0b"] {
            assert_eq!(kind(source, "cycles"), ErrorKind::InvalidInput, "{source:?}");
        }
        for (source, event) in
            [("nobody", "cycles"), ("cpu", "nobody"), ("cpu", "nobody=1"), ("cpu", "cyclic"), ("uncore", "x")]
        {
            assert_eq!(kind(source, event), ErrorKind::NotFound, "{source} {event}");
        }
        for (source, event) in [("odd", "config=1"), ("odd-cpus", "config=1"), ("cpu", "broken=1")] {
            assert_eq!(kind(source, event), ErrorKind::Malformed, "{source} {event}");
        }
        let text = devices.config("nobody", "x").unwrap_err().to_string();
        assert!(text.contains("this system has `cpu`, `odd`, `odd-cpus`, `uncore`"), "{text}");
        let text = devices.config("cpu", "nobody").unwrap_err().to_string();
        assert!(
            text.contains("events of the source are `cores`, `cycles`") && text.contains("its terms are `broken`"),
            "{text}"
        );
        assert!(devices.config("cpu", "cores").unwrap_err().to_string().contains("append `,umask=VALUE`"));
    }

    #[test]
    fn bits_of_terms() {
        let bits = |text: &str| Bits::parse(text);
        assert_eq!(bits("config2:0-3,5\n"), Some(Bits { word: 2, ranges: vec![(0, 3), (5, 5)] }));
        for text in
            ["", "config", "config:", "config5:0", "config:64", "config:0-64", "config:1-0", "config:a", "config:0,"]
        {
            assert_eq!(bits(text), None, "{text}");
        }
        let all = bits("config:0-63").unwrap();
        assert_eq!([all.set(7, u64::MAX), all.set(7, 0)], [Some(u64::MAX), Some(0)]);
        let split = bits("config:60-63,0").unwrap();
        assert_eq!(
            [split.set(0, 0x1f), split.set(0xff, 0x10), split.set(0, 0x20)],
            [Some(0xf << 60 | 1), Some(0xff), None]
        );
    }
}
