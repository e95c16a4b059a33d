//! Tests of the command-line tool: inputs, outputs, exit statuses, colors.

mod link;
mod min_btf;
mod outputs;
mod schema;
mod struct_ops;
mod tool;
mod transcripts;

use std::path::Path;

use tool::{Run, skelgen};

#[test]
fn a_dash_is_standard_input_and_output() {
    let object = std::fs::read(tool::objects().join("counters.bpf.o")).expect("the object is committed");
    for command in ["gen", "types", "plan", "inspect"] {
        let from_file = skelgen(&[command, "counters.bpf.o"]).run();
        let from_stdin = skelgen(&[command, "-", "--name", "counters"]).input(&object).run();
        assert_eq!((from_stdin.status, &from_stdin.stdout), (0, &from_file.stdout), "{command}: {}", from_stdin.stderr);
    }
    let to_stdout = skelgen(&["gen", "counters.bpf.o", "-o", "-"]).run();
    assert_eq!(to_stdout.stdout, skelgen(&["gen", "counters.bpf.o"]).run().stdout);
    assert!(!Path::new("-").exists());
    // Errors name standard input.
    let wrong = skelgen(&["plan", "-"]).input(b"text").run();
    assert_eq!(wrong.status, 1);
    assert!(wrong.stderr.contains("--> <stdin>"), "{}", wrong.stderr);
}

#[test]
fn one_of_several_inputs_can_fail() {
    let alone = |name| skelgen(&["inspect", name]).run().stdout;
    let both = skelgen(&["inspect", "counters.bpf.o", "missing.bpf.o", "globals.bpf.o"]).run();
    assert_eq!(both.status, 1);
    assert!(both.stderr.contains("cannot read missing.bpf.o"), "{}", both.stderr);
    assert_eq!(both.stdout, format!("{}\n{}", alone("counters.bpf.o"), alone("globals.bpf.o")));

    let both = skelgen(&["inspect", "--json", "counters.bpf.o", "globals.bpf.o"]).run();
    let documents = serde_json::Deserializer::from_str(&both.stdout).into_iter::<serde_json::Value>();
    let names: Vec<_> = documents.map(|document| document.expect("it is JSON")["name"].clone()).collect();
    assert_eq!(names, ["counters", "globals"]);

    let named = skelgen(&["plan", "--name", "x", "counters.bpf.o", "globals.bpf.o"]).run();
    assert_eq!((named.status, named.stdout.as_str()), (1, ""));
    assert!(named.stderr.starts_with("error[SK0703]"), "{}", named.stderr);
}

#[test]
fn exit_statuses_are_as_documented() {
    assert_eq!(skelgen(&["inspect", "counters.bpf.o"]).run().status, 0);
    assert_eq!(skelgen(&["inspect", "missing.bpf.o"]).run().status, 1);
    assert_eq!(skelgen(&["inspect"]).run().status, 2);
    assert_eq!(skelgen(&["inspect", "counters.bpf.o", "--color", "red"]).run().status, 2);
    assert_eq!(skelgen(&["gen", "counters.bpf.o", "-o", "/missing/directory/file"]).run().status, 1);
    let help = skelgen(&["--help"]).run();
    assert_eq!(help.status, 0);
    assert!(help.stdout.contains("Exit status:"), "{}", help.stdout);
}

#[test]
fn every_shell_has_completions() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let text = skelgen(&["completions", shell]).run();
        assert_eq!(text.status, 0, "{}", text.stderr);
        for command in tool::commands() {
            assert!(text.stdout.contains(&command), "{shell} does not complete {command}");
        }
    }
    assert_eq!(skelgen(&["completions", "cmd"]).run().status, 2);
}

#[test]
fn every_command_has_a_manual_page() {
    let directory = tempfile::tempdir().expect("a directory");
    let pages = directory.path().join("man1");
    let made = skelgen(&["man", pages.to_str().expect("it is UTF-8")]).run();
    assert_eq!((made.status, made.stderr.as_str()), (0, ""));
    let page = |name: &str| std::fs::read_to_string(pages.join(name)).expect("the page is written");
    for command in tool::commands() {
        let text = page(&format!("skelgen-{command}.1"));
        assert!(text.contains(".SH SYNOPSIS"), "{text}");
    }
    assert!(page("skelgen.1").contains("Exit status:"));
    let file = tool::objects().join("counters.bpf.o");
    let wrong = skelgen(&["man", file.to_str().expect("it is UTF-8")]).run();
    assert_eq!(wrong.status, 1);
    assert!(wrong.stderr.contains("cannot create directory"), "{}", wrong.stderr);
}

/// Output to a pipe has no colors by default. `--color always` and `NO_COLOR` override the default.
#[test]
fn colors_are_for_terminals() {
    let help = |arguments: &[&str]| skelgen(arguments).run();
    let plain = |run: Run| assert!(!format!("{}{}", run.stdout, run.stderr).contains('\u{1b}'));
    plain(help(&["--help"]));
    plain(help(&["inspect", "counters.bpf.o"]));
    plain(help(&["inspect", "missing.bpf.o"]));
    plain(skelgen(&["inspect", "missing.bpf.o"]).variable("NO_COLOR", "1").run());
}

/// The schema describes the JSON of every committed object completely, and rejects other JSON.
#[test]
fn json_of_inspect_has_its_schema() {
    let text = skelgen(&["inspect", "--schema"]).run().stdout;
    let schema: serde_json::Value = serde_json::from_str(&text).expect("the schema is JSON");
    let names = skelgen_corpus::objects::listed(&tool::objects(), ".bpf.o").expect("the objects are committed");
    for name in names.iter().filter(|name| !["no_type", "linked_probe", "linked_store"].contains(&name.as_str())) {
        let run = skelgen(&["inspect", "--json", &format!("{name}.bpf.o")]).run();
        let value: serde_json::Value = serde_json::from_str(&run.stdout).expect("it is JSON");
        assert_eq!(schema::faults(&schema, &value), [""; 0], "{name}");
    }
    let run = skelgen(&["inspect", "--json", "counters.bpf.o"]).run();
    let mut wrong: serde_json::Value = serde_json::from_str(&run.stdout).expect("it is JSON");
    wrong["maps"][0]["flags"] = "0".into();
    wrong["programs"][0]["since"] = "new".into();
    wrong["needs"][0]["more"] = 1.into();
    wrong.as_object_mut().expect("an object").remove("license");
    assert_eq!(
        schema::faults(&schema, &wrong),
        ["$.maps[0].flags: type", "$.needs[0].more is not described", "$.programs[0].since: pattern", "$: required"]
    );
}

/// The sections of an invalid object have no layout: clang leaves their sizes and offsets to loaders.
#[test]
fn a_refused_object_is_not_drawn() {
    let run = skelgen(&["layout", "no_type.bpf.o", ".bss"]).run();
    assert_eq!((run.status, run.stdout.as_str()), (1, ""));
    assert!(run.stderr.contains("SK0302"), "{}", run.stderr);
}

#[test]
fn layouts_are_text_json_and_drawings() {
    let directory = std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/cli/expected");
    let mut wrong = Vec::new();
    let cases = [("bitfields", ".bss", "bss"), ("layouts", ".data", "data"), ("globals", ".data", "globals")];
    for (object, what, name) in cases {
        let object = format!("{object}.bpf.o");
        for (arguments, extension) in [(&[][..], "txt"), (&["--json"], "json"), (&["--svg"], "svg")] {
            let run = skelgen(&[&["layout", &object, what], arguments].concat()).run();
            assert_eq!((run.status, run.stderr.as_str()), (0, ""), "{object}");
            let path = directory.join(format!("layout-{name}.{extension}"));
            wrong.extend(skelgen_corpus::golden::check(&path, run.stdout.as_bytes()).err());
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

    let two_words = skelgen(&["layout", "maps.bpf.o", "struct", "stat"]).run();
    assert_eq!(two_words.stdout, skelgen(&["layout", "maps.bpf.o", "struct stat"]).run().stdout);
    let missing = skelgen(&["layout", "maps.bpf.o", "struct missing"]).run();
    assert_eq!(missing.status, 1);
    assert!(missing.stderr.contains("error[SK0704]: no data section, struct or union is named"), "{}", missing.stderr);
    assert_eq!(skelgen(&["layout", "maps.bpf.o"]).run().status, 2);
    assert_eq!(skelgen(&["layout", "maps.bpf.o", ".bss", "--svg", "--json"]).run().status, 2);
}

/// Problems are printed as text and JSON, and determine the exit status.
#[test]
fn check_reports_what_will_not_work() {
    let directory = std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/cli/expected");
    let mut wrong = Vec::new();
    // The types of an object serve as those of a kernel without any hook.
    for (name, status, arguments) in [
        ("old", 3, &["counters.bpf.o", "maps.bpf.o", "--kernel", "4.18"][..]),
        ("new", 0, &["counters.bpf.o", "--kernel", "7.3"]),
        ("types", 0, &["programs.bpf.o", "kfunc.bpf.o", "--kernel", "counters.bpf.o"]),
        ("incomplete", 3, &["chosen.bpf.o", "given.bpf.o", "struct_ops.bpf.o", "jumps.bpf.o", "--kernel", "6.18"]),
    ] {
        for (more, extension) in [(&[][..], "txt"), (&["--json"], "json")] {
            let run = skelgen(&[&["check"], arguments, more].concat()).run();
            assert_eq!((run.status, run.stderr.as_str()), (status, ""), "{name}: {}", run.stdout);
            let path = directory.join(format!("check-{name}.{extension}"));
            wrong.extend(skelgen_corpus::golden::check(&path, run.stdout.as_bytes()).err());
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

    // A directory has the types of all modules, so no other module can have a function.
    let kernel = tempfile::tempdir().expect("a temporary directory");
    let path = |name: &str| kernel.path().join(name);
    let objects = skelgen_corpus::objects::objects_dir();
    std::fs::copy(objects.join("counters.bpf.o"), path("vmlinux")).expect("the object exists");
    let named = kernel.path().to_str().expect("the path is text");
    let complete = skelgen(&["check", "kfunc.bpf.o", "--kernel", named]).run();
    assert_eq!(complete.status, 3, "{}", complete.stdout);
    let expected =
        "(load): needs kernel function `bpf_task_release`, which neither the kernel's BTF nor that of its modules has";
    assert!(complete.stdout.contains(expected), "{}", complete.stdout);
    // A version does not determine which functions a kernel has.
    let version = skelgen(&["check", "kfunc.bpf.o", "--kernel", "6.12"]).run();
    let expected = "(load, perhaps): needs kernel function `bpf_task_release`, which only the kernel's types show";
    assert!(version.status == 0 && version.stdout.contains(expected), "{}", version.stdout);
    std::fs::remove_file(path("vmlinux")).expect("it is there");
    let empty = skelgen(&["check", "kfunc.bpf.o", "--kernel", named]).run();
    assert!(empty.status == 1 && empty.stderr.contains("vmlinux"), "{}", empty.stderr);

    let missing = skelgen(&["check", "counters.bpf.o", "--kernel", "missing"]).run();
    assert_eq!((missing.status, missing.stdout.as_str()), (1, ""));
    assert!(missing.stderr.contains("missing: it is neither a version such as 6.1 nor a file"), "{}", missing.stderr);
    assert_eq!(skelgen(&["check", "counters.bpf.o", "--kernel", "v7.3"]).run().status, 0);
    // Without the kernel's types, attach targets are not checked.
    assert_eq!(skelgen(&["check", "counters.bpf.o", "--kernel", "7.3", "--strict"]).run().status, 3);
    let not_types = skelgen(&["check", "counters.bpf.o", "--kernel", "/dev/null"]).run();
    assert_eq!(not_types.status, 1, "{}", not_types.stderr);
    // The exit status of an error takes precedence over that of a problem.
    let both = skelgen(&["check", "counters.bpf.o", "missing.bpf.o", "--kernel", "4.18"]).run();
    assert_eq!(both.status, 1);
    assert_eq!(skelgen(&["check", "--kernel", "6.1"]).run().status, 2);
}

/// Loads into the running kernel, if this process has the permissions.
#[test]
fn load_shows_variables_and_records() {
    let run = skelgen(&["load", "globals.bpf.o", "--for", "0"]).run();
    if run.status == 4 && run.stderr.contains("EPERM") {
        eprintln!("skipped: bpf() requires root");
        return;
    }
    assert_eq!((run.status, run.stderr.as_str()), (0, ""));
    let has = |line: &str| assert!(run.stdout.lines().any(|found| found == line), "{line}:\n{}", run.stdout);
    has("attached: program touch (raw_tp/sys_enter)");
    has(".rodata limit = 42");
    has(".rodata setting = { .a = 9, .b = 8, .c = 7, .d = 6, .e = 5 }");
    has(".rodata label = \"label\"");
    for form in ["emulated", "either"] {
        let run = skelgen(&["load", "percpu.bpf.o", "--percpu", form, "--for", "0"]).run();
        let values = run.stdout.lines().find_map(|line| line.strip_prefix(".percpu hits = per CPU: "));
        let values: Vec<u64> = values.expect("it is printed").split(", ").map(|value| value.parse().unwrap()).collect();
        assert!(values.iter().sum::<u64>() > 0, "{}", run.stdout);
    }
    let only = skelgen(&["load", "counters.bpf.o", "--for", "0.2", "--no-attach"]).run();
    assert!(only.stdout.contains("loaded: program count") && !only.stdout.contains("events:"), "{}", only.stdout);
    let records = skelgen(&["load", "counters.bpf.o", "--for", "0.3", "--record", "events=u32"]).run();
    let number = records.stdout.lines().find_map(|line| line.strip_prefix("events: 4 bytes: "));
    assert!(number.is_some_and(|number| number.parse::<u32>().is_ok()), "{}", records.stdout);
}

#[test]
fn load_has_errors() {
    for (arguments, status, text) in [
        (&["load", "missing.bpf.o"][..], 1, "cannot read missing.bpf.o"),
        (&["load", "counters.bpf.o", "--for", "long"], 2, "--for"),
        (&["load", "counters.bpf.o", "--for=-1"], 2, "--for"),
        (&["load", "counters.bpf.o", "--record", "events"], 2, "expected the names of a map and of a type"),
        (&["load", "counters.bpf.o", "--for", "0", "--record", "no=u32"], 1, "error[SK"),
        (&["load", "counters.bpf.o", "--for", "0", "--record", "events=no"], 1, "error[SK0704]"),
    ] {
        let run = skelgen(arguments).run();
        assert_eq!((run.status, run.stdout.as_str()), (status, ""), "{arguments:?}: {}", run.stderr);
        assert!(run.stderr.contains(text), "{arguments:?}: {}", run.stderr);
    }
}
