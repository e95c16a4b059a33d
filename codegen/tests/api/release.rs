//! What the next release changes: the listing of the last release, compared with the present one.
//!
//! `released.txt` beside `api.txt` is the version of the last release and its listing, which the steps of a release in
//! `.github/CONTRIBUTING.md` write. A crate that was never released has no such file. From the difference follows the lowest version
//! of the next release, as cargo compares versions, and what the changelog must contain.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// A version: major, minor, patch.
type Version = (u64, u64, u64);

/// The difference of two listings, as lines with `-` or `+`.
#[derive(Debug, Default, PartialEq)]
struct Changes {
    /// Users of the old one may have to change their code.
    breaking: Vec<String>,
    compatible: Vec<String>,
}

impl Changes {
    fn between(old: &[&str], new: &[&str]) -> Self {
        let (before, after): (BTreeSet<_>, BTreeSet<_>) = (old.iter().collect(), new.iter().collect());
        let is_owner = |line: &&&str| {
            ["enum ", "struct ", "trait ", "variant "].iter().any(|kind| line.contains(&format!("{kind}skelgen")))
        };
        let owners: BTreeMap<&str, &str> = old.iter().filter(is_owner).map(|line| (path(line), *line)).collect();
        let mut changes = Self::default();
        changes.breaking.extend(before.difference(&after).map(|line| format!("-{line}")));
        for line in after.difference(&before) {
            let list = if breaks(line, &owners) { &mut changes.breaking } else { &mut changes.compatible };
            list.push(format!("+{line}"));
        }
        changes
    }

    /// Returns the lowest version with these changes.
    fn lowest(&self, (major, minor, patch): Version) -> Version {
        match (self.breaking.is_empty(), self.compatible.is_empty(), major) {
            (false, _, 0) => (0, minor + 1, 0),
            (false, ..) => (major + 1, 0, 0),
            (true, false, 0) => (0, minor, patch + 1),
            (true, false, _) => (major, minor + 1, 0),
            (true, true, _) => (major, minor, patch),
        }
    }

    /// Returns why a crate with these changes since a release cannot be the present version with this changelog.
    fn problem(&self, released: Version, present: Version, changelog: &str) -> Option<String> {
        let lowest = self.lowest(released);
        if present < lowest {
            let lines = [&*self.breaking, &*self.compatible].concat().join("\n");
            return Some(format!(
                "version {present:?} must be {lowest:?} or higher because of these changes:\n{lines}"
            ));
        }
        let newest = changelog.split("\n## ").nth(1).unwrap_or_default();
        let has = |entry: &str| newest.lines().any(|line| line.starts_with(entry));
        if *self != Self::default() && !has("- ") {
            return Some("the changelog has no entry, but the public items changed".to_owned());
        }
        if !self.breaking.is_empty() && !has("- Breaking: ") {
            return Some(format!("the changelog has no entry `- Breaking: …` for\n{}", self.breaking.join("\n")));
        }
        None
    }
}

/// Returns the path of the item of a line.
fn path(line: &str) -> &str {
    let start = line.find("skelgen").unwrap_or_default();
    let rest = &line[start..];
    let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).unwrap_or(rest.len());
    rest[..end].trim_end_matches(':')
}

/// Returns whether an added line can break code that uses the item to which it belongs, if that existed before: it may match all
/// variants, state all fields, or implement the trait.
fn breaks(line: &str, before: &BTreeMap<&str, &str>) -> bool {
    let Some((owner, _)) = path(line).rsplit_once("::") else { return false };
    let Some(owner) = before.get(owner) else { return false };
    let has_all = !owner.contains("#[non_exhaustive]");
    let is_item_of_trait = ["fn ", "type ", "const "].iter().any(|kind| line.starts_with(kind));
    (line.contains("variant ") || line.starts_with("field ")) && has_all
        || is_item_of_trait && !owner.contains("sealed::Sealed")
}

/// Parses `MAJOR.MINOR.PATCH`.
fn version(text: &str) -> Version {
    let mut numbers = text.trim().split('.').map(|part| part.parse().expect("a version is three numbers"));
    let mut next = || numbers.next().expect("a version is three numbers");
    (next(), next(), next())
}

#[test]
fn versions_and_changelogs_follow_from_the_changes() {
    for directory in ["codegen", "runtime"] {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(directory);
        let read = |name: &str| std::fs::read_to_string(directory.join(name)).expect("the file exists");
        let (listing, changelog) = (read("api.txt"), read("CHANGELOG.md"));
        if !directory.join("released.txt").exists() {
            assert!(changelog.contains("\nThe first release.\n"), "{} has no released.txt", directory.display());
            continue;
        }
        let released = read("released.txt");
        let (number, old) = released.split_once('\n').expect("the first line is the version");
        let changes = Changes::between(&old.lines().collect::<Vec<_>>(), &listing.lines().collect::<Vec<_>>());
        // All crates have one version.
        let problem = changes.problem(version(number), version(env!("CARGO_PKG_VERSION")), &changelog);
        assert!(problem.is_none(), "{}: {}", directory.display(), problem.unwrap_or_default());
    }
}

#[test]
fn removals_break_and_additions_may() {
    let old = [
        "pub enum skelgen::All",
        "impl Clone for skelgen::All",
        "#[non_exhaustive] pub enum skelgen::Some",
        "pub struct skelgen::Point",
        "field skelgen::Point::x: u8",
        "pub trait skelgen::Open",
        "pub trait skelgen::Closed: sealed::Sealed + Copy",
        "pub fn skelgen::make(count: u32) -> skelgen::Point",
    ];
    let adds = |line: &str| {
        let new: Vec<&str> = old.iter().copied().chain([line]).collect();
        Changes::between(&old, &new)
    };
    for line in ["variant skelgen::All::A(u8)", "field skelgen::Point::y: u8", "fn skelgen::Open::f(&self)"] {
        assert_eq!((adds(line).breaking, adds(line).compatible), (vec![format!("+{line}")], vec![]));
    }
    for line in [
        "variant skelgen::Some::A",
        "pub fn skelgen::Point::f(&self)",
        "provided fn skelgen::Open::f(&self)",
        "fn skelgen::Closed::f(&self)",
        "pub enum skelgen::New",
        "impl Copy for skelgen::Point",
    ] {
        assert_eq!((adds(line).breaking, adds(line).compatible), (vec![], vec![format!("+{line}")]));
    }
    let fewer = Changes::between(&old, &old[2..]);
    assert_eq!(fewer.breaking, ["-impl Clone for skelgen::All", "-pub enum skelgen::All"]);
    assert_eq!(Changes::between(&old, &old), Changes::default());
}

#[test]
fn changes_raise_the_version() {
    let breaking = Changes { breaking: vec!["-a".to_owned()], ..Changes::default() };
    let addition = Changes { compatible: vec!["+a".to_owned()], ..Changes::default() };
    let none = Changes::default();
    for (changes, from, lowest) in [
        (&breaking, (0, 1, 2), (0, 2, 0)),
        (&breaking, (1, 4, 2), (2, 0, 0)),
        (&addition, (0, 1, 2), (0, 1, 3)),
        (&addition, (1, 4, 2), (1, 5, 0)),
        (&none, (1, 4, 2), (1, 4, 2)),
    ] {
        assert_eq!(changes.lowest(from), lowest);
        let changelog = "# Changelog\n\n## Unreleased\n\n- Breaking: a.\n\n## 0.1.0\n";
        assert_eq!(changes.problem(from, lowest, changelog), None);
    }
    let problem = |changes: &Changes, present, entry: &str| {
        changes.problem(
            (0, 1, 0),
            present,
            &format!("# Changelog\n\n## Unreleased\n{entry}\n## 0.1.0\n\n- Breaking: b.\n"),
        )
    };
    assert!(problem(&breaking, (0, 1, 9), "- Breaking: a.").is_some_and(|text| text.contains("(0, 2, 0)")));
    assert!(problem(&breaking, (0, 2, 0), "- a.").is_some_and(|text| text.contains("Breaking")));
    assert!(problem(&addition, (0, 1, 1), "").is_some_and(|text| text.contains("no entry")));
    assert_eq!(version("0.12.3\n"), (0, 12, 3));
}
