//! Options of sockets.

use std::os::fd::{AsRawFd, BorrowedFd};

use crate::error::Errno;

pub(crate) use libc::SOL_SOCKET;

/// Sets an option of this level (`SOL_SOCKET` …) to a number.
pub(crate) fn set_option(
    socket: BorrowedFd<'_>,
    level: libc::c_int,
    option: libc::c_int,
    value: libc::c_int,
) -> Result<(), Errno> {
    let len = libc::socklen_t::try_from(size_of_val(&value)).map_err(|_| Errno::from_raw(libc::EINVAL))?;
    // SAFETY: `value` is a live number of this length.
    let result =
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const value).cast::<libc::c_void>(), len) };
    if result == 0 { Ok(()) } else { Err(Errno::last()) }
}
