//! Tables of functions in a plan.

use std::fmt;

use skelgen_abi::escape::Line;

use crate::model::BpfObject;
use crate::model::struct_ops::StructOps;
use crate::rust::tables::{OwnedMember, OwnedObject, OwnedStructOps};

/// The table with its programs by their index.
pub(super) fn lower(object: &BpfObject, table: &StructOps) -> OwnedStructOps {
    let members = table.members.iter().map(|member| OwnedMember {
        name: member.name.clone(),
        offset: member.offset,
        size: member.size,
        kind: member.kind,
        program: member.program.and_then(|function| {
            let index = object.programs.iter().position(|program| program.function == function);
            index.and_then(|index| u32::try_from(index).ok())
        }),
    });
    OwnedStructOps { name: table.name.clone(), members: members.collect(), autocreate: table.autocreate }
}

/// The lines of it.
pub(super) fn print(f: &mut fmt::Formatter<'_>, object: &OwnedObject, table: &OwnedStructOps) -> fmt::Result {
    let when = if table.autocreate { "" } else { ", only if asked" };
    writeln!(f, "        functions of struct {}{when}", Line(&table.name))?;
    for member in &table.members {
        let Some(program) = member.program.and_then(|program| object.programs.get(program as usize)) else { continue };
        writeln!(f, "        {:>6}  {} = {}", member.offset, Line(&member.name), Line(&program.name))?;
    }
    Ok(())
}
