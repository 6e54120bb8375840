//! The MIME tree (RFC 2045, 2046), walked to its leaves. Each leaf is decoded, shown, and forgotten.

use mail_parser::parsers::MessageStream;
use mail_parser::{ContentType, HeaderValue};

use super::budget::{Budget, Overrun};
use super::header::{find, line_at, split};
use super::transfer::Encoding;
use super::uuencode;

/// One leaf of the tree: what a mail client would show, or save as a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct File<'a> {
    /// The name that the sender gave it; empty for most texts.
    pub name: &'a str,
    /// Whether it says that it is text.
    pub is_text: bool,
    /// What it holds, decoded.
    pub bytes: &'a [u8],
}

/// Shown every file in turn.
pub trait Visitor {
    /// Looks at one.
    fn visit(&mut self, file: &File<'_>, budget: &mut Budget) -> Result<(), Overrun>;
}

/// Shows `visitor` every file of a message.
pub fn walk(message: &[u8], budget: &mut Budget, visitor: &mut impl Visitor) -> Result<(), Overrun> {
    Walk { budget, visitor }.entity(message, false, 0)
}

struct Walk<'w, V> {
    budget: &'w mut Budget,
    visitor: &'w mut V,
}

impl<V: Visitor> Walk<'_, V> {
    /// One entity; in a digest, one without a type is a message (RFC 2046 §5.1.5).
    fn entity(&mut self, entity: &[u8], in_digest: bool, depth: usize) -> Result<(), Overrun> {
        self.budget.part(depth)?;
        let (head, body) = split(entity);
        let content_type = content_type(head, "Content-Type");
        let (kind, subtype) = match &content_type {
            Some(content_type) => (content_type.ctype(), content_type.subtype().unwrap_or_default()),
            None if in_digest => ("message", "rfc822"),
            None => ("text", "plain"),
        };
        let encoding = find(head, "Content-Transfer-Encoding")
            .map_or(Encoding::Identity, |field| Encoding::from_field(field.value));
        let boundary = content_type.as_ref().and_then(|content_type| content_type.attribute("boundary"));
        if kind.eq_ignore_ascii_case("multipart")
            && let Some(boundary) = boundary.map(str::trim_end).filter(|boundary| !boundary.is_empty())
        {
            let in_digest = subtype.eq_ignore_ascii_case("digest");
            let mut is_leaf = true;
            for part in parts(body, boundary.as_bytes()) {
                is_leaf = false;
                self.entity(part, in_digest, depth + 1)?;
            }
            // A boundary that never comes: clients show the whole as text.
            return if is_leaf { self.leaf("", true, encoding, body) } else { Ok(()) };
        }
        let is_message = kind.eq_ignore_ascii_case("message")
            && ["rfc822", "global"].iter().any(|one| subtype.eq_ignore_ascii_case(one));
        if is_message {
            let message = encoding.decode(body);
            self.budget.decoded(message.len())?;
            return self.entity(&message, false, depth + 1);
        }
        let disposition = self::content_type(head, "Content-Disposition");
        let name = disposition.as_ref().and_then(|disposition| disposition.attribute("filename"));
        let name = name.or_else(|| content_type.as_ref().and_then(|content_type| content_type.attribute("name")));
        self.leaf(name.unwrap_or_default(), kind.eq_ignore_ascii_case("text"), encoding, body)
    }

    fn leaf(&mut self, name: &str, is_text: bool, encoding: Encoding, body: &[u8]) -> Result<(), Overrun> {
        let bytes = encoding.decode(body);
        self.budget.decoded(bytes.len())?;
        self.visitor.visit(&File { name, is_text, bytes: &bytes }, self.budget)?;
        if is_text {
            for file in uuencode::files(&bytes) {
                self.budget.part(0)?;
                self.budget.decoded(file.len())?;
                self.visitor.visit(&File { name, is_text: false, bytes: &file }, self.budget)?;
            }
        }
        Ok(())
    }
}

/// A field in the form of `Content-Type`: a value and its parameters, RFC 2231 resolved.
fn content_type<'a>(head: &'a [u8], name: &str) -> Option<ContentType<'a>> {
    match MessageStream::new(find(head, name)?.value).parse_content_type() {
        HeaderValue::ContentType(content_type) => Some(content_type),
        _ => None,
    }
}

/// The parts of a multipart body (RFC 2046 §5.1.1): preamble and epilogue are nobody's; what lacks its last delimiter
/// reaches to the end.
fn parts<'a>(body: &'a [u8], boundary: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let mut at = 0;
    let mut start = None;
    let mut over = false;
    std::iter::from_fn(move || {
        while !over {
            let (line_start, line) = (at, line_at(body, at));
            over = line.is_empty();
            at += line.len();
            let delimiter =
                line.strip_prefix(b"--").and_then(|line| line.strip_prefix(boundary)).map(<[u8]>::trim_ascii);
            let (delimits, closes) = (matches!(delimiter, Some(b"" | b"--")), delimiter == Some(b"--"));
            if !delimits && !over {
                continue;
            }
            over |= closes;
            // The line end before a delimiter belongs to the delimiter.
            let part = start.map(|start: usize| without_line_end(&body[start..line_start.max(start)], delimits));
            start = Some(at);
            if part.is_some() {
                return part;
            }
        }
        None
    })
}

fn without_line_end(part: &[u8], delimited: bool) -> &[u8] {
    let Some(part) = part.strip_suffix(b"\n").filter(|_| delimited) else { return part };
    part.strip_suffix(b"\r").unwrap_or(part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::Limits;
    use crate::content::budget::MIME_DEPTH;
    use proptest::prelude::*;
    use std::time::Duration;

    #[derive(Default)]
    struct Shown(Vec<(String, bool, String)>);

    impl Visitor for Shown {
        fn visit(&mut self, file: &File<'_>, _: &mut Budget) -> Result<(), Overrun> {
            self.0.push((file.name.to_owned(), file.is_text, String::from_utf8_lossy(file.bytes).into_owned()));
            Ok(())
        }
    }

    fn shown(message: &[u8]) -> Result<Vec<(String, bool, String)>, Overrun> {
        let limits = Limits { archive_depth: 1, archive_entries: 1, archive_bytes: 1, time: Duration::from_secs(60) };
        let mut shown = Shown::default();
        walk(message, &mut Budget::new(&limits, message.len()), &mut shown).map(|()| shown.0)
    }

    fn texts(message: &str) -> Vec<String> {
        shown(message.as_bytes()).unwrap().into_iter().map(|(_, _, text)| text).collect()
    }

    #[test]
    fn a_plain_message_is_one_text() {
        assert_eq!(shown(b"Subject: a\r\n\r\nb\r\n").unwrap(), [(String::new(), true, "b\r\n".into())]);
        assert_eq!(texts(""), [""]);
        assert_eq!(texts("Subject: a"), [""]);
    }

    #[test]
    fn nested_multiparts_and_messages_are_walked_to_their_leaves() {
        let message = "Content-Type: multipart/mixed; boundary=\"a b\"\r\n\r\npreamble\r\n\
            --a b\r\n\r\none\r\n\
            --a b  \r\nContent-Type: multipart/alternative;\r\n boundary=c\r\n\r\n\
            --c\r\nContent-Transfer-Encoding: base64\r\n\r\ndHdv\r\n--c\r\nContent-Type: text/html\r\n\r\nthree\r\n--c--\r\nepilogue\r\n\
            --a b\r\nContent-Type: message/rfc822\r\n\r\nSubject: s\r\n\r\nfour\r\n\
            --a b\r\nContent-Type: application/zip; name=x.zip\r\nContent-Disposition: attachment; filename*=utf-8''%c3%b1.zip\r\n\r\nfive\r\n\
            --a b--\r\n";
        let shown = shown(message.as_bytes()).unwrap();
        let texts: Vec<_> =
            shown.iter().map(|(name, is_text, text)| (name.as_str(), *is_text, text.as_str())).collect();
        assert_eq!(
            texts,
            [("", true, "one"), ("", true, "two"), ("", true, "three"), ("", true, "four"), ("ñ.zip", false, "five")]
        );
    }

    #[test]
    fn a_message_in_base64_is_walked() {
        let inner = "Content-Type: text/plain\r\n\r\nhidden";
        let wrapped: String = inner.bytes().map(|byte| format!("={byte:02X}")).collect();
        assert_eq!(
            texts(&format!(
                "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n{wrapped}"
            )),
            ["hidden"]
        );
    }

    #[test]
    fn a_digest_holds_messages() {
        assert_eq!(texts("Content-Type: multipart/digest; boundary=x\n\n--x\n\nSubject: a\n\nbody\n--x--\n"), ["body"]);
    }

    #[test]
    fn what_is_broken_is_shown_all_the_same() {
        assert_eq!(texts("Content-Type: multipart/mixed\r\n\r\nno boundary"), ["no boundary"]);
        assert_eq!(texts("Content-Type: multipart/mixed; boundary=x\r\n\r\nnever comes"), ["never comes"]);
        assert_eq!(texts("Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\ncut off"), ["cut off"]);
        assert_eq!(texts("Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nno header"), ["no header"]);
        assert_eq!(
            texts("Content-Type: multipart/mixed; boundary=x\r\n\r\n--xy\r\n\r\na\r\n--x\r\n\r\nb\r\n--x--"),
            ["b"]
        );
        assert_eq!(texts("Content-Type: nonsense\r\n\r\na"), ["a"]);
        assert_eq!(texts("Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n--x\r\n--x--"), ["", ""]);
    }

    #[test]
    fn a_uuencoded_file_stands_beside_its_text() {
        let shown = shown(b"Subject: a\n\nbegin 644 cat\n#0V%T\n`\nend\n").unwrap();
        assert_eq!(shown[1], (String::new(), false, "Cat".into()));
    }

    #[test]
    fn depth_and_number_are_bounded() {
        let deep = "Content-Type: message/rfc822\r\n\r\n".repeat(MIME_DEPTH + 1);
        assert_eq!(shown(deep.as_bytes()), Err(Overrun::Depth));
        assert!(shown("Content-Type: message/rfc822\r\n\r\n".repeat(MIME_DEPTH).as_bytes()).is_ok());
        let wide = format!("Content-Type: multipart/mixed; boundary=x\n\n{}", "--x\n\na\n".repeat(10_000));
        assert_eq!(shown(wide.as_bytes()), Err(Overrun::Parts));
    }

    proptest! {
        #[test]
        fn any_bytes_are_walked(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = shown(&bytes);
        }

        /// Random sequences of what makes a MIME message, so that the walk gets deep.
        #[test]
        fn any_structure_is_walked(pieces in proptest::collection::vec(0usize..12, 0..60)) {
            const PIECES: [&str; 12] = ["\r\n", "\n", "--a", "--b", "--", "Content-Type: multipart/mixed; boundary=a\r\n",
                "Content-Type: multipart/digest; boundary=\"b\"\r\n\r\n", "Content-Type: message/rfc822\r\n\r\n",
                "Content-Transfer-Encoding: base64\r\n", "Content-Disposition: attachment; filename=\"", "QUJD", "begin 644 a\n"];
            let message: String = pieces.into_iter().map(|piece| PIECES[piece]).collect();
            let _ = shown(message.as_bytes());
        }
    }
}
