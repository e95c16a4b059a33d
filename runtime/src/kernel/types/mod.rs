//! Types as BTF has them, to be looked at: the running kernel's, a module's, an object's.
//!
//! Only what asks about the insides of types needs this (`struct_ops`, relocation); names alone are found by [`super::btf`] without an
//! index. Bytes that make no sense give nothing, not a panic and not a loop without end. Knows types; not who asks.

mod files;
mod look;
#[cfg(test)]
pub(crate) mod testing;

use std::rc::Rc;

use super::btf::tail_len;
use crate::error::{Error, Result};
use crate::sys::btf::MappedFile;

pub(crate) use files::{Finder, is_running, kernel, modules};

/// Numbers of kinds (`BTF_KIND_*` of `linux/btf.h`).
pub(crate) mod kind {
    pub(crate) const VOID: u32 = 0;
    pub(crate) const INT: u32 = 1;
    pub(crate) const PTR: u32 = 2;
    pub(crate) const ARRAY: u32 = 3;
    pub(crate) const STRUCT: u32 = 4;
    pub(crate) const UNION: u32 = 5;
    pub(crate) const ENUM: u32 = 6;
    pub(crate) const FWD: u32 = 7;
    pub(crate) const TYPEDEF: u32 = 8;
    pub(crate) const VOLATILE: u32 = 9;
    pub(crate) const CONST: u32 = 10;
    pub(crate) const RESTRICT: u32 = 11;
    pub(crate) const FUNC: u32 = 12;
    pub(crate) const FUNC_PROTO: u32 = 13;
    pub(crate) const VAR: u32 = 14;
    pub(crate) const DATASEC: u32 = 15;
    pub(crate) const FLOAT: u32 = 16;
    pub(crate) const DECL_TAG: u32 = 17;
    pub(crate) const TYPE_TAG: u32 = 18;
    pub(crate) const ENUM64: u32 = 19;

    /// What C calls a kind where it has a word for it.
    pub(crate) fn word(kind: u32) -> &'static str {
        match kind {
            STRUCT => "struct ",
            UNION => "union ",
            ENUM | ENUM64 => "enum ",
            _ => "",
        }
    }
}

/// How many types one behind another are looked through, typedefs and modifiers or arrays: as many as the kernel does.
const MAX_DEPTH: u32 = 32;

/// The types of the kernel, of a module or of an object.
pub(crate) struct Types {
    /// Of a module: the kernel's, whose numbering its own continues.
    base: Option<Rc<Types>>,
    bytes: Bytes,
    types: (usize, usize),
    strings: (usize, usize),
    /// Where each type begins among the types, in the order of their ids.
    offsets: Vec<u32>,
    /// Bytes of a pointer: this machine's for the kernel's types, eight for a program's.
    pointer: u64,
}

enum Bytes {
    Mapped(MappedFile),
    Owned(Vec<u8>),
    Constant(&'static [u8]),
}

/// A type's first twelve bytes.
#[derive(Clone, Copy, Debug)]
struct Head {
    name: u32,
    kind: u32,
    flag: bool,
    count: usize,
    /// Its size, or the type that it is about.
    size_or_type: u32,
    /// Where what follows begins, in the bytes.
    tail: usize,
}

impl Types {
    /// The types of a program.
    pub(crate) fn of_program(bytes: Vec<u8>) -> Result<Self> {
        Self::new(Bytes::Owned(bytes), None, 8).ok_or_else(|| Error::invalid("the program's BTF cannot be understood"))
    }

    /// The types of an object.
    pub(crate) fn of_object(bytes: &'static [u8]) -> Result<Self> {
        Self::new(Bytes::Constant(bytes), None, 8)
            .ok_or_else(|| Error::invalid("the object's BTF cannot be understood"))
    }

    fn new(bytes: Bytes, base: Option<Rc<Self>>, pointer: u64) -> Option<Self> {
        let mut this = Self { base, bytes, types: (0, 0), strings: (0, 0), offsets: Vec::new(), pointer };
        this.index()?;
        Some(this)
    }

    fn bytes(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Mapped(mapped) => mapped,
            Bytes::Owned(bytes) => bytes,
            Bytes::Constant(bytes) => bytes,
        }
    }

    fn word(&self, at: usize) -> Option<u32> {
        self.bytes().get(at..)?.first_chunk().map(|&bytes| u32::from_ne_bytes(bytes))
    }

    /// Finds where sections and types begin.
    fn index(&mut self) -> Option<()> {
        // Magic 0xeb9f in this machine's order, version 1.
        if self.bytes().get(..2)? != 0xeb9f_u16.to_ne_bytes() || *self.bytes().get(2)? != 1 {
            return None;
        }
        let field = |at| self.word(at).and_then(|word| usize::try_from(word).ok());
        let header = field(4)?;
        let section = |at: usize| Some((header.checked_add(field(at)?)?, field(at + 4)?));
        (self.types, self.strings) = (section(8)?, section(16)?);
        let (begin, len) = self.types;
        let mut offsets = Vec::with_capacity(len / 40);
        let mut at = begin;
        while at < begin.checked_add(len)? {
            let head = self.head_at(at)?;
            offsets.push(u32::try_from(at - begin).ok()?);
            at = head.tail.checked_add(tail_len(head.kind, head.count)?)?;
        }
        self.offsets = offsets;
        (at <= self.bytes().len()).then_some(())
    }

    fn head_at(&self, at: usize) -> Option<Head> {
        let &[a, b, c, d, e, f, g, h, i, j, k, l] = self.bytes().get(at..)?.first_chunk()?;
        let info = u32::from_ne_bytes([e, f, g, h]);
        Some(Head {
            name: u32::from_ne_bytes([a, b, c, d]),
            // Since 7.1 the count has 24 bits and the kind 7; before, the additional ones are zero.
            kind: info >> 24 & 0x7f,
            flag: info >> 31 != 0,
            count: usize::try_from(info & 0xff_ffff).ok()?,
            size_or_type: u32::from_ne_bytes([i, j, k, l]),
            tail: at + 12,
        })
    }

    /// The first id that is its own.
    fn first(&self) -> u32 {
        let own = |types: &Self| u32::try_from(types.offsets.len()).unwrap_or(u32::MAX);
        self.base.as_ref().map_or(1, |base| base.first().saturating_add(own(base)))
    }

    fn owner(&self, id: u32) -> &Self {
        match &self.base {
            Some(base) if id < self.first() => base.owner(id),
            _ => self,
        }
    }

    fn head(&self, id: u32) -> Option<Head> {
        let owner = self.owner(id);
        let index = usize::try_from(id.checked_sub(owner.first())?).ok()?;
        let offset = usize::try_from(*owner.offsets.get(index)?).ok()?;
        owner.head_at(owner.types.0 + offset)
    }

    /// The bytes from the beginning of a string on.
    fn string_bytes(&self, offset: u32) -> &[u8] {
        let mut offset = usize::try_from(offset).unwrap_or(usize::MAX);
        if let Some(base) = &self.base {
            match offset.checked_sub(base.strings.1) {
                Some(own) => offset = own,
                None => return base.string_bytes(u32::try_from(offset).unwrap_or(0)),
            }
        }
        offset.checked_add(self.strings.0).and_then(|at| self.bytes().get(at..)).unwrap_or_default()
    }

    /// A string; empty if it is not there or is no text.
    pub(crate) fn string(&self, offset: u32) -> &str {
        let rest = self.string_bytes(offset);
        let end = rest.iter().position(|&byte| byte == 0).unwrap_or(0);
        std::str::from_utf8(&rest[..end]).unwrap_or_default()
    }

    /// Whether a string is this one.
    fn is_string(&self, offset: u32, wanted: &str) -> bool {
        self.string_bytes(offset).strip_prefix(wanted.as_bytes()).is_some_and(|rest| rest.first() == Some(&0))
    }

    /// Hands each type of its own with a name to `take`: id, kind and the bytes from the beginning of its name on.
    pub(crate) fn each_named<'a>(&'a self, mut take: impl FnMut(u32, u32, &'a [u8])) {
        for (id, &offset) in (self.first()..).zip(&self.offsets) {
            let head = usize::try_from(offset).ok().and_then(|offset| self.head_at(self.types.0 + offset));
            if let Some(head) = head.filter(|head| head.name != 0) {
                take(id, head.kind, self.string_bytes(head.name));
            }
        }
    }

    /// The id of the function of this name.
    pub(crate) fn find_function(&self, name: &str) -> Option<u32> {
        self.find(kind::FUNC, name)
    }

    fn find_struct(&self, name: &str) -> Option<u32> {
        self.find(kind::STRUCT, name)
    }

    fn find(&self, kind: u32, name: &str) -> Option<u32> {
        let ids = (self.first()..).take(self.offsets.len());
        ids.zip(&self.offsets).find_map(|(id, &offset)| {
            let head = self.head_at(self.types.0 + usize::try_from(offset).ok()?)?;
            (head.kind == kind && self.is_string(head.name, name)).then_some(id)
        })
    }
}
