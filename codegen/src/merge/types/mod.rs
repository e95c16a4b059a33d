//! The types of several objects in one table, without duplicates.
//!
//! Two types are equal if they have the same kind, name, size, members, values, parameters and declaration tags, and the
//! types that they refer to are equal. Recursion through pointers is resolved by partition refinement (`refine.rs`): all
//! types that look the same begin as one class, and a class is split until its types refer to the same classes. What
//! remains are the largest classes of equal types.
//!
//! | kind | which types become one |
//! |---|---|
//! | declarations of structs, unions and enums | those of one name, with the definition of that name and kind if all inputs together have exactly one |
//! | functions | equal ones, also static ones: BTF has no addresses |
//! | global variables | equal ones: the definition and its repetitions, or declarations |
//! | static variables | none: each has its own place in a section |
//! | extern functions and variables | all of one name, with the global definition if all inputs together have exactly one, whatever its type; callers compare the types |
//! | declaration tags | equal ones on one type |
//! | data sections | not in the result: the caller lays out sections, and appends a [`Datasec`](crate::btf::Kind::Datasec) for each |
//! | unknown kinds | none: their contents are not known |
//!
//! Different definitions of one name stay apart, and so do their users. The order of the result is canonical: it depends
//! on the types, not on the order of the inputs. Time is near linear in the size of the inputs: n log n at most.

mod declared;
mod graph;
mod key;
mod refine;
mod strings;
mod table;
#[cfg(test)]
mod tests;

use crate::btf::{Btf, StringRef, TypeId};
use crate::error::{Code, Error, Result};

use graph::Graph;
use strings::Strings;

/// The types of several inputs in one table.
#[derive(Debug)]
pub struct Merged<'a> {
    /// The table. Its strings are those that the types use; [`Merged::string`] adds others.
    pub btf: Btf,
    /// By input and old id: the new id. A data section and its tags have the id of `void`.
    pub ids: Vec<Vec<TypeId>>,
    strings: Strings<'a>,
}

/// Merges the types of these tables.
///
/// # Errors
/// [`Code::BadBtf`] if a type would contain itself because a declared struct is a member of another struct, and
/// [`Code::TooLarge`] if the tables together exceed 4 GiB.
pub fn merge<'a>(inputs: &[&'a Btf]) -> Result<Merged<'a>> {
    let weight: u64 = inputs.iter().map(|input| input.weight()).sum();
    if weight > u64::from(u32::MAX) {
        return Err(Error::new(Code::TooLarge, format!("the types of all files have {weight} bytes, more than 4 GiB")));
    }
    let mut strings = Strings::new();
    let graph = Graph::new(inputs, &mut strings);
    let classes = refine::refine(&graph.initial, &graph.users, &graph.aliases);
    let kept = declared::resolve(&graph, &classes);
    table::write(&graph, &kept, strings)
}

impl<'a> Merged<'a> {
    /// Returns the reference to a string, such as a source line; adds the string if the table does not have it. The
    /// bytes of the table depend on the order of these calls.
    pub fn string(&mut self, text: &'a str) -> StringRef {
        self.strings.add(&mut self.btf, text)
    }

    /// Returns the new id of a type of an input.
    ///
    /// # Panics
    /// If the input or the type does not exist.
    #[must_use]
    pub fn id(&self, input: usize, old: TypeId) -> TypeId {
        self.ids[input][old.0 as usize]
    }
}
