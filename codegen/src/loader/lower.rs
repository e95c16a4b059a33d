//! Lowering of a load plan to a step table: the same requests in the same order, made inside the kernel.
//!
//! Each step of the plan becomes a run of steps of the table. Files of `lower/` have the steps for maps, symbols and
//! programs. To lower a new step of the plan, add it to [`Lowering::step`] and to the comparison in `check.rs`.

mod maps;
mod percpu;
mod programs;
mod symbols;

use std::collections::BTreeMap;

use skelgen_abi::attr::BtfLoad;
use skelgen_abi::plan::{HostValue, Loader, Object, Setting, Step};
use skelgen_abi::uapi::Command;
use std::mem::offset_of;

use self::percpu::Form;
use self::symbols::Lookup;
use super::attr::Attr;
use super::host::Host;
use super::table::{Copied, Label, Place, Slot, Table, TableBuilder, TableError};
use super::{check, refused};
use crate::error::{Code, Error, Result};
use crate::insn::Endian;
use crate::plan::LoadPlan;

/// A plan as a step table.
#[derive(Debug, Clone)]
pub struct Lowered {
    /// The step table.
    pub table: Table,
    /// For each step of the plan, its first step in the table.
    pub first: Vec<u32>,
    /// For each symbol of the plan, the step in the table that finds it.
    pub lookups: Vec<u32>,
    /// The values that the process passes, by ascending offset.
    pub host: Vec<HostValue>,
    /// The number of bytes of these values.
    pub host_size: u32,
    /// For each map of the plan, the offset of its initial value in the table, if the table has it.
    pub initial: Vec<Option<u32>>,
}

/// Lowers a plan, and checks the table against the plan.
///
/// # Errors
/// `LoaderProgram` for each part of the plan that a program in the kernel cannot do, and if the table exceeds a limit.
pub fn lower(plan: &LoadPlan) -> Result<Lowered> {
    refused::check(plan)?;
    let lowered = Lowering::new(plan).and_then(Lowering::finish).map_err(|error| limit(&error))?;
    check::compare(plan, &lowered).map_err(|difference| {
        Error::new(Code::LoaderProgram, format!("the step table differs from the plan: {difference}"))
    })?;
    Ok(lowered)
}

fn limit(error: &TableError) -> Error {
    Error::new(Code::LoaderProgram, format!("the load does not fit in a loader program: {error}"))
}

/// A table under construction, with what its steps refer to.
struct Lowering<'p> {
    plan: &'p LoadPlan,
    object: &'p Object,
    endian: Endian,
    table: TableBuilder,
    /// The slots by number: BTF, maps, programs.
    slots: Vec<Slot>,
    host: Host,
    form: Form,
    /// The lookups of symbols, by symbol.
    symbols: Vec<Lookup>,
    /// The initial values of maps, by map.
    initial: Vec<Option<Place>>,
    /// Small constants that steps copy or requests point to, by value.
    constants: BTreeMap<Vec<u8>, Place>,
}

impl<'p> Lowering<'p> {
    fn new(plan: &'p LoadPlan) -> Result<Self, TableError> {
        let object = &plan.object;
        let mut table = TableBuilder::new(plan.endian);
        let slots = 1 + object.maps.len() + object.programs.len();
        let slots = (0..slots).map(|_| table.slot()).collect();
        let host = Host::new(object, &mut table)?;
        let form = Form::new(object.percpu, &mut table)?;
        let mut lowering = Self {
            plan,
            object,
            endian: plan.endian,
            table,
            slots,
            host,
            form,
            symbols: Vec::new(),
            initial: vec![None; object.maps.len()],
            constants: BTreeMap::new(),
        };
        for symbol in object.symbols.iter() {
            let lookup = lowering.declare(symbol)?;
            lowering.symbols.push(lookup);
        }
        Ok(lowering)
    }

    fn finish(mut self) -> Result<Lowered, TableError> {
        self.host.copy(&mut self.table)?;
        self.probe_percpu()?;
        let mut first = Vec::new();
        for step in self.object.steps.iter() {
            first.push(self.table.next().index());
            self.step(step)?;
        }
        // The process needs only maps and programs.
        let modules: Vec<Slot> = self.symbols.iter().map(|lookup| lookup.module).collect();
        for slot in modules.into_iter().chain([self.slot(Loader::BTF_SLOT)]) {
            self.table.close(slot);
        }
        let Self { table, symbols, host, initial, .. } = self;
        let table = table.finish()?;
        Ok(Lowered {
            initial: initial.into_iter().map(|place| place.map(|place| table.offset(place))).collect(),
            table,
            first,
            lookups: symbols.iter().map(|lookup| lookup.step).collect(),
            host: host.values,
            host_size: host.size,
        })
    }

    fn step(&mut self, step: &Step) -> Result<(), TableError> {
        match *step {
            Step::LoadBtf => self.load_btf(),
            Step::ResolveSymbols => self.resolve_symbols(),
            Step::CreateMap { map } => self.of_table_owner(map, |lowering| lowering.create_map(map)),
            Step::FillMap { map, flags } => self.of_table_owner(map, |lowering| lowering.fill_map(map, flags)),
            Step::FreezeMap { map } => self.of_table_owner(map, |lowering| lowering.freeze_map(map)),
            Step::InsertMap { outer, key, inner } => self.insert(outer, key, Loader::map_slot(inner)),
            Step::LoadProgram { program } => self.if_loaded(program, |lowering| lowering.load_program(program)),
            Step::InsertProgram { map, key, program } => {
                let slot = self.program_slot(program);
                self.if_loaded(program, |lowering| lowering.insert(map, key, slot))
            }
            // A program cannot make this request. The process makes it after the run, because it changes neither the
            // map nor what the program does.
            Step::BindMap { .. } => Ok(()),
            // `refused` reports plans with this step.
            Step::FillKconfig { .. } => Ok(()),
        }
    }

    fn load_btf(&mut self) -> Result<(), TableError> {
        let Some(bytes) = self.object.btf.and_then(|span| self.object.bytes(span)) else { return Ok(()) };
        let attr = Attr::new::<BtfLoad>(self.endian).word(offset_of!(BtfLoad, btf_size), length(bytes));
        let attr = self.table.data(attr.bytes())?;
        let bytes = self.table.data(bytes)?;
        self.table.point(field(attr, offset_of!(BtfLoad, btf)), bytes)?;
        let slot = self.slot(Loader::BTF_SLOT);
        self.table.request_with_log(Command::BTF_LOAD, attr, size_of::<BtfLoad>(), Some(slot))?;
        Ok(())
    }

    /// Adds steps that are executed only if a program is loaded.
    fn if_loaded(
        &mut self,
        program: u32,
        steps: impl FnOnce(&mut Self) -> Result<(), TableError>,
    ) -> Result<(), TableError> {
        match self.host.place(Setting::Autoload { program }) {
            Some(place) => self.unless_zero(place, steps),
            None => steps(self),
        }
    }

    /// Adds steps for a map, which are executed only if the program that owns it is loaded.
    fn of_table_owner(
        &mut self,
        map: u32,
        steps: impl FnOnce(&mut Self) -> Result<(), TableError>,
    ) -> Result<(), TableError> {
        match self.object.maps.get(map as usize).and_then(|map| map.jump_table) {
            Some(table) => self.if_loaded(table.program, steps),
            None => steps(self),
        }
    }

    /// Adds steps that are executed only if a u32 is not zero.
    fn unless_zero(
        &mut self,
        word: impl Into<super::table::Source>,
        steps: impl FnOnce(&mut Self) -> Result<(), TableError>,
    ) -> Result<(), TableError> {
        let end: Label = self.table.label();
        self.table.jump_if_equal(word, 0, end)?;
        steps(self)?;
        self.table.bind(end);
        Ok(())
    }

    /// Returns the place of a constant.
    fn constant(&mut self, bytes: &[u8]) -> Result<Place, TableError> {
        if let Some(place) = self.constants.get(bytes) {
            return Ok(*place);
        }
        let place = self.table.data(bytes)?;
        self.constants.insert(bytes.to_vec(), place);
        Ok(place)
    }

    /// Adds a step that writes the file descriptor in a slot to a field of a request.
    fn set_fd(&mut self, attr: Place, offset: usize, slot: Slot) -> Result<(), TableError> {
        self.table.copy(field(attr, offset), Copied::U32, slot).map(drop)
    }

    /// Returns the slot with this number. The slots of all maps and programs exist.
    fn slot(&self, number: u32) -> Slot {
        self.slots[number as usize]
    }

    fn map_slot(&self, map: u32) -> Slot {
        self.slot(Loader::map_slot(map))
    }

    fn program_slot(&self, program: u32) -> u32 {
        Loader::program_slot(length(&self.object.maps), program)
    }
}

/// Returns the place of a field of a request.
fn field(attr: Place, offset: usize) -> Place {
    attr.plus(u32::try_from(offset).unwrap_or(u32::MAX))
}

/// Returns the number of items for a request.
fn length<T>(items: &[T]) -> u32 {
    u32::try_from(items.len()).unwrap_or(u32::MAX)
}
