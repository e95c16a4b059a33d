//! Objects, handles and links can be sent to other threads, and used by several.
//!
//! The functions are not called: that they compile is the test.

use skelgen_runtime::map::{
    Arena, Array, BloomFilter, FdArray, FdHash, HashMap, LpmTrie, NewMap, PercpuArray, PercpuHashMap, PerfBuffer, Pins,
    Queue, Redirects, RingBuf, Stack, StackTraces, Storage, Untyped, UserRingBuf, kind,
};
use skelgen_runtime::{
    Attached, Error, Frozen, Link, LoadEvent, LoadOptions, Mapped, MappedArray, Object, OpenMap, OpenProgram,
    PercpuData, Prepared, Program, ProgramStream, TestRun,
};
use skelgen_runtime::{kernel, link};

fn sent<T: Send>() {}

fn shared<T: Send + Sync>() {}

#[test]
fn handles_are_shared() {
    shared::<(Program, Link, Error, LoadEvent<'static>, LoadOptions, OpenMap, OpenProgram, TestRun<'static>)>();
    shared::<ProgramStream<'static>>();
    shared::<(Untyped, HashMap<u32, u64>, LpmTrie<[u8; 8], u64>, Array<u64>, PercpuArray<u64>, NewMap<'static>, Pins)>(
    );
    shared::<(PercpuHashMap<u32, u64>, Queue<u64>, Stack<u64>, BloomFilter<u64>, StackTraces, Storage<u64>)>();
    shared::<(FdArray<kind::Program>, FdHash<u32, kind::Socket>, FdArray<kind::Map<Array<u64>>>, Redirects<u32>)>();
    shared::<(Mapped<u64>, MappedArray<u64>, Frozen<u64>, PercpuData<u64>, Arena<u64>)>();
    shared::<(kernel::Types, kernel::Symbols, kernel::TracePipe)>();
    shared::<(link::StructOps, link::Cgroup, link::Left, link::LinkInfo, link::PerfEvent)>();
    // A buffer has one consumer at a time.
    sent::<(RingBuf<u64>, UserRingBuf<u64>, PerfBuffer<u64>)>();
}

/// Objects before and after their programs are loaded, and with their links.
#[expect(dead_code, reason = "that it compiles is the test")]
fn objects_are_shared<O: Object<Links: Send + Sync> + Send + Sync>() {
    shared::<Prepared<O>>();
    shared::<Attached<O>>();
}
