/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Basic definitions for BPF programs in C: sections, map definitions, attributes for the verifier and loaders,
 * trace output, loops and tail calls. The names are those of libbpf's header.
 *
 * Include vmlinux.h or linux/types.h first.
 */
#ifndef __BPF_HELPERS__
#define __BPF_HELPERS__

#include "bpf_helper_defs.h"
#include "skelgen_macros.h"

/*
 * The section of a program, whose name states the program type and attach target, or of data. `used` keeps symbols
 * without references in the source. On a declaration `used` has no effect, and clang would warn.
 */
#if defined(__clang__)
#define SEC(name) \
	_Pragma("clang diagnostic push") _Pragma("clang diagnostic ignored \"-Wignored-attributes\"") \
		__attribute__((section(name), used)) _Pragma("clang diagnostic pop")
#else
#define SEC(name) __attribute__((section(name), used))
#endif

/*
 * Members of a map definition, which is a struct in section `.maps`. Loaders read only its type: a number is the length
 * of an array, or the value of an enumerator if it may need 64 bits; a type is the target type of a pointer.
 */
#define __uint(name, val) int(*name)[val]
#define __type(name, val) __typeof__(val) *name
#define __array(name, val) __typeof__(val) *name[]
#define __ulong(name, val) enum { __sk_join(__unique_value, __COUNTER__) = val } name

/* The values of the member `pinning` of a map definition: whether loaders pin the map by its name. */
enum libbpf_pin_type {
	LIBBPF_PIN_NONE,
	LIBBPF_PIN_BY_NAME,
};

/* The value of a kernel configuration option that can be n, y or m. */
enum libbpf_tristate {
	TRI_NO = 0,
	TRI_YES = 1,
	TRI_MODULE = 2,
};

/*
 * Attributes of functions: inlined or not, visible only in the object, or replaceable by another definition.
 * linux/stddef.h also defines `__always_inline`.
 */
#undef __always_inline
#define __always_inline inline __attribute__((always_inline))
#ifndef __noinline
#define __noinline __attribute__((noinline))
#endif
#ifndef __weak
#define __weak __attribute__((weak))
#endif
#ifndef __hidden
#define __hidden __attribute__((visibility("hidden")))
#endif

/* Symbols that the loader resolves: kernel configuration options, and functions and variables of the kernel. */
#define __kconfig __attribute__((section(".kconfig")))
#define __ksym __attribute__((section(".ksyms")))

/* Pointers to kernel or user objects in map values, tracked by the verifier. */
#define __kptr __attribute__((btf_type_tag("kptr")))
#define __kptr_untrusted __attribute__((btf_type_tag("kptr_untrusted")))
#define __percpu_kptr __attribute__((btf_type_tag("percpu_kptr")))
#define __uptr __attribute__((btf_type_tag("uptr")))

/* Requirements of a global function for an argument. */
#define __arg_ctx __attribute__((btf_decl_tag("arg:ctx")))
#define __arg_nonnull __attribute((btf_decl_tag("arg:nonnull")))
#define __arg_nullable __attribute((btf_decl_tag("arg:nullable")))
#define __arg_trusted __attribute((btf_decl_tag("arg:trusted")))
#define __arg_untrusted __attribute((btf_decl_tag("arg:untrusted")))
#define __arg_arena __attribute((btf_decl_tag("arg:arena")))

/* Returns whether the kernel has a function or variable that is declared `__ksym __weak`. */
#define bpf_ksym_exists(sym) \
	({ \
		_Static_assert(!__builtin_constant_p(!!sym), "declare " #sym " as __weak"); \
		!!sym; \
	})

/* Definitions that other headers may also contain. */
#ifndef NULL
#define NULL ((void *)0)
#endif
#ifndef likely
#define likely(x) __builtin_expect(!!(x), 1)
#endif
#ifndef unlikely
#define unlikely(x) __builtin_expect(!!(x), 0)
#endif
#ifndef KERNEL_VERSION
#define KERNEL_VERSION(a, b, c) (((a) << 16) + ((b) << 8) + ((c) > 255 ? 255 : (c)))
#endif

/* Not `__builtin_offsetof`, which is a constant: CO-RE relocates only the access to a member. */
#undef offsetof
#define offsetof(type, member) ((unsigned long)&((type *)0)->member)
#undef container_of
#define container_of(ptr, type, member) \
	({ \
		void *__sk_member = (void *)(ptr); \
		(type *)(__sk_member - offsetof(type, member)); \
	})

/* Prevent the compiler from moving memory accesses across, or from assuming the value of a variable. */
#ifndef barrier
#define barrier() asm volatile("" ::: "memory")
#endif
#ifndef barrier_var
#define barrier_var(var) asm volatile("" : "+r"(var))
#endif

/* Marks unreachable code. If the compiler does not remove the call, the object is not valid. */
#ifndef __bpf_unreachable
#define __bpf_unreachable() __builtin_trap()
#endif

/*
 * A tail call with a constant index, in one sequence of instructions: the kernel converts it to a direct jump only if
 * no other path reaches the call with a different map or index.
 */
#if defined(__bpf__)
static __always_inline void bpf_tail_call_static(void *ctx, const void *map, const __u32 slot)
{
	if (!__builtin_constant_p(slot))
		__bpf_unreachable();
	asm volatile("r1 = %[ctx]\n\t"
		     "r2 = %[map]\n\t"
		     "r3 = %[slot]\n\t"
		     "call 12"
		     :
		     : [ctx] "r"(ctx), [map] "r"(map), [slot] "i"(slot)
		     : "r0", "r1", "r2", "r3", "r4", "r5");
}
#endif

/* Helper macros of libbpf's header that programs use in their own macros. */
#ifndef ___bpf_narg
#define ___bpf_narg(...) __sk_count(__VA_ARGS__)
#endif
#ifndef ___bpf_apply
#define ___bpf_apply(name, count) __sk_join(name, count)
#endif
#ifndef ___bpf_concat
#define ___bpf_concat(a, b) __sk_join(a, b)
#endif
/* Stores each argument in an element of the array. */
#ifndef ___bpf_fill
#define ___bpf_fill(array, ...) __sk_each(__sk_store, array __VA_OPT__(,) __VA_ARGS__)
#endif
#define __sk_store(number, array, value) (array)[(number)-1] = value;

/*
 * Declares `___fmt`, the format string, and `___param`, the arguments as the kernel's formatting helpers require them:
 * 64 bits each, for numbers and pointers.
 */
#define __sk_format(format, ...) \
	static const char ___fmt[] = format; \
	unsigned long long ___param[___bpf_narg(__VA_ARGS__)]; \
	_Pragma("GCC diagnostic push") _Pragma("GCC diagnostic ignored \"-Wint-conversion\"") \
		___bpf_fill(___param, __VA_ARGS__) _Pragma("GCC diagnostic pop")

/* Writes formatted text to the file of an iterator. */
#define BPF_SEQ_PRINTF(seq, fmt, args...) \
	({ \
		__sk_format(fmt, ##args); \
		bpf_seq_printf(seq, ___fmt, sizeof(___fmt), ___param, sizeof(___param)); \
	})

/* Writes formatted text to memory. */
#define BPF_SNPRINTF(out, out_size, fmt, args...) \
	({ \
		__sk_format(fmt, ##args); \
		bpf_snprintf(out, out_size, ___fmt, ___param, sizeof(___param)); \
	})

/*
 * Writes formatted text to a stream of the program. Linux 7.0 and later have the kfunc with these four arguments (6.17
 * to 6.19: five). vmlinux.h declares it; programs for several kernels declare `bpf_stream_vprintk` as `__weak`.
 */
#define bpf_stream_printk(stream_id, fmt, args...) \
	({ \
		__sk_format(fmt, ##args); \
		bpf_stream_vprintk(stream_id, ___fmt, ___param, sizeof(___param)); \
	})

/*
 * Writes formatted text to the kernel's trace (/sys/kernel/tracing/trace_pipe). More than three arguments require Linux
 * 5.16. With BPF_NO_GLOBAL_DATA the format is on the stack, for kernels before 5.2, which have no global data.
 */
#ifdef BPF_NO_GLOBAL_DATA
#define BPF_PRINTK_FMT_MOD
#else
#define BPF_PRINTK_FMT_MOD static const
#endif
#define __bpf_printk(fmt, args...) \
	({ \
		BPF_PRINTK_FMT_MOD char ____fmt[] = fmt; \
		bpf_trace_printk(____fmt, sizeof(____fmt), ##args); \
	})
#define __bpf_vprintk(fmt, args...) \
	({ \
		__sk_format(fmt, ##args); \
		bpf_trace_vprintk(___fmt, sizeof(___fmt), ___param, sizeof(___param)); \
	})
#define bpf_printk(fmt, args...) __sk_join(__sk_printk, __sk_count(args))(fmt, ##args)
#define __sk_printk0 __bpf_printk
#define __sk_printk1 __bpf_printk
#define __sk_printk2 __bpf_printk
#define __sk_printk3 __bpf_printk
#define __sk_printk4 __bpf_vprintk
#define __sk_printk5 __bpf_vprintk
#define __sk_printk6 __bpf_vprintk
#define __sk_printk7 __bpf_vprintk
#define __sk_printk8 __bpf_vprintk
#define __sk_printk9 __bpf_vprintk
#define __sk_printk10 __bpf_vprintk
#define __sk_printk11 __bpf_vprintk
#define __sk_printk12 __bpf_vprintk

/* Loops with the kernel's open-coded iterators (Linux 6.4): the verifier checks the body only once. */
struct bpf_iter_num;
extern int bpf_iter_num_new(struct bpf_iter_num *it, int start, int end) __weak __ksym;
extern int *bpf_iter_num_next(struct bpf_iter_num *it) __weak __ksym;
extern void bpf_iter_num_destroy(struct bpf_iter_num *it) __weak __ksym;

/*
 * Declares the iterator of a loop, initializes it, and destroys it at the end of its scope. The expression names the
 * destructor to keep its symbol: when clang writes BTF, the attribute `cleanup` alone does not count as a use.
 */
#define __sk_iterator(kind, begin) \
	struct bpf_iter_##kind ___it __attribute__((aligned(8), cleanup(bpf_iter_##kind##_destroy))), \
		*___unused __attribute__((unused)) = (begin, (void)bpf_iter_##kind##_destroy, (void *)0)

/* `bpf_for_each(task, task, NULL, 0) { ... }`: executes the body for each element of the iterator `bpf_iter_KIND`. */
#ifndef bpf_for_each
#define bpf_for_each(kind, current, args...) \
	for (__sk_iterator(kind, bpf_iter_##kind##_new(&___it, ##args)); ((current) = bpf_iter_##kind##_next(&___it));)
#endif

/* `bpf_for(i, 0, n) { ... }`: executes the body for each number from `start` to `end` - 1. */
#ifndef bpf_for
#define bpf_for(i, start, end) \
	for (__sk_iterator(num, bpf_iter_num_new(&___it, (start), (end))); ({ \
		     /* The comparison shows the range of `i` to the verifier. */ \
		     int *___next = bpf_iter_num_next(&___it); \
		     ___next && ((i) = *___next, (i) >= (start) && (i) < (end)); \
	     });)
#endif

/* `bpf_repeat(n) { ... }`: executes the body n times. */
#ifndef bpf_repeat
#define bpf_repeat(count) \
	for (__sk_iterator(num, bpf_iter_num_new(&___it, 0, (count))); bpf_iter_num_next(&___it);)
#endif

#endif
