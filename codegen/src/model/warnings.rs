//! What is not wrong with an object and may still surprise: for whoever makes a skeleton of it. Knows nothing of where it is said.

use skelgen_runtime::abi::map_types::{Definition, MapFacts};
use skelgen_runtime::uapi::{MapType, map_flags};

use super::{BpfObject, DataSection, Map, MapDef};

impl BpfObject {
    /// What whoever makes a skeleton of the object should know, a sentence or two each.
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
        let addresses = self.maps.iter().filter_map(|map| addresses(map, map.section.as_ref()?));
        let own = self.maps.iter().filter(|map| map.section.is_none());
        addresses.chain(own.flat_map(|map| self.definition(map))).collect()
    }

    /// About a map that no kernel creates as the source defines it, and how its definition is completed before the load.
    fn definition(&self, map: &Map) -> Vec<String> {
        let (name, def) = (&map.name, &map.def);
        let mut warnings = Vec::new();
        for fault in as_loaded(def).faults() {
            warnings.push(format!(
                "map `{name}`: {fault}; give {} in the BPF source, or call `{}` of the open map before the load",
                fault.source(),
                fault.setter()
            ));
        }
        let Some(inner) = &def.inner else { return warnings };
        let template = as_loaded(inner);
        let facts = MapFacts::of(template.map_type);
        let held = facts.is_none_or(|facts| facts.can_be_inner);
        let mut faults: Vec<(String, &str)> =
            template.faults().map(|fault| (fault.to_string(), fault.source())).collect();
        if !held {
            faults = vec![(format!("maps of maps cannot hold maps of type {}", template.map_type), "another `type`")];
        }
        warnings.extend(faults.into_iter().map(|(fault, source)| {
            format!(
                "map `{name}`: of its inner maps: {fault}; give {source} for them in the BPF source, or call `set_inner_map` of the open map \
                 before the load"
            )
        }));
        for (key, put_in) in &def.inner_maps {
            let Some(other) = self.maps.get(put_in.0 as usize) else { continue };
            let shape = as_loaded(&other.def);
            if !shape.fits(&template) {
                warnings.push(format!(
                    "map `{name}`: map `{}` at {key} ({shape}) is not like its inner maps ({template}); make both definitions alike in the \
                     BPF source, or call `set_inner_map` of the open map before the load",
                    other.name
                ));
            }
        }
        warnings
    }
}

/// The definition as the kernel gets it: the runtime rounds the sizes of ring buffers up.
fn as_loaded(def: &MapDef) -> Definition {
    let pages = matches!(def.map_type, MapType::RINGBUF | MapType::USER_RINGBUF) && def.max_entries != 0;
    let max_entries = if pages { def.max_entries.checked_next_power_of_two() } else { None };
    Definition {
        flags: def.flags | if def.numa_node.is_some() { map_flags::NUMA_NODE } else { 0 },
        extra: def.extra,
        inner: def.inner.is_some(),
        typed: def.key_type.is_some() && def.value_type.is_some(),
        ..Definition::new(def.map_type, def.key_size, def.value_size, max_entries.unwrap_or(def.max_entries))
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
