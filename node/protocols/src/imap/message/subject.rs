//! Base subjects (RFC 5256 §2.1), and strings compared as readers do (RFC 5051).

use unicode_normalization::UnicodeNormalization;

/// A subject without what mail programs put around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseSubject {
    /// What is left, with single spaces.
    pub text: String,
    /// Whether something was put around it that says reply or forward.
    pub is_reply_or_forward: bool,
}

impl BaseSubject {
    /// Of a decoded subject.
    pub fn of(subject: &str) -> Self {
        // (1) Tabs and continuations are spaces, and several of them are one.
        let spaced = subject.split_whitespace().collect::<Vec<_>>().join(" ");
        // Nothing is looked at twice, and nothing moved: a subject may be as long as a message, and all of it such words.
        let mut text = spaced.as_str();
        let mut is_reply_or_forward = false;
        loop {
            // (2) subj-trailer = "(fwd)" / WSP
            text = text.trim_end();
            while let Some((rest, end)) = text.len().checked_sub(5).and_then(|at| text.split_at_checked(at))
                && end.eq_ignore_ascii_case("(fwd)")
            {
                is_reply_or_forward = true;
                text = rest.trim_end();
            }
            // (3) subj-leader, (5) until nothing changes.
            while let Some(length) = leader(text) {
                is_reply_or_forward |= !text.starts_with(' ');
                text = &text[length..];
            }
            // (4) subj-blob where something is left behind it. No leader follows: it would have begun with the first of them.
            while let Some(length) = blob(text).filter(|length| *length < text.len()) {
                text = &text[length..];
            }
            // (6) subj-fwd = subj-fwd-hdr subject subj-fwd-trl
            match text.get(..5).filter(|start| start.eq_ignore_ascii_case("[fwd:")) {
                Some(_) if text.ends_with(']') => {
                    is_reply_or_forward = true;
                    text = &text[5..text.len() - 1];
                }
                _ => return Self { text: text.to_owned(), is_reply_or_forward },
            }
        }
    }
}

/// `subj-leader = (*subj-blob subj-refwd) / WSP`
fn leader(text: &str) -> Option<usize> {
    if text.starts_with(' ') {
        return Some(1);
    }
    let mut at = 0;
    while let Some(length) = blob(&text[at..]) {
        at += length;
    }
    // subj-refwd = ("re" / ("fw" ["d"])) *WSP [subj-blob] ":"
    let word = ["re", "fwd", "fw"]
        .into_iter()
        .find(|word| text[at..].get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word)))?;
    at += word.len();
    at += text[at..].len() - text[at..].trim_start_matches(' ').len();
    at += blob(&text[at..]).unwrap_or_default();
    text[at..].starts_with(':').then_some(at + 1)
}

/// `subj-blob = "[" *BLOBCHAR "]" *WSP`
fn blob(text: &str) -> Option<usize> {
    let inside = text.strip_prefix('[')?;
    let end = inside.find(['[', ']'])?;
    let behind = inside[end..].strip_prefix(']')?;
    Some(text.len() - behind.trim_start_matches(' ').len())
}

/// What `i;unicode-casemap` compares, byte by byte (RFC 5051 §2): letters in one case, then taken apart.
pub fn unicode_casemap(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_uppercase();
    }
    // Only mappings of one letter to one letter: ß stays what it is.
    let upper = text.chars().map(|character| {
        let mut upper = character.to_uppercase();
        upper.next().filter(|_| upper.next().is_none()).unwrap_or(character)
    });
    upper.nfkd().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_subjects() {
        for (subject, base, changed) in [
            ("hello", "hello", false),
            ("", "", false),
            ("Re: hello", "hello", true),
            ("RE:  hello\t world ", "hello world", true),
            ("re[2]: hello", "hello", true),
            ("Re [list] : hello", "hello", true),
            ("Re [list]: hello", "hello", true),
            ("[list] Fwd: Re: hello (fwd)", "hello", true),
            ("hello (fwd) (FWD) ", "hello", true),
            ("[list] hello", "hello", false),
            ("[list]", "[list]", false),
            ("[a] [b]", "[b]", false),
            ("[Fwd: [list] Re: hello]", "hello", true),
            ("[fwd: hello", "[fwd: hello", false),
            ("Re:", "", true),
            ("Reminder: hello", "Reminder: hello", false),
            ("fw: ñandú", "ñandú", true),
            ("ñ(fwd", "ñ(fwd", false),
        ] {
            let of = BaseSubject::of(subject);
            assert_eq!((of.text.as_str(), of.is_reply_or_forward), (base, changed), "{subject}");
        }
    }

    #[test]
    fn long_ones_take_no_longer_than_they_are() {
        // The first took half a minute when what is left was looked at anew for each word; the second moved it for each.
        let count = 100_000;
        let blobs = "[a]".repeat(count) + "b";
        let forwarded = "[fwd:".repeat(count) + "b" + &"]".repeat(count);
        for (subject, changed) in [(blobs, false), (forwarded, true), ("re[a]:".repeat(count) + "b", true)] {
            let base = BaseSubject::of(&subject);
            assert_eq!((base.text.as_str(), base.is_reply_or_forward), ("b", changed));
        }
    }

    #[test]
    fn casemap() {
        for (one, other) in [("hello", "HELLO"), ("Ñandú", "ñANDÚ"), ("e\u{301}", "É"), ("ß", "ß")] {
            assert_eq!(unicode_casemap(one), unicode_casemap(other), "{one} {other}");
        }
        assert_ne!(unicode_casemap("a"), unicode_casemap("á"));
    }

    proptest::proptest! {
        #[test]
        fn nothing_is_left_to_take_away(subject in "(re|Fwd|fw|:|\\[|\\]|\\(fwd\\)| |a|ñ|\\[fwd:){0,12}") {
            let base = BaseSubject::of(&subject);
            let again = BaseSubject::of(&base.text);
            proptest::prop_assert_eq!(&again.text, &base.text, "{:?}", subject);
        }
    }
}
