//! Types that neither variables nor maps use: types requested by name, contexts of programs, and records of ring
//! buffers and perf buffers.

use skelgen_abi::uapi::MapType;

use super::missing::{no_types, similar_type};
use crate::btf::{Btf, Kind, TypeId};
use crate::error::Error;
use crate::model::BpfObject;

/// The requested types.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Requested {
    /// The requested types that exist.
    pub found: Vec<TypeId>,
    /// The requested names that no type has.
    pub missing: Vec<String>,
}

impl Requested {
    /// Looks up types by their names in C: `event` or `struct event`.
    #[must_use]
    pub fn find(btf: &Btf, names: &[String]) -> Self {
        let mut this = Self::default();
        for name in names {
            let found = named(btf, name);
            if found.is_empty() {
                this.missing.push(name.clone());
            }
            this.found.extend(found);
        }
        this
    }

    /// Returns the types of the contexts to which programs get pointers.
    #[must_use]
    pub fn contexts(object: &BpfObject) -> Vec<TypeId> {
        let Some(btf) = &object.btf else { return Vec::new() };
        let context = |program: &crate::model::Program| {
            let function = &object.functions[program.function.0 as usize];
            let Kind::Func { proto, .. } = btf.get(function.info.funcs.first()?.ty).kind else { return None };
            let Kind::FuncProto { params, .. } = &btf.get(proto).kind else { return None };
            let Kind::Ptr(to) = btf.get(btf.resolve(params.first()?.ty)).kind else { return None };
            matches!(btf.get(btf.resolve(to)).kind, Kind::Struct(_) | Kind::Union(_)).then_some(to)
        };
        object.programs.iter().filter_map(context).collect()
    }

    /// Returns the types of the records that the definitions of ring buffers and perf event arrays declare.
    #[must_use]
    pub fn records(object: &BpfObject) -> Vec<TypeId> {
        let Some(btf) = &object.btf else { return Vec::new() };
        let record = |map: &crate::model::Map| {
            let ty = map.value_type.filter(|_| {
                matches!(map.def.map_type, MapType::RINGBUF | MapType::USER_RINGBUF | MapType::PERF_EVENT_ARRAY)
            });
            ty.filter(|&ty| matches!(btf.get(btf.resolve(ty)).kind, Kind::Struct(_) | Kind::Union(_)))
        };
        object.maps.iter().filter_map(record).collect()
    }

    /// Returns the types that exist.
    ///
    /// # Errors
    /// [`Code::NoSuchType`](crate::error::Code::NoSuchType) if no type has one of the names.
    pub fn all(self, btf: &Btf) -> Result<Vec<TypeId>, Error> {
        if self.missing.is_empty() {
            return Ok(self.found);
        }
        Err(no_types(&self.missing, self.missing.iter().find_map(|name| similar_type(btf, name))))
    }
}

/// Returns the structs, unions, enums, and typedefs of these, with this name in C: `event` or `struct event`.
pub(super) fn named(btf: &Btf, name: &str) -> Vec<TypeId> {
    let mut words = name.split_whitespace();
    let (kind, name_only) = match (words.next(), words.next(), words.next()) {
        (Some(kind), Some(name), None) => (Some(kind), name),
        (Some(name), None, None) => (None, name),
        _ => (None, ""),
    };
    let is_meant = |id: TypeId, ty: &Kind| match (ty, kind) {
        (Kind::Struct(_), None | Some("struct")) | (Kind::Union(_), None | Some("union")) => true,
        (Kind::Enum(it), None | Some("enum")) => it.size > 0,
        (Kind::Typedef(_), None) => {
            matches!(btf.get(btf.resolve(id)).kind, Kind::Struct(_) | Kind::Union(_) | Kind::Enum(_))
        }
        _ => false,
    };
    let of_name =
        btf.iter().filter(|(id, ty)| !name_only.is_empty() && btf.str(ty.name) == name_only && is_meant(*id, &ty.kind));
    of_name.map(|(id, _)| id).collect()
}
