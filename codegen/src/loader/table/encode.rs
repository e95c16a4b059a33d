//! The bytes of a finished table.

use super::{Operand, Place, Source, Step, StepIndex, Table, TableBuilder, TableError};
use crate::insn::Endian;
use skelgen_abi::loader::{self, Layout, header};

/// Encodes a table and checks the limits of the format.
pub(super) fn encode(builder: &TableBuilder) -> Result<Table, TableError> {
    let count = builder.steps.len() + builder.pointers.len() + builder.slots as usize;
    if count > loader::MAX_ITERATIONS {
        return Err(TableError::TooManySteps { count });
    }
    let steps = u32::try_from(builder.steps.len()).map_err(|_| TableError::TooManySteps { count })?;
    let layout = Layout { slots: builder.slots, steps };
    let size = u64::from(layout.data_at()) + builder.data.len().next_multiple_of(8) as u64;
    let value_size = size + u64::from(loader::TAIL);
    let too_large = TableError::TooLarge { size: value_size };
    let value_size = u32::try_from(value_size).ok().filter(|&size| size <= loader::MAX_VALUE).ok_or(too_large)?;
    let mut encoder = Encoder { endian: builder.endian, layout, bytes: vec![0; layout.data_at() as usize] };
    encoder.bytes.extend_from_slice(&builder.data);
    encoder.bytes.resize(encoder.bytes.len().next_multiple_of(8), 0);
    encoder.word(header::NEXT, layout.steps_at());
    encoder.word(header::END, layout.data_at());
    encoder.word(header::SLOTS_END, layout.slot_at(layout.slots));
    for (index, step) in (0..).zip(&builder.steps) {
        if let Operand::Host(offset) = step.arg {
            // The loader program rejects larger offsets, as in the table.
            let is_small = offset <= value_size - loader::TAIL;
            is_small.then_some(()).ok_or(TableError::BadPlace { offset })?;
        }
        let jump = jump(builder, StepIndex(index), step)?;
        encoder.step(layout.steps_at() + index * loader::STEP_SIZE, step, jump);
    }
    encoder.pointers(&builder.pointers)?;
    Ok(Table { bytes: encoder.bytes, value_size, layout })
}

/// Returns the distance of a step's jump in steps; 0 if the step does not jump.
fn jump(builder: &TableBuilder, index: StepIndex, step: &Step) -> Result<u16, TableError> {
    let Some(label) = step.jump else { return Ok(0) };
    let bound = builder.labels.get(label.0).copied().flatten();
    let distance = bound.and_then(|to| to.checked_sub(index.0 as usize)).filter(|&distance| distance > 0);
    let distance = distance.ok_or(TableError::BadLabel { step: index })?;
    u16::try_from(distance).map_err(|_| TableError::JumpTooFar { step: index })
}

/// The bytes of a table and what determines them.
struct Encoder {
    endian: Endian,
    layout: Layout,
    bytes: Vec<u8>,
}

impl Encoder {
    fn step(&mut self, at: u32, step: &Step, jump: u16) {
        let jump = match self.endian {
            Endian::Little => jump.to_le_bytes(),
            Endian::Big => jump.to_be_bytes(),
        };
        self.bytes[at as usize..][..4].copy_from_slice(&[step.op, step.command, jump[0], jump[1]]);
        self.word(at + 4, self.operand(&step.at));
        self.word(at + 8, step.size);
        self.word(at + 12, self.operand(&step.arg));
    }

    /// Chains the pointers: each has the offset of its target in its less significant half, and the offset of the next
    /// pointer in the other.
    fn pointers(&mut self, pointers: &[(Place, Source)]) -> Result<(), TableError> {
        let mut pointers = pointers.to_vec();
        pointers.sort_by_key(|(field, _)| *field);
        if let Some(pair) = pointers.windows(2).find(|pair| pair[0].0.plus(8) > pair[1].0) {
            return Err(TableError::PointersOverlap { offset: pair[1].0.0 });
        }
        let mut next = 0;
        for &(field, target) in pointers.iter().rev() {
            let field = self.offset(field.into());
            let (target, following) = (self.offset(target), next);
            let halves = match self.endian {
                Endian::Little => [target, following],
                Endian::Big => [following, target],
            };
            self.word(field, halves[0]);
            self.word(field + 4, halves[1]);
            next = field;
        }
        self.word(header::POINTERS, next);
        Ok(())
    }

    fn operand(&self, operand: &Operand) -> u32 {
        match *operand {
            Operand::Unused => 0,
            Operand::Offset(source) => self.offset(source),
            Operand::Host(offset) => offset,
        }
    }

    /// Returns the offset of a value in the table.
    fn offset(&self, source: Source) -> u32 {
        match source {
            Source::Data(place) => self.layout.data_at() + place.0,
            Source::Slot(slot) => self.layout.slot_at(slot.0),
            Source::Header(field) => field.offset(),
        }
    }

    fn word(&mut self, at: u32, value: u32) {
        self.bytes[at as usize..][..4].copy_from_slice(&self.endian.to_bytes(value));
    }
}
