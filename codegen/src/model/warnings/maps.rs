//! Warnings about maps: definitions that every kernel rejects, and initial values that no loader can set.

use skelgen_abi::map_types::{Definition, MapFacts};
use skelgen_abi::uapi::MapType;

use super::super::{BpfObject, DataSection, Map};

/// Returns warnings about a map definition that every kernel rejects, with the missing or wrong attribute.
pub(crate) fn definition(object: &BpfObject, map: &Map) -> Vec<String> {
    let name = &map.def.name;
    let mut warnings = Vec::new();
    for fault in as_loaded(map).faults() {
        warnings.push(format!(
            "map `{name}`: {fault}; set {} in the BPF source, or call `{}` of the open map before the load",
            fault.source(),
            fault.setter()
        ));
    }
    let Some(inner) = &map.inner else { return warnings };
    let template = as_loaded(inner);
    let facts = MapFacts::of(template.map_type);
    let can_be_inner = facts.is_none_or(|facts| facts.can_be_inner);
    let mut faults: Vec<(String, &str)> = template.faults().map(|fault| (fault.to_string(), fault.source())).collect();
    if !can_be_inner {
        faults =
            vec![(format!("maps of maps cannot contain maps of type {}", template.map_type), "a different `type`")];
    }
    warnings.extend(faults.into_iter().map(|(fault, source)| {
        format!(
            "inner maps of map `{name}`: {fault}; set {source} for them in the BPF source, or call `set_inner_map` of the open map \
             before the load"
        )
    }));
    for (key, put_in) in &map.inner_maps {
        let Some(other) = object.maps.get(put_in.0 as usize) else { continue };
        let shape = as_loaded(other);
        if !shape.is_compatible_with(&template) {
            warnings.push(format!(
                "map `{name}`: map `{}` at {key} ({shape}) differs from the definition of its inner maps ({template}); make both \
                 definitions equal in the BPF source, or call `set_inner_map` of the open map before the load",
                other.def.name
            ));
        }
    }
    warnings
}

/// Returns the map's attributes as the kernel gets them. The runtime rounds up the sizes of ring buffers.
fn as_loaded(map: &Map) -> Definition {
    let mut definition =
        Definition::of(&map.def, map.inner.is_some(), map.key_type.is_some() && map.value_type.is_some());
    if matches!(map.def.map_type, MapType::RINGBUF | MapType::USER_RINGBUF) && definition.max_entries != 0 {
        let pages = definition.max_entries.checked_next_power_of_two();
        definition.max_entries = pages.unwrap_or(definition.max_entries);
    }
    definition
}

/// Returns a warning about a section whose initial value contains addresses.
pub(super) fn addresses(map: &Map, section: &DataSection) -> Option<String> {
    let first = section.addresses.first()?;
    let with = section.variables.iter().filter(|variable| section.has_addresses(variable));
    let names: Vec<String> = with.map(|variable| format!("`{}`", variable.name)).collect();
    let what = if names.is_empty() { format!("byte {first:#x}") } else { names.join(", ") };
    Some(format!(
        "section {}: the initial value of {what} contains addresses, which no loader can set; set it in a program before its use",
        map.def.name
    ))
}
