//! PREVIEW: how a message begins (RFC 8970), and the identifier of the message that its thread began with.

use super::Message;
use super::content_type::Parameterised;
use super::field::Fields;
use super::part::{Content, Part};

/// RFC 8970 §3.1: no longer, in characters.
const PREVIEW_CHARACTERS: usize = 256;
/// How much of a part is looked at, in bytes: HTML begins with much that is not text.
const LOOKED_AT_BYTES: usize = 64 * 1024;
/// How many text parts are looked at: the first ones may be empty.
const LOOKED_AT_PARTS: usize = 8;

impl Message {
    /// The first words of the text, in one line: of the first part that is text and no attachment and is not empty, plain
    /// text before HTML. None when there is none.
    pub fn preview(&self) -> Option<String> {
        let mut parts = Vec::new();
        self.text_parts(self.root(), &mut parts);
        // Alternatives stand beside each other, so that the plain one is among the next.
        parts.sort_by_key(|part| part.content_type.is("text", "html"));
        parts
            .into_iter()
            .map(|part| in_one_line(&self.decode_body(part, LOOKED_AT_BYTES)))
            .find(|text| !text.is_empty())
    }

    fn text_parts<'a>(&'a self, part: &'a Part, found: &mut Vec<&'a Part>) {
        if found.len() >= LOOKED_AT_PARTS {
            return;
        }
        match &part.content {
            Content::Multipart(parts) => parts.iter().for_each(|part| self.text_parts(part, found)),
            Content::Message(_) => {}
            Content::Single => {
                let shown = part.content_type.is("text", "plain") || part.content_type.is("text", "html");
                if shown && !self.is_attached(part) {
                    found.push(part);
                }
            }
        }
    }

    fn is_attached(&self, part: &Part) -> bool {
        let disposition = Fields::new(self.slice(&part.header)).first("Content-Disposition");
        disposition.is_some_and(|field| Parameterised::parse(field.value).value.eq_ignore_ascii_case(b"attachment"))
    }

    /// The identifier of the message that the thread began with, as far as this one knows: the first of References, else
    /// of In-Reply-To, else its own (RFC 5322 §3.6.4). All messages of a thread whose References are whole name the same.
    pub fn thread_root(&self) -> Option<Vec<u8>> {
        let header = self.header();
        let first = |name: &str| header.value(name).and_then(|value| super::identifier::first(&value));
        ["References", "In-Reply-To", "Message-ID"].into_iter().find_map(first)
    }
}

/// Words with one space between them.
fn in_one_line(text: &str) -> String {
    let mut line = String::new();
    let mut characters = 0;
    for word in text.split(|character: char| character.is_whitespace() || character.is_control()) {
        let word = word.trim_matches(is_invisible);
        if word.is_empty() {
            continue;
        }
        if !line.is_empty() {
            line.push(' ');
            characters += 1;
        }
        for character in word.chars() {
            if characters >= PREVIEW_CHARACTERS {
                line.truncate(line.trim_end().len());
                return line;
            }
            line.push(character);
            characters += 1;
        }
    }
    line
}

/// What newsletters pad their first line with.
fn is_invisible(character: char) -> bool {
    matches!(character, '\u{34f}' | '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn preview(message: &str) -> Option<String> {
        Message::new(Bytes::new(), Bytes::copy_from_slice(message.as_bytes())).preview()
    }

    #[test]
    fn known_answers() {
        assert_eq!(preview("Subject: x\r\n\r\n One\r\n\r\n\ttwo  \u{feff} \r\n").unwrap(), "One two");
        assert_eq!(preview("Subject: x\r\n\r\n \r\n"), None);
        assert_eq!(preview("Content-Type: image/png\r\n\r\nabc"), None);
        let html = "Content-Type: text/html; charset=utf-8\r\n\r\n<html><head><title>no</title><style>p {}</style></head>\
            <body><p>Se&ntilde;or &lt;Ana&gt;</p><!-- no --><p>ma\u{f1}ana</p></body></html>";
        assert_eq!(preview(html).unwrap(), "Señor <Ana> mañana");
        let both = "Content-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\nContent-Type: text/html\r\n\r\n<p>rich</p>\r\n\
            --b\r\nContent-Type: text/plain\r\n\r\nplain\r\n--b--\r\n";
        assert_eq!(preview(both).unwrap(), "plain");
        let attached = "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Disposition: attachment\r\n\r\nfile\r\n\
            --b\r\nContent-Transfer-Encoding: base64\r\n\r\naG9sYQ==\r\n--b--\r\n";
        assert_eq!(preview(attached).unwrap(), "hola");
        let long = format!("\r\n{}", "ñandú ".repeat(200));
        assert_eq!(preview(&long).unwrap().chars().count(), PREVIEW_CHARACTERS);
    }

    #[test]
    fn roots() {
        let root = |header: &str| Message::new(Bytes::new(), Bytes::copy_from_slice(header.as_bytes())).thread_root();
        let root = |header: &str| root(header).map(|root| String::from_utf8_lossy(&root).into_owned());
        assert_eq!(root("Message-ID: <m@x>\r\nReferences:\r\n <r@x>\r\n\t<s@x>\r\n\r\n").unwrap(), "<r@x>");
        assert_eq!(root("Message-ID: <m@x>\r\nIn-Reply-To: Your letter <i@x>\r\n\r\n").unwrap(), "<i@x>");
        assert_eq!(root("Message-ID: <m@x>\r\nReferences: none\r\n\r\n").unwrap(), "<m@x>");
        assert_eq!(root("Subject: x\r\n\r\n"), None);
    }
}
