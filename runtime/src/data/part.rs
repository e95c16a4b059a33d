//! Parts of plain values by place: members of unions and bitfields, which have no field of their own in Rust.

use super::plain::{Plain, as_bytes, as_bytes_mut, from_bytes};

/// The part of a value that begins at this byte.
///
/// # Panics
/// If the part does not lie in the value.
#[must_use]
pub fn get_part<T: Plain, U: Plain>(value: &T, offset: usize) -> U {
    from_bytes(&as_bytes(value)[offset..offset + size_of::<U>()]).expect("the slice has the part's size")
}

/// Replaces the part of a value that begins at this byte.
///
/// # Panics
/// If the part does not lie in the value.
pub fn set_part<T: Plain, U: Plain>(value: &mut T, offset: usize, part: &U) {
    as_bytes_mut(value)[offset..offset + size_of::<U>()].copy_from_slice(as_bytes(part));
}

/// The unsigned number in up to 64 bits of a value, counted from the lowest bit of its first byte, as little-endian C compilers
/// lay bitfields out.
///
/// # Panics
/// If the bits do not lie in the value, or are more than 64.
#[must_use]
pub fn get_bits<T: Plain>(value: &T, first: usize, count: usize) -> u64 {
    assert!(count <= 64, "{count} bits are no number");
    let bytes = as_bytes(value);
    (0..count).fold(0, |number, bit| {
        let at = first + bit;
        number | u64::from(bytes[at / 8] >> (at % 8) & 1) << bit
    })
}

/// The signed number in up to 64 bits of a value.
///
/// # Panics
/// As [`get_bits`].
#[must_use]
pub fn get_signed_bits<T: Plain>(value: &T, first: usize, count: usize) -> i64 {
    let unused = 64usize.saturating_sub(count).min(63);
    i64::from_ne_bytes((get_bits(value, first, count) << unused).to_ne_bytes()) >> unused
}

/// Replaces up to 64 bits of a value by the lowest bits of a number.
///
/// # Panics
/// As [`get_bits`].
pub fn set_bits<T: Plain>(value: &mut T, first: usize, count: usize, number: u64) {
    assert!(count <= 64, "{count} bits are no number");
    let bytes = as_bytes_mut(value);
    for bit in 0..count {
        let at = first + bit;
        let mask = 1 << (at % 8);
        if number >> bit & 1 == 1 {
            bytes[at / 8] |= mask;
        } else {
            bytes[at / 8] &= !mask;
        }
    }
}

/// Defines the Rust form of a C enumeration: a number of which any value may come, with names for some.
///
/// ```
/// skelgen_runtime::open_enum! {
///     /// `enum state`
///     state: u32 { IDLE = 0, RUNNING = 1 }
/// }
/// assert_eq!(format!("{:?} {:?}", state::RUNNING, state(7)), "RUNNING state(7)");
/// ```
#[macro_export]
macro_rules! open_enum {
    ($(#[$doc:meta])* $name:ident : $number:ident { $($value:ident = $constant:expr),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(transparent)]
        pub struct $name(pub $number);

        impl $name {
            $(
                #[doc = ::core::concat!("`", ::core::stringify!($value), "`")]
                pub const $value: Self = Self($constant);
            )*
        }

        impl ::core::fmt::Debug for $name {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                $(if self.0 == $constant {
                    return f.write_str(::core::stringify!($value));
                })*
                f.debug_tuple(::core::stringify!($name)).field(&self.0).finish()
            }
        }

        // SAFETY: a number, of which any bytes are a value.
        #[allow(unsafe_code, reason = "a number and nothing else")]
        unsafe impl $crate::data::Plain for $name {}
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_cross_bytes() {
        let mut value = [0u8; 4];
        set_bits(&mut value, 6, 5, 0b10111);
        assert_eq!(value, [0xc0, 0b101, 0, 0]);
        assert_eq!(get_bits(&value, 6, 5), 0b10111);
        assert_eq!(get_signed_bits(&value, 6, 5), -9);
        set_bits(&mut value, 0, 32, u64::MAX);
        assert_eq!(get_bits(&value, 0, 32), u64::from(u32::MAX));
    }

    #[test]
    fn parts() {
        let mut value = [0u32; 2];
        set_part(&mut value, 4, &7u16);
        assert_eq!(get_part::<_, u32>(&value, 4), 7);
    }
}
