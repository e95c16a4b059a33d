//! Goldens of the texts of all errors, help and warnings: one file for the generator (with the derive macros and the
//! tables that it shares with the runtime) and one file for the runtime.
//!
//! Each file lists every text once, as the source has it, with its placeholders, for review. To accept a change, run
//! `SKELGEN_BLESS=1 cargo test -p skelgen --test diagnostics` and read the difference. Other tests compare codes, not
//! texts.

use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use skelgen_corpus::golden;
use syn::visit::Visit;

/// The texts of a crate: their directories, and the file that lists them, relative to the workspace.
struct Listed {
    sources: &'static [&'static str],
    /// Files and directories with texts that are not error messages: generated code, plans, summaries, recorded calls.
    others: &'static [&'static str],
    expected: &'static str,
}

const GENERATOR: Listed = Listed {
    sources: &["codegen/src", "macros/src", "runtime/abi/src/map_types.rs", "runtime/abi/src/plan/attach.rs"],
    others: &[
        "codegen/src/btf/declaration.rs",
        "codegen/src/cli/",
        "codegen/src/error/mod.rs",
        "codegen/src/insn/",
        "codegen/src/model/print.rs",
        "codegen/src/plan/kconfig.rs",
        "codegen/src/plan/print.rs",
        "codegen/src/plan/struct_ops.rs",
        "codegen/src/rust/",
    ],
    expected: "codegen/src/error/expected.txt",
};

const RUNTIME: Listed = Listed {
    sources: &["runtime/src"],
    others: &[
        "runtime/src/btf/declaration.rs",
        "runtime/src/btf/testing.rs",
        "runtime/src/error/golden.rs",
        "runtime/src/relocate/tests/",
        "runtime/src/skeleton/",
        "runtime/src/sys/call.rs",
    ],
    expected: "runtime/src/error/texts.txt",
};

#[test]
fn texts_of_the_generator_are_as_expected() {
    check(&GENERATOR);
}

#[test]
fn texts_of_the_runtime_are_as_expected() {
    check(&RUNTIME);
}

fn check(listed: &Listed) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files: Vec<PathBuf> = listed.sources.iter().flat_map(|source| files(&root.join(source))).collect();
    files.sort();
    let mut text = String::new();
    for path in files {
        let name = path.strip_prefix(&root).expect("it is in the workspace").display().to_string();
        if listed.others.iter().any(|other| name.starts_with(other)) || name.ends_with("/tests.rs") {
            continue;
        }
        let texts = texts(&fs::read_to_string(&path).expect("the file can be read"));
        if !texts.is_empty() {
            text += &format!("== {name}\n{}\n\n", texts.join("\n"));
        }
    }
    if let Err(difference) = golden::check(&root.join(listed.expected), format!("{}\n", text.trim_end()).as_bytes()) {
        panic!("{difference}\nrun with {}=1 to accept", golden::BLESS);
    }
}

#[test]
fn texts_are_found_in_macros_and_not_in_tests_or_docs() {
    let source = r#"
        /// A comment with "a text".
        const ONE: &str = "one text";
        fn f() { bad(format!("two {texts}")); g("word"); h("one text"); }
        codes! { /// A comment.
            Code = "SK0001", Some("three texts"); }
        #[cfg(test)] mod tests { const FOUR: &str = "four texts"; }
        #[test] fn test() { f("five texts"); }
    "#;
    assert_eq!(texts(source), ["one text", "two {texts}", "three texts"]);
}

/// Returns the Rust files of a directory, or the file itself.
fn files(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let entries = fs::read_dir(path).expect("the directory exists");
    let paths = entries.map(|entry| entry.expect("the directory can be read").path());
    paths
        .filter(|path| path.is_dir() || path.extension().is_some_and(|end| end == "rs"))
        .flat_map(|path| files(&path))
        .collect()
}

/// Returns the string literals with several words, in the order of the source, without duplicates.
fn texts(source: &str) -> Vec<String> {
    let mut texts = Texts::default();
    texts.visit_file(&syn::parse_file(source).expect("it is Rust"));
    texts.found
}

#[derive(Default)]
struct Texts {
    found: Vec<String>,
}

impl Texts {
    fn add(&mut self, literal: &syn::LitStr) {
        let text = literal.value();
        if text.trim().contains(' ') && !self.found.contains(&text) {
            self.found.push(text);
        }
    }

    /// Adds the literals in the tokens of a macro call, except for those in attributes.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut tokens = tokens.into_iter().peekable();
        while let Some(token) = tokens.next() {
            match token {
                TokenTree::Punct(mark) if mark.as_char() == '#' => {
                    tokens.next_if(|next| matches!(next, TokenTree::Group(_)));
                }
                TokenTree::Group(group) => self.tokens(group.stream()),
                TokenTree::Literal(literal) => {
                    if let Ok(literal) = syn::parse2(TokenTree::Literal(literal).into()) {
                        self.add(&literal);
                    }
                }
                _ => {}
            }
        }
    }
}

impl<'ast> Visit<'ast> for Texts {
    fn visit_attribute(&mut self, _: &'ast syn::Attribute) {}

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if !item.attrs.iter().any(|attribute| attribute.path().is_ident("cfg")) {
            syn::visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        if !item.attrs.iter().any(|attribute| attribute.path().is_ident("test")) {
            syn::visit::visit_item_fn(self, item);
        }
    }

    fn visit_lit_str(&mut self, literal: &'ast syn::LitStr) {
        self.add(literal);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.tokens(call.tokens.clone());
    }
}
