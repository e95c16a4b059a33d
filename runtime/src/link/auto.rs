//! The skeleton's `attach`: attaches the programs that can attach automatically, and lists the others with what they
//! need.
//!
//! Many objects contain programs that need a target from the user (an interface, or a file if the section has none).
//! They are neither an error nor forgotten: the skeleton's `Links` lists them. Only generated code, which knows the
//! fields, calls this module. It does not depend on how programs attach.

use std::borrow::Cow;
use std::fmt;

use super::Link;
use super::StructOps;
use crate::abi::Attach;
use crate::error::{Error, Result, Step};
use crate::program::Program;

/// A loaded program that the skeleton's `attach` did not attach, because it needs a target from the user.
///
/// ```no_run
/// # fn f(left: &skelgen_runtime::link::Left) {
/// eprintln!("not attached: {left}"); // not attached: program `on_call` (section `uprobe`) needs a program file and a function in it
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    field: &'static str,
    program: &'static str,
    section: &'static str,
    needs: Cow<'static, str>,
}

impl Left {
    /// Returns the name of the skeleton's field: of the program in `programs`, and of the link in `Links`.
    #[must_use]
    pub fn field(&self) -> &'static str {
        self.field
    }

    /// Returns the name of the program.
    #[must_use]
    pub fn program(&self) -> &'static str {
        self.program
    }

    /// Returns the name of the program's section.
    #[must_use]
    pub fn section(&self) -> &'static str {
        self.section
    }

    /// Returns what the program needs as a noun phrase: "a network interface".
    #[must_use]
    pub fn needs(&self) -> &str {
        &self.needs
    }
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "program `{}` (section `{}`) needs {}", self.program, self.section, self.needs)
    }
}

/// The state of a skeleton's `attach`, for generated code.
#[doc(hidden)]
#[derive(Debug, Default)]
pub struct Attaching {
    attached: usize,
    left: Vec<Left>,
}

impl Attaching {
    /// Creates the state before anything is attached.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Attaches the program in this field, unless it is not loaded, auto-attach is off, or it needs a target from the
    /// user.
    ///
    /// # Errors
    /// If its attach target is not valid, or the kernel rejects it.
    pub fn program(&mut self, field: &'static str, program: &Program) -> Result<Option<Link>> {
        if !program.autoattaches() || !program.is_loaded() {
            return Ok(None);
        }
        let target = program.attach_target()?;
        let Some(needs) = target.needs() else {
            self.attached += 1;
            return program.attach().map(Some);
        };
        let malformed = match target {
            Attach::Target(way) => super::attach::malformed(program, way),
            _ => None,
        };
        let needs = match malformed {
            Some(malformed) => format!("{needs} (the target in its section is not valid: {malformed})").into(),
            None => needs.into(),
        };
        self.left.push(Left { field, program: program.name(), section: program.section(), needs });
        Ok(None)
    }

    /// Registers a struct_ops map, unless it was not created or auto-attach is off.
    ///
    /// # Errors
    /// If the kernel rejects it.
    pub fn struct_ops(&mut self, map: &StructOps) -> Result<Option<Link>> {
        let link = map.auto_attach()?;
        self.attached += usize::from(link.is_some());
        Ok(link)
    }

    /// Returns the programs that were not attached.
    ///
    /// # Errors
    /// If nothing was attached, although a program should be.
    pub fn finish(self) -> Result<Vec<Left>> {
        match self.left.is_empty() || self.attached > 0 {
            true => Ok(self.left),
            false => Err(error("none of the programs can attach automatically", self.left.iter())),
        }
    }
}

/// Fails if a skeleton is not attached as a whole, for generated code.
///
/// # Errors
/// If a program was not attached.
#[doc(hidden)]
pub fn nothing_left<'l, I: Iterator<Item = &'l Left>>(left: I) -> Result<()> {
    let mut left = left.peekable();
    if left.peek().is_none() { Ok(()) } else { Err(error("not all programs can attach automatically", left)) }
}

fn error<'l, I: Iterator<Item = &'l Left>>(what: &str, left: I) -> Error {
    let left: Vec<String> = left.map(ToString::to_string).collect();
    Error::invalid(format_args!("cannot attach the skeleton: {what}: {}", left.join("; "))).during(Step::Attach).with_help(
        "set a target with `set_attach_target` before loading, or call the matching method of `Program` (`attach_uprobe`, \
         `attach_xdp`, `attach_cgroup` …); `set_autoattach(false)` before loading excludes a program",
    )
}
