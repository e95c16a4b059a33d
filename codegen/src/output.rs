//! Output of text to files and to standard output. A file is replaced as a whole, and only if its text changes.
//!
//! This module does not interpret the text.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Seek, Write};
use std::path::Path;

use crate::error::{Code, Error, Result};

/// Writes what `produce` produces to a file.
///
/// A regular file is replaced once all of the text is there. It is left alone, with its modification time, if it
/// already contains the same text. A symbolic link and the permissions of a replaced file are kept. A file that is not
/// regular, such as a pipe or `/dev/stdout`, is written to directly.
///
/// # Errors
/// Errors of `produce`, and [`Code::Io`] with the file's name.
pub(crate) fn to_file<R>(path: &Path, produce: impl FnOnce(&mut dyn fmt::Write) -> Result<R>) -> Result<R> {
    let failed = |error| Error::new(Code::Io, format!("cannot write {}: {error}", path.display()));
    if is_open_already(path) || std::fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        let file = OpenOptions::new().append(true).open(path).map_err(failed)?;
        return through(file, produce, failed).map(|(result, _)| result);
    }
    let target = std::fs::canonicalize(path);
    let path = target.as_deref().unwrap_or(path);
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // A temporary file is readable by its owner only; use the permissions of an ordinary new file.
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    let file = tempfile::Builder::new().permissions(permissions).tempfile_in(directory).map_err(|error| {
        // An error that names the temporary file would hide the cause, which is in the directory.
        failed(std::fs::read_dir(directory).err().unwrap_or(error))
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

/// Writes what `produce` produces to standard output. A reader that closed its end early is not an error.
///
/// # Errors
/// Errors of `produce`, and [`Code::Io`].
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

/// Returns whether the path names an open file of this process, such as `/dev/stdout`. It may be a regular file, but
/// replacing it would replace the name.
fn is_open_already(path: &Path) -> bool {
    let Ok(directory) = path.parent().unwrap_or(path).canonicalize() else { return false };
    let link = std::fs::read_link(path).unwrap_or_default();
    [&directory, &link].iter().any(|path| path.starts_with("/proc")) || directory == Path::new("/dev")
}

/// Passes text on to a writer, and returns the writer once everything is written.
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

/// A byte writer that accepts text and keeps the reason of a failure.
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

/// Returns whether the file at this path has the same bytes as `new`, whatever its position.
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
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("file");
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
        assert_eq!(std::fs::read_dir(directory.path()).expect("the directory").count(), 1, "nothing is left behind");
    }

    #[test]
    fn permissions_stay() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("file");
        std::fs::write(&path, "old").expect("a file");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).expect("it is ours");
        to_file(&path, |out| out.write_str("new").map_err(|_| unreachable!())).expect("it is written");
        assert_eq!(std::fs::metadata(&path).expect("it is there").permissions().mode() & 0o777, 0o640);
    }

    #[test]
    fn a_link_stays_one() {
        let directory = tempfile::tempdir().expect("a directory");
        let (file, link) = (directory.path().join("file"), directory.path().join("link"));
        std::fs::write(&file, "old").expect("a file");
        std::os::unix::fs::symlink("file", &link).expect("a link");
        to_file(&link, |out| out.write_str("new").map_err(|_| unreachable!())).expect("it is written");
        assert!(std::fs::symlink_metadata(&link).expect("it is there").is_symlink());
        assert_eq!(std::fs::read_to_string(&file).expect("it is there"), "new");
    }

    #[test]
    fn an_open_file_is_written_on() {
        use std::os::fd::AsRawFd;
        let directory = tempfile::tempdir().expect("a directory");
        let mut file = File::create(directory.path().join("file")).expect("a file");
        file.write_all(b"before ").expect("it is written");
        let link = directory.path().join("stdout");
        let target = format!("/proc/self/fd/{}", file.as_raw_fd());
        std::os::unix::fs::symlink(&target, &link).expect("a link");
        for name in [Path::new(&target), &link] {
            to_file(name, |out| out.write_str("after ").map_err(|_| unreachable!())).expect("it is written");
        }
        assert!(std::fs::symlink_metadata(&link).expect("it is there").is_symlink());
        assert_eq!(std::fs::read_to_string(directory.path().join("file")).expect("it is there"), "before after after ");
        assert_eq!(std::fs::read_dir(directory.path()).expect("the directory").count(), 2, "nothing is left behind");
    }

    fn inode(metadata: &std::fs::Metadata) -> u64 {
        std::os::unix::fs::MetadataExt::ino(metadata)
    }
}
