//! The verifier's log, up to the size that the user set.

use std::os::fd::OwnedFd;

use crate::error::Errno;

/// The initial size of the buffer, and its default maximum.
const FIRST: usize = 64 << 10;
const MOST: usize = 64 << 20;
/// The kernel rejects smaller buffers (`bpf_verifier_log_attr_valid`), and those larger than `u32::MAX >> 2` bytes.
const LEAST: usize = 128;
const LIMIT: usize = (u32::MAX >> 2) as usize;

/// The outcome of a request: its result, and the size of the whole log in bytes (0 before Linux 6.4, which does not return it).
pub(super) type Attempt = Result<(Result<OwnedFd, Errno>, u32), Errno>;

/// Repeats a rejected request with a buffer for the log, and returns the log. The buffer grows until the log fits or it has `most` bytes, if
/// set. Returns `None` if the kernel wrote no log, or if the request succeeds now.
pub(super) fn whole(most: Option<usize>, request: impl FnMut(&mut [u8]) -> Attempt) -> Option<String> {
    // If the request succeeds now, its log does not have the reason why it failed before.
    growing(most, request).ok().filter(|(result, _)| result.is_err())?.1
}

/// Makes a request with a log, and returns the result that the request would have without a log. The kernel returns
/// `ENOSPC` if the log does not fit, even for a valid program, and `EINVAL` or `EFAULT` if it cannot write the log or
/// does not support the log level. In these cases, `plain` makes the request without a log. Of a log that does not fit,
/// Linux 6.4 and later keep the end, unless the level has `BPF_LOG_FIXED`; older kernels keep the beginning.
pub(super) fn result_and_log(
    most: Option<usize>,
    request: impl FnMut(&mut [u8]) -> Attempt,
    plain: impl FnOnce() -> Attempt,
) -> Result<(Result<OwnedFd, Errno>, Option<String>), Errno> {
    match growing(most, request)? {
        (Err(errno), log) if errno.raw() == libc::ENOSPC || log.is_none() => {
            let result = plain()?.0;
            let log =
                log.or_else(|| result.is_ok().then(|| format!("the kernel wrote no log at this log level: {errno}\n")));
            Ok((result, log))
        }
        answer => Ok(answer),
    }
}

fn growing(
    most: Option<usize>,
    mut request: impl FnMut(&mut [u8]) -> Attempt,
) -> Result<(Result<OwnedFd, Errno>, Option<String>), Errno> {
    let most = most.unwrap_or(MOST).clamp(LEAST, LIMIT);
    let mut buffer = vec![0; FIRST.min(most)];
    loop {
        let (result, size) = request(&mut buffer)?;
        let size = usize::try_from(size).unwrap_or(LIMIT);
        let cut = size > buffer.len() || result.as_ref().is_err_and(|errno| errno.raw() == libc::ENOSPC);
        if !cut || buffer.len() >= most {
            return Ok((result, text(&buffer)));
        }
        let next = if size > buffer.len() { size } else { buffer.len() * 4 };
        buffer.clear();
        buffer.resize(next.min(most), 0);
    }
}

/// Returns the text of a buffer up to the NUL, or `None` if that is empty.
pub(super) fn text(buffer: &[u8]) -> Option<String> {
    let end = buffer.iter().position(|&byte| byte == 0).unwrap_or(buffer.len());
    (end != 0).then(|| String::from_utf8_lossy(&buffer[..end]).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Imitates a kernel that fills the whole buffer and reports that the log has `needs` bytes.
    fn refused(needs: u32, sizes: &mut Vec<usize>) -> impl FnMut(&mut [u8]) -> Attempt {
        move |buffer| {
            sizes.push(buffer.len());
            buffer.fill(b'x');
            Ok((Err(Errno::from_raw(libc::EINVAL)), needs))
        }
    }

    #[test]
    fn the_buffer_grows_up_to_the_maximum() {
        for (most, needs, expected) in [
            (None, 100, vec![FIRST]),
            (None, 100_000, vec![FIRST, 100_000]),
            (Some(80_000), 100_000, vec![FIRST, 80_000]),
            (Some(1), 100_000, vec![LEAST]),
        ] {
            let mut sizes = Vec::new();
            let log = whole(most, refused(needs, &mut sizes));
            assert_eq!(log.map(|log| log.len()), sizes.last().copied());
            assert_eq!(sizes, expected);
        }
    }

    #[test]
    fn a_log_that_does_not_fit_does_not_change_the_result() {
        let fd = || OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
        let error = |number| Err(Errno::from_raw(number));
        let mut tries = 0;
        let cut = |with_size: bool| {
            move |buffer: &mut [u8]| -> Attempt {
                buffer.fill(b'x');
                Ok((error(libc::ENOSPC), if with_size { 1 << 30 } else { 0 }))
            }
        };
        for with_size in [true, false] {
            // A program that loads, and one that does not.
            let (result, log) = result_and_log(Some(100_000), cut(with_size), || Ok((Ok(fd()), 0))).unwrap();
            assert_eq!((result.is_ok(), log.map(|log| log.len())), (true, Some(100_000)));
            let refused = || Ok((error(libc::EACCES), 0));
            let (result, log) = result_and_log(Some(100_000), cut(with_size), refused).unwrap();
            assert_eq!((result.err().map(Errno::raw), log.is_some()), (Some(libc::EACCES), true));
        }
        // A log level that the kernel does not support.
        let unknown = |_: &mut [u8]| -> Attempt {
            tries += 1;
            Ok((error(libc::EINVAL), 0))
        };
        let (result, log) = result_and_log(None, unknown, || Ok((Ok(fd()), 0))).unwrap();
        assert!(result.is_ok() && log.unwrap().contains("EINVAL") && tries == 1);
        // A verdict with its log is final.
        let verdict = |buffer: &mut [u8]| -> Attempt {
            buffer[0] = b'R';
            Ok((error(libc::EINVAL), 0))
        };
        let (result, log) = result_and_log(None, verdict, || unreachable!()).unwrap();
        assert_eq!((result.err().map(Errno::raw), log.as_deref()), (Some(libc::EINVAL), Some("R")));
    }
}
