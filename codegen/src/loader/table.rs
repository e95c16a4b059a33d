//! A step table under construction: data, slots and steps, with all limits checked.
//!
//! The offsets of the data depend on the numbers of slots and steps, so places and slots are handles until
//! [`TableBuilder::finish`].

mod encode;

use std::fmt;

use crate::insn::Endian;
use skelgen_abi::loader::{self, Layout, header, op};
use skelgen_abi::uapi::Command;

/// A position in the data of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place(u32);

/// A slot for a file descriptor. It is 0 while it is empty. If a step fails, the loader program closes all file
/// descriptors in slots.
///
/// The slots are the array of file descriptors of programs (`fd_array`), so the index of a slot is the immediate of a
/// load with `BPF_PSEUDO_MAP_IDX`, and the offset of a call of a module's kfunc.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot(u32);

/// The index of a step, with which the runtime reports a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct StepIndex(u32);

/// The target of a jump: the step that is added next after [`TableBuilder::bind`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Label(usize);

/// A value that a step reads or a pointer refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A position in the data.
    Data(Place),
    /// A file descriptor. The target of a pointer can be slots, for `fd_array` and for values that are file
    /// descriptors.
    Slot(Slot),
    /// A field of the header.
    Header(HeaderField),
}

/// A field of the header that steps can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderField {
    /// i32: the result of the last request, lookup or copy: negative error number, or the return value.
    Result,
    /// u64: the pointer to the log buffer.
    LogBuffer,
    /// u32: the log level. [`Copied::U64`] copies the log size too.
    LogLevel,
    /// u32: the size of the log buffer.
    LogSize,
    /// u32: the index of the step whose request gets the log; 0 for no log.
    LogStep,
    /// u32: the offset of the end of the steps.
    End,
}

/// What a copy step copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Copied {
    /// Four bytes.
    U32,
    /// Eight bytes, which need to be aligned to four only.
    U64,
    /// Eight bytes, less significant half first, to the two immediates of the `ld_imm64` at the destination.
    Immediate,
}

/// A limit of the format that a table exceeds, or a mistake of the code that builds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TableError {
    /// The value is larger than [`loader::MAX_VALUE`].
    TooLarge {
        /// The size of the value in bytes.
        size: u64,
    },
    /// The steps, pointers and slots exceed [`loader::MAX_ITERATIONS`].
    TooManySteps {
        /// The number of steps, pointers and slots.
        count: usize,
    },
    /// The target of a jump is more than 65535 steps away.
    JumpTooFar {
        /// The step that jumps.
        step: StepIndex,
    },
    /// A label has no step, or a step before the jump.
    BadLabel {
        /// The step that jumps.
        step: StepIndex,
    },
    /// A place is outside the data, or not aligned for its use.
    BadPlace {
        /// The offset in the data.
        offset: u32,
    },
    /// A request or name is empty or too long.
    BadSize {
        /// The size in bytes.
        size: usize,
    },
    /// Two pointers share bytes.
    PointersOverlap {
        /// The offset of the second pointer in the data.
        offset: u32,
    },
}

/// A finished table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// The bytes of the map's value before its tail of zeros.
    pub bytes: Vec<u8>,
    /// The size of the map's value: `bytes` and the tail.
    pub value_size: u32,
    /// The numbers of slots and steps.
    pub layout: Layout,
}

/// A step table under construction.
///
/// Steps are executed in the order in which they are added. A step that fails ends the run, unless
/// [`on_error`](Self::on_error) sets a label for it.
#[derive(Debug)]
pub struct TableBuilder {
    endian: Endian,
    data: Vec<u8>,
    slots: u32,
    steps: Vec<Step>,
    pointers: Vec<(Place, Source)>,
    /// The step of each label that is bound.
    labels: Vec<Option<usize>>,
}

/// A step before offsets and jumps are known.
#[derive(Debug, Default)]
struct Step {
    op: u8,
    command: u8,
    jump: Option<Label>,
    at: Operand,
    size: u32,
    arg: Operand,
}

/// The field `at` or `arg` of a step.
#[derive(Debug, Default)]
enum Operand {
    /// The operation does not use the field.
    #[default]
    Unused,
    /// The offset of a value in the table.
    Offset(Source),
    /// An offset in the values that the process passes to the load.
    Host(u32),
}

impl<T: Into<Source>> From<T> for Operand {
    fn from(value: T) -> Self {
        Self::Offset(value.into())
    }
}

impl Table {
    /// Returns the offset of a place in the value.
    #[must_use]
    pub const fn offset(&self, place: Place) -> u32 {
        self.layout.data_at().saturating_add(place.0)
    }
}

impl TableBuilder {
    /// Creates an empty table for machines of a byte order.
    #[must_use]
    pub fn new(endian: Endian) -> Self {
        Self { endian, data: Vec::new(), slots: 0, steps: Vec::new(), pointers: Vec::new(), labels: Vec::new() }
    }

    /// Adds bytes to the data, aligned to eight bytes.
    ///
    /// # Errors
    /// `TooLarge` if the data is too large.
    pub fn data(&mut self, bytes: &[u8]) -> Result<Place, TableError> {
        let place = self.reserve(bytes.len())?;
        self.data[place.0 as usize..][..bytes.len()].copy_from_slice(bytes);
        Ok(place)
    }

    /// Adds zero bytes to the data, aligned to eight bytes.
    ///
    /// # Errors
    /// `TooLarge` if the data is too large.
    pub fn reserve(&mut self, size: usize) -> Result<Place, TableError> {
        let begin = self.data.len().next_multiple_of(8);
        let end = begin.saturating_add(size);
        if end > loader::MAX_VALUE as usize {
            return Err(TableError::TooLarge { size: end as u64 });
        }
        self.data.resize(end, 0);
        u32::try_from(begin).map(Place).map_err(|_| TableError::TooLarge { size: end as u64 })
    }

    /// Adds a slot, which is empty until a step sets it.
    pub fn slot(&mut self) -> Slot {
        let slot = Slot(self.slots);
        // `finish` rejects tables with more slots than iterations.
        self.slots = self.slots.saturating_add(1);
        slot
    }

    /// Makes the eight bytes at `field` the address of the target. The loader program writes it before the first step.
    ///
    /// # Errors
    /// `BadPlace` if the field is not in the data or not aligned to eight bytes, or if the target is not in the table.
    pub fn point(&mut self, field: Place, target: impl Into<Source>) -> Result<(), TableError> {
        self.check(field, 8, 8)?;
        let target = target.into();
        self.check_source(target, 0, 1)?;
        self.pointers.push((field, target));
        Ok(())
    }

    /// Adds a label. Bind it before the step that it refers to is added.
    pub fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() - 1)
    }

    /// Makes the label refer to the next step, or to the end of the load.
    pub fn bind(&mut self, label: Label) {
        let next = self.steps.len();
        if let Some(step) = self.labels.get_mut(label.0) {
            *step = Some(next);
        }
    }

    /// Makes a step continue at the label if it fails, instead of ending the run. [`HeaderField::Result`] then has the
    /// negative error number. A request that fails leaves its slot as it was; a lookup that fails leaves its place.
    pub fn on_error(&mut self, step: StepIndex, label: Label) {
        if let Some(step) = self.steps.get_mut(step.0 as usize) {
            step.jump = Some(label);
        }
    }

    /// Returns the index of the next step.
    #[must_use]
    pub fn next(&self) -> StepIndex {
        StepIndex(u32::try_from(self.steps.len()).unwrap_or(u32::MAX))
    }

    /// Adds a request: the command with the first `size` bytes at `attr`. If it returns a file descriptor, `slot` gets
    /// it; otherwise `slot` must be `None`.
    ///
    /// # Errors
    /// `BadSize` if the size is not 1 to 256; `BadPlace` if the request is not in the data.
    pub fn request(
        &mut self,
        command: Command,
        attr: Place,
        size: usize,
        slot: Option<Slot>,
    ) -> Result<StepIndex, TableError> {
        self.check(attr, size, 4)?;
        let command = u8::try_from(command.0).map_err(|_| TableError::BadSize { size })?;
        let size = stored_size(size, loader::MAX_REQUEST)?;
        let arg = slot.map_or(Operand::Unused, Operand::from);
        Ok(self.push(Step { op: op::REQUEST, command, at: attr.into(), size, arg, ..Step::default() }))
    }

    /// Adds a request to load a program or BTF like [`request`](Self::request), and steps before it that set the
    /// request's log fields if the run requests a log for it. Returns the step of the request.
    ///
    /// # Errors
    /// As for `request`; `BadSize` if the command has no log fields.
    pub fn request_with_log(
        &mut self,
        command: Command,
        attr: Place,
        size: usize,
        slot: Option<Slot>,
    ) -> Result<StepIndex, TableError> {
        use Copied::{U32, U64};
        use HeaderField::{LogBuffer, LogLevel, LogSize};
        let fields: &[(u32, Copied, HeaderField)] = match command {
            Command::PROG_LOAD => &[(24, U64, LogLevel), (32, U64, LogBuffer)],
            Command::BTF_LOAD => &[(8, U64, LogBuffer), (20, U32, LogSize), (24, U32, LogLevel)],
            _ => return Err(TableError::BadSize { size }),
        };
        let label = self.label();
        let before = u32::try_from(fields.len() + 1).unwrap_or(0);
        let request = self.next().0.saturating_add(before);
        self.jump_if_not_equal(HeaderField::LogStep, request, label)?;
        for &(offset, copied, field) in fields {
            self.copy(attr.plus(offset), copied, field)?;
        }
        self.bind(label);
        self.request(command, attr, size, slot)
    }

    /// Adds a copy to the data: of a file descriptor, of the result of a lookup, or of other data.
    ///
    /// # Errors
    /// `BadPlace` if the source or destination is not in the data or not aligned to four bytes.
    pub fn copy(&mut self, to: Place, copied: Copied, from: impl Into<Source>) -> Result<StepIndex, TableError> {
        let (to, read, written, distance) = match copied {
            Copied::U32 => (to, 4, 4, 0),
            Copied::U64 => (to, 8, 8, 4),
            Copied::Immediate => (to.plus(4), 8, 12, 8),
        };
        self.check(to, written, 4)?;
        let from = from.into();
        self.check_source(from, read, 4)?;
        let (at, arg) = (to.into(), from.into());
        Ok(self.push(Step { op: op::COPY, at, size: distance, arg, ..Step::default() }))
    }

    /// Adds copies of `size` bytes from the values that the process passes to the load, at most [`loader::MAX_COPY`]
    /// bytes in each step. `offset` is the position in these values. Returns the first step.
    ///
    /// # Errors
    /// `BadSize` if the size is 0; `BadPlace` if the destination is not in the data.
    pub fn copy_from_host(&mut self, to: Place, size: usize, offset: u32) -> Result<StepIndex, TableError> {
        self.check(to, size, 4)?;
        if size == 0 {
            return Err(TableError::BadSize { size });
        }
        let first = self.next();
        let (mut done, mut rest) = (0, size);
        while rest > 0 {
            let part = rest.min(loader::MAX_COPY as usize);
            let size = stored_size(part, loader::MAX_COPY)?;
            let (at, arg) = (to.plus(done).into(), Operand::Host(offset.saturating_add(done)));
            self.push(Step { op: op::COPY_FROM_HOST, at, size, arg, ..Step::default() });
            done = done.saturating_add(size).saturating_add(1);
            rest -= part;
        }
        Ok(first)
    }

    /// Adds a lookup of a kernel type by name and kind (a number of `BTF_KIND_*`). The place gets the BTF id, a u32.
    /// If the type is one of a module, the slot gets a file descriptor of the module's BTF; otherwise it is unchanged.
    ///
    /// # Errors
    /// `BadSize` if the name is empty or longer than 255 bytes.
    pub fn find_type(&mut self, name: &str, kind: u8, btf: Slot) -> Result<(StepIndex, Place), TableError> {
        let (at, size) = self.name(name)?;
        let step = Step { op: op::FIND_TYPE, command: kind, at: at.into(), size, arg: btf.into(), ..Step::default() };
        Ok((self.push(step), at))
    }

    /// Adds a lookup of a kernel symbol's address. The place gets two u32: the less significant half, then the other,
    /// as [`Copied::Immediate`] reads them.
    ///
    /// # Errors
    /// `BadSize` if the name is empty or longer than 255 bytes.
    pub fn find_symbol(&mut self, name: &str) -> Result<(StepIndex, Place), TableError> {
        let (at, size) = self.name(name)?;
        let step = Step { op: op::FIND_SYMBOL, at: at.into(), size, ..Step::default() };
        Ok((self.push(step), at))
    }

    /// Adds a jump that is taken if a u32 has this value.
    ///
    /// # Errors
    /// `BadPlace` if the u32 is not in the data or not aligned.
    pub fn jump_if_equal(&mut self, at: impl Into<Source>, value: u32, to: Label) -> Result<StepIndex, TableError> {
        self.jump_if(op::JUMP_IF_EQUAL, at.into(), value, to)
    }

    /// Adds a jump that is taken unless a u32 has this value.
    ///
    /// # Errors
    /// `BadPlace` if the u32 is not in the data or not aligned.
    pub fn jump_if_not_equal(&mut self, at: impl Into<Source>, value: u32, to: Label) -> Result<StepIndex, TableError> {
        self.jump_if(op::JUMP_IF_NOT_EQUAL, at.into(), value, to)
    }

    /// Adds a jump that is always taken.
    pub fn jump(&mut self, to: Label) -> StepIndex {
        // The steps do not end at offset 0.
        let at = HeaderField::End.into();
        self.push(Step { op: op::JUMP_IF_NOT_EQUAL, jump: Some(to), at, ..Step::default() })
    }

    /// Adds a step that closes the file descriptor in a slot, if it has one, and empties the slot.
    pub fn close(&mut self, slot: Slot) -> StepIndex {
        self.push(Step { op: op::CLOSE, arg: slot.into(), ..Step::default() })
    }

    /// Adds a step that ends the run with this error number.
    pub fn fail(&mut self, errno: u32) -> StepIndex {
        self.push(Step { op: op::FAIL, size: errno, ..Step::default() })
    }

    /// Finishes the table.
    ///
    /// # Errors
    /// The error names the limit that the table exceeds, or the step whose label is wrong.
    pub fn finish(self) -> Result<Table, TableError> {
        encode::encode(&self)
    }

    fn jump_if(&mut self, op: u8, at: Source, value: u32, to: Label) -> Result<StepIndex, TableError> {
        self.check_source(at, 4, 4)?;
        Ok(self.push(Step { op, jump: Some(to), at: at.into(), size: value, ..Step::default() }))
    }

    fn push(&mut self, step: Step) -> StepIndex {
        let index = self.next();
        self.steps.push(step);
        index
    }

    /// Adds a name with its terminating NUL, and with at least the eight bytes that the result of its lookup needs.
    fn name(&mut self, name: &str) -> Result<(Place, u32), TableError> {
        let size = name.len() + 1;
        if name.is_empty() || name.contains('\0') {
            return Err(TableError::BadSize { size });
        }
        let stored = stored_size(size, loader::MAX_REQUEST)?;
        let place = self.reserve(size.max(8))?;
        self.data[place.0 as usize..][..name.len()].copy_from_slice(name.as_bytes());
        Ok((place, stored))
    }

    fn check_source(&self, source: Source, size: usize, align: u32) -> Result<(), TableError> {
        match source {
            Source::Data(place) => self.check(place, size, align),
            Source::Slot(slot) if slot.0 >= self.slots => Err(TableError::BadPlace { offset: slot.0 }),
            // Slots are aligned to four bytes, and fields of the header to their size.
            Source::Slot(_) | Source::Header(_) => Ok(()),
        }
    }

    /// Checks that bytes are in the data and aligned.
    fn check(&self, place: Place, size: usize, align: u32) -> Result<(), TableError> {
        let is_inside = (place.0 as usize).checked_add(size).is_some_and(|end| end <= self.data.len());
        if is_inside && place.0 % align == 0 { Ok(()) } else { Err(TableError::BadPlace { offset: place.0 }) }
    }
}

/// Returns a size as steps store it: less one, so that the loader program needs no branch to exclude 0.
fn stored_size(size: usize, most: u32) -> Result<u32, TableError> {
    let stored = size.checked_sub(1).and_then(|size| u32::try_from(size).ok());
    stored.filter(|&stored| stored < most).ok_or(TableError::BadSize { size })
}

impl Place {
    /// Returns the place a number of bytes after this one.
    #[must_use]
    pub const fn plus(self, bytes: u32) -> Self {
        Self(self.0.saturating_add(bytes))
    }
}

impl Slot {
    /// Returns the index of the slot, which instructions contain.
    #[must_use]
    pub const fn index(self) -> u32 {
        self.0
    }
}

impl StepIndex {
    /// Returns the number of steps before this one.
    #[must_use]
    pub const fn index(self) -> u32 {
        self.0
    }

    /// Returns the step after this one, for requests and copies that are several steps.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl HeaderField {
    const fn offset(self) -> u32 {
        match self {
            Self::Result => header::RESULT,
            Self::LogBuffer => header::LOG_BUFFER,
            Self::LogLevel => header::LOG_LEVEL,
            Self::LogSize => header::LOG_SIZE,
            Self::LogStep => header::LOG_STEP,
            Self::End => header::END,
        }
    }
}

impl From<Place> for Source {
    fn from(place: Place) -> Self {
        Self::Data(place)
    }
}

impl From<Slot> for Source {
    fn from(slot: Slot) -> Self {
        Self::Slot(slot)
    }
}

impl From<HeaderField> for Source {
    fn from(field: HeaderField) -> Self {
        Self::Header(field)
    }
}

impl fmt::Display for TableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { size } => {
                write!(f, "step table has {size} bytes, but the limit is {} bytes", loader::MAX_VALUE)
            }
            Self::TooManySteps { count } => write!(
                f,
                "step table has {count} steps, pointers and file descriptors, but the limit is {}",
                loader::MAX_ITERATIONS
            ),
            Self::JumpTooFar { step } => {
                write!(f, "target of the jump of step {} is more than {} steps away", step.0, u16::MAX)
            }
            Self::BadLabel { step } => write!(f, "label of step {} does not refer to a later step", step.0),
            Self::BadPlace { offset } => write!(f, "offset {offset} is outside the step table's data or misaligned"),
            Self::BadSize { size } => write!(f, "request or name of {size} bytes does not fit in a step"),
            Self::PointersOverlap { offset } => write!(f, "pointer at offset {offset} overlaps another pointer"),
        }
    }
}

impl std::error::Error for TableError {}

#[cfg(test)]
mod tests;
