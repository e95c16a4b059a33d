//! Kernel configuration in a plan: the values to read from the running kernel, and their offsets.

use std::fmt;

use skelgen_abi::escape::Line;
use skelgen_abi::plan::{Kconfig, KconfigKind};

/// Prints a line about a value.
pub(super) fn print(f: &mut fmt::Formatter<'_>, config: &Kconfig) -> fmt::Result {
    let kind = match config.kind {
        KconfigKind::Bool => "bool",
        KconfigKind::Tristate => "tristate",
        KconfigKind::Char { .. } => "char",
        KconfigKind::Integer { signed: true } => "signed integer",
        KconfigKind::Integer { signed: false } => "unsigned integer",
        KconfigKind::Text => "text",
    };
    let weak = if config.weak { ", may be missing" } else { "" };
    writeln!(f, "        {:>6}  {}: {kind} of {} bytes{weak}", config.offset, Line(&config.name), config.size)
}
