//! `skelgen load` with struct_ops maps, which stay registered without a link.

use crate::tool::skelgen;

const SOURCE: &str = r#"
#include <linux/types.h>
#include <bpf/bpf_helpers.h>

struct tcp_congestion_ops {
	char name[16];
	unsigned int (*ssthresh)(void *sk);
	void (*cong_avoid)(void *sk, unsigned int ack, unsigned int acked);
	unsigned int (*undo_cwnd)(void *sk);
};

SEC("struct_ops") unsigned int threshold(unsigned long long *context) { return 2; }
SEC("struct_ops") void avoid(unsigned long long *context) {}
SEC("struct_ops") unsigned int undo(unsigned long long *context) { return 7; }

#define OPS { .name = "skelgen_load", .ssthresh = (void *)threshold, .cong_avoid = (void *)avoid, .undo_cwnd = (void *)undo }
SEC(".struct_ops.link") struct tcp_congestion_ops linked = OPS;
SEC(".struct_ops") struct tcp_congestion_ops plain = OPS;
SEC("?.struct_ops.link") struct tcp_congestion_ops optional = OPS;

char LICENSE[] SEC("license") = "GPL";
"#;

/// Registers maps in the running kernel, if this process has the permissions.
#[test]
fn load_registers_maps_with_links() {
    let directory = tempfile::tempdir().expect("a directory");
    let source = directory.path().join("ops.bpf.c");
    std::fs::write(&source, SOURCE).expect("the directory can be written");
    let clang = std::env::var_os("CLANG").unwrap_or_else(|| "clang-19".into());
    let builder = skelgen::Builder::new().out_dir(directory.path()).clang(clang).source(&source);
    if let Err(error) = builder.build() {
        assert!(error.to_string().contains("cannot run"), "{error}");
        eprintln!("skipped: {error}");
        return;
    }
    let load = |arguments: &[&str]| {
        let all = [&["load", "ops.bpf.o", "--for", "0"], arguments].concat();
        skelgen(&all).directory(directory.path()).run()
    };
    let run = load(&[]);
    // Links of struct_ops maps are new in Linux 6.4.
    if run.status == 4 && (run.stderr.contains("EPERM") || run.stderr.contains("requires Linux")) {
        eprintln!("skipped: {}", run.stderr);
        return;
    }
    assert_eq!((run.status, run.stderr.as_str()), (0, ""));
    let maps = |text: &str| {
        text.lines().filter(|line| line.contains("struct_ops map ")).map(str::to_owned).collect::<Vec<_>>()
    };
    let expected = [
        "attached: struct_ops map linked",
        "loaded, not attached: struct_ops map plain needs section `.struct_ops.link` instead of `.struct_ops`",
        "not loaded: struct_ops map optional",
    ];
    assert_eq!(maps(&run.stdout), expected);
    let registered = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_available_congestion_control");
    assert!(!registered.expect("the kernel has TCP").contains("skelgen_load"), "it is unregistered at the end");
    let expected =
        ["loaded: struct_ops map linked", "loaded: struct_ops map plain", "not loaded: struct_ops map optional"];
    assert_eq!(maps(&load(&["--no-attach"]).stdout), expected);
}
