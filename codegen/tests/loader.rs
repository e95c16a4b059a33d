//! The loader program is executed on step tables against a simulated kernel: the requests are those of the table, every
//! failure is reported and closes all file descriptors, and no table makes the program access other memory.

use skelgen::Options;
use skelgen::unstable::insn::{Endian, Insn};
use skelgen::unstable::loader::{
    Copied, HeaderField, Lowered, Slot, StepIndex, Table, TableBuilder, loader_program, loop_program, lower, map_check,
};
use skelgen_abi::loader::{self, CONTEXT_SIZE, Context, Failure, Layout, State, header};
use skelgen_abi::plan::{Object, Setting, Step};
use skelgen_abi::uapi::Command;
use skelgen_simulator::{Call, Fault, HOST, Kernel, Machine, VALUE};

const EACCES: i32 = 13;

/// A run of the loader program.
struct Run {
    state: State,
    failure: Failure,
    /// The value of the map after the run.
    value: Vec<u8>,
    kernel: Kernel,
    layout: Layout,
}

impl Run {
    /// Returns the contents of all slots.
    fn slots(&self) -> Vec<u32> {
        (0..self.layout.slots).map(|slot| word(&self.value, self.layout.slot_at(slot))).collect()
    }

    /// Returns the commands of the requests.
    fn commands(&self) -> Vec<Command> {
        let commands = self.kernel.calls.iter().filter_map(|call| match call {
            Call::Bpf { command, .. } => Some(*command),
            _ => None,
        });
        commands.collect()
    }
}

fn word(value: &[u8], at: u32) -> u32 {
    u32::from_le_bytes(value[at as usize..][..4].try_into().unwrap())
}

fn encoded(insns: &[Insn]) -> Vec<[u8; 8]> {
    insns.iter().map(|insn| insn.encode(Endian::Little)).collect()
}

/// Returns the value of the map with a table.
fn value_of(table: &Table) -> Vec<u8> {
    let mut value = table.bytes.clone();
    value.resize(table.value_size as usize, 0);
    value
}

/// Runs both forms of the loader program, which do the same.
fn run(table: &Table, kernel: impl Fn() -> Kernel, context: Context) -> Run {
    let run = run_for(table, kernel(), context, loader::MAX_ITERATIONS);
    let of_loop = execute(table, &encoded(&loop_program(table, Endian::Little).insns), kernel(), context, 0);
    assert_eq!((run.state, run.failure, run.slots()), (of_loop.state, of_loop.failure, of_loop.slots()));
    assert_eq!((&run.kernel.calls, &run.kernel.open), (&of_loop.kernel.calls, &of_loop.kernel.open));
    let after_header = loader::HEADER_SIZE as usize;
    assert_eq!(run.value[after_header..], of_loop.value[after_header..]);
    run
}

/// Runs the form with `may_goto`, which jumps after this number of iterations.
fn run_for(table: &Table, kernel: Kernel, context: Context, iterations: usize) -> Run {
    execute(table, &encoded(&loader_program(table)), kernel, context, iterations)
}

fn execute(table: &Table, insns: &[[u8; 8]], mut kernel: Kernel, context: Context, iterations: usize) -> Run {
    let mut value = value_of(table);
    let mut bytes = context.to_bytes();
    let machine = Machine::new(insns, &mut value, &mut bytes, &mut kernel, iterations);
    let state = State::of(machine.run().unwrap()).unwrap();
    assert!(kernel.bad_closes.is_empty(), "only open file descriptors are closed");
    Run { state, failure: Failure::from_bytes(&bytes), value, kernel, layout: table.layout }
}

/// Returns a kernel whose next file descriptor is 3.
fn kernel() -> Kernel {
    let types = [("task_struct".to_owned(), (77, false)), ("of_module".to_owned(), (88, true))];
    let symbols = [("jiffies".to_owned(), 0xffff_ffff_8123_4567)];
    let host = (0..=255).cycle().take(10_000).collect();
    Kernel { lowest: 3, types: types.into(), symbols: symbols.into(), host, ..Kernel::default() }
}

/// A table with every operation.
struct Sample {
    table: Table,
    /// The steps that make a call which can fail, in order.
    calls: Vec<StepIndex>,
    /// The slots in the order of the file descriptors that they get.
    slots: Vec<Slot>,
}

/// A request of 32 bytes, each the number `mark`, except for eight zero bytes for a pointer at offset 8.
fn attr(mark: u8) -> [u8; 32] {
    let mut bytes = [mark; 32];
    bytes[8..16].fill(0);
    bytes
}

fn sample() -> Sample {
    let mut builder = TableBuilder::new(Endian::Little);
    let [btf, map, module, program, temporary] = [(); 5].map(|()| builder.slot());
    let mut calls = Vec::new();

    let load_btf = builder.data(&attr(1)).unwrap();
    builder.point(load_btf.plus(8), load_btf.plus(16)).unwrap();
    calls.push(builder.request(Command::BTF_LOAD, load_btf, 32, Some(btf)).unwrap());

    let create = builder.data(&attr(2)).unwrap();
    builder.copy(create.plus(4), Copied::U32, btf).unwrap();
    calls.push(builder.request(Command::MAP_CREATE, create, 32, Some(map)).unwrap());

    let value = builder.reserve(5000).unwrap();
    calls.push(builder.copy_from_host(value, 5000, 100).unwrap());
    calls.push(calls[2].next());
    let update = builder.data(&attr(3)).unwrap();
    builder.copy(update, Copied::U32, map).unwrap();
    builder.point(update.plus(8), value).unwrap();
    calls.push(builder.request(Command::MAP_UPDATE_ELEM, update, 32, None).unwrap());

    let (step, id) = builder.find_type("of_module", 4, module).unwrap();
    calls.push(step);
    let (step, address) = builder.find_symbol("jiffies").unwrap();
    calls.push(step);
    let insns = builder.data(&[9; 16]).unwrap();
    builder.copy(insns, Copied::Immediate, address).unwrap();
    let load = builder.data(&attr(4)).unwrap();
    builder.copy(load.plus(16), Copied::U32, id).unwrap();
    builder.copy(load.plus(20), Copied::U32, module).unwrap();
    builder.point(load.plus(8), btf).unwrap();
    calls.push(builder.request(Command::PROG_LOAD, load, 32, Some(program)).unwrap());

    let probe = builder.data(&attr(5)).unwrap();
    calls.push(builder.request(Command::MAP_CREATE, probe, 32, Some(temporary)).unwrap());
    builder.close(temporary);
    Sample { table: builder.finish().unwrap(), calls, slots: vec![btf, map, module, program] }
}

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

/// Returns the values that a process passes which changes no settings.
fn unchanged(object: &Object, lowered: &Lowered) -> Vec<u8> {
    let mut values = vec![0; lowered.host_size as usize];
    for value in &lowered.host {
        let number: u32 = match value.setting {
            Setting::Autoload { .. } => 1,
            Setting::MaxEntries { map } => object.maps[map as usize].max_entries,
            Setting::Initial { .. } => 0,
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
            let run = run_for(&lowered.table, Kernel { fails, ..kernel() }, context, loader::MAX_ITERATIONS);
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

/// Tests that the verifier's proof holds for tables that no builder writes: header, steps and pointers are random.
#[test]
fn hostile_tables_do_not_leave_the_value() {
    let Sample { table, .. } = sample();
    let forms = [encoded(&loader_program(&table)), encoded(&loop_program(&table, Endian::Little).insns)];
    let mut random = fastrand::Rng::with_seed(19);
    let mut states = std::collections::BTreeMap::new();
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
