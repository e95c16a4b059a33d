//! The public functions of the library besides the build step: each takes the bytes of a file and returns text or a
//! value.
//!
//! Each function runs the driver (`generate.rs`). The public types wrap the results of the phases, so that a phase can
//! change without changing the API. This module does not use files, arguments or the environment.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::error::Result;
use crate::generate as driver;
use crate::merge::File;
use crate::model::BpfObject;
use crate::options::Options;
use crate::plan::LoadPlan;
use crate::rust::Pieces;

/// Generates the skeleton of a BPF object: the text of a Rust file.
///
/// # Errors
/// All problems of the object and the options, each with its code and location.
///
/// # Examples
/// ```no_run
/// let options = skelgen::Options::for_file("counters.bpf.o");
/// let text = skelgen::generate(&std::fs::read("counters.bpf.o")?, &options)?;
/// std::fs::write("counters.rs", text)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn generate(bytes: &[u8], options: &Options) -> Result<String> {
    let mut text = Pieces::default();
    driver::write(driver::inspect(bytes, options)?, options, &mut text)?;
    Ok(text.into_string())
}

/// Reads a BPF object without generating code, for its warnings and for the summary that `skelgen inspect` prints.
///
/// # Errors
/// All problems of the object, each with its code and location.
///
/// # Examples
/// ```no_run
/// let options = skelgen::Options::for_file("counters.bpf.o");
/// let object = skelgen::inspect(&std::fs::read("counters.bpf.o")?, &options)?;
/// for warning in object.warnings() {
///     eprintln!("warning: {warning}");
/// }
/// print!("{object}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn inspect(bytes: &[u8], options: &Options) -> Result<Object> {
    Ok(Object { model: driver::inspect(bytes, options)?, options: options.clone() })
}

/// Links BPF objects that were compiled from several sources: returns one object (an ELF file). The files are pairs of a
/// name for errors and the bytes of an object, or of a static archive (`.a`), of which only the objects are linked that
/// define names that are otherwise missing. The result does not depend on the order of the files.
///
/// # Errors
/// All problems of the files, and where they contradict each other or lack a name, each with its code and location.
///
/// # Examples
/// ```no_run
/// let (one, two) = (std::fs::read("one.bpf.o")?, std::fs::read("two.bpf.o")?);
/// let object = skelgen::link(&[("one.bpf.o", &one), ("two.bpf.o", &two)])?;
/// let text = skelgen::generate(&object, &skelgen::Options::for_file("both"))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn link(files: &[(&str, &[u8])]) -> Result<Vec<u8>> {
    let files: Vec<_> = files.iter().map(|&(name, bytes)| File { name, bytes }).collect();
    driver::link(&files)
}

/// Plans the load of a BPF object without generating Rust.
///
/// # Errors
/// All problems of the object, each with its code and location.
///
/// # Examples
/// ```no_run
/// let options = skelgen::Options::for_file("counters.bpf.o");
/// print!("{}", skelgen::plan(&std::fs::read("counters.bpf.o")?, &options)?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn plan(bytes: &[u8], options: &Options) -> Result<Plan> {
    driver::plan(bytes, options).map(Plan)
}

/// Generates Rust types for every struct, union and enum of a BPF object, of a kernel image, or of a raw BTF file such
/// as `/sys/kernel/btf/vmlinux`. With [`Options::types`] set, generates only those types and the types they contain.
///
/// # Errors
/// All problems of the file and the options, each with its code and location.
///
/// # Examples
/// ```no_run
/// let mut options = skelgen::Options::for_file("vmlinux");
/// options.types.push("struct task_struct".to_owned());
/// let text = skelgen::types(&std::fs::read("/sys/kernel/btf/vmlinux")?, &options)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn types(bytes: &[u8], options: &Options) -> Result<String> {
    driver::types(bytes, options).map(|file| file.text)
}

/// A valid BPF object, with the options for its skeleton.
///
/// Its `Display` is the text of `skelgen inspect`, and its `Serialize` the document of `skelgen inspect --json`. New
/// releases may add members to the JSON; members are removed only in a new major version.
///
/// ```no_run
/// let options = skelgen::Options::for_file("counters.bpf.o");
/// let object = skelgen::inspect(&std::fs::read("counters.bpf.o")?, &options)?;
/// println!("{object}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Object {
    model: BpfObject,
    options: Options,
}

impl Object {
    /// Returns the warnings about the object. Each is one line of one or two sentences, with invisible characters
    /// escaped.
    ///
    /// # Examples
    /// ```no_run
    /// let object = skelgen::inspect(&std::fs::read("counters.bpf.o")?, &skelgen::Options::for_file("counters.bpf.o"))?;
    /// assert!(object.warnings().is_empty(), "{:#?}", object.warnings());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        self.model.warnings()
    }

    /// Writes the skeleton piece by piece. Unlike [`generate()`], it does not read the object again and never has the
    /// whole text in memory.
    ///
    /// # Errors
    /// The errors of [`generate()`], and [`Code::Io`](crate::Code::Io) if `out` fails. After `Io` and
    /// [`Code::BadName`](crate::Code::BadName), a part of the text may have been written; after other errors, nothing.
    ///
    /// # Examples
    /// ```no_run
    /// let object = skelgen::inspect(&std::fs::read("counters.bpf.o")?, &skelgen::Options::for_file("counters.bpf.o"))?;
    /// let mut text = String::new();
    /// object.write(&mut text)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn write(self, out: &mut dyn fmt::Write) -> Result<()> {
        driver::write(self.model, &self.options, out)
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.model.summary(self.options.percpu).fmt(f)
    }
}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.model.summary(self.options.percpu).serialize(serializer)
    }
}

/// The requests that loading an object makes to the kernel, in order.
///
/// Its `Display` is the text of `skelgen plan`, and its JSON that of `skelgen plan --json`.
///
/// ```no_run
/// let options = skelgen::Options::for_file("counters.bpf.o");
/// let plan = skelgen::plan(&std::fs::read("counters.bpf.o")?, &options)?;
/// println!("{plan}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Plan(LoadPlan);

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Plan {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}
