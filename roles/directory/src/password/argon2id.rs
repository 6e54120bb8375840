//! argon2id (RFC 9106) in PHC strings: `$argon2id$v=19$m=19456,t=2,p=1$salt$hash`.

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{Error, PasswordHasher, PasswordVerifier};
use estafeta_core::{Failure, Secret};

/// Hashes with a fresh salt; 19 MiB and two passes, as OWASP has it. Some 25 ms.
pub fn make(password: &Secret) -> Result<String, Failure> {
    let hash = Argon2::default().hash_password(password.expose().as_bytes()).map_err(Failure::internal)?;
    Ok(hash.to_string())
}

/// Whether `password` is the one that `verifier` was made of, with the parameters that it names. Constant-time in the
/// comparison.
pub fn matches(password: &Secret, verifier: &str) -> Result<bool, Failure> {
    let verifier = PasswordHash::new(verifier).map_err(Failure::internal)?;
    match Argon2::default().verify_password(password.expose().as_bytes(), &verifier) {
        Ok(()) => Ok(true),
        Err(Error::PasswordInvalid) => Ok(false),
        Err(other) => Err(Failure::internal(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_answer() {
        // The reference implementation's test.c: argon2id, v=19, m=65536, t=2, p=1, "password", "somesalt".
        let known = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
        assert!(matches(&Secret::new("password".into()), known).unwrap());
        assert!(!matches(&Secret::new("Password".into()), known).unwrap());
    }

    #[test]
    fn what_is_made_matches_and_differs_each_time() {
        let password = Secret::new("correct horse".into());
        let (one, two) = (make(&password).unwrap(), make(&password).unwrap());
        assert_ne!(one, two);
        assert!(one.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{one}");
        assert!(matches(&password, &one).unwrap() && matches(&password, &two).unwrap());
        assert!(matches(&password, "not a PHC string").is_err());
    }
}
