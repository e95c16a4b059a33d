//! Tests of headers, each with types made for the case.

use super::{Contents, Origin, write};
use crate::btf::{Btf, Composite, Int, Kind, Linkage, Member, Param, StringRef, Type, TypeId};
use crate::error::Code;

/// A table with `int` and the means to add types.
struct Table(Btf);

impl Table {
    const INT: TypeId = TypeId(1);

    fn new() -> Self {
        let mut table = Self(Btf::new());
        let int = Int { size: 4, bits: 32, bit_offset: 0, signed: true, char: false, bool: false };
        table.add("int", Kind::Int(int));
        table
    }

    fn add(&mut self, name: &str, kind: Kind) -> TypeId {
        let name = self.0.add_string(name);
        self.0.push(Type { name, kind })
    }

    fn record(&mut self, name: &str, size: u32, members: &[(&str, TypeId, u32, u8)]) -> TypeId {
        let members = members
            .iter()
            .map(|&(name, ty, bit_offset, bit_size)| Member { name: self.0.add_string(name), ty, bit_offset, bit_size })
            .collect();
        self.add(name, Kind::Struct(Composite { size, members, bitfields: true }))
    }

    /// Returns the definitions in the header, without its frame.
    fn header(&self, only: &[&str]) -> String {
        let only: Vec<String> = only.iter().map(|&name| name.to_owned()).collect();
        let text = write(&self.0, &Contents { only: &only, ..Contents::default() }).expect("it can be written");
        let begin = text.find("record)\n#endif\n\n").expect("it begins with a pragma") + "record)\n#endif\n\n".len();
        let end = text.find("#ifndef BPF_NO_PRESERVE_ACCESS_INDEX\n#pragma clang attribute pop").expect("it ends");
        text[begin..end].to_owned()
    }
}

#[test]
fn types_that_refer_to_each_other_are_declared_first() {
    let mut table = Table::new();
    let (pointer, alias) = (TypeId(3), TypeId(4));
    let inner = table.record("inner", 16, &[("next", alias, 0, 0), ("value", Table::INT, 64, 0)]);
    assert_eq!(table.add("", Kind::Ptr(TypeId(5))), pointer);
    assert_eq!(table.add("outer_ptr", Kind::Typedef(pointer)), alias);
    table.record("outer", 24, &[("inner", inner, 0, 0), ("own", pointer, 128, 0)]);
    assert_eq!(
        table.header(&[]),
        "struct outer;\n\ntypedef struct outer *outer_ptr;\n\n\
         struct inner {\n\touter_ptr next;\n\tint value;\n};\n\n\
         struct outer {\n\tstruct inner inner;\n\tstruct outer *own;\n};\n\n"
    );
    assert_eq!(table.header(&["outer_ptr"]), "struct outer;\n\ntypedef struct outer *outer_ptr;\n\n");
}

#[test]
fn gaps_and_packed_structs() {
    let mut table = Table::new();
    table.record("gap", 128, &[("a", Table::INT, 0, 0), ("b", Table::INT, 96, 0), ("c", Table::INT, 128, 3)]);
    table.record("tight", 5, &[("a", Table::INT, 8, 0)]);
    table.record("across", 8, &[("a", Table::INT, 0, 20), ("b", Table::INT, 20, 20)]);
    let text = table.header(&[]);
    assert!(
        text.contains("\tint a;\n\tlong: 32;\n\tlong: 32;\n\tint b;\n\tint c: 3;\n\tlong: 61;\n\tlong: 64;\n"),
        "{text}"
    );
    assert!(text.contains("struct tight {\n\tlong: 8;\n\tint a;\n} __attribute__((packed));\n"), "{text}");
    assert!(text.contains("\tint a: 20;\n\tint b: 20;\n\tlong: 24;\n} __attribute__((packed));\n"), "{text}");
}

#[test]
fn several_types_of_one_name_get_flavors() {
    let mut table = Table::new();
    table.record("same", 4, &[("a", Table::INT, 0, 0)]);
    table.add("same", Kind::Union(Composite { size: 4, ..Composite::default() }));
    table.add("same", Kind::Typedef(Table::INT));
    let declared = table.add("same", Kind::Fwd { union: true });
    let pointer = table.add("", Kind::Ptr(declared));
    table.add("pointer", Kind::Typedef(pointer));
    let text = table.header(&[]);
    for part in ["struct same {", "union same___2 {", "typedef int same;", "typedef union same___2 *pointer;"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert_eq!(table.header(&["union same"]).matches("same").count(), 1);
}

#[test]
fn functions_of_the_kernel_are_weak() {
    let mut table = Table::new();
    let task = table.record("task", 4, &[("pid", Table::INT, 0, 0)]);
    let pointer = table.add("", Kind::Ptr(task));
    let parameter = table.0.add_string("task");
    let params = vec![Param { name: parameter, ty: pointer }];
    let proto = table.add("", Kind::FuncProto { returns: pointer, params });
    let function = table.add("bpf_task", Kind::Func { proto, linkage: Linkage::Static });
    table.add("not_callable", Kind::Func { proto, linkage: Linkage::Static });
    table.add("bpf_kfunc", Kind::DeclTag { ty: function, component: None, attribute: false });
    let only = ["bpf_task".to_owned()];
    let text = write(&table.0, &Contents { only: &only, ..Contents::default() }).expect("it can be written");
    let declared = "extern struct task *bpf_task(struct task *task) __attribute__((weak, section(\".ksyms\")));\n";
    assert!(text.contains(declared) && !text.contains("not_callable") && !text.contains("struct task {"), "{text}");
}

#[test]
fn functions_with_names_that_c_does_not_have_are_not_declared() {
    let mut table = Table::new();
    let proto = table.add("", Kind::FuncProto { returns: Table::INT, params: Vec::new() });
    for name in ["int", "3d", "a b", "x); int y", "__builtin_va_list", "", "good"] {
        let function = table.add(name, Kind::Func { proto, linkage: Linkage::Static });
        table.add("bpf_kfunc", Kind::DeclTag { ty: function, component: None, attribute: false });
    }
    let text = write(&table.0, &Contents::default()).expect("it can be written");
    let declared: Vec<&str> = text.lines().filter(|line| line.starts_with("extern")).collect();
    assert_eq!(declared, ["extern int good(void) __attribute__((weak, section(\".ksyms\")));"]);
}

#[test]
fn only_attributes_that_do_not_change_a_layout_are_written() {
    let mut table = Table::new();
    let attributes = ["address_space(1)", "vector_size(16)", "mode(DI)", "x)y(", "packed", "address_space(+1)"];
    for (index, attribute) in attributes.into_iter().enumerate() {
        let tag = table.add(attribute, Kind::TypeTag { ty: Table::INT, attribute: true });
        let pointer = table.add("", Kind::Ptr(tag));
        table.add(&format!("pointer_{index}"), Kind::Typedef(pointer));
    }
    let text = table.header(&[]);
    assert_eq!(text.split("\n\n").next(), Some("typedef int __attribute__((address_space(1))) *pointer_0;"), "{text}");
    assert!((1..6).all(|index| text.contains(&format!("typedef int *pointer_{index};"))), "{text}");
}

#[test]
fn each_function_has_the_limit_of_a_definition() {
    let mut table = Table::new();
    for index in 0..5 {
        let params = vec![Param { name: StringRef(0), ty: Table::INT }; 60_000];
        let proto = table.add("", Kind::FuncProto { returns: Table::INT, params });
        let function = table.add(&format!("function_{index}"), Kind::Func { proto, linkage: Linkage::Static });
        table.add("bpf_kfunc", Kind::DeclTag { ty: function, component: None, attribute: false });
    }
    let text = write(&table.0, &Contents::default()).expect("no function exceeds the limit");
    assert_eq!(text.matches("extern").count(), 5);
}

#[test]
fn a_header_is_not_much_longer_than_its_types() {
    // Each struct contains the same struct without a name.
    let mut table = Table::new();
    let members: Vec<_> = (0..2000).map(|index| ("m", Table::INT, index * 32, 0)).collect();
    let inner = table.record("", 8000, &members);
    for index in 0..2000 {
        table.record(&format!("outer_{index}"), 8000, &[("a", inner, 0, 0)]);
    }
    let error = write(&table.0, &Contents::default()).expect_err("it is too long");
    assert_eq!(error.code(), Code::BadBtf);
    // A function of which each parameter is a function with a long name.
    let mut table = Table::new();
    let name = table.0.add_string(&"n".repeat(100_000));
    let mut inner = Table::INT;
    for _ in 0..5 {
        let proto = table.add("", Kind::FuncProto { returns: inner, params: vec![Param { name, ty: inner }; 8] });
        inner = table.add("", Kind::Ptr(proto));
    }
    table.add("function", Kind::Typedef(inner));
    let error = write(&table.0, &Contents::default()).expect_err("it is too long");
    assert_eq!(error.code(), Code::BadBtf);
}

#[test]
fn a_member_of_a_struct_with_a_name_can_have_none() {
    let mut table = Table::new();
    let named = table.record("named", 4, &[("value", Table::INT, 0, 0)]);
    table.record("outer", 8, &[("", named, 0, 0), ("last", Table::INT, 32, 0)]);
    let text = table.header(&["outer"]);
    assert_eq!(text, "struct outer {\n\tstruct {\n\t\tint value;\n\t};\n\tint last;\n};\n\n");
}

#[test]
fn names_cannot_end_a_declaration() {
    let mut table = Table::new();
    table.record("a; int b", 4, &[("c; }; */ #error", Table::INT, 0, 0)]);
    let tag = table.add("x\"))) int y; //", Kind::TypeTag { ty: Table::INT, attribute: false });
    let attribute = table.add("x)) int y", Kind::TypeTag { ty: tag, attribute: true });
    table.add("while", Kind::Typedef(attribute));
    let text = table.header(&[]);
    assert_eq!(text, "struct a__int_b {\n\tint c_________error;\n};\n\ntypedef int while___2;\n\n");
}

#[test]
fn types_that_repeat_without_end_are_refused() {
    let mut table = Table::new();
    let mut inner = table.record("", 4, &[("a", Table::INT, 0, 0)]);
    for _ in 0..30 {
        inner = table.record("", 4, &[("a", inner, 0, 0), ("b", inner, 0, 0)]);
    }
    table.record("outer", 4, &[("a", inner, 0, 0)]);
    // Each struct contains the one before at the same offset, which C cannot express, so only the first member is
    // written.
    assert!(write(&table.0, &Contents::default()).is_ok());
    let mut table = Table::new();
    let (mut inner, mut size) = (table.record("", 4, &[("a", Table::INT, 0, 0)]), 4);
    for _ in 0..20 {
        inner = table.record("", size * 2, &[("a", inner, 0, 0), ("b", inner, size * 8, 0)]);
        size *= 2;
    }
    table.record("outer", size, &[("a", inner, 0, 0)]);
    let error = write(&table.0, &Contents::default()).expect_err("it is too long");
    assert_eq!(error.code(), Code::BadBtf);
    // A function can take a pointer to its own type.
    let mut table = Table::new();
    let params = vec![Param { name: StringRef(0), ty: TypeId(3) }, Param { name: StringRef(0), ty: TypeId(3) }];
    let proto = table.add("", Kind::FuncProto { returns: Table::INT, params });
    let pointer = table.add("", Kind::Ptr(proto));
    table.add("function", Kind::Typedef(pointer));
    assert_eq!(write(&table.0, &Contents::default()).expect_err("it has no end").code(), Code::BadBtf);
}

#[test]
fn names_that_nothing_has_are_listed() {
    let table = Table::new();
    let only = ["struct no_such".to_owned(), "u99".to_owned()];
    let error = write(&table.0, &Contents { only: &only, ..Contents::default() }).expect_err("nothing has the names");
    assert_eq!(error.code(), Code::NoSuchType);
    assert!(error.to_string().contains("`struct no_such`, `u99`"), "{error}");
}

#[test]
fn the_first_line_distinguishes_types_of_one_release() {
    let line = |btf: &[u8]| Origin { release: Some("6.1*/\n#error"), btf }.first_line();
    let bytes: Vec<u8> = (0..100).collect();
    let first = line(&bytes);
    assert!(first.starts_with("/* Types of Linux 6.1/#error, written from BTF (100 bytes, hash "), "{first}");
    assert_eq!(first.matches("*/").count(), 1);
    for at in 0..bytes.len() {
        let mut other = bytes.clone();
        other[at] ^= 0x80;
        assert_ne!(line(&other), first, "byte {at}");
    }
    assert_ne!(line(&bytes[..99]), line(&[&bytes[..99], &[0]].concat()));
}
