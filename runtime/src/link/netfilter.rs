//! Programs of netfilter's hooks.

use super::Link;
use crate::error::Result;
use crate::program::Program;
use crate::sys::link as sys;
use crate::uapi::{NetfilterFamily, NetfilterHook};

/// A hook of netfilter to attach to, and the position there.
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
    /// Creates an attachment to a hook of this family of protocols, of priority 0.
    pub const fn new(family: NetfilterFamily, hook: NetfilterHook) -> Self {
        Self { family, hook, priority: 0, defragment: false }
    }

    /// Creates an attachment to a hook of IPv4, of priority 0.
    pub const fn ipv4(hook: NetfilterHook) -> Self {
        Self::new(NetfilterFamily::IPV4, hook)
    }

    /// Creates an attachment to a hook of IPv6, of priority 0.
    pub const fn ipv6(hook: NetfilterHook) -> Self {
        Self::new(NetfilterFamily::IPV6, hook)
    }

    /// Sets the priority among the programs of the hook; 0 by default. The lower runs first. The kernel keeps `i32::MIN` and
    /// `i32::MAX` for itself.
    pub const fn priority(self, priority: i32) -> Self {
        Self { priority, ..self }
    }

    /// Sets whether fragments are put together before the program sees them (Linux 6.6); `false` by default. It needs a priority above
    /// -400.
    pub const fn defragment(self, defragment: bool) -> Self {
        Self { defragment, ..self }
    }
}

impl Program {
    /// Attaches to a hook of netfilter (Linux 6.4) in this thread's network namespace.
    ///
    /// # Errors
    /// If it was not loaded, the kernel refuses, or another program of the hook has the same priority.
    pub fn attach_netfilter(&self, hook: Netfilter) -> Result<Link> {
        let place = (hook.family.0, hook.hook.0);
        sys::create_netfilter(self.fd()?, place, hook.priority, u32::from(hook.defragment))
            .map(|fd| Link::new(fd, self.name()))
            .map_err(|errno| {
                let Netfilter { family, hook, priority, .. } = hook;
                let error = self.refused(
                    format_args!("netfilter hook {hook} of {family} with priority {priority}"),
                    errno,
                );
                match errno.raw() {
                    libc::EAFNOSUPPORT => error.with_help("the family must be `NetfilterFamily::IPV4` or `NetfilterFamily::IPV6`"),
                    libc::ERANGE => error.note(
                        "the priority is one that the kernel keeps for itself, or is before fragments are put together (-400)",
                    ),
                    libc::EBUSY => error.with_help("another program of the hook has this priority: choose one beside it"),
                    _ => error,
                }
            })
    }
}
