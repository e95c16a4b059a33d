//! The texts of the project use the terms of BPF and Rust, not words that readers would have to translate.
//!
//! Each pattern is a word or phrase that earlier texts of this project used, with the term that BPF and Rust use for
//! it. Sources, documents and scripts are searched, including comments, messages and names. To add a pattern, add a
//! line to [`WORDS`].

use std::fs;
use std::path::{Path, PathBuf};

/// The rejected words and phrases with their replacements. They match as whole words, ignoring case.
const WORDS: &[(&str, &str)] = &[
    ("table of functions", "struct_ops map"),
    ("tables of functions", "struct_ops maps"),
    ("trial", "feature probe, or test run"),
    ("trials", "feature probes, or test runs"),
    ("fitted", "relocated (CO-RE)"),
    ("fitting", "CO-RE relocation"),
    ("adjusted BTF", "sanitized BTF"),
    ("folder", "directory"),
    ("folders", "directories"),
    ("wide load", "64-bit immediate load (`ld_imm64`)"),
    ("two-slot", "64-bit immediate load (`ld_imm64`)"),
    ("told", "reported, set, stated"),
    ("tells", "reports, states"),
    ("says", "reports, states, sets"),
    ("said", "reported, stated, set"),
    ("is asked", "is requested, is queried"),
    ("asks", "requests, requires"),
    ("asked for", "requested"),
    ("asked of", "requested from"),
    ("gives out", "returns"),
    ("given out", "returned"),
    ("held", "stored, kept"),
    ("is no", "is not a, has no"),
    ("are no", "are not, have no"),
    ("walk", "iterate, iteration; execute a plan"),
    ("walks", "iterates; executes a plan"),
    ("walked", "iterated"),
    ("The same,", "what this one does"),
    ("another size", "a different size, the wrong size"),
    ("another length", "a different length, the wrong length"),
    ("trial run", "test run"),
    ("try out", "probe"),
    ("tries out", "probes"),
    ("made into", "converted to"),
    ("asking", "requesting, querying"),
    ("tell", "report, state"),
    ("telling", "reporting"),
    ("saying", "reporting, stating"),
    ("given away", "returned"),
    ("gives away", "returns"),
    ("give up", "cancel, return an error"),
    ("given up", "canceled"),
    ("gives up", "cancels, returns an error"),
    ("kernel take", "accept, read, interpret"),
    ("kernels take", "accept, read, interpret"),
    ("kernel takes", "accepts, reads, interprets"),
    ("takes it for", "interprets it as"),
    ("take it for", "interpret it as"),
    ("take them for", "interpret them as"),
    ("took them for", "interpreted them as"),
    ("takes 0 for", "interprets 0 as"),
    ("takes the place", "replaces, is returned instead of"),
    ("in one place", "in one file, in one list"),
    ("this place", "this position, this attach target"),
    ("that place", "that position, that attach target"),
    ("the wrong place", "the wrong position, the wrong attach target"),
    ("so many", "the number of, at most"),
    ("called so", "named, invalid name"),
    ("is not one", "is not a program (or map, object), is malformed"),
    ("are not one", "are not BTF (or an object), are malformed"),
    ("unless it is one of", "except after, with the names"),
    ("not any bytes", "not every bit pattern"),
    ("not any bits", "not every bit pattern"),
    ("somebody", "a different process, the user"),
    ("anybody", "any process, any user"),
    ("what is there", "the existing file, attached program, map"),
    ("what it is", "the kind, the type"),
    ("with what is", "with the value, the content"),
    ("found out", "checked, detected"),
    ("of which one", "one of them is"),
    ("of the sort", "of this kind"),
    ("the like", "similar, with examples"),
    ("in question", "this, the given"),
    ("stands alone", "has no dependencies"),
    ("may not read", "has no permission to read, cannot read"),
    ("may not write", "has no permission to write to, cannot write"),
    ("may not open", "has no permission to open, cannot open"),
];

/// Phrases that contain a rejected word, but are allowed.
const ALLOWED: &[&str] = &["is no longer", "are no longer", "there is no", "there are no", "programs.walk"];

/// The directories and files to search, relative to the workspace.
const SEARCHED: &[&str] = &["codegen", "runtime", "macros", "fixtures", "README.md", "Cargo.toml", ".ci", ".github"];

#[test]
fn texts_use_the_words_of_the_field() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut found = Vec::new();
    for name in SEARCHED {
        for path in files(&root.join(name)) {
            let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let name = path.strip_prefix(&root).unwrap_or(&path).display().to_string();
            found.extend(
                wrong(&text).into_iter().map(|(line, word, better)| format!("{name}:{line}: `{word}`: {better}")),
            );
        }
    }
    assert!(found.is_empty(), "{} lines:\n{}", found.len(), found.join("\n"));
}

#[test]
fn words_are_found_whole_and_in_any_case() {
    let found = |text: &str| wrong(text).into_iter().map(|(line, word, _)| (line, word)).collect::<Vec<_>>();
    assert_eq!(found("a\nTold: a Folder"), [(2, "folder"), (2, "told")]);
    assert_eq!(found("untold folders_of; is no longer, trial_run"), [(1, "folders"), (1, "trial")]);
    assert_eq!(found("dis noon; this is not"), []);
    assert_eq!(found("it is no longer what is no map"), [(1, "is no")]);
}

/// Returns the lines with rejected words and their replacements. The words of a name are separate (`pin_directory`).
fn wrong(text: &str) -> Vec<(usize, &'static str, &'static str)> {
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let mut line = line.to_lowercase();
        for allowed in ALLOWED {
            line = line.replace(allowed, "");
        }
        let mut of_line: Vec<_> = WORDS
            .iter()
            .filter(|(word, _)| has(&line, &word.to_lowercase()))
            .map(|(word, better)| (number + 1, *word, *better))
            .collect();
        of_line.sort_unstable();
        found.extend(of_line);
    }
    found
}

fn has(line: &str, word: &str) -> bool {
    let ends = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric());
    line.match_indices(word).any(|(at, _)| {
        let (before, after) = (&line[..at], &line[at + word.len()..]);
        let is_whole = !word.ends_with(char::is_alphanumeric) || ends(after.chars().next());
        ends(before.chars().next_back()) && is_whole
    })
}

/// Returns the files that people write. Omits generated files, compiler output, and the C sources of committed objects.
fn files(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())) {
        let path = entry.expect("the directory can be read").path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() {
            if !["target", "expected", "objects", "ui"].contains(&name) {
                found.extend(files(&path));
            }
        } else if name != "words.rs"
            && ["rs", "h", "md", "toml", "txt", "yml", "run", "setup"]
                .contains(&path.extension().and_then(|end| end.to_str()).unwrap_or(name))
        {
            found.push(path);
        }
    }
    found.sort();
    found
}
