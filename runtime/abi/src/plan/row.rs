//! How the rows of a plan's tables are declared: fields that every row has, then fields with the value that most rows have.
//!
//! A declaration makes the struct, a constructor from the first fields, and for each other field a setter of its name. All of them are
//! `const`, so that a generated file states only what differs. Must not know what the rows are about.

/// Declares a row: `struct NAME { FIELD: TYPE, …; FIELD: TYPE = DEFAULT, … }`. Where a field is a [`Text`](super::Text), a
/// [`CText`](super::CText) or a [`List`](super::List), constructor and setter take what it borrows.
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
            /// A row with these fields, and nothing of what the other fields stand for.
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
                    // What stood there is the default, which owns nothing; dropping it is not possible in constants.
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
