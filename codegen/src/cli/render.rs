//! Errors as the tool prints them: with colors, and the source line quoted and underlined.
//!
//! The text has the same content as the `Display` of errors, which the build step prints in order to need no further
//! dependency.

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use skelgen_abi::escape::{Line, Lines};

use crate::error::{Diagnostic, Error, Location};

/// Returns an error as colored text. The caller removes the colors where they are not wanted.
pub(super) fn error(error: &Error) -> String {
    let report: Vec<Group<'_>> = error.diagnostics().iter().map(group).collect();
    format!("{}\n\n{}", Renderer::styled().render(&report), error.advice())
}

fn group(diagnostic: &Diagnostic) -> Group<'_> {
    let title = Level::ERROR.primary_title(Line(&diagnostic.message).to_string()).id(diagnostic.code.as_str());
    let mut group = Group::with_title(title);
    let location = &*diagnostic.location;
    if let Some((line, excerpt)) = location.line.as_ref().and_then(|line| Some((line, line.excerpt()?))) {
        let number = usize::try_from(line.line).unwrap_or(usize::MAX);
        let snippet = Snippet::source(excerpt.text).line_start(number).path(Line(&line.file).to_string());
        group = group.element(snippet.annotation(AnnotationKind::Primary.span(excerpt.marked)));
        let in_object = Location { line: None, ..location.clone() };
        if in_object != Location::default() {
            group = group.element(Level::NOTE.message(format!("in {in_object}")));
        }
    } else if *location != Location::default() {
        group = group.element(Origin::path(location.to_string()));
    }
    if let Some(output) = &diagnostic.output {
        group = group.element(Level::NOTE.message(Lines(output).to_string()));
    }
    match &diagnostic.help {
        Some(help) => group.element(Level::HELP.message(Line(help).to_string())),
        None => group,
    }
}

#[cfg(test)]
mod tests {
    use crate::error::{Code, SourceLine};

    use super::*;

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn a_source_line_is_quoted_and_underlined() {
        let line = SourceLine { file: "a.bpf.c".into(), line: 12, column: 2, text: Some("\tcall_it(x);".into()) };
        let diagnostic = Diagnostic::new(Code::BadReference, "cannot call `call_it`")
            .section("xdp")
            .insn(3)
            .line(line)
            .with_help("define it");
        let text = error(&diagnostic.into());
        assert!(text.contains('\u{1b}'), "{text}");
        assert_eq!(
            plain(&text),
            "\
error[SK0305]: cannot call `call_it`
  --> a.bpf.c:12:1
   |
12 | call_it(x);
   | ^^^^^^^
   |
   = note: in section xdp, instruction 3
   = help: define it

run `skelgen explain SK0305` for an explanation"
        );
    }

    #[test]
    fn hostile_text_is_escaped() {
        let line =
            SourceLine { file: "a\n\u{1b}[31m.c".into(), line: 1, column: 9, text: Some("x\u{202e}\u{1b}y".into()) };
        let diagnostic = Diagnostic::new(Code::BadName, "a\r\nb\u{9b}").section("\u{1b}").line(line).with_help("\n");
        let text = plain(&error(&diagnostic.into()));
        assert!(text.lines().all(|line| line.chars().all(skelgen_abi::escape::is_visible)), "{text:?}");
    }
}
