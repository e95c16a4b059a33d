//! struct_ops maps of a loaded object.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::Link;
use crate::error::{Error, ErrorKind, Result, Step, Subject};
use crate::sys;
use crate::uapi::{AttachType, elem_flags, map_flags};

/// A struct_ops map: a kernel struct whose function members are programs.
///
/// The kernel calls the programs only after the map is attached.
///
/// ```
/// use skelgen_runtime::{Link, link::StructOps};
///
/// /// Registers a congestion control algorithm. Connections can use it until the link is dropped.
/// fn register(cubic: &StructOps) -> skelgen_runtime::Result<Link> {
///     cubic.attach()
/// }
/// ```
pub struct StructOps {
    name: &'static str,
    created: Option<Created>,
    autoattach: bool,
}

struct Created {
    map: sys::map::Map,
    /// The value to register, or `None` for a reused map, which already has a value.
    value: Option<Vec<u8>>,
    flags: u32,
}

impl StructOps {
    /// Creates the handle of a map with its value and flags; `created` is `None` if the map was not created.
    pub(crate) fn new(
        name: &'static str,
        created: Option<(sys::map::Map, Option<Vec<u8>>, u32)>,
        autoattach: bool,
    ) -> Self {
        Self { name, created: created.map(|(map, value, flags)| Created { map, value, flags }), autoattach }
    }

    /// Returns the name in the source.
    #[must_use]
    pub fn name(&self) -> &str {
        self.name
    }

    /// Returns whether the map was created: `false` if its auto-create is off.
    #[must_use]
    pub fn is_created(&self) -> bool {
        self.created.is_some()
    }

    /// Returns the file descriptor of the map.
    ///
    /// # Errors
    /// If the map was not created.
    pub fn fd(&self) -> Result<BorrowedFd<'_>> {
        self.created().map(|created| created.map.as_fd())
    }

    /// Registers the map. The kernel calls its programs until the link is dropped.
    ///
    /// A map of section `.struct_ops.link` is registered by a BPF link, which can be pinned. A map of section
    /// `.struct_ops` is registered by setting its value, and unregistered when the link is dropped.
    ///
    /// # Errors
    /// If the map was not created, or the kernel rejects the map's value. The kernel validates the value when the map is
    /// registered, not when the map is created.
    pub fn attach(&self) -> Result<Link> {
        let created = self.created()?;
        let refused = |errno| {
            Error::refused(format_args!("cannot attach struct_ops `{}`", self.name), errno)
                .during(Step::Attach)
                .about(Subject::Map(self.name))
                .note("usual causes: a required function is missing, the name is in use, or values of members conflict")
        };
        let key = 0_u32.to_ne_bytes();
        let by_link = created.flags & map_flags::LINK != 0;
        let own = if by_link { None } else { Some(self.registration(created)?) };
        // The kernel returns `EBUSY` if the map already has its value from an earlier `attach`.
        let busy = match created.value.as_ref().map_or(Ok(()), |value| created.map.update(&key, value, elem_flags::ANY))
        {
            Err(errno) if by_link && errno.raw() == libc::EBUSY => Some(errno),
            result => result.map_err(refused).map(|()| None)?,
        };
        if let Some([kept, undoing]) = own {
            return Ok(Link::registered(kept, undoing, self.name));
        }
        let fd = sys::link::create(created.map.as_fd(), 0, AttachType::STRUCT_OPS, 0, (0, 0));
        fd.map(|fd| Link::new(fd, self.name)).map_err(|errno| match busy {
            Some(busy) => refused(errno).note(format_args!("before that, setting the map's value failed: {busy}")),
            None => refused(errno),
        })
    }

    /// Duplicates the file descriptors of an attachment without a BPF link. This happens before the map is registered:
    /// if a later step failed, the map would stay registered.
    fn registration(&self, created: &Created) -> Result<[OwnedFd; 2]> {
        let own = || {
            created.map.as_fd().try_clone_to_owned().map_err(|error| {
                Error::io(format_args!("cannot attach struct_ops `{}`", self.name), &error)
                    .during(Step::Attach)
                    .about(Subject::Map(self.name))
            })
        };
        Ok([own()?, own()?])
    }

    /// Replaces the map of an existing link with this one atomically (Linux 6.4). Both must be of section
    /// `.struct_ops.link`.
    ///
    /// # Errors
    /// If the map was not created, the link is not the link of a struct_ops map, or the kernel rejects the map's value or
    /// cannot replace struct_ops of this type.
    pub fn update(&self, link: &Link) -> Result<()> {
        self.change(link, None)
    }

    /// Replaces the map of an existing link with this one atomically if it is `old` (Linux 6.4).
    ///
    /// ```no_run
    /// # use skelgen_runtime::{Result, link::StructOps};
    /// # fn f(old: &StructOps, new: &StructOps) -> Result<()> {
    /// let link = old.attach()?;
    /// new.replace(&link, old)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of [`update`](Self::update). Also if the link has a different map (kind [`ErrorKind::Mismatch`]).
    pub fn replace(&self, link: &Link, old: &Self) -> Result<()> {
        self.change(link, Some(old))
    }

    fn change(&self, link: &Link, old: Option<&Self>) -> Result<()> {
        let created = self.created()?;
        let old = old.map(Self::fd).transpose()?;
        let refused = |errno| {
            Error::refused(format_args!("cannot replace a struct_ops map with `{}`", self.name), errno)
                .during(Step::UpdateLink)
                .about(Subject::Map(self.name))
        };
        if let Some(value) = &created.value {
            match created.map.update(&0_u32.to_ne_bytes(), value, elem_flags::ANY) {
                Err(errno) if errno.raw() == libc::EBUSY => {}
                result => result.map_err(refused)?,
            }
        }
        sys::link::update(link.as_fd(), created.map.as_fd(), old).map_err(|errno| {
            let error = refused(errno);
            match errno.raw() {
                // `EPERM` also means a missing capability. A process without it cannot read the link's information
                // either.
                libc::EPERM if old.is_some() && link.info().is_ok() => {
                    error.with_kind(ErrorKind::Mismatch).note("the link has a different map than the one to replace")
                }
                libc::EOPNOTSUPP => error.note("the kernel cannot replace struct_ops of this type"),
                libc::ENOLINK => error.note("the link was detached"),
                _ => error,
            }
        })
    }

    /// Registers the map. Does nothing if the map was not created or its auto-attach is off.
    ///
    /// # Errors
    /// If the kernel rejects the map's value.
    pub(super) fn auto_attach(&self) -> Result<Option<Link>> {
        if self.autoattach && self.is_created() { self.attach().map(Some) } else { Ok(None) }
    }

    /// Returns the file descriptor of the map, or `None` if the map was not created.
    #[must_use]
    pub fn into_fd(self) -> Option<OwnedFd> {
        self.created.map(|created| created.map.into_fd())
    }

    fn created(&self) -> Result<&Created> {
        self.created.as_ref().ok_or_else(|| {
            Error::not_loaded(format_args!("struct_ops `{}` was not created", self.name))
                .about(Subject::Map(self.name))
                .with_help("auto-create of the map is off; call `set_autocreate(true)` before loading")
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
