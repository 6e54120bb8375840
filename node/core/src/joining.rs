//! How a node joins and stays enrolled: the token that lets it in, and what is said over the administration API.
//!
//! Invariants: a token proves the cluster to the node (by the authority's fingerprint) before it proves the node to the
//! cluster (by the secret); the cluster keeps the secret's hash alone; a node's private key never leaves it.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::certificate::Issued;
use crate::members::Member;
use crate::name::{NameError, NodeName, RoleName};
use crate::settings::Settings;

/// The operation by which a node joins: the one that a caller without a certificate may ask for.
pub const JOIN: &str = "cluster join";

/// The operation by which a node asks for its next certificate.
pub const RENEW: &str = "certificate renew";

/// What every token begins with, so that a stray one is recognised.
const PREFIX: &str = "estafeta-";

const FINGERPRINT_BYTES: usize = 32;
const SECRET_BYTES: usize = 16;

/// A join token. It has no `Debug`: it is a secret until it is used.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    /// The SHA-256 of the authority's certificate.
    pub fingerprint: [u8; FINGERPRINT_BYTES],
    /// 128 random bits.
    pub secret: [u8; SECRET_BYTES],
}

impl JoinToken {
    /// What the directory keeps of it. The secret is random, so a plain hash cannot be turned round.
    pub fn hash(&self) -> String {
        blake3::hash(&self.secret).to_hex().to_string()
    }
}

impl fmt::Display for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", URL_SAFE_NO_PAD.encode([&self.fingerprint[..], &self.secret].concat()))
    }
}

impl FromStr for JoinToken {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        // The text itself stays out of the message: it may be a token with one letter missing.
        let wrong = || {
            NameError(format!(
                "this is not a join token: it takes {PREFIX} and 64 more characters, as estafeta cluster token prints it"
            ))
        };
        let encoded = text.trim().strip_prefix(PREFIX).ok_or_else(wrong)?;
        let bytes = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| wrong())?;
        let (fingerprint, secret) = bytes.split_at_checked(FINGERPRINT_BYTES).ok_or_else(wrong)?;
        Ok(Self {
            fingerprint: fingerprint.try_into().map_err(|_| wrong())?,
            secret: secret.try_into().map_err(|_| wrong())?,
        })
    }
}

/// What a node says when it joins.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JoinRequest {
    /// The token.
    pub token: String,
    /// The node as it wants to be, with the endpoints of every role: those of roles that the token does not grant are
    /// left out.
    pub member: Member,
    /// Its PKCS #10 request, in PEM.
    pub request: String,
}

/// What a node is given that has joined.
#[derive(Clone, Serialize, Deserialize)]
pub struct Joined {
    /// Its certificate.
    pub issued: Issued,
    /// The authority's certificate, in PEM.
    pub authority: String,
    /// The roles granted to it.
    pub roles: Vec<RoleName>,
    /// The settings, this node among them.
    pub settings: Settings,
    /// The nodes that the settings do not have, because they are in the nodes' configurations.
    pub configured: Vec<Member>,
}

/// What a node says when it wants its next certificate. The first field is [`crate::administration::ASKING_NODE`].
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RenewRequest {
    /// The node.
    pub asking_node: NodeName,
    /// Its PKCS #10 request, in PEM.
    pub request: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_token_is_what_was_printed_or_nothing() {
        let token = JoinToken { fingerprint: [7; 32], secret: [9; 16] };
        let text = token.to_string();
        assert!(text.len() == 73 && token == format!(" {text}\n").parse().unwrap());
        assert_ne!(token.hash(), JoinToken { secret: [8; 16], ..token.clone() }.hash());
        for wrong in ["", "estafeta-", &text[1..], &text[..72], &format!("{text}AAAA")] {
            assert!(wrong.parse::<JoinToken>().is_err(), "{wrong}");
        }
        let said = text[..72].parse::<JoinToken>().err().unwrap().to_string();
        assert!(!said.contains(&text[9..40]), "{said}");
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in "(estafeta-)?\\PC{0,80}") {
            if let Ok(token) = text.parse::<JoinToken>() {
                prop_assert_eq!(token.to_string().parse::<JoinToken>().map(|token| token.secret), Ok(token.secret));
            }
        }
    }
}
