//! struct_ops maps in a plan.

use std::fmt;

use skelgen_abi::escape::Line;
use skelgen_abi::plan::{Object, StructOps};

use crate::model::{self, BpfObject};

/// Sets the programs of a struct_ops map's members.
pub(super) fn set_programs(object: &BpfObject, map: &model::Map, table: &mut StructOps) {
    for &(member, function) in &map.member_functions {
        let index = object.programs.iter().position(|program| program.function == function);
        if let Some(member) = table.members.to_mut().get_mut(member) {
            member.program = index.and_then(|index| u32::try_from(index).ok());
        }
    }
}

/// Prints the lines about a struct_ops map.
pub(super) fn print(f: &mut fmt::Formatter<'_>, object: &Object, table: &StructOps) -> fmt::Result {
    let when = if table.autocreate { "" } else { ", not created by default" };
    writeln!(f, "        programs of struct_ops `struct {}`{when}", Line(&table.name))?;
    for member in &*table.members {
        let Some(program) = member.program.and_then(|program| object.programs.get(program as usize)) else { continue };
        writeln!(f, "        {:>6}  {} = {}", member.offset, Line(&member.name), Line(&program.name))?;
    }
    Ok(())
}
