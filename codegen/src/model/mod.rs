//! What an object means: maps, global data, functions and programs, with typed ids and every reference resolved to one of them.
//!
//! This is where BPF conventions live: which section is which, what a `.maps` definition says, what a program section's name
//! stands for. ELF's numbers end here. What has a row in the plan is held as one; nothing of kernels, steps or Rust is known.

pub(crate) mod arena;
mod build;
mod data;
mod exceptions;
mod externs;
mod functions;
mod jumps;
mod kconfig;
mod kernels;
mod legacy;
mod maps;
mod pass;
pub mod print;
mod references;
mod refused;
mod repair;
mod sections;
mod special;
mod struct_ops;
mod table;
mod untyped;
mod warnings;
mod wrappers;

use crate::btf::ext::SectionInfo;
use crate::btf::{Btf, TypeId};
use crate::insn::{Code, Endian, InsnIndex};
use skelgen_abi::plan::{self, SectionKind};
use skelgen_abi::uapi::{MapType, OBJ_NAME_MAX};

/// Index of a map in its object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MapId(pub u32);

/// Index of a function in its object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FunctionId(pub u32);

/// Index of a program in its object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProgramId(pub u32);

/// Index of an extern in its object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExternId(pub u32);

/// An object's meaning.
#[derive(Debug, Clone)]
pub struct BpfObject {
    /// The byte order it was compiled for: that of its data, and of the machine that can load it.
    pub endian: Endian,
    /// Its name: characters that a kernel name may hold.
    pub name: String,
    /// Its license, empty if it has none.
    pub license: String,
    /// The number of its section `version`, else 0.
    pub kernel_version: u32,
    /// Its types, data sections laid out; `None` if it was compiled without.
    pub btf: Option<Btf>,
    /// Its maps, global data first in the order of sections, then `.maps` in the order of the source.
    pub maps: Vec<Map>,
    /// Its functions: what programs and subprograms are made of.
    pub functions: Vec<Function>,
    /// Its programs, in the order of sections and of functions within.
    pub programs: Vec<Program>,
    /// What it expects of the kernel, by its own names: one of several declarations of a function can have a name of its own
    /// (`name___one`).
    pub externs: Vec<plan::Symbol>,
    /// The kernel configuration that it reads: the variables of the section of kind `Kconfig`.
    pub kconfig: Vec<plan::Kconfig>,
}

/// A map, or a section of global data, which is the one value of a map.
#[derive(Debug, Clone)]
pub struct Map {
    /// Its definition, as its row of the plan has it; for global data its name is that of the section. What a row says about other
    /// rows and about the blob is set when the plan is made.
    pub def: plan::Map,
    /// The type of a key, if it is known.
    pub key_type: Option<TypeId>,
    /// The type of a value, if it is known; for global data the `Datasec`.
    pub value_type: Option<TypeId>,
    /// For maps of maps: the inner maps' common definition.
    pub inner: Option<Box<Map>>,
    /// For maps of maps: the maps that are in it at first, with their keys.
    pub inner_maps: Vec<(u32, MapId)>,
    /// For program arrays: the programs that are in it at first, with their keys.
    pub inner_programs: Vec<(u32, FunctionId)>,
    /// For global data and struct_ops maps: the contents.
    pub section: Option<DataSection>,
    /// For struct_ops maps: the functions of their members, by the members' places.
    pub member_functions: Vec<(usize, FunctionId)>,
}

impl Map {
    /// Creates a map of this type without sizes and contents. Its name in the kernel is the beginning of its name.
    #[must_use]
    pub fn new(name: &str, map_type: MapType) -> Self {
        Self {
            def: plan::Map {
                name: name.to_owned().into(),
                kernel_name: name.chars().take(OBJ_NAME_MAX).collect::<String>().into(),
                ..plan::Map::new("", map_type)
            },
            key_type: None,
            value_type: None,
            inner: None,
            inner_maps: Vec::new(),
            inner_programs: Vec::new(),
            section: None,
            member_functions: Vec::new(),
        }
    }

    /// Creates a map with one value, these contents.
    #[must_use]
    pub fn of_section(name: &str, map_type: MapType, contents: DataSection) -> Self {
        let mut map = Self::new(name, map_type);
        (map.def.key_size, map.def.value_size, map.def.max_entries) = (4, contents.size, 1);
        map.section = Some(contents);
        map
    }
}

/// The contents of a section of global data.
#[derive(Debug, Clone)]
pub struct DataSection {
    /// What kind of data.
    pub kind: SectionKind,
    /// Its size in bytes.
    pub size: u32,
    /// Its alignment in bytes.
    pub align: u32,
    /// Its bytes; empty if all are zero.
    pub bytes: Vec<u8>,
    /// Its variables by rising offset.
    pub variables: Vec<Variable>,
    /// Where its initial value has addresses in the source, in bytes and by rising offset. They stay what the compiler left there,
    /// because nobody knows them before the programs run.
    pub addresses: Vec<u32>,
}

impl DataSection {
    /// Whether each CPU has a copy of its own.
    #[must_use]
    pub fn is_percpu(&self) -> bool {
        self.kind == SectionKind::Percpu
    }

    /// Whether the initial value of a variable has addresses.
    #[must_use]
    pub fn has_addresses(&self, variable: &Variable) -> bool {
        let end = variable.offset.saturating_add(variable.size);
        self.addresses.iter().any(|address| (variable.offset..end).contains(address))
    }
}

/// A variable of a section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its type.
    pub ty: TypeId,
    /// Where it begins, in bytes.
    pub offset: u32,
    /// Its size in bytes.
    pub size: u32,
    /// Whether other files see it: neither static nor hidden. Only such variables are fields of the skeleton.
    pub visible: bool,
}

/// A function.
#[derive(Debug, Clone)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// The section it is in.
    pub section: String,
    /// Its first instruction in the section.
    pub start: InsnIndex,
    /// Whether other files see it (a global function is verified by itself).
    pub global: bool,
    /// Its instructions and references; jumps stay inside.
    pub code: Code<Reference>,
    /// Its records, instruction indexes from its own beginning.
    pub info: SectionInfo,
    /// Its jump tables: instructions of its own, by what an index into the table means.
    pub tables: Vec<Vec<InsnIndex>>,
}

/// What an instruction of a function refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reference {
    /// A map.
    Map(MapId),
    /// A byte of a section of global data.
    MapValue(MapId, u32),
    /// A call of a function.
    Call(FunctionId),
    /// The address of a function.
    FunctionAddress(FunctionId),
    /// The address of a kernel variable, function or symbol without a type.
    ExternVariable(ExternId),
    /// A call of a kernel function.
    ExternCall(ExternId),
    /// A jump table of the function, by its place among them.
    JumpTable(usize),
}

/// A program: a function that something attaches.
#[derive(Debug, Clone)]
pub struct Program {
    /// Its function.
    pub function: FunctionId,
    /// The function that the kernel calls when the program throws an exception, if it names one (`__exception_cb`).
    pub exception: Option<FunctionId>,
    /// Its row of the plan, as far as its section says it. Its functions and its target are set when the plan is made.
    pub def: plan::Program,
    /// The kernel type it is loaded for.
    pub target: Option<plan::Symbol>,
}
