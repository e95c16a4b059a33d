//! Maps that no skeleton defines: they are opened from a pin or an id.

use std::os::fd::AsFd;
use std::path::Path;

use super::Untyped;
use crate::error::{Result, Subject};
use crate::kernel::causes;
use crate::opened::Kind;
use crate::pins::PinPath;

impl Untyped {
    /// Opens the map that is pinned at a path in a bpffs. The typed handles have a method of the same name, and
    /// [`Maps`](super::Maps) opens the maps of a directory as typed handles.
    ///
    /// ```no_run
    /// use skelgen_runtime::map::Untyped;
    /// let map = Untyped::open_pinned("/sys/fs/bpf/flows")?;
    /// println!("{}: {} elements", map.name(), map.keys().count());
    /// # Ok::<(), skelgen_runtime::Error>(())
    /// ```
    ///
    /// # Errors
    /// If nothing is pinned at the path, the pinned object is not a map, or the process has no permission to open it.
    pub fn open_pinned(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        Self::of_fd(Kind::Map.pinned(path)?).map_err(|error| error.about(Subject::Path(path)))
    }

    /// Opens the map that is pinned at a path relative to the descriptor of a directory in a bpffs (Linux 6.5). To open
    /// all maps of a directory as typed handles, see [`Pins::in_dir`](super::Pins::in_dir).
    ///
    /// ```no_run
    /// # fn f() -> Result<(), Box<dyn std::error::Error>> {
    /// use skelgen_runtime::map::Untyped;
    ///
    /// let dir = std::fs::File::open("/sys/fs/bpf/service")?;
    /// let map = Untyped::open_pinned_at(&dir, "flows")?;
    /// map.pin_at(&dir, "flows_too")?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If nothing is pinned at the path, the pinned object is not a map, the process has no permission to open it,
    /// `dir` is not a directory, or the kernel is older than Linux 6.5.
    pub fn open_pinned_at(dir: impl AsFd, path: impl AsRef<Path>) -> Result<Self> {
        let pin = PinPath::at(dir.as_fd(), path.as_ref());
        let fd = Kind::Map.pinned_at(&pin).map_err(causes::relative_pin)?;
        Self::of_fd(fd).map_err(|error| error.about(Subject::Path(pin.shown())))
    }

    /// Opens the map with this id (Linux 4.13). [`MapInfo::id`](super::MapInfo::id),
    /// [`ProgramInfo::map_ids`](crate::ProgramInfo::map_ids) and `bpftool map` report ids.
    ///
    /// ```no_run
    /// # fn f(program: &skelgen_runtime::Program) -> skelgen_runtime::Result<()> {
    /// use skelgen_runtime::map::{HashMap, Untyped};
    /// use std::os::fd::OwnedFd;
    ///
    /// for id in program.info()?.map_ids {
    ///     println!("uses {:?}", Untyped::from_id(id)?);
    /// }
    /// // A typed handle checks the sizes of keys and values.
    /// let flows = HashMap::<u32, u64>::try_from(OwnedFd::from(Untyped::from_id(7)?))?;
    /// # drop(flows);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If no map has this id, or the process does not have `CAP_SYS_ADMIN`.
    pub fn from_id(id: u32) -> Result<Self> {
        Self::of_fd(Kind::Map.of_id(id)?).map_err(|error| error.about(Subject::Id(id)))
    }
}
