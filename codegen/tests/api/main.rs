//! The public API of a crate is recorded in `api.txt` beside its Cargo.toml, so that reviewers see each change.
//!
//! To accept a change, run `SKELGEN_BLESS=1 cargo test -p skelgen --test api` and read the difference. To add a crate,
//! add a test as below; `listing::list` accepts the root of any crate.

mod examples;
mod expand;
mod listing;
mod names;
mod release;

use std::path::Path;

use names::Crate;
use skelgen_corpus::golden;

/// Compares the API of the crate in this directory of the workspace with its file.
fn check(name: &str, directory: &str) -> Vec<String> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(directory);
    let lines = listing::list(&Crate::read(name, &directory.join("src/lib.rs")));
    let text = lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    if let Err(difference) = golden::check(&directory.join("api.txt"), text.as_bytes()) {
        panic!("{difference}\nrun with {}=1 to accept", golden::BLESS);
    }
    lines
}

#[test]
fn the_generator_has_the_listed_surface() {
    let lines = check("skelgen", "codegen");
    let counted =
        lines.iter().filter(|line| ["impl ", "field ", "variant "].iter().all(|kind| !line.starts_with(kind)));
    let (methods, items): (Vec<&String>, Vec<&String>) = counted.partition(|line| is_method(line));
    let advice = "items for the workspace belong in `unstable`";
    assert!(items.len() <= 20, "{} public items: {advice}", items.len());
    // The build step has a method for each setting.
    let others = methods.iter().filter(|line| !line.contains("::Builder::")).count();
    assert!(others <= 12, "{others} public methods beside those of the builder: {advice}");
}

/// Returns whether a line is a method of a type: `pub fn krate::Type::name(...)`.
fn is_method(line: &str) -> bool {
    let path = line.split_once("fn ").map_or("", |(_, path)| path.split('(').next().unwrap_or(path));
    path.rsplit("::").nth(1).is_some_and(|owner| owner.starts_with(char::is_uppercase))
}

#[test]
fn the_runtime_has_the_listed_surface() {
    check("skelgen_runtime", "runtime");
}

/// Checks that a crate with this text has exactly these lines.
#[track_caller]
fn lists(text: &str, lines: &[&str]) {
    assert_eq!(listing::list(&Crate::of_text("krate", text)), lines);
}

#[test]
fn added_items_are_listed() {
    let before = "pub struct Thing; impl Thing { pub fn one(&self) {} fn two(&self) {} }";
    lists(before, &["pub struct krate::Thing", "pub fn krate::Thing::one(&self)"]);
    for (added, line) in [
        ("pub fn more(count: u32) -> Option<u8> { None }", "pub fn krate::more(count: u32) -> Option<u8>"),
        ("impl Thing { pub const fn more() {} }", "pub const fn krate::Thing::more()"),
        ("impl Default for Thing { }", "impl Default for krate::Thing"),
        ("pub mod more {}", "pub mod krate::more"),
        ("pub trait More: Copy { fn f(&self); }", "pub trait krate::More: Copy"),
        ("pub const MORE: &[u8] = &[];", "pub const krate::MORE: &[u8]"),
        ("pub type More<T> = Vec<T>;", "pub type krate::More<T> = Vec<T>"),
        ("#[non_exhaustive] pub enum More { A(u8), B { c: u16 } }", "#[non_exhaustive] pub enum krate::More"),
        ("#[macro_export] macro_rules! more { () => {} }", "macro krate::more!"),
        ("pub use other::{one::More, two};", "pub use other::one::More as krate::More"),
        ("mod inner { #[macro_export] macro_rules! more { () => {} } }", "macro krate::more!"),
    ] {
        let lines = listing::list(&Crate::of_text("krate", &format!("{before} {added}")));
        assert!(lines.iter().any(|it| it == line), "{added}: {lines:#?}");
    }
}

#[test]
fn private_items_are_not_listed() {
    lists("fn a() {} pub(crate) fn b() {} mod c { pub fn d() {} } use c::d; pub(crate) use c::d as e;", &[]);
    lists("#[doc(hidden)] pub mod a { pub fn b() {} } #[doc(hidden)] pub fn c() {} #[cfg(test)] pub fn d() {}", &[]);
    lists("pub struct A { b: u8, pub(crate) c: u8, #[doc(hidden)] pub d: u8 }", &["pub struct krate::A"]);
    lists("pub enum A { #[doc(hidden)] B }", &["pub enum krate::A"]);
    lists("#[doc(hidden)] pub trait A {} pub struct B; impl A for B {}", &["pub struct krate::B"]);
    lists("mod a { pub struct B; impl B { pub fn c() {} } }", &[]);
}

#[test]
fn names_are_followed_to_their_items() {
    let inner = "mod a { pub(super) mod b { pub struct C; impl C { pub fn d(self) {} } pub fn e() {} } pub use b::*; }";
    let all = ["pub struct krate::C", "pub fn krate::C::d(self)", "pub fn krate::e()"];
    for outer in ["pub use a::*;", "pub use a::b::{C, e};", "pub use crate::a::{b::C, e};", "use a::b; pub use b::*;"] {
        lists(&format!("{outer} {inner}"), &all);
    }
    lists(&format!("pub use a::b::e as f; {inner}"), &["pub fn krate::f()"]);
    lists(
        &format!("pub use a::b::{{self}}; {inner}"),
        &["pub mod krate::b", "pub struct krate::b::C", "pub fn krate::b::C::d(self)", "pub fn krate::b::e()"],
    );
    lists(
        "mod a { pub struct A<T>(pub T); } mod b { impl<T> super::a::A<T> { pub fn c(&mut self) {} } } pub use a::A;",
        &["pub struct krate::A<T>", "field krate::A::0: T", "pub fn krate::A::c(&mut self)"],
    );
}

#[test]
fn items_of_macros_are_listed() {
    lists(
        "macro_rules! table { ($($(#[$doc:meta])* $name:ident = $value:expr;)*) => { pub enum Kind { $($(#[$doc])* $name),* }
         impl Kind { pub const ALL: &[u32] = &[$($value),*]; } table!(@ $($name),+); };
         (@ $first:ident $(, $more:ident)*) => { pub fn $first() {} } }
         table! { /// One.
         A = 1; B = 2 + 3; }",
        &[
            "pub fn krate::A()",
            "pub enum krate::Kind",
            "variant krate::Kind::A",
            "pub const krate::Kind::ALL: &[u32]",
            "variant krate::Kind::B",
        ],
    );
}

/// Tests that the sources of the runtime can be listed, without a comparison with the committed listing.
#[test]
fn the_runtime_can_be_listed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../runtime/src/lib.rs");
    let lines = listing::list(&Crate::read("skelgen_runtime", &root));
    assert!(lines.iter().any(|line| line == "pub struct skelgen_runtime::Program"), "{} lines", lines.len());
}
