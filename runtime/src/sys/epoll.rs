//! Waits for several file descriptors at once.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::error::Errno;

/// The maximum number of file descriptors that one wait reports; the next one reports the others.
const AT_ONCE: usize = 64;

/// A set of file descriptors to wait for, each with a number of the caller's choice.
#[derive(Debug)]
pub(crate) struct Epoll(OwnedFd);

impl Epoll {
    /// Creates an empty set.
    pub(crate) fn new() -> Result<Self, Errno> {
        // SAFETY: takes flags by value.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(Errno::last());
        }
        // SAFETY: the call succeeded, so this is a new file descriptor that nobody else owns.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Adds `fd`. Each time that it becomes readable is reported once. It leaves the set when its file is closed.
    pub(crate) fn add(&self, fd: BorrowedFd<'_>, number: u32) -> Result<(), Errno> {
        // The constants are signed, and one of them is the highest bit.
        let events = u32::from_ne_bytes((libc::EPOLLIN | libc::EPOLLET).to_ne_bytes());
        let mut event = libc::epoll_event { events, u64: u64::from(number) };
        // SAFETY: `event` is live, and the kernel copies it.
        let added = unsafe { libc::epoll_ctl(self.0.as_raw_fd(), libc::EPOLL_CTL_ADD, fd.as_raw_fd(), &raw mut event) };
        if added < 0 { Err(Errno::last()) } else { Ok(()) }
    }

    /// Waits at most `timeout` milliseconds, or without limit if that is negative. Returns the numbers of the readable file descriptors,
    /// none after a timeout.
    pub(crate) fn wait(&self, timeout: i32) -> Result<Vec<u32>, Errno> {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; AT_ONCE];
        // The length is small, see `AT_ONCE`.
        let most = libc::c_int::try_from(events.len()).unwrap_or(1);
        // SAFETY: `events` is live and has room for `most` of them.
        let count = unsafe { libc::epoll_wait(self.0.as_raw_fd(), events.as_mut_ptr(), most, timeout) };
        let count = usize::try_from(count).map_err(|_| Errno::last())?;
        // The kernel returns what `add` passed, which is a number of 32 bits.
        Ok(events.iter().take(count).map(|event| u32::try_from(event.u64).unwrap_or(u32::MAX)).collect())
    }
}

impl AsFd for Epoll {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "calls the kernel")]
    fn readable_file_descriptors_are_reported_once() {
        let set = Epoll::new().unwrap();
        let pairs = [(); 3].map(|()| std::os::unix::net::UnixStream::pair().unwrap());
        for (number, (ours, _)) in (10..).zip(&pairs) {
            set.add(ours.as_fd(), number).unwrap();
        }
        assert_eq!(set.wait(0).unwrap(), [0; 0]);
        (&pairs[1].1).write_all(b"x").unwrap();
        assert_eq!(set.wait(-1).unwrap(), [11]);
        assert_eq!(set.wait(0).unwrap(), [0; 0], "reported already");
        (&pairs[1].0).read_exact(&mut [0]).unwrap();
        let [_, second, third] = pairs;
        (&second.1).write_all(b"x").unwrap();
        (&third.1).write_all(b"x").unwrap();
        drop(second);
        assert_eq!(set.wait(10).unwrap(), [12], "closed file descriptors are not in the set");
    }
}
