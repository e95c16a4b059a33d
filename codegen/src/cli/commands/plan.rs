//! `skelgen plan`: shows the load plan of objects.

use clap::Args;

use super::Execute;
use crate::api;
use crate::cli::input::Inputs;
use crate::cli::screen::Screen;
use crate::error::Result;
use crate::options::args::FormArgs;

/// Show the requests that a load makes to the kernel, step by step
#[derive(Args)]
#[command(after_long_help = include_str!("../transcripts/plan.txt"))]
pub(in crate::cli) struct Plan {
    #[command(flatten)]
    inputs: Inputs,
    #[command(flatten)]
    form: FormArgs,
    /// Print the plan as JSON
    #[arg(long)]
    json: bool,
}

impl Execute for Plan {
    fn execute(self, screen: &mut Screen) -> Result<()> {
        self.inputs.each(screen, |mut source, screen| {
            self.form.put_into(&mut source.options);
            let plan = api::plan(&source.bytes, &source.options)?;
            if self.json { screen.print_json(&plan) } else { screen.print(&plan.to_string()) }
        })
    }
}
