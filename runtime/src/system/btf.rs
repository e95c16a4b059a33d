//! Information that the kernel reports about BTF objects.

use std::os::fd::BorrowedFd;

use crate::error::Errno;
use crate::sys;

/// A BTF object as the kernel reports it, returned by [`system::btfs`](super::btfs).
///
/// ```no_run
/// # fn f() -> skelgen_runtime::Result<()> {
/// for btf in skelgen_runtime::system::btfs() {
///     let btf = btf?;
///     println!("{}: {} bytes, {:?}", btf.id, btf.size, btf.name);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BtfInfo {
    /// The id of the BTF object, which no other BTF object has. The kernel can reuse the id after the object is
    /// removed.
    pub id: u32,
    /// The size of the types and strings, in bytes.
    pub size: u32,
    /// `vmlinux` for the types of the kernel, or the name of the module whose types the BTF object has (Linux 5.11).
    /// `None` if a process loaded the BTF object, for its programs and maps.
    pub name: Option<String>,
}

impl BtfInfo {
    /// Returns whether the BTF object has the types of the kernel itself.
    ///
    /// ```no_run
    /// # fn f() -> skelgen_runtime::Result<()> {
    /// use skelgen_runtime::system::{self, BtfInfo};
    /// let all = system::btfs().collect::<Result<Vec<_>, _>>()?;
    /// println!("the kernel's types have {:?} bytes", all.iter().find(|btf| btf.is_vmlinux()).map(|btf| btf.size));
    /// println!("{} modules have types", all.iter().filter(|btf| btf.is_module()).count());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn is_vmlinux(&self) -> bool {
        self.name.as_deref() == Some("vmlinux")
    }

    /// Returns whether the BTF object has the types of a kernel module.
    #[must_use]
    pub fn is_module(&self) -> bool {
        self.name.is_some() && !self.is_vmlinux()
    }

    /// Reads the description of a BTF object.
    pub(super) fn of(btf: BorrowedFd<'_>) -> Result<Self, Errno> {
        let sys::btf::Description { id, size, kernel_name } = sys::btf::describe(btf)?;
        Ok(Self { id, size, name: kernel_name })
    }
}
