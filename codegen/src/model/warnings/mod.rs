//! Warnings: properties of a valid object that may surprise its user.
//!
//! To add a warning, add a function to the file of its subject, and a call of it to [`BpfObject::warnings`].

mod license;
mod maps;
mod sections;

pub(crate) use maps::definition;

use skelgen_abi::escape::Line;

use super::BpfObject;

impl BpfObject {
    /// Returns the warnings, each one line of one or two sentences with invisible characters escaped.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let in_maps = self.maps.iter();
        let mut warnings: Vec<_> = in_maps.filter_map(|map| maps::addresses(map, map.section.as_ref()?)).collect();
        let own = self.maps.iter().filter(|map| map.section.is_none());
        warnings.extend(own.flat_map(|map| definition(self, map)));
        warnings.extend(self.programs.iter().filter_map(sections::target));
        warnings.extend(sections::untyped(self));
        warnings.extend(license::license(self));
        warnings.into_iter().map(|warning| Line(warning).to_string()).collect()
    }
}
