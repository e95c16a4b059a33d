//! The step that looks names up in the running kernel.

use std::os::fd::{AsFd, OwnedFd};

use super::assemble::functions;
use super::{Executor, at, at_mut, no_such};
use crate::abi::{PatchKind, SymbolKind, Way};
use crate::error::{Error, Result};
use crate::kernel::btf::{self, Wanted};
use crate::kernel::types::{self, Types, kind};
use crate::kernel::{causes, kallsyms};
use crate::open::OpenProgram;
use crate::relocate;
use crate::sys;
use crate::uapi::{AttachType, ProgramType};

/// A name that was found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    /// The id of its type.
    pub(super) id: u32,
    /// The place of its module's BTF in [`Symbols::modules`]; none for vmlinux.
    pub(super) module: Option<usize>,
}

/// What has been found so far.
#[derive(Debug, Default)]
pub(super) struct Symbols {
    resolved: bool,
    /// By symbol.
    found: Vec<Option<Found>>,
    /// By symbol: addresses.
    addresses: Vec<Option<u64>>,
    /// By program: targets that the user chose.
    targets: Vec<Option<Found>>,
    pub(super) modules: Vec<OwnedFd>,
}

/// Who wants a name.
#[derive(Clone, Copy)]
enum Owner {
    Symbol(usize),
    Target(usize),
}

impl Executor {
    /// Finds everything that programs still to be loaded need, in one pass.
    pub(super) fn resolve_symbols(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.symbols.resolved, true) {
            return Ok(());
        }
        let object = self.object;
        let mut needed = vec![None; object.symbols.len()];
        let mut targets = vec![None; object.programs.len()];
        let mut seen = vec![false; object.functions.len()];
        for (index, open) in self.open_programs.iter().enumerate().filter(|(_, open)| open.autoload) {
            let program = open.definition;
            let own_target = target_name(open)?;
            let mut need = |symbol| {
                at_mut(&mut needed, symbol).ok_or_else(|| no_such("symbol", symbol)).map(|by| *by.get_or_insert(index))
            };
            if let Some(target) = program.target.filter(|_| own_target.is_none() && open.target_program.is_none()) {
                need(target)?;
            }
            for (number, function) in functions(object, program) {
                // What a function needs, the first program that has it needs.
                if at_mut(&mut seen, number).is_none_or(|seen| std::mem::replace(seen, true)) {
                    continue;
                }
                // The two bodies name the same of the kernel.
                for patch in self.patches(&function?.body)? {
                    match patch?.kind {
                        PatchKind::Variable(symbol) | PatchKind::Function(symbol) | PatchKind::Address(symbol) => {
                            need(symbol)?
                        }
                        PatchKind::Map(_)
                        | PatchKind::ArenaValue(_)
                        | PatchKind::CpuMask
                        | PatchKind::Stride(_)
                        | PatchKind::Subprogram(_)
                        | PatchKind::JumpTable(_) => 0,
                    };
                }
            }
            targets[index] = own_target;
        }
        let mut wanted = Vec::new();
        let mut owners = Vec::new();
        for (index, symbol) in object.symbols.iter().enumerate() {
            if needed[index].is_some() && symbol.kind != SymbolKind::Address {
                wanted.push(Wanted::new(symbol.name, symbol.kind));
                owners.push(Owner::Symbol(index));
            }
        }
        for (index, target) in targets.iter().enumerate() {
            if let Some((name, kind)) = target {
                wanted.push(Wanted::new(name, *kind));
                owners.push(Owner::Target(index));
            }
        }
        self.symbols.found = vec![None; object.symbols.len()];
        self.symbols.targets = vec![None; object.programs.len()];
        self.find_addresses(&needed)?;
        if wanted.is_empty() {
            return Ok(());
        }
        btf::find(&mut wanted)?;
        let (places, opened) = btf::find_in_modules(&mut wanted)?;
        let mut modules = Vec::new();
        for module in opened {
            modules.push(module.map_err(Some).map(|fd| {
                self.symbols.modules.push(fd);
                self.symbols.modules.len() - 1
            }));
        }
        for ((wanted, owner), place) in wanted.iter().zip(owners).zip(places) {
            // What is in a module that this process may not open is as good as absent.
            let module = place.and_then(|place| modules.get_mut(place));
            let mut found = match (wanted.id, &module) {
                (Some(id), None) => Some(Found { id, module: None }),
                (Some(id), Some(Ok(module))) => Some(Found { id, module: Some(*module) }),
                (_, Some(Err(_))) | (None, _) => None,
            };
            let program = match owner {
                Owner::Symbol(index) => {
                    if let (Some(there), Some(ty)) = (found, object.symbols[index].ty) {
                        found = self.is_of_type(there, ty)?.then_some(there);
                    }
                    self.symbols.found[index] = found;
                    if object.symbols[index].weak { None } else { needed[index] }
                }
                Owner::Target(index) => {
                    self.symbols.targets[index] = found;
                    Some(index)
                }
            };
            if let (None, Some(program)) = (found, program) {
                let open = &self.open_programs[program];
                if let Some(error) = module.and_then(|module| module.as_mut().err()?.take()) {
                    return Err(error.within(format_args!("program `{}`", open.definition.name)));
                }
                let is_target = match owner {
                    Owner::Symbol(index) => {
                        open.definition.target.is_some_and(|target| usize::try_from(target) == Ok(index))
                    }
                    Owner::Target(_) => true,
                };
                return Err(missing(wanted, open, is_target));
            }
        }
        Ok(())
    }

    /// Whether a function or variable of the kernel is what the object declares it as: a type of the object's own.
    fn is_of_type(&mut self, found: Found, ty: u32) -> Result<bool> {
        let Some(btf) = self.object.btf else {
            return Ok(false);
        };
        let local = Types::of_object(self.bytes(btf)?)?;
        let vmlinux = self.kernel_types()?;
        let found_types = match found.module.and_then(|module| self.symbols.modules.get(module)) {
            None => vmlinux,
            Some(module) => {
                let refused = |errno| Error::refused("looking at the BTF of a kernel module", errno);
                let name = sys::btf::kernel_name(module.as_fd()).map_err(refused)?;
                match types::modules(&vmlinux).find(|(module, _)| Some(module) == name.as_ref()) {
                    Some((_, types)) => types,
                    None => return Ok(false),
                }
            }
        };
        let theirs = [kind::FUNC, kind::VAR].into_iter().find_map(|kind| found_types.about(found.id, kind));
        theirs.map_or(Ok(false), |theirs| relocate::types_fit(&local, ty, &found_types, theirs))
    }

    /// Finds the addresses of the symbols without a type that programs need.
    fn find_addresses(&mut self, needed: &[Option<usize>]) -> Result<()> {
        let symbols = self.object.symbols;
        self.symbols.addresses = vec![None; symbols.len()];
        let is_wanted = |index: &usize| symbols[*index].kind == SymbolKind::Address && needed[*index].is_some();
        let wanted: Vec<usize> = (0..symbols.len()).filter(is_wanted).collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let mut names: Vec<_> = wanted.iter().map(|&index| kallsyms::Wanted::new(symbols[index].name)).collect();
        let shown = kallsyms::find(&mut names)?;
        for (&index, kallsyms::Wanted { name, found }) in wanted.iter().zip(&names) {
            self.symbols.addresses[index] = match *found {
                Some(_) if !shown => {
                    return Err(Error::invalid(format_args!(
                        "the kernel hides the address of `{name}` from this process"
                    ))
                    .note("reading addresses needs CAP_SYSLOG, and /proc/sys/kernel/kptr_restrict below 2"));
                }
                Some(kallsyms::Found::Address(address)) => Some(address),
                Some(kallsyms::Found::Several(first, second)) => {
                    return Err(Error::invalid(format_args!(
                        "the kernel has several symbols `{name}`: at {first:#x} and {second:#x}"
                    )));
                }
                None => None,
            };
            if let (None, false, Some(program)) = (found, symbols[index].weak, needed[index]) {
                return Err(missing(&Wanted::new(name, SymbolKind::Address), &self.open_programs[program], false));
            }
        }
        Ok(())
    }

    /// The address of a symbol without a type; 0 if it is weak and not there.
    pub(super) fn address(&mut self, index: u32) -> Result<u64> {
        self.resolve_symbols()?;
        let address = at(&self.symbols.addresses, index).copied().ok_or_else(|| no_such("symbol", index))?;
        Ok(address.unwrap_or(0))
    }

    /// What a symbol is on this kernel; `None` if it is weak and not there.
    pub(super) fn symbol(&mut self, index: u32) -> Result<Option<Found>> {
        self.resolve_symbols()?;
        at(&self.symbols.found, index).copied().ok_or_else(|| no_such("symbol", index))
    }

    /// What a program attaches to, if it must be known when it is loaded.
    pub(super) fn target(&mut self, program: u32) -> Result<Option<Found>> {
        let open = at(&self.open_programs, program).ok_or_else(|| no_such("program", program))?;
        if open.target_program.is_some() {
            return Ok(None);
        }
        if target_name(open)?.is_some() {
            self.resolve_symbols()?;
            return Ok(at(&self.symbols.targets, program).copied().flatten());
        }
        match open.definition.target {
            Some(symbol) => self.symbol(symbol),
            None => Ok(None),
        }
    }
}

impl Executor {
    /// The BTF id of the function of another program that this one is loaded for, if the user chose one.
    pub(super) fn target_program(&self, program: u32) -> Result<Option<u32>> {
        let open = at(&self.open_programs, program).ok_or_else(|| no_such("program", program))?;
        let Some((fd, function)) = &open.target_program else {
            if open.program_type == ProgramType::EXT {
                return Err(Error::invalid("it replaces a function of another program, and was not told of which")
                    .note("choose it with `set_attach_program` before loading"));
            }
            return Ok(None);
        };
        crate::link::function_id(fd.as_fd(), function, self.token()).map(Some)
    }
}

/// The whole name and kind of the type behind the target that the user chose.
fn target_name(open: &OpenProgram) -> Result<Option<(String, SymbolKind)>> {
    let Some(target) = open.target.as_deref() else { return Ok(None) };
    let is_tracing = open.program_type == ProgramType::TRACING;
    let way = match open.attach_type {
        AttachType::TRACE_RAW_TP if is_tracing => Way::BtfTracepoint,
        AttachType::TRACE_ITER => Way::Iter,
        AttachType::LSM_MAC | AttachType::LSM_CGROUP => Way::Lsm,
        // These are loaded for no function: a pattern says which they attach to.
        AttachType::TRACE_FENTRY_MULTI | AttachType::TRACE_FEXIT_MULTI | AttachType::TRACE_FSESSION_MULTI => {
            return Ok(None);
        }
        _ if is_tracing => Way::Function,
        _ => return Ok(None),
    };
    way.kernel_type(target).map_err(|malformed| {
        Error::invalid(format_args!(
            "program `{}`: its attach target {target:?} is not valid: {malformed}",
            open.name()
        ))
        .note("`set_attach_target` named it")
    })
}

/// The error of what a program needs, be it what it attaches to or something that it uses.
fn missing(wanted: &Wanted<'_>, open: &OpenProgram, is_target: bool) -> Error {
    let kind = match wanted.kind {
        SymbolKind::Function => "function",
        SymbolKind::Typedef => "typedef",
        SymbolKind::Variable => "variable",
        SymbolKind::Struct => "struct",
        SymbolKind::Address => {
            return Error::invalid(format_args!(
                "program `{}` (section `{}`) needs the address of the kernel's symbol `{}`, which /proc/kallsyms does not have",
                open.definition.name, open.definition.section, wanted.name
            ))
            .note("load the module that has it, declare it `__weak`, or leave the program out with `set_autoload(false)`");
        }
    };
    let error = Error::invalid(format_args!(
        "program `{}` (section `{}`) needs the kernel's {kind} `{}`, which is neither in the BTF of this kernel nor in that of a module",
        open.definition.name, open.definition.section, wanted.name
    ));
    if let Some(why) = causes::not_in_btf(wanted.name).filter(|_| is_target && wanted.kind == SymbolKind::Function) {
        return error.note(format_args!("{why}, or leave the program out with `set_autoload(false)`"));
    }
    error.note(match is_target {
        true => {
            "load the module that has it, choose another target with `set_attach_target`, or leave the program out with \
             `set_autoload(false)`"
        }
        false => "load the module that has it, declare it `__weak`, or leave the program out with `set_autoload(false)`",
    })
}
