//! Which piece of a message FETCH asks for: `BODY[1.2.HEADER.FIELDS (FROM)]<0.100>`.

use std::num::NonZeroU32;

use crate::imap::cursor::{Cursor, Refusal};

/// The deepest part that can be asked for, in levels.
const PATH_LEVELS: usize = 64;

/// `section = "[" [section-spec] "]"` (RFC 3501 §9).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Section {
    path: Vec<NonZeroU32>,
    part: SectionPart,
}

/// What of the message or part is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SectionPart {
    /// All of the message, or the body of the part.
    Whole,
    /// The header of the message, or of the message/rfc822 part.
    Header,
    /// Only these fields of it.
    HeaderFields(Vec<String>),
    /// All but these fields of it.
    HeaderFieldsNot(Vec<String>),
    /// The body of the message, or of the message/rfc822 part.
    Text,
    /// The MIME header of the part; never without a path.
    Mime,
}

/// `partial = "<" number "." nz-number ">"`: of the piece, this stretch in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Partial {
    /// Where it begins.
    pub offset: u32,
    /// How much at most.
    pub length: NonZeroU32,
}

impl Section {
    /// A piece of the part at `path`; of the message itself when the path is empty. None for the MIME header of a
    /// message, which is not a thing.
    pub fn new(path: Vec<NonZeroU32>, part: SectionPart) -> Option<Self> {
        (part != SectionPart::Mime || !path.is_empty()).then_some(Self { path, part })
    }

    /// Numbers of parts, outermost first.
    pub fn path(&self) -> &[NonZeroU32] {
        &self.path
    }

    /// What of that part.
    pub fn part(&self) -> &SectionPart {
        &self.part
    }

    /// `section-spec    = section-msgtext / (section-part ["." section-text])`
    /// `section-msgtext = "HEADER" / "HEADER.FIELDS" [".NOT"] SP header-list / "TEXT"`
    /// `section-part    = nz-number *("." nz-number)`
    /// `section-text    = section-msgtext / "MIME"`
    /// The cursor stands behind the opening bracket, and afterwards behind the closing one.
    pub(crate) fn parse(cursor: &mut Cursor<'_>) -> Result<Self, Refusal> {
        let mut path = Vec::new();
        let mut part = SectionPart::Whole;
        while !cursor.take(b']') {
            if cursor.peek().is_some_and(|byte| byte.is_ascii_digit()) {
                path.push(cursor.nonzero_number()?);
                if path.len() > PATH_LEVELS {
                    return Err(Refusal::Bad("Section too deep"));
                }
                // `1]` ends, `1.2` and `1.TEXT` go on, `1.]` is nothing.
                if cursor.take(b']') {
                    break;
                }
                cursor.expect(b'.')?;
                if cursor.peek() == Some(b']') {
                    return Err(Refusal::Bad("Expected a part"));
                }
            } else {
                part = SectionPart::parse(cursor)?;
                cursor.expect(b']')?;
                break;
            }
        }
        Self::new(path, part).ok_or(Refusal::Bad("MIME needs a part number"))
    }
}

impl SectionPart {
    fn parse(cursor: &mut Cursor<'_>) -> Result<Self, Refusal> {
        if cursor.take_word(b"HEADER.FIELDS.NOT") {
            Ok(Self::HeaderFieldsNot(header_list(cursor)?))
        } else if cursor.take_word(b"HEADER.FIELDS") {
            Ok(Self::HeaderFields(header_list(cursor)?))
        } else if cursor.take_word(b"HEADER") {
            Ok(Self::Header)
        } else if cursor.take_word(b"TEXT") {
            Ok(Self::Text)
        } else if cursor.take_word(b"MIME") {
            Ok(Self::Mime)
        } else {
            Err(Refusal::Bad("Unknown section"))
        }
    }
}

/// `header-list = "(" header-fld-name *(SP header-fld-name) ")"`, `header-fld-name = astring`
fn header_list(cursor: &mut Cursor<'_>) -> Result<Vec<String>, Refusal> {
    cursor.space()?;
    cursor.expect(b'(')?;
    let mut names = Vec::new();
    loop {
        names.push(header_name(cursor)?);
        if cursor.take(b')') {
            return Ok(names);
        }
        cursor.space()?;
    }
}

/// A header's name: printable ASCII without a colon (RFC 5322 §2.2).
pub(crate) fn header_name(cursor: &mut Cursor<'_>) -> Result<String, Refusal> {
    let name = cursor.astring()?;
    let legal = !name.is_empty() && name.iter().all(|byte| byte.is_ascii_graphic() && *byte != b':');
    match String::from_utf8(name.into_owned()) {
        Ok(name) if legal => Ok(name),
        _ => Err(Refusal::Bad("Not a header name")),
    }
}

impl Partial {
    /// `["<" number "." nz-number ">"]`
    pub(crate) fn parse_optional(cursor: &mut Cursor<'_>) -> Result<Option<Self>, Refusal> {
        if !cursor.take(b'<') {
            return Ok(None);
        }
        let offset = cursor.number()?;
        cursor.expect(b'.')?;
        let length = cursor.nonzero_number()?;
        cursor.expect(b'>')?;
        Ok(Some(Self { offset, length }))
    }

    /// The stretch of `bytes` that is meant: shorter at their end, empty behind it.
    pub fn range(self, len: usize) -> std::ops::Range<usize> {
        let start = (self.offset as usize).min(len);
        start..start.saturating_add(self.length.get() as usize).min(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<Section> {
        let mut cursor = Cursor::new(text.as_bytes());
        Section::parse(&mut cursor).ok().filter(|_| cursor.at_end())
    }

    fn path(numbers: &[u32]) -> Vec<NonZeroU32> {
        numbers.iter().filter_map(|number| NonZeroU32::new(*number)).collect()
    }

    #[test]
    fn sections() {
        let fields = || vec!["From".to_owned(), "DATE".to_owned()];
        for (text, numbers, part) in [
            ("]", &[][..], SectionPart::Whole),
            ("1]", &[1], SectionPart::Whole),
            ("1.2.3]", &[1, 2, 3], SectionPart::Whole),
            ("HEADER]", &[], SectionPart::Header),
            ("text]", &[], SectionPart::Text),
            ("1.MIME]", &[1], SectionPart::Mime),
            ("4.2.HEADER]", &[4, 2], SectionPart::Header),
            ("HEADER.FIELDS (From \"DATE\")]", &[], SectionPart::HeaderFields(fields())),
            ("3.header.fields.not (From DATE)]", &[3], SectionPart::HeaderFieldsNot(fields())),
        ] {
            assert_eq!(parse(text), Section::new(path(numbers), part), "{text}");
        }
        let deep = format!("{}1]", "1.".repeat(PATH_LEVELS));
        for text in [
            "",
            "0]",
            "1.]",
            "1",
            "MIME]",
            "HEADER.FIELDS]",
            "HEADER.FIELDS ()]",
            "HEADER.FIELDS (a:b)]",
            "FOO]",
            ".1]",
            "1.TEXT.2]",
            &deep,
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn partial() {
        let parse = |text: &str| Partial::parse_optional(&mut Cursor::new(text.as_bytes()));
        let partial = parse("<10.5>").unwrap().unwrap();
        assert_eq!((partial.range(100), partial.range(12), partial.range(3)), (10..15, 10..12, 3..3));
        assert_eq!(parse("").unwrap(), None);
        for text in ["<", "<1>", "<1.0>", "<1.2", "<1.>", "<a.1>"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
