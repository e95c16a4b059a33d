//! What is not wrong with an object and may still surprise: for whoever makes a skeleton of it. Knows nothing of where it is said.

use std::collections::BTreeSet;

use skelgen_abi::escape::Line;
use skelgen_abi::helper;
use skelgen_abi::map_types::{Definition, MapFacts};
use skelgen_abi::plan::Attach;
use skelgen_abi::uapi::{MapType, ProgramType};

use super::{BpfObject, DataSection, FunctionId, Map, Program, Reference, sections};

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
        let mut warnings: Vec<_> = self.maps.iter().filter_map(|map| addresses(map, map.section.as_ref()?)).collect();
        let own = self.maps.iter().filter(|map| map.section.is_none());
        warnings.extend(own.flat_map(|map| self.definition(map)));
        warnings.extend(self.programs.iter().filter_map(target));
        warnings.extend(untyped_sections(self));
        warnings.extend(license(self));
        warnings.into_iter().map(|warning| Line(warning).to_string()).collect()
    }

    /// About a map that no kernel creates as the source defines it, and how its definition is completed before the load.
    fn definition(&self, map: &Map) -> Vec<String> {
        let name = &map.def.name;
        let mut warnings = Vec::new();
        for fault in as_loaded(map).faults() {
            warnings.push(format!(
                "map `{name}`: {fault}; give {} in the BPF source, or call `{}` of the open map before the load",
                fault.source(),
                fault.setter()
            ));
        }
        let Some(inner) = &map.inner else { return warnings };
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
        for (key, put_in) in &map.inner_maps {
            let Some(other) = self.maps.get(put_in.0 as usize) else { continue };
            let shape = as_loaded(other);
            if !shape.fits(&template) {
                warnings.push(format!(
                    "map `{name}`: map `{}` at {key} ({shape}) is not like its inner maps ({template}); make both definitions alike in the \
                     BPF source, or call `set_inner_map` of the open map before the load",
                    other.def.name
                ));
            }
        }
        warnings
    }
}

/// The definition as the kernel gets it: the runtime rounds the sizes of ring buffers up.
fn as_loaded(map: &Map) -> Definition {
    let mut definition =
        Definition::of(&map.def, map.inner.is_some(), map.key_type.is_some() && map.value_type.is_some());
    if matches!(map.def.map_type, MapType::RINGBUF | MapType::USER_RINGBUF) && definition.max_entries != 0 {
        let pages = definition.max_entries.checked_next_power_of_two();
        definition.max_entries = pages.unwrap_or(definition.max_entries);
    }
    definition
}

/// About a section whose initial value has addresses.
fn addresses(map: &Map, section: &DataSection) -> Option<String> {
    let first = section.addresses.first()?;
    let with = section.variables.iter().filter(|variable| section.has_addresses(variable));
    let names: Vec<String> = with.map(|variable| format!("`{}`", variable.name)).collect();
    let what = if names.is_empty() { format!("byte {first:#x}") } else { names.join(", ") };
    Some(format!(
        "section {}: the initial value of {what} has addresses, which no loader can fill in; let a program set it before it is used",
        map.def.name
    ))
}

/// About a program whose section names an attach target that cannot be parsed.
fn target(program: &Program) -> Option<String> {
    let Attach::Target(way) = program.def.attach else { return None };
    let (_, text) = program.def.section.split_once('/').filter(|(_, text)| !text.is_empty())?;
    let error = way.parse(text).err()?;
    Some(format!(
        "section {:?}: its attach target is not valid: {error}; until `set_attach_target` names one, its program does not attach by \
         itself",
        program.def.section
    ))
}

/// About each section whose name does not say the type of its programs.
fn untyped_sections(object: &BpfObject) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut seen = BTreeSet::new();
    for program in object.programs.iter().filter(|program| program.def.program_type == ProgramType::UNSPEC) {
        if !seen.insert(&program.def.section) {
            continue;
        }
        let name = &object.functions[program.function.0 as usize].name;
        let hint = match sections::like(&program.def.section) {
            Some(known) => format!("did you mean `{known}`? Otherwise "),
            None => String::new(),
        };
        warnings.push(format!(
            "section `{}` of program `{name}` does not say which type of program it has, so it does not load as it is: {hint}give the type \
             with `set_type` before the load",
            program.def.section
        ));
    }
    warnings
}

/// About the license, if it keeps a program from loading.
fn license(object: &BpfObject) -> Option<String> {
    if helper::is_gpl(&object.license) {
        return None;
    }
    let (program, needs) = object.programs.iter().find_map(|program| Some((program, needs_gpl(object, program)?)))?;
    let has = match &object.license[..] {
        "" => "the object has no license".to_owned(),
        other => format!("the license {other:?} is not compatible to the GPL"),
    };
    let name = &object.functions[program.function.0 as usize].name;
    Some(format!(
        "{has}, and program `{name}` {needs}, so the kernel refuses it: if it is so licensed, say `char LICENSE[] SEC(\"license\") = \
         \"GPL\";` or \"Dual MIT/GPL\", \"Dual BSD/GPL\""
    ))
}

/// What about a program the kernel takes under the GPL alone.
fn needs_gpl(object: &BpfObject, program: &Program) -> Option<String> {
    if matches!(program.def.program_type, ProgramType::LSM | ProgramType::STRUCT_OPS) {
        return Some(format!("is of type {}, which is for programs under the GPL", program.def.program_type));
    }
    reached(object, program).into_iter().find_map(|id| {
        let code = &object.functions[id.0 as usize].code;
        let helper =
            code.insns.iter().filter(|insn| insn.is_helper_call()).find_map(|insn| {
                helper::gpl_only(insn.imm, program.def.program_type, program.def.expected_attach_type)
            });
        let kernel = code.refs.iter().find_map(|reference| match reference.to {
            Reference::ExternCall(id) => object.externs.get(id.0 as usize),
            _ => None,
        });
        match (helper, kernel) {
            (Some(helper), _) => Some(format!("calls the helper `{helper}`, which is for programs under the GPL")),
            (None, Some(function)) => {
                Some(format!("calls the kernel function `{}`, as only programs under the GPL may", function.name))
            }
            (None, None) => None,
        }
    })
}

/// The functions of a program.
fn reached(object: &BpfObject, program: &Program) -> BTreeSet<FunctionId> {
    let mut reached: BTreeSet<FunctionId> = [Some(program.function), program.exception].into_iter().flatten().collect();
    let mut left: Vec<_> = reached.iter().copied().collect();
    while let Some(id) = left.pop() {
        for reference in &object.functions[id.0 as usize].code.refs {
            if let Reference::Call(callee) | Reference::FunctionAddress(callee) = reference.to {
                if reached.insert(callee) {
                    left.push(callee);
                }
            }
        }
    }
    reached
}
