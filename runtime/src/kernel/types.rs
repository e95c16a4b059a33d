//! The running kernel's types, to be looked at: what a struct's members are called, where they lie and of which kind they are.
//!
//! Only objects with tables of functions (`struct_ops`) need this; names alone are found by [`super::btf`] without an index. Knows
//! types; not who asks.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::btf::{FOLDER, tail_len};
use crate::error::{Error, Result};
use crate::sys::btf::MappedFile;

/// Numbers of kinds (`BTF_KIND_*` of `linux/btf.h`).
pub(crate) mod kind {
    pub(crate) const PTR: u32 = 2;
    pub(crate) const ARRAY: u32 = 3;
    pub(crate) const STRUCT: u32 = 4;
    pub(crate) const UNION: u32 = 5;
    pub(crate) const FUNC: u32 = 12;
    pub(crate) const FUNC_PROTO: u32 = 13;
}

/// The types of the kernel or of a module.
pub(crate) struct Types {
    /// Of a module: the kernel's, whose numbering its own continues.
    base: Option<Rc<Types>>,
    bytes: Bytes,
    types: (usize, usize),
    strings: (usize, usize),
    /// Where each type begins among the types, in the order of their ids.
    offsets: Vec<u32>,
}

enum Bytes {
    Mapped(MappedFile),
    Owned(Vec<u8>),
}

/// A member of a struct.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Member<'a> {
    pub(crate) name: &'a str,
    pub(crate) ty: u32,
    pub(crate) bit_offset: u32,
    pub(crate) bit_size: u32,
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

/// A struct that was found, and whose it is.
pub(crate) struct Owner {
    pub(crate) types: Rc<Types>,
    /// The module; none for the kernel itself.
    pub(crate) module: Option<String>,
    pub(crate) id: u32,
}

/// Finds structs by name: in the kernel first, then in each module that is loaded.
pub(crate) struct Finder {
    vmlinux: Rc<Types>,
}

impl Finder {
    pub(crate) fn new(path: Option<&Path>) -> Result<Self> {
        let default = Path::new(FOLDER).join("vmlinux");
        Types::read(path.unwrap_or(&default), path.is_none(), None).map(|types| Self { vmlinux: Rc::new(types) })
    }

    pub(crate) fn find(&self, name: &str) -> Option<Owner> {
        if let Some(id) = self.vmlinux.find_struct(name) {
            return Some(Owner { types: Rc::clone(&self.vmlinux), module: None, id });
        }
        let mut modules: Vec<PathBuf> = std::fs::read_dir(FOLDER).ok()?.flatten().map(|entry| entry.path()).collect();
        modules.retain(|path| !path.ends_with("vmlinux"));
        modules.sort();
        for path in modules {
            // A module may go at any moment; then it has not what we look for.
            let Ok(types) = Types::read(&path, true, Some(Rc::clone(&self.vmlinux))) else { continue };
            if let Some(id) = types.find_struct(name) {
                let module = path.file_name().map(|name| name.to_string_lossy().into_owned());
                return Some(Owner { types: Rc::new(types), module, id });
            }
        }
        None
    }
}

impl Types {
    fn read(path: &Path, sysfs: bool, base: Option<Rc<Self>>) -> Result<Self> {
        let failed = |error: std::io::Error| {
            Error::io(format_args!("reading the kernel's BTF at {}", path.display()), &error)
                .note("struct_ops are found there; the kernel needs CONFIG_DEBUG_INFO_BTF")
        };
        let file = File::open(path).map_err(failed)?;
        let len = usize::try_from(file.metadata().map_err(failed)?.len()).unwrap_or(0);
        let mapped = sysfs.then(|| MappedFile::of_sysfs(&file, len)).flatten();
        let bytes = match mapped {
            Some(mapped) => Bytes::Mapped(mapped),
            None => Bytes::Owned(std::fs::read(path).map_err(failed)?),
        };
        let bad = || Error::invalid(format_args!("{} is no BTF of this machine", path.display()));
        let mut this = Self { base, bytes, types: (0, 0), strings: (0, 0), offsets: Vec::new() };
        this.index().ok_or_else(bad)?;
        Ok(this)
    }

    /// The types of a program.
    pub(crate) fn of_program(bytes: Vec<u8>) -> Result<Self> {
        let mut this =
            Self { base: None, bytes: Bytes::Owned(bytes), types: (0, 0), strings: (0, 0), offsets: Vec::new() };
        this.index().ok_or_else(|| Error::invalid("the program's BTF cannot be understood"))?;
        Ok(this)
    }

    fn bytes(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Mapped(mapped) => mapped,
            Bytes::Owned(bytes) => bytes,
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
        let info = self.word(at + 4)?;
        Some(Head {
            name: self.word(at)?,
            // Since 7.1 the count has 24 bits and the kind 7; before, the additional ones are zero.
            kind: info >> 24 & 0x7f,
            flag: info >> 31 != 0,
            count: usize::try_from(info & 0xff_ffff).ok()?,
            size_or_type: self.word(at + 8)?,
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

    fn string(&self, offset: u32) -> &str {
        let mut offset = usize::try_from(offset).unwrap_or(usize::MAX);
        if let Some(base) = &self.base {
            match offset.checked_sub(base.strings.1) {
                Some(own) => offset = own,
                None => return base.string(u32::try_from(offset).unwrap_or(0)),
            }
        }
        let rest = offset.checked_add(self.strings.0).and_then(|at| self.bytes().get(at..)).unwrap_or_default();
        let end = rest.iter().position(|&byte| byte == 0).unwrap_or(0);
        std::str::from_utf8(&rest[..end]).unwrap_or_default()
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
            (head.kind == kind && self.string(head.name) == name).then_some(id)
        })
    }

    /// The name of a type.
    pub(crate) fn name(&self, id: u32) -> &str {
        self.head(id).map_or("", |head| self.owner(id).string(head.name))
    }

    /// The number of a type's kind, 0 for `void`.
    pub(crate) fn kind(&self, id: u32) -> u32 {
        self.head(id).map_or(0, |head| head.kind)
    }

    /// What a pointer points to.
    pub(crate) fn pointee(&self, id: u32) -> Option<u32> {
        self.head(id).filter(|head| head.kind == kind::PTR).map(|head| self.resolve(head.size_or_type))
    }

    /// The type behind typedefs and modifiers.
    pub(crate) fn resolve(&self, mut id: u32) -> u32 {
        while let Some(head) = self.head(id).filter(|head| matches!(head.kind, 8..=11 | 18)) {
            id = head.size_or_type;
        }
        id
    }

    /// The size of a value in bytes.
    pub(crate) fn size(&self, id: u32) -> Option<u64> {
        let id = self.resolve(id);
        let head = self.head(id)?;
        match head.kind {
            kind::PTR => Some(8),
            kind::ARRAY => {
                let owner = self.owner(id);
                let count = owner.word(head.tail + 8)?;
                self.size(owner.word(head.tail)?)?.checked_mul(count.into())
            }
            // INT, STRUCT, UNION, ENUM, FLOAT, ENUM64
            1 | kind::STRUCT | kind::UNION | 6 | 16 | 19 => Some(head.size_or_type.into()),
            _ => None,
        }
    }

    /// The type without modifiers; of an array, that of its elements.
    pub(crate) fn element(&self, id: u32) -> u32 {
        let mut id = self.resolve(id);
        while let Some(head) = self.head(id).filter(|head| head.kind == kind::ARRAY) {
            let Some(element) = self.owner(id).word(head.tail) else { break };
            id = self.resolve(element);
        }
        id
    }

    /// The members of a struct.
    pub(crate) fn members(&self, id: u32) -> Vec<Member<'_>> {
        let owner = self.owner(id);
        let Some(head) = self.head(id).filter(|head| matches!(head.kind, kind::STRUCT | kind::UNION)) else {
            return Vec::new();
        };
        let member = |index: usize| {
            let at = head.tail + index * 12;
            let (name, ty, offset) = (owner.word(at)?, owner.word(at + 4)?, owner.word(at + 8)?);
            let (bit_offset, bit_size) = if head.flag { (offset & 0xff_ffff, offset >> 24) } else { (offset, 0) };
            Some(Member { name: owner.string(name), ty, bit_offset, bit_size })
        };
        (0..head.count).map_while(member).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structs_of_this_kernel() {
        if !Path::new(FOLDER).join("vmlinux").exists() {
            eprintln!("skipped: this kernel has no BTF");
            return;
        }
        let finder = Finder::new(None).unwrap();
        let found = finder.find("list_head").unwrap();
        let members = found.types.members(found.id);
        assert_eq!(
            members.iter().map(|member| (member.name, member.bit_offset)).collect::<Vec<_>>(),
            [("next", 0), ("prev", 64)]
        );
        assert_eq!(found.types.size(found.id), Some(16));
        assert_eq!(found.types.pointee(members[0].ty), Some(found.id));
        assert_eq!((found.types.name(found.id), found.types.kind(found.id)), ("list_head", kind::STRUCT));
        assert!(finder.find("no_such_struct_anywhere").is_none());
    }
}
