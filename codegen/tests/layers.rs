//! The modules of each crate form layers: a module uses only modules of lower layers.
//!
//! The order is declared here and compared with all paths in the sources: in `use` declarations (including brace lists,
//! `self`, `super` and renames), expressions, types and macro calls. To add a module, add its name to its layer. Tests
//! (`#[cfg(test)]`) may use all modules.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::Visit;

/// The layers of a crate, lowest first. Modules of one layer may use each other only if they form one entry, joined by
/// `+`.
struct Layers {
    sources: &'static str,
    order: &'static [&'static str],
}

const CODEGEN: Layers = Layers {
    sources: "codegen/src",
    order: &[
        "error insn similar",
        "elf btf",
        "merge",
        "model",
        "link",
        "emulate",
        "plan",
        "loader",
        "sign skeleton",
        "rust header min_btf",
        "options+builder output",
        "generate check",
        "api build",
        "cli",
        "lib",
        "main",
    ],
};

/// The passes of the model. `lib` is the root module, which has the types of the model.
const MODEL: Layers = Layers {
    sources: "codegen/src/model",
    order: &[
        "lib",
        "columns exceptions externs kernels memory reached refused repair sections wrappers",
        "needs pass table",
        "data functions special",
        "arena jumps kconfig legacy maps struct_ops",
        "print references undefined untyped warnings",
        "build",
    ],
};

const RUNTIME: Layers = Layers {
    sources: "runtime/src",
    order: &[
        "error",
        "sys",
        "record btf pins cgroup",
        "sanitize opened",
        "kernel",
        "relocate interface",
        "data",
        "map",
        "usdt_specs open",
        "program",
        "link",
        "system execute",
        "object",
        "generated",
        "skeleton",
        "lib",
    ],
};

const ABI: Layers = Layers {
    sources: "runtime/abi/src",
    order: &["escape loader opcode relocation uapi", "attr helper plan", "map_types", "lib"],
};

#[test]
fn the_shared_crate_is_layered() {
    check(&ABI);
}

#[test]
fn the_generator_is_layered() {
    check(&CODEGEN);
}

#[test]
fn the_model_is_layered() {
    check(&MODEL);
}

#[test]
fn the_runtime_is_layered() {
    check(&RUNTIME);
}

#[test]
fn upward_uses_are_found_in_any_syntax() {
    let files = |text: &str| vec![Source::new("low", text), Source::new("high", "")];
    for text in [
        "use crate::high::Thing;",
        "use crate::{high, other};",
        "use crate::{other::{a, b}, high::{self, Thing}};",
        "use super::high::Thing as Renamed;",
        "mod inner { use super::super::high::Thing; }",
        "fn f() -> crate::high::Thing { todo!() }",
        "fn f() { let x = crate::high::make(); }",
        "fn f() { assert!(crate::high::is()); }",
        "impl crate::high::Trait for () {}",
        "pub use crate::high::*;",
        "use crate::Reexported;",
    ] {
        let graph = Graph::of(&files(text), &BTreeMap::from([("Reexported".to_owned(), "high".to_owned())]));
        assert_eq!(wrong(&graph, &["low", "high"]).len(), 1, "{text}");
    }
    for text in [
        "use crate::low::Thing;",
        "use std::high::Thing;",
        "#[cfg(test)] mod tests { use crate::high::Thing; }",
        "// crate::high::x",
    ] {
        let graph = Graph::of(&files(text), &BTreeMap::new());
        assert!(wrong(&graph, &["low", "high"]).is_empty(), "{text}");
    }
    let cycle = [Source::new("a", "use crate::b::X;"), Source::new("b", "use crate::a::Y;")];
    assert_eq!(
        wrong(&Graph::of(&cycle, &BTreeMap::new()), &["a b"]).len(),
        2,
        "modules of one layer do not use each other"
    );
    assert!(wrong(&Graph::of(&cycle, &BTreeMap::new()), &["a+b"]).is_empty(), "but those of one entry");
}

fn check(layers: &Layers) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(layers.sources);
    let files = sources(&root);
    let root = files.iter().find(|file| file.at == ["lib"]).expect("a crate has a root");
    let reexports = reexports(&root.text);
    let wrong = wrong(&Graph::of(&files, &reexports), layers.order);
    assert!(wrong.is_empty(), "{}:\n{}", layers.sources, wrong.join("\n"));
}

/// Returns the uses that do not lead to a lower layer, one per line.
fn wrong(graph: &Graph, order: &[&str]) -> Vec<String> {
    let place = |module: &str| {
        order.iter().enumerate().find_map(|(level, layer)| {
            let entry = layer.split(' ').position(|entry| entry.split('+').any(|name| name == module))?;
            Some((level, entry))
        })
    };
    let mut wrong = Vec::new();
    for (from, uses) in &graph.uses {
        let Some((level, entry)) = place(from) else {
            wrong.push(format!("`{from}` is not in a layer; add it to the declared order"));
            continue;
        };
        for (to, how) in uses {
            match place(to) {
                Some((below, _)) if below < level => {}
                Some(same) if same == (level, entry) => {}
                _ => wrong.push(format!("`{from}` uses `{to}` ({how})")),
            }
        }
    }
    wrong
}

/// A file and its module path; `lib` is the root.
struct Source {
    at: Vec<String>,
    text: String,
}

impl Source {
    fn new(module: &str, text: &str) -> Self {
        Self { at: vec![module.to_owned()], text: text.to_owned() }
    }
}

/// Returns the files of a crate, except for those that contain only tests.
fn sources(root: &Path) -> Vec<Source> {
    let mut found = Vec::new();
    let mut below = vec![root.to_owned()];
    while let Some(directory) = below.pop() {
        for entry in fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display())) {
            let path = entry.expect("the directory can be read").path();
            if path.is_dir() {
                below.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") && !is_test(&path) {
                let inside = path.strip_prefix(root).expect("it is inside").with_extension("");
                let parts = inside.iter().map(|part| part.to_string_lossy().into_owned());
                let mut at: Vec<_> = parts.filter(|part| part != "mod").collect();
                if at.is_empty() {
                    at.push("lib".to_owned());
                }
                found.push(Source { at, text: fs::read_to_string(&path).expect("the file can be read") });
            }
        }
    }
    found
}

/// Returns whether a file contains only tests, by its name.
fn is_test(path: &Path) -> bool {
    path.components().any(|part| matches!(part.as_os_str().to_str(), Some("tests.rs" | "tests" | "testing.rs")))
}

/// Returns the names that a crate's root re-exports, with their modules.
fn reexports(text: &str) -> BTreeMap<String, String> {
    let file = syn::parse_file(text).expect("the root is Rust");
    let mut found = BTreeMap::new();
    for item in file.items {
        if let syn::Item::Use(item) = item {
            let mut paths = Vec::new();
            flatten(&item.tree, &mut Vec::new(), &mut paths);
            for path in paths {
                if let [module, .., name] = path.as_slice() {
                    let module = if module == "crate" || module == "self" { &path[1] } else { module };
                    found.insert(name.clone(), module.clone());
                }
            }
        }
    }
    found
}

/// The top-level modules that each top-level module uses, with an example of each use.
struct Graph {
    uses: BTreeMap<String, BTreeMap<String, String>>,
}

impl Graph {
    fn of(files: &[Source], reexports: &BTreeMap<String, String>) -> Self {
        let mut uses: BTreeMap<String, BTreeMap<String, String>> =
            files.iter().map(|file| (file.at[0].clone(), BTreeMap::new())).collect();
        let names: BTreeSet<String> = uses.keys().cloned().collect();
        for file in files {
            let module = &file.at[0];
            let parsed = syn::parse_file(&file.text).unwrap_or_else(|error| panic!("{}: {error}", file.at.join("/")));
            let is_root = module == "lib" || module == "main";
            let mut paths = Paths { at: if is_root { Vec::new() } else { file.at.clone() }, found: Vec::new() };
            paths.visit_file(&parsed);
            let used = uses.entry(module.clone()).or_default();
            for path in paths.found {
                let Some(first) = path.first() else { continue };
                let to = if names.contains(first) { first } else { reexports.get(first).unwrap_or(first) };
                if names.contains(to) && to != module {
                    used.entry(to.clone()).or_insert_with(|| format!("{}: {}", file.at.join("/"), path.join("::")));
                }
            }
        }
        Self { uses }
    }
}

/// Collects the paths in a file that begin at the crate's root, in any notation.
struct Paths {
    /// The current module.
    at: Vec<String>,
    found: Vec<Vec<String>>,
}

impl Paths {
    /// Records a path if it leads to a module of the crate.
    fn note(&mut self, path: &[String]) {
        let mut at = match path.first().map(String::as_str) {
            Some("crate" | "$crate") => Vec::new(),
            Some("self" | "super") => self.at.clone(),
            // In the root, a path may begin with a module's name.
            Some(_) if self.at.is_empty() => {
                self.found.push(path.to_vec());
                return;
            }
            _ => return,
        };
        for part in path {
            match part.as_str() {
                "crate" | "$crate" | "self" => {}
                "super" => {
                    at.pop();
                }
                name => at.push(name.to_owned()),
            }
        }
        self.found.push(at);
    }

    /// Records the paths in the tokens of a macro call.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(name) => {
                    if colons != 2 {
                        self.note(&std::mem::take(&mut path));
                    }
                    path.push(name.to_string());
                    colons = 0;
                }
                TokenTree::Punct(mark) if mark.as_char() == ':' => colons += 1,
                other => {
                    self.note(&std::mem::take(&mut path));
                    colons = 0;
                    if let TokenTree::Group(group) = other {
                        self.tokens(group.stream());
                    }
                }
            }
        }
        self.note(&path);
    }
}

impl<'ast> Visit<'ast> for Paths {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if is_for_tests(&item.attrs) {
            return;
        }
        self.at.push(item.ident.to_string());
        syn::visit::visit_item_mod(self, item);
        self.at.pop();
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        if !is_for_tests(&item.attrs) {
            syn::visit::visit_item_fn(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        if is_for_tests(&item.attrs) {
            return;
        }
        let mut paths = Vec::new();
        flatten(&item.tree, &mut Vec::new(), &mut paths);
        for path in paths {
            self.note(&path);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        // A single name refers to an import, which is recorded by itself.
        if names.len() > 1 {
            self.note(&names);
        }
        syn::visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, item: &'ast syn::Macro) {
        self.tokens(item.tokens.clone());
        syn::visit::visit_macro(self, item);
    }
}

/// Returns whether an item is compiled only for tests.
fn is_for_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        syn::Meta::List(list) if list.path.is_ident("cfg") => list.tokens.to_string() == "test",
        _ => false,
    })
}

/// Expands a `use` tree into its paths.
fn flatten(tree: &syn::UseTree, prefix: &mut Vec<String>, found: &mut Vec<Vec<String>>) {
    let whole = |prefix: &[String], name: &syn::Ident| {
        let mut path = prefix.to_vec();
        path.push(name.to_string());
        path
    };
    match tree {
        syn::UseTree::Path(path) => {
            prefix.push(path.ident.to_string());
            flatten(&path.tree, prefix, found);
            prefix.pop();
        }
        syn::UseTree::Name(name) => found.push(whole(prefix, &name.ident)),
        syn::UseTree::Rename(rename) => found.push(whole(prefix, &rename.ident)),
        syn::UseTree::Glob(_) => found.push(prefix.clone()),
        syn::UseTree::Group(group) => group.items.iter().for_each(|tree| flatten(tree, prefix, found)),
    }
}
