//! Each operation of steps, and how runs end.

use skelgen::unstable::insn::Endian;
use skelgen::unstable::loader::{HeaderField, StepIndex, Table, TableBuilder, loader_program, map_check};
use skelgen_abi::loader::{self, Context, Failure, State};
use skelgen_abi::uapi::Command;
use skelgen_simulator::{Call, HOST, Kernel, Machine, VALUE};

use crate::{EACCES, Sample, attr, encoded, kernel, run, run_for, sample, value_of, word};

#[test]
fn requests_are_those_of_the_table() {
    let Sample { table, slots, .. } = sample();
    let done = run(&table, kernel, Context { host: HOST, ..Context::default() });
    assert_eq!(done.state, State::Finished);
    assert_eq!(done.slots(), [3, 4, 5, 6, 0], "the last slot was closed");
    assert_eq!(slots.iter().map(|slot| slot.index()).collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert_eq!(done.kernel.open.iter().copied().collect::<Vec<_>>(), [3, 4, 5, 6]);

    let data = VALUE + u64::from(table.layout.data_at());
    let request = |command, mark, edit: &dyn Fn(&mut [u8])| {
        let mut attr = attr(mark).to_vec();
        edit(&mut attr);
        Call::Bpf { command, attr }
    };
    let put = |attr: &mut [u8], at: usize, bytes: &[u8]| attr[at..at + bytes.len()].copy_from_slice(bytes);
    let value_at = data + 64;
    let expected = [
        request(Command::BTF_LOAD, 1, &|attr| put(attr, 8, &(data + 16).to_le_bytes())),
        request(Command::MAP_CREATE, 2, &|attr| put(attr, 4, &[3, 0, 0, 0])),
        Call::Copy { address: HOST + 100, size: 4096 },
        Call::Copy { address: HOST + 4196, size: 904 },
        request(Command::MAP_UPDATE_ELEM, 3, &|attr| {
            put(attr, 0, &[4, 0, 0, 0]);
            put(attr, 8, &value_at.to_le_bytes());
        }),
        Call::FindType { name: "of_module".to_owned(), kind: 4 },
        Call::FindSymbol { name: "jiffies".to_owned() },
        request(Command::PROG_LOAD, 4, &|attr| {
            put(attr, 8, &(VALUE + u64::from(table.layout.slot_at(0))).to_le_bytes());
            put(attr, 16, &[88, 0, 0, 0, 5, 0, 0, 0]);
        }),
        request(Command::MAP_CREATE, 5, &|_| {}),
    ];
    assert_eq!(done.kernel.calls[1], expected[1], "empty pointers stay zero");
    assert_eq!(done.kernel.calls, expected);
    let copied = &done.value[usize::try_from(value_at - VALUE).unwrap()..][..5000];
    assert_eq!(copied, &kernel().host[100..5100]);
    let insns = copied.len() + 64 + usize::try_from(data - VALUE).unwrap() + 32 + 16 + 8;
    let expected = [[9; 4], [0x67, 0x45, 0x23, 0x81], [9; 4], [0xff; 4]].concat();
    assert_eq!(done.value[insns..][..16], expected, "the immediates of the instruction");
}

#[test]
fn each_failure_is_reported_and_closes_everything() {
    let Sample { table, calls, .. } = sample();
    for (index, step) in calls.iter().enumerate() {
        let kernel = || Kernel { fails: Some((index, EACCES)), ..kernel() };
        let failed = run(&table, kernel, Context { host: HOST, ..Context::default() });
        assert_eq!((failed.state, failed.failure.errno), (State::Failed, EACCES));
        assert_eq!(table.layout.step(failed.failure.at), Some(step.index()), "call {index}");
        assert_eq!(failed.kernel.calls.len(), index + 1, "no call after the failed one");
        assert!(failed.kernel.open.is_empty(), "call {index}: {:?}", failed.kernel.open);
        assert_eq!(failed.slots(), [0; 5]);
    }
    let unreadable = run(&table, kernel, Context::default());
    assert_eq!((unreadable.state, unreadable.failure.errno), (State::Failed, 14), "no values of the process");
    assert!(unreadable.kernel.open.is_empty());
}

#[test]
fn failures_continue_at_labels() {
    let build = || {
        let mut builder = TableBuilder::new(Endian::Little);
        let slot = builder.slot();
        let native = builder.data(&attr(1)).unwrap();
        let [fallback, end] = [(); 2].map(|()| builder.label());
        let step = builder.request(Command::MAP_CREATE, native, 32, Some(slot)).unwrap();
        builder.on_error(step, fallback);
        builder.request(Command::MAP_FREEZE, native, 16, None).unwrap();
        builder.jump(end);
        builder.bind(fallback);
        // Only this error may be ignored.
        let ignored = builder.label();
        let result = (-EACCES).to_le_bytes();
        builder.jump_if_equal(HeaderField::Result, u32::from_le_bytes(result), ignored).unwrap();
        builder.fail(95);
        builder.bind(ignored);
        builder.request(Command::PROG_LOAD, native, 32, Some(slot)).unwrap();
        builder.bind(end);
        builder.finish().unwrap()
    };
    let direct = run(&build(), kernel, Context::default());
    assert_eq!((direct.state, direct.commands()), (State::Finished, vec![Command::MAP_CREATE, Command::MAP_FREEZE]));
    let fallback = run(&build(), || Kernel { fails: Some((0, EACCES)), ..kernel() }, Context::default());
    assert_eq!(fallback.commands(), [Command::MAP_CREATE, Command::PROG_LOAD]);
    assert_eq!((fallback.state, fallback.slots()), (State::Finished, vec![3]));
    let other = run(&build(), || Kernel { fails: Some((0, 12)), ..kernel() }, Context::default());
    assert_eq!((other.state, other.failure.errno), (State::Failed, 95));
    assert_eq!(build().layout.step(other.failure.at), Some(4));
}

#[test]
fn an_error_can_be_ignored() {
    let mut builder = TableBuilder::new(Endian::Little);
    let slot = builder.slot();
    let next = builder.label();
    let (step, place) = builder.find_type("absent", 4, slot).unwrap();
    builder.bind(next);
    builder.on_error(step, next);
    let (_, known) = builder.find_type("task_struct", 4, slot).unwrap();
    let _ = (place, known);
    let table = builder.finish().unwrap();
    let done = run(&table, kernel, Context::default());
    assert_eq!((done.state, done.slots()), (State::Finished, vec![0]), "no module has the type");
    assert_eq!(&done.value[table.layout.data_at() as usize..][..7], b"absent\0", "the name is unchanged");
    assert_eq!(word(&done.value, table.layout.data_at() + 8), 77);
}

#[test]
fn results_of_lookups_and_copies_can_be_compared() {
    let mut builder = TableBuilder::new(Endian::Little);
    let slot = builder.slot();
    let place = builder.reserve(8).unwrap();
    for step in 0..3 {
        let [failed, next] = [(); 2].map(|()| builder.label());
        let (step, errno) = match step {
            0 => (builder.find_type("absent", 4, slot).unwrap().0, 2),
            1 => (builder.find_symbol("absent").unwrap().0, 2),
            _ => (builder.copy_from_host(place, 8, 8).unwrap(), 14),
        };
        builder.on_error(step, failed);
        builder.fail(1);
        builder.bind(failed);
        builder.jump_if_equal(HeaderField::Result, u32::MAX - errno + 1, next).unwrap();
        builder.fail(2);
        builder.bind(next);
    }
    let done = run(&builder.finish().unwrap(), kernel, Context::default());
    assert_eq!((done.state, done.failure), (State::Finished, Failure { errno: 0, at: 0 }));
}

#[test]
fn unknown_operations_are_failures() {
    let mut builder = TableBuilder::new(Endian::Little);
    builder.fail(1);
    let mut table = builder.finish().unwrap();
    let failed = run(&table, kernel, Context::default());
    assert_eq!((failed.state, failed.failure.errno), (State::Failed, 1));
    let first = table.layout.steps_at() as usize;
    for operation in [0, 10, 255] {
        table.bytes[first] = operation;
        let failed = run(&table, kernel, Context::default());
        assert_eq!((failed.state, failed.failure.errno), (State::Failed, 22), "operation {operation}");
        assert_eq!(table.layout.step(failed.failure.at), Some(0));
    }
}

#[test]
fn jumps_compare_values() {
    for (value, equal) in [(5, true), (6, false)] {
        let mut builder = TableBuilder::new(Endian::Little);
        let at = builder.data(&u32::to_le_bytes(value)).unwrap();
        let attr = builder.data(&attr(1)).unwrap();
        let [first, second] = [(); 2].map(|()| builder.label());
        builder.jump_if_equal(at, 5, first).unwrap();
        builder.request(Command::MAP_FREEZE, attr, 16, None).unwrap();
        builder.bind(first);
        builder.jump_if_not_equal(at, 5, second).unwrap();
        builder.request(Command::MAP_UPDATE_ELEM, attr, 16, None).unwrap();
        builder.bind(second);
        let done = run(&builder.finish().unwrap(), kernel, Context::default());
        let expected = if equal { Command::MAP_UPDATE_ELEM } else { Command::MAP_FREEZE };
        assert_eq!((done.state, done.commands()), (State::Finished, vec![expected]));
    }
}

#[test]
fn only_the_requested_step_gets_a_log() {
    let mut builder = TableBuilder::new(Endian::Little);
    let steps: Vec<StepIndex> = [(Command::BTF_LOAD, 40), (Command::PROG_LOAD, 152), (Command::PROG_LOAD, 152)]
        .map(|(command, size)| {
            let attr = builder.reserve(size).unwrap();
            builder.request_with_log(command, attr, size, None).unwrap()
        })
        .into();
    let table = builder.finish().unwrap();
    let log = Context { log_buffer: 0x1122_3344_5566_7788, log_level: 2, log_size: 4096, ..Context::default() };
    for requested in [None, Some(0), Some(1), Some(2)] {
        let log_step = requested.map_or(0, |index: usize| steps[index].index());
        let done = run(&table, kernel, Context { log_step, ..log });
        assert_eq!(done.state, State::Finished);
        for (index, call) in done.kernel.calls.iter().enumerate() {
            let Call::Bpf { command, attr } = call else { panic!("{call:?}") };
            let mut expected = vec![0; attr.len()];
            if requested == Some(index) {
                let (buffer, size, level) = if *command == Command::BTF_LOAD { (8, 20, 24) } else { (32, 28, 24) };
                expected[buffer..buffer + 8].copy_from_slice(&log.log_buffer.to_le_bytes());
                expected[size..size + 4].copy_from_slice(&log.log_size.to_le_bytes());
                expected[level..level + 4].copy_from_slice(&log.log_level.to_le_bytes());
            }
            assert_eq!(*attr, expected, "{requested:?} {index}");
        }
    }
}

#[test]
fn file_descriptor_0_is_a_failure() {
    let mut builder = TableBuilder::new(Endian::Little);
    let attr = builder.data(&attr(1)).unwrap();
    let slot = builder.slot();
    builder.request(Command::MAP_FREEZE, attr, 16, None).unwrap();
    builder.request(Command::MAP_CREATE, attr, 32, Some(slot)).unwrap();
    let table = builder.finish().unwrap();
    let failed = run(&table, || Kernel { lowest: 0, ..kernel() }, Context::default());
    assert_eq!((failed.state, failed.failure.errno), (State::Failed, 9));
    assert_eq!(table.layout.step(failed.failure.at), Some(1));
    assert!(failed.kernel.open.is_empty());
}

#[test]
fn an_interrupted_run_is_not_a_finished_one() {
    let Sample { table, .. } = sample();
    // Steps and pointers, and the end of both.
    let iterations = table.layout.steps as usize + 3 + 2;
    for allowed in 0..iterations + 2 {
        let ended = run_for(&table, kernel(), Context { host: HOST, ..Context::default() }, allowed);
        let expected = if allowed >= iterations { State::Finished } else { State::Interrupted };
        assert_eq!(ended.state, expected, "{allowed} of {iterations}");
        let slots: Vec<u32> = ended.slots().into_iter().filter(|&fd| fd != 0).collect();
        assert_eq!(slots, ended.kernel.open.iter().copied().collect::<Vec<_>>(), "the slots have what is open");
    }
}

#[test]
fn a_table_is_executed_once() {
    let Sample { table, .. } = sample();
    let first = run(&table, kernel, Context { host: HOST, ..Context::default() });
    let executed = Table { bytes: first.value, ..table };
    let second = run(&executed, kernel, Context { host: HOST, ..Context::default() });
    assert_eq!((second.state, second.kernel.calls), (State::Rejected, vec![]));
}

#[test]
fn the_check_compares_every_byte_of_the_hash() {
    let Sample { table, .. } = sample();
    let hash: [u8; 32] = std::array::from_fn(|index| u8::try_from(index * 7 + 129).unwrap_or(200));
    let insns = encoded(&[map_check(hash, Endian::Little), loader_program(&table)].concat());
    let run = |of_map: [u8; 32]| {
        let (mut value, mut kernel) = (value_of(&table), kernel());
        let mut context = Context { host: HOST, ..Context::default() }.to_bytes();
        let machine = Machine::new(&insns, &mut value, &mut context, &mut kernel, loader::MAX_ITERATIONS);
        let state = State::of(machine.hash(of_map).run().unwrap()).unwrap();
        (state, kernel.calls.len())
    };
    assert_eq!(run(hash).0, State::Finished);
    for index in 0..32 {
        let mut other = hash;
        other[index] ^= 1 << (index % 8);
        assert_eq!(run(other), (State::Rejected, 0), "byte {index}");
    }
    assert_eq!(run([0; 32]), (State::Rejected, 0), "no hash was requested");
}
