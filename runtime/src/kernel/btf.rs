//! Ids of kernel types by name, from one pass over /sys/kernel/btf/vmlinux.
