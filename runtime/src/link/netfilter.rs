//! Programs of netfilter's hooks.

use super::Link;
use crate::error::Result;
use crate::program::Program;
use crate::sys::link as sys;

/// A hook of netfilter.
///
/// ```no_run
/// use skelgen_runtime::link::Netfilter;
/// # fn f(program: &skelgen_runtime::Program) -> skelgen_runtime::Result<()> {
/// let link = program.attach_netfilter(Netfilter::ipv4(Netfilter::LOCAL_IN).priority(-10))?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Netfilter {
    family: u32,
    hook: u32,
    priority: i32,
    defragment: bool,
}

impl Netfilter {
    /// All that comes in, before it is routed (`NF_INET_PRE_ROUTING`).
    pub const PRE_ROUTING: u32 = 0;
    /// What is for this machine (`NF_INET_LOCAL_IN`).
    pub const LOCAL_IN: u32 = 1;
    /// What is for another machine (`NF_INET_FORWARD`).
    pub const FORWARD: u32 = 2;
    /// What this machine sends (`NF_INET_LOCAL_OUT`).
    pub const LOCAL_OUT: u32 = 3;
    /// All that goes out, after it was routed (`NF_INET_POST_ROUTING`).
    pub const POST_ROUTING: u32 = 4;

    /// Creates a hook of IPv4, of priority 0.
    pub const fn ipv4(hook: u32) -> Self {
        Self { family: 2, hook, priority: 0, defragment: false }
    }

    /// Creates a hook of IPv6, of priority 0.
    pub const fn ipv6(hook: u32) -> Self {
        Self { family: 10, hook, priority: 0, defragment: false }
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
        let place = (hook.family, hook.hook);
        sys::create_netfilter(self.fd()?, place, hook.priority, u32::from(hook.defragment))
            .map(|fd| Link::new(fd, self.name()))
            .map_err(|errno| {
                let Netfilter { family, hook, priority, .. } = hook;
                let error = self.refused(
                    format_args!("netfilter hook {hook} of protocol family {family} with priority {priority}"),
                    errno,
                );
                match errno.raw() {
                    libc::EAFNOSUPPORT => error.with_help("the family is 2 (IPv4) or 10 (IPv6)"),
                    libc::ERANGE => error.note(
                        "the priority is one that the kernel keeps for itself, or is before fragments are put together (-400)",
                    ),
                    libc::EBUSY => error.with_help("another program of the hook has this priority: choose one beside it"),
                    _ => error,
                }
            })
    }
}
