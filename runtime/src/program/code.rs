//! The code of a program: its instructions after verification, and its functions as machine code with their lines of source.

use super::{Program, ProgramTag, info};
use crate::btf::Types;
use crate::error::{Error, ErrorKind, Result, Step, Subject};
use crate::sys::prog::{Description, Parts};

/// A function of a loaded program. Returned by [`Program::functions`].
///
/// ```no_run
/// # fn f(program: &skelgen_runtime::Program) -> skelgen_runtime::Result<()> {
/// for function in program.functions()? {
///     println!("{}: {} bytes of code", function.name.as_deref().unwrap_or("?"), function.code.len());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProgramFunction {
    /// The function's name in the source; `None` if the program was loaded without BTF, or this process has no
    /// permission to read the BTF (`CAP_SYS_ADMIN`).
    pub name: Option<String>,
    /// The tag of the function's instructions after verification, which is part of the name of the function's symbol in
    /// `/proc/kallsyms`. For the first of several functions, newer kernels use the tag of the [program](Program::tag)
    /// there. `None` for an offloaded program.
    pub tag: Option<ProgramTag>,
    /// The index of the function's first instruction in [`Program::translated`]; `None` if the program has several
    /// functions and was loaded without BTF.
    pub first_instruction: Option<u32>,
    /// The address of the function's machine code in the kernel; `None` if the kernel interprets the program, or this
    /// process has no permission to read addresses (`CAP_SYSLOG`, and the sysctl `kernel.kptr_restrict` is not 2).
    pub address: Option<u64>,
    /// The function's machine code; empty if the kernel interprets the program, or this process has no permission to
    /// read addresses.
    pub code: Vec<u8>,
    /// The function's lines of source, by ascending instruction; empty if the program was loaded without them, or this
    /// process has no permission to read the BTF (`CAP_SYS_ADMIN`).
    pub lines: Vec<ProgramLine>,
}

/// A line of source of a loaded program, with the position of its first instruction. A line can appear several times,
/// for several parts of its instructions. An element of [`ProgramFunction::lines`].
///
/// ```no_run
/// # fn f(program: &skelgen_runtime::Program) -> skelgen_runtime::Result<()> {
/// for line in program.functions()?.iter().flat_map(|function| &function.lines) {
///     println!("{}:{}: from instruction {}", line.file, line.line, line.instruction);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProgramLine {
    /// The index of the line's first instruction in [`Program::translated`].
    pub instruction: u32,
    /// The address of the line's machine code in the kernel; `None` if the function has no
    /// [address](ProgramFunction::address).
    pub address: Option<u64>,
    /// The path of the source file, as the compiler recorded it.
    pub file: String,
    /// The number of the line in the file; the first is 1.
    pub line: u32,
    /// The number of the column, in bytes; the first is 1. 0 if the compiler recorded none.
    pub column: u32,
    /// The text of the line, with its indentation. It can be any text.
    pub source: String,
}

impl Program {
    /// Returns the instructions after verification, 8 bytes each: they are relocated, dead code is removed, and maps
    /// and functions are referenced by id.
    ///
    /// # Errors
    /// If the program was not loaded, or this process has no permission to read the instructions (that requires
    /// CAP_PERFMON and CAP_SYSLOG, or root).
    pub fn translated(&self) -> Result<Vec<u8>> {
        let insns = self.described(Parts { insns: true, ..Parts::default() })?.insns;
        if insns.is_empty() { Err(self.hidden("the instructions")) } else { Ok(insns) }
    }

    /// Returns the program's functions: its own function, then the functions that it calls. Each has its machine code, and
    /// the address at which each line of source begins (Linux 5.0).
    ///
    /// ```no_run
    /// # fn f(program: &skelgen_runtime::Program) -> skelgen_runtime::Result<()> {
    /// for function in program.functions()? {
    ///     println!("{:x?}: {:?}, {} bytes", function.address, function.name, function.code.len());
    ///     for line in &function.lines {
    ///         println!("  {:x?} {}:{}: {}", line.address, line.file, line.line, line.source.escape_debug());
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If the program was not loaded, or this process has no permission to read its functions (`CAP_BPF`).
    pub fn functions(&self) -> Result<Vec<ProgramFunction>> {
        let found = self.described(Parts { functions: true, code: true, lines: true, ..Parts::default() })?;
        let types = info::types(&found).map_err(|errno| self.unread("the BTF", errno))?;
        let functions = functions(&found, types.as_ref());
        if functions.is_empty() { Err(self.hidden("the functions")) } else { Ok(functions) }
    }

    /// Creates the error of a part that the kernel hides from this process.
    fn hidden(&self, what: &str) -> Error {
        Error::of(
            ErrorKind::NotPermitted,
            format_args!("cannot read {what} of program `{}`: the kernel hides them", self.name()),
        )
        .during(Step::ReadInfo)
        .about(Subject::Program(self.name()))
    }
}

/// Returns the functions in a description of a program. If the counts that the kernel reports are inconsistent, the
/// functions have no names or lines, or the first function has all of the code.
fn functions(found: &Description, types: Option<&Types>) -> Vec<ProgramFunction> {
    let records: Vec<[u32; 2]> = found.functions().collect();
    let is_jited = found.info.jited_prog_len != 0;
    let one = usize::from(!found.code.is_empty() || !found.addresses.is_empty());
    let count = [records.len(), found.tags.len(), found.code_lens.len(), one].into_iter().max().unwrap_or(0);
    let has_records = records.len() == count;
    let mut code = Code::new(found, count);
    let mut lines = lines(found, types.filter(|_| has_records), is_jited).into_iter().peekable();
    let mut functions = Vec::with_capacity(count);
    for index in 0..count {
        let record = records.get(index).filter(|_| has_records);
        // The lines of a function are those before the first instruction of the next one.
        let end = records.get(index + 1).map_or(u32::MAX, |&[first, _]| first);
        let name = record.zip(types).map(|(&[_, id], types)| types.name(id)).filter(|name| !name.is_empty());
        functions.push(ProgramFunction {
            name: name.map(str::to_owned),
            tag: found.tags.get(index).copied().map(ProgramTag),
            first_instruction: record.map(|&[first, _]| first).or((count == 1).then_some(0)),
            // For a program that is interpreted, the kernel reports the address of the interpreter.
            address: found.addresses.get(index).copied().filter(|&address| is_jited && address != 0),
            code: code.next().to_vec(),
            lines: std::iter::from_fn(|| lines.next_if(|line| line.instruction < end)).collect(),
        });
    }
    functions
}

/// The machine code of functions, one after another.
struct Code<'a> {
    rest: &'a [u8],
    lens: std::slice::Iter<'a, u32>,
}

impl<'a> Code<'a> {
    fn new(found: &'a Description, count: usize) -> Self {
        let whole = found.code_lens.iter().try_fold(0_u32, |sum, &len| sum.checked_add(len));
        let fits = found.code_lens.len() == count && whole.map(usize::try_from) == Some(Ok(found.code.len()));
        Self { rest: &found.code, lens: if fits { found.code_lens.iter() } else { [].iter() } }
    }

    /// Returns the code of the next function. If the lengths of functions are unknown, returns all code for the first
    /// one.
    fn next(&mut self) -> &'a [u8] {
        let len = self.lens.next().and_then(|&len| usize::try_from(len).ok()).unwrap_or(self.rest.len());
        let (code, rest) = self.rest.split_at_checked(len).unwrap_or_default();
        self.rest = rest;
        code
    }
}

/// Returns the lines of a description, by ascending instruction.
fn lines(found: &Description, types: Option<&Types>, is_jited: bool) -> Vec<ProgramLine> {
    let Some(types) = types else { return Vec::new() };
    let records: Vec<[u32; 4]> = found.lines().collect();
    let has_addresses = is_jited && found.line_addresses.len() == records.len();
    let address = |index: usize| found.line_addresses.get(index).copied().filter(|&at| has_addresses && at != 0);
    let mut lines: Vec<_> = (records.iter().enumerate())
        .map(|(index, &[instruction, file, source, position])| ProgramLine {
            instruction,
            address: address(index),
            file: types.text(file).into_owned(),
            // BPF_LINE_INFO_LINE_NUM and BPF_LINE_INFO_LINE_COL of `linux/bpf.h`.
            line: position >> 10,
            column: position & 0x3ff,
            source: types.text(source).into_owned(),
        })
        .collect();
    lines.sort_by_key(|line| line.instruction);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::btf::{kind, testing::Btf};

    /// Two functions of five and three bytes of machine code, with two lines in the first and one in the second.
    fn described() -> (Description, Types) {
        let mut btf = Btf::new();
        let nothing = btf.function_type(0, &[]);
        let (first, second) = (
            btf.add("first", kind::FUNC, false, 0, nothing, &[]),
            btf.add("second", kind::FUNC, false, 0, nothing, &[]),
        );
        let (file, source) = (btf.string("a.c"), btf.string("\treturn 1;"));
        let mut found = Description::default();
        found.code = vec![1, 2, 3, 4, 5, 6, 7, 8];
        found.code_lens = vec![5, 3];
        found.addresses = vec![0x100, 0x200];
        found.tags = vec![[1; 8], [2; 8]];
        found.line_addresses = vec![0x100, 0x103, 0x200];
        found.info.jited_prog_len = 8;
        let line = |instruction: u32, line: u32| [instruction, file, source, line << 10 | 5];
        found.add_records(&[[0, first], [4, second]], &[line(0, 1), line(2, 2), line(4, 3)]);
        (found, btf.types())
    }

    #[test]
    fn functions_have_their_part_of_code_and_lines() {
        let (found, types) = described();
        let all = functions(&found, Some(&types));
        let [first, second] = &all[..] else { panic!("{all:?}") };
        assert_eq!((first.name.as_deref(), second.name.as_deref()), (Some("first"), Some("second")));
        assert_eq!((&first.code[..], &second.code[..]), (&[1, 2, 3, 4, 5][..], &[6, 7, 8][..]));
        assert_eq!((first.address, second.first_instruction), (Some(0x100), Some(4)));
        assert_eq!((first.lines.len(), second.lines.len()), (2, 1));
        let ProgramLine { instruction, address, file, line, column, source } = &second.lines[0];
        assert_eq!((*instruction, *address, *line, *column), (4, Some(0x200), 3, 5));
        assert_eq!((file.as_str(), source.as_str()), ("a.c", "\treturn 1;"));
    }

    #[test]
    fn what_is_hidden_or_does_not_match_is_left_out() {
        let (mut found, types) = described();
        let unnamed = functions(&found, None);
        assert!(unnamed.iter().all(|function| function.name.is_none() && function.lines.is_empty()));
        assert_eq!(unnamed[1].first_instruction, Some(4));
        // The lengths of functions are not those of the code.
        found.code.truncate(6);
        let all = functions(&found, Some(&types));
        assert_eq!((all[0].code.len(), all[1].code.len()), (6, 0));
        // There are more functions than records.
        found.tags.push([3; 8]);
        let all = functions(&found, Some(&types));
        assert!(all.len() == 3 && all.iter().all(|function| function.name.is_none() && function.lines.is_empty()));
        // The program is interpreted, and the address is that of the interpreter.
        let mut found = Description::default();
        found.addresses.push(0x1000);
        assert_eq!(functions(&found, None)[0].address, None);
        found.addresses.clear();
        assert_eq!(functions(&found, None), []);
    }
}
