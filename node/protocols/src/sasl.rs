//! SASL (RFC 4422) as IMAP, POP3, SMTP and ManageSieve share it: the mechanisms PLAIN (RFC 4616), LOGIN and EXTERNAL
//! (RFC 4422, appendix A), server side, from the first base64 line to the credentials.
//!
//! Invariants: a response is bounded by the machine's own line; a password never prints.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

/// The most that one response may hold, in bytes of base64.
pub const RESPONSE_BYTES: usize = 8 * 1024;

/// A mechanism that a server may offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mechanism {
    /// Name and password in one response (RFC 4616).
    Plain,
    /// Name and password, each asked for: obsolete, and still what Outlook sends.
    Login,
    /// Who it is, TLS has shown (RFC 4422, appendix A): between our own nodes.
    External,
}

impl Mechanism {
    /// The registered name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::Login => "LOGIN",
            Self::External => "EXTERNAL",
        }
    }

    /// The mechanism of that name, in any case.
    pub fn from_name(name: &[u8]) -> Option<Self> {
        [Self::Plain, Self::Login, Self::External]
            .into_iter()
            .find(|one| one.name().as_bytes().eq_ignore_ascii_case(name))
    }
}

/// A password on its way from the wire to the directory. `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// Takes the text over.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The text itself, given away.
    pub fn into_exposed(self) -> String {
        self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// What a client showed of itself. The role decides whether it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    /// A name and its password: PLAIN, LOGIN, and the LOGIN or USER/PASS commands.
    Password {
        /// Whose mail is asked for, when that is another than `name` (RFC 4616: authzid).
        on_behalf_of: Option<String>,
        /// Whose password it is (RFC 4616: authcid).
        name: String,
        /// The password.
        password: Password,
    },
    /// TLS has shown who the client is; it asks to act for this identity, or for its own when there is none.
    External {
        /// The authorisation identity.
        on_behalf_of: Option<String>,
    },
}

/// Where an exchange stands after a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Ask for the next response with this challenge, already in base64 (empty for the first one of PLAIN).
    Challenge(&'static str),
    /// Complete.
    Done(Credentials),
}

/// What is wrong with a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SaslError {
    /// The client sent `*` (RFC 4954 §4, RFC 3501 §6.2.2).
    #[error("Authentication cancelled")]
    Cancelled,
    /// Longer than [`RESPONSE_BYTES`].
    #[error("Response too long")]
    TooLong,
    /// Not base64.
    #[error("Response is not valid base64")]
    Base64,
    /// Decoded, it is not what the mechanism asks for.
    #[error("Response does not fit the mechanism")]
    Malformed,
}

/// One exchange of one mechanism.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    mechanism: Mechanism,
    /// LOGIN only: the name that was already given.
    name: Option<String>,
}

impl Exchange {
    /// Begins with the client's initial response, still in base64, if it sent one (`=` stands for an empty one).
    pub fn begin(mechanism: Mechanism, initial: Option<&[u8]>) -> Result<(Self, Progress), SaslError> {
        let mut exchange = Self { mechanism, name: None };
        let progress = match initial {
            Some(b"=") => exchange.accept(Vec::new())?,
            Some(response) => exchange.respond(response)?,
            // base64 of "Username:", which some clients compare literally.
            None if mechanism == Mechanism::Login => Progress::Challenge("VXNlcm5hbWU6"),
            None => Progress::Challenge(""),
        };
        Ok((exchange, progress))
    }

    /// Takes the next response, one line without its end.
    pub fn respond(&mut self, response: &[u8]) -> Result<Progress, SaslError> {
        if response == b"*" {
            return Err(SaslError::Cancelled);
        }
        if response.len() > RESPONSE_BYTES {
            return Err(SaslError::TooLong);
        }
        let decoded = BASE64.decode(response).map_err(|_| SaslError::Base64)?;
        self.accept(decoded)
    }

    fn accept(&mut self, response: Vec<u8>) -> Result<Progress, SaslError> {
        let text = String::from_utf8(response).map_err(|_| SaslError::Malformed)?;
        match self.mechanism {
            Mechanism::Plain => plain(&text).map(Progress::Done),
            Mechanism::External if text.contains('\0') => Err(SaslError::Malformed),
            Mechanism::External => Ok(Progress::Done(Credentials::External { on_behalf_of: non_empty(&text) })),
            Mechanism::Login if text.contains('\0') => Err(SaslError::Malformed),
            Mechanism::Login => match self.name.take() {
                None if text.is_empty() => Err(SaslError::Malformed),
                None => {
                    self.name = Some(text);
                    // base64 of "Password:".
                    Ok(Progress::Challenge("UGFzc3dvcmQ6"))
                }
                Some(name) => Ok(Progress::Done(Credentials::Password {
                    on_behalf_of: None,
                    name,
                    password: Password::new(text),
                })),
            },
        }
    }
}

/// RFC 4616 §2: `message = [authzid] NUL authcid NUL passwd`.
fn plain(text: &str) -> Result<Credentials, SaslError> {
    let mut fields = text.split('\0');
    match (fields.next(), fields.next(), fields.next(), fields.next()) {
        (Some(authorization), Some(name), Some(password), None) if !name.is_empty() => Ok(Credentials::Password {
            on_behalf_of: non_empty(authorization).filter(|other| other != name),
            name: name.to_owned(),
            password: Password::new(password.to_owned()),
        }),
        _ => Err(SaslError::Malformed),
    }
}

fn non_empty(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(on_behalf_of: Option<&str>, name: &str, password: &str) -> Progress {
        Progress::Done(Credentials::Password {
            on_behalf_of: on_behalf_of.map(str::to_owned),
            name: name.to_owned(),
            password: Password::new(password.to_owned()),
        })
    }

    #[test]
    fn plain_with_and_without_initial_response() {
        // RFC 4616 §4: authcid "tim", password "tanstaaftanstaaf".
        let response = b"AHRpbQB0YW5zdGFhZnRhbnN0YWFm";
        let (_, progress) = Exchange::begin(Mechanism::Plain, Some(response)).unwrap();
        assert_eq!(progress, password(None, "tim", "tanstaaftanstaaf"));

        let (mut exchange, progress) = Exchange::begin(Mechanism::Plain, None).unwrap();
        assert_eq!(progress, Progress::Challenge(""));
        assert_eq!(exchange.respond(response).unwrap(), password(None, "tim", "tanstaaftanstaaf"));
    }

    #[test]
    fn plain_on_behalf_of_another() {
        let response = BASE64.encode("Ursel\0Kurt\0xipj3plmq");
        let (_, progress) = Exchange::begin(Mechanism::Plain, Some(response.as_bytes())).unwrap();
        assert_eq!(progress, password(Some("Ursel"), "Kurt", "xipj3plmq"));
    }

    #[test]
    fn login_asks_twice() {
        let (mut exchange, progress) = Exchange::begin(Mechanism::Login, None).unwrap();
        assert_eq!(progress, Progress::Challenge("VXNlcm5hbWU6"));
        assert_eq!(exchange.respond(b"dGlt").unwrap(), Progress::Challenge("UGFzc3dvcmQ6"));
        assert_eq!(exchange.respond(b"c2VjcmV0").unwrap(), password(None, "tim", "secret"));
    }

    #[test]
    fn external_with_and_without_identity() {
        let (_, progress) = Exchange::begin(Mechanism::External, Some(b"=")).unwrap();
        assert_eq!(progress, Progress::Done(Credentials::External { on_behalf_of: None }));
        let (_, progress) = Exchange::begin(Mechanism::External, Some(b"dGlt")).unwrap();
        assert_eq!(progress, Progress::Done(Credentials::External { on_behalf_of: Some("tim".to_owned()) }));
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        let begin = |mechanism, response: &[u8]| Exchange::begin(mechanism, Some(response)).map(|_| ());
        assert_eq!(begin(Mechanism::Plain, b"*"), Err(SaslError::Cancelled));
        assert_eq!(begin(Mechanism::Plain, b"%%%"), Err(SaslError::Base64));
        assert_eq!(begin(Mechanism::Plain, &vec![b'A'; RESPONSE_BYTES + 1]), Err(SaslError::TooLong));
        // No NUL at all, four fields, no name, not UTF-8.
        for text in [&b"tim"[..], b"\0tim\0a\0b", b"\0\0secret", b"\0tim\0\xff"] {
            assert_eq!(begin(Mechanism::Plain, BASE64.encode(text).as_bytes()), Err(SaslError::Malformed));
        }
        assert_eq!(begin(Mechanism::Login, b"="), Err(SaslError::Malformed));
    }

    #[test]
    fn a_password_never_prints() {
        assert_eq!(format!("{:?}", Password::new("secret".to_owned())), "Password(…)");
    }
}
