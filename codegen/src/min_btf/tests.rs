//! Tests of minimized BTF of types made for each case.

use super::minimize;
use crate::btf::ext::{BtfExt, CoreRelo, SectionInfo};
use crate::btf::{Btf, Composite, Enum, Int, Kind, Member, Type, TypeId};
use crate::insn::{Endian, InsnIndex};

fn add(btf: &mut Btf, name: &str, kind: Kind) -> TypeId {
    let name = btf.add_string(name);
    btf.push(Type { name, kind })
}

fn record(btf: &mut Btf, name: &str, size: u32, members: &[(&str, TypeId, u32)]) -> TypeId {
    let members = members
        .iter()
        .map(|&(name, ty, bit_offset)| Member { name: btf.add_string(name), ty, bit_offset, bit_size: 0 })
        .collect();
    add(btf, name, Kind::Struct(Composite { size, members, bitfields: false }))
}

fn int(btf: &mut Btf) -> TypeId {
    let int = Int { size: 4, bits: 32, bit_offset: 0, signed: true, char: false, bool: false };
    add(btf, "int", Kind::Int(int))
}

/// Returns the minimized BTF for one relocation.
fn minimized(kernel: &Btf, mut local: Btf, (ty, access, kind): (TypeId, &str, u32)) -> Btf {
    let access = local.add_string(access);
    let relos = vec![CoreRelo { insn: InsnIndex(0), ty, access, kind }];
    let ext = BtfExt { sections: vec![SectionInfo { relos, ..SectionInfo::default() }] };
    let small = minimize(kernel, [(&local, &ext)].into_iter());
    // The written table is valid BTF.
    assert!(Btf::parse(&small.write(Endian::Little), Endian::Little).is_ok_and(|read| read == small));
    small
}

/// Returns the members of the struct of this name, with offsets in bits.
fn members(btf: &Btf, name: &str) -> Option<Vec<(String, u32)>> {
    let id = btf.find(|kind| matches!(kind, Kind::Struct(_)), name)?;
    let Kind::Struct(composite) = &btf.get(id).kind else { return None };
    Some(composite.members.iter().map(|member| (btf.str(member.name).to_owned(), member.bit_offset)).collect())
}

/// A kernel with `struct task { int a; struct { struct other *next; int pid; }; int tail[0]; int last; }`.
fn kernel() -> Btf {
    let mut btf = Btf::new();
    let int = int(&mut btf);
    let other = record(&mut btf, "other", 8, &[("x", int, 0), ("y", int, 32)]);
    let next = add(&mut btf, "", Kind::Ptr(other));
    let inner = record(&mut btf, "", 16, &[("next", next, 0), ("pid", int, 64)]);
    let tail = add(&mut btf, "", Kind::Array { element: int, index: int, len: 0 });
    record(&mut btf, "task", 32, &[("a", int, 0), ("", inner, 64), ("tail", tail, 192), ("last", int, 192)]);
    let values = ["ONE", "TWO"].map(|name| btf.add_string(name)).into_iter().zip([1, 2]).collect();
    add(&mut btf, "number", Kind::Enum(Enum { size: 4, signed: false, wide: false, values }));
    btf
}

#[test]
fn fields_keep_their_offset_and_the_size_of_the_struct() {
    let mut local = Btf::new();
    let int = int(&mut local);
    let task = record(&mut local, "task___mine", 8, &[("a", int, 0), ("pid", int, 32)]);
    let small = minimized(&kernel(), local.clone(), (task, "0:1", 0));
    assert_eq!(members(&small, "task"), Some(vec![(String::new(), 64)]));
    assert_eq!(members(&small, ""), Some(vec![("pid".to_owned(), 64)]));
    assert_eq!(small.find(|kind| matches!(kind, Kind::Struct(_)), "task").and_then(|id| small.size_of(id)), Some(32));
    assert_eq!(small.len(), 4, "void, int and two structs: {small:?}");
    // A field that the kernel does not have keeps no types.
    let absent = record(&mut local, "task", 4, &[("absent", int, 0)]);
    assert_eq!(minimized(&kernel(), local, (absent, "0:0", 2)).len(), 1);
}

#[test]
fn pointers_are_kept_without_what_they_point_to() {
    let mut local = Btf::new();
    let next = add(&mut local, "", Kind::Ptr(TypeId::VOID));
    let task = record(&mut local, "task", 8, &[("next", next, 0)]);
    let small = minimized(&kernel(), local, (task, "0:0", 0));
    assert_eq!(members(&small, "other"), None);
    assert!(small.iter().any(|(_, ty)| ty.kind == Kind::Ptr(TypeId::VOID)));
}

#[test]
fn an_array_in_the_middle_does_not_become_flexible() {
    let mut local = Btf::new();
    let int = int(&mut local);
    let tail = add(&mut local, "", Kind::Array { element: int, index: int, len: 0 });
    let task = record(&mut local, "task", 4, &[("tail", tail, 0)]);
    let small = minimized(&kernel(), local, (task, "0:0", 2));
    assert_eq!(members(&small, "task"), Some(vec![("tail".to_owned(), 192), ("last".to_owned(), 192)]));
}

#[test]
fn enumerators_and_types() {
    let mut local = Btf::new();
    let values = vec![(local.add_string("TWO___old"), 7)];
    let number = add(&mut local, "number", Kind::Enum(Enum { size: 4, signed: false, wide: false, values }));
    let small = minimized(&kernel(), local.clone(), (number, "0", 11));
    let id = small.find(|kind| matches!(kind, Kind::Enum(_)), "number").expect("it is kept");
    let Kind::Enum(kept) = &small.get(id).kind else { panic!("it is an enum") };
    assert_eq!(kept.values.iter().map(|(name, value)| (small.str(*name), *value)).collect::<Vec<_>>(), [("TWO", 2)]);

    let task = record(&mut local, "task", 0, &[]);
    // Existence and size of a type need no members; a match of types needs all of them.
    assert_eq!(members(&minimized(&kernel(), local.clone(), (task, "0", 8)), "task"), Some(Vec::new()));
    let matched = minimized(&kernel(), local.clone(), (task, "0", 12));
    assert_eq!(members(&matched, "task").map(|all| all.len()), Some(4));
    assert_eq!(members(&matched, "other"), Some(Vec::new()), "a struct behind a pointer is compared by its name");
    // A relocation to a type id of the object itself needs no types of the kernel.
    assert_eq!(minimized(&kernel(), local, (task, "0", 6)), Btf::new());
}

#[test]
fn deeply_nested_indexes_are_kept_without_recursion() {
    let mut btf = Btf::new();
    let int = int(&mut btf);
    let outermost = (0..200_000).fold(int, |index, _| add(&mut btf, "", Kind::Array { element: int, index, len: 1 }));
    record(&mut btf, "deep", 4, &[("a", outermost, 0)]);
    let mut local = Btf::new();
    let local_int = self::int(&mut local);
    let deep = record(&mut local, "deep", 4, &[("a", local_int, 0)]);
    // BPF_CORE_TYPE_SIZE
    minimized(&btf, local, (deep, "0", 9));
    let mut marks = super::mark::Marks::new(&btf);
    marks.shallow(outermost);
    assert!(marks.is_marked(int) && marks.is_marked(outermost));
}

#[test]
fn a_member_is_searched_once_in_each_type() {
    // Each struct has two members without a name of the struct before it: 2^60 paths to the innermost one.
    let mut btf = Btf::new();
    let kernel_int = int(&mut btf);
    let mut inner = record(&mut btf, "", 4, &[("other", kernel_int, 0)]);
    for _ in 0..60 {
        inner = record(&mut btf, "", 4, &[("", inner, 0), ("", inner, 0)]);
    }
    record(&mut btf, "task", 8, &[("", inner, 0), ("pid", kernel_int, 32)]);
    let mut local = Btf::new();
    let local_int = int(&mut local);
    let task = record(&mut local, "task", 4, &[("pid", local_int, 0)]);
    let small = minimized(&btf, local, (task, "0:0", 0));
    assert_eq!(members(&small, "task"), Some(vec![("pid".to_owned(), 32)]));
}

#[test]
fn many_names_are_kept() {
    let mut btf = Btf::new();
    let kernel_int = int(&mut btf);
    let many = (0..40_000).map(|index| {
        let name = btf.append_string(&format!("member_with_a_rather_long_name_{index}"));
        Member { name, ty: kernel_int, bit_offset: index * 32, bit_size: 0 }
    });
    let composite = Composite { size: 160_000, members: many.collect(), bitfields: false };
    add(&mut btf, "task", Kind::Struct(composite));
    let mut local = Btf::new();
    let task = record(&mut local, "task", 0, &[]);
    // BPF_CORE_TYPE_MATCHES keeps all members.
    let small = minimized(&btf, local, (task, "0", 12));
    assert_eq!(members(&small, "task").map(|members| members.len()), Some(40_000));
}
