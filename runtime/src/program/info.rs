//! Information that the kernel reports about a program.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use super::Program;
use crate::btf::Types;
use crate::error::{Errno, Error, Result, Step, Subject};
use crate::sys::prog::{Description, Parts, ProgInfo, describe};
use crate::sys::{self, ids::OffloadDevice};
use crate::uapi::{OBJ_NAME_MAX, ProgramType};

/// A program as the kernel reports it, returned by [`Program::info`].
///
/// A field is `None` if the program does not have it, the kernel does not report it to this process, or the kernel is
/// older than the Linux version that the field names. Fields without a version are reported by every supported kernel.
///
/// ```no_run
/// # fn f(program: &skelgen_runtime::Program) -> skelgen_runtime::Result<()> {
/// let statistics = skelgen_runtime::system::enable_run_statistics()?;
/// std::thread::sleep(std::time::Duration::from_secs(1));
/// let info = program.info()?;
/// println!("{}: {} ran {} times for {:?}", info.id, info.name, info.run_count, info.run_time);
/// # drop(statistics);
/// # Ok(())
/// # }
/// ```
///
/// ```
/// use skelgen_runtime::{Program, ProgramTag};
///
/// /// Pins a program if it was loaded, and prints what the kernel made of it.
/// fn keep(program: &Program) -> skelgen_runtime::Result<()> {
///     if let Some(error) = program.load_error() {
///         eprintln!("not loaded: {error}");
///         return Ok(());
///     }
///     let info = program.info()?;
///     assert_eq!(info.tag, ProgramTag::from_bytes(info.tag.to_bytes()));
///     println!("{:?} instructions, {} bytes", info.instructions(), program.translated()?.len());
///     println!("{}", program.verifier_log().unwrap_or_default());
///     program.pin("/sys/fs/bpf/kept")
/// }
///
/// fn give(program: Program) -> Option<std::os::fd::OwnedFd> {
///     program.into_fd()
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProgramInfo {
    /// The program's id, which no other loaded program has. The kernel can reuse the id after the program is unloaded.
    pub id: u32,
    /// The program's type.
    pub program_type: ProgramType,
    /// The program's name. The kernel stores at most 15 bytes. For a longer name, this is the name of the program's
    /// function in its BTF if this process may read the BTF (`CAP_SYS_ADMIN`), or else the first 15 bytes. Empty if the
    /// program has no name.
    pub name: String,
    /// The tag of the program's instructions.
    pub tag: ProgramTag,
    /// The time of the load, since the system was booted, including the time that the system was suspended
    /// (`CLOCK_BOOTTIME`).
    pub load_time: Duration,
    /// The id of the user that loaded the program, in this process's user namespace.
    pub uid: u32,
    /// Whether the program's license is compatible with the GPL, so that the program may call GPL-only helpers.
    pub gpl_compatible: bool,
    /// The ids of the maps that the program uses or that are bound to it.
    pub map_ids: Vec<u32>,
    /// The id of the BTF that the program was loaded with.
    pub btf_id: Option<u32>,
    /// The size of the program's instructions after verification, in bytes: see [`Program::translated`]. Requires
    /// `CAP_BPF`.
    pub translated_len: Option<u32>,
    /// The size of the program's machine code, in bytes; `None` if the kernel interprets the program. Requires
    /// `CAP_BPF`.
    pub jited_len: Option<u32>,
    /// The number of instructions that the verifier processed to verify it (Linux 5.16). An instruction on several
    /// paths counts once for each path.
    pub verified_instructions: Option<u32>,
    /// The number of runs of the program while statistics were enabled:
    /// [`system::enable_run_statistics`](crate::system::enable_run_statistics).
    pub run_count: u64,
    /// The total duration of the program's runs while statistics were enabled.
    pub run_time: Duration,
    /// The number of times that the program did not run because it was already running on the same CPU (Linux 5.12).
    /// Counted for tracing programs and probes, with statistics enabled or not.
    pub recursion_misses: Option<u64>,
    /// The id of the BTF object with the type that the program was loaded for: that of the kernel, a module or another
    /// program (Linux 6.0). Requires `CAP_BPF`.
    pub attach_btf_object_id: Option<u32>,
    /// The id of the type that the program was loaded for, in that BTF object: a function, or the type of a tracepoint
    /// (Linux 6.0). Requires `CAP_BPF`.
    pub attach_btf_type_id: Option<u32>,
    /// The network device that the program is offloaded to.
    pub offload: Option<OffloadDevice>,
}

impl ProgramInfo {
    /// Returns the number of instructions after verification, in slots of eight bytes. A 64-bit immediate load has two
    /// slots.
    #[must_use]
    pub fn instructions(&self) -> Option<u32> {
        self.translated_len.map(|bytes| bytes / 8)
    }

    /// Reads the description of a program.
    pub(crate) fn of(program: BorrowedFd<'_>) -> Result<Self, Errno> {
        let found = describe(program, Parts { map_ids: true, functions: true, ..Parts::default() })?;
        let name = name(&found)?;
        let info = found.info;
        let unless_zero = |number: u32| (number != 0).then_some(number);
        let knows = |end| found.knows(end);
        Ok(Self {
            id: info.id,
            program_type: ProgramType(info.prog_type),
            name,
            tag: ProgramTag(info.tag),
            load_time: Duration::from_nanos(info.load_time),
            uid: info.created_by_uid,
            gpl_compatible: info.gpl_compatible != 0,
            btf_id: unless_zero(info.btf_id),
            translated_len: unless_zero(info.xlated_prog_len),
            jited_len: unless_zero(info.jited_prog_len),
            verified_instructions: unless_zero(info.verified_insns),
            run_count: info.run_cnt,
            run_time: Duration::from_nanos(info.run_time_ns),
            recursion_misses: knows(std::mem::offset_of!(ProgInfo, verified_insns)).then_some(info.recursion_misses),
            attach_btf_object_id: unless_zero(info.attach_btf_obj_id),
            attach_btf_type_id: unless_zero(info.attach_btf_id),
            offload: OffloadDevice::of(info.ifindex, info.netns_dev, info.netns_ino),
            map_ids: found.map_ids,
        })
    }
}

/// The tag of a program or function: the first eight bytes of a hash of its instructions, which does not depend on the
/// ids of maps. Its `Display` is the hexadecimal number that `bpftool` and `/proc/PID/fdinfo` show.
///
/// ```no_run
/// # fn f(program: &skelgen_runtime::Program) -> skelgen_runtime::Result<()> {
/// println!("{}", program.tag()?); // a04f5eef06a7f555
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProgramTag(pub(super) [u8; 8]);

impl ProgramTag {
    /// Creates a tag from its bytes, such as to compare it with one that was stored.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes, in the order in which the tag is printed.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 8] {
        self.0
    }
}

impl fmt::Display for ProgramTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

impl fmt::Debug for ProgramTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProgramTag({self})")
    }
}

impl Program {
    /// Returns the program's id, which no other loaded program has.
    ///
    /// # Errors
    /// If the program was not loaded, or the kernel rejects the query.
    pub fn id(&self) -> Result<u32> {
        self.described(Parts::default()).map(|found| found.info.id)
    }

    /// Returns the tag of the program's instructions.
    ///
    /// # Errors
    /// If the program was not loaded, or the kernel rejects the query.
    pub fn tag(&self) -> Result<ProgramTag> {
        self.described(Parts::default()).map(|found| ProgramTag(found.info.tag))
    }

    /// Returns the information that the kernel reports about the program.
    ///
    /// ```no_run
    /// # fn f(program: &skelgen_runtime::Program) -> skelgen_runtime::Result<()> {
    /// let info = program.info()?;
    /// println!("{} bytes of machine code, maps {:?}", info.jited_len.unwrap_or(0), info.map_ids);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If the program was not loaded, or the kernel rejects the query, for example because the network device of an
    /// offloaded program no longer exists (`ENODEV`).
    pub fn info(&self) -> Result<ProgramInfo> {
        ProgramInfo::of(self.fd()?).map_err(|errno| self.unread("the description", errno))
    }

    /// Reads parts of the program's description.
    pub(super) fn described(&self, parts: Parts) -> Result<Description> {
        describe(self.fd()?, parts).map_err(|errno| self.unread("the description", errno))
    }

    /// Creates the error of a part of the program that the kernel does not report.
    pub(super) fn unread(&self, what: &str, errno: Errno) -> Error {
        Error::refused(format_args!("cannot read {what} of program `{}`", self.name()), errno)
            .during(Step::ReadInfo)
            .about(Subject::Program(self.name()))
    }
}

/// Returns the name of a program: that of its function, if the kernel's name may have been cut.
fn name(found: &Description) -> Result<String, Errno> {
    let in_kernel = found.info.name;
    let text = in_kernel.split(|&byte| byte == 0).next().unwrap_or_default();
    if text.len() == OBJ_NAME_MAX {
        // The kernel's name can be a different one that the loading process has set. Then it is not the beginning of
        // the function's name.
        if let Some(whole) = main_function(found)?.filter(|whole| sys::name16(whole) == in_kernel) {
            return Ok(whole);
        }
    }
    Ok(String::from_utf8_lossy(text).into_owned())
}

/// Returns the name of a program's first function in its BTF; `None` if the program has no BTF or no function records,
/// or this process has no permission to read them.
fn main_function(found: &Description) -> Result<Option<String>, Errno> {
    let Some([_, function]) = found.functions().next() else { return Ok(None) };
    Ok(types(found)?.map(|types| types.name(function).to_owned()))
}

/// Returns the types of the BTF that a program was loaded with; `None` if it was loaded without BTF, or this process may
/// not read it.
pub(super) fn types(found: &Description) -> Result<Option<Types>, Errno> {
    let id = found.info.btf_id;
    if id == 0 {
        return Ok(None);
    }
    let btf = match sys::ids::Kind::Btf.open(id) {
        Err(errno) if errno.raw() == libc::EPERM => return Ok(None),
        result => result?,
    };
    let bytes = sys::btf::read(btf.as_fd())?;
    // Types that the kernel has accepted can be read, unless they are of a kind without a layout.
    Ok(Types::of_program(bytes).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_shown_as_bpftool_shows_them() {
        let tag = ProgramTag([0x0a, 0x4f, 0, 1, 0xff, 6, 7, 8]);
        assert_eq!(
            (tag.to_string(), format!("{tag:?}")),
            ("0a4f0001ff060708".into(), "ProgramTag(0a4f0001ff060708)".into())
        );
    }

    #[test]
    fn names_come_from_the_kernel_if_there_is_no_function() {
        let mut found = Description::default();
        found.info.name[..5].copy_from_slice(b"count");
        assert_eq!(name(&found).as_deref(), Ok("count"));
        found.info.name = *b"a_name_of_fift\xff\0";
        assert_eq!(name(&found).as_deref(), Ok("a_name_of_fift\u{fffd}"));
        found.info.name = [b'x'; 16];
        assert_eq!(name(&found).map(|name| name.len()), Ok(16), "a name without a NUL ends with its field");
    }
}
