//! struct_ops maps: the conversion from the object's struct to that of the running kernel.
//!
//! The kernel's struct and its members are found by name. The rules are those of libbpf 1.8: if the kernel's struct lacks a member, its
//! value must be zero and its program is left out of the load; otherwise the types of both members must have the same kind and size.

use std::os::fd::AsRawFd;

use super::parts::StructOpsMaps;
use super::state::{MapState, ProgramState};
use super::{Executor, at, at_mut, no_such};
use crate::abi;
use crate::btf::kind;
use crate::error::{Error, ErrorKind, Result, Step, Subject};
use crate::kernel::types::Finder;
use crate::link::StructOps;
use crate::open::OpenMap;
use crate::uapi::ProgramType;

/// The prefix of the kernel's value types: the name of the struct follows.
const VALUE_PREFIX: &str = "bpf_struct_ops_";

/// A struct_ops map in the kernel's layout.
#[derive(Debug)]
struct KernelMap {
    /// The id of the value's type.
    value_type: u32,
    /// The size of the value in bytes.
    value_size: u32,
    /// The id of the type of the struct in the value.
    struct_type: u32,
    /// The index in [`Symbols::modules`](super::symbols::Symbols) of the module that has the struct; `None` for
    /// vmlinux.
    module: Option<usize>,
    /// The value, without the programs.
    value: Vec<u8>,
    programs: Vec<MemberProgram>,
    /// The programs of members that the kernel's struct lacks, with the error of each.
    without_member: Vec<(u32, Error)>,
}

/// A program that is a member of a struct_ops map.
#[derive(Clone, Copy, Debug)]
struct MemberProgram {
    program: u32,
    /// The index of the kernel's member.
    member: u32,
    /// The member's offset in the value, in bytes.
    offset: usize,
}

/// The value of a struct_ops map: its type in the kernel, its size in bytes, and the module of the type.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value {
    pub(super) type_id: u32,
    pub(super) size: u32,
    pub(super) module: Option<usize>,
}

/// The member that a struct_ops program is loaded for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    pub(super) struct_type: u32,
    pub(super) member: u32,
    pub(super) module: Option<usize>,
}

/// The part of the executor for objects with struct_ops maps.
pub(super) static PART: StructOpsMaps = StructOpsMaps {
    prepare: Executor::prepare_struct_ops,
    target: Executor::struct_ops_member,
    value: Executor::struct_ops_value,
    take: Executor::take_struct_ops,
};

impl Executor {
    /// Finds the kernel's layout for each struct_ops map that will be created, and decides which struct_ops programs are
    /// loaded.
    fn prepare_struct_ops(&mut self) -> Result<()> {
        let object = self.object;
        let tables =
            || object.maps.iter().enumerate().filter_map(|(index, map)| Some((index, map.struct_ops.as_ref()?)));
        if tables().next().is_none() {
            return Ok(());
        }
        let mut finder = None;
        let mut loaded = vec![None; object.programs.len()];
        let mut left_out = Vec::new();
        for (index, table) in tables() {
            let chosen = chosen(&self.maps[index].open, table, object)?;
            for program in chosen.iter().flatten() {
                at_mut(&mut loaded, *program).ok_or_else(|| no_such("program", *program))?.get_or_insert(false);
            }
            for replaced in table.members.iter().filter_map(|member| member.program) {
                at_mut(&mut loaded, replaced).ok_or_else(|| no_such("program", replaced))?.get_or_insert(false);
            }
            if !self.maps[index].open.autocreate || self.maps[index].open.reuse.is_some() {
                continue;
            }
            let finder = match &finder {
                Some(finder) => finder,
                None => finder.insert(Finder::new(self.kernel_types()?)),
            };
            let mut found = self.kernel_map(index, table, &chosen, finder)?;
            left_out.append(&mut found.without_member);
            for slot in &found.programs {
                if let Some(loaded) = at_mut(&mut loaded, slot.program) {
                    *loaded = Some(true);
                }
            }
            self.maps[index].kernel_map = Some(Box::new(found));
        }
        for (program, loaded) in self.programs.iter_mut().zip(loaded) {
            if let (Some(loaded), ProgramType::STRUCT_OPS) = (loaded, program.open.program_type) {
                program.open.autoload = loaded;
            }
        }
        for (program, error) in left_out {
            // A different map can have the program too, in a member that the kernel's struct has.
            if at(&self.programs, program).is_some_and(|program| !program.open.autoload) {
                self.reject(program, error);
            }
        }
        Ok(())
    }

    fn kernel_map(
        &mut self,
        index: usize,
        table: &abi::StructOps,
        chosen: &[Option<u32>],
        finder: &Finder,
    ) -> Result<KernelMap> {
        let open = &self.maps[index].open;
        let map = &*open.definition.name;
        let wrong = |what: std::fmt::Arguments<'_>| {
            Error::mismatch(format_args!("cannot create struct_ops map `{map}`: {what}")).about(Subject::Map(map))
        };
        let owner = finder.find(&format!("{VALUE_PREFIX}{}", table.name)).map_err(|notes| {
            let error = wrong(format_args!("neither this kernel nor a loaded module has struct_ops `{}`", table.name))
                .with_kind(ErrorKind::Unsupported);
            let error = notes.into_iter().fold(error, Error::note);
            error.with_help("load the module that has the struct, or leave the map out with `set_autocreate(false)`")
        })?;
        let types = &owner.types;
        let data = types.members(owner.id).find(|member| {
            let ty = types.resolve(member.ty);
            types.kind(ty) == kind::STRUCT && types.name(ty) == table.name
        });
        let size = types.size(owner.id).and_then(|size| usize::try_from(size).ok());
        let (Some(data), Some(size)) = (data, size) else {
            return Err(wrong(format_args!(
                "the kernel's `{VALUE_PREFIX}{0}` does not contain `struct {0}`",
                table.name
            )));
        };
        let struct_type = types.resolve(data.ty);
        let mut user = self.initial(open)?.to_vec();
        user.resize(usize::try_from(open.row.value_size).unwrap_or(0), 0);
        let base = usize::try_from(data.bit_offset / 8).unwrap_or(usize::MAX);
        let mut value = vec![0; size];
        let (mut programs, mut without_member) = (Vec::new(), Vec::new());
        let theirs: Vec<_> = types.members(struct_type).collect();
        for (ours, &program) in table.members.iter().zip(chosen) {
            let from = usize::try_from(ours.offset).unwrap_or(usize::MAX);
            let len = usize::try_from(ours.size).unwrap_or(0);
            let bytes = user.get(from..).and_then(|rest| rest.get(..len)).unwrap_or_default();
            let Some(index) = theirs.iter().position(|member| member.name == ours.name) else {
                if bytes.iter().any(|&byte| byte != 0) {
                    return Err(wrong(format_args!(
                        "this kernel's `struct {}` has no member `{}`",
                        table.name, ours.name
                    ))
                    .with_help("set the member to zero, or leave the map out with `set_autocreate(false)`"));
                }
                if let Some(program) = program {
                    let name = at(&self.object.programs, program).map_or("?", |program| &program.name);
                    let error = Error::of(
                        ErrorKind::Unsupported,
                        format_args!(
                            "cannot load program `{name}`: this kernel's `struct {}` has no member `{}`",
                            table.name, ours.name
                        ),
                    );
                    without_member.push((program, error.during(Step::LoadProgram).about(Subject::Program(name))));
                }
                continue;
            };
            let member = theirs[index];
            let ty = types.resolve(member.ty);
            let to =
                usize::try_from(member.bit_offset / 8).ok().and_then(|at| base.checked_add(at)).unwrap_or(usize::MAX);
            let about_member =
                |what| wrong(format_args!("member `{}` of this kernel's `struct {}` {what}", ours.name, table.name));
            let mismatch =
                |what| about_member(what).with_help("declare the struct in the BPF source as this kernel defines it");
            if ours.kind != types.kind(ty) {
                return Err(mismatch("has a different kind of type in the object"));
            }
            if ours.size == 0 && types.size(ty) != Some(0) || member.bit_size != 0 {
                // Bitfields cannot be set, but one that is zero can stay.
                if bitfield_is_zero(&user, table, ours) {
                    continue;
                }
                return Err(about_member("is a bitfield, which cannot be set").with_help("leave the bitfield zero"));
            }
            if ours.kind == kind::PTR {
                if bytes.iter().any(|&byte| byte != 0) {
                    return Err(about_member("is a pointer, which can only be NULL or a program")
                        .with_help("leave it NULL, or set it to a program if it is a function pointer"));
                }
                let Some(program) = program else { continue };
                if types.pointee(ty).map(|to| types.kind(to)) != Some(kind::FUNC_PROTO) {
                    return Err(mismatch("is not a function pointer"));
                }
                programs.push(MemberProgram { program, member: u32::try_from(index).unwrap_or(u32::MAX), offset: to });
                continue;
            }
            if types.size(ty) != Some(ours.size.into()) {
                return Err(mismatch("has a different size in the object"));
            }
            let slot = value.get_mut(to..).and_then(|rest| rest.get_mut(..bytes.len()));
            slot.ok_or_else(|| mismatch("is outside of the struct"))?.copy_from_slice(bytes);
        }
        let module = owner.module.as_deref().map(|name| self.open_module(name)).transpose()?;
        let value_size = u32::try_from(size).map_err(|_| wrong(format_args!("the kernel's struct is too large")))?;
        Ok(KernelMap { value_type: owner.id, value_size, struct_type, module, value, programs, without_member })
    }

    fn initial<'a>(&self, open: &'a OpenMap) -> Result<&'a [u8]> {
        match (&open.value, &open.definition.section) {
            (Some(value), _) => Ok((**value).as_ref()),
            (None, Some(section)) => self.bytes(section.initial),
            (None, None) => Ok(&[]),
        }
    }

    fn open_module(&mut self, name: &str) -> Result<usize> {
        let fd = crate::kernel::btf::open_module(name)?.ok_or_else(|| {
            Error::of(ErrorKind::Busy, format_args!("kernel module `{name}` was unloaded during the lookup"))
        })?;
        Ok(self.symbols.add_module(name.to_owned(), fd))
    }

    /// Returns the member that a program is loaded for, if it is in a struct_ops map.
    pub(super) fn struct_ops_target(&self, program: u32) -> Result<Option<Target>> {
        self.parts.struct_ops.map_or(Ok(None), |part| (part.target)(self, program))
    }

    /// Returns the value that the kernel requires for a struct_ops map.
    fn struct_ops_value(&self, map: u32) -> Option<Value> {
        let &KernelMap { value_type, value_size, module, .. } = kernel_map(at(&self.maps, map)?)?;
        Some(Value { type_id: value_type, size: value_size, module })
    }

    fn struct_ops_member(&self, program: u32) -> Result<Option<Target>> {
        let mut found: Option<Target> = None;
        for table in self.maps.iter().filter_map(kernel_map) {
            for slot in table.programs.iter().filter(|slot| slot.program == program) {
                let target = Target { struct_type: table.struct_type, member: slot.member, module: table.module };
                match found {
                    Some(before) if (before.struct_type, before.member) != (target.struct_type, target.member) => {
                        let name = at(&self.object.programs, program).map_or("?", |program| &program.name);
                        return Err(Error::invalid(format_args!(
                            "program `{name}` is the value of two different struct_ops members, but can be loaded for only one"
                        ))
                        .about(Subject::Program(name)));
                    }
                    _ => found = Some(target),
                }
            }
        }
        let definition =
            at(&self.object.programs, program).filter(|program| program.program_type == ProgramType::STRUCT_OPS);
        match (found, definition) {
            (None, Some(definition)) => Err(Error::invalid(format_args!(
                "program `{}` (section `{}`) is not in a struct_ops map, so the kernel cannot verify it",
                &*definition.name, &*definition.section
            ))
            .about(Subject::Program(&definition.name))
            .with_help("add the program to a struct in section `.struct_ops.link`, or leave the program out with `set_autoload(false)`")),
            _ => Ok(found),
        }
    }

    /// Returns the handles of the struct_ops maps, by map, once everything is loaded.
    fn take_struct_ops(&mut self) -> Vec<Option<StructOps>> {
        let handles = self.maps.iter_mut().map(|MapState { open, created, kernel_map }| {
            let definition = open.definition;
            definition.struct_ops.as_ref()?;
            let kernel_map = kernel_map.take().and_then(|map| map.downcast().ok());
            let value = kernel_map.map(|map: Box<KernelMap>| filled(*map, &self.programs));
            let created = created.take().map(|created| (created.map, value, open.row.flags));
            Some(StructOps::new(&definition.name, created, open.autoattach))
        });
        handles.collect()
    }
}

/// Returns a struct_ops map in the kernel's layout, if it was determined.
fn kernel_map(map: &MapState) -> Option<&KernelMap> {
    map.kernel_map.as_ref()?.downcast_ref()
}

/// Returns the value of a struct_ops map with the file descriptors of its programs.
fn filled(table: KernelMap, programs: &[ProgramState]) -> Vec<u8> {
    let mut value = table.value;
    for slot in table.programs {
        let program = at(programs, slot.program).and_then(|program| program.loaded.as_ref());
        let slot = value.get_mut(slot.offset..).and_then(|rest| rest.get_mut(..8));
        if let (Some(program), Some(slot)) = (program, slot) {
            let fd = u64::try_from(program.fd.as_raw_fd()).unwrap_or(0);
            slot.copy_from_slice(&fd.to_ne_bytes());
        }
    }
    value
}

/// Returns the program of each member: the one that the user set, or else the object's.
fn chosen(open: &OpenMap, table: &abi::StructOps, object: &abi::Object) -> Result<Vec<Option<u32>>> {
    let mut chosen: Vec<_> = table.members.iter().map(|member| member.program).collect();
    for (member, program) in &open.programs {
        let wrong = |what: &str| {
            let map = &*open.definition.name;
            Error::invalid(format_args!("cannot create struct_ops map `{map}`: {what}")).about(Subject::Map(map))
        };
        let index = table.members.iter().position(|known| known.name == *member);
        let index = index.ok_or_else(|| wrong(&format!("the map has no member `{member}`")))?;
        chosen[index] = match program {
            None => None,
            Some(name) => {
                let found = object.programs.iter().position(|known| known.name == *name);
                let found = found.filter(|&index| object.programs[index].program_type == ProgramType::STRUCT_OPS);
                let found = found.and_then(|index| u32::try_from(index).ok());
                Some(found.ok_or_else(|| wrong(&format!("the object has no struct_ops program `{name}`")))?)
            }
        };
    }
    Ok(chosen)
}

/// Returns whether the bytes of a bitfield, up to the next whole member, are zero.
fn bitfield_is_zero(user: &[u8], table: &abi::StructOps, member: &abi::Member) -> bool {
    let from = usize::try_from(member.offset).unwrap_or(usize::MAX);
    let next =
        table.members.iter().filter(|other| other.size != 0 && other.offset > member.offset).map(|other| other.offset);
    let to = next.min().and_then(|next| usize::try_from(next).ok()).unwrap_or(user.len());
    user.get(from..to).is_none_or(|bytes| bytes.iter().all(|&byte| byte == 0))
}
