//! Attaching programs that replace a function of another program.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use super::Link;
use crate::btf::Types;
use crate::error::{Errno, Error, Result, Step, Subject};
use crate::program::Program;
use crate::sys;

impl Program {
    /// Replaces a function other than the one that was set with
    /// [`set_attach_program`](crate::OpenProgram::set_attach_program) before this `freplace` program was loaded (Linux
    /// 5.10). Both functions must have the same type. [`attach`](Self::attach) replaces the function that was set.
    ///
    /// ```no_run
    /// # use skelgen_runtime::Program;
    /// # fn f(program: &Program, other: &Program) -> skelgen_runtime::Result<()> {
    /// let link = program.attach_to(other.fd()?, "handle_packet")?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If the program was not loaded, the other program has no such function or no BTF, or the kernel rejects the
    /// attachment.
    pub fn attach_to(&self, program: impl AsFd, function: &str) -> Result<Link> {
        let program = program.as_fd();
        let own = self.fd()?;
        let id = function_id(program, function, None).map_err(|error| self.attaching(error))?;
        self.with_attach_type(&[], |attach_type| sys::link::create(own, program.as_raw_fd(), attach_type, 0, (id, 0)))?
            .map(|fd| Link::new(fd, self.name()))
            .map_err(|errno| {
                let error = self.refused(format_args!("function `{function}` of another program"), errno);
                match errno.raw() {
                    libc::EINVAL => {
                        error.with_help("both functions must have the same type, and the replaced one must be global")
                    }
                    libc::EBUSY => error.note("the function is already replaced"),
                    _ => error,
                }
            })
    }
}

/// Returns the BTF id of a function of a loaded program. If `token` is set, opens the program's BTF with the rights of
/// the token, if the kernel supports that.
pub(crate) fn function_id(program: BorrowedFd<'_>, function: &str, token: Option<BorrowedFd<'_>>) -> Result<u32> {
    let refused = |errno: Errno| {
        let error = Error::refused("cannot read the BTF of the target program", errno);
        match errno.raw() {
            libc::EPERM => error.with_help(
                "run with CAP_SYS_ADMIN, or with a BPF token that delegates `btf_get_fd_by_id` on a kernel that supports it \
                 (6.12 does not)",
            ),
            _ => error,
        }
    };
    let id = sys::prog::describe(program, sys::prog::Parts::default()).map_err(refused)?.info.btf_id;
    if id == 0 {
        return Err(Error::not_found("the target program was loaded without BTF"));
    }
    let btf = sys::btf::open(id, token).map_err(refused)?;
    let types = Types::of_program(sys::btf::read(btf.as_fd()).map_err(refused)?).map_err(|why| {
        Error::malformed(format_args!("the BTF of the target program is malformed: {why}")).during(Step::ReadKernel)
    })?;
    types.find_function(function).ok_or_else(|| {
        Error::not_found(format_args!("the target program has no function `{function}`"))
            .during(Step::FindSymbol)
            .about(Subject::Symbol(function))
    })
}
