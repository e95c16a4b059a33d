/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * CO-RE: reads of kernel memory at the field offsets of the running kernel, and queries about its types. For each use
 * of a compiler builtin, clang writes a CO-RE relocation; the loader or the kernel then sets the value in the
 * instruction. The names are those of libbpf's header.
 */
#ifndef __BPF_CORE_READ_H__
#define __BPF_CORE_READ_H__

#include "bpf_helpers.h"

/*
 * The kinds of CO-RE relocations for fields, types and enumerators, with clang's numbers. They become the kinds in
 * `enum bpf_core_relo_kind` of linux/bpf.h.
 */
enum bpf_field_info_kind {
	BPF_FIELD_BYTE_OFFSET = 0,
	BPF_FIELD_BYTE_SIZE = 1,
	BPF_FIELD_EXISTS = 2,
	BPF_FIELD_SIGNED = 3,
	BPF_FIELD_LSHIFT_U64 = 4,
	BPF_FIELD_RSHIFT_U64 = 5,
};
enum bpf_type_id_kind {
	BPF_TYPE_ID_LOCAL = 0,
	BPF_TYPE_ID_TARGET = 1,
};
enum bpf_type_info_kind {
	BPF_TYPE_EXISTS = 0,
	BPF_TYPE_SIZE = 1,
	BPF_TYPE_MATCHES = 2,
};
enum bpf_enum_value_kind {
	BPF_ENUMVAL_EXISTS = 0,
	BPF_ENUMVAL_VALUE = 1,
};

/* The expression for a field: `pointer->field`, or a type and the name of its field. */
#define __sk_field(...) __sk_join(__sk_field, __sk_count(__VA_ARGS__))(__VA_ARGS__)
#define __sk_field1(access) (access)
#define __sk_field2(type, field) ((__typeof__(type) *)0)->field
#define __sk_value(type) (*(__typeof__(type) *)0)

#define bpf_core_field_exists(field...) __builtin_preserve_field_info(__sk_field(field), BPF_FIELD_EXISTS)
#define bpf_core_field_size(field...) __builtin_preserve_field_info(__sk_field(field), BPF_FIELD_BYTE_SIZE)
#define bpf_core_field_offset(field...) __builtin_preserve_field_info(__sk_field(field), BPF_FIELD_BYTE_OFFSET)

/*
 * The id of a type in the object's BTF, and in the kernel's BTF; whether the kernel has the type; whether its type has
 * the same fields; the size of the kernel's type.
 */
#define bpf_core_type_id_local(type) __builtin_btf_type_id(__sk_value(type), BPF_TYPE_ID_LOCAL)
#define bpf_core_type_id_kernel(type) __builtin_btf_type_id(__sk_value(type), BPF_TYPE_ID_TARGET)
#define bpf_core_type_exists(type) __builtin_preserve_type_info(__sk_value(type), BPF_TYPE_EXISTS)
#define bpf_core_type_matches(type) __builtin_preserve_type_info(__sk_value(type), BPF_TYPE_MATCHES)
#define bpf_core_type_size(type) __builtin_preserve_type_info(__sk_value(type), BPF_TYPE_SIZE)

/* Whether the kernel has an enumerator, and the enumerator's value in the kernel. */
#if defined(__clang__)
#define __sk_enumerator(type, value) (*(__typeof__(type) *)value)
#else
#define __sk_enumerator(type, value) ((__typeof__(type))value)
#endif
#define bpf_core_enum_value_exists(type, value) \
	__builtin_preserve_enum_value(__sk_enumerator(type, value), BPF_ENUMVAL_EXISTS)
#define bpf_core_enum_value(type, value) __builtin_preserve_enum_value(__sk_enumerator(type, value), BPF_ENUMVAL_VALUE)

/* Casts to a pointer through which programs can read kernel memory directly (Linux 6.2). */
extern void *bpf_rdonly_cast(const void *obj__ign, __u32 btf_id__k) __ksym __weak;
#define bpf_core_cast(ptr, type) ((__typeof__(type) *)bpf_rdonly_cast((ptr), bpf_core_type_id_kernel(type)))

/* Read `size` bytes at `&pointer->field` from kernel memory or user memory; `_str` reads a NUL-terminated string. */
#define __sk_relocated(src) ((const void *)__builtin_preserve_access_index(src))
#define bpf_core_read(dst, sz, src) bpf_probe_read_kernel(dst, sz, __sk_relocated(src))
#define bpf_core_read_user(dst, sz, src) bpf_probe_read_user(dst, sz, __sk_relocated(src))
#define bpf_core_read_str(dst, sz, src) bpf_probe_read_kernel_str(dst, sz, __sk_relocated(src))
#define bpf_core_read_user_str(dst, sz, src) bpf_probe_read_user_str(dst, sz, __sk_relocated(src))

/*
 * `BPF_CORE_READ(task, mm, exe_file, f_inode)` is `task->mm->exe_file->f_inode` with one read for each arrow, up to
 * ten. An argument can contain more than a field name: `sk.__sk_common`, `cgrps[0]`.
 *
 * `__sk_follow(last, each, dst, src, ...)` reads the last field with `last` into `*dst`, and each pointer before it
 * with `each` into `__sk_at`. The type of `__sk_at` is passed to the next step.
 */
#define __sk_follow(last, each, dst, src, ...) \
	__sk_join(__sk_follow, __sk_count(__VA_ARGS__))(last, each, dst, __typeof__(src), src, __VA_ARGS__)
#define __sk_read_field(read, dst, type, src, field) read((void *)(dst), sizeof(*(dst)), &((type)(src))->field);
#define __sk_field_type(type, field) __typeof__(((type)0)->field)

#define __sk_follow1(last, each, dst, type, src, a) __sk_read_field(last, dst, type, src, a)
#define __sk_follow_more(then, last, each, dst, type, src, a, ...) \
	const void *__sk_at; \
	__sk_read_field(each, &__sk_at, type, src, a) then(last, each, dst, __sk_field_type(type, a), __VA_ARGS__)
#define __sk_follow2(...) __sk_follow_more(__sk_then1, __VA_ARGS__)
#define __sk_follow3(...) __sk_follow_more(__sk_then2, __VA_ARGS__)
#define __sk_follow4(...) __sk_follow_more(__sk_then3, __VA_ARGS__)
#define __sk_follow5(...) __sk_follow_more(__sk_then4, __VA_ARGS__)
#define __sk_follow6(...) __sk_follow_more(__sk_then5, __VA_ARGS__)
#define __sk_follow7(...) __sk_follow_more(__sk_then6, __VA_ARGS__)
#define __sk_follow8(...) __sk_follow_more(__sk_then7, __VA_ARGS__)
#define __sk_follow9(...) __sk_follow_more(__sk_then8, __VA_ARGS__)
#define __sk_follow10(...) __sk_follow_more(__sk_then9, __VA_ARGS__)

#define __sk_then1(last, each, dst, type, a) __sk_read_field(last, dst, type, __sk_at, a)
#define __sk_then2(last, each, dst, type, a, ...) \
	__sk_read_field(each, &__sk_at, type, __sk_at, a) \
	__sk_then1(last, each, dst, __sk_field_type(type, a), __VA_ARGS__)
#define __sk_then3(last, each, dst, type, a, ...) \
	__sk_read_field(each, &__sk_at, type, __sk_at, a) \
	__sk_then2(last, each, dst, __sk_field_type(type, a), __VA_ARGS__)
#define __sk_then4(last, each, dst, type, a, ...) \
	__sk_read_field(each, &__sk_at, type, __sk_at, a) \
	__sk_then3(last, each, dst, __sk_field_type(type, a), __VA_ARGS__)
#define __sk_then5(last, each, dst, type, a, ...) \
	__sk_read_field(each, &__sk_at, type, __sk_at, a) \
	__sk_then4(last, each, dst, __sk_field_type(type, a), __VA_ARGS__)
#define __sk_then6(last, each, dst, type, a, ...) \
	__sk_read_field(each, &__sk_at, type, __sk_at, a) \
	__sk_then5(last, each, dst, __sk_field_type(type, a), __VA_ARGS__)
#define __sk_then7(last, each, dst, type, a, ...) \
	__sk_read_field(each, &__sk_at, type, __sk_at, a) \
	__sk_then6(last, each, dst, __sk_field_type(type, a), __VA_ARGS__)
#define __sk_then8(last, each, dst, type, a, ...) \
	__sk_read_field(each, &__sk_at, type, __sk_at, a) \
	__sk_then7(last, each, dst, __sk_field_type(type, a), __VA_ARGS__)
#define __sk_then9(last, each, dst, type, a, ...) \
	__sk_read_field(each, &__sk_at, type, __sk_at, a) \
	__sk_then8(last, each, dst, __sk_field_type(type, a), __VA_ARGS__)

/* Read the last field, or a string, from kernel or user memory into `*dst`. Return the result of the last read. */
#define BPF_CORE_READ_INTO(dst, src, a, ...) \
	({ __sk_follow(bpf_core_read, bpf_core_read, dst, (src), a __VA_OPT__(,) __VA_ARGS__) })
#define BPF_CORE_READ_USER_INTO(dst, src, a, ...) \
	({ __sk_follow(bpf_core_read_user, bpf_core_read_user, dst, (src), a __VA_OPT__(,) __VA_ARGS__) })
#define BPF_CORE_READ_STR_INTO(dst, src, a, ...) \
	({ __sk_follow(bpf_core_read_str, bpf_core_read, dst, (src), a __VA_OPT__(,) __VA_ARGS__) })
#define BPF_CORE_READ_USER_STR_INTO(dst, src, a, ...) \
	({ __sk_follow(bpf_core_read_user_str, bpf_core_read_user, dst, (src), a __VA_OPT__(,) __VA_ARGS__) })

/* Read without CO-RE: the offsets are those of the types in the source. */
#define BPF_PROBE_READ_INTO(dst, src, a, ...) \
	({ __sk_follow(bpf_probe_read_kernel, bpf_probe_read_kernel, dst, (src), a __VA_OPT__(,) __VA_ARGS__) })
#define BPF_PROBE_READ_USER_INTO(dst, src, a, ...) \
	({ __sk_follow(bpf_probe_read_user, bpf_probe_read_user, dst, (src), a __VA_OPT__(,) __VA_ARGS__) })
#define BPF_PROBE_READ_STR_INTO(dst, src, a, ...) \
	({ __sk_follow(bpf_probe_read_kernel_str, bpf_probe_read_kernel, dst, (src), a __VA_OPT__(,) __VA_ARGS__) })
#define BPF_PROBE_READ_USER_STR_INTO(dst, src, a, ...) \
	({ __sk_follow(bpf_probe_read_user_str, bpf_probe_read_user, dst, (src), a __VA_OPT__(,) __VA_ARGS__) })

/*
 * Returns the value of the last field. `__sk_each` cannot be used here, because the macros that it repeats read fields.
 */
#define __sk_read_value(into, src, ...) \
	({ \
		__typeof__((src)__sk_join(__sk_arrows, __sk_count(__VA_ARGS__))(__VA_ARGS__)) __sk_read; \
		into(&__sk_read, (src), __VA_ARGS__); \
		__sk_read; \
	})
#define __sk_arrows1(a) ->a
#define __sk_arrows2(a, ...) ->a __sk_arrows1(__VA_ARGS__)
#define __sk_arrows3(a, ...) ->a __sk_arrows2(__VA_ARGS__)
#define __sk_arrows4(a, ...) ->a __sk_arrows3(__VA_ARGS__)
#define __sk_arrows5(a, ...) ->a __sk_arrows4(__VA_ARGS__)
#define __sk_arrows6(a, ...) ->a __sk_arrows5(__VA_ARGS__)
#define __sk_arrows7(a, ...) ->a __sk_arrows6(__VA_ARGS__)
#define __sk_arrows8(a, ...) ->a __sk_arrows7(__VA_ARGS__)
#define __sk_arrows9(a, ...) ->a __sk_arrows8(__VA_ARGS__)
#define __sk_arrows10(a, ...) ->a __sk_arrows9(__VA_ARGS__)
#define BPF_CORE_READ(src, a, ...) __sk_read_value(BPF_CORE_READ_INTO, src, a __VA_OPT__(,) __VA_ARGS__)
#define BPF_CORE_READ_USER(src, a, ...) __sk_read_value(BPF_CORE_READ_USER_INTO, src, a __VA_OPT__(,) __VA_ARGS__)
#define BPF_PROBE_READ(src, a, ...) __sk_read_value(BPF_PROBE_READ_INTO, src, a __VA_OPT__(,) __VA_ARGS__)
#define BPF_PROBE_READ_USER(src, a, ...) __sk_read_value(BPF_PROBE_READ_USER_INTO, src, a __VA_OPT__(,) __VA_ARGS__)

/*
 * Bitfields: BTF states which bytes contain the field, and which bits of these bytes are its value. The bytes are read
 * into 64 bits and shifted to the left, which removes the bits above the field, and then to the right.
 */
#define __CORE_RELO(src, field, info) __builtin_preserve_field_info((src)->field, BPF_FIELD_##info)

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define __sk_bytes_at(dst, src, field) ((void *)dst)
#else
/* On big-endian machines, the bytes of a number shorter than 64 bits are its last bytes. */
#define __sk_bytes_at(dst, src, field) ((void *)dst + (8 - __CORE_RELO(src, field, BYTE_SIZE)))
#endif
#define __CORE_BITFIELD_PROBE_READ(dst, src, field) \
	bpf_probe_read_kernel(__sk_bytes_at(dst, src, field), __CORE_RELO(src, field, BYTE_SIZE), \
			      (const void *)(src) + __CORE_RELO(src, field, BYTE_OFFSET))

/* Extracts the value of bitfield `field` from `bits`, the bytes that contain it. */
#define __sk_extract(bits, src, field) \
	({ \
		bits <<= __CORE_RELO(src, field, LSHIFT_U64); \
		if (__CORE_RELO(src, field, SIGNED)) \
			bits = (long long)bits >> __CORE_RELO(src, field, RSHIFT_U64); \
		else \
			bits = bits >> __CORE_RELO(src, field, RSHIFT_U64); \
		bits; \
	})

/* Returns the value of a bitfield, read by a helper. */
#define BPF_CORE_READ_BITFIELD_PROBED(src, field) \
	({ \
		unsigned long long __sk_bits = 0; \
		__CORE_BITFIELD_PROBE_READ(&__sk_bits, src, field); \
		__sk_extract(__sk_bits, src, field); \
	})

/*
 * Returns the value of a bitfield, read directly: from a context, or through a pointer whose type the verifier knows.
 * The barrier prevents clang from merging the offset into the load, where no CO-RE relocation could change it.
 */
#define BPF_CORE_READ_BITFIELD(src, field) \
	({ \
		unsigned long long __sk_bits; \
		const void *__sk_bytes = (const void *)(src) + __CORE_RELO(src, field, BYTE_OFFSET); \
		barrier_var(__sk_bytes); \
		switch (__CORE_RELO(src, field, BYTE_SIZE)) { \
		case 1: __sk_bits = *(const unsigned char *)__sk_bytes; break; \
		case 2: __sk_bits = *(const unsigned short *)__sk_bytes; break; \
		case 4: __sk_bits = *(const unsigned int *)__sk_bytes; break; \
		case 8: __sk_bits = *(const unsigned long long *)__sk_bytes; break; \
		default: __sk_bits = 0; break; \
		} \
		__sk_extract(__sk_bits, src, field); \
	})

/* Writes a bitfield directly. The other bits of its bytes are unchanged. */
#define BPF_CORE_WRITE_BITFIELD(dst, field, value) \
	({ \
		unsigned int __sk_size = __CORE_RELO(dst, field, BYTE_SIZE); \
		unsigned int __sk_left = __CORE_RELO(dst, field, LSHIFT_U64); \
		unsigned int __sk_right = __CORE_RELO(dst, field, RSHIFT_U64); \
		unsigned int __sk_low = __sk_right - __sk_left; \
		unsigned long long __sk_mask, __sk_bits, __sk_new = value; \
		void *__sk_bytes = (void *)(dst) + __CORE_RELO(dst, field, BYTE_OFFSET); \
		barrier_var(__sk_bytes); \
		switch (__sk_size) { \
		case 1: __sk_bits = *(unsigned char *)__sk_bytes; break; \
		case 2: __sk_bits = *(unsigned short *)__sk_bytes; break; \
		case 4: __sk_bits = *(unsigned int *)__sk_bytes; break; \
		case 8: __sk_bits = *(unsigned long long *)__sk_bytes; break; \
		} \
		__sk_mask = (~0ULL << __sk_right) >> __sk_left; \
		__sk_bits = (__sk_bits & ~__sk_mask) | ((__sk_new << __sk_low) & __sk_mask); \
		switch (__sk_size) { \
		case 1: *(unsigned char *)__sk_bytes = __sk_bits; break; \
		case 2: *(unsigned short *)__sk_bytes = __sk_bits; break; \
		case 4: *(unsigned int *)__sk_bytes = __sk_bits; break; \
		case 8: *(unsigned long long *)__sk_bytes = __sk_bits; break; \
		} \
	})

#endif
