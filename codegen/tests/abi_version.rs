//! A fingerprint of the plan's types ensures that a change to the format of generated files also changes its version.

use std::fs;
use std::path::Path;

use proc_macro2::{TokenStream, TokenTree};
use skelgen_abi::plan::VERSION;

/// The versions, each with the fingerprint of its types. If this test fails, increment `VERSION` and add a line. Never
/// change the line of a released version.
const VERSIONS: &[(u32, u64)] = &[(9, 0xeb16_ffda_201a_7816), (10, 0x3a97_e080_328a_c7ca)];

#[test]
fn changes_of_the_plan_raise_its_version() {
    let &(version, known) = VERSIONS.last().expect("there is a version");
    let now = fingerprint();
    assert!(
        (version, known) == (VERSION, now),
        "the plan's types have fingerprint {now:#x}, but version {version} has {known:#x}: increment `VERSION` (now {VERSION}) \
         in runtime/abi/src/plan.rs and add a line to `VERSIONS` here"
    );
    assert!(VERSIONS.is_sorted_by(|(before, _), (after, _)| before < after), "each version has one line");
}

/// Hashes all types, fields and constants of the plan, and the grammar of the macros that generated files call. Ignores
/// documentation, formatting, and the bodies of functions and macros.
fn fingerprint() -> u64 {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../runtime/abi/src");
    let runtime = Path::new(env!("CARGO_MANIFEST_DIR")).join("../runtime/src");
    let mut hash = 0xcbf2_9ce4_8422_2325;
    for file in ["skeleton/mod.rs", "skeleton/types.rs", "data/part.rs"] {
        let text = fs::read_to_string(runtime.join(file)).expect("the source exists");
        for item in syn::parse_file(&text).expect("it is Rust").items {
            let syn::Item::Macro(it) = item else { continue };
            let is_exported = it.attrs.iter().any(|attr| attr.path().is_ident("macro_export"));
            if is_exported {
                hash = mix(hash, grammar(it.mac.tokens));
            }
        }
    }
    for file in [
        "plan.rs",
        "plan/attach.rs",
        "plan/loader.rs",
        "plan/map.rs",
        "plan/program.rs",
        "plan/row.rs",
        "plan/symbol.rs",
    ] {
        let text = fs::read_to_string(sources.join(file)).expect("the source exists");
        for item in syn::parse_file(&text).expect("it is Rust").items {
            let tokens = match item {
                syn::Item::Const(it) if it.ident == "VERSION" => continue,
                syn::Item::Const(it) => quote::ToTokens::to_token_stream(&it),
                syn::Item::Enum(it) => quote::ToTokens::to_token_stream(&it),
                syn::Item::Struct(it) => quote::ToTokens::to_token_stream(&it),
                syn::Item::Type(it) => quote::ToTokens::to_token_stream(&it),
                syn::Item::Macro(it) => it.mac.tokens,
                _ => continue,
            };
            hash = mix(hash, tokens);
        }
    }
    hash
}

/// Returns the patterns of a macro's rules: the part before `=>`.
fn grammar(arms: TokenStream) -> TokenStream {
    let mut is_matched = true;
    let of_arms = arms.into_iter().filter(|token| match token {
        TokenTree::Punct(mark) => {
            is_matched = mark.as_char() == ';';
            false
        }
        _ => is_matched,
    });
    of_arms.collect()
}

/// Hashes tokens with FNV-1a, without attributes.
fn mix(mut hash: u64, tokens: TokenStream) -> u64 {
    let mut tokens = tokens.into_iter().peekable();
    let add = |hash: &mut u64, text: &str| {
        for byte in text.bytes().chain([0]) {
            *hash = (*hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
    };
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Punct(mark) if mark.as_char() == '#' && matches!(tokens.peek(), Some(TokenTree::Group(_))) => {
                tokens.next();
            }
            TokenTree::Group(group) => {
                add(&mut hash, "(");
                hash = mix(hash, group.stream());
                add(&mut hash, ")");
            }
            other => add(&mut hash, &other.to_string()),
        }
    }
    hash
}
