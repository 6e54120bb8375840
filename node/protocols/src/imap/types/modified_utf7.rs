//! Modified UTF-7, in which mailbox names travel (RFC 3501 §5.1.3).

use base64::Engine as _;
use base64::alphabet::IMAP_MUTF7;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

const CODEC: GeneralPurpose = GeneralPurpose::new(
    &IMAP_MUTF7,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(true),
);

/// The text as it travels.
pub(crate) fn encode(text: &str) -> String {
    let mut wire = String::with_capacity(text.len());
    let mut shifted: Vec<u8> = Vec::new();
    let flush = |wire: &mut String, shifted: &mut Vec<u8>| {
        if !shifted.is_empty() {
            wire.push('&');
            CODEC.encode_string(&*shifted, wire);
            wire.push('-');
            shifted.clear();
        }
    };
    for character in text.chars() {
        if matches!(character, ' '..='~') {
            flush(&mut wire, &mut shifted);
            wire.push(character);
            if character == '&' {
                wire.push('-');
            }
        } else {
            let mut units = [0; 2];
            shifted.extend(character.encode_utf16(&mut units).iter().flat_map(|unit| unit.to_be_bytes()));
        }
    }
    flush(&mut wire, &mut shifted);
    wire
}

/// The text that travelled so, if it is well formed. UTF-8 as it stands is let through: some clients send it.
pub(crate) fn decode(wire: &[u8]) -> Option<String> {
    let mut rest = std::str::from_utf8(wire).ok()?;
    let mut text = String::with_capacity(rest.len());
    while let Some((plain, shifted)) = rest.split_once('&') {
        let (encoded, after) = shifted.split_once('-')?;
        text.push_str(plain);
        if encoded.is_empty() {
            text.push('&');
        } else {
            let units = CODEC.decode(encoded).ok().filter(|bytes| bytes.len() % 2 == 0)?;
            let units = units.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
            for character in char::decode_utf16(units) {
                text.push(character.ok()?);
            }
        }
        rest = after;
    }
    text.push_str(rest);
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answers() {
        for (wire, text) in [
            ("INBOX", "INBOX"),
            ("&-", "&"),
            ("Tom &- Jerry", "Tom & Jerry"),
            // RFC 3501 §5.1.3.
            ("~peter/mail/&U,BTFw-/&ZeVnLIqe-", "~peter/mail/台北/日本語"),
            ("Entw&APw-rfe", "Entwürfe"),
            ("&2D3eAA-", "😀"),
            ("&AOQA9gD8-", "äöü"),
        ] {
            assert_eq!(decode(wire.as_bytes()).as_deref(), Some(text));
            assert_eq!(encode(text), wire);
        }
    }

    #[test]
    fn malformed() {
        // Unfinished, an odd number of bytes, a lone surrogate, a character outside of the alphabet, padding.
        for wire in ["&", "&AOQ", "&AOQA-", "&2D0-", "&AO/-", "&AOQ=-"] {
            assert_eq!(decode(wire.as_bytes()), None, "{wire}");
        }
        assert_eq!(decode(b"\xff"), None);
        assert_eq!(decode("Entwürfe".as_bytes()).as_deref(), Some("Entwürfe"));
    }

    proptest::proptest! {
        #[test]
        fn any_text_comes_back(text in ".*") {
            proptest::prop_assert_eq!(decode(encode(&text).as_bytes()), Some(text));
        }

        #[test]
        fn any_bytes_are_safe(wire in proptest::collection::vec(proptest::num::u8::ANY, 0..64)) {
            if let Some(text) = decode(&wire) {
                proptest::prop_assert_eq!(decode(encode(&text).as_bytes()), Some(text));
            }
        }
    }
}
