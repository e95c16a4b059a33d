//! The macros by which generated files define C's structs and unions: one line for each member.
//!
//! To give generated types a new trait, implement it here; to pass more about a member, extend the grammar, which the generator's
//! `rust/types` writes, and raise `abi::VERSION`.

/// Defines the Rust form of a C struct or union: its fields with their offsets, padding included, then bitfields, then members that share
/// bytes with others.
///
/// It implements [`Plain`](crate::Plain), `Clone`, `Copy`, `Default` (all bytes zero), `Debug`, and `PartialEq`, `Eq` and `Hash` by bytes.
/// It does not compile if a field is not at its offset, if bytes belong to no field, or if a field's type is not plain data.
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

        $crate::layout! { @checked $name: size $size, align $align; $($offset => $field: $ty),* }

        $(impl $name {
            $(
                #[doc = $bits_doc]
                #[must_use]
                pub fn $get_bits(&self) -> $Bits {
                    $crate::data::get_bits(self, $first, $count)
                }

                #[doc = ::core::concat!(" Sets `", ::core::stringify!($get_bits), "`. Bits of `value` that it has no room for are dropped.")]
                pub fn $set_bits(&mut self, value: $Bits) {
                    $crate::data::set_bits(self, $first, $count, value);
                }
            )*
        })?

        $(impl $name {
            $(
                #[doc = $member_doc]
                #[must_use]
                pub fn $get(&self) -> $Member {
                    $crate::data::get_part(self, $at)
                }

                #[doc = ::core::concat!(" Sets `", ::core::stringify!($get), "`.")]
                pub fn $set(&mut self, value: $Member) {
                    $crate::data::set_part(self, $at, &value);
                }
            )*
        })?

        $crate::c_struct! { @debug [$($packed)?] $name [$($([$field_doc] $field)?)*] $($shown)? }
    };
    // Without a list, the fields that have documentation are shown: all but padding.
    (@debug [$($packed:ident)?] $name:ident [$([$doc:literal] $field:ident)*]) => {
        $crate::show! { $($packed)? $name: $($field),* }
    };
    (@debug [$($packed:ident)?] $name:ident $fields:tt { $($shown:tt)* }) => {
        $crate::show! { $($packed)? $name: $($shown)* }
    };
}

/// Defines the members of a struct or union in memory shared with programs: a [`Cell`](crate::Cell) for each, and what reads and writes its
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

                #[doc = ::core::concat!(" Sets `", ::core::stringify!($get), "`. Bits of `value` that it has no room for are dropped.")]
                pub fn $set(self, value: $Bits) {
                    self.0.set_bits($first, $count, value);
                }
            )*)?

            $(
                /// Returns a copy of all variables. Each is as it was at some moment; together they may be of different moments.
                #[must_use]
                pub fn $snapshot(self) -> $Whole {
                    self.0.get()
                }

                /// Returns a copy of all variables on the heap, which never passes through the stack: for sections of megabytes.
                #[must_use]
                pub fn $snapshot_boxed(self) -> $crate::generated::prelude::Box<$Whole> {
                    self.0.get_boxed()
                }
            )?
        }

        impl $crate::data::Fields for $Whole {
            type Cells<'a> = $name<'a>;

            fn fields(cell: $crate::Cell<'_, Self>) -> $name<'_> {
                $name(cell)
            }
        }
    };
}
