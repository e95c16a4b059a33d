//! Rules of codegen/ARCHITECTURE.md that the compiler does not check.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use skelgen::unstable::all_codes;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Returns all Rust files in a directory of the workspace, with their text.
fn sources(directory: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut directories = vec![root().join(directory)];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).expect("the directory exists") {
            let path = entry.expect("the directory can be read").path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("the file can be read");
                let name = path.strip_prefix(root()).expect("it is inside").display().to_string();
                found.push((name, text));
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "{directory} has no sources");
    found
}

/// Returns whether the code, without comments, contains the word.
fn uses(text: &str, word: &str) -> bool {
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).any(|line| {
        line.match_indices(word).any(|(at, _)| {
            let before = line[..at].chars().next_back();
            let after = line[at + word.len()..].chars().next();
            let inside = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
            !inside(before) && !inside(after)
        })
    })
}

#[test]
fn phases_depend_downwards() {
    // A module may use the modules before it in this list, and those of its own entry.
    let order: &[&[&str]] =
        &[&["error", "insn"], &["elf", "btf"], &["model"], &["link"], &["skeleton", "plan", "rust"], &["build"]];
    let rank = |module: &str| order.iter().position(|level| level.contains(&module));
    let mut wrong = Vec::new();
    for (name, text) in sources("codegen/src") {
        let module = name.trim_start_matches("codegen/src/").split(['/', '.']).next().unwrap_or_default().to_owned();
        let Some(own) = rank(&module) else { continue };
        for (level, modules) in order.iter().enumerate() {
            for other in *modules {
                if level > own
                    && text
                        .lines()
                        .any(|line| line.contains(&format!("crate::{other}::")) && !line.trim_start().starts_with("//"))
                {
                    wrong.push(format!("{name} uses {other}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn crates_are_used_in_listed_modules() {
    let rules: &[(&str, &[&str])] = &[
        ("object::", &["codegen/src/elf/"]),
        ("quote", &["codegen/src/rust/"]),
        ("proc_macro2", &["codegen/src/rust/"]),
        ("clap", &["codegen/src/options.rs", "codegen/src/cli/"]),
        ("clap_complete", &["codegen/src/cli/commands/completions.rs"]),
        ("clap_mangen", &["codegen/src/cli/commands/man.rs"]),
        ("anstream", &["codegen/src/cli/"]),
        ("annotate_snippets", &["codegen/src/cli/render.rs"]),
        ("serde_json", &["codegen/src/cli/"]),
        ("sha2::", &["codegen/src/sign/"]),
    ];
    let mut wrong = Vec::new();
    for (name, text) in sources("codegen/src") {
        for (word, places) in rules {
            let used = if let Some(path) = word.strip_suffix("::") {
                text.lines().any(|line| line.trim_start().starts_with(&format!("use {path}::")))
            } else {
                uses(&text, word)
            };
            if used && !places.iter().any(|place| name.starts_with(place)) {
                wrong.push(format!("{name} names {word}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn unsafe_code_is_in_listed_files() {
    for (name, text) in sources("codegen/src") {
        // `cli/trusted.rs` makes the promise of a load with a macro of the runtime; the other two write the word
        // `unsafe` into generated files.
        let listed = ["cli/trusted.rs", "rust/call.rs", "skeleton/names.rs"];
        assert!(!uses(&text, "unsafe") || listed.iter().any(|file| name.ends_with(file)), "{name} has unsafe code");
    }
    for krate in ["codegen/src/lib.rs", "codegen/src/main.rs", "macros/src/lib.rs"] {
        let text = fs::read_to_string(root().join(krate)).expect("the file exists");
        assert!(text.contains("#![forbid(unsafe_code)]"), "{krate} does not forbid unsafe code");
    }
    for (name, text) in sources("runtime/src") {
        let listed = ["runtime/src/sys/", "runtime/src/data/", "runtime/src/map/global/", "runtime/src/skeleton/"]
            .iter()
            .any(|place| name.starts_with(place));
        if uses(&text, "unsafe") && !listed {
            // A declaration of an unsafe constructor contains the word, but no unsafe operation.
            let only_declares = text.lines().all(|line| !uses(line, "unsafe") || line.contains("unsafe fn new"));
            assert!(only_declares, "{name} has unsafe code");
        }
    }
}

#[test]
fn input_and_output_stay_at_the_edge() {
    for (name, text) in sources("codegen/src") {
        let edge = [
            "codegen/src/build.rs",
            "codegen/src/build/",
            "codegen/src/cli/",
            "codegen/src/main.rs",
            "codegen/src/output.rs",
        ];
        if edge.iter().any(|place| name.starts_with(place)) {
            continue;
        }
        for word in ["std::fs", "std::env", "std::process", "SystemTime", "println"] {
            assert!(!uses(&text, word), "{name} uses {word}");
        }
    }
}

#[test]
fn explanations_belong_to_codes() {
    for entry in fs::read_dir(root().join("codegen/src/error/explain")).expect("the directory exists") {
        let name = entry.expect("it can be read").file_name().into_string().expect("it is ASCII");
        let code = name.strip_suffix(".md").expect("explanations are Markdown");
        assert!(all_codes().iter().any(|known| known.as_str() == code), "{name} explains no code");
    }
}

#[test]
fn modules_open_with_their_purpose() {
    let members = fs::read_dir(root().join("fixtures")).expect("the directory can be read");
    let members =
        members.map(|entry| entry.expect("the directory can be read").file_name().into_string().expect("ASCII"));
    let members =
        members.map(|name| format!("fixtures/{name}/src")).filter(|directory| root().join(directory).is_dir());
    for directory in ["codegen/src", "runtime/src", "macros/src"].map(str::to_owned).into_iter().chain(members) {
        for (name, text) in sources(&directory) {
            assert!(text.starts_with("//!"), "{name} does not open with its purpose");
        }
    }
}

#[test]
fn the_top_level_is_as_agreed() {
    let agreed = [
        ".cargo",
        ".ci",
        ".gitattributes",
        ".github",
        ".gitignore",
        ".rustfmt.toml",
        "Cargo.lock",
        "Cargo.toml",
        "LICENSE-APACHE",
        "LICENSE-MIT",
        "README.md",
        "codegen",
        "fixtures",
        "macros",
        "runtime",
    ];
    let committed = Command::new("git").arg("-C").arg(root()).args(["ls-tree", "--name-only", "HEAD"]).output();
    let Some(committed) = committed.ok().filter(|output| output.status.success()) else {
        eprintln!("skipped: this is not a git checkout, so other files are not checked");
        return;
    };
    let committed = String::from_utf8(committed.stdout).expect("names are ASCII");
    let names: Vec<&str> = committed.lines().collect();
    assert_eq!(names, agreed);
}

#[test]
fn architecture_describes_every_module() {
    let text = fs::read_to_string(root().join("codegen/ARCHITECTURE.md")).expect("the file exists");
    for sources in ["codegen/src", "runtime/abi/src", "runtime/src", "fixtures"] {
        for entry in fs::read_dir(root().join(sources)).expect("the directory exists") {
            let name = entry.expect("it can be read").file_name().into_string().expect("names are ASCII");
            let module = name.trim_end_matches(".rs");
            let is_named =
                [format!("`{sources}/{module}"), format!("`{name}`"), format!("`{module}/`"), format!("`{module}.rs`")];
            assert!(
                ["lib", "main", "kernels.txt"].contains(&module) || is_named.iter().any(|name| text.contains(name)),
                "codegen/ARCHITECTURE.md does not describe {sources}/{name}"
            );
        }
    }
}
