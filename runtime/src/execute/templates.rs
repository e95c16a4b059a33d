//! Templates: the maps from which the kernel copies the definition of the inner maps of a map of maps.
//!
//! A template is a map of the object, a map that the user passed, or a map that is created only for this purpose.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use super::maps::{Created, InnerMap, insert};
use super::parts::InnerMaps;
use super::state::{created, open_map};
use super::{Executor, at, no_such};
use crate::error::{Error, Result};
use crate::kernel::causes::advise;
use crate::map::{Template, check_template, not_inner};
use crate::open::Inner;

/// The part of the executor for objects with maps of maps.
pub(super) static PART: InnerMaps =
    InnerMaps { template: Executor::template, definition, insert: Executor::insert_map };

impl Executor {
    /// Returns the template of the inner maps of a map; `None` if it is not a map of maps.
    fn template(&mut self, index: u32) -> Result<Option<InnerMap>> {
        let open = open_map(&self.maps, index)?;
        let name = &*open.definition.name;
        match (&open.inner, open.definition.inner) {
            (Some(Inner::Map(given)), _) => {
                check_template(name, given.as_fd(), "`set_inner_map`")?;
                Ok(Some(InnerMap::Given))
            }
            (Some(Inner::Definition(definition)), _) => {
                let btf = self.btf.as_ref().map(AsFd::as_fd);
                let sizes = open.template_sizes().unwrap_or_default();
                let made = definition.clone().for_load(btf, sizes, self.token()).create_template(name)?;
                Ok(Some(InnerMap::Template(made.into())))
            }
            (None, Some(inner)) if created(&self.maps, inner).is_none() => {
                let created = self.create_template(index, inner)?;
                Ok(Some(InnerMap::Template(created.map.into_fd())))
            }
            (None, Some(inner)) => Ok(Some(InnerMap::OfObject(inner))),
            (None, None) => Ok(None),
        }
    }

    fn create_template(&mut self, outer: u32, inner: u32) -> Result<Created> {
        if at(&self.object.maps, inner).is_none_or(|map| map.inner.is_some()) {
            return Err(no_such("template map", inner));
        }
        let name = at(&self.object.maps, outer).map_or("?", |map| &map.name);
        self.create(inner)
            .map_err(|error| error.within(format_args!("cannot create the template of the inner maps of map `{name}`")))
    }

    /// Inserts a map into a map of maps.
    fn insert_map(&self, outer: u32, key: u32, inner: u32) -> Result<()> {
        let to = &at(&self.maps, outer).ok_or_else(|| no_such("map", outer))?.created;
        let from = &at(&self.maps, inner).ok_or_else(|| no_such("map", inner))?.created;
        let (Some(to), Some(from)) = (to.as_ref().filter(|to| !to.is_reused()), from) else {
            return Ok(());
        };
        let what = format_args!("cannot insert map `{}` into map `{}` at index {key}", from.info.name, to.info.name)
            .to_string();
        insert(to, key, from.map.as_fd().as_raw_fd()).map_err(|errno| {
            let error = Error::refused(what, errno);
            match not_inner(from.map.as_fd(), to.info.inner.as_ref(), errno) {
                Some(note) => error.note(note),
                None => advise(error),
            }
        })
    }
}

/// Returns the definition of the map that is the template of a map of maps; `None` if it cannot be read.
fn definition(template: BorrowedFd<'_>) -> Option<Template> {
    Template::of(template).ok()
}
