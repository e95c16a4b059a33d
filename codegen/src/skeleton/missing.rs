//! The maps and types that options name and an object lacks. It is an error if no other object of the build has them
//! either.

use std::collections::BTreeMap;

use super::records::types_named;
use super::request::Requested;
use crate::btf::{Btf, Kind};
use crate::error::{Code, Diagnostic, Error, Result};
use crate::model::BpfObject;
use crate::similar::similar;

/// The maps and types that options name and an object lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    maps: Vec<String>,
    types: Vec<String>,
    /// Pairs of a map and the type of its records, of which the object lacks at least one.
    records: Vec<(String, String)>,
    /// Of the types that the object lacks, those with names similar to that of a type that it has, each with that name.
    similar: BTreeMap<String, String>,
}

impl Missing {
    /// Finds the maps, types, and record types that the object lacks.
    #[must_use]
    pub fn find(object: &BpfObject, maps: &[&str], types: &[String], records: &[(String, String)]) -> Self {
        let has_map = |name: &str| object.maps.iter().any(|map| map.def.name == name);
        let has_type = |name: &str| object.btf.as_ref().is_some_and(|btf| !types_named(btf, name).is_empty());
        let missing_types = match &object.btf {
            Some(btf) => Requested::find(btf, types).missing,
            None => types.to_vec(),
        };
        let missing_records: Vec<_> =
            records.iter().filter(|(map, ty)| !has_map(map) || !has_type(ty)).cloned().collect();
        let record_types = missing_records.iter().map(|(_, ty)| ty).filter(|ty| !has_type(ty));
        let similar = |name: &String| Some((name.clone(), similar_type(object.btf.as_ref()?, name)?.to_owned()));
        Self {
            similar: missing_types.iter().chain(record_types).filter_map(similar).collect(),
            maps: maps.iter().filter(|name| !has_map(name)).map(|&name| name.to_owned()).collect(),
            types: missing_types,
            records: missing_records,
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
            let similar = self.types.iter().find_map(|name| self.similar.get(name));
            return Err(no_types(&self.types, similar.map(String::as_str)));
        }
        if let Some((map, ty)) = self.records.first() {
            let message = format!("an option sets record type `{ty}` for map `{map}`, but the object has no such type");
            return Err(no_such_type(message, self.similar.get(ty).map(String::as_str)));
        }
        Ok(())
    }
}

/// Returns the error for names that no type has. `similar` is the name of a type that exists.
#[must_use]
pub(super) fn no_types(names: &[String], similar: Option<&str>) -> Error {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    let message =
        format!("the object has no struct, union or enum, and no typedef of one, named {}", names.join(" or "));
    no_such_type(message, similar)
}

fn no_such_type(message: String, similar: Option<&str>) -> Error {
    let error = Diagnostic::new(Code::NoSuchType, message);
    Error::from(match similar {
        Some(name) => error.with_help(format!("the object has `{name}`")),
        None => error,
    })
}

/// Returns the name of a type with fields or constants that is similar to a name, with or without keyword, that no type
/// has.
pub(super) fn similar_type<'a>(btf: &'a Btf, name: &str) -> Option<&'a str> {
    let types = btf
        .iter()
        .filter(|(_, ty)| matches!(ty.kind, Kind::Struct(_) | Kind::Union(_) | Kind::Enum(_) | Kind::Typedef(_)));
    let names = types.map(|(_, ty)| btf.str(ty.name)).filter(|name| !name.is_empty());
    similar(name.split_whitespace().last()?, names)
}
