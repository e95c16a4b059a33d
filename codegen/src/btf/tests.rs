//! Tests of parsing, checking and writing BTF, with bytes made for each case.

use super::{Btf, Composite, Datasec, Enum, Int, Kind, Linkage, Member, Param, SecVar, StringRef, Type, TypeId};
use crate::error::Code;
use crate::insn::Endian;

/// Converts a table to big-endian: swaps everything except strings, version and flags.
fn big_endian(bytes: &[u8]) -> Vec<u8> {
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes")) as usize;
    let strings = word(4) + word(16);
    let mut out = bytes.to_vec();
    out[..2].reverse();
    for at in (4..strings).step_by(4) {
        out[at..at + 4].reverse();
    }
    out
}

fn named(btf: &mut Btf, name: &str, kind: Kind) -> TypeId {
    let name = btf.add_string(name);
    btf.push(Type { name, kind })
}

fn int(size: u32) -> Kind {
    let bits = u8::try_from(size * 8).expect("the number is small");
    Kind::Int(Int { size, bits, bit_offset: 0, signed: true, char: false, bool: false })
}

fn member(ty: TypeId, bit_offset: u32, bit_size: u8) -> Member {
    Member { name: StringRef(0), ty, bit_offset, bit_size }
}

fn composite(size: u32, members: Vec<Member>) -> Composite {
    let bitfields = members.iter().any(|member| member.bit_size > 0);
    Composite { size, members, bitfields }
}

/// Returns one type of every kind.
fn every_kind() -> Btf {
    let mut btf = Btf::new();
    let int4 = named(&mut btf, "int", int(4));
    let int8 = named(&mut btf, "long", int(8));
    let ptr = btf.push(Type { name: StringRef(0), kind: Kind::Ptr(TypeId::VOID) });
    let array = btf.push(Type { name: StringRef(0), kind: Kind::Array { element: int8, index: int4, len: 3 } });
    let node = named(
        &mut btf,
        "node",
        Kind::Struct(composite(40, vec![member(ptr, 0, 0), member(array, 64, 0), member(int4, 256, 3)])),
    );
    named(&mut btf, "either", Kind::Union(composite(8, vec![member(int4, 0, 0), member(int8, 0, 0)])));
    let name = btf.add_string("MINUS");
    let values = vec![(name, -1), (name, i64::from(i32::MAX))];
    named(&mut btf, "small", Kind::Enum(Enum { size: 4, signed: true, wide: false, values }));
    let values = vec![(name, u32::MAX.into())];
    named(&mut btf, "plain", Kind::Enum(Enum { size: 4, signed: false, wide: false, values }));
    let values = vec![(name, 1 << 40), (name, -1)];
    named(&mut btf, "large", Kind::Enum(Enum { size: 8, signed: false, wide: true, values }));
    let values = Vec::new();
    named(&mut btf, "forward", Kind::Enum(Enum { size: 0, signed: false, wide: false, values }));
    named(&mut btf, "ahead", Kind::Fwd { union: true });
    let other = named(&mut btf, "node_t", Kind::Typedef(node));
    let other = btf.push(Type { name: StringRef(0), kind: Kind::Volatile(other) });
    let other = btf.push(Type { name: StringRef(0), kind: Kind::Const(other) });
    let other = btf.push(Type { name: StringRef(0), kind: Kind::Restrict(other) });
    named(&mut btf, "tag", Kind::TypeTag { ty: other, attribute: true });
    let params = vec![Param { name, ty: ptr }, Param { name: StringRef(0), ty: TypeId::VOID }];
    let proto = btf.push(Type { name: StringRef(0), kind: Kind::FuncProto { returns: int4, params } });
    let func = named(&mut btf, "run", Kind::Func { proto, linkage: Linkage::Global });
    let var = named(&mut btf, "total", Kind::Var { ty: array, linkage: Linkage::Static });
    named(&mut btf, ".bss", Kind::Datasec(Datasec { size: 24, vars: vec![SecVar { ty: var, offset: 0, size: 24 }] }));
    named(&mut btf, "double", Kind::Float(8));
    named(&mut btf, "declared", Kind::DeclTag { ty: func, component: Some(0), attribute: false });
    named(&mut btf, "declared", Kind::DeclTag { ty: node, component: None, attribute: true });
    btf
}

/// rustc writes `()` as an integer of size 0, which every kernel rejects. Parsing makes it an empty struct with the
/// same id.
#[test]
fn an_integer_of_size_0_is_an_empty_struct() {
    let mut btf = Btf::new();
    let name = btf.add_string("()");
    let nothing = Int { size: 0, bits: 0, bit_offset: 0, signed: false, char: false, bool: false };
    let unit = btf.push(Type { name, kind: Kind::Int(nothing) });
    let pointer = btf.push(Type { name: StringRef(0), kind: Kind::Ptr(unit) });
    let read = Btf::parse(&btf.write(Endian::Little), Endian::Little).expect("compilers write it");
    assert_eq!(read.get(unit).kind, Kind::Struct(Composite::default()));
    assert_eq!(read.get(pointer).kind, Kind::Ptr(unit));
    assert_eq!(Btf::parse(&read.write(Endian::Little), Endian::Little).expect("it is valid"), read);
}

#[test]
fn every_kind_survives_in_both_byte_orders() {
    let btf = every_kind();
    let bytes = btf.write(Endian::Little);
    assert_eq!(Btf::parse(&bytes, Endian::Little).expect("it is valid"), btf);
    assert_eq!(Btf::parse(&big_endian(&bytes), Endian::Big).expect("it is valid"), btf);
    assert_eq!(Btf::parse(&Btf::new().write(Endian::Little), Endian::Little).expect("it is valid"), Btf::default());
}

#[test]
fn refuses_the_other_byte_order_and_every_truncation() {
    let bytes = every_kind().write(Endian::Little);
    assert!(Btf::parse(&bytes, Endian::Big).is_err());
    for len in 0..bytes.len() {
        let error = Btf::parse(&bytes[..len], Endian::Little).expect_err("it is truncated");
        assert_eq!(error.diagnostics()[0].code, Code::BadBtf);
    }
}

#[test]
fn survives_any_byte_changed() {
    let bytes = every_kind().write(Endian::Little);
    for at in 0..bytes.len() {
        for value in [0, 1, 0x13, 0x7f, 0x80, 0xff] {
            let mut bytes = bytes.clone();
            bytes[at] = value;
            if let Ok(btf) = Btf::parse(&bytes, Endian::Little) {
                for (id, _) in btf.iter() {
                    let _ = (btf.name(id), btf.size_of(id), btf.align_of(id));
                }
            }
        }
    }
}

#[test]
fn keeps_the_length_of_text_that_is_not_utf8() {
    let mut btf = Btf::new();
    let string = btf.add_string("/* caf\u{e9} */");
    let mut bytes = btf.write(Endian::Little);
    let at = bytes.windows(2).position(|pair| pair == [0xc3, 0xa9]).expect("it exists");
    bytes[at] = b'e';
    let btf = Btf::parse(&bytes, Endian::Little).expect("only a comment");
    assert_eq!(btf.str(string), "/* cafe? */");
}

fn refused(build: impl FnOnce(&mut Btf)) {
    let mut btf = Btf::new();
    build(&mut btf);
    let error = Btf::parse(&btf.write(Endian::Little), Endian::Little).expect_err("it is invalid");
    assert_eq!(error.diagnostics()[0].code, Code::BadBtf);
}

#[test]
fn refuses_types_that_contain_themselves() {
    refused(|btf| {
        named(btf, "a", Kind::Typedef(TypeId(2)));
        named(btf, "b", Kind::Const(TypeId(1)));
    });
    refused(|btf| {
        named(btf, "int", int(4));
        btf.push(Type { name: StringRef(0), kind: Kind::Array { element: TypeId(2), index: TypeId(1), len: 1 } });
    });
    refused(|btf| {
        named(btf, "s", Kind::Struct(composite(8, vec![member(TypeId(1), 0, 0)])));
    });
    let mut list = Btf::new();
    named(&mut list, "list", Kind::Struct(composite(8, vec![member(TypeId(2), 0, 0)])));
    list.push(Type { name: StringRef(0), kind: Kind::Ptr(TypeId(1)) });
    assert!(Btf::parse(&list.write(Endian::Little), Endian::Little).is_ok());
}

#[test]
fn refuses_missing_and_unsuitable_types() {
    refused(|btf| {
        btf.push(Type { name: StringRef(0), kind: Kind::Ptr(TypeId(9)) });
    });
    refused(|btf| {
        btf.push(Type { name: StringRef(1), kind: Kind::Ptr(TypeId::VOID) });
    });
    refused(|btf| {
        named(btf, "int", int(3));
    });
    refused(|btf| {
        let ty = named(btf, "int", int(4));
        named(btf, "f", Kind::Func { proto: ty, linkage: Linkage::Global });
    });
    refused(|btf| {
        let ty = named(btf, "int", int(4));
        named(btf, "s", Kind::Struct(composite(4, vec![member(ty, 1000, 0)])));
    });
    refused(|btf| {
        for id in 0..100_000 {
            btf.push(Type { name: StringRef(0), kind: Kind::Const(TypeId(id)) });
        }
    });
}

#[test]
fn refuses_counts_past_the_end() {
    let mut btf = Btf::new();
    named(&mut btf, "s", Kind::Struct(composite(0, Vec::new())));
    let mut bytes = btf.write(Endian::Little);
    bytes[28..31].fill(0xff);
    assert!(Btf::parse(&bytes, Endian::Little).is_err());
}

#[test]
fn queries() {
    let btf = every_kind();
    let of = |name: &str| btf.find(|_| true, name).expect("it exists");
    assert_eq!(btf.name(btf.resolve(of("tag"))), "node");
    assert_eq!((btf.size_of(of("tag")), btf.align_of(of("tag"))), (Some(40), Some(8)));
    assert_eq!((btf.size_of(of("total")), btf.align_of(of("total"))), (Some(24), Some(8)));
    assert_eq!((btf.size_of(of("run")), btf.size_of(TypeId::VOID), btf.align_of(of("ahead"))), (None, None, None));
    assert_eq!(btf.datasec(".bss"), Some(of(".bss")));
    assert_eq!(btf.datasec("total"), None);
    assert_eq!((btf.size_of(of("forward")), btf.align_of(of("forward"))), (None, None));

    let mut btf = btf;
    let (int4, int8) = (TypeId(1), TypeId(2));
    let packed = named(&mut btf, "packed", Kind::Struct(composite(12, vec![member(int8, 0, 0), member(int4, 64, 0)])));
    let shifted = named(&mut btf, "shifted", Kind::Struct(composite(8, vec![member(int4, 8, 0)])));
    assert_eq!((btf.align_of(packed), btf.align_of(shifted)), (Some(1), Some(1)));
    let huge = btf.push(Type { name: StringRef(0), kind: Kind::Array { element: int8, index: int4, len: u32::MAX } });
    let huge = btf.push(Type { name: StringRef(0), kind: Kind::Array { element: huge, index: int4, len: u32::MAX } });
    assert_eq!(btf.size_of(huge), None);
}

#[test]
fn finds_strings_again() {
    let mut btf = Btf::new();
    let long = btf.add_string("prefix_name");
    let short = btf.add_string("name");
    assert_ne!(long, short);
    assert_eq!((btf.add_string("name"), btf.add_string("")), (short, StringRef(0)));
    let cut = btf.add_string("cut\0off");
    assert_eq!(btf.str(cut), "cut");
}

/// Returns the bytes of a table, followed by types of kinds 20 and 127, with a kind layout.
fn with_unknown_kinds(btf: &Btf, layout: &[[u8; 4]]) -> Vec<u8> {
    let bytes = btf.write(Endian::Little);
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    let (types, strings) = bytes[24..].split_at(usize::try_from(word(12)).expect("the number is small"));
    // An invalid name and two four-byte elements after eight bytes; then a type of only the first twelve bytes.
    let added: Vec<u8> = [u32::MAX, 1 << 31 | 20 << 24 | 2, 77, 1, 2, 3, 4, 0, 127 << 24, u32::MAX]
        .iter()
        .flat_map(|word| word.to_le_bytes())
        .collect();
    let types = [types, &added].concat();
    let (types_len, layout_len) = (super::write::count(types.len()), super::write::count(layout.len() * 4));
    let header: &[u32] = &[32, 0, types_len, types_len + layout_len, word(20), types_len, layout_len];
    let header = if layout.is_empty() { &[&[24], &header[1..5]].concat() } else { header };
    let header: Vec<u8> = header.iter().flat_map(|word| word.to_le_bytes()).collect();
    [&bytes[..4], &header, &types, layout.as_flattened(), strings].concat()
}

fn layout() -> Vec<[u8; 4]> {
    let mut layout = vec![[0; 4]; 128];
    layout[20] = [8, 4, 0, 0];
    // The layout of known kinds is ignored.
    layout[1] = [60, 60, 0, 0];
    layout
}

#[test]
fn unknown_kinds_are_skipped_by_their_layout() {
    let mut btf = Btf::new();
    let int = named(&mut btf, "int", int(4));
    let odd = TypeId(7);
    let pointer = btf.push(Type { name: StringRef(0), kind: Kind::Ptr(odd) });
    let typedef = named(&mut btf, "odd_t", Kind::Typedef(odd));
    let s = named(&mut btf, "s", Kind::Struct(composite(16, vec![member(typedef, 0, 0), member(int, 64, 0)])));
    named(&mut btf, "tag", Kind::DeclTag { ty: odd, component: None, attribute: false });
    let array = btf.push(Type { name: StringRef(0), kind: Kind::Array { element: odd, index: int, len: 3 } });
    let read = Btf::parse(&with_unknown_kinds(&btf, &layout()), Endian::Little).expect("the layout has all kinds");
    assert_eq!((&read.get(odd).kind, &read.get(TypeId(8)).kind), (&Kind::Unknown(20), &Kind::Unknown(127)));
    assert_eq!([odd, typedef, array].map(|id| (read.size_of(id), read.align_of(id))), [(None, None); 3]);
    assert_eq!((read.size_of(pointer), read.size_of(s)), (Some(8), Some(16)));
    // The written table contains only kinds that the kernel knows; the ids are unchanged.
    let written = read.write(Endian::Little);
    assert_eq!(written[4..8], 24_u32.to_le_bytes());
    let written = Btf::parse(&written, Endian::Little).expect("all kinds are known");
    let stand_in = Kind::Int(Int { size: 1, bits: 8, bit_offset: 0, signed: false, char: false, bool: false });
    assert_eq!([odd, TypeId(8), TypeId(5)].map(|id| &written.get(id).kind), [&stand_in; 3]);
    assert_eq!(written.get(s), read.get(s));
}

#[test]
fn an_unknown_kind_without_a_layout_is_named() {
    let mut btf = Btf::new();
    named(&mut btf, "int", int(4));
    let message = |layout: &[[u8; 4]]| {
        let error = Btf::parse(&with_unknown_kinds(&btf, layout), Endian::Little).expect_err("its size is unknown");
        assert_eq!(error.diagnostics()[0].code, Code::BadBtf);
        error.to_string()
    };
    let none = message(&[]);
    assert!(none.contains("type [2]") && none.contains("kind 20 is unknown"), "{none}");
    assert!(message(&layout()[..20]).contains("kind 20 is unknown"), "the layout ends before it");
    // Sizes that are not aligned, and sizes that exceed the file.
    for entry in [[6, 4, 0, 0], [8, 3, 0, 0], [252, 252, 0, 0]] {
        let mut layout = layout();
        layout[20] = entry;
        assert!(message(&layout).contains("type [2]"), "{entry:?}");
    }
    // A layout outside the file, and half an entry.
    let bytes = with_unknown_kinds(&btf, &layout());
    for (at, value) in [(24, u32::MAX), (28, u32::MAX), (28, 510), (24, 2)] {
        let mut bytes = bytes.clone();
        bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        assert!(Btf::parse(&bytes, Endian::Little).is_err(), "{at} {value}");
    }
}

#[test]
fn names_that_repeat_long_strings_are_refused() {
    let mut btf = Btf::new();
    let long = btf.add_string(&"n".repeat(100_000));
    let mut add = |count: u32| {
        for offset in 0..count {
            btf.push(Type { name: StringRef(long.0 + offset), kind: Kind::Fwd { union: false } });
        }
        Btf::parse(&btf.write(Endian::Little), Endian::Little).map(|_| ())
    };
    assert!(add(60).is_ok());
    let error = add(60).expect_err("the names are too long").to_string();
    assert!(error.contains("its names together are too long"), "{error}");
}

#[test]
fn a_module_gets_the_types_of_its_kernel() {
    let int = |size| Kind::Int(Int { size, bits: 32, bit_offset: 0, signed: true, char: false, bool: false });
    let structure = |size, members| Kind::Struct(Composite { size, members, bitfields: false });
    let add = |btf: &mut Btf, name: &str, kind: Kind| {
        let name = btf.add_string(name);
        btf.push(Type { name, kind })
    };
    let mut kernel = Btf::new();
    add(&mut kernel, "other", Kind::Fwd { union: false });
    let kernel_int = add(&mut kernel, "int", int(4));
    let pid = kernel.add_string("pid");
    let member = Member { name: pid, ty: kernel_int, bit_offset: 0, bit_size: 0 };
    // Another type of the same name.
    add(&mut kernel, "task", structure(4, vec![member.clone()]));
    let task = add(&mut kernel, "task", structure(8, vec![member]));
    // The module's base has no members, and its ids are not the kernel's.
    let mut base = Btf::new();
    add(&mut base, "task", structure(8, Vec::new()));
    add(&mut base, "int", int(4));
    add(&mut base, "task", Kind::Fwd { union: false });
    let mut module = base.clone();
    let name = module.add_string("task");
    let own = module.add_string("own");
    let pointer = module.push(Type { name: StringRef(0), kind: Kind::Ptr(TypeId(3)) });
    let members = [(TypeId(1), 0), (TypeId(2), 64), (pointer, 128)];
    let members = members.map(|(ty, bit_offset)| Member { name, ty, bit_offset, bit_size: 0 });
    module.push(Type { name: own, kind: structure(24, members.to_vec()) });

    let table = kernel.rebase(&module, base.len()).expect("the kernel has the types");
    assert_eq!(table.len(), kernel.len() + 2);
    let own = table.find(|kind| matches!(kind, Kind::Struct(_)), "own").expect("the module's type");
    let Kind::Struct(composite) = &table.get(own).kind else { panic!("it is a struct") };
    let types: Vec<_> = composite.members.iter().map(|member| (table.str(member.name), member.ty)).collect();
    assert_eq!(types[..2], [("task", task), ("task", kernel_int)]);
    assert_eq!(table.get(types[2].1).kind, Kind::Ptr(TypeId(3)), "the first definition");
    let Kind::Struct(composite) = &table.get(task).kind else { panic!("it is a struct") };
    assert_eq!(composite.members.len(), 1);

    let Kind::Struct(composite) = &mut kernel.get_mut(task).kind else { panic!("it is a struct") };
    composite.size = 16;
    let error = kernel.rebase(&module, base.len()).expect_err("the struct has a different size").to_string();
    assert!(
        error.contains("the module refers to `struct task` of 8 bytes, which the kernel's BTF does not have"),
        "{error}"
    );
}
