//! The output of the command-line tool is safe to display in a terminal, even with hostile names in objects and paths.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::process::{Command, Output};

use skelgen::unstable::all_codes;
use skelgen_abi::escape::is_visible;

/// Replacements for names of five bytes in the object `globals`.
const HOSTILE: [&[u8]; 5] = [b"a\r\nbc", b"\x1b[31m", b"\xe2\x80\xaebc", b"a\xc2\x9bbc", b"`\"\\*/"];

#[test]
fn listings_and_files_are_safe_for_terminals() {
    let directory = tempfile::tempdir().expect("a directory");
    let sound = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/corpus/objects/globals.bpf.o"));
    let sound = sound.expect("the object is committed");
    for hostile in HOSTILE {
        let bytes = replaced(&sound, b"\0in_u8\0", hostile);
        assert_ne!(bytes, sound, "the object has no such name");
        for file_name in [b"x".as_slice(), b"a\rb\x1b[31m\ncargo::warning=x", b"a\xffb"] {
            let object = directory.path().join(OsString::from_vec([file_name, b".bpf.o"].concat()));
            std::fs::write(&object, &bytes).expect("the directory can be written");
            for arguments in [&["gen"][..], &["plan"], &["inspect"], &["inspect", "--json"], &["types"]] {
                let output = skelgen(arguments, &object);
                assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
                check(&output);
            }
        }
    }
}

#[test]
fn errors_are_safe_for_terminals() {
    let directory = tempfile::tempdir().expect("a directory");
    let missing = directory.path().join("a\rb\u{1b}[31m\ncargo::warning=x\u{202e}.o");
    let empty = directory.path().join("empty\r\n\u{1b}.o");
    std::fs::write(&empty, "").expect("the directory can be written");
    for (arguments, file) in
        [(&["gen"][..], &missing), (&["plan"], &empty), (&["gen", "a"], &missing), (&["--no\u{1b}"], &empty)]
    {
        let output = skelgen(arguments, file);
        assert!(!output.status.success() && !output.stderr.is_empty());
        check(&output);
    }
}

#[test]
fn codes_are_explained() {
    let explain = |arguments: &[&str]| {
        let command = Command::new(env!("CARGO_BIN_EXE_skelgen")).arg("explain").args(arguments).output();
        command.expect("the tool runs")
    };
    let listed = explain(&[]);
    assert!(listed.status.success());
    let listed = String::from_utf8(listed.stdout).expect("text is printed");
    for code in all_codes() {
        let output = explain(&[code.as_str()]);
        assert!(output.status.success(), "{code}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), code.explanation());
        let title = code.explanation().lines().next().and_then(|line| line.split_once(": ")).expect("it has a title").1;
        assert!(listed.lines().any(|line| line == format!("{code}  {title}")), "{code} is not listed");
    }
    let unknown = explain(&["SK0301\u{1b}"]);
    assert_eq!(unknown.status.code(), Some(2));
    check(&unknown);
    let text = String::from_utf8_lossy(&unknown.stderr);
    assert!(text.contains("SK0302: a map definition is not valid"), "{text}");
}

/// The error names the command that explains it, once.
#[test]
fn errors_lead_to_their_explanation() {
    let directory = tempfile::tempdir().expect("a directory");
    let empty = directory.path().join("empty.bpf.o");
    std::fs::write(&empty, "").expect("the directory can be written");
    let text = String::from_utf8(skelgen(&["gen"], &empty).stderr).expect("text is printed");
    assert!(text.starts_with("error[SK0101]: "), "{text}");
    assert_eq!(text.matches("run `skelgen explain SK0101`").count(), 1, "{text}");
}

fn skelgen(arguments: &[&str], file: &Path) -> Output {
    let command = Command::new(env!("CARGO_BIN_EXE_skelgen")).args(arguments).arg(file).output();
    command.expect("the tool runs")
}

/// Checks that all characters of the output are visible, and that no line is a cargo directive.
fn check(output: &Output) {
    for bytes in [&output.stdout, &output.stderr] {
        let text = String::from_utf8(bytes.clone()).expect("text is printed");
        for line in text.lines() {
            assert!(line.chars().all(is_visible) && !line.trim().starts_with("cargo:"), "{line:?}");
        }
    }
}

/// Replaces a name of five bytes.
fn replaced(bytes: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    let mut replaced = bytes.to_vec();
    for at in 0..bytes.len() {
        if bytes[at..].starts_with(old) {
            replaced[at + 1..][..new.len()].copy_from_slice(new);
        }
    }
    replaced
}
