//! Distinguished names as text (RFC 4514).

use super::schema;

/// Why a text is no distinguished name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a distinguished name as RFC 4514 has it")]
pub struct Malformed;

/// One part of a name: an attribute, in our own spelling when it is one of ours, and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rdn {
    /// The attribute's name.
    pub attribute: String,
    /// Its value, without escapes.
    pub value: String,
}

/// Reads a name, its first part first; the empty name has none. A part of several attributes (`a=1+b=2`) and values in
/// hexadecimal BER (`#04…`) name nothing of ours and are refused.
// distinguishedName = [ relativeDistinguishedName *( COMMA relativeDistinguishedName ) ]
pub fn parse(text: &str) -> Result<Vec<Rdn>, Malformed> {
    let mut name = Vec::new();
    let mut rest = text;
    if rest.trim_matches(' ').is_empty() {
        return Ok(name);
    }
    loop {
        let (attribute, behind) = rest.split_once('=').ok_or(Malformed)?;
        let (value, behind) = parse_value(behind)?;
        name.push(Rdn { attribute: parse_attribute(attribute)?, value });
        match behind {
            Some(behind) => rest = behind,
            None => return Ok(name),
        }
    }
}

// attributeType = descr / numericoid
fn parse_attribute(text: &str) -> Result<String, Malformed> {
    let text = text.trim_matches(' ');
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    if text.is_empty() || !text.chars().all(legal) {
        return Err(Malformed);
    }
    Ok(schema::attribute(text).map_or_else(|| text.to_ascii_lowercase(), |known| known.name().to_owned()))
}

/// A value up to its comma, and what is behind the comma, if there is one.
fn parse_value(text: &str) -> Result<(String, Option<&str>), Malformed> {
    let text = text.trim_start_matches(' ');
    if text.starts_with('#') {
        return Err(Malformed);
    }
    let mut value = Vec::new();
    // Spaces at the end that no escape protects do not belong to the value.
    let mut kept = 0;
    let mut bytes = text.bytes().enumerate();
    let mut behind = None;
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b',' => {
                behind = Some(&text[at + 1..]);
                break;
            }
            b'+' | b';' | b'"' | b'<' | b'>' | 0 => return Err(Malformed),
            b'\\' => {
                // pair = ESC ( ESC / special / hexpair )
                let (_, first) = bytes.next().ok_or(Malformed)?;
                if let Some(high) = hexadecimal(first) {
                    let (_, second) = bytes.next().ok_or(Malformed)?;
                    value.push(high << 4 | hexadecimal(second).ok_or(Malformed)?);
                } else if b"\\\"+,;<> #=".contains(&first) {
                    value.push(first);
                } else {
                    return Err(Malformed);
                }
                kept = value.len();
            }
            other => {
                value.push(other);
                if other != b' ' {
                    kept = value.len();
                }
            }
        }
    }
    value.truncate(kept);
    let value = String::from_utf8(value).map_err(|_| Malformed)?;
    Ok((value, behind))
}

fn hexadecimal(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// Writes one part of a name.
pub fn rdn(attribute: &str, value: &str) -> String {
    let mut text = format!("{attribute}=");
    let last = value.chars().count().saturating_sub(1);
    for (at, c) in value.chars().enumerate() {
        match c {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => text.extend(['\\', c]),
            '#' if at == 0 => text.push_str("\\#"),
            ' ' if at == 0 || at == last => text.push_str("\\ "),
            '\0' => text.push_str("\\00"),
            other => text.push(other),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn values(text: &str) -> Vec<(String, String)> {
        parse(text).unwrap().into_iter().map(|rdn| (rdn.attribute, rdn.value)).collect()
    }

    #[test]
    fn names_of_rfc_4514() {
        assert_eq!(values(""), []);
        let pair = |attribute: &str, value: &str| (attribute.to_owned(), value.to_owned());
        assert_eq!(
            values("UID=jsmith,DC=example,DC=net"),
            [pair("uid", "jsmith"), pair("dc", "example"), pair("dc", "net")]
        );
        assert_eq!(values("CN=James \\\"Jim\\\" Smith\\, III,DC=net")[0], pair("cn", "James \"Jim\" Smith, III"));
        assert_eq!(values("CN=Before\\0dAfter,DC=net")[0], pair("cn", "Before\rAfter"));
        assert_eq!(values("CN=Lu\\C4\\8Di\\C4\\87")[0], pair("cn", "Lučić"));
        assert_eq!(
            values("0.9.2342.19200300.100.1.1 = ana\\  , OU=People ")[..],
            [pair("uid", "ana "), pair("ou", "People")]
        );
        assert_eq!(values("unknown=x")[0], pair("unknown", "x"));
        for bad in [
            "ana",
            "uid",
            "=x",
            "uid=a+cn=b",
            "1.3.6=#04024869",
            "uid=a\\",
            "uid=a\\4",
            "uid=\\C4",
            "uid=a;b",
            "u id=a",
            ",",
            "uid=a,",
        ] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(value in "\\PC{0,20}", other in "[ #\\\\,+\"<>;=a]{0,8}") {
            let text = format!("{},{}", rdn("uid", &value), rdn("cn", &other));
            let read = values(&text);
            prop_assert_eq!(&read[0].1, &value);
            prop_assert_eq!(&read[1].1, &other);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,40}") {
            let _ = parse(&text);
        }
    }
}
