//! Waiting for several buffers with one system call, and ending the wait from another thread.
//!
//! A [`Poller`] has file descriptors with tokens. It does not read records: each buffer has its own typed reader. This
//! module does not depend on the kinds of the file descriptors.

use std::os::fd::AsFd;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::handle::milliseconds;
use crate::error::{Error, ErrorKind, Result, Step};
use crate::sys::descriptor;
use crate::sys::epoll::{self, Epoll, Trigger};
use crate::sys::eventfd::EventFd;

/// The number of the waker in the epoll instance. Tokens have 32 bits, so no token is equal to it.
const WAKER: u64 = u64::MAX;

/// A set of ring buffers, perf buffers and other file descriptors to wait for together. Each has a token, which a wait
/// reports when it is ready.
///
/// ```no_run
/// use skelgen_runtime::map::{PerfBuffer, Poller, RingBuf};
/// # type Event = [u64; 2];
///
/// const EXECS: u32 = 0;
/// const TRACES: u32 = 1;
///
/// fn show(execs: &RingBuf<Event>, traces: &PerfBuffer) -> skelgen_runtime::Result<()> {
///     let poller = Poller::new()?;
///     poller.add(execs, EXECS)?;
///     poller.add(traces, TRACES)?;
///     let waker = poller.waker();
///     std::thread::spawn(move || {
///         let _ = std::io::stdin().read_line(&mut String::new());
///         waker.wake();
///     });
///     loop {
///         let ready = poller.wait(None)?;
///         if ready.contains(EXECS) {
///             execs.drain(|event| println!("{event:?}"))?;
///         }
///         if ready.contains(TRACES) {
///             let drained = traces.drain(|cpu, bytes| println!("{} bytes on CPU {cpu}", bytes.len()))?;
///             println!("{} were lost", drained.lost);
///         }
///         if ready.is_woken() {
///             return Ok(());
///         }
///     }
/// }
/// ```
///
/// # What is reported
/// - A [`RingBuf`](super::RingBuf) is reported by each wait until its records have been read.
/// - A [`PerfBuffer`](super::PerfBuffer) is reported once for each [wakeup](super::PerfWakeup) of a CPU. Drain it each
///   time, without `PerfBuffer::poll`, which consumes the wakeups. If records were read before the buffer was added,
///   drain it once after adding it.
/// - Any other file descriptor, such as a socket, a timer or another poller, is reported by each wait while it is
///   readable, has an error or was hung up.
///
/// One wait reports at most 64 file descriptors; the next one reports the others.
///
/// # File descriptors
/// A poller owns two file descriptors: an epoll instance and an eventfd for its wakers. It does not own the file
/// descriptors that are added. The kernel removes a file from the poller only when the last descriptor of the file is
/// closed, and several handles of a map can share a file. If another descriptor of the file stays open,
/// [`remove`](Self::remove) a handle from the poller before you drop the handle.
///
/// Several threads can wait; each report goes to one or more of them.
#[derive(Debug)]
pub struct Poller {
    epoll: Epoll,
    event: Arc<EventFd>,
}

impl Poller {
    /// Creates a poller without file descriptors to wait for.
    ///
    /// # Errors
    /// If the process has too many open files.
    pub fn new() -> Result<Self> {
        let refused = |what, errno| Error::refused(format_args!("cannot create {what}"), errno).during(Step::Open);
        let epoll = Epoll::new().map_err(|errno| refused("an epoll instance", errno))?;
        let event = EventFd::new().map_err(|errno| refused("an eventfd", errno))?;
        epoll.add(event.as_fd(), WAKER, Trigger::Level).map_err(|errno| refused("a waker", errno))?;
        Ok(Self { epoll, event: Arc::new(event) })
    }

    /// Adds a file descriptor. Waits report `token` when it is readable. Several file descriptors can have one token.
    ///
    /// # Errors
    /// If the file descriptor was added already ([`ErrorKind::AlreadyExists`]), epoll does not support the file, such
    /// as a regular file ([`ErrorKind::InvalidInput`]), or the user has reached the limit in
    /// `/proc/sys/fs/epoll/max_user_watches`.
    pub fn add(&self, fd: &(impl AsFd + ?Sized), token: u32) -> Result<()> {
        self.epoll.add(fd.as_fd(), u64::from(token), Trigger::Level).map_err(|errno| {
            let error =
                Error::refused(format_args!("cannot add a file descriptor with token {token} to a poller"), errno)
                    .during(Step::Open);
            match errno.raw() {
                libc::EPERM => error
                    .with_kind(ErrorKind::InvalidInput)
                    .note("epoll does not support files of this kind, such as regular files and directories"),
                libc::EEXIST => {
                    error.with_help("the file descriptor was added before: remove it first to change its token")
                }
                libc::ENOSPC => error.note("the limit is /proc/sys/fs/epoll/max_user_watches"),
                _ => error,
            }
        })
    }

    /// Removes a file descriptor.
    ///
    /// # Errors
    /// If the file descriptor was not added ([`ErrorKind::NotFound`]).
    ///
    /// ```no_run
    /// # fn f(poller: &skelgen_runtime::map::Poller, events: skelgen_runtime::map::RingBuf) -> skelgen_runtime::Result<()> {
    /// poller.remove(&events)?;
    /// drop(events);
    /// # Ok(())
    /// # }
    /// ```
    pub fn remove(&self, fd: &(impl AsFd + ?Sized)) -> Result<()> {
        self.epoll.remove(fd.as_fd()).map_err(|errno| {
            let error = Error::refused("cannot remove a file descriptor from a poller", errno).during(Step::Open);
            if errno.raw() == libc::EPERM { error.with_kind(ErrorKind::NotFound) } else { error }
        })
    }

    /// Waits until a file descriptor is ready or a waker is used, for at most `timeout` if it is set. With a timeout of
    /// zero, returns at once. After the timeout or a signal, the result is empty.
    ///
    /// # Errors
    /// If the kernel rejects the wait.
    pub fn wait(&self, timeout: Option<Duration>) -> Result<Ready> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            let left = deadline.map(|end| end.saturating_duration_since(Instant::now()));
            let numbers = match self.epoll.wait(milliseconds(left)) {
                Ok(numbers) => numbers,
                Err(errno) if errno.raw() == libc::EINTR => return Ok(Ready::default()),
                Err(errno) => {
                    return Err(
                        Error::refused("cannot wait for a poller's file descriptors", errno).during(Step::ReadMap)
                    );
                }
            };
            let timed_out = numbers.is_empty() && left.is_some_and(|left| left < epoll::LONGEST);
            // Another thread may have been woken instead.
            let is_woken = numbers.contains(&WAKER) && self.event.take();
            let tokens: Vec<u32> = numbers.into_iter().filter_map(|number| u32::try_from(number).ok()).collect();
            let ready = Ready { tokens, is_woken };
            if timed_out || !ready.is_empty() {
                return Ok(ready);
            }
        }
    }

    /// Returns a waker, which ends a wait from another thread.
    #[must_use]
    pub fn waker(&self) -> Waker {
        Waker(Arc::downgrade(&self.event))
    }
}

descriptor! {
    /// The file descriptor is readable while a file descriptor of the poller is ready, so that an event loop or another
    /// poller can wait for this one.
    [] Poller: self => self.epoll
}

/// The result of [`Poller::wait`]: the tokens of the file descriptors that are ready, and whether a waker was used.
///
/// ```
/// use skelgen_runtime::map::Poller;
///
/// fn wait(poller: &Poller) -> skelgen_runtime::Result<()> {
///     let ready = poller.wait(None)?;
///     if !ready.is_empty() {
///         ready.tokens().for_each(|token| println!("{token} can be read"));
///     }
///     Ok(())
/// }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "it contains the tokens of the file descriptors that are ready"]
pub struct Ready {
    tokens: Vec<u32>,
    is_woken: bool,
}

impl Ready {
    /// Iterates over the tokens, one for each file descriptor that is ready.
    pub fn tokens(&self) -> impl Iterator<Item = u32> + '_ {
        self.tokens.iter().copied()
    }

    /// Returns whether a file descriptor with this token is ready.
    #[must_use]
    pub fn contains(&self, token: u32) -> bool {
        self.tokens.contains(&token)
    }

    /// Returns whether a [`Waker`] was used.
    #[must_use]
    pub fn is_woken(&self) -> bool {
        self.is_woken
    }

    /// Returns whether nothing is ready and no waker was used: the wait ended by its timeout or a signal.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty() && !self.is_woken
    }
}

/// A handle that wakes a thread blocked in [`Poller::wait`], for example to stop the thread.
///
/// A waker does not keep the poller's file descriptors open. Once the poller is dropped, its wakers have no effect.
///
/// ```
/// use skelgen_runtime::map::Poller;
///
/// let poller = Poller::new()?;
/// let waker = poller.waker();
/// let thread = std::thread::spawn(move || waker.wake());
/// assert!(poller.wait(None)?.is_woken());
/// # thread.join().unwrap();
/// # Ok::<(), skelgen_runtime::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Waker(Weak<EventFd>);

impl Waker {
    /// Ends one wait of the poller: the current one or, if no thread waits, the next one. Several calls before the next
    /// wait end only that wait.
    pub fn wake(&self) {
        if let Some(event) = self.0.upgrade() {
            event.signal();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::error::golden;

    const NOW: Option<Duration> = Some(Duration::ZERO);

    #[test]
    #[cfg_attr(miri, ignore = "calls the kernel")]
    fn what_is_readable_is_reported_with_its_token() {
        let poller = Poller::new().unwrap();
        let pairs = [(); 3].map(|()| UnixStream::pair().unwrap());
        for ((ours, _), token) in pairs.iter().zip([7, 0, u32::MAX]) {
            poller.add(ours, token).unwrap();
        }
        assert!(poller.wait(NOW).unwrap().is_empty());
        for (_, theirs) in &pairs[1..] {
            (&*theirs).write_all(b"x").unwrap();
        }
        for _ in 0..2 {
            let ready = poller.wait(None).unwrap();
            let mut tokens: Vec<u32> = ready.tokens().collect();
            tokens.sort_unstable();
            assert_eq!((tokens, ready.is_woken()), (vec![0, u32::MAX], false));
            assert!(ready.contains(0) && !ready.contains(7));
        }
        (&pairs[1].0).read_exact(&mut [0]).unwrap();
        poller.remove(&pairs[2].0).unwrap();
        assert!(poller.wait(Some(Duration::from_millis(2))).unwrap().is_empty());
        // A poller in a poller.
        let outer = Poller::new().unwrap();
        outer.add(&poller, 5).unwrap();
        assert!(outer.wait(NOW).unwrap().is_empty());
        (&pairs[0].1).write_all(b"x").unwrap();
        assert!(outer.wait(None).unwrap().contains(5) && poller.wait(NOW).unwrap().contains(7));
    }

    #[test]
    #[cfg_attr(miri, ignore = "calls the kernel")]
    fn a_waker_ends_one_wait() {
        let poller = Poller::new().unwrap();
        let waker = poller.waker();
        waker.wake();
        waker.clone().wake();
        assert!(poller.wait(None).unwrap().is_woken());
        assert!(poller.wait(NOW).unwrap().is_empty());
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(20));
                waker.wake();
            });
            let ready = poller.wait(None).unwrap();
            assert!(ready.is_woken() && ready.tokens().next().is_none());
        });
        drop(poller);
        assert!(waker.0.upgrade().is_none(), "the eventfd is closed");
        waker.wake();
    }

    #[test]
    #[cfg_attr(miri, ignore = "calls the kernel")]
    fn what_cannot_be_added_is_an_error() {
        let poller = Poller::new().unwrap();
        let file = File::open("/proc/self/exe").unwrap();
        golden::check("poller with a regular file", ErrorKind::InvalidInput, &poller.add(&file, 3).unwrap_err());
        let (ours, _theirs) = UnixStream::pair().unwrap();
        poller.add(&ours, 1).unwrap();
        golden::check(
            "poller with a file descriptor that it has",
            ErrorKind::AlreadyExists,
            &poller.add(&ours, 2).unwrap_err(),
        );
        poller.remove(&ours).unwrap();
        golden::check(
            "poller without a file descriptor to remove",
            ErrorKind::NotFound,
            &poller.remove(&ours).unwrap_err(),
        );
        assert_eq!(poller.remove(&file).unwrap_err().kind(), ErrorKind::NotFound);
    }
}
