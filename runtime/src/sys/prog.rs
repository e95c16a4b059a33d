//! Loads programs, runs them with `BPF_PROG_TEST_RUN`, and reads their descriptions.

mod info;

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

pub(crate) use self::info::{Description, Parts, ProgInfo, describe};
use super::attr::{AssocStructOps, BindMap, EnableStats, ProgLoad, StreamRead, TestRun};
use super::{address, address_mut, bpf, bpf_fd, len32, name16};
use crate::error::Errno;
use crate::opcode::INSN_SIZE;
use crate::uapi::{AttachType, Command, ProgramType, prog_flags};

/// The size of `struct bpf_func_info`.
const FUNC_INFO: usize = 8;
/// The size of `struct bpf_line_info` and of `struct bpf_core_relo`.
const RECORD: usize = 16;

/// `BPF_F_TEST_RUN_ON_CPU`, a flag of test runs: the field `cpu` is set.
pub(crate) const RUN_ON_CPU: u32 = 1;
/// `BPF_F_TEST_XDP_LIVE_FRAMES`, a flag of test runs: the kernel executes the action that the program returns (Linux
/// 5.18).
pub(crate) const LIVE_FRAMES: u32 = 1 << 1;

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
    /// The BTF that function, line and CO-RE records refer to.
    pub(crate) btf: Option<BorrowedFd<'a>>,
    pub(crate) func_info: &'a [u8],
    pub(crate) line_info: &'a [u8],
    pub(crate) core_relos: &'a [u8],
    pub(crate) attach_btf_id: u32,
    /// The program whose BTF has `attach_btf_id`, if the id is not that of a kernel type.
    pub(crate) attach_program: Option<BorrowedFd<'a>>,
    /// The module whose BTF has `attach_btf_id`; `None` for vmlinux.
    pub(crate) attach_btf: Option<BorrowedFd<'a>>,
    /// BTF file descriptors of modules. The index is in the offset field of kfunc calls; index 0 is not used.
    pub(crate) fd_array: &'a [i32],
    pub(crate) ifindex: u32,
    pub(crate) token: Option<BorrowedFd<'a>>,
}

impl<'a> Request<'a> {
    /// Creates a request that loads instructions and sets nothing else: for programs of the runtime itself.
    pub(crate) fn plain(name: &'a str, program_type: ProgramType, insns: &'a [u8]) -> Self {
        Self {
            name,
            program_type,
            expected_attach_type: AttachType(0),
            flags: 0,
            // Some helpers that these programs call require a GPL-compatible license.
            license: c"GPL",
            kernel_version: 0,
            insns,
            btf: None,
            func_info: &[],
            line_info: &[],
            core_relos: &[],
            attach_btf_id: 0,
            attach_program: None,
            attach_btf: None,
            fd_array: &[],
            ifindex: 0,
            token: None,
        }
    }
}

/// The outcome of a load.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) result: Result<OwnedFd, Errno>,
    /// The size of the whole log in bytes, with its NUL; 0 on kernels before 6.4, which do not return it.
    pub(crate) log_size: u32,
}

/// Loads a program. If `log_level` is not zero, the verifier writes its log to `log`. The outer error is that of a
/// slice whose length no request can have.
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
    // SAFETY: every pointer is that of a slice that outlives the call, with a count from the slice's length; the
    // license ends with NUL; the log is exclusively ours. The kernel reads entries of `fd_array` at the indices in
    // instructions. The callers take these from the same array; an index outside of it is only read, never written.
    let result = unsafe { bpf_fd(Command::PROG_LOAD, &mut attr) };
    Ok(Attempt { result, log_size: attr.log_true_size })
}

/// A test run.
#[derive(Debug, Default)]
pub(crate) struct Run<'a> {
    pub(crate) data: &'a [u8],
    pub(crate) data_out: &'a mut [u8],
    /// The context. After a run of a syscall program, the kernel writes the changed context back.
    pub(crate) context: &'a mut [u8],
    pub(crate) context_out: &'a mut [u8],
    pub(crate) repeat: u32,
    pub(crate) flags: u32,
    pub(crate) cpu: u32,
    /// The number of live frames in a batch.
    pub(crate) batch_size: u32,
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
        batch_size: run.batch_size,
        ..TestRun::default()
    };
    // SAFETY: every pointer is that of a slice that outlives the call, and `attr` has the lengths of the slices.
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
    // SAFETY: `attr` contains no pointers.
    unsafe { bpf(Command::PROG_BIND_MAP, &mut attr) }.map(|_| ())
}

/// Associates a program with a struct_ops map, which the program keeps alive (Linux 7.0).
pub(crate) fn associate(program: BorrowedFd<'_>, struct_ops: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut attr =
        AssocStructOps { map_fd: struct_ops.as_raw_fd(), prog_fd: program.as_raw_fd(), ..AssocStructOps::default() };
    // SAFETY: `attr` contains no pointers.
    unsafe { bpf(Command::PROG_ASSOC_STRUCT_OPS, &mut attr) }.map(drop)
}

/// Reads the output of a program from a stream, and returns the number of bytes (Linux 6.17).
pub(crate) fn read_stream(program: BorrowedFd<'_>, stream_id: u32, buffer: &mut [u8]) -> Result<usize, Errno> {
    // The kernel converts the length to an `int`, which the returned number must fit in too.
    let room = buffer.len().min(1 << 30);
    let mut attr = StreamRead {
        stream_buf: address_mut(&mut buffer[..room]),
        stream_buf_len: len32(room)?,
        stream_id,
        prog_fd: program.as_raw_fd(),
        ..StreamRead::default()
    };
    // SAFETY: the kernel writes at most `stream_buf_len` bytes to the buffer, which is at least as long and outlives the call.
    let read = unsafe { bpf(Command::PROG_STREAM_READ_BY_FD, &mut attr) }?;
    Ok(usize::try_from(read).unwrap_or(0).min(room))
}

/// Enables run count and run time statistics of programs until the file descriptor is closed (`BPF_STATS_RUN_TIME`).
pub(crate) fn enable_stats() -> Result<OwnedFd, Errno> {
    let mut attr = EnableStats::default();
    // SAFETY: `attr` contains no pointers.
    unsafe { bpf_fd(Command::ENABLE_STATS, &mut attr) }
}
