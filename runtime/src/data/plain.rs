//! Types for which every bit pattern is valid and that have no padding, so that they can be shared with programs.
//!
//! # Safety
//! All unsafe code of this file relies on the contract of [`Plain`]: every byte of a value is initialized, and every
//! bit pattern is a value.
#![allow(unsafe_code, reason = "views of plain values as bytes; see `# Safety`")]

use std::fmt;
use std::mem::MaybeUninit;

use super::layout::Layout;

/// Types without padding for which every bit pattern is a valid value.
///
/// For structs, `#[derive(MapData)]` checks this at compile time and implements the trait. Generated files do so for
/// their structs.
///
/// # Safety
/// Every bit pattern must be a valid value of the type. The type must have no padding, no interior mutability, and no
/// pointers that safe code dereferences.
///
/// ```
/// use skelgen_runtime::{Plain, as_bytes, zeroed};
///
/// fn is_zero<T: Plain>(value: &T) -> bool {
///     as_bytes(value) == as_bytes(&zeroed::<T>())
/// }
/// assert!(is_zero(&[0u32; 4]) && !is_zero(&1u64));
/// ```
#[diagnostic::on_unimplemented(
    message = "not every bit pattern is a valid `{Self}`, so it cannot be shared with programs",
    label = "not plain data",
    note = "plain data are numbers, `Bool`, `Ptr`, arrays of plain data, structs with `#[derive(MapData)]`, and enumerations \
            that `open_enum!` defines"
)]
pub unsafe trait Plain: Copy + Send + Sync + 'static {
    /// The fields of a struct and their offsets, if its derive or generated code states them.
    #[doc(hidden)]
    const LAYOUT: Option<&'static Layout> = None;

    /// For an array of any depth, the layout of its innermost element type; for other types, their own layout.
    #[doc(hidden)]
    const ELEMENT: Option<&'static Layout> = Self::LAYOUT;
}

/// Data that can be in maps: keys, values, records and global variables.
///
/// Every [`Plain`] type is map data; `#[derive(MapData)]` implements [`Plain`] for a struct. Use `MapData` as the bound
/// of a type parameter, so that one import provides the derive and the trait:
///
/// ```
/// # #[cfg(feature = "derive")]
/// # mod example {
/// use skelgen_runtime::{MapData, Result, map::HashMap};
///
/// #[derive(Clone, Copy, Debug, MapData)]
/// #[repr(C)]
/// struct Flow { bytes: u64, packets: u64 }
///
/// fn total<K: MapData>(flows: &HashMap<K, Flow>) -> Result<u64> {
///     flows.iter().map(|entry| Ok(entry?.1.bytes)).sum()
/// }
/// # }
/// ```
pub trait MapData: Plain {}

impl<T: Plain> MapData for T {}

macro_rules! plain {
    ($($type:ty),*) => {
        $(
            // SAFETY: numbers have no padding and no invalid values.
            unsafe impl Plain for $type {}
        )*
    };
}

plain!(u8, u16, u32, u64, u128, i8, i16, i32, i64, i128, f32, f64);

// SAFETY: an array has the bytes of its elements and no others.
unsafe impl<T: Plain, const N: usize> Plain for [T; N] {
    const ELEMENT: Option<&'static Layout> = T::ELEMENT;
}

/// Returns the value whose bytes are all zero.
#[must_use]
pub fn zeroed<T: Plain>() -> T {
    // SAFETY: every bit pattern is a value of a plain type.
    unsafe { MaybeUninit::zeroed().assume_init() }
}

/// Returns the bytes of a value.
#[must_use]
pub fn as_bytes<T: Plain>(value: &T) -> &[u8] {
    // SAFETY: every byte of a plain value is initialized, and the slice borrows from it.
    unsafe { std::slice::from_raw_parts(std::ptr::from_ref(value).cast(), size_of::<T>()) }
}

/// Returns the bytes of a value as a mutable slice.
#[must_use]
pub fn as_bytes_mut<T: Plain>(value: &mut T) -> &mut [u8] {
    // SAFETY: every byte of a plain value is initialized, every bit pattern is a value, and the slice borrows from it.
    unsafe { std::slice::from_raw_parts_mut(std::ptr::from_mut(value).cast(), size_of::<T>()) }
}

/// Returns the bytes of a slice of values.
pub(crate) fn slice_as_bytes<T: Plain>(values: &[T]) -> &[u8] {
    // SAFETY: every byte of a plain value is initialized, there are no bytes between the values, and the slice borrows
    // from them.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) }
}

/// Returns the value with these bytes, or `None` if their number is not the size of the type. The bytes need no
/// alignment.
#[must_use]
pub fn from_bytes<T: Plain>(bytes: &[u8]) -> Option<T> {
    if bytes.len() != size_of::<T>() {
        return None;
    }
    // SAFETY: the number of bytes is the size of the type, and every bit pattern is a value.
    Some(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
}

/// Returns whether a map value of `len` bytes can contain a `T`. `len` is the size of `T`, with or without its trailing
/// padding: a section of global data ends with its last variable, while the size of a Rust struct is a multiple of its
/// alignment, or of the alignment in programs.
pub(crate) const fn holds<T>(len: usize) -> bool {
    let wide = is_alignment(align_of::<T>(), ALIGN_OF_WIDE) && len.next_multiple_of(ALIGN_OF_WIDE) == size_of::<T>();
    len == size_of::<T>() || len != 0 && (wide || len.next_multiple_of(align_of::<T>()) == size_of::<T>())
}

/// The alignment of 128-bit integers in programs on every architecture. No other type has a larger one.
const ALIGN_OF_WIDE: usize = 16;

/// Returns whether a type has the alignment that programs require, or an acceptable smaller one: `here` is the type's
/// alignment in Rust, `wanted` its alignment in programs. Rust aligns 128-bit integers as C does on this architecture:
/// to 8 bytes on s390x. A smaller alignment is harmless, because the padding is explicit and sets the fields' offsets.
#[must_use]
pub const fn is_alignment(here: usize, wanted: usize) -> bool {
    here == wanted || wanted == ALIGN_OF_WIDE && here == align_of::<u128>()
}

/// Creates a value from `bytes` and zeros after them; bytes beyond the value's size are ignored.
pub(crate) fn from_prefix<T: Plain>(bytes: &[u8]) -> T {
    let mut value = zeroed();
    let len = bytes.len().min(size_of::<T>());
    as_bytes_mut(&mut value)[..len].copy_from_slice(&bytes[..len]);
    value
}

/// A one-byte `bool` in BPF data. Unlike Rust's `bool`, any byte is valid: 0 is false, any nonzero value is true.
///
/// ```
/// use skelgen_runtime::Bool;
///
/// let on = Bool::from(true);
/// assert!(on.get() && on == true);
/// ```
#[derive(Clone, Copy, Default)]
#[repr(transparent)]
pub struct Bool(u8);

// SAFETY: one byte, of which each bit pattern is valid.
unsafe impl Plain for Bool {}

impl Bool {
    /// True, as C compilers store it: 1.
    pub const TRUE: Self = Self(1);
    /// False.
    pub const FALSE: Self = Self(0);

    /// Returns the value as a Rust `bool`.
    #[must_use]
    pub const fn get(self) -> bool {
        self.0 != 0
    }
}

impl From<bool> for Bool {
    fn from(value: bool) -> Self {
        Self(u8::from(value))
    }
}

impl From<Bool> for bool {
    fn from(value: Bool) -> Self {
        value.get()
    }
}

impl PartialEq for Bool {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl Eq for Bool {}

impl PartialEq<bool> for Bool {
    fn eq(&self, other: &bool) -> bool {
        self.get() == *other
    }
}

impl PartialEq<Bool> for bool {
    fn eq(&self, other: &Bool) -> bool {
        *self == other.get()
    }
}

impl std::hash::Hash for Bool {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.get().hash(state);
    }
}

impl std::ops::Not for Bool {
    type Output = bool;

    fn not(self) -> bool {
        !self.get()
    }
}

impl fmt::Debug for Bool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.get(), f)
    }
}

impl fmt::Display for Bool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.get(), f)
    }
}

/// A pointer in BPF data: an address in the kernel or in another process. In this process it is only a number and
/// cannot be dereferenced.
///
/// ```
/// use skelgen_runtime::Ptr;
///
/// let task = Ptr::new(0xffff_8880_0000_1000);
/// assert!(!task.is_null());
/// assert_eq!(format!("{task:?}"), "0xffff888000001000");
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Ptr(u64);

// SAFETY: it has the bytes of an integer and no others.
unsafe impl Plain for Ptr {}

impl Ptr {
    /// The null pointer.
    pub const NULL: Self = Self(0);

    /// Creates a pointer with this address.
    #[must_use]
    pub const fn new(address: u64) -> Self {
        Self(address)
    }

    /// Returns the address.
    #[must_use]
    pub const fn address(self) -> u64 {
        self.0
    }

    /// Returns whether it is the null pointer.
    #[must_use]
    pub const fn is_null(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Debug for Ptr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// A value with alignment 1, for members of packed types.
///
/// ```
/// use skelgen_runtime::Unaligned;
///
/// let stamp = Unaligned::new(7_u64);
/// assert_eq!((stamp.get(), align_of::<Unaligned<u64>>()), (7, 1));
/// ```
#[derive(Clone, Copy, Default)]
#[repr(C, packed)]
pub struct Unaligned<T>(T);

// SAFETY: it has the bytes of a plain type and no others.
unsafe impl<T: Plain> Plain for Unaligned<T> {}

impl<T: Plain> Unaligned<T> {
    /// Wraps a value.
    #[must_use]
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// Returns a copy of the value.
    #[must_use]
    pub const fn get(self) -> T {
        self.0
    }

    /// Sets the value.
    pub fn set(&mut self, value: T) {
        self.0 = value;
    }
}

impl<T: Plain> From<T> for Unaligned<T> {
    fn from(value: T) -> Self {
        Self(value)
    }
}

impl<T: Plain + PartialEq> PartialEq for Unaligned<T> {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl<T: Plain + Eq> Eq for Unaligned<T> {}

impl<T: Plain + std::hash::Hash> std::hash::Hash for Unaligned<T> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.get().hash(state);
    }
}

impl<T: Plain + fmt::Debug> fmt::Debug for Unaligned<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.get(), f)
    }
}

/// Asserts at compile time that a struct has the stated layout. One function for all checks compiles much faster than
/// many assertions.
///
/// # Panics
/// If the struct has a different layout.
pub const fn check_layout(layout: Option<&Layout>, size: usize, is_aligned: bool, offsets: &[usize]) {
    let Some(layout) = layout else { panic!("the type has no layout to check") };
    assert!(layout.size == size, "the size differs");
    assert!(is_aligned, "the alignment differs");
    let (mut index, mut bytes) = (0, 0);
    while index < offsets.len() {
        let field = &layout.fields[index];
        if field.offset != offsets[index] {
            // The offset of this field differs.
            panic!("{}", field.name);
        }
        bytes += field.size;
        index += 1;
    }
    assert!(layout.fields.len() == offsets.len() && bytes == size, "some bytes belong to no field");
}

/// Returns the size of a plain type.
#[must_use]
pub const fn size_of_plain<T: Plain>() -> usize {
    size_of::<T>()
}

/// Formats a generated struct: the body of its `Debug` implementation.
///
/// # Errors
/// If the formatter returns an error.
pub fn show(f: &mut fmt::Formatter<'_>, name: &'static str, fields: &[(&'static str, &dyn fmt::Debug)]) -> fmt::Result {
    let mut shown = f.debug_struct(label(name));
    for (name, value) in fields {
        shown.field(label(name), value);
    }
    shown.finish()
}

/// Returns a name without the prefix of raw identifiers.
#[must_use]
pub fn label(name: &'static str) -> &'static str {
    name.strip_prefix("r#").unwrap_or(name)
}

#[cfg(test)]
#[allow(unreachable_pub, reason = "the structs are as generated files have them")]
mod tests {
    use super::*;

    crate::open_enum! { State: u32 {} }

    crate::c_struct! {
        pub struct Data: size 16, align 8 {
            /// `u64 total`
            0 => total: u64,
            /// `bool on`
            8 => on: Bool,
            #[doc(hidden)] 9 => __pad0: [u8; 3],
            /// `enum state state`
            12 => state: State,
        }
    }

    crate::c_struct! {
        pub struct Packed: size 9, align 1, packed {
            /// `u8 a`
            0 => a: u8,
            /// `u64 b`
            1 => b: u64,
        }
    }

    crate::c_struct! {
        pub struct Nothing: size 0, align 1 {}
    }

    crate::c_struct! {
        pub struct Wide: size 48, align 16 {
            0 => a: u8,
            1 => __pad0: [u8; 15],
            16 => b: u128,
            32 => c: u64,
            40 => __pad1: [u8; 8],
        }
    }

    /// Tests that the layout is the same on every architecture, though Rust's alignment of 128-bit integers differs.
    #[test]
    fn wide_integers_are_aligned_as_programs_see_them() {
        assert!(holds::<Wide>(48) && holds::<Wide>(40) && holds::<Wide>(33));
        assert!(!holds::<Wide>(32) && !holds::<Wide>(49) && !holds::<Wide>(0));
        let value = Wide { a: 1, __pad0: [0; 15], b: 2, c: 3, __pad1: [0; 8] };
        assert_eq!(from_bytes::<Wide>(as_bytes(&value)).map(|it| (it.a, it.b, it.c)), Some((1, 2, 3)));
    }

    #[test]
    fn bytes_and_back() {
        let mut data: Data = zeroed();
        data.total = u64::from_ne_bytes(*b"abcdefgh");
        data.on = true.into();
        assert_eq!(&as_bytes(&data)[..9], b"abcdefgh\x01");
        as_bytes_mut(&mut data)[8] = 0;
        assert_eq!(data.on, Bool::FALSE);
        assert_eq!(from_bytes::<Data>(as_bytes(&data)), Some(data));
        assert_eq!(from_bytes::<Data>(&[0; 15]), None);
        assert_eq!(from_bytes::<u32>(&as_bytes(&data)[1..5]), Some(u32::from_ne_bytes(*b"bcde")));
        assert!(as_bytes(&Nothing {}).is_empty());
        assert_eq!(slice_as_bytes(&[1u16, 2]).len(), 4);
    }

    #[test]
    fn packed() {
        let value = Packed { a: 1, b: 2 };
        assert_eq!(from_bytes::<Packed>(as_bytes(&value)).map(|value| { value.b }), Some(2));
        assert_eq!(value.a, 1);
        assert_eq!(format!("{value:?}"), "Packed { a: 1, b: 2 }");
    }

    #[test]
    fn padding_counts_but_is_not_shown() {
        let plain = Data { total: 1, state: State(2), ..Data::default() };
        assert_eq!(format!("{plain:?}"), "Data { total: 1, on: false, state: State(2) }");
        assert_ne!(plain, Data { __pad0: [0, 1, 0], ..plain });
        assert_eq!(plain, Data { on: Bool::FALSE, ..plain });
    }

    #[test]
    fn any_nonzero_byte_is_true() {
        let two: Bool = from_bytes(&[2]).unwrap();
        assert_eq!(two, Bool::TRUE);
        assert!(two == true && bool::from(two));
        assert!(!Bool::FALSE);
        assert_eq!(format!("{two} {two:?}"), "true true");
        assert_eq!(format!("{:?}", Ptr::new(0xffff)), "0xffff");
    }
}
