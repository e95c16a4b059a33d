//! The kernel's description of a link: `struct bpf_link_info` (Linux 7.3.4), and the names and lists that it refers to.
//!
//! The command describes programs, maps and BTF as well, with other structs, in which the fields of a link have a
//! different meaning. So a query of the kernel determines first whether the file descriptor is a link.

use std::os::fd::{AsRawFd, BorrowedFd};

use super::attr::GetInfo;
use super::link::is_link;
use super::{address_mut, bpf, len32};
use crate::error::Errno;
use crate::uapi::{Command, LinkType};

/// `struct bpf_link_info` in 32-bit words: type, id, program, padding, and twelve words whose fields depend on the kind of link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C, align(8))]
pub(crate) struct Words([u32; 16]);

/// The description of a link. Names and lists are empty if the link has none, or the kernel does not report them to this process.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct LinkInfo {
    pub(crate) words: Words,
    /// The name, without its NUL.
    pub(crate) name: Vec<u8>,
    /// Lists of 64-bit numbers, in the order of their fields.
    pub(crate) lists: [Vec<u64>; 3],
    /// The list of 32-bit ids.
    pub(crate) ids: Vec<u32>,
}

impl Words {
    /// Returns the 32-bit field at this index.
    pub(crate) fn at(&self, index: usize) -> u32 {
        self.0.get(index).copied().unwrap_or(0)
    }

    /// Returns the 64-bit field that begins at this index.
    pub(crate) fn wide_at(&self, index: usize) -> u64 {
        let [a, b] = [self.at(index), self.at(index + 1)].map(u32::to_ne_bytes);
        u64::from_ne_bytes([a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3]])
    }

    /// Sets the 32-bit field at this index.
    fn set(&mut self, index: usize, value: u32) -> Result<(), Errno> {
        *self.0.get_mut(index).ok_or(Errno::from_raw(libc::EINVAL))? = value;
        Ok(())
    }

    /// Sets the 64-bit field that begins at this index.
    fn set_wide(&mut self, index: usize, value: u64) -> Result<(), Errno> {
        let [a, b, c, d, e, f, g, h] = value.to_ne_bytes();
        self.set(index, u32::from_ne_bytes([a, b, c, d]))?;
        self.set(index + 1, u32::from_ne_bytes([e, f, g, h]))
    }
}

/// The buffers that the kernel fills for a kind of link: the indices of the fields that contain pointers to the
/// buffers, and their lengths.
#[derive(Clone, Copy, Debug, Default)]
struct Buffers {
    /// The fields with the pointer to the name and the length of its buffer.
    name: Option<(usize, usize)>,
    /// The fields with the pointers to lists of 64-bit numbers.
    lists: &'static [usize],
    /// The field with the pointer to a list of 32-bit ids.
    ids: Option<usize>,
    /// The field with the number of entries, which is the same for all lists.
    count: usize,
}

impl Buffers {
    const NONE: Self = Self { name: None, lists: &[], ids: None, count: 0 };

    /// Returns the buffers for a link with this description.
    fn of(plain: &Words) -> Self {
        match LinkType(plain.at(0)) {
            LinkType::RAW_TRACEPOINT | LinkType::ITER => Self { name: Some((4, 6)), ..Self::NONE },
            // The events of `enum bpf_perf_event_type` with a name: probes and tracepoints.
            LinkType::PERF_EVENT if (1..=5).contains(&plain.at(4)) => Self { name: Some((6, 8)), ..Self::NONE },
            LinkType::KPROBE_MULTI => Self { lists: &[4, 10], count: 6, ..Self::NONE },
            LinkType::UPROBE_MULTI => Self { name: Some((4, 12)), lists: &[6, 8, 10], count: 13, ids: None },
            LinkType::TRACING_MULTI => Self { lists: &[10, 12], ids: Some(8), count: 5, name: None },
            _ => Self::NONE,
        }
    }

    /// Returns whether there is no buffer.
    fn is_none(&self) -> bool {
        self.name.is_none() && !self.has_lists()
    }

    fn has_lists(&self) -> bool {
        !self.lists.is_empty() || self.ids.is_some()
    }

    fn without_lists(self) -> Self {
        Self { lists: &[], ids: None, ..self }
    }
}

/// The size of the buffer for a name, which may be a path.
const NAME: usize = 4096;

/// Reads the description of a link. Returns `EINVAL` for other file descriptors.
pub(crate) fn info(link: BorrowedFd<'_>) -> Result<LinkInfo, Errno> {
    if !is_link(link)? {
        return Err(Errno::from_raw(libc::EINVAL));
    }
    let mut plain = Words::default();
    request(link, &mut plain)?;
    let buffers = Buffers::of(&plain);
    let count = if buffers.has_lists() { usize::try_from(plain.at(buffers.count)).unwrap_or(0) } else { 0 };
    let all = if count == 0 { buffers.without_lists() } else { buffers };
    // Request fewer buffers if the kernel cannot report the content of one: see `is_unreported`.
    let (_, fewer) = all.lists.split_last().unwrap_or((&0, &[]));
    let attempts = [all, Buffers { lists: fewer, ..all }, Buffers { name: None, ..all }, all.without_lists()];
    for buffers in attempts.iter().filter(|buffers| !buffers.is_none()) {
        match fill(link, buffers, count) {
            Err(errno) if is_unreported(errno) => {}
            result => return result,
        }
    }
    Ok(LinkInfo { words: plain, ..LinkInfo::default() })
}

/// Returns whether this error can mean that the kernel cannot report the content of one of the buffers.
const fn is_unreported(errno: Errno) -> bool {
    // Older kernels do not have the last list (the cookies of kprobes: `E2BIG`), or require all lists or none of them
    // (`EINVAL`). A path can be too long for the buffer or the kernel (`ENOSPC`, `ENAMETOOLONG`).
    matches!(errno.raw(), libc::E2BIG | libc::EINVAL | libc::ENOSPC | libc::ENAMETOOLONG)
}

/// Reads the description of a link with these buffers, whose lists have this number of entries.
fn fill(link: BorrowedFd<'_>, buffers: &Buffers, count: usize) -> Result<LinkInfo, Errno> {
    let mut found = LinkInfo::default();
    if let Some((address_at, length_at)) = buffers.name {
        found.name = vec![0; NAME];
        found.words.set_wide(address_at, address_mut(&mut found.name))?;
        found.words.set(length_at, len32(NAME)?)?;
    }
    if buffers.has_lists() {
        found.words.set(buffers.count, len32(count)?)?;
    }
    for (list, address_at) in found.lists.iter_mut().zip(buffers.lists) {
        *list = zeros(count)?;
        found.words.set_wide(*address_at, address_mut(list))?;
    }
    if let Some(address_at) = buffers.ids {
        found.ids = zeros(count)?;
        found.words.set_wide(address_at, address_mut(&mut found.ids))?;
    }
    request(link, &mut found.words)?;
    found.name.truncate(found.name.iter().position(|byte| *byte == 0).unwrap_or(0));
    Ok(found)
}

/// Returns `count` zeros. A count from the kernel that does not fit in memory is an error.
fn zeros<T: Clone + Default>(count: usize) -> Result<Vec<T>, Errno> {
    let mut list = Vec::new();
    list.try_reserve_exact(count).map_err(|_| Errno::from_raw(libc::ENOMEM))?;
    list.resize(count, T::default());
    Ok(list)
}

/// Makes the request. `words` are zero, or as [`fill`] sets them for this link.
fn request(link: BorrowedFd<'_>, words: &mut Words) -> Result<(), Errno> {
    let mut attr = GetInfo {
        bpf_fd: link.as_raw_fd(),
        info_len: len32(size_of::<Words>())?,
        info: address_mut(std::slice::from_mut(words)),
    };
    // SAFETY: the kernel writes at most `info_len` bytes to `words`. `info` has checked that the file descriptor is a
    // link. All pointers in the words are null, or those of live buffers whose lengths are in the words too:
    // `Buffers::of` has chosen the fields by the kind of this link, which never changes, and all lists have the number
    // of entries in their common field.
    unsafe { bpf(Command::OBJ_GET_INFO_BY_FD, &mut attr) }.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_fields_have_two_words() {
        let mut words = Words::default();
        words.set_wide(4, 0x1122_3344_5566_7788).unwrap();
        assert_eq!((words.wide_at(4), words.wide_at(3), words.at(15)), (0x1122_3344_5566_7788, words.wide_at(3), 0));
        words.set(15, 7).unwrap();
        assert_eq!((words.at(15), words.at(16)), (7, 0));
        assert!(words.set(16, 0).is_err() && words.set_wide(15, 0).is_err());
    }

    #[test]
    fn a_number_of_entries_that_cannot_be_is_an_error() {
        assert_eq!(zeros::<u64>(2), Ok(vec![0; 2]));
        assert_eq!(zeros::<u64>(usize::MAX), Err(Errno::from_raw(libc::ENOMEM)));
        assert!(![libc::EFAULT, libc::ENOMEM, libc::EPERM].map(Errno::from_raw).into_iter().any(is_unreported));
    }

    #[test]
    #[cfg_attr(miri, ignore = "calls the kernel")]
    fn other_files_are_not_links() {
        let file = std::fs::File::open("/dev/null").unwrap();
        let error = info(std::os::fd::AsFd::as_fd(&file)).unwrap_err();
        assert!([libc::EINVAL, libc::EPERM, libc::ENOSYS].contains(&error.raw()), "{error}");
    }

    #[test]
    fn buffers_fit_in_the_description() {
        for kind in 0..32 {
            for event in 0..8 {
                let mut words = Words::default();
                words.set(0, kind).unwrap();
                words.set(4, event).unwrap();
                let Buffers { name, lists, ids, count } = Buffers::of(&words);
                let addresses = name.iter().map(|(address, _)| *address).chain(lists.iter().copied()).chain(ids);
                // No pointer overlaps another pointer or a length.
                let mut used: Vec<usize> = addresses.flat_map(|at| [at, at + 1]).collect();
                used.extend(name.map(|(_, length)| length));
                used.extend((!lists.is_empty()).then_some(count));
                let len = used.len();
                used.sort_unstable();
                used.dedup();
                assert!(used.len() == len && used.iter().all(|at| (4..16).contains(at)), "{kind} {event}: {used:?}");
            }
        }
    }
}
