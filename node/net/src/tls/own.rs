//! This node's own certificate inside the cluster: who it says the node is, and until when.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::identity::PeerIdentity;

/// A node's certificate and its key, as they were read.
pub struct OwnCertificate {
    /// The chain in DER, the leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// The private key.
    pub key: PrivateKeyDer<'static>,
    /// Who it says that this node is.
    pub identity: PeerIdentity,
    /// From when it is good.
    pub not_before: SystemTime,
    /// Until when.
    pub not_after: SystemTime,
}

impl OwnCertificate {
    /// What the leaf says; none when it names no node.
    pub(super) fn of(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Option<Self> {
        let leaf = chain.first()?;
        let identity = PeerIdentity::from_certificate(leaf)?;
        let (_, certificate) = X509Certificate::from_der(leaf).ok()?;
        let time = |seconds: i64| UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
        let not_before = time(certificate.validity().not_before.timestamp());
        let not_after = time(certificate.validity().not_after.timestamp());
        Some(Self { chain, key, identity, not_before, not_after })
    }

    /// How long it is good yet; nothing when it has expired.
    pub fn left(&self, now: SystemTime) -> Duration {
        self.not_after.duration_since(now).unwrap_or_default()
    }

    /// Whether it is time for the next one: a third of its life, or less, is left.
    pub fn is_due(&self, now: SystemTime) -> bool {
        let life = self.not_after.duration_since(self.not_before).unwrap_or_default();
        self.left(now) <= life / 3
    }
}
