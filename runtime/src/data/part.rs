//! Parts of plain values by offset: members of unions and bitfields, which are not fields in Rust.

use super::plain::{Plain, as_bytes, as_bytes_mut, from_bytes};

/// Returns the `U` that begins `offset` bytes into the value.
///
/// # Panics
/// If the part does not end inside the value.
#[must_use]
pub fn get_part<T: Plain, U: Plain>(value: &T, offset: usize) -> U {
    from_bytes(&as_bytes(value)[offset..offset + size_of::<U>()]).expect("the slice has the part's size")
}

/// Replaces the `U` that begins `offset` bytes into the value.
///
/// # Panics
/// If the part does not end inside the value.
pub fn set_part<T: Plain, U: Plain>(value: &mut T, offset: usize, part: &U) {
    as_bytes_mut(value)[offset..offset + size_of::<U>()].copy_from_slice(as_bytes(part));
}

/// Returns the bitfield of `count` bits of a value that begins at bit `first`, in the bit order of C compilers.
///
/// On little-endian architectures bits are counted from the lowest bit of the first byte. On big-endian ones they are
/// counted from its highest bit, and the first bit of a bitfield is its most significant one.
///
/// # Panics
/// If the bits are not inside the value, or more than 128.
#[must_use]
pub fn get_bits<T: Plain, B: BitField>(value: &T, first: usize, count: usize) -> B {
    let bytes = &as_bytes(value)[first / 8..(first + within(count)).div_ceil(8)];
    B::from_bits(read_bits(bytes, first % 8, count, Order::NATIVE), count)
}

/// Sets the bitfield of `count` bits of a value that begins at bit `first`. Bits of `field` beyond `count` are dropped.
///
/// # Panics
/// If the bits are not inside the value, or more than 128.
pub fn set_bits<T: Plain, B: BitField>(value: &mut T, first: usize, count: usize, field: B) {
    let bytes = &mut as_bytes_mut(value)[first / 8..(first + within(count)).div_ceil(8)];
    write_bits(bytes, first % 8, count, field.to_bits(), Order::NATIVE);
}

/// Types that a bitfield can have: integers, `bool`, and enumerations that [`open_enum!`](crate::open_enum) defines.
pub trait BitField: Copy {
    /// Creates a value from the lowest `count` bits of `bits`, whose other bits are zero. For a signed type, the
    /// highest of these `count` bits is the sign.
    fn from_bits(bits: u128, count: usize) -> Self;

    /// Returns an integer whose lowest bits are those of the value.
    fn to_bits(self) -> u128;
}

macro_rules! bit_fields {
    ($($unsigned:ident $signed:ident),*) => {
        $(
            impl BitField for $unsigned {
                fn from_bits(bits: u128, _: usize) -> Self {
                    low_bytes(bits, Self::from_le_bytes)
                }

                fn to_bits(self) -> u128 {
                    self.into()
                }
            }

            impl BitField for $signed {
                fn from_bits(bits: u128, count: usize) -> Self {
                    let unused = 128usize.saturating_sub(count).min(127);
                    let extended = i128::from_ne_bytes((bits << unused).to_ne_bytes()) >> unused;
                    low_bytes(u128::from_ne_bytes(extended.to_ne_bytes()), Self::from_le_bytes)
                }

                fn to_bits(self) -> u128 {
                    <$unsigned>::from_ne_bytes(self.to_ne_bytes()).into()
                }
            }
        )*
    };
}

bit_fields!(u8 i8, u16 i16, u32 i32, u64 i64, u128 i128);

impl BitField for bool {
    fn from_bits(bits: u128, _: usize) -> Self {
        bits != 0
    }

    fn to_bits(self) -> u128 {
        self.into()
    }
}

/// Creates a value from the lowest bytes of a number.
fn low_bytes<const N: usize, B>(number: u128, make: impl Fn([u8; N]) -> B) -> B {
    let bytes = number.to_le_bytes();
    let mut low = [0; N];
    low.copy_from_slice(&bytes[..N]);
    make(low)
}

/// The order in which bits are counted. It is a value instead of a `cfg`, so that tests on each architecture cover both
/// orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Little,
    Big,
}

impl Order {
    const NATIVE: Self = if cfg!(target_endian = "big") { Self::Big } else { Self::Little };

    /// Returns the number of bits by which a byte is shifted right to move the selected bits to its low end.
    const fn shift(self, skip: usize, taken: usize) -> usize {
        match self {
            Self::Little => skip,
            Self::Big => 8 - skip - taken,
        }
    }

    /// Returns the position of the selected bits in a number of `count` bits, of which `before` are in earlier bytes.
    const fn position(self, count: usize, before: usize, taken: usize) -> usize {
        match self {
            Self::Little => before,
            Self::Big => count - before - taken,
        }
    }
}

/// Returns the number in `count` bits of `bytes`. They begin after `skip` bits of the first byte and end in the last.
#[must_use]
fn read_bits(bytes: &[u8], mut skip: usize, count: usize, order: Order) -> u128 {
    let (mut number, mut before) = (0, 0);
    for byte in bytes {
        let taken = (8 - skip).min(count - before);
        let bits = u128::from(byte >> order.shift(skip, taken)) & mask(taken);
        number |= bits << order.position(count, before, taken);
        before += taken;
        skip = 0;
    }
    number
}

/// Replaces the bits that [`read_bits`] reads with the lowest bits of a number.
fn write_bits(bytes: &mut [u8], mut skip: usize, count: usize, number: u128, order: Order) {
    let mut before = 0;
    for byte in bytes {
        let taken = (8 - skip).min(count - before);
        let (shift, bits) = (order.shift(skip, taken), mask(taken));
        let new = number >> order.position(count, before, taken) & bits;
        let [replaced, new] = [bits << shift, new << shift].map(|number| number.to_le_bytes()[0]);
        *byte = *byte & !replaced | new;
        before += taken;
        skip = 0;
    }
}

fn within(count: usize) -> usize {
    assert!(count <= 128, "{count} bits do not fit in a 128-bit number");
    count
}

/// Returns a number with the lowest `count` bits set.
fn mask(count: usize) -> u128 {
    if count >= 128 { u128::MAX } else { (1 << count) - 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_cross_bytes() {
        let mut value = [0u8; 4];
        set_bits(&mut value, 6, 5, 0b10111u32);
        assert_eq!(value, if cfg!(target_endian = "big") { [0b10, 0b1110_0000, 0, 0] } else { [0xc0, 0b101, 0, 0] });
        assert_eq!(get_bits::<_, u64>(&value, 6, 5), 0b10111);
        assert_eq!(get_bits::<_, i64>(&value, 6, 5), -9);
        assert_eq!((get_bits::<_, i8>(&value, 6, 5), get_bits::<_, i128>(&value, 6, 5)), (-9, -9));
        set_bits(&mut value, 0, 32, u64::MAX);
        assert_eq!(get_bits::<_, u64>(&value, 0, 32), u64::from(u32::MAX));
        // Bits of the number beyond the bitfield are dropped.
        set_bits(&mut value, 8, 3, -2i32);
        assert_eq!(get_bits::<_, i32>(&value, 8, 3), -2);
        set_bits(&mut value, 31, 1, false);
        assert!(!get_bits::<_, bool>(&value, 31, 1) && get_bits::<_, bool>(&value, 30, 1));
    }

    #[test]
    fn whole_numbers_are_the_machines() {
        let value = 0x0123_4567_89ab_cdef_u64;
        assert_eq!(get_bits::<_, u64>(&value, 0, 64), value);
        assert_eq!(get_bits::<_, u64>(&[value, !value], 64, 64), !value);
        assert_eq!(get_bits::<_, u128>(&u128::from(value), 0, 128), u128::from(value));
    }

    #[test]
    fn bits_in_both_orders() {
        for (order, expected) in [(Order::Little, [0xc0, 0b101, 0]), (Order::Big, [0b10, 0b1110_0000, 0])] {
            let mut bytes = [0; 3];
            write_bits(&mut bytes[..2], 6, 5, 0b1_0111, order);
            assert_eq!((bytes, read_bits(&bytes[..2], 6, 5, order)), (expected, 0b1_0111), "{order:?}");
            // The bits beside the bitfield are kept, wherever it begins and ends.
            for skip in 0..8 {
                for count in 1..=24 - skip {
                    let (ones, len) = (mask(count), (skip + count).div_ceil(8));
                    let mut bytes = [0; 3];
                    write_bits(&mut bytes[..len], skip, count, ones, order);
                    assert_eq!(u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]).count_ones() as usize, count);
                    assert_eq!(read_bits(&bytes[..len], skip, count, order), ones);
                    let number = 0x005a_3c96 & ones;
                    write_bits(&mut bytes[..len], skip, count, number, order);
                    assert_eq!(read_bits(&bytes[..len], skip, count, order), number);
                    write_bits(&mut bytes[..len], skip, count, 0, order);
                    assert_eq!(bytes, [0; 3], "{order:?}, {count} bits after {skip}");
                }
            }
        }
    }

    #[test]
    fn parts() {
        let mut value = [0u32; 2];
        set_part(&mut value, 4, &7u16);
        assert_eq!(get_part::<_, u16>(&value, 4), 7);
        assert_eq!(value, [0, if cfg!(target_endian = "big") { 7 << 16 } else { 7 }]);
    }
}
