//! `skelgen gen`: writes the skeleton of an object.

use clap::Args;

use super::Execute;
use crate::api;
use crate::cli::input::Input;
use crate::cli::screen::{Output, Screen};
use crate::error::Result;
use crate::options::args::{FormArgs, SkeletonArgs, TypeArgs};

/// Write the Rust skeleton of an object. Include it with `mod NAME;`
#[derive(Args)]
#[command(after_long_help = include_str!("../transcripts/gen.txt"))]
pub(in crate::cli) struct Generate {
    #[command(flatten)]
    input: Input,
    #[command(flatten)]
    form: FormArgs,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    types: TypeArgs,
    #[command(flatten)]
    skeleton: SkeletonArgs,
}

impl Execute for Generate {
    fn execute(self, screen: &mut Screen) -> Result<()> {
        self.input.with(|mut source| {
            self.form.put_into(&mut source.options);
            self.types.put_into(&mut source.options);
            self.skeleton.put_into(&mut source.options);
            let object = api::inspect(&source.bytes, &source.options)?;
            // Free the file's bytes: the debug information is many times larger than the memory of the following
            // phases.
            drop(source.bytes);
            for warning in object.warnings() {
                screen.warn(&source.path, &warning);
            }
            self.output.write(|out| object.write(out))
        })
    }
}
