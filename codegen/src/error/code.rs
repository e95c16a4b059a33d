//! The table of diagnostic codes: the mistakes skelgen knows, each with a stable name and what to do about it.
//!
//! To add one: a line in the table, in the block of the phase that reports it, and its entry `explain/SKnnnn.md`, without which it
//! does not compile. `fixtures/corpus/tests/codes.rs` must trigger it, and compiles the entry's C examples. A number is never reused
//! (SK0301 was that of programs whose section says no type, SK0307 that of objects without programs and maps; both load since; SK0602, a type that Rust cannot express,
//! was never needed).

use std::fmt;

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal, $help:expr;)*) => {
        /// A kind of mistake that the generator reports.
        ///
        /// A code keeps its meaning and its number, `SK` and four digits, from release to release. `skelgen explain` lists them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Code {
            $($(#[doc = $doc])+ $name,)*
        }

        impl Code {
            /// All codes, in the order of their numbers.
            pub(crate) const ALL: &[Self] = &[$(Self::$name),*];

            /// Returns the stable name: `SK` and four digits, the first two naming the phase.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }

            /// Returns what to do about it, where that is always the same.
            pub(super) const fn help(self) -> Option<&'static str> {
                match self {
                    $(Self::$name => $help,)*
                }
            }

            /// Returns what it means, an example of what causes it, and what to do about it, as Markdown. `skelgen explain` prints it.
            ///
            /// ```
            /// let text = skelgen::Code::BadMap.explanation();
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

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

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
