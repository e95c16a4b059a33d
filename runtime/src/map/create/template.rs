//! Templates of the inner maps of a map of maps, and new inner maps like them.
//!
//! The kernel copies the definition of inner maps from a map that is passed when the outer map is created, and does not
//! report it later. So the handle of the outer map stores the definition. An inner map must have the template's type,
//! sizes, flags and special fields of values (`bpf_map_meta_equal` in kernel/bpf/map_in_map.c), and for arrays also its
//! number of elements.

use std::fmt::Display;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use super::{rejected, send};
use crate::abi;
use crate::error::{Errno, Error, Result};
use crate::kernel::token::{self, Delegable};
use crate::opened::Kind;
use crate::sys;
use crate::sys::elem::EINVAL;
use crate::sys::map::Request;
use crate::uapi::MapType;
use skelgen_abi::map_types::{Definition, MapFacts};

/// The template of the inner maps of a map of maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Template {
    definition: Definition,
    /// The id of the BTF with the types of the map's keys and values, and the ids of both types; 0 if the map has no
    /// types.
    btf_id: u32,
    key_type: u32,
    value_type: u32,
}

impl Template {
    /// Reads the template from a map, as the kernel does.
    pub(crate) fn of(map: BorrowedFd<'_>) -> Result<Self, Errno> {
        let found = sys::map::info(map)?;
        let definition = Definition::new(MapType(found.map_type), found.key_size, found.value_size, found.max_entries);
        Ok(Self {
            definition: Definition { flags: found.map_flags, extra: found.map_extra, ..definition },
            btf_id: found.btf_id,
            key_type: found.btf_key_type_id,
            value_type: found.btf_value_type_id,
        })
    }

    /// Creates a map with the template's definition. If the template was created on a NUMA node, which the kernel does
    /// not report, the map is on node 0.
    ///
    /// # Errors
    /// If the template's BTF cannot be opened, or the kernel rejects the map.
    pub(crate) fn create(&self, name: &str) -> Result<OwnedFd> {
        let btf = self.types(name)?;
        let definition = &self.definition;
        let map = abi::Map {
            kernel_name: name.to_owned().into(),
            key_size: definition.key_size,
            value_size: definition.value_size,
            max_entries: definition.max_entries,
            flags: definition.flags,
            extra: definition.extra,
            btf_key_type_id: self.key_type,
            btf_value_type_id: self.value_type,
            ..abi::Map::new("", definition.map_type)
        };
        let btf = btf.as_ref().map(|btf| btf.as_fd());
        let mut request =
            Request { map, inner: None, btf, kernel_value: None, token: None, ifindex: 0, exclusive: None };
        let map = send(&mut request, true, &mut false)?.map_err(|errno| {
            let remedy = |_: &_| "create the inner map with `NewMap`".to_owned();
            rejected(name, &request, self.btf_id != 0, errno, remedy).unwrap_or_else(|error| {
                let how = "; pass the token to `NewMap::token` and insert the map";
                token::advise(error, None, Delegable::Map(definition.map_type), how)
            })
        })?;
        Ok(map.into_fd())
    }

    /// Opens the BTF of keys and values, which exists as long as the outer map does. Returns `None` if there is none,
    /// or if the process has no permission to open it: only values with special fields (such as spin locks) need the
    /// BTF.
    fn types(&self, name: &str) -> Result<Option<OwnedFd>> {
        if self.btf_id == 0 {
            return Ok(None);
        }
        match sys::btf::open(self.btf_id, None) {
            Ok(btf) => Ok(Some(btf)),
            Err(errno) if errno.raw() == libc::EPERM => Ok(None),
            Err(errno) => {
                Err(Error::refused(format_args!("cannot open the BTF of the template for map `{name}`"), errno))
            }
        }
    }
}

/// Checks that a map can be the template of the inner maps of `outer`. `help` names the method to pass a different map
/// to.
///
/// # Errors
/// If the object is not a map, its definition cannot be read, or a map of maps cannot contain maps of its type.
pub(crate) fn check_template(outer: impl Display, template: BorrowedFd<'_>, help: &str) -> Result<()> {
    if let Some(other) = Kind::Map.other(template) {
        return Err(Error::invalid(format_args!(
            "cannot create map `{outer}`: the template of its inner maps is not a map, but {other}"
        ))
        .with_help(format_args!("pass a map to {help}")));
    }
    let found = Template::of(template).map_err(|errno| {
        Error::refused(
            format_args!("cannot read the definition of the template of the inner maps of map `{outer}`"),
            errno,
        )
    })?;
    let map_type = found.definition.map_type;
    match MapFacts::of(map_type) {
        Some(facts) if !facts.can_be_inner => Err(Error::mismatch(format_args!(
            "cannot create map `{outer}`: the template of its inner maps has type {map_type}, which a map of maps cannot contain"
        ))
        .with_help(format_args!("pass a map of a different type to {help}"))),
        _ => Ok(()),
    }
}

/// Explains why a map of maps rejects an object. `template` is the template of its inner maps, if it is known.
pub(crate) fn not_inner(object: BorrowedFd<'_>, template: Option<&Template>, errno: Errno) -> Option<String> {
    // The kernel's own ENOTSUPP.
    if errno.raw() == 524 {
        return Some("maps that are exclusive to a program cannot be inner maps".to_owned());
    }
    if errno != EINVAL {
        return None;
    }
    if let Some(other) = Kind::Map.other(object) {
        return Some(format!("only maps can be inserted, but the object is {other}"));
    }
    let found = Template::of(object).ok()?.definition;
    Some(match template.map(|template| template.definition) {
        Some(template) if found.is_compatible_with(&template) => format!(
            "the inserted map and the template of the inner maps have the same definition ({found}); special fields of the values, \
             such as spin locks and timers, may differ"
        ),
        Some(template) => {
            format!(
                "the inserted map has the definition ({found}), but the template of the inner maps has ({template})"
            )
        }
        None => format!(
            "the inserted map has the definition ({found}); the template of the inner maps, which the kernel does not report, has a \
             different type, different sizes or different flags"
        ),
    })
}
