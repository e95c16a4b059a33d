//! Links in documents. A relative link must refer to an existing file and, if it has a fragment, to a heading in it; an
//! absolute link to a host in [`HOSTS`].

use std::path::{Path, PathBuf};

use super::{pages, read, root, source};

/// The hosts that documents refer to.
const HOSTS: &[&str] = &["docs.rs", "docs.kernel.org", "github.com"];

/// Returns the links in a document: their line numbers and targets.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut is_code = false;
    for (number, line) in text.lines().enumerate() {
        is_code ^= line.starts_with("```");
        if is_code {
            continue;
        }
        // Text between backticks is not a link.
        let prose: String = line.split('`').step_by(2).collect();
        let targets = prose.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        found.extend(targets.map(|target| (number + 1, target.to_owned())));
    }
    found
}

/// Returns the fragments that refer to the headings of a document.
fn headings(text: &str) -> Vec<String> {
    let mut is_code = false;
    let mut found = Vec::new();
    for line in text.lines() {
        is_code ^= line.starts_with("```");
        if !is_code && line.starts_with('#') {
            let title = line.trim_start_matches('#').trim().to_lowercase();
            let kept = title.chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
            found.push(kept.map(|c| if c == ' ' { '-' } else { c }).collect());
        }
    }
    found
}

/// Returns what is wrong with a link; `None` if its target exists.
fn problem(document: &Path, target: &str, is_page: bool) -> Option<String> {
    if let Some(rest) = target.strip_prefix("https://") {
        let host = rest.split('/').next().unwrap_or_default();
        return (!HOSTS.contains(&host)).then(|| format!("the host `{host}` is not known"));
    }
    let (path, heading) = target.split_once('#').map_or((target, None), |(path, heading)| (path, Some(heading)));
    if is_page && path.contains('/') {
        return Some("it leaves the book".to_owned());
    }
    let directory = document.parent().expect("a file has a directory");
    let file = if path.is_empty() { document.to_owned() } else { directory.join(path) };
    if !file.exists() {
        return Some("the file does not exist".to_owned());
    }
    let heading = heading?;
    (!headings(&read(&file)).iter().any(|known| known == heading)).then(|| "the file has no such heading".to_owned())
}

#[test]
fn links_resolve() {
    let mut documents: Vec<PathBuf> = [
        "README.md",
        "codegen/README.md",
        "codegen/ARCHITECTURE.md",
        "runtime/README.md",
        "fixtures/examples/README.md",
    ]
    .map(|name| root().join(name))
    .into();
    let first_page = documents.len();
    documents.extend(pages().iter().map(|page| source().join(page)));
    documents.push(source().join("SUMMARY.md"));
    let (mut wrong, mut count) = (Vec::new(), 0);
    for (number, document) in documents.iter().enumerate() {
        for (line, target) in links(&read(document)) {
            count += 1;
            if let Some(problem) = problem(document, &target, number >= first_page) {
                wrong.push(format!("{}:{line}: {target}: {problem}", document.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count > 40, "only {count} links were found");
}

#[test]
fn wrong_links_are_found() {
    let document = source().join("introduction.md");
    assert_eq!(links("a [b](c.md#d) `[e](f)`\n```c\n[g](h)\n```\n[i](j)"), [(1, "c.md#d".into()), (5, "j".into())]);
    assert_eq!(headings("# A `b`: c\n```c\n#define X\n```\n## D-e"), ["a-b-c", "d-e"]);
    for wrong in ["no-such-page.md", "https://example.com/", "../../README.md", "#no-such-heading"] {
        assert!(problem(&document, wrong, true).is_some(), "{wrong}");
    }
    assert_eq!(problem(&document, "errors.md#sk0101-the-file-is-not-elf", true), None);
}
