//! Addresses in header fields (RFC 5322 §3.4), as ENVELOPE shows them: split, and otherwise as they stand.

/// The most addresses of one field.
const ADDRESSES: usize = 5_000;

/// One entry of an address list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Entry {
    /// `display-name <route:local@domain>`
    Mailbox { name: Option<Vec<u8>>, route: Option<Vec<u8>>, local: Vec<u8>, domain: Vec<u8> },
    /// `name:`
    GroupStart(Vec<u8>),
    /// `;`
    GroupEnd,
}

/// `address-list`, tolerantly: what makes no sense is taken for a mailbox without a domain, or passed over.
pub(super) fn parse(field: &[u8]) -> Vec<Entry> {
    let mut reader = Reader { rest: field, comment: Vec::new() };
    let mut entries = Vec::new();
    let mut in_group = false;
    while entries.len() < ADDRESSES {
        reader.comment.clear();
        let phrase = reader.phrase();
        match reader.next() {
            Some(b'<') => {
                let (route, local, domain) = reader.angle_address();
                // RFC 5322 §3.4: a name may also stand behind, as a comment.
                reader.skip_blank();
                entries.push(Entry::Mailbox { name: reader.name(phrase), route, local, domain });
            }
            Some(b'@') => {
                let domain = reader.domain();
                reader.skip_blank();
                entries.push(Entry::Mailbox { name: reader.name(Vec::new()), route: None, local: phrase, domain });
            }
            Some(b':') if !in_group => {
                entries.push(Entry::GroupStart(phrase));
                in_group = true;
            }
            separator => {
                if !phrase.is_empty() {
                    entries.push(Entry::Mailbox {
                        name: reader.name(Vec::new()),
                        route: None,
                        local: phrase,
                        domain: Vec::new(),
                    });
                }
                match separator {
                    Some(b';') if in_group => {
                        entries.push(Entry::GroupEnd);
                        in_group = false;
                    }
                    Some(_) => {}
                    None => break,
                }
            }
        }
    }
    if in_group {
        entries.push(Entry::GroupEnd);
    }
    entries
}

struct Reader<'a> {
    rest: &'a [u8],
    /// The last comment.
    comment: Vec<u8>,
}

impl Reader<'_> {
    fn next(&mut self) -> Option<u8> {
        let (byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*byte)
    }

    /// Passes over white space and comments, and remembers the last comment. Says whether there was any.
    fn skip_blank(&mut self) -> bool {
        let before = self.rest.len();
        while let Some(byte) = self.rest.first() {
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' => self.rest = &self.rest[1..],
                b'(' => self.skip_comment(),
                _ => break,
            }
        }
        self.rest.len() < before
    }

    fn skip_comment(&mut self) {
        self.rest = &self.rest[1..];
        let mut text = Vec::new();
        let mut depth = 1_usize;
        while let Some(byte) = self.next() {
            match byte {
                b'(' => depth += 1,
                b')' => {
                    depth -= 1;
                    if depth == 0 {
                        break;
                    }
                }
                b'\\' => {
                    text.extend(self.next());
                    continue;
                }
                b'\r' | b'\n' => continue,
                _ => {}
            }
            text.push(byte);
        }
        self.comment = text;
    }

    /// Words up to a special character: quotes are taken away, white space between words becomes one space.
    fn phrase(&mut self) -> Vec<u8> {
        let mut phrase = Vec::new();
        self.skip_blank();
        loop {
            match self.rest.first() {
                Some(b'"') => self.quoted(&mut phrase),
                Some(b'<' | b'>' | b'@' | b',' | b';' | b':') | None => return phrase,
                Some(byte) => {
                    phrase.push(*byte);
                    self.rest = &self.rest[1..];
                }
            }
            if self.skip_blank() && !matches!(self.rest.first(), Some(b'<' | b'>' | b'@' | b',' | b';' | b':') | None) {
                phrase.push(b' ');
            }
        }
    }

    fn quoted(&mut self, text: &mut Vec<u8>) {
        self.rest = &self.rest[1..];
        while let Some(byte) = self.next() {
            match byte {
                b'"' => return,
                b'\\' => text.extend(self.next()),
                b'\r' | b'\n' => {}
                _ => text.push(byte),
            }
        }
    }

    /// `[obs-route] local-part "@" domain ">"`
    fn angle_address(&mut self) -> (Option<Vec<u8>>, Vec<u8>, Vec<u8>) {
        let mut route = None;
        let mut local = self.phrase();
        if local.is_empty() && self.rest.first() == Some(&b'@') {
            // RFC 5322 §4.4: obs-route = obs-domain-list ":"
            let end = self.rest.iter().position(|byte| matches!(byte, b':' | b'>')).unwrap_or(self.rest.len());
            if self.rest.get(end) == Some(&b':') {
                let text = self.rest[..end].iter().filter(|byte| !byte.is_ascii_whitespace());
                route = Some(text.copied().collect());
                self.rest = &self.rest[end + 1..];
                local = self.phrase();
            }
        }
        let domain = if self.rest.first() == Some(&b'@') {
            self.next();
            self.domain()
        } else {
            Vec::new()
        };
        let end = self.rest.iter().position(|byte| *byte == b'>').map_or(self.rest.len(), |end| end + 1);
        self.rest = &self.rest[end..];
        (route, local, domain)
    }

    /// `domain = dot-atom / domain-literal`, without white space.
    fn domain(&mut self) -> Vec<u8> {
        let mut domain = Vec::new();
        self.skip_blank();
        let literal = self.rest.first() == Some(&b'[');
        while let Some(byte) = self.rest.first() {
            match byte {
                b']' if literal => {
                    domain.push(b']');
                    self.rest = &self.rest[1..];
                    break;
                }
                b',' | b';' | b'>' | b'<' => break,
                b':' | b'@' if !literal => break,
                b'\r' | b'\n' => self.rest = &self.rest[1..],
                b' ' | b'\t' | b'(' => {
                    self.skip_blank();
                    // "a . b" is one domain, "a b" is not.
                    if !literal && domain.last() != Some(&b'.') && self.rest.first() != Some(&b'.') {
                        break;
                    }
                }
                _ => {
                    domain.push(*byte);
                    self.rest = &self.rest[1..];
                }
            }
        }
        domain
    }

    /// The name: what stood before, else the last comment.
    fn name(&mut self, phrase: Vec<u8>) -> Option<Vec<u8>> {
        let name = if phrase.is_empty() { std::mem::take(&mut self.comment) } else { phrase };
        (!name.is_empty()).then_some(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As ENVELOPE has it: name|route|local|domain.
    fn show(field: &str) -> Vec<String> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let optional = |bytes: &Option<Vec<u8>>| bytes.as_deref().map_or("-".to_owned(), text);
        let show = |entry: &Entry| match entry {
            Entry::Mailbox { name, route, local, domain } => {
                format!("{}|{}|{}|{}", optional(name), optional(route), text(local), text(domain))
            }
            Entry::GroupStart(name) => format!("{}:", text(name)),
            Entry::GroupEnd => ";".to_owned(),
        };
        parse(field.as_bytes()).iter().map(show).collect()
    }

    #[test]
    fn known_answers() {
        for (field, expected) in [
            ("", &[][..]),
            (" , ,", &[]),
            ("a@b", &["-|-|a|b"]),
            (" Ana P. <ana@example.org>\r\n", &["Ana P.|-|ana|example.org"]),
            ("\"Smith, \\\"J\\\"\" <j@x>, k@y", &["Smith, \"J\"|-|j|x", "-|-|k|y"]),
            ("gray@cac.example (Terry  Gray)", &["Terry  Gray|-|gray|cac.example"]),
            ("(before) a@b", &["before|-|a|b"]),
            ("=?utf-8?q?J=C3=B6rg?=\r\n =?utf-8?q?_K?= <j@x>", &["=?utf-8?q?J=C3=B6rg?= =?utf-8?q?_K?=|-|j|x"]),
            ("<@a,@b:c@d>", &["-|@a,@b|c|d"]),
            ("\"a b\"@c", &["-|-|a b|c"]),
            ("a . b @ c . d", &["-|-|a . b|c.d"]),
            ("a@[192.0.2.1]", &["-|-|a|[192.0.2.1]"]),
            (
                "A Group:Ed Jones <joe@where.test>,b@c;, d@e",
                &["A Group:", "Ed Jones|-|joe|where.test", "-|-|b|c", ";", "-|-|d|e"],
            ),
            ("Undisclosed recipients:;", &["Undisclosed recipients:", ";"]),
            ("open: a@b", &["open:", "-|-|a|b", ";"]),
            ("nobody", &["-|-|nobody|"]),
            ("<nobody>", &["-|-|nobody|"]),
            ("a@b@c, d", &["-|-|a|b", "-|-||c", "-|-|d|"]),
            ("Jörg <j@x>", &["Jörg|-|j|x"]),
            ("<>", &["-|-||"]),
            ("a <b@c", &["a|-|b|c"]),
            ("a b@c d@e", &["-|-|a b|c", "-|-|d|e"]),
        ] {
            assert_eq!(show(field), expected, "{field:?}");
        }
    }

    #[test]
    fn bounded() {
        assert_eq!(parse("a@b,".repeat(ADDRESSES * 2).as_bytes()).len(), ADDRESSES);
        assert_eq!(show(&"(".repeat(100_000)), Vec::<String>::new());
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_safe(field in "[a<>@,;:\"\\\\()\\[\\]. \r\n]{0,60}") {
            let entries = parse(field.as_bytes());
            let starts = entries.iter().filter(|entry| matches!(entry, Entry::GroupStart(_))).count();
            proptest::prop_assert_eq!(starts, entries.iter().filter(|entry| **entry == Entry::GroupEnd).count());
        }
    }
}
