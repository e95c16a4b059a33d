//! Reads the indexed types of the kernel and its modules.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::btf::{self, DIRECTORY};
use crate::btf::{Bytes, Types};
use crate::error::{Errno, Error, ErrorKind, Result, Step, Subject};
use crate::sys::btf as sys;

/// Reads the types of the running kernel, or those in the file at `path`.
pub(crate) fn kernel(path: Option<&Path>) -> Result<Arc<Types>> {
    let own = Path::new(DIRECTORY).join("vmlinux");
    let types = Types::read(path.unwrap_or(&own), path.is_none(), None);
    types.map(Arc::new).map_err(|error| match error.kind() {
        ErrorKind::Malformed => error,
        _ => error.with_help(
            "enable CONFIG_DEBUG_INFO_BTF in the kernel, or pass a BTF file with `set_kernel_btf` (for CO-RE relocation only)",
        ),
    })
}

/// Reads the types in a file.
pub(super) fn file(path: &Path, base: Option<Arc<Types>>) -> Result<Arc<Types>> {
    Types::read(path, false, base).map(Arc::new)
}

/// Reads the types of the BTF object with this id, and the name of the module whose types they are.
pub(super) fn of_id(id: u32) -> Result<(Arc<Types>, Option<String>)> {
    let refused = |errno: Errno| {
        let error = Error::refused(format_args!("cannot read the BTF with id {id}"), errno).during(Step::ReadKernel);
        match errno.raw() {
            libc::EPERM => error.with_help(btf::NEEDS_ADMIN),
            _ => error,
        }
    };
    let fd = sys::open(id, None).map_err(refused)?;
    let bytes = sys::read(fd.as_fd()).map_err(refused)?;
    let name = sys::kernel_name(fd.as_fd()).map_err(refused)?;
    let module = name.clone().filter(|name| name != "vmlinux");
    let base = module.is_some().then(|| kernel(None)).transpose()?;
    let types = match name {
        None => Types::of_program(bytes),
        Some(_) => Types::new(Bytes::Owned(bytes), base, pointer()),
    };
    let types = types.map_err(|why| {
        Error::malformed(format_args!("the BTF with id {id} is malformed: {why}")).during(Step::ReadKernel)
    })?;
    Ok((Arc::new(types), module))
}

/// Returns the size of a pointer of the kernel in bytes, which is that of this process's architecture.
pub(super) fn pointer() -> u64 {
    u64::try_from(size_of::<*const ()>()).unwrap_or(8)
}

/// Returns whether this is the path of the running kernel's BTF.
pub(crate) fn is_running(path: &Path) -> bool {
    path == Path::new(DIRECTORY).join("vmlinux")
}

/// An iterator that reads the types of modules one after another. It collects a note for each module that cannot be
/// read.
pub(crate) struct Modules<'a> {
    vmlinux: &'a Arc<Types>,
    paths: std::vec::IntoIter<PathBuf>,
    pub(crate) unread: Vec<String>,
}

/// Iterates over the modules of the running kernel that have BTF, ordered by name.
pub(crate) fn modules(vmlinux: &Arc<Types>) -> Modules<'_> {
    let (mut paths, mut unread) = (btf::module_paths(), Vec::new());
    // The type ids of modules begin after the last id of vmlinux, so all types of vmlinux must be readable.
    if let Some(gap) = vmlinux.gap() {
        paths.clear();
        unread.push(btf::unread(Path::new("vmlinux"), gap));
    }
    Modules { vmlinux, paths: paths.into_iter(), unread }
}

/// Reads the types of one module.
pub(crate) fn module(vmlinux: &Arc<Types>, name: &str) -> Result<Arc<Types>> {
    Types::read(&Path::new(DIRECTORY).join(name), true, Some(Arc::clone(vmlinux))).map(Arc::new)
}

impl Iterator for Modules<'_> {
    type Item = (String, Arc<Types>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let path = self.paths.next()?;
            match Types::read(&path, true, Some(Arc::clone(self.vmlinux))) {
                Ok(types) => {
                    self.unread.extend(types.gap().map(|gap| btf::unread(&path, gap)));
                    return Some((btf::module_name(&path), Arc::new(types)));
                }
                // A module can be unloaded at any time; it is then skipped.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => self.unread.push(btf::unread(&path, &error)),
            }
        }
    }
}

/// A struct that was found, and the kernel or module that has it.
pub(crate) struct Owner {
    pub(crate) types: Arc<Types>,
    /// The module; `None` for the kernel itself.
    pub(crate) module: Option<String>,
    pub(crate) id: u32,
}

/// A lookup of structs by name: first in the kernel, then in each loaded module.
pub(crate) struct Finder {
    vmlinux: Arc<Types>,
}

impl Finder {
    pub(crate) fn new(vmlinux: Arc<Types>) -> Self {
        Self { vmlinux }
    }

    /// Finds a struct. The error lists the BTF that could not be read.
    pub(crate) fn find(&self, name: &str) -> Result<Owner, Vec<String>> {
        if let Some(id) = self.vmlinux.find_struct(name) {
            return Ok(Owner { types: Arc::clone(&self.vmlinux), module: None, id });
        }
        let mut modules = modules(&self.vmlinux);
        let found = modules.find_map(|(module, types)| {
            let id = types.find_struct(name)?;
            Some(Owner { types, module: Some(module), id })
        });
        found.ok_or(modules.unread)
    }
}

impl Types {
    fn read(path: &Path, sysfs: bool, base: Option<Arc<Self>>) -> Result<Self> {
        let failed = |error: std::io::Error| {
            Error::io(format_args!("cannot read the BTF at {}", path.display()), &error)
                .during(Step::ReadKernel)
                .about(Subject::Path(path))
        };
        Self::new(btf::read(path, sysfs).map_err(failed)?, base, pointer()).map_err(|why| {
            Error::malformed(format_args!("{} has malformed BTF: {why}", path.display()))
                .during(Step::ReadKernel)
                .about(Subject::Path(path))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::btf::kind;

    #[test]
    fn structs_of_this_kernel() {
        if !Path::new(DIRECTORY).join("vmlinux").exists() {
            eprintln!("skipped: this kernel has no BTF");
            return;
        }
        let finder = Finder::new(kernel(None).unwrap());
        let found = finder.find("list_head").unwrap();
        let members: Vec<_> = found.types.members(found.id).collect();
        assert_eq!(
            members.iter().map(|member| (member.name, member.bit_offset)).collect::<Vec<_>>(),
            [("next", 0), ("prev", 64)]
        );
        assert_eq!(found.types.size(found.id), Some(16));
        assert_eq!(found.types.pointee(members[0].ty), Some(found.id));
        assert_eq!((found.types.name(found.id), found.types.kind(found.id)), ("list_head", kind::STRUCT));
        assert!(finder.find("no_such_struct_anywhere").is_err());
    }
}
