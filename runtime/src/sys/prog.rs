//! Loads programs, and runs them with `BPF_PROG_TEST_RUN`.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use super::attr::{BindMap, EnableStats, GetInfo, ProgLoad, TestRun};
use super::{address, address_mut, bpf, bpf_fd, len32, name16};
use crate::error::Errno;
use crate::opcode::INSN_SIZE;
use crate::uapi::{AttachType, Command, ProgramType, prog_flags};

/// The size of `struct bpf_func_info`.
const FUNC_INFO: usize = 8;
/// The size of `struct bpf_line_info` and of `struct bpf_core_relo`.
const RECORD: usize = 16;

/// A program to load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    pub(crate) name: &'a str,
    pub(crate) program_type: ProgramType,
    pub(crate) expected_attach_type: AttachType,
    pub(crate) flags: u32,
    pub(crate) license: &'a CStr,
    pub(crate) kernel_version: u32,
    /// Whole instructions.
    pub(crate) insns: &'a [u8],
    /// The BTF that the three kinds of records refer to.
    pub(crate) btf: Option<BorrowedFd<'a>>,
    pub(crate) func_info: &'a [u8],
    pub(crate) line_info: &'a [u8],
    pub(crate) core_relos: &'a [u8],
    pub(crate) attach_btf_id: u32,
    /// The program whose BTF has that id, if it is not a type of the kernel.
    pub(crate) attach_program: Option<BorrowedFd<'a>>,
    /// The module whose BTF has that id; `None` for vmlinux.
    pub(crate) attach_btf: Option<BorrowedFd<'a>>,
    /// BTF file descriptors of modules, by the index in the offset of kfunc calls. The first is never used.
    pub(crate) fd_array: &'a [i32],
    pub(crate) ifindex: u32,
    pub(crate) token: Option<BorrowedFd<'a>>,
}

/// The outcome of a load.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) result: Result<OwnedFd, Errno>,
    /// The size of the whole log in bytes, with its NUL; 0 on kernels before 6.4, which do not return it.
    pub(crate) log_size: u32,
}

/// Loads a program. The verifier's log goes to `log` if `log_level` is not zero.
pub(crate) fn load(request: &Request<'_>, log_level: u32, log: &mut [u8]) -> Result<Attempt, Errno> {
    let count = |bytes: &[u8], size: usize| {
        if bytes.len() % size == 0 { len32(bytes.len() / size) } else { Err(Errno::from_raw(libc::EINVAL)) }
    };
    let mut attr = ProgLoad {
        prog_type: request.program_type.0,
        expected_attach_type: request.expected_attach_type.0,
        insns: address(request.insns),
        insn_cnt: count(request.insns, INSN_SIZE)?,
        license: request.license.as_ptr().expose_provenance() as u64,
        kern_version: request.kernel_version,
        prog_flags: request.flags,
        prog_name: name16(request.name),
        prog_ifindex: request.ifindex,
        attach_btf_id: request.attach_btf_id,
        ..ProgLoad::default()
    };
    if let Some(btf) = request.btf {
        attr.prog_btf_fd = btf.as_raw_fd();
        if !request.func_info.is_empty() {
            attr.func_info = address(request.func_info);
            attr.func_info_cnt = count(request.func_info, FUNC_INFO)?;
            attr.func_info_rec_size = len32(FUNC_INFO)?;
        }
        if !request.line_info.is_empty() {
            attr.line_info = address(request.line_info);
            attr.line_info_cnt = count(request.line_info, RECORD)?;
            attr.line_info_rec_size = len32(RECORD)?;
        }
    }
    if !request.core_relos.is_empty() {
        attr.core_relos = address(request.core_relos);
        attr.core_relo_cnt = count(request.core_relos, RECORD)?;
        attr.core_relo_rec_size = len32(RECORD)?;
    }
    if let Some(module) = request.attach_btf {
        attr.attach_btf_obj_fd = module.as_raw_fd();
    }
    if let Some(program) = request.attach_program {
        // `attach_prog_fd` and `attach_btf_obj_fd` are one field.
        attr.attach_btf_obj_fd = program.as_raw_fd();
    }
    if let Some(token) = request.token {
        attr.prog_token_fd = token.as_raw_fd();
        attr.prog_flags |= prog_flags::TOKEN_FD;
    }
    attr.fd_array = address(request.fd_array);
    if log_level != 0 {
        attr.log_level = log_level;
        attr.log_size = len32(log.len())?;
        attr.log_buf = address_mut(log);
    }
    // SAFETY: every address is that of a slice which outlives the call, with a count from the slice's length; the license ends with NUL;
    // the log is exclusively ours. The kernel reads entries of `fd_array` at the indices in instructions. The callers take these from the
    // same array; an index outside of it is only read, never written.
    let result = unsafe { bpf_fd(Command::PROG_LOAD, &mut attr) };
    Ok(Attempt { result, log_size: attr.log_true_size })
}

/// A test run.
#[derive(Debug, Default)]
pub(crate) struct Run<'a> {
    pub(crate) data: &'a [u8],
    pub(crate) data_out: &'a mut [u8],
    /// The context. The kernel writes back what a syscall program left in it.
    pub(crate) context: &'a mut [u8],
    pub(crate) context_out: &'a mut [u8],
    pub(crate) repeat: u32,
    pub(crate) flags: u32,
    pub(crate) cpu: u32,
}

/// The result of a test run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    pub(crate) return_value: u32,
    pub(crate) nanoseconds: u32,
    pub(crate) data_size: u32,
    pub(crate) context_size: u32,
}

/// Runs a program once or more (`BPF_PROG_TEST_RUN`).
pub(crate) fn test_run(program: BorrowedFd<'_>, run: &mut Run<'_>) -> Result<Outcome, Errno> {
    let mut attr = TestRun {
        prog_fd: program.as_raw_fd(),
        data_size_in: len32(run.data.len())?,
        data_in: address(run.data),
        data_size_out: len32(run.data_out.len())?,
        data_out: address_mut(run.data_out),
        ctx_size_in: len32(run.context.len())?,
        ctx_in: address_mut(run.context),
        ctx_size_out: len32(run.context_out.len())?,
        ctx_out: address_mut(run.context_out),
        repeat: run.repeat,
        flags: run.flags,
        cpu: run.cpu,
        ..TestRun::default()
    };
    // SAFETY: every address is that of a slice that outlives the call, next to its length.
    unsafe { bpf(Command::PROG_TEST_RUN, &mut attr) }?;
    Ok(Outcome {
        return_value: attr.retval,
        nanoseconds: attr.duration,
        data_size: attr.data_size_out,
        context_size: attr.ctx_size_out,
    })
}

/// Binds a map to a program, which keeps the map alive (Linux 5.10).
pub(crate) fn bind_map(program: BorrowedFd<'_>, map: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut attr = BindMap { prog_fd: program.as_raw_fd(), map_fd: map.as_raw_fd(), ..BindMap::default() };
    // SAFETY: the request has no address.
    unsafe { bpf(Command::PROG_BIND_MAP, &mut attr) }.map(|_| ())
}

/// Enables run count and run time statistics of programs until the file descriptor is closed (`BPF_STATS_RUN_TIME`).
pub(crate) fn enable_stats() -> Result<OwnedFd, Errno> {
    let mut attr = EnableStats::default();
    // SAFETY: the request has no address.
    unsafe { bpf_fd(Command::ENABLE_STATS, &mut attr) }
}

/// Returns the id of the BTF that a program was loaded with, 0 for none.
pub(crate) fn btf_id(program: BorrowedFd<'_>) -> Result<u32, Errno> {
    // The beginning of `struct bpf_prog_info`, up to `btf_id` at 128 bytes. The words before it are addresses and lengths, which stay zero.
    let mut info = [0_u64; 17];
    let mut attr =
        GetInfo { bpf_fd: program.as_raw_fd(), info_len: len32(size_of_val(&info))?, info: address_mut(&mut info) };
    // SAFETY: the kernel writes at most `info_len` bytes to `info`, and nowhere else, as all addresses and counts in it are zero.
    unsafe { bpf(Command::OBJ_GET_INFO_BY_FD, &mut attr) }?;
    let [a, b, c, d, ..] = info[16].to_ne_bytes();
    Ok(u32::from_ne_bytes([a, b, c, d]))
}

/// Returns the instructions of a program after verification; `None` if the kernel hides them.
pub(crate) fn translated(program: BorrowedFd<'_>) -> Result<Option<Vec<u8>>, Errno> {
    let read = |insns: &mut [u8]| {
        // `struct bpf_prog_info` up to `xlated_prog_insns` at 32 bytes: `jited_prog_len` and `xlated_prog_len` are at 16.
        let mut info = [0_u64; 5];
        let mut lengths = [0; 8];
        lengths[4..].copy_from_slice(&len32(insns.len())?.to_ne_bytes());
        info[2] = u64::from_ne_bytes(lengths);
        info[4] = address_mut(insns);
        let mut attr =
            GetInfo { bpf_fd: program.as_raw_fd(), info_len: len32(size_of_val(&info))?, info: address_mut(&mut info) };
        // SAFETY: the kernel writes at most `info_len` bytes to `info`, and to `insns` at most its length in `info`.
        unsafe { bpf(Command::OBJ_GET_INFO_BY_FD, &mut attr) }?;
        let [_, _, _, _, len @ ..] = info[2].to_ne_bytes();
        Ok((usize::try_from(u32::from_ne_bytes(len)).unwrap_or(0), info[4] != 0))
    };
    // A loaded program never changes, so the second result has the length that the first reports.
    let (len, _) = read(&mut [])?;
    let mut insns = vec![0; len];
    let (_, shown) = read(&mut insns)?;
    Ok((shown && len != 0).then_some(insns))
}
