//! Waits for several file descriptors at once.
//!
//! An [`Epoll`] is a set of file descriptors with numbers. This module does not depend on the meaning of the numbers.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

use crate::error::Errno;

/// The longest timeout that one `epoll_wait` waits in full. `epoll_wait` counts milliseconds in 31 bits, so a longer
/// timeout is divided into several waits.
pub(crate) const LONGEST: Duration = Duration::from_secs(1 << 20);

/// The maximum number of file descriptors that one wait reports; the next wait reports the others.
const AT_ONCE: usize = 64;

/// When a file descriptor is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trigger {
    /// By each wait while it is readable.
    Level,
    /// Once each time it becomes readable.
    Edge,
}

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
        // SAFETY: the call succeeded, so this is a new file descriptor without another owner.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Adds `fd`, which is then reported when it is readable. The kernel removes `fd` from the set when its file is
    /// closed.
    pub(crate) fn add(&self, fd: BorrowedFd<'_>, number: u64, trigger: Trigger) -> Result<(), Errno> {
        let events = match trigger {
            Trigger::Level => libc::EPOLLIN,
            Trigger::Edge => libc::EPOLLIN | libc::EPOLLET,
        };
        // The constants are signed, and one of them is the highest bit.
        let events = u32::from_ne_bytes(events.to_ne_bytes());
        let mut event = libc::epoll_event { events, u64: number };
        // SAFETY: `event` is live, and the kernel copies it.
        let added = unsafe { libc::epoll_ctl(self.0.as_raw_fd(), libc::EPOLL_CTL_ADD, fd.as_raw_fd(), &raw mut event) };
        if added < 0 { Err(Errno::last()) } else { Ok(()) }
    }

    /// Removes `fd`.
    pub(crate) fn remove(&self, fd: BorrowedFd<'_>) -> Result<(), Errno> {
        let mut unused = libc::epoll_event { events: 0, u64: 0 };
        // SAFETY: `unused` is live; the kernel does not read it for this operation.
        let removed =
            unsafe { libc::epoll_ctl(self.0.as_raw_fd(), libc::EPOLL_CTL_DEL, fd.as_raw_fd(), &raw mut unused) };
        if removed < 0 { Err(Errno::last()) } else { Ok(()) }
    }

    /// Waits at most `timeout` milliseconds, or without limit if `timeout` is negative. Returns the numbers of the
    /// readable file descriptors, or an empty list after a timeout.
    pub(crate) fn wait(&self, timeout: i32) -> Result<Vec<u64>, Errno> {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; AT_ONCE];
        // The length is small, see `AT_ONCE`.
        let most = libc::c_int::try_from(events.len()).unwrap_or(1);
        // SAFETY: `events` is live and has room for `most` of them.
        let count = unsafe { libc::epoll_wait(self.0.as_raw_fd(), events.as_mut_ptr(), most, timeout) };
        let count = usize::try_from(count).map_err(|_| Errno::last())?;
        Ok(events.iter().take(count).map(|event| event.u64).collect())
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
            set.add(ours.as_fd(), number, Trigger::Edge).unwrap();
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
    #[test]
    #[cfg_attr(miri, ignore = "calls the kernel")]
    fn by_level_they_are_reported_until_they_are_read_or_removed() {
        let set = Epoll::new().unwrap();
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        set.add(ours.as_fd(), u64::MAX, Trigger::Level).unwrap();
        (&theirs).write_all(b"xx").unwrap();
        for _ in 0..2 {
            assert_eq!(set.wait(-1).unwrap(), [u64::MAX]);
            (&ours).read_exact(&mut [0]).unwrap();
        }
        assert_eq!(set.wait(0).unwrap(), [0; 0]);
        (&theirs).write_all(b"x").unwrap();
        set.remove(ours.as_fd()).unwrap();
        assert_eq!(set.wait(0).unwrap(), [0; 0]);
        assert_eq!(set.remove(ours.as_fd()), Err(Errno::from_raw(libc::ENOENT)));
    }
}
