//! Tests with tables made for each case. `codegen/tests/merge_types.rs` has those with whole objects.

use super::merge;
use crate::btf::{Btf, Composite, Datasec, Enum, Int, Kind, Linkage, Member, Param, StringRef, Type, TypeId};
use crate::error::Code;
use crate::insn::Endian;

/// A table under construction.
#[derive(Default)]
struct Table(Btf);

impl Table {
    fn add(&mut self, name: &str, kind: Kind) -> TypeId {
        let name = self.0.add_string(name);
        self.0.push(Type { name, kind })
    }

    fn int(&mut self) -> TypeId {
        let int = Int { size: 4, bits: 32, bit_offset: 0, signed: true, char: false, bool: false };
        self.add("int", Kind::Int(int))
    }

    fn ptr(&mut self, to: TypeId) -> TypeId {
        self.add("", Kind::Ptr(to))
    }

    fn fwd(&mut self, name: &str) -> TypeId {
        self.add(name, Kind::Fwd { union: false })
    }

    /// Adds a struct whose members have eight bytes each.
    fn structure(&mut self, name: &str, members: &[(&str, TypeId)]) -> TypeId {
        let size = u32::try_from(members.len() * 8).expect("it is small");
        let members = (0..).step_by(64).zip(members);
        let members = members.map(|(bit_offset, (name, ty))| Member {
            name: self.0.add_string(name),
            ty: *ty,
            bit_offset,
            bit_size: 0,
        });
        let members = members.collect();
        self.add(name, Kind::Struct(Composite { size, members, bitfields: false }))
    }

    fn enumeration(&mut self, name: &str, size: u32, values: &[(&str, i64)]) -> TypeId {
        let values = values.iter().map(|(name, value)| (self.0.add_string(name), *value)).collect();
        self.add(name, Kind::Enum(Enum { size, signed: false, wide: false, values }))
    }

    fn func(&mut self, name: &str, param: &str, ty: TypeId, linkage: Linkage) -> TypeId {
        let params = vec![Param { name: self.0.add_string(param), ty }];
        let proto = self.add("", Kind::FuncProto { returns: TypeId::VOID, params });
        self.add(name, Kind::Func { proto, linkage })
    }

    fn var(&mut self, name: &str, ty: TypeId, linkage: Linkage) -> TypeId {
        self.add(name, Kind::Var { ty, linkage })
    }

    fn tag(&mut self, name: &str, ty: TypeId) -> TypeId {
        self.add(name, Kind::DeclTag { ty, component: None, attribute: false })
    }

    /// Adds a struct with a pointer to itself, after other types that shift its id.
    fn list(&mut self, before: u32) -> TypeId {
        for _ in 0..before {
            self.ptr(TypeId::VOID);
        }
        let node = TypeId(self.0.len().try_into().expect("it is small"));
        let next = TypeId(node.0 + 1);
        self.structure("node", &[("next", next)]);
        self.ptr(node);
        node
    }
}

/// Merges the tables in every order. All orders give the same bytes, and a second merge changes nothing. Returns the
/// result for the order given.
fn merged(tables: &[&Table]) -> Found {
    let inputs: Vec<&Btf> = tables.iter().map(|table| &table.0).collect();
    let merged = merge(&inputs).expect("the tables can be merged");
    let bytes = merged.btf.write(Endian::Little);
    for order in orders(&inputs) {
        assert_eq!(merge(&order).expect("the order does not matter").btf.write(Endian::Little), bytes);
    }
    let again = Btf::parse(&bytes, Endian::Little).expect("the result is valid");
    let again = merge(&[&again]).expect("it can be merged again");
    assert_eq!(again.btf.write(Endian::Little), bytes, "a merged table does not change");
    let identity: Vec<TypeId> = merged.btf.iter().map(|(id, _)| id).collect();
    assert_eq!(again.ids, [identity]);
    Found { btf: merged.btf, ids: merged.ids }
}

/// A merged table, without its inputs.
struct Found {
    btf: Btf,
    ids: Vec<Vec<TypeId>>,
}

impl Found {
    fn id(&self, input: usize, old: TypeId) -> TypeId {
        self.ids[input][old.0 as usize]
    }
}

fn orders<T: Copy>(items: &[T]) -> Vec<Vec<T>> {
    let Some((first, rest)) = items.split_first() else { return vec![Vec::new()] };
    let insert = |order: Vec<T>| {
        (0..=order.len()).map(move |at| {
            let mut order = order.clone();
            order.insert(at, *first);
            order
        })
    };
    orders(rest).into_iter().flat_map(insert).collect()
}

/// Returns how many types of this name the result has.
fn named(merged: &Found, name: &str) -> usize {
    merged.btf.iter().filter(|(id, _)| merged.btf.name(*id) == name).count()
}

#[test]
fn no_tables_and_empty_tables() {
    assert!(merge(&[]).expect("it is possible").btf.is_empty());
    let found = merged(&[&Table::default(), &Table::default()]);
    assert!(found.btf.is_empty());
    assert_eq!(found.ids, [[TypeId::VOID], [TypeId::VOID]]);
}

#[test]
fn recursion_through_pointers() {
    let (mut one, mut two) = (Table::default(), Table::default());
    let (first, second) = (one.list(0), two.list(3));
    let found = merged(&[&one, &two]);
    assert_eq!(found.id(0, first), found.id(1, second));
    // `void *`, `struct node`, `struct node *`.
    assert_eq!(found.btf.len(), 4);

    // The list with its pointers unrolled inside one table.
    let mut unrolled = Table::default();
    unrolled.structure("node", &[("next", TypeId(2))]);
    unrolled.ptr(TypeId(3));
    unrolled.structure("node", &[("next", TypeId(4))]);
    unrolled.ptr(TypeId(1));
    let found = merged(&[&unrolled, &one]);
    assert_eq!(found.btf.len(), 3);
    assert_eq!(found.id(0, TypeId(3)), found.id(1, first));
}

#[test]
fn mutual_recursion_and_its_differences() {
    let make = |last: &str| {
        let mut table = Table::default();
        table.structure("a", &[("b", TypeId(2))]);
        table.ptr(TypeId(3));
        table.structure("b", &[("a", TypeId(4)), (last, TypeId(4))]);
        table.ptr(TypeId(1));
        table
    };
    let (one, two, other) = (make("same"), make("same"), make("other"));
    assert_eq!(merged(&[&one, &two]).btf.len(), 5);
    // A difference in `b` keeps `a` and both pointers apart too.
    let found = merged(&[&one, &two, &other]);
    assert_eq!(found.btf.len(), 9);
    assert_eq!(found.ids[0], found.ids[1]);
    assert!((1..5).all(|id| found.ids[0][id] != found.ids[2][id]));
}

#[test]
fn declarations_become_their_only_definition() {
    let (mut declares, mut defines) = (Table::default(), Table::default());
    let fwd = declares.fwd("it");
    let to = declares.ptr(fwd);
    let user = declares.structure("user", &[("it", to)]);
    let int = defines.int();
    let it = defines.structure("it", &[("value", int)]);
    let whole = defines.ptr(it);
    let same = defines.structure("user", &[("it", whole)]);
    let found = merged(&[&declares, &defines]);
    assert_eq!(found.id(0, fwd), found.id(1, it));
    assert_eq!(found.id(0, to), found.id(1, whole));
    assert_eq!(found.id(0, user), found.id(1, same));
    assert_eq!(found.btf.len(), 5);

    // Each input declares what the other defines.
    let make = |declared: &str, defined: &str| {
        let mut table = Table::default();
        let fwd = table.fwd(declared);
        let to = table.ptr(fwd);
        table.structure(defined, &[("other", to)]);
        table
    };
    let (one, two) = (make("one", "two"), make("two", "one"));
    let found = merged(&[&one, &two]);
    assert_eq!(found.btf.len(), 5);
    assert!(found.btf.iter().all(|(_, ty)| !matches!(ty.kind, Kind::Fwd { .. })));

    // A declared enumeration has neither size nor values.
    let (mut declares, mut defines) = (Table::default(), Table::default());
    let declared = declares.enumeration("choice", 0, &[]);
    let defined = defines.enumeration("choice", 4, &[("ONE", 1)]);
    assert_eq!(merged(&[&declares, &defines]).id(0, declared), merged(&[&declares, &defines]).id(1, defined));
}

#[test]
fn declarations_with_several_definitions_or_another_keyword_stay() {
    let mut declares = Table::default();
    let fwd = declares.fwd("it");
    let to = declares.ptr(fwd);
    let (mut one, mut two, mut other) = (Table::default(), Table::default(), Table::default());
    let int = one.int();
    let it = one.structure("it", &[("value", int)]);
    let to_it = one.ptr(it);
    let int = two.int();
    two.structure("it", &[("other", int)]);
    other.add("it", Kind::Union(Composite::default()));
    let found = merged(&[&declares, &one, &two]);
    assert_eq!(named(&found, "it"), 3);
    assert!(matches!(found.btf.get(found.id(0, fwd)).kind, Kind::Fwd { union: false }));
    assert!(found.id(0, to) != found.id(1, to_it));
    let found = merged(&[&declares, &other]);
    assert_eq!(named(&found, "it"), 2);

    // Definitions that differ only in what lies behind their pointers.
    let make = |name: &str| {
        let mut table = Table::default();
        let int = table.int();
        let behind = table.structure("behind", &[(name, int)]);
        let to = table.ptr(behind);
        table.structure("it", &[("to", to)]);
        table
    };
    let (one, two) = (make("one"), make("two"));
    let found = merged(&[&declares, &one, &two]);
    assert_eq!(named(&found, "it"), 3);
    let found = merged(&[&declares, &one, &make_again(&one)]);
    assert_eq!(named(&found, "it"), 1);
}

fn make_again(table: &Table) -> Table {
    Table(table.0.clone())
}

#[test]
fn what_distinguishes_types() {
    // Each closure makes a different type; two tables with the same one merge, others do not.
    type Make = fn(&mut Table) -> TypeId;
    let member = |table: &mut Table, bit_offset, bit_size| {
        let int = table.int();
        let members = vec![Member { name: StringRef(0), ty: int, bit_offset, bit_size }];
        table.add("", Kind::Struct(Composite { size: 4, members, bitfields: true }))
    };
    let bits: [(u32, u8); 3] = [(0, 3), (0, 4), (3, 3)];
    let makes: [Make; 12] = [
        |table| table.add("", Kind::Array { element: TypeId(2), index: TypeId(2), len: 3 }),
        |table| table.add("", Kind::Array { element: TypeId(2), index: TypeId(2), len: 4 }),
        |table| table.add("", Kind::Const(TypeId(2))),
        |table| table.add("", Kind::Volatile(TypeId(2))),
        |table| table.add("tag", Kind::TypeTag { ty: TypeId(2), attribute: false }),
        |table| table.add("tag", Kind::TypeTag { ty: TypeId(2), attribute: true }),
        |table| table.add("other", Kind::TypeTag { ty: TypeId(2), attribute: false }),
        |table| table.enumeration("", 4, &[("ONE", 1)]),
        |table| table.enumeration("", 4, &[("ONE", 2)]),
        |table| table.enumeration("", 8, &[("ONE", 1)]),
        |table| table.func("f", "one", TypeId(2), Linkage::Static),
        |table| table.func("f", "other", TypeId(2), Linkage::Static),
    ];
    let table = |make: &dyn Fn(&mut Table) -> TypeId| {
        let mut table = Table::default();
        table.ptr(TypeId::VOID);
        table.int();
        let id = make(&mut table);
        (table, id)
    };
    let mut tables: Vec<(Table, TypeId)> = makes.iter().map(|make| table(make)).collect();
    tables.extend(bits.map(|(offset, size)| table(&|table: &mut Table| member(table, offset, size))));
    for (first, (one, one_id)) in tables.iter().enumerate() {
        for (second, (two, two_id)) in tables.iter().enumerate() {
            let found = merged(&[one, two]);
            assert_eq!(found.id(0, *one_id) == found.id(1, *two_id), first == second, "{first} and {second}");
        }
    }
}

#[test]
fn variables_and_functions() {
    let mut tables = [Table::default(), Table::default(), Table::default()];
    let mut ids = Vec::new();
    for table in &mut tables {
        let int = table.int();
        let mut own = vec![table.var("count", int, Linkage::Static)];
        own.push(table.func("helper", "it", int, Linkage::Static));
        own.push(table.var("shared", int, Linkage::Global));
        own.push(table.func("kfunc", "it", int, Linkage::Extern));
        ids.push(own);
    }
    let found = merged(&[&tables[0], &tables[1], &tables[2]]);
    assert_eq!(named(&found, "count"), 3, "static variables stay apart");
    for name in ["helper", "shared", "kfunc"] {
        assert_eq!(named(&found, name), 1, "{name}");
    }
    for (one, other) in ids[0].iter().zip(&ids[2]).skip(1) {
        assert_eq!(found.id(0, *one), found.id(2, *other));
    }
}

#[test]
fn externs_become_their_definition() {
    let (mut uses, mut defines, mut hides) = (Table::default(), Table::default(), Table::default());
    let int = uses.int();
    let func = uses.func("f", "", int, Linkage::Extern);
    let var = uses.var("v", TypeId::VOID, Linkage::Extern);
    uses.tag("declared", func);
    let int = defines.int();
    let whole = defines.func("f", "named", int, Linkage::Global);
    let data = defines.var("v", int, Linkage::Global);
    let tag = defines.tag("declared", whole);
    let int = hides.int();
    hides.func("f", "", int, Linkage::Static);
    let found = merged(&[&uses, &defines, &hides]);
    assert_eq!(found.id(0, func), found.id(1, whole), "the type is not compared");
    assert_eq!(found.id(0, var), found.id(1, data));
    assert_eq!(named(&found, "f"), 2, "a static function is not a definition for other files");
    assert_eq!(named(&found, "declared"), 1, "the tags of both are on the definition, each once");
    let Kind::DeclTag { ty, .. } = found.btf.get(found.id(1, tag)).kind else { panic!("it is a tag") };
    assert_eq!(ty, found.id(1, whole));

    let mut again = Table::default();
    let long = again.add("long", Kind::Float(8));
    again.var("v", long, Linkage::Global);
    let found = merged(&[&uses, &defines, &again]);
    assert_eq!(named(&found, "v"), 3, "with two definitions, the caller chooses");
}

#[test]
fn declaration_tags_are_a_part_of_what_they_tag() {
    let make = |tags: &[&str]| {
        let mut table = Table::default();
        let it = table.structure("it", &[]);
        for tag in tags {
            table.tag(tag, it);
        }
        table
    };
    let found = merged(&[&make(&["one", "two"]), &make(&["two", "one", "one"])]);
    assert_eq!((named(&found, "it"), named(&found, "one"), named(&found, "two")), (1, 1, 1));
    let found = merged(&[&make(&["one"]), &make(&["two"]), &make(&[])]);
    assert_eq!((named(&found, "it"), named(&found, "one"), named(&found, "two")), (3, 1, 1));

    // Variables that differ only in their tags, which precede or follow each other.
    let make = |reverse: bool| {
        let mut table = Table::default();
        let int = table.int();
        let vars = [table.var("v", int, Linkage::Static), table.var("v", int, Linkage::Static)];
        for var in if reverse { [vars[1], vars[0]] } else { vars } {
            table.tag("tag", var);
        }
        table.var("v", int, Linkage::Static);
        table
    };
    let found = merged(&[&make(true), &make(false), &make(true)]);
    assert_eq!((named(&found, "v"), named(&found, "tag")), (9, 6));
}

#[test]
fn data_sections_and_unknown_kinds() {
    let mut table = Table::default();
    let section = table.add(".data", Kind::Datasec(Datasec { size: 0, vars: Vec::new() }));
    table.tag("odd", section);
    let unknown = table.add("odd", Kind::Unknown(99));
    let to = table.ptr(unknown);
    let inputs = [&table.0, &table.0];
    let found = merge(&inputs).expect("the tables can be merged");
    assert_eq!(found.id(0, section), TypeId::VOID);
    assert_eq!(found.btf.len(), 5);
    assert!(found.id(0, unknown) != found.id(1, unknown) && found.id(0, to) != found.id(1, to));
}

#[test]
fn strings_are_sorted_and_others_are_added_once() {
    let mut table = Table::default();
    table.fwd("zebra");
    table.fwd("ant");
    let mut found = merge(&[&table.0]).expect("the table can be merged");
    assert_eq!([1, 5].map(|at| found.btf.str(StringRef(at))), ["ant", "zebra"]);
    let line = found.string("return 0;");
    assert_eq!(found.btf.str(line), "return 0;");
    assert_eq!((found.string("return 0;"), found.string("ant"), found.string("")), (line, StringRef(1), StringRef(0)));
}

#[test]
fn a_definition_that_would_contain_itself_is_an_error() {
    let (mut one, mut two) = (Table::default(), Table::default());
    let fwd = one.fwd("b");
    one.structure("a", &[("b", fwd)]);
    let fwd = two.fwd("a");
    two.structure("b", &[("a", fwd)]);
    let error = merge(&[&one.0, &two.0]).expect_err("each contains the other");
    assert_eq!(error.code(), Code::BadBtf);
}

#[test]
fn deep_types_take_little_time() {
    let depth = 200_000;
    let make = |before: u32| {
        let mut table = Table::default();
        for _ in 0..before {
            table.ptr(TypeId::VOID);
        }
        let int = table.int();
        let mut last = int;
        for _ in 0..depth {
            last = table.ptr(last);
        }
        // A ring of pointers, which all mean the same.
        let first = TypeId(last.0 + 1);
        for at in 0..depth {
            table.ptr(TypeId(first.0 + (at + 1) % depth));
        }
        table
    };
    let (one, two) = (make(0), make(1));
    let found = merge(&[&one.0, &two.0]).expect("the tables can be merged");
    assert_eq!(found.btf.len(), 1 + 1 + depth as usize + 1 + 1);
}
