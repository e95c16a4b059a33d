//! The kinds of errors: a small number of classes that programs can act on.
//!
//! An error without an error number is created with its kind. The kind of an error number follows from the number and the step, in this
//! module only. This module does not depend on the texts of errors.

use super::{Errno, Step};

/// The kind of an error. Returned by [`Error::kind`](crate::Error::kind).
///
/// New kinds can be added: match the kinds that your program handles, and report any other kind with the error's text.
///
/// ```
/// use skelgen_runtime::{Error, ErrorKind};
///
/// fn exit_status(error: &Error) -> i32 {
///     match error.kind() {
///         ErrorKind::NotPermitted => 77,
///         ErrorKind::Unsupported => 78,
///         _ => 1,
///     }
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A setting of the caller, or the object itself, is not valid on any kernel.
    InvalidInput,
    /// Data is malformed, such as BTF, a file in `/proc` or `/sys`, or the skeleton's own tables.
    Malformed,
    /// Two definitions do not match: a map and the types of its handle, a pinned map and its definition in the object, or the types of a
    /// symbol in the object and in the kernel.
    Mismatch,
    /// A symbol, function, map, file, network interface, process or element does not exist.
    NotFound,
    /// A name has several matches.
    Ambiguous,
    /// The object to create exists already.
    AlreadyExists,
    /// The object is in use or being changed; a later attempt can succeed.
    Busy,
    /// A map was not created, or a program not loaded, because it was left out of the load.
    NotLoaded,
    /// The process or its BPF token lacks a right, or a security policy forbids the request.
    NotPermitted,
    /// The running kernel lacks the feature, or does not support the operation for the map, program or link. See
    /// [`Error::needs_linux`](crate::Error::needs_linux).
    Unsupported,
    /// The verifier rejected a program or BTF. See [`Error::verifier_log`](crate::Error::verifier_log).
    VerifierRejected,
    /// A limit is reached: a map is full, memory or file descriptors are exhausted, or a size is too large.
    LimitReached,
    /// The CPU is not possible on this system. See [`Error::impossible_cpu`](crate::Error::impossible_cpu).
    NoSuchCpu,
    /// A file could not be read or written, for a reason that no kind above covers.
    Io,
    /// The kernel rejected a request, for a reason that no kind above covers.
    Refused,
}

impl ErrorKind {
    /// Returns the kind for an error number that the kernel returned in this step. `has_log` is whether there is a
    /// verifier log.
    pub(super) fn of(errno: Errno, step: Step, has_log: bool) -> Self {
        /// `ENOTSUPP`, internal to the kernel, which some attachments return.
        const ENOTSUPP: i32 = 524;
        let verifies = matches!(step, Step::LoadProgram | Step::LoadBtf);
        match errno.raw() {
            libc::EPERM => Self::NotPermitted,
            // The verifier can return almost any error number. A log shows that it ran.
            _ if verifies && has_log => Self::VerifierRejected,
            libc::EACCES | libc::EROFS => Self::NotPermitted,
            libc::EOPNOTSUPP | ENOTSUPP | libc::ENOSYS | libc::EPROTONOSUPPORT | libc::EAFNOSUPPORT => {
                Self::Unsupported
            }
            libc::ENOENT | libc::ESRCH | libc::ENODEV | libc::ENXIO | libc::ENOTDIR | libc::EADDRNOTAVAIL => {
                Self::NotFound
            }
            libc::EEXIST => Self::AlreadyExists,
            libc::EBUSY | libc::EAGAIN | libc::EINTR | libc::ESTALE | libc::EDEADLK => Self::Busy,
            libc::E2BIG | libc::ENOSPC | libc::ENOMEM | libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::EFBIG => {
                Self::LimitReached
            }
            libc::EBADF | libc::ENAMETOOLONG | libc::EISDIR | libc::ELOOP => Self::InvalidInput,
            libc::EIO => Self::Io,
            _ => Self::Refused,
        }
    }
}
