//! What has no answer, or several, and bytes that make no sense.

use std::rc::Rc;

use super::*;
use crate::btf::Types;
use crate::relocate::unresolved;

#[test]
fn several_candidates() {
    let with = |kernel: Btf, path| {
        let (local, s) = local();
        fit(local, &kernel, (s, path, OFFSET), &[mov(0)]).map(|insns| insns[0])
    };
    let two = |offset| {
        let mut kernel = Btf::new();
        let int = kernel.int("int", 4, true);
        kernel.structure("s", 32, &[("a", int, 64)]);
        kernel.structure("s___2", 32, &[("x", int, 0), ("a", int, offset)]);
        kernel
    };
    assert_eq!(with(two(64), "0:0").unwrap(), mov(8), "they say the same");
    let error = with(two(96), "0:0").unwrap_err().to_string();
    assert!(error.contains("ambiguous") && error.contains("bit 64 and bit 96"), "{error}");
}

#[test]
fn what_cannot_be() {
    let error = |about| {
        let (mut local, _) = local();
        local.structure("", 4, &[]);
        fit(local, &kernel().0, about, &[mov(0)]).unwrap_err().to_string()
    };
    let s = local().1;
    assert!(error((s, "0:9", OFFSET)).contains("leads nowhere"));
    assert!(error((s, "0:0:0", OFFSET)).contains("leads nowhere"));
    assert!(error((s, "0:2:4", OFFSET)).contains("leads nowhere"));
    assert!(error((s, "", OFFSET)).contains("leads nowhere"));
    assert!(error((s, "0:-1", OFFSET)).contains("leads nowhere"));
    let long = ["0"; 65].join(":");
    assert!(error((s, &long, OFFSET)).contains("leads nowhere"));
    assert!(error((s, "0:1", TYPE_EXISTS)).contains("leads nowhere"));
    assert!(error((s, "0", ENUMERATOR_VALUE)).contains("leads nowhere"));
    assert!(error((999, "0", TYPE_EXISTS)).contains("no type 999"));
    assert!(error((s, "0", 13)).contains("unknown kind 13"));
    assert!(error((s + 1, "0", TYPE_EXISTS)).contains("without a name"));
}

#[test]
fn types_without_end() {
    // Types of a file that are made of themselves are walked a while, not for ever.
    let (local, s) = local();
    let mut kernel = Btf::new();
    let next = 3;
    kernel.structure("s", 8, &[("", 2, 0), ("a", next, 0)]);
    kernel.structure("", 8, &[("", 2, 0)]);
    kernel.add("", kind::CONST, false, 0, next, &[]);
    let error = fit(local, &kernel, (s, "0:0", OFFSET), &[mov(0)]).unwrap_err().to_string();
    assert!(error.contains("nested too deep"), "{error}");
    let (local, s) = self::local();
    let mut kernel = Btf::new();
    kernel.structure("s", 8, &[("c", 2, 0)]);
    kernel.add("", kind::ARRAY, false, 0, 0, &[2, 2, 1]);
    assert_eq!(number(local, &kernel, (s, "0:2", EXISTS), 1), Some(0));
}

#[test]
fn bytes_without_sense_are_survived() {
    let ((mut local, s), (mut kernel, _)) = (local(), kernel());
    let e = local.enumeration("e", true, &[("A", 1)]);
    kernel.enumeration("e", false, &[("A", 2)]);
    let long = kernel.int("long", 8, false);
    kernel.bitfields("s", 8, &[("a", long, 320, 64), ("a", long, 3, 7)]);
    let paths = ["0", "0:0", "0:1:1", "0:2:3", "1:3"].map(|path| local.string(path));
    let records: Vec<Vec<u8>> = (0..13)
        .flat_map(|question| {
            paths.map(|path| record(if question == 10 || question == 11 { e } else { s }, path, question))
        })
        .collect();
    let all: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
    let (local, kernel) = (local.bytes(), kernel.bytes());
    let survive = |local: &[u8], kernel: &[u8]| {
        let (Ok(local), Ok(kernel)) = (Types::of_program(local.to_vec()), Types::of_program(kernel.to_vec())) else {
            return;
        };
        let mut relocator = Relocator::new(local, &Rc::new(kernel), false, &all);
        for record in &all {
            for insn in [mov(0), ldx(WORD, 0), of_r1(0x18, 0)] {
                // Whatever comes of it, an answer or an error.
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
fn what_the_verifier_says_is_explained() {
    let (mut local, s) = local();
    let access = local.string("0:1:1");
    let mut records = record(s, access, OFFSET);
    records[..4].copy_from_slice(&24_u32.to_ne_bytes());
    let types = local.types();
    let said = unresolved(&types, &records, 3).unwrap();
    assert!(said.starts_with("instruction 3 needs the offset of `struct s___mine.b`, which"), "{said}");
    assert_eq!(unresolved(&types, &records, 4), None);
}
