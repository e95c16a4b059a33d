//! The interface of generated code. It can change with every version of the generator.
//!
//! `skeleton!` uses these items; users of a skeleton never use them. To give skeletons a new function, write it here or
//! in the module that it belongs to, and call it in the macro.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

use self::abi::Object;
use crate::btf::{Types, kind};
use crate::error::{Error, Result};
use crate::kernel::types::kernel as kernel_types;
use crate::link::Link;
use crate::map;
use crate::relocate::{Relocator, types_compatible};

pub use crate::data::{
    BitField, Fields, Layout, LayoutField, check_layout, get_bits, get_part, is_alignment, label, set_bits, set_part,
    show, size_of_plain,
};
pub use crate::execute::Loaded;
pub use crate::execute::parts::Parts;
pub use crate::link::{Attaching, nothing_left, pin_all, ways};
pub use crate::object::Loading;
pub use crate::pins::PinSet;
pub use crate::sys::trusted::Trusted;
pub use skelgen_abi::plan as abi;

/// The names that generated files use without a path. They have the same meaning in every crate, also with `no_std` or
/// `no_implicit_prelude`.
pub mod prelude {
    pub use std::os::fd::{AsFd, OwnedFd};
    pub use std::path::Path;
    pub use std::prelude::rust_2024::*;
    pub use std::primitive::str;
}

/// Returns a duplicate of the file descriptor of the map with this name, or `None` if there is no such map or it was not
/// created. `maps` lists the index and the file descriptor of each map; a map that was not created has no file descriptor.
///
/// # Errors
/// If the file descriptor cannot be duplicated.
pub fn find_map(object: &Object, name: &str, maps: &[(u32, Option<BorrowedFd<'_>>)]) -> Result<Option<OwnedFd>> {
    let row = |index: u32| object.maps.get(usize::try_from(index).ok()?);
    let found = maps.iter().find(|(index, _)| row(*index).is_some_and(|row| row.name == name));
    map::duplicate(name, found.and_then(|(_, fd)| *fd))
}

/// Returns the value of each CO-RE record (`struct bpf_core_relo`) for the kernel's types; `None` for a record that has no target among
/// them. `btf` is the object's BTF in native byte order, `kernel` the path of a file with the kernel's raw BTF. For tools that check an
/// object without loading it.
///
/// # Errors
/// If the types of the object or in the file cannot be read.
pub fn relocation_numbers(btf: &[u8], kernel: &Path, records: &[u8]) -> Result<Vec<Option<u64>>> {
    Ok(relocator(btf, kernel, records)?.numbers(records))
}

/// Returns the result of each CO-RE record as text: the value with the size of the access, or the error. The arguments are those of
/// [`relocation_numbers`]. For tools that compare the types of two files.
///
/// # Errors
/// If the types of the object or in the file cannot be read.
pub fn resolved_relocations(btf: &[u8], kernel: &Path, records: &[u8]) -> Result<Vec<String>> {
    Ok(relocator(btf, kernel, records)?.results(records))
}

/// Returns for each symbol, a name and the BTF id of its type in the object, whether the kernel declares a function or variable of this
/// name with a type that is not compatible. `btf` and `kernel` are those of [`relocation_numbers`]. For tools that check an object without
/// loading it.
///
/// # Errors
/// If the types of the object or in the file cannot be read.
pub fn incompatible_symbols(btf: &[u8], kernel: &Path, symbols: &[(&str, u32)]) -> Result<Vec<bool>> {
    let local = local_types(btf)?;
    let kernel = kernel_types(Some(kernel))?;
    let is_incompatible = |&(name, ty): &(&str, u32)| {
        let found = kernel.find_named(&[kind::FUNC, kind::VAR], name).next();
        let theirs = found.and_then(|id| [kind::FUNC, kind::VAR].into_iter().find_map(|it| kernel.referenced(id, it)));
        theirs.is_some_and(|theirs| {
            let (ours, theirs) = (local.resolve(ty), kernel.resolve(theirs));
            !types_compatible(&local, ours, &kernel, theirs).unwrap_or(false)
        })
    };
    Ok(symbols.iter().map(is_incompatible).collect())
}

fn relocator(btf: &[u8], kernel: &Path, records: &[u8]) -> Result<Relocator> {
    Ok(Relocator::new(local_types(btf)?, &kernel_types(Some(kernel))?, false, &[records]))
}

fn local_types(btf: &[u8]) -> Result<Types> {
    let types = Types::of_program(btf.to_vec());
    types.map_err(|why| Error::malformed(format_args!("the object's BTF is malformed: {why}")))
}

/// Iterates over items of one type. The array may be empty, so that the macro needs no special case.
pub fn each<T, const N: usize>(items: [T; N]) -> impl Iterator<Item = T> {
    items.into_iter()
}

/// Iterates over the items that are not `None`.
pub fn each_some<T, const N: usize>(items: [Option<T>; N]) -> impl Iterator<Item = T> {
    items.into_iter().flatten()
}

/// Iterates over the links that are set, with the names of their fields.
pub fn links<'l, const N: usize>(
    links: [(&'static str, &'l Option<Link>); N],
) -> impl Iterator<Item = (&'static str, &'l Link)> {
    links.into_iter().filter_map(|(name, link)| Some((name, link.as_ref()?)))
}
