//! The table of other libraries' calls in the runtime's documentation (`runtime/src/peers.md`) is complete, and refers
//! only to existing items.
//!
//! The lists beside this file contain the public calls of each library, one per line. Every call must be in a row of
//! the table, and every call in the table must be in a list. The last column names public items of the runtime
//! (`runtime/api.txt`) and of the generator (`codegen/api.txt`). These names are links to items of the runtime, `std`
//! and `uapi`, which rustdoc checks: `SKELGEN_BLESS=1 cargo test -p skelgen --test peers` makes the links.
//!
//! To update a library, replace its list. The failures name the rows to change.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use skelgen_corpus::golden;

/// The lists of calls, in the order of the table's columns.
const LISTS: [&str; 4] = ["libbpf", "libbpf-rs", "aya", "cilium-ebpf"];

/// Names in generated files that `api.txt` does not list.
const GENERATED: &[&str] = &[
    "open()",
    "open.maps.NAME",
    "open.rodata_mut()",
    "skeleton.bss()",
    "skeleton.maps",
    "skeleton.maps.NAME",
    "skeleton.programs",
];

/// The heading before the numbered list of calls that have no equivalent. The list has at most [`UNANSWERED`] entries.
const END: &str = "## Calls without a counterpart";
const UNANSWERED: usize = 10;

#[test]
fn every_call_has_an_answer_or_a_reason() {
    let problems = Table::parse(&table()).problems(&lists(), &Known::read());
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}

#[test]
fn names_of_the_runtime_are_links() {
    let text = table();
    if let Err(difference) = golden::check(&root().join("runtime/src/peers.md"), linked(&text).as_bytes()) {
        panic!("{difference}\nrun with {}=1 to accept", golden::BLESS);
    }
}

/// The calls of a library: the first line of its list, and the names of the calls.
struct List {
    head: String,
    calls: BTreeSet<String>,
}

impl List {
    fn parse(text: &str) -> Self {
        let (head, calls) = text.split_once('\n').expect("a list has a head");
        Self { head: head.to_owned(), calls: calls.lines().map(str::to_owned).collect() }
    }
}

/// The public names of both crates.
struct Known {
    runtime: BTreeSet<String>,
    generator: BTreeSet<String>,
}

impl Known {
    fn read() -> Self {
        let names = |file: &str, krate| names_of(&read(&root().join(file)), krate);
        Self {
            runtime: names("runtime/api.txt", "skelgen_runtime::"),
            generator: names("codegen/api.txt", "skelgen::"),
        }
    }

    /// Returns the problem of a name in the last column; `None` if the name is valid.
    fn problem(&self, name: &str) -> Option<&'static str> {
        match Kind::of(name) {
            Kind::Code => (!GENERATED.contains(&name)).then_some("is not a name, and not in `GENERATED`"),
            Kind::Generator(name) => (!self.generator.contains(name)).then_some("is not in codegen/api.txt"),
            Kind::Checked => None,
            Kind::Runtime => (!self.runtime.contains(name)).then_some("is not in runtime/api.txt"),
        }
    }
}

/// The crate to which a name in the last column belongs.
enum Kind<'a> {
    /// Code that is not a path.
    Code,
    /// An item of the generator, with its path in the crate.
    Generator(&'a str),
    /// An item of the standard library or of the crate `skelgen-abi`, which rustdoc checks.
    Checked,
    /// An item of the runtime.
    Runtime,
}

impl Kind<'_> {
    fn of(name: &str) -> Kind<'_> {
        let is_path = |c: char| c.is_ascii_alphanumeric() || ['_', ':', '!'].contains(&c);
        if !name.chars().all(is_path) {
            Kind::Code
        } else if let Some(path) = name.strip_prefix("skelgen::") {
            Kind::Generator(path)
        } else if name.starts_with("std::") || name.starts_with("uapi::") {
            Kind::Checked
        } else {
            Kind::Runtime
        }
    }
}

/// The documentation, parsed.
#[derive(Default)]
struct Table {
    /// The libraries with their versions, and the number of calls of each.
    counts: Vec<[String; 2]>,
    /// Names in angle brackets, with the types that they stand for.
    groups: BTreeMap<String, Vec<String>>,
    /// Rows with their line numbers.
    rows: Vec<(usize, Vec<String>)>,
    /// The number of entries in the last section.
    unanswered: usize,
}

impl Table {
    fn parse(text: &str) -> Self {
        let mut table = Self::default();
        let (text, end) = text.split_once(END).unwrap_or((text, ""));
        table.unanswered = end.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_digit())).count();
        let mut in_rows = false;
        for (number, line) in text.lines().enumerate() {
            if line.starts_with("## ") {
                in_rows = true;
            } else if let Some((name, names)) = line.strip_prefix("- `<").and_then(|line| line.split_once(">`:")) {
                table.groups.insert(name.to_owned(), spans(names).map(str::to_owned).collect());
            } else if let Some(cells) = cells(line) {
                match <[String; 2]>::try_from(cells) {
                    Ok(cells) if !in_rows => table.counts.push(cells),
                    Ok(cells) => table.rows.push((number + 1, cells.to_vec())),
                    Err(cells) => table.rows.push((number + 1, cells)),
                }
            }
        }
        table
    }

    fn problems(&self, lists: &[List], known: &Known) -> Vec<String> {
        let mut problems = Vec::new();
        let mut found = vec![BTreeSet::new(); lists.len()];
        let mut numbers = BTreeSet::new();
        for (line, cells) in &self.rows {
            let mut report = |problem: String| problems.push(format!("peers.md:{line}: {problem}"));
            let [theirs @ .., ours] = &cells[..] else { continue };
            if theirs.len() != lists.len() {
                report(format!("{} columns", cells.len()));
                continue;
            }
            for ((cell, list), found) in theirs.iter().zip(lists).zip(&mut found) {
                for span in spans(cell) {
                    match self.calls(span, &list.calls) {
                        Ok(calls) => found.extend(calls),
                        Err(name) => report(format!("`{span}`: `{name}` is not in the list of its library")),
                    }
                }
            }
            if let Some(reason) = ours.strip_prefix("— ") {
                match reason.split_once(':').and_then(|(number, _)| number.parse().ok()) {
                    Some(number) if (1..=self.unanswered).contains(&number) => drop(numbers.insert(number)),
                    _ => report(format!("`{ours}` has no number of `{END}`")),
                }
            } else if spans(ours).next().is_none() {
                report("no name in the last column".to_owned());
            }
            for name in spans(ours) {
                if let Some(problem) = known.problem(name) {
                    report(format!("`{name}` {problem}"));
                }
            }
        }
        for (list, found) in lists.iter().zip(&found) {
            let missing = list.calls.difference(found).map(|call| format!("{}: `{call}` is in no row", list.head));
            problems.extend(missing);
            let counts = |[library, count]: &[String; 2]| {
                list.head.starts_with(&format!("# {library}: ")) && *count == list.calls.len().to_string()
            };
            if !self.counts.iter().any(counts) {
                problems.push(format!("{}: {} calls: the first table differs", list.head, list.calls.len()));
            }
        }
        if self.unanswered > UNANSWERED {
            problems.push(format!("{} entries have no answer, more than {UNANSWERED}", self.unanswered));
        }
        let unused = (1..=self.unanswered).filter(|number| !numbers.contains(number));
        problems.extend(unused.map(|number| format!("no row refers to {number} of `{END}`")));
        problems
    }

    /// Returns the calls that a name with braces and angle brackets stands for: `T::{a, b}` stands for two calls, and
    /// `<group>::a` for the calls of the group's types that the list contains. The error is the part of the name that
    /// is in no listed call.
    fn calls(&self, span: &str, listed: &BTreeSet<String>) -> Result<Vec<String>, String> {
        let parts = self.parts(span).ok_or(span)?;
        let mut choices = vec![Vec::new()];
        for part in &parts {
            let longer = |choice: &Vec<String>| -> Vec<_> {
                part.options.iter().map(|option| [&choice[..], std::slice::from_ref(option)].concat()).collect()
            };
            choices = choices.iter().flat_map(longer).collect();
        }
        choices.retain(|choice| listed.contains(&choice.concat()));
        for (at, part) in parts.iter().enumerate() {
            let is_used = |option: &String| choices.iter().any(|choice| choice[at] == *option);
            if let Some(option) = part.options.iter().find(|option| part.are_all_used && !is_used(option)) {
                return Err(option.clone());
            }
        }
        if choices.is_empty() {
            Err(span.to_owned())
        } else {
            Ok(choices.iter().map(|choice| choice.concat()).collect())
        }
    }

    /// Splits a name at its braces and angle brackets. Returns `None` if one is not closed, or if a group is unknown.
    fn parts(&self, mut rest: &str) -> Option<Vec<Part>> {
        let mut parts = Vec::new();
        while !rest.is_empty() {
            let part;
            if let Some(inside) = rest.strip_prefix('{') {
                let (options, after) = inside.split_once('}')?;
                let options = options.split(',').map(|option| option.trim().to_owned()).collect();
                (part, rest) = (Part { options, are_all_used: true }, after);
            } else if let Some(inside) = rest.strip_prefix('<') {
                let (group, after) = inside.split_once('>')?;
                (part, rest) = (Part { options: self.groups.get(group)?.clone(), are_all_used: false }, after);
            } else {
                let (text, after) = rest.split_at(rest.find(['{', '<']).unwrap_or(rest.len()));
                (part, rest) = (Part { options: vec![text.to_owned()], are_all_used: true }, after);
            }
            parts.push(part);
        }
        Some(parts)
    }
}

/// A part of a name in the table.
struct Part {
    options: Vec<String>,
    /// Whether each option must be part of a listed call. In a group, some types may lack the call.
    are_all_used: bool,
}

/// Returns the text with links for the names in the last column that rustdoc knows, and without links for other names.
fn linked(text: &str) -> String {
    let is_link = |name: &str| match Kind::of(name) {
        Kind::Checked => true,
        Kind::Runtime => true,
        Kind::Code | Kind::Generator(_) => false,
    };
    let line = |line: &str| {
        let at = match cells(line) {
            Some(cells) if cells.len() > 2 => line.trim_end_matches('|').rfind('|').unwrap_or_default(),
            _ => return format!("{line}\n"),
        };
        let (theirs, ours) = line.split_at(at);
        let plain = ours.replace("[`", "`").replace("`]", "`");
        let piece = |(number, piece): (usize, &str)| match (number % 2 == 1, is_link(piece)) {
            (true, true) => format!("[`{piece}`]"),
            (true, false) => format!("`{piece}`"),
            (false, _) => piece.to_owned(),
        };
        format!("{theirs}{}\n", plain.split('`').enumerate().map(piece).collect::<String>())
    };
    text.lines().map(line).collect()
}

/// Returns the cells of a line of a table; `None` for the head and the line below the head.
fn cells(line: &str) -> Option<Vec<String>> {
    let inside = line.strip_prefix('|')?.strip_suffix('|')?;
    let is_head =
        inside.starts_with("---") || inside.starts_with(" library ") || inside.starts_with(" libbpf | libbpf-rs");
    (!is_head).then(|| inside.split('|').map(|cell| cell.trim().to_owned()).collect())
}

/// Returns the code in a text.
fn spans(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Returns the paths of the items of a crate in a listing of its API.
fn names_of(listing: &str, krate: &str) -> BTreeSet<String> {
    let path = |line: &str| {
        let at = if line.starts_with("pub use ") { line.rfind(krate)? } else { line.find(krate)? };
        let path = &line[at + krate.len()..];
        let is_path = |c: char| c.is_ascii_alphanumeric() || ['_', ':', '!'].contains(&c);
        let path = &path[..path.find(|c| !is_path(c)).unwrap_or(path.len())];
        Some(path.trim_end_matches(':').to_owned())
    };
    listing.lines().filter(|line| !line.starts_with("impl")).filter_map(path).collect()
}

fn root() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn table() -> String {
    read(&root().join("runtime/src/peers.md"))
}

fn lists() -> Vec<List> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers");
    LISTS.iter().map(|name| List::parse(&read(&directory.join(format!("{name}.txt"))))).collect()
}

/// A table without problems. Each test adds one problem to it.
const GOOD: &str = "\
| library | calls |
|---|---|
| a 1 | 3 |
| b 1 | 3 |

- `<map>`: `Array`, `Hash`

## Maps

| libbpf | libbpf-rs | aya | cilium/ebpf | skelgen |
|---|---|---|---|---|
| `map_{get, set}` | `<map>::pin` | Read: [`map::HashMap::get`], `std::x`, `open()` |
| `map_new` | `Array::len` | — 1: no |

## Calls without a counterpart

1. **New maps.** No.
";

/// Returns the problems of [`GOOD`] after replacing a text in it.
fn problems(from: &str, to: &str) -> Vec<String> {
    assert!(GOOD.contains(from), "{from}");
    let lists =
        [List::parse("# a 1: \nmap_get\nmap_new\nmap_set"), List::parse("# b 1: \nArray::len\nArray::pin\nHash::pin")];
    let known = Known {
        runtime: names_of("pub fn skelgen_runtime::map::HashMap::get(&self)", "skelgen_runtime::"),
        generator: names_of("pub fn skelgen::types(bytes: &[u8])", "skelgen::"),
    };
    Table::parse(&GOOD.replace(from, to)).problems(&lists, &known)
}

#[test]
fn each_kind_of_problem_is_found() {
    assert_eq!(problems("Read", "Read once"), [""; 0]);
    assert_eq!(problems("`std::x`", "`skelgen::types`"), [""; 0]);
    for (from, to, problem) in [
        ("HashMap::get", "HashMap::got", "peers.md:12: `map::HashMap::got` is not in runtime/api.txt"),
        ("`std::x`", "`skelgen::x`", "peers.md:12: `skelgen::x` is not in codegen/api.txt"),
        ("open()", "close()", "peers.md:12: `close()` is not a name, and not in `GENERATED`"),
        (
            "map_{get, set}",
            "map_{get, set, put}",
            "peers.md:12: `map_{get, set, put}`: `put` is not in the list of its library",
        ),
        ("<map>::pin", "<link>::pin", "peers.md:12: `<link>::pin`: `<link>::pin` is not in the list of its library"),
        ("get, set", "get", "# a 1: : `map_set` is in no row"),
        ("`, `Hash`", "`", "# b 1: : `Hash::pin` is in no row"),
        ("| `<map>::pin` ", "| `<map>::pin` | ", "peers.md:12: 4 columns"),
        ("[`map::HashMap::get`], `std::x`, `open()`", "yes", "peers.md:12: no name in the last column"),
        ("— 1: no", "— 2: no", "peers.md:13: `— 2: no` has no number of `## Calls without a counterpart`"),
        ("1. ", "1. a\n2. ", "no row refers to 2 of `## Calls without a counterpart`"),
        (
            "1. ",
            "1. a\n2. a\n3. a\n4. a\n5. a\n6. a\n7. a\n8. a\n9. a\n10. a\n11. ",
            "11 entries have no answer, more than 10",
        ),
        ("a 1 | 3", "a 1 | 2", "# a 1: : 3 calls: the first table differs"),
    ] {
        let problems = problems(from, to);
        assert!(problems.iter().any(|it| it == problem), "{to}: {problems:#?}");
    }
}

#[test]
fn links_are_added_to_the_last_column_only() {
    let row = "| `map::A` | | | | Read: `map::A`, [`skelgen::types`], `std::b`, [`open()`] |\n";
    let want = "| `map::A` | | | | Read: [`map::A`], `skelgen::types`, [`std::b`], `open()` |\n";
    assert_eq!(linked(row), want);
    assert_eq!(linked(want), want);
    assert_eq!(linked("- `map::A`\n"), "- `map::A`\n");
}

#[test]
fn names_of_a_listing_are_paths() {
    let listing = "impl Clone for krate::A\npub struct krate::A<T>\npub fn krate::A::b(self) -> krate::C\nmacro krate::d!\n\
                   pub use krate_abi::uapi as krate::uapi\nvariant krate::E::F(u32)";
    assert_eq!(names_of(listing, "krate::").into_iter().collect::<Vec<_>>(), ["A", "A::b", "E::F", "d!", "uapi"]);
}
