//! Lookup of diagnostic codes in the spelling of users, for `skelgen explain`.

use std::fmt;

use super::Code;

impl Code {
    /// Returns the title of its [`explanation`](Self::explanation): the meaning in one line.
    pub(crate) fn title(self) -> &'static str {
        let line = self.explanation().lines().next().unwrap_or_default();
        line.split_once(": ").map_or(line, |(_, title)| title)
    }

    /// Finds a code in any spelling that users type: `SK0302`, `sk0302` or `302`.
    ///
    /// # Errors
    /// If the code does not exist.
    pub(crate) fn find(text: &str) -> Result<Self, UnknownCode> {
        let upper = text.trim().to_ascii_uppercase();
        let digits = upper.strip_prefix("SK").unwrap_or(&upper);
        if (1..=4).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit()) {
            let known = Self::ALL.iter().find(|code| digits.parse() == Ok(code.number()));
            if let Some(code) = known {
                return Ok(*code);
            }
        }
        let digits = digits.trim_start_matches(|c: char| !c.is_ascii_digit());
        // For text that is not a number, suggest the first code with the longest common prefix.
        let common_prefix =
            |code: &Self| code.as_str().bytes().skip(2).zip(digits.bytes()).take_while(|(a, b)| a == b).count();
        let nearest = match digits.parse::<u32>() {
            Ok(number) => Self::ALL.iter().min_by_key(|code| code.number().abs_diff(number)),
            Err(_) => Self::ALL.iter().rev().max_by_key(|code| common_prefix(code)),
        };
        Err(UnknownCode { nearest: nearest.copied().unwrap_or(Self::NotElf) })
    }

    fn number(self) -> u32 {
        self.as_str().bytes().skip(2).fold(0, |number, digit| number * 10 + u32::from(digit - b'0'))
    }
}

/// The error for a code that does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UnknownCode {
    /// The most similar code.
    pub(crate) nearest: Code,
}

impl fmt::Display for UnknownCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown code; the nearest is {}: {}", self.nearest, self.nearest.title())
    }
}

impl std::error::Error for UnknownCode {}

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
            assert!(pair[0].number() < pair[1].number(), "{} is before {}", pair[0], pair[1]);
        }
        for code in Code::ALL {
            assert_eq!(code.as_str(), format!("SK{:04}", code.number()));
            assert_eq!(Code::find(code.as_str()), Ok(*code));
        }
    }

    #[test]
    fn codes_are_found_as_people_type_them() {
        for text in ["SK0302", "sk0302", "Sk302", "302", "0302", " SK0302\n"] {
            assert_eq!(Code::find(text), Ok(Code::BadMap), "{text:?}");
        }
        for (text, nearest) in [
            ("SK0301", "SK0302"),
            ("SK9999", "SK0903"),
            ("SK0000", "SK0101"),
            ("SK030x", "SK0302"),
            ("BadMap", "SK0101"),
            ("", "SK0101"),
            ("+302", "SK0302"),
            ("E0302", "SK0302"),
            ("SK00000302", "SK0302"),
            ("99999999999999999999", "SK0101"),
        ] {
            assert_eq!(Code::find(text).unwrap_err().nearest.as_str(), nearest, "{text:?}");
        }
    }
}
