//! Make rules as compilers write them: which files a source includes. Knows nothing of cargo.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// The files that a rule names: what stands behind its first colon.
pub(super) fn files(rule: &[u8]) -> Vec<PathBuf> {
    let colon = rule.windows(2).position(|pair| pair == b": ");
    named_in(colon.map_or(&[], |at| &rule[at + 2..]))
}

/// The words of a rule, which spaces and line feeds separate. Of a word, a space and a `#` stand behind a backslash, before which
/// backslashes of a word's own are doubled if it is a space; `$` stands for itself twice. A backslash ends a line that goes on.
fn named_in(mut rest: &[u8]) -> Vec<PathBuf> {
    let mut words = vec![Vec::new()];
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        let Some(word) = words.last_mut() else { break };
        match byte {
            b'\\' => {
                let more = behind.iter().take_while(|&&byte| byte == b'\\').count();
                rest = &behind[more..];
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
