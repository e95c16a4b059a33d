//! A recorded bpf() call, and its `Display`.
//!
//! This module does not depend on the recorder.

use std::fmt;

use crate::error::Errno;
use crate::escape::Line;
use crate::uapi::{AttachType, Command, MapType, ProgramType};

/// One bpf() call.
///
/// The `Display` of a call is one line without pointers, file descriptors and times, so that it is the same on all
/// kernels that return the same result.
///
/// ```no_run
/// use skelgen_runtime::{record, uapi::Command};
///
/// let ((), calls) = record::calls(|| { /* load something */ });
/// let updates = calls.iter().filter(|call| call.command == Command::MAP_UPDATE_ELEM);
/// println!("{} elements were written", updates.count());
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Call {
    /// The command.
    pub command: Command,
    /// The request as it was made: the beginning of `union bpf_attr`, with its pointers and file descriptors.
    pub attr: Vec<u8>,
    /// The map of an element operation.
    pub map: Option<MapOf>,
    /// The memory that the request pointed to.
    pub buffers: Vec<Buffer>,
    /// The kernel's return value: a file descriptor if the command creates one, otherwise usually 0.
    pub result: Result<i32, Errno>,
    /// The duration of the call.
    pub nanoseconds: u64,
    /// The id of the map that the call created.
    pub(crate) created: Option<u32>,
}

/// The map of an element operation.
///
/// ```no_run
/// let (result, calls) = skelgen_runtime::record::calls(|| { /* use a map */ });
/// for map in calls.iter().filter_map(|call| call.map.as_ref()) {
///     println!("{}: keys of {} bytes", map.name, map.key_len);
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MapOf {
    /// The map's name in the kernel.
    pub name: String,
    /// The map's id in the kernel.
    pub id: u32,
    /// The size of a key in bytes.
    pub key_len: usize,
    /// The size in bytes of the value that the request reads or writes. Without a CPU flag, this is the size of the values of all CPUs for
    /// a percpu map.
    pub value_len: usize,
}

/// Memory that a request pointed to.
///
/// ```no_run
/// let (result, calls) = skelgen_runtime::record::whole(|| { /* load something */ });
/// let licenses = calls.iter().filter_map(|call| call.buffer("license"));
/// for license in licenses {
///     println!("{} bytes: {:?}", license.len, license.bytes);
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Buffer {
    /// The name of the field: `insns`, `license`, `value`.
    pub field: &'static str,
    /// The offset of the pointer to this memory in the request.
    pub offset: usize,
    /// The number of bytes that the kernel reads or writes.
    pub len: usize,
    /// The bytes, if contents are recorded and the kernel reads them.
    pub bytes: Option<Vec<u8>>,
}

impl Call {
    /// Returns a 32-bit field of the request, 0 beyond its end.
    #[must_use]
    pub fn u32_at(&self, offset: usize) -> u32 {
        self.attr.get(offset..).and_then(|rest| rest.first_chunk()).map_or(0, |&bytes| u32::from_ne_bytes(bytes))
    }

    /// Returns a 64-bit field of the request, 0 beyond its end.
    #[must_use]
    pub fn u64_at(&self, offset: usize) -> u64 {
        self.attr.get(offset..).and_then(|rest| rest.first_chunk()).map_or(0, |&bytes| u64::from_ne_bytes(bytes))
    }

    /// Returns the flags of an element operation, map or program; 0 for other commands.
    #[must_use]
    pub fn flags(&self) -> u64 {
        match self.command {
            Command::MAP_CREATE => u64::from(self.u32_at(16)),
            Command::PROG_LOAD => u64::from(self.u32_at(44)),
            Command::MAP_UPDATE_ELEM | Command::MAP_LOOKUP_ELEM => self.u64_at(24),
            _ => 0,
        }
    }

    /// Returns the buffer of this name.
    #[must_use]
    pub fn buffer(&self, field: &str) -> Option<&Buffer> {
        self.buffers.iter().find(|buffer| buffer.field == field)
    }

    /// Returns the offsets of the file descriptors in the request, including unset ones (0). Code that repeats the call
    /// replaces the file descriptors at these offsets.
    #[must_use]
    pub fn fd_offsets(&self) -> &'static [usize] {
        match self.command {
            Command::MAP_CREATE => &[20, 48, 72, 76],
            Command::PROG_LOAD => &[72, 112, 144],
            Command::BTF_LOAD => &[36],
            Command::OBJ_PIN => &[8, 16],
            Command::RAW_TRACEPOINT_OPEN => &[8],
            Command::LINK_CREATE | Command::PROG_BIND_MAP | Command::PROG_ASSOC_STRUCT_OPS => &[0, 4],
            Command::OBJ_GET => &[16],
            Command::ENABLE_STATS | Command::TASK_FD_QUERY => &[],
            Command::PROG_GET_NEXT_ID | Command::MAP_GET_NEXT_ID | Command::LINK_GET_NEXT_ID => &[],
            Command::PROG_GET_FD_BY_ID | Command::MAP_GET_FD_BY_ID | Command::LINK_GET_FD_BY_ID => &[],
            Command::BTF_GET_NEXT_ID | Command::BTF_GET_FD_BY_ID => &[],
            _ => &[0],
        }
    }

    /// Returns the name of the map or program in the request, which begins at `offset`.
    fn name(&self, offset: usize) -> String {
        let field = self.attr.get(offset..offset + 16).unwrap_or_default();
        let end = field.iter().position(|&byte| byte == 0).unwrap_or(field.len());
        String::from_utf8_lossy(&field[..end]).into_owned()
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.command)?;
        match self.command {
            Command::MAP_CREATE => {
                write!(f, " name={} type={}", Line(self.name(28)), MapType(self.u32_at(0)))?;
                let (key, value, entries) = (self.u32_at(4), self.u32_at(8), self.u32_at(12));
                write!(f, " key={key} value={value} entries={entries}")?;
                write!(f, " flags={} btf={}:{}", self.flags(), self.u32_at(52), self.u32_at(56))?;
            }
            Command::PROG_LOAD => {
                write!(f, " name={} type={}", Line(self.name(48)), ProgramType(self.u32_at(0)))?;
                let (expected, flags) = (AttachType(self.u32_at(68)), self.flags());
                write!(f, " expected={expected} flags={flags} log_level={}", self.u32_at(24))?;
            }
            Command::LINK_CREATE => write!(f, " type={}", AttachType(self.u32_at(8)))?,
            _ => {}
        }
        if let Some(map) = &self.map {
            write!(f, " map={}", Line(&map.name))?;
            if self.command != Command::MAP_FREEZE {
                write!(f, " flags={}", self.flags())?;
            }
        }
        for buffer in &self.buffers {
            write!(f, " {}={} bytes", buffer.field, buffer.len)?;
        }
        match self.result {
            Ok(_) => Ok(()),
            Err(error) => write!(f, " -> {}", error.name().unwrap_or("error")),
        }
    }
}
