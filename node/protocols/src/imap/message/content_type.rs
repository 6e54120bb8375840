//! Content-Type and Content-Disposition (RFC 2045 §5.1, RFC 2183 §2): a value and its parameters, tolerantly.

/// The most parameters of one field.
const PARAMETERS: usize = 64;

/// `value *(";" attribute "=" value)`, comments left out, quotes taken away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Parameterised {
    pub(super) value: Vec<u8>,
    pub(super) parameters: Parameters,
}

/// `type "/" subtype *(";" parameter)`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ContentType {
    pub(super) kind: Vec<u8>,
    pub(super) subtype: Vec<u8>,
    pub(super) parameters: Parameters,
}

impl ContentType {
    pub(super) fn new(kind: &str, subtype: &str) -> Self {
        Self { kind: kind.into(), subtype: subtype.into(), parameters: Vec::new() }
    }

    /// None when it is not one: RFC 2045 §5.2 has it treated as text/plain then.
    pub(super) fn parse(field: &[u8]) -> Option<Self> {
        let Parameterised { value, parameters } = Parameterised::parse(field);
        let slash = value.iter().position(|byte| *byte == b'/')?;
        let (kind, subtype) = (&value[..slash], &value[slash + 1..]);
        let token = |text: &[u8]| !text.is_empty() && text.iter().all(|byte| byte.is_ascii_graphic());
        (token(kind) && token(subtype)).then(|| Self { kind: kind.into(), subtype: subtype.into(), parameters })
    }

    pub(super) fn is(&self, kind: &str, subtype: &str) -> bool {
        self.is_kind(kind) && self.subtype.eq_ignore_ascii_case(subtype.as_bytes())
    }

    pub(super) fn is_kind(&self, kind: &str) -> bool {
        self.kind.eq_ignore_ascii_case(kind.as_bytes())
    }

    pub(super) fn parameter(&self, name: &str) -> Option<&[u8]> {
        let found = self.parameters.iter().find(|(one, _)| one.eq_ignore_ascii_case(name.as_bytes()));
        found.map(|(_, value)| value.as_slice())
    }
}

impl Parameterised {
    pub(super) fn parse(field: &[u8]) -> Self {
        let mut scanner = Scanner { rest: field };
        let value = scanner.word(b";");
        let mut parameters = Vec::new();
        while parameters.len() < PARAMETERS && scanner.skip_to_parameter() {
            let name = scanner.word(b"=;");
            if scanner.take(b'=') {
                let value = scanner.word(b";");
                if !name.is_empty() {
                    parameters.push((name, value));
                }
            }
        }
        Self { value, parameters: join_continuations(parameters) }
    }
}

type Parameters = Vec<(Vec<u8>, Vec<u8>)>;

/// RFC 2231 §3, §6: a server puts `name*0=a; name*1*=b` together, as `name*=ab`, and decodes no more of it.
fn join_continuations(parameters: Parameters) -> Parameters {
    let mut joined: Parameters = Vec::with_capacity(parameters.len());
    // Where in `joined` the parameter of that base name stands, and the number that has to come next.
    let mut open: Vec<(Vec<u8>, usize, usize)> = Vec::new();
    for (name, value) in parameters {
        let Some((base, number, extended)) = continuation(&name) else {
            joined.push((name, value));
            continue;
        };
        match open.iter_mut().find(|(one, ..)| one.eq_ignore_ascii_case(base)) {
            Some((_, place, next)) if *next == number => {
                joined[*place].1.extend_from_slice(&value);
                if extended && !joined[*place].0.ends_with(b"*") {
                    joined[*place].0.push(b'*');
                }
                *next += 1;
            }
            None if number == 0 => {
                open.push((base.to_vec(), joined.len(), 1));
                joined.push(([base, if extended { b"*" } else { b"" }].concat(), value));
            }
            // Out of order: as it stands.
            _ => joined.push((name, value)),
        }
    }
    joined
}

/// `attribute "*" number ["*"]`
fn continuation(name: &[u8]) -> Option<(&[u8], usize, bool)> {
    let (rest, extended) = match name.strip_suffix(b"*") {
        Some(rest) => (rest, true),
        None => (name, false),
    };
    let star = rest.iter().rposition(|byte| *byte == b'*')?;
    let number = std::str::from_utf8(&rest[star + 1..]).ok()?.parse().ok()?;
    Some((&rest[..star], number, extended))
}

struct Scanner<'a> {
    rest: &'a [u8],
}

impl Scanner<'_> {
    fn take(&mut self, byte: u8) -> bool {
        let found = self.rest.first() == Some(&byte);
        if found {
            self.rest = &self.rest[1..];
        }
        found
    }

    /// Goes behind the next semicolons. Says whether something is left.
    fn skip_to_parameter(&mut self) -> bool {
        let junk = self.rest.iter().position(|byte| *byte == b';').unwrap_or(self.rest.len());
        self.rest = &self.rest[junk..];
        while self.take(b';') {
            self.skip_blank();
        }
        !self.rest.is_empty()
    }

    /// White space, line ends and comments.
    fn skip_blank(&mut self) {
        let mut depth = 0_usize;
        while let Some((byte, rest)) = self.rest.split_first() {
            match byte {
                b'(' => depth += 1,
                b')' if depth > 0 => depth -= 1,
                b'\\' if depth > 0 => {
                    self.rest = rest.get(1..).unwrap_or_default();
                    continue;
                }
                b' ' | b'\t' | b'\r' | b'\n' => {}
                _ if depth > 0 => {}
                _ => return,
            }
            self.rest = rest;
        }
    }

    /// A quoted string, or everything up to a stop, a blank or a comment.
    fn word(&mut self, stops: &[u8]) -> Vec<u8> {
        self.skip_blank();
        let mut word = Vec::new();
        if self.take(b'"') {
            while let Some((byte, rest)) = self.rest.split_first() {
                self.rest = rest;
                match byte {
                    b'"' => break,
                    b'\\' => {
                        if let Some((escaped, rest)) = rest.split_first() {
                            word.push(*escaped);
                            self.rest = rest;
                        }
                    }
                    b'\r' | b'\n' => {}
                    _ => word.push(*byte),
                }
            }
        } else {
            let ends = |byte: &u8| stops.contains(byte) || matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b'(');
            let length = self.rest.iter().position(ends).unwrap_or(self.rest.len());
            let (text, rest) = self.rest.split_at(length);
            word.extend_from_slice(text);
            self.rest = rest;
        }
        self.skip_blank();
        word
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(field: &str) -> Option<(String, Vec<(String, String)>)> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let parsed = ContentType::parse(field.as_bytes())?;
        let parameters = parsed.parameters.iter().map(|(name, value)| (text(name), text(value))).collect();
        Some((format!("{}/{}", text(&parsed.kind), text(&parsed.subtype)), parameters))
    }

    #[test]
    fn known_answers() {
        for (field, kind, parameters) in [
            (" text/plain\r\n", "text/plain", &[][..]),
            (" text/plain; charset=us-ascii (Plain text)\r\n", "text/plain", &[("charset", "us-ascii")]),
            (
                "text/html;\r\n\tcharset=\"utf-8\" ; format = flowed;",
                "text/html",
                &[("charset", "utf-8"), ("format", "flowed")],
            ),
            ("multipart/mixed; boundary=\"a \\\"b\\\";c\"", "multipart/mixed", &[("boundary", "a \"b\";c")]),
            ("a/b; name=x/y.txt; broken; ;z=1", "a/b", &[("name", "x/y.txt"), ("z", "1")]),
            ("a/b (c (d) \\) ; e); f=g", "a/b", &[("f", "g")]),
            ("a/b; name=My File.txt; c=d", "a/b", &[("name", "My"), ("c", "d")]),
            ("a/b; name=\"unfinished", "a/b", &[("name", "unfinished")]),
            ("a/b; t*0*=us-ascii'en'a%20; x=y; T*1=b; t*2*=c", "a/b", &[("t*", "us-ascii'en'a%20bc"), ("x", "y")]),
            ("a/b; t*0=a; t*2=c; t*1=b; u*1=d", "a/b", &[("t", "ab"), ("t*2", "c"), ("u*1", "d")]),
            ("a/b; t*=utf-8''a; u*x=b; *0=c", "a/b", &[("t*", "utf-8''a"), ("u*x", "b"), ("", "c")]),
        ] {
            let parameters: Vec<_> =
                parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            assert_eq!(parse(field), Some((kind.to_owned(), parameters)), "{field}");
        }
        for field in ["", "text", "/plain", "text/", ";", "()"] {
            assert_eq!(parse(field), None, "{field}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_safe(field in "[a/;=\"\\\\() \r\n\t]{0,60}") {
            let parsed = Parameterised::parse(field.as_bytes());
            proptest::prop_assert!(parsed.parameters.len() <= PARAMETERS);
        }
    }
}
