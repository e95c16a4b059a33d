//! Types that are nothing but their bytes, and so can be shared with programs.
//!
//! # Safety
//! All unsafe code of this file rests on the promise of [`Plain`]: a value has no byte without a value, and any bytes are a value.
#![allow(unsafe_code, reason = "views of plain values as bytes; see `# Safety`")]

use std::fmt;
use std::mem::MaybeUninit;

use super::layout::Layout;

/// Types of which any bytes are a value and every byte of a value counts.
///
/// For structs, [`layout!`](crate::layout) checks this at compile time and implements the trait.
///
/// # Safety
/// Any bytes must be a valid value of the type, it must have no padding, no place to write to through a shared reference, and no
/// pointers that safe code follows.
#[diagnostic::on_unimplemented(
    message = "not any bytes are a `{Self}`, so it cannot be shared with programs",
    label = "this is no plain data",
    note = "plain data are numbers, `Bool`, `Ptr`, arrays of plain data, structs with `#[derive(MapData)]`, and what `open_enum!` \
            makes of an enumeration"
)]
pub unsafe trait Plain: Copy + Send + Sync + 'static {
    /// What is where, for structs that say so.
    const LAYOUT: Option<&'static Layout> = None;

    /// The same of what an array is made of, however deep; of other types their own.
    #[doc(hidden)]
    const ELEMENT: Option<&'static Layout> = Self::LAYOUT;
}

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

/// A value of zero bytes.
#[must_use]
pub fn zeroed<T: Plain>() -> T {
    // SAFETY: any bytes are a value of a plain type.
    unsafe { MaybeUninit::zeroed().assume_init() }
}

/// The bytes of a value.
#[must_use]
pub fn as_bytes<T: Plain>(value: &T) -> &[u8] {
    // SAFETY: every byte of a plain value is initialized, and the slice borrows from it.
    unsafe { std::slice::from_raw_parts(std::ptr::from_ref(value).cast(), size_of::<T>()) }
}

/// The bytes of a value, to write.
#[must_use]
pub fn as_bytes_mut<T: Plain>(value: &mut T) -> &mut [u8] {
    // SAFETY: every byte of a plain value is initialized, any bytes are a value, and the slice borrows from it.
    unsafe { std::slice::from_raw_parts_mut(std::ptr::from_mut(value).cast(), size_of::<T>()) }
}

/// The bytes of many values.
pub(crate) fn slice_as_bytes<T: Plain>(values: &[T]) -> &[u8] {
    // SAFETY: every byte of a plain value is initialized, there is none between them, and the slice borrows from them.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) }
}

/// The value of these bytes, if they are as many as it has. They may begin at any address.
#[must_use]
pub fn from_bytes<T: Plain>(bytes: &[u8]) -> Option<T> {
    if bytes.len() != size_of::<T>() {
        return None;
    }
    // SAFETY: the bytes are as many as a value has, and any bytes are a value.
    Some(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
}

/// Whether values of so many bytes are of this type: as many as it has, or as many but for padding at the end. A section of
/// global data ends with its last variable, while a Rust struct ends at a multiple of its alignment, or of the one that programs see.
pub(crate) const fn holds<T>(len: usize) -> bool {
    let wide = is_alignment(align_of::<T>(), ALIGN_OF_WIDE) && len.next_multiple_of(ALIGN_OF_WIDE) == size_of::<T>();
    len == size_of::<T>() || len != 0 && (wide || len.next_multiple_of(align_of::<T>()) == size_of::<T>())
}

/// The alignment of 128-bit integers in programs, whatever the machine; no other type has as great a one.
const ALIGN_OF_WIDE: usize = 16;

/// Whether a type that is aligned so here is aligned as programs want it. Rust's 128-bit integers are aligned as C's of the machine
/// are, to 8 bytes on s390x. Less does no harm: fields are where they are because of the padding that is written out.
#[doc(hidden)]
#[must_use]
pub const fn is_alignment(here: usize, wanted: usize) -> bool {
    here == wanted || wanted == ALIGN_OF_WIDE && here == align_of::<u128>()
}

/// The value that begins with these bytes and goes on with zeros; what is more than a value is left out.
pub(crate) fn from_prefix<T: Plain>(bytes: &[u8]) -> T {
    let mut value = zeroed();
    let len = bytes.len().min(size_of::<T>());
    as_bytes_mut(&mut value)[..len].copy_from_slice(&bytes[..len]);
    value
}

/// A boolean of a program: zero is false, and any other byte is true.
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

// SAFETY: one byte of which each value is valid.
unsafe impl Plain for Bool {}

impl Bool {
    /// True, as compilers write it.
    pub const TRUE: Self = Self(1);
    /// False.
    pub const FALSE: Self = Self(0);

    /// Whether it is true.
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

/// An address in the kernel or in another process: a number here, which cannot be followed.
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

// SAFETY: a number.
unsafe impl Plain for Ptr {}

impl Ptr {
    /// The null pointer.
    pub const NULL: Self = Self(0);

    /// The pointer of this address.
    #[must_use]
    pub const fn new(address: u64) -> Self {
        Self(address)
    }

    /// The address.
    #[must_use]
    pub const fn address(self) -> u64 {
        self.0
    }

    /// Whether it is the null pointer.
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

/// A value that may begin at any address: for what packed types put where Rust would not.
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
    /// A value.
    #[must_use]
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// A copy of the value.
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

/// Checks that a struct is laid out as a program sees it, and implements [`Plain`] for it.
///
/// ```
/// #[derive(Clone, Copy)]
/// #[repr(C)]
/// struct Data {
///     total: u64,
///     on: skelgen_runtime::Bool,
///     __pad0: [u8; 7],
/// }
/// skelgen_runtime::layout! {
///     Data: size 16, align 8; 0 => total: u64, 8 => on: skelgen_runtime::Bool, 9 => __pad0: [u8; 7]
/// }
/// ```
///
/// It does not compile if the size, the alignment, the type or the offset of a field is another, if a field is left out, if a
/// field's type is not [`Plain`], or if there are bytes between fields.
///
/// ```compile_fail
/// #[derive(Clone, Copy)]
/// #[repr(C)]
/// struct Data { a: u32, b: u64 }
/// skelgen_runtime::layout! { Data: size 16, align 8; 0 => a: u32, 8 => b: u64 }
/// ```
#[macro_export]
macro_rules! layout {
    ($name:ident : size $size:expr, align $align:expr; $($offset:expr => $field:ident : $type:ty),* $(,)?) => {
        const _: fn($name) = |__value| {
            let $name { $($field: _),* } = __value;
            $(let _: $type = __value.$field;)*
        };
        $crate::layout! { @checked $name: size $size, align $align; $($offset => $field: $type),* }
    };
    // The fields are known to be all of the struct's, with their types.
    (@checked $name:ident : size $size:expr, align $align:expr; $($offset:expr => $field:ident : $type:ty),*) => {
        const _: () = $crate::data::check_layout(
            <$name as $crate::data::Plain>::LAYOUT,
            ::core::mem::size_of::<$name>(),
            $crate::data::is_alignment(::core::mem::align_of::<$name>(), $align),
            &[$(::core::mem::offset_of!($name, $field)),*],
        );
        // SAFETY: checked: every field is listed with its type, each type is plain, and together they are all its bytes.
        unsafe impl $crate::data::Plain for $name {
            const LAYOUT: ::core::option::Option<&'static $crate::data::Layout> =
                ::core::option::Option::Some(&$crate::data::Layout {
                    name: ::core::stringify!($name),
                    size: $size,
                    fields: &[$($crate::data::LayoutField {
                        name: ::core::stringify!($field),
                        offset: $offset,
                        size: $crate::data::size_of_plain::<$type>(),
                        layout: <$type as $crate::data::Plain>::ELEMENT,
                    }),*],
                });
        }
    };
}

/// Implements `Default`, all bytes zero; `Debug`, with these fields and getters; and `PartialEq`, `Eq` and `Hash` by bytes.
///
/// Values are equal if all their bytes are, as they are for a map that has them as keys: padding counts, and so do the bits of floating
/// point numbers.
///
/// ```
/// #[derive(Clone, Copy)]
/// #[repr(C)]
/// struct Data {
///     total: u32,
///     __pad0: [u8; 4],
/// }
/// impl Data {
///     fn low(&self) -> u32 { self.total & 0xff }
/// }
/// skelgen_runtime::layout! { Data: size 8, align 4; 0 => total: u32, 4 => __pad0: [u8; 4] }
/// skelgen_runtime::show! { Data: total, low() }
/// assert_eq!(format!("{:?}", Data::default()), "Data { total: 0, low: 0 }");
/// assert_ne!(Data { total: 1, ..Data::default() }, Data::default());
/// ```
///
/// For a packed struct, whose fields cannot be borrowed, the word `packed` stands before its name.
#[macro_export]
macro_rules! show {
    (packed $name:ident : $($field:ident $(($($none:tt)*))?),* $(,)?) => {
        $crate::show! { @ $name: |__value| $({ __value.$field $(($($none)*))? }),* ; $($field),* }
    };
    ($name:ident : $($field:ident $(($($none:tt)*))?),* $(,)?) => {
        $crate::show! { @ $name: |__value| $(__value.$field $(($($none)*))?),* ; $($field),* }
    };
    (@ $name:ident : |$value:ident| $($shown:expr),* ; $($field:ident),*) => {
        impl ::core::default::Default for $name {
            /// All bytes zero.
            fn default() -> Self {
                $crate::zeroed()
            }
        }

        impl ::core::fmt::Debug for $name {
            fn fmt(&self, __f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                let $value = self;
                let _ = $value;
                $crate::data::show(__f, ::core::stringify!($name), &[$((::core::stringify!($field), &$shown)),*])
            }
        }

        impl ::core::cmp::PartialEq for $name {
            fn eq(&self, __other: &Self) -> bool {
                $crate::data::plain::as_bytes(self) == $crate::data::plain::as_bytes(__other)
            }
        }

        impl ::core::cmp::Eq for $name {}

        impl ::core::hash::Hash for $name {
            fn hash<__H: ::core::hash::Hasher>(&self, __state: &mut __H) {
                ::core::hash::Hash::hash($crate::data::plain::as_bytes(self), __state);
            }
        }
    };
}

/// Fails to compile if a struct is not laid out so, by what [`layout!`](crate::layout) found out of it. A function, because it is far
/// less to compile than as many assertions.
#[doc(hidden)]
pub const fn check_layout(layout: Option<&Layout>, size: usize, is_aligned: bool, offsets: &[usize]) {
    let Some(layout) = layout else { panic!("there is no layout to check") };
    assert!(layout.size == size, "the size is another");
    assert!(is_aligned, "the alignment is another");
    let (mut index, mut bytes) = (0, 0);
    while index < offsets.len() {
        let field = &layout.fields[index];
        if field.offset != offsets[index] {
            // The offset of this field is another.
            panic!("{}", field.name);
        }
        bytes += field.size;
        index += 1;
    }
    assert!(layout.fields.len() == offsets.len() && bytes == size, "there are bytes that belong to no field");
}

/// The size of a plain type.
#[doc(hidden)]
#[must_use]
pub const fn size_of_plain<T: Plain>() -> usize {
    size_of::<T>()
}

/// What [`show!`](crate::show) implements `Debug` with.
#[doc(hidden)]
pub fn show(f: &mut fmt::Formatter<'_>, name: &'static str, fields: &[(&'static str, &dyn fmt::Debug)]) -> fmt::Result {
    let mut shown = f.debug_struct(label(name));
    for (name, value) in fields {
        shown.field(label(name), value);
    }
    shown.finish()
}

/// A name without what makes it a raw identifier.
#[doc(hidden)]
#[must_use]
pub fn label(name: &'static str) -> &'static str {
    name.strip_prefix("r#").unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq)]
    #[repr(C)]
    struct Data {
        total: u64,
        on: Bool,
        __pad0: [u8; 3],
        state: inner::state,
    }

    mod inner {
        #![allow(non_camel_case_types, reason = "names of C types")]
        #[derive(Clone, Copy, Debug, PartialEq)]
        #[repr(transparent)]
        pub(super) struct state(pub(super) u32);
        // SAFETY: a number.
        unsafe impl crate::Plain for state {}
    }

    crate::layout! {
        Data: size 16, align 8; 0 => total: u64, 8 => on: Bool, 9 => __pad0: [u8; 3], 12 => state: inner::state
    }

    #[derive(Clone, Copy)]
    #[repr(C, packed)]
    struct Packed {
        a: u8,
        b: u64,
    }

    crate::layout! { Packed: size 9, align 1; 0 => a: u8, 1 => b: u64, }

    #[derive(Clone, Copy)]
    #[repr(C)]
    struct Nothing {}

    crate::layout! { Nothing: size 0, align 1; }

    #[derive(Clone, Copy)]
    #[repr(C)]
    struct Wide {
        a: u8,
        __pad0: [u8; 15],
        b: u128,
        c: u64,
        __pad1: [u8; 8],
    }

    crate::layout! {
        Wide: size 48, align 16; 0 => a: u8, 1 => __pad0: [u8; 15], 16 => b: u128, 32 => c: u64, 40 => __pad1: [u8; 8]
    }

    /// On every machine, though Rust's alignment of 128-bit integers differs.
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
