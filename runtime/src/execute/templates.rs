//! Templates: the maps from which the kernel copies the definition of the inner maps of a map of maps.
//!
//! A template is a map of the object, a map that the user passed, or a map that is created only for this purpose.

use std::os::fd::AsFd;

use super::maps::{Created, InnerMap};
use super::parts::InnerMaps;
use super::state::{created, open_map};
use super::{Executor, at, no_such};
use crate::error::Result;
use crate::map::check_template;
use crate::open::Inner;

/// The part of the executor for objects with maps of maps.
pub(super) static PART: InnerMaps = InnerMaps { template: Executor::template };

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
}
