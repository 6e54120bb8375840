//! Patterns of LIST and LSUB.

use super::Dialect;
use super::mailbox_name::HIERARCHY_SEPARATOR;
use super::modified_utf7;

/// The longest pattern, in bytes of UTF-8.
const PATTERN_BYTES: usize = 2000;

/// A pattern: `*` stands for anything, `%` for anything without a separator (RFC 3501 §6.3.8). In UTF-8, the reference
/// name already put before it. May be empty: that asks for the separator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListPattern(Box<str>);

impl ListPattern {
    /// The pattern `wire`, read from `reference`, both as they travelled; none when they are malformed or too long.
    pub(crate) fn from_wire(reference: &[u8], wire: &[u8], dialect: Dialect) -> Option<Self> {
        let decode = |wire: &[u8]| {
            if dialect.is_utf8() { String::from_utf8(wire.to_vec()).ok() } else { modified_utf7::decode(wire) }
        };
        let (reference, pattern) = (decode(reference)?, decode(wire)?);
        // A pattern that begins at the root does not look at the reference (RFC 3501 §6.3.8).
        let whole = match pattern.strip_prefix(HIERARCHY_SEPARATOR) {
            Some(rooted) => rooted.to_owned(),
            None => reference + &pattern,
        };
        (whole.len() <= PATTERN_BYTES).then(|| Self::new(&whole))
    }

    /// The pattern of that text; runs of wildcards are joined, since they mean the same.
    pub fn new(text: &str) -> Self {
        let mut joined = String::with_capacity(text.len());
        for character in text.chars() {
            match (joined.chars().next_back(), character) {
                (Some('*'), '*' | '%') | (Some('%'), '%') => {}
                (Some('%'), '*') => {
                    joined.pop();
                    joined.push('*');
                }
                _ => joined.push(character),
            }
        }
        Self(joined.into())
    }

    /// Whether there is nothing to match: LIST answers with the separator alone (RFC 3501 §6.3.8).
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The pattern itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a name matches, in time proportional to the product of the lengths at most. The case of `INBOX` does
    /// not count.
    pub fn matches(&self, name: &str) -> bool {
        let pattern: Vec<char> = self.0.chars().collect();
        // reached[i]: the first i characters of the pattern match what was read of the name.
        let mut reached = vec![false; pattern.len() + 1];
        reached[0] = true;
        Self::skip_wildcards(&pattern, &mut reached);
        let first_level = name.find(HIERARCHY_SEPARATOR).unwrap_or(name.len());
        let inbox = name[..first_level].eq_ignore_ascii_case("INBOX");
        for (offset, character) in name.char_indices() {
            let fold = inbox && offset < first_level;
            let mut next = vec![false; pattern.len() + 1];
            for (index, one) in pattern.iter().enumerate().filter(|(index, _)| reached[*index]) {
                match one {
                    '*' => next[index] = true,
                    '%' if character != HIERARCHY_SEPARATOR => next[index] = true,
                    '%' => {}
                    _ if *one == character || (fold && one.eq_ignore_ascii_case(&character)) => next[index + 1] = true,
                    _ => {}
                }
            }
            Self::skip_wildcards(&pattern, &mut next);
            reached = next;
        }
        reached[pattern.len()]
    }

    /// A wildcard may stand for nothing.
    fn skip_wildcards(pattern: &[char], reached: &mut [bool]) {
        for (index, one) in pattern.iter().enumerate() {
            if reached[index] && matches!(one, '*' | '%') {
                reached[index + 1] = true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards() {
        for (pattern, matching, other) in [
            ("*", &["INBOX", "a/b/c", "ü"][..], &[][..]),
            ("%", &["INBOX", "a"], &["a/b", "INBOX/x"]),
            ("a/%", &["a/b", "a/ü"], &["a", "a/b/c", "b/a"]),
            ("a/*", &["a/b", "a/b/c"], &["a", "ab/c"]),
            ("%/b*", &["a/b", "c/bd/e"], &["b", "a/c/b"]),
            ("*b%", &["b", "ab", "a/bc", "bb"], &["b/c", "a"]),
            ("inbox", &["INBOX"], &["Inbox/a"]),
            ("iNB%", &["INBOX"], &["INBOX/a"]),
            ("inbox/A", &["INBOX/A"], &["INBOX/a"]),
            ("Sent", &["Sent"], &["sent", "Sent/a"]),
            ("", &[], &["a"]),
        ] {
            let pattern = ListPattern::new(pattern);
            matching.iter().for_each(|name| assert!(pattern.matches(name), "{pattern:?} {name}"));
            other.iter().for_each(|name| assert!(!pattern.matches(name), "{pattern:?} {name}"));
        }
    }

    #[test]
    fn reference_stands_before() {
        let pattern = |reference: &str, pattern: &str| {
            ListPattern::from_wire(reference.as_bytes(), pattern.as_bytes(), Dialect::default())
                .unwrap()
                .as_str()
                .to_owned()
        };
        assert_eq!(pattern("a/", "%"), "a/%");
        assert_eq!(pattern("a/", "/b"), "b");
        assert_eq!(pattern("", "Entw&APw-rfe/%%*"), "Entwürfe/*");
        assert_eq!(ListPattern::from_wire(b"", &[b'a'; PATTERN_BYTES + 1], Dialect::default()), None);
    }

    #[test]
    fn many_wildcards_take_no_exponential_time() {
        assert!(!ListPattern::new(&"a*".repeat(200)).matches(&"a".repeat(199)));
        assert!(ListPattern::new(&"*a".repeat(200)).matches(&"a".repeat(400)));
    }
}
