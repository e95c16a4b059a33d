//! Attaching tracing programs to many kernel functions with one link.

use std::collections::{BTreeMap, BTreeSet};

use super::{Link, kernel_probe, pattern};
use crate::btf::{Types, kind};
use crate::error::{Error, LinuxVersion, Result, Step, Subject};
use crate::kernel::causes;
use crate::kernel::types;
use crate::program::Program;
use crate::sys::link as sys;
use crate::uapi::AttachType;

/// The maximum size in bytes of an argument of a traceable function.
const LONGEST: u64 = 16;
/// The maximum number of arguments of a traceable function (`MAX_BPF_FUNC_ARGS` of `linux/bpf.h`).
const MOST: usize = 12;

/// Kernel functions to trace with one link (Linux 7.2).
///
/// In names, `*` matches any characters and `?` matches one. Functions that cannot be traced are skipped, as are functions of
/// modules.
///
/// ```no_run
/// use skelgen_runtime::link::TraceMulti;
/// # fn f(program: &skelgen_runtime::Program) -> skelgen_runtime::Result<()> {
/// let reads = program.attach_trace_multi(TraceMulti::functions(&["vfs_read*", "vfs_write*"]))?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct TraceMulti<'a> {
    functions: &'a [&'a str],
    cookies: &'a [u64],
}

impl<'a> TraceMulti<'a> {
    /// Creates the target from names and patterns of functions.
    pub const fn functions(functions: &'a [&'a str]) -> Self {
        Self { functions, cookies: &[] }
    }

    /// Sets the cookies: the numbers that the program reads with `bpf_get_attach_cookie`, one for each function; patterns
    /// are not accepted with cookies. None by default.
    pub const fn cookies(self, cookies: &'a [u64]) -> Self {
        Self { cookies, ..self }
    }
}

impl Program {
    /// Attaches to many kernel functions with one link, as an `fentry.multi`, `fexit.multi` or `fsession.multi` program
    /// (Linux 7.2).
    ///
    /// # Errors
    /// If the program was not loaded as such a program, a function that is named does not exist or cannot be traced, no
    /// function matches the patterns, the cookies are set for a pattern or their number is not the number of functions,
    /// or the kernel rejects the program.
    pub fn attach_trace_multi(&self, target: TraceMulti<'_>) -> Result<Link> {
        let TraceMulti { functions, cookies } = target;
        let program = self.fd()?;
        let within = |error: Error| self.attaching(error);
        let is_pattern = functions.iter().any(|function| pattern::is_pattern(function));
        if !cookies.is_empty() && (is_pattern || cookies.len() != functions.len()) {
            return Err(within(Error::invalid(
                "cookies require plain function names, one cookie for each; patterns cannot have cookies",
            )));
        }
        let ids = find(functions).map_err(within)?;
        let types = [AttachType::TRACE_FENTRY_MULTI, AttachType::TRACE_FEXIT_MULTI, AttachType::TRACE_FSESSION_MULTI];
        self.with_attach_type(&types, |attach_type| sys::create_tracing_multi(program, attach_type, &ids, cookies))?
            .map(|fd| Link::new(fd, self.name()))
            .map_err(|errno| {
                let of = functions.join("`, `");
                let error = self.refused(format_args!("{} kernel functions (`{of}`)", ids.len()), errno);
                match errno.raw() {
                    libc::EINVAL => causes::since(
                        error,
                        LinuxVersion::new(7, 2),
                        "the program must be in section `fentry.multi`, `fexit.multi` or `fsession.multi` (Linux 7.2)",
                    ),
                    libc::EOPNOTSUPP => error.note(
                        "the kernel is built without support for `fentry.multi` (CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS, \
                         and CONFIG_HAVE_SINGLE_FTRACE_DIRECT_OPS, which Linux 7.3 has only on x86-64)",
                    ),
                    _ => error,
                }
            })
    }
}

/// Returns the BTF ids of the functions: for names in their order, for patterns by ascending id.
fn find(wanted: &[&str]) -> Result<Vec<u32>> {
    let vmlinux = types::kernel(None)?;
    let by_name = traceable(&vmlinux, &kernel_probe::names(wanted)?);
    let untraceable = |name: &str| {
        Error::not_found(format_args!("the kernel has no traceable function `{name}`")).during(Step::FindSymbol).about(Subject::Symbol(name))
            .with_help("choose a function of /sys/kernel/tracing/available_filter_functions that is in BTF and whose arguments programs can read")
    };
    let mut ids = Vec::new();
    for name in wanted.iter().filter(|name| !pattern::is_pattern(name)) {
        ids.push(*by_name.get(name.as_bytes()).ok_or_else(|| untraceable(name))?);
    }
    let patterns = || wanted.iter().filter(|name| pattern::is_pattern(name));
    let matched =
        by_name.iter().filter(|(name, _)| patterns().any(|pattern| pattern::matches(pattern.as_bytes(), name)));
    let matched: BTreeSet<u32> = matched.map(|(_, &id)| id).filter(|id| !ids.contains(id)).collect();
    ids.extend(matched);
    if ids.is_empty() { Err(untraceable(&wanted.join("` or `"))) } else { Ok(ids) }
}

/// Returns the names of traceable functions among `names`, with their ids: functions whose arguments programs can read.
fn traceable<'t>(types: &'t Types, names: &BTreeSet<Vec<u8>>) -> BTreeMap<&'t [u8], u32> {
    let mut found = BTreeMap::new();
    types.each_named(|id, kind, text| {
        if kind != kind::FUNC {
            return;
        }
        let Some(name) = text.split(|&byte| byte == 0).next().filter(|name| names.contains(*name)) else { return };
        let Some(prototype) = types.referenced(id, kind::FUNC) else { return };
        // The last parameter of a variadic function has no type.
        let sizes = types.parameters(prototype).map(|parameter| types.size(parameter));
        if types.parameters(prototype).count() <= MOST
            && sizes.into_iter().all(|size| size.is_some_and(|size| size <= LONGEST))
        {
            found.insert(name, id);
        }
    });
    found
}
