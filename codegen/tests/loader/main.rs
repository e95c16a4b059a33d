//! The loader program is executed on step tables against a simulated kernel: the requests are those of the table, every
//! failure is reported and closes all file descriptors, and no table makes the program access other memory.

mod hostile;
mod objects;
mod steps;

use skelgen::unstable::insn::{Endian, Insn};
use skelgen::unstable::loader::{Copied, Slot, StepIndex, Table, TableBuilder, loader_program, loop_program};
use skelgen_abi::loader::{self, Context, Failure, Layout, State};
use skelgen_abi::uapi::Command;
use skelgen_simulator::{Call, Kernel, Machine};

/// The error number of calls that tests make fail.
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
