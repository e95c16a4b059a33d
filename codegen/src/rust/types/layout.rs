//! The layout of structs and unions in Rust: which members become fields, which members have only accessors, and the
//! alignment of the Rust type.
//!
//! Offsets are those of BTF. BTF does not record alignment, so a Rust type has the alignment of its members. If their
//! offsets show that the source requires less (`packed`), it is 1. If the source requires more (`aligned`), the padding
//! is kept, but not the alignment. Both are safe: memory that is shared with programs is never accessed through
//! references.
//!
//! Members of anonymous structs and unions become members of the outer type, as in C. This module does not know Rust
//! names or tokens.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::btf::{Btf, Composite, Kind, Member, TypeId};

/// The maximum number of members of a type and of its anonymous structs and unions, and the maximum number of these
/// structs and unions. No source has as many; in damaged BTF, their number could double at every level.
const MAX_MEMBERS: usize = 1 << 17;
const MAX_ANONYMOUS: usize = 1 << 9;

/// The greatest alignment of generated types: that of 128-bit integers.
const MAX_ALIGN: u64 = 16;

/// The layouts of the composite types in a table.
pub(super) struct Layouts<'a> {
    btf: &'a Btf,
    shapes: RefCell<BTreeMap<TypeId, Rc<Shape>>>,
}

/// The layout of a struct or union in Rust.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shape {
    /// The members in source order, including those of anonymous members.
    pub(super) parts: Vec<Part>,
    pub(super) size: u64,
    pub(super) align: u64,
    /// Whether natural alignment would change the offset of a field.
    pub(super) packed: bool,
    /// Whether members without fields require a greater alignment than the fields do.
    pub(super) raised: bool,
}

/// A member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    /// The member's name in C. Empty only in damaged types.
    pub(super) name: String,
    pub(super) ty: TypeId,
    pub(super) position: Position,
}

/// The position of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Position {
    /// The member is a field at this offset in bytes.
    Field { offset: u64, size: u64 },
    /// The member shares its bytes with other members, so it has accessors.
    Shared { offset: u64, size: u64 },
    /// A bitfield of `count` bits, beginning at bit `first`.
    Bits { first: u64, count: u8 },
    /// The member is left out: its type has no size, or it is outside the struct.
    Omitted,
}

impl<'a> Layouts<'a> {
    pub(super) fn new(btf: &'a Btf) -> Self {
        Self { btf, shapes: RefCell::default() }
    }

    /// Returns the alignment of the Rust type for a C type.
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

    /// Returns the layout of a struct or union; an empty one for other types.
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
        let (mut natural, mut required) = (1, 1);
        let (mut packed, mut displaced) = (false, false);
        for part in &parts {
            let align = self.align(part.ty);
            match part.position {
                Position::Field { offset, .. } => {
                    natural = natural.max(align);
                    packed |= offset % align != 0;
                }
                Position::Shared { offset, .. } => {
                    required = required.max(align);
                    displaced |= offset % align != 0;
                }
                Position::Bits { first, count } => {
                    required = required.max(align);
                    displaced |= first % (align * 8) + u64::from(count) > align * 8;
                }
                Position::Omitted => {}
            }
        }
        packed |= size % natural != 0;
        let required = required.min(MAX_ALIGN);
        let raised = !packed && !displaced && required > natural && size % required == 0;
        let align = match (packed, raised) {
            (true, _) => 1,
            (false, true) => required,
            (false, false) => natural,
        };
        Shape { parts, size, align, packed, raised }
    }
}

/// Collects the members of a struct or union, including those of anonymous members.
struct Members<'a, 'p> {
    btf: &'a Btf,
    /// The size of the outermost type.
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
                    self.parts.push(Part { name: String::new(), ty: member.ty, position: Position::Omitted });
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
                    let position = self.position(kind, member, first, shared);
                    // An unnamed bitfield is padding.
                    if !(name.is_empty() && matches!(position, Position::Bits { .. })) {
                        self.parts.push(Part { name: name.to_owned(), ty: member.ty, position });
                    }
                }
            }
        }
    }

    fn position(&self, kind: &Kind, member: &Member, first: u64, shared: bool) -> Position {
        let number = matches!(kind, Kind::Int(_) | Kind::Enum(_));
        // Old BTF does not record bitfield sizes: there, the type of a bitfield has fewer bits than its bytes contain.
        let old = match kind {
            Kind::Int(int) if u32::from(int.bits) != int.size * 8 && int.bits != 0 => {
                Some((u64::from(int.bit_offset), int.bits))
            }
            _ => None,
        };
        let Some(size) = self.btf.size_of(member.ty) else { return Position::Omitted };
        if member.bit_size != 0 || first % 8 != 0 || old.is_some() {
            let whole = u8::try_from(size * 8).unwrap_or(128);
            let (skip, count) = match (member.bit_size, old) {
                (0, Some(old)) => old,
                (0, None) => (0, whole),
                (bits, _) => (0, bits),
            };
            let first = first + skip;
            let inside = first + u64::from(count) <= self.size * 8;
            return if number && inside && count <= 128 { Position::Bits { first, count } } else { Position::Omitted };
        }
        let offset = first / 8;
        match offset.checked_add(size) {
            Some(end) if end <= self.size && shared => Position::Shared { offset, size },
            Some(end) if end <= self.size => Position::Field { offset, size },
            _ => Position::Omitted,
        }
    }
}

/// Gives overlapping members accessors instead of fields. Members of structs overlap only in damaged types.
fn separate(parts: &mut [Part]) {
    let mut fields: Vec<(u64, u64, &mut Position)> = parts
        .iter_mut()
        .filter_map(|part| match part.position {
            Position::Field { offset, size } => Some((offset, size, &mut part.position)),
            _ => None,
        })
        .collect();
    fields.sort_by_key(|(offset, size, _)| (*offset, *size));
    let mut end = 0;
    for (offset, size, position) in fields {
        if offset < end {
            *position = Position::Shared { offset, size };
        } else {
            end = offset + size;
        }
    }
}
