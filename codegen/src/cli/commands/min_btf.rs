//! `skelgen min-btf`: writes the part of a kernel's BTF that objects need.

use std::path::PathBuf;

use clap::Args;

use super::Execute;
use crate::build;
use crate::build::kernel::{KernelFile, RUNNING};
use crate::cli::screen::{Output, Screen};
use crate::error::{Error, Result};
use crate::generate;

/// Write the part of a kernel's BTF that the CO-RE relocations of objects need
///
/// A program that contains the file can load the objects on that kernel without the kernel's own BTF: see
/// `LoadOptions::set_btf_set` of the runtime.
#[derive(Args)]
#[command(after_long_help = include_str!("../transcripts/min-btf.txt"))]
pub(in crate::cli) struct MinBtf {
    /// The BPF objects
    #[arg(value_name = "OBJECT", required = true)]
    objects: Vec<PathBuf>,
    /// The kernel's types: raw BTF, or a kernel (also a compressed image)
    #[arg(long, value_name = "FILE", default_value = RUNNING)]
    btf: PathBuf,
    #[command(flatten)]
    output: Output,
}

impl Execute for MinBtf {
    fn execute(self, _: &mut Screen) -> Result<()> {
        let read = |path: &PathBuf| {
            let relocations = build::read(path).and_then(|bytes| generate::relocations(&bytes));
            relocations.map_err(|error| error.in_file(path))
        };
        let objects = self.objects.iter().map(read).collect::<Result<Vec<_>, Error>>()?;
        let kernel = KernelFile::read(&self.btf)?;
        let objects: Vec<_> = objects.iter().collect();
        let bytes = generate::min_btf(&kernel.bytes, &objects).map_err(|error| error.in_file(&self.btf))?;
        self.output.write_bytes(&bytes)
    }
}
