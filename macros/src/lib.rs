//! Derive macros for the data of BPF maps. Use them through `skelgen_runtime` with its feature `derive`: that crate exports each derive and
//! the trait of the same name, so that one import has both.
//!
//! `ast` and `attr` parse the input, `valid` reports all errors at once, `expand` generates the code, and `fallback`
//! generates code for input with errors. The macros see only syntax; the compiler checks types in the generated code.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

mod ast;
mod attr;
mod expand;
mod fallback;
mod valid;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

use ast::Input;

/// Derives `Plain`, so that values of the struct can be keys and values of maps, and can be in memory that is shared
/// with programs.
///
/// The struct must be `Copy` and have a C layout: `#[repr(C)]`, optionally with `packed` or `align`, or
/// `#[repr(transparent)]`. All fields must be plain data: numbers, arrays and other such structs. Padding between
/// fields and at the end must be an explicit field, such as `_pad: [u8; 4]`. The compiler checks these rules.
///
/// The macro generates:
/// - `skelgen_runtime::Plain`, with the struct's layout, and so `MapData`. `#[derive(Maps)]` compares the layout with the
///   BTF types of the map.
/// - `Fields`, so that a `Cell` of the struct has `fields()`, which returns a struct `NAMECells` with a cell for each
///   field.
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
/// `#[skelgen(crate = path)]` sets the path of the runtime if it is not `::skelgen_runtime`. `#[skelgen(cells = Name)]`
/// sets the name of the struct of cells.
///
/// # Errors
/// Compile errors point at the field or attribute.
#[proc_macro_derive(MapData, attributes(skelgen))]
pub fn map_data(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    let result = Input::new(&input, "MapData").and_then(|input| {
        valid::map_data(&input)?;
        Ok(expand::map_data(&input))
    });
    result.unwrap_or_else(|error| fallback::map_data(&input, &error)).into()
}

/// Derives `Maps` for a struct of map handles, which finds its maps by name in a loaded skeleton or in a directory of
/// pinned maps.
///
/// Every field is a handle of `skelgen_runtime::map`, or an `Option` of one for a map that may be missing. The name of
/// the map is the name of the field, or the name in `#[maps(name = "...")]`.
///
/// ```no_run
/// use skelgen_runtime::map::{HashMap, RingBuf};
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
/// `FlowMaps::bind(&skeleton.maps)` binds the maps of a loaded skeleton. `#[skelgen(crate = path)]` sets the path of
/// the runtime.
///
/// # Errors
/// Compile errors point at the field or attribute.
#[proc_macro_derive(Maps, attributes(skelgen, maps))]
pub fn maps(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    let result = Input::new(&input, "Maps").and_then(|input| {
        valid::maps(&input)?;
        Ok(expand::maps(&input))
    });
    result.unwrap_or_else(|error| fallback::maps(&input, &error)).into()
}
