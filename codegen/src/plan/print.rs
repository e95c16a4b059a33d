//! A plan as text, stable for golden tests and comparison. Names are escaped by [`Line`].

use std::fmt;

use skelgen_abi::escape::Line;
use skelgen_abi::plan::{Attach, Map, Program, SectionKind, Step};
use skelgen_abi::uapi::{MapFlags, ProgramFlags, elem_flags, map_flags};

use super::assemble::{Assembled, entries, is_emulated};
use super::listing::Listing;
use super::{LoadPlan, kconfig, struct_ops};

impl fmt::Display for LoadPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let object = &self.object;
        writeln!(f, "object {} license {:?} blob {} bytes", Line(&object.name), object.license, object.blob.len())?;
        for (index, step) in object.steps.iter().enumerate() {
            write!(f, "{index:>4}  ")?;
            self.step(f, *step)?;
        }
        let listing = Listing::new(self);
        for program in &*object.programs {
            writeln!(f, "\nprogram {} ({})", Line(&program.name), Line(&program.section))?;
            listing.write(f, &Assembled::new(self, program, false))?;
            if is_emulated(object, program) {
                let (name, section) = (Line(&program.name), Line(&program.section));
                writeln!(f, "\nprogram {name} ({section}) without direct access to percpu data")?;
                listing.write(f, &Assembled::new(self, program, true))?;
            }
        }
        Ok(())
    }
}

impl LoadPlan {
    fn step(&self, f: &mut fmt::Formatter<'_>, step: Step) -> fmt::Result {
        let object = &self.object;
        let name = |map: u32| Line(self.map_name(map));
        let program = |index: u32| Line(self.program_name(index));
        match step {
            Step::LoadBtf => writeln!(f, "load BTF, {} bytes", object.btf.map_or(0, |span| span.len)),
            Step::ResolveSymbols => {
                writeln!(f, "resolve kernel symbols")?;
                for symbol in &*object.symbols {
                    let weak = if symbol.weak { ", may be missing" } else { "" };
                    writeln!(f, "        {:?} {}{weak}", symbol.kind, Line(&symbol.name))?;
                }
                Ok(())
            }
            Step::CreateMap { map } => {
                write!(f, "create map {}", name(map))?;
                object.maps.get(map as usize).map_or(Ok(()), |map| self.map(f, map))
            }
            Step::FillMap { map, flags } => {
                let size = object.maps.get(map as usize).map_or(0, |map| map.value_size);
                let flags =
                    if flags == elem_flags::ALL_CPUS { "16 (BPF_F_ALL_CPUS)".into() } else { flags.to_string() };
                writeln!(f, "fill map {}: {size} bytes, flags {flags}", name(map))
            }
            Step::FillKconfig { map } => {
                writeln!(f, "fill map {} from the running kernel's configuration", name(map))?;
                object.kconfig.iter().try_for_each(|config| kconfig::print(f, config))
            }
            Step::FreezeMap { map } => writeln!(f, "freeze map {}", name(map)),
            Step::InsertMap { outer, key, inner } => {
                writeln!(f, "insert map {} into {} at {key}", name(inner), name(outer))
            }
            Step::BindMap { program: index, map } => {
                writeln!(f, "bind map {} to program {}", name(map), program(index))
            }
            Step::InsertProgram { map, key, program: index } => {
                writeln!(f, "insert program {} into {} at {key}", program(index), name(map))
            }
            Step::LoadProgram { program: index } => {
                write!(f, "load program {}", program(index))?;
                object.programs.get(index as usize).map_or(Ok(()), |program| self.program(f, program))
            }
        }
    }

    fn map(&self, f: &mut fmt::Formatter<'_>, map: &Map) -> fmt::Result {
        write!(
            f,
            ": {}, key {}, value {}, max entries {}",
            map.map_type, map.key_size, map.value_size, map.max_entries
        )?;
        if map.flags != 0 {
            write!(f, ", flags {}", MapFlags::from_bits(map.flags))?;
        }
        if map.flags & map_flags::NUMA_NODE != 0 {
            write!(f, ", NUMA node {}", map.numa_node)?;
        }
        if map.extra != 0 {
            write!(f, ", map_extra {:#x}", map.extra)?;
        }
        if (map.btf_key_type_id, map.btf_value_type_id) != (0, 0) {
            write!(f, ", BTF types [{}] [{}]", map.btf_key_type_id, map.btf_value_type_id)?;
        }
        if map.kernel_name != map.name {
            write!(f, ", kernel name {}", Line(&map.kernel_name))?;
        }
        if map.pin_by_name {
            write!(f, ", pinned by name")?;
        }
        writeln!(f)?;
        if let Some(inner) = map.inner.and_then(|inner| self.object.maps.get(inner as usize)) {
            write!(f, "        inner maps like {}", Line(&inner.name))?;
            self.map(f, inner)?;
        }
        if let Some(section) =
            map.section.filter(|section| section.initial.len > 0 || section.kind == SectionKind::Percpu)
        {
            let kind = match section.kind {
                SectionKind::Data => "data",
                SectionKind::Bss => "bss",
                SectionKind::Rodata => "rodata",
                SectionKind::Percpu => "percpu",
                SectionKind::Kconfig => "kconfig",
                SectionKind::StructOps => "value",
                SectionKind::Arena => "variables",
                SectionKind::JumpTable => "instructions, little endian",
            };
            let bytes = self.object.bytes(section.initial).unwrap_or_default();
            match map.jump_table {
                Some(table) => writeln!(f, "        {kind}: {}", hex(&entries(&self.object, table, bytes)))?,
                None => writeln!(f, "        {kind}: {}", hex(bytes))?,
            }
        }
        map.struct_ops.as_ref().map_or(Ok(()), |table| struct_ops::print(f, &self.object, table))
    }

    fn program(&self, f: &mut fmt::Formatter<'_>, program: &Program) -> fmt::Result {
        write!(f, ": {}", program.program_type)?;
        if program.expected_attach_type.0 != 0 {
            write!(f, ", attach type {}", program.expected_attach_type)?;
        }
        if program.flags != 0 {
            write!(f, ", flags {}", ProgramFlags::from_bits(program.flags))?;
        }
        if let Some(symbol) = program.target.and_then(|target| self.object.symbols.get(target as usize)) {
            write!(f, ", for {}", Line(&symbol.name))?;
        }
        if !program.autoload {
            write!(f, ", not loaded by default")?;
        }
        match &program.attach {
            Attach::Needs(what) => write!(f, ", attaches with {what}")?,
            Attach::Target(kind) => write!(f, ", attaches with {}", kind.needs())?,
            Attach::Never(how) => write!(f, ", runs {how}")?,
            Attach::RawTracepoint(name) => write!(f, ", attaches to raw tracepoint {}", Line(name))?,
            Attach::Tracing => write!(f, ", attaches to its load target")?,
            Attach::Iter => write!(f, ", attaches as iterator")?,
            Attach::Tracepoint { category, name } => {
                write!(f, ", attaches to tracepoint {}/{}", Line(category), Line(name))?;
            }
            Attach::Kprobe { function, offset, at_return } => {
                let at = if *at_return { "return of " } else { "" };
                write!(f, ", attaches to {at}{}+{offset:#x}", Line(function))?;
            }
            Attach::KprobeMulti { pattern, at_return } => {
                let at = if *at_return { "returns of " } else { "" };
                write!(f, ", attaches to {at}kernel functions {}", Line(pattern))?;
            }
            Attach::Ksyscall { name, at_return } => {
                let at = if *at_return { "return of " } else { "" };
                write!(f, ", attaches to {at}system call {}", Line(name))?;
            }
            Attach::Uprobe { path, function, offset, at_return } => {
                let at = if *at_return { "return of " } else { "" };
                write!(f, ", attaches to {at}{}:{}+{offset:#x}", Line(path), Line(function))?;
            }
            Attach::UprobeMulti { path, pattern, at_return } => {
                let at = if *at_return { "returns of " } else { "" };
                write!(f, ", attaches to {at}functions {}:{}", Line(path), Line(pattern))?;
            }
            Attach::TracingMulti { pattern } => write!(f, ", attaches to kernel functions {}", Line(pattern))?,
            Attach::Usdt { path, provider, name } => {
                write!(f, ", attaches to USDT probe {}:{}:{}", Line(path), Line(provider), Line(name))?;
            }
        }
        writeln!(f)?;
        size(f, "", &Assembled::new(self, program, false))?;
        if is_emulated(&self.object, program) {
            let emulated = Assembled::new(self, program, true);
            size(f, "without direct access to percpu data: ", &emulated)?;
        }
        Ok(())
    }
}

fn size(f: &mut fmt::Formatter<'_>, what: &str, program: &Assembled) -> fmt::Result {
    writeln!(
        f,
        "        {what}{} instructions, {} functions, {} lines, {} CO-RE relocations",
        program.insns.len(),
        if program.described { program.functions.len() } else { 0 },
        program.lines.len(),
        program.relos.len()
    )
}

/// Returns up to 32 bytes in hexadecimal, followed by the number of further bytes.
fn hex(bytes: &[u8]) -> String {
    const SHOWN: usize = 32;
    let mut text: Vec<String> = bytes.iter().take(SHOWN).map(|byte| format!("{byte:02x}")).collect();
    if bytes.len() > SHOWN {
        text.push(format!("and {} bytes more", bytes.len() - SHOWN));
    } else {
        text.push("then zeros".into());
    }
    text.join(" ")
}
