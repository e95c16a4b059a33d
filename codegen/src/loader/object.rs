//! The tables of an object that a loader program loads.

use skelgen_abi::plan::{Function, List, Loader, Map, Object, Program, Section, Span};

use super::lower::Lowered;
use super::{loader_program, lower};
use crate::error::{Code, Error, Result};
use crate::plan::LoadPlan;

/// Replaces what a plan has for system calls by a loader program: the blob is the step table, with the initial values of
/// sections, and the program's instructions.
///
/// # Errors
/// The object cannot be lowered, or is too large for a step table.
pub fn with_loader(plan: LoadPlan) -> Result<LoadPlan> {
    let lowered = lower(&plan)?;
    let LoadPlan { object, endian } = plan;
    let used = lowered.table.bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    let mut blob = lowered.table.bytes[..used].to_vec();
    let table = span(0, used)?;
    blob.resize(used.next_multiple_of(8), 0);
    let begin = blob.len();
    blob.extend(loader_program(&lowered.table).into_iter().flat_map(|insn| insn.encode(endian)));
    let insns = span(begin, blob.len() - begin)?;
    let maps = object.maps.iter().zip(&lowered.initial).map(|(map, initial)| with_initial(map, *initial));
    let programs = object.programs.iter().map(|program| Program { functions: List::default(), ..program.clone() });
    let (maps, programs) = (maps.collect(), programs.collect());
    let Lowered { table: step_table, first, lookups, host, host_size, .. } = lowered;
    let loader = Loader {
        insns,
        table,
        value_size: step_table.value_size,
        slots: step_table.layout.slots,
        steps: step_table.layout.steps,
        first: first.into(),
        lookups: lookups.into(),
        host_size,
        host: host.into(),
    };
    let functions: List<Function> = List::default();
    let object = Object { blob: blob.into(), btf: None, maps, functions, programs, loader: Some(loader), ..object };
    Ok(LoadPlan { object, endian })
}

/// Returns a map whose initial value is in the step table at this offset.
fn with_initial(map: &Map, initial: Option<u32>) -> Map {
    let section = map.section.map(|section| {
        let initial = initial.map_or(Span::EMPTY, |offset| Span::new(offset, section.initial.len));
        Section { initial, ..section }
    });
    Map { section, ..map.clone() }
}

fn span(offset: usize, len: usize) -> Result<Span> {
    let span = u32::try_from(offset).ok().zip(u32::try_from(len).ok());
    let too_large = || Error::new(Code::TooLarge, "the step table exceeds 4 GiB");
    span.map(|(offset, len)| Span::new(offset, len)).ok_or_else(too_large)
}
