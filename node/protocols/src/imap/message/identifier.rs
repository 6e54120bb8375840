//! Message identifiers (RFC 5322 §3.6.4), as References, In-Reply-To and Message-ID hold them.

/// The most identifiers of one field.
const IDENTIFIERS: usize = 1_000;

/// The first one of a field's value.
pub(super) fn first(value: &[u8]) -> Option<Vec<u8>> {
    Identifiers { rest: value }.next()
}

/// All of a field's value, in order.
pub(super) fn all(value: &[u8]) -> Vec<Vec<u8>> {
    Identifiers { rest: value }.take(IDENTIFIERS).collect()
}

/// `msg-id = "<" id-left "@" id-right ">"`, brackets included. White space in it is taken away, quotes that need not be
/// there too (RFC 5256 §2.2: identifiers are compared so); what has no `@` is none.
struct Identifiers<'a> {
    rest: &'a [u8],
}

impl Iterator for Identifiers<'_> {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        loop {
            let start = self.rest.iter().position(|byte| *byte == b'<')?;
            self.rest = &self.rest[start + 1..];
            let mut identifier = vec![b'<'];
            let (mut quoted, mut closed, mut has_at) = (false, false, false);
            let mut at = 0;
            while let Some(byte) = self.rest.get(at) {
                match byte {
                    b'"' => quoted = !quoted,
                    b'\\' if quoted => {
                        at += 1;
                        identifier.extend(self.rest.get(at));
                    }
                    b'>' if !quoted => {
                        closed = true;
                        break;
                    }
                    // Another one begins: the one before was never closed.
                    b'<' if !quoted => break,
                    byte if byte.is_ascii_whitespace() => {}
                    byte => {
                        has_at |= *byte == b'@';
                        identifier.push(*byte);
                    }
                }
                at += 1;
            }
            self.rest = self.rest.get(at..).unwrap_or_default();
            if closed && has_at {
                identifier.push(b'>');
                return Some(identifier);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answers() {
        for (value, expected) in [
            ("", &[][..]),
            ("<a@b>", &["<a@b>"]),
            ("<a@b><c@d>\r\n <e@f>", &["<a@b>", "<c@d>", "<e@f>"]),
            ("Your message of <a@b>, today", &["<a@b>"]),
            // RFC 5256 §2.2: these two are the same.
            ("<\"01KF8JCEOCBS0045PS\"@xxx.yyy.com>", &["<01KF8JCEOCBS0045PS@xxx.yyy.com>"]),
            ("<a @\r\n b>", &["<a@b>"]),
            ("<a@b <c@d>", &["<c@d>"]),
            ("<none> <> < <a@b", &[]),
            ("<\"a>b\"@c>", &["<a>b@c>"]),
        ] {
            let found: Vec<_> =
                all(value.as_bytes()).iter().map(|one| String::from_utf8_lossy(one).into_owned()).collect();
            assert_eq!(found, expected, "{value}");
        }
        assert_eq!(all("<a@b>".repeat(IDENTIFIERS * 2).as_bytes()).len(), IDENTIFIERS);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_safe(value in "[<>@\"\\\\a \r\n]{0,40}") {
            let found = all(value.as_bytes());
            proptest::prop_assert!(found.iter().all(|one| one.starts_with(b"<") && one.ends_with(b">")));
            proptest::prop_assert_eq!(first(value.as_bytes()), found.into_iter().next());
        }
    }
}
