//! The skeleton's `attach`: attaches the programs that can attach automatically, and lists the others with the argument
//! that they need.
//!
//! Many objects contain programs that need a target from the user (an interface, or a file if the section has none).
//! They are not an error: the skeleton's `Links` lists them. Only generated code, which knows the fields, calls this
//! module. It does not depend on how programs attach.

use std::borrow::Cow;
use std::fmt;

use super::Link;
use super::StructOps;
use super::ways::Way;
use crate::abi::Attach;
use crate::error::{Error, Result, Step};
use crate::escape::Line;
use crate::program::Program;

/// A loaded program that the skeleton's `attach` did not attach, because it needs a target from the user, or because it
/// is optional and cannot be attached.
///
/// ```no_run
/// # fn f(left: &skelgen_runtime::link::Left) {
/// eprintln!("not attached: {left}"); // not attached: program `on_call` (section `uprobe`) needs an executable or shared library, and a function in it
/// # }
/// ```
///
/// ```
/// # fn f(left: &skelgen_runtime::link::Left) {
/// if let Some(what) = left.needs() {
///     println!("give {} {what}", left.program());
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct Left {
    field: &'static str,
    program: String,
    section: String,
    why: Why,
}

/// The reason why a program was not attached.
#[derive(Debug)]
enum Why {
    Needs(Cow<'static, str>),
    Rejected(Error),
}

impl Left {
    /// Returns the name of the program's field in the skeleton's `programs`, which is also the name of the link's field in
    /// `Links`.
    #[must_use]
    pub fn field(&self) -> &'static str {
        self.field
    }

    /// Returns the name of the program.
    #[must_use]
    pub fn program(&self) -> &str {
        &self.program
    }

    /// Returns the name of the program's section.
    #[must_use]
    pub fn section(&self) -> &str {
        &self.section
    }

    /// Returns the argument or target that the program needs, as a noun phrase such as "a network interface". Returns
    /// `None` if the program is optional and cannot be attached.
    #[must_use]
    pub fn needs(&self) -> Option<&str> {
        match &self.why {
            Why::Needs(what) => Some(what),
            Why::Rejected(_) => None,
        }
    }

    /// Returns why an [optional](crate::OpenProgram::set_optional) program cannot be attached.
    #[must_use]
    pub fn error(&self) -> Option<&Error> {
        match &self.why {
            Why::Needs(_) => None,
            Why::Rejected(error) => Some(error),
        }
    }
}

/// Names are those of the object, so characters that could control a terminal are escaped.
impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.why {
            Why::Needs(what) => {
                write!(
                    f,
                    "program `{}` (section `{}`) needs {why}",
                    Line(&self.program),
                    Line(&self.section),
                    why = Line(what)
                )
            }
            Why::Rejected(error) => write!(f, "{}", error.headline()),
        }
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

    /// Attaches the program in this field. Does nothing if the program is not loaded, its auto-attach is off, or it needs
    /// a target from the user.
    ///
    /// # Errors
    /// If the attach target is not valid, or the program is not optional and the kernel rejects it.
    pub fn program(&mut self, field: &'static str, program: &Program, way: Way) -> Result<Option<Link>> {
        if !program.autoattaches() || !program.is_loaded() {
            return Ok(None);
        }
        let left = |why| {
            let (program, section) = (program.name().to_owned(), program.section().unwrap_or_default().to_owned());
            Left { field, program, section, why }
        };
        let target = program.attach_target()?;
        let Some(needs) = target.needs() else {
            return match program.added_way().unwrap_or(way)(program, target, 0) {
                Ok(link) => {
                    self.attached += 1;
                    Ok(Some(link))
                }
                Err(error) if program.is_optional() => {
                    self.left.push(left(Why::Rejected(error)));
                    Ok(None)
                }
                Err(error) => Err(error),
            };
        };
        let malformed = match target {
            Attach::Target(way) => super::attach::malformed(program, way),
            _ => None,
        };
        let needs = match malformed {
            Some(malformed) => format!("{needs} (the section names an invalid target: {malformed})").into(),
            None => needs.into(),
        };
        self.left.push(left(Why::Needs(needs)));
        Ok(None)
    }

    /// Registers a struct_ops map. Does nothing if the map was not created or its auto-attach is off.
    ///
    /// # Errors
    /// If the kernel rejects the map's value.
    pub fn struct_ops(&mut self, map: &StructOps) -> Result<Option<Link>> {
        let link = map.auto_attach()?;
        self.attached += usize::from(link.is_some());
        Ok(link)
    }

    /// Returns the programs that were not attached.
    ///
    /// # Errors
    /// If nothing was attached, and at least one program needs a target from the user.
    pub fn finish(self) -> Result<Vec<Left>> {
        match self.left.is_empty() || self.attached > 0 {
            true => Ok(self.left),
            false => Err(error("none of the programs can attach automatically", self.left.iter())),
        }
    }
}

/// Returns an error that lists the programs in `left` that are not optional; `Ok` if there are none. For generated
/// code.
///
/// # Errors
/// If `left` has a program that is not optional.
#[doc(hidden)]
pub fn nothing_left<'l, I: Iterator<Item = &'l Left>>(left: I) -> Result<()> {
    let mut left = left.filter(|left| left.needs().is_some()).peekable();
    if left.peek().is_none() { Ok(()) } else { Err(error("not all programs can attach automatically", left)) }
}

fn error<'l, I: Iterator<Item = &'l Left>>(what: &str, left: I) -> Error {
    let left: Vec<String> = left.map(ToString::to_string).collect();
    Error::invalid(format_args!("cannot attach the skeleton: {what}: {}", left.join("; "))).during(Step::Attach).with_help(
        "set a target with `set_attach_target` before loading, or call the matching method of `Program` (`attach_uprobe`, \
         `attach_xdp`, `attach_cgroup` …); `set_autoattach(false)` before loading excludes a program",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_can_be_shown_on_a_terminal() {
        let why = Why::Needs("a target\u{202e} (the one in its section is not valid: \x1b[2J)".to_owned().into());
        let left =
            Left { field: "f", program: "a\rb\x1b[31m".into(), section: "kprobe/\nerror: x\u{2066}".into(), why };
        let shown = left.to_string();
        assert!(shown.chars().all(|c| !c.is_control() && !matches!(c, '\u{202e}' | '\u{2066}')), "{shown:?}");
        assert!(error("not all", [&left].into_iter()).to_string().contains("\\u{1b}[31m"), "{shown:?}");
    }
}
