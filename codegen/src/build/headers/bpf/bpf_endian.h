/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Conversions between the byte order of the machine and network byte order, also for constants. */
#ifndef __BPF_ENDIAN__
#define __BPF_ENDIAN__

/* Reverses the bytes in plain C, so that the result is a constant expression, for initializers and case labels. */
#define __sk_byte(x, from, to) ((((x) >> (from)) & 0xff) << (to))
#define ___bpf_swab16(x) ((__u16)(__sk_byte((__u16)(x), 0, 8) | __sk_byte((__u16)(x), 8, 0)))
#define ___bpf_swab32(x) \
	((__u32)(__sk_byte((__u32)(x), 0, 24) | __sk_byte((__u32)(x), 8, 16) | __sk_byte((__u32)(x), 16, 8) | \
		 __sk_byte((__u32)(x), 24, 0)))
#define ___bpf_swab64(x) ((__u64)___bpf_swab32((__u64)(x) >> 32) | (__u64)___bpf_swab32((__u64)(x)) << 32)

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define __sk_network(x, bits) __builtin_bswap##bits(x)
#define __sk_constant_network(x, bits) ___bpf_swab##bits(x)
#elif __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define __sk_network(x, bits) (x)
#define __sk_constant_network(x, bits) (x)
#else
#error "the byte order is neither little-endian nor big-endian"
#endif

/* Conversions of values at run time, and of constants. Both directions are the same operation. */
#define __bpf_htons(x) __sk_network(x, 16)
#define __bpf_ntohs(x) __sk_network(x, 16)
#define __bpf_htonl(x) __sk_network(x, 32)
#define __bpf_ntohl(x) __sk_network(x, 32)
#define __bpf_cpu_to_be64(x) __sk_network(x, 64)
#define __bpf_be64_to_cpu(x) __sk_network(x, 64)

#define __bpf_constant_htons(x) __sk_constant_network(x, 16)
#define __bpf_constant_ntohs(x) __sk_constant_network(x, 16)
#define __bpf_constant_htonl(x) __sk_constant_network(x, 32)
#define __bpf_constant_ntohl(x) __sk_constant_network(x, 32)
#define __bpf_constant_cpu_to_be64(x) __sk_constant_network(x, 64)
#define __bpf_constant_be64_to_cpu(x) __sk_constant_network(x, 64)

/* Conversions of any value: a constant is converted by the compiler. */
#define __sk_either(x, bits) (__builtin_constant_p(x) ? __sk_constant_network(x, bits) : __sk_network(x, bits))
#define bpf_htons(x) __sk_either(x, 16)
#define bpf_ntohs(x) __sk_either(x, 16)
#define bpf_htonl(x) __sk_either(x, 32)
#define bpf_ntohl(x) __sk_either(x, 32)
#define bpf_cpu_to_be64(x) __sk_either(x, 64)
#define bpf_be64_to_cpu(x) __sk_either(x, 64)

#endif
