//! C headers of types, such as `vmlinux.h`: the kernel's types for BPF programs, written from BTF.
//!
//! A compiler that targets BPF gives the types the layout in the BTF: `codegen/tests/header` compares every member of
//! several kernels. Accesses to structs are CO-RE relocations (`preserve_access_index`), so that a program compiled
//! with the header of one kernel runs on other kernels. The text is a function of the BTF and the arguments.
//!
//! To write another kind of item, add its dependencies in `order.rs` and its text in `write.rs`. This module does not
//! read or write files.

mod budget;
mod functions;
mod layout;
mod names;
mod order;
mod select;
mod write;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use crate::btf::{Btf, Kind, TypeId};
use crate::error::{Code, Diagnostic, Result};

use functions::Function;
use names::Names;
use order::{Order, Step};
use write::{Writer, float_name};

/// The selection of types for a header.
#[derive(Debug, Default)]
pub(crate) struct Contents<'a> {
    /// The names of types and functions, as in C: `task_struct` or `struct task_struct`. The header has them and their
    /// dependencies; if empty, it has all types and functions.
    pub(crate) only: &'a [String],
    /// The first type that belongs to the header; the types before it are those of the kernel that a module uses.
    pub(crate) first: TypeId,
    /// The source of the types, for the comment at the beginning.
    pub(crate) origin: Origin<'a>,
}

/// The source of the types of a header.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Origin<'a> {
    /// The release of the kernel.
    pub(crate) release: Option<&'a str>,
    /// The raw BTF. A kernel that is built again can have the same release and different types.
    pub(crate) btf: &'a [u8],
}

impl Origin<'_> {
    /// Returns the first line of a header. Headers with the same first line, of all types, are equal.
    pub(crate) fn first_line(self) -> String {
        let printable = |text: &str| text.chars().filter(|c| c.is_ascii_graphic() && *c != '*').collect::<String>();
        let of = self.release.map(|release| format!(" of Linux {}", printable(release))).unwrap_or_default();
        let (bytes, hash, version) = (self.btf.len(), hash(self.btf), env!("CARGO_PKG_VERSION"));
        format!("/* Types{of}, written from BTF ({bytes} bytes, hash {hash:016x}) by skelgen {version}. */")
    }
}

/// Returns a hash like FNV-1a, but over words instead of bytes: each build computes it, often without optimization.
fn hash(bytes: &[u8]) -> u64 {
    bytes.chunks(8).fold(0xcbf2_9ce4_8422_2325, |hash, chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        // The product spreads bits upwards only, so the upper half is added to the lower one.
        let product = (hash ^ u64::from_le_bytes(word)).wrapping_mul(0x0100_0000_01b3);
        product ^ product >> 32
    })
}

/// Writes a header.
///
/// # Errors
/// [`Code::NoSuchType`] if no type or function has one of the names; [`Code::BadBtf`] if the text exceeds a limit.
pub(crate) fn write(btf: &Btf, contents: &Contents<'_>) -> Result<String> {
    let functions = Function::all(btf, contents.first);
    let names = Names::new(btf, &functions);
    let (types, functions) = select::select(btf, contents, functions)?;
    let mut order = Order::new(btf);
    types.iter().for_each(|&id| order.define(id));
    functions.iter().for_each(|function| order.declare(function.proto));
    if order.is_exceeded() {
        return Err(too_long("the types"));
    }

    let mut out = beginning(contents.origin);
    floats(btf, &mut out);
    let mut writer = Writer::new(btf, names);
    for step in order.steps {
        match step {
            Step::Declare(id) => writer.declare(&mut out, id),
            Step::Define(id) if matches!(btf.get(id).kind, Kind::Typedef(_)) => continue,
            Step::Define(id) => writer.define(&mut out, id),
        }
        check(&writer, step)?;
    }
    // Enums without a name that no type contains: their enumerators are constants.
    for id in types {
        if let (Kind::Enum(enumeration), "") = (&btf.get(id).kind, btf.name(id)) {
            writer.top_enum(&mut out, id, enumeration);
            check(&writer, Step::Define(id))?;
        }
    }
    out.push_str("#ifndef BPF_NO_PRESERVE_ACCESS_INDEX\n#pragma clang attribute pop\n#endif\n\n");
    functions::write(&mut writer, &functions, &mut out)?;
    out.push_str("#endif\n");
    Ok(out)
}

fn check(writer: &Writer<'_>, step: Step) -> Result<()> {
    let (Step::Declare(id) | Step::Define(id)) = step;
    if writer.budget.is_exceeded() { Err(too_long(&format!("type {id} `{}`", writer.btf.name(id)))) } else { Ok(()) }
}

fn too_long(what: &str) -> crate::error::Error {
    Diagnostic::new(
        Code::BadBtf,
        format!("cannot write {what} in C: types repeat others, and the text exceeds the size limit"),
    )
    .into()
}

/// Returns the text before all types.
fn beginning(origin: Origin<'_>) -> String {
    format!(
        "{}\n#ifndef __VMLINUX_H__\n#define __VMLINUX_H__\n\n#ifndef BPF_NO_PRESERVE_ACCESS_INDEX\n\
         #pragma clang attribute push (__attribute__((preserve_access_index)), apply_to = record)\n#endif\n\n",
        origin.first_line()
    )
}

/// Defines a replacement for each floating-point type that BPF does not have: a struct of the same size.
fn floats(btf: &Btf, out: &mut String) {
    let sizes: BTreeSet<u32> = btf
        .iter()
        .filter_map(|(_, ty)| match ty.kind {
            Kind::Float(size) if size != 4 && size != 8 => Some(size),
            _ => None,
        })
        .collect();
    for size in sizes {
        let align = size & size.wrapping_neg();
        out.push_str(&format!(
            "typedef struct {{\n\tunsigned char bytes[{size}];\n}} __attribute__((aligned({align}))) {};\n\n",
            float_name(size)
        ));
    }
}
