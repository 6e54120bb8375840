//! LOGIN (RFC 3501 §6.2.3).

use super::Request;
use crate::imap::cursor::{Cursor, Refusal};
use crate::sasl::{Credentials, Password};

/// `login = "LOGIN" SP userid SP password`, both `astring`
pub(crate) fn parse(cursor: &mut Cursor<'_>) -> Result<Request, Refusal> {
    cursor.space()?;
    let name = cursor.text()?;
    cursor.space()?;
    let password = Password::new(cursor.text()?);
    Ok(Request::Login(Credentials::Password { on_behalf_of: None, name, password }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imap::command::tests::request;

    #[test]
    fn atoms_quotes_and_literals() {
        let expected = |name: &str, password: &str| {
            let (name, password) = (name.to_owned(), Password::new(password.to_owned()));
            Ok(Request::Login(Credentials::Password { on_behalf_of: None, name, password }))
        };
        assert_eq!(request(b"LOGIN ana@example.org secret"), expected("ana@example.org", "secret"));
        assert_eq!(request(b"LOGIN \"ana\" \"s \\\"p\\\"\""), expected("ana", "s \"p\""));
        assert_eq!(request(b"LOGIN {3}\r\nana {2+}\r\n p"), expected("ana", " p"));
        assert_eq!(request("LOGIN ana pä".as_bytes()), expected("ana", "pä"));
        for line in [&b"LOGIN"[..], b"LOGIN a", b"LOGIN a b c", b"LOGIN a \"\xff\""] {
            assert!(matches!(request(line), Err(Refusal::Bad(_))));
        }
    }
}
