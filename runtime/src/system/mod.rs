//! All BPF objects of the running system, including those of other processes.
//!
//! This module does not load or attach anything, and does not depend on plans.

mod btf;
mod objects;
mod perf_event;
mod pins;
mod statistics;

pub use self::btf::BtfInfo;
pub use self::objects::{Objects, btfs, links, maps, programs};
pub use self::perf_event::{PerfEventInfo, PerfEventTarget, perf_event};
pub use self::pins::{Pin, PinIter, Pinned, pins};
pub use self::statistics::{RunStatistics, enable_run_statistics};
pub use crate::sys::ids::OffloadDevice;
