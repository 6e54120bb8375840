//! As much of BER (X.690) as delimits messages and as the values of controls need, which the libraries leave to whoever
//! uses them.

/// The tag of a SEQUENCE.
pub const SEQUENCE: u8 = 0x30;
/// The tag of an INTEGER.
pub const INTEGER: u8 = 0x02;
/// The tag of an OCTET STRING.
pub const OCTET_STRING: u8 = 0x04;

/// What stands before an element's contents.
#[derive(Debug, PartialEq, Eq)]
pub struct Header {
    /// What the element is.
    pub tag: u8,
    /// How long the header itself is.
    pub bytes: usize,
    /// How long the contents are.
    pub length: usize,
}

/// A length that is indefinite, or of more than four bytes: nothing that we read has one (RFC 4511 §5.1).
#[derive(Debug, PartialEq, Eq)]
pub struct BadLength;

/// The header of the element that begins here; none when there is too little of it.
pub fn header(bytes: &[u8]) -> Result<Option<Header>, BadLength> {
    let [tag, first, rest @ ..] = bytes else { return Ok(None) };
    let behind = match first {
        0..=0x7f => return Ok(Some(Header { tag: *tag, bytes: 2, length: usize::from(*first) })),
        0x81..=0x84 => usize::from(first - 0x80),
        _ => return Err(BadLength),
    };
    let Some(length) = rest.get(..behind) else { return Ok(None) };
    let length = length.iter().fold(0, |length, &byte| length << 8 | usize::from(byte));
    Ok(Some(Header { tag: *tag, bytes: 2 + behind, length }))
}

/// One BER element of definite length: its tag, its contents, and what is behind it.
pub fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let header = header(bytes).ok()??;
    let (contents, rest) = bytes.get(header.bytes..)?.split_at_checked(header.length)?;
    Some((header.tag, contents, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths() {
        let length = |bytes: &[u8]| header(bytes).map(|header| header.map(|header| (header.bytes, header.length)));
        assert_eq!(length(b"\x30\x7f"), Ok(Some((2, 127))));
        assert_eq!(length(b"\x30\x81\x80"), Ok(Some((3, 128))));
        assert_eq!(length(b"\x30\x84\x00\x00\x01\x02"), Ok(Some((6, 258))));
        for short in [&b""[..], b"\x30", b"\x30\x82\x01"] {
            assert_eq!(length(short), Ok(None));
        }
        for bad in [b"\x30\x80", b"\x30\x85", b"\x30\xff"] {
            assert_eq!(length(bad), Err(BadLength));
        }
        assert_eq!(element(b"\x04\x02abc"), Some((OCTET_STRING, &b"ab"[..], &b"c"[..])));
        assert_eq!(element(b"\x04\x81\x03ab"), None);
    }
}
