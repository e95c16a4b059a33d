//! Each public type has an example in its documentation, which the tests of documentation compile.

use std::path::Path;

use super::listing;
use super::names::{Crate, attributes, name_of};

/// Returns the documentation of an item.
fn documentation(attributes: &[syn::Attribute]) -> String {
    let lines = attributes.iter().filter(|attribute| attribute.path().is_ident("doc")).filter_map(|attribute| {
        let syn::Meta::NameValue(value) = &attribute.meta else { return None };
        match &value.value {
            syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) => Some(text.value()),
            _ => None,
        }
    });
    lines.map(|line| line + "\n").collect()
}

/// Returns whether documentation contains Rust that is compiled.
fn has_example(documentation: &str) -> bool {
    let marks = documentation.lines().filter_map(|line| line.trim_start().strip_prefix("```"));
    marks
        .step_by(2)
        .any(|language| language.split(',').all(|word| ["", "rust", "no_run", "compile_fail"].contains(&word)))
}

/// Returns the number of the public types and traits of a crate, and the paths of those without an example.
fn without_example(krate: &Crate) -> (usize, Vec<String>) {
    let types = listing::types(krate);
    let (count, mut found) = (types.len(), Vec::new());
    for ((module, name), paths) in types {
        let items = krate.module(&module).map(|module| module.items.as_slice()).unwrap_or_default();
        let mut items = items.iter().filter(|item| name_of(item).is_some_and(|own| own == name));
        if !items.any(|item| has_example(&documentation(attributes(item)))) {
            found.push(paths[0].clone());
        }
    }
    found.sort();
    (count, found)
}

#[test]
fn public_types_have_an_example() {
    let mut wrong = Vec::new();
    for (name, directory) in [("skelgen", "codegen"), ("skelgen_runtime", "runtime")] {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(directory).join("src/lib.rs");
        let (count, found) = without_example(&Crate::read(name, &root));
        assert!(count > 5, "{name} has only {count} types");
        wrong.extend(found);
    }
    assert!(wrong.is_empty(), "add an example that compiles to the documentation of {wrong:#?}");
}

#[test]
fn types_without_an_example_are_found() {
    let found = |text: &str| without_example(&Crate::of_text("krate", text)).1;
    let example = "/// ```no_run\n/// krate::f();\n/// ```\n";
    assert_eq!(found(&format!("/// A.\n{example} pub struct A; pub trait B {{}} enum C {{}}")), ["krate::B"]);
    assert_eq!(found("/// A.\n/// ```text\n/// a\n/// ```\n pub struct A;"), ["krate::A"]);
    assert_eq!(found("/// ```ignore\n/// a\n/// ```\n pub enum A {}"), ["krate::A"]);
    assert_eq!(found(&format!("mod a {{ {example} pub struct A; pub struct B; }} pub use a::B;")), ["krate::B"]);
}
