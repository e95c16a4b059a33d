//! The runtime of skeletons that skelgen generates, and the types in their interface.
//!
//! ```ignore
//! skelgen_runtime::include_skeleton!("snoop");             // the module that build.rs generated from src/bpf/snoop.bpf.c
//! use skelgen_runtime::{chars_of, string_of};              // convert between `char[]` and strings
//!
//! let mut open = snoop::open();
//! open.rodata_mut().only_comm = chars_of("bash")?;         // `const volatile char only_comm[16]`
//! open.rodata_mut().only_failed = true.into();             // `const volatile bool only_failed`: a `Bool`
//! open.maps.events.set_max_entries(1 << 20);
//! open.programs.extra.set_autoload(true);                  // `SEC("?…")`
//! let skeleton = open.load()?;
//! let _links = skeleton.attach()?;                         // attached until the links are dropped; `left()`: what was not attached
//!
//! let flow = snoop::types::flow { port: 80, ..Default::default() };
//! skeleton.maps.flows.insert(&flow, &1)?;                  // a map with the key and value types of its BTF
//! println!("{} seen", skeleton.bss().seen().get());        // the current value of a variable of `.bss`
//! skeleton.bss().hist().index(3).set(0);                   // an element of an array
//! skeleton.bss().totals().fields().bytes().set(0);        // a member of a struct
//! while skeleton.maps.events.poll(None)? {                 // or use its `AsFd` in an event loop
//!     skeleton.maps.events.drain_as(|event: snoop::types::event| println!("{}", string_of(&event.comm)))?;
//! }
//! ```
//!
//! | what | where |
//! |---|---|
//! | variables before the load, as plain structs | [`Initial`]: `open.bss_mut()` |
//! | variables after the load | [`Cell`]; `fields()` and `index()` return cells of members and elements; integers also have atomic operations |
//! | percpu variables | [`PercpuData`]: `skeleton.percpu()` |
//! | maps | [`map`]: a handle for each type |
//! | records that programs send | [`map::RingBuf`]; through perf event arrays: [`map::PerfBuffer`] |
//! | maps before they are created, programs before they are loaded | [`OpenMap`], [`OpenProgram`], [`LoadOptions`] |
//! | programs: attach, run, pin | [`Program`], [`Link`] |
//! | your own structs as keys and values, a struct of maps bound by name | `MapData` and `Maps`, with the feature `derive` |
#![deny(unsafe_code)]

mod btf;
mod data;
pub mod error;
mod execute;
#[doc(hidden)]
pub mod generated;
pub mod kernel;
pub mod link;
pub mod map;
mod open;
mod pins;
mod program;
pub mod record;
mod relocate;
mod sanitize;
mod skeleton;
mod sys;
mod usdt_specs;

pub use data::{
    Bool, Cell, Initial, Plain, Ptr, Unaligned, as_bytes, as_bytes_mut, chars_of, from_bytes, string_of, zeroed,
};
pub use error::{Errno, Error, ErrorKind, Result};
pub use link::Link;
pub use map::{Frozen, Mapped, MappedArray, PercpuData};
pub use open::{LoadOptions, OpenMap, OpenProgram, OpenStructOps};
pub use program::{Program, TestRun, TestRunResult};
pub use skelgen_abi::plan::PercpuForm;
pub use skelgen_abi::uapi;
#[cfg(feature = "derive")]
pub use skelgen_macros::{MapData, Maps};

pub(crate) use skelgen_abi::{escape, helper, opcode, plan as abi};

/// Includes the module that build.rs generated from an object with `skelgen::Builder`.
///
/// `include_skeleton!("counters")` includes the module `counters`, generated from `counters.bpf.c` or `counters.bpf.o`.
#[macro_export]
macro_rules! include_skeleton {
    ($name:literal) => {
        ::core::include!(::core::concat!(::core::env!("OUT_DIR"), "/", $name, ".skel.rs"));
    };
}
