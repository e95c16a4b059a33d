//! The driver: runs the phases in order, each on the result of the phase before. The build step and the command line
//! call only these functions.
//!
//! This module does not use files, arguments or the environment: generation is a function of the object's bytes and the
//! options.

use std::fmt;

use skelgen_abi::relocation::RelocationKind;

use crate::btf::ext::{BtfExt, CoreRelo};
use crate::btf::{Btf, TypeId};
use crate::elf::{self, ElfObject};
use crate::emulate::forms;
use crate::error::{Code, Diagnostic, Error, Result};
use crate::header::{self, Origin};
use crate::insn::Endian;
use crate::link::link as assemble;
use crate::loader::with_loader;
use crate::merge::{File, Merged};
use crate::min_btf;
use crate::model::BpfObject;
use crate::options::{Loader, Options};
use crate::plan::LoadPlan;
use crate::rust;
use crate::skeleton::{Missing, Requested, Skeleton};

/// Reads a BPF object: its maps, programs, variables and warnings.
///
/// # Errors
/// All problems of the object, each with its code and location.
pub fn inspect(bytes: &[u8], options: &Options) -> Result<BpfObject> {
    let elf = ElfObject::parse(bytes)?;
    BpfObject::from_elf(&elf, &options.name)
}

/// Links objects: writes one object with the contents of all files. An archive (`.a`) stands for the objects in it that
/// define names that are otherwise missing.
///
/// # Errors
/// All problems of the files and of their combination, each with its code and location.
pub fn link(files: &[File<'_>]) -> Result<Vec<u8>> {
    Merged::new(files)?.write()
}

/// Plans the load of a BPF object, without writing Rust.
///
/// # Errors
/// All problems of the object, each with its code and location.
pub fn plan(bytes: &[u8], options: &Options) -> Result<LoadPlan> {
    lower(&mut inspect(bytes, options)?, options)
}

/// Runs the phases between the model and the plan. Empties the instructions of the object's functions.
fn lower(object: &mut BpfObject, options: &Options) -> Result<LoadPlan> {
    let linked = assemble(object);
    let forms = forms(object, linked, options.percpu)?;
    // The linked functions have copies of the instructions; the originals would take most of the memory of a large
    // object.
    for function in &mut object.functions {
        (function.code, function.info) = Default::default();
    }
    LoadPlan::new(object, forms, options.percpu)
}

/// Writes the skeleton of an object that [`inspect`] returned.
///
/// # Errors
/// All problems of the object and the options, and [`Code::Io`] if `out` fails. On error nothing is written, except
/// after `Io` and [`Code::BadName`].
pub fn write(mut object: BpfObject, options: &Options, out: &mut dyn fmt::Write) -> Result<()> {
    missing(&object, options).check()?;
    write_existing(&mut object, options, out)
}

/// Returns the maps and types that the options name and the object lacks.
pub(crate) fn missing(object: &BpfObject, options: &Options) -> Missing {
    Missing::find(
        object,
        &options.named_maps().map(String::as_str).collect::<Vec<_>>(),
        &options.types,
        &options.records,
    )
}

/// Writes the skeleton. Ignores maps and types in the options that the object lacks.
pub(crate) fn write_existing(object: &mut BpfObject, options: &Options, out: &mut dyn fmt::Write) -> Result<()> {
    // Planning removes the records of functions, which determine the context types.
    let contexts = if options.contexts { Requested::contexts(object) } else { Vec::new() };
    let plan = lower(object, options)?;
    let plan = match options.loader {
        Loader::SystemCalls => plan,
        Loader::Program => with_loader(plan)?,
    };
    let object = &*object;
    let skeleton = Skeleton::new(object, &options.map_choices())?;
    let mut types = object.btf.as_ref().map(|btf| Requested::find(btf, &options.types).found).unwrap_or_default();
    types.extend(contexts);
    types.extend(Requested::records(object));
    rust::generate(object, &skeleton, &plan, &types, options.style(), out)
}

/// Generates Rust types for every struct, union and enum of a BPF object, of a kernel image, or of a raw BTF file. With
/// [`Options::types`] set, generates only those types and the types they contain.
///
/// # Errors
/// All problems of the file and the options, each with its code and location.
pub fn types(bytes: &[u8], options: &Options) -> Result<rust::TypeFile> {
    let btf = raw_types(bytes)?;
    let only = Requested::find(&btf, &options.types).all(&btf)?;
    rust::types(&btf, &only, &options.name, options.style())
}

/// Writes a C header of the types in a BPF object, a kernel image, a module or a raw BTF file. `base` is the file with
/// the kernel's types if the types are those of a module. If `only` is not empty, writes only the types and functions
/// of these names and their dependencies. `release` is the kernel release for the header's first line.
///
/// # Errors
/// All problems of the files, each with its code and location; [`Code::NoSuchType`] for a name in `only` that no type
/// or function has.
pub fn header(bytes: &[u8], base: Option<&[u8]>, only: &[String], release: Option<&str>) -> Result<String> {
    let (endian, data) = raw_btf(bytes)?;
    // Since Linux 6.12, a module's section `.BTF.base` can contain the kernel types that the module uses, without their
    // members.
    let own_base = elf::section_of_any(bytes, ".BTF.base").ok().flatten();
    let parsed = |(endian, bytes)| Btf::parse(bytes, endian);
    let kernel = base.map(raw_btf).transpose()?.map(parsed).transpose()?;
    let own_base = own_base.map(parsed).transpose()?;
    let (btf, types_before) = match (kernel, own_base) {
        (None, None) => (Btf::parse(data, endian)?, 0),
        (Some(base), None) | (None, Some(base)) => (base.parse_split(data, endian)?, base.len()),
        // The ids in the module are those of its own base.
        (Some(kernel), Some(base)) => (kernel.rebase(&base.parse_split(data, endian)?, base.len())?, kernel.len()),
    };
    let first = TypeId(u32::try_from(types_before).unwrap_or(u32::MAX));
    header::write(&btf, &header::Contents { only, first, origin: Origin { release, btf: data } })
}

/// The CO-RE relocations of an object, and the types that they refer to.
#[derive(Debug)]
pub struct Relocations {
    btf: Btf,
    ext: BtfExt,
}

impl Relocations {
    /// Returns the types of the object as raw BTF, in the byte order of this machine.
    #[must_use]
    pub fn types(&self) -> Vec<u8> {
        self.btf.write(if cfg!(target_endian = "big") { Endian::Big } else { Endian::Little })
    }

    /// Returns the relocations as objects store them, in the byte order of this machine. Relocations to the id of a
    /// kernel type are replaced by relocations to the existence of the type, because ids differ between BTF files.
    #[must_use]
    pub fn records(&self) -> Vec<u8> {
        let all = self.ext.sections.iter().flat_map(|section| &section.relos);
        let comparable = |relo: &CoreRelo| match RelocationKind::of(relo.kind) {
            Some(RelocationKind::TargetTypeId) => CoreRelo { kind: RelocationKind::TypeExists.number(), ..*relo },
            _ => *relo,
        };
        all.flat_map(|relo| comparable(relo).record()).collect()
    }
}

/// Reads the CO-RE relocations of a BPF object.
///
/// # Errors
/// All problems of the object's BTF, each with its code and location.
pub fn relocations(bytes: &[u8]) -> Result<Relocations> {
    let elf = ElfObject::parse(bytes)?;
    let Some(section) = elf.section_named(".BTF") else {
        return Err(Error::from(Diagnostic::new(Code::MissingBtf, "the object has no section .BTF")));
    };
    let btf = Btf::parse(section.data, elf.endian)?;
    let ext = elf.section_named(".BTF.ext").map(|section| BtfExt::parse(section.data, elf.endian, &btf)).transpose()?;
    Ok(Relocations { btf, ext: ext.unwrap_or_default() })
}

/// Returns the part of a kernel's BTF that the relocations of objects need, as raw BTF. `kernel` is a raw BTF file or
/// an ELF file.
///
/// # Errors
/// All problems of the kernel's BTF, each with its code and location.
pub fn min_btf(kernel: &[u8], objects: &[&Relocations]) -> Result<Vec<u8>> {
    let (endian, data) = raw_btf(kernel)?;
    let objects = objects.iter().map(|object| (&object.btf, &object.ext));
    Ok(min_btf::minimize(&Btf::parse(data, endian)?, objects).write(endian))
}

/// Returns the first line of the header of all types in a file, which distinguishes it from headers of other types.
///
/// # Errors
/// [`Code::MissingBtf`], and the problems of an ELF file.
pub(crate) fn header_line(bytes: &[u8], release: Option<&str>) -> Result<String> {
    Ok(Origin { release, btf: raw_btf(bytes)?.1 }.first_line())
}

/// Reads the types of a BPF object, of a kernel image, or of a raw BTF file, without changes.
///
/// # Errors
/// All problems of the file, each with its code and location.
pub(crate) fn raw_types(bytes: &[u8]) -> Result<Btf> {
    let (endian, data) = raw_btf(bytes)?;
    Btf::parse(data, endian)
}

/// Returns the BTF in a raw BTF file or in an ELF file, and its byte order.
///
/// # Errors
/// [`Code::MissingBtf`], and what is wrong with an ELF file.
pub(crate) fn raw_btf(bytes: &[u8]) -> Result<(Endian, &[u8])> {
    match bytes {
        // Raw BTF begins with its magic number, in its own byte order.
        [0x9f, 0xeb, ..] => Ok((Endian::Little, bytes)),
        [0xeb, 0x9f, ..] => Ok((Endian::Big, bytes)),
        _ => elf::section_of_any(bytes, ".BTF")?
            .ok_or_else(|| Error::from(Diagnostic::new(Code::MissingBtf, "the object has no section .BTF"))),
    }
}
