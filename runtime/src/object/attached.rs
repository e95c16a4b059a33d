//! A loaded object together with its links.

use std::ops::Deref;

use super::Object;
use crate::error::Result;

/// A loaded object and its links. The object stays attached until this value is dropped.
///
/// `attach()` returns only the links, for a caller that keeps them separately from the skeleton or drops some of them. `Attached` is
/// one value with both. It dereferences to the skeleton.
///
/// ```
/// use skelgen_runtime::{Attached, Object, OpenObject, Result};
///
/// /// Loads and attaches an object. It is detached when the returned value is dropped.
/// fn start<O: OpenObject>(open: O) -> Result<Attached<O::Loaded>> {
///     let attached = open.load()?.into_attached()?;
///     println!("{} has {} maps", attached.name(), attached.maps().count());
///     Ok(attached)
/// }
/// ```
///
/// ```
/// use skelgen_runtime::{Attached, Object};
///
/// /// Detaches at the end of `work`, but keeps maps and programs.
/// fn during<O: Object>(mut attached: Attached<O>, work: impl FnOnce(&O, &mut O::Links)) -> O {
///     attached.links_mut();
///     let (object, mut links) = attached.into_parts();
///     let _ = object.program("count");
///     work(&object, &mut links);
///     object
/// }
/// ```
#[derive(Debug)]
#[must_use = "dropping it detaches the programs: keep it, as `let _attached = …` does, not `let _ = …`"]
pub struct Attached<O: Object> {
    // Fields are dropped in this order: the programs are detached before their maps are closed.
    links: O::Links,
    object: O,
}

impl<O: Object> Attached<O> {
    pub(super) fn new(object: O) -> Result<Self> {
        Ok(Self { links: object.attach()?, object })
    }

    /// Returns the links.
    pub fn links(&self) -> &O::Links {
        &self.links
    }

    /// Returns the links, for modification: to add the link of a program that needed an argument, or to take one out.
    pub fn links_mut(&mut self) -> &mut O::Links {
        &mut self.links
    }

    /// Detaches the programs and returns the loaded object.
    pub fn detach(self) -> O {
        drop(self.links);
        self.object
    }

    /// Returns the object and its links. Nothing is detached.
    pub fn into_parts(self) -> (O, O::Links) {
        (self.object, self.links)
    }
}

impl<O: Object> Deref for Attached<O> {
    type Target = O;

    fn deref(&self) -> &O {
        &self.object
    }
}
