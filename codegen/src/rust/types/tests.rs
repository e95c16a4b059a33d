//! Tests of the Rust types and their names, for tables that are made for each case.

use std::collections::BTreeSet;

use super::Needs;
use super::pointees::behind_pointers;
use crate::btf::{Btf, Composite, Enum, Int, Kind, Member, StringRef, Type, TypeId};
use crate::rust::text::Text;

/// A table under construction.
struct Table(Btf);

impl Table {
    fn new() -> Self {
        Self(Btf::new())
    }

    fn ty(&mut self, name: &str, kind: Kind) -> TypeId {
        let name = self.0.add_string(name);
        self.0.push(Type { name, kind })
    }

    fn int(&mut self, size: u32) -> TypeId {
        let bits = u8::try_from(size * 8).expect("the number is small");
        self.ty("int", Kind::Int(Int { size, bits, bit_offset: 0, signed: false, char: false, bool: false }))
    }

    /// Returns members with their names, types and offsets in bytes.
    fn composite(&mut self, size: u32, members: &[(&str, TypeId, u32)]) -> Composite {
        let members = members
            .iter()
            .map(|(name, ty, byte)| Member {
                name: self.0.add_string(name),
                ty: *ty,
                bit_offset: byte * 8,
                bit_size: 0,
            })
            .collect();
        Composite { size, members, bitfields: false }
    }

    fn structure(&mut self, name: &str, size: u32, members: &[(&str, TypeId, u32)]) -> TypeId {
        let it = self.composite(size, members);
        self.ty(name, Kind::Struct(it))
    }

    fn union(&mut self, name: &str, size: u32, members: &[(&str, TypeId, u32)]) -> TypeId {
        let it = self.composite(size, members);
        self.ty(name, Kind::Union(it))
    }

    fn enumeration(&mut self, name: &str, value: &str) -> TypeId {
        let values = vec![(self.0.add_string(value), 1)];
        self.ty(name, Kind::Enum(Enum { size: 4, signed: false, wide: false, values }))
    }

    fn array(&mut self, element: TypeId, len: u32) -> TypeId {
        self.ty("", Kind::Array { element, index: element, len })
    }

    /// Returns the text of all types.
    fn text(&self) -> String {
        let mut needs = Needs::new(&self.0);
        needs.everything();
        let types = needs.resolve();
        let mut text = String::new();
        types.write_items(&mut Text::new(&mut text)).expect("the items are valid Rust");
        text
    }

    fn names(&self) -> BTreeSet<String> {
        names(&self.text())
    }
}

/// Returns the names that a text defines.
fn names(text: &str) -> BTreeSet<String> {
    let name = |line: &str| {
        let rest = line.trim().strip_prefix("pub struct ").or_else(|| line.trim().strip_prefix("pub type "))?;
        rest.split([' ', ':']).next().map(str::to_owned)
    };
    let structs = text.lines().filter_map(name);
    let enums = text.lines().filter(|line| line.contains(": u32 {")).filter_map(|line| {
        let before = line.split(": u32 {").next()?;
        before.split(' ').next_back().map(str::to_owned)
    });
    structs.chain(enums).collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn types_of_one_name_get_their_kind_as_suffix_in_any_order() {
    type Make = fn(&mut Table, TypeId) -> TypeId;
    let make: [Make; 4] = [
        |table, int| table.structure("foo", 4, &[("a", int, 0)]),
        |table, int| table.union("foo", 4, &[("a", int, 0)]),
        |table, _| table.enumeration("foo", "A"),
        |table, int| {
            let anonymous = table.structure("", 4, &[("b", int, 0)]);
            table.ty("foo", Kind::Typedef(anonymous))
        },
    ];
    for shift in 0..4 {
        let mut table = Table::new();
        let int = table.int(4);
        for index in 0..4 {
            make[(index + shift) % 4](&mut table, int);
        }
        assert_eq!(table.names(), set(&["foo", "foo_enum", "foo_typedef", "foo_union"]));
    }
}

#[test]
fn type_names_do_not_depend_on_other_types() {
    let build = |more: bool| {
        let mut table = Table::new();
        let int = table.int(4);
        if more {
            let shared = table.structure("", 4, &[("x", int, 0)]);
            table.structure("aaa", 8, &[("early", shared, 0), ("other", int, 4)]);
            table.enumeration("", "EARLY");
            let typedef = table.ty("aaa_t", Kind::Typedef(shared));
            table.structure("uses", 4, &[("it", typedef, 0)]);
        }
        let anonymous = table.structure("", 4, &[("x", int, 0)]);
        table.structure("holder", 4, &[("inner", anonymous, 0)]);
        let enumeration = table.enumeration("", "FIRST");
        table.structure("has_enum", 4, &[("mode", enumeration, 0)]);
        table.enumeration("", "LOOSE");
        table.text()
    };
    let (few, many) = (build(false), build(true));
    assert_eq!(names(&few), set(&["anon_enum_LOOSE", "has_enum", "has_enum__mode", "holder", "holder__inner"]));
    for line in few.lines() {
        assert!(many.contains(line), "{line} is not there any more");
    }
}

#[test]
fn each_member_has_its_own_anonymous_type() {
    // As after deduplication, several types contain the same anonymous type.
    let mut table = Table::new();
    let int = table.int(4);
    let anonymous = table.structure("", 4, &[("x", int, 0)]);
    table.structure("one", 8, &[("a", anonymous, 0), ("b", anonymous, 4)]);
    let array = table.array(anonymous, 3);
    table.structure("two", 12, &[("c", array, 0)]);
    assert_eq!(table.names(), set(&["one", "one__a", "two", "two__c"]));
}

#[test]
fn equivalent_types_are_merged_and_different_types_are_numbered() {
    let variant = |table: &mut Table, int, member: &str| table.structure("foo", 4, &[(member, int, 0)]);
    let mut table = Table::new();
    let int = table.int(4);
    let (one, two) = (variant(&mut table, int, "a"), variant(&mut table, int, "a"));
    let pointer = table.ty("", Kind::Ptr(one));
    let to_one = table.structure("list", 8, &[("first", pointer, 0)]);
    let pointer = table.ty("", Kind::Ptr(two));
    let to_two = table.structure("list", 8, &[("first", pointer, 0)]);
    table.structure("both", 16, &[("x", to_one, 0), ("y", to_two, 8)]);
    assert_eq!(table.names(), set(&["foo", "list", "both"]));

    let with_first = |first: &str, second: &str| {
        let mut table = Table::new();
        let int = table.int(4);
        variant(&mut table, int, first);
        variant(&mut table, int, second);
        table.names()
    };
    let names = with_first("a", "b");
    assert_eq!(names.len(), 2);
    assert!(!names.contains("foo"), "which would it be?");
    assert_eq!(names, with_first("b", "a"));
    assert_eq!(names.intersection(&with_first("a", "c")).count(), 1, "the name of one does not depend on the other");
}

#[test]
fn a_path_does_not_take_a_types_own_name() {
    let mut table = Table::new();
    let int = table.int(4);
    let anonymous = table.structure("", 4, &[("x", int, 0)]);
    table.structure("a", 4, &[("b", anonymous, 0)]);
    table.structure("a__b", 4, &[("y", int, 0)]);
    assert_eq!(table.names(), set(&["a", "a__b", "a__b_2"]));
    assert!(table.text().contains("=> b: a__b_2,"));
}

#[test]
fn invalid_members_are_omitted_or_shared() {
    let mut table = Table::new();
    let int = table.int(4);
    let forward = table.ty("later", Kind::Fwd { union: false });
    let array = table.array(int, 1000);
    table.structure(
        "odd",
        8,
        &[("a", int, 0), ("over", int, 2), ("a", int, 4), ("no_size", forward, 4), ("outside", array, 4), ("", int, 0)],
    );
    let text = table.text();
    for line in ["0 => a: u32,", "4 => a_2: u32,", "2 => over, set_over: u32,", "0 => anon, set_anon: u32,"] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    assert!(text.contains("Omitted, because it has no size or is out of bounds: `struct later no_size`"), "{text}");
    assert!(text.contains("out of bounds: `int outside[1000]`"), "{text}");
}

#[test]
fn members_of_unknown_kinds_are_padding_and_documented() {
    let mut table = Table::new();
    let int = table.int(4);
    let odd = table.ty("odd", Kind::Unknown(20));
    let array = table.array(odd, 2);
    table.structure("s", 16, &[("first", int, 0), ("odd", odd, 4), ("odds", array, 8), ("last", int, 12)]);
    let text = table.text();
    for line in ["0 => first: u32,", "12 => last: u32,", "size 16, align 4"] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    assert_eq!(text.matches("Omitted, because BTF kind 20 of its type is unknown").count(), 2, "{text}");
}

#[test]
fn doubling_types_terminate() {
    let mut table = Table::new();
    let int = table.int(4);
    let (mut one, mut two) = (int, int);
    for _ in 0..200 {
        let members = [("", one, 0), ("", two, 0), ("x", one, 0), ("y", two, 0)];
        (one, two) = (table.structure("", 4, &members), table.union("", 4, &members));
    }
    table.structure("top", 4, &[("a", one, 0), ("", two, 0)]);
    let mut needs = Needs::new(&table.0);
    needs.everything();
    assert!(needs.resolve().covered() > 400);
}

#[test]
fn unnamed_bitfields_are_padding() {
    let mut table = Table::new();
    let int = table.int(4);
    let mut it = table.composite(4, &[]);
    it.bitfields = true;
    let named = table.0.add_string("high");
    it.members = [(StringRef(0), 0, 5), (named, 5, 27)]
        .map(|(name, bit_offset, bit_size)| Member { name, ty: int, bit_offset, bit_size })
        .to_vec();
    table.ty("bits", Kind::Struct(it));
    let text = table.text();
    assert!(
        text.contains("bits {\n        /// `int high : 27`\n        5, 27 => high, set_high: u32,\n    }"),
        "{text}"
    );
}

#[test]
fn truncated_values_are_not_constants() {
    let text = |wide, size| {
        let mut table = Table::new();
        let values = vec![(table.0.add_string("LAST"), 0xffff_ffff)];
        table.ty("big", Kind::Enum(Enum { size, signed: false, wide, values }));
        table.text()
    };
    let cut = text(false, 8);
    assert!(!cut.contains("LAST") && cut.contains("big: u64") && cut.contains("not a typedef"), "{cut}");
    for whole in [text(true, 8), text(false, 4)] {
        assert!(whole.contains("LAST = 4294967295") && !whole.contains("not a typedef"), "{whole}");
    }
}

#[test]
fn cyclic_pointers_terminate() {
    let mut table = Table::new();
    let itself = table.ty("", Kind::Ptr(TypeId(1)));
    assert_eq!((itself, behind_pointers(&table.0, itself)), (TypeId(1), Vec::new()));
    // Also through an array and a forward declaration.
    let mut table = Table::new();
    let pointer = table.ty("", Kind::Ptr(TypeId(2)));
    let array = table.array(pointer, 2);
    let end = table.ty("end", Kind::Struct(Composite { size: 8, members: Vec::new(), bitfields: false }));
    assert_eq!((array, behind_pointers(&table.0, array)), (TypeId(2), Vec::new()));
    let to_end = table.ty("", Kind::Ptr(end));
    assert_eq!(behind_pointers(&table.0, to_end), [end]);
}
