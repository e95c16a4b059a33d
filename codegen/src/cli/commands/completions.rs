//! `skelgen completions`: completions of the command line for shells.

use clap::Args;
use clap_complete::Shell;

use super::Execute;
use crate::cli::definition;
use crate::cli::screen::{Output, Screen};
use crate::error::{Code, Error, Result};

/// Write the completions of this command line for a shell
#[derive(Args)]
#[command(after_long_help = include_str!("../transcripts/completions.txt"))]
pub(in crate::cli) struct Completions {
    /// The shell
    shell: Shell,
    #[command(flatten)]
    output: Output,
}

impl Execute for Completions {
    fn execute(self, _: &mut Screen) -> Result<()> {
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut definition(), "skelgen", &mut text);
        let text = String::from_utf8(text)
            .map_err(|error| Error::new(Code::Io, format!("cannot write completions: {error}")))?;
        self.output.print(&text)
    }
}
