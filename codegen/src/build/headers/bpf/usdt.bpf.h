/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Arguments of USDT probes. Their locations (registers, memory) differ between the sites of a probe, so the loader
 * writes a specification for each site into a map, and the functions here read it. Names, layout and maps are those
 * of libbpf 1.7; skelgen-runtime and libbpf fill the maps.
 */
#ifndef __USDT_BPF_H__
#define __USDT_BPF_H__

#if __has_include(<asm/errno.h>)
#include <linux/errno.h>
#endif
#include "bpf_helpers.h"
#include "bpf_tracing.h"
#include "skelgen_macros.h"

/* The error numbers that these functions return, if no header defines them. */
#ifndef ENOENT
#define ENOENT 2
#endif
#ifndef ESRCH
#define ESRCH 3
#endif
#ifndef EINVAL
#define EINVAL 22
#endif

/*
 * The maximum number of different specifications of all attached probes; on kernels without attach cookies (before
 * 5.15), also the maximum number of probe sites.
 */
#ifndef BPF_USDT_MAX_SPEC_CNT
#define BPF_USDT_MAX_SPEC_CNT 256
#endif
#ifndef BPF_USDT_MAX_IP_CNT
#define BPF_USDT_MAX_IP_CNT (4 * BPF_USDT_MAX_SPEC_CNT)
#endif
/* The maximum number of arguments of a probe. */
#define BPF_USDT_MAX_ARG_CNT 12

/* The location of an argument. */
enum __bpf_usdt_arg_type {
	/* A constant: `val_off`. */
	BPF_USDT_ARG_CONST,
	/* The register at `reg_off` in `struct pt_regs`. */
	BPF_USDT_ARG_REG,
	/* Memory at `val_off` plus the address in the register. */
	BPF_USDT_ARG_REG_DEREF,
	/* Memory at that address plus the number in the register at `idx_reg_off`, shifted by `scale_bitshift`. */
	BPF_USDT_ARG_SIB,
};

struct __bpf_usdt_arg_spec {
	__u64 val_off;
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	enum __bpf_usdt_arg_type arg_type : 8;
	__u16 idx_reg_off : 12;
	__u16 scale_bitshift : 4;
	__u8 __reserved : 8;
#else
	__u8 __reserved : 8;
	__u16 idx_reg_off : 12;
	__u16 scale_bitshift : 4;
	enum __bpf_usdt_arg_type arg_type : 8;
#endif
	short reg_off;
	bool arg_signed;
	/* 64 minus the size of the argument in bits. */
	char arg_bitshift;
};

struct __bpf_usdt_spec {
	struct __bpf_usdt_arg_spec args[BPF_USDT_MAX_ARG_CNT];
	__u64 usdt_cookie;
	short arg_cnt;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, BPF_USDT_MAX_SPEC_CNT);
	__type(key, int);
	__type(value, struct __bpf_usdt_spec);
} __bpf_usdt_specs SEC(".maps") __weak;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, BPF_USDT_MAX_IP_CNT);
	__type(key, long);
	__type(value, __u32);
} __bpf_usdt_ip_to_spec_id SEC(".maps") __weak;

extern const _Bool LINUX_HAS_BPF_COOKIE __kconfig;

/*
 * Returns the id of the specification for the probe site that called the program: the attach cookie, or the result of a
 * lookup by address on kernels without cookies.
 */
static __always_inline int __bpf_usdt_spec_id(struct pt_regs *ctx)
{
	if (!LINUX_HAS_BPF_COOKIE) {
		long ip = PT_REGS_IP(ctx);
		int *id = bpf_map_lookup_elem(&__bpf_usdt_ip_to_spec_id, &ip);

		return id ? *id : -ESRCH;
	}
	return bpf_get_attach_cookie(ctx);
}

/* Returns the number of arguments, or a negative error number. */
__weak __hidden int bpf_usdt_arg_cnt(struct pt_regs *ctx)
{
	struct __bpf_usdt_spec *spec;
	int spec_id = __bpf_usdt_spec_id(ctx);

	if (spec_id < 0)
		return -ESRCH;
	spec = bpf_map_lookup_elem(&__bpf_usdt_specs, &spec_id);
	if (!spec)
		return -ESRCH;
	return spec->arg_cnt;
}

/* Returns the size of an argument in bytes, or a negative error number. */
static __always_inline int bpf_usdt_arg_size(struct pt_regs *ctx, __u64 arg_num)
{
	struct __bpf_usdt_spec *spec;
	int spec_id = __bpf_usdt_spec_id(ctx);

	if (spec_id < 0)
		return -ESRCH;
	spec = bpf_map_lookup_elem(&__bpf_usdt_specs, &spec_id);
	if (!spec)
		return -ESRCH;
	if (arg_num >= BPF_USDT_MAX_ARG_CNT)
		return -ENOENT;
	/* The verifier requires this comparison with a constant before the next one. */
	barrier_var(arg_num);
	if (arg_num >= spec->arg_cnt)
		return -ENOENT;
	return (64U - spec->args[arg_num].arg_bitshift) / 8;
}

/* Reads argument `arg_num`, from 0, into `*res`. On error, returns a negative error number and sets `*res` to 0. */
__weak __hidden int bpf_usdt_arg(struct pt_regs *ctx, __u64 arg_num, long *res)
{
	struct __bpf_usdt_arg_spec *arg;
	struct __bpf_usdt_spec *spec;
	unsigned long value, index;
	int err, spec_id;

	*res = 0;
	spec_id = __bpf_usdt_spec_id(ctx);
	if (spec_id < 0)
		return -ESRCH;
	spec = bpf_map_lookup_elem(&__bpf_usdt_specs, &spec_id);
	if (!spec)
		return -ESRCH;
	if (arg_num >= BPF_USDT_MAX_ARG_CNT)
		return -ENOENT;
	barrier_var(arg_num);
	if (arg_num >= spec->arg_cnt)
		return -ENOENT;
	arg = &spec->args[arg_num];

	switch (arg->arg_type) {
	case BPF_USDT_ARG_CONST:
		value = arg->val_off;
		break;
	case BPF_USDT_ARG_REG:
		err = bpf_probe_read_kernel(&value, sizeof(value), (void *)ctx + arg->reg_off);
		if (err)
			return err;
		break;
	case BPF_USDT_ARG_REG_DEREF:
		err = bpf_probe_read_kernel(&value, sizeof(value), (void *)ctx + arg->reg_off);
		if (err)
			return err;
		err = bpf_probe_read_user(&value, sizeof(value), (void *)value + arg->val_off);
		if (err)
			return err;
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
		/* On big-endian machines, a shorter value is in the first of these eight bytes. */
		value >>= arg->arg_bitshift;
#endif
		break;
	case BPF_USDT_ARG_SIB:
		err = bpf_probe_read_kernel(&value, sizeof(value), (void *)ctx + arg->reg_off);
		if (err)
			return err;
		err = bpf_probe_read_kernel(&index, sizeof(index), (void *)ctx + arg->idx_reg_off);
		if (err)
			return err;
		err = bpf_probe_read_user(&value, sizeof(value),
					  (void *)(value + (index << arg->scale_bitshift) + arg->val_off));
		if (err)
			return err;
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
		value >>= arg->arg_bitshift;
#endif
		break;
	default:
		return -EINVAL;
	}

	/* Keep only the low bits, which are the argument. */
	value <<= arg->arg_bitshift;
	if (arg->arg_signed)
		value = (long)value >> arg->arg_bitshift;
	else
		value = value >> arg->arg_bitshift;
	*res = value;
	return 0;
}

/* Returns the cookie that was set when the program was attached; 0 without a cookie. */
__weak __hidden long bpf_usdt_cookie(struct pt_regs *ctx)
{
	struct __bpf_usdt_spec *spec;
	int spec_id = __bpf_usdt_spec_id(ctx);

	if (spec_id < 0)
		return 0;
	spec = bpf_map_lookup_elem(&__bpf_usdt_specs, &spec_id);
	if (!spec)
		return 0;
	return spec->usdt_cookie;
}

/*
 * Defines a program with the arguments of the probe as parameters: `int BPF_USDT(name, int request, const char *path)
 * { ... }`.
 */
#define BPF_USDT(name, args...) \
	__sk_typed(name, struct pt_regs, (struct pt_regs *ctx, ##args), , __sk_each(__sk_usdt_argument, _, ##args))
#define __sk_usdt_argument(number, _, parameter) \
	, ({ \
		long ___value; \
		bpf_usdt_arg(ctx, (number)-1, &___value); \
		(void *)___value; \
	})

#endif
