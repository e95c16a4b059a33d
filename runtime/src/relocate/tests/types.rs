//! Questions about whole types and about enumerators.

use super::*;

#[test]
fn types() {
    let about = |question, original| {
        let (local, s) = local();
        number(local, &kernel().0, (s, "0", question), original)
    };
    assert_eq!(about(TYPE_EXISTS, 1), Some(1));
    assert_eq!(about(TYPE_SIZE, 24), Some(64));
    assert_eq!(about(TARGET_ID, 999), Some(kernel().1.try_into().unwrap()), "ids need not be what they were");
    assert_eq!(about(LOCAL_ID, 999), Some(local().1.try_into().unwrap()));
    assert_eq!(about(TYPE_MATCHES, 1), Some(0), "`pad` is missing");
    let mut local = Btf::new();
    let none = local.structure("none", 4, &[]);
    assert_eq!(number(local, &kernel().0, (none, "0", TYPE_SIZE), 4), Some(0));
}

#[test]
fn function_types_and_typedefs() {
    // The object has `typedef int (*callback)(struct s *, long)`.
    let about = |parameters: &[&str], question| {
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
        number(local, &make(parameters).0, (typedef, "0", question), 1)
    };
    assert_eq!((about(&["s", "int"], TYPE_EXISTS), about(&["s", "int"], TYPE_MATCHES)), (Some(1), Some(1)));
    assert_eq!((about(&["s"], TYPE_EXISTS), about(&["s"], TYPE_MATCHES)), (Some(0), Some(0)));
    assert_eq!((about(&["s", "s"], TYPE_EXISTS), about(&["s", "s"], TYPE_MATCHES)), (Some(0), Some(0)));
}

#[test]
fn types_that_look_alike() {
    // The object has `struct s { int x; struct t *t; enum e { A } e; }`, of which the second is only declared.
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
    assert_eq!(about(&[("A", 0)], 4, true), Some(0), "a union is no struct");
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
    let about = |name, question, original| {
        let (local, e) = local(name);
        number(local, &kernel, (e, "1", question), original)
    };
    assert_eq!(about("A", ENUMERATOR_VALUE, -5), Some(9));
    assert_eq!(about("B___old", ENUMERATOR_VALUE, -5), Some(-9));
    assert_eq!(about("C", ENUMERATOR_VALUE, -5), None);
    assert_eq!((about("A", ENUMERATOR_EXISTS, 1), about("C", ENUMERATOR_EXISTS, 1)), (Some(1), Some(0)));
}

#[test]
fn wide_loads() {
    let [first, second] = wide(2, 1);
    let fit = |kernel: &Btf, name, second: Insn| {
        let mut local = Btf::new();
        let e = local.enumeration64("e", &[(name, 0x1_0000_0002)]);
        fit(local, kernel, (e, "0", ENUMERATOR_VALUE), &[first, second])
    };
    let mut kernel = Btf::new();
    kernel.enumeration64("e", &[("A", 0x1122_3344_5566_7788)]);
    assert_eq!(fit(&kernel, "A", second).unwrap(), wide(0x5566_7788, 0x1122_3344));
    assert_eq!(fit(&kernel, "B", second).unwrap(), [absent(), absent()]);
    let error = fit(&kernel, "A", [1; 8]).unwrap_err().to_string();
    assert!(error.contains("no plain number"), "{error}");
    // An enumeration of 32 bits may be one of 64 in the object.
    let mut narrow = Btf::new();
    narrow.enumeration("e", true, &[("A", -2)]);
    let insns = fit(&narrow, "A", second).unwrap();
    assert_eq!((&insns[0][4..], &insns[1][4..]), (&(-2_i32).to_ne_bytes()[..], &(-1_i32).to_ne_bytes()[..]));
}
