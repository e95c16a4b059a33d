//! The verifier's log, as much of it as is wanted.

use std::os::fd::OwnedFd;

use crate::error::Errno;

/// Where the buffer begins, and where it ends growing unless the user says otherwise.
const FIRST: usize = 64 << 10;
const MOST: usize = 64 << 20;
/// The kernel takes no smaller buffer (`bpf_verifier_log_attr_valid`), and none of more than a quarter of what 32 bits count.
const LEAST: usize = 128;
const LIMIT: usize = (u32::MAX >> 2) as usize;

/// What came of a request: its result, and how many bytes the whole log needs, 0 on kernels that do not say (before 6.4).
pub(super) type Attempt = Result<(Result<OwnedFd, Errno>, u32), Errno>;

/// Makes a request that was refused again, with a buffer for the log that grows until the log fits or has the most bytes that are
/// wanted. `None` if there is no log.
pub(super) fn whole(most: Option<usize>, request: impl FnMut(&mut [u8]) -> Attempt) -> Option<String> {
    result_and_log(most, request).ok()?.1
}

/// The same with the result that the request had in the end, whose log it is.
pub(super) fn result_and_log(
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

/// What a buffer holds up to the NUL, or `None` if that is nothing.
fn text(buffer: &[u8]) -> Option<String> {
    let end = buffer.iter().position(|&byte| byte == 0).unwrap_or(buffer.len());
    (end != 0).then(|| String::from_utf8_lossy(&buffer[..end]).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A kernel that fills whatever it is given, and says that it would need so many bytes.
    fn refused(needs: u32, sizes: &mut Vec<usize>) -> impl FnMut(&mut [u8]) -> Attempt {
        move |buffer| {
            sizes.push(buffer.len());
            buffer.fill(b'x');
            Ok((Err(Errno::from_raw(libc::EINVAL)), needs))
        }
    }

    #[test]
    fn the_buffer_grows_to_what_is_needed_and_no_further_than_wanted() {
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
}
