//! The objects that commands read: files, or standard input if the name is `-`.

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;

use super::screen::Screen;
use crate::build;
use crate::error::{Code, Error, Result};
use crate::generate;
use crate::merge::File;
use crate::options::Options;

/// The name of the object from standard input, unless `--name` is given.
const FROM_STDIN: &str = "object";

/// One object.
#[derive(Args)]
pub(super) struct Input {
    /// The BPF object, or `-` for standard input
    #[arg(value_name = "OBJECT")]
    object: PathBuf,
    /// Name of the object [default: the file name up to the first dot]
    #[arg(long)]
    name: Option<String>,
}

/// One or more objects.
#[derive(Args)]
pub(super) struct Inputs {
    /// The BPF objects, or `-` for standard input
    #[arg(value_name = "OBJECT", required = true)]
    objects: Vec<PathBuf>,
    /// Name of the object, if there is only one object [default: the file name up to the first dot]
    #[arg(long)]
    name: Option<String>,
}

/// The bytes of an object, with the options that follow from its name.
pub(super) struct Source {
    /// The path that messages show.
    pub(super) path: PathBuf,
    pub(super) bytes: Vec<u8>,
    pub(super) options: Options,
}

impl Input {
    /// Reads the object and calls `act` with it. Errors name the file.
    ///
    /// # Errors
    /// [`Code::Io`], and those of `act`.
    pub(super) fn with<T>(self, act: impl FnOnce(Source) -> Result<T>) -> Result<T> {
        read(&self.object, self.name).and_then(act).map_err(|error| error.in_file(&shown(&self.object)))
    }
}

impl Inputs {
    /// Reads one object after the other and calls `act` with each. Prints the errors of one object and continues with
    /// the next. An empty line separates the outputs of two objects.
    ///
    /// # Errors
    /// [`Code::BadOptions`] if one name is set for several objects.
    pub(super) fn each(self, screen: &mut Screen, act: impl Fn(Source, &mut Screen) -> Result<()>) -> Result<()> {
        if self.name.is_some() && self.objects.len() > 1 {
            let message = "cannot use one name for several objects; use `--name` with a single object";
            return Err(Error::new(Code::BadOptions, message));
        }
        for object in &self.objects {
            let result = read(object, self.name.clone()).and_then(|source| act(source, screen));
            if let Err(error) = result {
                screen.error(&error.in_file(&shown(object)));
            }
        }
        Ok(())
    }
}

/// Returns whether a path stands for standard input or output.
pub(super) fn is_standard(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Returns the path that messages show: `<stdin>` for standard input.
fn shown(path: &Path) -> PathBuf {
    if is_standard(path) { "<stdin>".into() } else { path.to_owned() }
}

/// Links objects. Errors name the files.
///
/// # Errors
/// [`Code::Io`], and those of [`generate::link`].
pub(super) fn link(objects: &[PathBuf]) -> Result<Vec<u8>> {
    let read = |path: &PathBuf| Ok((shown(path).display().to_string(), bytes(path)?));
    let files = objects.iter().map(read).collect::<Result<Vec<_>>>()?;
    let files: Vec<_> = files.iter().map(|(name, bytes)| File { name, bytes }).collect();
    generate::link(&files)
}

/// Reads the bytes of an object.
fn bytes(path: &Path) -> Result<Vec<u8>> {
    if !is_standard(path) {
        return build::read(path);
    }
    let mut bytes = Vec::new();
    let read = std::io::stdin().lock().read_to_end(&mut bytes);
    read.map_err(|error| Error::new(Code::Io, format!("cannot read standard input: {error}")))?;
    Ok(bytes)
}

fn read(path: &Path, name: Option<String>) -> Result<Source> {
    let bytes = bytes(path)?;
    let mut options = if is_standard(path) { Options::for_file(FROM_STDIN) } else { Options::for_file(path) };
    if let Some(name) = name {
        options.name = name;
    }
    Ok(Source { path: shown(path), bytes, options })
}
