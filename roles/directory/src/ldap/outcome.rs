//! Failures as LDAP's result codes, and the way back (RFC 4511 §4.1.9, appendix A). Server and client share one table,
//! so that a failure crosses the wire and is the same.

use estafeta_core::{Failure, Reason};
use estafeta_storage::StorageError;
use ldap3_proto::proto::{LdapResult, LdapResultCode};

/// How an operation of the server ends, when it does not succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The code.
    pub code: LdapResultCode,
    /// What the client reads.
    pub text: String,
    /// The name of the lowest entry that exists of the one asked for.
    pub matched: String,
}

impl Refusal {
    /// A refusal with words.
    pub fn new(code: LdapResultCode, text: impl Into<String>) -> Self {
        Self { code, text: text.into(), matched: String::new() }
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        let code = match failure.reason {
            Reason::Unavailable | Reason::Elsewhere => LdapResultCode::Unavailable,
            Reason::Busy => LdapResultCode::Busy,
            Reason::Internal => LdapResultCode::Other,
            Reason::Credentials => LdapResultCode::InvalidCredentials,
            Reason::Denied => LdapResultCode::InsufficentAccessRights,
            Reason::NotFound => LdapResultCode::NoSuchObject,
            Reason::Exists => LdapResultCode::EntryAlreadyExists,
            Reason::Invalid => LdapResultCode::ConstraintViolation,
            Reason::OverQuota | Reason::TooLarge => LdapResultCode::AdminLimitExceeded,
        };
        if matches!(failure.reason, Reason::Unavailable | Reason::Internal) {
            tracing::warn!(%failure, "an LDAP operation failed");
        }
        Self::new(code, failure.client)
    }
}

impl From<StorageError> for Refusal {
    fn from(error: StorageError) -> Self {
        Failure::from(error).into()
    }
}

/// The result of an operation.
pub fn result(outcome: Result<(), Refusal>) -> LdapResult {
    let (code, message, matcheddn) = match outcome {
        Ok(()) => (LdapResultCode::Success, String::new(), String::new()),
        Err(refusal) => (refusal.code, refusal.text, refusal.matched),
    };
    LdapResult { code, matcheddn, message, referral: Vec::new() }
}

/// What a code of a server's answer means to whoever asked, with the words that came with it.
pub fn failure(code: u32, text: &str, asking: &str) -> Failure {
    let reason = match code {
        32 => Reason::NotFound,
        68 | 20 => Reason::Exists,
        49 => Reason::Credentials,
        50 | 53 | 7 | 8 | 13 => Reason::Denied,
        51 | 3 => Reason::Busy,
        52 => Reason::Unavailable,
        19 | 21 | 17 | 34 | 64 | 65 | 66 | 67 | 69 => Reason::Invalid,
        4 | 11 => Reason::TooLarge,
        _ => Reason::Internal,
    };
    let cause = format!("{asking} answered with LDAP result code {code}: {text:?}");
    match reason {
        Reason::Unavailable => Failure::unavailable(cause),
        Reason::Internal => Failure::internal(cause),
        // Our own server's words are for clients; another's may be none.
        _ if text.is_empty() => Failure::new(reason, "refused by the directory").because(cause),
        _ => Failure::new(reason, text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_crosses_the_wire_and_is_the_same() {
        for reason in [
            Reason::Unavailable,
            Reason::Busy,
            Reason::Internal,
            Reason::Credentials,
            Reason::Denied,
            Reason::NotFound,
            Reason::Exists,
            Reason::Invalid,
            Reason::TooLarge,
        ] {
            let sent = result(Err(Failure::new(reason, "why").because("a secret of the server").into()));
            let received = failure(sent.code as u32, &sent.message, "c1");
            assert_eq!(received.reason, reason);
            assert!(!received.client.contains("secret") && !received.cause.contains("secret"));
        }
        assert_eq!(failure(99, "", "c1").reason, Reason::Internal);
    }
}
