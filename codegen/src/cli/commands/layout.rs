//! `skelgen layout`: draws the bytes of sections and types.

use clap::Args;

use super::Execute;
use crate::cli::input::Input;
use crate::cli::layout::Layout as Drawing;
use crate::cli::screen::{Output, Screen};
use crate::error::{Code, Diagnostic, Result};
use crate::generate;

/// Draw the bytes of a data section or of a C type: the variable or member to which each byte belongs
///
/// Prints a line for each variable and member, with a picture of the eight aligned bytes in which it begins: `#` is a
/// byte of the variable or member, `-` is padding, and `>` means that more bytes follow.
#[derive(Args)]
#[command(after_long_help = include_str!("../transcripts/layout.txt"))]
pub(in crate::cli) struct Layout {
    #[command(flatten)]
    input: Input,
    /// Section such as `.bss`, or type such as `struct event`
    #[arg(value_name = "SECTION|TYPE", required = true)]
    what: Vec<String>,
    /// Draw an SVG image
    #[arg(long, conflicts_with = "json")]
    svg: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    output: Output,
}

impl Execute for Layout {
    fn execute(self, _: &mut Screen) -> Result<()> {
        // The name of a type can be two arguments: `struct event`.
        let what = self.what.join(" ");
        self.input.with(|source| {
            // Only the model of an object lays out sections. Other files have only types.
            let btf = match generate::inspect(&source.bytes, &source.options) {
                Ok(object) => object.btf,
                // A file that is not an object has only types. The sections of an invalid object have no layout.
                Err(error) if [Code::NotElf, Code::NotBpf].contains(&error.code()) => {
                    Some(generate::raw_types(&source.bytes)?)
                }
                Err(error) => return Err(error),
            };
            let Some(btf) = btf else {
                return Err(Diagnostic::new(Code::MissingBtf, "the object has no section .BTF").into());
            };
            let Some(layout) = Drawing::find(&btf, &what) else {
                let message = format!("no data section, struct or union is named `{what}`");
                let help = "`skelgen inspect` lists the sections; clang keeps only the types of global variables, of maps and \
                            of function parameters";
                return Err(Diagnostic::new(Code::NoSuchType, message).with_help(help).into());
            };
            match (self.svg, self.json) {
                (true, _) => self.output.print(&layout.svg()),
                (_, true) => self.output.print_json(&layout),
                _ => self.output.print(&layout.to_string()),
            }
        })
    }
}
