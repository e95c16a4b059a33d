//! `skelgen load`: loads and attaches an object, and shows its variables and records.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use skelgen_abi::escape::Line;
use skelgen_abi::plan::Attach;
use skelgen_abi::uapi::{MapType, map_flags};
use skelgen_runtime::generated::{Loaded, Loading, PinSet};
use skelgen_runtime::link::StructOps;
use skelgen_runtime::map::{RingBuf, Untyped};
use skelgen_runtime::{Link, LoadOptions};

use super::Execute;
use crate::cli::input::Input;
use crate::cli::live::{Live, Types};
use crate::cli::screen::Screen;
use crate::cli::trusted::trusted;
use crate::error::{Error, Result};
use crate::generate;
use crate::model::BpfObject;
use crate::options::args::{FormArgs, record};
use crate::skeleton::{Missing, types_named};

/// The interval at which ring buffers are read.
const TICK: Duration = Duration::from_millis(100);

/// Load and attach an object into the running kernel, and show its variables and records until Ctrl-C
///
/// Programs that need an attach target, such as a network interface, are only loaded, and so are struct_ops maps of
/// section `.struct_ops`, which would stay registered if this process were killed. Variables are printed at the end and
/// each second, those of percpu sections for each CPU; records of ring buffers as they arrive, in hexadecimal unless
/// the map states their type. Needs the privileges to load the programs. The exit status is 4 if the kernel rejects the
/// object.
#[derive(Args)]
#[command(after_long_help = include_str!("../transcripts/load.txt"))]
pub(in crate::cli) struct Load {
    #[command(flatten)]
    input: Input,
    #[command(flatten)]
    form: FormArgs,
    /// End after this time; with 0, print the variables once and end
    #[arg(long = "for", value_name = "SECONDS", value_parser = seconds)]
    time: Option<Duration>,
    /// Type of the records in a ring buffer, named as in C (`event`, `struct event`). Can be repeated
    #[arg(long = "record", value_name = "MAP=TYPE", value_parser = record)]
    records: Vec<(String, String)>,
    /// Load only, without attaching
    #[arg(long)]
    no_attach: bool,
    /// Pin maps, programs and links in this directory of a bpffs, so that they stay after the end. Arenas and struct_ops
    /// maps are not pinned
    #[arg(long, value_name = "DIR")]
    pin: Option<PathBuf>,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let number = text.parse::<f64>().map_err(|error| error.to_string())?;
    Duration::try_from_secs_f64(number).map_err(|error| error.to_string())
}

/// Why `skelgen load` failed.
enum Failed {
    /// The kernel rejected a request of the load.
    Rejected(skelgen_runtime::Error),
    /// Anything else.
    Other(Error),
}

impl From<skelgen_runtime::Error> for Failed {
    fn from(error: skelgen_runtime::Error) -> Self {
        Self::Rejected(error)
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

impl Execute for Load {
    fn execute(self, screen: &mut Screen) -> Result<()> {
        let Self { input, form, time, records, no_attach, pin } = self;
        input.with(|mut source| {
            form.put_into(&mut source.options);
            let object = generate::inspect(&source.bytes, &source.options)?;
            let maps: Vec<&str> = records.iter().map(|(map, _)| &map[..]).collect();
            Missing::find(&object, &maps, &[], &records).check()?;
            let plan = generate::plan(&source.bytes, &source.options)?;
            let loaded = Loading::new(trusted(plan), LoadOptions::new()).load();
            let run = loaded.map_err(Failed::from).and_then(|loaded| {
                Session::new(&object, loaded, &records, !no_attach, pin.as_deref(), screen)?.watch(time, screen)
            });
            match run {
                Ok(()) => Ok(()),
                Err(Failed::Rejected(error)) => {
                    screen.rejected(&error);
                    Ok(())
                }
                Err(Failed::Other(error)) => Err(error),
            }
        })
    }
}

/// The pins of a load. Dropping this value removes them, unless they were kept.
struct Pins<'a> {
    directory: Option<&'a Path>,
    set: PinSet,
}

impl<'a> Pins<'a> {
    fn new(directory: Option<&'a Path>) -> skelgen_runtime::Result<Self> {
        let mut set = PinSet::default();
        directory.map_or(Ok(()), |directory| set.directory(directory))?;
        Ok(Self { directory, set })
    }

    /// Pins a map, program or link in the directory, under its name in the object followed by `end`. A bpffs does not
    /// allow dots in names, and a name must not lead to a different directory, so all characters except letters, digits
    /// and hyphens become `_`.
    fn add(
        &mut self,
        name: &str,
        end: &str,
        pin: impl FnOnce(&Path) -> skelgen_runtime::Result<()>,
    ) -> skelgen_runtime::Result<()> {
        let Some(directory) = self.directory else { return Ok(()) };
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
        let name = name.trim_start_matches('.').replace(|c| !is_plain(c), "_");
        let path = directory.join(format!("{name}{end}"));
        pin(&path)?;
        self.set.add(path);
        Ok(())
    }
}

/// A loaded object and its links.
struct Session<'a> {
    types: Types<'a>,
    maps: Vec<Live<'a>>,
    /// Dropping the links detaches the programs.
    _links: Vec<Link>,
}

impl<'a> Session<'a> {
    fn new(
        object: &'a BpfObject,
        mut loaded: Loaded,
        records: &[(String, String)],
        attach: bool,
        pin: Option<&Path>,
        screen: &mut Screen,
    ) -> Result<Self, Failed> {
        let mut pins = Pins::new(pin)?;
        let mut links = Vec::new();
        // A struct_ops map refers to its programs by their file descriptors until it is registered.
        let mut programs = Vec::new();
        for (index, program) in (0..).zip(&object.programs) {
            let handle = loaded.take_program(index);
            if !handle.is_loaded() {
                screen.say(&format!("not loaded: program {}\n", Line(handle.name())))?;
                continue;
            }
            pins.add(handle.name(), "", |path| handle.pin(path))?;
            let section = Line(&program.def.section);
            let name = Line(handle.name());
            let needs = match &program.def.attach {
                Attach::Never(how) => Some(format!("runs {how}")),
                other => other.needs().map(|needs| format!("needs {needs}")),
            };
            let line = match needs {
                _ if !attach => format!("loaded: program {name} ({section})\n"),
                Some(needs) => format!("loaded, not attached: program {name} ({section}) {}\n", Line(needs)),
                None => {
                    let link = handle.attach()?;
                    pins.add(handle.name(), "_link", |path| link.pin(path))?;
                    links.push(link);
                    format!("attached: program {name} ({section})\n")
                }
            };
            screen.say(&line)?;
            programs.push(handle);
        }
        let mut maps = Vec::new();
        for (index, map) in (0..).zip(&object.maps) {
            if map.def.struct_ops.is_some() {
                let has_link = map.def.flags & map_flags::LINK != 0;
                let (line, link) = register(&loaded.take_struct_ops(index), attach, has_link)?;
                screen.say(&line)?;
                links.extend(link);
                continue;
            }
            if map.def.map_type == MapType::ARENA {
                continue;
            }
            if map.def.map_type == MapType::RINGBUF {
                if let Some(buffer) = loaded.take_map_if_created::<RingBuf>(index)? {
                    pins.add(&map.def.name, "", |path| buffer.pin(path))?;
                    let named = records.iter().find(|(name, _)| *name == *map.def.name).zip(object.btf.as_ref());
                    let found = named.and_then(|((_, ty), btf)| types_named(btf, ty).first().copied());
                    maps.push(Live::Records(map, found.or(map.value_type), buffer));
                }
                continue;
            }
            let Some(handle) = loaded.take_map_if_created::<Untyped>(index)? else { continue };
            pins.add(&map.def.name, "", |path| handle.pin(path))?;
            if let Some(section) = &map.section {
                maps.push(Live::Variables(map, section, handle));
            }
        }
        pins.set.keep();
        Ok(Self { types: Types { btf: object.btf.as_ref(), endian: object.endian }, maps, _links: links })
    }

    /// Prints records as they arrive and variables each second, until the time is over.
    fn watch(&self, time: Option<Duration>, screen: &mut Screen) -> Result<(), Failed> {
        let start = Instant::now();
        let mut shown = String::new();
        for tick in 0_u32.. {
            let is_over = time.is_some_and(|time| start.elapsed() >= time);
            for map in self.maps.iter().filter(|map| matches!(map, Live::Records(..))) {
                if !screen.say(&map.text(self.types)?)? {
                    return Ok(());
                }
            }
            if tick % 10 == 0 || is_over {
                let variables = self.maps.iter().filter(|map| matches!(map, Live::Variables(..)));
                let variables = variables.map(|map| map.text(self.types)).collect::<Result<String, _>>()?;
                if variables != shown {
                    if !screen.say(&variables)? {
                        return Ok(());
                    }
                    shown = variables;
                }
            }
            if is_over {
                break;
            }
            let left = time.map_or(TICK, |time| time.saturating_sub(start.elapsed()));
            std::thread::sleep(TICK.min(left));
        }
        Ok(())
    }
}

/// Registers a struct_ops map, if it was created and `attach` is set. Returns the line about it, and its link.
fn register(map: &StructOps, attach: bool, has_link: bool) -> skelgen_runtime::Result<(String, Option<Link>)> {
    let name = Line(map.name());
    Ok(if !map.is_created() {
        (format!("not loaded: struct_ops map {name}\n"), None)
    } else if !attach {
        (format!("loaded: struct_ops map {name}\n"), None)
    } else if has_link {
        let link = map.attach()?;
        (format!("attached: struct_ops map {name}\n"), Some(link))
    } else {
        // If this process is killed, nothing unregisters a map without a link.
        let needs = "needs section `.struct_ops.link` instead of `.struct_ops`";
        (format!("loaded, not attached: struct_ops map {name} {needs}\n"), None)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pins_stay_in_their_directory_and_go_with_an_error() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut pins = Pins::new(Some(directory.path())).expect("the directory exists");
        for name in ["/etc/passwd", "../up", ".data", "a.b", "x\0y\n", "ünï"] {
            let add = |path: &Path| {
                assert_eq!(path.parent(), Some(directory.path()), "{name:?}");
                std::fs::write(path, "").expect("the name is valid");
                Ok(())
            };
            assert!(pins.add(name, "", add).is_ok());
        }
        let left = || std::fs::read_dir(directory.path()).expect("it is there").count();
        assert_eq!(left(), 6);
        drop(pins);
        assert_eq!(left(), 0);
    }
}
