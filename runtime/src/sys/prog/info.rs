//! Reads the kernel's description of a program: its numbers and, if [`Parts`] selects them, its code and the records
//! about the code.
//!
//! Queries the kernel twice: first for the lengths, then with buffers of these lengths. Parts that the kernel hides
//! from this process are empty: the kernel sets their pointers to 0. To read another part, add its buffer to
//! [`Description`], the buffer's pointer and length to [`query`], and the length in the answer to [`Description::cut`].
//!
//! The command also describes maps, links and BTF, with different structs, in which the kernel would interpret lengths
//! and pointers as other fields. These structs are shorter than this one. So every request sets a pointer beyond their
//! end: for a descriptor of a map, link or BTF, the kernel rejects the request (`E2BIG`). The first request has no
//! other pointer.

use std::os::fd::{AsRawFd, BorrowedFd};

use super::super::attr::GetInfo;
use super::super::{address_mut, bpf, len32};
use super::{FUNC_INFO, RECORD};
use crate::error::Errno;
use crate::uapi::Command;

/// `struct bpf_prog_info` (Linux 7.3.4). Fields that a kernel does not know stay zero.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(crate) struct ProgInfo {
    pub(crate) prog_type: u32,
    pub(crate) id: u32,
    pub(crate) tag: [u8; 8],
    pub(crate) jited_prog_len: u32,
    pub(crate) xlated_prog_len: u32,
    jited_prog_insns: u64,
    xlated_prog_insns: u64,
    pub(crate) load_time: u64,
    pub(crate) created_by_uid: u32,
    pub(crate) nr_map_ids: u32,
    map_ids: u64,
    pub(crate) name: [u8; 16],
    pub(crate) ifindex: u32,
    /// A bitfield of one bit, whose position depends on the byte order. The other bits are zero.
    pub(crate) gpl_compatible: u32,
    pub(crate) netns_dev: u64,
    pub(crate) netns_ino: u64,
    pub(crate) nr_jited_ksyms: u32,
    nr_jited_func_lens: u32,
    jited_ksyms: u64,
    jited_func_lens: u64,
    pub(crate) btf_id: u32,
    func_info_rec_size: u32,
    func_info: u64,
    pub(crate) nr_func_info: u32,
    nr_line_info: u32,
    line_info: u64,
    jited_line_info: u64,
    nr_jited_line_info: u32,
    line_info_rec_size: u32,
    jited_line_info_rec_size: u32,
    nr_prog_tags: u32,
    prog_tags: u64,
    pub(crate) run_time_ns: u64,
    pub(crate) run_cnt: u64,
    pub(crate) recursion_misses: u64,
    pub(crate) verified_insns: u32,
    pub(crate) attach_btf_obj_id: u32,
    pub(crate) attach_btf_id: u32,
    zero: u32,
}

const _: () = {
    assert!(size_of::<ProgInfo>() == 232);
    assert!(std::mem::offset_of!(ProgInfo, name) == 64);
    assert!(std::mem::offset_of!(ProgInfo, btf_id) == 128);
    assert!(std::mem::offset_of!(ProgInfo, prog_tags) == 184);
    assert!(std::mem::offset_of!(ProgInfo, run_cnt) == 200);
    assert!(std::mem::offset_of!(ProgInfo, attach_btf_id) == 224);
};

/// The parts of a description that need buffers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Parts {
    /// The ids of the program's maps.
    pub(crate) map_ids: bool,
    /// The instructions after verification.
    pub(crate) insns: bool,
    /// The function records.
    pub(crate) functions: bool,
    /// The machine code, and the addresses, lengths and tags of its functions.
    pub(crate) code: bool,
    /// The line records.
    pub(crate) lines: bool,
}

/// A description of a program. Parts that were not selected, that the program does not have or that the kernel hides are empty.
#[derive(Debug, Default)]
pub(crate) struct Description {
    pub(crate) info: ProgInfo,
    /// The number of bytes of `info` that the kernel knows.
    known: u32,
    pub(crate) map_ids: Vec<u32>,
    pub(crate) insns: Vec<u8>,
    /// The machine code of all functions, one after another.
    pub(crate) code: Vec<u8>,
    /// The address of each function.
    pub(crate) addresses: Vec<u64>,
    /// The length of each function's machine code, in bytes.
    pub(crate) code_lens: Vec<u32>,
    /// The tag of each function.
    pub(crate) tags: Vec<[u8; 8]>,
    func_info: Vec<u8>,
    line_info: Vec<u8>,
    /// The address of each line record's machine code.
    pub(crate) line_addresses: Vec<u64>,
}

impl Description {
    /// Returns whether the kernel knows the field that ends at this offset.
    pub(crate) fn knows(&self, end: usize) -> bool {
        usize::try_from(self.known).is_ok_and(|known| known >= end)
    }

    /// Iterates over the function records: the index of a function's first instruction, and its BTF id.
    pub(crate) fn functions(&self) -> impl Iterator<Item = [u32; 2]> + '_ {
        records(&self.func_info, self.info.func_info_rec_size)
    }

    /// Iterates over the line records: the index of an instruction, the string offsets of the file's name and the line's text, and the
    /// numbers of line and column.
    pub(crate) fn lines(&self) -> impl Iterator<Item = [u32; 4]> + '_ {
        records(&self.line_info, self.info.line_info_rec_size)
    }

    /// Adds function and line records, for tests.
    #[cfg(test)]
    pub(crate) fn add_records(&mut self, functions: &[[u32; 2]], lines: &[[u32; 4]]) {
        self.info.func_info_rec_size = 8;
        self.info.line_info_rec_size = 16;
        self.func_info.extend(functions.as_flattened().iter().flat_map(|word| word.to_ne_bytes()));
        self.line_info.extend(lines.as_flattened().iter().flat_map(|word| word.to_ne_bytes()));
    }

    /// Resizes the buffers of these parts to the lengths in the kernel's answer to a request without buffers.
    fn reserve(&mut self, parts: Parts) -> Result<(), Errno> {
        const EINVAL: Errno = Errno::from_raw(libc::EINVAL);
        let info = self.info;
        let len = |wanted: bool, count: u32, size: usize| {
            let count = if wanted { usize::try_from(count).map_err(|_| EINVAL)? } else { 0 };
            count.checked_mul(size).ok_or(EINVAL)
        };
        let record = |size: u32, least: usize| usize::try_from(size).map_err(|_| EINVAL).map(|size| size.max(least));
        let functions = record(info.func_info_rec_size, FUNC_INFO)?;
        let lines = record(info.line_info_rec_size, RECORD)?;
        resize(&mut self.map_ids, len(parts.map_ids, info.nr_map_ids, 1)?)?;
        resize(&mut self.insns, len(parts.insns, info.xlated_prog_len, 1)?)?;
        resize(&mut self.code, len(parts.code, info.jited_prog_len, 1)?)?;
        resize(&mut self.addresses, len(parts.code, info.nr_jited_ksyms, 1)?)?;
        resize(&mut self.code_lens, len(parts.code, info.nr_jited_func_lens, 1)?)?;
        resize(&mut self.tags, len(parts.code, info.nr_prog_tags, 1)?)?;
        resize(&mut self.func_info, len(parts.functions, info.nr_func_info, functions)?)?;
        resize(&mut self.line_info, len(parts.lines, info.nr_line_info, lines)?)?;
        resize(&mut self.line_addresses, len(parts.lines, info.nr_jited_line_info, 1)?)
    }

    /// Truncates the buffers to the lengths that the kernel wrote.
    fn cut(&mut self) {
        let info = self.info;
        cut(&mut self.map_ids, info.map_ids, info.nr_map_ids, 1);
        cut(&mut self.insns, info.xlated_prog_insns, info.xlated_prog_len, 1);
        cut(&mut self.code, info.jited_prog_insns, info.jited_prog_len, 1);
        cut(&mut self.addresses, info.jited_ksyms, info.nr_jited_ksyms, 1);
        cut(&mut self.code_lens, info.jited_func_lens, info.nr_jited_func_lens, 1);
        cut(&mut self.tags, info.prog_tags, info.nr_prog_tags, 1);
        cut(&mut self.func_info, info.func_info, info.nr_func_info, info.func_info_rec_size);
        cut(&mut self.line_info, info.line_info, info.nr_line_info, info.line_info_rec_size);
        cut(&mut self.line_addresses, info.jited_line_info, info.nr_jited_line_info, 1);
    }
}

/// Reads the description of a program. Returns `E2BIG` for any other object, and `EINVAL` for other file descriptors.
pub(crate) fn describe(program: BorrowedFd<'_>, parts: Parts) -> Result<Description, Errno> {
    let mut found = Description::default();
    query(program, &mut found)?;
    if !found.knows(std::mem::offset_of!(ProgInfo, run_time_ns)) {
        return Err(Errno::from_raw(libc::E2BIG));
    }
    loop {
        found.reserve(parts)?;
        let room = found.map_ids.len();
        query(program, &mut found)?;
        // Maps can be bound to the program at any time; nothing else changes.
        let bound = usize::try_from(found.info.nr_map_ids).unwrap_or(usize::MAX);
        if !parts.map_ids || bound <= room {
            found.cut();
            return Ok(found);
        }
    }
}

/// Queries the description, and as much of each part as its buffer has room for.
fn query(program: BorrowedFd<'_>, found: &mut Description) -> Result<(), Errno> {
    let before = found.info;
    // The kernel accepts only its own size of records, which its first answer has. The size must be 0 for records that
    // are not requested.
    let size_if = |wanted: bool, size: u32| if wanted { size } else { 0 };
    let functions = size_if(!found.func_info.is_empty(), before.func_info_rec_size);
    let lines = size_if(!found.line_info.is_empty(), before.line_info_rec_size);
    let line_addresses = size_if(!found.line_addresses.is_empty(), before.jited_line_info_rec_size);
    if line_addresses != 0 && line_addresses != 8 {
        return Err(Errno::from_raw(libc::EINVAL));
    }
    let records = |buffer: &[u8], size: u32| {
        let size = usize::try_from(size).unwrap_or(0);
        buffer.len().checked_div(size).map_or(Ok(0), len32)
    };
    let mut info = ProgInfo {
        nr_map_ids: len32(found.map_ids.len())?,
        map_ids: address_mut(&mut found.map_ids),
        xlated_prog_len: len32(found.insns.len())?,
        xlated_prog_insns: address_mut(&mut found.insns),
        jited_prog_len: len32(found.code.len())?,
        jited_prog_insns: address_mut(&mut found.code),
        nr_jited_ksyms: len32(found.addresses.len())?,
        jited_ksyms: address_mut(&mut found.addresses),
        nr_jited_func_lens: len32(found.code_lens.len())?,
        jited_func_lens: address_mut(&mut found.code_lens),
        nr_prog_tags: len32(found.tags.len())?,
        // Without a buffer for tags, a pointer that the kernel does not use; see the module's documentation.
        prog_tags: address_mut(&mut found.tags).max(1),
        nr_func_info: records(&found.func_info, functions)?,
        func_info: address_mut(&mut found.func_info),
        func_info_rec_size: functions,
        nr_line_info: records(&found.line_info, lines)?,
        line_info: address_mut(&mut found.line_info),
        line_info_rec_size: lines,
        nr_jited_line_info: len32(found.line_addresses.len())?,
        jited_line_info: address_mut(&mut found.line_addresses),
        jited_line_info_rec_size: line_addresses,
        ..ProgInfo::default()
    };
    let mut attr = GetInfo {
        bpf_fd: program.as_raw_fd(),
        info_len: len32(size_of::<ProgInfo>())?,
        info: address_mut(std::slice::from_mut(&mut info)),
    };
    // SAFETY: `prog_tags` is not zero, and lies beyond the end of the structs for maps, links and BTF (at most 104
    // bytes in 7.3.4): for these objects, the kernel rejects the request (`bpf_check_uarg_tail_zero`). In case a newer
    // kernel has longer structs, the first request has no buffers, so that all lengths are zero, and `describe` makes
    // no second request unless the answer has the length of a program's description. For a program, the kernel writes
    // at most `info_len` bytes to `info`, for which every bit pattern is valid. To each buffer it writes at most the
    // number of elements in the field of its length, which is that of the buffer. Records have the sizes in `info`, or
    // the request is rejected.
    unsafe { bpf(Command::OBJ_GET_INFO_BY_FD, &mut attr) }?;
    found.info = info;
    found.known = attr.info_len;
    Ok(())
}

/// Resizes a buffer. A length from the kernel that does not fit in memory is an error.
fn resize<T: Clone + Default>(buffer: &mut Vec<T>, len: usize) -> Result<(), Errno> {
    buffer.clear();
    buffer.try_reserve_exact(len).map_err(|_| Errno::from_raw(libc::ENOMEM))?;
    buffer.resize(len, T::default());
    Ok(())
}

/// Truncates a buffer to this number of elements of this size, or empties it if the kernel has set its pointer to 0.
fn cut<T>(buffer: &mut Vec<T>, address: u64, count: u32, size: u32) {
    let len = if address == 0 { 0 } else { u64::from(count) * u64::from(size) };
    buffer.truncate(usize::try_from(len).unwrap_or(usize::MAX));
}

/// Iterates over the first words of each record of this size in bytes.
fn records<const N: usize>(bytes: &[u8], size: u32) -> impl Iterator<Item = [u32; N]> + '_ {
    let size = usize::try_from(size).unwrap_or(0).max(N * 4);
    bytes.chunks_exact(size).map(|record| {
        let mut words = [0; N];
        for (word, bytes) in words.iter_mut().zip(record.chunks_exact(4)) {
            *word = bytes.first_chunk().map_or(0, |&bytes| u32::from_ne_bytes(bytes));
        }
        words
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_newer_kernels_are_longer() {
        let words: Vec<u8> = (0..9_u32).flat_map(u32::to_ne_bytes).collect();
        assert_eq!(records::<2>(&words, 8).collect::<Vec<_>>(), [[0, 1], [2, 3], [4, 5], [6, 7]]);
        assert_eq!(records::<2>(&words, 12).collect::<Vec<_>>(), [[0, 1], [3, 4], [6, 7]]);
        assert_eq!(records::<2>(&words, 0).count(), 4, "a size that cannot be is not divided by");
    }

    #[test]
    fn what_the_kernel_hides_is_empty() {
        let mut buffer = vec![0_u64; 4];
        cut(&mut buffer, 1, 8, 1);
        assert_eq!(buffer.len(), 4);
        cut(&mut buffer, 1, 3, 1);
        assert_eq!(buffer.len(), 3);
        cut(&mut buffer, 0, 3, 1);
        assert_eq!(buffer.len(), 0);
        assert_eq!(resize(&mut buffer, usize::MAX), Err(Errno::from_raw(libc::ENOMEM)));
    }
}
