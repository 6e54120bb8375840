//! The header of a message: where each field stands (RFC 5322 §2.2).

/// One field, with its continuation lines and its line end: a range of the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Where it begins.
    pub start: usize,
    /// Where its name ends, and the white space behind it begins, if there is any.
    colon: usize,
    /// Where what comes next begins.
    pub end: usize,
}

impl Field {
    /// The name. White space before the colon is old syntax (RFC 5322 §4.5), but must not hide a name from us.
    pub fn name<'a>(&self, message: &'a [u8]) -> &'a [u8] {
        message[self.start..self.colon].trim_ascii_end()
    }
}

/// The fields of a header. Ends at the empty line, or at the first line that cannot be one of a header.
#[derive(Debug, Clone)]
pub struct Fields<'a> {
    message: &'a [u8],
    position: usize,
}

impl<'a> Fields<'a> {
    /// Of the header that `message` begins with.
    pub fn of(message: &'a [u8]) -> Self {
        Self { message, position: 0 }
    }

    /// Where the field after the last one that was given would begin.
    pub fn position(&self) -> usize {
        self.position
    }
}

impl Iterator for Fields<'_> {
    type Item = Field;

    fn next(&mut self) -> Option<Field> {
        let start = self.position;
        let rest = &self.message[start..];
        // field-name = 1*(%d33-57 / %d59-126), RFC 5322 §2.2.
        let colon = rest.iter().position(|&byte| !matches!(byte, b'!'..=b'9' | b';'..=b'~'))?;
        let spaces = rest[colon..].iter().take_while(|&&byte| matches!(byte, b' ' | b'\t')).count();
        if colon == 0 || rest.get(colon + spaces) != Some(&b':') {
            return None;
        }
        let mut end = start;
        loop {
            end += line_length(&self.message[end..]);
            if !matches!(self.message.get(end), Some(b' ' | b'\t')) {
                break;
            }
        }
        self.position = end;
        Some(Field { start, colon: start + colon, end })
    }
}

/// The header of a message that comes in pieces, each of which begins with a field: at most `limit_bytes` of it, ending at a
/// field's end.
pub fn excerpt<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, limit_bytes: usize) -> Vec<u8> {
    let mut header = Vec::new();
    for piece in pieces {
        let mut fields = Fields::of(piece);
        let end = fields.by_ref().map(|field| field.end).take_while(|end| header.len() + end <= limit_bytes).last();
        header.extend_from_slice(&piece[..end.unwrap_or(0)]);
        if fields.position < piece.len() {
            break;
        }
    }
    header
}

fn line_length(text: &[u8]) -> usize {
    memchr::memchr(b'\n', text).map_or(text.len(), |index| index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_have_names_and_ends() {
        let text = b"A: 1\r\n\tx\r\nB : 2\r\n\r\nC: 3\r\n";
        let mut fields = Fields::of(text);
        let found: Vec<_> = fields.by_ref().map(|field| (field.name(text), field.start, field.end)).collect();
        assert_eq!(found, [(&b"A"[..], 0, 10), (&b"B"[..], 10, 17)]);
        assert_eq!(fields.position(), 17);
        for none in ["", "\r\n", ": x\r\n", " A: x\r\n", "no field\r\n"] {
            assert_eq!(Fields::of(none.as_bytes()).next(), None, "{none:?}");
        }
    }

    #[test]
    fn an_excerpt_is_whole_fields_of_the_header() {
        let of = |pieces: &[&str], limit| excerpt(pieces.iter().map(|piece| piece.as_bytes()), limit);
        let message = ["A: 1\r\n", "B: 2\r\nC: 3\r\n\r\nbody: 4\r\n"];
        assert_eq!(of(&message, 1000), b"A: 1\r\nB: 2\r\nC: 3\r\n");
        assert_eq!(of(&message, 13), b"A: 1\r\nB: 2\r\n");
        assert_eq!(of(&["A: 1\r\n", "\r\nbody\r\n"], 1000), b"A: 1\r\n");
    }
}
