//! Names that the author of an unknown name may have meant.
//!
//! This module must not know what the names belong to.

/// Returns the known name that is most similar to an unknown name (`event` for `evnt`); `None` if no name is similar
/// enough.
pub(crate) fn similar<'a>(unknown: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    nearest(known.into_iter().map(|name| (distance(unknown, name), name)))
}

/// Returns the name with the least [`distance`], `None` if each name has too many typos: one for every three letters,
/// but at least 1 and at most 3, are possible.
pub(crate) fn nearest<'a>(names: impl IntoIterator<Item = (usize, &'a str)>) -> Option<&'a str> {
    let near = names.into_iter().filter(|(far, name)| *far <= (name.len() / 3).clamp(1, 3));
    near.min_by_key(|(far, _)| *far).map(|(_, name)| name)
}

/// Returns the edit distance of two names in bytes: insertions, deletions, replacements and swaps of neighbors.
pub(crate) fn distance(from: &str, to: &str) -> usize {
    // The first 64 bytes suffice to distinguish longer names, and bound the time.
    let from = &from.as_bytes()[..from.len().min(64)];
    let to = &to.as_bytes()[..to.len().min(64)];
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=to.len()).collect();
    for (row, &a) in from.iter().enumerate() {
        let mut next = vec![row + 1];
        for (column, &b) in to.iter().enumerate() {
            let replaced = last[column] + usize::from(a != b);
            let mut least = replaced.min(last[column + 1] + 1).min(next[column] + 1);
            if row > 0 && column > 0 && a == to[column - 1] && b == from[row - 1] {
                least = least.min(before[column - 1] + 1);
            }
            next.push(least);
        }
        before = std::mem::replace(&mut last, next);
    }
    last[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typos_are_counted() {
        assert_eq!(similar("evnt", ["task", "event", "events"]), Some("event"));
        assert_eq!(similar("eventt", ["events", "event"]), Some("events"), "the first of several");
        assert_eq!(similar("packet", ["event"]), None);
        assert_eq!(distance("ab", "ba"), 1, "neighbors are swapped");
    }
}
