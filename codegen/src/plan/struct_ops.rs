//! Tables of functions in a plan.

use std::fmt;

use skelgen_abi::escape::Line;
use skelgen_abi::plan::{Member, Object, StructOps};

use crate::model::BpfObject;
use crate::model::struct_ops::StructOps as Table;

/// The table with its programs by their index.
pub(super) fn lower(object: &BpfObject, table: &Table) -> StructOps {
    let members = table.members.iter().map(|member| Member {
        name: member.name.clone().into(),
        offset: member.offset,
        size: member.size,
        kind: member.kind,
        program: member.program.and_then(|function| {
            let index = object.programs.iter().position(|program| program.function == function);
            index.and_then(|index| u32::try_from(index).ok())
        }),
    });
    StructOps { name: table.name.clone().into(), members: members.collect(), autocreate: table.autocreate }
}

/// The lines of it.
pub(super) fn print(f: &mut fmt::Formatter<'_>, object: &Object, table: &StructOps) -> fmt::Result {
    let when = if table.autocreate { "" } else { ", only if asked" };
    writeln!(f, "        functions of struct {}{when}", Line(&table.name))?;
    for member in &*table.members {
        let Some(program) = member.program.and_then(|program| object.programs.get(program as usize)) else { continue };
        writeln!(f, "        {:>6}  {} = {}", member.offset, Line(&member.name), Line(&program.name))?;
    }
    Ok(())
}
