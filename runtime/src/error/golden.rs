//! Tests of error texts: one file lists all texts that are tested.
//!
//! Tests match kinds, steps, subjects and error numbers. A test that also checks the text calls [`check`]. Run
//! `SKELGEN_BLESS=1 cargo test -p skelgen-runtime --lib` to accept new texts, and review the diff of `expected.txt`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use super::{Error, ErrorKind};

/// The beginning of a heading. No line of an error begins with it.
const HEADING: &str = "== ";

/// Compares the kind and the text of an error with those that are expected under this name. Each name identifies one
/// text.
#[track_caller]
pub(crate) fn check(name: &str, kind: ErrorKind, error: &Error) {
    static FILE: Mutex<()> = Mutex::new(());
    assert_eq!(error.kind(), kind, "{error}");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/error/expected.txt");
    let _alone = FILE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut texts = parse(&std::fs::read_to_string(&path).unwrap_or_default());
    let shown = format!("{error}\n");
    if texts.get(name) == Some(&shown) {
        return;
    }
    if std::env::var_os("SKELGEN_BLESS").is_none() {
        let expected = texts.get(name).map_or("nothing", String::as_str);
        panic!("`{name}` is\n{shown}but should be\n{expected}\nrun with SKELGEN_BLESS=1 to accept");
    }
    texts.insert(name.to_owned(), shown);
    let all: Vec<_> = texts.iter().map(|(name, text)| format!("{HEADING}{name}\n{text}")).collect();
    std::fs::write(path, all.join("\n")).unwrap();
}

fn parse(text: &str) -> BTreeMap<String, String> {
    let mut texts = BTreeMap::new();
    for part in text.split(&format!("\n{HEADING}")) {
        let part = part.strip_prefix(HEADING).unwrap_or(part);
        if let Some((name, text)) = part.split_once('\n') {
            texts.insert(name.to_owned(), format!("{}\n", text.trim_end()));
        }
    }
    texts
}
