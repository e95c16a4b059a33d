//! The guide (`codegen/docs`) and the other documents: pages are in the summary, code and outputs come from files that are compiled
//! or compared elsewhere, commands are run, and links resolve.
//!
//! - `rust`, `c`, `toml` and `sh` blocks are `{{#include FILE:ANCHOR}}` of sources that CI compiles or runs ([`COMPILED`]).
//! - `text` blocks are includes of outputs that tests compare ([`COMPARED`]).
//! - `console` blocks are runs of `skelgen`, in the directory of the committed objects.
//!
//! `SKELGEN_BLESS=1` accepts outputs of `console` blocks, and writes the page of error codes.

mod links;
mod markdown;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use skelgen_corpus::golden;

use self::markdown::{Block, blocks, include};

/// Directories and files whose sources CI compiles or runs.
const COMPILED: &[&str] =
    &["fixtures/examples/", "fixtures/handover/", "fixtures/corpus/", "fixtures/kernel-tests/", ".ci/run"];
/// Directories and files of outputs that tests compare.
const COMPARED: &[&str] = &["fixtures/examples/shown/", "fixtures/corpus/expected/", "codegen/src/cli/transcripts/"];
/// The page that is generated from the table of error codes.
const CODES: &str = "errors.md";
/// Pages without an example at their beginning.
const WITHOUT_EXAMPLE: &[&str] = &["introduction.md", "design.md", "examples.md", "costs.md", CODES];
/// The files that are not pages: images in them.
const IMAGES: &[&str] = &["costs.svg"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/src")
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Returns the file names of the pages, in the order of the summary.
fn pages() -> Vec<String> {
    let summary = read(&source().join("SUMMARY.md"));
    let of_line = |line: &str| Some(line.split_once("](")?.1.split_once(')')?.0.to_owned());
    summary.lines().filter_map(of_line).collect()
}

/// Returns each block of each page with the page's name.
fn all_blocks() -> Vec<(String, Block)> {
    let of_page = |page: String| {
        let found = blocks(&read(&source().join(&page)));
        found.into_iter().map(move |block| (page.clone(), block))
    };
    pages().into_iter().filter(|page| page != CODES).flat_map(of_page).collect()
}

#[test]
fn the_summary_lists_every_page_once() {
    let listed = pages();
    let unique: BTreeSet<&str> = listed.iter().map(String::as_str).collect();
    assert_eq!(unique.len(), listed.len(), "{listed:?}");
    let files = std::fs::read_dir(source()).expect("the directory exists");
    let files: BTreeSet<String> =
        files.map(|entry| entry.expect("it can be read").file_name().into_string().expect("ASCII")).collect();
    let others = IMAGES.iter().map(|image| (*image).to_owned());
    let expected: BTreeSet<String> = listed.iter().cloned().chain(["SUMMARY.md".to_owned()]).chain(others).collect();
    assert_eq!(files, expected);
    let summary = read(&source().join("SUMMARY.md"));
    for page in &listed {
        let text = read(&source().join(page));
        let title = text.lines().next().and_then(|line| line.strip_prefix("# "));
        let title = title.unwrap_or_else(|| panic!("{page} does not begin with its title"));
        assert!(summary.contains(&format!("[{title}]({page})")), "the summary does not name {page} `{title}`");
    }
}

#[test]
fn pages_open_with_an_example() {
    for page in pages().iter().filter(|page| !WITHOUT_EXAMPLE.contains(&page.as_str())) {
        let text = read(&source().join(page));
        let first = text.lines().position(|line| line.starts_with("```") || line.starts_with("{{#include"));
        assert!(first.is_some_and(|line| line < 12), "{page} has no example in its first lines");
    }
}

#[test]
fn lines_are_short() {
    for page in pages().iter().filter(|page| *page != CODES) {
        for line in markdown::prose(&read(&source().join(page))) {
            let is_free = line.starts_with('|') || line.contains("{{#include");
            assert!(is_free || line.chars().count() <= 100, "{page}: longer than 100 characters: {line}");
        }
    }
}

#[test]
fn code_is_compiled_and_outputs_are_compared() {
    let mut wrong = Vec::new();
    for page in pages() {
        for line in markdown::prose(&read(&source().join(&page))).filter(|line| line.starts_with("{{#")) {
            wrong.extend(include(line, &source(), &root(), &["README.md"]).err());
        }
    }
    for (page, block) in all_blocks() {
        let sources = match block.language() {
            "rust" | "c" | "toml" | "sh" => COMPILED,
            "text" => COMPARED,
            "console" => continue,
            other => {
                wrong.push(format!("{page}:{}: no rule for blocks of `{other}`", block.line));
                continue;
            }
        };
        for line in block.text.lines() {
            if let Err(problem) = include(line, &source(), &root(), sources) {
                wrong.push(format!("{page}:{}: {problem}", block.line));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Tests that a page includes each file in `shown`, and each `ANCHOR` part of the examples.
#[test]
fn what_is_prepared_is_shown() {
    let text: String = pages().iter().map(|page| read(&source().join(page))).collect();
    let mut unused = Vec::new();
    for entry in std::fs::read_dir(root().join("fixtures/examples/shown")).expect("the directory exists") {
        let name = entry.expect("it can be read").file_name().into_string().expect("ASCII");
        if !text.contains(&format!("fixtures/examples/shown/{name}}}}}")) {
            unused.push(name);
        }
    }
    for file in markdown::files(&root().join("fixtures/examples"), &["rs", "c", "toml"]) {
        for line in read(&file).lines() {
            let Some((_, anchor)) = line.split_once("ANCHOR: ") else { continue };
            let file = file.strip_prefix(root()).expect("it is inside").display().to_string();
            if !text.contains(&format!("{file}:{}}}}}", anchor.trim())) {
                unused.push(format!("{file}:{anchor}"));
            }
        }
    }
    assert!(unused.is_empty(), "no page shows {unused:#?}");
}

/// Runs the commands of a `console` block, and returns it with their outputs.
fn transcript(text: &str) -> String {
    let mut shown = String::new();
    for command in text.lines().filter_map(|line| line.strip_prefix("$ ")) {
        let mut words = command.split(' ');
        assert_eq!(words.next(), Some("skelgen"), "`{command}` is not run by this test");
        let mut run = Command::new(env!("CARGO_BIN_EXE_skelgen"));
        run.args(words).current_dir(root().join("fixtures/corpus/objects"));
        let output = run.output().expect("the tool runs");
        let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).expect("it prints text"));
        shown += &format!("$ {command}\n{out}{err}");
    }
    shown
}

#[test]
fn consoles_show_what_commands_print() {
    let mut wrong = Vec::new();
    for page in pages().iter().filter(|page| *page != CODES) {
        let path = source().join(page);
        let old = read(&path);
        let mut new = old.clone();
        for block in blocks(&old).iter().filter(|block| block.language() == "console") {
            let shown = transcript(&block.text);
            new = new.replace(&format!("```console\n{}```", block.text), &format!("```console\n{shown}```"));
        }
        wrong.extend(golden::check(&path, new.as_bytes()).err());
    }
    assert!(wrong.is_empty(), "{}\nrun with {}=1 to accept", wrong.join("\n"), golden::BLESS);
}

/// Tests that the page of error codes contains the output of `skelgen explain`, with headings one level deeper.
#[test]
fn the_page_of_codes_is_the_table() {
    let explain = |codes: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_skelgen")).arg("explain").args(codes).output();
        String::from_utf8(output.expect("the tool runs").stdout).expect("it prints text")
    };
    let list = explain(&[]);
    let codes: Vec<&str> = list.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(codes.len() > 20, "{list}");
    let head = read(&source().join(CODES));
    let mark = "<!-- The rest is generated from the table behind `skelgen explain`: SKELGEN_BLESS=1 cargo test -p skelgen --test guide -->\n";
    let (head, _) = head.split_once(mark).expect("the page has the mark");
    let mut page = format!("{head}{mark}");
    for code in codes {
        let mut is_code = false;
        page.push('\n');
        for line in explain(&[code]).lines() {
            is_code ^= line.starts_with("```");
            let deeper = if line.starts_with('#') && !is_code { "#" } else { "" };
            page += &format!("{deeper}{line}\n");
        }
    }
    let result = golden::check(&source().join(CODES), page.as_bytes());
    assert!(result.is_ok(), "{}\nrun with {}=1 to accept", result.unwrap_err(), golden::BLESS);
}

/// Builds the book with the mdBook that `MDBOOK` names, or else with `mdbook` from `PATH`, if it is installed.
#[test]
fn the_book_is_built() {
    let named = std::env::var_os("MDBOOK");
    let program = named.clone().unwrap_or_else(|| "mdbook".into());
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("book");
    let build = Command::new(&program).arg("build").arg("--dest-dir").arg(&out).arg(source().join("..")).output();
    if build.is_err() && named.is_none() {
        eprintln!("not built: mdbook is not installed");
        return;
    }
    let build = build.expect("MDBOOK can be run");
    let printed = String::from_utf8_lossy(&build.stderr);
    assert!(build.status.success() && !printed.contains("WARN") && !printed.contains("ERROR"), "{printed}");
    for page in pages() {
        let html = read(&out.join(page.replace(".md", ".html")));
        assert!(!html.contains("{{#"), "{page} has an include that mdBook does not know");
    }
}
