//! Names of the counters for perf events: software counters (of the kernel), hardware counters and caches (of the CPU).
//!
//! The counters of each kind are numbered from 0. Each kind has a Rust type of its own, so that a number of one kind cannot
//! be used for another. The numbers are those of `linux/perf_event.h`. This module does not open events.

/// A software counter (`PERF_TYPE_SOFTWARE`, `enum perf_sw_ids`). For counters of newer kernels, use
/// [`PerfEvent::new`](super::PerfEvent::new) with type 1.
///
/// ```
/// use skelgen_runtime::link::{PerfEvent, SoftwareCounter};
/// assert_eq!(PerfEvent::software(SoftwareCounter::PageFaults), PerfEvent::new(1, 2));
/// ```
///
/// A hardware counter has a different type:
///
/// ```compile_fail
/// use skelgen_runtime::link::{HardwareCounter, PerfEvent};
/// PerfEvent::software(HardwareCounter::Instructions);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u64)]
pub enum SoftwareCounter {
    /// The CPU clock (`PERF_COUNT_SW_CPU_CLOCK`).
    CpuClock = 0,
    /// The clock of a task, which counts only while the task runs (`PERF_COUNT_SW_TASK_CLOCK`).
    TaskClock = 1,
    /// Page faults (`PERF_COUNT_SW_PAGE_FAULTS`).
    PageFaults = 2,
    /// Context switches (`PERF_COUNT_SW_CONTEXT_SWITCHES`).
    ContextSwitches = 3,
    /// Migrations of a task to another CPU (`PERF_COUNT_SW_CPU_MIGRATIONS`).
    CpuMigrations = 4,
    /// Minor page faults, without disk access (`PERF_COUNT_SW_PAGE_FAULTS_MIN`).
    MinorPageFaults = 5,
    /// Major page faults, with disk access (`PERF_COUNT_SW_PAGE_FAULTS_MAJ`).
    MajorPageFaults = 6,
    /// Unaligned accesses that the kernel handled (`PERF_COUNT_SW_ALIGNMENT_FAULTS`).
    AlignmentFaults = 7,
    /// Instructions that the kernel emulated (`PERF_COUNT_SW_EMULATION_FAULTS`).
    EmulationFaults = 8,
    /// No counter: a placeholder event that never counts (`PERF_COUNT_SW_DUMMY`).
    Dummy = 9,
    /// Context switches between tasks of different cgroups (`PERF_COUNT_SW_CGROUP_SWITCHES`, Linux 5.13).
    CgroupSwitches = 11,
}

/// A hardware counter (`PERF_TYPE_HARDWARE`, `enum perf_hw_id`). VMs often have none. For other events of the CPU, use
/// [`PerfEvent::cache`](super::PerfEvent::cache) and [`PerfEvent::source`](super::PerfEvent::source).
///
/// ```
/// use skelgen_runtime::link::{HardwareCounter, PerfEvent};
/// assert_eq!(PerfEvent::hardware(HardwareCounter::Instructions), PerfEvent::new(0, 1));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u64)]
pub enum HardwareCounter {
    /// Cycles (`PERF_COUNT_HW_CPU_CYCLES`).
    CpuCycles = 0,
    /// Retired instructions (`PERF_COUNT_HW_INSTRUCTIONS`).
    Instructions = 1,
    /// Cache accesses, usually of the last level (`PERF_COUNT_HW_CACHE_REFERENCES`).
    CacheReferences = 2,
    /// Cache misses, usually of the last level (`PERF_COUNT_HW_CACHE_MISSES`).
    CacheMisses = 3,
    /// Retired branch instructions (`PERF_COUNT_HW_BRANCH_INSTRUCTIONS`).
    BranchInstructions = 4,
    /// Mispredicted branch instructions (`PERF_COUNT_HW_BRANCH_MISSES`).
    BranchMisses = 5,
    /// Bus cycles (`PERF_COUNT_HW_BUS_CYCLES`).
    BusCycles = 6,
    /// Cycles stalled at issue (`PERF_COUNT_HW_STALLED_CYCLES_FRONTEND`).
    StalledCyclesFrontend = 7,
    /// Cycles stalled at retirement (`PERF_COUNT_HW_STALLED_CYCLES_BACKEND`).
    StalledCyclesBackend = 8,
    /// Cycles at a constant frequency (`PERF_COUNT_HW_REF_CPU_CYCLES`).
    RefCpuCycles = 9,
}

/// A cache of the CPU (`enum perf_hw_cache_id`), for [`PerfEvent::cache`](super::PerfEvent::cache).
///
/// ```
/// use skelgen_runtime::link::{Cache, CacheAccess, CacheResult, PerfEvent};
///
/// let event = PerfEvent::cache(Cache::LastLevel, CacheAccess::Read, CacheResult::Miss);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u64)]
pub enum Cache {
    /// The data cache of the first level (`PERF_COUNT_HW_CACHE_L1D`).
    L1Data = 0,
    /// The instruction cache of the first level (`PERF_COUNT_HW_CACHE_L1I`).
    L1Instructions = 1,
    /// The cache of the last level (`PERF_COUNT_HW_CACHE_LL`).
    LastLevel = 2,
    /// Address translations of data (`PERF_COUNT_HW_CACHE_DTLB`).
    DataTlb = 3,
    /// Address translations of instructions (`PERF_COUNT_HW_CACHE_ITLB`).
    InstructionTlb = 4,
    /// Branch predictions (`PERF_COUNT_HW_CACHE_BPU`).
    BranchPrediction = 5,
    /// Memory of this NUMA node; misses go to another node (`PERF_COUNT_HW_CACHE_NODE`).
    Node = 6,
}

/// An access to a cache (`enum perf_hw_cache_op_id`), for [`PerfEvent::cache`](super::PerfEvent::cache).
///
/// ```
/// use skelgen_runtime::link::{Cache, CacheAccess, CacheResult, PerfEvent};
///
/// let event = PerfEvent::cache(Cache::L1Data, CacheAccess::Write, CacheResult::Any);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u64)]
pub enum CacheAccess {
    /// Reads (`PERF_COUNT_HW_CACHE_OP_READ`).
    Read = 0,
    /// Writes (`PERF_COUNT_HW_CACHE_OP_WRITE`).
    Write = 1,
    /// Prefetches (`PERF_COUNT_HW_CACHE_OP_PREFETCH`).
    Prefetch = 2,
}

/// Which accesses to a cache are counted (`enum perf_hw_cache_op_result_id`), for
/// [`PerfEvent::cache`](super::PerfEvent::cache).
///
/// ```
/// use skelgen_runtime::link::{Cache, CacheAccess, CacheResult, PerfEvent};
///
/// let event = PerfEvent::cache(Cache::DataTlb, CacheAccess::Read, CacheResult::Miss);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u64)]
pub enum CacheResult {
    /// All accesses (`PERF_COUNT_HW_CACHE_RESULT_ACCESS`).
    Any = 0,
    /// Misses (`PERF_COUNT_HW_CACHE_RESULT_MISS`).
    Miss = 1,
}

/// The access to memory that triggers a breakpoint (`HW_BREAKPOINT_*` of `linux/hw_breakpoint.h`), for
/// [`PerfEvent::breakpoint`](super::PerfEvent::breakpoint).
///
/// ```
/// use skelgen_runtime::link::{BreakpointAccess, PerfEvent};
///
/// let event = PerfEvent::breakpoint(0x1000, 4, BreakpointAccess::Write);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u32)]
pub enum BreakpointAccess {
    /// Reads; x86 has no breakpoints for reads alone (`HW_BREAKPOINT_R`).
    Read = 1,
    /// Writes (`HW_BREAKPOINT_W`).
    Write = 2,
    /// Reads and writes (`HW_BREAKPOINT_RW`).
    ReadWrite = 3,
    /// Executions of the instruction at the address (`HW_BREAKPOINT_X`).
    Execute = 4,
}
