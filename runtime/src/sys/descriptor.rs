//! The traits by which other crates get the file descriptor of a handle.

/// Implements [`AsFd`](std::os::fd::AsFd) and [`AsRawFd`](std::os::fd::AsRawFd) for a type with a file descriptor, by
/// an expression that implements `AsFd`: `descriptor!([] Link: self => self.fd)`. Attributes document the type's
/// `AsFd`.
macro_rules! descriptor {
    ($(#[$doc:meta])* [$($generics:tt)*] $type:ty: $this:ident => $fd:expr) => {
        $(#[$doc])*
        impl<$($generics)*> ::std::os::fd::AsFd for $type {
            fn as_fd(&$this) -> ::std::os::fd::BorrowedFd<'_> {
                ::std::os::fd::AsFd::as_fd(&$fd)
            }
        }

        /// The number of the file descriptor that [`AsFd`](::std::os::fd::AsFd) returns, for crates that accept numbers.
        /// It is valid as long as the value exists.
        impl<$($generics)*> ::std::os::fd::AsRawFd for $type {
            fn as_raw_fd(&$this) -> ::std::os::fd::RawFd {
                ::std::os::fd::AsRawFd::as_raw_fd(&::std::os::fd::AsFd::as_fd($this))
            }
        }
    };
}
pub(crate) use descriptor;
