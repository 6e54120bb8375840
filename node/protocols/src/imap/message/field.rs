//! Header fields (RFC 5322 §2.2), as they stand.

use std::borrow::Cow;

/// The fields of a header, in order.
#[derive(Debug, Clone)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
    /// What follows when `rest` is read.
    after: &'a [u8],
}

/// One field: its lines, folded as they came.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field<'a> {
    /// Everything, the line's end included.
    pub(super) whole: &'a [u8],
    /// What stands before the colon; nothing when there is no colon.
    pub(super) name: &'a [u8],
    /// What stands behind the colon, the line's end included.
    pub(super) value: &'a [u8],
}

impl<'a> Fields<'a> {
    /// The fields of a header, which may end with its empty line.
    pub(super) fn new(header: &'a [u8]) -> Self {
        Self { rest: header, after: b"" }
    }

    /// The fields of a header with other whole lines before it.
    pub(super) fn of(prefix: &'a [u8], header: &'a [u8]) -> Self {
        Self { rest: prefix, after: header }
    }

    /// The first field of that name.
    pub(super) fn first(&self, name: &str) -> Option<Field<'a>> {
        self.clone().find(|field| field.is(name))
    }

    /// The value of the first field of that name, unfolded.
    pub(super) fn value(&self, name: &str) -> Option<Cow<'a, [u8]>> {
        self.first(name).map(|field| unfold(field.value))
    }
}

impl Field<'_> {
    pub(super) fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        if self.rest.is_empty() {
            self.rest = std::mem::take(&mut self.after);
        }
        if self.rest.is_empty() || self.rest.starts_with(b"\n") || self.rest.starts_with(b"\r\n") {
            return None;
        }
        let mut end = 0;
        loop {
            end = match self.rest[end..].iter().position(|byte| *byte == b'\n') {
                Some(offset) => end + offset + 1,
                None => self.rest.len(),
            };
            // A line that begins with white space goes on with the field.
            if !matches!(self.rest.get(end), Some(b' ' | b'\t')) {
                break;
            }
        }
        let (whole, rest) = self.rest.split_at(end);
        self.rest = rest;
        let (name, value) = match whole.iter().position(|byte| *byte == b':') {
            // RFC 5322 §4.5: white space may stand before the colon.
            Some(colon) => (whole[..colon].trim_ascii_end(), &whole[colon + 1..]),
            None => (&whole[..0], whole),
        };
        Some(Field { whole, name, value })
    }
}

/// A value without line ends and without white space around it; tabs become spaces.
pub(super) fn unfold(value: &[u8]) -> Cow<'_, [u8]> {
    let value = value.trim_ascii();
    if !value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | b'\t')) {
        return Cow::Borrowed(value);
    }
    let kept = value.iter().filter(|byte| !matches!(byte, b'\r' | b'\n'));
    Cow::Owned(kept.map(|byte| if *byte == b'\t' { b' ' } else { *byte }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields() {
        let header = b"From x\nA: 1\r\nb :\r\n 2\r\n\t3\r\nC:\r\n\r\nbody: x\r\n";
        let fields = Fields::new(header);
        let names: Vec<_> = fields.clone().map(|field| (field.name, field.whole.len())).collect();
        assert_eq!(names, [(&b""[..], 7), (&b"A"[..], 6), (&b"b"[..], 13), (&b"C"[..], 4)]);
        assert_eq!(fields.value("B").unwrap(), &b"2 3"[..]);
        assert_eq!(fields.value("c").unwrap(), &b""[..]);
        assert!(fields.first("body").is_none());
        let names: Vec<_> = Fields::of(b"X: 0\r\n", header).map(|field| field.name).collect();
        assert_eq!(names, [&b"X"[..], b"", b"A", b"b", b"C"]);
    }
}
