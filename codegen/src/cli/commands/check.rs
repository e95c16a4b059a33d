//! `skelgen check`: reports the maps and programs of objects that will not work on a kernel.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use skelgen_abi::escape::Line;

use super::Execute;
use crate::check::{Finding, Needs, Severity, Unchecked};
use crate::cli::input::Inputs;
use crate::cli::kernel::{CheckedKernel, Named};
use crate::cli::screen::Screen;
use crate::error::Result;
use crate::generate;

/// Report the maps and programs of objects that will not work on a kernel, and why
///
/// A version determines which map types, helpers, instructions and program sections the kernel has. A file with the
/// kernel's types shows whether the kernel has the functions, variables, hooks and fields that the object refers to;
/// a module may have what the kernel lacks, unless a directory such as /sys/kernel/btf has the types of all modules.
/// Code that the kernel's verifier does not reach, because a condition is known to be false on this kernel, may need
/// anything. Versions are those of upstream Linux; a distribution may have backported a feature. Options of the kernel's
/// configuration are not checked. What could not be checked is listed. The exit status is 3 if a map or program that
/// the object loads by default will not work.
#[derive(Args)]
#[command(after_long_help = include_str!("../transcripts/check.txt"))]
pub(in crate::cli) struct Check {
    #[command(flatten)]
    inputs: Inputs,
    /// Version of the kernel such as 6.1, or its types: raw BTF, a kernel (also a compressed image, which has its version
    /// too), or a directory with the raw BTF of a kernel and all its modules. Can be repeated, to name both [default: the
    /// running kernel]
    #[arg(long = "kernel", value_name = "VERSION|BTF", value_parser = clap::value_parser!(Named))]
    kernels: Vec<Named>,
    /// Exit with status 3 also if it is not certain that everything works
    #[arg(long)]
    strict: bool,
    /// Print JSON, one document for each object
    #[arg(long)]
    json: bool,
}

/// The result for one object, as `--json` prints it.
#[derive(Serialize)]
struct Report {
    object: String,
    kernel: Option<String>,
    btf: Option<PathBuf>,
    /// Whether all maps and programs that are loaded by default work; `null` if that is not certain.
    works: Option<bool>,
    findings: Vec<Finding>,
    unchecked: Vec<Unchecked>,
}

impl Execute for Check {
    fn execute(self, screen: &mut Screen) -> Result<()> {
        let kernel = CheckedKernel::read(&self.kernels)?;
        self.inputs.each(screen, |source, screen| {
            let object = generate::inspect(&source.bytes, &source.options)?;
            let (findings, unchecked) = (kernel.check(&object)?, kernel.unchecked(&object));
            let any = |severity| findings.iter().any(|finding| finding.severity == severity);
            let works = match any(Severity::Fails) {
                true => Some(false),
                false => (!any(Severity::Perhaps) && unchecked.is_empty()).then_some(true),
            };
            if works == Some(false) || self.strict && works.is_none() {
                screen.unfit();
            }
            let report = Report {
                object: object.name.clone(),
                kernel: kernel.version(),
                btf: kernel.types().map(Path::to_owned),
                works,
                findings,
                unchecked,
            };
            if self.json { screen.print_json(&report) } else { screen.print(&report.to_string()) }
        })
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "object {} on ", Line(&self.object))?;
        match (&self.kernel, &self.btf) {
            (Some(version), _) => write!(f, "Linux {version}")?,
            (None, Some(btf)) => write!(f, "the kernel of {}", Line(btf.display()))?,
            (None, None) => f.write_str("the kernel with these types")?,
        }
        let fails = self.findings.iter().filter(|finding| finding.severity == Severity::Fails).count();
        match fails {
            0 if self.findings.iter().any(|finding| finding.severity == Severity::Perhaps) => {
                writeln!(f, ": no certain problem")?;
            }
            0 => writeln!(f, ": no problems found")?,
            1 => writeln!(f, ": 1 problem")?,
            many => writeln!(f, ": {many} problems")?,
        }
        self.findings.iter().try_for_each(|finding| writeln!(f, "  {finding}"))?;
        for (needs, how) in [
            (Needs::Version, "name the kernel's version too: `--kernel 6.1`"),
            (Needs::Types, "name the kernel's types too: `--kernel vmlinuz`"),
        ] {
            let what: Vec<_> = self.unchecked.iter().filter(|it| it.needs == needs).map(|it| &*it.what).collect();
            if !what.is_empty() {
                writeln!(f, "  not checked: {}; {how}", what.join(", "))?;
            }
        }
        Ok(())
    }
}
