//! The memory of arenas. It is mapped right after an arena is created, because the kernel rejects programs that use an arena without a user
//! address.
//!
//! The object's variables are at the arena's end, as in libbpf 1.8, so that programs can use its beginning. Kernels that accept
//! references only to the first 512 MiB of an arena require them at the beginning.

use super::parts::Arenas;
use super::state::{created, open_map};
use super::{Executor, at_mut, no_such};
use crate::abi::SectionKind;
use crate::error::{Error, ErrorKind, Result};
use crate::kernel;
use crate::open::OpenMap;
use crate::sys::mmap::{Region, page_size};
use crate::uapi::{MapType, map_flags};
use std::os::fd::AsFd;

/// The memory of an arena.
#[derive(Debug)]
pub(super) struct Arena {
    pub(super) region: Region,
    /// The offset of the object's variables, in bytes.
    pub(super) globals: usize,
}

/// The part of the executor for objects with arenas.
pub(super) static PART: Arenas =
    Arenas { map: Executor::map_arena, fill: Executor::fill_arena, globals: Executor::arena_globals };

impl Executor {
    /// Maps an arena that was created or reused into memory; does nothing for other maps.
    fn map_arena(&mut self, index: u32) -> Result<()> {
        let open = open_map(&self.maps, index)?;
        let Some(created) = created(&self.maps, index).filter(|_| open.row.map_type == MapType::ARENA) else {
            return Ok(());
        };
        let name = &*open.definition.name;
        let len = usize::try_from(open.row.max_entries).ok().and_then(|pages| pages.checked_mul(page_size()));
        let len = len.ok_or_else(|| {
            Error::of(ErrorKind::LimitReached, format_args!("arena `{name}` is too large for this address space"))
        })?;
        let address = usize::try_from(open.row.extra).ok().filter(|&address| address != 0);
        let region = Region::at(created.map.as_fd(), len, address).map_err(|errno| {
            Error::refused(
                format_args!("cannot map arena `{name}` into memory ({len} bytes, address {:#x})", open.row.extra),
                errno,
            )
        })?;
        let globals = self.globals(open, len)?;
        if let Some(created) = at_mut(&mut self.maps, index).and_then(|map| map.created.as_mut()) {
            created.arena = Some(Arena { region, globals });
        }
        Ok(())
    }

    /// Returns the offset of the variables in an arena of this size.
    fn globals(&self, open: &OpenMap, len: usize) -> Result<usize> {
        let name = &*open.definition.name;
        let Some(data) = data_len(open) else {
            return Ok(0);
        };
        let begin =
            data.checked_next_multiple_of(page_size()).and_then(|data| len.checked_sub(data)).ok_or_else(|| {
                Error::invalid(format_args!("arena `{name}` has {len} bytes, but its variables need {data} bytes"))
                    .with_help("make the arena larger: `max_entries` is its size in pages")
            })?;
        if open.row.flags & map_flags::SEGV_ON_FAULT != 0 {
            return Err(Error::invalid(format_args!(
                "arena `{name}` has variables, but with BPF_F_SEGV_ON_FAULT user space cannot allocate pages for them: remove the flag or the variables"
            )));
        }
        let far = kernel::arena::accepts_any_offset(self.probe_request()?)?;
        Ok(if far { begin } else { 0 })
    }

    /// Writes the initial values of an arena's variables.
    fn fill_arena(&self, index: u32) -> Result<()> {
        let open = open_map(&self.maps, index)?;
        let Some(created) = created(&self.maps, index).filter(|created| !created.is_reused()) else {
            return Ok(());
        };
        let (Some(arena), Some(section)) = (&created.arena, &open.definition.section) else {
            return Err(no_such("arena with variables", index));
        };
        let initial = match &open.value {
            Some(value) => (**value).as_ref(),
            None => self.bytes(section.initial)?,
        };
        let outside = || {
            Error::malformed(format_args!(
                "the variables of arena `{}` are larger than the arena",
                &*open.definition.name
            ))
        };
        arena.region.write(arena.globals, initial).ok_or_else(outside)?;
        // Programs cannot allocate a page by accessing it, so each page of the variables is accessed here, even if all its bytes are zero.
        let (begin, len) = (arena.globals, data_len(open).unwrap_or(0));
        let rest = initial.len().next_multiple_of(page_size())..len;
        for page in rest.step_by(page_size()) {
            arena.region.write(begin + page, &[0]).ok_or_else(outside)?;
        }
        Ok(())
    }

    /// Returns the offset of the variables in the arena with this index, in bytes.
    fn arena_globals(&self, index: u32) -> Result<u32> {
        let created = created(&self.maps, index);
        // The hash of a program, which is computed before its maps exist, does not depend on the offset.
        let Some(created) = created else { return Ok(0) };
        let begin = created.arena.as_ref().map(|arena| arena.globals);
        begin.and_then(|begin| u32::try_from(begin).ok()).ok_or_else(|| no_such("arena", index))
    }
}

/// Returns the size of the variables in bytes, if there are any.
fn data_len(open: &OpenMap) -> Option<usize> {
    let section = open.definition.section.filter(|section| section.kind == SectionKind::Arena);
    section.and_then(|_| usize::try_from(open.definition.value_size).ok())
}
