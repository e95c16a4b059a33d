//! The model as text (`skelgen inspect`), with names escaped by [`Line`], and as serializable values (`skelgen inspect
//! --json`).

use std::fmt;

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use skelgen_abi::escape::Line;
use skelgen_abi::plan::{self, Attach, PercpuForm};

pub use super::kernels::KernelSummary;
use super::{BpfObject, Map, kernels};

/// The summary of an object that `skelgen inspect` prints.
#[derive(Debug, Serialize)]
pub struct Summary {
    /// Its name.
    pub name: String,
    /// Its license.
    pub license: String,
    /// The number of types in its BTF; 0 without BTF.
    pub types: usize,
    /// Its maps.
    pub maps: Vec<MapSummary>,
    /// Its programs.
    pub programs: Vec<ProgramSummary>,
    /// Its functions that are not programs.
    pub subprograms: Vec<String>,
    /// The kernel symbols it uses.
    pub externs: Vec<String>,
    /// How kernel versions load its percpu data, by ascending version; empty without percpu data.
    pub kernels: Vec<KernelSummary>,
}

/// The summary of a map.
#[derive(Debug)]
pub struct MapSummary {
    /// Its definition.
    pub def: plan::Map,
    /// The variables of global data.
    pub variables: Vec<VariableSummary>,
}

impl Serialize for MapSummary {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let def = &self.def;
        let mut map = serializer.serialize_struct("Map", 8)?;
        map.serialize_field("name", &def.name)?;
        map.serialize_field("kernel_name", &def.kernel_name)?;
        map.serialize_field("map_type", &def.map_type.to_string())?;
        map.serialize_field("key_size", &def.key_size)?;
        map.serialize_field("value_size", &def.value_size)?;
        map.serialize_field("max_entries", &def.max_entries)?;
        map.serialize_field("flags", &def.flags)?;
        map.serialize_field("variables", &self.variables)?;
        map.end()
    }
}

/// The summary of a variable.
#[derive(Debug, Serialize)]
pub struct VariableSummary {
    /// Its name.
    pub name: String,
    /// Its offset in the section, in bytes.
    pub offset: u32,
    /// Its size in bytes.
    pub size: u32,
    /// Whether the skeleton has a field for it.
    pub visible: bool,
    /// Whether its initial value contains addresses, which no loader sets.
    pub addresses: bool,
}

/// The summary of a program.
#[derive(Debug, Serialize)]
pub struct ProgramSummary {
    /// Its name.
    pub name: String,
    /// Its section.
    pub section: String,
    /// Its type.
    pub program_type: String,
    /// The instructions of its own function, in eight-byte slots.
    pub insns: usize,
    /// Whether it is loaded by default.
    pub autoload: bool,
    /// The first upstream Linux that loads programs of its section, as `5.18`; `None` if unknown.
    pub since: Option<String>,
    /// The kernel type it is loaded for.
    pub target: Option<String>,
    /// Whether it attaches automatically, without further arguments.
    pub attaches: bool,
}

impl BpfObject {
    /// Returns the summary of the object, and of a skeleton with this form of percpu data.
    #[must_use]
    pub fn summary(&self, form: PercpuForm) -> Summary {
        let is_program = |index: usize| self.programs.iter().any(|program| program.function.0 as usize == index);
        Summary {
            name: self.name.clone(),
            license: self.license.clone(),
            types: self.btf.as_ref().map_or(0, |btf| btf.iter().count() - 1),
            maps: self.maps.iter().map(map).collect(),
            programs: self
                .programs
                .iter()
                .map(|program| {
                    let function = &self.functions[program.function.0 as usize];
                    ProgramSummary {
                        name: function.name.clone(),
                        section: program.def.section.clone().into_owned(),
                        program_type: program.def.program_type.to_string(),
                        insns: function.code.insns.len(),
                        autoload: program.def.autoload,
                        since: (program.def.since != (0, 0))
                            .then(|| format!("{}.{}", program.def.since.0, program.def.since.1)),
                        target: program.target.as_ref().map(|target| target.name.clone().into_owned()),
                        attaches: program.def.attach.needs().is_none()
                            && !matches!(program.def.attach, Attach::Never(_)),
                    }
                })
                .collect(),
            subprograms: self
                .functions
                .iter()
                .enumerate()
                .filter(|(index, _)| !is_program(*index))
                .map(|(_, function)| function.name.clone())
                .collect(),
            externs: self.externs.iter().map(|external| external.name.clone().into_owned()).collect(),
            kernels: kernels::kernels(self, form),
        }
    }
}

fn map(map: &Map) -> MapSummary {
    MapSummary {
        def: map.def.clone(),
        variables: map
            .section
            .iter()
            .flat_map(|section| section.variables.iter().map(move |variable| (section, variable)))
            .map(|(section, variable)| VariableSummary {
                name: variable.name.clone(),
                offset: variable.offset,
                size: variable.size,
                visible: variable.visible,
                addresses: section.has_addresses(variable),
            })
            .collect(),
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "object {} license {:?}, {} types", Line(&self.name), self.license, self.types)?;
        for (index, kernel) in self.kernels.iter().enumerate() {
            match (kernel.since, self.kernels.get(index + 1)) {
                ("0", Some(next)) => write!(f, "Linux before {}", next.since)?,
                (since, Some(next)) => write!(f, "Linux {since} and later, before {}", next.since)?,
                (since, None) => write!(f, "Linux {since} and later")?,
            }
            writeln!(f, ": {}", kernel.what)?;
        }
        for map in &self.maps {
            let def = &map.def;
            writeln!(
                f,
                "map {}: {}, key {}, value {}, max entries {}, flags {:#x}",
                Line(&def.name),
                def.map_type,
                def.key_size,
                def.value_size,
                def.max_entries,
                def.flags
            )?;
            for variable in &map.variables {
                let hidden = if variable.visible { "" } else { ", not in the skeleton" };
                let addresses = if variable.addresses { ", with addresses that are not set" } else { "" };
                let VariableSummary { offset, name, size, .. } = variable;
                writeln!(f, "    {offset:>6}  {} ({size} bytes{hidden}{addresses})", Line(name))?;
            }
        }
        for program in &self.programs {
            write!(
                f,
                "program {} in {}: {}, {} instructions",
                Line(&program.name),
                Line(&program.section),
                program.program_type,
                program.insns
            )?;
            if let Some(target) = &program.target {
                write!(f, ", for {}", Line(target))?;
            }
            if let Some(since) = &program.since {
                write!(f, ", since Linux {since}")?;
            }
            if !program.autoload {
                write!(f, ", not loaded by default")?;
            }
            if !program.attaches {
                write!(f, ", not attached automatically")?;
            }
            writeln!(f)?;
        }
        for name in &self.subprograms {
            writeln!(f, "subprogram {}", Line(name))?;
        }
        for name in &self.externs {
            writeln!(f, "extern {}", Line(name))?;
        }
        Ok(())
    }
}
