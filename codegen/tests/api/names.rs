//! The modules of a crate, read from its sources, and the resolution of names in them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use quote::ToTokens;
use syn::{Item, UseTree, Visibility};

use super::expand::Macros;

/// A module with its items, after expanding the crate's own macros.
#[derive(Default)]
pub(crate) struct Module {
    pub(crate) items: Vec<Item>,
    pub(crate) children: BTreeMap<String, Module>,
}

/// A crate: its name and its root module.
pub(crate) struct Crate {
    pub(crate) name: String,
    pub(crate) root: Module,
}

/// One name of a `use` declaration, or all names of a module.
pub(crate) struct Import {
    /// The path, without braces.
    pub(crate) path: Vec<String>,
    /// The imported name; `None` for a glob.
    pub(crate) name: Option<String>,
}

/// The definition of an item: its module and its name there.
pub(crate) type Definition = (Vec<String>, String);

/// The target of a path.
pub(crate) enum Target {
    Module(Vec<String>),
    /// Items with the same name, which can be a type, a value and a macro.
    Items(Definition),
    /// An item of another crate, by its path.
    External(Vec<String>),
}

impl Crate {
    /// Reads the crate with this root file, such as `src/lib.rs`.
    pub(crate) fn read(name: &str, root: &Path) -> Self {
        let directory = root.parent().expect("a file is in a directory");
        let mut root = load(&text(root), directory);
        let mut macros = Macros::default();
        root.define(&mut macros);
        root.expand(&macros);
        Self { name: name.to_owned(), root }
    }

    /// Creates a crate from the text of its only file.
    pub(crate) fn of_text(name: &str, text: &str) -> Self {
        let mut root = load(text, Path::new("/nonexistent"));
        let mut macros = Macros::default();
        root.define(&mut macros);
        root.expand(&macros);
        Self { name: name.to_owned(), root }
    }

    /// Returns the module at a path from the root.
    pub(crate) fn module(&self, path: &[String]) -> Option<&Module> {
        path.iter().try_fold(&self.root, |module, name| module.children.get(name))
    }

    /// Resolves a path in the module `at`; `None` if the sources do not define it, such as a name in the prelude.
    pub(crate) fn resolve(&self, at: &[String], path: &[String]) -> Option<Target> {
        self.follow(at, path, 32)
    }

    fn follow(&self, at: &[String], path: &[String], depth: usize) -> Option<Target> {
        let depth = depth.checked_sub(1)?;
        let (first, mut rest) = path.split_first()?;
        let mut here = match first.as_str() {
            "crate" => Target::Module(Vec::new()),
            "self" => Target::Module(at.to_vec()),
            "super" => Target::Module(at.split_last()?.1.to_vec()),
            _ => self
                .named(at, first, !rest.is_empty(), depth)
                .unwrap_or_else(|| Target::External(vec![first.trim_start_matches("r#").to_owned()])),
        };
        while let Some((name, after)) = rest.split_first() {
            here = match here {
                Target::Module(module) if name == "super" => Target::Module(module.split_last()?.1.to_vec()),
                Target::Module(module) if name == "self" => Target::Module(module),
                Target::Module(module) => self.named(&module, name, !after.is_empty(), depth)?,
                Target::External(mut path) => {
                    path.push(name.clone());
                    Target::External(path)
                }
                Target::Items(_) => return None,
            };
            rest = after;
        }
        Some(here)
    }

    /// Resolves a name in a module. If both a module and a function have the name, returns the module if the path
    /// `continues`.
    fn named(&self, at: &[String], name: &str, continues: bool, depth: usize) -> Option<Target> {
        let module = self.module(at)?;
        if continues && module.children.contains_key(name) {
            return Some(Target::Module([at, &[name.to_owned()]].concat()));
        }
        if module.items.iter().any(|item| name_of(item).is_some_and(|own| own == name)) {
            return Some(Target::Items((at.to_vec(), name.to_owned())));
        }
        if module.children.contains_key(name) {
            return Some(Target::Module([at, &[name.to_owned()]].concat()));
        }
        let imports: Vec<_> = module.items.iter().filter_map(as_use).flat_map(|item| imports(&item.tree)).collect();
        let explicit = imports.iter().find(|import| import.name.as_deref() == Some(name));
        if let Some(import) = explicit {
            // A `use x::y` in the parent of `x` does not refer to itself.
            return self.follow(at, &import.path, depth);
        }
        imports.iter().filter(|import| import.name.is_none()).find_map(|import| {
            match self.follow(at, &import.path, depth)? {
                Target::Module(module) if module != at => self.named(&module, name, continues, depth.checked_sub(1)?),
                _ => None,
            }
        })
    }
}

impl Module {
    fn define(&self, macros: &mut Macros) {
        for item in &self.items {
            if let Item::Macro(syn::ItemMacro { ident: Some(name), mac, .. }) = item {
                macros.define(&name.to_string(), mac.tokens.clone());
            }
        }
        self.children.values().for_each(|module| module.define(macros));
    }

    fn expand(&mut self, macros: &Macros) {
        let mut left: Vec<_> = std::mem::take(&mut self.items).into_iter().rev().collect();
        while let Some(item) = left.pop() {
            match &item {
                Item::Macro(call) if call.ident.is_none() => {
                    if let Some(tokens) = macros.expand(&call.mac) {
                        let file = syn::parse2::<syn::File>(tokens).expect("a macro expands to items");
                        left.extend(file.items.into_iter().rev().filter(|item| !is_for_tests(item)));
                    }
                }
                _ => self.items.push(item),
            }
        }
        self.children.values_mut().for_each(|module| module.expand(macros));
    }
}

/// Parses the text of a module, whose submodules are in `directory`.
fn load(text: &str, directory: &Path) -> Module {
    let file = syn::parse_file(text).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    module(file.items, directory)
}

fn module(items: Vec<Item>, directory: &Path) -> Module {
    let mut this = Module::default();
    for item in items.into_iter().filter(|item| !is_for_tests(item)) {
        if let Item::Mod(inner) = &item {
            let name = inner.ident.to_string();
            let below = directory.join(&name);
            let child = match &inner.content {
                Some((_, items)) => module(items.clone(), &below),
                None => {
                    let file = below.with_extension("rs");
                    let file = if file.is_file() { file } else { below.join("mod.rs") };
                    load(&text(&file), &below)
                }
            };
            this.children.insert(name, child);
        }
        this.items.push(item);
    }
    this
}

fn text(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// Returns the name that an item defines in its module. Other functions handle modules and imports.
pub(crate) fn name_of(item: &Item) -> Option<String> {
    Some(match item {
        Item::Const(item) => item.ident.to_string(),
        Item::Enum(item) => item.ident.to_string(),
        Item::Fn(item) => item.sig.ident.to_string(),
        Item::Macro(item) => item.ident.as_ref()?.to_string(),
        Item::Static(item) => item.ident.to_string(),
        Item::Struct(item) => item.ident.to_string(),
        Item::Trait(item) => item.ident.to_string(),
        Item::Type(item) => item.ident.to_string(),
        Item::Union(item) => item.ident.to_string(),
        _ => return None,
    })
}

pub(crate) fn as_use(item: &Item) -> Option<&syn::ItemUse> {
    match item {
        Item::Use(item) => Some(item),
        _ => None,
    }
}

pub(crate) fn attributes(item: &Item) -> &[syn::Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// Returns whether an item is as visible as its module.
pub(crate) fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

/// Returns whether attributes hide an item from the documentation.
pub(crate) fn is_hidden(attributes: &[syn::Attribute]) -> bool {
    has(attributes, "doc", "hidden")
}

fn is_for_tests(item: &Item) -> bool {
    has(attributes(item), "cfg", "test")
}

fn has(attributes: &[syn::Attribute], name: &str, argument: &str) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        syn::Meta::List(list) => list.path.is_ident(name) && list.tokens.to_string() == argument,
        _ => false,
    })
}

/// Returns the names of a `use` declaration.
pub(crate) fn imports(tree: &UseTree) -> Vec<Import> {
    fn collect(tree: &UseTree, prefix: &[String], found: &mut Vec<Import>) {
        let with = |name: &dyn ToTokens| [prefix, &[name.to_token_stream().to_string()]].concat();
        match tree {
            UseTree::Path(path) => collect(&path.tree, &with(&path.ident), found),
            UseTree::Name(name) if name.ident == "self" => {
                found.push(Import { path: prefix.to_vec(), name: prefix.last().cloned() });
            }
            UseTree::Name(name) => {
                found.push(Import { path: with(&name.ident), name: Some(name.ident.to_string()) });
            }
            UseTree::Rename(rename) => {
                let path = if rename.ident == "self" { prefix.to_vec() } else { with(&rename.ident) };
                found.push(Import { path, name: Some(rename.rename.to_string()) });
            }
            UseTree::Glob(_) => found.push(Import { path: prefix.to_vec(), name: None }),
            UseTree::Group(group) => group.items.iter().for_each(|tree| collect(tree, prefix, found)),
        }
    }
    let mut found = Vec::new();
    collect(tree, &[], &mut found);
    found
}
