//! struct_ops maps: the variables of sections `.struct_ops` and `.struct_ops.link`.
//!
//! Each map is a kernel struct as the source declares it. Its function pointers are programs of the object. The runtime
//! finds the members and their offsets in the running kernel by name.

use skelgen_abi::uapi::{MapType, ProgramType, map_flags};

use super::functions::Functions;
use super::pass::{Notes, Pass};
use super::refused::Refused;
use super::{DataSection, FunctionId, Map};
use crate::btf::{Btf, Composite, Kind, SecVar};
use crate::elf::{ElfObject, RelocationKind, Section, SymbolSection};
use crate::error::{Code, Diagnostic};
use crate::insn::INSN_SIZE;
use skelgen_abi::plan::{Member, SectionKind, StructOps, essential_name};

/// Returns the flags of the section's maps and whether they are created by default; `None` if the section has no
/// struct_ops maps.
pub(super) fn section(name: &str) -> Option<(u32, bool)> {
    let (name, autocreate) = name.strip_prefix('?').map_or((name, true), |name| (name, false));
    match name {
        ".struct_ops" => Some((0, autocreate)),
        ".struct_ops.link" => Some((map_flags::LINK, autocreate)),
        _ => None,
    }
}

/// Finds the struct_ops maps that the object defines.
pub(super) fn maps(
    elf: &ElfObject<'_>,
    btf: Option<&Btf>,
    functions: &Functions<'_>,
    refused: &Refused,
) -> Pass<Vec<Map>> {
    let mut notes = Notes::default();
    let mut maps = Vec::new();
    for found in elf.sections.iter().filter(|found| found.size > 0 && section(found.name).is_some()) {
        let Some(btf) = btf else {
            let message = "the object has struct_ops maps but no BTF, which defines them";
            notes.report(Diagnostic::new(Code::MissingBtf, message).section(found.name));
            notes.refused.section(found.id);
            continue;
        };
        let Some(Kind::Datasec(datasec)) = btf.datasec(found.name).map(|id| &btf.get(id).kind) else {
            let message = "the BTF has no data section of this name";
            notes.report(Diagnostic::new(Code::BadMap, message).section(found.name));
            notes.refused.section(found.id);
            continue;
        };
        let mut used = vec![false; found.relocations.len()];
        for var in &datasec.vars {
            match table(elf, btf, functions, found, var, &mut used, refused) {
                Ok(map) => maps.push(map),
                Err(diagnostic) => {
                    // Members after the first error were not checked, so refuse the whole variable.
                    notes.refused.part(found.id, var.offset.into(), var.size.into());
                    notes.report(diagnostic.section(found.name).offset(var.offset.into()));
                }
            }
        }
        for (relocation, _) in found.relocations.iter().zip(used).filter(|(_, used)| !used) {
            if notes.refused.has(found.id, Some(relocation.offset)) {
                continue;
            }
            let message = format!(
                "`{}` is assigned at an offset where the struct has no function pointer",
                elf.symbol(relocation.symbol).name
            );
            notes.report(Diagnostic::new(Code::BadMap, message).section(found.name).offset(relocation.offset));
        }
    }
    notes.with(maps)
}

fn table(
    elf: &ElfObject<'_>,
    btf: &Btf,
    functions: &Functions<'_>,
    section: &Section<'_>,
    var: &SecVar,
    used: &mut [bool],
    refused: &Refused,
) -> Result<Map, Diagnostic> {
    let name = btf.name(var.ty);
    let bad = |message: String| Diagnostic::new(Code::BadMap, format!("struct_ops map `{name}`: {message}"));
    let Kind::Var { ty, .. } = btf.get(var.ty).kind else { return Err(bad("it is not a variable".into())) };
    let ty = btf.resolve(ty);
    let Kind::Struct(Composite { members, .. }) = &btf.get(ty).kind else {
        return Err(bad("its type is not a struct".into()));
    };
    let size = btf.size_of(ty).and_then(|size| u32::try_from(size).ok()).filter(|&size| size <= var.size);
    let size = size.ok_or_else(|| bad("its type has no size, or is larger than the variable".into()))?;
    let (mut table, mut functions_of) = (Vec::new(), Vec::new());
    for member in members {
        let resolved = btf.resolve(member.ty);
        let size = match member.bit_size {
            0 => btf.size_of(resolved).and_then(|size| u32::try_from(size).ok()),
            _ => Some(0),
        };
        let member_name = btf.str(member.name);
        let size = size.ok_or_else(|| bad(format!("member `{member_name}` has no size")))?;
        let offset = member.bit_offset / 8;
        let address = u64::from(var.offset) + u64::from(offset);
        let found = section.relocations.iter().position(|relocation| relocation.offset == address);
        let program = match found.filter(|_| size == 8) {
            Some(index) => {
                used[index] = true;
                let program = program(elf, functions, section, index, refused);
                program.map_err(|what| bad(format!("member `{member_name}`: {what}")))?
            }
            None => None,
        };
        let kind = btf.get(resolved).kind.number();
        functions_of.extend(program.map(|function| (table.len(), function)));
        table.push(Member { name: member_name.to_owned().into(), ..Member::new("", offset, size, kind) });
    }
    let from = usize::try_from(var.offset).unwrap_or(usize::MAX);
    let bytes = section.data.get(from..).and_then(|rest| rest.get(..usize::try_from(size).ok()?));
    let mut bytes = bytes.unwrap_or_default().to_vec();
    for &(index, _) in &functions_of {
        let from = usize::try_from(table[index].offset).unwrap_or(usize::MAX);
        if let Some(pointer) = bytes.get_mut(from..).and_then(|rest| rest.get_mut(..8)) {
            pointer.fill(0);
        }
    }
    if bytes.iter().all(|&byte| byte == 0) {
        bytes.clear();
    }
    let (flags, autocreate) = self::section(section.name).unwrap_or_default();
    let contents = DataSection {
        kind: SectionKind::StructOps,
        size,
        align: 8,
        bytes,
        variables: Vec::new(),
        addresses: Vec::new(),
    };
    let mut map = Map::of_section(name, MapType::STRUCT_OPS, contents);
    map.def.flags = flags;
    map.value_type = Some(ty);
    let name = essential_name(btf.name(ty)).to_owned().into();
    map.def.struct_ops = Some(StructOps { name, members: table.into(), autocreate });
    map.member_functions = functions_of;
    Ok(map)
}

/// Returns the function that a relocation of the section refers to; `None` if that function was already refused.
fn program(
    elf: &ElfObject<'_>,
    functions: &Functions<'_>,
    section: &Section<'_>,
    relocation: usize,
    refused: &Refused,
) -> Result<Option<FunctionId>, String> {
    let relocation = &section.relocations[relocation];
    let symbol = elf.symbol(relocation.symbol);
    let not_program = || format!("`{}` is not a program of type {}", symbol.name, ProgramType::STRUCT_OPS);
    let (SymbolSection::Section(target), RelocationKind::Abs64) = (symbol.section, relocation.kind) else {
        if refused.has_name(symbol.name) {
            return Ok(None);
        }
        return Err(not_program());
    };
    // A relocation can refer to a static function by its section symbol. The addend is then stored at the relocated
    // offset.
    let addend = usize::try_from(relocation.offset).ok().and_then(|offset| section.data.get(offset..)?.first_chunk());
    let addend = addend.map_or(0, |bytes| elf.endian.u64(*bytes));
    let value = symbol.value.checked_add(addend);
    if refused.has(target, value) {
        return Ok(None);
    }
    let slot = value.and_then(|value| usize::try_from(value).ok());
    let function = slot.and_then(|value| functions.at(target, value / INSN_SIZE)).ok_or_else(not_program)?;
    let name = elf.section(target).name;
    let meaning = super::sections::meaning(name).filter(|meaning| meaning.def.program_type == ProgramType::STRUCT_OPS);
    meaning.map(|_| Some(function)).ok_or_else(not_program)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections() {
        assert_eq!(section(".struct_ops"), Some((0, true)));
        assert_eq!(section("?.struct_ops.link"), Some((map_flags::LINK, false)));
        assert_eq!(section(".struct_ops.other"), None);
    }
}
