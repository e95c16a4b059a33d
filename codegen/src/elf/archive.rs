//! Static archives (`.a`): the files that `ar` collects, such as the objects of a library.

use object::read::archive::ArchiveFile;

use super::Member;
use crate::error::{Code, Diagnostic, Result};

/// The magic numbers of archives that contain their files, and of those that only name them.
const MAGICS: [&[u8]; 2] = [b"!<arch>\n", b"!<thin>\n"];

pub(super) fn members(bytes: &[u8]) -> Result<Option<Vec<Member<'_>>>> {
    if !MAGICS.iter().any(|magic| bytes.starts_with(magic)) {
        return Ok(None);
    }
    let bad = |error: object::read::Error| Diagnostic::new(Code::BadElf, format!("invalid archive: {error}"));
    let archive = ArchiveFile::parse(bytes).map_err(bad)?;
    if archive.is_thin() {
        let message = "the archive is thin: it has the names of its objects, but not their contents";
        return Err(Diagnostic::new(Code::BadElf, message).with_help("create it without `--thin`").into());
    }
    let mut members = Vec::new();
    for member in archive.members() {
        let member = member.map_err(bad)?;
        let data = member.data(bytes).map_err(bad)?;
        members.push(Member { name: String::from_utf8_lossy(member.name()).into_owned(), data });
    }
    Ok(Some(members))
}
