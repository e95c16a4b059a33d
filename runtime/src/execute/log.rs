//! The verifier's log, whole.

use std::os::fd::OwnedFd;

use crate::error::Errno;

/// Where the buffer begins, and where it ends growing.
const FIRST: usize = 64 << 10;
const MOST: usize = 64 << 20;

/// Makes a request that was refused again, with a buffer for the log that grows until the log fits. `None` if there is no log.
///
/// The request gives its result and the size the log needs, 0 on kernels that do not say (before 6.4).
pub(super) fn whole(request: impl FnMut(&mut [u8]) -> Result<(Result<OwnedFd, Errno>, u32), Errno>) -> Option<String> {
    result_and_log(request).ok()?.1
}

/// The same with the result that the request had in the end, whose log it is.
pub(super) fn result_and_log(
    mut request: impl FnMut(&mut [u8]) -> Result<(Result<OwnedFd, Errno>, u32), Errno>,
) -> Result<(Result<OwnedFd, Errno>, Option<String>), Errno> {
    let mut buffer = vec![0; FIRST];
    loop {
        let (result, size) = request(&mut buffer)?;
        let size = usize::try_from(size).unwrap_or(MOST);
        let cut = size > buffer.len() || result.as_ref().is_err_and(|errno| errno.raw() == libc::ENOSPC);
        if !cut || buffer.len() >= MOST {
            return Ok((result, text(&buffer)));
        }
        let next = if size > buffer.len() { size } else { buffer.len() * 4 };
        buffer.clear();
        buffer.resize(next.min(MOST), 0);
    }
}

/// What a buffer holds up to the NUL, or `None` if that is nothing.
fn text(buffer: &[u8]) -> Option<String> {
    let end = buffer.iter().position(|&byte| byte == 0).unwrap_or(buffer.len());
    (end != 0).then(|| String::from_utf8_lossy(&buffer[..end]).into_owned())
}
