//! Executes a step table as the loader program does, with a kernel that the caller imitates.
//!
//! It reads the bytes of a finished table by the format of [`skelgen_abi::loader`], and shares no code with the builder.

use std::collections::BTreeMap;

use skelgen_abi::loader::{self, Layout, header, op};

use crate::insn::Endian;
use crate::loader::Table;

/// What steps ask the kernel for.
pub(super) trait Kernel {
    /// Makes a request with the command and the bytes of `attr`; returns a file descriptor or 0, or a negative error number.
    fn request(&mut self, machine: &Machine, command: u8, attr: u32, size: u32) -> Result<i32, String>;
    /// Finds a type or, with kind 0, a symbol; returns its id or address and the file descriptor of its module.
    fn find(&mut self, name: &str, kind: u8) -> Result<Option<(u64, u32)>, String>;
    /// Returns bytes of the values that the process passes.
    fn read(&mut self, offset: u32, size: u32) -> Result<Vec<u8>, String>;
    /// Closes a file descriptor.
    fn close(&mut self, fd: u32) -> Result<(), String>;
}

/// A table that is executed.
pub(super) struct Machine {
    bytes: Vec<u8>,
    layout: Layout,
    endian: Endian,
    /// The offset of the target of each pointer, by the offset of the pointer.
    pointers: BTreeMap<u32, u32>,
    /// Whether each request that can have a log gets one.
    logs: bool,
}

/// The result of a lookup that finds nothing.
const ENOENT: u32 = u32::from_ne_bytes((-2_i32).to_ne_bytes());

/// The log fields of requests that get a log.
pub(super) const LOG: (u64, u32, u32) = (0x4000_0000, 3, 4096);

impl Machine {
    /// Reads a table.
    pub(super) fn new(table: &Table, endian: Endian, logs: bool) -> Result<Self, String> {
        let layout = table.layout;
        let mut machine = Self { bytes: table.bytes.clone(), layout, endian, pointers: BTreeMap::new(), logs };
        for at in (0..layout.steps_at()).step_by(4) {
            let expected = match at {
                header::NEXT => layout.steps_at(),
                header::END => layout.data_at(),
                header::SLOTS_END => layout.slot_at(layout.slots),
                header::POINTERS => continue,
                _ => 0,
            };
            if machine.word(at)? != expected {
                return Err(format!("the word at {at} before the steps is not {expected}"));
            }
        }
        let mut field = machine.word(header::POINTERS)?;
        while field != 0 {
            let (target, next) = machine.halves(field)?;
            if machine.pointers.insert(field, target).is_some() {
                return Err(format!("the pointer at {field} is twice in the chain"));
            }
            field = next;
        }
        let (buffer, level, size) = LOG;
        machine.set_wide(header::LOG_BUFFER, buffer)?;
        machine.set_word(header::LOG_LEVEL, level)?;
        machine.set_word(header::LOG_SIZE, size)?;
        Ok(machine)
    }

    /// Executes all steps.
    pub(super) fn run(&mut self, kernel: &mut impl Kernel) -> Result<(), String> {
        let mut at = self.layout.steps_at();
        while at < self.layout.data_at() {
            let step = self.layout.step(at).unwrap_or(u32::MAX);
            let jump = self.step(at, kernel).map_err(|error| format!("step {step}: {error}"))?;
            at += loader::STEP_SIZE * jump.max(1);
        }
        Ok(())
    }

    /// Executes a step, and returns the distance to the next one, or 0 for the step that follows.
    fn step(&mut self, at: u32, kernel: &mut impl Kernel) -> Result<u32, String> {
        let [op, command] = *self.array(at)?;
        let jump = match self.endian {
            Endian::Little => u16::from_le_bytes(*self.array(at + 2)?),
            Endian::Big => u16::from_be_bytes(*self.array(at + 2)?),
        };
        let (place, size, arg) = (self.word(at + 4)?, self.word(at + 8)?, self.word(at + 12)?);
        let jump = u32::from(jump);
        let failed = || if jump == 0 { Err("fails, and nothing handles it".to_owned()) } else { Ok(jump) };
        match op {
            op::REQUEST => {
                let fd = kernel.request(self, command, place, size + 1)?;
                self.set_word(header::RESULT, u32::from_ne_bytes(fd.to_ne_bytes()))?;
                match u32::try_from(fd) {
                    Err(_) => return failed(),
                    Ok(fd) if arg != 0 => self.set_word(arg, fd)?,
                    Ok(_) => {}
                }
            }
            op::COPY => {
                let low = self.word(arg)?;
                let high = if size == 0 { None } else { Some(self.word(arg + 4)?) };
                self.set_word(place, low)?;
                high.map_or(Ok(()), |high| self.set_word(place + size, high))?;
            }
            op::COPY_FROM_HOST => {
                let bytes = kernel.read(arg, size + 1)?;
                self.range_mut(place, bytes.len())?.copy_from_slice(&bytes);
            }
            op::FIND_TYPE | op::FIND_SYMBOL => {
                let name = self.range(place, size as usize)?;
                let name = std::str::from_utf8(name).map_err(|_| "the name is not text")?.to_owned();
                if self.range(place + size, 1)? != [0] {
                    return Err(format!("name `{name}` does not end with NUL"));
                }
                let kind = if op == op::FIND_TYPE { command } else { 0 };
                let Some((found, module)) = kernel.find(&name, kind)? else {
                    self.set_word(header::RESULT, ENOENT)?;
                    return failed();
                };
                let [low, high] = [found & u64::from(u32::MAX), found >> 32].map(|half| half as u32);
                self.set_word(place, low)?;
                match op == op::FIND_TYPE {
                    true if module != 0 => self.set_word(arg, module)?,
                    true => {}
                    false => self.set_word(place + 4, high)?,
                }
            }
            op::JUMP_IF_EQUAL => return Ok(if self.word(place)? == size { jump } else { 0 }),
            op::JUMP_IF_NOT_EQUAL if place == header::LOG_STEP => {
                if self.layout.step(at).and_then(|step| step.checked_add(jump)) != Some(size) {
                    return Err("sets the log of another step than the one that it continues with".to_owned());
                }
                return Ok(if self.logs { 0 } else { jump });
            }
            op::JUMP_IF_NOT_EQUAL => return Ok(if self.word(place)? == size { 0 } else { jump }),
            op::CLOSE => {
                let fd = self.word(arg)?;
                if fd != 0 {
                    kernel.close(fd)?;
                }
                self.set_word(arg, 0)?;
            }
            _ => return Err(format!("has operation {op}")),
        }
        Ok(0)
    }

    /// Returns the file descriptor in a slot.
    pub(super) fn fd(&self, slot: u32) -> Result<u32, String> {
        if slot >= self.layout.slots {
            return Err(format!("there is no slot {slot}"));
        }
        self.word(self.layout.slot_at(slot))
    }

    /// Returns the offset of the first slot, which programs get as their array of file descriptors.
    pub(super) fn slots_at(&self) -> u32 {
        self.layout.slot_at(0)
    }

    /// Returns the target of a pointer.
    pub(super) fn target(&self, pointer: u32) -> Result<u32, String> {
        self.pointers.get(&pointer).copied().ok_or_else(|| format!("there is no pointer at {pointer}"))
    }

    /// Returns a range of the table.
    pub(super) fn range(&self, at: u32, len: usize) -> Result<&[u8], String> {
        let range = self.bytes.get(at as usize..).and_then(|rest| rest.get(..len));
        range.ok_or_else(|| format!("{len} bytes at {at} are not in the table"))
    }

    /// Returns the u32 at an offset.
    pub(super) fn word(&self, at: u32) -> Result<u32, String> {
        Ok(self.endian.u32(*self.array(at)?))
    }

    /// Returns the u64 at an offset.
    pub(super) fn wide(&self, at: u32) -> Result<u64, String> {
        Ok(self.endian.u64(*self.array(at)?))
    }

    /// Returns the less and the more significant half of the u64 at an offset.
    fn halves(&self, at: u32) -> Result<(u32, u32), String> {
        let wide = self.wide(at)?;
        Ok((wide as u32, (wide >> 32) as u32))
    }

    fn array<const N: usize>(&self, at: u32) -> Result<&[u8; N], String> {
        self.range(at, N)?.first_chunk().ok_or_else(|| format!("{N} bytes at {at} are not in the table"))
    }

    fn range_mut(&mut self, at: u32, len: usize) -> Result<&mut [u8], String> {
        let range = self.bytes.get_mut(at as usize..).and_then(|rest| rest.get_mut(..len));
        range.ok_or_else(|| format!("{len} bytes at {at} are not in the table"))
    }

    fn set_word(&mut self, at: u32, value: u32) -> Result<(), String> {
        let bytes = self.endian.to_bytes(value);
        self.range_mut(at, 4).map(|to| to.copy_from_slice(&bytes))
    }

    fn set_wide(&mut self, at: u32, value: u64) -> Result<(), String> {
        let bytes = match self.endian {
            Endian::Little => value.to_le_bytes(),
            Endian::Big => value.to_be_bytes(),
        };
        self.range_mut(at, 8).map(|to| to.copy_from_slice(&bytes))
    }
}
