//! Blocks of code in Markdown, and mdBook's includes.

use std::fs;
use std::path::{Path, PathBuf};

/// A block of code.
#[derive(Debug)]
pub(crate) struct Block {
    /// The number of its first line.
    pub(crate) line: usize,
    /// The text after the opening fence: the language and mdBook's attributes.
    info: String,
    pub(crate) text: String,
}

impl Block {
    /// Returns the language, without mdBook's attributes.
    pub(crate) fn language(&self) -> &str {
        self.info.split(',').next().unwrap_or_default()
    }
}

/// Returns the blocks of code of a page.
pub(crate) fn blocks(page: &str) -> Vec<Block> {
    let mut found: Vec<Block> = Vec::new();
    let mut is_open = false;
    for (number, line) in page.lines().enumerate() {
        if let Some(info) = line.strip_prefix("```") {
            if !is_open {
                found.push(Block { line: number + 1, info: info.to_owned(), text: String::new() });
            }
            is_open = !is_open;
        } else if let Some(block) = found.last_mut().filter(|_| is_open) {
            block.text += line;
            block.text.push('\n');
        }
    }
    assert!(!is_open, "the last block does not end");
    found
}

/// Returns the lines outside of blocks.
pub(crate) fn prose(page: &str) -> impl Iterator<Item = &str> {
    let mut is_code = false;
    page.lines().filter(move |line| {
        is_code ^= line.starts_with("```");
        !is_code && !line.starts_with("```")
    })
}

/// Returns the text that a line includes: a whole file, or the part between `ANCHOR: NAME` and `ANCHOR_END: NAME`.
///
/// # Errors
/// If the line is not an include, if the file cannot be read or is not in `sources`, or if it does not contain the
/// anchor.
pub(crate) fn include(line: &str, page: &Path, root: &Path, sources: &[&str]) -> Result<String, String> {
    let path = line.strip_prefix("{{#include ").and_then(|rest| rest.strip_suffix("}}"));
    let path = path.ok_or_else(|| format!("`{line}` is not an include of a source that CI compiles or compares"))?;
    let (path, anchor) = path.split_once(':').map_or((path, None), |(path, anchor)| (path, Some(anchor)));
    let inside = path.strip_prefix("../../../").ok_or_else(|| format!("{path} does not begin at the workspace"))?;
    if !sources.iter().any(|source| inside.starts_with(source)) {
        return Err(format!("{inside} is not in {sources:?}"));
    }
    assert!(page.join("../../..").join(inside).exists() == root.join(inside).exists());
    let text = fs::read_to_string(root.join(inside)).map_err(|error| format!("{inside}: {error}"))?;
    let Some(anchor) = anchor else { return Ok(text) };
    let is_mark =
        |line: &&str, mark: &str| line.trim_end().trim_end_matches(" -->").ends_with(&format!("{mark}: {anchor}"));
    let lines = text.lines().skip_while(|line| !is_mark(line, "ANCHOR")).skip(1);
    let (mut part, mut ends) = (String::new(), false);
    for line in lines {
        ends = is_mark(&line, "ANCHOR_END");
        if ends {
            break;
        }
        part += line;
        part.push('\n');
    }
    if ends && !part.is_empty() { Ok(part) } else { Err(format!("{inside} has no part `{anchor}`")) }
}

/// Returns the files of a directory with these endings.
pub(crate) fn files(directory: &Path, endings: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).expect("the directory exists") {
        let path = entry.expect("it can be read").path();
        if path.is_dir() && !path.ends_with("ui") {
            found.extend(files(&path, endings));
        } else if path.extension().and_then(|end| end.to_str()).is_some_and(|end| endings.contains(&end)) {
            found.push(path);
        }
    }
    found.sort();
    found
}
