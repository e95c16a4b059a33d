//! The macros with which generated files define C's structs, unions and enumerations: one line for each member.
//!
//! To give generated types a new trait, implement it here. To pass more about a member, extend the grammar, which the generator's
//! `rust/types` writes, and raise `abi::VERSION`.

/// Defines the Rust type for a C struct or union: its fields with their offsets, padding included, then bitfields, then members that
/// share bytes with others.
///
/// Values are equal if all their bytes are equal, as for the keys of a map. This includes padding and the bits of floating-point numbers.
///
/// The type implements [`Plain`](crate::Plain), `Clone`, `Copy`, `Default` (all bytes zero), `Debug`, and `PartialEq`,
/// `Eq` and `Hash` by bytes. It does not compile if a field is not at its offset, if bytes belong to no field, or if a
/// field's type is not plain data.
///
/// ```
/// skelgen_runtime::c_struct! {
///     /// `struct packet`, 8 bytes
///     pub struct packet: size 8, align 2 {
///         /// `u16 len`
///         0 => len: u16,
///         #[doc(hidden)] 2 => __pad0: [u8; 6],
///     }
///     bits {
///         /// `u32 urgent : 1`
///         32, 1 => urgent, set_urgent: u32,
///     }
///     members {
///         /// `u32 flags`
///         4 => flags, set_flags: u32,
///     }
///     debug { len, urgent() }
/// }
///
/// let mut packet = packet { len: 20, ..Default::default() };
/// packet.set_urgent(1);
/// assert_eq!(format!("{packet:?}"), "packet { len: 20, urgent: 1 }");
/// ```
#[doc(hidden)]
#[macro_export]
macro_rules! c_struct {
    (
        $(#[doc = $doc:literal])*
        pub struct $name:ident: size $size:literal, align $align:literal $(, $packed:ident)? {
            $($(#[doc = $field_doc:literal])? $(#[doc($hidden:ident)])? $offset:literal => $field:ident: $ty:ty,)*
        }
        $(bits { $(
            #[doc = $bits_doc:literal]
            $first:literal, $count:literal => $get_bits:ident, $set_bits:ident: $Bits:ty,
        )* })?
        $(members { $(
            #[doc = $member_doc:literal]
            $at:literal => $get:ident, $set:ident: $Member:ty,
        )* })?
        $(debug $shown:tt)?
    ) => {
        $(#[doc = $doc])*
        #[derive(::core::clone::Clone, ::core::marker::Copy)]
        #[repr(C $(, $packed)?)]
        pub struct $name {
            $($(#[doc = $field_doc])? $(#[doc($hidden)])? pub $field: $ty,)*
        }

        const _: () = $crate::generated::check_layout(
            <$name as $crate::Plain>::LAYOUT,
            ::core::mem::size_of::<$name>(),
            $crate::generated::is_alignment(::core::mem::align_of::<$name>(), $align),
            &[$(::core::mem::offset_of!($name, $field)),*],
        );
        // SAFETY: the checks above ensure that each field has its offset, each type is plain, and the fields cover all bytes.
        unsafe impl $crate::Plain for $name {
            const LAYOUT: ::core::option::Option<&'static $crate::generated::Layout> =
                ::core::option::Option::Some(&$crate::generated::Layout {
                    name: ::core::stringify!($name),
                    size: $size,
                    fields: &[$($crate::generated::LayoutField {
                        name: ::core::stringify!($field),
                        offset: $offset,
                        size: $crate::generated::size_of_plain::<$ty>(),
                        layout: <$ty as $crate::Plain>::ELEMENT,
                    }),*],
                });
        }

        impl ::core::default::Default for $name {
            /// Returns the value whose bytes are all zero.
            fn default() -> Self {
                $crate::zeroed()
            }
        }

        impl ::core::cmp::PartialEq for $name {
            fn eq(&self, __other: &Self) -> bool {
                $crate::as_bytes(self) == $crate::as_bytes(__other)
            }
        }

        impl ::core::cmp::Eq for $name {}

        impl ::core::hash::Hash for $name {
            fn hash<H: ::core::hash::Hasher>(&self, __state: &mut H) {
                ::core::hash::Hash::hash($crate::as_bytes(self), __state);
            }
        }


        $(impl $name {
            $(
                #[doc = $bits_doc]
                #[must_use]
                pub fn $get_bits(&self) -> $Bits {
                    $crate::generated::get_bits(self, $first, $count)
                }

                #[doc = ::core::concat!(" Sets `", ::core::stringify!($get_bits), "`. Excess bits of `value` are discarded.")]
                pub fn $set_bits(&mut self, __value: $Bits) {
                    $crate::generated::set_bits(self, $first, $count, __value);
                }
            )*
        })?

        $(impl $name {
            $(
                #[doc = $member_doc]
                #[must_use]
                pub fn $get(&self) -> $Member {
                    $crate::generated::get_part(self, $at)
                }

                #[doc = ::core::concat!(" Sets `", ::core::stringify!($get), "`.")]
                pub fn $set(&mut self, __value: $Member) {
                    $crate::generated::set_part(self, $at, &__value);
                }
            )*
        })?

        $crate::c_struct! { @debug [$($packed)?] $name [$($([$field_doc] $field)?)*] $($shown)? }
    };
    // Without a list of fields, shows the fields that have documentation. Padding has none.
    (@debug [$($packed:ident)?] $name:ident [$([$doc:literal] $field:ident)*]) => {
        $crate::c_struct! { @debug [$($packed)?] $name [] { $($field),* } }
    };
    // Fields of packed structs cannot be borrowed.
    (@debug [packed] $name:ident $fields:tt { $($shown:ident $(($($none:tt)*))?),* }) => {
        $crate::c_struct! { @show $name, __value: $($shown, { __value.$shown $(($($none)*))? };)* }
    };
    (@debug [] $name:ident $fields:tt { $($shown:ident $(($($none:tt)*))?),* }) => {
        $crate::c_struct! { @show $name, __value: $($shown, __value.$shown $(($($none)*))?;)* }
    };
    (@show $name:ident, $value:ident: $($label:ident, $shown:expr;)*) => {
        impl ::core::fmt::Debug for $name {
            fn fmt(&self, __f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                let $value = self;
                let _ = $value;
                $crate::generated::show(__f, ::core::stringify!($name), &[$((::core::stringify!($label), &$shown)),*])
            }
        }
    };
}

/// Defines the members of a struct or union in memory shared with programs: a [`Cell`](crate::Cell) for each, and accessors of its
/// bitfields.
///
/// ```
/// # skelgen_runtime::c_struct! { pub struct packet: size 4, align 1 { 0 => bytes: [u8; 4], } }
/// skelgen_runtime::cells! {
///     /// The members of `struct packet` in shared memory.
///     pub struct packet_cells of packet {
///         /// `u16 len`
///         0 => len: u16,
///     }
///     bits {
///         /// `u16 urgent : 1`
///         16, 1 => urgent, set_urgent: u16,
///     }
/// }
///
/// fn is_urgent(packet: skelgen_runtime::Cell<'_, packet>) -> bool {
///     packet.fields().len().get() > 0 && packet.fields().urgent() == 1
/// }
/// ```
#[doc(hidden)]
#[macro_export]
macro_rules! cells {
    (
        #[doc = $doc:literal]
        pub struct $name:ident of $Whole:ty {
            $(
                #[doc = $field_doc:literal]
                $offset:literal => $field:ident: $ty:ty,
            )*
        }
        $(bits { $(
            #[doc = $bits_doc:literal]
            $first:literal, $count:literal => $get:ident, $set:ident: $Bits:ty,
        )* })?
        $(snapshot $snapshot:ident, $snapshot_boxed:ident;)?
    ) => {
        #[doc = $doc]
        #[derive(::core::clone::Clone, ::core::marker::Copy, ::core::fmt::Debug)]
        pub struct $name<'a>($crate::Cell<'a, $Whole>);

        impl<'a> $name<'a> {
            $(
                #[doc = $field_doc]
                #[must_use]
                pub fn $field(self) -> $crate::Cell<'a, $ty> {
                    self.0.field($offset)
                }
            )*

            $($(
                #[doc = $bits_doc]
                #[must_use]
                pub fn $get(self) -> $Bits {
                    self.0.get_bits($first, $count)
                }

                #[doc = ::core::concat!(" Sets `", ::core::stringify!($get), "`. Excess bits of `value` are discarded.")]
                pub fn $set(self, __value: $Bits) {
                    self.0.set_bits($first, $count, __value);
                }
            )*)?

            $(
                /// Returns a copy of all variables. Variables are copied one after another, so that two of them can be from
                /// different moments.
                #[must_use]
                pub fn $snapshot(self) -> $Whole {
                    self.0.get()
                }

                /// Returns a copy of all variables on the heap. The copy is never on the stack, so the section can be
                /// megabytes in size.
                #[must_use]
                pub fn $snapshot_boxed(self) -> $crate::generated::prelude::Box<$Whole> {
                    self.0.get_boxed()
                }
            )?
        }

        impl $crate::generated::Fields for $Whole {
            type Cells<'a> = $name<'a>;

            fn fields(__cell: $crate::Cell<'_, Self>) -> $name<'_> {
                $name(__cell)
            }
        }
    };
}

/// Defines the Rust type for a C enumeration: a number that can have any value, with constants for the named values.
///
/// ```
/// skelgen_runtime::open_enum! {
///     /// `enum state`
///     state: u32 { IDLE = 0, RUNNING = 1 }
/// }
/// assert_eq!(format!("{:?} {:?}", state::RUNNING, state(7)), "RUNNING state(7)");
/// ```
///
/// The integer type must be one for which every bit pattern is valid; others do not compile.
///
/// ```compile_fail
/// skelgen_runtime::open_enum! { state: bool { IDLE = false } }
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
            fn fmt(&self, __f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                $(if self.0 == $constant {
                    return __f.write_str($crate::generated::label(::core::stringify!($value)));
                })*
                __f.debug_tuple($crate::generated::label(::core::stringify!($name))).field(&self.0).finish()
            }
        }

        // Check that the integer is plain data: the attributes above could have changed the struct.
        const _: usize = $crate::generated::size_of_plain::<$number>();
        const _: fn($name) = |__value| {
            let $name(_) = __value;
            let _: $number = __value.0;
        };

        // SAFETY: the struct has one field, which the lines above check to be plain data.
        unsafe impl $crate::Plain for $name {}

        impl $crate::generated::BitField for $name {
            fn from_bits(__bits: u128, __count: usize) -> Self {
                Self($crate::generated::BitField::from_bits(__bits, __count))
            }

            fn to_bits(self) -> u128 {
                $crate::generated::BitField::to_bits(self.0)
            }
        }
    };
}
