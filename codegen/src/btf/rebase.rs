//! The BTF of a kernel module with its own base, converted to split BTF on the kernel's types.
//!
//! Since Linux 6.12, section `.BTF.base` of a module contains the kernel types that the module refers to, without their
//! members, so that the module's BTF stays valid when the kernel is built again (Documentation/bpf/btf.rst). The ids in
//! the module's BTF refer to this base. This file replaces them by the ids of the kernel's types of the same name. It
//! does not read files.

use std::collections::HashMap;

use super::{Btf, Composite, Datasec, Enum, Kind, Member, Param, SecVar, StringRef, Type, TypeId};
use crate::error::{Code, Diagnostic, Result};

impl Btf {
    /// Returns a table of this kernel's types, followed by the types of a module. `module` is a table of the module's
    /// base (the first `base` types) and the module's types.
    ///
    /// # Errors
    /// `BadBtf` if the kernel does not have a type of the base, or if the resulting table is invalid.
    pub fn rebase(&self, module: &Self, base: usize) -> Result<Self> {
        let mut named: HashMap<&str, Vec<TypeId>> = HashMap::new();
        for (id, ty) in self.iter() {
            let name = self.str(ty.name);
            if !name.is_empty() {
                named.entry(name).or_default().push(id);
            }
        }
        let own = |index: usize| TypeId(u32::try_from(self.len() + index - base).unwrap_or(u32::MAX));
        let mut ids = Vec::with_capacity(module.len());
        for (id, ty) in module.iter() {
            ids.push(match id.index() {
                0 => TypeId::VOID,
                index if index >= base => own(index),
                _ => self.counterpart(&named, module.str(ty.name), &ty.kind).ok_or_else(|| missing(module, id))?,
            });
        }
        let before = u32::try_from(self.strings.len()).unwrap_or(u32::MAX);
        let string =
            |string: StringRef| if string.0 == 0 { string } else { StringRef(before.saturating_add(string.0)) };
        let mut table = self.clone();
        table.strings.push_str(&module.strings);
        let id = |id: TypeId| ids[id.index()];
        table.types.extend(
            module.types[base..].iter().map(|ty| Type { name: string(ty.name), kind: ty.kind.with(id, string) }),
        );
        table.checked()
    }

    /// Returns the kernel's type for a type of a module's base, given by its name and kind.
    fn counterpart(&self, named: &HashMap<&str, Vec<TypeId>>, name: &str, kind: &Kind) -> Option<TypeId> {
        let candidates = || named.get(name).into_iter().flatten().copied();
        let find = |wanted: &dyn Fn(&Kind) -> bool| candidates().find(|id| wanted(&self.get(*id).kind));
        match kind {
            Kind::Int(_) | Kind::Float(_) => find(&|theirs| theirs == kind),
            Kind::Struct(Composite { size, .. }) => {
                find(&|theirs| matches!(theirs, Kind::Struct(theirs) if theirs.size == *size))
            }
            Kind::Union(Composite { size, .. }) => {
                find(&|theirs| matches!(theirs, Kind::Union(theirs) if theirs.size == *size))
            }
            Kind::Enum(Enum { size, .. }) => {
                find(&|theirs| matches!(theirs, Kind::Enum(theirs) if *size == 0 || theirs.size == *size))
            }
            // A base only declares types behind pointers. Prefer the kernel's definition to a declaration.
            Kind::Fwd { union: false } => {
                find(&|theirs| matches!(theirs, Kind::Struct(_))).or_else(|| find(&|theirs| theirs == kind))
            }
            Kind::Fwd { union: true } => {
                find(&|theirs| matches!(theirs, Kind::Union(_))).or_else(|| find(&|theirs| theirs == kind))
            }
            // A base contains no other kinds.
            _ => None,
        }
    }
}

fn missing(module: &Btf, id: TypeId) -> Diagnostic {
    let size = module.size_of(id).map(|size| format!(" of {size} bytes")).unwrap_or_default();
    let message =
        format!("the module refers to `{}`{size}, which the kernel's BTF does not have", module.declaration(id, ""));
    Diagnostic::new(Code::BadBtf, message).with_help("pass the BTF of the kernel that the module was built for")
}

impl Kind {
    /// Returns the kind with each type id and string reference mapped by these functions.
    pub(crate) fn with(&self, id: impl Fn(TypeId) -> TypeId, mut string: impl FnMut(StringRef) -> StringRef) -> Self {
        let mut composite = |it: &Composite| {
            let member = |member: &Member| Member { name: string(member.name), ty: id(member.ty), ..*member };
            Composite { members: it.members.iter().map(member).collect(), ..*it }
        };
        match self {
            Self::Void | Self::Int(_) | Self::Fwd { .. } | Self::Float(_) | Self::Unknown(_) => self.clone(),
            Self::Ptr(to) => Self::Ptr(id(*to)),
            Self::Array { element, index, len } => Self::Array { element: id(*element), index: id(*index), len: *len },
            Self::Struct(it) => Self::Struct(composite(it)),
            Self::Union(it) => Self::Union(composite(it)),
            Self::Enum(it) => Self::Enum(Enum {
                values: it.values.iter().map(|(name, value)| (string(*name), *value)).collect(),
                ..*it
            }),
            Self::Typedef(to) => Self::Typedef(id(*to)),
            Self::Volatile(to) => Self::Volatile(id(*to)),
            Self::Const(to) => Self::Const(id(*to)),
            Self::Restrict(to) => Self::Restrict(id(*to)),
            Self::Func { proto, linkage } => Self::Func { proto: id(*proto), linkage: *linkage },
            Self::FuncProto { returns, params } => Self::FuncProto {
                returns: id(*returns),
                params: params.iter().map(|it| Param { name: string(it.name), ty: id(it.ty) }).collect(),
            },
            Self::Var { ty, linkage } => Self::Var { ty: id(*ty), linkage: *linkage },
            Self::Datasec(it) => {
                let vars = it.vars.iter().map(|var| SecVar { ty: id(var.ty), ..*var });
                Self::Datasec(Datasec { vars: vars.collect(), ..*it })
            }
            Self::DeclTag { ty, component, attribute } => {
                Self::DeclTag { ty: id(*ty), component: *component, attribute: *attribute }
            }
            Self::TypeTag { ty, attribute } => Self::TypeTag { ty: id(*ty), attribute: *attribute },
        }
    }

    /// Calls `each` with every type id, in the order of the format.
    pub(crate) fn each_id(&self, mut each: impl FnMut(TypeId)) {
        match self {
            Self::Void | Self::Int(_) | Self::Enum(_) | Self::Fwd { .. } | Self::Float(_) | Self::Unknown(_) => {}
            Self::Ptr(id) | Self::Typedef(id) | Self::Volatile(id) | Self::Const(id) | Self::Restrict(id) => each(*id),
            Self::TypeTag { ty: id, .. } | Self::DeclTag { ty: id, .. } | Self::Var { ty: id, .. } => each(*id),
            Self::Func { proto, .. } => each(*proto),
            Self::Array { element, index, .. } => [*element, *index].into_iter().for_each(each),
            Self::Struct(it) | Self::Union(it) => it.members.iter().for_each(|member| each(member.ty)),
            Self::FuncProto { returns, params } => {
                each(*returns);
                params.iter().for_each(|param| each(param.ty));
            }
            Self::Datasec(it) => it.vars.iter().for_each(|var| each(var.ty)),
        }
    }

    /// Calls `each` with every string, in the order of the format.
    pub(crate) fn each_string(&self, mut each: impl FnMut(StringRef)) {
        match self {
            Self::Struct(it) | Self::Union(it) => it.members.iter().for_each(|member| each(member.name)),
            Self::Enum(it) => it.values.iter().for_each(|(name, _)| each(*name)),
            Self::FuncProto { params, .. } => params.iter().for_each(|param| each(param.name)),
            _ => {}
        }
    }
}
