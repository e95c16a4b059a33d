//! Warnings about map definitions that every kernel rejects.

use std::path::Path;

use skelgen::Options;
use skelgen::unstable::model::BpfObject;
use skelgen_abi::uapi::{MapType, map_flags};

fn object(name: &str) -> BpfObject {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../fixtures/corpus/objects/{name}.bpf.o"));
    let bytes = std::fs::read(&path).expect("the object is committed");
    skelgen::unstable::inspect(&bytes, &Options::for_file(&path)).expect("the object is valid")
}

#[test]
fn inner_maps() {
    let warnings = object("templates").warnings();
    let wanted = [
        ("inner maps of map `rings`: its max_entries is 0", "`set_inner_map`"),
        ("map `outer`: it has no definition of its inner maps", "`set_inner_map`"),
    ];
    assert_eq!(warnings.len(), wanted.len(), "{warnings:#?}");
    for (warning, (begin, method)) in warnings.iter().zip(wanted) {
        assert!(warning.starts_with(begin) && warning.contains(method), "{warning}");
    }
}

#[test]
fn records_of_perf_events_are_no_values() {
    let object = object("templates");
    let events = object.maps.iter().find(|map| map.def.name == "events").expect("it exists");
    assert_eq!((events.def.key_size, events.def.value_size), (4, 4));
    assert!(events.value_type.is_some(), "the type of its records stays known");
}

#[test]
fn definitions_of_other_types() {
    let mut object = object("templates");
    let warned = |object: &BpfObject, wanted: &str| {
        let warnings = object.warnings();
        assert!(warnings.iter().any(|warning| warning.contains(wanted)), "{wanted}: {warnings:#?}");
    };
    let events = object.maps.iter().position(|map| map.def.name == "events").expect("it exists");
    let change = |object: &mut BpfObject, map_type, key_size, max_entries, flags| {
        let def = &mut object.maps[events].def;
        (def.map_type, def.key_size, def.max_entries, def.flags) = (map_type, key_size, max_entries, flags);
    };
    change(&mut object, MapType::HASH, 4, 0, 0);
    warned(&object, "map `events`: its max_entries is 0; maps of type hash require at least 1; set `max_entries`");
    change(&mut object, MapType::ARRAY, 8, 1, 0);
    warned(&object, "its keys have 8 bytes; maps of type array require 4");
    change(&mut object, MapType::LPM_TRIE, 8, 1, 0);
    warned(&object, "its flags lack NO_PREALLOC, which maps of type lpm_trie require");
    change(&mut object, MapType::RINGBUF, 0, 5000, map_flags::MMAPABLE);
    warned(&object, "do not support its flags MMAPABLE");
}

/// Tests warnings about inner maps in the source that differ from the definition of inner maps.
#[test]
fn inner_maps_that_differ_from_their_definition() {
    let mut object = object("templates");
    let place =
        |object: &BpfObject, name: &str| object.maps.iter().position(|map| map.def.name == name).expect("a map");
    let (arrays, events) = (place(&object, "arrays"), place(&object, "events"));
    let id = skelgen::unstable::model::MapId(u32::try_from(events).expect("few maps"));
    object.maps[arrays].inner_maps.push((1, id));
    let warnings = object.warnings();
    let both = |warning: &String| {
        warning.contains("(perf_event_array, 4-byte keys") && warning.contains("(array, 4-byte keys, 8-byte")
    };
    assert!(warnings.iter().any(both), "{warnings:#?}");
}
