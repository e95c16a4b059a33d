//! An assembler for the loader program: the notation of [`disassemble`](crate::insn::disassemble) with labels and
//! names.
//!
//! A line is a label with a colon, an instruction, `.include FILE`, or empty; a comment starts with `;`. Where the
//! disassembler writes a distance, of a jump or of a function (`code`), the text has a label. Where it writes another
//! number, the text can have a name of a constant, with a sign in front. Names that [`Names::patched`] lists are
//! assembled as 0, and the result lists their positions.

use std::collections::BTreeMap;

use crate::insn::Insn;
use skelgen_abi::helper;
use skelgen_abi::opcode as code;
use skelgen_abi::uapi::pseudo;

/// What names in a text mean.
pub(super) struct Names<'a> {
    /// The constants.
    pub(super) constants: &'a [(&'a str, i64)],
    /// The immediates that are known when a program is used.
    pub(super) patched: &'a [&'a str],
}

/// Assembled instructions.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Assembled {
    pub(super) insns: Vec<Insn>,
    /// The index of each instruction whose immediate is patched, with the name of the immediate.
    pub(super) patches: Vec<(usize, String)>,
    /// The index of the first instruction of each function that the program takes the address of.
    pub(super) functions: Vec<(usize, String)>,
}

/// Assembles a file. `files` has the text of each file by its name.
///
/// # Errors
/// Returns the file and the number of the wrong line, and what is wrong.
pub(super) fn assemble(file: &str, files: &[(&str, &str)], names: &Names<'_>) -> Result<Assembled, String> {
    let mut assembler =
        Assembler { names, insns: Vec::new(), patches: Vec::new(), references: Vec::new(), labels: BTreeMap::new() };
    assembler.file(file, files)?;
    let Assembler { mut insns, labels, .. } = assembler;
    let mut functions = BTreeMap::new();
    for Reference { at, label, line, is_function } in assembler.references {
        let target = *labels.get(label).ok_or_else(|| format!("{line}: no label `{label}`"))?;
        let distance = i32::try_from(target).ok().zip(i32::try_from(at).ok()).map(|(to, at)| to - at - 1);
        let far = || format!("{line}: label `{label}` is too far away");
        let distance = distance.ok_or_else(far)?;
        if is_function {
            functions.insert(target, label.to_owned());
            insns[at].imm = distance;
        } else {
            insns[at].off = i16::try_from(distance).map_err(|_| far())?;
        }
    }
    Ok(Assembled { insns, patches: assembler.patches, functions: functions.into_iter().collect() })
}

struct Assembler<'a> {
    names: &'a Names<'a>,
    insns: Vec<Insn>,
    patches: Vec<(usize, String)>,
    references: Vec<Reference<'a>>,
    labels: BTreeMap<&'a str, usize>,
}

/// A use of a label.
struct Reference<'a> {
    /// The index of the instruction.
    at: usize,
    label: &'a str,
    /// The file and the line, for errors.
    line: String,
    /// Whether the instruction loads the address of a function, instead of jumping to the label.
    is_function: bool,
}

type Parsed<T = ()> = Result<T, String>;

impl<'a> Assembler<'a> {
    fn file(&mut self, file: &str, files: &[(&str, &'a str)]) -> Parsed {
        let (_, text) = files.iter().find(|(name, _)| *name == file).ok_or_else(|| format!("no file `{file}`"))?;
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.split(';').next().unwrap_or_default().trim();
            let at = format!("{file}:{number}");
            if line.is_empty() {
                continue;
            }
            if let Some(included) = line.strip_prefix(".include ") {
                self.file(included, files).map_err(|error| format!("{at}: {error}"))?;
            } else if let Some(label) = line.strip_suffix(':') {
                if self.labels.insert(label, self.insns.len()).is_some() {
                    return Err(format!("{at}: label `{label}` is not unique"));
                }
            } else {
                self.line(line, &at).map_err(|error| format!("{at}: {error}"))?;
            }
        }
        Ok(())
    }

    fn line(&mut self, line: &'a str, at: &str) -> Parsed {
        let words: Vec<&str> = line.split_whitespace().collect();
        match *words {
            ["exit"] => self.push(code::EXIT, 0, 0, 0, 0),
            ["call", name] => {
                let found = (0..=i32::from(u8::MAX)).find(|&number| helper::name(number) == Some(name));
                let helper = found.ok_or_else(|| format!("no helper `{name}`"))?;
                self.push(code::CALL, 0, 0, 0, helper);
            }
            ["goto", label] => self.jump(code::JMP | code::JA, 0, 0, 0, label, at),
            ["may_goto", label] => self.jump(code::JMP | code::JCOND, 0, 0, 0, label, at),
            ["if", left, sign, right, "goto", label] => {
                let (dst, wide) = register(left)?;
                let class = if wide { code::JMP } else { code::JMP32 };
                let op = class | comparison(sign)?;
                if let Ok((src, also_wide)) = register(right) {
                    same_width(wide, also_wide)?;
                    self.jump(op | code::X, dst, src, 0, label, at);
                } else {
                    let imm = self.immediate(right)?;
                    self.jump(op, dst, 0, imm, label, at);
                }
            }
            [to, "=", map, "value", offset, "ll"] if map.starts_with("map_idx[") => {
                let (dst, offset) = (long_register(to)?, self.number(offset)?);
                self.load(dst, pseudo::MAP_IDX_VALUE, self.index(map)?, offset);
            }
            [to, "=", map, "ll"] if map.starts_with("map_idx[") => {
                self.load(long_register(to)?, pseudo::MAP_IDX, self.index(map)?, 0);
            }
            [to, "=", "code", label, "ll"] => {
                self.reference(label, at, true);
                self.load(long_register(to)?, pseudo::FUNC, 0, 0);
            }
            [to, "=", name, "ll"] => {
                let dst = long_register(to)?;
                let imm = self.immediate(name)?;
                self.load(dst, 0, imm, 0);
            }
            [to, "=", "*(u8" | "*(u16" | "*(u32" | "*(u64", base, offset] => {
                let size = access(words[2])?;
                let (src, off) = self.memory(base, offset)?;
                self.push(code::LDX | code::MEM | size, long_register(to)?, src, off, 0);
            }
            ["*(u8" | "*(u16" | "*(u32" | "*(u64", base, offset, "=", from] => {
                let size = access(words[0])?;
                let (dst, off) = self.memory(base, offset)?;
                if let Ok(src) = long_register(from) {
                    self.push(code::STX | code::MEM | size, dst, src, off, 0);
                } else {
                    let imm = self.immediate(from)?;
                    self.push(code::ST | code::MEM | size, dst, 0, off, imm);
                }
            }
            [to, "=", negated] if negated.strip_prefix('-') == Some(to) => {
                let (dst, wide) = register(to)?;
                self.push(class(wide) | code::NEG, dst, 0, 0, 0);
            }
            [to, sign, operand] => {
                let (dst, wide) = register(to)?;
                let op = class(wide) | arithmetic(sign)?;
                if let Ok((src, also_wide)) = register(operand) {
                    same_width(wide, also_wide)?;
                    self.push(op | code::X, dst, src, 0, 0);
                } else {
                    let imm = self.immediate(operand)?;
                    self.push(op, dst, 0, 0, imm);
                }
            }
            _ => return Err(format!("`{line}` is not an instruction")),
        }
        Ok(())
    }

    fn push(&mut self, code: u8, dst: u8, src: u8, off: i16, imm: i32) {
        self.insns.push(Insn { code, dst, src, off, imm });
    }

    fn load(&mut self, dst: u8, src: u8, imm: i32, second: i32) {
        self.push(code::LD_IMM64, dst, src, 0, imm);
        self.push(0, 0, 0, 0, second);
    }

    fn jump(&mut self, code: u8, dst: u8, src: u8, imm: i32, label: &'a str, line: &str) {
        self.reference(label, line, false);
        self.push(code, dst, src, 0, imm);
    }

    /// Records that the next instruction refers to a label.
    fn reference(&mut self, label: &'a str, line: &str, is_function: bool) {
        self.references.push(Reference { at: self.insns.len(), label, line: line.to_owned(), is_function });
    }

    /// Parses the immediate of the next instruction: a number, a constant, or a name that is patched.
    fn immediate(&mut self, text: &str) -> Parsed<i32> {
        if self.names.patched.contains(&text) {
            self.patches.push((self.insns.len(), text.to_owned()));
            return Ok(0);
        }
        self.number(text)
    }

    /// Parses `*)(rN` and `+OFFSET)`, the words after the size of a memory access.
    fn memory(&self, base: &str, offset: &str) -> Parsed<(u8, i16)> {
        let wrong = || format!("`{base} {offset}` is not an address");
        let base = long_register(base.strip_prefix("*)(").ok_or_else(wrong)?)?;
        let offset = self.number(offset.strip_suffix(')').ok_or_else(wrong)?)?;
        Ok((base, i16::try_from(offset).map_err(|_| wrong())?))
    }

    /// Parses `map_idx[N]`.
    fn index(&self, text: &str) -> Parsed<i32> {
        let number = text.strip_prefix("map_idx[").and_then(|rest| rest.strip_suffix(']'));
        self.number(number.ok_or_else(|| format!("`{text}` is not a map"))?)
    }

    /// Parses a number or the name of a constant, with or without a sign.
    fn number(&self, text: &str) -> Parsed<i32> {
        let (sign, name) = match text.split_at_checked(1) {
            Some(("+", name)) => (1, name),
            Some(("-", name)) => (-1, name),
            _ => (1, text),
        };
        let constant = self.names.constants.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
        let is_number = name.bytes().all(|byte| byte.is_ascii_digit());
        let value = constant.or_else(|| name.parse::<i64>().ok().filter(|_| is_number));
        let value = value.ok_or_else(|| format!("`{name}` is not a number, a constant or a register"))?;
        i32::try_from(sign * value).map_err(|_| format!("`{text}` does not fit in 32 bits"))
    }
}

/// Parses a register: its number, and whether it has 64 bits.
fn register(text: &str) -> Parsed<(u8, bool)> {
    let known = (0..=10).find(|number| text.get(1..) == Some(number.to_string().as_str()));
    match (text.as_bytes().first(), known) {
        (Some(b'r'), Some(number)) => Ok((number, true)),
        (Some(b'w'), Some(number)) => Ok((number, false)),
        _ => Err(format!("`{text}` is not a register")),
    }
}

fn long_register(text: &str) -> Parsed<u8> {
    let (number, wide) = register(text)?;
    same_width(wide, true)?;
    Ok(number)
}

fn same_width(left: bool, right: bool) -> Parsed {
    if left == right { Ok(()) } else { Err("registers of different widths".to_owned()) }
}

fn class(wide: bool) -> u8 {
    if wide { code::ALU64 } else { code::ALU }
}

fn access(text: &str) -> Parsed<u8> {
    match text {
        "*(u8" => Ok(code::B),
        "*(u16" => Ok(code::H),
        "*(u32" => Ok(code::W),
        "*(u64" => Ok(code::DW),
        _ => Err(format!("`{text}` is not a size")),
    }
}

fn arithmetic(sign: &str) -> Parsed<u8> {
    Ok(match sign {
        "=" => code::MOV,
        "+=" => code::ADD,
        "-=" => code::SUB,
        "*=" => code::MUL,
        "/=" => code::DIV,
        "|=" => code::OR,
        "&=" => code::AND,
        "^=" => code::XOR,
        "<<=" => code::LSH,
        ">>=" => code::RSH,
        _ => return Err(format!("`{sign}` is not an operation")),
    })
}

fn comparison(sign: &str) -> Parsed<u8> {
    Ok(match sign {
        "==" => code::JEQ,
        "!=" => code::JNE,
        ">" => code::JGT,
        ">=" => code::JGE,
        "<" => code::JLT,
        "<=" => code::JLE,
        "s>" => code::JSGT,
        "s>=" => code::JSGE,
        "s<" => code::JSLT,
        "s<=" => code::JSLE,
        "&" => code::JSET,
        _ => return Err(format!("`{sign}` is not a comparison")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::insn::disassemble;

    const NAMES: Names<'_> = Names { constants: &[("EIGHT", 8)], patched: &["LATER"] };

    fn one(text: &str) -> Result<Assembled, String> {
        assemble("a.s", &[("a.s", text), ("b.s", "r3 = 3\nnonsense"), ("c.s", "r3 = 3")], &NAMES)
    }

    #[test]
    fn disassembly_assembles_to_the_same_instructions() {
        let text = "top:\n r1 = map_idx[0] value +EIGHT ll ; comment\n r2 = map_idx[1] ll\n r3 = 7 ll\n r3 = code end ll\n\
                    r4 = *(u16 *)(r1 -EIGHT)\n *(u64 *)(r1 +0) = r4\n *(u32 *)(r10 -4) = -EIGHT\n w3 = w4\n r5 &= -4\n\
                    r0 = -r0\n call bpf_sys_bpf\n if w0 s< 0 goto top\n if r1 == r2 goto end\n may_goto end\n goto top\n\
                    end:\n exit";
        let assembled = one(text).unwrap();
        let expected = "   0: r1 = map_idx[0] value +8 ll\n   2: r2 = map_idx[1] ll\n   4: r3 = 0x7 ll\n\
                        \x20  6: r3 = code pc+12 ll\n   8: r4 = *(u16 *)(r1 -8)\n   9: *(u64 *)(r1 +0) = r4\n\
                        \x20 10: *(u32 *)(r10 -4) = -8\n  11: w3 = w4\n  12: r5 &= -4\n  13: r0 = -r0\n\
                        \x20 14: call bpf_sys_bpf\n  15: if w0 s< 0 goto -16\n  16: if r1 == r2 goto +2\n\
                        \x20 17: may_goto +1\n  18: goto -19\n  19: exit\n";
        assert_eq!(disassemble(&assembled.insns), expected);
        assert_eq!(assembled.functions, [(19, "end".to_owned())]);
        assert_eq!(assembled.patches, []);
    }

    #[test]
    fn files_are_included() {
        let assembled = one("r2 = 2\n.include c.s\nexit").unwrap();
        assert_eq!(disassemble(&assembled.insns), "   0: r2 = 2\n   1: r3 = 3\n   2: exit\n");
    }

    #[test]
    fn patched_immediates_are_listed() {
        let assembled = one("r1 = 1\nif r1 > LATER goto end\nr2 = LATER ll\nend:\nexit").unwrap();
        assert_eq!(assembled.patches, [(1, "LATER".to_owned()), (2, "LATER".to_owned())]);
    }

    #[test]
    fn wrong_lines_are_errors() {
        for (text, error) in [
            (".include d.s", "a.s:1: no file `d.s`"),
            ("exit\n.include b.s", "a.s:2: b.s:2: `nonsense` is not an instruction"),
            ("exit\nnonsense", "a.s:2: `nonsense` is not an instruction"),
            ("goto nowhere", "a.s:1: no label `nowhere`"),
            ("a:\na:", "a.s:2: label `a` is not unique"),
            ("r11 = 1", "a.s:1: `r11` is not a register"),
            ("r1 = w2", "a.s:1: registers of different widths"),
            ("w1 = *(u32 *)(r2 +0)", "a.s:1: registers of different widths"),
            ("r1 = NINE", "a.s:1: `NINE` is not a number, a constant or a register"),
            ("r1 = 0x10", "a.s:1: `0x10` is not a number, a constant or a register"),
            ("r1 = 2147483648", "a.s:1: `2147483648` does not fit in 32 bits"),
            ("r1 = *(u32 *)(r2 +32768)", "a.s:1: `*)(r2 +32768)` is not an address"),
            ("r1 ?= 2", "a.s:1: `?=` is not an operation"),
            ("if r1 = 2 goto a", "a.s:1: `=` is not a comparison"),
            ("call bpf_nothing", "a.s:1: no helper `bpf_nothing`"),
        ] {
            assert_eq!(one(text), Err(error.to_owned()), "{text}");
        }
    }
}
