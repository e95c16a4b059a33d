//! Attaching programs to netfilter hooks.

use super::Link;
use crate::error::Result;
use crate::program::Program;
use crate::sys::link as sys;
use crate::uapi::{NetfilterFamily, NetfilterHook};

/// A netfilter hook to attach to, and the position among its programs.
///
/// ```no_run
/// use skelgen_runtime::link::Netfilter;
/// use skelgen_runtime::uapi::NetfilterHook;
/// # fn f(program: &skelgen_runtime::Program) -> skelgen_runtime::Result<()> {
/// let link = program.attach_netfilter(Netfilter::ipv4(NetfilterHook::LOCAL_IN).priority(-10))?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Netfilter {
    family: NetfilterFamily,
    hook: NetfilterHook,
    priority: i32,
    defragment: bool,
}

impl Netfilter {
    /// Creates an attachment to a hook of this protocol family, with priority 0.
    pub const fn new(family: NetfilterFamily, hook: NetfilterHook) -> Self {
        Self { family, hook, priority: 0, defragment: false }
    }

    /// Creates an attachment to a hook of IPv4, with priority 0.
    pub const fn ipv4(hook: NetfilterHook) -> Self {
        Self::new(NetfilterFamily::IPV4, hook)
    }

    /// Creates an attachment to a hook of IPv6, with priority 0.
    pub const fn ipv6(hook: NetfilterHook) -> Self {
        Self::new(NetfilterFamily::IPV6, hook)
    }

    /// Sets the priority among the programs of the hook; 0 by default. Lower priorities run first. The kernel reserves
    /// `i32::MIN` and `i32::MAX`.
    pub const fn priority(self, priority: i32) -> Self {
        Self { priority, ..self }
    }

    /// Sets whether IP fragments are reassembled before the program runs (Linux 6.6); `false` by default. It requires a
    /// priority above -400.
    pub const fn defragment(self, defragment: bool) -> Self {
        Self { defragment, ..self }
    }
}

impl Program {
    /// Attaches to a netfilter hook (Linux 6.4) in this thread's network namespace.
    ///
    /// # Errors
    /// If the program was not loaded, another program of the hook has the same priority, or the kernel rejects the
    /// attachment.
    pub fn attach_netfilter(&self, hook: Netfilter) -> Result<Link> {
        let point = (hook.family.0, hook.hook.0);
        sys::create_netfilter(self.fd()?, point, hook.priority, u32::from(hook.defragment))
            .map(|fd| Link::new(fd, self.name()))
            .map_err(|errno| {
                let Netfilter { family, hook, priority, .. } = hook;
                let error =
                    self.refused(format_args!("netfilter hook {hook} of {family} with priority {priority}"), errno);
                match errno.raw() {
                    libc::EAFNOSUPPORT => {
                        error.with_help("the family must be `NetfilterFamily::IPV4` or `NetfilterFamily::IPV6`")
                    }
                    libc::ERANGE => error.note(
                        "the priority must not be `i32::MIN` or `i32::MAX`; with `defragment`, it must be above -400, the priority at which fragments are reassembled",
                    ),
                    libc::EBUSY => error.with_help("another program of the hook has this priority: set a different priority"),
                    _ => error,
                }
            })
    }
}
