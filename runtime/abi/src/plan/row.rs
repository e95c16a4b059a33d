//! The declaration of rows of a plan: required fields, then fields with a default.
//!
//! A declaration generates the struct, a constructor with the required fields, and a setter for each other field. All
//! are `const`, so that a generated file has only the fields that differ from the default. This module does not depend
//! on the rows.

/// Declares a row: `struct NAME { FIELD: TYPE, …; FIELD: TYPE = DEFAULT, … }`. For a [`Text`](super::Text),
/// [`CText`](super::CText) or [`List`](super::List), the constructor and setter take the borrowed form.
macro_rules! row {
    (
        $(#[$meta:meta])*
        pub struct $Row:ident {
            $($(#[$first_meta:meta])* $first:ident: $First:ident $(<$FirstOf:ty>)?),+
            $(; $($(#[$other_meta:meta])* $other:ident: $Other:ident $(<$OtherOf:ty>)? = $default:expr),+)? $(,)?
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $Row {
            $($(#[$first_meta])* pub $first: $First $(<$FirstOf>)?,)+
            $($($(#[$other_meta])* pub $other: $Other $(<$OtherOf>)?,)+)?
        }

        impl $Row {
            /// Creates a row with these fields, and the default of all others.
            #[must_use]
            pub const fn new($($first: row!(@argument $First $(<$FirstOf>)?)),+) -> Self {
                Self {
                    $($($other: $default,)+)?
                    $($first: row!(@value $first $First),)+
                }
            }

            $($(
                $(#[$other_meta])*
                #[must_use]
                #[allow(forgetting_copy_types, reason = "some fields own nothing")]
                pub const fn $other(mut self, value: row!(@argument $Other $(<$OtherOf>)?)) -> Self {
                    let value = row!(@value value $Other);
                    // The replaced value is the default, which owns nothing. Constants cannot drop it.
                    core::mem::forget(core::mem::replace(&mut self.$other, value));
                    self
                }
            )+)?
        }
    };
    (@argument Text) => { &'static str };
    (@argument CText) => { &'static core::ffi::CStr };
    (@argument List<$Of:ty>) => { &'static [$Of] };
    (@argument $Type:ident $(<$Of:ty>)?) => { $Type $(<$Of>)? };
    (@value $value:ident Text) => { alloc::borrow::Cow::Borrowed($value) };
    (@value $value:ident CText) => { alloc::borrow::Cow::Borrowed($value) };
    (@value $value:ident List) => { alloc::borrow::Cow::Borrowed($value) };
    (@value $value:ident $Type:ident) => { $value };
}

pub(super) use row;
