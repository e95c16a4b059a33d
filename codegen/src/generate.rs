//! The driver: runs the phases in order, each on the value of the one before. The build step and the command line call
//! only these functions.
//!
//! This module does not use files, arguments or the environment: generation is a function of the object's bytes and the
//! options.

use std::fmt;

use crate::btf::Btf;
use crate::elf::{self, ElfObject};
use crate::emulate::forms;
use crate::error::{Code, Diagnostic, Error, Result};
use crate::insn::Endian;
use crate::link::link;
use crate::model::BpfObject;
use crate::options::Options;
use crate::plan::LoadPlan;
use crate::rust;
use crate::skeleton::{self, Requested, Skeleton};

/// Reads a BPF object: its maps, programs, variables and warnings.
///
/// # Errors
/// Everything that is wrong with the object, with codes and locations.
pub fn inspect(bytes: &[u8], options: &Options) -> Result<BpfObject> {
    let elf = ElfObject::parse(bytes)?;
    BpfObject::from_elf(&elf, &options.name)
}

/// Plans the load of a BPF object, without writing Rust.
///
/// # Errors
/// Everything that is wrong with the object, with codes and locations.
pub fn plan(bytes: &[u8], options: &Options) -> Result<LoadPlan> {
    lower(&mut inspect(bytes, options)?, options)
}

/// Runs the phases between the model and the plan. Takes the instructions out of the object's functions.
fn lower(object: &mut BpfObject, options: &Options) -> Result<LoadPlan> {
    let linked = link(object);
    let forms = forms(object, linked, options.percpu)?;
    // The linked functions have copies, and in a large object these are most of the memory.
    for function in &mut object.functions {
        (function.code, function.info) = Default::default();
    }
    LoadPlan::new(object, forms, options.percpu)
}

/// Writes the skeleton of an object that [`inspect`] returned.
///
/// # Errors
/// Everything that is wrong with the object or the options, and [`Code::Io`] if `out` fails. On error nothing is
/// written, except after `Io` and [`Code::BadName`].
pub fn write(mut object: BpfObject, options: &Options, out: &mut dyn fmt::Write) -> Result<()> {
    if let Some(name) = options.named_maps().find(|name| !skeleton::has_map(&object, name)) {
        return Err(skeleton::no_map(name));
    }
    let missing = write_with_types(&mut object, options, out)?;
    if missing.is_empty() { Ok(()) } else { Err(skeleton::missing(&missing)) }
}

/// Writes the skeleton, and returns the requested type names that the object does not have. Another object may have
/// them.
pub(crate) fn write_with_types(
    object: &mut BpfObject,
    options: &Options,
    out: &mut dyn fmt::Write,
) -> Result<Vec<String>> {
    // Planning takes the records of functions, in which contexts are found.
    let contexts = if options.contexts { Requested::contexts(object) } else { Vec::new() };
    let plan = lower(object, options)?;
    let object = &*object;
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

/// Generates Rust types for every struct, union and enum of a BPF object, of a kernel image, or of a raw BTF file. With
/// [`Options::types`] set, generates only those types and the types they contain.
///
/// # Errors
/// Everything that is wrong with the file, with codes and locations.
pub fn types(bytes: &[u8], options: &Options) -> Result<rust::TypeFile> {
    let btf = match bytes {
        // Raw BTF begins with its magic number, in its own byte order.
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
