//! What a client says to prove who it is, in the mechanisms PLAIN (RFC 4616) and LOGIN (draft-murchison-sasl-login).
//!
//! Invariant: a [`Password`] never prints itself.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// A password in the clear. It does not print itself, in `Debug` neither.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// Takes the password in.
    pub fn new(password: impl Into<String>) -> Self {
        Self(password.into())
    }

    /// The password itself, for whoever checks it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// A login and its password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The identity to act as; empty for the login's own (RFC 4616 §2).
    pub authorization: String,
    /// The identity whose password is given.
    pub login: String,
    /// The password.
    pub password: Password,
}

impl Credentials {
    /// The usual kind: somebody, for themselves.
    pub fn new(login: impl Into<String>, password: Password) -> Self {
        Self { authorization: String::new(), login: login.into(), password }
    }

    /// Reads `[authzid] NUL authcid NUL passwd`.
    pub(super) fn from_plain(message: &[u8]) -> Option<Self> {
        let mut parts = std::str::from_utf8(message).ok()?.split('\0');
        let (authorization, login, password) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() || login.is_empty() || password.is_empty() {
            return None;
        }
        Some(Self {
            authorization: authorization.to_owned(),
            login: login.to_owned(),
            password: Password::new(password),
        })
    }

    /// Writes the response of PLAIN, in base64.
    pub(super) fn to_plain(&self) -> String {
        STANDARD.encode(format!("{}\0{}\0{}", self.authorization, self.login, self.password.expose()))
    }
}

/// Decodes one response of an authentication dialog. A lone `=` is an empty initial response (RFC 4954 §4).
pub(super) fn decode_response(text: &[u8]) -> Option<Vec<u8>> {
    if text == b"=" { Some(Vec::new()) } else { STANDARD.decode(text).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_known_answers() {
        let credentials = Credentials::from_plain(b"\0tim\0tanstaaftanstaaf").unwrap();
        assert_eq!(credentials, Credentials::new("tim", Password::new("tanstaaftanstaaf")));
        // RFC 4616 §4, the second example.
        let credentials = Credentials::from_plain(b"Ursel\0Kurt\0xipj3plmq").unwrap();
        assert_eq!((credentials.authorization.as_str(), credentials.login.as_str()), ("Ursel", "Kurt"));
        assert_eq!(decode_response(credentials.to_plain().as_bytes()).unwrap(), b"Ursel\0Kurt\0xipj3plmq");
        for bad in [&b""[..], b"a", b"a\0b", b"\0\0x", b"\0x\0", b"a\0b\0c\0d", b"\0\xff\0x"] {
            assert_eq!(Credentials::from_plain(bad), None);
        }
    }

    #[test]
    fn a_password_does_not_print() {
        let shown = format!("{:?}", Credentials::new("ana", Password::new("hunter2")));
        assert!(shown.contains("ana") && !shown.contains("hunter2"));
    }

    #[test]
    fn responses() {
        assert_eq!(decode_response(b"="), Some(vec![]));
        assert_eq!(decode_response(b"YQ=="), Some(b"a".to_vec()));
        assert_eq!(decode_response(b"YQ"), None);
        assert_eq!(decode_response(b"\xff"), None);
    }
}
