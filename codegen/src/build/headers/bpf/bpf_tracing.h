/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Arguments, return values and registers for tracing programs: by register of the traced machine, and as typed
 * parameters of the program. The names are those of libbpf's header.
 *
 * `__TARGET_ARCH_x86`, `__TARGET_ARCH_arm64`, ... select the machine; skelgen's build step defines one of them.
 */
#ifndef __BPF_TRACING_H__
#define __BPF_TRACING_H__

#include "bpf_helpers.h"
#include "skelgen_macros.h"

#if defined(__TARGET_ARCH_x86)
#define bpf_target_x86
#elif defined(__TARGET_ARCH_arm64)
#define bpf_target_arm64
#elif defined(__TARGET_ARCH_s390)
#define bpf_target_s390
#elif defined(__TARGET_ARCH_arm)
#define bpf_target_arm
#elif defined(__TARGET_ARCH_mips)
#define bpf_target_mips
#elif defined(__TARGET_ARCH_powerpc)
#define bpf_target_powerpc
#elif defined(__TARGET_ARCH_riscv)
#define bpf_target_riscv
#elif defined(__TARGET_ARCH_loongarch)
#define bpf_target_loongarch
#elif defined(__TARGET_ARCH_sparc)
#define bpf_target_sparc
#elif defined(__TARGET_ARCH_arc)
#define bpf_target_arc
#elif defined(__x86_64__) || defined(__i386__)
#define bpf_target_x86
#elif defined(__aarch64__)
#define bpf_target_arm64
#elif defined(__s390__)
#define bpf_target_s390
#elif defined(__arm__)
#define bpf_target_arm
#elif defined(__mips__)
#define bpf_target_mips
#elif defined(__powerpc__)
#define bpf_target_powerpc
#elif defined(__riscv)
#define bpf_target_riscv
#elif defined(__loongarch__)
#define bpf_target_loongarch
#elif defined(__sparc__)
#define bpf_target_sparc
#elif defined(__arc__)
#define bpf_target_arc
#else
/* Programs that use no registers compile without a selected machine; other programs fail with this error. */
#define __BPF_TARGET_MISSING "GCC error \"define the traced machine: __TARGET_ARCH_x86, __TARGET_ARCH_arm64, ...\""
#define __PT_REGS_CAST(x) ({ _Pragma(__BPF_TARGET_MISSING) (x); })
#endif
#ifndef __BPF_TARGET_MISSING
#define bpf_target_defined
#endif

/*
 * Registers by role, as members of the struct in which the kernel saves registers. The calling convention of each
 * machine assigns arguments to registers. `orig_*` is the kernel's copy of a register, made before the kernel
 * overwrites that register with the return value.
 */
#if defined(bpf_target_x86) || !defined(bpf_target_defined)

#if defined(__KERNEL__) || defined(__VMLINUX_H__)
#define __PT_PARM1_REG di
#define __PT_PARM2_REG si
#define __PT_PARM3_REG dx
#define __PT_PARM4_REG cx
#define __PT_PARM5_REG r8
#define __PT_PARM6_REG r9
#define __PT_PARM4_SYSCALL_REG r10
#define __PT_RET_REG sp
#define __PT_FP_REG bp
#define __PT_RC_REG ax
#define __PT_SP_REG sp
#define __PT_IP_REG ip
#elif defined(__i386__)
#define __PT_PARM1_REG eax
#define __PT_PARM2_REG edx
#define __PT_PARM3_REG ecx
#define __PT_PARM1_SYSCALL_REG ebx
#define __PT_PARM2_SYSCALL_REG ecx
#define __PT_PARM3_SYSCALL_REG edx
#define __PT_PARM4_SYSCALL_REG esi
#define __PT_PARM5_SYSCALL_REG edi
#define __PT_PARM6_SYSCALL_REG ebp
#define __PT_RET_REG esp
#define __PT_FP_REG ebp
#define __PT_RC_REG eax
#define __PT_SP_REG esp
#define __PT_IP_REG eip
#else
/* The register names of asm/ptrace.h differ from those of the kernel's own types. */
#define __PT_PARM1_REG rdi
#define __PT_PARM2_REG rsi
#define __PT_PARM3_REG rdx
#define __PT_PARM4_REG rcx
#define __PT_PARM5_REG r8
#define __PT_PARM6_REG r9
#define __PT_PARM4_SYSCALL_REG r10
#define __PT_RET_REG rsp
#define __PT_FP_REG rbp
#define __PT_RC_REG rax
#define __PT_SP_REG rsp
#define __PT_IP_REG rip
#endif

#elif defined(bpf_target_arm64)

#define __PT_REGS_CAST(x) ((const struct user_pt_regs *)(x))
#define __sk_entry_regs(x) ((const struct pt_regs___arm64 *)(x))
struct pt_regs___arm64 {
	unsigned long orig_x0;
} __attribute__((preserve_access_index));
#define __PT_PARM1_REG regs[0]
#define __PT_PARM2_REG regs[1]
#define __PT_PARM3_REG regs[2]
#define __PT_PARM4_REG regs[3]
#define __PT_PARM5_REG regs[4]
#define __PT_PARM6_REG regs[5]
#define __PT_PARM7_REG regs[6]
#define __PT_PARM8_REG regs[7]
#define __PT_PARM1_SYSCALL_REG orig_x0
#define __PT_RET_REG regs[30]
#define __PT_FP_REG regs[29]
#define __PT_RC_REG regs[0]
#define __PT_SP_REG sp
#define __PT_IP_REG pc

#elif defined(bpf_target_s390)

#define __PT_REGS_CAST(x) ((const user_pt_regs *)(x))
#define __sk_entry_regs(x) ((const struct pt_regs___s390 *)(x))
struct pt_regs___s390 {
	unsigned long orig_gpr2;
} __attribute__((preserve_access_index));
#define __PT_PARM1_REG gprs[2]
#define __PT_PARM2_REG gprs[3]
#define __PT_PARM3_REG gprs[4]
#define __PT_PARM4_REG gprs[5]
#define __PT_PARM5_REG gprs[6]
#define __PT_PARM1_SYSCALL_REG orig_gpr2
#define __PT_PARM6_SYSCALL_REG gprs[7]
#define __PT_RET_REG gprs[14]
#define __PT_FP_REG gprs[11]
#define __PT_RC_REG gprs[2]
#define __PT_SP_REG gprs[15]
#define __PT_IP_REG psw.addr

#elif defined(bpf_target_arm)

#define __PT_PARM1_REG uregs[0]
#define __PT_PARM2_REG uregs[1]
#define __PT_PARM3_REG uregs[2]
#define __PT_PARM4_REG uregs[3]
#define __PT_PARM5_SYSCALL_REG uregs[4]
#define __PT_PARM6_SYSCALL_REG uregs[5]
#define __PT_PARM7_SYSCALL_REG uregs[6]
#define __PT_RET_REG uregs[14]
#define __PT_FP_REG uregs[11]
#define __PT_RC_REG uregs[0]
#define __PT_SP_REG uregs[13]
#define __PT_IP_REG uregs[15]

#elif defined(bpf_target_mips)

#define __PT_PARM1_REG regs[4]
#define __PT_PARM2_REG regs[5]
#define __PT_PARM3_REG regs[6]
#define __PT_PARM4_REG regs[7]
#define __PT_PARM5_REG regs[8]
#define __PT_PARM6_REG regs[9]
#define __PT_PARM7_REG regs[10]
#define __PT_PARM8_REG regs[11]
#define __PT_RET_REG regs[31]
#define __PT_FP_REG regs[30]
#define __PT_RC_REG regs[2]
#define __PT_SP_REG regs[29]
#define __PT_IP_REG cp0_epc

#elif defined(bpf_target_powerpc)

#define __PT_PARM1_REG gpr[3]
#define __PT_PARM2_REG gpr[4]
#define __PT_PARM3_REG gpr[5]
#define __PT_PARM4_REG gpr[6]
#define __PT_PARM5_REG gpr[7]
#define __PT_PARM6_REG gpr[8]
#define __PT_PARM7_REG gpr[9]
#define __PT_PARM8_REG gpr[10]
#define __PT_PARM1_SYSCALL_REG orig_gpr3
#define __PT_RET_REG link
#define __PT_RC_REG gpr[3]
#define __PT_SP_REG gpr[1]
#define __PT_IP_REG nip

#elif defined(bpf_target_riscv)

#define __PT_REGS_CAST(x) ((const struct user_regs_struct *)(x))
#define __sk_entry_regs(x) ((const struct pt_regs___riscv *)(x))
struct pt_regs___riscv {
	unsigned long orig_a0;
} __attribute__((preserve_access_index));
#define __PT_PARM1_REG a0
#define __PT_PARM2_REG a1
#define __PT_PARM3_REG a2
#define __PT_PARM4_REG a3
#define __PT_PARM5_REG a4
#define __PT_PARM6_REG a5
#define __PT_PARM7_REG a6
#define __PT_PARM8_REG a7
#define __PT_PARM1_SYSCALL_REG orig_a0
#define __PT_RET_REG ra
#define __PT_FP_REG s0
#define __PT_RC_REG a0
#define __PT_SP_REG sp
#define __PT_IP_REG pc

#elif defined(bpf_target_loongarch)

#define __PT_REGS_CAST(x) ((const struct user_pt_regs *)(x))
#define __sk_entry_regs(x) ((const struct pt_regs___loongarch *)(x))
struct pt_regs___loongarch {
	unsigned long orig_a0;
} __attribute__((preserve_access_index));
#define __PT_PARM1_REG regs[4]
#define __PT_PARM2_REG regs[5]
#define __PT_PARM3_REG regs[6]
#define __PT_PARM4_REG regs[7]
#define __PT_PARM5_REG regs[8]
#define __PT_PARM6_REG regs[9]
#define __PT_PARM7_REG regs[10]
#define __PT_PARM8_REG regs[11]
#define __PT_PARM1_SYSCALL_REG orig_a0
#define __PT_RET_REG regs[1]
#define __PT_FP_REG regs[22]
#define __PT_RC_REG regs[4]
#define __PT_SP_REG regs[3]
#define __PT_IP_REG csr_era

#elif defined(bpf_target_sparc)

/* Registers i0 to i7 are u_regs[8] to u_regs[15]. */
#define __PT_PARM1_REG u_regs[8]
#define __PT_PARM2_REG u_regs[9]
#define __PT_PARM3_REG u_regs[10]
#define __PT_PARM4_REG u_regs[11]
#define __PT_PARM5_REG u_regs[12]
#define __PT_PARM6_REG u_regs[13]
#define __PT_RET_REG u_regs[15]
#define __PT_RC_REG u_regs[8]
#define __PT_SP_REG u_regs[14]
#if defined(__arch64__)
#define __PT_IP_REG tpc
#else
#define __PT_IP_REG pc
#endif

#elif defined(bpf_target_arc)

#define __PT_REGS_CAST(x) ((const struct user_regs_struct *)(x))
#define __PT_PARM1_REG scratch.r0
#define __PT_PARM2_REG scratch.r1
#define __PT_PARM3_REG scratch.r2
#define __PT_PARM4_REG scratch.r3
#define __PT_PARM5_REG scratch.r4
#define __PT_PARM6_REG scratch.r5
#define __PT_PARM7_REG scratch.r6
#define __PT_PARM8_REG scratch.r7
#define __PT_RET_REG scratch.blink
#define __PT_FP_REG scratch.fp
#define __PT_RC_REG scratch.r0
#define __PT_SP_REG scratch.sp
#define __PT_IP_REG scratch.ret

#endif

/* The use of a value that is not in a register fails to compile, with this name in the error. */
#ifndef __PT_PARM4_REG
#define __PT_PARM4_REG __unsupported__
#endif
#ifndef __PT_PARM5_REG
#define __PT_PARM5_REG __unsupported__
#endif
#ifndef __PT_PARM6_REG
#define __PT_PARM6_REG __unsupported__
#endif
#ifndef __PT_PARM7_REG
#define __PT_PARM7_REG __unsupported__
#endif
#ifndef __PT_PARM8_REG
#define __PT_PARM8_REG __unsupported__
#endif
#ifndef __PT_FP_REG
#define __PT_FP_REG __unsupported__
#endif

/* System call arguments are in the registers of function arguments, unless a line above defines other registers. */
#ifndef __PT_PARM1_SYSCALL_REG
#define __PT_PARM1_SYSCALL_REG __PT_PARM1_REG
#endif
#ifndef __PT_PARM2_SYSCALL_REG
#define __PT_PARM2_SYSCALL_REG __PT_PARM2_REG
#endif
#ifndef __PT_PARM3_SYSCALL_REG
#define __PT_PARM3_SYSCALL_REG __PT_PARM3_REG
#endif
#ifndef __PT_PARM4_SYSCALL_REG
#define __PT_PARM4_SYSCALL_REG __PT_PARM4_REG
#endif
#ifndef __PT_PARM5_SYSCALL_REG
#define __PT_PARM5_SYSCALL_REG __PT_PARM5_REG
#endif
#ifndef __PT_PARM6_SYSCALL_REG
#define __PT_PARM6_SYSCALL_REG __PT_PARM6_REG
#endif
#ifndef __PT_PARM7_SYSCALL_REG
#define __PT_PARM7_SYSCALL_REG __unsupported__
#endif

#ifndef __PT_REGS_CAST
#define __PT_REGS_CAST(x) (x)
#endif
/*
 * Registers in `struct pt_regs`, read directly (if it is the context, as in kprobes and uprobes), or with CO-RE from
 * any address in kernel memory.
 */
#define __sk_register(x, register) (__PT_REGS_CAST(x)->register)
#define __sk_register_core(x, register) BPF_CORE_READ(__PT_REGS_CAST(x), register)
#define PT_REGS_PARM1(x) __sk_register(x, __PT_PARM1_REG)
#define PT_REGS_PARM2(x) __sk_register(x, __PT_PARM2_REG)
#define PT_REGS_PARM3(x) __sk_register(x, __PT_PARM3_REG)
#define PT_REGS_PARM4(x) __sk_register(x, __PT_PARM4_REG)
#define PT_REGS_PARM5(x) __sk_register(x, __PT_PARM5_REG)
#define PT_REGS_PARM6(x) __sk_register(x, __PT_PARM6_REG)
#define PT_REGS_PARM7(x) __sk_register(x, __PT_PARM7_REG)
#define PT_REGS_PARM8(x) __sk_register(x, __PT_PARM8_REG)
#define PT_REGS_RET(x) __sk_register(x, __PT_RET_REG)
#define PT_REGS_FP(x) __sk_register(x, __PT_FP_REG)
#define PT_REGS_RC(x) __sk_register(x, __PT_RC_REG)
#define PT_REGS_SP(x) __sk_register(x, __PT_SP_REG)
#define PT_REGS_IP(x) __sk_register(x, __PT_IP_REG)

#define PT_REGS_PARM1_CORE(x) __sk_register_core(x, __PT_PARM1_REG)
#define PT_REGS_PARM2_CORE(x) __sk_register_core(x, __PT_PARM2_REG)
#define PT_REGS_PARM3_CORE(x) __sk_register_core(x, __PT_PARM3_REG)
#define PT_REGS_PARM4_CORE(x) __sk_register_core(x, __PT_PARM4_REG)
#define PT_REGS_PARM5_CORE(x) __sk_register_core(x, __PT_PARM5_REG)
#define PT_REGS_PARM6_CORE(x) __sk_register_core(x, __PT_PARM6_REG)
#define PT_REGS_PARM7_CORE(x) __sk_register_core(x, __PT_PARM7_REG)
#define PT_REGS_PARM8_CORE(x) __sk_register_core(x, __PT_PARM8_REG)
#define PT_REGS_RET_CORE(x) __sk_register_core(x, __PT_RET_REG)
#define PT_REGS_FP_CORE(x) __sk_register_core(x, __PT_FP_REG)
#define PT_REGS_RC_CORE(x) __sk_register_core(x, __PT_RC_REG)
#define PT_REGS_SP_CORE(x) __sk_register_core(x, __PT_SP_REG)
#define PT_REGS_IP_CORE(x) __sk_register_core(x, __PT_IP_REG)

/*
 * Arguments of system calls, from the registers at the entry to the kernel. Where the kernel overwrites the first
 * argument's register, its copy follows the registers that user space sees, at an offset that CO-RE relocates.
 */
#ifndef __sk_entry_regs
#define __sk_entry_regs(x) __PT_REGS_CAST(x)
#endif
#define PT_REGS_PARM1_SYSCALL(x) (__sk_entry_regs(x)->__PT_PARM1_SYSCALL_REG)
#define PT_REGS_PARM1_CORE_SYSCALL(x) BPF_CORE_READ(__sk_entry_regs(x), __PT_PARM1_SYSCALL_REG)
#define PT_REGS_PARM2_SYSCALL(x) __sk_register(x, __PT_PARM2_SYSCALL_REG)
#define PT_REGS_PARM3_SYSCALL(x) __sk_register(x, __PT_PARM3_SYSCALL_REG)
#define PT_REGS_PARM4_SYSCALL(x) __sk_register(x, __PT_PARM4_SYSCALL_REG)
#define PT_REGS_PARM5_SYSCALL(x) __sk_register(x, __PT_PARM5_SYSCALL_REG)
#define PT_REGS_PARM6_SYSCALL(x) __sk_register(x, __PT_PARM6_SYSCALL_REG)
#define PT_REGS_PARM7_SYSCALL(x) __sk_register(x, __PT_PARM7_SYSCALL_REG)

#define PT_REGS_PARM2_CORE_SYSCALL(x) __sk_register_core(x, __PT_PARM2_SYSCALL_REG)
#define PT_REGS_PARM3_CORE_SYSCALL(x) __sk_register_core(x, __PT_PARM3_SYSCALL_REG)
#define PT_REGS_PARM4_CORE_SYSCALL(x) __sk_register_core(x, __PT_PARM4_SYSCALL_REG)
#define PT_REGS_PARM5_CORE_SYSCALL(x) __sk_register_core(x, __PT_PARM5_SYSCALL_REG)
#define PT_REGS_PARM6_CORE_SYSCALL(x) __sk_register_core(x, __PT_PARM6_SYSCALL_REG)
#define PT_REGS_PARM7_CORE_SYSCALL(x) __sk_register_core(x, __PT_PARM7_SYSCALL_REG)

/*
 * The registers of a system call, for a kprobe on the function that implements it. On some machines that function has
 * a pointer to the registers as its only argument; on the others it has the arguments of the system call. On powerpc
 * that depends on the kernel (Linux 6.1 and CONFIG_COMPAT).
 */
#ifndef PT_REGS_SYSCALL_REGS
#if defined(bpf_target_arm) || defined(bpf_target_mips) || defined(bpf_target_loongarch) || \
	defined(bpf_target_sparc) || defined(bpf_target_arc)
#define PT_REGS_SYSCALL_REGS(ctx) ctx
#elif defined(bpf_target_powerpc)
#define PT_REGS_SYSCALL_REGS(ctx) \
	({ \
		extern _Bool LINUX_HAS_SYSCALL_WRAPPER __kconfig; \
		LINUX_HAS_SYSCALL_WRAPPER ? (struct pt_regs *)PT_REGS_PARM1(ctx) : (struct pt_regs *)(ctx); \
	})
#else
#define PT_REGS_SYSCALL_REGS(ctx) ((struct pt_regs *)PT_REGS_PARM1(ctx))
#endif
#endif

/*
 * The return address of a function: at its first instruction (kprobes), and after its return (kretprobes). It is on
 * the stack on x86, and in a register on the other machines.
 */
#if defined(bpf_target_x86) || !defined(bpf_target_defined)
#define BPF_KPROBE_READ_RET_IP(ip, ctx) ({ bpf_probe_read_kernel(&(ip), sizeof(ip), (void *)PT_REGS_RET(ctx)); })
#define BPF_KRETPROBE_READ_RET_IP(ip, ctx) \
	({ bpf_probe_read_kernel(&(ip), sizeof(ip), (void *)(PT_REGS_FP(ctx) + sizeof(ip))); })
#else
#define BPF_KPROBE_READ_RET_IP(ip, ctx) ({ (ip) = PT_REGS_RET(ctx); })
#define BPF_KRETPROBE_READ_RET_IP BPF_KPROBE_READ_RET_IP
#endif

/*
 * Defines a program whose context is an array of 64-bit arguments: fentry, fexit, fmod_ret, LSM, tp_btf, iterators,
 * struct_ops.
 */
#define BPF_PROG(name, args...) \
	__sk_typed(name, unsigned long long, (unsigned long long *ctx, ##args), , __sk_each(__sk_context, _, ##args))
#define __sk_context(number, _, parameter) , (void *)ctx[(number)-1]

/*
 * `int BPF_PROG2(name, int, a, struct pair, b) { ... }`: BPF_PROG for functions with structs of up to 16 bytes as
 * arguments. Such a struct occupies one or two 64-bit words of the context.
 */
#define BPF_PROG2(name, args...) \
	__sk_typed(name, unsigned long long, \
		   (unsigned long long *ctx __sk_join(__sk_declare, __sk_count_pairs(args))(args)), , \
		   __sk_join(__sk_take, __sk_count_pairs(args))(0, ##args))
#define __sk_words(type) (sizeof(type) <= 8 ? 1 : 2)
#define __sk_taken(type, words, first...) \
	({ \
		union { \
			words from; \
			type to; \
		} ___argument = {.from = first}; \
		___argument.to; \
	})
#define __sk_argument_of(at, type) \
	__builtin_choose_expr( \
		sizeof(type) <= 1, __sk_taken(type, __u8, ctx[at]), \
		__builtin_choose_expr( \
			sizeof(type) <= 2, __sk_taken(type, __u16, ctx[at]), \
			__builtin_choose_expr( \
				sizeof(type) <= 4, __sk_taken(type, __u32, ctx[at]), \
				__builtin_choose_expr(sizeof(type) <= 8, __sk_taken(type, __u64, ctx[at]), \
						      __sk_taken(type, struct __sk_two_words, {ctx[at], ctx[(at) + 1]})))))
struct __sk_two_words {
	__u64 low, high;
};
#define __sk_declare0()
#define __sk_declare1(type, name) , type name
#define __sk_declare2(type, name, ...) , type name __sk_declare1(__VA_ARGS__)
#define __sk_declare3(type, name, ...) , type name __sk_declare2(__VA_ARGS__)
#define __sk_declare4(type, name, ...) , type name __sk_declare3(__VA_ARGS__)
#define __sk_declare5(type, name, ...) , type name __sk_declare4(__VA_ARGS__)
#define __sk_declare6(type, name, ...) , type name __sk_declare5(__VA_ARGS__)
#define __sk_declare7(type, name, ...) , type name __sk_declare6(__VA_ARGS__)
#define __sk_declare8(type, name, ...) , type name __sk_declare7(__VA_ARGS__)
#define __sk_declare9(type, name, ...) , type name __sk_declare8(__VA_ARGS__)
#define __sk_declare10(type, name, ...) , type name __sk_declare9(__VA_ARGS__)
#define __sk_declare11(type, name, ...) , type name __sk_declare10(__VA_ARGS__)
#define __sk_declare12(type, name, ...) , type name __sk_declare11(__VA_ARGS__)
#define __sk_take0(at)
#define __sk_take1(at, type, name) , __sk_argument_of(at, type)
#define __sk_take2(at, type, name, ...) \
	, __sk_argument_of(at, type) __sk_take1(at + __sk_words(type), __VA_ARGS__)
#define __sk_take3(at, type, name, ...) \
	, __sk_argument_of(at, type) __sk_take2(at + __sk_words(type), __VA_ARGS__)
#define __sk_take4(at, type, name, ...) \
	, __sk_argument_of(at, type) __sk_take3(at + __sk_words(type), __VA_ARGS__)
#define __sk_take5(at, type, name, ...) \
	, __sk_argument_of(at, type) __sk_take4(at + __sk_words(type), __VA_ARGS__)
#define __sk_take6(at, type, name, ...) \
	, __sk_argument_of(at, type) __sk_take5(at + __sk_words(type), __VA_ARGS__)
#define __sk_take7(at, type, name, ...) \
	, __sk_argument_of(at, type) __sk_take6(at + __sk_words(type), __VA_ARGS__)
#define __sk_take8(at, type, name, ...) \
	, __sk_argument_of(at, type) __sk_take7(at + __sk_words(type), __VA_ARGS__)
#define __sk_take9(at, type, name, ...) \
	, __sk_argument_of(at, type) __sk_take8(at + __sk_words(type), __VA_ARGS__)
#define __sk_take10(at, type, name, ...) \
	, __sk_argument_of(at, type) __sk_take9(at + __sk_words(type), __VA_ARGS__)
#define __sk_take11(at, type, name, ...) \
	, __sk_argument_of(at, type) __sk_take10(at + __sk_words(type), __VA_ARGS__)
#define __sk_take12(at, type, name, ...) \
	, __sk_argument_of(at, type) __sk_take11(at + __sk_words(type), __VA_ARGS__)

/* Defines a program for kprobes and uprobes, with the function's arguments, read from registers, as parameters. */
#define BPF_KPROBE(name, args...) \
	__sk_typed(name, struct pt_regs, (struct pt_regs *ctx, ##args), , __sk_each(__sk_argument, _, ##args))
#define __sk_argument(number, _, parameter) , (void *)PT_REGS_PARM##number(ctx)
#define BPF_UPROBE(name, args...) BPF_KPROBE(name, ##args)

/* Defines a program for kretprobes and uretprobes. Its optional parameter is the return value. */
#define BPF_KRETPROBE(name, args...) \
	__sk_typed(name, struct pt_regs, (struct pt_regs *ctx, ##args), , __sk_each(__sk_returned, _, ##args))
#define __sk_returned(number, _, parameter) , (void *)PT_REGS_RC(ctx)
#define BPF_URETPROBE(name, args...) BPF_KRETPROBE(name, ##args)

/*
 * Defines a program for a kprobe on a system call (`SEC("ksyscall/openat")`), with the system call's arguments.
 */
#define BPF_KSYSCALL(name, args...) \
	name(struct pt_regs *ctx); \
	extern _Bool LINUX_HAS_SYSCALL_WRAPPER __kconfig; \
	__typeof__(name(0)) \
	__sk_typed(name, struct pt_regs, (struct pt_regs *ctx, ##args), \
		   struct pt_regs *regs __attribute__((unused)) = \
			   LINUX_HAS_SYSCALL_WRAPPER ? (struct pt_regs *)PT_REGS_PARM1(ctx) : ctx; \
		   if (LINUX_HAS_SYSCALL_WRAPPER) return ____##name(ctx __sk_each(__sk_wrapped, _, ##args)); \
		   else, __sk_each(__sk_unwrapped, _, ##args))
#define __sk_wrapped(number, _, parameter) , (void *)PT_REGS_PARM##number##_CORE_SYSCALL(regs)
#define __sk_unwrapped(number, _, parameter) , (void *)PT_REGS_PARM##number##_SYSCALL(regs)
#define BPF_KPROBE_SYSCALL BPF_KSYSCALL

#endif
