//! The tree of a message's parts (RFC 2046), as ranges of its bytes, found in one pass over its lines.

use std::ops::Range;

use memchr::{memchr, memmem};

use super::content_type::ContentType;
use super::field::Fields;

/// The deepest nesting; what lies deeper is taken for a part without parts.
const DEPTH: usize = 40;
/// The most parts of a message; what follows them belongs to the last.
const PARTS: usize = 10_000;

/// A message, or a part of one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// The header, its empty line included.
    pub(super) header: Range<usize>,
    /// What follows it, without the line's end that belongs to the boundary behind it (RFC 2046 §5.1.1).
    pub(super) body: Range<usize>,
    pub(super) content_type: ContentType,
    /// Whether there is a Content-Type that says so.
    pub(super) typed: bool,
    pub(super) content: Content,
}

/// What the body is made of.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// Of nothing else.
    Single,
    /// Of parts; there may be none.
    Multipart(Vec<Part>),
    /// Of a message.
    Message(Box<Part>),
}

/// Where a header ends: behind its empty line.
pub(super) fn header_end(bytes: &[u8]) -> usize {
    let mut scanner = Scanner { bytes, at: 0, boundaries: Vec::new(), parts_left: 0 };
    scanner.skip_header();
    scanner.at
}

impl Part {
    /// Whether its body is text: message/delivery-status and its kind are (RFC 2046 §5.2).
    pub(super) fn is_text(&self) -> bool {
        self.content == Content::Single && (self.content_type.is_kind("text") || self.content_type.is_kind("message"))
    }

    /// Nothing of it lies behind `end`: the line's end before a delimiter belongs to that, even where it is the empty line
    /// of a header.
    fn end_at(&mut self, end: usize) {
        for place in [&mut self.header.start, &mut self.header.end, &mut self.body.start, &mut self.body.end] {
            *place = end.min(*place);
        }
        self.content.end_at(end);
    }

    /// The message that is these bytes.
    pub(super) fn parse(bytes: &[u8]) -> Self {
        let mut scanner = Scanner { bytes, at: 0, boundaries: Vec::new(), parts_left: PARTS };
        scanner.part(0, false)
    }
}

impl Content {
    /// Nothing of it lies behind `end`.
    fn end_at(&mut self, end: usize) {
        match self {
            Self::Single => {}
            // Those before the last one end before it.
            Self::Multipart(parts) => parts.last_mut().into_iter().for_each(|last| last.end_at(end)),
            Self::Message(inner) => inner.end_at(end),
        }
    }
}

struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Of the multiparts around, outermost first.
    boundaries: Vec<Vec<u8>>,
    parts_left: usize,
}

/// A line that delimits parts.
enum Delimiter {
    /// Another part follows, of the multipart of that index.
    Next(usize),
    /// The multipart of that index ends.
    Close(usize),
}

impl Delimiter {
    fn index(&self) -> usize {
        match self {
            Self::Next(index) | Self::Close(index) => *index,
        }
    }
}

impl Scanner<'_> {
    /// Where the line that begins here ends, its line feed included.
    fn line_end(&self) -> usize {
        memchr(b'\n', &self.bytes[self.at..]).map_or(self.bytes.len(), |offset| self.at + offset + 1)
    }

    /// `delimiter = "--" boundary`, `close-delimiter = delimiter "--"`, both with white space behind them.
    fn delimiter(&self, end: usize) -> Option<Delimiter> {
        let line = self.bytes[self.at..end].strip_prefix(b"--")?;
        let line = line.trim_ascii_end();
        // The innermost first: a boundary may begin with another one.
        self.boundaries.iter().enumerate().rev().find_map(|(index, boundary)| {
            match line.strip_prefix(boundary.as_slice())? {
                b"" => Some(Delimiter::Next(index)),
                rest if rest.starts_with(b"--") => Some(Delimiter::Close(index)),
                _ => None,
            }
        })
    }

    /// Goes behind the empty line, or to a delimiter, or to the end.
    fn skip_header(&mut self) {
        while self.at < self.bytes.len() {
            let end = self.line_end();
            if self.delimiter(end).is_some() {
                return;
            }
            let empty = matches!(&self.bytes[self.at..end], b"\n" | b"\r\n");
            self.at = end;
            if empty {
                return;
            }
        }
    }

    /// Goes to the next delimiter, or to the end.
    fn skip_body(&mut self) -> Option<Delimiter> {
        while self.at < self.bytes.len() && !self.boundaries.is_empty() {
            if let Some(delimiter) = self.delimiter(self.line_end()) {
                return Some(delimiter);
            }
            // Lines that begin otherwise, most of a large message, are passed over at once.
            let Some(offset) = memmem::find(&self.bytes[self.at..], b"\n--") else { break };
            self.at += offset + 1;
        }
        self.at = self.bytes.len();
        None
    }

    /// The body that began at `start` and ends here: at the end of the bytes, or at a delimiter, to which the line's
    /// end before it belongs.
    fn body(&self, start: usize) -> Range<usize> {
        if self.at == self.bytes.len() && !self.at_delimiter() {
            return start..self.at;
        }
        let body = &self.bytes[start..self.at];
        let body = body.strip_suffix(b"\n").map_or(body, |body| body.strip_suffix(b"\r").unwrap_or(body));
        start..start + body.len()
    }

    fn at_delimiter(&self) -> bool {
        self.at < self.bytes.len() && self.delimiter(self.line_end()).is_some()
    }

    /// Reads a part up to the delimiter of a multipart around it, or to the end.
    fn part(&mut self, depth: usize, digest: bool) -> Part {
        let header = self.at..{
            self.skip_header();
            self.at
        };
        let declared = Fields::new(&self.bytes[header.clone()]).first("Content-Type");
        let declared = declared.and_then(|field| ContentType::parse(field.value));
        let typed = declared.is_some();
        // RFC 2045 §5.2, RFC 2046 §5.1.5: what a part is that does not say.
        let default = if digest { ContentType::new("message", "rfc822") } else { ContentType::new("text", "plain") };
        let mut content_type = declared.unwrap_or(default);
        let start = self.at;
        let mut content = if depth >= DEPTH {
            Content::Single
        } else if content_type.is_kind("multipart") {
            match content_type.parameter("boundary") {
                Some(boundary) if !boundary.is_empty() => {
                    let boundary = boundary.trim_ascii_end().to_vec();
                    let digest = content_type.is("multipart", "digest");
                    Content::Multipart(self.multipart(boundary, depth, digest))
                }
                _ => Content::Single,
            }
        } else if content_type.is("message", "rfc822") {
            Content::Message(Box::new(self.part(depth + 1, false)))
        } else {
            Content::Single
        };
        if content == Content::Single {
            self.skip_body();
            // A structure must not claim parts or a message where none were looked for.
            if content_type.is_kind("multipart") || content_type.is("message", "rfc822") {
                content_type = ContentType::new("text", "plain");
            }
        }
        let body = self.body(start);
        content.end_at(body.end);
        Part { header, body, content_type, typed, content }
    }

    /// `multipart-body = [preamble CRLF] dash-boundary … *encapsulation close-delimiter … [CRLF epilogue]`
    fn multipart(&mut self, boundary: Vec<u8>, depth: usize, digest: bool) -> Vec<Part> {
        let own = self.boundaries.len();
        self.boundaries.push(boundary);
        let mut parts = Vec::new();
        let mut delimiter = self.skip_body();
        while let Some(Delimiter::Next(index)) = delimiter
            && index == own
            && self.parts_left > 0
        {
            self.parts_left -= 1;
            self.at = self.line_end();
            parts.push(self.part(depth + 1, digest));
            // The part ended at a delimiter or at the end.
            delimiter = self.skip_body();
        }
        self.boundaries.truncate(own);
        // What follows the end belongs to nobody; a multipart without an end is ended by one around it, whose boundary
        // may be the same.
        if delimiter.is_some_and(|delimiter| delimiter.index() == own) {
            self.at = self.line_end();
            self.skip_body();
        }
        parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tree as text: type, and body.
    fn tree(bytes: &str) -> String {
        fn write(part: &Part, bytes: &str, out: &mut String) {
            let kind = [&part.content_type.kind[..], b"/", &part.content_type.subtype].concat();
            out.push_str(&String::from_utf8_lossy(&kind));
            match &part.content {
                Content::Single => out.push_str(&format!("{:?}", &bytes[part.body.clone()])),
                Content::Multipart(parts) => {
                    out.push('[');
                    parts.iter().for_each(|part| write(part, bytes, out));
                    out.push(']');
                }
                Content::Message(inner) => {
                    out.push('{');
                    write(inner, bytes, out);
                    out.push('}');
                }
            }
        }
        let mut out = String::new();
        write(&Part::parse(bytes.as_bytes()), bytes, &mut out);
        out
    }

    #[test]
    fn single() {
        assert_eq!(tree("Subject: x\r\n\r\nbody\r\n"), "text/plain\"body\\r\\n\"");
        assert_eq!(tree("no header at all"), "text/plain\"\"");
        assert_eq!(tree(""), "text/plain\"\"");
        assert_eq!(tree("\r\nbody"), "text/plain\"body\"");
        assert_eq!(tree("Content-Type: text/html\n\nbody\n"), "text/html\"body\\n\"");
        assert_eq!(tree("Content-Type: multipart/mixed\r\n\r\n--\r\nx"), "text/plain\"--\\r\\nx\"");
    }

    #[test]
    fn nested() {
        let message = "Content-Type: multipart/mixed; boundary=out\r\n\r\npreamble\r\n--out\r\n\r\none\r\n--out \t\r\n\
            Content-Type: multipart/digest; boundary=\"out2\"\r\n\r\n--out2\r\n\r\nSubject: inner\r\n\r\ntwo\r\n\r\n--out2--\r\nepilogue\r\n\
            --out\r\nContent-Type: message/rfc822\r\n\r\nContent-Type: image/png\r\n\r\nthree\r\n--out--\r\nepilogue\r\n";
        assert_eq!(
            tree(message),
            "multipart/mixed[text/plain\"one\"multipart/digest[message/rfc822{text/plain\"two\\r\\n\"}]message/rfc822{image/png\"three\"}]"
        );
    }

    #[test]
    fn broken() {
        // No end of the inner one; none of either; a part that is nothing but a header, or nothing at all.
        let inner = "Content-Type: multipart/a; boundary=i\r\n\r\n--i\r\n\r\none";
        let outer = |rest: &str| format!("Content-Type: multipart/b; boundary=o\r\n\r\n--o\r\n{inner}\r\n--o{rest}");
        assert_eq!(tree(&outer("--\r\n")), "multipart/b[multipart/a[text/plain\"one\"]]");
        assert_eq!(tree(&outer("\r\nA: b\r\n--o--")), "multipart/b[multipart/a[text/plain\"one\"]text/plain\"\"]");
        assert_eq!(tree(&outer("")), "multipart/b[multipart/a[text/plain\"one\"]text/plain\"\"]");
        assert_eq!(tree("Content-Type: multipart/b; boundary=o\r\n\r\nnothing"), "multipart/b[]");
        assert_eq!(tree("Content-Type: multipart/b; boundary=o\r\n\r\n--o--\r\n--o\r\n\r\nx"), "multipart/b[]");
        assert_eq!(
            tree("Content-Type: multipart/b; boundary=o\r\n\r\n--o\r\n\r\n--o--"),
            "multipart/b[text/plain\"\"]"
        );
        assert_eq!(
            tree("Content-Type: multipart/b; boundary=o\r\n\r\n--ox\r\n--o\r\n\r\n--oo\r\n--o--"),
            "multipart/b[text/plain\"--oo\"]"
        );
    }

    #[test]
    fn a_message_lies_within_its_part() {
        // Found by fuzzing: the empty line behind its header is the line's end before the delimiter.
        let bytes = "Content-Type: multipart/digest; boundary=a\n\n--a\n\nSubject: x\n\n--a\n\nSubject: y\n";
        let Content::Multipart(parts) = Part::parse(bytes.as_bytes()).content else { panic!() };
        let Content::Message(inner) = &parts[0].content else { panic!() };
        assert_eq!(&bytes[parts[0].body.clone()], "Subject: x\n");
        assert_eq!((&bytes[inner.header.clone()], &bytes[inner.body.clone()]), ("Subject: x\n", ""));
    }

    #[test]
    fn a_part_lies_within_a_multipart_that_does_not_end() {
        // Found by fuzzing: what ends both is a delimiter of the outer one, right behind the empty line of a header.
        let bytes = "Content-Type: multipart/a;boundary=x\n\n--x\nContent-Type:multipart/i;boundary=o\n\n--o\n\r\n--x";
        let Content::Multipart(outer) = Part::parse(bytes.as_bytes()).content else { panic!() };
        let Content::Multipart(inner) = &outer[0].content else { panic!() };
        assert_eq!(&bytes[outer[0].body.clone()], "--o\n");
        assert_eq!((&bytes[inner[0].header.clone()], &bytes[inner[0].body.clone()]), ("", ""));
    }

    #[test]
    fn one_boundary_for_two() {
        let message = "Content-Type: multipart/a; boundary=x\r\n\r\n--x\r\nContent-Type: multipart/b; boundary=x\r\n\r\n\
            --x\r\n\r\none\r\n--x--\r\n--x\r\n\r\ntwo\r\n--x--\r\n";
        assert_eq!(tree(message), "multipart/a[multipart/b[text/plain\"one\"]text/plain\"two\"]");
    }

    #[test]
    fn bounded() {
        let deep = (0..200).fold(String::new(), |deep, level| {
            format!("{deep}Content-Type: multipart/m; boundary=b{level}\r\n\r\n--b{level}\r\n")
        });
        assert_eq!(tree(&deep).matches("multipart/m[").count(), DEPTH);
        let deep = "Content-Type: message/rfc822\r\n\r\n".repeat(200);
        assert_eq!(tree(&deep).matches("message/rfc822{").count(), DEPTH);
        let many = format!("Content-Type: multipart/m; boundary=b\r\n\r\n{}", "--b\r\n".repeat(PARTS * 3));
        assert_eq!(tree(&many).matches("text").count(), PARTS);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_safe(bytes in "((Content-Type: multipart/[a-b]; boundary=[ab]{1,2}|Content-Type: message/rfc822|--[ab]{1,2}|--[ab]--|x)?\r?\n?){0,30}") {
            fn check(part: &Part, within: Range<usize>) {
                assert!(within.start <= part.header.start && part.header.end <= part.body.start);
                assert!(part.body.start <= part.body.end && part.body.end <= within.end);
                match &part.content {
                    Content::Single => {}
                    Content::Multipart(parts) => {
                        parts.iter().for_each(|one| check(one, part.body.clone()));
                        assert!(parts.windows(2).all(|pair| pair[0].body.end <= pair[1].header.start));
                    }
                    Content::Message(inner) => check(inner, part.body.clone()),
                }
            }
            let root = Part::parse(bytes.as_bytes());
            check(&root, 0..bytes.len());
            proptest::prop_assert_eq!(root.header.end, header_end(bytes.as_bytes()));
        }
    }
}
