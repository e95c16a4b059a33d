//! Loads a small handwritten object. The tests need the rights to call bpf(); without them they print that and pass.

use std::ffi::CStr;
use std::fs::read_dir;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Mutex;

use skelgen_runtime::error::{self, ErrorKind, Subject};
use skelgen_runtime::generated::abi::{
    Attach, Blob, Body, Function, Map, Object, Program, Section, SectionKind, Span, Step, Symbol, SymbolKind, Text,
};
use skelgen_runtime::generated::{Loaded, Loading, Trusted};
use skelgen_runtime::map::{FromFd, Info, Opened};
use skelgen_runtime::uapi::{AttachType, Command, MapType, ProgramType, map_flags};
use skelgen_runtime::{Error, Initial, LoadOptions, OpenMap, OpenProgram, Result, TestRun, kernel, record};

/// Loads an object with settings for its first maps and programs.
fn load(object: Trusted, options: LoadOptions, maps: Vec<OpenMap>, programs: Vec<OpenProgram>) -> Result<Loaded> {
    let mut loading = Loading::new(object, options);
    (0..).zip(maps).for_each(|(index, map)| loading.map(index, map));
    (0..).zip(programs).for_each(|(index, program)| loading.program(index, program));
    loading.load()
}

/// Tests count the file descriptors of the process, so only one runs at a time.
static ALONE: Mutex<()> = Mutex::new(());

const LICENSE: &CStr = c"GPL";

/// `r1 = &data; r0 = *(u32 *)r1; exit`, then `r0 = 0; exit`, then `r0 = r9; exit` (rejected), then four bytes of data, and the patch that
/// writes map 0 into the first instruction.
static BLOB: Blob<[u8; 80]> = Blob([
    0x18, 0x21, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // ld_imm64 r1 = map value
    0x61, 0x10, 0, 0, 0, 0, 0, 0, // r0 = *(u32 *)(r1 + 0)
    0x95, 0, 0, 0, 0, 0, 0, 0, // exit
    0xb7, 0, 0, 0, 0, 0, 0, 0, // r0 = 0
    0x95, 0, 0, 0, 0, 0, 0, 0, // exit
    0xbf, 0x90, 0, 0, 0, 0, 0, 0, // r0 = r9
    0x95, 0, 0, 0, 0, 0, 0, 0, // exit
    7, 0, 0, 0, 0, 0, 0, 0, // data
    0, 0, 0, 0, 0, 0, 0, 0, // patch
]);

const PLAIN: Map = Map::new("plain", MapType::ARRAY).key_size(4).value_size(16).max_entries(1);

const fn data(name: &'static str, map_type: MapType, kind: SectionKind) -> Map {
    let section = Section { kind, initial: Span::new(64, 4), align: 8 };
    Map::new(name, map_type).key_size(4).value_size(16).max_entries(1).section(Some(section))
}

static MAPS: &[Map] =
    &[data(".data", MapType::ARRAY, SectionKind::Data).kernel_name("tiny.data").flags(map_flags::MMAPABLE)];

const fn function(insns: Span, patches: Span) -> Function {
    Function::new(0, Body { insns, patches, ..Body::NONE })
}

/// The functions of `reads`, of `on_switch` and `dump`, and the one that is rejected.
static FUNCTIONS: &[Function] = &[
    function(Span::new(0, 32), Span::new(72, 8)),
    function(Span::new(32, 16), Span::EMPTY),
    function(Span::new(48, 16), Span::EMPTY),
];

const READS: Program =
    Program::new("reads", "socket", ProgramType::SOCKET_FILTER, Attach::Needs("a socket"), &[0]).since((3, 19));

const ON_SWITCH: Program = Program::new(
    "on_switch",
    "raw_tp/sched_switch",
    ProgramType::RAW_TRACEPOINT,
    Attach::RawTracepoint(Text::Borrowed("sched_switch")),
    &[1],
);

const fn dump(functions: &'static [u32]) -> Program {
    Program::new("dump", "iter/task", ProgramType::TRACING, Attach::Iter, functions)
        .expected_attach_type(AttachType::TRACE_ITER)
        .target(Some(0))
}

const TINY: Object = Object::new("tiny", LICENSE, &BLOB.0)
    .maps(MAPS)
    .functions(FUNCTIONS)
    .programs(const { &[READS, ON_SWITCH, dump(&[1])] })
    .symbols(const { &[Symbol::new("bpf_iter_task", SymbolKind::Function)] })
    .steps(&[
        Step::CreateMap { map: 0 },
        Step::FillMap { map: 0, flags: 0 },
        Step::ResolveSymbols,
        Step::LoadProgram { program: 0 },
        Step::LoadProgram { program: 1 },
        Step::LoadProgram { program: 2 },
    ]);

static GOOD: Object = TINY;
static BAD: Object = TINY.programs(const { &[READS, ON_SWITCH, dump(&[2])] });
static ABSENT: Object = TINY.symbols(const { &[Symbol::new("bpf_iter_nothing", SymbolKind::Function)] });
static PERCPU: Object = TINY
    .maps(const { &[data(".percpu", MapType::PERCPU_ARRAY, SectionKind::Percpu)] })
    .programs(&[])
    .steps(&[Step::CreateMap { map: 0 }, Step::FillMap { map: 0, flags: 16 }]);

/// A map of maps with one inner map, whose template is created only for it.
static NESTED: Object = TINY
    .maps(
        const {
            &[
                Map::new("outer", MapType::ARRAY_OF_MAPS).key_size(4).value_size(4).max_entries(1).inner(Some(1)),
                PLAIN.kernel_name("outer.inner").template(true),
                PLAIN.kernel_name("one"),
                Map::new("events", MapType::PERF_EVENT_ARRAY).key_size(4).value_size(4),
                Map::new("ring", MapType::RINGBUF).max_entries(100),
            ]
        },
    )
    .programs(&[])
    .steps(&[
        Step::CreateMap { map: 2 },
        Step::CreateMap { map: 0 },
        Step::CreateMap { map: 3 },
        Step::CreateMap { map: 4 },
        Step::InsertMap { outer: 0, key: 0, inner: 2 },
        Step::FreezeMap { map: 2 },
    ]);

struct Fd(OwnedFd);

impl FromFd for Fd {
    fn from_fd(map: Opened, _: &Info<'_>) -> Result<Self> {
        Ok(Self(map.into()))
    }
}

fn trust(object: &'static Object) -> Trusted {
    // SAFETY: the instructions above read a map and return.
    unsafe { Trusted::new(object) }
}

fn open_fds() -> usize {
    read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

/// Returns the result, or `None` if this process has no right to call bpf().
fn allowed<T>(result: Result<T>) -> Option<Result<T>> {
    match result {
        Err(error) if error.errno().is_some_and(|errno| errno.name() == Some("EPERM")) => {
            eprintln!("skipped: {error}");
            None
        }
        result => Some(result),
    }
}

fn load_error(object: &'static Object) -> Option<Error> {
    let before = open_fds();
    let result = allowed(load(trust(object), LoadOptions::new(), vec![], vec![]))?;
    let error = result.expect_err("the load must fail");
    assert_eq!(open_fds(), before, "a failed load leaves no file descriptor open: {error}");
    Some(error)
}

#[test]
fn loads_runs_and_attaches() {
    let _alone = ALONE.lock();
    let before = open_fds();
    let Some(loaded) = allowed(load(trust(&GOOD), LoadOptions::new(), vec![], vec![])) else {
        return;
    };
    let mut loaded = loaded.unwrap();
    let map: Fd = loaded.take_map(0).unwrap();
    assert!(map.0.as_fd().try_clone_to_owned().is_ok());
    assert!(loaded.take_map::<Fd>(0).is_err());

    let reads = loaded.take_program(0);
    let packet = [0; 64];
    let run = reads.test_run(TestRun::new().data(&packet)).unwrap();
    assert_eq!(run.return_value, 7);
    let error = reads.attach().unwrap_err();
    let expected = (ErrorKind::InvalidInput, error::Step::Attach, Some(Subject::Program("reads")));
    assert_eq!((error.kind(), error.step(), error.subject()), expected, "{error}");

    let on_switch = loaded.take_program(1);
    on_switch.test_run(TestRun::new().cpu(0)).unwrap();
    drop(on_switch.attach().unwrap());

    let mut text = String::new();
    let link = loaded.take_program(2).attach().unwrap();
    link.read_iter().unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "");
    drop((map, reads, on_switch, link, loaded));
    assert_eq!(open_fds(), before);
}

#[test]
fn settings_count() {
    let _alone = ALONE.lock();
    let mut data = Initial::<[u8; 16]>::new(&GOOD, 0);
    data.get_mut().fill(9);
    let mut dump = OpenProgram::new(&GOOD, 2);
    dump.set_autoload(false);
    let mut loading = Loading::new(trust(&GOOD), LoadOptions::new());
    loading.section(0, OpenMap::new(&GOOD, 0), data);
    loading.program(2, dump);
    let Some(loaded) = allowed(loading.load()) else { return };
    let mut loaded = loaded.unwrap();
    let run = loaded.take_program(0).test_run(TestRun::new().data(&[0; 64])).unwrap();
    assert_eq!(run.return_value, 0x0909_0909);
    let dump = loaded.take_program(2);
    assert!(!dump.is_loaded());
    assert_eq!(dump.attach().unwrap_err().kind(), ErrorKind::NotLoaded);
}

#[test]
fn another_target() {
    let _alone = ALONE.lock();
    let mut dump = OpenProgram::new(&GOOD, 2);
    dump.set_attach_target("bpf_map").set_log_level(1);
    let programs = vec![OpenProgram::new(&GOOD, 0), OpenProgram::new(&GOOD, 1), dump];
    let Some(loaded) = allowed(load(trust(&GOOD), LoadOptions::new(), vec![], programs)) else {
        return;
    };
    let dump = loaded.unwrap().take_program(2);
    assert!(dump.verifier_log().is_some_and(|log| log.contains("processed 2 insns")), "{:?}", dump.verifier_log());
    dump.attach().unwrap().read_iter().unwrap();
}

#[test]
fn an_invalid_target_is_an_error() {
    let _alone = ALONE.lock();
    const TARGET: Attach =
        Attach::Tracepoint { category: Text::Borrowed("sched"), name: Text::Borrowed("sched_switch") };
    static TRACEPOINT: Object = TINY
        .programs(
            const { &[Program::new("on_switch", "tp/sched/sched_switch", ProgramType::TRACEPOINT, TARGET, &[1])] },
        )
        .steps(&[Step::LoadProgram { program: 0 }]);
    let mut program = OpenProgram::new(&TRACEPOINT, 0);
    program.set_attach_target("sched_waking");
    let Some(loaded) = allowed(load(trust(&TRACEPOINT), LoadOptions::new(), vec![], vec![program])) else {
        return;
    };
    let error = loaded.unwrap().take_program(0).attach().unwrap_err();
    assert_eq!((error.kind(), error.step()), (ErrorKind::InvalidInput, error::Step::Attach), "{error}");
    assert!(error.to_string().contains("`CATEGORY/NAME`"), "{error}");
}

#[test]
fn another_type_is_not_attached_by_its_section() {
    let _alone = ALONE.lock();
    let mut program = OpenProgram::new(&GOOD, 1);
    program.set_type(ProgramType::SOCKET_FILTER, None);
    let programs = vec![OpenProgram::new(&GOOD, 0), program];
    let Some(loaded) = allowed(load(trust(&GOOD), LoadOptions::new(), vec![], programs)) else {
        return;
    };
    let error = loaded.unwrap().take_program(1).attach().unwrap_err();
    let expected = (ErrorKind::InvalidInput, error::Step::Attach, Some(Subject::Program("on_switch")));
    assert_eq!((error.kind(), error.step(), error.subject()), expected, "{error}");
}

#[test]
fn rejected_btf_is_noted_beside_the_help() {
    let _alone = ALONE.lock();
    // Every kernel rejects these bytes as BTF, and an array without elements.
    static NO_BTF: Object = TINY
        .btf(Some(Span::new(0, 16)))
        .maps(const { &[Map::new(".data", MapType::ARRAY).key_size(4).value_size(16)] })
        .programs(&[])
        .steps(&[Step::LoadBtf, Step::CreateMap { map: 0 }]);
    let Some(error) = load_error(&NO_BTF) else {
        return;
    };
    let text = error.to_string();
    assert!(text.contains("set_max_entries") && text.contains("before that, the kernel rejected"), "{text}");
}

#[test]
fn only_maps_are_reused() {
    let _alone = ALONE.lock();
    let Some(loaded) = allowed(load(trust(&GOOD), LoadOptions::new(), vec![], vec![])) else {
        return;
    };
    let program = loaded.unwrap().take_program(0).fd().unwrap().try_clone_to_owned().unwrap();
    let file = OwnedFd::from(std::fs::File::open("/proc/self/maps").unwrap());
    for (fd, what) in [(program, "bpf-prog"), (file, "/maps")] {
        let mut map = OpenMap::new(&GOOD, 0);
        map.reuse_fd(fd);
        let error = load(trust(&GOOD), LoadOptions::new(), vec![map], vec![]).unwrap_err();
        let expected = (ErrorKind::Mismatch, error::Step::CreateMap, Some(Subject::Map(".data")));
        assert_eq!((error.kind(), error.step(), error.subject()), expected, "{error}");
        assert!(error.to_string().contains(what), "{error}");
    }
}

#[test]
fn rejected_program_has_the_verifiers_log() {
    let _alone = ALONE.lock();
    let Some(error) = load_error(&BAD) else {
        return;
    };
    let expected = (ErrorKind::VerifierRejected, error::Step::LoadProgram, Some(Subject::Program("dump")));
    assert_eq!((error.kind(), error.step(), error.subject()), expected, "{error}");
    assert_eq!(error.errno().and_then(skelgen_runtime::Errno::name), Some("EACCES"));
    assert!(error.verifier_log().is_some_and(|log| log.contains("R9 !read_ok")), "{error}");
    let line = "object `tiny`, step 6 of 6: cannot load program `dump` (tracing, section `iter/task`): EACCES";
    assert!(error.to_string().starts_with(line), "{error}");
}

#[test]
fn absent_symbol_names_the_program() {
    let _alone = ALONE.lock();
    let Some(error) = load_error(&ABSENT) else {
        return;
    };
    assert_eq!((error.kind(), error.step()), (ErrorKind::NotFound, error::Step::FindSymbol), "{error}");
    let subjects: Vec<_> = error.subjects().collect();
    assert_eq!(subjects, [Subject::Symbol("bpf_iter_nothing"), Subject::Program("dump")], "{error}");
}

#[test]
fn percpu_fill_is_one_call_with_one_value_or_all_values() {
    let _alone = ALONE.lock();
    let before = open_fds();
    let (result, calls) = record::whole(|| load(trust(&PERCPU), LoadOptions::new(), vec![], vec![]));
    let Some(result) = allowed(result) else {
        return;
    };
    let fills: Vec<_> = calls.iter().filter(|call| call.command == Command::MAP_UPDATE_ELEM).collect();
    let line = fills[0].to_string();
    assert!(line.starts_with("map_update_elem map=.percpu flags=16 key=4 bytes value=16 bytes"), "{line}");
    let value = fills[0].buffer("value").and_then(|value| value.bytes.clone()).unwrap();
    assert_eq!(value, [7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    drop(result.unwrap());
    if fills[0].result.is_ok() {
        assert_eq!(fills.len(), 1);
    } else {
        // Without the flag (before Linux 7.0), the fill has a copy of the value for each CPU of this kernel.
        assert_eq!(fills.len(), 2);
        assert_eq!(fills[1].flags(), 0);
        let values = fills[1].buffer("value").and_then(|value| value.bytes.clone()).unwrap();
        assert_eq!(values, value.repeat(kernel::cpus::possible().unwrap().len()));
    }
    assert_eq!(open_fds(), before);
}

#[test]
fn maps_of_maps_leave_no_template_open() {
    let _alone = ALONE.lock();
    let before = open_fds();
    let (result, calls) = record::calls(|| load(trust(&NESTED), LoadOptions::new(), vec![], vec![]));
    let Some(loaded) = allowed(result) else {
        return;
    };
    let mut loaded = loaded.unwrap();
    assert_eq!(open_fds(), before + 4);
    assert!(loaded.take_map::<Fd>(1).is_err());
    let created: Vec<_> =
        calls.iter().filter(|call| call.command == Command::MAP_CREATE).map(ToString::to_string).collect();
    assert_eq!(created.len(), 5, "{created:#?}");
    assert_eq!(created[1], "map_create name=outer.inner type=array key=4 value=16 entries=1 flags=0 btf=0:0");
    assert!(created[4].contains("entries=4096") || created[4].contains("entries=65536"), "{}", created[4]);
    drop(loaded);
    assert_eq!(open_fds(), before);
}

#[test]
fn every_failing_step_leaves_nothing_open() {
    let _alone = ALONE.lock();
    for index in 0..GOOD.maps.len() {
        let mut map = OpenMap::new(&GOOD, u32::try_from(index).unwrap());
        map.set_key_size(3);
        let before = open_fds();
        let Some(result) = allowed(load(trust(&GOOD), LoadOptions::new(), vec![map], vec![])) else {
            return;
        };
        let error = result.unwrap_err();
        assert_eq!((error.step(), error.subject()), (error::Step::CreateMap, Some(Subject::Map(".data"))), "{error}");
        assert_eq!(open_fds(), before);
    }
    let mut map = OpenMap::new(&GOOD, 0);
    map.set_max_entries(0);
    let error = load(trust(&GOOD), LoadOptions::new(), vec![map], vec![]).unwrap_err();
    assert_eq!((error.kind(), error.help().is_some()), (ErrorKind::InvalidInput, true), "{error}");
    let mut map = OpenMap::new(&GOOD, 0);
    map.set_autocreate(false);
    let before = open_fds();
    let error = load(trust(&GOOD), LoadOptions::new(), vec![map], vec![]).unwrap_err().to_string();
    assert!(
        error.contains("cannot load program `reads`") && error.contains("uses map `.data`, which was not created"),
        "{error}"
    );
    assert_eq!(open_fds(), before);
}
