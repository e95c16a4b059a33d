//! The events of a load, for logging.
//!
//! The executor (`execute/`) emits them; this module does not depend on it. To add an event, add a variant with its
//! text, and emit it in the step of the load.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::error::Error;
use crate::escape::Line;
use crate::sys::probe;
use crate::uapi::{MapType, ProgramType};

/// An event of a load. [`LoadOptions::set_log`](crate::LoadOptions::set_log) sets a function that is called with each
/// event.
///
/// Its `Display` is one line without a line break, in which invisible characters of names are escaped. Later versions
/// can add events and fields.
///
/// ```no_run
/// # struct Open { options: skelgen_runtime::LoadOptions }
/// # fn f(mut open: Open) -> skelgen_runtime::Result<()> {
/// use skelgen_runtime::LoadEvent;
///
/// open.options.set_log(|event| match event {
///     LoadEvent::ProgramLoaded { name, duration, .. } => println!("{name} took {duration:?}"),
///     other => println!("{other}"),
/// });
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum LoadEvent<'a> {
    /// A feature probe was run. The process caches its answer, so each feature is reported at most once.
    #[non_exhaustive]
    Probed {
        /// The feature, as words that follow "this kernel", such as "supports CO-RE relocation".
        what: &'a str,
        /// The answer.
        answer: bool,
    },
    /// The load tried to raise the process's limit on locked memory, because the kernel rejected a request (before Linux 5.11).
    MemlockRaised,
    /// The object's BTF was loaded.
    #[non_exhaustive]
    BtfLoaded {
        /// The size of the BTF in bytes.
        bytes: usize,
        /// Whether the BTF was sanitized first, because it has kinds or flags that this kernel does not support.
        is_sanitized: bool,
    },
    /// The kernel rejected the object's BTF, and the object is loaded without it.
    #[non_exhaustive]
    BtfLeftOut {
        /// The kernel's error for the BTF.
        error: &'a str,
    },
    /// Percpu data is emulated, because the kernel does not support direct access to percpu arrays.
    PercpuEmulated,
    /// A map was created.
    #[non_exhaustive]
    MapCreated {
        /// The map's name in the source.
        name: &'a str,
        /// The map's type.
        map_type: MapType,
        /// The size of the map's keys in bytes.
        key_size: u32,
        /// The size of the map's values in bytes; for percpu maps, the size of one CPU's value.
        value_size: u32,
        /// The map's maximum number of elements; for ring buffers, the size in bytes.
        max_entries: u32,
    },
    /// A map was created without an attribute that this kernel does not support for it.
    #[non_exhaustive]
    MapChanged {
        /// The map's name in the source.
        name: &'a str,
        /// The attribute that was omitted: "its name" or "its BTF types".
        what: &'a str,
    },
    /// A map that existed before the load is used.
    #[non_exhaustive]
    MapReused {
        /// The map's name in the source.
        name: &'a str,
        /// The path of the map's pin; `None` if the map was set with [`OpenMap::reuse_fd`](crate::OpenMap::reuse_fd).
        pin: Option<&'a Path>,
    },
    /// A map was pinned.
    #[non_exhaustive]
    MapPinned {
        /// The map's name in the source.
        name: &'a str,
        /// The path of the pin.
        path: &'a Path,
    },
    /// A program was changed before it was loaded, because this kernel does not support or rejected its original form.
    #[non_exhaustive]
    ProgramChanged {
        /// The program's name in the source.
        name: &'a str,
        /// The change, such as "relocated in user space".
        what: &'a str,
    },
    /// A program was loaded.
    #[non_exhaustive]
    ProgramLoaded {
        /// The program's name in the source.
        name: &'a str,
        /// The program's type.
        program_type: ProgramType,
        /// The number of the program's instructions in the request.
        instructions: usize,
        /// The duration of the load, with rejected attempts.
        duration: Duration,
    },
    /// A program is left out: it is optional and cannot be loaded, or it is the value of a struct_ops member that this
    /// kernel's struct lacks.
    #[non_exhaustive]
    ProgramLeftOut {
        /// The program's name in the source.
        name: &'a str,
        /// The reason why the program could not be loaded.
        error: &'a Error,
    },
}

impl fmt::Display for LoadEvent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Probed { what, answer } => {
                write!(f, "probe: this kernel {}: {}", Line(what), if answer { "yes" } else { "no" })
            }
            Self::MemlockRaised => f.write_str("limit on locked memory raised"),
            Self::BtfLoaded { bytes, is_sanitized } => {
                write!(f, "BTF: loaded, {bytes} bytes{}", if is_sanitized { ", sanitized" } else { "" })
            }
            Self::BtfLeftOut { error } => {
                write!(f, "BTF: left out: {}", Line(error.lines().next().unwrap_or_default()))
            }
            Self::PercpuEmulated => f.write_str("percpu data: emulated"),
            Self::MapCreated { name, map_type, key_size, value_size, max_entries } => write!(
                f,
                "map `{}`: created: {map_type}, {key_size}-byte keys, {value_size}-byte values, {max_entries} entries",
                Line(name)
            ),
            Self::MapChanged { name, what } => write!(f, "map `{}`: {what} left out", Line(name)),
            Self::MapReused { name, pin: Some(pin) } => {
                write!(f, "map `{}`: reused from {}", Line(name), Line(pin.display()))
            }
            Self::MapReused { name, pin: None } => write!(f, "map `{}`: reused", Line(name)),
            Self::MapPinned { name, path } => write!(f, "map `{}`: pinned to {}", Line(name), Line(path.display())),
            Self::ProgramChanged { name, what } => write!(f, "program `{}`: {what}", Line(name)),
            Self::ProgramLoaded { name, program_type, instructions, duration } => write!(
                f,
                "program `{}`: loaded: {program_type}, {instructions} instructions, {duration:.1?}",
                Line(name)
            ),
            Self::ProgramLeftOut { name, error } => {
                write!(f, "program `{}`: left out: {}", Line(name), error.headline())
            }
        }
    }
}

/// The function that is called with the events of a load.
#[derive(Clone)]
pub(crate) struct Log(Arc<Callback>);

type Callback = dyn Fn(&LoadEvent<'_>) + Send + Sync;

impl Log {
    pub(super) fn new(callback: impl Fn(&LoadEvent<'_>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(callback))
    }

    /// Calls the function with the feature probes that ran since the last event, then with this event.
    pub(crate) fn emit(&self, event: &LoadEvent<'_>) {
        self.probed();
        (self.0)(event);
    }

    fn probed(&self) {
        for (what, answer) in probe::take_answers() {
            (self.0)(&LoadEvent::Probed { what, answer });
        }
    }

    /// Runs a part of a load, then calls the function with the feature probes that this thread ran in it.
    pub(crate) fn during<T>(log: Option<&Self>, work: impl FnOnce() -> T) -> T {
        let Some(log) = log.cloned() else { return work() };
        let _recording = probe::Recording::start();
        let result = work();
        log.probed();
        result
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Log")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_lines() {
        let hostile = "a\nb\u{1b}[2J";
        let events = [
            LoadEvent::Probed { what: "has names", answer: false },
            LoadEvent::MapReused { name: hostile, pin: Some(Path::new(hostile)) },
            LoadEvent::MapPinned { name: hostile, path: Path::new(hostile) },
            LoadEvent::ProgramChanged { name: hostile, what: "relocated in user space" },
            LoadEvent::BtfLeftOut { error: hostile },
        ];
        for event in events {
            let text = event.to_string();
            assert!(text.chars().all(crate::escape::is_visible), "{text:?}");
        }
        assert_eq!(events[0].to_string(), "probe: this kernel has names: no");
    }
}
