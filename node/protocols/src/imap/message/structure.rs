//! BODY and BODYSTRUCTURE (RFC 3501 §7.4.2).

use bytes::Bytes;
use memchr::memchr_iter;

use super::content_type::Parameterised;
use super::field::{Fields, unfold};
use super::part::{Content, Part};
use super::{Message, envelope};
use crate::imap::response::Output;

/// `body`, ready to be sent; `extended`: with extension data, which is what BODYSTRUCTURE asks for.
pub fn structure(message: &Message, extended: bool) -> Bytes {
    let mut output = Output::default();
    Writer { message, extended }.part(&mut output, message.root());
    output.into_bytes()
}

/// Of what [`structure`] wrote with extension data, what it writes without.
pub(super) fn without_extension(structure: &[u8]) -> Vec<u8> {
    let mut shortener = Shortener { rest: structure, short: Vec::with_capacity(structure.len()) };
    shortener.body(0);
    shortener.short
}

/// The deepest structure that is shortened: deeper than any that is written.
const SHORTENED_LEVELS: usize = 1_000;

/// Reads what we wrote, and keeps what stands before the extension data.
struct Shortener<'a> {
    rest: &'a [u8],
    short: Vec<u8>,
}

impl<'a> Shortener<'a> {
    /// `body`, from its opening parenthesis to behind its closing one.
    fn body(&mut self, level: usize) {
        self.keep(1);
        if self.rest.first() == Some(&b'(') {
            while self.rest.first() == Some(&b'(') && level < SHORTENED_LEVELS {
                self.body(level + 1);
            }
            // SP media-subtype
            self.keep(1);
            self.value();
        } else {
            let kind = self.value();
            self.keep(1);
            let subtype = self.value();
            // SP body-fields: parameters, identifier, description, encoding, size.
            (0..5).for_each(|_| {
                self.keep(1);
                self.value();
            });
            let is = |value: &[u8], name: &str| value.eq_ignore_ascii_case(name.as_bytes());
            if is(kind, "\"message\"") && is(subtype, "\"rfc822\"") && level < SHORTENED_LEVELS {
                self.keep(1);
                self.value();
                self.keep(1);
                self.body(level + 1);
                self.keep(1);
                self.value();
            } else if is(kind, "\"text\"") {
                self.keep(1);
                self.value();
            }
        }
        while !matches!(self.rest.first(), None | Some(b')')) {
            self.rest = &self.rest[1..];
            let length = value_length(self.rest);
            self.rest = &self.rest[length..];
        }
        self.keep(1);
    }

    fn keep(&mut self, length: usize) -> &'a [u8] {
        let (kept, rest) = self.rest.split_at(length.min(self.rest.len()));
        self.short.extend_from_slice(kept);
        self.rest = rest;
        kept
    }

    fn value(&mut self) -> &'a [u8] {
        self.keep(value_length(self.rest))
    }
}

/// How long the value is that begins here: a string, a number, NIL, or a list of values.
fn value_length(bytes: &[u8]) -> usize {
    let mut at = 0;
    let mut open = 0_usize;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'(' => open += 1,
            b')' if open == 0 => return at,
            b')' => open -= 1,
            b'"' => {
                at += 1;
                while let Some(byte) = bytes.get(at).filter(|byte| **byte != b'"') {
                    at += if *byte == b'\\' { 2 } else { 1 };
                }
            }
            b'{' => {
                let digits = bytes[at + 1..].iter().take_while(|byte| byte.is_ascii_digit());
                let size = digits
                    .fold(0_usize, |size, digit| size.saturating_mul(10).saturating_add(usize::from(digit - b'0')));
                let line = bytes[at..].iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
                at = at.saturating_add(line).saturating_add(size);
            }
            b' ' if open == 0 => return at,
            _ => {}
        }
        at = at.saturating_add(1);
        if open == 0 && matches!(byte, b'"' | b'{' | b')') {
            break;
        }
    }
    at.min(bytes.len())
}

struct Writer<'a> {
    message: &'a Message,
    extended: bool,
}

impl Writer<'_> {
    fn fields(&self, part: &Part) -> Fields<'_> {
        Fields::new(self.message.slice(&part.header))
    }

    /// `body = "(" (body-type-1part / body-type-mpart) ")"`
    fn part(&self, output: &mut Output, part: &Part) {
        output.put_byte(b'(');
        match &part.content {
            Content::Multipart(parts) => self.multipart(output, part, parts),
            Content::Single => self.single(output, part, None),
            Content::Message(inner) => self.single(output, part, Some(inner)),
        }
        output.put_byte(b')');
    }

    /// `body-type-mpart = 1*body SP media-subtype [SP body-ext-mpart]`
    fn multipart(&self, output: &mut Output, part: &Part, parts: &[Part]) {
        if parts.is_empty() {
            // The grammar wants one.
            output.put(b"(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0");
            output.put(if self.extended { b" NIL NIL NIL NIL)" } else { b")" });
        }
        parts.iter().for_each(|part| self.part(output, part));
        output.put_byte(b' ');
        output.string(&part.content_type.subtype);
        if self.extended {
            output.put_byte(b' ');
            write_parameters(output, &part.content_type.parameters);
            self.extension(output, part);
        }
    }

    /// `body-type-1part  = (body-type-basic / body-type-msg / body-type-text) [SP body-ext-1part]`
    /// `body-type-basic  = media-basic SP body-fields`
    /// `body-type-msg    = media-message SP body-fields SP envelope SP body SP body-fld-lines`
    /// `body-type-text   = media-text SP body-fields SP body-fld-lines`
    fn single(&self, output: &mut Output, part: &Part, inner: Option<&Part>) {
        let body = self.message.slice(&part.body);
        output.string(&part.content_type.kind);
        output.put_byte(b' ');
        output.string(&part.content_type.subtype);
        output.put_byte(b' ');
        self.body_fields(output, part);
        output.put_byte(b' ');
        output.put_number(body.len() as u64);
        if let Some(inner) = inner {
            output.put_byte(b' ');
            envelope::write(output, &self.fields(inner));
            output.put_byte(b' ');
            self.part(output, inner);
        }
        if inner.is_some() || part.content_type.is_kind("text") {
            output.put_byte(b' ');
            output.put_number(memchr_iter(b'\n', body).count() as u64);
        }
        if self.extended {
            output.put_byte(b' ');
            output.optional_string(self.fields(part).value("Content-MD5").as_deref());
            self.extension(output, part);
        }
    }

    /// `body-fields = body-fld-param SP body-fld-id SP body-fld-desc SP body-fld-enc`, the size left to the caller.
    fn body_fields(&self, output: &mut Output, part: &Part) {
        let fields = self.fields(part);
        let kind = &part.content_type;
        if kind.is_kind("text") && kind.parameter("charset").is_none() {
            // RFC 2045 §5.2: what is not said is US-ASCII.
            let mut parameters = kind.parameters.clone();
            parameters.push((b"charset".to_vec(), b"us-ascii".to_vec()));
            write_parameters(output, &parameters);
        } else {
            write_parameters(output, &kind.parameters);
        }
        for name in ["Content-ID", "Content-Description"] {
            output.put_byte(b' ');
            output.optional_string(fields.value(name).as_deref());
        }
        output.put_byte(b' ');
        let encoding = fields.first("Content-Transfer-Encoding").map(|field| Parameterised::parse(field.value).value);
        output.string(encoding.as_deref().filter(|encoding| !encoding.is_empty()).unwrap_or(b"7bit"));
    }

    /// `SP body-fld-dsp SP body-fld-lang SP body-fld-loc`
    fn extension(&self, output: &mut Output, part: &Part) {
        let fields = self.fields(part);
        output.put_byte(b' ');
        match fields.first("Content-Disposition").map(|field| Parameterised::parse(field.value)) {
            Some(disposition) if !disposition.value.is_empty() => {
                output.put_byte(b'(');
                output.string(&disposition.value);
                output.put_byte(b' ');
                write_parameters(output, &disposition.parameters);
                output.put_byte(b')');
            }
            _ => output.put(b"NIL"),
        }
        output.put_byte(b' ');
        write_languages(output, fields.value("Content-Language").as_deref());
        output.put_byte(b' ');
        let location = fields.first("Content-Location").map(|field| unfold(field.value));
        output.optional_string(location.as_deref());
    }
}

/// `body-fld-param = "(" string SP string *(SP string SP string) ")" / nil`
fn write_parameters(output: &mut Output, parameters: &[(Vec<u8>, Vec<u8>)]) {
    if parameters.is_empty() {
        return output.put(b"NIL");
    }
    for (index, (name, value)) in parameters.iter().enumerate() {
        output.put_byte(if index == 0 { b'(' } else { b' ' });
        output.string(name);
        output.put_byte(b' ');
        output.string(value);
    }
    output.put_byte(b')');
}

/// `body-fld-lang = nstring / "(" string *(SP string) ")"` (RFC 3282 §2: tags separated by commas)
fn write_languages(output: &mut Output, field: Option<&[u8]>) {
    let tags = field.unwrap_or_default().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    let mut first = true;
    for tag in tags.filter(|tag| !tag.is_empty()) {
        output.put_byte(if first { b'(' } else { b' ' });
        output.string(tag);
        first = false;
    }
    output.put(if first { b"NIL" } else { b")" });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(message: &str, extended: bool) -> String {
        let message = Message::new(Bytes::new(), Bytes::copy_from_slice(message.as_bytes()));
        String::from_utf8_lossy(&structure(&message, extended)).into_owned()
    }

    #[test]
    fn text() {
        assert_eq!(
            of("\r\nhi\r\nho\r\n", false),
            "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 8 2)"
        );
        let message = "Content-Type: TEXT/HTML; Charset=utf-8\r\nContent-Transfer-Encoding: Quoted-Printable\r\n\
            Content-ID: <a@b>\r\nContent-Description: some\r\n text\r\nContent-MD5: xyz\r\n\
            Content-Disposition: attachment; filename=\"a b.html\"\r\nContent-Language: de, es\r\n\
            Content-Location: http://x/\r\n\r\nhi";
        assert_eq!(
            of(message, true),
            "(\"TEXT\" \"HTML\" (\"Charset\" \"utf-8\") \"<a@b>\" \"some text\" \"Quoted-Printable\" 2 0 \"xyz\" \
             (\"attachment\" (\"filename\" \"a b.html\")) (\"de\" \"es\") \"http://x/\")"
        );
        assert_eq!(
            of("Content-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\nAAAA\r\n", true),
            "(\"image\" \"png\" NIL NIL NIL \"base64\" 6 NIL NIL NIL NIL)"
        );
    }

    #[test]
    fn multipart() {
        let message = "Content-Type: multipart/mixed; boundary=\"b\"\r\nContent-Language: en\r\n\r\n--b\r\n\r\none\r\n\r\n--b\r\n\
            Content-Type: application/x; name=\"ü\"\r\n\r\ntwo\r\n--b--\r\n";
        assert_eq!(
            of(message, false),
            "((\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 5 1)\
             (\"application\" \"x\" (\"name\" {2}\r\nü) NIL NIL \"7bit\" 3) \"mixed\")"
        );
        assert_eq!(
            of(message, true),
            "((\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 5 1 NIL NIL NIL NIL)\
             (\"application\" \"x\" (\"name\" {2}\r\nü) NIL NIL \"7bit\" 3 NIL NIL NIL NIL) \
             \"mixed\" (\"boundary\" \"b\") NIL (\"en\") NIL)"
        );
        assert_eq!(
            of("Content-Type: multipart/mixed; boundary=b\r\n\r\n", false),
            "((\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0) \"mixed\")"
        );
    }

    #[test]
    fn nested_message() {
        let message =
            "Content-Type: multipart/digest; boundary=b\r\n\r\n--b\r\n\r\nSubject: in\r\n\r\nbody\r\n\r\n--b--\r\n";
        assert_eq!(
            of(message, false),
            "((\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 21 (NIL \"in\" NIL NIL NIL NIL NIL NIL NIL NIL) \
             (\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 6 1) 3) \"digest\")"
        );
    }
}
