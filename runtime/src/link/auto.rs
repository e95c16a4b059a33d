//! What the skeleton's `attach` does: attaches what can attach by itself, and says what is left and what that needs.
//!
//! Programs that need something given (an interface, a file of which the section says nothing) stand beside others in many objects. They
//! are neither an error nor forgotten: the skeleton's `Links` lists them. Called by generated code alone, which knows the fields. Must not
//! know ways of attaching.

use std::borrow::Cow;
use std::fmt;

use super::Link;
use super::StructOps;
use crate::abi::Attach;
use crate::error::{Error, Result, Step};
use crate::program::Program;

/// A program that the skeleton's `attach` has left: it was loaded, but needs something that the user must give.
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

    /// Returns what the program needs, as a noun phrase: "a network interface".
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

/// A skeleton being attached, for generated code.
#[doc(hidden)]
#[derive(Debug, Default)]
pub struct Attaching {
    attached: usize,
    left: Vec<Left>,
}

impl Attaching {
    /// Nothing is attached yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Attaches the program in this field, unless it is not loaded, auto-attach is off, or it needs something given.
    ///
    /// # Errors
    /// If its attach target is not valid, or the kernel refuses.
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
    /// If the kernel refuses.
    pub fn struct_ops(&mut self, table: &StructOps) -> Result<Option<Link>> {
        let link = table.auto_attach()?;
        self.attached += usize::from(link.is_some());
        Ok(link)
    }

    /// Returns what is left.
    ///
    /// # Errors
    /// If that is all there is: nothing was attached, and something should be.
    pub fn finish(self) -> Result<Vec<Left>> {
        match self.left.is_empty() || self.attached > 0 {
            true => Ok(self.left),
            false => Err(error("none of the programs can attach by itself", self.left.iter())),
        }
    }
}

/// The error of a skeleton that is not attached as a whole, for generated code.
///
/// # Errors
/// If something is left.
#[doc(hidden)]
pub fn nothing_left<'l, I: Iterator<Item = &'l Left>>(left: I) -> Result<()> {
    let mut left = left.peekable();
    if left.peek().is_none() { Ok(()) } else { Err(error("not all programs can attach by themselves", left)) }
}

fn error<'l, I: Iterator<Item = &'l Left>>(what: &str, left: I) -> Error {
    let left: Vec<String> = left.map(ToString::to_string).collect();
    Error::invalid(format_args!("attaching the skeleton: {what}: {}", left.join("; "))).during(Step::Attach).with_help(
        "give each what it needs: a target with `set_attach_target` before loading, or the matching method of `Program` (`attach_uprobe`, \
         `attach_xdp`, `attach_cgroup` …); `set_autoattach(false)` before loading leaves a program out",
    )
}
