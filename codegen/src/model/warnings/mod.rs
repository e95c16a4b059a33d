//! What is not wrong with an object and may still surprise: for whoever makes a skeleton of it. Knows nothing of where it is said.
//!
//! To add a warning: a function in the file of what it is about, and its place in [`BpfObject::warnings`].

mod license;
mod maps;
mod sections;

use skelgen_abi::escape::Line;

use super::BpfObject;

impl BpfObject {
    /// Returns what whoever makes a skeleton of the object should know, a sentence or two each: one line, in which characters that
    /// cannot be seen are escaped.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let in_maps = self.maps.iter();
        let mut warnings: Vec<_> = in_maps.filter_map(|map| maps::addresses(map, map.section.as_ref()?)).collect();
        let own = self.maps.iter().filter(|map| map.section.is_none());
        warnings.extend(own.flat_map(|map| maps::definition(self, map)));
        warnings.extend(self.programs.iter().filter_map(sections::target));
        warnings.extend(sections::untyped(self));
        warnings.extend(license::license(self));
        warnings.into_iter().map(|warning| Line(warning).to_string()).collect()
    }
}
