//! `skelgen header`: writes the types of a kernel as a C header.

use std::path::{Path, PathBuf};

use clap::Args;

use super::Execute;
use crate::build::kernel::{KernelFile, RUNNING};
use crate::cli::screen::{Output, Screen};
use crate::error::Result;
use crate::generate;

/// Write a C header of all types of a kernel, for BPF programs: vmlinux.h
#[derive(Args)]
#[command(after_long_help = include_str!("../transcripts/header.txt"))]
pub(in crate::cli) struct Header {
    /// Raw BTF, a kernel (also a compressed image), a module or an object
    #[arg(value_name = "BTF", default_value = RUNNING)]
    btf: PathBuf,
    /// The kernel's BTF, if BTF is that of a module [default: the running kernel's BTF, if the module is one of the
    /// running kernel]
    #[arg(long, value_name = "FILE")]
    base: Option<PathBuf>,
    /// Write only the type or kfunc of this name, and the types that it needs. Can be repeated
    #[arg(long = "type", value_name = "NAME")]
    types: Vec<String>,
    #[command(flatten)]
    output: Output,
}

impl Execute for Header {
    fn execute(self, _: &mut Screen) -> Result<()> {
        let file = KernelFile::read(&self.btf)?;
        // /sys/kernel/btf contains the kernel's own types and those of its modules.
        let vmlinux = Path::new(RUNNING);
        let of_module = self.btf.parent() == vmlinux.parent() && self.btf != vmlinux;
        let base = self.base.or_else(|| of_module.then(|| vmlinux.to_owned()));
        let base = base.map(|base| KernelFile::read(&base)).transpose()?;
        let base = base.as_ref().map(|base| &base.bytes[..]);
        let text = generate::header(&file.bytes, base, &self.types, file.release.as_deref());
        self.output.print(&text.map_err(|error| error.in_file(&self.btf))?)
    }
}
