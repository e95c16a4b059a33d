//! Maps that exist before the load: passed by the user, or pinned at the path where this load would pin the map.

use std::fmt::{self, Display};
use std::os::fd::AsFd;
use std::path::PathBuf;

use super::maps::{Created, info, max_entries};
use super::parts::Pins;
use super::state::{MapState, open_map};
use super::{Executor, no_such};
use crate::error::{Error, Result, Subject};
use crate::open::{LoadEvent, OpenMap};
use crate::opened::Kind;
use crate::pins::{self, PinSet, Pinned};
use crate::sys;
use crate::sys::attr::MapInfo;
use crate::sys::c_path;
use crate::uapi::{MapFlags, MapType, map_flags};

use super::percpu::Shape;

/// The part of the executor for loads with pins or reused maps.
pub(super) static PART: Pins = Pins { existing: Executor::existing, pin: Executor::pin };

impl Executor {
    /// Returns the map that the user passed, or the one that is pinned at this map's path.
    fn existing(&mut self, index: u32) -> Result<Option<Created>> {
        let Some(MapState { open, .. }) = super::at_mut(&mut self.maps, index) else {
            return Err(no_such("map", index));
        };
        let name = &*open.definition.name;
        let given = open.reuse.take();
        let (fd, origin) = if let Some(fd) = given {
            (fd, Origin::Given)
        } else if let Some(path) = self.options.pin_path(open) {
            match sys::link::open_pinned(None, &c_path(&path)?) {
                Ok(fd) => (fd, Origin::Pin { path, is_of_map: open.pin_path.is_some() }),
                Err(errno) if errno.raw() == libc::ENOENT => return Ok(None),
                Err(errno) => {
                    let context = format!("cannot open the pin of map `{name}` at {}", path.display());
                    return Err(pins::refused(&path, context, errno));
                }
            }
        } else {
            return Ok(None);
        };
        if let Some(other) = Kind::Map.other(fd.as_fd()) {
            let what = match &origin {
                Origin::Given => "the file descriptor",
                Origin::Pin { .. } => "the pinned object",
            };
            return Err(origin.mismatch(name, format_args!("{what} is not a map, but {other}")));
        }
        let (map, found) = sys::map::Map::adopt(fd)
            .map_err(|errno| Error::refused(format_args!("cannot read the definition of {origin}"), errno))?;
        let open = open_map(&self.maps, index)?;
        let shape = self.shape(open)?;
        check_kind(open, &shape, &found, &origin)?;
        if let Origin::Pin { .. } = origin {
            check_size(open, &shape, &found, &origin)?;
        }
        Ok(Some(Created::reused(map, info(open), matches!(origin, Origin::Pin { .. }))))
    }

    /// Pins the maps. This is the last part of a load that can fail.
    fn pin(&self) -> Result<Box<dyn Pinned>> {
        let mut pins = PinSet::default();
        for MapState { open, created, .. } in &self.maps {
            let Some(created) = created.as_ref().filter(|created| !created.is_reused()) else {
                continue;
            };
            let Some(path) = self.options.pin_path(open) else {
                continue;
            };
            if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
                pins.directory(directory)
                    .map_err(|error| error.within(format_args!("cannot pin map `{}`", created.info.name)))?;
            }
            let doing = format!("cannot pin map `{}` to {}", created.info.name, path.display());
            pins.pin(created.map.as_fd(), &path, doing)
                .map_err(|error| error.about(Subject::Map(created.info.name)))?;
            self.emit(&LoadEvent::MapPinned { name: created.info.name, path: &path });
        }
        Ok(Box::new(pins))
    }
}

/// The origin of a map that exists before the load.
enum Origin {
    /// The user passed the map.
    Given,
    /// The map is pinned at this path. `is_of_map` is whether the user set the path of this map, instead of a directory for all maps.
    Pin { path: PathBuf, is_of_map: bool },
}

impl Origin {
    /// Creates the error for an object that does not match the definition of a map.
    fn mismatch(&self, name: &str, why: impl Display) -> Error {
        let error = Error::mismatch(format_args!("cannot reuse {self} as `{name}`: {why}"));
        match self {
            Self::Given => error,
            Self::Pin { is_of_map: true, .. } => {
                error.with_help("remove the pin, or pin to a different path with `set_pin_path`")
            }
            Self::Pin { is_of_map: false, .. } => {
                error.with_help("remove the pin, or pin to a different directory with `set_pin_dir`")
            }
        }
    }
}

/// A noun phrase for sentences about the map.
impl Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given => f.write_str("the passed map"),
            Self::Pin { path, .. } => write!(f, "the map pinned at {}", path.display()),
        }
    }
}

/// Checks the type, key size and value size. Programs require exactly those of the definition.
fn check_kind(open: &OpenMap, shape: &Shape, found: &MapInfo, origin: &Origin) -> Result<()> {
    let name = &*open.definition.name;
    if MapType(found.map_type) == shape.map_type
        && found.key_size == open.row.key_size
        && found.value_size == shape.value_size
    {
        return Ok(());
    }
    Err(origin.mismatch(
        name,
        format_args!(
            "it is a {} with {}-byte keys and {}-byte values, not a {} with {}-byte keys and {}-byte values",
            MapType(found.map_type),
            found.key_size,
            found.value_size,
            shape.map_type,
            open.row.key_size,
            shape.value_size
        ),
    ))
}

/// Checks the number of entries and the flags of a pinned map, which must be those that this load would create. A map that the user passes
/// may differ.
fn check_size(open: &OpenMap, shape: &Shape, found: &MapInfo, origin: &Origin) -> Result<()> {
    // The kernel itself makes device maps read-only for programs.
    let given = match shape.map_type {
        MapType::DEVMAP | MapType::DEVMAP_HASH => map_flags::RDONLY_PROG,
        _ => 0,
    };
    let wanted = max_entries(open)?;
    if found.max_entries == wanted && found.map_flags & !given == shape.flags & !given {
        return Ok(());
    }
    let error = origin.mismatch(
        &open.definition.name,
        format_args!(
            "it has max_entries {} and flags {}; this load requires max_entries {wanted} and flags {}",
            found.max_entries,
            MapFlags::from_bits(found.map_flags),
            MapFlags::from_bits(shape.flags)
        ),
    );
    Err(error.with_help("to keep the pinned map, pass it to `reuse_fd`, which accepts any size and flags"))
}
