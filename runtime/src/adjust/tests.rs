//! BTF with everything that a kernel may lack, adjusted for kernels that lack some of it.

use super::{Feature, adjusted};
use crate::btf::testing::Btf;
use crate::btf::{Types, kind};
use crate::sys;

/// Kinds and sizes of all types, by id.
fn shape(types: &Types) -> Vec<(u32, Option<u64>)> {
    (1..).take_while(|&id| types.has(id)).map(|id| (types.kind(id), types.size(id))).collect()
}

/// One type of every kind, each a few times where that makes a difference.
fn everything() -> Btf {
    let mut btf = Btf::new();
    let int = btf.int("int", 4, true);
    let float = btf.add("double", kind::FLOAT, false, 0, 8, &[]);
    let wide = btf.enumeration64("wide", &[("A", 1), ("B", 1 << 40)]);
    let signed = btf.enumeration("signed", true, &[("C", -1)]);
    let tag = btf.add("tag", kind::TYPE_TAG, false, 0, int, &[]);
    let attribute = btf.add("attribute", kind::TYPE_TAG, true, 0, tag, &[]);
    let pointer = btf.pointer(attribute);
    let s = btf.structure("s", 32, &[("f", float, 0), ("w", wide, 64), ("e", signed, 128), ("p", pointer, 192)]);
    btf.add("of s", kind::DECL_TAG, false, 0, s, &[u32::MAX]);
    let variable = btf.add("v", kind::VAR, false, 0, s, &[1]);
    btf.add("of v", kind::DECL_TAG, true, 0, variable, &[u32::MAX]);
    let prototype = btf.function_type(int, &[]);
    btf.add("global", kind::FUNC, false, 1, prototype, &[]);
    btf.add("static", kind::FUNC, false, 0, prototype, &[]);
    btf.add(".data.x", kind::DATASEC, false, 1, 32, &[variable, 0, 32]);
    btf.add("?.odd", kind::DATASEC, false, 1, 32, &[variable, 0, 32]);
    btf.add(".empty", kind::DATASEC, false, 0, 24, &[]);
    btf.enumeration("plain", false, &[("D", 1)]);
    btf
}

fn without(lacking: &[Feature]) -> Types {
    let bytes =
        adjusted(&everything().bytes(), |feature| lacking.contains(&feature)).expect("there is something to adjust");
    Types::of_program(bytes).expect("what comes out is BTF")
}

#[test]
fn what_nothing_is_wrong_with_stays() {
    assert_eq!(adjusted(&everything().bytes(), |_| false), None);
    let mut plain = Btf::new();
    plain.int("int", 4, true);
    let mut asked = Vec::new();
    let result = adjusted(&plain.bytes(), |feature| {
        asked.push(feature);
        true
    });
    assert_eq!((result, asked), (None, vec![]), "what is not there is not asked about");
}

#[test]
fn types_keep_their_ids_and_sizes() {
    let before = shape(&everything().types());
    let after = shape(&without(&Feature::ALL));
    assert_eq!(before.len(), after.len());
    for (id, ((kind_before, before), (_, after))) in (1..).zip(before.iter().zip(&after)) {
        // Sections and functions get sizes that they had not.
        let same = before == after || before.is_none();
        assert!(same, "type {id} of kind {kind_before}: {before:?} is {after:?}");
    }
    let newer = [
        kind::FLOAT,
        kind::DECL_TAG,
        kind::TYPE_TAG,
        kind::ENUM64,
        kind::VAR,
        kind::DATASEC,
        kind::FUNC,
        kind::FUNC_PROTO,
    ];
    assert!(after.iter().all(|(kind, _)| !newer.contains(kind)), "{after:?}");
}

#[test]
fn each_gives_way_to_what_is_older() {
    let kinds = |feature| shape(&without(&[feature])).iter().map(|(kind, _)| *kind).collect::<Vec<_>>();
    let before: Vec<_> = shape(&everything().types()).iter().map(|(kind, _)| *kind).collect();
    let changes = |feature| {
        let pairs = (1_u32..).zip(before.iter().zip(kinds(feature)));
        pairs.filter(|(_, (before, after))| **before != *after).map(|(id, (_, after))| (id, after)).collect::<Vec<_>>()
    };
    assert_eq!(changes(Feature::Floats), [(2, kind::STRUCT)]);
    assert_eq!(changes(Feature::Enumerations), [(3, kind::INT)]);
    assert_eq!(changes(Feature::TypeTags), [(5, kind::CONST), (6, kind::CONST)]);
    assert_eq!(changes(Feature::DeclarationTags), [(9, kind::INT), (11, kind::INT)]);
    assert_eq!(changes(Feature::EmptySections), [(17, kind::STRUCT)]);
    assert_eq!(
        changes(Feature::Functions),
        [(12, kind::INT), (13, kind::TYPEDEF), (14, kind::TYPEDEF)],
        "the type of a function and two functions"
    );
    assert_eq!(
        changes(Feature::Sections),
        [(10, kind::INT), (15, kind::STRUCT), (16, kind::STRUCT), (17, kind::STRUCT)]
    );
    for feature in [Feature::GlobalFunctions, Feature::OddNames, Feature::Attributes] {
        assert!(changes(feature).is_empty());
    }
}

#[test]
fn flags_and_names_change_where_kinds_do_not() {
    let types = without(&[Feature::Enumerations]);
    assert!(!types.flag(4) && types.name(4) == "signed" && types.enumerators(4).eq([("C", u64::MAX)]));
    assert_eq!((types.name(3), types.count(18)), ("wide", 1));
    let types = without(&[Feature::Attributes]);
    assert_eq!((types.flag(6), types.name(6), types.flag(11), types.name(11)), (false, "attribute", false, "of v"));
    let types = without(&[Feature::OddNames]);
    assert_eq!((types.name(15), types.name(16)), (".data.x", "_.odd"));
    let types = without(&[Feature::GlobalFunctions]);
    assert_eq!((types.count(13), types.name(13), types.name(14)), (0, "global", "static"));
    let types = without(&[Feature::Sections]);
    assert_eq!((types.name(15), types.name(16)), ("_data_x", "__odd"));
    assert!(types.members(15).map(|member| (member.name, member.ty, member.bit_offset)).eq([("v", 10, 0)]));
}

#[test]
fn examples_have_what_they_are_of() {
    for feature in Feature::ALL {
        let example = feature.example();
        assert!(Types::of_program(example.clone()).is_ok(), "{feature:?}");
        assert!(adjusted(&example, |asked| asked == feature).is_some(), "{feature:?}");
    }
}

/// Has the kernel take BTF, or gives the end of what it says against it.
fn take(bytes: &[u8]) -> Result<(), String> {
    let mut log = vec![0; 1 << 16];
    let failed = match sys::btf::load(bytes, None, &mut log) {
        Ok((Ok(_), _)) => return Ok(()),
        Ok((Err(errno), _)) | Err(errno) => errno,
    };
    let text = String::from_utf8_lossy(&log).trim_end_matches('\0').to_owned();
    Err(format!("{failed}: {}", text.lines().last().unwrap_or_default()))
}

#[test]
fn this_kernel_takes_what_is_adjusted() {
    if let Err(why) = take(&Feature::Sections.example()) {
        eprintln!("skipped: this process may not load BTF: {why}");
        return;
    }
    for feature in Feature::ALL {
        // What a kernel lacks, it and all younger features: this one takes it all.
        let older = |bytes: &[u8]| adjusted(bytes, |asked| asked >= feature).unwrap();
        assert_eq!(take(&older(&feature.example())), Ok(()), "{feature:?}");
        if feature <= Feature::OddNames {
            assert_eq!(take(&older(&everything().bytes())), Ok(()), "{feature:?}");
        }
    }
}

#[test]
fn bytes_without_sense_are_left_alone() {
    let bytes = everything().bytes();
    for len in 0..bytes.len() {
        let _ = adjusted(&bytes[..len], |_| true);
    }
    for at in 0..bytes.len() {
        let mut bytes = bytes.clone();
        bytes[at] ^= 0xff;
        let _ = adjusted(&bytes, |_| true);
    }
    assert_eq!(adjusted(&[], |_| true), None);
}

/// A layout of kinds makes the header longer than older kernels accept, and no kernel accepts kinds that it does not know.
#[test]
fn a_layout_and_unknown_kinds_are_left_out() {
    let mut btf = everything();
    let before = btf.types();
    let odd = btf.add("odd", 20, false, 1, 5, &[1, 2]);
    btf.add("tag", kind::DECL_TAG, false, 0, odd, &[u32::MAX]);
    let pointer = btf.pointer(odd);
    for layout in [btf.bytes_with_layout(&[(20, 4, 4)]), everything().bytes_with_layout(&[])] {
        let bytes = adjusted(&layout, |_| false).expect("the header is longer");
        assert_eq!(bytes[4..8], 24_u32.to_ne_bytes());
        let after = Types::of_program(bytes.clone()).unwrap();
        assert_eq!(shape(&after)[..shape(&before).len()], shape(&before));
        if after.has(odd) {
            assert_eq!(
                (after.kind(odd), after.kind(odd + 1), after.pointee(pointer)),
                (kind::INT, kind::INT, Some(odd))
            );
        }
        if take(&Feature::Attributes.example()).is_ok() {
            assert_eq!(take(&bytes), Ok(()));
        }
    }
    assert_eq!(adjusted(&btf.bytes(), |_| false), None, "nothing tells how long the type is");
}
