//! Header sections as they stand in the bytes (RFC 5322 §2.2), read as leniently as mail clients do.

/// One header field: its name, and its value with the folding and the line end that it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    /// What stands before the colon.
    pub name: &'a [u8],
    /// What stands behind it, the last line end included.
    pub value: &'a [u8],
}

impl Field<'_> {
    /// Whether it is the field of this name.
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }
}

/// Splits an entity into its header section, with the empty line that ends it, and its body. What does not begin with
/// a field has no header section: some clients show it, so it must be looked into.
pub fn split(entity: &[u8]) -> (&[u8], &[u8]) {
    let mut at = 0;
    while at < entity.len() {
        let line = line_at(entity, at);
        if at == 0 && !is_blank(line) && name_end(line).is_none() {
            return (&[], entity);
        }
        at += line.len();
        if is_blank(line) {
            break;
        }
    }
    entity.split_at(at)
}

/// The fields of a header section, in order. A line that is no field and continues none is passed over.
pub fn fields(section: &[u8]) -> impl Iterator<Item = Field<'_>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        while at < section.len() {
            let start = at;
            let first = line_at(section, at);
            at += first.len();
            // RFC 5322 §2.2.3: a line that begins with white space continues the one before.
            while at < section.len() && matches!(section[at], b' ' | b'\t') {
                at += line_at(section, at).len();
            }
            if let Some(end) = name_end(first) {
                let colon = first.iter().position(|&byte| byte == b':').unwrap_or(end);
                return Some(Field { name: &first[..end], value: &section[start + colon + 1..at] });
            }
        }
        None
    })
}

/// The first field of this name.
pub fn find<'a>(section: &'a [u8], name: &str) -> Option<Field<'a>> {
    fields(section).find(|field| field.is(name))
}

/// The line that begins at `at`, its line end included.
pub fn line_at(bytes: &[u8], at: usize) -> &[u8] {
    let rest = &bytes[at..];
    let end = rest.iter().position(|&byte| byte == b'\n').map_or(rest.len(), |end| end + 1);
    &rest[..end]
}

fn is_blank(line: &[u8]) -> bool {
    matches!(line, b"\n" | b"\r\n")
}

/// Where a field's name ends, when the line begins with one (RFC 5322 §2.2, and the white space before the colon that
/// §4.5 tells us to accept).
fn name_end(line: &[u8]) -> Option<usize> {
    let colon = line.iter().position(|&byte| byte == b':')?;
    let name = line[..colon].trim_ascii_end();
    (!name.is_empty() && name.iter().all(|byte| byte.is_ascii_graphic())).then_some(name.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names(section: &[u8]) -> Vec<String> {
        fields(section).map(|field| String::from_utf8_lossy(field.name).into_owned()).collect()
    }

    #[test]
    fn splits_at_the_empty_line() {
        assert_eq!(split(b"A: b\r\n\r\nbody"), (&b"A: b\r\n\r\n"[..], &b"body"[..]));
        assert_eq!(split(b"A: b\n\nbody"), (&b"A: b\n\n"[..], &b"body"[..]));
        assert_eq!(split(b"\r\nbody"), (&b"\r\n"[..], &b"body"[..]));
        assert_eq!(split(b"A: b\r\n"), (&b"A: b\r\n"[..], &b""[..]));
        assert_eq!(split(b"no header here\r\n"), (&b""[..], &b"no header here\r\n"[..]));
        assert_eq!(split(b""), (&b""[..], &b""[..]));
    }

    #[test]
    fn fields_are_folded_and_nonsense_is_passed_over() {
        let section = b"From: a\r\n b\r\nnonsense\r\nSubject : c\r\n\r\n";
        assert_eq!(names(section), ["From", "Subject"]);
        assert_eq!(find(section, "from").unwrap().value, b" a\r\n b\r\n");
        assert_eq!(find(section, "SUBJECT").unwrap().value, b" c\r\n");
        assert_eq!(find(section, "date"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_split_without_loss(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let (head, body) = split(&bytes);
            prop_assert_eq!([head, body].concat(), bytes.clone());
            let _ = fields(&bytes).count();
        }
    }
}
