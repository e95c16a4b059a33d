//! From a BPF object to a Rust skeleton.
//!
//! [`generate`] is the whole way, [`Builder`] is for a build.rs. Each phase is a module and a value: [`elf`] reads syntax,
//! [`model`] finds the meaning, [`link()`] finds the functions of each program, [`plan`](mod@plan) orders what the kernel will be asked for,
//! [`skeleton`] chooses names and [`rust`] writes them down. Generation is a pure function of the object's bytes and the options.
//!
//! ```no_run
//! use skelgen::{PercpuForm, elf::ElfObject, emulate::forms, link::link, model::BpfObject, plan::LoadPlan, skeleton::Skeleton};
//!
//! let bytes = std::fs::read("counters.bpf.o")?;
//! let object = BpfObject::from_elf(&ElfObject::parse(&bytes)?, "counters")?;
//! let percpu = PercpuForm::default();
//! let plan = LoadPlan::new(&object, forms(&object, link(&object), percpu)?, percpu)?;
//! let skeleton = Skeleton::new(&object, &[], &[])?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

pub mod btf;
pub mod build;
pub mod elf;
pub mod emulate;
pub mod error;
pub mod insn;
pub mod link;
pub mod model;
pub mod output;
pub mod plan;
pub mod rust;
pub mod skeleton;

pub use build::Builder;
pub use error::{Error, Result};

pub use skelgen_abi::plan::PercpuForm;

use btf::Btf;
use elf::ElfObject;
use emulate::forms;
use error::{Code, Diagnostic};
use insn::Endian;
use link::link;
use model::BpfObject;
use plan::LoadPlan;
use skeleton::{Requested, Skeleton};

/// What can be chosen about a generated file.
///
/// ```
/// let mut options = skelgen::Options::for_file("counters.bpf.o");
/// options.types.push("event".to_owned());
/// options.optional_maps.push("debug_log".to_owned());
/// ```
#[derive(Debug, Clone)]
pub struct Options {
    /// What the object is called: the module's name, and the beginning of the kernel's names for global data.
    pub name: String,
    /// Whether the file is a module of its own or holds one.
    pub layout: rust::Layout,
    /// Which forms of programs with percpu data the file holds: for every kernel, or, smaller, for some.
    pub percpu: PercpuForm,
    /// Types to write though no variable or map has them: names as in C, `event` or `struct event`.
    pub types: Vec<String>,
    /// Whether the types that programs get as their contexts are written.
    pub contexts: bool,
    /// The path of the runtime's crate, as the generated file is to name it.
    pub runtime: String,
    /// Maps that may be left out of a load (`OpenMap::set_autocreate`), by their names: their handles are `Option`s.
    pub optional_maps: Vec<String>,
    /// Maps whose type or sizes are chosen before the load (`OpenMap::set_map_type`), by their names: their handles are for any map.
    pub untyped_maps: Vec<String>,
}

impl Options {
    /// The options for an object of this file name: its name is what comes before the first dot.
    ///
    /// ```
    /// assert_eq!(skelgen::Options::for_file("src/bpf/counters.bpf.o").name, "counters");
    /// ```
    #[must_use]
    pub fn for_file(path: impl AsRef<std::path::Path>) -> Self {
        let file = path.as_ref().file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let name = file.split('.').find(|part| !part.is_empty()).unwrap_or("object").to_owned();
        Self {
            name,
            layout: rust::Layout::File,
            percpu: PercpuForm::default(),
            types: Vec::new(),
            contexts: false,
            runtime: "::skelgen_runtime".to_owned(),
            optional_maps: Vec::new(),
            untyped_maps: Vec::new(),
        }
    }

    /// The maps that some option is about.
    fn named_maps(&self) -> impl Iterator<Item = &String> {
        self.optional_maps.iter().chain(&self.untyped_maps)
    }

    fn style(&self) -> rust::Style<'_> {
        rust::Style { layout: self.layout, runtime: &self.runtime }
    }
}

/// Makes the skeleton of a BPF object: the text of a Rust file.
///
/// # Errors
/// Everything that is wrong with the object, with codes and places.
///
/// ```no_run
/// let options = skelgen::Options::for_file("counters.bpf.o");
/// let text = skelgen::generate(&std::fs::read("counters.bpf.o")?, &options)?;
/// std::fs::write("counters.rs", text)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn generate(bytes: &[u8], options: &Options) -> Result<String> {
    let mut text = rust::Pieces::default();
    write(inspect(bytes, options)?, options, &mut text)?;
    Ok(text.into_string())
}

/// Writes the skeleton of an object that [`inspect`] gave.
///
/// # Errors
/// As for [`generate`], and [`Code::Io`] if `out` does not take the text. Nothing was written unless it is one of the last two
/// phases', [`Code::BadName`] or that.
///
/// ```no_run
/// let options = skelgen::Options::for_file("counters.bpf.o");
/// let object = skelgen::inspect(&std::fs::read("counters.bpf.o")?, &options)?;
/// println!("{} programs", object.programs.len());
/// let mut text = String::new();
/// skelgen::write(object, &options, &mut text)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn write(mut object: BpfObject, options: &Options, out: &mut dyn std::fmt::Write) -> Result<()> {
    if let Some(name) = options.named_maps().find(|name| !skeleton::has_map(&object, name)) {
        return Err(skeleton::no_map(name));
    }
    let missing = write_with_types(&mut object, options, out)?;
    if missing.is_empty() { Ok(()) } else { Err(skeleton::missing(&missing)) }
}

/// The same, but names for which the object has no type are returned: another object may have it.
fn write_with_types(object: &mut BpfObject, options: &Options, out: &mut dyn std::fmt::Write) -> Result<Vec<String>> {
    let programs = forms(object, link(object), options.percpu)?;
    let contexts = if options.contexts { Requested::contexts(object) } else { Vec::new() };
    // What was linked has copies of them now. Of a large object these are most of the memory.
    for function in &mut object.functions {
        (function.code, function.info) = Default::default();
    }
    let object = &*object;
    let plan = LoadPlan::new(object, programs, options.percpu)?;
    let skeleton = Skeleton::new(object, &options.optional_maps, &options.untyped_maps)?;
    let mut types = match &object.btf {
        Some(btf) => Requested::find(btf, &options.types),
        None => Requested { found: Vec::new(), missing: options.types.clone() },
    };
    types.found.extend(contexts);
    types.found.extend(Requested::records(object));
    rust::generate(object, &skeleton, &plan, &types.found, options.style(), out)?;
    Ok(types.missing)
}

/// Writes Rust types for every struct, union and enum of a BPF object, of a kernel's image, or of a file of BTF such as
/// `/sys/kernel/btf/vmlinux`; with [`Options::types`], only for these and what they contain.
///
/// # Errors
/// Everything that is wrong with the file, with codes and places.
///
/// ```no_run
/// let mut options = skelgen::Options::for_file("vmlinux");
/// options.types.push("struct task_struct".to_owned());
/// let file = skelgen::types(&std::fs::read("/sys/kernel/btf/vmlinux")?, &options)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn types(bytes: &[u8], options: &Options) -> Result<rust::TypeFile> {
    let btf = match bytes {
        // A file of BTF begins with its magic number, in the order of its bytes.
        [0x9f, 0xeb, ..] => Btf::parse(bytes, Endian::Little)?,
        [0xeb, 0x9f, ..] => Btf::parse(bytes, Endian::Big)?,
        _ => {
            let Some((endian, data)) = elf::section_of_any(bytes, ".BTF")? else {
                return Err(Error::from(Diagnostic::new(Code::MissingBtf, "the object has no section .BTF")));
            };
            Btf::parse(data, endian)?
        }
    };
    let only = Requested::find(&btf, &options.types).all()?;
    rust::types(&btf, &only, &options.name, options.style())
}

/// Plans the load of a BPF object, without writing Rust.
///
/// # Errors
/// Everything that is wrong with the object, with codes and places.
///
/// ```no_run
/// let options = skelgen::Options::for_file("counters.bpf.o");
/// // What the kernel will be asked for, step by step.
/// print!("{}", skelgen::plan(&std::fs::read("counters.bpf.o")?, &options)?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn plan(bytes: &[u8], options: &Options) -> Result<LoadPlan> {
    let elf = ElfObject::parse(bytes)?;
    let object = BpfObject::from_elf(&elf, &options.name)?;
    let programs = forms(&object, link(&object), options.percpu)?;
    LoadPlan::new(&object, programs, options.percpu)
}

/// Understands a BPF object.
///
/// # Errors
/// Everything that is wrong with the object, with codes and places.
///
/// ```no_run
/// let options = skelgen::Options::for_file("counters.bpf.o");
/// for program in &skelgen::inspect(&std::fs::read("counters.bpf.o")?, &options)?.programs {
///     println!("section {}: {}", program.section, program.program_type);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn inspect(bytes: &[u8], options: &Options) -> Result<BpfObject> {
    BpfObject::from_elf(&ElfObject::parse(bytes)?, &options.name)
}
