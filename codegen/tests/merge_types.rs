//! Merged types of whole objects: every type has an equal image, no two images are equal, and the order of objects does
//! not matter.
//!
//! The test uses the fixtures' objects. `SKELGEN_OBJECTS=DIRECTORY` adds other objects. The comparison knows only the
//! types: it does not use the phase's own keys.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

use skelgen::unstable::btf::{Btf, Kind, Linkage, TypeId};
use skelgen::unstable::elf::section_of_any;
use skelgen::unstable::insn::Endian;
use skelgen::unstable::merge::types::{Merged, merge};

/// Returns the types of all objects that have some, in the order of their names.
fn objects() -> Vec<(String, Btf)> {
    let mut directories = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/corpus/objects")];
    directories.extend(std::env::var_os("SKELGEN_OBJECTS").map(Into::into));
    let mut found = Vec::new();
    for directory in directories {
        let entries = std::fs::read_dir(directory).expect("the directory can be read");
        let mut paths: Vec<_> = entries.map(|entry| entry.expect("the directory can be read").path()).collect();
        paths.retain(|path| path.extension().is_some_and(|end| end == "o"));
        paths.sort();
        for path in paths {
            let bytes = std::fs::read(&path).expect("the file can be read");
            let Ok(Some((endian, section))) = section_of_any(&bytes, ".BTF") else { continue };
            if let Ok(btf) = Btf::parse(section, endian) {
                found.push((path.display().to_string(), btf));
            }
        }
    }
    assert!(found.len() > 30, "the fixtures have objects");
    found
}

/// Returns everything about a type except its tags, with other types as `id` has them.
fn described(btf: &Btf, of: TypeId, id: &dyn Fn(TypeId) -> u64) -> String {
    let ty = btf.get(of);
    let content = match &ty.kind {
        Kind::Void | Kind::Int(_) | Kind::Fwd { .. } | Kind::Float(_) | Kind::Unknown(_) => format!("{:?}", ty.kind),
        Kind::Ptr(to) | Kind::Typedef(to) | Kind::Volatile(to) | Kind::Const(to) | Kind::Restrict(to) => {
            id(*to).to_string()
        }
        Kind::Array { element, index, len } => format!("{} {} {len}", id(*element), id(*index)),
        Kind::Struct(it) | Kind::Union(it) => {
            let member = |name, ty, bits: (u32, u8)| format!("{} {} {bits:?}", btf.str(name), id(ty));
            let members = it.members.iter().map(|it| member(it.name, it.ty, (it.bit_offset, it.bit_size)));
            format!("{} {} {:?}", it.size, it.bitfields, members.collect::<Vec<_>>())
        }
        Kind::Enum(it) => {
            let values: Vec<_> = it.values.iter().map(|(name, value)| (btf.str(*name), value)).collect();
            format!("{} {} {values:?}", it.size, it.signed)
        }
        Kind::Func { proto: to, linkage } | Kind::Var { ty: to, linkage } => format!("{} {linkage:?}", id(*to)),
        Kind::FuncProto { returns, params } => {
            let params: Vec<_> = params.iter().map(|it| (btf.str(it.name), id(it.ty))).collect();
            format!("{} {params:?}", id(*returns))
        }
        Kind::Datasec(_) => String::new(),
        Kind::DeclTag { ty, component, attribute } => format!("{} {component:?} {attribute}", id(*ty)),
        Kind::TypeTag { ty, attribute } => format!("{} {attribute}", id(*ty)),
    };
    format!("{} {} {content}", ty.kind.number(), btf.name(of))
}

/// Returns the declaration tags of each type.
fn tags(btf: &Btf) -> BTreeMap<TypeId, BTreeSet<String>> {
    let mut tags: BTreeMap<TypeId, BTreeSet<String>> = BTreeMap::new();
    for (id, ty) in btf.iter() {
        if let Kind::DeclTag { ty, component, attribute } = ty.kind {
            tags.entry(ty).or_default().insert(format!("{} {component:?} {attribute}", btf.name(id)));
        }
    }
    tags
}

/// Returns whether the type is only declared.
fn is_declared(kind: &Kind) -> bool {
    match kind {
        Kind::Fwd { .. } => true,
        Kind::Enum(it) => it.size == 0 && it.values.is_empty(),
        _ => false,
    }
}

/// Returns a number for the kinds that a declaration can stand for, with the name.
fn declared_name(btf: &Btf, id: TypeId) -> (u8, &str) {
    let keyword = match btf.get(id).kind {
        Kind::Struct(_) | Kind::Fwd { union: false } => 0,
        Kind::Union(_) | Kind::Fwd { union: true } => 1,
        Kind::Enum(_) => 2,
        _ => 3,
    };
    (keyword, btf.name(id))
}

fn linkage(kind: &Kind) -> Option<Linkage> {
    match kind {
        Kind::Func { linkage, .. } | Kind::Var { linkage, .. } => Some(*linkage),
        _ => None,
    }
}

/// Checks that each type of the inputs has an equal image, and that each type of the result is one.
fn check_images(names: &[&str], inputs: &[&Btf], merged: &Merged<'_>) {
    let result_tags = tags(&merged.btf);
    let mut is_image = BTreeSet::from([TypeId::VOID]);
    for (input, btf) in inputs.iter().enumerate() {
        let own_tags = tags(btf);
        let image = |id: TypeId| merged.id(input, id);
        for (id, ty) in btf.iter() {
            let place = || format!("{}: {}", names[input], described(btf, id, &|id| id.0.into()));
            let to = image(id);
            if matches!(ty.kind, Kind::Datasec(_)) {
                assert_eq!(to, TypeId::VOID, "{}", place());
                continue;
            }
            is_image.insert(to);
            let other = merged.btf.get(to);
            if is_declared(&ty.kind) && !is_declared(&other.kind) {
                assert_eq!(declared_name(btf, id), declared_name(&merged.btf, to), "{}", place());
                continue;
            }
            if linkage(&ty.kind) == Some(Linkage::Extern) && linkage(&other.kind) == Some(Linkage::Global) {
                assert_eq!((ty.kind.number(), btf.name(id)), (other.kind.number(), merged.btf.name(to)), "{}", place());
                continue;
            }
            let expected = described(btf, id, &|id| image(id).0.into());
            assert_eq!(expected, described(&merged.btf, to, &|id| id.0.into()), "{}", place());
            if linkage(&ty.kind).is_none() {
                assert_eq!(own_tags.get(&id), result_tags.get(&to), "the tags of {}", place());
            }
        }
    }
    assert_eq!(is_image.len(), merged.btf.len(), "every type has an original");
}

/// Checks that all types of a table differ, except for static variables and the tags on them: repeatedly hashes each type
/// with the hashes of the types that it refers to, until the number of hashes does not grow.
fn check_differences(merged: &Btf) {
    let hash = |text: String| {
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        hasher.finish()
    };
    let tags = tags(merged);
    let mut hashes = vec![0; merged.len()];
    let mut count = 0;
    loop {
        let next: Vec<u64> = merged
            .iter()
            .map(|(id, ty)| {
                let unique = linkage(&ty.kind) == Some(Linkage::Static) && matches!(ty.kind, Kind::Var { .. });
                let own = if unique { id } else { TypeId::VOID };
                let described = described(merged, id, &|id| hashes[id.0 as usize]);
                hash(format!("{own} {described} {:?}", tags.get(&id)))
            })
            .collect();
        let found = next.iter().collect::<BTreeSet<_>>().len();
        hashes = next;
        if found == count {
            break;
        }
        count = found;
    }
    let mut known = BTreeMap::new();
    for (id, _) in merged.iter() {
        if let Some(other) = known.insert(hashes[id.0 as usize], id) {
            panic!("{other} and {id} are equal: {}", described(merged, id, &|id| id.0.into()));
        }
    }
    for (id, _) in merged.iter().filter(|(id, ty)| is_declared(&ty.kind) && !merged.name(*id).is_empty()) {
        let name = declared_name(merged, id);
        let is_definition = |other: &TypeId| declared_name(merged, *other) == name && *other != id;
        let definitions = merged.iter().map(|(id, _)| id).filter(is_definition).count();
        assert_ne!(definitions, 1, "{id} {name:?} is defined");
    }
}

fn check(objects: &[(String, Btf)]) {
    let names: Vec<&str> = objects.iter().map(|(name, _)| name.as_str()).collect();
    let inputs: Vec<&Btf> = objects.iter().map(|(_, btf)| btf).collect();
    let merged = merge(&inputs).unwrap_or_else(|error| panic!("{names:?}: {error}"));
    check_images(&names, &inputs, &merged);
    check_differences(&merged.btf);

    let bytes = merged.btf.write(Endian::Little);
    let again = Btf::parse(&bytes, Endian::Little).expect("the result is valid");
    assert_eq!(merge(&[&again]).expect("it can be merged again").btf.write(Endian::Little), bytes, "{names:?}");
    let mut order = inputs.clone();
    for swapped in 0..order.len().min(6) {
        // Reversing and swapping in turn gives all orders of three.
        match swapped % 2 {
            0 => order.reverse(),
            _ => order.swap(0, 1),
        }
        let other = merge(&order).expect("the order does not matter");
        assert!(other.btf.write(Endian::Little) == bytes, "{names:?}: the order {swapped} changes the result");
    }
}

#[test]
fn objects_one_by_one() {
    objects().chunks(1).for_each(check);
}

#[test]
fn three_objects_in_every_order() {
    objects().windows(3).step_by(2).for_each(check);
}

#[test]
fn all_objects_in_one() {
    check(&objects());
}
