//! The model as text with names escaped by [`Line`] (`skelgen inspect`), and as serializable values
//! (`skelgen inspect --json`).

use std::fmt;

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use skelgen_abi::escape::Line;
use skelgen_abi::plan::{self, Attach, PercpuForm, Version};

use super::columns::Columns;
pub use super::kernels::KernelSummary;
pub use super::memory::Memory;
use super::memory::memory;
use super::needs::{Need, Needer, NeederKind, release};
use super::reached::reached;
use super::{BpfObject, FunctionId, Map, kernels};
use crate::btf::TypeId;

/// The summary of an object that `skelgen inspect` prints.
#[derive(Debug, Serialize)]
pub struct Summary {
    /// The object's name.
    pub name: String,
    /// The object's license.
    pub license: String,
    /// The number of types in its BTF; 0 without BTF.
    pub types: usize,
    /// The object's maps.
    pub maps: Vec<MapSummary>,
    /// The object's programs.
    pub programs: Vec<ProgramSummary>,
    /// The object's functions that are not programs.
    pub subprograms: Vec<String>,
    /// The kernel symbols that the object uses.
    pub externs: Vec<String>,
    /// How kernel versions load its percpu data, by ascending version; empty without percpu data.
    pub kernels: Vec<KernelSummary>,
    /// The kernel features that it needs, by descending version.
    pub needs: Vec<Need>,
}

/// The summary of a map.
#[derive(Debug)]
pub struct MapSummary {
    /// The map's definition.
    pub def: plan::Map,
    /// The C type of its keys, if known.
    pub key_type: Option<String>,
    /// The C type of its values, if known; `None` for global data.
    pub value_type: Option<String>,
    /// The map's memory in the kernel, if known.
    pub memory: Option<Memory>,
    /// The variables of global data.
    pub variables: Vec<VariableSummary>,
}

impl Serialize for MapSummary {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let def = &self.def;
        let mut map = serializer.serialize_struct("Map", 12)?;
        map.serialize_field("name", &def.name)?;
        map.serialize_field("kernel_name", &def.kernel_name)?;
        map.serialize_field("map_type", &def.map_type.to_string())?;
        map.serialize_field("key_size", &def.key_size)?;
        map.serialize_field("value_size", &def.value_size)?;
        map.serialize_field("max_entries", &def.max_entries)?;
        map.serialize_field("flags", &def.flags)?;
        map.serialize_field("pinned", &def.pin_by_name)?;
        map.serialize_field("key_type", &self.key_type)?;
        map.serialize_field("value_type", &self.value_type)?;
        map.serialize_field("memory", &self.memory)?;
        map.serialize_field("variables", &self.variables)?;
        map.end()
    }
}

/// The summary of a variable.
#[derive(Debug, Serialize)]
pub struct VariableSummary {
    /// The variable's name.
    pub name: String,
    /// The variable's C declaration, if the object has its type.
    pub declaration: Option<String>,
    /// The variable's offset in the section, in bytes.
    pub offset: u32,
    /// The variable's size in bytes.
    pub size: u32,
    /// Whether the skeleton has a field for the variable.
    pub visible: bool,
    /// Whether its initial value contains addresses, which no loader sets.
    pub addresses: bool,
}

/// The summary of a program.
#[derive(Debug, Serialize)]
pub struct ProgramSummary {
    /// The program's name.
    pub name: String,
    /// The program's section.
    pub section: String,
    /// The program's type.
    pub program_type: String,
    /// The program's attach type, if the kernel requires one at load time.
    pub attach_type: Option<String>,
    /// The number of instructions of its own function, in eight-byte slots.
    pub insns: usize,
    /// The number of instructions of all its functions, in eight-byte slots.
    pub total_insns: usize,
    /// The number of its functions, including its own.
    pub functions: usize,
    /// Whether the program is loaded by default.
    pub autoload: bool,
    /// The first upstream Linux that loads programs of its section, such as `5.18`; `None` if unknown.
    pub since: Option<String>,
    /// The type or function in the kernel's BTF for which it is loaded (`attach_btf_id`).
    pub target: Option<String>,
    /// Whether a skeleton's `attach` attaches the program, because attaching requires no arguments.
    pub attaches: bool,
}

impl BpfObject {
    /// Returns the summary of the object. `form` states how the programs of its skeleton access percpu data.
    #[must_use]
    pub fn summary(&self, form: PercpuForm) -> Summary {
        let is_program = |index: usize| self.programs.iter().any(|program| program.function.0 as usize == index);
        Summary {
            name: self.name.clone(),
            license: self.license.clone(),
            types: self.btf.as_ref().map_or(0, |btf| btf.iter().count() - 1),
            maps: self.maps.iter().map(|map| self.map(map)).collect(),
            programs: self
                .programs
                .iter()
                .map(|program| {
                    let function = &self.functions[program.function.0 as usize];
                    let reached = reached(self, program);
                    let len = |id: &FunctionId| self.functions[id.0 as usize].code.insns.len();
                    let attach_type = program.def.expected_attach_type;
                    ProgramSummary {
                        name: function.name.clone(),
                        section: program.def.section.clone().into_owned(),
                        program_type: program.def.program_type.to_string(),
                        attach_type: (attach_type.0 != 0).then(|| attach_type.to_string()),
                        insns: function.code.insns.len(),
                        total_insns: reached.iter().map(len).sum(),
                        functions: reached.len(),
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
            needs: self.needs(),
        }
    }

    fn map(&self, map: &Map) -> MapSummary {
        let declared = |ty: Option<TypeId>, name: &str| Some(self.btf.as_ref()?.declaration(ty?, name));
        let has_section = map.section.is_some();
        let variables = map.section.iter().flat_map(|section| {
            section.variables.iter().map(move |variable| {
                let ty = Some(variable.ty).filter(|ty| *ty != TypeId::VOID);
                VariableSummary {
                    name: variable.name.clone(),
                    declaration: declared(ty, &variable.name),
                    offset: variable.offset,
                    size: variable.size,
                    visible: variable.visible,
                    addresses: section.has_addresses(variable),
                }
            })
        });
        MapSummary {
            def: map.def.clone(),
            key_type: declared(map.key_type.filter(|_| !has_section), ""),
            value_type: declared(map.value_type.filter(|_| !has_section), ""),
            memory: memory(&map.def),
            variables: variables.collect(),
        }
    }
}

impl Summary {
    /// Returns the first upstream Linux that has all features that the object needs.
    #[must_use]
    pub fn since(&self) -> Option<Version> {
        self.needs.first().map(|need| need.since)
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "object {} license {:?}, {} types", Line(&self.name), self.license, self.types)?;
        match self.since() {
            Some(since) => writeln!(f, ", needs Linux {}", release(since))?,
            None => writeln!(f)?,
        }
        for (index, kernel) in self.kernels.iter().enumerate() {
            match (kernel.since, self.kernels.get(index + 1)) {
                ("0", Some(next)) => write!(f, "Linux before {}", next.since)?,
                (since, Some(next)) => write!(f, "Linux {since} and later, before {}", next.since)?,
                (since, None) => write!(f, "Linux {since} and later")?,
            }
            writeln!(f, ": {}", kernel.what)?;
        }
        write!(
            f,
            "{}{}{}{}",
            self.map_columns(),
            self.variable_columns(),
            self.program_columns(),
            self.need_columns()
        )?;
        let lists = [("subprograms", &self.subprograms), ("externs", &self.externs)];
        for (heading, names) in lists.into_iter().filter(|(_, names)| !names.is_empty()) {
            writeln!(f, "\n{heading}")?;
            names.iter().try_for_each(|name| writeln!(f, "  {}", Line(name)))?;
        }
        Ok(())
    }
}

impl Summary {
    fn map_columns(&self) -> Columns {
        let titles = ["MAP", "TYPE", "KEY", "VALUE", ">ENTRIES", "FLAGS", "MEMORY"];
        let mut columns = Columns::new("maps", &titles);
        for map in &self.maps {
            let def = &map.def;
            let typed = |size: u32, ty: &Option<String>| match ty {
                Some(ty) => format!("{} ({size})", Line(ty)),
                None => size.to_string(),
            };
            let pinned = if def.pin_by_name { ", pinned" } else { "" };
            columns.row([
                Line(&def.name).to_string(),
                def.map_type.to_string(),
                typed(def.key_size, &map.key_type),
                typed(def.value_size, &map.value_type),
                def.max_entries.to_string(),
                format!("{:#x}{pinned}", def.flags),
                map.memory.map_or_else(|| "?".to_owned(), |memory| memory.to_string()),
            ]);
        }
        columns
    }

    fn variable_columns(&self) -> Columns {
        let mut columns = Columns::new("variables", &["SECTION", ">OFFSET", ">SIZE", "DECLARATION"]);
        for (map, variable) in
            self.maps.iter().flat_map(|map| map.variables.iter().map(move |variable| (map, variable)))
        {
            let hidden = if variable.visible { "" } else { ", not in the skeleton" };
            let addresses = if variable.addresses { ", with addresses that are not set" } else { "" };
            let declaration = Line(variable.declaration.as_ref().unwrap_or(&variable.name));
            columns.row([
                Line(&map.def.name).to_string(),
                variable.offset.to_string(),
                variable.size.to_string(),
                format!("{declaration}{hidden}{addresses}"),
            ]);
        }
        columns
    }

    fn program_columns(&self) -> Columns {
        let titles = ["PROGRAM", "SECTION", "TYPE", "ATTACH TYPE", ">INSNS", ">TOTAL", "LINUX", "NOTES"];
        let mut columns = Columns::new("programs", &titles);
        for program in &self.programs {
            let target = program.target.as_ref().map(|target| format!("for {}", Line(target)));
            let notes = [
                target,
                (!program.autoload).then(|| "not loaded by default".to_owned()),
                (!program.attaches).then(|| "not attached automatically".to_owned()),
            ];
            columns.row([
                Line(&program.name).to_string(),
                Line(&program.section).to_string(),
                program.program_type.clone(),
                program.attach_type.clone().unwrap_or_else(|| "-".to_owned()),
                program.insns.to_string(),
                program.total_insns.to_string(),
                program.since.clone().unwrap_or_else(|| "?".to_owned()),
                notes.into_iter().flatten().collect::<Vec<_>>().join(", "),
            ]);
        }
        columns
    }

    fn need_columns(&self) -> Columns {
        /// The maximum number of maps and programs that are named.
        const NAMED: usize = 3;
        let mut columns = Columns::new("needs", &["LINUX", "FEATURE", "FOR"]);
        for need in &self.needs {
            let name = |needer: &Needer| match needer.kind {
                NeederKind::Map => format!("map {}", Line(&needer.name)),
                NeederKind::Program => format!("program {}", Line(&needer.name)),
            };
            let mut names: Vec<_> = need.by.iter().take(NAMED).map(name).collect();
            if need.by.len() > NAMED {
                names.push(format!("{} more", need.by.len() - NAMED));
            }
            columns.row([release(need.since), need.feature.clone(), names.join(", ")]);
        }
        columns
    }
}
