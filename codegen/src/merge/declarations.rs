//! What files declare alike: the declarations of each global name are compared with the definition. Then the data sections
//! and the records about instructions follow the types to one table (`types/`).

use std::collections::{BTreeMap, BTreeSet};

use super::agree::{self, Difference, Typed};
use super::input::Input;
use super::layout::Layout;
use super::symbols::{Globals, Place};
use super::types;
use crate::btf::ext::{BtfExt, CoreRelo, FuncInfo, LineInfo, SectionInfo};
use crate::btf::{Btf, Datasec, Kind, Linkage, SecVar, StringRef, Type, TypeId};
use crate::elf::SymbolSection;
use crate::error::{Code, Diagnostic, Reporter, Result};
use crate::insn::{INSN_SIZE, InsnIndex};

/// The section of map definitions.
const MAPS: &str = ".maps";

/// The types of the result, and the records about its instructions.
#[derive(Debug)]
pub(super) struct Types {
    pub(super) btf: Btf,
    pub(super) ext: BtfExt,
}

/// Compares the declarations of all files. Those of names that another file defines become extern declarations, also if
/// they are of dead definitions, so that each name has one definition.
///
/// # Errors
/// [`Code::Disagreement`] if files declare a name differently.
pub(super) fn settle(inputs: &mut [Input<'_>], globals: &Globals<'_>) -> Result<()> {
    let declared = Declared::collect(inputs, globals);
    declared.compare(inputs, globals)?;
    let is_defined = |name| globals.names.get(name).is_some_and(|global| global.definition.is_some());
    let named = declared.names.iter().filter(|((name, _), _)| is_defined(*name));
    let others: Vec<At> = named.flat_map(|(_, all)| all.iter().skip(1)).copied().collect();
    for (file, id) in others {
        let kind = inputs[file].btf.as_mut().map(|btf| &mut btf.get_mut(id).kind);
        if let Some(Kind::Func { linkage, .. } | Kind::Var { linkage, .. }) = kind {
            *linkage = Linkage::Extern;
        }
    }
    Ok(())
}

/// Merges the types of all files, whose declarations are settled.
///
/// # Errors
/// Those of [`types::merge`].
pub(super) fn merge(inputs: &[Input<'_>], globals: &Globals<'_>, layout: &Layout<'_>) -> Result<Option<Types>> {
    if inputs.iter().all(|input| input.btf.is_none()) {
        return Ok(None);
    }
    let mut table = types::merge(&tables(inputs).map(|(_, btf)| btf).collect::<Vec<_>>())?;
    for (name, section) in sections(inputs, globals, layout, &table) {
        let name = table.string(name);
        table.btf.push(Type { name, kind: Kind::Datasec(section) });
    }
    let ext = records(inputs, globals, layout, &mut table);
    Ok(Some(Types { btf: table.btf, ext }))
}

/// A type of a file, by the index of the file.
type At = (usize, TypeId);

/// A global name in BTF, and whether it is a function.
type Name<'a> = (&'a str, bool);

/// The declarations of global names.
struct Declared<'a> {
    /// All declarations; the one to keep is the first.
    names: BTreeMap<Name<'a>, Vec<At>>,
    /// The declarations of maps.
    maps: BTreeSet<At>,
    /// The sections without contents that list a declaration: kernel symbols and configuration.
    outside: BTreeMap<At, &'a str>,
}

impl<'a> Declared<'a> {
    fn collect(inputs: &'a [Input<'_>], globals: &Globals<'_>) -> Self {
        let mut this = Self { names: BTreeMap::new(), maps: BTreeSet::new(), outside: BTreeMap::new() };
        for (file, btf) in tables(inputs) {
            for (id, ty) in btf.iter() {
                if let Some(name) = name(btf, ty) {
                    this.names.entry(name).or_default().push((file, id));
                }
                let Kind::Datasec(section) = &ty.kind else { continue };
                let section_name = btf.str(ty.name);
                for var in &section.vars {
                    if section_name == MAPS {
                        this.maps.insert((file, var.ty));
                    } else if inputs[file].elf.section_named(section_name).is_none() {
                        this.outside.insert((file, var.ty), section_name);
                    }
                }
            }
        }
        for ((name, _), all) in &mut this.names {
            let definition = globals.names.get(name).and_then(|global| global.definition);
            let is_defined = |&(file, id): &At| {
                let linkage = inputs[file].btf.as_ref().map(|btf| linkage(&btf.get(id).kind));
                definition.is_some_and(|place| place.file == file) && linkage != Some(Some(Linkage::Extern))
            };
            if let Some(at) = all.iter().position(is_defined) {
                all[..=at].rotate_right(1);
            }
        }
        this
    }

    /// Compares all declarations of each name.
    fn compare(&self, inputs: &[Input<'_>], globals: &Globals<'_>) -> Result<()> {
        let mut reporter = Reporter::new();
        for ((name, function), all) in &self.names {
            let Some((first, others)) = all.split_first() else { continue };
            if *function && self.names.contains_key(&(*name, false)) && globals.names.contains_key(name) {
                let other = self.names[&(*name, false)][0];
                let spellings = ["a function".to_owned(), "a variable".to_owned()];
                reporter.report(disagreement(
                    inputs,
                    name,
                    *first,
                    other,
                    Difference { part: String::new(), spellings },
                ));
            }
            for other in others {
                let [one, two] = [*first, *other].map(|(file, id)| Some(Typed { btf: inputs[file].btf.as_ref()?, id }));
                let (Some(one), Some(two)) = (one, two) else { continue };
                let maps = [first, other].map(|at| self.maps.contains(at));
                let undefined = globals.names.get(name).is_none_or(|global| global.definition.is_none());
                let outside = [first, other].map(|at| self.outside.get(at).copied().unwrap_or("no section"));
                let found = match maps {
                    [true, true] => agree::maps(one, two),
                    [false, false] if undefined && outside[0] != outside[1] => {
                        Err(Difference { part: "its section".to_owned(), spellings: outside.map(str::to_owned) })
                    }
                    [false, false] => agree::values(one, two),
                    _ => {
                        let spell = |is: bool| if is { "a map" } else { "not a map" }.to_owned();
                        Err(Difference { part: String::new(), spellings: maps.map(spell) })
                    }
                };
                if let Err(difference) = found {
                    reporter.report(disagreement(inputs, name, *first, *other, difference));
                    // One error for each name.
                    break;
                }
            }
        }
        reporter.finish(())
    }
}

fn disagreement(inputs: &[Input<'_>], name: &str, one: At, other: At, difference: Difference) -> Diagnostic {
    let Difference { part, spellings: [mine, theirs] } = difference;
    let part = if part.is_empty() { String::new() } else { format!("{part} of ") };
    let [here, there] = [one, other].map(|(file, _)| &inputs[file].name);
    let message =
        format!("the files disagree about {part}`{name}`: it is `{mine}` in {here}, but `{theirs}` in {there}");
    Diagnostic::new(Code::Disagreement, message).with_help("declare it in a header that both files include")
}

/// Returns the tables of the files that have types.
fn tables<'a>(inputs: &'a [Input<'_>]) -> impl Iterator<Item = (usize, &'a Btf)> {
    inputs.iter().enumerate().filter_map(|(file, input)| Some((file, input.btf.as_ref()?)))
}

/// Returns the name that files share, if the type is the declaration of a global function or variable.
fn name<'a>(btf: &'a Btf, ty: &Type) -> Option<Name<'a>> {
    let name = btf.str(ty.name);
    let shared = matches!(linkage(&ty.kind), Some(Linkage::Global | Linkage::Extern)) && !name.is_empty();
    shared.then_some((name, matches!(ty.kind, Kind::Func { .. })))
}

fn linkage(kind: &Kind) -> Option<Linkage> {
    match kind {
        Kind::Func { linkage, .. } | Kind::Var { linkage, .. } => Some(*linkage),
        _ => None,
    }
}

/// Merges the records about instructions. Records about instructions that are not in the result, or that no program can
/// have, are dropped.
fn records<'a>(
    inputs: &'a [Input<'_>],
    globals: &Globals<'_>,
    layout: &Layout<'_>,
    table: &mut types::Merged<'a>,
) -> BtfExt {
    let mut sections: BTreeMap<usize, SectionInfo> = BTreeMap::new();
    for (number, (file, btf)) in tables(inputs).enumerate() {
        let mut strings = Strings::new(btf);
        for info in &inputs[file].ext.sections {
            let Some(section) = inputs[file].elf.section_named(btf.str(info.name)) else { continue };
            let Some(moved) = layout.moved(file, section.id) else { continue };
            let slots = usize::try_from(moved.shift).unwrap_or(usize::MAX) / INSN_SIZE;
            let insn = |insn: InsnIndex| {
                let offset = u64::try_from(insn.0.checked_mul(INSN_SIZE)?).ok()?;
                let kept = offset < section.size && !globals.is_dead(file, section.id, offset);
                kept.then_some(InsnIndex(insn.0 + slots))
            };
            let joined = sections.entry(moved.to).or_default();
            joined.name = strings.add(info.name, table);
            for it in &info.funcs {
                joined.funcs.extend(insn(it.insn).map(|insn| FuncInfo { insn, ty: table.id(number, it.ty) }));
            }
            for it in &info.lines {
                let Some(insn) = insn(it.insn) else { continue };
                let (file, text) = (strings.add(it.file, table), strings.add(it.text, table));
                joined.lines.push(LineInfo { insn, file, text, ..*it });
            }
            for it in &info.relos {
                let Some(insn) = insn(it.insn) else { continue };
                let access = strings.add(it.access, table);
                joined.relos.push(CoreRelo { insn, ty: table.id(number, it.ty), access, ..*it });
            }
        }
    }
    BtfExt { sections: sections.into_values().collect() }
}

/// The strings of a file, and their references in the result. A reference can be to the end of a string. Strings are added
/// whole, because the parts that a hostile file refers to could be much longer than its table.
struct Strings<'a> {
    texts: Vec<(StringRef, &'a str)>,
    added: Vec<Option<StringRef>>,
}

impl<'a> Strings<'a> {
    fn new(btf: &'a Btf) -> Self {
        let texts: Vec<_> = btf.strings().collect();
        Self { added: vec![None; texts.len()], texts }
    }

    /// Returns the reference in the result to a string of the file.
    fn add(&mut self, string: StringRef, table: &mut types::Merged<'a>) -> StringRef {
        let after = self.texts.partition_point(|(at, _)| *at <= string);
        let Some(index) = after.checked_sub(1) else { return StringRef(0) };
        let (at, text) = self.texts[index];
        let new = *self.added[index].get_or_insert_with(|| table.string(text));
        // The empty string has no end.
        if new == StringRef(0) { new } else { StringRef(new.0 + (string.0 - at.0)) }
    }
}

/// Returns the data sections of the result: their variables, with the offsets in the joined sections.
fn sections<'a>(
    inputs: &'a [Input<'_>],
    globals: &Globals<'_>,
    layout: &Layout<'_>,
    table: &types::Merged<'_>,
) -> BTreeMap<&'a str, Datasec> {
    let mut sections: BTreeMap<&str, Datasec> = BTreeMap::new();
    for (number, (file, btf)) in tables(inputs).enumerate() {
        for (_, ty) in btf.iter() {
            let Kind::Datasec(section) = &ty.kind else { continue };
            let name = btf.str(ty.name);
            let joined = layout.named(name);
            let size = joined.map_or(0, |joined| u32::try_from(joined.size).unwrap_or(u32::MAX));
            let result = sections.entry(name).or_insert_with(|| Datasec { size, vars: Vec::new() });
            for var in &section.vars {
                let offset = match self::name(btf, btf.get(var.ty)) {
                    Some((name, _)) => {
                        let definition = globals.names.get(name).and_then(|global| global.definition);
                        match (definition, joined) {
                            (Some(place), Some(_)) if place.file == file => defined_at(inputs, layout, place),
                            // Kernel symbols and configuration, which no file defines.
                            (None, None) => Some(0),
                            _ => None,
                        }
                    }
                    None => {
                        let own = inputs[file].elf.section_named(name);
                        let moved = own.and_then(|own| layout.moved(file, own.id)).filter(|moved| !moved.repeated);
                        moved.and_then(|moved| u32::try_from(u64::from(var.offset) + moved.shift).ok())
                    }
                };
                if let Some(offset) = offset {
                    result.vars.push(SecVar { ty: table.id(number, var.ty), offset, size: var.size });
                }
            }
        }
    }
    sections.retain(|_, section| !section.vars.is_empty());
    for section in sections.values_mut() {
        section.vars.sort_by_key(|var| (var.offset, var.ty));
        section.vars.dedup_by_key(|var| (var.offset, var.ty));
    }
    sections
}

/// Returns the offset of a definition in its joined section.
fn defined_at(inputs: &[Input<'_>], layout: &Layout<'_>, place: Place) -> Option<u32> {
    let symbol = inputs[place.file].elf.symbol(place.symbol);
    let SymbolSection::Section(section) = symbol.section else { return None };
    let moved = layout.moved(place.file, section).filter(|moved| !moved.repeated)?;
    u32::try_from(symbol.value.checked_add(moved.shift)?).ok()
}
