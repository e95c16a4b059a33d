//! Parsing of make rules, with which compilers list the files that a source includes. This module does not know cargo.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// Returns the files in a rule: the words after its first colon.
pub(super) fn files(rule: &[u8]) -> Vec<PathBuf> {
    let colon = rule.windows(2).position(|pair| pair == b": ");
    named_in(colon.map_or(&[], |at| &rule[at + 2..]))
}

/// Returns the words of a rule, which spaces and line feeds separate. Inside a word, a backslash escapes a space or
/// `#`; backslashes before an escaped space are doubled; and `$$` is `$`. A backslash at the end of a line continues
/// it.
fn named_in(mut rest: &[u8]) -> Vec<PathBuf> {
    let mut words = vec![Vec::new()];
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        let Some(word) = words.last_mut() else { break };
        match byte {
            b'\\' => {
                let more = after.iter().take_while(|&&byte| byte == b'\\').count();
                rest = &after[more..];
                let (kept, taken) = match rest.first() {
                    Some(b' ') => (more / 2, rest.get(..1)),
                    Some(b'#') => (more, rest.get(..1)),
                    Some(b'\n') => (more, None),
                    _ => (more + 1, None),
                };
                word.extend(std::iter::repeat_n(b'\\', kept));
                word.extend(taken.unwrap_or_default());
                rest = &rest[taken.map_or(0, <[u8]>::len)..];
            }
            b'$' => {
                word.push(b'$');
                rest = rest.strip_prefix(b"$").unwrap_or(rest);
            }
            b' ' | b'\n' => words.push(Vec::new()),
            _ => word.push(byte),
        }
    }
    words.into_iter().filter(|word| !word.is_empty()).map(|word| PathBuf::from(OsString::from_vec(word))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_they_were_before_a_compiler_wrote_them() {
        let rule =
            b"out:\\ dir/x.o: my\\ src/x.bpf.c \\\n  /usr/include/a.h \\\n  b\\#1.h c$$d.h e\\\\\\ f\\g.h \xff.h\n";
        let names = ["my src/x.bpf.c", "/usr/include/a.h", "b#1.h", "c$d.h", "e\\ f\\g.h"];
        let found = files(rule);
        assert_eq!(found[..5], names.map(PathBuf::from));
        assert_eq!(found[5..], [PathBuf::from(OsString::from_vec(b"\xff.h".to_vec()))]);
        assert_eq!(files(b""), Vec::<PathBuf>::new());
    }
}
