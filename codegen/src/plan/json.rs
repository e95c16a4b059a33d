//! A plan as JSON: the steps and the listings of the text, as values.
//!
//! Maps, programs and symbols are referred to by their names in the source.

use serde::{Serialize, Serializer};

use skelgen_abi::plan::{Map, Step};

use super::LoadPlan;
use super::assemble::{Assembled, is_emulated};
use super::listing::{Listing, Row};

#[derive(Serialize)]
struct Document<'a> {
    name: &'a str,
    license: String,
    /// The size of the blob in bytes.
    blob_size: usize,
    steps: Vec<Request<'a>>,
    programs: Vec<Body<'a>>,
}

/// A step. Sizes are in bytes.
#[derive(Serialize)]
#[serde(tag = "step", rename_all = "snake_case")]
enum Request<'a> {
    LoadBtf { size: u32 },
    ResolveSymbols { symbols: Vec<Symbol<'a>> },
    CreateMap(Definition<'a>),
    FillMap { map: &'a str, size: u32, flags: u64 },
    FillKconfig { map: &'a str, options: Vec<&'a str> },
    FreezeMap { map: &'a str },
    InsertMap { outer: &'a str, key: u32, inner: &'a str },
    BindMap { program: &'a str, map: &'a str },
    InsertProgram { map: &'a str, key: u32, program: &'a str },
    LoadProgram { program: &'a str, program_type: String, attach_type: Option<String>, flags: u32, autoload: bool },
}

#[derive(Serialize)]
struct Symbol<'a> {
    name: &'a str,
    kind: String,
    weak: bool,
}

#[derive(Serialize)]
struct Definition<'a> {
    map: &'a str,
    kernel_name: &'a str,
    map_type: String,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    flags: u32,
    numa_node: u32,
    map_extra: u64,
    btf_key_type_id: u32,
    btf_value_type_id: u32,
    pin_by_name: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    inner: Option<Box<Definition<'a>>>,
}

/// A program after the load has put its functions together.
#[derive(Serialize)]
struct Body<'a> {
    name: &'a str,
    section: &'a str,
    /// Whether this is the form for kernels without direct access to percpu data.
    emulated: bool,
    instructions: Vec<Row>,
}

impl Serialize for LoadPlan {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let object = &self.object;
        let listing = Listing::new(self);
        let mut programs = Vec::new();
        for program in &*object.programs {
            for emulated in [false, true] {
                if !emulated || is_emulated(object, program) {
                    let instructions = listing.rows(&Assembled::new(self, program, emulated));
                    programs.push(Body { name: &program.name, section: &program.section, emulated, instructions });
                }
            }
        }
        let steps = object.steps.iter().map(|step| self.request(*step)).collect();
        let license = object.license.to_string_lossy().into_owned();
        Document { name: &object.name, license, blob_size: object.blob.len(), steps, programs }.serialize(serializer)
    }
}

impl LoadPlan {
    fn request(&self, step: Step) -> Request<'_> {
        let object = &self.object;
        let map = |index: u32| self.map_name(index);
        let program = |index: u32| self.program_name(index);
        match step {
            Step::LoadBtf => Request::LoadBtf { size: object.btf.map_or(0, |span| span.len) },
            Step::ResolveSymbols => {
                let symbols = object.symbols.iter();
                let symbols = symbols.map(|symbol| Symbol {
                    name: &symbol.name,
                    kind: format!("{:?}", symbol.kind).to_lowercase(),
                    weak: symbol.weak,
                });
                Request::ResolveSymbols { symbols: symbols.collect() }
            }
            Step::CreateMap { map: index } => {
                const NONE: &Map = &Map::new("?", skelgen_abi::uapi::MapType::UNSPEC);
                Request::CreateMap(self.definition(object.maps.get(index as usize).unwrap_or(NONE)))
            }
            Step::FillMap { map: index, flags } => {
                let size = object.maps.get(index as usize).map_or(0, |map| map.value_size);
                Request::FillMap { map: map(index), size, flags }
            }
            Step::FillKconfig { map: index } => {
                let options = object.kconfig.iter().map(|option| &*option.name).collect();
                Request::FillKconfig { map: map(index), options }
            }
            Step::FreezeMap { map: index } => Request::FreezeMap { map: map(index) },
            Step::InsertMap { outer, key, inner } => Request::InsertMap { outer: map(outer), key, inner: map(inner) },
            Step::BindMap { program: index, map: bound } => {
                Request::BindMap { program: program(index), map: map(bound) }
            }
            Step::InsertProgram { map: to, key, program: index } => {
                Request::InsertProgram { map: map(to), key, program: program(index) }
            }
            Step::LoadProgram { program: index } => {
                let loaded = object.programs.get(index as usize);
                let attach_type = loaded.map(|program| program.expected_attach_type).filter(|ty| ty.0 != 0);
                Request::LoadProgram {
                    program: program(index),
                    program_type: loaded.map_or_else(String::new, |program| program.program_type.to_string()),
                    attach_type: attach_type.map(|ty| ty.to_string()),
                    flags: loaded.map_or(0, |program| program.flags),
                    autoload: loaded.is_some_and(|program| program.autoload),
                }
            }
        }
    }

    fn definition<'a>(&'a self, map: &'a Map) -> Definition<'a> {
        let inner = map.inner.and_then(|inner| self.object.maps.get(inner as usize));
        Definition {
            map: &map.name,
            kernel_name: &map.kernel_name,
            map_type: map.map_type.to_string(),
            key_size: map.key_size,
            value_size: map.value_size,
            max_entries: map.max_entries,
            flags: map.flags,
            numa_node: map.numa_node,
            map_extra: map.extra,
            btf_key_type_id: map.btf_key_type_id,
            btf_value_type_id: map.btf_value_type_id,
            pin_by_name: map.pin_by_name,
            inner: inner.map(|inner| Box::new(self.definition(inner))),
        }
    }
}
