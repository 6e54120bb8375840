//! AUTHENTICATE (RFC 3501 §6.2.2) with an initial response (SASL-IR, RFC 4959).

use super::Request;
use crate::imap::cursor::{Cursor, Refusal};
use crate::sasl::Mechanism;

/// `authenticate = "AUTHENTICATE" SP auth-type [SP (base64 / "=")] *(CRLF base64)`
pub(crate) fn parse(cursor: &mut Cursor<'_>) -> Result<Request, Refusal> {
    cursor.space()?;
    let name = cursor.word();
    let mechanism = Mechanism::from_name(name).ok_or(Refusal::Cannot("Unknown authentication mechanism"))?;
    let initial = cursor.take(b' ').then(|| cursor.word().to_vec()).filter(|response| !response.is_empty());
    Ok(Request::Authenticate { mechanism, initial })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imap::command::tests::request;

    #[test]
    fn with_and_without_initial_response() {
        let expected = |mechanism, initial: Option<&[u8]>| {
            Ok(Request::Authenticate { mechanism, initial: initial.map(<[u8]>::to_vec) })
        };
        assert_eq!(request(b"AUTHENTICATE PLAIN"), expected(Mechanism::Plain, None));
        assert_eq!(request(b"authenticate plain AHg="), expected(Mechanism::Plain, Some(b"AHg=")));
        assert_eq!(request(b"AUTHENTICATE EXTERNAL ="), expected(Mechanism::External, Some(b"=")));
        assert!(matches!(request(b"AUTHENTICATE KERBEROS_V4"), Err(Refusal::Cannot(_))));
        assert!(matches!(request(b"AUTHENTICATE"), Err(Refusal::Bad(_))));
        assert!(matches!(request(b"AUTHENTICATE PLAIN a b"), Err(Refusal::Bad(_))));
    }
}
