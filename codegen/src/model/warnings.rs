//! What is not wrong with an object and may still surprise: for whoever makes a skeleton of it. Knows nothing of where it is said.

use skelgen_abi::escape::Line;

use super::{Attach, BpfObject, DataSection, Map, Program};

impl BpfObject {
    /// What whoever makes a skeleton of the object should know, a sentence or two each: one line, in which characters that cannot be
    /// seen are escaped.
    ///
    /// ```no_run
    /// let object = skelgen::inspect(&std::fs::read("counters.bpf.o")?, &skelgen::Options::for_file("counters.bpf.o"))?;
    /// for warning in object.warnings() {
    ///     eprintln!("warning: {warning}");
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let maps = self.maps.iter().filter_map(|map| addresses(map, map.section.as_ref()?));
        let warnings = maps.chain(self.programs.iter().filter_map(target));
        warnings.map(|warning| Line(warning).to_string()).collect()
    }
}

/// About a section whose initial value has addresses.
fn addresses(map: &Map, section: &DataSection) -> Option<String> {
    let first = section.addresses.first()?;
    let with = section.variables.iter().filter(|variable| section.has_addresses(variable));
    let names: Vec<String> = with.map(|variable| format!("`{}`", variable.name)).collect();
    let what = if names.is_empty() { format!("byte {first:#x}") } else { names.join(", ") };
    Some(format!(
        "section {}: the initial value of {what} has addresses, which no loader can fill in; let a program set it before it is used",
        map.name
    ))
}

/// About a program whose section names an attach target that cannot be parsed.
fn target(program: &Program) -> Option<String> {
    let Attach::Target(way) = program.attach else { return None };
    let (_, text) = program.section.split_once('/').filter(|(_, text)| !text.is_empty())?;
    let error = way.parse(text).err()?;
    Some(format!(
        "section {:?}: its attach target is not valid: {error}; until `set_attach_target` names one, its program does not attach by \
         itself",
        program.section
    ))
}
