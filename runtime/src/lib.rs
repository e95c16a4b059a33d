//! The runtime for skeletons that skelgen generates, and the types in their interface.
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
//!     skeleton.maps.events.drain(|event| println!("{}", string_of(&event.comm)))?; // typed: `__type(value, struct event)`
//! }
//! ```
//!
//! The build script uses the crate [`skelgen`](https://docs.rs/skelgen). The guide, in the directory `codegen/docs` of the
//! repository, shows most of these in programs.
//!
//! | what | where |
//! |---|---|
//! | variables before the load, as plain structs | [`Initial`]: `open.bss_mut()` |
//! | variables after the load | [`Cell`]; `fields()` and `index()` return cells of members and elements; integers also have atomic operations |
//! | percpu variables | [`PercpuData`]: `skeleton.percpu()` |
//! | maps | [`map`]: a handle for each type; [`map::NewMap`] creates maps at run time |
//! | records that programs send, typed or as bytes | [`map::RingBuf`]; through perf event arrays: [`map::PerfBuffer`]; several buffers: [`map::Poller`]; with the feature `tokio` as a stream: `map::RecordStream` |
//! | records of several kinds, or of variable length | [`Decoder`] |
//! | maps before they are created, programs before they are loaded | [`OpenMap`], [`OpenProgram`], [`LoadOptions`] |
//! | any skeleton: maps and programs by name, settings in a loop | [`OpenObject`], [`Object`] |
//! | programs: attach, run, pin, examine | [`Program`], [`Link`] |
//! | all programs, maps, links and BTF objects of the running system | [`system`] |
//! | load one program several times | [`Prepared`] |
//! | a loaded object with its links | [`Attached`] |
//! | the counterparts of calls of libbpf, libbpf-rs, aya or cilium/ebpf | [`peers`] |
//! | maps that only one program can use | [`OpenMap::set_exclusive_hash`]; with the feature `exclusive-maps`, `set_exclusive_program` names the program |
//! | your own structs as keys and values, a struct of maps bound by name | [`MapData`] and [`Maps`]: traits, and with the feature `derive` also derives |
//!
//! | feature | contents | dependencies |
//! |---|---|---|
//! | `derive` | `#[derive(MapData)]` and `#[derive(Maps)]` | `skelgen-macros` |
//! | `exclusive-maps` | maps that only one program can use, named by that program (Linux 6.18) | `sha2` |
//! | `tokio` | records of ring buffers and perf buffers as streams under tokio | `tokio` with `net`, `futures-core` |
//!
//! None is enabled by default.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![deny(unsafe_code)]

mod btf;
mod cgroup;
mod data;
pub mod error;
mod execute;
#[doc(hidden)]
pub mod generated;
mod interface;
pub mod kernel;
pub mod link;
pub mod map;
mod object;
mod open;
mod opened;
#[cfg(doc)]
#[doc = include_str!("peers.md")]
// Without a feature, its items are on the pages that docs.rs builds.
#[cfg_attr(
    not(feature = "exclusive-maps"),
    doc = "\n\n[`OpenMap::set_exclusive_program`]: https://docs.rs/skelgen-runtime/latest/skelgen_runtime/struct.OpenMap.html#method.set_exclusive_program"
)]
#[cfg_attr(
    not(feature = "tokio"),
    doc = "\n\n[`map::RecordStream`]: https://docs.rs/skelgen-runtime/latest/skelgen_runtime/map/struct.RecordStream.html"
)]
pub mod peers {}
mod pins;
mod program;
pub mod record;
mod relocate;
mod sanitize;
mod skeleton;
mod sys;
pub mod system;
mod usdt_specs;

pub use data::{
    Bool, Cell, Char, Decoder, Initial, MapData, Plain, Ptr, Unaligned, as_bytes, as_bytes_mut, chars_of, from_bytes,
    string_of, zeroed,
};
#[doc(inline)]
pub use error::{Errno, Error, ErrorKind, Result};
#[doc(inline)]
pub use link::Link;
#[doc(inline)]
pub use map::{Frozen, Mapped, MappedArray, Maps, PercpuData};
pub use object::{Attached, Links, Object, OpenObject, Prepared};
pub use open::{LoadEvent, LoadOptions, OpenMap, OpenProgram, OpenStructOps};
pub use program::{
    Program, ProgramFunction, ProgramInfo, ProgramLine, ProgramStream, ProgramTag, Stream, TestRun, TestRunResult,
};
#[doc(inline)]
pub use skelgen_abi::plan::PercpuForm;
#[doc(inline)]
pub use skelgen_abi::uapi;
// The derives have the names of the traits, so that one import has both.
#[cfg(feature = "derive")]
#[doc(inline)]
pub use skelgen_macros::{MapData, Maps};

pub(crate) use skelgen_abi::{escape, helper, opcode, plan as abi};

/// Includes the module that build.rs generated from an object with `skelgen::Builder`.
///
/// `include_skeleton!("counters")` includes the module `counters`, generated from `counters.bpf.c` or `counters.bpf.o`.
/// In a package without a build script, this is an error of the compiler that shows the missing lines.
#[macro_export]
macro_rules! include_skeleton {
    ($name:literal) => {
        ::core::include!(::core::concat!(
            ::core::env!(
                "OUT_DIR",
                "cannot include a skeleton: this package has no build script that generates it\n\
                 help: run `cargo add --build skelgen --no-default-features`, and write a file build.rs beside Cargo.toml:\n\
                 \n    fn main() -> Result<(), skelgen::Error> {\
                 \n        skelgen::Builder::new().source(\"src/bpf/NAME.bpf.c\").build()\
                 \n    }\n"
            ),
            "/",
            $name,
            ".skel.rs"
        ));
    };
}
