//! The model of an object: maps, global data, functions and programs with typed ids, and all references resolved to
//! ids.
//!
//! BPF conventions are implemented here: section names, `.maps` definitions and program types. Later phases do not see
//! ELF indices. Items that are rows of the plan are stored in the plan's types. This module does not depend on kernels, load
//! steps or Rust.

pub(crate) mod arena;
mod build;
pub(crate) mod columns;
mod data;
mod exceptions;
mod externs;
mod functions;
mod jumps;
mod kconfig;
mod kernels;
mod legacy;
mod maps;
mod memory;
pub mod needs;
mod pass;
pub mod print;
pub(crate) mod reached;
mod references;
mod refused;
mod repair;
mod sections;
mod special;
mod struct_ops;
mod table;
mod undefined;
mod untyped;
pub(crate) mod warnings;
mod wrappers;

use crate::btf::ext::SectionInfo;
use crate::btf::{Btf, TypeId};
use crate::insn::{Code, Endian, InsnIndex};
use skelgen_abi::plan::{self, SectionKind};
use skelgen_abi::uapi::{MapType, OBJ_NAME_MAX};

/// The index of a map in its object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MapId(pub u32);

/// The index of a function in its object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FunctionId(pub u32);

/// The index of a program in its object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProgramId(pub u32);

/// The index in an object of an extern: a symbol that the kernel defines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExternId(pub u32);

/// The model of an object.
#[derive(Debug, Clone)]
pub struct BpfObject {
    /// The byte order of its data, and of the machines that can load it.
    pub endian: Endian,
    /// The object's name, reduced to the characters that kernel names can contain.
    pub name: String,
    /// The object's license, empty if it has none.
    pub license: String,
    /// The number in section `version`, or 0.
    pub kernel_version: u32,
    /// The object's types, with data sections laid out; `None` if it was compiled without BTF.
    pub btf: Option<Btf>,
    /// The object's maps: first those of global data in the order of sections, then those of `.maps` in source order.
    pub maps: Vec<Map>,
    /// The object's functions: those of programs and subprograms.
    pub functions: Vec<Function>,
    /// The object's programs, in the order of sections and of functions within them.
    pub programs: Vec<Program>,
    /// The kernel symbols that the object uses, with their names in the object. A name can have a suffix (`name___one`)
    /// that distinguishes several declarations of one function.
    pub externs: Vec<plan::Symbol>,
    /// The kernel configuration it reads: the variables of the section of kind `Kconfig`.
    pub kconfig: Vec<plan::Kconfig>,
}

/// A map, or a section of global data, which is the only value of a map.
#[derive(Debug, Clone)]
pub struct Map {
    /// The map's definition as a row of the plan; a map of global data has the name of its section. Planning sets the
    /// fields that refer to other rows or to the blob.
    pub def: plan::Map,
    /// The key type, if known.
    pub key_type: Option<TypeId>,
    /// The value type, if known; for global data the `Datasec`.
    pub value_type: Option<TypeId>,
    /// For maps of maps: the definition of the inner maps.
    pub inner: Option<Box<Map>>,
    /// For maps of maps: the initial inner maps with their keys.
    pub inner_maps: Vec<(u32, MapId)>,
    /// For program arrays: the initial programs with their keys.
    pub inner_programs: Vec<(u32, FunctionId)>,
    /// For global data and struct_ops maps: the contents.
    pub section: Option<DataSection>,
    /// For struct_ops maps: the functions of members, by member index.
    pub member_functions: Vec<(usize, FunctionId)>,
}

impl Map {
    /// Creates a map of this type without sizes and contents. Its kernel name is the truncated name.
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

    /// Creates a map whose only value has these contents.
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
    /// The kind of data.
    pub kind: SectionKind,
    /// The section's size in bytes.
    pub size: u32,
    /// The section's alignment in bytes.
    pub align: u32,
    /// The section's bytes; empty if all are zero.
    pub bytes: Vec<u8>,
    /// The section's variables, by ascending offset.
    pub variables: Vec<Variable>,
    /// The offsets of addresses in its initial value, in bytes and ascending. The addresses stay as the compiler wrote
    /// them, because the final addresses are unknown until the programs run.
    pub addresses: Vec<u32>,
}

impl DataSection {
    /// Returns whether each CPU has its own copy of the section.
    #[must_use]
    pub fn is_percpu(&self) -> bool {
        self.kind == SectionKind::Percpu
    }

    /// Returns whether the initial value of a variable contains addresses.
    #[must_use]
    pub fn has_addresses(&self, variable: &Variable) -> bool {
        let end = variable.offset.saturating_add(variable.size);
        self.addresses.iter().any(|address| (variable.offset..end).contains(address))
    }
}

/// A variable of a section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    /// The variable's name.
    pub name: String,
    /// The variable's type.
    pub ty: TypeId,
    /// The variable's offset in bytes.
    pub offset: u32,
    /// The variable's size in bytes.
    pub size: u32,
    /// Whether other files can refer to it: it is neither static nor hidden. Only visible variables are fields of the
    /// skeleton.
    pub visible: bool,
}

/// A function.
#[derive(Debug, Clone)]
pub struct Function {
    /// The function's name.
    pub name: String,
    /// The name of its section.
    pub section: String,
    /// The function's first instruction in the section.
    pub start: InsnIndex,
    /// Whether other files can refer to it. The kernel verifies global functions separately.
    pub global: bool,
    /// The function's instructions and references. Jumps stay inside the function.
    pub code: Code<Reference>,
    /// The function's records, with instruction indices relative to its beginning.
    pub info: SectionInfo,
    /// The function's jump tables: the target instruction of each table index.
    pub tables: Vec<Vec<InsnIndex>>,
}

/// The target of a reference from an instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reference {
    /// A map.
    Map(MapId),
    /// A byte offset in a section of global data.
    MapValue(MapId, u32),
    /// A call of a function.
    Call(FunctionId),
    /// The address of a function.
    FunctionAddress(FunctionId),
    /// The address of a kernel variable, a kernel function, or a kernel symbol without a type.
    ExternVariable(ExternId),
    /// A call of a kernel function.
    ExternCall(ExternId),
    /// A jump table: an index into the function's tables.
    JumpTable(usize),
}

/// A program: a function that the kernel calls.
#[derive(Debug, Clone)]
pub struct Program {
    /// The program's function.
    pub function: FunctionId,
    /// The function that the kernel calls if the program throws an exception, if it has one (`__exception_cb`).
    pub exception: Option<FunctionId>,
    /// The program's row of the plan, as far as its section determines it. Planning sets the functions and the target.
    pub def: plan::Program,
    /// The type or function in the kernel's BTF for which the program is loaded (`attach_btf_id`).
    pub target: Option<plan::Symbol>,
}
