//! `skelgen inspect`: shows what objects contain.

use clap::Args;

use super::Execute;
use crate::api;
use crate::cli::input::Inputs;
use crate::cli::screen::Screen;
use crate::error::Result;
use crate::options::args::FormArgs;

/// The JSON Schema of `--json`.
const SCHEMA: &str = include_str!("inspect.schema.json");

/// Show the maps, variables and programs of objects, with C types, memory, and the kernel features that they need
#[derive(Args)]
#[command(after_long_help = include_str!("../transcripts/inspect.txt"))]
pub(in crate::cli) struct Inspect {
    #[command(flatten)]
    inputs: Inputs,
    #[command(flatten)]
    form: FormArgs,
    /// Print JSON, one document for each object
    #[arg(long)]
    json: bool,
    /// Print the JSON Schema of the output of `--json`
    #[arg(long, exclusive = true)]
    schema: bool,
}

impl Execute for Inspect {
    fn execute(self, screen: &mut Screen) -> Result<()> {
        if self.schema {
            return screen.print(SCHEMA);
        }
        self.inputs.each(screen, |mut source, screen| {
            self.form.put_into(&mut source.options);
            let object = api::inspect(&source.bytes, &source.options)?;
            if self.json { screen.print_json(&object) } else { screen.print(&object.to_string()) }
        })
    }
}
