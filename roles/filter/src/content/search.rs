//! Search for a fixed string in many bytes (Boyer, Moore, Horspool): it looks at few of them when the string is long.

/// Where `needle` first stands in `haystack`.
pub fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    let last = needle.len().checked_sub(1)?;
    let mut skip = [needle.len(); 256];
    for (index, &byte) in needle[..last].iter().enumerate() {
        skip[usize::from(byte)] = last - index;
    }
    let mut at = 0;
    while at + last < haystack.len() {
        if haystack[at..].starts_with(needle) {
            return Some(at);
        }
        at += skip[usize::from(haystack[at + last])];
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn finds_what_a_plain_search_finds(haystack in "[ab]{0,60}", needle in "[ab]{1,5}") {
            prop_assert_eq!(find(haystack.as_bytes(), needle.as_bytes()), haystack.find(&needle));
        }
    }

    #[test]
    fn nothing_is_found_of_nothing() {
        assert_eq!(find(b"abc", b""), None);
        assert_eq!(find(b"", b"abc"), None);
    }
}
