//! Where the members of a struct or a union are in Rust: which become fields, which can only be accessors, and what alignment the
//! Rust type has.
//!
//! The bytes are those that BTF tells. BTF tells no alignment, so a Rust type has the one that its members ask for; where their
//! places show that the source asked for less (`packed`), it is 1, and where the source asked for more (`aligned`), the padding
//! is there and the alignment is not. Both are safe: what programs share with us is never accessed through references.
//!
//! Members of anonymous structs and unions are the outer one's, as in C. Knows nothing of names in Rust and of tokens.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::btf::{Btf, Composite, Kind, Member, TypeId};

/// How many members are looked at for one type, those of anonymous ones included, and how many anonymous ones. More than any
/// source has; damaged types could go on doubling.
const MAX_MEMBERS: usize = 1 << 17;
const MAX_ANONYMOUS: usize = 1 << 9;

/// The greatest alignment that a Rust type of ours has: that of 128-bit integers.
const MAX_ALIGN: u64 = 16;

/// The shapes of the composite types of a table.
pub(super) struct Layouts<'a> {
    btf: &'a Btf,
    shapes: RefCell<BTreeMap<TypeId, Rc<Shape>>>,
}

/// A struct or union as Rust will have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shape {
    /// Its members in the order of the source, those of anonymous ones among them.
    pub(super) parts: Vec<Part>,
    pub(super) size: u64,
    pub(super) align: u64,
    /// Whether natural alignment would not put every field where it is.
    pub(super) packed: bool,
    /// Whether members that are no fields ask for a greater alignment than the fields.
    pub(super) raised: bool,
}

/// A member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    /// Its name in C; empty only in damaged types.
    pub(super) name: String,
    pub(super) ty: TypeId,
    pub(super) place: Place,
}

/// Where a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// A field at this byte.
    Field { offset: u64, size: u64 },
    /// At this byte, where other members are too.
    Shared { offset: u64, size: u64 },
    /// So many bits from this one on.
    Bits { first: u64, count: u8 },
    /// Nowhere: its type has no size, or it would lie outside.
    Nowhere,
}

impl<'a> Layouts<'a> {
    pub(super) fn new(btf: &'a Btf) -> Self {
        Self { btf, shapes: RefCell::default() }
    }

    /// The alignment of the Rust type for a C type.
    pub(super) fn align(&self, id: TypeId) -> u64 {
        let id = self.btf.resolve(id);
        match &self.btf.get(id).kind {
            Kind::Int(int) => int.size.max(1).into(),
            Kind::Ptr(_) => 8,
            Kind::Float(size @ (4 | 8)) => (*size).into(),
            Kind::Enum(it) => it.size.max(1).into(),
            Kind::Array { element, .. } => self.align(*element),
            Kind::Struct(_) | Kind::Union(_) => self.shape(id).align,
            _ => 1,
        }
    }

    /// The shape of a struct or union; of another type, that of nothing.
    pub(super) fn shape(&self, id: TypeId) -> Rc<Shape> {
        if let Some(known) = self.shapes.borrow().get(&id) {
            return Rc::clone(known);
        }
        let (it, union) = match &self.btf.get(id).kind {
            Kind::Struct(it) => (it, false),
            Kind::Union(it) => (it, true),
            _ => return Rc::new(Shape { parts: Vec::new(), size: 0, align: 1, packed: false, raised: false }),
        };
        let mut parts = Vec::new();
        let size = u64::from(it.size);
        let mut members =
            Members { btf: self.btf, size, left: MAX_MEMBERS, anonymous: MAX_ANONYMOUS, parts: &mut parts };
        members.collect(it, 0, union);
        separate(&mut parts);
        let shape = Rc::new(self.measure(parts, size));
        self.shapes.borrow_mut().insert(id, Rc::clone(&shape));
        shape
    }

    fn measure(&self, parts: Vec<Part>, size: u64) -> Shape {
        let (mut natural, mut wanted) = (1, 1);
        let (mut packed, mut displaced) = (false, false);
        for part in &parts {
            let align = self.align(part.ty);
            match part.place {
                Place::Field { offset, .. } => {
                    natural = natural.max(align);
                    packed |= offset % align != 0;
                }
                Place::Shared { offset, .. } => {
                    wanted = wanted.max(align);
                    displaced |= offset % align != 0;
                }
                Place::Bits { first, count } => {
                    wanted = wanted.max(align);
                    displaced |= first % (align * 8) + u64::from(count) > align * 8;
                }
                Place::Nowhere => {}
            }
        }
        packed |= size % natural != 0;
        let wanted = wanted.min(MAX_ALIGN);
        let raised = !packed && !displaced && wanted > natural && size % wanted == 0;
        let align = match (packed, raised) {
            (true, _) => 1,
            (false, true) => wanted,
            (false, false) => natural,
        };
        Shape { parts, size, align, packed, raised }
    }
}

/// Collects the members of a struct or union, and of the anonymous ones in it.
struct Members<'a, 'p> {
    btf: &'a Btf,
    /// The outermost one's.
    size: u64,
    left: usize,
    anonymous: usize,
    parts: &'p mut Vec<Part>,
}

impl Members<'_, '_> {
    fn collect(&mut self, it: &Composite, base: u64, shared: bool) {
        for member in &it.members {
            if self.left == 0 {
                return;
            }
            self.left -= 1;
            let first = base + u64::from(member.bit_offset);
            let ty = self.btf.resolve(member.ty);
            let name = self.btf.str(member.name);
            let anonymous = name.is_empty() && member.bit_size == 0;
            match &self.btf.get(ty).kind {
                Kind::Struct(_) | Kind::Union(_) if anonymous && self.anonymous == 0 => {
                    self.parts.push(Part { name: String::new(), ty: member.ty, place: Place::Nowhere });
                }
                Kind::Struct(inner) if anonymous => {
                    self.anonymous -= 1;
                    self.collect(inner, first, shared);
                }
                Kind::Union(inner) if anonymous => {
                    self.anonymous -= 1;
                    self.collect(inner, first, true);
                }
                kind => {
                    let place = self.place(kind, member, first, shared);
                    // A bitfield without a name is padding.
                    if !(name.is_empty() && matches!(place, Place::Bits { .. })) {
                        self.parts.push(Part { name: name.to_owned(), ty: member.ty, place });
                    }
                }
            }
        }
    }

    fn place(&self, kind: &Kind, member: &Member, first: u64, shared: bool) -> Place {
        let number = matches!(kind, Kind::Int(_) | Kind::Enum(_));
        // Before bitfields had sizes of their own, their types had fewer bits than bytes.
        let old = match kind {
            Kind::Int(int) if u32::from(int.bits) != int.size * 8 && int.bits != 0 => {
                Some((u64::from(int.bit_offset), int.bits))
            }
            _ => None,
        };
        let Some(size) = self.btf.size_of(member.ty) else { return Place::Nowhere };
        if member.bit_size != 0 || first % 8 != 0 || old.is_some() {
            let whole = u8::try_from(size * 8).unwrap_or(128);
            let (skip, count) = match (member.bit_size, old) {
                (0, Some(old)) => old,
                (0, None) => (0, whole),
                (bits, _) => (0, bits),
            };
            let first = first + skip;
            let inside = first + u64::from(count) <= self.size * 8;
            return if number && inside && count <= 128 { Place::Bits { first, count } } else { Place::Nowhere };
        }
        let offset = first / 8;
        match offset.checked_add(size) {
            Some(end) if end <= self.size && shared => Place::Shared { offset, size },
            Some(end) if end <= self.size => Place::Field { offset, size },
            _ => Place::Nowhere,
        }
    }
}

/// Members of structs do not overlap, but in damaged types: then the later ones are no fields.
fn separate(parts: &mut [Part]) {
    let mut fields: Vec<(u64, u64, &mut Place)> = parts
        .iter_mut()
        .filter_map(|part| match part.place {
            Place::Field { offset, size } => Some((offset, size, &mut part.place)),
            _ => None,
        })
        .collect();
    fields.sort_by_key(|(offset, size, _)| (*offset, *size));
    let mut end = 0;
    for (offset, size, place) in fields {
        if offset < end {
            *place = Place::Shared { offset, size };
        } else {
            end = offset + size;
        }
    }
}
