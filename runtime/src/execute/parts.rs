//! The parts of the executor that only some loads need.
//!
//! A binary should not contain code that its objects never use. So the executor calls each part through function pointers, and a skeleton
//! refers only to the parts that its plan needs: the linker drops the functions of the others. A setting that needs a further part, such as
//! `LoadOptions::set_kernel_btf`, adds this part itself.
//!
//! This module knows the signatures of the parts, not what they do. To add a part, add a struct of its functions and a row of the
//! table here, a static in the module that implements it, and a row in the generator's `rust/parts.rs`, which determines the parts of a plan.

use std::os::fd::{BorrowedFd, OwnedFd};

use super::maps::{Created, InnerMap};
use super::percpu::Shape;
use super::programs::Form;
use super::struct_ops::{Target, Value};
use super::{Executor, arena, btf, kconfig, loader, percpu, relocate, reuse, struct_ops, symbols, templates, usdt};
use crate::abi::{Loader, Program};
use crate::error::{Errno, Error, Result};
use crate::link::StructOps;
use crate::map::Template;
use crate::open::{OpenMap, Part};
use crate::pins::Pinned;
use crate::program::SharedSpecs;
use crate::sys;

/// Arenas: their memory and their variables.
#[derive(Debug)]
pub(super) struct Arenas {
    pub(super) map: fn(&mut Executor, u32) -> Result<()>,
    pub(super) fill: fn(&Executor, u32) -> Result<()>,
    pub(super) globals: fn(&Executor, u32) -> Result<u32>,
}

/// CO-RE relocation in user space.
#[derive(Debug)]
pub(super) struct CoRe {
    pub(super) is_required: fn(&Executor, u32, &Form) -> bool,
    pub(super) is_cause: fn(Errno, Option<&str>) -> Result<bool>,
    pub(super) relocate: fn(&mut Executor, u32, &mut Form) -> Result<()>,
    pub(super) unresolved: fn(&Executor, &'static Program, usize) -> Option<String>,
}

/// Maps of maps.
#[derive(Debug)]
pub(super) struct InnerMaps {
    pub(super) template: fn(&mut Executor, u32) -> Result<Option<InnerMap>>,
    pub(super) definition: fn(BorrowedFd<'_>) -> Option<Template>,
    pub(super) insert: fn(&Executor, u32, u32, u32) -> Result<()>,
}

/// The kernel's configuration.
#[derive(Debug)]
pub(super) struct Kconfig {
    pub(super) fill: fn(&mut Executor, u32) -> Result<()>,
}

/// The kernel's result for a request. The outer error means that the request could not be made.
type Answered = Result<Result<(), Errno>>;

/// BTF for an older kernel, or `None` if it would be the same.
type OlderBtf = Option<Vec<u8>>;

/// The loader program.
#[derive(Debug)]
pub(super) struct LoaderProgram {
    pub(super) check: fn(&Executor) -> Result<()>,
    pub(super) load: fn(&mut Executor, &'static Loader) -> Result<()>,
}

/// Sections with a value for each CPU.
#[derive(Debug)]
pub(super) struct Percpu {
    pub(super) choose: fn(&mut Executor) -> Result<()>,
    pub(super) emulated: fn(&OpenMap) -> Result<Shape>,
    pub(super) spread: fn(&[u8], u32) -> Result<Vec<u8>>,
    pub(super) update_each: fn(&sys::map::Map, &[u8], &[u8]) -> Answered,
    pub(super) mask: fn() -> Result<u32>,
}

/// Maps that exist before the load, and pins.
#[derive(Debug)]
pub(super) struct Pins {
    pub(super) existing: fn(&mut Executor, u32) -> Result<Option<Created>>,
    pub(super) pin: fn(&Executor) -> Result<Box<dyn Pinned>>,
}

/// BTF for kernels that reject the object's BTF.
#[derive(Debug)]
pub(super) struct Sanitizing {
    pub(super) sanitized: fn(&Executor, &[u8]) -> Result<OlderBtf>,
    pub(super) accepts_functions: fn(&Executor) -> Result<bool>,
    pub(super) with_contexts: fn(&mut Executor, u32) -> Result<Option<OwnedFd>>,
}

/// struct_ops maps.
#[derive(Debug)]
pub(super) struct StructOpsMaps {
    pub(super) prepare: fn(&mut Executor) -> Result<()>,
    pub(super) target: fn(&Executor, u32) -> Result<Option<Target>>,
    pub(super) value: fn(&Executor, u32) -> Option<Value>,
    pub(super) take: fn(&mut Executor) -> Vec<Option<StructOps>>,
}

/// Symbols of the kernel, and attach targets in other programs.
#[derive(Debug)]
pub(super) struct Symbols {
    pub(super) resolve: fn(&mut Executor) -> Result<()>,
    pub(super) without_address: fn(&mut Executor, u32, Errno) -> Result<bool>,
    pub(super) in_program: fn(&Executor, u32) -> Result<Option<u32>>,
    pub(super) absent: fn(&Executor, &'static Program, Option<i32>, &str) -> Option<String>,
}

/// The maps of USDT programs.
#[derive(Debug)]
pub(super) struct Usdt {
    pub(super) specs: fn(&Executor) -> Result<Option<SharedSpecs>>,
}

/// Defines [`Parts`] from a table: a part's documentation, name, type and implementation.
macro_rules! parts {
    ($($(#[$doc:meta])* $name:ident: $part:ty = $implementation:path;)*) => {
        /// The parts that a load can use.
        ///
        /// A skeleton names those of its plan, with a method for each: `Parts::NONE.core().symbols()`.
        #[derive(Clone, Copy, Debug)]
        pub struct Parts {
            $(pub(super) $name: Option<&'static $part>,)*
        }

        impl Parts {
            /// No part. Sufficient for plans whose maps and programs use none of the features below.
            pub const NONE: Self = Self { $($name: None,)* };

            /// Every part. Sufficient for any plan.
            pub const ALL: Self = Self { $($name: Some(&$implementation),)* };

            $(
                $(#[$doc])*
                #[must_use]
                pub const fn $name(self) -> Self {
                    Self { $name: Some(&$implementation), ..self }
                }
            )*

            /// Adds the parts that settings need.
            pub(super) fn add(&mut self, parts: &[Part]) {
                for part in parts {
                    $(if let Some(part) = part.downcast_ref::<$part>() {
                        self.$name = Some(part);
                    })*
                }
            }
        }
    };
}

parts! {
    /// Adds arenas.
    arenas: Arenas = arena::PART;
    /// Adds CO-RE relocation in user space.
    core: CoRe = relocate::PART;
    /// Adds templates of inner maps.
    inner_maps: InnerMaps = templates::PART;
    /// Adds the kernel's configuration.
    kconfig: Kconfig = kconfig::PART;
    /// Adds the loader program.
    loader: LoaderProgram = loader::PART;
    /// Adds percpu sections.
    percpu: Percpu = percpu::PART;
    /// Adds pins and maps that exist before the load.
    pins: Pins = reuse::PART;
    /// Adds BTF for kernels that reject the object's BTF.
    sanitizing: Sanitizing = btf::PART;
    /// Adds struct_ops maps.
    struct_ops: StructOpsMaps = struct_ops::PART;
    /// Adds symbols of the kernel, and attach targets in other programs.
    symbols: Symbols = symbols::PART;
    /// Adds the maps of USDT programs.
    usdt: Usdt = usdt::PART;
}

/// Returns a part that this load needs.
///
/// # Errors
/// If neither the skeleton nor a setting added the part.
pub(super) fn needed<T>(part: Option<&'static T>, name: &str) -> Result<&'static T> {
    part.ok_or_else(|| {
        Error::malformed(format_args!(
            "the load plan needs part `{name}` of the runtime, which the skeleton does not include"
        ))
    })
}
