//! Sends map creation requests. Omits fields that the running kernel does not support, and explains rejections.
//!
//! The load of an object and the maps that are created at run time use the same functions. This module does not depend
//! on the origin of the definition; its callers pass the name of the map for errors, and how to correct its definition.

use std::fmt::Display;

use crate::error::{Errno, Error, ErrorKind, LinuxVersion, Result, Subject};
use crate::kernel::{self, causes};
use crate::sys;
use crate::sys::map::Request;
use crate::uapi::{MapFlags, MapType};
use skelgen_abi::map_types::{Definition, Fault, MapFacts, flags_since};

/// `ENOTSUPP`, which is internal to the kernel.
const ENOTSUPP: i32 = 524;

/// The first Linux version with exclusive maps.
const EXCLUSIVE: LinuxVersion = LinuxVersion::new(6, 18);

/// Creates a map. If the kernel does not support names (before 4.15), creates the map without one. If `optional_types`
/// is set and the kernel rejects the BTF types of keys and values, creates it without them. `memlock` is set once an
/// attempt was made to raise the limit on locked memory.
///
/// # Errors
/// The outer error is the error of a feature probe, the inner error the error number of the map creation.
pub(crate) fn send(
    request: &mut Request<'_>,
    optional_types: bool,
    memlock: &mut bool,
) -> Result<Result<sys::map::Map, Errno>> {
    let mut result = sys::map::Map::create(request);
    if is(&result, &[libc::EPERM]) && sys::lift_memlock_once(memlock) {
        result = sys::map::Map::create(request);
    }
    // `E2BIG` means that the kernel does not support a field of the request.
    if is(&result, &[libc::E2BIG]) && !request.map.kernel_name.is_empty() && !kernel::features::names()? {
        request.map.kernel_name = "".into();
        result = sys::map::Map::create(request);
    }
    // Linux 5.10 initializes its struct_ops types when it verifies the first program after boot. The feature probe loads a program.
    if request.kernel_value.is_some() && is(&result, &[ENOTSUPP]) && kernel::features::names()? {
        result = sys::map::Map::create(request);
    }
    // Some map types do not accept BTF of keys and values, and which types do depends on the kernel.
    let has_optional_types = optional_types && request.btf.is_some() && request.kernel_value.is_none();
    if has_optional_types && is(&result, &[libc::EINVAL, libc::EOPNOTSUPP, ENOTSUPP]) {
        request.btf = None;
        result = match (sys::map::Map::create(request), result) {
            // BTF is not the reason for the rejection.
            (Err(again), Err(first)) if again.raw() == libc::EINVAL => Err(first),
            (again, _) => again,
        };
    }
    Ok(result)
}

fn is<T>(result: &Result<T, Errno>, numbers: &[i32]) -> bool {
    result.as_ref().is_err_and(|errno| numbers.contains(&errno.raw()))
}

/// Returns the error for a map that the kernel rejected, with the faults of its definition and the kernel's message.
/// `remedy` returns how to correct a fault. Returns `Err` with the plain error if no explanation is known.
pub(crate) fn rejected(
    map: impl Display,
    request: &Request<'_>,
    is_typed: bool,
    errno: Errno,
    remedy: impl Fn(&Fault) -> String,
) -> Result<Error, Error> {
    let definition = Definition::of(&request.map, request.inner.is_some(), is_typed);
    let error = Error::refused(format_args!("cannot create map `{map}` ({definition})"), errno);
    let about_definition = matches!(errno.raw(), libc::EINVAL | libc::E2BIG | libc::EOPNOTSUPP | ENOTSUPP);
    let faults: Vec<Fault> = definition.faults().filter(|_| about_definition).collect();
    let reason = sys::map::Map::reason(request, errno);
    if !faults.is_empty() || reason.is_some() {
        let error = if faults.is_empty() { error } else { error.with_kind(ErrorKind::InvalidInput) };
        let error =
            faults.iter().fold(error, |error, fault| error.with_help(format_args!("{fault}: {}", remedy(fault))));
        return Ok(reason
            .into_iter()
            .fold(error, |error, reason| error.note(format_args!("the kernel reports: {reason}"))));
    }
    Ok(match errno.raw() {
        // The kernel does not support the field.
        libc::EINVAL | libc::E2BIG if request.exclusive.is_some() && causes::older_than(EXCLUSIVE).is_some() => {
            error.needs(EXCLUSIVE).note(format_args!("maps that are exclusive to a program require Linux {EXCLUSIVE}"))
        }
        ENOTSUPP if request.inner.is_some() => error.note(
            "the kernel rejects the template of the inner maps: inner maps cannot be exclusive to a program and, before \
             Linux 6.2, cannot have spin locks",
        ),
        libc::EINVAL | libc::EOPNOTSUPP | libc::ENODEV if request.ifindex != 0 => {
            error.about_part(Subject::Interface(request.ifindex)).note(
                "only array and hash maps can be offloaded; the network device must exist and its driver must support offload",
            )
        }
        libc::EINVAL | libc::EOPNOTSUPP | ENOTSUPP if request.btf.is_some() && request.kernel_value.is_none() => {
            let map_type = definition.map_type;
            match MapFacts::of(map_type) {
                Some(facts) if !facts.accepts_types => {
                    error.with_help(format_args!("maps of type {map_type} do not accept BTF types: leave the types out"))
                }
                _ => unknown_to_kernel(error, &definition)
                    .note("the key and value type ids must exist in the passed BTF, and the types must have the sizes of keys and values"),
            }
        }
        libc::EINVAL => unknown_to_kernel(error, &definition),
        libc::EOPNOTSUPP if definition.map_type == MapType::ARENA => error.note(
            "arenas require a kernel with a JIT compiler (CONFIG_BPF_JIT) that supports them on this architecture",
        ),
        libc::E2BIG | libc::ENOMEM => error
            .with_kind(ErrorKind::LimitReached)
            .note("the size of a value, or of all elements together, exceeds what the kernel can allocate for a map"),
        _ => return Err(error),
    })
}

/// Adds why the kernel may have rejected a definition that is valid for its type.
fn unknown_to_kernel(error: Error, definition: &Definition) -> Error {
    let map_type = definition.map_type;
    let Some(facts) = MapFacts::of(map_type) else {
        return error.note(format_args!("this kernel may not support maps of type {map_type}"));
    };
    let since = |(major, minor)| LinuxVersion::new(major, minor);
    if let Some(running) = causes::older_than(since(facts.since)) {
        let since = since(facts.since);
        return error
            .needs(since)
            .note(format_args!("maps of type {map_type} require Linux {since}; this is {running}"));
    }
    for (flag, version) in flags_since(definition.flags) {
        let since = since(version);
        if let Some(running) = causes::older_than(since) {
            return error
                .needs(since)
                .note(format_args!("the flag {} requires Linux {since}; this is {running}", MapFlags::from_bits(flag)))
                .with_help("test for the flag with `kernel::has_map_flags`, and clear it with `set_flags`");
        }
    }
    error.note(format_args!(
        "the sizes and flags are valid for maps of type {map_type}; this kernel may be built without this type, or not support one of the flags"
    ))
}

/// Returns the `max_entries` to request for `count`, since the kernel has no defaults. For an array of perf events, 0
/// means one element per possible CPU. The size of a ring buffer is rounded up to a power of two of at least a page.
///
/// # Errors
/// If the number of CPUs is needed and cannot be read.
pub(crate) fn max_entries(map_type: MapType, count: u32) -> Result<u32> {
    match map_type {
        MapType::PERF_EVENT_ARRAY if count == 0 => {
            // Programs use the number of their CPU as the index, and the numbers of CPUs can have gaps.
            Ok(kernel::cpus::possible()?.width())
        }
        MapType::RINGBUF | MapType::USER_RINGBUF if count != 0 => {
            // Most C sources assume pages of 4 KiB, but some architectures have pages of 64 KiB.
            let size = count.max(u32::try_from(sys::mmap::page_size()).unwrap_or(u32::MAX));
            Ok(size.checked_next_power_of_two().unwrap_or(count))
        }
        _ => Ok(count),
    }
}
