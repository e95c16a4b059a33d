//! One pass over the types of BTF that finds the wanted names.
//!
//! Most types are skipped by their kind, and most others by the first eight bytes of their name.

use super::Wanted;
use crate::btf::format::{Gap, Layout};

/// The strings of BTF. Those of a module continue those of vmlinux.
#[derive(Clone, Copy, Debug)]
pub(super) struct Strings<'a> {
    pub(super) base: &'a [u8],
    pub(super) own: &'a [u8],
}

impl<'a> Strings<'a> {
    /// Returns the bytes from an offset on; empty if the offset is behind the last string.
    #[inline]
    fn at(self, offset: u32) -> &'a [u8] {
        let offset = offset as usize;
        match offset.checked_sub(self.base.len()) {
            Some(offset) => self.own.get(offset..).unwrap_or_default(),
            None => &self.base[offset..],
        }
    }
}

/// Why no more types can be read.
#[derive(Debug)]
pub(super) enum Stop {
    /// The BTF ends inside of a type.
    Cut,
    /// The size of a type is unknown.
    Gap(Gap),
}

/// Finds names. The ids of the types begin after `last`. Fails if a type cannot be read and a name is still missing.
pub(super) fn find(
    types: &[u8],
    strings: Strings<'_>,
    layout: &Layout,
    last: u32,
    wanted: &mut [Wanted<'_>],
) -> Result<(), Stop> {
    let filter = Filter::new(wanted);
    let mut left = wanted.iter().filter(|wanted| wanted.is_open()).count();
    for head in (Heads { rest: types, layout, id: last }) {
        if left == 0 {
            break;
        }
        let Head { id, name, kind } = head?;
        if !filter.has_kind(kind) {
            continue;
        }
        let name = strings.at(name);
        if filter.has_slot(slot(name)) {
            for wanted in wanted.iter_mut().filter(|wanted| wanted.is_open()) {
                if u32::from(wanted.kind.btf_kind()) == kind && is(name, wanted.name.as_bytes()) {
                    wanted.id = Some(id);
                    left -= 1;
                }
            }
        }
    }
    Ok(())
}

/// Returns the number of types.
pub(super) fn count(types: &[u8], layout: &Layout) -> Result<u32, Stop> {
    (Heads { rest: types, layout, id: 0 }).try_fold(0, |_, head| head.map(|head| head.id))
}

/// The part of a type that every kind has, without the size.
#[derive(Clone, Copy, Debug)]
struct Head {
    id: u32,
    /// The offset of the name.
    name: u32,
    kind: u32,
}

/// An iterator over the types of BTF.
struct Heads<'a> {
    rest: &'a [u8],
    layout: &'a Layout,
    /// The id of the last type.
    id: u32,
}

impl Iterator for Heads<'_> {
    type Item = Result<Head, Stop>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let Some(&head) = self.rest.first_chunk::<8>() else {
            return (!self.rest.is_empty()).then_some(Err(Stop::Cut));
        };
        let word = u64::from_ne_bytes(head);
        let (name, info) = if cfg!(target_endian = "little") {
            (word as u32, (word >> 32) as u32)
        } else {
            ((word >> 32) as u32, word as u32)
        };
        // Since 7.1 the count has 24 bits and the kind seven; older kernels leave the additional bits zero.
        let (kind, count) = (info >> 24 & 0x7f, (info & 0xff_ffff) as usize);
        self.id = self.id.wrapping_add(1);
        let Some(tail) = self.layout.tail_len(kind, count) else {
            return Some(Err(Stop::Gap(Gap { id: self.id, kind })));
        };
        let Some(rest) = self.rest.get(12 + tail..) else { return Some(Err(Stop::Cut)) };
        self.rest = rest;
        Some(Ok(Head { id: self.id, name, kind }))
    }
}

/// The number of slots: large enough that the names of one object share few.
const SLOTS: usize = 4096;

/// The kinds and names that are wanted.
struct Filter {
    /// Bit n is set if a type of kind n is wanted.
    kinds: u32,
    /// Bit n is set if n is the [`slot`] of a wanted name.
    slots: [u64; SLOTS / 64],
}

impl Filter {
    fn new(wanted: &[Wanted<'_>]) -> Self {
        let mut this = Self { kinds: 0, slots: [0; SLOTS / 64] };
        for wanted in wanted.iter().filter(|wanted| wanted.is_open()) {
            let slot = slot(wanted.name.as_bytes());
            this.kinds |= 1 << wanted.kind.btf_kind();
            this.slots[slot / 64] |= 1 << (slot % 64);
        }
        this
    }

    fn has_kind(&self, kind: u32) -> bool {
        self.kinds.checked_shr(kind).is_some_and(|kinds| kinds & 1 != 0)
    }

    fn has_slot(&self, slot: usize) -> bool {
        self.slots[slot / 64] & 1 << (slot % 64) != 0
    }
}

/// Returns a number below [`SLOTS`] that depends on the bytes before the first NUL, and at most on eight of them.
#[inline]
fn slot(string: &[u8]) -> usize {
    let word = match string.first_chunk() {
        Some(&bytes) => u64::from_le_bytes(bytes),
        None => string.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte)),
    };
    let zeros = zero_bytes(word);
    let before = if zeros == 0 { word } else { word & ((1 << (zeros.trailing_zeros() & !7)) - 1) };
    // Fibonacci hashing: the upper bits of the product depend on all bits of the word.
    (before.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - SLOTS.trailing_zeros())) as usize
}

/// Returns a word in which the top bit of each byte is set that is zero in `word`, and all other bits are clear.
fn zero_bytes(word: u64) -> u64 {
    const LOW: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    !(((word & LOW) + LOW) | word | LOW)
}

/// Returns whether the string at the beginning of `bytes`, which ends with NUL, is this name.
fn is(bytes: &[u8], name: &[u8]) -> bool {
    bytes.strip_prefix(name).is_some_and(|rest| rest.first() == Some(&0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_bytes_are_exact() {
        assert_eq!(zero_bytes(0x0100_ff80_0001_007f), 0x0080_0000_8000_8000);
        assert_eq!(zero_bytes(u64::MAX), 0);
        assert_eq!(zero_bytes(0), 0x8080_8080_8080_8080);
    }

    #[test]
    fn slots_end_with_the_string() {
        for name in ["", "a", "seven_7", "eight_88", "bpf_task_acquire"] {
            let slot_of = |rest: &str| slot(format!("{name}\0{rest}").as_bytes());
            assert!(["", "b", "other_name\0"].into_iter().all(|rest| slot_of(rest) == slot(name.as_bytes())), "{name}");
        }
        assert_ne!(slot(b"task_a"), slot(b"task_b"));
    }
}
