//! The table of diagnostic codes: the mistakes skelgen knows, each with a stable name and what to do about it.
//!
//! To add one: a line in the table, in the block of the phase that reports it, and its entry `explain/SKnnnn.md`, without which it
//! does not compile. `fixtures/tests/codes.rs` must trigger it, and compiles the entry's C examples. A number is never reused
//! (SK0301 was that of programs whose section says no type, SK0307 that of objects without programs and maps; both load since; SK0602, a type that Rust cannot express,
//! was never needed).

use std::fmt;
use std::str::FromStr;

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal, $help:expr;)*) => {
        /// Which of the known mistakes a diagnostic is about.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Code {
            $($(#[doc = $doc])+ $name,)*
        }

        impl Code {
            /// All codes, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Returns the stable name: `SK` and four digits, the first two naming the phase.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }

            /// Returns what to do about it, where that is always the same.
            #[must_use]
            pub const fn help(self) -> Option<&'static str> {
                match self {
                    $(Self::$name => $help,)*
                }
            }

            /// Returns what it means, an example of what causes it, and what to do about it, as Markdown. `skelgen explain` prints it.
            ///
            /// ```
            /// let text = skelgen::error::Code::BadMap.explanation();
            /// assert!(text.starts_with("# SK0302: "));
            /// ```
            #[must_use]
            pub const fn explanation(self) -> &'static str {
                match self {
                    $(Self::$name => include_str!(concat!("explain/", $text, ".md")),)*
                }
            }
        }
    };
}

impl Code {
    /// Returns one line on what it means: the title of its [`explanation`](Self::explanation).
    #[must_use]
    pub fn title(self) -> &'static str {
        let line = self.explanation().lines().next().unwrap_or_default();
        line.split_once(": ").map_or(line, |(_, title)| title)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Finds a code by its name, as people type it: `SK0302`, `sk0302` or `302`.
///
/// ```
/// use skelgen::error::Code;
///
/// assert_eq!("sk0302".parse(), Ok(Code::BadMap));
/// assert_eq!("SK0301".parse::<Code>().unwrap_err().nearest, Code::BadMap);
/// ```
impl FromStr for Code {
    type Err = UnknownCode;

    fn from_str(text: &str) -> Result<Self, UnknownCode> {
        let upper = text.trim().to_ascii_uppercase();
        let digits = upper.strip_prefix("SK").unwrap_or(&upper);
        if (1..=4).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit()) {
            let known = Self::ALL.iter().find(|code| digits.parse() == Ok(code.number()));
            if let Some(code) = known {
                return Ok(*code);
            }
        }
        let digits = digits.trim_start_matches(|c: char| !c.is_ascii_digit());
        // Of what is not a number, the first of the codes that begin in the same way for longest.
        let alike = |code: &Self| code.as_str().bytes().skip(2).zip(digits.bytes()).take_while(|(a, b)| a == b).count();
        let nearest = match digits.parse::<u32>() {
            Ok(number) => Self::ALL.iter().min_by_key(|code| code.number().abs_diff(number)),
            Err(_) => Self::ALL.iter().rev().max_by_key(|code| alike(code)),
        };
        Err(UnknownCode { nearest: nearest.copied().unwrap_or(Self::NotElf) })
    }
}

impl Code {
    fn number(self) -> u32 {
        self.as_str().bytes().skip(2).fold(0, |number, digit| number * 10 + u32::from(digit - b'0'))
    }
}

/// The error of a code that does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnknownCode {
    /// The code with the nearest name.
    pub nearest: Code,
}

impl fmt::Display for UnknownCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "there is no such code; the nearest is {}: {}", self.nearest, self.nearest.title())
    }
}

impl std::error::Error for UnknownCode {}

codes! {
    // 01: reading the ELF file.
    /// The file is not ELF.
    NotElf = "SK0101", Some("skelgen reads BPF objects: the output of `clang --target=bpf -g -O2 -c`, of bpf-linker, or of `bpftool gen object`");
    /// The file is ELF, but for another machine, class or type.
    NotBpf = "SK0102", Some("compile with `--target=bpf` and `-c`");
    /// The file ends before something that it says it holds, or a table of it contradicts itself.
    BadElf = "SK0103", Some("the file is damaged or cut short: build it again");
    /// Two sections claim the same bytes, or two sections of data have one name.
    OverlappingSections = "SK0104", Some("the file is damaged: build it again");
    /// A relocation that points nowhere or is of an unknown kind.
    BadRelocation = "SK0105", None;
    /// A name that is not UTF-8.
    NotUtf8 = "SK0106", Some("names are UTF-8 in skelgen: rename it in the source, or the source itself, and build the object again");

    // 02: reading BTF and .BTF.ext.
    /// There is no BTF and something needs it.
    MissingBtf = "SK0201", Some(
        "compile with debug information, from which BTF is made: clang with `-g`, Rust with `debug = 2` in its profile and \
         bpf-linker's `--btf`"
    );
    /// The BTF is damaged.
    BadBtf = "SK0202", Some("the file is damaged, or written by a tool that is ahead of this version of skelgen");
    /// The .BTF.ext is damaged.
    BadBtfExt = "SK0203", Some("the file is damaged, or written by a tool that is ahead of this version of skelgen");

    // 03: what the object means.
    /// A map definition that is not one.
    BadMap = "SK0302", None;
    /// A section of global data that cannot be used.
    BadData = "SK0303", None;
    /// An instruction that is not one.
    BadInstruction = "SK0304", Some("the section is damaged, or written by a tool that is ahead of this version of skelgen");
    /// A reference to something that cannot be referred to in this way.
    BadReference = "SK0305", None;
    /// An extern that cannot be resolved.
    BadExtern = "SK0306", None;
    /// A license or version section that is not one.
    BadLicense = "SK0308", None;
    /// Something legitimate that this version of skelgen does not do.
    Unsupported = "SK0309", None;

    // 04: linking programs.
    /// A program that cannot be put together.
    BadLink = "SK0401", None;

    // 05: planning.
    /// More than the tables can count.
    TooLarge = "SK0501", None;

    // 06: writing Rust.
    /// A name that no Rust name can be made of.
    BadName = "SK0601", None;

    // 07: input and output.
    /// A file that cannot be read or written.
    Io = "SK0701", None;
    /// A compiler that cannot be run, or that failed.
    Compiler = "SK0702", None;
    /// Options that contradict each other.
    BadOptions = "SK0703", None;
    /// A type that was asked for by name and is not there.
    NoSuchType = "SK0704", Some("clang keeps the types of global variables, of maps and of functions' parameters; a global `const struct event *unused;` keeps `struct event`");
    /// A path that cargo cannot be given, or that a compiler does not write as it is.
    BadPath = "SK0705", None;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_complete() {
        for code in Code::ALL {
            let text = code.explanation();
            assert!(text.starts_with(&format!("# {code}: ")), "{code}: {text}");
            let parts = ["\n## Example\n", "\n## What to do\n", "\n```"];
            assert!(parts.iter().all(|part| text.contains(part)), "{code} lacks one of {parts:?}");
            assert!(!code.title().is_empty() && !code.title().ends_with('.'), "{code}: {}", code.title());
            assert!(text.lines().all(|line| line.chars().count() <= 100), "{code} has a line of more than 100 columns");
            assert!(text.matches("```").count() % 2 == 0, "{code} has a block without an end");
        }
    }

    #[test]
    fn numbers_rise_and_have_one_form() {
        for pair in Code::ALL.windows(2) {
            assert!(pair[0].number() < pair[1].number(), "{} stands before {}", pair[0], pair[1]);
        }
        for code in Code::ALL {
            assert_eq!(code.as_str(), format!("SK{:04}", code.number()));
            assert_eq!(code.as_str().parse(), Ok(*code));
        }
    }

    #[test]
    fn codes_are_found_as_they_are_typed() {
        for text in ["SK0302", "sk0302", "Sk302", "302", "0302", " SK0302\n"] {
            assert_eq!(text.parse(), Ok(Code::BadMap), "{text:?}");
        }
        for (text, nearest) in [
            ("SK0301", "SK0302"),
            ("SK9999", "SK0705"),
            ("SK0000", "SK0101"),
            ("SK030x", "SK0302"),
            ("BadMap", "SK0101"),
            ("", "SK0101"),
            ("+302", "SK0302"),
            ("E0302", "SK0302"),
            ("SK00000302", "SK0302"),
            ("99999999999999999999", "SK0101"),
        ] {
            assert_eq!(text.parse::<Code>().unwrap_err().nearest.as_str(), nearest, "{text:?}");
        }
    }
}
