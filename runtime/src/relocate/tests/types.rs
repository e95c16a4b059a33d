//! Relocations of whole types and of enumerators.

use super::*;

#[test]
fn types() {
    let about = |relocation, original| {
        let (local, s) = local();
        number(local, &kernel().0, (s, "0", relocation), original)
    };
    assert_eq!(about(TYPE_EXISTS, 1), Some(1));
    assert_eq!(about(TYPE_SIZE, 24), Some(64));
    assert_eq!(about(TARGET_ID, 999), Some(kernel().1.try_into().unwrap()), "any original id is accepted");
    assert_eq!(about(LOCAL_ID, 999), Some(local().1.try_into().unwrap()));
    assert_eq!(about(TYPE_MATCHES, 1), Some(0), "`pad` is missing");
    let mut local = Btf::new();
    let none = local.structure("none", 4, &[]);
    assert_eq!(number(local, &kernel().0, (none, "0", TYPE_SIZE), 4), Some(0));
}

#[test]
fn function_types_and_typedefs() {
    // The object has `typedef int (*callback)(struct s *, long)`.
    let about = |parameters: &[&str], relocation| {
        let make = |parameters: &[&str]| {
            let mut btf = Btf::new();
            let int = btf.int("int", 4, true);
            let s = btf.structure("s", 4, &[("x", int, 0)]);
            let pointer = btf.pointer(s);
            let ids: Vec<_> = parameters.iter().map(|name| if *name == "s" { pointer } else { int }).collect();
            let function = btf.function_type(int, &ids);
            let to = btf.pointer(function);
            let typedef = btf.typedef("callback", to);
            (btf, typedef)
        };
        let (local, typedef) = make(&["s", "int"]);
        number(local, &make(parameters).0, (typedef, "0", relocation), 1)
    };
    assert_eq!((about(&["s", "int"], TYPE_EXISTS), about(&["s", "int"], TYPE_MATCHES)), (Some(1), Some(1)));
    assert_eq!((about(&["s"], TYPE_EXISTS), about(&["s"], TYPE_MATCHES)), (Some(0), Some(0)));
    assert_eq!((about(&["s", "s"], TYPE_EXISTS), about(&["s", "s"], TYPE_MATCHES)), (Some(0), Some(0)));
}

#[test]
fn matching_types() {
    // The object has `struct s { int x; struct t *t; enum e { A } e; }`, where `struct t` is only declared.
    let about = |kernel_enumerators: &[(&str, i32)], int_size, fwd_is_union| {
        let make = |enumerators: &[(&str, i32)], int_size, whole| {
            let mut btf = Btf::new();
            let int = btf.int("int", int_size, true);
            let t = if whole {
                btf.structure("t", 4, &[("y", int, 0)])
            } else {
                btf.add("t", kind::FWD, fwd_is_union, 0, 0, &[])
            };
            let pointer = btf.pointer(t);
            let e = btf.enumeration("e", false, enumerators);
            let s = btf.structure("s", 24, &[("x", int, 0), ("t", pointer, 64), ("e", e, 128)]);
            (btf, s)
        };
        let (local, s) = make(&[("A", 1)], 4, false);
        number(local, &make(kernel_enumerators, int_size, true).0, (s, "0", TYPE_MATCHES), 1)
    };
    assert_eq!(about(&[("B", 0), ("A___old", 5)], 4, false), Some(1));
    assert_eq!(about(&[("B", 0), ("C", 5)], 4, false), Some(0));
    assert_eq!(about(&[("A", 0)], 8, false), Some(0));
    assert_eq!(about(&[("A", 0)], 4, true), Some(0), "a union does not match a struct");
}

#[test]
fn enumerators() {
    let local = |name: &str| {
        let mut btf = Btf::new();
        let e = btf.enumeration("e___mine", true, &[("OTHER", 0), (name, -5)]);
        (btf, e)
    };
    let mut kernel = Btf::new();
    kernel.enumeration("e", true, &[("A", 9), ("B", -9)]);
    let about = |name, relocation, original| {
        let (local, e) = local(name);
        number(local, &kernel, (e, "1", relocation), original)
    };
    assert_eq!(about("A", ENUMERATOR_VALUE, -5), Some(9));
    assert_eq!(about("B___old", ENUMERATOR_VALUE, -5), Some(-9));
    assert_eq!(about("C", ENUMERATOR_VALUE, -5), None);
    assert_eq!((about("A", ENUMERATOR_EXISTS, 1), about("C", ENUMERATOR_EXISTS, 1)), (Some(1), Some(0)));
}

#[test]
fn immediate_loads_of_64_bits() {
    let [first, second] = ld_imm64(2, 1);
    let relocated_with = |kernel: &Btf, name, second: Insn| {
        let mut local = Btf::new();
        let e = local.enumeration64("e", &[(name, 0x1_0000_0002)]);
        relocated(local, kernel, (e, "0", ENUMERATOR_VALUE), &[first, second])
    };
    let mut kernel = Btf::new();
    kernel.enumeration64("e", &[("A", 0x1122_3344_5566_7788)]);
    assert_eq!(relocated_with(&kernel, "A", second).unwrap(), ld_imm64(0x5566_7788, 0x1122_3344));
    assert_eq!(relocated_with(&kernel, "B", second).unwrap(), [absent(), absent()]);
    let error = relocated_with(&kernel, "A", [1; 8]).unwrap_err();
    golden::check("CO-RE: second half of an immediate load", ErrorKind::Malformed, &error);
    // A 32-bit enumeration of the kernel is a candidate for a 64-bit one of the object.
    let mut narrow = Btf::new();
    narrow.enumeration("e", true, &[("A", -2)]);
    let insns = relocated_with(&narrow, "A", second).unwrap();
    assert_eq!((&insns[0][4..], &insns[1][4..]), (&(-2_i32).to_ne_bytes()[..], &(-1_i32).to_ne_bytes()[..]));
}

/// Function types are compared as libbpf compares them.
#[test]
fn function_types_are_compared_as_in_libbpf() {
    use crate::relocate::types_compatible;
    // Whether a declaration with these types is compatible with a kernel function that takes an `int` and returns a pointer to a struct.
    let compatible = |declare: &dyn Fn(&mut Btf) -> u32| {
        let mut kernel = Btf::new();
        let int = kernel.int("int", 4, true);
        let s = kernel.structure("s", 8, &[("x", int, 0)]);
        let pointer = kernel.pointer(s);
        let function = kernel.function_type(pointer, &[int]);
        let mut local = Btf::new();
        let declared = declare(&mut local);
        types_compatible(&local.types(), declared, &kernel.types(), function).unwrap_or(false)
    };
    let with = |make: fn(&mut Btf) -> (u32, Vec<u32>)| {
        compatible(&|btf| {
            let (returns, parameters) = make(btf);
            btf.function_type(returns, &parameters)
        })
    };
    fn pointer_to(btf: &mut Btf, kind: u32) -> u32 {
        let to = btf.add("other", kind, false, 0, 0, &[]);
        let constant = btf.add("", kind::CONST, false, 0, to, &[]);
        btf.pointer(constant)
    }
    assert!(with(|btf| (pointer_to(btf, kind::STRUCT), vec![btf.int("long", 8, false)])));
    assert!(with(|btf| {
        let int = btf.int("int", 4, true);
        let volatile = btf.add("", kind::VOLATILE, false, 0, int, &[]);
        (pointer_to(btf, kind::STRUCT), vec![btf.typedef("t", volatile)])
    }));
    assert!(!with(|btf| (pointer_to(btf, kind::UNION), vec![btf.int("int", 4, true)])));
    assert!(!with(|btf| (pointer_to(btf, kind::FWD), vec![btf.int("int", 4, true)])));
    assert!(!with(|btf| (0, vec![btf.int("int", 4, true)])), "it returns void");
    assert!(!with(|btf| (pointer_to(btf, kind::STRUCT), vec![])), "it has fewer arguments");
    assert!(!with(|btf| (pointer_to(btf, kind::STRUCT), vec![btf.enumeration("e", false, &[])])));
    assert!(!with(|btf| (btf.pointer(99), vec![btf.int("int", 4, true)])), "a type id that does not exist");
    // Types of unknown kinds are not compatible with anything, not even with each other.
    let mut odd = Btf::new();
    let unknown = odd.add("odd", 20, false, 0, 0, &[]);
    let function = odd.function_type(0, &[unknown]);
    let types = odd.types_with_layout(&[(20, 0, 0)]);
    assert!(!types_compatible(&types, function, &types, function).unwrap());
}

/// A function that takes many pointers to its own type is compared in bounded time.
#[test]
fn a_comparison_ends() {
    let mut btf = Btf::new();
    let pointer = btf.pointer(2);
    let function = btf.function_type(pointer, &[pointer; 32]);
    let types = btf.types();
    assert!(crate::relocate::types_compatible(&types, function, &types, function).is_err());
}
