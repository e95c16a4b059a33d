//! The step that finds symbols of the running kernel by name.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use super::absent::{Absence, Mismatch};
use super::assemble::functions;
use super::state::open_program;
use super::{Executor, at, at_mut, no_such, parts};
use crate::abi::{PatchKind, SymbolKind, TargetKind};
use crate::btf::{Types, kind};
use crate::error::{Errno, Error, ErrorKind, Result, Step, Subject};
use crate::kernel::btf::{self, Wanted};
use crate::kernel::types;
use crate::kernel::{causes, kallsyms};
use crate::open::OpenProgram;
use crate::relocate;
use crate::uapi::{AttachType, ProgramType};

/// A symbol that was found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    /// The BTF id of the symbol's type.
    pub(super) id: u32,
    /// The index of the symbol's module in [`Symbols::modules`]; `None` for vmlinux.
    pub(super) module: Option<usize>,
}

/// The symbols that were found so far.
#[derive(Debug, Default)]
pub(super) struct Symbols {
    resolved: bool,
    /// For each symbol, the symbol that was found or the reason why it is absent; `None` if no program needs the
    /// symbol.
    found: Vec<Option<Result<Found, Absence>>>,
    /// For each symbol, the symbol's address if it was looked up.
    addresses: Vec<Option<u64>>,
    /// For each program, the attach target that the user set.
    targets: Vec<Option<Found>>,
    pub(super) modules: Vec<Module>,
    /// Whether `/proc/kallsyms` was searched for the addresses of the found symbols.
    addresses_checked: bool,
}

/// A module with a symbol that is used.
#[derive(Debug)]
pub(super) struct Module {
    name: String,
    pub(super) btf: OwnedFd,
}

impl Symbols {
    /// Makes the next lookup search again, because the settings of a program have changed.
    pub(super) fn resolve_again(&mut self) {
        (self.resolved, self.addresses_checked) = (false, false);
    }

    /// Adds a module and returns its index.
    pub(super) fn add_module(&mut self, name: String, btf: OwnedFd) -> usize {
        self.modules.push(Module { name, btf });
        self.modules.len() - 1
    }

    /// Returns the BTF of a module; `None` for vmlinux.
    pub(super) fn module(&self, module: Option<usize>) -> Option<&OwnedFd> {
        Some(&self.modules.get(module?)?.btf)
    }

    /// Returns why a symbol is absent, if it is.
    pub(super) fn absence(&self, symbol: u32) -> Option<&Absence> {
        at(&self.found, symbol)?.as_ref()?.as_ref().err()
    }

    /// Returns the name of vmlinux or a module for errors.
    fn owner(&self, module: Option<usize>) -> String {
        match module.and_then(|module| self.modules.get(module)) {
            Some(module) => owner(&module.name),
            None => "vmlinux".to_owned(),
        }
    }
}

/// Returns the name of a module for errors.
fn owner(module: &str) -> String {
    format!("module `{}`", module.escape_debug())
}

/// The origin of a lookup: a symbol that programs use, or the attach target of a program.
#[derive(Clone, Copy)]
enum Owner {
    Symbol(usize),
    Target(usize),
}

/// The part of the executor for objects with symbols of the kernel.
pub(super) static PART: parts::Symbols = parts::Symbols {
    resolve: Executor::find_symbols,
    without_address: Executor::find_without_address,
    in_program: Executor::function_in_program,
    absent: Executor::absent_symbol,
};

impl Executor {
    /// Finds all symbols that the programs to be loaded need, in one pass.
    fn find_symbols(&mut self) -> Result<()> {
        self.symbols.resolved = true;
        let object = self.object;
        let mut needed = vec![None; object.symbols.len()];
        let mut targets = Vec::new();
        // The functions of the programs before. Programs are not assembled now, so the buffer is free.
        let mut seen = std::mem::take(&mut self.code.starts);
        seen.clear();
        seen.resize(object.functions.len(), 0);
        // Required programs first: a symbol that one of them needs is required.
        let loaded = || self.programs.iter().map(|program| &program.open).enumerate().filter(|(_, open)| open.autoload);
        let required = loaded().filter(|(_, open)| !open.optional);
        for (index, open) in required.chain(loaded().filter(|(_, open)| open.optional)) {
            let program = open.definition;
            let own_target = target_name(open)?;
            let mut need = |symbol| {
                at_mut(&mut needed, symbol).ok_or_else(|| no_such("symbol", symbol)).map(|by| *by.get_or_insert(index))
            };
            if let Some(target) = program.target.filter(|_| own_target.is_none() && open.target_program.is_none()) {
                need(target)?;
            }
            for (number, function) in functions(object, program) {
                // If several programs contain a function, errors about its symbols name the first of them.
                if at_mut(&mut seen, number).is_none_or(|seen| std::mem::replace(seen, 1) == 1) {
                    continue;
                }
                // The ordinary and the emulated body of a function use the same kernel symbols.
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
            if own_target.is_some() {
                targets.resize(object.programs.len(), None);
                targets[index] = own_target;
            }
        }
        seen.clear();
        self.code.starts = seen;
        let owners = || {
            let is_needed =
                |index: &usize| needed[*index].is_some() && object.symbols[*index].kind != SymbolKind::Address;
            let symbols = (0..object.symbols.len()).filter(is_needed).map(Owner::Symbol);
            symbols.chain((0..targets.len()).filter(|&index| targets[index].is_some()).map(Owner::Target))
        };
        let mut wanted = Vec::with_capacity(owners().count());
        wanted.extend(owners().filter_map(|owner| match owner {
            Owner::Symbol(index) => Some(Wanted::new(&object.symbols[index].name, object.symbols[index].kind)),
            Owner::Target(index) => targets[index].as_ref().map(|(name, kind): &(String, _)| Wanted::new(name, *kind)),
        }));
        self.symbols.found = vec![None; object.symbols.len()];
        self.symbols.targets = vec![None; targets.len()];
        self.find_addresses(&needed)?;
        if wanted.is_empty() {
            return Ok(());
        }
        let unread = btf::find(&mut wanted)?;
        let mut in_modules = btf::find_in_modules(&mut wanted)?;
        let unread: Vec<String> = unread.into_iter().chain(std::mem::take(&mut in_modules.unread)).collect();
        let mut modules: Vec<_> = std::mem::take(&mut in_modules.modules)
            .into_iter()
            .map(|(name, opened)| match opened {
                Ok(btf) => Ok(self.symbols.add_module(name, btf)),
                Err(error) => Err((name, Some(error))),
            })
            .collect();
        let mut comparison = None;
        let mut unloadable = Vec::new();
        for (number, (wanted, owner)) in wanted.iter().zip(owners()).enumerate() {
            // A symbol of a module whose BTF this process cannot open counts as absent.
            let mut module = in_modules.position(number).and_then(|position| modules.get_mut(position));
            let mut found = match (wanted.id, &module) {
                (Some(id), None) => Ok(Found { id, module: None }),
                (Some(id), Some(Ok(module))) => Ok(Found { id, module: Some(*module) }),
                (_, Some(Err((name, _)))) => Err(Absence::Forbidden(self::owner(name))),
                (None, _) => Err(Absence::Unknown(unread.clone())),
            };
            let program = match owner {
                Owner::Symbol(index) => {
                    if let (Ok(there), Some(ty)) = (&found, object.symbols[index].ty) {
                        let there = *there;
                        let comparison = match &mut comparison {
                            Some(comparison) => comparison,
                            None => comparison.insert(self.comparison()?),
                        };
                        found = comparison
                            .mismatch(&self.symbols, there, ty, wanted.name)?
                            .map_or(Ok(there), |mismatch| Err(Absence::OtherType(mismatch)));
                    }
                    self.symbols.found[index] = Some(found.clone());
                    if object.symbols[index].weak { None } else { needed[index] }
                }
                Owner::Target(index) => {
                    self.symbols.targets[index] = found.as_ref().ok().copied();
                    Some(index)
                }
            };
            if let (Err(absence), Some(program)) = (found, program) {
                let open = &self.programs[program].open;
                if let Some(error) = module.as_mut().and_then(|module| module.as_mut().err()?.1.take()) {
                    return Err(error
                        .about(Subject::Program(&open.definition.name))
                        .within(format_args!("cannot load program `{}`", &*open.definition.name)));
                }
                let is_target = match owner {
                    Owner::Symbol(index) => {
                        open.definition.target.is_some_and(|target| usize::try_from(target) == Ok(index))
                    }
                    Owner::Target(_) => true,
                };
                let error = missing((wanted.name, wanted.kind), open, is_target, &absence);
                if !open.optional {
                    return Err(error);
                }
                let users = match owner {
                    Owner::Symbol(symbol) => self.users(symbol)?,
                    Owner::Target(program) => vec![program],
                };
                unloadable.extend(users.into_iter().map(|user| {
                    let open = &self.programs[user].open;
                    (user, missing((wanted.name, wanted.kind), open, is_target, &absence))
                }));
            }
        }
        self.reject_all(unloadable);
        Ok(())
    }

    /// Leaves optional programs out of the load.
    fn reject_all(&mut self, programs: Vec<(usize, Error)>) {
        for (program, error) in programs {
            let error = error.during(Step::FindSymbol).within(format_args!("object `{}`", self.object.name));
            self.reject(u32::try_from(program).unwrap_or(u32::MAX), error);
        }
    }

    /// Returns the programs to be loaded that use a symbol or attach to it.
    fn users(&self, symbol: usize) -> Result<Vec<usize>> {
        let symbol = u32::try_from(symbol).unwrap_or(u32::MAX);
        let mut users = Vec::new();
        for (index, open) in
            self.programs.iter().map(|program| &program.open).enumerate().filter(|(_, open)| open.autoload)
        {
            let is_target =
                open.definition.target == Some(symbol) && open.target.is_none() && open.target_program.is_none();
            if is_target || self.uses(open, symbol)? {
                users.push(index);
            }
        }
        Ok(users)
    }

    /// Returns the types for comparing declarations.
    fn comparison(&mut self) -> Result<Comparison> {
        let span = self
            .object
            .btf
            .ok_or_else(|| Error::malformed("the object declares typed kernel symbols but has no BTF"))?;
        let local = Types::of_object(self.bytes(span)?)?;
        Ok(Comparison { local, vmlinux: self.kernel_types()?, modules: Vec::new() })
    }

    /// Finds symbols that are in BTF but have no address: Linux 7.3 has BTF functions that only describe other
    /// functions, and rejects programs that use them. Called only after the kernel rejected a program, because it reads
    /// all of `/proc/kallsyms`. Returns whether weak symbols became absent, so that another attempt to load the program
    /// can succeed.
    fn find_without_address(&mut self, program: u32, errno: Errno) -> Result<bool> {
        let is_that = [libc::EINVAL, libc::ENOENT].contains(&errno.raw());
        if !is_that || std::mem::replace(&mut self.symbols.addresses_checked, true) {
            return Ok(false);
        }
        let object = self.object;
        let with_id: Vec<(usize, Found)> = (self.symbols.found.iter().enumerate())
            .filter(|(index, _)| object.symbols[*index].ty.is_some())
            .filter_map(|(index, found)| Some((index, *found.as_ref()?.as_ref().ok()?)))
            .collect();
        let mut names: Vec<_> =
            with_id.iter().map(|&(index, _)| kallsyms::Wanted::new(&object.symbols[index].name)).collect();
        // If `/proc/kallsyms` cannot be read, keep the error of the kernel, which is more helpful.
        if names.is_empty()
            || kallsyms::find(&mut names).is_err()
            || names.iter().all(|name| name.found.is_none()) && !kallsyms::lists_names()
        {
            return Ok(false);
        }
        let mut changed = false;
        for (&(index, found), name) in with_id.iter().zip(&names) {
            if name.found.is_some() {
                continue;
            }
            let absence = Absence::NoAddress(self.symbols.owner(found.module));
            let symbol = &object.symbols[index];
            if !symbol.weak {
                let index = u32::try_from(index).unwrap_or(u32::MAX);
                let open = open_program(&self.programs, program)?;
                if self.uses(open, index)? {
                    return Err(missing((&symbol.name, symbol.kind), open, false, &absence));
                }
                continue;
            }
            self.symbols.found[index] = Some(Err(absence));
            changed = true;
        }
        Ok(changed)
    }

    /// Returns whether a program's instructions refer to a symbol.
    fn uses(&self, open: &OpenProgram, symbol: u32) -> Result<bool> {
        for (_, function) in functions(self.object, open.definition) {
            for patch in self.patches(self.body(function?))? {
                if let PatchKind::Variable(used) | PatchKind::Function(used) | PatchKind::Address(used) = patch?.kind {
                    if used == symbol {
                        return Ok(true);
                    }
                }
            }
        }
        Ok(false)
    }

    /// Finds the addresses of the untyped symbols that programs need.
    fn find_addresses(&mut self, needed: &[Option<usize>]) -> Result<()> {
        let symbols = &self.object.symbols;
        let is_wanted = |index: &usize| symbols[*index].kind == SymbolKind::Address && needed[*index].is_some();
        let wanted: Vec<usize> = (0..symbols.len()).filter(is_wanted).collect();
        if wanted.is_empty() {
            return Ok(());
        }
        self.symbols.addresses = vec![None; symbols.len()];
        let mut names: Vec<_> = wanted.iter().map(|&index| kallsyms::Wanted::new(&symbols[index].name)).collect();
        let mut unloadable = Vec::new();
        let shown = kallsyms::find(&mut names)?;
        for (&index, kallsyms::Wanted { name, found }) in wanted.iter().zip(&names) {
            self.symbols.addresses[index] = match *found {
                Some(_) if !shown => {
                    return Err(Error::of(
                        ErrorKind::NotPermitted,
                        format_args!("the kernel hides the address of `{name}` from this process"),
                    )
                    .with_help(kallsyms::HIDDEN));
                }
                Some(kallsyms::Found::Address(address)) => Some(address),
                Some(kallsyms::Found::Several(first, second)) => {
                    return Err(Error::of(
                        ErrorKind::Ambiguous,
                        format_args!("the kernel has several symbols `{name}`: at {first:#x} and {second:#x}"),
                    ));
                }
                None => None,
            };
            if let (None, false, Some(program)) = (found, symbols[index].weak, needed[index]) {
                let missing = |program: usize| {
                    let open = &self.programs[program].open;
                    missing((name, SymbolKind::Address), open, false, &Absence::Unknown(Vec::new()))
                };
                if !self.programs[program].open.optional {
                    return Err(missing(program));
                }
                unloadable.extend(self.users(index)?.into_iter().map(|user| (user, missing(user))));
            }
        }
        self.reject_all(unloadable);
        Ok(())
    }

    /// Finds the symbols of the kernel, if they were not found before.
    pub(super) fn resolve_symbols(&mut self) -> Result<()> {
        match self.symbols.resolved {
            true => Ok(()),
            false => (parts::needed(self.parts.symbols, "symbols")?.resolve)(self),
        }
    }

    /// Returns the address of an untyped symbol; 0 if it is weak and absent.
    pub(super) fn address(&mut self, index: u32) -> Result<u64> {
        self.resolve_symbols()?;
        let address = at(&self.symbols.addresses, index).copied().ok_or_else(|| no_such("symbol", index))?;
        Ok(address.unwrap_or(0))
    }

    /// Returns a symbol of the running kernel; `None` if it is weak and absent.
    pub(super) fn symbol(&mut self, index: u32) -> Result<Option<Found>> {
        self.resolve_symbols()?;
        let found = at(&self.symbols.found, index).ok_or_else(|| no_such("symbol", index))?;
        Ok(found.as_ref().and_then(|found| found.as_ref().ok()).copied())
    }

    /// Returns the attach target of a program, if the load requires it.
    pub(super) fn target(&mut self, program: u32) -> Result<Option<Found>> {
        let open = open_program(&self.programs, program)?;
        if open.target_program.is_some() {
            return Ok(None);
        }
        let by_section = open.definition.target;
        if open.target.is_some() {
            self.resolve_symbols()?;
            if let Some(found) = at(&self.symbols.targets, program).copied().flatten() {
                return Ok(Some(found));
            }
        }
        match by_section {
            Some(symbol) => self.symbol(symbol),
            None => Ok(None),
        }
    }
}

impl Executor {
    /// Returns the BTF id of the function in another program that this program is loaded for, if the user set one.
    pub(super) fn target_program(&self, program: u32) -> Result<Option<u32>> {
        let open = open_program(&self.programs, program)?;
        if open.target_program.is_none() {
            if open.program_type == ProgramType::EXT {
                return Err(Error::invalid(
                    "the program replaces a function of another program, but no other program was set",
                )
                .with_help("set the other program with `set_attach_program` before the load"));
            }
            return Ok(None);
        }
        (parts::needed(self.parts.symbols, "symbols")?.in_program)(self, program)
    }

    /// Returns the BTF id of the function that the user set with its program.
    fn function_in_program(&self, program: u32) -> Result<Option<u32>> {
        let target = at(&self.programs, program).and_then(|program| program.open.target_program.as_ref());
        let id = |(fd, function): &(OwnedFd, String)| crate::link::function_id(fd.as_fd(), function, self.token());
        target.map(id).transpose()
    }
}

/// Returns the full name and the kind of the BTF type of the attach target that the user set.
fn target_name(open: &OpenProgram) -> Result<Option<(String, SymbolKind)>> {
    let Some(target) = open.target.as_deref() else { return Ok(None) };
    let is_tracing = open.program_type == ProgramType::TRACING;
    let way = match open.attach_type {
        AttachType::TRACE_RAW_TP if is_tracing => TargetKind::BtfTracepoint,
        AttachType::TRACE_ITER => TargetKind::Iter,
        AttachType::LSM_MAC | AttachType::LSM_CGROUP => TargetKind::Lsm,
        // These are not loaded for one function: a pattern selects the functions at attach.
        AttachType::TRACE_FENTRY_MULTI | AttachType::TRACE_FEXIT_MULTI | AttachType::TRACE_FSESSION_MULTI => {
            return Ok(None);
        }
        _ if is_tracing => TargetKind::Function,
        _ => return Ok(None),
    };
    way.kernel_type(target).map_err(|malformed| {
        Error::invalid(format_args!("attach target {target:?} of program `{}` is not valid: {malformed}", open.name()))
            .note("the target was set with `set_attach_target`")
    })
}

/// The types of the object and of the kernel, to compare declarations. Those of a module are read once.
struct Comparison {
    local: Types,
    vmlinux: Arc<Types>,
    /// The types of modules, by the module's index.
    modules: Vec<(usize, Arc<Types>)>,
}

impl Comparison {
    /// Returns both declarations if the found symbol's type is not compatible with the declared one.
    fn mismatch(&mut self, symbols: &Symbols, found: Found, ty: u32, name: &str) -> Result<Option<Mismatch>> {
        let types = match found.module {
            None => Arc::clone(&self.vmlinux),
            Some(module) => self.module(symbols, module)?,
        };
        // Functions and variables have a type; other symbols have none to compare.
        let theirs = [kind::FUNC, kind::VAR].into_iter().find_map(|kind| types.referenced(found.id, kind));
        let theirs = theirs.filter(|_| types.name(found.id) == name);
        let theirs = theirs.ok_or_else(|| {
            Error::of(
                ErrorKind::Busy,
                format_args!("the BTF of kernel symbol `{}` changed during the lookup", name.escape_debug()),
            )
        })?;
        let (local_id, their_id) = (self.local.resolve(ty), types.resolve(theirs));
        // Types that are nested too deeply to be compared count as incompatible.
        if relocate::types_compatible(&self.local, local_id, &types, their_id).unwrap_or(false) {
            return Ok(None);
        }
        Ok(Some(Mismatch {
            declared: self.local.declaration(ty, name),
            found: types.declaration(theirs, name),
            owner: symbols.owner(found.module),
        }))
    }

    fn module(&mut self, symbols: &Symbols, module: usize) -> Result<Arc<Types>> {
        if let Some((_, types)) = self.modules.iter().find(|(known, _)| *known == module) {
            return Ok(Arc::clone(types));
        }
        let name =
            &symbols.modules.get(module).ok_or_else(|| Error::malformed("the module index is out of range"))?.name;
        let types = types::module(&self.vmlinux, name)?;
        self.modules.push((module, Arc::clone(&types)));
        Ok(types)
    }
}

/// Returns the error for a missing kernel symbol that a program attaches to or uses.
fn missing(symbol: (&str, SymbolKind), open: &OpenProgram, is_target: bool, absence: &Absence) -> Error {
    let error = reason(symbol, open, is_target, absence).during(Step::FindSymbol);
    error.about(Subject::Symbol(symbol.0)).about(Subject::Program(&open.definition.name))
}

fn reason((name, kind): (&str, SymbolKind), open: &OpenProgram, is_target: bool, absence: &Absence) -> Error {
    let (program, section) = (&*open.definition.name, &*open.definition.section);
    let kind = match kind {
        SymbolKind::Function => "function",
        SymbolKind::Typedef => "typedef",
        SymbolKind::Variable => "variable",
        SymbolKind::Struct => "struct",
        SymbolKind::Address => {
            return Error::not_found(format_args!(
                "cannot load program `{program}` (section `{section}`): kernel symbol `{name}` not found in /proc/kallsyms",
            ))
            .with_help("load the module that has the symbol, declare the symbol `__weak`, or leave the program out with `set_autoload(false)`");
        }
    };
    match absence {
        Absence::OtherType(Mismatch { declared, found, owner }) => Error::mismatch(format_args!(
            "cannot load program `{program}` (section `{section}`): kernel {kind} `{name}` has a different type: the object declares `{declared}`, the BTF of {owner} has `{found}`"
        ))
        .with_help(
            "declare the symbol as the kernel does, with definitions of the structs; to support kernels with different declarations, declare each of them `__weak` with a suffix, as `NAME___SUFFIX`, and choose with `bpf_ksym_exists`",
        ),
        Absence::NoAddress(owner) => {
            let error = Error::not_found(format_args!(
                "cannot load program `{program}` (section `{section}`): kernel {kind} `{name}` is in the BTF of {owner}, but has no address in /proc/kallsyms"
            ));
            let error = match name.ends_with("_impl") {
                true => error.with_help("a BTF entry whose name ends in `_impl` may only describe the function without this suffix (Linux 7.0): call that function"),
                false => error,
            };
            error.with_help(format_args!(
                "the kernel may be built without the {kind}: declare the {kind} `__weak`, and guard its use with `bpf_ksym_exists`"
            ))
        }
        Absence::Unknown(unread) => {
            let advice = match is_target {
                true => {
                    "load the module that has the symbol, set a different target with `set_attach_target`, or leave the program out with \
                     `set_autoload(false)`"
                }
                false => {
                    "load the module that has the symbol, declare the symbol `__weak`, or leave the program out with `set_autoload(false)`"
                }
            };
            let error = Error::not_found(format_args!(
                "cannot load program `{program}` (section `{section}`): kernel {kind} `{name}` not found in the BTF of this kernel or of a loaded module"
            ));
            // If the kernel has the function, but its BTF does not, the reason for that is more helpful.
            if let Some(why) = causes::not_in_btf(name).filter(|_| is_target && kind == "function") {
                return error.with_help(format_args!("{why}, or leave the program out with `set_autoload(false)`"));
            }
            match unread.is_empty() {
                true => error.with_help(advice),
                false => error.with_help(format_args!("{}; {advice}", unread.join("; "))),
            }
        }
        Absence::Forbidden(owner) => Error::of(ErrorKind::NotPermitted, format_args!(
            "cannot load program `{program}` (section `{section}`): kernel {kind} `{name}` is in {owner}, whose BTF this process has no permission to open"
        )),
    }
}
