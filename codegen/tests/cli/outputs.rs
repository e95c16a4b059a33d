//! Goldens of the output of each command, as text and as JSON.
//!
//! The outputs of `check` and `layout` have tests of their own, and so have the bytes that `min-btf` writes. To accept a change, run with
//! `SKELGEN_BLESS=1`.

use std::path::PathBuf;

use skelgen_corpus::golden;

use crate::tool::{self, skelgen};

#[test]
fn outputs_are_as_committed() {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/cli/expected");
    let pages = tempfile::tempdir().expect("a directory");
    let man = skelgen(&["man", pages.path().to_str().expect("it is UTF-8")]).run();
    assert_eq!((man.status, man.stdout.as_str(), man.stderr.as_str()), (0, "", ""));
    let page = |name: &str| std::fs::read_to_string(pages.path().join(name)).expect("the page is written");
    let mut wrong = Vec::new();
    let mut check = |name: &str, text: &str| wrong.extend(golden::check(&directory.join(name), text.as_bytes()).err());
    check("man-skelgen.1", &page("skelgen.1"));
    check("man-skelgen-plan.1", &page("skelgen-plan.1"));
    for (name, arguments) in [
        ("gen.txt", &["gen", "tiny.bpf.o"][..]),
        ("types.txt", &["types", "maps.bpf.o"]),
        ("header.txt", &["header", "layouts.bpf.o"]),
        ("inspect.txt", &["inspect", "counters.bpf.o"]),
        ("inspect.json", &["inspect", "--json", "counters.bpf.o"]),
        ("plan.txt", &["plan", "counters.bpf.o"]),
        ("plan.json", &["plan", "--json", "counters.bpf.o"]),
        ("explain.txt", &["explain"]),
        ("explain-SK0302.txt", &["explain", "SK0302"]),
        ("completions-bash.txt", &["completions", "bash"]),
        ("completions-fish.txt", &["completions", "fish"]),
    ] {
        let run = skelgen(arguments).run();
        assert_eq!((run.status, run.stderr.as_str()), (0, ""), "{name}");
        check(name, &run.stdout);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The JSON of a plan has the steps and the instructions of its text.
#[test]
fn json_of_plan_is_complete() {
    let names = skelgen_corpus::objects::listed(&tool::objects(), ".bpf.o").expect("the objects are committed");
    for name in names.iter().filter(|name| !["no_type", "linked_probe", "linked_store"].contains(&name.as_str())) {
        let object = format!("{name}.bpf.o");
        let text = skelgen(&["plan", &object]).run().stdout;
        let json = skelgen(&["plan", "--json", &object]).run();
        let plan: serde_json::Value = serde_json::from_str(&json.stdout).expect("it is JSON");
        let indexed = |begin: &str, end: char| {
            let number = |line: &str| line.strip_prefix(begin)?.split_once(end)?.0.trim().parse::<u32>().ok();
            text.lines().filter(|line| number(line).is_some()).count()
        };
        let array = |value: &serde_json::Value| value.as_array().expect("an array").clone();
        let instructions = array(&plan["programs"]).iter().map(|program| array(&program["instructions"]).len()).sum();
        let steps = text.lines().take_while(|line| !line.starts_with("program "));
        let steps = steps
            .filter(|line| line.get(..6).is_some_and(|start| start.trim().parse::<u32>().is_ok()) && line.len() > 6);
        let steps = steps.filter(|line| line.get(4..6) == Some("  "));
        assert_eq!((array(&plan["steps"]).len(), instructions), (steps.count(), indexed("", ':')), "{name}");
    }
}
