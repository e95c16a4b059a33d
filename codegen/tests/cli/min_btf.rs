//! `skelgen min-btf`: its output for a fixture, and its errors.

use std::path::Path;

use skelgen::unstable::btf::{Btf, Kind};
use skelgen::unstable::insn::Endian;

use super::tool::skelgen;

const KERNEL: &str = "/sys/kernel/btf/vmlinux";

/// Returns the members of a struct of the BTF.
fn members(btf: &Btf, name: &str) -> Vec<(String, u32)> {
    let id = btf.find(|kind| matches!(kind, Kind::Struct(_)), name).expect("the struct is kept");
    let Kind::Struct(composite) = &btf.get(id).kind else { panic!("it is a struct") };
    composite.members.iter().map(|member| (btf.str(member.name).to_owned(), member.bit_offset)).collect()
}

#[test]
fn only_what_objects_need_is_written() {
    let Ok(kernel) = std::fs::read(KERNEL) else {
        eprintln!("skipped: this kernel has no BTF");
        return;
    };
    let directory = tempfile::tempdir().expect("a directory");
    let minimized = |btf: &Path, name: &str| {
        let path = directory.path().join(name);
        let text = |path: &Path| path.to_str().expect("it is UTF-8").to_owned();
        let (btf, output) = (text(btf), text(&path));
        let run = skelgen(&["min-btf", "core.bpf.o", "medium.bpf.o", "--btf", &btf, "-o", &output]).run();
        assert_eq!(run.status, 0, "{}", run.stderr);
        (std::fs::read(&path).expect("it was written"), path)
    };
    let (bytes, path) = minimized(Path::new(KERNEL), "small.btf");
    let (whole, small) = (Btf::parse(&kernel, Endian::Little), Btf::parse(&bytes, Endian::Little));
    let (whole, small) = (whole.expect("the kernel's BTF is valid"), small.expect("the result is valid BTF"));
    let (whole, small) = (members(&whole, "task_struct"), members(&small, "task_struct"));
    assert!(bytes.len() < 4096 && small.iter().all(|member| whole.contains(member)), "{small:?}");
    for name in ["pid", "tgid", "comm", "real_parent", "mm"] {
        assert!(small.iter().any(|(member, _)| member == name), "{name} in {small:?}");
    }
    assert!(!small.iter().any(|(member, _)| member == "sched_class"), "no object needs it");

    // The result has all types that are needed, so minimizing it again changes nothing.
    assert!(minimized(&path, "again.btf").0 == bytes);
}

#[test]
fn files_are_named_in_errors() {
    for (arguments, named, code) in [
        (&["min-btf", "missing.bpf.o"][..], "missing.bpf.o", "SK0701"),
        (&["min-btf", "core.bpf.o", "--btf", "missing.btf"], "missing.btf", "SK0701"),
        (&["min-btf", "core.bpf.o", "/dev/null"], "/dev/null", "SK0101"),
    ] {
        let run = skelgen(arguments).run();
        assert!(run.status == 1 && run.stderr.contains(named) && run.stderr.contains(code), "{}", run.stderr);
    }
    assert_eq!(skelgen(&["min-btf"]).run().status, 2);
}
