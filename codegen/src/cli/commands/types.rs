//! `skelgen types`: writes Rust types for C types.

use clap::Args;

use super::Execute;
use crate::api;
use crate::cli::input::Input;
use crate::cli::screen::{Output, Screen};
use crate::error::Result;
use crate::options::args::TypeArgs;

/// Write Rust types for every struct, union and enum of an object, of a kernel image, or of raw BTF such as
/// /sys/kernel/btf/vmlinux
#[derive(Args)]
#[command(after_long_help = include_str!("../transcripts/types.txt"))]
pub(in crate::cli) struct Types {
    #[command(flatten)]
    input: Input,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    types: TypeArgs,
}

impl Execute for Types {
    fn execute(self, _: &mut Screen) -> Result<()> {
        self.input.with(|mut source| {
            self.types.put_into(&mut source.options);
            self.output.print(&api::types(&source.bytes, &source.options)?)
        })
    }
}
