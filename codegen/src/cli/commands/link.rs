//! `skelgen link`: links objects to one.

use std::path::PathBuf;

use clap::Args;

use super::Execute;
use crate::cli::input;
use crate::cli::screen::{Output, Screen};
use crate::error::Result;

/// Link BPF objects, which were compiled from several sources, to one object
///
/// A global name means the same in all objects: one of them defines it, the others declare it `extern`. Names of weak
/// definitions can have several. Of static archives (`.a`), only the objects are linked that define missing names. The
/// output does not depend on the order of the inputs.
#[derive(Args)]
#[command(after_long_help = include_str!("../transcripts/link.txt"))]
pub(in crate::cli) struct Link {
    /// The BPF objects and static archives (`.a`) of objects, or `-` for standard input
    #[arg(value_name = "OBJECT", required = true)]
    objects: Vec<PathBuf>,
    #[command(flatten)]
    output: Output,
}

impl Execute for Link {
    fn execute(self, _: &mut Screen) -> Result<()> {
        self.output.write_bytes(&input::link(&self.objects)?)
    }
}
