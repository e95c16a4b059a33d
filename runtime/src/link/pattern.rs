//! Patterns of names: `*` matches any characters, `?` matches one.

/// Returns whether the pattern matches the whole name.
pub(super) fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut in_name) = (0, 0);
    // The position of the last `*`, and the number of bytes of the name up to the end of its match.
    let mut star: Option<(usize, usize)> = None;
    while in_name < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, in_name));
                at += 1;
            }
            Some(&wanted) if wanted == b'?' || wanted == name[in_name] => {
                at += 1;
                in_name += 1;
            }
            _ => {
                let Some((last, taken)) = star else { return false };
                star = Some((last, taken + 1));
                at = last + 1;
                in_name = taken + 1;
            }
        }
    }
    pattern[at..].iter().all(|&rest| rest == b'*')
}

/// Returns whether a text is a pattern and not a plain name.
pub(super) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        let good =
            [("", ""), ("*", ""), ("a*", "a"), ("a?c", "abc"), ("*b*", "abc"), ("a*c*e", "abcde"), ("*aab", "aaaab")];
        let bad = [("", "a"), ("?", ""), ("a", "ab"), ("a*b", "abc"), ("a?c", "ac"), ("*b*", "acd")];
        for (pattern, name) in good {
            assert!(matches(pattern.as_bytes(), name.as_bytes()), "{pattern} {name}");
        }
        for (pattern, name) in bad {
            assert!(!matches(pattern.as_bytes(), name.as_bytes()), "{pattern} {name}");
        }
    }
}
