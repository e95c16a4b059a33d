//! Attach targets of programs, and the parser of their text.
//!
//! A section names its attach target after the slash (`kprobe/FUNCTION+OFFSET`), and a user sets a different one with
//! `OpenProgram::set_attach_target`. The generator and the runtime use the same parser for both, so the text has the
//! same meaning everywhere, and a later target replaces all parts of an earlier one. The text is untrusted: parsing
//! returns a target or an error for any text. This module does not depend on the kernel, files or processes: only
//! attaching shows whether a target exists.
//!
//! To add a kind of attach target, add a variant to [`TargetKind`], its texts to [`TargetKind::needs`] and [`TargetKind::form`], its grammar
//! to [`TargetKind::parse`], and a variant with the parsed names to [`Attach`].

use alloc::format;
use alloc::string::String;
use core::fmt;

use super::{SymbolKind, Text};

/// How a program attaches. `S` is the type of names; parsed names borrow from the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attach<S = Text> {
    /// The program requires an argument to attach, described by this noun phrase ("a network interface").
    Needs(&'static str),
    /// The program does not attach, but runs in a different way, described here ("with `test_run`").
    Never(&'static str),
    /// The program attaches to a target of this kind, but the section names no target, or an invalid one.
    Target(TargetKind),
    /// The raw tracepoint of this name.
    RawTracepoint(S),
    /// The kernel function or tracepoint that the program was loaded for (fentry, fexit, fmod_ret, tp_btf, lsm).
    Tracing,
    /// The iterator that the program was loaded for.
    Iter,
    /// The tracepoint of this category and name.
    Tracepoint {
        /// The category: the directory in tracefs.
        category: S,
        /// The name in the category.
        name: S,
    },
    /// A kernel function, by kprobe.
    Kprobe {
        /// The function.
        function: S,
        /// The offset from the function's beginning, in bytes.
        offset: u64,
        /// Whether to probe the function's return instead of its entry.
        at_return: bool,
    },
    /// All kernel functions that match a pattern, in which `*` matches any characters and `?` one.
    KprobeMulti {
        /// The pattern.
        pattern: S,
        /// Whether to probe returns instead of entries. Ignored by sessions.
        at_return: bool,
    },
    /// The kernel's function for a system call.
    Ksyscall {
        /// The system call's name, as in its manual page.
        name: S,
        /// Whether to probe the system call's return instead of its entry.
        at_return: bool,
    },
    /// An instruction of an executable or shared library, by uprobe.
    Uprobe {
        /// The file.
        path: S,
        /// The function; empty if the offset is relative to the file.
        function: S,
        /// The offset from the beginning of the function or file, in bytes.
        offset: u64,
        /// Whether to probe the function's return instead of its entry.
        at_return: bool,
    },
    /// All functions of an executable or shared library that match a pattern.
    UprobeMulti {
        /// The file.
        path: S,
        /// The pattern.
        pattern: S,
        /// Whether to probe returns instead of entries. Ignored by sessions.
        at_return: bool,
    },
    /// All locations of a USDT probe in an executable or shared library.
    Usdt {
        /// The file.
        path: S,
        /// The provider of the probe.
        provider: S,
        /// The name of the probe.
        name: S,
    },
    /// All kernel functions that match a pattern, by a tracing program (`fentry.multi`).
    TracingMulti {
        /// The pattern.
        pattern: S,
    },
}

/// The kind of an attach target that is parsed from text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetKind {
    /// See [`Attach::RawTracepoint`].
    RawTracepoint,
    /// See [`Attach::Tracepoint`].
    Tracepoint,
    /// See [`Attach::Kprobe`].
    Kprobe {
        /// Whether to probe returns.
        at_return: bool,
    },
    /// See [`Attach::KprobeMulti`].
    KprobeMulti {
        /// Whether to probe returns.
        at_return: bool,
    },
    /// See [`Attach::Ksyscall`].
    Ksyscall {
        /// Whether to probe returns.
        at_return: bool,
    },
    /// See [`Attach::Uprobe`].
    Uprobe {
        /// Whether to probe returns.
        at_return: bool,
    },
    /// See [`Attach::UprobeMulti`].
    UprobeMulti {
        /// Whether to probe returns.
        at_return: bool,
    },
    /// See [`Attach::Usdt`].
    Usdt,
    /// See [`Attach::TracingMulti`].
    TracingMulti,
    /// A BTF tracepoint, for which the program is loaded (`tp_btf`): [`Attach::Tracing`].
    BtfTracepoint,
    /// A kernel function, for which the program is loaded (`fentry` and others): [`Attach::Tracing`].
    Function,
    /// An LSM hook, for which the program is loaded: [`Attach::Tracing`].
    Lsm,
    /// An iterator, for which the program is loaded: [`Attach::Iter`].
    Iter,
}

/// The error for text that is not a valid attach target.
///
/// ```
/// use skelgen_abi::plan::TargetKind;
/// let error = TargetKind::Kprobe { at_return: false }.parse("do_exit+4x").unwrap_err();
/// assert_eq!(error.to_string(), "expected `FUNCTION` or `FUNCTION+OFFSET`, but the offset is not a decimal or `0x` hexadecimal number");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    kind: TargetKind,
    why: &'static str,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {}, but {}", self.kind.form(), self.why)
    }
}

const EMPTY: &str = "the target is empty";
const NO_FUNCTION: &str = "no function follows the path";
const NO_PATH: &str = "no path precedes the colon";
const NO_COLON: &str = "no colon follows the path";
const NO_NAME: &str = "a name is empty";
const NO_NUMBER: &str = "the offset is not a decimal or `0x` hexadecimal number";
const RETURN: &str = "a return probe cannot have an offset";
const NO_OFFSET: &str = "a probe of several functions cannot have an offset";
const NUL: &str = "the target contains a NUL";
const SPACE: &str = "the target contains white space";
const CATEGORY: &str = "the category and name are not two path components";
const COLONS: &str = "the target has more than two colons";

impl TargetKind {
    /// Returns a noun phrase for the target that the user must set if the section names none: "the name of a kernel
    /// function".
    #[must_use]
    pub const fn needs(self) -> &'static str {
        match self {
            Self::RawTracepoint => "the name of a raw tracepoint",
            Self::Tracepoint => "a tracepoint's category and name",
            Self::Kprobe { .. } => "the name of a kernel function",
            Self::KprobeMulti { .. } | Self::TracingMulti => "the names of kernel functions",
            Self::Ksyscall { .. } => "the name of a system call",
            Self::Uprobe { .. } | Self::UprobeMulti { .. } => "an executable or shared library, and a function in it",
            Self::Usdt => "an executable or shared library, and the provider and name of a USDT probe in it",
            Self::BtfTracepoint => "the name of a tracepoint, set before the load",
            Self::Function => "the name of a kernel function, set before the load",
            Self::Lsm => "the name of an LSM hook, set before the load",
            Self::Iter => "the name of an iterator, set before the load",
        }
    }

    /// Returns the supported forms of a target's text.
    #[must_use]
    pub const fn form(self) -> &'static str {
        match self {
            Self::RawTracepoint | Self::Ksyscall { .. } | Self::Iter => "`NAME`",
            Self::Tracepoint => "`CATEGORY/NAME` or `CATEGORY:NAME`",
            Self::Kprobe { at_return: false } => "`FUNCTION` or `FUNCTION+OFFSET`",
            Self::Kprobe { at_return: true } => "`FUNCTION`",
            Self::KprobeMulti { .. } | Self::TracingMulti => "`FUNCTION` or a pattern with `*` and `?`",
            Self::Uprobe { at_return: false } => "`PATH:FUNCTION`, `PATH:FUNCTION+OFFSET` or `PATH:+OFFSET`",
            Self::Uprobe { at_return: true } => "`PATH:FUNCTION`",
            Self::UprobeMulti { .. } => "`PATH:FUNCTION` or `PATH:PATTERN`",
            Self::Usdt => "`PATH:PROVIDER:NAME`",
            Self::BtfTracepoint | Self::Function | Self::Lsm => "`NAME` or `MODULE:NAME`",
        }
    }

    /// Parses a target of this kind.
    ///
    /// ```
    /// use skelgen_abi::plan::{Attach, TargetKind};
    /// let target = TargetKind::Uprobe { at_return: false }.parse("/bin/sh:main+0x10")?;
    /// assert_eq!(target, Attach::Uprobe { path: "/bin/sh", function: "main", offset: 16, at_return: false });
    /// # Ok::<(), skelgen_abi::plan::Malformed>(())
    /// ```
    ///
    /// # Errors
    /// If the text does not have one of the forms of this kind.
    pub fn parse(self, text: &str) -> Result<Attach<&str>, Malformed> {
        let malformed = |why| Malformed { kind: self, why };
        let check = |valid, why| if valid { Ok(()) } else { Err(malformed(why)) };
        check(!text.is_empty(), EMPTY)?;
        check(!text.contains('\0'), NUL)?;
        let path = || {
            let (path, rest) = text.split_once(':').ok_or_else(|| malformed(NO_COLON))?;
            check(!path.is_empty(), NO_PATH)?;
            check(!rest.is_empty(), NO_FUNCTION)?;
            Ok((path, rest))
        };
        // Kernel names contain neither white space nor `+`.
        let name = || {
            check(!text.contains(char::is_whitespace), SPACE)?;
            check(!text.contains('+'), NO_OFFSET)
        };
        Ok(match self {
            Self::RawTracepoint => {
                name()?;
                Attach::RawTracepoint(text)
            }
            Self::Tracepoint => {
                name()?;
                let (category, name) = text.split_once(['/', ':']).ok_or_else(|| malformed(CATEGORY))?;
                check(is_file_name(category) && is_file_name(name), CATEGORY)?;
                Attach::Tracepoint { category, name }
            }
            Self::Kprobe { at_return } => {
                check(!text.contains(char::is_whitespace), SPACE)?;
                let (function, offset) = text.split_once('+').unwrap_or((text, "0"));
                check(!function.is_empty(), NO_NAME)?;
                let offset = number(offset).ok_or_else(|| malformed(NO_NUMBER))?;
                check(!at_return || offset == 0, RETURN)?;
                Attach::Kprobe { function, offset, at_return }
            }
            Self::KprobeMulti { at_return } => {
                name()?;
                Attach::KprobeMulti { pattern: text, at_return }
            }
            Self::Ksyscall { at_return } => {
                name()?;
                Attach::Ksyscall { name: text, at_return }
            }
            Self::Uprobe { at_return } => {
                let (path, place) = path()?;
                let (function, offset) = function_and_offset(place).ok_or_else(|| malformed(NO_NUMBER))?;
                check(!at_return || offset == 0, RETURN)?;
                check(!at_return || !function.is_empty(), NO_FUNCTION)?;
                Attach::Uprobe { path, function, offset, at_return }
            }
            Self::UprobeMulti { at_return } => {
                let (path, pattern) = path()?;
                Attach::UprobeMulti { path, pattern, at_return }
            }
            Self::Usdt => {
                let (path, probe) = path()?;
                let (provider, name) =
                    probe.split_once(':').ok_or_else(|| malformed("the target has only one colon"))?;
                check(!provider.is_empty() && !name.is_empty(), NO_NAME)?;
                check(!name.contains(':'), COLONS)?;
                Attach::Usdt { path, provider, name }
            }
            Self::TracingMulti => {
                name()?;
                Attach::TracingMulti { pattern: text }
            }
            Self::BtfTracepoint | Self::Function | Self::Lsm => {
                name()?;
                let (module, name) = text.split_once(':').unwrap_or(("vmlinux", text));
                check(!module.is_empty() && !name.is_empty(), NO_NAME)?;
                Attach::Tracing
            }
            Self::Iter => {
                name()?;
                match text {
                    "bpf_map_elem" | "bpf_sk_storage_map" | "sockmap" => Attach::Needs("a map (use `attach_iter`)"),
                    _ => Attach::Iter,
                }
            }
        })
    }

    /// Returns the name and kind of the kernel BTF type that a program with this target is loaded for; `Ok(None)` if
    /// targets of this kind are not set at load.
    ///
    /// ```
    /// use skelgen_abi::plan::{SymbolKind, TargetKind};
    /// let hook = TargetKind::Lsm.kernel_type("file_open")?;
    /// assert_eq!(hook, Some(("bpf_lsm_file_open".to_owned(), SymbolKind::Function)));
    /// # Ok::<(), skelgen_abi::plan::Malformed>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`parse`](Self::parse).
    pub fn kernel_type(self, text: &str) -> Result<Option<(String, SymbolKind)>, Malformed> {
        self.parse(text)?;
        let (prefix, kind) = match self {
            Self::BtfTracepoint => ("btf_trace_", SymbolKind::Typedef),
            Self::Function => ("", SymbolKind::Function),
            Self::Lsm => ("bpf_lsm_", SymbolKind::Function),
            Self::Iter => ("bpf_iter_", SymbolKind::Function),
            _ => return Ok(None),
        };
        // `MODULE:NAME` keeps its module before the prefixed name.
        let name = match text.split_once(':') {
            Some((module, name)) => format!("{module}:{prefix}{name}"),
            None => format!("{prefix}{text}"),
        };
        Ok(Some((name, kind)))
    }

    /// Returns whether programs are loaded for a target of this kind (`attach_btf_id`), not only attached to it.
    #[must_use]
    pub fn is_loaded_for(self) -> bool {
        matches!(self, Self::BtfTracepoint | Self::Function | Self::Lsm | Self::Iter)
    }
}

impl<S> Attach<S> {
    /// Returns the kind of this target; `None` if it is not parsed from text.
    #[must_use]
    pub fn target_kind(&self) -> Option<TargetKind> {
        Some(match *self {
            Self::Needs(_) | Self::Never(_) => return None,
            Self::Target(kind) => kind,
            Self::RawTracepoint(_) => TargetKind::RawTracepoint,
            Self::Tracing => TargetKind::Function,
            Self::Iter => TargetKind::Iter,
            Self::Tracepoint { .. } => TargetKind::Tracepoint,
            Self::Kprobe { at_return, .. } => TargetKind::Kprobe { at_return },
            Self::KprobeMulti { at_return, .. } => TargetKind::KprobeMulti { at_return },
            Self::Ksyscall { at_return, .. } => TargetKind::Ksyscall { at_return },
            Self::Uprobe { at_return, .. } => TargetKind::Uprobe { at_return },
            Self::UprobeMulti { at_return, .. } => TargetKind::UprobeMulti { at_return },
            Self::Usdt { .. } => TargetKind::Usdt,
            Self::TracingMulti { .. } => TargetKind::TracingMulti,
        })
    }

    /// Returns a noun phrase for the argument that attaching requires ("a network interface"); `None` if the program
    /// attaches without arguments or does not attach at all.
    #[must_use]
    pub fn needs(&self) -> Option<&'static str> {
        match self {
            Self::Needs(what) => Some(what),
            Self::Target(kind) => Some(kind.needs()),
            _ => None,
        }
    }

    /// Returns the target with its names converted by `to`.
    pub fn map<'a, T>(&'a self, mut to: impl FnMut(&'a S) -> T) -> Attach<T> {
        match self {
            Self::Needs(what) => Attach::Needs(what),
            Self::Never(how) => Attach::Never(how),
            &Self::Target(kind) => Attach::Target(kind),
            Self::RawTracepoint(name) => Attach::RawTracepoint(to(name)),
            Self::Tracing => Attach::Tracing,
            Self::Iter => Attach::Iter,
            Self::Tracepoint { category, name } => Attach::Tracepoint { category: to(category), name: to(name) },
            &Self::Kprobe { ref function, offset, at_return } => {
                Attach::Kprobe { function: to(function), offset, at_return }
            }
            &Self::KprobeMulti { ref pattern, at_return } => Attach::KprobeMulti { pattern: to(pattern), at_return },
            &Self::Ksyscall { ref name, at_return } => Attach::Ksyscall { name: to(name), at_return },
            &Self::Uprobe { ref path, ref function, offset, at_return } => {
                Attach::Uprobe { path: to(path), function: to(function), offset, at_return }
            }
            &Self::UprobeMulti { ref path, ref pattern, at_return } => {
                Attach::UprobeMulti { path: to(path), pattern: to(pattern), at_return }
            }
            Self::Usdt { path, provider, name } => {
                Attach::Usdt { path: to(path), provider: to(provider), name: to(name) }
            }
            Self::TracingMulti { pattern } => Attach::TracingMulti { pattern: to(pattern) },
        }
    }
}

/// Returns whether a name is a single path component. Tracepoints are looked up by path.
fn is_file_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && !name.contains(['/', ':'])
}

/// Parses a number. Leading zeros are rejected, because libbpf reads such a number as octal and people as decimal.
fn number(text: &str) -> Option<u64> {
    let digits = |text: &str, radix| {
        let plain = text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if plain { u64::from_str_radix(text, radix).ok() } else { None }
    };
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hexadecimal) => digits(hexadecimal, 16),
        None if text.len() > 1 && text.starts_with('0') => None,
        None => digits(text, 10),
    }
}

/// Parses `FUNCTION`, `FUNCTION+OFFSET` or `+OFFSET`. A plus without a digit after it is part of the name, because a C++
/// function can be named `operator+`.
fn function_and_offset(text: &str) -> Option<(&str, u64)> {
    match text.rsplit_once('+') {
        Some((function, offset)) if offset.starts_with(|first: char| first.is_ascii_digit()) => {
            Some((function, number(offset)?))
        }
        _ => Some((text, 0)),
    }
}

#[cfg(test)]
mod tests {
    use alloc::borrow::ToOwned;
    use alloc::string::ToString;
    use alloc::vec;

    use super::*;

    const KPROBE: TargetKind = TargetKind::Kprobe { at_return: false };
    const KRETPROBE: TargetKind = TargetKind::Kprobe { at_return: true };
    const UPROBE: TargetKind = TargetKind::Uprobe { at_return: false };
    const ALL: [TargetKind; 18] = [
        TargetKind::RawTracepoint,
        TargetKind::Tracepoint,
        KPROBE,
        KRETPROBE,
        TargetKind::KprobeMulti { at_return: false },
        TargetKind::KprobeMulti { at_return: true },
        TargetKind::Ksyscall { at_return: false },
        TargetKind::Ksyscall { at_return: true },
        UPROBE,
        TargetKind::Uprobe { at_return: true },
        TargetKind::UprobeMulti { at_return: false },
        TargetKind::UprobeMulti { at_return: true },
        TargetKind::Usdt,
        TargetKind::TracingMulti,
        TargetKind::BtfTracepoint,
        TargetKind::Function,
        TargetKind::Lsm,
        TargetKind::Iter,
    ];

    fn kprobe(text: &str) -> Option<(&str, u64)> {
        match KPROBE.parse(text) {
            Ok(Attach::Kprobe { function, offset, at_return: false }) => Some((function, offset)),
            Ok(other) => panic!("{other:?}"),
            Err(_) => None,
        }
    }

    #[test]
    fn kernel_functions_with_offsets() {
        let good = [
            ("f", ("f", 0)),
            ("f+0", ("f", 0)),
            ("f+4", ("f", 4)),
            ("f+0x4", ("f", 4)),
            ("f.isra.0+0X1f", ("f.isra.0", 31)),
            ("f+18446744073709551615", ("f", u64::MAX)),
            ("f+0xffffffffffffffff", ("f", u64::MAX)),
        ];
        for (text, target) in good {
            assert_eq!(kprobe(text), Some(target), "{text}");
        }
        let bad = [
            "",
            "+",
            "+4",
            "f+",
            "f+-4",
            "f+ 4",
            "f +4",
            "f++4",
            "f+4+4",
            "f+0x",
            "f+4x",
            "f+x",
            "f+010",
            "f+1_000",
            "f+18446744073709551616",
            "f+0x10000000000000000",
            "f\0",
            "f+0x+4",
            "f+٣",
        ];
        for text in bad {
            assert_eq!(kprobe(text), None, "{text}");
        }
        assert!(KRETPROBE.parse("f+0").is_ok());
        assert!(KRETPROBE.parse("f+1").unwrap_err().to_string().contains("cannot have an offset"));
    }

    #[test]
    fn targets_in_executables() {
        let place = |function, offset| Ok(Attach::Uprobe { path: "/a/b", function, offset, at_return: false });
        assert_eq!(UPROBE.parse("/a/b:c"), place("c", 0));
        assert_eq!(UPROBE.parse("/a/b:c+0x10"), place("c", 16));
        assert_eq!(UPROBE.parse("/a/b:+16"), place("", 16));
        assert_eq!(UPROBE.parse("/a/b:operator+"), place("operator+", 0));
        assert_eq!(UPROBE.parse("/a/b:a::b"), place("a::b", 0));
        for text in ["/a/b", "/a/b:", ":c", ":", "/a/b:c+1x", "/a/b:c+18446744073709551616", "/a/b:c+01"] {
            assert!(UPROBE.parse(text).is_err(), "{text}");
        }
        assert!(TargetKind::Uprobe { at_return: true }.parse("/a/b:c+1").is_err());
        assert!(TargetKind::Uprobe { at_return: true }.parse("/a/b:+0").is_err());
        let multi = TargetKind::UprobeMulti { at_return: true };
        assert_eq!(
            multi.parse("libc.so.6:mem*"),
            Ok(Attach::UprobeMulti { path: "libc.so.6", pattern: "mem*", at_return: true })
        );
        assert_eq!(TargetKind::Usdt.parse("a:b:c"), Ok(Attach::Usdt { path: "a", provider: "b", name: "c" }));
        for text in ["a", "a:b", "a::c", "a:b:", ":b:c", "a:b:c:d", "::", ":::"] {
            assert!(TargetKind::Usdt.parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn tracepoints_are_one_directory_each() {
        for text in ["sched/sched_switch", "sched:sched_switch"] {
            let expected = Attach::Tracepoint { category: "sched", name: "sched_switch" };
            assert_eq!(TargetKind::Tracepoint.parse(text), Ok(expected));
        }
        for text in ["sched", "sched/", "/name", "a/b/c", "../id", "a/..", "./a", "a:b:c", "a b/c"] {
            assert!(TargetKind::Tracepoint.parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn types_of_the_kernel() {
        let name = |kind: TargetKind, text| kind.kernel_type(text).map(|found| found.map(|(name, _)| name));
        assert_eq!(name(TargetKind::Function, "f"), Ok(Some("f".to_owned())));
        assert_eq!(name(TargetKind::BtfTracepoint, "m:t"), Ok(Some("m:btf_trace_t".to_owned())));
        assert_eq!(name(TargetKind::Lsm, "h"), Ok(Some("bpf_lsm_h".to_owned())));
        assert_eq!(name(TargetKind::Iter, "task"), Ok(Some("bpf_iter_task".to_owned())));
        assert_eq!(name(KPROBE, "f"), Ok(None));
        for text in ["", ":", "m:", ":f", "f+4", "a b"] {
            assert!(name(TargetKind::Function, text).is_err(), "{text}");
        }
        assert!(matches!(TargetKind::Iter.parse("bpf_map_elem"), Ok(Attach::Needs(_))));
    }

    /// Texts of the characters with special meanings, and a long text. Each is an error or a target of the given kind.
    #[test]
    fn any_text_is_a_target_or_an_error() {
        let parts = ["", "a", "+", ":", "/", "0", "0x", "9", "\0", " ", "*", "é", "\u{202e}", "-", "."];
        let mut texts = vec!["a".repeat(100_000), "+".repeat(100_000), format!("a+{}", "9".repeat(100_000))];
        for first in parts {
            for second in parts {
                for third in parts {
                    texts.extend(parts.map(|fourth| [first, second, third, fourth].concat()));
                }
            }
        }
        for kind in ALL {
            for text in &texts {
                match kind.parse(text) {
                    Ok(attach) if attach.target_kind().is_some() => {
                        let tracing = matches!(kind, TargetKind::BtfTracepoint | TargetKind::Lsm);
                        assert!(attach.target_kind() == Some(kind) || tracing, "{kind:?} {text:?}");
                    }
                    Ok(attach) => assert!(attach.needs().is_some()),
                    Err(error) => assert!(error.to_string().starts_with("expected `"), "{error}"),
                }
                let _ = kind.kernel_type(text);
            }
        }
    }
}
