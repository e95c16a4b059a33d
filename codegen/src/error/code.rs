//! The codes of diagnostics: the mistakes that skelgen recognizes, each with a stable name and an explanation.
//!
//! To add one, add a line to the table in the block of the phase that reports it, and write its entry
//! `explain/SKnnnn.md`. `fixtures/corpus/tests/codes.rs` must trigger the code; it compiles the C examples of the
//! entry. Numbers are never reused. Retired numbers: SK0301 (a program section without a type) and SK0307 (an object
//! without programs and maps), which both load now, and SK0602 (a type that Rust cannot express), which was never
//! needed.

use std::fmt;

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal, $help:expr;)*) => {
        /// The code of a diagnostic.
        ///
        /// A code keeps its number, `SK` and four digits, and its meaning in all releases. `skelgen explain` lists all codes.
        ///
        /// ```
        /// use skelgen::{Code, Options};
        ///
        /// let error = skelgen::generate(b"not ELF", &Options::for_file("text.o")).unwrap_err();
        /// assert_eq!(error.code(), Code::NotElf);
        /// assert_eq!(error.code().as_str(), "SK0101");
        /// ```
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Code {
            $($(#[doc = $doc])+ $name,)*
        }

        impl Code {
            /// All codes, in numeric order.
            pub(crate) const ALL: &[Self] = &[$(Self::$name),*];

            /// Returns the stable name: `SK` and four digits, the first two naming the phase.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }

            /// Returns help that applies to every diagnostic with this code; `None` if it depends on the diagnostic.
            pub(super) const fn help(self) -> Option<&'static str> {
                match self {
                    $(Self::$name => $help,)*
                }
            }

            /// Returns its meaning, an example and what to do about it, as Markdown. `skelgen explain` prints this text.
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
    /// The ELF file is for a different architecture, class or file type.
    NotBpf = "SK0102", Some("compile with `--target=bpf` and `-c`");
    /// The ELF file is truncated or inconsistent.
    BadElf = "SK0103", Some("the file is damaged or truncated; build it again");
    /// Two sections overlap, or two data sections have the same name.
    OverlappingSections = "SK0104", Some("the file is damaged; build it again");
    /// A relocation has an invalid offset or symbol, or an unknown type.
    BadRelocation = "SK0105", None;
    /// A name is not UTF-8.
    NotUtf8 = "SK0106", Some("rename the symbol or section in the source, or the source file, and build the object again");

    // 02: reading BTF and .BTF.ext.
    /// The object has no BTF and requires it.
    MissingBtf = "SK0201", Some(
        "compile with debug information: clang with `-g`, Rust with `debug = 2` in the profile and bpf-linker's `--btf`"
    );
    /// The BTF is damaged.
    BadBtf = "SK0202", Some("build the object again; if its compiler or linker is newer than this version of skelgen, update skelgen");
    /// The .BTF.ext is damaged.
    BadBtfExt = "SK0203", Some("build the object again; if its compiler or linker is newer than this version of skelgen, update skelgen");

    // 03: the model of the object.
    /// A map definition is not valid.
    BadMap = "SK0302", None;
    /// A section of global data cannot be used.
    BadData = "SK0303", None;
    /// An instruction or function is not valid.
    BadInstruction = "SK0304", Some("build the object again; if its compiler or linker is newer than this version of skelgen, update skelgen");
    /// An instruction refers to a symbol in a way that BPF does not support.
    BadReference = "SK0305", None;
    /// An extern cannot be resolved.
    BadExtern = "SK0306", None;
    /// A license or version section is not valid.
    BadLicense = "SK0308", None;
    /// The object uses a feature that this version of skelgen does not support.
    Unsupported = "SK0309", None;

    // 04: linking programs.
    /// A program cannot be assembled.
    BadLink = "SK0401", None;

    // 05: planning.
    /// The object exceeds the limits of the generated file.
    TooLarge = "SK0501", None;
    /// The object cannot be loaded by a program in the kernel.
    LoaderProgram = "SK0502", None;

    // 06: writing Rust.
    /// A name cannot be turned into a Rust identifier.
    BadName = "SK0601", None;

    // 07: input and output.
    /// A file cannot be read or written.
    Io = "SK0701", None;
    /// A compiler cannot be run, or failed.
    Compiler = "SK0702", None;
    /// The options are not valid.
    BadOptions = "SK0703", None;
    /// A requested type does not exist.
    NoSuchType = "SK0704", Some("clang keeps only the types of global variables, of maps and of function parameters; a global `const struct event *unused;` keeps `struct event`");
    /// A path cannot be passed to cargo, or cannot be read from a compiler's dependency list.
    BadPath = "SK0705", None;
    /// A checked-in skeleton differs from what its input generates.
    OutOfDate = "SK0706", Some("run the build with `SKELGEN_CHECKED_IN=write` and commit the file; if the source did not change, use the version of clang that wrote it");

    // 08: signatures.
    /// The kernel cannot verify a signature of a loader program.
    BadSignature = "SK0801", None;

    // 09: linking objects.
    /// Two objects define the same name.
    DuplicateSymbol = "SK0901", None;
    /// No object defines a name that is used.
    MissingSymbol = "SK0902", Some("link the object that defines it too; if the kernel defines it, declare it `__ksym`");
    /// Two objects declare something differently.
    Disagreement = "SK0903", None;
}
