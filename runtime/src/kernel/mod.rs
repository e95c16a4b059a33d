//! The running kernel: its BTF, its CPUs, its features.

pub(crate) mod arena;
pub(crate) mod btf;
pub(crate) mod btf_set;
pub(crate) mod causes;
pub(crate) mod features;
pub(crate) mod jit;
pub(crate) mod kallsyms;
pub(crate) mod kconfig;
mod named_types;
pub(crate) mod percpu;
pub(crate) mod probe;
mod support;
mod symbols;
pub(crate) mod syscalls;
pub mod token;
mod trace_line;
mod trace_pipe;
pub(crate) mod tracefs;
mod type_view;
pub(crate) mod types;

pub use self::named_types::Types;
pub use self::support::{
    Feature, HelperSupport, has_attach_type, has_feature, has_helper, has_kfunc, has_map_flags, has_map_type,
    has_program_type, helper_support,
};
pub use self::symbols::{Location, Symbol, Symbols};
pub use self::trace_line::{TraceEvent, TraceLine};
pub use self::trace_pipe::TracePipe;
pub use self::type_view::{Function, Member, Type};
use crate::error::{LinuxVersion, Result};
pub use crate::sys::cpus;

/// Returns the version of the running kernel.
///
/// Use the version for messages. Distributions add features of later versions to their kernels: to check whether the
/// kernel has a feature, call [`has_feature`].
///
/// ```
/// use skelgen_runtime::error::LinuxVersion;
///
/// println!("this is Linux {}", skelgen_runtime::kernel::version()?);
/// assert!(skelgen_runtime::kernel::version()? >= LinuxVersion::new(3, 18));
/// # Ok::<(), skelgen_runtime::Error>(())
/// ```
///
/// # Errors
/// If `/proc` cannot be read, or the kernel's release does not begin with a version.
pub fn version() -> Result<LinuxVersion> {
    let code = kconfig::version()?;
    // The number consists of major version, minor version and patch level.
    let part = |shift: u32| u16::try_from(code >> shift & 0xff).unwrap_or(0);
    Ok(LinuxVersion::new(part(16), part(8)))
}
