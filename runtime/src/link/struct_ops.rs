//! Tables of functions that the kernel calls.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::Link;
use crate::error::{Error, Result, Step, Subject};
use crate::sys;
use crate::uapi::{AttachType, elem_flags, map_flags};

/// A table of functions: a kernel struct whose functions are programs (`struct_ops`).
///
/// Nothing calls them before it is attached.
///
/// ```
/// use skelgen_runtime::{Link, link::StructOps};
///
/// /// A congestion control of one's own; it is there for connections to choose until the link is dropped.
/// fn register(cubic: &StructOps) -> skelgen_runtime::Result<Link> {
///     cubic.attach()
/// }
/// ```
pub struct StructOps {
    name: &'static str,
    table: Option<Table>,
    autoattach: bool,
}

struct Table {
    map: sys::map::Map,
    /// None for one that was there before us.
    value: Option<Vec<u8>>,
    flags: u32,
}

impl StructOps {
    /// The table of this map with this value and these flags, or one that was not created.
    pub(crate) fn new(
        name: &'static str,
        table: Option<(sys::map::Map, Option<Vec<u8>>, u32)>,
        autoattach: bool,
    ) -> Self {
        Self { name, table: table.map(|(map, value, flags)| Table { map, value, flags }), autoattach }
    }

    /// Returns the name in the source.
    #[must_use]
    pub fn name(&self) -> &str {
        self.name
    }

    /// Returns whether the map was created: not if its auto-create was off.
    #[must_use]
    pub fn is_created(&self) -> bool {
        self.table.is_some()
    }

    /// Returns the file descriptor of the map.
    ///
    /// # Errors
    /// If it was not created.
    pub fn fd(&self) -> Result<BorrowedFd<'_>> {
        self.table().map(|table| table.map.as_fd())
    }

    /// Registers it: from now on the kernel calls its programs, until the link is dropped.
    ///
    /// One of section `.struct_ops.link` attaches by a link of the kernel's, which can be pinned; one of section `.struct_ops` is
    /// put into its map, and taken out again when the link is dropped.
    ///
    /// # Errors
    /// If it was not created, or the kernel refuses: it looks at the values only now.
    pub fn attach(&self) -> Result<Link> {
        let table = self.table()?;
        let refused = |errno| {
            Error::refused(format_args!("attaching struct_ops `{}`", self.name), errno)
                .during(Step::Attach)
                .about(Subject::Map(self.name))
                .note(
                    "the kernel checks members that it needs, names that are taken, and values that do not go together",
                )
        };
        let key = 0_u32.to_ne_bytes();
        let by_link = table.flags & map_flags::LINK != 0;
        let own = if by_link { None } else { Some(self.registration(table)?) };
        match table.value.as_ref().map_or(Ok(()), |value| table.map.update(&key, value, elem_flags::ANY)) {
            // One that a link was made of before has its value already.
            Err(errno) if by_link && errno.raw() == libc::EBUSY => {}
            result => result.map_err(refused)?,
        }
        if let Some([held, undoing]) = own {
            return Ok(Link::registered(held, undoing, self.name));
        }
        let fd = sys::link::create(table.map.as_fd(), 0, AttachType::STRUCT_OPS, 0, (0, 0)).map_err(refused)?;
        Ok(Link::new(fd, self.name))
    }

    /// What a link without one of the kernel's holds. Made before the table is registered: nothing may fail after that, as the
    /// table would stay.
    fn registration(&self, table: &Table) -> Result<[OwnedFd; 2]> {
        let own = || {
            table.map.as_fd().try_clone_to_owned().map_err(|error| {
                Error::io(format_args!("attaching struct_ops `{}`", self.name), &error)
                    .during(Step::Attach)
                    .about(Subject::Map(self.name))
            })
        };
        Ok([own()?, own()?])
    }

    /// Puts this table in the place of the one that a link of another table registered, without a moment between them in which
    /// there is none (Linux 6.4). Both must be of section `.struct_ops.link`.
    ///
    /// # Errors
    /// If it was not created, or the kernel refuses.
    pub fn replace(&self, link: &Link) -> Result<()> {
        let table = self.table()?;
        let refused = |errno| {
            Error::refused(format_args!("putting struct_ops `{}` in the place of another", self.name), errno)
                .during(Step::UpdateLink)
                .about(Subject::Map(self.name))
        };
        if let Some(value) = &table.value {
            match table.map.update(&0_u32.to_ne_bytes(), value, elem_flags::ANY) {
                Err(errno) if errno.raw() == libc::EBUSY => {}
                result => result.map_err(refused)?,
            }
        }
        sys::link::update_map(link.as_fd(), table.map.as_fd()).map_err(refused)
    }

    /// Registers it unless it was not created or auto-attach is off.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub(super) fn auto_attach(&self) -> Result<Option<Link>> {
        if self.autoattach && self.is_created() { self.attach().map(Some) } else { Ok(None) }
    }

    /// Returns the file descriptor of the map alone, or `None` if it was not created.
    #[must_use]
    pub fn into_fd(self) -> Option<OwnedFd> {
        self.table.map(|table| table.map.into_fd())
    }

    fn table(&self) -> Result<&Table> {
        self.table.as_ref().ok_or_else(|| {
            Error::not_loaded(format_args!("struct_ops `{}` was not created", self.name))
                .about(Subject::Map(self.name))
                .with_help("its auto-create was off; `set_autocreate(true)` before loading switches it on")
        })
    }
}

impl fmt::Debug for StructOps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StructOps")
            .field("name", &self.name)
            .field("created", &self.is_created())
            .finish_non_exhaustive()
    }
}
