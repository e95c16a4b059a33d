//! The maps from which USDT programs read their arguments.

use std::os::fd::AsFd;

use super::Executor;
use super::parts::Usdt;
use crate::error::{Error, Result};
use crate::program::SharedSpecs;
use crate::usdt_specs::{self, Specs};

/// The part of the executor for objects with USDT programs.
pub(super) static PART: Usdt = Usdt { specs: Executor::specs };

impl Executor {
    /// Returns the maps from which USDT programs read their arguments, if the object has them.
    fn specs(&self) -> Result<Option<SharedSpecs>> {
        let map = |name| {
            let index = self.object.maps.iter().position(|map| map.name == name);
            let Some(created) = index.and_then(|index| self.maps.get(index)?.created.as_ref()) else {
                return Ok(None);
            };
            let map = created.map.as_fd().try_clone_to_owned();
            map.map(Some).map_err(|error| {
                Error::io(format_args!("cannot duplicate the file descriptor of map `{name}`"), &error)
            })
        };
        let Some(specs) = map(usdt_specs::SPECS)? else { return Ok(None) };
        Ok(Some(Specs::new(specs, map(usdt_specs::IPS)?, self.has_cookies)))
    }
}
