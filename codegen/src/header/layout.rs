//! The layout of a struct in C: the padding that puts each member at its offset, and whether the struct is packed.
//!
//! The compiler places a member at the next offset that its type's alignment allows. BTF has offsets, but no alignment:
//! where a source has `aligned` attributes or gaps, unnamed bitfields of type `long` fill the gap. They do not change the
//! alignment of the struct. This module does not know C's syntax.

use std::collections::HashMap;

use crate::btf::{Btf, Composite, Kind, Member, TypeId};

/// The number of bits of a unit of padding, a `long`.
const UNIT: u64 = 64;

/// The longest gap that unnamed bitfields fill, in bits. An array fills a longer one.
const MOST: u64 = 4096 * 8;

/// A cache of the alignments of structs and unions.
pub(super) type Aligns = HashMap<TypeId, Option<u32>>;

/// A part of a struct or a union, in C's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// The member with this index. It is a bitfield if it has a size in bits.
    Member(usize, Option<u8>),
    /// An unnamed bitfield of this size in bits.
    Bits(u64),
    /// An array of this size in bytes.
    Bytes(u64),
    /// The member with this index, whose offset C cannot express.
    Omitted(usize),
}

/// The layout of a struct or a union.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) parts: Vec<Part>,
    pub(super) packed: bool,
}

impl Layout {
    /// Lays out a struct.
    pub(super) fn of_struct(btf: &Btf, id: TypeId, composite: &Composite, aligns: &mut Aligns) -> Self {
        let places: Vec<Place> =
            (0..).zip(&composite.members).map(|(index, member)| Place::new(btf, index, member, aligns)).collect();
        let mut sorted: Vec<&Place> = places.iter().collect();
        // C compilers write members in order; other compilers may not.
        sorted.sort_by_key(|place| place.begin);
        let natural = places.iter().filter(|place| place.bits.is_some()).map(|place| place.align).max().unwrap_or(1);
        let align = u64::from(btf.align_with(id, aligns).unwrap_or(1)).min(natural);
        let packed = align < natural;
        let mut out = Out { parts: Vec::with_capacity(places.len()), at: 0 };
        for place in sorted {
            match place.bits {
                Some(bits) if place.begin >= out.at => {
                    if place.natural(out.at, packed) != place.begin {
                        out.pad(place.begin);
                    }
                    out.parts.push(Part::Member(place.index, place.bit_size));
                    out.at = place.begin.saturating_add(bits);
                }
                _ => out.parts.push(Part::Omitted(place.index)),
            }
        }
        let end = u64::from(composite.size) * 8;
        if out.at.next_multiple_of(align * 8) != end {
            out.pad(end);
        }
        Self { parts: out.parts, packed }
    }

    /// Lays out a union. If the union is larger than its members, an array sets its size.
    pub(super) fn of_union(btf: &Btf, id: TypeId, composite: &Composite, aligns: &mut Aligns) -> Self {
        let (mut parts, mut largest, mut natural) = (Vec::with_capacity(composite.members.len()), 0, 1);
        for (index, member) in (0..).zip(&composite.members) {
            let place = Place::new(btf, index, member, aligns);
            match place.bits {
                Some(bits) if place.begin == 0 => {
                    parts.push(Part::Member(index, place.bit_size));
                    largest = bits.max(largest);
                    natural = place.align.max(natural);
                }
                _ => parts.push(Part::Omitted(index)),
            }
        }
        let align = u64::from(btf.align_with(id, aligns).unwrap_or(1)).min(natural);
        let size = u64::from(composite.size);
        if largest.next_multiple_of(align * 8) < size * 8 {
            parts.push(Part::Bytes(size));
        }
        Self { parts, packed: align < natural }
    }
}

/// The position of a member.
struct Place {
    index: usize,
    /// The member's offset in bits.
    begin: u64,
    /// The member's size in bits; `None` if its type has no size.
    bits: Option<u64>,
    /// The size of a bitfield in bits.
    bit_size: Option<u8>,
    /// The size of the member's type in bits.
    unit: u64,
    /// The alignment of its type in bytes.
    align: u64,
}

impl Place {
    fn new(btf: &Btf, index: usize, member: &Member, aligns: &mut Aligns) -> Self {
        let unit = btf.size_of(member.ty).and_then(|size| size.checked_mul(8));
        let align = u64::from(btf.align_with(member.ty, aligns).unwrap_or(1));
        let mut begin = u64::from(member.bit_offset);
        let mut bit_size = Some(member.bit_size).filter(|&bits| bits > 0);
        // Before Linux 5.0, a bitfield was a member whose integer type states its bits.
        if let (Kind::Int(int), None) = (&btf.get(btf.resolve(member.ty)).kind, bit_size) {
            if u32::from(int.bits) < int.size * 8 && int.bits > 0 {
                begin += u64::from(int.bit_offset);
                bit_size = Some(int.bits);
            }
        }
        let exists = match &btf.get(btf.resolve(member.ty)).kind {
            Kind::Struct(_) | Kind::Union(_) => true,
            // C has no enums without enumerators.
            Kind::Enum(enumeration) if enumeration.values.is_empty() => btf.name(btf.resolve(member.ty)).is_empty(),
            _ => !btf.str(member.name).is_empty(),
        };
        let bits = unit.map(|unit| bit_size.map_or(unit, u64::from)).filter(|_| exists);
        Self { index, begin, bits, bit_size, unit: unit.unwrap_or(0).max(1), align }
    }

    /// Returns the offset in bits at which the compiler places the member if the previous member ends at `at`.
    fn natural(&self, at: u64, packed: bool) -> u64 {
        match (self.bit_size, packed) {
            (Some(_), true) => at,
            (Some(bits), false) if at % self.unit + u64::from(bits) <= self.unit => at,
            (None, true) => at.next_multiple_of(8),
            (_, false) => at.next_multiple_of(self.align * 8),
        }
    }
}

/// Returns whether a type is a struct or a union: only these can be members without a name.
pub(super) fn is_composite(btf: &Btf, id: TypeId) -> bool {
    matches!(btf.get(btf.resolve(id)).kind, Kind::Struct(_) | Kind::Union(_))
}

/// The parts that were laid out.
struct Out {
    parts: Vec<Part>,
    /// The size of all parts in bits.
    at: u64,
}

impl Out {
    /// Adds padding up to an offset in bits, as unnamed bitfields that do not cross unit boundaries.
    fn pad(&mut self, to: u64) {
        if to.saturating_sub(self.at) > MOST {
            let whole = self.at.next_multiple_of(8);
            self.parts.push(Part::Bytes((to - whole) / 8));
            self.at = whole + (to - whole) / 8 * 8;
        }
        while self.at < to {
            let next = (self.at + 1).next_multiple_of(UNIT).min(to);
            self.parts.push(Part::Bits(next - self.at));
            self.at = next;
        }
    }
}
