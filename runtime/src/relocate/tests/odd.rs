//! Absent and ambiguous targets, and malformed bytes.

use std::sync::Arc;

use super::*;
use crate::btf::Types;
use crate::error::{ErrorKind, golden};
use crate::relocate::unresolved;

#[test]
fn several_candidates() {
    let with = |kernel: Btf, path| {
        let (local, s) = local();
        relocated(local, &kernel, (s, path, OFFSET), &[mov(0)]).map(|insns| insns[0])
    };
    let two = |offset| {
        let mut kernel = Btf::new();
        let int = kernel.int("int", 4, true);
        kernel.structure("s", 32, &[("a", int, 64)]);
        kernel.structure("s___2", 32, &[("x", int, 0), ("a", int, offset)]);
        kernel
    };
    assert_eq!(with(two(64), "0:0").unwrap(), mov(8), "both have the same offset");
    let error = with(two(96), "0:0").unwrap_err();
    golden::check("CO-RE: several types that disagree", ErrorKind::Ambiguous, &error);
}

#[test]
fn malformed_records() {
    let error = |about| {
        let (mut local, _) = local();
        local.structure("", 4, &[]);
        relocated(local, &kernel().0, about, &[mov(0)]).unwrap_err()
    };
    let check = |name: &str, about| golden::check(&format!("CO-RE: {name}"), ErrorKind::Malformed, &error(about));
    let s = local().1;
    check("path to a member that does not exist", (s, "0:9", OFFSET));
    check("path below an integer", (s, "0:0:0", OFFSET));
    check("path past the end of an array", (s, "0:2:4", OFFSET));
    check("empty path", (s, "", OFFSET));
    check("path with a sign", (s, "0:-1", OFFSET));
    let long = ["0"; 65].join(":");
    check("path of too many parts", (s, &long, OFFSET));
    check("path of a type", (s, "0:1", TYPE_EXISTS));
    check("enumerator of a struct", (s, "0", ENUMERATOR_VALUE));
    check("type that the object lacks", (999, "0", TYPE_EXISTS));
    check("unknown kind", (s, "0", 13));
    check("type without a name", (s + 1, "0", TYPE_EXISTS));
}

#[test]
fn a_member_is_searched_once_in_each_type() {
    // Each struct has two anonymous members of the struct before it: 2^60 paths to the innermost one.
    let (local, s) = local();
    let mut kernel = Btf::new();
    let int = kernel.int("int", 4, true);
    let mut inner = kernel.structure("", 4, &[("other", int, 0)]);
    for _ in 0..60 {
        inner = kernel.structure("", 4, &[("", inner, 0), ("", inner, 0)]);
    }
    kernel.structure("s", 32, &[("", inner, 0), ("a", int, 64)]);
    assert_eq!(relocated(local, &kernel, (s, "0:0", OFFSET), &[mov(0)]).unwrap()[0], mov(8));
}

#[test]
fn recursive_types() {
    // Types of a file can contain themselves; the lookup must end.
    let (local, s) = local();
    let mut kernel = Btf::new();
    let next = 3;
    kernel.structure("s", 8, &[("", 2, 0), ("a", next, 0)]);
    kernel.structure("", 8, &[("", 2, 0)]);
    kernel.add("", kind::CONST, false, 0, next, &[]);
    let error = relocated(local, &kernel, (s, "0:0", OFFSET), &[mov(0)]).unwrap_err();
    golden::check("CO-RE: types that contain themselves", ErrorKind::Malformed, &error);
    let (local, s) = self::local();
    let mut kernel = Btf::new();
    kernel.structure("s", 8, &[("c", 2, 0)]);
    kernel.add("", kind::ARRAY, false, 0, 0, &[2, 2, 1]);
    assert_eq!(number(local, &kernel, (s, "0:2", EXISTS), 1), Some(0));
}

#[test]
fn malformed_bytes_do_not_panic() {
    let ((mut local, s), (mut kernel, _)) = (local(), kernel());
    let e = local.enumeration("e", true, &[("A", 1)]);
    kernel.enumeration("e", false, &[("A", 2)]);
    let long = kernel.int("long", 8, false);
    kernel.bitfields("s", 8, &[("a", long, 320, 64), ("a", long, 3, 7)]);
    let paths = ["0", "0:0", "0:1:1", "0:2:3", "1:3"].map(|path| local.string(path));
    let records: Vec<Vec<u8>> = (0..13)
        .flat_map(|relocation| {
            paths.map(|path| record(if relocation == 10 || relocation == 11 { e } else { s }, path, relocation))
        })
        .collect();
    let all: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
    let (local, kernel) = (local.bytes(), kernel.bytes());
    let survive = |local: &[u8], kernel: &[u8]| {
        let (Ok(local), Ok(kernel)) = (Types::of_program(local.to_vec()), Types::of_program(kernel.to_vec())) else {
            return;
        };
        let mut relocator = Relocator::new(local, &Arc::new(kernel), false, &all);
        for record in &all {
            for insn in [mov(0), ldx(WORD, 0), of_r1(0x18, 0)] {
                // Any result is fine, as long as it does not panic.
                let _ = relocator.relocate([insn, [0; 8]].as_flattened_mut(), record);
            }
        }
    };
    for flip in [0x01, 0x80, 0xff] {
        for at in 0..kernel.len() {
            let mut bytes = kernel.clone();
            bytes[at] ^= flip;
            survive(&local, &bytes);
        }
        for at in 0..local.len() {
            let mut bytes = local.clone();
            bytes[at] ^= flip;
            survive(&bytes, &kernel);
        }
    }
}

#[test]
fn poisoned_instructions_are_described() {
    let (mut local, s) = local();
    let access = local.string("0:1:1");
    let mut records = record(s, access, OFFSET);
    records[..4].copy_from_slice(&24_u32.to_ne_bytes());
    let types = local.types();
    let text = unresolved(&types, &records, 3).unwrap();
    assert!(text.starts_with("instruction 3 needs the offset of `struct s___mine.b`: this kernel"), "{text}");
    assert_eq!(unresolved(&types, &records, 4), None);
}
