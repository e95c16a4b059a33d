//! `skelgen man`: manual pages made from the help texts.

use std::path::PathBuf;

use clap::Args;

use super::Execute;
use crate::cli::definition;
use crate::cli::screen::Screen;
use crate::error::{Code, Error, Result};
use crate::output;

/// Write a manual page for this tool and for each of its commands
#[derive(Args)]
#[command(after_long_help = include_str!("../transcripts/man.txt"))]
pub(in crate::cli) struct Man {
    /// The directory, which is created if it does not exist
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

impl Execute for Man {
    fn execute(self, _: &mut Screen) -> Result<()> {
        std::fs::create_dir_all(&self.directory).map_err(|error| {
            Error::new(Code::Io, format!("cannot create directory {}: {error}", self.directory.display()))
        })?;
        let mut root = definition().disable_help_subcommand(true);
        root.build();
        let root = root;
        self.write(&root)?;
        root.get_subcommands().try_for_each(|command| self.write(command))
    }
}

impl Man {
    fn write(&self, command: &clap::Command) -> Result<()> {
        let name = command.get_display_name().unwrap_or(command.get_name()).replace(' ', "-");
        let page = clap_mangen::Man::new(command.clone());
        let file = self.directory.join(page.get_filename());
        let failed = |error: &dyn std::fmt::Display| Error::new(Code::Io, format!("cannot write page {name}: {error}"));
        let mut text = Vec::new();
        page.render(&mut text).map_err(|error| failed(&error))?;
        let text = String::from_utf8(text).map_err(|error| failed(&error))?;
        output::to_file(&file, |out| out.write_str(&text).map_err(|error| failed(&error)))
    }
}
