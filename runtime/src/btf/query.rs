//! Queries of types: name, kind, size and components.

use super::{Head, MAX_DEPTH, Types, kind};

/// A member of a struct.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Member<'a> {
    pub(crate) name: &'a str,
    pub(crate) ty: u32,
    pub(crate) bit_offset: u32,
    pub(crate) bit_size: u32,
}

/// The encoding of an integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Integer {
    /// `BTF_INT_SIGNED` 1, `BTF_INT_CHAR` 2, `BTF_INT_BOOL` 4.
    pub(crate) encoding: u32,
    /// The offset of a bitfield in bits, in the encoding of BTF before Linux 4.20.
    pub(crate) bit_offset: u32,
}

impl Types {
    /// Returns whether a type with this id exists; 0 is `void`.
    pub(crate) fn has(&self, id: u32) -> bool {
        id == 0 || self.head(id).is_some()
    }

    /// Returns the name of a type.
    pub(crate) fn name(&self, id: u32) -> &str {
        self.head(id).map_or("", |head| self.owner(id).string(head.name))
    }

    /// Returns the kind of a type: 0 for `void`, [`kind::NONE`] if no type has this id.
    pub(crate) fn kind(&self, id: u32) -> u32 {
        let without = if id == 0 { kind::VOID } else { kind::NONE };
        self.head(id).map_or(without, |head| head.kind)
    }

    /// Returns whether the type is a struct or a union.
    pub(crate) fn is_composite(&self, id: u32) -> bool {
        matches!(self.kind(id), kind::STRUCT | kind::UNION)
    }

    /// Returns whether the type is an enumeration.
    pub(crate) fn is_enum(&self, id: u32) -> bool {
        matches!(self.kind(id), kind::ENUM | kind::ENUM64)
    }

    /// Returns the `kind_flag`. For an enumeration it means signed, for a forward declaration a union.
    pub(crate) fn flag(&self, id: u32) -> bool {
        self.head(id).is_some_and(|head| head.flag)
    }

    /// Returns the number of members, enumerators or parameters.
    pub(crate) fn count(&self, id: u32) -> u32 {
        self.head(id).and_then(|head| u32::try_from(head.count).ok()).unwrap_or(0)
    }

    /// Returns the type that a pointer points to.
    pub(crate) fn pointee(&self, id: u32) -> Option<u32> {
        self.referenced(id, kind::PTR).map(|to| self.resolve(to))
    }

    /// Returns the type that a type of this kind refers to: the pointee of a pointer, the return type of a function.
    pub(crate) fn referenced(&self, id: u32, kind: u32) -> Option<u32> {
        self.head(id).filter(|head| head.kind == kind).map(|head| head.size_or_type)
    }

    /// Resolves typedefs and modifiers.
    pub(crate) fn resolve(&self, mut id: u32) -> u32 {
        for _ in 0..MAX_DEPTH {
            match self.head(id).filter(|head| is_transparent(head.kind)) {
                Some(head) => id = head.size_or_type,
                None => break,
            }
        }
        id
    }

    /// Iterates over the names of the typedefs of a type, from the outermost to the innermost.
    pub(crate) fn typedefs(&self, mut id: u32) -> impl Iterator<Item = &str> {
        let names = (0..MAX_DEPTH).map_while(move |_| {
            let head = self.head(id).filter(|head| is_transparent(head.kind))?;
            let name = (head.kind == kind::TYPEDEF).then(|| self.owner(id).string(head.name));
            id = head.size_or_type;
            Some(name)
        });
        names.flatten()
    }

    /// Returns the size of a value in bytes.
    pub(crate) fn size(&self, mut id: u32) -> Option<u64> {
        let mut elements = 1_u64;
        for _ in 0..MAX_DEPTH {
            let head = self.head(id)?;
            let size = match head.kind {
                kind::PTR => self.pointer,
                kind::INT | kind::STRUCT | kind::UNION | kind::ENUM | kind::FLOAT | kind::ENUM64 => {
                    head.size_or_type.into()
                }
                kind::ARRAY => {
                    let (element, count) = self.array(id)?;
                    elements = elements.checked_mul(count.into())?;
                    id = element;
                    continue;
                }
                kind if is_transparent(kind) => {
                    id = head.size_or_type;
                    continue;
                }
                _ => return None,
            };
            return elements.checked_mul(size);
        }
        None
    }

    /// Returns the element type and the length of an array.
    pub(crate) fn array(&self, id: u32) -> Option<(u32, u32)> {
        let head = self.head(id).filter(|head| head.kind == kind::ARRAY)?;
        let owner = self.owner(id);
        Some((owner.word(head.tail)?, owner.word(head.tail + 8)?))
    }

    /// Returns the element type of an array of any number of dimensions, and any other type unchanged.
    pub(crate) fn innermost(&self, id: u32) -> u32 {
        let mut id = self.resolve(id);
        for _ in 0..MAX_DEPTH {
            match self.array(id) {
                Some((element, _)) => id = self.resolve(element),
                None => break,
            }
        }
        id
    }

    /// Returns the encoding of an integer; `None` for other types.
    pub(crate) fn integer(&self, id: u32) -> Option<Integer> {
        let head = self.head(id).filter(|head| head.kind == kind::INT)?;
        let word = self.owner(id).word(head.tail)?;
        Some(Integer { encoding: word >> 24 & 0xf, bit_offset: word >> 16 & 0xff })
    }

    /// Returns a member of a struct or union by its index.
    pub(crate) fn member(&self, id: u32, index: u32) -> Option<Member<'_>> {
        let head = self.composite(id).filter(|head| usize::try_from(index).is_ok_and(|index| index < head.count))?;
        self.owner(id).member_at(&head, index)
    }

    /// Iterates over the members of a struct or union.
    pub(crate) fn members(&self, id: u32) -> impl Iterator<Item = Member<'_>> {
        let owner = self.owner(id);
        let head = self.composite(id);
        let count = if head.is_some() { self.count(id) } else { 0 };
        (0..count).map_while(move |index| owner.member_at(head.as_ref()?, index))
    }

    fn composite(&self, id: u32) -> Option<Head> {
        self.head(id).filter(|head| matches!(head.kind, kind::STRUCT | kind::UNION))
    }

    fn member_at(&self, head: &Head, index: u32) -> Option<Member<'_>> {
        let at = head.tail + usize::try_from(index).ok()? * 12;
        let (name, ty, offset) = (self.word(at)?, self.word(at + 4)?, self.word(at + 8)?);
        let (bit_offset, bit_size) = if head.flag { (offset & 0xff_ffff, offset >> 24) } else { (offset, 0) };
        Some(Member { name: self.string(name), ty, bit_offset, bit_size })
    }

    /// Iterates over the enumerators: names, and values sign-extended to 64 bits.
    pub(crate) fn enumerators(&self, id: u32) -> impl Iterator<Item = (&str, u64)> {
        let owner = self.owner(id);
        let head = self.head(id).filter(|head| matches!(head.kind, kind::ENUM | kind::ENUM64));
        let count = head.map_or(0, |head| head.count);
        (0..count).map_while(move |index| {
            let head = head?;
            let at = head.tail + index * if head.kind == kind::ENUM { 8 } else { 12 };
            let low = owner.word(at + 4)?;
            let value = match head.kind {
                // The kernel and libbpf sign-extend the value even if the flag is not set.
                kind::ENUM => sign_extended(low),
                _ => u64::from(owner.word(at + 8)?) << 32 | u64::from(low),
            };
            Some((owner.string(owner.word(at)?), value))
        })
    }

    /// Iterates over the parameter types of a function prototype.
    pub(crate) fn parameters(&self, id: u32) -> impl Iterator<Item = u32> {
        self.named_parameters(id).map(|(_, ty)| ty)
    }

    /// Iterates over the names and types of the parameters of a function prototype. The parameters of function pointers
    /// have no names.
    pub(crate) fn named_parameters(&self, id: u32) -> impl Iterator<Item = (&str, u32)> {
        let owner = self.owner(id);
        let head = self.head(id).filter(|head| head.kind == kind::FUNC_PROTO);
        let count = head.map_or(0, |head| head.count);
        (0..count).map_while(move |index| {
            let at = head?.tail + index * 8;
            Some((owner.string(owner.word(at)?), owner.word(at + 4)?))
        })
    }
}

/// Returns the number, sign-extended from 32 to 64 bits.
fn sign_extended(word: u32) -> u64 {
    u64::from_ne_bytes(i64::from(i32::from_ne_bytes(word.to_ne_bytes())).to_ne_bytes())
}

/// Returns whether the kind is a typedef or a modifier.
fn is_transparent(kind: u32) -> bool {
    matches!(kind, kind::TYPEDEF | kind::VOLATILE | kind::CONST | kind::RESTRICT | kind::TYPE_TAG)
}
