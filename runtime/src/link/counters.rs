//! The counters that perf events count by name: those of the kernel, and those of the CPU.
//!
//! Both are small numbers that begin at 0, so that one means something else as the other: each kind is a type of its own. Numbers are those of
//! `linux/perf_event.h` (`enum perf_sw_ids`, `enum perf_hw_id`). Knows nothing of how an event is opened.

/// A counter of the kernel (`PERF_TYPE_SOFTWARE`). It holds the number of `enum perf_sw_ids`, for those that have no name here.
///
/// ```
/// use skelgen_runtime::link::{PerfEvent, SoftwareCounter};
/// assert_eq!(PerfEvent::software(SoftwareCounter::PAGE_FAULTS), PerfEvent::new(1, 2));
/// ```
///
/// A counter of the CPU is not one:
///
/// ```compile_fail
/// use skelgen_runtime::link::{HardwareCounter, PerfEvent};
/// PerfEvent::software(HardwareCounter::INSTRUCTIONS);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SoftwareCounter(pub u64);

impl SoftwareCounter {
    /// A clock of the CPU (`PERF_COUNT_SW_CPU_CLOCK`).
    pub const CPU_CLOCK: Self = Self(0);
    /// A clock of the task (`PERF_COUNT_SW_TASK_CLOCK`).
    pub const TASK_CLOCK: Self = Self(1);
    /// Page faults (`PERF_COUNT_SW_PAGE_FAULTS`).
    pub const PAGE_FAULTS: Self = Self(2);
    /// Context switches (`PERF_COUNT_SW_CONTEXT_SWITCHES`).
    pub const CONTEXT_SWITCHES: Self = Self(3);
    /// Moves of a task to another CPU (`PERF_COUNT_SW_CPU_MIGRATIONS`).
    pub const CPU_MIGRATIONS: Self = Self(4);
    /// Page faults without input or output (`PERF_COUNT_SW_PAGE_FAULTS_MIN`).
    pub const PAGE_FAULTS_MIN: Self = Self(5);
    /// Page faults with input or output (`PERF_COUNT_SW_PAGE_FAULTS_MAJ`).
    pub const PAGE_FAULTS_MAJ: Self = Self(6);
    /// Unaligned accesses that the kernel had to help with (`PERF_COUNT_SW_ALIGNMENT_FAULTS`).
    pub const ALIGNMENT_FAULTS: Self = Self(7);
    /// Instructions that the kernel had to emulate (`PERF_COUNT_SW_EMULATION_FAULTS`).
    pub const EMULATION_FAULTS: Self = Self(8);
    /// Nothing: for events whose side effects are wanted (`PERF_COUNT_SW_DUMMY`).
    pub const DUMMY: Self = Self(9);
}

/// A counter of the CPU (`PERF_TYPE_HARDWARE`). It holds the number of `enum perf_hw_id`, for those that have no name here. Virtual
/// machines often have none.
///
/// ```
/// use skelgen_runtime::link::{HardwareCounter, PerfEvent};
/// assert_eq!(PerfEvent::hardware(HardwareCounter::INSTRUCTIONS), PerfEvent::new(0, 1));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HardwareCounter(pub u64);

impl HardwareCounter {
    /// Cycles (`PERF_COUNT_HW_CPU_CYCLES`).
    pub const CPU_CYCLES: Self = Self(0);
    /// Retired instructions (`PERF_COUNT_HW_INSTRUCTIONS`).
    pub const INSTRUCTIONS: Self = Self(1);
    /// Accesses of a cache, mostly the last (`PERF_COUNT_HW_CACHE_REFERENCES`).
    pub const CACHE_REFERENCES: Self = Self(2);
    /// Those that missed it (`PERF_COUNT_HW_CACHE_MISSES`).
    pub const CACHE_MISSES: Self = Self(3);
    /// Retired branches (`PERF_COUNT_HW_BRANCH_INSTRUCTIONS`).
    pub const BRANCH_INSTRUCTIONS: Self = Self(4);
    /// Branches that were predicted wrongly (`PERF_COUNT_HW_BRANCH_MISSES`).
    pub const BRANCH_MISSES: Self = Self(5);
    /// Cycles of the bus (`PERF_COUNT_HW_BUS_CYCLES`).
    pub const BUS_CYCLES: Self = Self(6);
    /// Cycles stalled at issue (`PERF_COUNT_HW_STALLED_CYCLES_FRONTEND`).
    pub const STALLED_CYCLES_FRONTEND: Self = Self(7);
    /// Cycles stalled at retirement (`PERF_COUNT_HW_STALLED_CYCLES_BACKEND`).
    pub const STALLED_CYCLES_BACKEND: Self = Self(8);
    /// Cycles at a frequency that does not change (`PERF_COUNT_HW_REF_CPU_CYCLES`).
    pub const REF_CPU_CYCLES: Self = Self(9);
}
