//! Passwords: what is taken as one, its normal form, and the verifiers that are kept of it.
//!
//! Invariants: a password is put into its normal form before it is hashed or compared, so that it is the same password
//! on every keyboard; what is stored tells nothing of it but whether a guess is right.

mod argon2id;
mod hasher;
mod scram;

use estafeta_core::directory::PASSWORD_CHARACTERS;
use estafeta_core::{Failure, Reason, Secret};
use icu_normalizer::ComposingNormalizerBorrowed;

pub use hasher::{Hasher, describe_metrics};

/// The longest password that is taken, in bytes of its normal form.
pub const PASSWORD_BYTES: usize = 1024;

/// How a verifier was made; its name in the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// argon2id in a PHC string: what a password is compared with.
    Argon2id,
    /// SCRAM-SHA-256 in the form of RFC 5803: what a SCRAM exchange needs.
    ScramSha256,
}

impl Scheme {
    /// The name in the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Argon2id => "argon2id",
            Self::ScramSha256 => "scram-sha-256",
        }
    }
}

/// What is kept of a password, under one scheme.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verifier {
    /// How it was made.
    pub scheme: Scheme,
    /// The verifier in its scheme's own form.
    pub text: String,
}

/// Verifiers of a password under every scheme. Takes some 50 ms of a processor.
fn verifiers(password: &Secret) -> Result<Vec<Verifier>, Failure> {
    let password = normal(password);
    Ok(vec![
        Verifier { scheme: Scheme::Argon2id, text: argon2id::make(&password)? },
        Verifier { scheme: Scheme::ScramSha256, text: scram::make(&password)? },
    ])
}

/// The normal form: every space the same, composed characters (RFC 8265 §4.2.1, OpaqueString; it took the place of the
/// SASLprep that RFC 5802 §2.2 asks for, and is the same for ASCII).
fn normal(password: &Secret) -> Secret {
    let text = password.expose();
    if text.is_ascii() {
        return password.clone();
    }
    // Unicode's space separators, category Zs.
    let space =
        |c: char| matches!(c, '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}');
    let spaced = Secret::new(text.chars().map(|c| if space(c) { ' ' } else { c }).collect());
    Secret::new(ComposingNormalizerBorrowed::new_nfc().normalize(spaced.expose()).into_owned())
}

/// Whether a text may become a password.
pub fn check(password: &Secret) -> Result<(), Failure> {
    let invalid = |why: String| Err(Failure::new(Reason::Invalid, why));
    let password = normal(password);
    let text = password.expose();
    if text.chars().count() < PASSWORD_CHARACTERS {
        return invalid(format!("the password is too short: it takes at least {PASSWORD_CHARACTERS} characters"));
    }
    if text.len() > PASSWORD_BYTES {
        return invalid(format!("the password is too long: it takes at most {PASSWORD_BYTES} bytes"));
    }
    if text.chars().any(char::is_control) {
        return invalid("the password holds a control character".into());
    }
    if looks_stored(text) {
        return invalid("this is a stored form of a password ({SCHEME}…), which would itself become the password: give the password".into());
    }
    Ok(())
}

/// Whether this is `{SSHA}…` or the like (RFC 3112, RFC 2307 §5.3), as another directory exports it.
fn looks_stored(text: &str) -> bool {
    const SCHEMES: [&str; 12] =
        ["SHA", "SSHA", "SHA256", "SSHA256", "SHA512", "SSHA512", "MD5", "SMD5", "CRYPT", "ARGON2", "PBKDF2", "SASL"];
    let Some((scheme, _)) = text.strip_prefix('{').and_then(|rest| rest.split_once('}')) else { return false };
    let scheme = scheme.split('-').next().unwrap_or(scheme);
    SCHEMES.iter().any(|known| known.eq_ignore_ascii_case(scheme))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(text.into())
    }

    #[test]
    fn what_may_be_a_password() {
        for good in ["correct horse", "12345678", "contraseña", "{braces} and all", "🔑🔑🔑🔑🔑🔑🔑🔑"]
        {
            assert!(check(&secret(good)).is_ok(), "{good:?}");
        }
        let long = "x".repeat(PASSWORD_BYTES + 1);
        for bad in [
            "",
            "1234567",
            "ñañaña",
            "line\nbreak",
            "nul\0nul\0",
            "{SSHA}c2FsdGVkIGhhc2g=",
            "{pbkdf2-sha512}abc",
            long.as_str(),
        ] {
            assert_eq!(check(&secret(bad)).unwrap_err().reason, Reason::Invalid, "{bad:?}");
        }
    }

    #[test]
    fn one_password_on_every_keyboard() {
        // ñ as one character and as n with a combining tilde; a no-break space and a space.
        assert_eq!(normal(&secret("a\u{f1}o nuevo")), normal(&secret("an\u{303}o\u{a0}nuevo")));
        assert_ne!(normal(&secret("ano nuevo")), normal(&secret("a\u{f1}o nuevo")));
    }

    #[test]
    fn every_scheme_is_written() {
        let made = verifiers(&secret("correct horse")).unwrap();
        let schemes: Vec<_> = made.iter().map(|verifier| verifier.scheme.name()).collect();
        assert_eq!(schemes, ["argon2id", "scram-sha-256"]);
        assert!(made.iter().all(|verifier| !verifier.text.contains("correct")));
    }
}
