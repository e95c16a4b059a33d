//! Derive macros for the data of BPF maps; used through `skelgen_runtime` with its feature `derive`.
//!
//! `ast` is what a macro is given, with the attributes of `attr` understood; `valid` finds what is wrong with it, all at once;
//! `expand` writes what it becomes, and `fallback` what it becomes if something is wrong, so that one mistake is one error. The
//! macros know syntax only: what a type is, the compiler finds out from what they write.
#![forbid(unsafe_code)]

mod ast;
mod attr;
mod expand;
mod fallback;
mod valid;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

use ast::Input;

/// Makes a struct one whose values can be keys and values of maps, and be shared with programs.
///
/// The struct must be `Copy` and have the layout of C (`#[repr(C)]`, perhaps with `packed` or `align`, or `#[repr(transparent)]`). Every
/// field must be plain data: numbers, arrays and other such structs. There must be no padding: space between fields or at the end is
/// a field of its own, whose name begins with `_`. All of that is checked when the struct is compiled.
///
/// What it becomes:
/// - `skelgen_runtime::Plain`, with the struct's layout. A map bound by `#[derive(Maps)]` compares it with the types of the map.
/// - `Fields`, so that a `Cell` of it has `fields()`: a struct `NAMECells` with a cell for each field.
///
/// ```
/// use skelgen_runtime::{MapData, as_bytes};
///
/// #[derive(Clone, Copy, Debug, Default, MapData)]
/// #[repr(C)]
/// struct Flow {
///     bytes: u64,
///     packets: u32,
///     _pad: u32,
/// }
/// assert_eq!(as_bytes(&Flow::default()), [0; 16]);
/// ```
///
/// `#[skelgen(crate = path)]` says where the runtime is if it is not `::skelgen_runtime`, `#[skelgen(cells = Name)]` calls the struct
/// of cells otherwise.
///
/// # Errors
/// At the field or attribute that is wrong.
#[proc_macro_derive(MapData, attributes(skelgen))]
pub fn map_data(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    let result = Input::new(&input, "MapData").and_then(|input| {
        valid::map_data(&input)?;
        Ok(expand::map_data(&input))
    });
    result.unwrap_or_else(|error| fallback::map_data(&input, &error)).into()
}

/// Makes a struct of map handles one that finds its maps by name: in a loaded skeleton or in a directory of pins.
///
/// Every field is a handle of `skelgen_runtime::map`, or an `Option` of one for a map that need not be there; its name, or
/// `#[maps(name = "...")]`, is the map's.
///
/// ```no_run
/// use skelgen_runtime::map::{HashMap, Maps as _, RingBuf};
/// use skelgen_runtime::{MapData, Maps};
///
/// #[derive(Clone, Copy, MapData)]
/// #[repr(C)]
/// struct Flow { bytes: u64, packets: u64 }
///
/// #[derive(Maps)]
/// struct FlowMaps {
///     flows: HashMap<u32, Flow>,
///     #[maps(name = "events_of_flows")]
///     events: RingBuf,
/// }
///
/// let maps = FlowMaps::from_pins("/sys/fs/bpf/flows")?;
/// println!("{:?}", maps.flows.get(&1)?.map(|flow| flow.bytes));
/// # Ok::<(), skelgen_runtime::Error>(())
/// ```
///
/// `FlowMaps::bind(&skeleton.maps)` takes them from a loaded skeleton. `#[skelgen(crate = path)]` says where the runtime is.
///
/// # Errors
/// At the field or attribute that is wrong.
#[proc_macro_derive(Maps, attributes(skelgen, maps))]
pub fn maps(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    let result = Input::new(&input, "Maps").and_then(|input| {
        valid::maps(&input)?;
        Ok(expand::maps(&input))
    });
    result.unwrap_or_else(|error| fallback::maps(&input, &error)).into()
}
