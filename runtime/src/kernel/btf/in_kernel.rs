//! Finds types in the kernel itself, with a program that calls `bpf_btf_find_by_name_kind` (Linux 5.14) for each name.
//!
//! Since Linux 7.0 the kernel's types are sorted by name, so that each lookup is a binary search. Before, the kernel compares its types one
//! after another for each lookup, which is faster than a scan of its BTF file only for a few names. If the kernel does not answer, the
//! caller scans the file: the choice between the two affects only the time.

use std::io;
use std::os::fd::AsFd as _;

use super::Wanted;
use crate::error::LinuxVersion;
use crate::helper;
use crate::kernel::probe::{self, Probe, insn};
use crate::opcode::{ADD, ALU64, ARSH, CALL, DW, EXIT, INSN_SIZE, JMP, JSLE, MEM, MOV, ST, STX, W, X};
use crate::sys;
use crate::uapi::{Helper, ProgramType, prog_flags};

/// The number of names up to which the kernel is faster if its types are not sorted.
const FEW: usize = 4;

/// The first version whose types are sorted by name.
const SORTED: LinuxVersion = LinuxVersion::new(7, 0);

/// The maximum number of names. Each takes at most 74 instructions, and the verifier accepts a million.
const MOST: usize = 1024;

/// The maximum length of a name in bytes, which the program writes to its stack of 512 bytes.
const LONGEST: usize = 255;

/// Finds the names that are open if the kernel is likely to be faster than a scan. Returns whether the kernel answered, as [`answer`] does.
pub(super) fn find(wanted: &mut [Wanted<'_>]) -> bool {
    let count = wanted.iter().filter(|wanted| wanted.is_open()).count();
    let is_faster = || count <= FEW || crate::kernel::version().is_ok_and(|version| version >= SORTED);
    is_faster() && answer(wanted)
}

/// Finds the names that are open: sets the ids of types of vmlinux, and marks types that neither vmlinux nor a module has. Types of modules
/// stay open. Returns whether the kernel answered.
pub(super) fn answer(wanted: &mut [Wanted<'_>]) -> bool {
    let open = || wanted.iter().filter(|wanted| wanted.is_open());
    let count = open().count();
    if count > MOST || open().any(|wanted| wanted.name.len() > LONGEST) || is_zero_free() {
        return false;
    }
    let Some(answers) = ask(&program(open()), count) else { return false };
    // Any other error means that the lookup itself failed.
    if !answers.iter().all(|&answer| answer > 0 || answer == i64::from(-libc::ENOENT)) {
        return false;
    }
    for (wanted, answer) in wanted.iter_mut().filter(|wanted| wanted.is_open()).zip(answers) {
        match u32::try_from(answer) {
            Ok(id) => wanted.id = Some(id),
            // A type of a module has the file descriptor of the module's BTF in the upper half.
            Err(_) => wanted.is_absent = answer < 0,
        }
    }
    true
}

/// Returns whether the next file descriptor could be 0, which an answer about a module cannot express.
fn is_zero_free() -> bool {
    io::stdin().as_fd().try_clone_to_owned().is_err()
}

/// Returns the program: it writes an answer for each name into its context, in order.
fn program<'a>(names: impl Iterator<Item = &'a Wanted<'a>>) -> Vec<[u8; INSN_SIZE]> {
    // Register 6 contains the address of the context.
    let mut insns = vec![insn(ALU64 | MOV | X, (6, 1), 0)];
    for (index, wanted) in (0_i16..).zip(names) {
        let name = wanted.name.as_bytes();
        // The name with at least one NUL, in words below the top of the stack.
        let words = name.len() / 4 + 1;
        let top = i16::try_from(words * 4).unwrap_or(i16::MAX);
        for (at, word) in (0..words).map(|at| (at, name.get(at * 4..).unwrap_or_default())) {
            let mut bytes = [0; 4];
            bytes.iter_mut().zip(word).for_each(|(to, from)| *to = *from);
            let offset = i16::try_from(at * 4).unwrap_or(i16::MAX) - top;
            insns.push(at_offset(insn(ST | MEM | W, (10, 0), i32::from_ne_bytes(bytes)), offset));
        }
        insns.extend([
            insn(ALU64 | MOV | X, (1, 10), 0),
            insn(ALU64 | ADD, (1, 0), -i32::from(top)),
            insn(ALU64 | MOV, (2, 0), i32::try_from(name.len() + 1).unwrap_or(i32::MAX)),
            insn(ALU64 | MOV, (3, 0), i32::from(wanted.kind.btf_kind())),
            insn(ALU64 | MOV, (4, 0), 0),
            insn(CALL, (0, 0), helper::immediate(Helper::BTF_FIND_BY_NAME_KIND)),
            at_offset(insn(STX | MEM | DW, (6, 0), 0), index.saturating_mul(8)),
            // if ((s64)r0 >> 32 > 0) bpf_sys_close(r0 >> 32), which is the file descriptor of a module's BTF
            insn(ALU64 | MOV | X, (1, 0), 0),
            insn(ALU64 | ARSH, (1, 0), 32),
            at_offset(insn(JMP | JSLE, (1, 0), 0), 1),
            insn(CALL, (0, 0), helper::immediate(Helper::SYS_CLOSE)),
        ]);
    }
    insns.extend([insn(ALU64 | MOV, (0, 0), 0), insn(EXIT, (0, 0), 0)]);
    insns
}

/// Returns the instruction with this offset.
fn at_offset(mut insn: [u8; INSN_SIZE], offset: i16) -> [u8; INSN_SIZE] {
    insn[2..4].copy_from_slice(&offset.to_ne_bytes());
    insn
}

/// Loads the program, runs it and returns the answers. Returns `None` if the kernel does not accept the program, because it does not have the
/// helper or this process has no permission to use it (`CAP_BPF` and `CAP_PERFMON`), or if a request fails.
fn ask(insns: &[[u8; INSN_SIZE]], count: usize) -> Option<Vec<i64>> {
    static PROBE: Probe = Probe::new("finds types by name in a program");
    let request = sys::prog::Request {
        flags: prog_flags::SLEEPABLE,
        ..sys::prog::Request::plain("find_types", ProgramType::SYSCALL, insns.as_flattened())
    };
    let mut program = None;
    let mut load = || {
        let result = sys::prog::load(&request, 0, &mut [])?.result;
        let answer = probe::verdict(&result, &[libc::EINVAL, libc::EPERM, libc::EACCES]);
        program = result.ok();
        answer
    };
    match PROBE.known() {
        Some(true) => load().ok()?,
        _ => PROBE.run(load).ok()?,
    };
    let mut context = vec![0; count * 8];
    let mut run = sys::prog::Run { context: &mut context, ..sys::prog::Run::default() };
    sys::prog::test_run(program?.as_fd(), &mut run).ok()?;
    Some(
        context
            .chunks_exact(8)
            .filter_map(|answer| answer.first_chunk())
            .map(|&answer| i64::from_ne_bytes(answer))
            .collect(),
    )
}
