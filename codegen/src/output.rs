//! Text to files and to standard output: a file whole or not at all, and only if it does not hold the same already.
//!
//! Knows nothing of what the text is.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Seek, Write};
use std::path::Path;

use crate::error::{Code, Error, Result};

/// Writes what `produce` makes to a file. What is no ordinary file, such as a pipe or `/dev/stdout`, is written to as it is; any
/// other is replaced once all of the text is there, and left alone, with its time, if it holds the same text. A link to a file stays,
/// and so do the permissions of a file that is replaced.
///
/// # Errors
/// Those of `produce`, and [`Code::Io`] with the file's name.
pub(crate) fn to_file<R>(path: &Path, produce: impl FnOnce(&mut dyn fmt::Write) -> Result<R>) -> Result<R> {
    let failed = |error| Error::new(Code::Io, format!("cannot write {}: {error}", path.display()));
    if is_open_already(path) || std::fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        let file = OpenOptions::new().append(true).open(path).map_err(failed)?;
        return through(file, produce, failed).map(|(result, _)| result);
    }
    let target = std::fs::canonicalize(path);
    let path = target.as_deref().unwrap_or(path);
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // With the permissions of any new file; by itself, a temporary one is its owner's alone.
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    let file = tempfile::Builder::new().permissions(permissions).tempfile_in(folder).map_err(|error| {
        // The name of a file that nobody asked for says less than what is wrong with the folder.
        failed(std::fs::read_dir(folder).err().unwrap_or(error))
    })?;
    let (result, mut file) = through(file, produce, failed)?;
    if !same(path, file.as_file_mut()).map_err(failed)? {
        if let Ok(replaced) = std::fs::metadata(path) {
            file.as_file().set_permissions(replaced.permissions()).map_err(failed)?;
        }
        file.as_file().sync_all().map_err(failed)?;
        file.persist(path).map_err(|error| failed(error.error))?;
    }
    Ok(result)
}

/// Writes what `produce` makes to standard output. That its reader closed its end early is no error.
///
/// # Errors
/// Those of `produce`, and [`Code::Io`].
#[cfg(feature = "cli")]
pub(crate) fn to_stdout(produce: impl FnOnce(&mut dyn fmt::Write) -> Result<()>) -> Result<()> {
    let mut early = false;
    let out = io::stdout().lock();
    let result = through(out, produce, |error| {
        early = error.kind() == io::ErrorKind::BrokenPipe;
        Error::new(Code::Io, format!("cannot write to standard output: {error}"))
    });
    if early { Ok(()) } else { result.map(|_| ()) }
}

/// Whether this is one of this process's open files by a name such as `/dev/stdout`: it may be an ordinary file, but to replace it
/// would be to replace the name.
fn is_open_already(path: &Path) -> bool {
    let Ok(folder) = path.parent().unwrap_or(path).canonicalize() else { return false };
    let link = std::fs::read_link(path).unwrap_or_default();
    [&folder, &link].iter().any(|path| path.starts_with("/proc")) || folder == Path::new("/dev")
}

/// Hands text on to a writer; gives the writer back once it has all of it.
fn through<W: Write, R>(
    out: W,
    produce: impl FnOnce(&mut dyn fmt::Write) -> Result<R>,
    failed: impl FnOnce(io::Error) -> Error,
) -> Result<(R, W)> {
    let mut sink = Sink { out: BufWriter::new(out), error: None };
    let result = produce(&mut sink);
    match (result, sink.error) {
        (_, Some(error)) => Err(failed(error)),
        (Err(error), None) => Err(error),
        (Ok(result), None) => match sink.out.into_inner() {
            Ok(out) => Ok((result, out)),
            Err(error) => Err(failed(error.into_error())),
        },
    }
}

/// A writer of bytes that takes text, and keeps the reason why it did not.
struct Sink<W: Write> {
    out: BufWriter<W>,
    error: Option<io::Error>,
}

impl<W: Write> fmt::Write for Sink<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.out.write_all(text.as_bytes()).map_err(|error| {
            self.error = Some(error);
            fmt::Error
        })
    }
}

/// Whether there is a file at this path with the bytes of the other, whatever its position.
fn same(path: &Path, new: &mut File) -> io::Result<bool> {
    let Ok(old) = File::open(path) else {
        return Ok(false);
    };
    if old.metadata()?.len() != new.metadata()?.len() {
        return Ok(false);
    }
    new.rewind()?;
    let (mut old, mut new) = (BufReader::new(old), BufReader::new(new));
    loop {
        let (left, right) = (old.fill_buf()?, new.fill_buf()?);
        let len = left.len().min(right.len());
        if left.get(..len) != right.get(..len) {
            return Ok(false);
        }
        if len == 0 {
            return Ok(left.is_empty() && right.is_empty());
        }
        old.consume(len);
        new.consume(len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_only_if_it_differs() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        let write = |text: &'static str| to_file(&path, move |out| out.write_str(text).map_err(|_| unreachable!()));
        write("one").expect("it is written");
        let before = std::fs::metadata(&path).expect("it is there");
        write("one").expect("it is left alone");
        assert_eq!(inode(&before), inode(&std::fs::metadata(&path).expect("it is there")));
        write("two").expect("it is replaced");
        assert_eq!(std::fs::read_to_string(&path).expect("it is there"), "two");
        let failed = to_file(&path, |out| {
            assert!(out.write_str("half").is_ok());
            Err::<(), _>(Error::new(Code::BadName, "a name"))
        });
        assert!(failed.is_err());
        assert_eq!(std::fs::read_to_string(&path).expect("it is there"), "two");
        assert_eq!(std::fs::read_dir(folder.path()).expect("the folder").count(), 1, "nothing is left behind");
    }

    #[test]
    fn permissions_stay() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        std::fs::write(&path, "old").expect("a file");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).expect("it is ours");
        to_file(&path, |out| out.write_str("new").map_err(|_| unreachable!())).expect("it is written");
        assert_eq!(std::fs::metadata(&path).expect("it is there").permissions().mode() & 0o777, 0o640);
    }

    #[test]
    fn a_link_stays_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        std::fs::write(&file, "old").expect("a file");
        std::os::unix::fs::symlink("file", &link).expect("a link");
        to_file(&link, |out| out.write_str("new").map_err(|_| unreachable!())).expect("it is written");
        assert!(std::fs::symlink_metadata(&link).expect("it is there").is_symlink());
        assert_eq!(std::fs::read_to_string(&file).expect("it is there"), "new");
    }

    #[test]
    fn an_open_file_is_written_on() {
        use std::os::fd::AsRawFd;
        let folder = tempfile::tempdir().expect("a folder");
        let mut file = File::create(folder.path().join("file")).expect("a file");
        file.write_all(b"before ").expect("it is written");
        let link = folder.path().join("stdout");
        let target = format!("/proc/self/fd/{}", file.as_raw_fd());
        std::os::unix::fs::symlink(&target, &link).expect("a link");
        for name in [Path::new(&target), &link] {
            to_file(name, |out| out.write_str("after ").map_err(|_| unreachable!())).expect("it is written");
        }
        assert!(std::fs::symlink_metadata(&link).expect("it is there").is_symlink());
        assert_eq!(std::fs::read_to_string(folder.path().join("file")).expect("it is there"), "before after after ");
        assert_eq!(std::fs::read_dir(folder.path()).expect("the folder").count(), 2, "nothing is left behind");
    }

    fn inode(metadata: &std::fs::Metadata) -> u64 {
        std::os::unix::fs::MetadataExt::ino(metadata)
    }
}
