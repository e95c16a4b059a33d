//! Indexed BTF types: of the running kernel, a module, an object or a program.
//!
//! Used where members and sizes of types are needed (struct_ops, CO-RE relocation, layouts of maps). To find only ids
//! by name, [`crate::kernel::btf`] needs no index. Malformed bytes make a type appear absent, and never cause a panic
//! or an endless loop. Types of unknown kinds are skipped; they have no size and are not compatible with any type. This
//! module does not depend on the users of the types.

mod declaration;
pub(crate) mod format;
mod query;
#[cfg(test)]
pub(crate) mod testing;

use std::borrow::Cow;
use std::ops::Deref;
use std::sync::Arc;

use self::format::{Gap, HEADER, Header, Layout};
pub(crate) use self::query::Member;
use crate::error::{Error, Result, Step};
use crate::sys::btf::MappedFile;

/// The numbers of kinds (`BTF_KIND_*` of `linux/btf.h`).
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
    /// The last kind that this crate knows.
    pub(crate) const LAST: u32 = ENUM64;
    /// The kind of an id without a type. No BTF kind has this number.
    pub(crate) const NONE: u32 = u32::MAX;

    /// Returns the C keyword of a kind, if it has one.
    pub(crate) fn word(kind: u32) -> &'static str {
        match kind {
            STRUCT => "struct ",
            UNION => "union ",
            ENUM | ENUM64 => "enum ",
            _ => "",
        }
    }
}

/// The maximum number of nested typedefs, modifiers or array dimensions that are resolved, as in the kernel.
const MAX_DEPTH: u32 = 32;

/// The types of the kernel, of a module or of an object.
pub(crate) struct Types {
    /// For a module, the types of vmlinux: the module's ids and string offsets begin after those of vmlinux.
    base: Option<Arc<Types>>,
    bytes: Bytes,
    /// The offset of the types, in bytes.
    types: usize,
    /// The offset and length of the strings, in bytes.
    strings: (usize, usize),
    layout: Layout,
    /// The type at which reading ended early, if not all types could be read.
    gap: Option<Gap>,
    /// The offset of each type within the types, by id.
    offsets: Vec<u32>,
    /// The size of a pointer in bytes: that of this architecture for the kernel's types, eight for types of BPF
    /// objects.
    pointer: u64,
}

pub(crate) enum Bytes {
    Mapped(MappedFile),
    Owned(Vec<u8>),
    Constant(&'static [u8]),
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(mapped) => mapped,
            Self::Owned(bytes) => bytes,
            Self::Constant(bytes) => bytes,
        }
    }
}

/// The first twelve bytes of a type.
#[derive(Clone, Copy, Debug)]
struct Head {
    name: u32,
    kind: u32,
    flag: bool,
    count: usize,
    /// The size of the type in bytes, or the type that it refers to; the kind determines which.
    size_or_type: u32,
    /// The offset of the data after the head.
    tail: usize,
}

impl Types {
    /// Indexes the types of BTF that was read from the kernel and is not the kernel's own: of a program or a map. The
    /// error states why the BTF is malformed.
    pub(crate) fn of_program(bytes: Vec<u8>) -> Result<Self, String> {
        Self::new(Bytes::Owned(bytes), None, 8)
    }

    /// Indexes the types of an object.
    pub(crate) fn of_object(bytes: &'static [u8]) -> Result<Self> {
        let types = Self::new(Bytes::Constant(bytes), None, 8).and_then(|types| match &types.gap {
            Some(gap) => Err(gap.to_string()),
            None => Ok(types),
        });
        types.map_err(|why| {
            Error::malformed(format_args!("the object's BTF is malformed: {why}")).during(Step::ReadKernel)
        })
    }

    pub(crate) fn new(bytes: Bytes, base: Option<Arc<Self>>, pointer: u64) -> Result<Self, String> {
        // The ids of a module's types begin after the last id of vmlinux.
        if let Some(gap) = base.as_ref().and_then(|base| base.gap()) {
            return Err(format!("it continues BTF that cannot be read completely: {gap}"));
        }
        let layout = base.as_ref().map(|base| base.layout.clone()).unwrap_or_default();
        let mut this = Self { base, bytes, types: 0, strings: (0, 0), layout, gap: None, offsets: Vec::new(), pointer };
        this.index()?;
        Ok(this)
    }

    /// Returns the base types that these types extend (split BTF).
    pub(crate) fn base(&self) -> Option<&Arc<Self>> {
        self.base.as_ref()
    }

    /// Returns the type at which reading ended early, if not all types could be read.
    pub(crate) fn gap(&self) -> Option<&Gap> {
        self.gap.as_ref()
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn word(&self, at: usize) -> Option<u32> {
        self.bytes().get(at..)?.first_chunk().map(|&bytes| u32::from_ne_bytes(bytes))
    }

    /// Finds the offsets of sections and types.
    fn index(&mut self) -> Result<(), String> {
        let bytes = self.bytes();
        let header = Header::parse(&bytes[..bytes.len().min(HEADER)], bytes.len() as u64)?;
        let position = |number| usize::try_from(number).map_err(|_| "the BTF is too long");
        let (begin, len) = (position(header.types.offset)?, position(header.types.len)?);
        let strings = (position(header.strings.offset)?, position(header.strings.len)?);
        let layout = Layout::parse(header.layout.of(bytes).unwrap_or_default());
        self.types = begin;
        self.strings = strings;
        if !layout.is_empty() {
            self.layout = layout;
        }
        let mut offsets = Vec::with_capacity(len / 40);
        let (mut at, end) = (begin, begin + len);
        while at < end {
            let cut = || format!("the BTF ends inside of type [{}]", self.first() as usize + offsets.len());
            let head = self.head_at(at).filter(|head| head.tail <= end).ok_or_else(cut)?;
            let Some(tail) = self.layout.tail_len(head.kind, head.count) else {
                let id = self.first().saturating_add(u32::try_from(offsets.len()).unwrap_or(u32::MAX));
                self.gap = Some(Gap { id, kind: head.kind });
                break;
            };
            let next = head.tail.checked_add(tail).filter(|next| *next <= end).ok_or_else(cut)?;
            offsets.push(u32::try_from(at - begin).map_err(|_| "the BTF is too long")?);
            at = next;
        }
        self.offsets = offsets;
        Ok(())
    }

    fn head_at(&self, at: usize) -> Option<Head> {
        let &[a, b, c, d, e, f, g, h, i, j, k, l] = self.bytes().get(at..)?.first_chunk()?;
        let info = u32::from_ne_bytes([e, f, g, h]);
        Some(Head {
            name: u32::from_ne_bytes([a, b, c, d]),
            // Since 7.1 the count has 24 bits and the kind seven; older kernels leave the additional bits zero.
            kind: info >> 24 & 0x7f,
            flag: info >> 31 != 0,
            count: usize::try_from(info & 0xff_ffff).ok()?,
            size_or_type: u32::from_ne_bytes([i, j, k, l]),
            tail: at + 12,
        })
    }

    /// Returns the first type id of this BTF: the id after the last one of the base.
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
        owner.head_at(owner.types + offset)
    }

    /// Returns the bytes from the beginning of a string to the end of the file.
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

    /// Returns a string; empty if it does not exist or is not UTF-8.
    pub(crate) fn string(&self, offset: u32) -> &str {
        let rest = self.string_bytes(offset);
        let end = rest.iter().position(|&byte| byte == 0).unwrap_or(0);
        std::str::from_utf8(&rest[..end]).unwrap_or_default()
    }

    /// Returns a string, with U+FFFD in place of invalid UTF-8; empty if it does not exist.
    pub(crate) fn text(&self, offset: u32) -> Cow<'_, str> {
        let rest = self.string_bytes(offset);
        let end = rest.iter().position(|&byte| byte == 0).unwrap_or(0);
        String::from_utf8_lossy(&rest[..end])
    }

    /// Returns whether the string at an offset is `wanted`.
    fn is_string(&self, offset: u32, wanted: &str) -> bool {
        self.string_bytes(offset).strip_prefix(wanted.as_bytes()).is_some_and(|rest| rest.first() == Some(&0))
    }

    /// Calls `visit` for each named type (of this BTF, not of its base) with the type's id, its kind, and the bytes of
    /// the strings from its name to the end.
    pub(crate) fn each_named<'a>(&'a self, mut visit: impl FnMut(u32, u32, &'a [u8])) {
        for (id, head) in self.heads().filter(|(_, head)| head.name != 0) {
            visit(id, head.kind, self.string_bytes(head.name));
        }
    }

    /// Returns the id of the function with this name.
    pub(crate) fn find_function(&self, name: &str) -> Option<u32> {
        self.find(kind::FUNC, name)
    }

    pub(crate) fn find_struct(&self, name: &str) -> Option<u32> {
        self.find(kind::STRUCT, name)
    }

    fn find(&self, kind: u32, name: &str) -> Option<u32> {
        self.find_named(&[kind], name).next()
    }

    /// Finds the types with this name that are of one of these kinds, without those of the base.
    pub(crate) fn find_named(&self, kinds: &[u32], name: &str) -> impl Iterator<Item = u32> {
        let is_named = |head: &Head| head.name != 0 && self.is_string(head.name, name);
        self.heads().filter(move |(_, head)| kinds.contains(&head.kind) && is_named(head)).map(|(id, _)| id)
    }

    /// Finds the types with this declaration tag, without those of the base.
    pub(crate) fn find_tagged(&self, tag: &str) -> impl Iterator<Item = u32> {
        // The word after the head is the index of a member or parameter, or -1 for the type itself.
        let whole = |head: &Head| self.word(head.tail) == Some(u32::MAX);
        let tags = self
            .heads()
            .filter(move |(_, head)| head.kind == kind::DECL_TAG && self.is_string(head.name, tag) && whole(head));
        tags.map(|(_, head)| head.size_or_type)
    }

    /// Finds the values of the enumerators with this name, without those of the base.
    pub(crate) fn find_enumerators(&self, name: &str) -> impl Iterator<Item = u64> {
        let enums = self.heads().filter(|(_, head)| matches!(head.kind, kind::ENUM | kind::ENUM64));
        enums
            .flat_map(|(id, _)| self.enumerators(id))
            .filter(move |(enumerator, _)| *enumerator == name)
            .map(|(_, value)| value)
    }

    /// Iterates over the types, without those of the base.
    fn heads(&self) -> impl Iterator<Item = (u32, Head)> {
        (self.first()..)
            .zip(&self.offsets)
            .filter_map(|(id, &offset)| Some((id, self.head_at(self.types + usize::try_from(offset).ok()?)?)))
    }
}
