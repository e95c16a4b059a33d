//! Patterns of names: `*` stands for any characters, `?` for one.

/// Whether the whole name is as the pattern says.
pub(super) fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut in_name) = (0, 0);
    // Where the last `*` was, and how far the name has been given to it.
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
                let Some((place, given)) = star else { return false };
                star = Some((place, given + 1));
                at = place + 1;
                in_name = given + 1;
            }
        }
    }
    pattern[at..].iter().all(|&rest| rest == b'*')
}

/// Whether it stands for other names than itself.
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
