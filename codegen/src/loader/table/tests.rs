//! Tests of tables under construction: their bytes, and the limits of the format.

use super::*;
use skelgen_abi::loader::op;

fn words(bytes: &[u8], at: u32) -> [u32; 4] {
    let word = |index: usize| Endian::Little.u32(bytes[at as usize + index * 4..][..4].try_into().unwrap());
    [word(0), word(1), word(2), word(3)]
}

#[test]
fn a_table_has_header_steps_and_data() {
    let mut builder = TableBuilder::new(Endian::Little);
    let (map, btf) = (builder.slot(), builder.slot());
    let attr = builder.data(&[7; 20]).unwrap();
    let value = builder.data(&[9; 3]).unwrap();
    let create = builder.request(Command::MAP_CREATE, attr, 20, Some(map)).unwrap();
    let copy = builder.copy(value.plus(0), Copied::U32, map);
    assert_eq!(copy, Err(TableError::BadPlace { offset: 24 }), "three bytes have no room for four");
    builder.copy(attr.plus(4), Copied::U32, btf).unwrap();
    let done = builder.label();
    builder.jump(done);
    builder.bind(done);
    builder.on_error(create, done);
    builder.point(attr.plus(8), value).unwrap();
    builder.point(attr, btf).unwrap();
    let table = builder.finish().unwrap();
    assert_eq!(table.layout, Layout { slots: 2, steps: 3 });
    let (steps, data) = (96, 96 + 48);
    assert_eq!(words(&table.bytes, 8), [steps, data, 0, data]);
    assert_eq!(words(&table.bytes, 24)[0], 88, "the end of the slots");
    assert_eq!(words(&table.bytes, steps), [u32::from(op::REQUEST) | 3 << 16, data, 19, 80]);
    assert_eq!(words(&table.bytes, steps + 16), [u32::from(op::COPY), data + 4, 0, 84]);
    assert_eq!(words(&table.bytes, steps + 32), [u32::from(op::JUMP_IF_NOT_EQUAL) | 1 << 16, header::END, 0, 0]);
    assert_eq!(words(&table.bytes, data), [84, data + 8, data + 24, 0], "pointers are chained");
    assert_eq!(table.bytes.len(), data as usize + 32);
    assert_eq!(table.value_size, data + 32 + loader::TAIL);
}

#[test]
fn big_endian_tables_have_the_same_numbers() {
    let mut builder = TableBuilder::new(Endian::Big);
    let attr = builder.data(&[0; 16]).unwrap();
    let next = builder.label();
    let freeze = builder.request(Command::MAP_FREEZE, attr, 16, None).unwrap();
    builder.bind(next);
    builder.on_error(freeze, next);
    builder.point(attr.plus(8), attr).unwrap();
    let table = builder.finish().unwrap();
    assert_eq!(table.bytes[80..88], [op::REQUEST, 22, 0, 1, 0, 0, 0, 96]);
    assert_eq!(table.bytes[104..112], [0, 0, 0, 0, 0, 0, 0, 96], "next pointer, then target");
}

#[test]
fn requests_with_logs_copy_the_log_fields_of_their_step_only() {
    for (command, copies) in [(Command::PROG_LOAD, 2), (Command::BTF_LOAD, 3)] {
        let mut builder = TableBuilder::new(Endian::Little);
        let attr = builder.reserve(152).unwrap();
        let load = builder.request_with_log(command, attr, 40, None).unwrap();
        assert_eq!(load.index(), copies + 1);
        let table = builder.finish().unwrap();
        let skip = u32::from(op::JUMP_IF_NOT_EQUAL) | load.index() << 16;
        assert_eq!(words(&table.bytes, 80), [skip, header::LOG_STEP, load.index(), 0]);
    }
    let mut builder = TableBuilder::new(Endian::Little);
    let attr = builder.reserve(40).unwrap();
    let map = builder.request_with_log(Command::MAP_CREATE, attr, 40, None);
    assert_eq!(map, Err(TableError::BadSize { size: 40 }), "maps have no log fields");
}

#[test]
fn lookups_have_room_for_their_results() {
    let mut builder = TableBuilder::new(Endian::Little);
    let slot = builder.slot();
    let (_, short) = builder.find_type("x", 4, slot).unwrap();
    let (_, symbol) = builder.find_symbol("y").unwrap();
    assert_eq!((short, symbol), (Place(0), Place(8)));
    builder.copy(short, Copied::U64, symbol).unwrap();
    for bad in ["", "a\0b", &"n".repeat(256)] {
        assert!(matches!(builder.find_symbol(bad), Err(TableError::BadSize { .. })), "{bad:?}");
    }
    builder.find_symbol(&"n".repeat(255)).unwrap();
}

#[test]
fn long_copies_from_the_process_are_several_steps() {
    let mut builder = TableBuilder::new(Endian::Little);
    let to = builder.reserve(9000).unwrap();
    builder.copy_from_host(to, 9000, 100).unwrap();
    assert_eq!(builder.next().index(), 3);
    assert_eq!(builder.copy_from_host(to, 0, 0), Err(TableError::BadSize { size: 0 }));
    let table = builder.finish().unwrap();
    let last = words(&table.bytes, 80 + 32);
    assert_eq!(last[1..], [table.layout.data_at() + 8192, 9000 - 8192 - 1, 8292]);

    let mut builder = TableBuilder::new(Endian::Little);
    let to = builder.reserve(8).unwrap();
    builder.copy_from_host(to, 8, 1000).unwrap();
    assert_eq!(builder.finish(), Err(TableError::BadPlace { offset: 1000 }));
}

#[test]
fn mistakes_and_limits_are_errors() {
    let mut builder = TableBuilder::new(Endian::Little);
    let attr = builder.reserve(256).unwrap();
    let outside = Err(TableError::BadPlace { offset: 256 });
    assert_eq!(builder.request(Command::MAP_CREATE, attr.plus(256), 1, None), outside);
    assert_eq!(builder.request(Command::MAP_CREATE, attr, 0, None), Err(TableError::BadSize { size: 0 }));
    assert_eq!(builder.point(attr.plus(4), attr), Err(TableError::BadPlace { offset: 4 }));
    assert_eq!(builder.copy(attr, Copied::U32, Slot(0)), Err(TableError::BadPlace { offset: 0 }), "no such slot");
    assert_eq!(builder.copy(attr.plus(244), Copied::Immediate, attr), Err(TableError::BadPlace { offset: 248 }));
    let size = u64::from(loader::MAX_VALUE) + 256;
    assert_eq!(builder.reserve(loader::MAX_VALUE as usize), Err(TableError::TooLarge { size }));

    let fresh = || TableBuilder::new(Endian::Little);
    let mut builder = fresh();
    let back = builder.label();
    builder.bind(back);
    let step = builder.jump(back);
    assert_eq!(builder.finish(), Err(TableError::BadLabel { step }));

    let mut builder = fresh();
    let never = builder.label();
    let step = builder.jump(never);
    assert_eq!(builder.finish(), Err(TableError::BadLabel { step }));

    let mut builder = fresh();
    let fields = builder.reserve(24).unwrap();
    builder.point(fields, fields).unwrap();
    builder.point(fields, fields).unwrap();
    assert_eq!(builder.finish(), Err(TableError::PointersOverlap { offset: 0 }));

    let mut builder = fresh();
    builder.reserve(loader::MAX_VALUE as usize - 80 - loader::TAIL as usize).unwrap();
    builder.finish().unwrap();
    let mut builder = fresh();
    builder.reserve(loader::MAX_VALUE as usize - 80).unwrap();
    assert!(matches!(builder.finish(), Err(TableError::TooLarge { .. })));

    let mut builder = fresh();
    for _ in 0..loader::MAX_ITERATIONS {
        builder.slot();
    }
    builder.fail(1);
    let count = loader::MAX_ITERATIONS + 1;
    let error = builder.finish().unwrap_err();
    assert_eq!(error, TableError::TooManySteps { count });
    assert_eq!(error.to_string(), "step table has 65001 steps, pointers and file descriptors, but the limit is 65000");
}
