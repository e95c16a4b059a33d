//! Tables that no builder writes.

use std::collections::BTreeMap;

use skelgen::unstable::insn::Endian;
use skelgen::unstable::loader::{Table, loader_program, loop_program};
use skelgen_abi::loader::{self, CONTEXT_SIZE, Context, State, header};
use skelgen_simulator::{Fault, HOST, Machine};

use crate::{Sample, encoded, kernel, sample, value_of, word};

/// Tests that the verifier's proof holds for tables that no builder writes: header, steps and pointers are random.
#[test]
fn hostile_tables_do_not_leave_the_value() {
    let Sample { table, .. } = sample();
    let forms = [encoded(&loader_program(&table)), encoded(&loop_program(&table, Endian::Little).insns)];
    let mut random = fastrand::Rng::with_seed(19);
    let mut states = BTreeMap::new();
    for case in 0..5000 {
        let mut value = value_of(&table);
        let end = table.layout.data_at() as usize;
        for _ in 0..random.usize(1..8) {
            let at = random.usize(header::NEXT as usize..end) & !3;
            let number = match random.u8(0..6) {
                0 => random.u32(..),
                1 => u32::MAX - random.u32(0..16),
                2 => table.value_size - random.u32(0..5000),
                3 => table.value_size - loader::TAIL + random.u32(0..3),
                4 => random.u32(0..table.value_size),
                _ => word(&value, u32::try_from(at).unwrap()) ^ 1 << random.u32(0..32),
            };
            value[at..at + 4].copy_from_slice(&number.to_le_bytes());
        }
        for insns in &forms {
            let (mut value, mut kernel) = (value.clone(), kernel());
            let mut context = Context { host: HOST, ..Context::default() }.to_bytes();
            match Machine::new(insns, &mut value, &mut context, &mut kernel, 500).run() {
                Ok(state) => *states.entry(state).or_insert(0) += 1,
                // A table can loop for as long as `bpf_loop` does.
                Err(Fault::Endless) => {}
                Err(fault) => panic!("case {case}: {fault:?}"),
            }
        }
    }
    let known = [State::Interrupted, State::Finished, State::Failed].map(State::number);
    assert!(known.iter().all(|state| states[state] > 50), "{states:?}");

    // The interpreter detects accesses beyond the value.
    let larger = Table { value_size: table.value_size + 64 * 1024, ..table.clone() };
    let wrong = encoded(&loader_program(&larger));
    let mut value = value_of(&table);
    let first = table.layout.steps_at() as usize;
    value[first + 4..first + 8].copy_from_slice(&(table.value_size - 8).to_le_bytes());
    let mut context = Context::default().to_bytes();
    let mut kernel = kernel();
    let fault = Machine::new(&wrong, &mut value, &mut context, &mut kernel, 500).run();
    assert!(matches!(fault, Err(Fault::Memory { .. })), "{fault:?}");
    assert_eq!(context.len(), CONTEXT_SIZE);
}
