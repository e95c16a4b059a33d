//! Attaching programs to sockets. The kernel has no links for them: a program stays attached as long as the socket
//! exists, or until it is detached.

use std::os::fd::{AsFd, AsRawFd};

use crate::error::{Error, Result, Step};
use crate::program::Program;
use crate::sys::socket::{SOL_SOCKET, set_option};

/// `SO_ATTACH_BPF` of `asm-generic/socket.h`. The numbers here and below differ on sparc and parisc, which are not
/// supported.
const ATTACH_BPF: i32 = 50;
/// `SO_DETACH_BPF`, which is `SO_DETACH_FILTER`.
const DETACH_BPF: i32 = 27;
/// `SO_ATTACH_REUSEPORT_EBPF`.
const ATTACH_REUSEPORT: i32 = 52;
/// `SO_DETACH_REUSEPORT_BPF` (Linux 5.3).
const DETACH_REUSEPORT: i32 = 68;

impl Program {
    /// Attaches a socket filter to a socket. The return value of the program is the number of bytes of a packet that the
    /// socket receives. The program stays attached until the socket is closed or [`detach_socket_filter`] detaches it.
    ///
    /// ```no_run
    /// # fn f(program: &skelgen_runtime::Program) -> Result<(), Box<dyn std::error::Error>> {
    /// let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
    /// program.attach_socket_filter(&socket)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If the program was not loaded or is not a socket filter, or the filter of the socket is locked
    /// (`SO_LOCK_FILTER`).
    pub fn attach_socket_filter(&self, socket: impl AsFd) -> Result<()> {
        set_option(socket.as_fd(), SOL_SOCKET, ATTACH_BPF, self.fd()?.as_raw_fd()).map_err(|errno| {
            let error = self.refused("a socket", errno);
            match errno.raw() {
                libc::EINVAL => error.with_help("the program must be a socket filter (`SEC(\"socket\")`)"),
                libc::EPERM => error.note("the filter of the socket is locked (SO_LOCK_FILTER)"),
                _ => error,
            }
        })
    }

    /// Attaches a program to the group of sockets that share this socket's port (`SO_REUSEPORT`). The program selects the
    /// socket for each connection or packet. It stays attached until the last socket of the group is closed or
    /// [`detach_reuseport`] detaches it.
    ///
    /// # Errors
    /// If the program was not loaded or has the wrong type, or `SO_REUSEPORT` was not set before the socket was bound.
    pub fn attach_reuseport(&self, socket: impl AsFd) -> Result<()> {
        set_option(socket.as_fd(), SOL_SOCKET, ATTACH_REUSEPORT, self.fd()?.as_raw_fd()).map_err(|errno| {
            let error = self.refused("sockets that share a port", errno);
            match errno.raw() {
                libc::EINVAL => error.with_help(
                    "set SO_REUSEPORT on the socket before binding it, and use a program of section `sk_reuseport` or \
                     `socket`",
                ),
                _ => error,
            }
        })
    }
}

/// Detaches the filter of a socket.
///
/// # Errors
/// If the socket has no filter, or its filter is locked (`SO_LOCK_FILTER`).
pub fn detach_socket_filter(socket: impl AsFd) -> Result<()> {
    set_option(socket.as_fd(), SOL_SOCKET, DETACH_BPF, 0)
        .map_err(|errno| Error::refused("cannot detach the filter of a socket", errno).during(Step::Detach))
}

/// Detaches the program of a group of sockets that share a port (Linux 5.3).
///
/// # Errors
/// If the group has no program, or the kernel is older than Linux 5.3.
pub fn detach_reuseport(socket: impl AsFd) -> Result<()> {
    set_option(socket.as_fd(), SOL_SOCKET, DETACH_REUSEPORT, 0).map_err(|errno| {
        Error::refused("cannot detach the program of sockets that share a port", errno).during(Step::Detach)
    })
}
