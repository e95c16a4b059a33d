//! What people call, beside the build step: an object's bytes in, text out.
//!
//! Each function runs the driver (`generate.rs`); the types hide what the phases return, so that a phase can change without a change
//! here. Must not know files, arguments or the environment.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::error::Result;
use crate::generate as driver;
use crate::model::BpfObject;
use crate::options::Options;
use crate::plan::LoadPlan;
use crate::rust::Pieces;

/// Generates the skeleton of a BPF object: the text of a Rust file.
///
/// # Errors
/// Everything that is wrong with the object or the options, with codes and locations.
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

/// Reads a BPF object without generating anything yet: for its warnings, and for what `skelgen inspect` prints.
///
/// # Errors
/// Everything that is wrong with the object, with codes and locations.
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

/// Plans the load of a BPF object without generating Rust.
///
/// # Errors
/// Everything that is wrong with the object, with codes and locations.
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

/// Generates Rust types for every struct, union and enum of a BPF object, of a kernel's image, or of a file of BTF such as
/// `/sys/kernel/btf/vmlinux`; with [`Options::types`], only for these and what they contain.
///
/// # Errors
/// Everything that is wrong with the file, with codes and locations.
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

/// A BPF object that was read and has no errors, with the options to generate its skeleton with.
///
/// Its `Display` is what `skelgen inspect` prints, and its `Serialize` what `skelgen inspect --json` does. Members of that are added
/// from release to release; none is removed without a new major version.
#[derive(Debug, Clone)]
pub struct Object {
    model: BpfObject,
    options: Options,
}

impl Object {
    /// Returns what whoever generates a skeleton of the object should know, a sentence or two each. Each is one line, in which
    /// characters that cannot be seen are escaped.
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

    /// Writes the skeleton, piece by piece: [`generate()`] without reading the object again, and without the whole text in memory.
    ///
    /// # Errors
    /// As for [`generate()`], and [`Code::Io`](crate::Code::Io) if `out` does not take the text. On any error but `Io` and [`Code::BadName`](crate::Code::BadName) nothing
    /// has been written.
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

/// What the kernel will be asked for when an object is loaded, in order.
///
/// Its `Display` is what `skelgen plan` prints.
#[derive(Debug, Clone)]
pub struct Plan(LoadPlan);

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
