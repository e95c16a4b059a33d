//! Tests of handles on real maps. They do nothing if this process has no permission to create maps.

use std::os::fd::{AsFd, OwnedFd};

use super::*;
use super::{Frozen, Mapped, PercpuData};
use crate::data::Plain;
use crate::error::{ErrorKind, Step, Subject, golden};
use crate::sys::cpus::possible;
use crate::sys::elem::testing::{create, create_outer};
use crate::uapi::MapType;
use crate::uapi::map_flags::{MMAPABLE, NO_PREALLOC};

/// Describes a map whose data has this number of bytes.
fn info(name: &'static str, size: u32) -> Info<'static> {
    Info { name, data_size: size, section_size: size, inner: None, frozen: None }
}

fn opened(fd: impl AsFd) -> Opened {
    Opened(sys::map::Map::adopt(fd.as_fd().try_clone_to_owned().unwrap()).unwrap().0)
}

/// Creates a handle of a new map.
fn make<M: FromFd>(map_type: MapType, key: u32, value: u32, entries: u32, flags: u32) -> Option<M> {
    let fd = create(map_type, key, value, entries, flags)?;
    Some(M::from_fd(opened(fd), &info("m", value)).unwrap())
}

#[test]
fn arrays() {
    let Some(map) = make::<Array<u64>>(MapType::ARRAY, 4, 8, 300, 0) else { return };
    map.set(299, &7).unwrap();
    assert_eq!((map.get(299).unwrap(), map.get(0).unwrap(), map.len()), (7, 0, 300));
    assert_eq!(map.get(300).unwrap_err().to_string(), "map `m`: index 300 is out of bounds: the map has 300 elements");
    assert!(map.set(300, &1).is_err());
    map.set_many(&[1, 2, 3]).unwrap();
    let all = map.to_vec().unwrap();
    assert_eq!((all.len(), &all[..4], all[299]), (300, &[1, 2, 3, 0][..], 7));
}

fn iterate<V: Plain + PartialEq + std::fmt::Debug + From<u8>>(map: &HashMap<u32, V>) {
    for key in 0..200u32 {
        assert!(map.insert_new(&key, &V::from(1)).unwrap());
    }
    assert!(!map.insert_new(&5, &V::from(1)).unwrap());
    let mut keys = map.keys().collect::<Result<Vec<_>>>().unwrap();
    keys.sort_unstable();
    assert!(keys.into_iter().eq(0..200));
    // Returned elements may be removed at once.
    let mut visited = 0;
    for element in map {
        let (key, value) = element.unwrap();
        assert_eq!(value, V::from(1));
        assert!(map.remove(&key).unwrap());
        visited += 1;
    }
    assert_eq!(visited, 200);
    assert!(map.iter().next().is_none());
}

#[test]
fn hash_maps() {
    let Some(map) = make::<HashMap<u32, u64>>(MapType::HASH, 4, 8, 1000, 0) else { return };
    iterate(&map);
    map.insert_many(&[1, 2, 3], &[10, 20, 30]).unwrap();
    assert!(map.insert_many(&[1], &[]).is_err());
    assert_eq!((map.get(&2).unwrap(), map.get(&4).unwrap()), (Some(20), None));
    assert_eq!((map.take(&2).unwrap(), map.take(&2).unwrap()), (Some(20), None));
    assert_eq!(map.remove_many(&[1, 2, 3]).unwrap(), 2);
    map.insert(&9, &9).unwrap();
    assert_eq!(map.clear().unwrap(), 1);
    iterate(&make::<HashMap<u32, u64>>(MapType::LRU_HASH, 4, 8, 4000, 0).unwrap());
    iterate(&make::<HashMap<u32, u64>>(MapType::HASH, 4, 8, 200, NO_PREALLOC).unwrap());
}

#[test]
fn maps_without_batches() {
    // The values are interface indices; 1 is the loopback device.
    let Some(map) = make::<HashMap<u32, u32>>(MapType::DEVMAP_HASH, 4, 4, 8, 0) else { return };
    map.insert_many(&[1, 2, 3], &[1, 1, 1]).unwrap();
    let mut keys = map.keys().collect::<Result<Vec<_>>>().unwrap();
    keys.sort_unstable();
    assert_eq!(keys, [1, 2, 3]);
    for key in map.keys() {
        assert!(map.remove(&key.unwrap()).unwrap());
    }
    assert_eq!((map.clear().unwrap(), map.remove_many(&[1, 2]).unwrap()), (0, 0));
}

#[test]
fn tries() {
    let Some(map) = make::<LpmTrie<[u32; 2], u32>>(MapType::LPM_TRIE, 8, 4, 100, NO_PREALLOC) else { return };
    let address = u32::from_ne_bytes([10, 1, 2, 3]);
    map.insert(&[8, u32::from_ne_bytes([10, 0, 0, 0])], &1).unwrap();
    map.insert(&[16, u32::from_ne_bytes([10, 1, 0, 0])], &2).unwrap();
    assert_eq!(map.get(&[32, address]).unwrap(), Some(2));
    assert_eq!(map.iter().map(|element| element.unwrap().1).sum::<u32>(), 3);
    assert_eq!(map.take(&[16, u32::from_ne_bytes([10, 1, 0, 0])]).unwrap(), Some(2));
}

#[test]
fn percpu_arrays() {
    // Three bytes, so that the kernel's rounding up to 8 is tested.
    let Some(map) = make::<PercpuArray<[u8; 3]>>(MapType::PERCPU_ARRAY, 4, 3, 2, 0) else { return };
    let cpus = possible().unwrap();
    let last = cpus.width() - 1;
    map.set_all(1, &[1, 2, 3]).unwrap();
    map.set_on(1, last, &[4, 5, 6]).unwrap();
    assert_eq!(map.get_on(1, last).unwrap(), [4, 5, 6]);
    let sum = map.fold(1, 0, |sum, value| sum + usize::from(value[0])).unwrap();
    assert_eq!(sum, cpus.len() + 3);
    let error = map.get_on(1, last + 1).unwrap_err();
    assert_eq!((error.kind(), error.impossible_cpu()), (ErrorKind::NoSuchCpu, Some(last + 1)), "{error}");
    let each = PerCpu::from_fn(|cpu| [u8::try_from(cpu).unwrap_or(0), 0, 9]).unwrap();
    map.set_each(0, &each).unwrap();
    assert!(map.get(0).unwrap().iter().eq(each.iter()));
    assert!(map.get(2).is_err() && map.get_on(2, 0).is_err() && map.set_all(2, &[0; 3]).is_err());
}

#[test]
fn percpu_hash_maps() {
    let Some(map) = make::<PercpuHashMap<u64, u32>>(MapType::PERCPU_HASH, 8, 4, 50, 0) else { return };
    map.insert_all(&1, &5).unwrap();
    map.insert_on(&2, 0, &6).unwrap();
    assert_eq!(map.get_on(&3, 0).unwrap(), None);
    assert_eq!(map.fold(&2, 0, |sum, value| sum + value).unwrap(), Some(6));
    let mut all = map.iter().map(|element| element.unwrap()).collect::<Vec<_>>();
    all.sort_by_key(|(key, _)| *key);
    assert!(all[0].1.values().iter().all(|&value| value == 5));
    assert_eq!((all.len(), all[1].0, all[1].1.get(0)), (2, 2, Some(&6)));
    assert!(map.remove(&1).unwrap() && !map.remove(&1).unwrap());
}

#[test]
fn queues_and_stacks() {
    let Some(queue) = make::<Queue<u32>>(MapType::QUEUE, 0, 4, 2, 0) else { return };
    let stack = make::<Stack<u32>>(MapType::STACK, 0, 4, 2, 0).unwrap();
    for value in [1, 2] {
        queue.push(&value).unwrap();
        stack.push(&value).unwrap();
    }
    assert!(queue.push(&3).is_err());
    queue.push_over(&3).unwrap();
    assert_eq!((queue.peek().unwrap(), queue.pop().unwrap(), queue.pop().unwrap()), (Some(2), Some(2), Some(3)));
    assert_eq!((queue.pop().unwrap(), stack.pop().unwrap()), (None, Some(2)));
}

#[test]
fn bloom_filters() {
    let Some(filter) = make::<BloomFilter<u64>>(MapType::BLOOM_FILTER, 0, 8, 100, 0) else { return };
    filter.insert(&12345).unwrap();
    assert!(filter.may_contain(&12345).unwrap());
    assert!((0..100).any(|value| !filter.may_contain(&value).unwrap()));
}

#[test]
fn maps_of_maps() {
    let Some(inner) = create(MapType::ARRAY, 4, 4, 1, 0) else { return };
    let outer = create_outer(MapType::ARRAY_OF_MAPS, 4, 4, 2, 0, Some(inner.as_fd())).unwrap();
    let outer = <ArrayOfMaps>::try_from(outer).unwrap();
    outer.set(1, &inner).unwrap();
    let inner = Array::<u32>::try_from(inner).unwrap();
    assert_eq!((outer.id_at(1).unwrap(), outer.id_at(0).unwrap()), (Some(u64::from(inner.id())), None));
    assert!(outer.remove(1).unwrap());
    let outer = create_outer(MapType::HASH_OF_MAPS, 8, 4, 2, 0, Some(inner.as_fd())).unwrap();
    let outer = <HashOfMaps<u64>>::try_from(outer).unwrap();
    outer.insert(&77, &inner).unwrap();
    assert_eq!(outer.keys().unwrap(), [77]);
    assert_eq!(outer.id_of(&77).unwrap(), Some(u64::from(inner.id())));
}

#[test]
fn an_empty_ring_buffer() {
    let Some(events) = make::<RingBuf>(MapType::RINGBUF, 0, 0, 4096, 0) else { return };
    assert_eq!(events.next().unwrap(), None);
    assert_eq!(events.drain(|_| ()).unwrap(), 0);
    assert!(!events.poll(Some(std::time::Duration::from_millis(1))).unwrap());
}

#[test]
fn sections() {
    let Some(data) = make::<Mapped<[u64; 3]>>(MapType::ARRAY, 4, 24, 1, MMAPABLE) else { return };
    let fd: OwnedFd = data.as_fd().try_clone_to_owned().unwrap();
    let map = Array::<[u64; 3]>::try_from(fd).unwrap();
    assert_eq!(map.name(), "test");
    map.set(0, &[1, 2, 3]).unwrap();
    assert_eq!(data.cell().get(), [1, 2, 3]);
    data.cell().field::<u64>(8).set(9);
    assert_eq!(map.get(0).unwrap(), [1, 9, 3]);
    let fd = OwnedFd::from(map);
    let longer = Mapped::<[u32; 2]>::from_fd(opened(&fd), &info(".data", 8)).unwrap();
    longer.tail::<u64>().unwrap().next_back().unwrap().set(4);
    assert_eq!(data.cell().get(), [1, 9, 4]);
    assert!(longer.tail::<[u8; 3]>().is_err() && longer.tail::<[u8; 0]>().is_err());
    let frozen = Frozen::<u64>::from_fd(opened(&fd), &info(".data", 8)).unwrap();
    assert_eq!((frozen.get(), frozen.tail::<u64>().unwrap()), (&1, vec![9, 4]));
    assert!(Frozen::<[u8; 25]>::from_fd(opened(&fd), &info(".data", 25)).is_err());
    assert_eq!(Frozen::<[u64; 3]>::try_from(fd).unwrap().get(), &[1, 9, 4]);
}

#[test]
fn percpu_sections() {
    let Some(data) = make::<PercpuData<[u32; 5]>>(MapType::PERCPU_ARRAY, 4, 20, 1, 0) else { return };
    let cpus = possible().unwrap();
    data.set_all(&[7; 5]).unwrap();
    data.set_on(0, &[8; 5]).unwrap();
    assert_eq!(data.get_on(0).unwrap(), [8; 5]);
    assert!(data.iter().unwrap().map(|(cpu, _)| cpu).eq(cpus.iter()));
    let sum = data.fold(0, |sum, value| sum + value[4]).unwrap();
    assert_eq!(usize::try_from(sum).unwrap(), 7 * cpus.len() + 1);
    assert_eq!(data.get_on(cpus.width()).unwrap_err().impossible_cpu(), Some(cpus.width()));
}

#[test]
fn maps_that_do_not_match_are_rejected() {
    let Some(fd) = create(MapType::ARRAY, 4, 8, 1, 0) else { return };
    let error = Array::<u32>::from_fd(opened(&fd), &info("counts", 8)).unwrap_err();
    golden::check("map whose values have the wrong size", ErrorKind::Mismatch, &error);
    let error = HashMap::<u32, u64>::from_fd(opened(&fd), &info("counts", 8)).unwrap_err();
    golden::check("map of a different type", ErrorKind::Mismatch, &error);
    assert_eq!((error.step(), error.subject()), (Step::Open, Some(Subject::Map("counts"))));
    // A wrong length at run time is rejected before the kernel is called.
    let untyped = Untyped::try_from(fd).unwrap();
    assert!(untyped.get(&[0; 3]).is_err() && untyped.insert(&[0; 4], &[0; 7]).is_err());
    assert_eq!(untyped.get(&[0; 4]).unwrap(), Some(vec![0; 8]));
    assert_eq!(untyped.iter().count(), 1);
    // The file descriptor of a regular file is rejected.
    assert!(Untyped::try_from(OwnedFd::from(std::fs::File::open("/dev/null").unwrap())).is_err());
}

#[test]
fn file_descriptors_of_other_files_are_rejected() {
    let file = std::fs::File::open("/dev/null").unwrap();
    let error = Array::<u64>::try_from(OwnedFd::from(file)).unwrap_err();
    golden::check("file descriptor of a file", ErrorKind::Mismatch, &error);
}

#[test]
fn file_descriptors_have_one_number() {
    use std::os::fd::AsRawFd;
    fn check(handle: &(impl AsFd + AsRawFd)) -> i32 {
        assert_eq!(handle.as_raw_fd(), handle.as_fd().as_raw_fd());
        handle.as_raw_fd()
    }
    let Some(map) = make::<Array<u64>>(MapType::ARRAY, 4, 8, 1, 0) else { return };
    assert_eq!(check(&map), check(map.as_untyped()));
    check(&make::<RingBuf>(MapType::RINGBUF, 0, 0, 4096, 0).unwrap());
    check(&crate::Link::from(OwnedFd::from(map)));
}

#[test]
fn errors_of_pins_explain_the_path() {
    let Some(map) = make::<Array<u64>>(MapType::ARRAY, 4, 8, 1, 0) else { return };
    let path = std::env::temp_dir().join("map");
    let error = map.pin(&path).unwrap_err();
    assert_eq!((error.step(), error.subject()), (Step::Pin, Some(Subject::Path(&path))));
    assert!(error.help().is_some(), "{error}");
}

#[test]
fn handles_are_shared_between_threads() {
    fn check<T: Send + Sync + std::fmt::Debug>() {}
    check::<Array<u8>>();
    check::<HashMap<u8, u8>>();
    check::<PercpuHashMap<u8, u8>>();
    check::<RingBuf>();
    check::<ProgArray>();
    check::<Mapped<u8>>();
    check::<Frozen<u8>>();
    check::<PercpuData<u8>>();
    check::<crate::Initial<u8>>();
}

/// Maps the pages of a ring buffer a second time, as any process with the map can.
#[test]
fn ring_buffers_that_another_process_corrupts() {
    use crate::data::Shared;
    use crate::sys::mmap::{Region, page_size};
    use std::sync::atomic::Ordering;

    let len = u32::try_from(page_size()).unwrap();
    let Some(events) = make::<RingBuf>(MapType::RINGBUF, 0, 0, len, 0) else { return };
    let consumer = Shared::new(Region::new(events.as_fd(), 0, page_size(), true).unwrap());
    assert_eq!(events.drain(|_| ()).unwrap(), 0);
    for position in [4, 8, 4096, 1 << 40, u64::MAX] {
        consumer.store_u64(0, position, Ordering::Relaxed);
        for _ in 0..2 {
            let ready = events.poll(Some(std::time::Duration::ZERO)).unwrap();
            assert!(ready, "the kernel compares the positions");
            let error = events.drain(|_| ()).expect_err("it does not loop forever");
            golden::check("ring buffer whose consumer position was moved", ErrorKind::Malformed, &error);
            assert!(events.next().is_err() && events.drain_as::<u64>(|_| ()).is_err());
        }
        // A new reader has no position of its own to compare with.
        let fresh = <RingBuf>::try_from(events.as_fd().try_clone_to_owned().unwrap()).unwrap();
        let error = fresh.drain(|_| ()).expect_err("the position is not valid");
        assert_eq!((error.kind(), error.step()), (ErrorKind::Malformed, Step::ReadMap), "{position}: {error}");
    }
    consumer.store_u64(0, 0, Ordering::Relaxed);
    assert_eq!(events.drain(|_| ()).unwrap(), 0);

    let Some(commands) = make::<UserRingBuf>(MapType::USER_RINGBUF, 0, 0, len, 0) else { return };
    assert!(commands.push(b"command").unwrap());
    let producer = Shared::new(Region::new(commands.as_fd(), page_size(), 3 * page_size(), true).unwrap());
    for position in [0, 4, 8, 1 << 40, u64::MAX] {
        producer.store_u64(0, position, Ordering::Relaxed);
        let error = commands.push(b"command").expect_err("records would be lost");
        golden::check("user ring buffer whose producer position was moved", ErrorKind::Malformed, &error);
        assert_eq!(error.step(), Step::WriteMap, "{position}: {error}");
    }
}
