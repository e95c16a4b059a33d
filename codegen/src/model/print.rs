//! The model as text (`skelgen inspect`), in which every name is a [`Line`], and as serializable values (`skelgen inspect --json`).

use std::fmt;

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use skelgen_abi::escape::Line;
use skelgen_abi::plan::{self, Attach, PercpuForm};

pub use super::kernels::KernelSummary;
use super::{BpfObject, Map, kernels};

/// What `skelgen inspect` shows of an object.
#[derive(Debug, Serialize)]
pub struct Summary {
    /// Name of the object.
    pub name: String,
    /// Its license.
    pub license: String,
    /// How many types its BTF has; 0 if it has none.
    pub types: usize,
    /// Its maps.
    pub maps: Vec<MapSummary>,
    /// Its programs.
    pub programs: Vec<ProgramSummary>,
    /// Its functions that are no programs.
    pub subprograms: Vec<String>,
    /// What it expects of the kernel.
    pub externs: Vec<String>,
    /// What kernels of which versions do with its percpu data, by rising version; empty if it has none.
    pub kernels: Vec<KernelSummary>,
}

/// A map, as `skelgen inspect` shows it.
#[derive(Debug)]
pub struct MapSummary {
    /// Its definition.
    pub def: plan::Map,
    /// For global data: the variables.
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

/// A variable, as `skelgen inspect` shows it.
#[derive(Debug, Serialize)]
pub struct VariableSummary {
    /// Name.
    pub name: String,
    /// Offset in the section, in bytes.
    pub offset: u32,
    /// Size in bytes.
    pub size: u32,
    /// Whether the skeleton has a field for it.
    pub visible: bool,
    /// Whether its initial value has addresses, which nobody fills in.
    pub addresses: bool,
}

/// A program, as `skelgen inspect` shows it.
#[derive(Debug, Serialize)]
pub struct ProgramSummary {
    /// Name.
    pub name: String,
    /// Section.
    pub section: String,
    /// Type.
    pub program_type: String,
    /// Instructions of its own function, in slots of eight bytes.
    pub insns: usize,
    /// Whether it is loaded unless the user says otherwise.
    pub autoload: bool,
    /// The first upstream Linux that loads programs of its section, as `5.18`; nothing if that is not known.
    pub since: Option<String>,
    /// The kernel type it is loaded for.
    pub target: Option<String>,
    /// Whether it attaches by itself.
    pub attaches: bool,
}

impl BpfObject {
    /// What there is to know of the object at a glance, and of its skeleton if that holds percpu data in this form.
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
                let addresses = if variable.addresses { ", with addresses that are not filled in" } else { "" };
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
                write!(f, ", loaded only if asked")?;
            }
            if !program.attaches {
                write!(f, ", does not attach by itself")?;
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
