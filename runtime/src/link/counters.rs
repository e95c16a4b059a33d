//! Names of the kernel's and the CPU's counters for perf events.
//!
//! The numbers of both kinds start at 0, so one number means two counters. Therefore each kind has a type of its own. The
//! numbers are those of `linux/perf_event.h` (`enum perf_sw_ids`, `enum perf_hw_id`). This module does not open events.

/// A software counter (`PERF_TYPE_SOFTWARE`). The field is the number of `enum perf_sw_ids`, for counters without a
/// constant here.
///
/// ```
/// use skelgen_runtime::link::{PerfEvent, SoftwareCounter};
/// assert_eq!(PerfEvent::software(SoftwareCounter::PAGE_FAULTS), PerfEvent::new(1, 2));
/// ```
///
/// A hardware counter is another type:
///
/// ```compile_fail
/// use skelgen_runtime::link::{HardwareCounter, PerfEvent};
/// PerfEvent::software(HardwareCounter::INSTRUCTIONS);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SoftwareCounter(pub u64);

impl SoftwareCounter {
    /// The CPU clock (`PERF_COUNT_SW_CPU_CLOCK`).
    pub const CPU_CLOCK: Self = Self(0);
    /// The task clock (`PERF_COUNT_SW_TASK_CLOCK`).
    pub const TASK_CLOCK: Self = Self(1);
    /// Page faults (`PERF_COUNT_SW_PAGE_FAULTS`).
    pub const PAGE_FAULTS: Self = Self(2);
    /// Context switches (`PERF_COUNT_SW_CONTEXT_SWITCHES`).
    pub const CONTEXT_SWITCHES: Self = Self(3);
    /// Migrations of a task to another CPU (`PERF_COUNT_SW_CPU_MIGRATIONS`).
    pub const CPU_MIGRATIONS: Self = Self(4);
    /// Minor page faults, without disk access (`PERF_COUNT_SW_PAGE_FAULTS_MIN`).
    pub const PAGE_FAULTS_MIN: Self = Self(5);
    /// Major page faults, with disk access (`PERF_COUNT_SW_PAGE_FAULTS_MAJ`).
    pub const PAGE_FAULTS_MAJ: Self = Self(6);
    /// Unaligned accesses that the kernel handled (`PERF_COUNT_SW_ALIGNMENT_FAULTS`).
    pub const ALIGNMENT_FAULTS: Self = Self(7);
    /// Instructions that the kernel emulated (`PERF_COUNT_SW_EMULATION_FAULTS`).
    pub const EMULATION_FAULTS: Self = Self(8);
    /// No counter: for events of which only the side effects are used (`PERF_COUNT_SW_DUMMY`).
    pub const DUMMY: Self = Self(9);
}

/// A hardware counter (`PERF_TYPE_HARDWARE`). The field is the number of `enum perf_hw_id`, for counters without a
/// constant here. VMs often have none.
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
    /// Cache accesses, usually of the last level (`PERF_COUNT_HW_CACHE_REFERENCES`).
    pub const CACHE_REFERENCES: Self = Self(2);
    /// Cache misses, usually of the last level (`PERF_COUNT_HW_CACHE_MISSES`).
    pub const CACHE_MISSES: Self = Self(3);
    /// Retired branch instructions (`PERF_COUNT_HW_BRANCH_INSTRUCTIONS`).
    pub const BRANCH_INSTRUCTIONS: Self = Self(4);
    /// Mispredicted branch instructions (`PERF_COUNT_HW_BRANCH_MISSES`).
    pub const BRANCH_MISSES: Self = Self(5);
    /// Bus cycles (`PERF_COUNT_HW_BUS_CYCLES`).
    pub const BUS_CYCLES: Self = Self(6);
    /// Cycles stalled at issue (`PERF_COUNT_HW_STALLED_CYCLES_FRONTEND`).
    pub const STALLED_CYCLES_FRONTEND: Self = Self(7);
    /// Cycles stalled at retirement (`PERF_COUNT_HW_STALLED_CYCLES_BACKEND`).
    pub const STALLED_CYCLES_BACKEND: Self = Self(8);
    /// Cycles at a constant frequency (`PERF_COUNT_HW_REF_CPU_CYCLES`).
    pub const REF_CPU_CYCLES: Self = Self(9);
}
