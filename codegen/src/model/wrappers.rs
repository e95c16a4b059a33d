//! Rust's wrapper types for one value: aya-ebpf's `Global`, and the cells and atomics of `core`. They have the layout
//! of the value, so the skeleton's fields have the type of the value.

use crate::btf::{Btf, Composite, Kind, TypeId};

/// The names of the wrapper types, up to the type parameter. bpf-linker replaces `<`, which C names cannot contain.
const WRAPPERS: &[&str] = &[
    "Atomic_3C_",
    "Cell_3C_",
    "Global_3C_",
    "ManuallyDrop_3C_",
    "MaybeDangling_3C_",
    "MaybeUninit_3C_",
    "SyncUnsafeCell_3C_",
    "UnsafeCell_3C_",
];

/// Returns the type inside nested wrappers, or the type itself if it is not a wrapper.
pub(super) fn unwrapped(btf: &Btf, mut ty: TypeId) -> TypeId {
    // Types from a compiler are nested less deeply. Damaged BTF can contain cycles.
    for _ in 0..16 {
        match inside(btf, ty) {
            Some(inner) => ty = inner,
            None => break,
        }
    }
    ty
}

fn inside(btf: &Btf, ty: TypeId) -> Option<TypeId> {
    let id = btf.resolve(ty);
    let (Kind::Struct(Composite { size, members, .. }) | Kind::Union(Composite { size, members, .. })) =
        &btf.get(id).kind
    else {
        return None;
    };
    let name = btf.name(id);
    if !WRAPPERS.iter().any(|wrapper| name.starts_with(wrapper)) {
        return None;
    }
    // All other members have size 0: markers, and `()` for uninitialized values.
    let mut whole =
        members.iter().filter(|member| member.bit_offset == 0 && btf.size_of(member.ty) == Some(u64::from(*size)));
    let value = whole.next()?.ty;
    whole.next().is_none().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::btf::{Int, Member, Type};

    #[test]
    fn rust_wrappers_are_unwrapped() {
        let mut btf = Btf::new();
        let int = Kind::Int(Int { size: 8, bits: 64, bit_offset: 0, signed: false, char: false, bool: false });
        let name = btf.add_string("u64");
        let number = btf.push(Type { name, kind: int });
        let mut wrap = |name: &str, union: bool, ty: TypeId, size: u32| {
            let (name, field) = (btf.add_string(name), btf.add_string("value"));
            let members = vec![Member { name: field, ty, bit_offset: 0, bit_size: 0 }];
            let it = Composite { size, members, bitfields: false };
            btf.push(Type { name, kind: if union { Kind::Union(it) } else { Kind::Struct(it) } })
        };
        let inner = wrap("MaybeUninit_3C_u64_3E_", true, number, 8);
        let outer = wrap("Global_3C_u64_3E_", false, inner, 8);
        let longer = wrap("Global_3C_u32_3E_", false, inner, 16);
        let own = wrap("Global", false, inner, 8);
        assert_eq!(unwrapped(&btf, outer), number);
        assert_eq!(unwrapped(&btf, longer), longer, "it has bytes beside the value");
        assert_eq!(unwrapped(&btf, own), own, "a user's own type");
    }
}
