//! The step table: the value of the one map of the loader program, and the context of its run.
//!
//! The loader program is a SYSCALL program that executes the requests of a load inside the kernel. It is the same for
//! every object; the requests are data in the value of an array map with one element:
//!
//! ```text
//! 0             header     fields of `header`
//! HEADER_SIZE   slots      a u32 each: file descriptors; the array of file descriptors of the loaded programs
//! steps_at      steps      STEP_SIZE bytes each
//! end           data       aligned to 8 bytes: requests, instructions, BTF, names, initial values
//!               tail       TAIL zero bytes, so that an access at any checked offset ends in the value
//! ```
//!
//! All numbers have the byte order of the machine. The map can be frozen: only the program writes to it. The program gets
//! pointers in its context, executes the steps in their order, and returns a [`State`]. The process then reads the file
//! descriptors from the slots with a lookup.
//!
//! An empty slot is 0, so the file descriptor 0 of the process must be open during the run: otherwise a request that
//! returns it fails, and the BTF of a module that has it is neither found nor closed.
//!
//! `codegen/src/loader/` writes tables; the texts in its directory `program` are the program.

/// The size of the header in bytes. The slots follow it.
pub const HEADER_SIZE: u32 = 80;

/// The size of a step in bytes.
pub const STEP_SIZE: u32 = 16;

/// The size of a slot in bytes.
pub const SLOT_SIZE: u32 = 4;

/// The number of zero bytes after the data. Offsets in steps are at most the size of the value minus this number, and
/// no operation accesses more bytes.
pub const TAIL: u32 = 4096;

/// The maximum number of bytes of a request (`union bpf_attr`), and of a name with its terminating NUL.
pub const MAX_REQUEST: u32 = 256;

/// The maximum number of bytes that one step copies from the process.
pub const MAX_COPY: u32 = 4096;

/// The maximum size of the value in bytes. Linux 6.18 accepts values of this size.
pub const MAX_VALUE: u32 = 19 << 20;

/// The maximum number of iterations of the loader program: one for each pointer, step and slot. The verifier's
/// `may_goto` allows at least this number (`BPF_MAX_TIMED_LOOPS`) before it considers the elapsed time.
pub const MAX_ITERATIONS: usize = 65_000;

/// The offsets of the header's fields in the value.
pub mod header {
    /// u64: the address of the value. The loader program writes it; a value other than 0 means that the table was
    /// executed, and the program rejects a second run.
    pub const ADDRESS: u32 = 0;
    /// u32: the offset of the step to execute next; after a failure, the offset of the slot to close next.
    pub const NEXT: u32 = 8;
    /// u32: the offset of the end of the steps.
    pub const END: u32 = 12;
    /// u32: the offset of the step that is executed next if the current operation fails.
    pub const ON_ERROR: u32 = 16;
    /// u32: the offset of the first pointer, 0 without pointers. The eight bytes of a pointer are two u32, the less
    /// significant half first in value: the offset of the target, and the offset of the next pointer. The program
    /// replaces each by the target's address before the first step.
    pub const POINTERS: u32 = 20;
    /// u32: the offset of the end of the slots, which start at [`HEADER_SIZE`](super::HEADER_SIZE).
    pub const SLOTS_END: u32 = 24;
    /// i32: the result of the last request, lookup or copy: negative error number, or the return value.
    pub const RESULT: u32 = 28;
    /// u64: the address of the process's values. This and the next four fields are the beginning of the context, which
    /// is copied when the run starts.
    pub const HOST: u32 = 32;
    /// u64: the pointer to the log buffer.
    pub const LOG_BUFFER: u32 = HOST + 8;
    /// u32: the log level. The log size follows it, as in a request to load a program.
    pub const LOG_LEVEL: u32 = HOST + 16;
    /// u32: the size of the log buffer.
    pub const LOG_SIZE: u32 = HOST + 20;
    /// u32: the index of the step whose request gets the log; 0 for no log.
    pub const LOG_STEP: u32 = HOST + 24;
    /// u64: the address of the last kernel symbol that was found.
    pub const SYMBOL: u32 = 64;
    /// u32: how the run ended, a number of [`State`](super::State), for the form with `bpf_loop` only.
    pub const STATE: u32 = 72;
}

/// The operations of steps: the first byte of a step.
///
/// A step is `{u8 op, u8 command, u16 jump, u32 at, u32 size, u32 arg}`. `at` and `arg` are offsets in the value, of
/// which the program clears the two least significant bits. `jump` is the distance to another step, in steps.
/// If an operation fails, the step at this distance is next; without a distance, the run ends.
pub mod op {
    /// Makes a request: `bpf(command, at, (size & 255) + 1)`. If `arg` is not 0, it is the offset of a slot that gets
    /// the returned file descriptor; the file descriptor 0 is closed instead, and the step fails with `EBADF`.
    pub const REQUEST: u8 = 1;
    /// Copies the u32 at `arg` to `at`. If `size & 12` is not 0, also copies the u32 at `arg` + 4 to
    /// `at` + `size & 12`: 4 for a u64, 8 for the two immediates of an `ld_imm64`.
    pub const COPY: u8 = 2;
    /// Copies `(size & 4095) + 1` bytes of the process's values to `at`, from offset `arg` in the values.
    pub const COPY_FROM_HOST: u8 = 3;
    /// Finds a type of the kernel by its name at `at`, of `(size & 255) + 1` bytes with the terminating NUL, and its
    /// kind `command`. Replaces the first four bytes of the name by the BTF id. The slot at `arg` gets the file
    /// descriptor of the BTF if the type is one of a module.
    pub const FIND_TYPE: u8 = 4;
    /// Finds the address of a kernel symbol by its name at `at`, of `(size & 255) + 1` bytes with the terminating NUL.
    /// Replaces the first eight bytes of the name by two u32: the less significant half of the address, then the other.
    pub const FIND_SYMBOL: u8 = 5;
    /// Continues at distance `jump` if the u32 at `at` equals `size`.
    pub const JUMP_IF_EQUAL: u8 = 6;
    /// Continues at distance `jump` if the u32 at `at` does not equal `size`.
    pub const JUMP_IF_NOT_EQUAL: u8 = 7;
    /// Closes the file descriptor in the slot at `arg`, unless it is 0, and sets the slot to 0.
    pub const CLOSE: u8 = 8;
    /// Fails with the error number `size`, as does an unknown operation with `EINVAL`.
    pub const FAIL: u8 = 9;
}

/// The size of the context in bytes.
pub const CONTEXT_SIZE: usize = 40;

/// The offsets of the context's fields that the loader program writes if a step fails. The program reads the fields
/// before them.
pub mod context {
    /// i32: the negative error number of the failed step.
    pub const ERROR: u32 = 32;
    /// u32: the offset of the failed step in the value.
    pub const STEP: u32 = 36;
}

/// How a run of the loader program ended: its return value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The program did not execute the table, because the map is not the one that was signed, or the table was executed
    /// before.
    Rejected,
    /// The kernel ended the program before the last step. Slots can have open file descriptors.
    Interrupted,
    /// All steps were executed. The slots have the file descriptors.
    Finished,
    /// A step failed. All file descriptors in slots are closed.
    Failed,
}

impl State {
    /// Returns the return value of the program.
    #[must_use]
    pub const fn number(self) -> u32 {
        match self {
            Self::Rejected => 0,
            Self::Interrupted => 1,
            Self::Finished => 2,
            Self::Failed => 3,
        }
    }

    /// Returns the state that the program's return value states; `None` for a number that it does not return.
    #[must_use]
    pub const fn of(return_value: u32) -> Option<Self> {
        match return_value {
            0 => Some(Self::Rejected),
            1 => Some(Self::Interrupted),
            2 => Some(Self::Finished),
            3 => Some(Self::Failed),
            _ => None,
        }
    }
}

/// The context of a run: pointers that the loader program gets, and what it reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Context {
    /// The address of the values that the process passes to the load, in the layout that the table expects.
    pub host: u64,
    /// The address of the buffer for the log of one request.
    pub log_buffer: u64,
    /// The log level of this request.
    pub log_level: u32,
    /// The size of the buffer in bytes.
    pub log_size: u32,
    /// The index of the step that makes this request; 0 for no log.
    pub log_step: u32,
}

/// The step that failed, as the loader program reports it in the context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The error number, positive.
    pub errno: i32,
    /// The offset of the step in the table. [`Layout::step`] returns its index.
    pub at: u32,
}

impl Context {
    /// Returns the bytes of the context before a run.
    #[must_use]
    pub fn to_bytes(self) -> [u8; CONTEXT_SIZE] {
        let mut bytes = [0; CONTEXT_SIZE];
        let fields = self.host.to_ne_bytes().into_iter().chain(self.log_buffer.to_ne_bytes());
        let words = [self.log_level, self.log_size, self.log_step];
        for (to, byte) in bytes.iter_mut().zip(fields.chain(words.into_iter().flat_map(u32::to_ne_bytes))) {
            *to = byte;
        }
        bytes
    }
}

impl Failure {
    /// Reads the context after a run that returned [`State::Failed`].
    #[must_use]
    pub fn from_bytes(bytes: &[u8; CONTEXT_SIZE]) -> Self {
        let word = |offset: u32| bytes.get(offset as usize..).and_then(|rest| rest.first_chunk()).copied();
        let errno = i32::from_ne_bytes(word(context::ERROR).unwrap_or_default()).saturating_neg();
        Self { errno, at: u32::from_ne_bytes(word(context::STEP).unwrap_or_default()) }
    }
}

/// The numbers of steps and slots, which determine the offsets in a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// The number of slots.
    pub slots: u32,
    /// The number of steps.
    pub steps: u32,
}

impl Layout {
    /// Returns the offset of a slot.
    #[must_use]
    pub const fn slot_at(self, slot: u32) -> u32 {
        HEADER_SIZE.saturating_add(slot.saturating_mul(SLOT_SIZE))
    }

    /// Returns the offset of the first step.
    #[must_use]
    pub const fn steps_at(self) -> u32 {
        self.slot_at(self.slots).saturating_add(STEP_SIZE - 1) / STEP_SIZE * STEP_SIZE
    }

    /// Returns the offset of the data, which is the end of the steps.
    #[must_use]
    pub const fn data_at(self) -> u32 {
        self.steps_at().saturating_add(self.steps.saturating_mul(STEP_SIZE))
    }

    /// Returns the index of the step at this offset; `None` if there is no such step.
    #[must_use]
    pub const fn step(self, at: u32) -> Option<u32> {
        match at.checked_sub(self.steps_at()) {
            Some(distance) if at < self.data_at() && distance % STEP_SIZE == 0 => Some(distance / STEP_SIZE),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_have_the_documented_layout() {
        let context = Context { host: 1, log_buffer: 2, log_level: 3, log_size: 4, log_step: 5 };
        let mut bytes = context.to_bytes();
        assert_eq!(u64::from_ne_bytes(bytes[8..16].try_into().unwrap()), 2);
        assert_eq!(u32::from_ne_bytes(bytes[24..28].try_into().unwrap()), 5);
        bytes[32..36].copy_from_slice(&i32::to_ne_bytes(-22));
        bytes[36..40].copy_from_slice(&u32::to_ne_bytes(96));
        assert_eq!(Failure::from_bytes(&bytes), Failure { errno: 22, at: 96 });
    }

    #[test]
    fn states_are_return_values() {
        for number in 0..4 {
            assert_eq!(State::of(number).map(State::number), Some(number));
        }
        assert_eq!(State::of(4), None);
    }

    #[test]
    fn steps_have_indexes_and_offsets() {
        let layout = Layout { slots: 5, steps: 2 };
        assert_eq!((layout.slot_at(1), layout.steps_at(), layout.data_at()), (84, 112, 144));
        let indexes = [96, 112, 116, 128, 144].map(|at| layout.step(at));
        assert_eq!(indexes, [None, Some(0), None, Some(1), None]);
    }
}
