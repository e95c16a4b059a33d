/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Building blocks for the macros of the other headers: joining names, counting arguments, and repeating a macro for
 * each argument. Programs include the other headers, not this one.
 */
#ifndef __SKELGEN_MACROS_H__
#define __SKELGEN_MACROS_H__

/* Joins two names after expanding both. */
#define __sk_join(a, b) __sk_join_now(a, b)
#define __sk_join_now(a, b) a##b

/* The number of arguments, from 0 to 12. */
#define __sk_count(...) __sk_thirteenth(__VA_ARGS__ __VA_OPT__(,) 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0)
#define __sk_thirteenth(a, b, c, d, e, f, g, h, i, j, k, l, result, ...) result

/* The number of pairs among the arguments, from 0 to 12. */
#define __sk_count_pairs(...) \
	__sk_join(__sk_half, __sk_count_many(__VA_ARGS__ __VA_OPT__(,) 24, odd, 22, odd, 20, odd, 18, odd, 16, odd, 14, \
					     odd, 12, odd, 10, odd, 8, odd, 6, odd, 4, odd, 2, odd, 0))
#define __sk_count_many(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t, u, v, w, x, result, ...) result
#define __sk_half0 0
#define __sk_half2 1
#define __sk_half4 2
#define __sk_half6 3
#define __sk_half8 4
#define __sk_half10 5
#define __sk_half12 6
#define __sk_half14 7
#define __sk_half16 8
#define __sk_half18 9
#define __sk_half20 10
#define __sk_half22 11
#define __sk_half24 12

/* Expands to `f(1, with, FIRST) f(2, with, SECOND) ...`: the macro `f` for each argument after `with`. */
#define __sk_each(f, with, ...) __sk_join(__sk_each, __sk_count(__VA_ARGS__))(f, with __VA_OPT__(,) __VA_ARGS__)
#define __sk_each0(f, w)
#define __sk_each1(f, w, a) f(1, w, a)
#define __sk_each2(f, w, a, b) f(1, w, a) f(2, w, b)
#define __sk_each3(f, w, a, b, c) __sk_each2(f, w, a, b) f(3, w, c)
#define __sk_each4(f, w, a, b, c, d) __sk_each3(f, w, a, b, c) f(4, w, d)
#define __sk_each5(f, w, a, b, c, d, e) __sk_each4(f, w, a, b, c, d) f(5, w, e)
#define __sk_each6(f, w, a, b, c, d, e, g) __sk_each5(f, w, a, b, c, d, e) f(6, w, g)
#define __sk_each7(f, w, a, b, c, d, e, g, h) __sk_each6(f, w, a, b, c, d, e, g) f(7, w, h)
#define __sk_each8(f, w, a, b, c, d, e, g, h, i) __sk_each7(f, w, a, b, c, d, e, g, h) f(8, w, i)
#define __sk_each9(f, w, a, b, c, d, e, g, h, i, j) __sk_each8(f, w, a, b, c, d, e, g, h, i) f(9, w, j)
#define __sk_each10(f, w, a, b, c, d, e, g, h, i, j, k) __sk_each9(f, w, a, b, c, d, e, g, h, i, j) f(10, w, k)
#define __sk_each11(f, w, a, b, c, d, e, g, h, i, j, k, l) __sk_each10(f, w, a, b, c, d, e, g, h, i, j, k) f(11, w, l)
#define __sk_each12(f, w, a, b, c, d, e, g, h, i, j, k, l, m) \
	__sk_each11(f, w, a, b, c, d, e, g, h, i, j, k, l) f(12, w, m)

/*
 * Defines a program and an inlined function that it calls: `int BPF_PROG(name, struct file *file, int flags) { ... }`.
 * The body belongs to the function, which has these parameters and the program's context as `ctx`.
 *
 * `parameters` are the function's parameters in parentheses. `values` are the arguments that the program passes after
 * the context, each preceded by a comma. `before` is code in the program before the call.
 */
#define __sk_typed(name, context, parameters, before, values) \
	name(context *ctx); \
	static __always_inline __typeof__(name(0)) ____##name parameters; \
	__typeof__(name(0)) name(context *ctx) \
	{ \
		_Pragma("GCC diagnostic push") _Pragma("GCC diagnostic ignored \"-Wint-conversion\"") \
			before return ____##name(ctx values); \
		_Pragma("GCC diagnostic pop") \
	} \
	static __always_inline __typeof__(name(0)) ____##name parameters

#endif
