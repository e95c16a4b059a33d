#ifndef __VMLINUX_H__
#define __VMLINUX_H__

#ifndef BPF_NO_PRESERVE_ACCESS_INDEX
#pragma clang attribute push (__attribute__((preserve_access_index)), apply_to = record)
#endif

typedef unsigned long long u64;

enum narrow {
	NARROW_A = 0,
	NARROW_B = 200,
} __attribute__((mode(QI)));

enum middling {
	MIDDLING_A = -2,
	MIDDLING_B = 30000,
} __attribute__((mode(HI)));

enum below {
	BELOW_A = -1,
	BELOW_B = 2147483647,
};

enum wide_enum {
	WIDE_ENUM_A = 9223372036854775808ULL,
	WIDE_ENUM_B = 18446744073709551615ULL,
} __attribute__((mode(DI)));

enum above {
	ABOVE_A = 4294967295,
};

enum twice {
	TWICE_A = 3,
	TWICE_B = 3,
	TWICE_C = 3,
};

enum wide_below {
	WIDE_BELOW_A = -4611686018427387904LL,
} __attribute__((mode(DI)));

typedef enum {
	NO_TAG_A = 0,
	NO_TAG_B = 7,
} no_tag_t;

struct enums {
	enum narrow a;
	enum middling b;
	enum below c;
	enum wide_enum d;
	enum above e;
	enum twice f;
	enum wide_below g;
	no_tag_t h;
	enum {
		INLINE_A = 4,
	} i;
	enum narrow j[3];
};

typedef unsigned int u32;

struct enum_bits {
	u32 a: 2;
	enum wide_enum b: 61;
	enum wide_below c: 63;
	enum narrow d: 3;
};

typedef unsigned char u8;

typedef unsigned short u16;

struct anonymous {
	u8 a;
	struct {
		u32 b;
		union {
			u16 c;
			u64 d;
			struct {
				u8 e;
				u32 f;
			};
		};
		u8 g;
	};
	union {
		u8 h[3];
		u32 i;
	};
	struct {
		u16 one;
		u16 two;
	} named;
	union {
		u64 number;
		u8 bytes[8];
		struct {
			u32 low;
			u32 high;
		} halves;
	} choice[2];
	u8 j;
};

struct ordinary {
	u8 a;
	u32 b;
	u8 c;
	u64 d;
	u8 e;
};

typedef int s32;

union mixed {
	u8 a;
	u16 b[3];
	struct ordinary c;
	u64 d: 5;
	s32 e: 3;
	struct {
		u8 f;
		u16 g;
	};
	void *h;
};

enum value {
	self = 0,
	Self = 1,
	crate = 2,
	impl = 3,
	value = 4,
	f = 5,
	None = 6,
	Some = 7,
	Ok = 8,
	Err = 9,
	rt_ = 10,
};

union storage {
	u32 storage;
	u8 set_storage;
	u16 x;
	u8 set_x;
	enum value value;
	u32 default_;
	u32 clone;
	u32 fmt: 3;
};

struct accessors {
	enum value value;
	union storage storage;
	u32 get: 3;
	u32 set_get: 5;
	u32 set_set_get: 6;
};

struct flexible {
	u32 len;
	u64 data[0];
};

struct flexible_early {
	u64 a;
	u16 b;
	u8 data[0];
};

struct packed_for_nothing {
	u64 a;
	u32 b;
	u32 c;
};

struct packed_all {
	u8 a;
	u64 b;
	u16 c;
	u32 d[3];
} __attribute__((packed));

struct packed_member {
	u8 a;
	u32 b;
	long: 8;
	u16 c;
	u64 d;
} __attribute__((packed));

struct packed_two {
	u8 a;
	long: 8;
	u64 b;
	u8 c;
	long: 8;
	u32 d;
} __attribute__((packed));

struct packed_four {
	u8 a;
	long: 24;
	u64 b;
	u8 c;
	long: 24;
	void *d;
} __attribute__((packed));

struct holds_packed {
	u8 a;
	struct packed_for_nothing b;
	u8 c;
} __attribute__((packed));

struct packed_around {
	u8 a;
	struct ordinary b;
	u16 c;
	struct ordinary d[2];
} __attribute__((packed));

struct around_packed {
	u8 a;
	struct packed_all b;
	u64 c;
	struct packed_all d[3];
	u16 e;
};

typedef u64 u64_of_four;

struct less_aligned {
	u32 a;
	u64_of_four b;
	u32 c;
	u64_of_four d[2];
} __attribute__((packed));

struct sixteen {
	u32 a;
	long: 32;
	long: 64;
};

struct cache_line {
	u64 a;
	u8 b;
	long: 56;
	long: 64;
	long: 64;
	long: 64;
	long: 64;
	long: 64;
	long: 64;
};

struct many_lines {
	u8 a;
	long: 56;
	long: 64;
	long: 64;
	long: 64;
	long: 64;
	long: 64;
	long: 64;
	long: 64;
	struct cache_line b[3];
	u8 c;
	long: 56;
	long: 64;
	struct sixteen d;
	long: 64;
	long: 64;
	long: 64;
	long: 64;
};

struct aligned_member {
	u8 a;
	long: 56;
	long: 64;
	long: 64;
	long: 64;
	u32 b;
	u8 c;
	long: 24;
	u16 d;
	long: 48;
	long: 64;
	long: 64;
};

struct packed_and_aligned {
	u8 a;
	u64 b;
	u8 c;
	long: 48;
} __attribute__((packed));

typedef u8 vector_t;

struct aligned_typedef {
	u8 a;
	long: 56;
	long: 64;
	vector_t b;
	u8 c;
	long: 48;
	long: 64;
};

struct flexible_structs {
	u8 len;
	struct ordinary each[0];
};

struct flexible_packed {
	u8 len;
	u64 data[0];
} __attribute__((packed));

struct no_elements {
	u8 a;
	u32 none[0];
	u8 b;
	u64 neither[0][3];
};

#if !defined(__STDC_VERSION__) || __STDC_VERSION__ < 202311L
typedef _Bool bool;
#endif

struct arrays {
	u8 a[3];
	u16 b[2][3];
	u32 c[2][3][4];
	struct ordinary d[2][2];
	bool e[3];
	char f[16];
};

typedef u16 row_t[3];

typedef row_t matrix_t[5];

struct typedef_arrays {
	u8 a;
	row_t b;
	matrix_t c;
	matrix_t d[2];
};

struct large_arrays {
	u8 a[33];
	u64 b[1000];
	u16 c[100][300];
	struct ordinary d[65];
	u8 e[65536];
};

struct nothing {};

struct around_nothing {
	u8 a;
	struct nothing b;
	u16 c;
	struct nothing d[7];
	struct {} e;
	u8 f;
};

union no_members {};

struct with_no_members {
	u32 a;
	union no_members b;
	u8 c;
};

struct other;

struct only_declared;

struct node {
	u8 a;
	struct node *next;
	struct node **all;
	struct other *other;
	struct node *children[4];
	struct only_declared *secret;
};

struct other {
	struct node node;
	struct other *self;
};

typedef int (*callback_t)(struct node *, const char *restrict, ...);

struct pointers {
	u8 a;
	void *b;
	const volatile void *const c;
	int (*d)(void);
	callback_t e[2];
	int (*f)[4];
	void (*(*g)(int))(struct node *(*)(void));
	u8 h;
};

struct numbers {
	u8 a;
	__int128 b;
	bool c;
	unsigned __int128 d[2];
	float e;
	double f;
	signed char g;
	long h;
	volatile u16 i;
};

struct deep {
	struct {
		struct {
			u8 a;
			struct {
				u64 b;
			} inner;
		} middle[2];
		union {
			struct {
				u8 c;
				u16 d;
			} left;
			u8 right;
		} either;
	} outer;
	struct {
		struct {
			struct {
				u8 e;
			};
		};
	};
};

typedef struct {
	u8 a;
	u32 b;
} no_tag_struct_t;

typedef no_tag_struct_t renamed_t;

typedef union {
	u8 a[5];
	u16 b;
} no_tag_union_t;

typedef struct ordinary ordinary_t;

struct typedefs {
	u8 a;
	no_tag_struct_t b;
	renamed_t c;
	no_tag_union_t d;
	ordinary_t e;
	const volatile ordinary_t f;
};

union odd_size {
	u8 a[5];
	u16 b;
	u8 c[0];
};

struct odd_unions {
	u8 a;
	union odd_size b[3];
	u8 c;
	union {
		u8 d[3];
		u8 e;
	} f;
	union {
		u32 g;
	} h;
};

union aligned_union {
	u8 a;
	u32 b;
	char __padding2[16];
};

struct around_union {
	u8 a;
	long: 56;
	long: 64;
	union aligned_union b;
	u8 c;
	union {
		__int128 d;
		u8 e;
	} f;
};

struct type {
	u32 type;
	u32 self;
	u32 Self;
	u32 super;
	u32 crate;
	u32 match;
	u32 r;
	u32 fn;
	u32 dyn;
	u32 async;
	u32 gen;
	u32 union_;
	u32 __pad0;
	u8 __pad1;
	u64 __align;
};

struct u32 {
	u8 u32;
	u64 bool_;
};

struct Default {
	struct u32 u32;
	struct Default *Debug;
};

struct Option {
	struct Default Some;
};

struct core {
	u8 std;
};

struct rt {
	struct Option rt;
	struct core core;
};

struct twin {
	u8 a;
};

typedef struct {
	u16 b;
	struct {
		u8 twin;
	} twin;
} twin;

struct twins {
	struct twin a;
	twin b;
	struct {
		u32 c;
	} twin;
};

struct twin__b {
	u64 c;
};

#ifndef BPF_NO_PRESERVE_ACCESS_INDEX
#pragma clang attribute pop
#endif

#endif
