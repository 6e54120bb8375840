//! A key: ECDSA on P-256 with SHA-256, algorithm 13 (RFC 6605), and the records that speak of it.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hickory_proto::dnssec::rdata::{CDNSKEY, CDS, DNSKEY, DS};
use hickory_proto::dnssec::{Algorithm, DigestType, PublicKey, PublicKeyBuf};
use hickory_proto::rr::Name;

use super::timeline::KeptKey;

/// A zone key that is also a secure entry point (RFC 4034 §2.1.1).
const FLAGS: u16 = 257;

/// A key that can sign.
pub struct Key {
    pair: EcdsaKeyPair,
    /// Its public half.
    pub record: DNSKEY,
    /// Its tag (RFC 4034 appendix B).
    pub tag: u16,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key").field("tag", &self.tag).finish_non_exhaustive()
    }
}

impl Key {
    /// A fresh key. Fails only when the system has no random numbers.
    pub fn generate(now_seconds: u64) -> Result<KeptKey, String> {
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
            .map_err(|_| "no key can be made: the system gives no random numbers")?;
        Ok(KeptKey { private: STANDARD.encode(document.as_ref()), made_seconds: now_seconds })
    }

    /// A key as it is kept, ready for use; an error says what is wrong with it.
    pub fn open(kept: &KeptKey) -> Result<Self, String> {
        let document = STANDARD.decode(&kept.private).map_err(|error| format!("no base64: {error}"))?;
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &document)
            .map_err(|error| format!("no key for ECDSA on P-256: {error}"))?;
        // RFC 6605 §4: the point without the byte that says that it is not compressed.
        let point = pair.public_key().as_ref().get(1..).unwrap_or_default().to_vec();
        let record = DNSKEY::with_flags(FLAGS, PublicKeyBuf::new(point, Algorithm::ECDSAP256SHA256));
        let tag = record.calculate_key_tag().map_err(|error| error.to_string())?;
        Ok(Self { pair, record, tag })
    }

    /// The signature over these bytes: 64 of them (RFC 6605 §4).
    pub fn sign(&self, bytes: &[u8]) -> Result<Vec<u8>, String> {
        let signature = self.pair.sign(&SystemRandom::new(), bytes);
        Ok(signature.map_err(|_| "the cryptographic library refuses to sign")?.as_ref().to_vec())
    }

    /// What the parent of `origin` needs (RFC 4034 §5, with SHA-256 as RFC 8624 §3.3 has it).
    pub fn ds(&self, origin: &Name) -> Result<DS, String> {
        let digest = self.record.to_digest(&origin.to_lowercase(), DigestType::SHA256);
        let digest = digest.map_err(|error| error.to_string())?.as_ref().to_vec();
        Ok(DS::new(self.tag, Algorithm::ECDSAP256SHA256, DigestType::SHA256, digest))
    }

    /// The same, for a parent that asks us (RFC 7344 §3.1).
    pub fn cds(&self, origin: &Name) -> Result<CDS, String> {
        let ds = self.ds(origin)?;
        Ok(CDS::new(self.tag, Some(ds.algorithm()), ds.digest_type(), ds.digest().to_vec()))
    }

    /// The key itself, for a parent that asks us (RFC 7344 §3.2).
    pub fn cdnskey(&self) -> CDNSKEY {
        let public = self.record.public_key();
        CDNSKEY::with_flags(FLAGS, Some(public.algorithm()), public.public_bytes().to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The private key of RFC 6605 §6.1, as PKCS #8.
    fn of_the_rfc() -> Key {
        let private = STANDARD.decode("GU6SnQ/Ou+xC5RumuIUIuJZteXT2z0O/ok1s38Et6mQ=").unwrap();
        let public = STANDARD
            .decode("GojIhhXUN/u4v54ZQqGSnyhWJwaubCvTmeexv7bR6edbkrSqQpF64cYbcB7wNcP+e+MAnLr+Wi9xMWyQLc8NAA==")
            .unwrap();
        let point: Vec<u8> = [4].into_iter().chain(public).collect();
        let pair =
            EcdsaKeyPair::from_private_key_and_public_key(&ECDSA_P256_SHA256_FIXED_SIGNING, &private, &point).unwrap();
        let document = pair.to_pkcs8v1().unwrap();
        Key::open(&KeptKey { private: STANDARD.encode(document.as_ref()), made_seconds: 0 }).unwrap()
    }

    #[test]
    fn the_key_of_rfc_6605_has_its_tag_and_its_ds() {
        let key = of_the_rfc();
        assert_eq!(key.tag, 55648);
        assert_eq!(
            key.record.to_string(),
            "257 3 13 GojIhhXUN/u4v54ZQqGSnyhWJwaubCvTmeexv7bR6edbkrSqQpF64cYbcB7wNcP+e+MAnLr+Wi9xMWyQLc8NAA=="
        );
        let ds = key.ds(&Name::from_ascii("Example.net.").unwrap()).unwrap().to_string();
        assert_eq!(ds.to_lowercase(), "55648 13 2 b4c8c1fe2e7477127b27115656ad6256f424625bf5c1e2770ce6d6e37df61d17");
    }

    #[test]
    fn what_is_kept_can_be_opened_and_signs_and_never_prints() {
        let kept = Key::generate(7).unwrap();
        assert!(!format!("{kept:?}").contains(&kept.private));
        let key = Key::open(&kept).unwrap();
        let signature = key.sign(b"bytes").unwrap();
        assert_eq!(signature.len(), 64);
        assert!(key.record.public_key().verify(b"bytes", &signature).is_ok());
        assert!(key.record.public_key().verify(b"other", &signature).is_err());
        for broken in ["", "???", "AAAA"] {
            assert!(Key::open(&KeptKey { private: broken.into(), made_seconds: 0 }).is_err());
        }
    }
}
