//! `skelgen explain`: explains the codes of errors.

use clap::Args;

use super::Execute;
use crate::cli::screen::Screen;
use crate::error::{Code, Result};

/// Explain an error code such as SK0302: its meaning, an example, and what to do
#[derive(Args)]
#[command(after_long_help = include_str!("../transcripts/explain.txt"))]
pub(in crate::cli) struct Explain {
    /// The codes in the brackets of errors [default: list all codes]
    #[arg(value_name = "CODE", value_parser = Code::find)]
    codes: Vec<Code>,
}

impl Execute for Explain {
    fn execute(self, screen: &mut Screen) -> Result<()> {
        if self.codes.is_empty() {
            let lines = Code::ALL.iter().map(|code| format!("{code}  {}\n", code.title()));
            return screen.print(&lines.collect::<String>());
        }
        self.codes.iter().try_for_each(|code| screen.print(code.explanation()))
    }
}
