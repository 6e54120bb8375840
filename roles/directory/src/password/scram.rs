//! SCRAM-SHA-256 (RFC 5802, RFC 7677): the stored key and the server key, in the form of RFC 5803 §2:
//! `SCRAM-SHA-256$iterations:salt$stored-key:server-key`.

use std::num::NonZeroU32;

use aws_lc_rs::{digest, hmac, pbkdf2, rand};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use estafeta_core::{Failure, Secret};
use zeroize::Zeroizing;

/// RFC 7677 §4 asks for 4,096 at least. Whoever steals the database attacks the cheaper verifier, so this one is made
/// as dear as the argon2id beside it; a client pays the same once a login.
const ITERATIONS: NonZeroU32 = NonZeroU32::new(100_000).unwrap();

const SALT_BYTES: usize = 16;

/// Makes a verifier with a fresh salt. Some 25 ms.
pub fn make(password: &Secret) -> Result<String, Failure> {
    let mut salt = [0; SALT_BYTES];
    rand::fill(&mut salt).map_err(|_| Failure::internal("no random numbers"))?;
    Ok(verifier(password, &salt, ITERATIONS))
}

fn verifier(password: &Secret, salt: &[u8], iterations: NonZeroU32) -> String {
    // RFC 5802 §3.
    let mut salted = Zeroizing::new([0; digest::SHA256_OUTPUT_LEN]);
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, salt, password.expose().as_bytes(), salted.as_mut_slice());
    let salted = hmac::Key::new(hmac::HMAC_SHA256, salted.as_slice());
    let client_key = hmac::sign(&salted, b"Client Key");
    let stored_key = digest::digest(&digest::SHA256, client_key.as_ref());
    let server_key = hmac::sign(&salted, b"Server Key");
    let (salt, stored_key, server_key) = (BASE64.encode(salt), BASE64.encode(stored_key), BASE64.encode(server_key));
    format!("SCRAM-SHA-256${iterations}:{salt}${stored_key}:{server_key}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The exchange of RFC 7677 §3, with what a server would do on what we store.
    #[test]
    fn the_exchange_of_rfc_7677() {
        let salt = BASE64.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let made = verifier(&Secret::new("pencil".into()), &salt, NonZeroU32::new(4096).unwrap());
        let (head, keys) = made.rsplit_once('$').unwrap();
        assert_eq!(head, "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==");
        let (stored_key, server_key) = keys.split_once(':').unwrap();
        let (stored_key, server_key) = (BASE64.decode(stored_key).unwrap(), BASE64.decode(server_key).unwrap());

        let nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let message =
            format!("n=user,r=rOprNGfwEbeRWgbNEkqO,r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r={nonce}");
        let sign = |key: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message.as_bytes());
        assert_eq!(BASE64.encode(sign(&server_key)), "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");

        let proof = BASE64.decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=").unwrap();
        let client_key: Vec<u8> = proof.iter().zip(sign(&stored_key).as_ref()).map(|(a, b)| a ^ b).collect();
        assert_eq!(digest::digest(&digest::SHA256, &client_key).as_ref(), stored_key);
    }

    #[test]
    fn a_fresh_salt_each_time() {
        let password = Secret::new("correct horse".into());
        assert_ne!(make(&password).unwrap(), make(&password).unwrap());
    }
}
