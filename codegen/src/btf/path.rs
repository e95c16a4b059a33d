//! Offsets and CO-RE access paths as C expressions: `config.limits[2]`, `struct task_struct.pid`.

use std::fmt::Write as _;

use skelgen_abi::relocation::RelocationKind;

use super::ext::CoreRelo;
use super::{Btf, Kind, Member, TypeId};

/// The maximum number of nested types in an expression. Only the types of a damaged object can contain themselves.
const MAX_DEPTH: usize = 64;

impl Btf {
    /// Returns the variable at an offset in bytes of a data section, with the member and array elements at that offset:
    /// `config.limits[2]`. Returns `None` outside of the variables, and for types that are not a data section.
    #[must_use]
    pub fn variable_at(&self, section: TypeId, offset: u32) -> Option<String> {
        let Kind::Datasec(section) = &self.try_get(section)?.kind else { return None };
        let end = |start: u32, size: u32| start.saturating_add(size.max(1));
        let found = section.vars.iter().find(|var| (var.offset..end(var.offset, var.size)).contains(&offset))?;
        let Kind::Var { ty, .. } = self.try_get(found.ty)?.kind else { return None };
        Some(format!("{}{}", self.name(found.ty), self.path_to(ty, offset - found.offset)))
    }

    /// Returns the path to the member or array element at an offset in bytes of a type: `.limits[2]`; empty at offset
    /// 0. In the middle of a value, the path ends with the remaining number of bytes: `.pid+2`.
    fn path_to(&self, ty: TypeId, offset: u32) -> String {
        let (mut path, mut ty, mut offset) = (String::new(), ty, u64::from(offset));
        for _ in 0..MAX_DEPTH {
            if offset == 0 {
                return path;
            }
            ty = self.resolve(ty);
            match &self.get(ty).kind {
                Kind::Array { element, .. } => {
                    let Some(size) = self.size_of(*element).filter(|size| *size > 0) else { break };
                    // Writing to a string cannot fail.
                    let _ = write!(path, "[{}]", offset / size);
                    (ty, offset) = (*element, offset % size);
                }
                Kind::Struct(composite) | Kind::Union(composite) => {
                    let begins = |member: &&Member| u64::from(member.bit_offset / 8) <= offset;
                    let holds = |member: &&Member| {
                        let size = self.size_of(member.ty).unwrap_or(0);
                        begins(member) && offset < u64::from(member.bit_offset / 8) + size
                    };
                    let Some(member) = composite.members.iter().find(holds) else { break };
                    if !self.str(member.name).is_empty() {
                        let _ = write!(path, ".{}", self.str(member.name));
                    }
                    (ty, offset) = (member.ty, offset - u64::from(member.bit_offset / 8));
                }
                _ => break,
            }
        }
        format!("{path}+{offset}")
    }

    /// Returns a CO-RE relocation in words, such as "offset of `struct task_struct.pid`".
    #[must_use]
    pub fn relocation(&self, relocation: &CoreRelo) -> String {
        let Some(kind) = RelocationKind::of(relocation.kind) else {
            return format!("relocation of unknown kind {} for type {}", relocation.kind, relocation.ty);
        };
        if self.try_get(relocation.ty).is_none() {
            return format!("{} type {}", kind.quantity(), relocation.ty);
        }
        format!("{} `{}`", kind.quantity(), self.accessed(relocation, kind))
    }

    /// Returns the C name of the member, enumerator or type that a relocation refers to: `struct task_struct.pid`,
    /// `enum state::RUNNING`, `struct task_struct`.
    fn accessed(&self, relocation: &CoreRelo, kind: RelocationKind) -> String {
        let mut text = self.declaration(relocation.ty, "");
        if kind.concerns_type() {
            return text;
        }
        let access = self.str(relocation.access);
        let mut indexes = access.split(':').map_while(|index| index.parse::<u32>().ok());
        let first = indexes.next().unwrap_or(0);
        let mut ty = self.resolve(relocation.ty);
        if kind.concerns_enumerator() {
            if let Kind::Enum(all) = &self.get(ty).kind {
                let name = usize::try_from(first).ok().and_then(|first| all.values.get(first));
                let _ = write!(text, "::{}", name.map_or("?", |(name, _)| self.str(*name)));
            }
            return text;
        }
        if first > 0 {
            let _ = write!(text, "[{first}]");
        }
        for index in indexes {
            ty = self.resolve(ty);
            match &self.get(ty).kind {
                Kind::Struct(composite) | Kind::Union(composite) => {
                    let Some(member) = usize::try_from(index).ok().and_then(|at| composite.members.get(at)) else {
                        break;
                    };
                    if !self.str(member.name).is_empty() {
                        let _ = write!(text, ".{}", self.str(member.name));
                    }
                    ty = member.ty;
                }
                Kind::Array { element, .. } => {
                    let _ = write!(text, "[{index}]");
                    ty = *element;
                }
                _ => break,
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Composite, Datasec, Int, Linkage, SecVar, Type};
    use super::*;

    #[test]
    fn offsets_are_expressions() {
        let mut btf = Btf::new();
        let mut add = |name: &str, kind| {
            let name = btf.add_string(name);
            btf.push(Type { name, kind })
        };
        let int =
            add("int", Kind::Int(Int { size: 4, bits: 32, bit_offset: 0, signed: true, char: false, bool: false }));
        let pair = add("", Kind::Array { element: int, index: int, len: 2 });
        let node = add("node", Kind::Struct(Composite::default()));
        let nodes = add("", Kind::Array { element: node, index: int, len: 3 });
        let var = add("all", Kind::Var { ty: nodes, linkage: Linkage::Global });
        let vars = vec![SecVar { ty: var, offset: 8, size: 36 }];
        let section = add(".data", Kind::Datasec(Datasec { size: 44, vars }));
        let (id, limits) = (btf.add_string("id"), btf.add_string("limits"));
        let member = |name, ty, bit_offset| Member { name, ty, bit_offset, bit_size: 0 };
        let members = vec![member(id, int, 0), member(limits, pair, 32)];
        btf.get_mut(node).kind = Kind::Struct(Composite { size: 12, members, bitfields: false });
        let at = |offset| btf.variable_at(section, offset);
        assert_eq!(at(8).as_deref(), Some("all"));
        assert_eq!(at(20).as_deref(), Some("all[1]"));
        assert_eq!(at(28).as_deref(), Some("all[1].limits[1]"));
        assert_eq!(at(29).as_deref(), Some("all[1].limits[1]+1"));
        assert_eq!([at(0), at(44), btf.variable_at(int, 0), btf.variable_at(TypeId(99), 0)], [None, None, None, None]);

        let access = btf.add_string("0:1:1");
        let mut relocation = CoreRelo { insn: crate::insn::InsnIndex(0), ty: node, access, kind: 0 };
        assert_eq!(btf.relocation(&relocation), "offset of `struct node.limits[1]`");
        relocation.kind = 8;
        assert_eq!(btf.relocation(&relocation), "existence of `struct node`");
        relocation.kind = 99;
        assert!(btf.relocation(&relocation).contains("unknown kind 99"));
    }
}
