//! Where the sections of the files are in the result: sections of one name are joined, each at its alignment.

use std::collections::BTreeMap;

use super::input::Input;
use super::symbols::{AGREED, Globals};
use crate::elf::{Section, SectionId, SectionKind};
use crate::error::{Code, Diagnostic, Reporter, Result};

/// The maximum number of zero bytes that joining sections may add to the file.
const MAX_PADDING: u64 = 16 << 20;

/// The flag of members of a section group (`SHF_GROUP`). Groups are not kept.
const GROUP: u64 = 0x200;

/// A section of the result.
#[derive(Debug)]
pub(super) struct Joined<'a> {
    pub(super) name: &'a str,
    pub(super) kind: SectionKind,
    pub(super) flags: u64,
    pub(super) entry_size: u64,
    pub(super) align: u64,
    /// The contents; empty for a section of kind `Zeros`.
    pub(super) data: Vec<u8>,
    pub(super) size: u64,
    /// The first file with the section, for messages.
    first: String,
}

/// Where a section of a file is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moved {
    /// The index of the section in the result, without the null section.
    pub(super) to: usize,
    /// The offset in that section, in bytes.
    pub(super) shift: u64,
    /// Whether another file has the same contents already, at this offset.
    pub(super) repeated: bool,
}

/// The sections of the result.
#[derive(Debug, Default)]
pub(super) struct Layout<'a> {
    pub(super) sections: Vec<Joined<'a>>,
    by_name: BTreeMap<&'a str, usize>,
    /// By file and section.
    moved: Vec<Vec<Option<Moved>>>,
}

impl<'a> Layout<'a> {
    /// Joins the sections of all files.
    ///
    /// # Errors
    /// [`Code::Disagreement`] if sections of one name differ, and [`Code::TooLarge`].
    pub(super) fn new(inputs: &[Input<'a>], globals: &Globals<'a>) -> Result<Self> {
        let mut this = Self::default();
        let mut reporter = Reporter::new();
        for (file, input) in inputs.iter().enumerate() {
            let mut moved = vec![None; input.elf.sections.len()];
            for section in input.sections() {
                if section.size == 0 || globals.is_all_dead(file, section.id, section.size) {
                    continue;
                }
                if let Some(place) = reporter.take(this.add(input, section)) {
                    moved[section.id.0] = Some(place);
                }
            }
            this.moved.push(moved);
        }
        reporter.finish(this)
    }

    /// Returns where a section of a file is; `None` if it is not in the result.
    pub(super) fn moved(&self, file: usize, section: SectionId) -> Option<Moved> {
        self.moved.get(file)?.get(section.0).copied().flatten()
    }

    /// Returns the section of this name.
    pub(super) fn named(&self, name: &str) -> Option<&Joined<'a>> {
        self.by_name.get(name).map(|&index| &self.sections[index])
    }

    fn add(&mut self, input: &Input<'a>, section: &Section<'a>) -> Result<Moved> {
        let error = |code, message: String| input.error(Diagnostic::new(code, message).section(section.name));
        let Some(&to) = self.by_name.get(section.name) else {
            let to = self.sections.len();
            self.by_name.insert(section.name, to);
            self.sections.push(Joined {
                name: section.name,
                kind: section.kind,
                flags: section.flags & !GROUP,
                entry_size: section.entry_size,
                align: section.align,
                data: section.data.to_vec(),
                size: section.size,
                first: input.name.clone(),
            });
            return Ok(Moved { to, shift: 0, repeated: false });
        };
        let joined = &mut self.sections[to];
        let code = |kind| kind == SectionKind::Instructions;
        if code(joined.kind) != code(section.kind) || joined.flags != section.flags & !GROUP {
            let message = format!(
                "the section has the flags {:#x}, but {:#x} in {}: a section attribute puts different kinds of items into \
                 sections of one name",
                section.flags, joined.flags, joined.first
            );
            return Err(error(Code::Disagreement, message));
        }
        if AGREED.contains(&section.name) {
            if joined.data != section.data {
                let shown = |data: &[u8]| match std::str::from_utf8(data) {
                    Ok(text) if section.name == "license" => format!("`{}`", text.trim_end_matches('\0')),
                    _ => format!("{data:02x?}"),
                };
                let message = format!(
                    "the {} is {}, but {} in {}",
                    section.name,
                    shown(section.data),
                    shown(&joined.data),
                    joined.first
                );
                return Err(error(Code::Disagreement, message));
            }
            return Ok(Moved { to, shift: 0, repeated: true });
        }
        let shift = joined.size.next_multiple_of(section.align);
        let size = shift.checked_add(section.size).filter(|&size| size <= u64::from(u32::MAX));
        let Some(size) = size else {
            return Err(error(Code::TooLarge, "the joined section exceeds 4 GiB".to_owned()));
        };
        if section.kind != SectionKind::Zeros || joined.kind != SectionKind::Zeros {
            // Zeros become contents if they follow contents, or contents follow them.
            let added = (shift - joined.size)
                + if section.kind == SectionKind::Zeros { section.size } else { 0 }
                + if joined.kind == SectionKind::Zeros { joined.size } else { 0 };
            if added > MAX_PADDING {
                let message = format!("joining the sections of this name adds {added} zero bytes to the file");
                return Err(error(Code::TooLarge, message));
            }
            let index = |size: u64| usize::try_from(size).unwrap_or(usize::MAX);
            joined.data.resize(index(shift), 0);
            joined.data.extend_from_slice(section.data);
            joined.data.resize(index(size), 0);
            if joined.kind == SectionKind::Zeros {
                joined.kind = section.kind;
            }
        }
        joined.size = size;
        joined.align = joined.align.max(section.align);
        if joined.entry_size != section.entry_size {
            joined.entry_size = 0;
        }
        Ok(Moved { to, shift, repeated: false })
    }
}
