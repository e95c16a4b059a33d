//! The tables of all committed objects.

use skelgen::Options;
use skelgen::unstable::loader::{Lowered, lower};
use skelgen_abi::loader::{Context, MAX_ITERATIONS, State};
use skelgen_abi::plan::{Object, Setting, Step};
use skelgen_abi::uapi::Command;
use skelgen_simulator::{HOST, Kernel};

use crate::{EACCES, kernel, run, run_for};

/// Returns the values that a process passes which changes no settings.
fn unchanged(object: &Object, lowered: &Lowered) -> Vec<u8> {
    let mut values = vec![0; lowered.host_size as usize];
    for value in &lowered.host {
        let number: u32 = match value.setting {
            Setting::Autoload { .. } => 1,
            Setting::MaxEntries { map } => object.maps[map as usize].max_entries,
            Setting::EmulatedSize { .. } | Setting::CpuMask | Setting::Initial { .. } => 0,
        };
        values[value.offset as usize..][..4].copy_from_slice(&number.to_le_bytes());
    }
    values
}

/// Tests the tables of all objects that can be lowered: they are executed to the end, and if any call fails, the load
/// fails at a step of the table and leaves no file descriptor, or the table continues with another form of the request.
#[test]
fn tables_of_objects_survive_each_failure() {
    let (mut failed, mut continued) = (0, 0);
    for (name, bytes) in skelgen_corpus::objects::ALL {
        let options = Options::for_file(format!("{name}.bpf.o"));
        let Ok(plan) = skelgen::unstable::plan(bytes, &options) else { continue };
        let Ok(lowered) = lower(&plan) else { continue };
        let host = unchanged(&plan.object, &lowered);
        let kernel = || Kernel { host: host.clone(), finds_all: true, ..kernel() };
        let context = Context { host: HOST, ..Context::default() };
        let whole = run(&lowered.table, kernel, context);
        assert_eq!(whole.state, State::Finished, "{name}: {:?}", whole.failure);
        let loads = whole.commands().iter().filter(|&&command| command == Command::PROG_LOAD).count();
        let planned = plan.object.steps.iter().filter(|step| matches!(step, Step::LoadProgram { .. })).count();
        assert!(loads >= planned, "{name}: {loads} programs are loaded, {planned} planned");
        for index in 0..whole.kernel.calls.len() {
            let fails = Some((index, EACCES));
            let run = run_for(&lowered.table, Kernel { fails, ..kernel() }, context, MAX_ITERATIONS);
            let open: Vec<u32> = run.kernel.open.iter().copied().collect();
            match run.state {
                State::Failed => {
                    failed += 1;
                    assert_eq!(run.failure.errno, EACCES, "{name}: call {index}");
                    assert!(run.layout.step(run.failure.at).is_some(), "{name}: call {index}");
                    assert!(open.is_empty(), "{name}: call {index}: {open:?}");
                }
                state => {
                    continued += 1;
                    assert_eq!(state, State::Finished, "{name}: call {index}");
                    let mut slots: Vec<u32> = run.slots().into_iter().filter(|&fd| fd != 0).collect();
                    slots.sort_unstable();
                    assert_eq!(open, slots, "{name}: call {index}");
                }
            }
        }
    }
    assert!(failed > 500 && continued > 10, "{failed} failures end the load, {continued} do not");
}
