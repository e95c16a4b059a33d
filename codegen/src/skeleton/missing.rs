//! The maps and types that options name and an object lacks. It is an error if no other object of the build has them
//! either.

use super::records::types_named;
use super::request::Requested;
use crate::error::{Code, Diagnostic, Error, Result};
use crate::model::BpfObject;

/// The maps and types that options name and an object lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    maps: Vec<String>,
    types: Vec<String>,
    /// Pairs of a map and the type of its records, of which the object lacks at least one.
    records: Vec<(String, String)>,
}

impl Missing {
    /// Finds the maps, types, and record types that the object lacks.
    #[must_use]
    pub fn find(object: &BpfObject, maps: &[&str], types: &[String], records: &[(String, String)]) -> Self {
        let has_map = |name: &str| object.maps.iter().any(|map| map.def.name == name);
        let has_type = |name: &str| object.btf.as_ref().is_some_and(|btf| !types_named(btf, name).is_empty());
        Self {
            maps: maps.iter().filter(|name| !has_map(name)).map(|&name| name.to_owned()).collect(),
            types: match &object.btf {
                Some(btf) => Requested::find(btf, types).missing,
                None => types.to_vec(),
            },
            records: records.iter().filter(|(map, ty)| !has_map(map) || !has_type(ty)).cloned().collect(),
        }
    }

    /// Keeps only the items that another object lacks too.
    pub fn retain(&mut self, other: &Self) {
        self.maps.retain(|name| other.maps.contains(name));
        self.types.retain(|name| other.types.contains(name));
        self.records.retain(|names| other.records.contains(names));
    }

    /// Returns an error if an item is missing.
    ///
    /// # Errors
    /// [`Code::BadOptions`] for a map, [`Code::NoSuchType`] for a type.
    pub fn check(&self) -> Result<()> {
        if let Some(name) = self.maps.first() {
            let message = format!("an option names map `{name}`, which the object does not have");
            return Err(Error::new(Code::BadOptions, message));
        }
        if !self.types.is_empty() {
            return Err(no_types(&self.types));
        }
        if let Some((map, ty)) = self.records.first() {
            let message = format!("an option sets record type `{ty}` for map `{map}`, but the object has no such type");
            return Err(Error::from(Diagnostic::new(Code::NoSuchType, message)));
        }
        Ok(())
    }
}

/// Returns the error for names that no type has.
#[must_use]
pub(super) fn no_types(names: &[String]) -> Error {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    let message =
        format!("the object has no struct, union or enum, and no typedef of one, named {}", names.join(" or "));
    Error::from(Diagnostic::new(Code::NoSuchType, message))
}
