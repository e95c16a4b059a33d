//! BTF with every feature, sanitized for kernels that lack some.

use super::{Feature, sanitized};
use crate::btf::testing::Btf;
use crate::btf::{Types, kind};
use crate::sys;

/// Returns the kinds and sizes of all types, by id.
fn shape(types: &Types) -> Vec<(u32, Option<u64>)> {
    (1..).take_while(|&id| types.has(id)).map(|id| (types.kind(id), types.size(id))).collect()
}

/// Returns BTF with a type of every kind, and of some kinds with each variant.
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
        sanitized(&everything().bytes(), |feature| lacking.contains(&feature)).expect("there is something to sanitize");
    Types::of_program(bytes).expect("the result is BTF")
}

#[test]
fn accepted_btf_stays() {
    assert_eq!(sanitized(&everything().bytes(), |_| false), None);
    let mut plain = Btf::new();
    plain.int("int", 4, true);
    let mut asked = Vec::new();
    let result = sanitized(&plain.bytes(), |feature| {
        asked.push(feature);
        true
    });
    assert_eq!((result, asked), (None, vec![]), "features that the BTF does not have are not probed");
}

#[test]
fn types_keep_their_ids_and_sizes() {
    let before = shape(&everything().types());
    let after = shape(&without(&Feature::ALL));
    assert_eq!(before.len(), after.len());
    for (id, ((kind_before, before), (_, after))) in (1..).zip(before.iter().zip(&after)) {
        // The replacements of sections and functions have sizes, the originals do not.
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
fn each_feature_is_replaced_by_an_older_kind() {
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
        "a prototype and two functions"
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
fn some_features_change_only_flags_or_names() {
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
fn each_example_has_its_feature() {
    for feature in Feature::ALL {
        let example = feature.example();
        assert!(Types::of_program(example.clone()).is_ok(), "{feature:?}");
        assert!(sanitized(&example, |asked| asked == feature).is_some(), "{feature:?}");
    }
}

/// Loads BTF into the kernel. The error is the last line of the kernel's log.
fn load(bytes: &[u8]) -> Result<(), String> {
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
    if let Err(why) = load(&Feature::Sections.example()) {
        eprintln!("skipped: this process has no permission to load BTF: {why}");
        return;
    }
    for feature in Feature::ALL {
        // A kernel without a feature also lacks all later ones. This kernel accepts the replacements of all of them.
        let older = |bytes: &[u8]| sanitized(bytes, |asked| asked >= feature).unwrap();
        assert_eq!(load(&older(&feature.example())), Ok(()), "{feature:?}");
        if feature <= Feature::OddNames {
            assert_eq!(load(&older(&everything().bytes())), Ok(()), "{feature:?}");
        }
    }
}

#[test]
fn malformed_bytes_are_left_alone() {
    let bytes = everything().bytes();
    for len in 0..bytes.len() {
        let _ = sanitized(&bytes[..len], |_| true);
    }
    for at in 0..bytes.len() {
        let mut bytes = bytes.clone();
        bytes[at] ^= 0xff;
        let _ = sanitized(&bytes, |_| true);
    }
    assert_eq!(sanitized(&[], |_| true), None);
}

/// A kind layout makes the header longer than older kernels accept, and no kernel accepts unknown kinds.
#[test]
fn a_layout_and_unknown_kinds_are_removed() {
    let mut btf = everything();
    let before = btf.types();
    let odd = btf.add("odd", 20, false, 1, 5, &[1, 2]);
    btf.add("tag", kind::DECL_TAG, false, 0, odd, &[u32::MAX]);
    let pointer = btf.pointer(odd);
    for layout in [btf.bytes_with_layout(&[(20, 4, 4)]), everything().bytes_with_layout(&[])] {
        let bytes = sanitized(&layout, |_| false).expect("the header is longer");
        assert_eq!(bytes[4..8], 24_u32.to_ne_bytes());
        let after = Types::of_program(bytes.clone()).unwrap();
        assert_eq!(shape(&after)[..shape(&before).len()], shape(&before));
        if after.has(odd) {
            assert_eq!(
                (after.kind(odd), after.kind(odd + 1), after.pointee(pointer)),
                (kind::INT, kind::INT, Some(odd))
            );
        }
        if load(&Feature::Attributes.example()).is_ok() {
            assert_eq!(load(&bytes), Ok(()));
        }
    }
    assert_eq!(sanitized(&btf.bytes(), |_| false), None, "the length of the type is unknown");
}
