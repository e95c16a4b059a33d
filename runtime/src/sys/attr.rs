//! The requests of bpf() as `repr(C)` structs, laid out as in `union bpf_attr` of `linux/bpf.h` (Linux 7.3.4).

/// A request: the beginning of `union bpf_attr`.
///
/// # Safety
/// The type must be `repr(C)`, without padding, and laid out as the kernel expects for the commands it is used with.
#[allow(unsafe_code, reason = "a promise about layout, kept by the constant assertions below each request")]
pub(crate) unsafe trait Attr {}
