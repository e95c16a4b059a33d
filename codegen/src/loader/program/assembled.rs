//! The instructions of `loader.s` and `check.s`, assembled by the tests (`SKELGEN_BLESS=1 cargo test -p skelgen --lib`).

use super::Insn;

/// Creates an instruction.
const fn insn(code: u8, dst: u8, src: u8, off: i16, imm: i32) -> Insn {
    Insn { code, dst, src, off, imm }
}

/// The indexes of instructions in [`LOADER`] whose immediate is the largest allowed offset.
pub(super) const LIMITS: &[usize] = &[17, 32, 44, 48, 152];

/// The instructions of `loader.s`.
#[rustfmt::skip]
pub(super) const LOADER: &[Insn] = &[
    insn(0xbf, 6, 1, 0, 0), // 0: r6 = r1
    insn(0x18, 7, 6, 0, 0), // 1: r7 = map_idx[0] value +0 ll
    insn(0x00, 0, 0, 0, 0),
    insn(0x79, 1, 7, 0, 0), // 3: r1 = *(u64 *)(r7 +0)
    insn(0x55, 1, 0, 165, 0), // 4: if r1 != 0 goto +165
    insn(0x7b, 7, 7, 0, 0), // 5: *(u64 *)(r7 +0) = r7
    insn(0x79, 1, 6, 0, 0), // 6: r1 = *(u64 *)(r6 +0)
    insn(0x7b, 7, 1, 32, 0), // 7: *(u64 *)(r7 +32) = r1
    insn(0x79, 1, 6, 8, 0), // 8: r1 = *(u64 *)(r6 +8)
    insn(0x7b, 7, 1, 40, 0), // 9: *(u64 *)(r7 +40) = r1
    insn(0x79, 1, 6, 16, 0), // 10: r1 = *(u64 *)(r6 +16)
    insn(0x7b, 7, 1, 48, 0), // 11: *(u64 *)(r7 +48) = r1
    insn(0x61, 1, 6, 24, 0), // 12: r1 = *(u32 *)(r6 +24)
    insn(0x63, 7, 1, 56, 0), // 13: *(u32 *)(r7 +56) = r1
    insn(0x61, 1, 7, 20, 0), // 14: r1 = *(u32 *)(r7 +20)
    insn(0xe5, 0, 0, 152, 0), // 15: may_goto +152
    insn(0x15, 1, 0, 11, 0), // 16: if r1 == 0 goto +11
    insn(0x25, 1, 0, 48, 0), // 17: if r1 > 0 goto +48
    insn(0x57, 1, 0, 0, -8), // 18: r1 &= -8
    insn(0xbf, 2, 7, 0, 0), // 19: r2 = r7
    insn(0x0f, 2, 1, 0, 0), // 20: r2 += r1
    insn(0x79, 1, 2, 0, 0), // 21: r1 = *(u64 *)(r2 +0)
    insn(0xbc, 3, 1, 0, 0), // 22: w3 = w1
    insn(0x79, 4, 7, 0, 0), // 23: r4 = *(u64 *)(r7 +0)
    insn(0x0f, 3, 4, 0, 0), // 24: r3 += r4
    insn(0x7b, 2, 3, 0, 0), // 25: *(u64 *)(r2 +0) = r3
    insn(0x77, 1, 0, 0, 32), // 26: r1 >>= 32
    insn(0x05, 0, 0, -13, 0), // 27: goto -13
    insn(0xe5, 0, 0, 139, 0), // 28: may_goto +139
    insn(0x61, 1, 7, 8, 0), // 29: r1 = *(u32 *)(r7 +8)
    insn(0x61, 2, 7, 12, 0), // 30: r2 = *(u32 *)(r7 +12)
    insn(0x3d, 1, 2, 134, 0), // 31: if r1 >= r2 goto +134
    insn(0x25, 1, 0, 33, 0), // 32: if r1 > 0 goto +33
    insn(0xbf, 2, 1, 0, 0), // 33: r2 = r1
    insn(0x07, 2, 0, 0, 16), // 34: r2 += 16
    insn(0x63, 7, 2, 8, 0), // 35: *(u32 *)(r7 +8) = r2
    insn(0xbf, 5, 1, 0, 0), // 36: r5 = r1
    insn(0x57, 5, 0, 0, -8), // 37: r5 &= -8
    insn(0x0f, 5, 7, 0, 0), // 38: r5 += r7
    insn(0x69, 2, 5, 2, 0), // 39: r2 = *(u16 *)(r5 +2)
    insn(0x67, 2, 0, 0, 4), // 40: r2 <<= 4
    insn(0x0f, 1, 2, 0, 0), // 41: r1 += r2
    insn(0x63, 7, 1, 16, 0), // 42: *(u32 *)(r7 +16) = r1
    insn(0x61, 8, 5, 4, 0), // 43: r8 = *(u32 *)(r5 +4)
    insn(0x25, 8, 0, 21, 0), // 44: if r8 > 0 goto +21
    insn(0x57, 8, 0, 0, -4), // 45: r8 &= -4
    insn(0x0f, 8, 7, 0, 0), // 46: r8 += r7
    insn(0x61, 9, 5, 12, 0), // 47: r9 = *(u32 *)(r5 +12)
    insn(0x25, 9, 0, 17, 0), // 48: if r9 > 0 goto +17
    insn(0x57, 9, 0, 0, -4), // 49: r9 &= -4
    insn(0x0f, 9, 7, 0, 0), // 50: r9 += r7
    insn(0x71, 1, 5, 1, 0), // 51: r1 = *(u8 *)(r5 +1)
    insn(0x61, 3, 5, 8, 0), // 52: r3 = *(u32 *)(r5 +8)
    insn(0x71, 4, 5, 0, 0), // 53: r4 = *(u8 *)(r5 +0)
    insn(0x15, 4, 0, 26, 2), // 54: if r4 == 2 goto +26
    insn(0x15, 4, 0, 67, 6), // 55: if r4 == 6 goto +67
    insn(0x15, 4, 0, 69, 7), // 56: if r4 == 7 goto +69
    insn(0x15, 4, 0, 73, 8), // 57: if r4 == 8 goto +73
    insn(0x15, 4, 0, 82, 9), // 58: if r4 == 9 goto +82
    insn(0xbf, 2, 3, 0, 0), // 59: r2 = r3
    insn(0x57, 2, 0, 0, 255), // 60: r2 &= 255
    insn(0x07, 2, 0, 0, 1), // 61: r2 += 1
    insn(0x15, 4, 0, 5, 1), // 62: if r4 == 1 goto +5
    insn(0x15, 4, 0, 36, 4), // 63: if r4 == 4 goto +36
    insn(0x15, 4, 0, 46, 5), // 64: if r4 == 5 goto +46
    insn(0x15, 4, 0, 23, 3), // 65: if r4 == 3 goto +23
    insn(0xb7, 0, 0, 0, -22), // 66: r0 = -22
    insn(0x05, 0, 0, 75, 0), // 67: goto +75
    insn(0xbf, 3, 2, 0, 0), // 68: r3 = r2
    insn(0xbf, 2, 8, 0, 0), // 69: r2 = r8
    insn(0x85, 0, 0, 0, 166), // 70: call bpf_sys_bpf
    insn(0x63, 7, 0, 28, 0), // 71: *(u32 *)(r7 +28) = r0
    insn(0xc6, 0, 0, 63, 0), // 72: if w0 s< 0 goto +63
    insn(0x1d, 9, 7, -46, 0), // 73: if r9 == r7 goto -46
    insn(0x16, 0, 0, 2, 0), // 74: if w0 == 0 goto +2
    insn(0x63, 9, 0, 0, 0), // 75: *(u32 *)(r9 +0) = r0
    insn(0x05, 0, 0, -49, 0), // 76: goto -49
    insn(0xb7, 1, 0, 0, 0), // 77: r1 = 0
    insn(0x85, 0, 0, 0, 168), // 78: call bpf_sys_close
    insn(0xb7, 0, 0, 0, -9), // 79: r0 = -9
    insn(0x05, 0, 0, 62, 0), // 80: goto +62
    insn(0x61, 1, 9, 0, 0), // 81: r1 = *(u32 *)(r9 +0)
    insn(0x63, 8, 1, 0, 0), // 82: *(u32 *)(r8 +0) = r1
    insn(0x57, 3, 0, 0, 12), // 83: r3 &= 12
    insn(0x15, 3, 0, -57, 0), // 84: if r3 == 0 goto -57
    insn(0x61, 1, 9, 4, 0), // 85: r1 = *(u32 *)(r9 +4)
    insn(0x0f, 8, 3, 0, 0), // 86: r8 += r3
    insn(0x63, 8, 1, 0, 0), // 87: *(u32 *)(r8 +0) = r1
    insn(0x05, 0, 0, -61, 0), // 88: goto -61
    insn(0xbf, 2, 3, 0, 0), // 89: r2 = r3
    insn(0x57, 2, 0, 0, 4095), // 90: r2 &= 4095
    insn(0x07, 2, 0, 0, 1), // 91: r2 += 1
    insn(0x79, 3, 7, 32, 0), // 92: r3 = *(u64 *)(r7 +32)
    insn(0x61, 4, 5, 12, 0), // 93: r4 = *(u32 *)(r5 +12)
    insn(0x0f, 3, 4, 0, 0), // 94: r3 += r4
    insn(0xbf, 1, 8, 0, 0), // 95: r1 = r8
    insn(0x85, 0, 0, 0, 148), // 96: call bpf_copy_from_user
    insn(0x63, 7, 0, 28, 0), // 97: *(u32 *)(r7 +28) = r0
    insn(0xc6, 0, 0, 37, 0), // 98: if w0 s< 0 goto +37
    insn(0x05, 0, 0, -72, 0), // 99: goto -72
    insn(0xbf, 3, 1, 0, 0), // 100: r3 = r1
    insn(0xbf, 1, 8, 0, 0), // 101: r1 = r8
    insn(0xb7, 4, 0, 0, 0), // 102: r4 = 0
    insn(0x85, 0, 0, 0, 167), // 103: call bpf_btf_find_by_name_kind
    insn(0x63, 7, 0, 28, 0), // 104: *(u32 *)(r7 +28) = r0
    insn(0xc6, 0, 0, 30, 0), // 105: if w0 s< 0 goto +30
    insn(0x63, 8, 0, 0, 0), // 106: *(u32 *)(r8 +0) = r0
    insn(0x77, 0, 0, 0, 32), // 107: r0 >>= 32
    insn(0x15, 0, 0, -81, 0), // 108: if r0 == 0 goto -81
    insn(0x63, 9, 0, 0, 0), // 109: *(u32 *)(r9 +0) = r0
    insn(0x05, 0, 0, -83, 0), // 110: goto -83
    insn(0xbf, 1, 8, 0, 0), // 111: r1 = r8
    insn(0xb7, 3, 0, 0, 0), // 112: r3 = 0
    insn(0xbf, 4, 7, 0, 0), // 113: r4 = r7
    insn(0x07, 4, 0, 0, 64), // 114: r4 += 64
    insn(0x85, 0, 0, 0, 179), // 115: call bpf_kallsyms_lookup_name
    insn(0x63, 7, 0, 28, 0), // 116: *(u32 *)(r7 +28) = r0
    insn(0xc6, 0, 0, 18, 0), // 117: if w0 s< 0 goto +18
    insn(0x79, 1, 7, 64, 0), // 118: r1 = *(u64 *)(r7 +64)
    insn(0x63, 8, 1, 0, 0), // 119: *(u32 *)(r8 +0) = r1
    insn(0x77, 1, 0, 0, 32), // 120: r1 >>= 32
    insn(0x63, 8, 1, 4, 0), // 121: *(u32 *)(r8 +4) = r1
    insn(0x05, 0, 0, -95, 0), // 122: goto -95
    insn(0x61, 1, 8, 0, 0), // 123: r1 = *(u32 *)(r8 +0)
    insn(0x5d, 1, 3, -97, 0), // 124: if r1 != r3 goto -97
    insn(0x05, 0, 0, 2, 0), // 125: goto +2
    insn(0x61, 1, 8, 0, 0), // 126: r1 = *(u32 *)(r8 +0)
    insn(0x1d, 1, 3, -100, 0), // 127: if r1 == r3 goto -100
    insn(0x61, 1, 7, 16, 0), // 128: r1 = *(u32 *)(r7 +16)
    insn(0x63, 7, 1, 8, 0), // 129: *(u32 *)(r7 +8) = r1
    insn(0x05, 0, 0, -103, 0), // 130: goto -103
    insn(0x61, 1, 9, 0, 0), // 131: r1 = *(u32 *)(r9 +0)
    insn(0x15, 1, 0, -105, 0), // 132: if r1 == 0 goto -105
    insn(0x62, 9, 0, 0, 0), // 133: *(u32 *)(r9 +0) = 0
    insn(0x85, 0, 0, 0, 168), // 134: call bpf_sys_close
    insn(0x05, 0, 0, -108, 0), // 135: goto -108
    insn(0x61, 1, 7, 16, 0), // 136: r1 = *(u32 *)(r7 +16)
    insn(0x61, 2, 7, 8, 0), // 137: r2 = *(u32 *)(r7 +8)
    insn(0xad, 1, 2, 4, 0), // 138: if r1 < r2 goto +4
    insn(0x63, 7, 1, 8, 0), // 139: *(u32 *)(r7 +8) = r1
    insn(0x05, 0, 0, -113, 0), // 140: goto -113
    insn(0xbf, 0, 3, 0, 0), // 141: r0 = r3
    insn(0x87, 0, 0, 0, 0), // 142: r0 = -r0
    insn(0x63, 6, 0, 32, 0), // 143: *(u32 *)(r6 +32) = r0
    insn(0x61, 1, 7, 8, 0), // 144: r1 = *(u32 *)(r7 +8)
    insn(0x07, 1, 0, 0, -16), // 145: r1 += -16
    insn(0x63, 6, 1, 36, 0), // 146: *(u32 *)(r6 +36) = r1
    insn(0x62, 7, 0, 8, 80), // 147: *(u32 *)(r7 +8) = 80
    insn(0xe5, 0, 0, 19, 0), // 148: may_goto +19
    insn(0x61, 1, 7, 8, 0), // 149: r1 = *(u32 *)(r7 +8)
    insn(0x61, 2, 7, 24, 0), // 150: r2 = *(u32 *)(r7 +24)
    insn(0x3d, 1, 2, 12, 0), // 151: if r1 >= r2 goto +12
    insn(0x25, 1, 0, 11, 0), // 152: if r1 > 0 goto +11
    insn(0xbf, 2, 1, 0, 0), // 153: r2 = r1
    insn(0x07, 2, 0, 0, 4), // 154: r2 += 4
    insn(0x63, 7, 2, 8, 0), // 155: *(u32 *)(r7 +8) = r2
    insn(0x57, 1, 0, 0, -4), // 156: r1 &= -4
    insn(0xbf, 2, 7, 0, 0), // 157: r2 = r7
    insn(0x0f, 2, 1, 0, 0), // 158: r2 += r1
    insn(0x61, 1, 2, 0, 0), // 159: r1 = *(u32 *)(r2 +0)
    insn(0x15, 1, 0, -13, 0), // 160: if r1 == 0 goto -13
    insn(0x62, 2, 0, 0, 0), // 161: *(u32 *)(r2 +0) = 0
    insn(0x85, 0, 0, 0, 168), // 162: call bpf_sys_close
    insn(0x05, 0, 0, -16, 0), // 163: goto -16
    insn(0xb7, 0, 0, 0, 3), // 164: r0 = 3
    insn(0x95, 0, 0, 0, 0), // 165: exit
    insn(0xb7, 0, 0, 0, 2), // 166: r0 = 2
    insn(0x95, 0, 0, 0, 0), // 167: exit
    insn(0xb7, 0, 0, 0, 1), // 168: r0 = 1
    insn(0x95, 0, 0, 0, 0), // 169: exit
    insn(0xb7, 0, 0, 0, 0), // 170: r0 = 0
    insn(0x95, 0, 0, 0, 0), // 171: exit
];

/// The indexes of instructions in [`CHECK`] whose immediate is eight bytes of the hash.
pub(super) const HASHES: &[usize] = &[3, 7, 11, 15];

/// The instructions of `check.s`.
#[rustfmt::skip]
pub(super) const CHECK: &[Insn] = &[
    insn(0x18, 2, 5, 0, 0), // 0: r2 = map_idx[0] ll
    insn(0x00, 0, 0, 0, 0),
    insn(0x79, 3, 2, 0, 0), // 2: r3 = *(u64 *)(r2 +0)
    insn(0x18, 4, 0, 0, 0), // 3: r4 = 0x0 ll
    insn(0x00, 0, 0, 0, 0),
    insn(0x5d, 3, 4, 12, 0), // 5: if r3 != r4 goto +12
    insn(0x79, 3, 2, 8, 0), // 6: r3 = *(u64 *)(r2 +8)
    insn(0x18, 4, 0, 0, 0), // 7: r4 = 0x0 ll
    insn(0x00, 0, 0, 0, 0),
    insn(0x5d, 3, 4, 8, 0), // 9: if r3 != r4 goto +8
    insn(0x79, 3, 2, 16, 0), // 10: r3 = *(u64 *)(r2 +16)
    insn(0x18, 4, 0, 0, 0), // 11: r4 = 0x0 ll
    insn(0x00, 0, 0, 0, 0),
    insn(0x5d, 3, 4, 4, 0), // 13: if r3 != r4 goto +4
    insn(0x79, 3, 2, 24, 0), // 14: r3 = *(u64 *)(r2 +24)
    insn(0x18, 4, 0, 0, 0), // 15: r4 = 0x0 ll
    insn(0x00, 0, 0, 0, 0),
    insn(0x1d, 3, 4, 2, 0), // 17: if r3 == r4 goto +2
    insn(0xb7, 0, 0, 0, 0), // 18: r0 = 0
    insn(0x95, 0, 0, 0, 0), // 19: exit
];
