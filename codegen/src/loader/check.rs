//! The comparison of a step table with the plan that it was lowered from.
//!
//! The table is executed with an imitated kernel, and each request is compared with the step of the plan that it belongs
//! to: once with the defaults and all symbols in vmlinux, once with changed settings, symbols in modules, and without weak
//! symbols, and once without direct access to percpu data.

mod machine;
mod program;

use std::collections::BTreeMap;
use std::mem::offset_of;

use skelgen_abi::attr::{BtfLoad, MapCreate, MapElem, ProgLoad, name16};
use skelgen_abi::plan::{HostValue, Loader, Map, Object, PercpuForm, SectionKind, Setting, Step, Symbol, SymbolKind};
use skelgen_abi::uapi::{Command, MapType, elem_flags, map_flags, pseudo};

use self::machine::{Kernel, Machine};
use super::lower::Lowered;
use crate::insn::{INSN_SIZE, Insn};
use crate::plan::{LoadPlan, entries};

/// Compares the requests of a table with the steps of its plan.
///
/// # Errors
/// The first difference, as text.
pub fn compare(plan: &LoadPlan, lowered: &Lowered) -> Result<(), String> {
    let (maps, programs) = (plan.object.maps.len(), plan.object.programs.len());
    let is_known = |value: &HostValue| match value.setting {
        Setting::Autoload { program } => (program as usize) < programs,
        Setting::MaxEntries { map } | Setting::EmulatedSize { map } | Setting::Initial { map, .. } => {
            (map as usize) < maps
        }
        Setting::CpuMask => true,
    };
    if !lowered.host.iter().all(is_known) {
        return Err("the process passes a setting of a map or program that the plan does not have".to_owned());
    }
    let is_either = plan.object.percpu == PercpuForm::Either;
    for (is_changed, is_probe_rejected) in [(false, false), (true, false), (false, true)] {
        if is_probe_rejected && !is_either {
            continue;
        }
        let mut kernel = Imitated::new(plan, lowered, is_changed, is_probe_rejected);
        let mut machine = Machine::new(&lowered.table, plan.endian, is_changed)?;
        let result = machine.run(&mut kernel).and_then(|()| kernel.finish(&machine));
        let which = match (is_changed, is_probe_rejected) {
            (true, _) => ", with changed settings",
            (_, true) => ", with emulated percpu data",
            _ => "",
        };
        result.map_err(|error| format!("{error}{which}"))?;
    }
    Ok(())
}

/// The mask of CPU numbers that the process passes.
const CPU_MASK: u32 = 7;

/// The result of a request that the kernel rejects.
const EINVAL: i32 = -22;

/// Returns the size of an emulated section that the process passes.
fn emulated_size(map: u32) -> u32 {
    4096 + 64 * map
}

/// What a file descriptor refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fd {
    Btf,
    Map(u32),
    Program(u32),
    /// The BTF of the module with a symbol.
    Module(u32),
    /// The map or program of a feature probe.
    Probe,
}

/// A request that the plan makes.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Expected {
    ProbeMap,
    ProbeProgram,
    LoadBtf,
    Create { map: u32 },
    Update { map: u32, key: u32, value: Value, flags: u64 },
    Freeze { map: u32 },
    LoadProgram { program: u32 },
}

/// The value of an element.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Value {
    Bytes(Vec<u8>),
    Fd(Fd),
}

/// A kernel that accepts the requests of a plan in their order.
struct Imitated<'p> {
    plan: &'p LoadPlan,
    object: &'p Object,
    host: Vec<u8>,
    is_changed: bool,
    /// Whether the kernel does not have direct access to percpu data.
    is_probe_rejected: bool,
    /// The requests that are still expected, the next one last.
    expected: Vec<Expected>,
    /// The open file descriptors.
    open: BTreeMap<u32, Fd>,
    next: u32,
}

impl<'p> Imitated<'p> {
    fn new(plan: &'p LoadPlan, lowered: &Lowered, is_changed: bool, is_probe_rejected: bool) -> Self {
        let object = &plan.object;
        let mut kernel = Self {
            plan,
            object,
            host: vec![0; lowered.host_size as usize],
            is_changed,
            is_probe_rejected,
            expected: Vec::new(),
            open: BTreeMap::new(),
            next: 3,
        };
        for value in &lowered.host {
            let number = kernel.setting(value.setting);
            kernel.pass(value.offset, &plan.endian.to_bytes(number));
        }
        let is_probed = object.percpu == PercpuForm::Either;
        let probe = [Expected::ProbeMap, Expected::ProbeProgram].into_iter().filter(|_| is_probed);
        let steps = object.steps.iter().flat_map(|step| kernel.expect(step));
        kernel.expected = probe.chain(steps).collect::<Vec<_>>().into_iter().rev().collect();
        kernel
    }

    /// Returns the number of a setting, and passes the initial value of a section.
    fn setting(&mut self, setting: Setting) -> u32 {
        match setting {
            Setting::Autoload { program } => u32::from(self.is_loaded(program)),
            Setting::MaxEntries { map } => self.max_entries(map),
            Setting::EmulatedSize { map } => emulated_size(map),
            Setting::CpuMask => CPU_MASK,
            Setting::Initial { map, value } => {
                self.pass(value, &self.initial_value(map));
                u32::from(self.is_changed)
            }
        }
    }

    /// Writes to the values of the process.
    fn pass(&mut self, offset: u32, bytes: &[u8]) {
        let to = self.host.iter_mut().skip(offset as usize);
        to.zip(bytes).for_each(|(to, byte)| *to = *byte);
    }

    /// Returns whether the imitated kernel lacks a symbol. It has all that the object requires.
    fn is_absent(&self, symbol: u32) -> bool {
        let wanted = &self.object.symbols[symbol as usize];
        let is_same = |other: &&Symbol| (&other.name, other.kind) == (&wanted.name, wanted.kind);
        self.is_changed && self.object.symbols.iter().filter(is_same).all(|symbol| symbol.weak)
    }

    /// Returns the first symbol with the name and kind of a symbol: an object can require a symbol in one program only.
    fn first_of(&self, symbol: u32) -> u32 {
        let wanted = &self.object.symbols[symbol as usize];
        let mut symbols = (0..).zip(self.object.symbols.iter());
        let is_same = |other: &Symbol| (&other.name, other.kind) == (&wanted.name, wanted.kind);
        symbols.find_map(|(index, other)| is_same(other).then_some(index)).unwrap_or(symbol)
    }

    /// Returns whether percpu data is emulated.
    fn emulates(&self) -> bool {
        match self.object.percpu {
            PercpuForm::Native => false,
            PercpuForm::Emulated => true,
            PercpuForm::Either => self.is_probe_rejected,
        }
    }

    /// Returns whether a map is an emulated percpu section.
    fn is_emulated(&self, map: &Map) -> bool {
        self.emulates() && map.is_percpu_section()
    }

    fn is_loaded(&self, program: u32) -> bool {
        !self.is_changed || program % 2 == 1
    }

    fn max_entries(&self, map: u32) -> u32 {
        let entries = self.object.maps[map as usize].max_entries;
        let is_settable = self.object.maps[map as usize].section.is_none() && !self.object.maps[map as usize].template;
        if self.is_changed && is_settable { entries.wrapping_add(7) } else { entries }
    }

    /// Returns the value of a section after the load.
    fn initial_value(&self, map: u32) -> Vec<u8> {
        let map = &self.object.maps[map as usize];
        let Some(section) = map.section else { return Vec::new() };
        let mut value = self.object.bytes(section.initial).unwrap_or_default().to_vec();
        value.resize(map.value_size as usize, 0);
        if self.is_changed && section.kind == SectionKind::Rodata {
            value.iter_mut().for_each(|byte| *byte = byte.wrapping_add(1));
        }
        value
    }

    /// Returns the requests of a step of the plan.
    fn expect(&self, step: &Step) -> Vec<Expected> {
        let owner = |map: u32| self.object.maps[map as usize].jump_table;
        let is_left_out = |map: u32| owner(map).is_some_and(|table| !self.is_loaded(table.program));
        match *step {
            Step::LoadBtf => vec![Expected::LoadBtf],
            Step::CreateMap { map } | Step::FillMap { map, .. } | Step::FreezeMap { map } if is_left_out(map) => {
                Vec::new()
            }
            Step::CreateMap { map } => {
                let mut all: Vec<_> =
                    self.object.maps[map as usize].inner.map(|map| Expected::Create { map }).into_iter().collect();
                all.push(Expected::Create { map });
                let is_filled =
                    self.object.steps.iter().any(|step| matches!(*step, Step::FillMap { map: of, .. } if of == map));
                let section = self.object.maps[map as usize].section;
                if self.is_changed && !is_filled && section.is_some_and(|section| section.kind == SectionKind::Rodata) {
                    let value = Value::Bytes(self.initial_value(map));
                    all.push(Expected::Update { map, key: 0, value, flags: elem_flags::ANY });
                }
                all
            }
            // The process writes the values of all CPUs.
            Step::FillMap { map, .. } if self.is_emulated(&self.object.maps[map as usize]) => Vec::new(),
            Step::FillMap { map, flags } => match (owner(map), self.object.maps[map as usize].section) {
                (Some(table), Some(section)) => {
                    let initial = entries(self.object, table, self.object.bytes(section.initial).unwrap_or_default());
                    let targets = initial.chunks_exact(4).map(|target| {
                        let target = target.first_chunk().copied().map_or(0, u32::from_le_bytes);
                        let mut value = self.plan.endian.to_bytes(target).to_vec();
                        value.resize(16, 0);
                        Value::Bytes(value)
                    });
                    (0..).zip(targets).map(|(key, value)| Expected::Update { map, key, value, flags }).collect()
                }
                _ => vec![Expected::Update { map, key: 0, value: Value::Bytes(self.initial_value(map)), flags }],
            },
            Step::FreezeMap { map } => vec![Expected::Freeze { map }],
            Step::InsertMap { outer, key, inner } => {
                vec![Expected::Update { map: outer, key, value: Value::Fd(Fd::Map(inner)), flags: elem_flags::ANY }]
            }
            Step::LoadProgram { program } if self.is_loaded(program) => vec![Expected::LoadProgram { program }],
            Step::InsertProgram { map, key, program } if self.is_loaded(program) => {
                vec![Expected::Update { map, key, value: Value::Fd(Fd::Program(program)), flags: elem_flags::ANY }]
            }
            Step::LoadProgram { .. }
            | Step::InsertProgram { .. }
            | Step::ResolveSymbols
            | Step::BindMap { .. }
            | Step::FillKconfig { .. } => Vec::new(),
        }
    }

    /// Compares what is left with the plan, after the last step.
    fn finish(&self, machine: &Machine) -> Result<(), String> {
        if let Some(expected) = self.expected.last() {
            return Err(format!("no step makes the request {expected:?}"));
        }
        let maps = (0..).zip(self.object.maps.iter()).filter(|(_, map)| map.jump_table.is_none());
        let maps = maps.map(|(index, _)| (Loader::map_slot(index), Fd::Map(index)));
        let count = u32::try_from(self.object.maps.len()).unwrap_or(u32::MAX);
        let programs = (0..).zip(self.object.programs.iter()).filter(|(index, _)| self.is_loaded(*index));
        let programs = programs.map(|(index, _)| (Loader::program_slot(count, index), Fd::Program(index)));
        let wanted: BTreeMap<u32, Fd> = maps.chain(programs).collect();
        let slots = Loader::program_slot(count, u32::try_from(self.object.programs.len()).unwrap_or(u32::MAX));
        for slot in 0..slots {
            let found = self.open.get(&machine.fd(slot)?);
            if found != wanted.get(&slot) {
                return Err(format!("slot {slot} has {found:?} after the load, instead of {:?}", wanted.get(&slot)));
            }
        }
        if self.open.len() == wanted.len() { Ok(()) } else { Err("file descriptors stay open".to_owned()) }
    }

    /// Opens a file descriptor.
    fn opened(&mut self, of: Fd) -> i32 {
        self.next += 1;
        self.open.insert(self.next, of);
        i32::try_from(self.next).unwrap_or(i32::MAX)
    }

    /// Checks that a file descriptor in a request refers to this object.
    fn check_fd(&self, what: &str, fd: u32, of: Fd) -> Result<(), String> {
        let found = self.open.get(&fd);
        if found == Some(&of) { Ok(()) } else { Err(format!("{what} is {found:?}, instead of {of:?}")) }
    }

    /// Checks that a file descriptor is that of the object's BTF, or 0.
    fn check_btf_fd(&self, fd: u32, is_set: bool) -> Result<(), String> {
        if is_set { self.check_fd("the BTF", fd, Fd::Btf) } else { same("the BTF", fd, 0) }
    }

    fn check_btf(&self, machine: &Machine, attr: u32) -> Result<(), String> {
        let bytes = self.object.btf.and_then(|span| self.object.bytes(span)).unwrap_or_default();
        let mut request = Request::new::<BtfLoad>(machine, attr);
        same("the size of the BTF", request.word(offset_of!(BtfLoad, btf_size))? as usize, bytes.len())?;
        same("the BTF", request.pointed(offset_of!(BtfLoad, btf), bytes.len())?, bytes)?;
        let (buffer, level, size) = self.log();
        same("the log level", request.word(offset_of!(BtfLoad, log_level))?, level)?;
        same("the log size", request.word(offset_of!(BtfLoad, log_size))?, size)?;
        same("the log buffer", request.wide(offset_of!(BtfLoad, log_buf))?, buffer)?;
        request.finish()
    }

    /// Returns the buffer, level and size of the logs that requests get.
    fn log(&self) -> (u64, u32, u32) {
        if self.is_changed { machine::LOG } else { (0, 0, 0) }
    }

    fn check_map(&self, machine: &Machine, attr: u32, index: u32) -> Result<(), String> {
        let map: &Map = &self.object.maps[index as usize];
        let types = (map.btf_key_type_id, map.btf_value_type_id);
        let is_emulated = self.is_emulated(map);
        let has_types = types != (0, 0) && self.object.btf.is_some() && !is_emulated;
        let types = if has_types { types } else { (0, 0) };
        let (map_type, value_size, flags) = match is_emulated {
            true => (MapType::ARRAY.0, emulated_size(index), map.flags | map_flags::MMAPABLE),
            false => (map.map_type.0, map.value_size, map.flags),
        };
        let mut request = Request::new::<MapCreate>(machine, attr);
        for (what, offset, value) in [
            ("the type", offset_of!(MapCreate, map_type), map_type),
            ("the key size", offset_of!(MapCreate, key_size), map.key_size),
            ("the value size", offset_of!(MapCreate, value_size), value_size),
            ("the number of elements", offset_of!(MapCreate, max_entries), self.max_entries(index)),
            ("the flags", offset_of!(MapCreate, map_flags), flags),
            ("the NUMA node", offset_of!(MapCreate, numa_node), map.numa_node),
            ("the key type", offset_of!(MapCreate, btf_key_type_id), types.0),
            ("the value type", offset_of!(MapCreate, btf_value_type_id), types.1),
        ] {
            same(what, request.word(offset)?, value)?;
        }
        same("the extra setting", request.wide(offset_of!(MapCreate, map_extra))?, map.extra)?;
        request.name(offset_of!(MapCreate, map_name), &map.kernel_name)?;
        let btf = request.word(offset_of!(MapCreate, btf_fd))?;
        self.check_btf_fd(btf, has_types)?;
        let inner = request.word(offset_of!(MapCreate, inner_map_fd))?;
        match map.inner {
            Some(template) => self.check_fd("the template", inner, Fd::Map(template))?,
            None => same("the template", inner, 0)?,
        }
        request.finish()
    }

    fn check_element(&self, machine: &Machine, attr: u32, map: u32, update: Option<Update<'_>>) -> Result<(), String> {
        let mut request = Request::new::<MapElem>(machine, attr);
        self.check_fd("the map", request.word(offset_of!(MapElem, map_fd))?, Fd::Map(map))?;
        if let Some((key, value, flags)) = update {
            same("the flags", request.wide(offset_of!(MapElem, flags))?, flags)?;
            same("the key", machine.word(request.target(offset_of!(MapElem, key))?)?, key)?;
            let place = request.target(offset_of!(MapElem, value))?;
            match value {
                Value::Bytes(bytes) => same("the value", machine.range(place, bytes.len())?, bytes)?,
                Value::Fd(fd) => self.check_fd("the value", machine.word(place)?, *fd)?,
            }
        }
        request.finish()
    }
}

/// The key, value and flags of an update.
type Update<'v> = (u32, &'v Value, u64);

impl Kernel for Imitated<'_> {
    fn request(&mut self, machine: &Machine, command: u8, attr: u32, size: u32) -> Result<i32, String> {
        let expected = self.expected.pop().ok_or("makes a request that the plan does not have")?;
        let (needed, length, opened) = match &expected {
            Expected::ProbeMap => {
                let mut probe = Request::new::<MapCreate>(machine, attr);
                same("the type", probe.word(offset_of!(MapCreate, map_type))?, MapType::PERCPU_ARRAY.0)?;
                (Command::MAP_CREATE, size_of::<MapCreate>(), Some(Fd::Probe))
            }
            Expected::ProbeProgram => {
                let mut probe = Request::new::<ProgLoad>(machine, attr);
                let insns = probe.pointed(offset_of!(ProgLoad, insns), INSN_SIZE)?;
                let insn = Insn::decode(insns.try_into().unwrap_or_default(), self.plan.endian);
                same("the source register", insn.src, pseudo::MAP_IDX_VALUE)?;
                self.check_fd("the map", machine.fd(insn.imm.unsigned_abs())?, Fd::Probe)?;
                let opened = if self.emulates() { None } else { Some(Fd::Probe) };
                (Command::PROG_LOAD, size_of::<ProgLoad>(), opened)
            }
            Expected::LoadBtf => {
                self.check_btf(machine, attr)?;
                (Command::BTF_LOAD, size_of::<BtfLoad>(), Some(Fd::Btf))
            }
            Expected::Create { map } => {
                self.check_map(machine, attr, *map)?;
                (Command::MAP_CREATE, size_of::<MapCreate>(), Some(Fd::Map(*map)))
            }
            Expected::Update { map, key, value, flags } => {
                self.check_element(machine, attr, *map, Some((*key, value, *flags)))?;
                (Command::MAP_UPDATE_ELEM, size_of::<MapElem>(), None)
            }
            Expected::Freeze { map } => {
                self.check_element(machine, attr, *map, None)?;
                (Command::MAP_FREEZE, size_of::<MapElem>(), None)
            }
            Expected::LoadProgram { program } => {
                let size = self.check_program(machine, attr, *program)?;
                (Command::PROG_LOAD, size, Some(Fd::Program(*program)))
            }
        };
        if (u32::from(command), size as usize) != (needed.0, length) {
            return Err(format!("makes request {command} with {size} bytes instead of {expected:?}"));
        }
        let is_rejected = expected == Expected::ProbeProgram && opened.is_none();
        Ok(opened.map_or(if is_rejected { EINVAL } else { 0 }, |of| self.opened(of)))
    }

    fn find(&mut self, name: &str, kind: u8) -> Result<Option<(u64, u32)>, String> {
        // The address of a weak symbol with a type is looked up as well.
        let is_wanted =
            |symbol: &Symbol| symbol.name == name && (symbol.kind.btf_kind() == kind || kind == 0 && symbol.weak);
        let mut symbols = (0..).zip(self.object.symbols.iter()).filter(|(_, symbol)| is_wanted(symbol));
        let (index, symbol) =
            symbols.next().ok_or_else(|| format!("looks up `{name}`, which the plan does not have"))?;
        if self.is_absent(index) {
            // Some absent symbols have a type, but no address.
            let has_type = index % 2 == 1 && kind != 0;
            return Ok(has_type.then(|| (program::found(kind, name), 0)));
        }
        if kind == 0 {
            return Ok(Some((program::found(kind, name), 0)));
        }
        let is_in_module = self.is_changed && symbol.kind != SymbolKind::Address;
        let module = if is_in_module { self.opened(Fd::Module(index)).unsigned_abs() } else { 0 };
        Ok(Some((program::found(kind, name), module)))
    }

    fn read(&mut self, offset: u32, size: u32) -> Result<Vec<u8>, String> {
        let bytes = self.host.get(offset as usize..).and_then(|rest| rest.get(..size as usize));
        bytes
            .map(<[u8]>::to_vec)
            .ok_or_else(|| format!("reads {size} values at {offset}, which the process does not have"))
    }

    fn close(&mut self, fd: u32) -> Result<(), String> {
        self.open.remove(&fd).map(drop).ok_or_else(|| format!("closes {fd}, which is not open"))
    }
}

/// A request, which must be zero where no field was compared.
struct Request<'m> {
    machine: &'m Machine,
    attr: u32,
    /// The bytes that were compared.
    seen: Vec<bool>,
}

impl<'m> Request<'m> {
    fn new<T>(machine: &'m Machine, attr: u32) -> Self {
        Self { machine, attr, seen: vec![false; size_of::<T>()] }
    }

    /// Returns the offset in the table of a field with this offset and size.
    fn at(&mut self, offset: usize, size: usize) -> u32 {
        self.seen.iter_mut().skip(offset).take(size).for_each(|seen| *seen = true);
        self.attr.saturating_add(u32::try_from(offset).unwrap_or(u32::MAX))
    }

    fn word(&mut self, offset: usize) -> Result<u32, String> {
        let at = self.at(offset, 4);
        self.machine.word(at)
    }

    fn wide(&mut self, offset: usize) -> Result<u64, String> {
        let at = self.at(offset, 8);
        self.machine.wide(at)
    }

    fn name(&mut self, offset: usize, name: &str) -> Result<(), String> {
        let at = self.at(offset, 16);
        same("the name", self.machine.range(at, 16)?, &name16(name)[..])
    }

    /// Returns the offset of the target of a pointer.
    fn target(&mut self, offset: usize) -> Result<u32, String> {
        let at = self.at(offset, 8);
        self.machine.target(at)
    }

    fn pointed(&mut self, offset: usize, len: usize) -> Result<&'m [u8], String> {
        let at = self.target(offset)?;
        self.machine.range(at, len)
    }

    /// Checks that all other fields are zero.
    fn finish(self) -> Result<(), String> {
        let bytes = self.machine.range(self.attr, self.seen.len())?;
        match bytes.iter().zip(&self.seen).position(|(byte, seen)| *byte != 0 && !seen) {
            Some(at) => Err(format!("byte {at} of the request is {} instead of 0", bytes[at])),
            None => Ok(()),
        }
    }
}

fn same<T: PartialEq + Copy + std::fmt::Debug>(what: &str, found: T, expected: T) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("{what} is {found:?} instead of {expected:?}")) }
}
