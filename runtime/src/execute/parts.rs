//! The parts of the executor that only some loads need.
//!
//! A program should not contain code that its objects never use. So the executor calls each part by a function pointer, and a skeleton
//! names the parts that its plan needs: the linker drops the functions of the others. A setting that needs more, such as
//! `LoadOptions::set_kernel_btf`, names its part itself.
//!
//! This module knows the signatures of the parts, not what they do. To add a part, add a struct of its functions, a field and a method
//! here, a static in the module that implements it, and a row in the generator's `rust/parts.rs`, which determines the parts of a plan.

use std::os::fd::OwnedFd;

use super::maps::{Created, InnerMap};
use super::percpu::Shape;
use super::programs::Form;
use super::struct_ops::Target;
use super::{Executor, arena, btf, kconfig, percpu, relocate, reuse, struct_ops, symbols, templates, usdt};
use crate::abi::Program;
use crate::error::{Errno, Error, Result};
use crate::link::StructOps;
use crate::open::{OpenMap, Part};
use crate::pins::PinSet;
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
    pub(super) unresolved: fn(&Executor, &[u8], usize) -> Option<String>,
}

/// Templates of inner maps.
#[derive(Debug)]
pub(super) struct InnerMaps {
    pub(super) template: fn(&mut Executor, u32) -> Result<Option<InnerMap>>,
}

/// The kernel's configuration.
#[derive(Debug)]
pub(super) struct Kconfig {
    pub(super) fill: fn(&mut Executor, u32) -> Result<()>,
}

/// The kernel's answer to a request, unless the request cannot be made.
type Answered = Result<Result<(), Errno>>;

/// BTF for an older kernel, or `None` if it would be the same.
type OlderBtf = Option<Vec<u8>>;

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
    pub(super) pin: fn(&Executor) -> Result<PinSet>,
}

/// BTF for kernels that do not accept the object's.
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

/// The parts that a load can use.
///
/// A skeleton names those of its plan, with a method for each: `Parts::NONE.core().symbols()`.
#[derive(Clone, Copy, Debug)]
pub struct Parts {
    pub(super) arenas: Option<&'static Arenas>,
    pub(super) core: Option<&'static CoRe>,
    pub(super) inner_maps: Option<&'static InnerMaps>,
    pub(super) kconfig: Option<&'static Kconfig>,
    pub(super) percpu: Option<&'static Percpu>,
    pub(super) pins: Option<&'static Pins>,
    pub(super) sanitizing: Option<&'static Sanitizing>,
    pub(super) struct_ops: Option<&'static StructOpsMaps>,
    pub(super) symbols: Option<&'static Symbols>,
    pub(super) usdt: Option<&'static Usdt>,
}

impl Parts {
    /// No part: enough for a plan of maps, sections and programs that use nothing of the kernel by name.
    pub const NONE: Self = Self {
        arenas: None,
        core: None,
        inner_maps: None,
        kconfig: None,
        percpu: None,
        pins: None,
        sanitizing: None,
        struct_ops: None,
        symbols: None,
        usdt: None,
    };

    /// Every part: enough for any plan.
    pub const ALL: Self =
        Self::NONE.arenas().core().inner_maps().kconfig().percpu().pins().sanitizing().struct_ops().symbols().usdt();

    /// Adds arenas.
    #[must_use]
    pub const fn arenas(self) -> Self {
        Self { arenas: Some(&arena::PART), ..self }
    }

    /// Adds CO-RE relocation in user space.
    #[must_use]
    pub const fn core(self) -> Self {
        Self { core: Some(&relocate::PART), ..self }
    }

    /// Adds templates of inner maps.
    #[must_use]
    pub const fn inner_maps(self) -> Self {
        Self { inner_maps: Some(&templates::PART), ..self }
    }

    /// Adds the kernel's configuration.
    #[must_use]
    pub const fn kconfig(self) -> Self {
        Self { kconfig: Some(&kconfig::PART), ..self }
    }

    /// Adds percpu sections.
    #[must_use]
    pub const fn percpu(self) -> Self {
        Self { percpu: Some(&percpu::PART), ..self }
    }

    /// Adds pins and maps that exist before the load.
    #[must_use]
    pub const fn pins(self) -> Self {
        Self { pins: Some(&reuse::PART), ..self }
    }

    /// Adds BTF for kernels that do not accept the object's.
    #[must_use]
    pub const fn sanitizing(self) -> Self {
        Self { sanitizing: Some(&btf::PART), ..self }
    }

    /// Adds struct_ops maps.
    #[must_use]
    pub const fn struct_ops(self) -> Self {
        Self { struct_ops: Some(&struct_ops::PART), ..self }
    }

    /// Adds symbols of the kernel.
    #[must_use]
    pub const fn symbols(self) -> Self {
        Self { symbols: Some(&symbols::PART), ..self }
    }

    /// Adds the maps of USDT programs.
    #[must_use]
    pub const fn usdt(self) -> Self {
        Self { usdt: Some(&usdt::PART), ..self }
    }

    /// Adds the parts that settings need.
    pub(super) fn add(&mut self, parts: &[Part]) {
        for part in parts {
            if let Some(part) = part.downcast_ref() {
                self.core = Some(part);
            } else if let Some(part) = part.downcast_ref() {
                self.inner_maps = Some(part);
            } else if let Some(part) = part.downcast_ref() {
                self.pins = Some(part);
            } else if let Some(part) = part.downcast_ref() {
                self.symbols = Some(part);
            }
        }
    }
}

/// Returns a part that this load needs.
///
/// # Errors
/// If neither the skeleton nor a setting names it.
pub(super) fn needed<T>(part: Option<&'static T>, name: &str) -> Result<&'static T> {
    part.ok_or_else(|| {
        Error::malformed(format_args!(
            "the load plan needs the part `{name}` of the runtime, which its skeleton does not name"
        ))
    })
}
