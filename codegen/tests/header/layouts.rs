//! The layouts of all named types of a table, as text for comparison.

use std::collections::BTreeMap;

use skelgen::unstable::btf::{Btf, Composite, Kind, TypeId};

/// The layouts by keyword and name. Several types can have one name.
pub(crate) type Layouts = BTreeMap<(&'static str, String), Vec<String>>;

/// Returns the layouts of all structs, unions and enums that have a name or are named by a typedef.
pub(crate) fn layouts(btf: &Btf) -> Layouts {
    let mut found = Layouts::new();
    for (id, ty) in btf.iter() {
        let name = without_number(btf.str(ty.name));
        let (keyword, layout) = match &ty.kind {
            _ if name.is_empty() => continue,
            Kind::Struct(_) => ("struct", layout(btf, id)),
            Kind::Union(_) => ("union", layout(btf, id)),
            Kind::Enum(it) if !it.values.is_empty() => {
                let values: Vec<String> = it
                    .values
                    .iter()
                    .map(|(name, value)| format!("{} = {value}", without_number(btf.str(*name))))
                    .collect();
                ("enum", format!("{} bytes\n{}", it.size, values.join("\n")))
            }
            Kind::Typedef(to) if btf.name(*to).is_empty() => match &btf.get(*to).kind {
                Kind::Struct(_) | Kind::Union(_) => ("typedef", layout(btf, *to)),
                _ => continue,
            },
            _ => continue,
        };
        found.entry((keyword, name.to_owned())).or_default().push(layout);
    }
    found.values_mut().for_each(|all| all.sort());
    found
}

/// Removes the number that makes the name of a second type with the same name unique.
fn without_number(name: &str) -> &str {
    let mut name = name;
    while let Some((before, number)) = name.rsplit_once("___") {
        if before.is_empty() || number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            break;
        }
        name = before;
    }
    name
}

/// Returns the size of a struct or union, and a line for each member.
fn layout(btf: &Btf, id: TypeId) -> String {
    let mut lines = vec![format!("{:?} bytes", btf.size_of(id))];
    members(btf, id, "", 0, &mut lines);
    lines.join("\n")
}

/// Adds a line for each member. The members of structs without a type name or a member name belong to the outer struct.
fn members(btf: &Btf, id: TypeId, path: &str, begin: u64, lines: &mut Vec<String>) {
    let (Kind::Struct(Composite { members: all, .. }) | Kind::Union(Composite { members: all, .. })) =
        &btf.get(btf.resolve(id)).kind
    else {
        return;
    };
    for member in all {
        let at = begin + u64::from(member.bit_offset);
        let name = btf.str(member.name);
        // Skip an array that only sets the size of the type.
        if name.starts_with("__padding") {
            continue;
        }
        let (element, count) = element(btf, member.ty);
        let path = format!("{path}{}{name}", if path.is_empty() || name.is_empty() { "" } else { "." });
        let inside = is_composite(btf, element) && (name.is_empty() || btf.name(element).is_empty());
        if !name.is_empty() {
            let bits = match member.bit_size {
                0 => btf.size_of(member.ty).map(|size| size * 8),
                bits => Some(bits.into()),
            };
            lines.push(format!("{path}: bit {at}, {bits:?} bits, {count:?} {}", described(btf, element)));
        }
        if inside {
            members(btf, element, &path, at, lines);
        }
    }
}

/// Returns the type of an array's elements, and the lengths of the array in each dimension.
fn element(btf: &Btf, id: TypeId) -> (TypeId, Vec<u32>) {
    let (mut id, mut lens) = (btf.resolve(id), Vec::new());
    while let Kind::Array { element, len, .. } = btf.get(id).kind {
        lens.push(len);
        id = btf.resolve(element);
    }
    (id, lens)
}

fn is_composite(btf: &Btf, id: TypeId) -> bool {
    matches!(btf.get(id).kind, Kind::Struct(_) | Kind::Union(_))
}

/// Returns the kind and size of a type, without the names that a header may change.
fn described(btf: &Btf, id: TypeId) -> String {
    let name = without_number(btf.name(id));
    match &btf.get(id).kind {
        // The compiler's flags determine whether `char` is signed.
        Kind::Int(int) if name == "char" => format!("char {}", int.size),
        Kind::Int(int) => format!("integer {} {} {}", int.size, int.signed, int.bool),
        Kind::Enum(it) => format!("enum {} {name}", it.size),
        Kind::Struct(_) => format!("struct {name}"),
        Kind::Union(_) => format!("union {name}"),
        Kind::Ptr(to) => {
            let mut to = btf.resolve(*to);
            let mut depth = 1;
            while let Kind::Ptr(next) = btf.get(to).kind {
                (to, depth) = (btf.resolve(next), depth + 1);
            }
            match &btf.get(to).kind {
                // The target of a pointer can be only declared in one of two tables.
                Kind::Struct(_) | Kind::Union(_) | Kind::Fwd { .. } | Kind::Enum(_) => {
                    format!("pointer {depth} to {}", without_number(btf.name(to)))
                }
                kind => format!("pointer {depth} to kind {}", kind.number()),
            }
        }
        kind => format!("kind {}", kind.number()),
    }
}
