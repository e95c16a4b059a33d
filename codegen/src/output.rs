//! Output to files and to standard output. A file is replaced as a whole, and only if its contents change.
//!
//! This module does not interpret the text or bytes.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Seek, Write};
use std::path::Path;

use crate::error::{Code, Error, Result};

/// Writes the text that `produce` writes to a file.
///
/// A regular file is replaced when the text is complete. A file that already contains the same text is not changed and
/// keeps its modification time. A symbolic link and the permissions of a replaced file are kept. A file that is not
/// regular, such as a pipe or `/dev/stdout`, is written to directly.
///
/// # Errors
/// Errors of `produce`, and [`Code::Io`] with the file's name.
pub(crate) fn to_file<R>(path: &Path, produce: impl FnOnce(&mut dyn fmt::Write) -> Result<R>) -> Result<R> {
    replace(path, |sink| produce(sink))
}

/// Replaces the contents of a file by the output of `produce`, as [`to_file`] describes.
fn replace<R>(path: &Path, produce: impl FnOnce(&mut Sink<'_>) -> Result<R>) -> Result<R> {
    let failed = |error| Error::new(Code::Io, format!("cannot write {}: {error}", path.display()));
    if is_open_already(path) || std::fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        let mut file = OpenOptions::new().append(true).open(path).map_err(failed)?;
        return through(&mut file, produce, failed);
    }
    let target = std::fs::canonicalize(path);
    let path = target.as_deref().unwrap_or(path);
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // A temporary file is readable by its owner only; use the permissions of an ordinary new file.
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    let mut file = tempfile::Builder::new().permissions(permissions).tempfile_in(directory).map_err(|error| {
        // Report the error of the directory, if it has one: an error with the name of the temporary file would hide the
        // cause.
        failed(std::fs::read_dir(directory).err().unwrap_or(error))
    })?;
    let result = through(file.as_file_mut(), produce, failed)?;
    if !same(path, file.as_file_mut()).map_err(failed)? {
        if let Ok(replaced) = std::fs::metadata(path) {
            file.as_file().set_permissions(replaced.permissions()).map_err(failed)?;
        }
        file.as_file().sync_all().map_err(failed)?;
        file.persist(path).map_err(|error| failed(error.error))?;
    }
    Ok(result)
}

/// Writes the text that `produce` writes to standard output. A pipe whose reader has closed it is not an error.
///
/// # Errors
/// Errors of `produce`, and [`Code::Io`].
#[cfg(feature = "cli")]
pub(crate) fn to_stdout(produce: impl FnOnce(&mut dyn fmt::Write) -> Result<()>) -> Result<()> {
    to_reader(produce).map(drop)
}

/// Writes to standard output as [`to_stdout`] does, and returns whether standard output still has a reader.
///
/// # Errors
/// The errors of [`to_stdout`].
#[cfg(feature = "cli")]
pub(crate) fn to_reader(produce: impl FnOnce(&mut dyn fmt::Write) -> Result<()>) -> Result<bool> {
    print(|sink| produce(sink))
}

/// Writes the output of `produce` to standard output, and returns whether standard output still has a reader.
#[cfg(feature = "cli")]
fn print(produce: impl FnOnce(&mut Sink<'_>) -> Result<()>) -> Result<bool> {
    let mut early = false;
    let result = through(&mut io::stdout().lock(), produce, |error| {
        early = error.kind() == io::ErrorKind::BrokenPipe;
        Error::new(Code::Io, format!("cannot write to standard output: {error}"))
    });
    if early { Ok(false) } else { result.map(|()| true) }
}

/// Writes bytes to a file, as [`to_file`] does, or to standard output, as [`to_stdout`] does.
///
/// # Errors
/// [`Code::Io`] with the file's name.
#[cfg(feature = "cli")]
pub(crate) fn bytes(path: Option<&Path>, bytes: &[u8]) -> Result<()> {
    let produce = |sink: &mut Sink<'_>| sink.bytes(bytes).map_err(|_| Error::new(Code::Io, "cannot write the bytes"));
    match path {
        Some(path) => replace(path, produce),
        None => print(produce).map(drop),
    }
}

/// Writes a whole text.
///
/// # Errors
/// [`Code::Io`]. The owner of `out` replaces it by an error with the cause.
pub(crate) fn put(out: &mut dyn fmt::Write, text: &str) -> Result<()> {
    out.write_str(text).map_err(|_| Error::new(Code::Io, "cannot write the text"))
}

/// Returns whether the path names an open file of this process, such as `/dev/stdout`. That file may be regular, but
/// renaming another file to this path would replace the entry in `/dev` instead.
fn is_open_already(path: &Path) -> bool {
    let Ok(directory) = path.parent().unwrap_or(path).canonicalize() else { return false };
    let link = std::fs::read_link(path).unwrap_or_default();
    [&directory, &link].iter().any(|path| path.starts_with("/proc")) || directory == Path::new("/dev")
}

/// Writes the output of `produce` to a writer, and flushes it.
fn through<R>(
    out: &mut dyn Write,
    produce: impl FnOnce(&mut Sink<'_>) -> Result<R>,
    failed: impl FnOnce(io::Error) -> Error,
) -> Result<R> {
    let mut sink = Sink { out: BufWriter::new(out), error: None };
    let result = produce(&mut sink);
    match (result, sink.error) {
        (_, Some(error)) => Err(failed(error)),
        (Err(error), None) => Err(error),
        (Ok(result), None) => sink.out.flush().map(|()| result).map_err(failed),
    }
}

/// A byte writer that accepts text and stores the cause of a failure.
struct Sink<'a> {
    out: BufWriter<&'a mut dyn Write>,
    error: Option<io::Error>,
}

impl Sink<'_> {
    fn bytes(&mut self, bytes: &[u8]) -> fmt::Result {
        self.out.write_all(bytes).map_err(|error| {
            self.error = Some(error);
            fmt::Error
        })
    }
}

impl fmt::Write for Sink<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.bytes(text.as_bytes())
    }
}

/// Returns whether the file at this path has the same bytes as `new`, regardless of the read position of `new`.
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
        let before = std::fs::metadata(&path).expect("it exists");
        write("one").expect("it is left alone");
        assert_eq!(inode(&before), inode(&std::fs::metadata(&path).expect("it exists")));
        write("two").expect("it is replaced");
        assert_eq!(std::fs::read_to_string(&path).expect("it exists"), "two");
        let failed = to_file(&path, |out| {
            assert!(out.write_str("half").is_ok());
            Err::<(), _>(Error::new(Code::BadName, "a name"))
        });
        assert!(failed.is_err());
        assert_eq!(std::fs::read_to_string(&path).expect("it exists"), "two");
        assert_eq!(std::fs::read_dir(directory.path()).expect("the directory").count(), 1, "nothing is left behind");
    }

    #[cfg(feature = "cli")]
    #[test]
    fn bytes_are_written_as_texts_are() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("file");
        bytes(Some(&path), b"\xff\n\0").expect("it is written");
        let before = std::fs::metadata(&path).expect("it exists");
        bytes(Some(&path), b"\xff\n\0").expect("it is left alone");
        assert_eq!(inode(&before), inode(&std::fs::metadata(&path).expect("it exists")));
        bytes(Some(&path), b"\xfe").expect("it is replaced");
        assert_ne!(inode(&before), inode(&std::fs::metadata(&path).expect("it exists")));
        assert_eq!(std::fs::read(&path).expect("it exists"), b"\xfe");
    }

    #[test]
    fn permissions_are_kept() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("file");
        std::fs::write(&path, "old").expect("a file");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).expect("permissions can be set");
        to_file(&path, |out| out.write_str("new").map_err(|_| unreachable!())).expect("it is written");
        assert_eq!(std::fs::metadata(&path).expect("it exists").permissions().mode() & 0o777, 0o640);
    }

    #[test]
    fn symbolic_links_are_kept() {
        let directory = tempfile::tempdir().expect("a directory");
        let (file, link) = (directory.path().join("file"), directory.path().join("link"));
        std::fs::write(&file, "old").expect("a file");
        std::os::unix::fs::symlink("file", &link).expect("a link");
        to_file(&link, |out| out.write_str("new").map_err(|_| unreachable!())).expect("it is written");
        assert!(std::fs::symlink_metadata(&link).expect("it exists").is_symlink());
        assert_eq!(std::fs::read_to_string(&file).expect("it exists"), "new");
    }

    #[test]
    fn open_files_are_written_directly() {
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
        assert!(std::fs::symlink_metadata(&link).expect("it exists").is_symlink());
        assert_eq!(std::fs::read_to_string(directory.path().join("file")).expect("it exists"), "before after after ");
        assert_eq!(std::fs::read_dir(directory.path()).expect("the directory").count(), 2, "nothing is left behind");
    }

    fn inode(metadata: &std::fs::Metadata) -> u64 {
        std::os::unix::fs::MetadataExt::ino(metadata)
    }
}
