//! Who speaks: this node's certificate and key, and what the certificate of another says.
//!
//! Invariants: no name is believed that the cluster's authority has not signed; a certificate is checked once and then
//! again only when it is about to run out or somebody was shut out.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use estafeta_core::certificate::{NODE_URI, ROLE_URI};
use estafeta_core::settings::ShutOut;
use estafeta_core::{NodeName, RoleName};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, SignatureVerificationAlgorithm, TrustAnchor, UnixTime};
use webpki::aws_lc_rs::{ECDSA_P256_SHA256, ECDSA_P384_SHA384};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

/// The largest certificate that is looked at, in bytes.
pub const CERTIFICATE_LIMIT: usize = 4096;

/// What a certificate's chain may be signed with.
const CHAIN: &[&dyn SignatureVerificationAlgorithm] = &[ECDSA_P256_SHA256, ECDSA_P384_SHA384];

/// Why this node cannot speak for itself. Each names the mend.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The authority's PEM is no PEM, or holds nothing.
    #[error("the authority's certificate cannot be read: give the ca.pem of this cluster, in PEM")]
    Unreadable,
    /// The key is of another kind.
    #[error("the node's key is not ECDSA P-256: issue the node a new one with: estafeta cluster certificate")]
    Key,
    /// The authority's certificate is none.
    #[error("the authority's certificate cannot be used: {0}: give the ca.pem of this cluster")]
    Authority(webpki::Error),
}

/// This node's certificate and key, and the authority that vouches for everyone.
pub struct Identity {
    certificate: CertificateDer<'static>,
    key: EcdsaKeyPair,
    anchors: Arc<[TrustAnchor<'static>]>,
}

impl Identity {
    /// From this node's certificate and key, and the authority's certificates in PEM.
    pub fn new(
        authority: &[u8],
        certificate: CertificateDer<'static>,
        key: &PrivateKeyDer<'_>,
    ) -> Result<Self, IdentityError> {
        let mut anchors = Vec::new();
        for certificate in CertificateDer::pem_slice_iter(authority) {
            let certificate = certificate.map_err(|_| IdentityError::Unreadable)?;
            let anchor = anchor_from_trusted_cert(&certificate).map_err(IdentityError::Authority)?;
            anchors.push(anchor.to_owned());
        }
        if anchors.is_empty() {
            return Err(IdentityError::Unreadable);
        }
        let key = match key {
            PrivateKeyDer::Pkcs8(key) => {
                EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, key.secret_pkcs8_der())
            }
            PrivateKeyDer::Sec1(key) => {
                EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_ASN1_SIGNING, key.secret_sec1_der())
            }
            _ => return Err(IdentityError::Key),
        };
        let key = key.map_err(|_| IdentityError::Key)?;
        Ok(Self { certificate, key, anchors: anchors.into() })
    }

    /// This node's certificate.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// Signs. None when the machine gives no randomness.
    pub fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        let signature = self.key.sign(&SystemRandom::new(), message).ok()?;
        Some(signature.as_ref().to_vec())
    }

    /// Whom this certificate names, and what it grants; an error says why it counts for nothing.
    pub fn examine(
        &self,
        certificate: &CertificateDer<'static>,
        shut_out: &ShutOut,
        now: SystemTime,
    ) -> Result<Speaker, Unbelieved> {
        if certificate.len() > CERTIFICATE_LIMIT {
            return Err(Unbelieved::TooLarge);
        }
        let now = UnixTime::since_unix_epoch(now.duration_since(UNIX_EPOCH).unwrap_or_default());
        let cert = EndEntityCert::try_from(certificate).map_err(|_| Unbelieved::Certificate)?;
        cert.verify_for_usage(CHAIN, &self.anchors, &[], now, KeyUsage::client_auth(), None, None)
            .map_err(|_| Unbelieved::Certificate)?;
        let serial: String = cert.serial().iter().map(|byte| format!("{byte:02x}")).collect();
        // Whoever wrote the number down may have left out the leading zero byte of DER.
        let bare = |serial: &str| serial.trim_start_matches('0').to_owned();
        let mut node = None;
        let mut roles = BTreeSet::new();
        for uri in cert.valid_uri_names() {
            if let Some(name) = uri.strip_prefix(NODE_URI) {
                node = name.parse::<NodeName>().ok();
            } else if let Some(role) = uri.strip_prefix(ROLE_URI) {
                roles.extend(role.parse::<RoleName>());
            }
        }
        let node = node.ok_or(Unbelieved::Certificate)?;
        if shut_out.nodes.contains(&node) || shut_out.serials.iter().any(|out| bare(out) == bare(&serial)) {
            return Err(Unbelieved::ShutOut);
        }
        Ok(Speaker { node, roles, certificate: certificate.clone() })
    }
}

/// Why something that was said counts for nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Unbelieved {
    /// Larger than allowed.
    #[error("it is too large")]
    TooLarge,
    /// Not in the form that we know.
    #[error("it cannot be read")]
    Malformed,
    /// The certificate is not the cluster's, has run out, or names no node.
    #[error("its certificate is not one of a node of this cluster, or has run out")]
    Certificate,
    /// The node was removed.
    #[error("the node was removed from the cluster")]
    ShutOut,
    /// The signature is not by this certificate's key.
    #[error("its signature is wrong")]
    Signature,
    /// The certificate, the gossip and the words name different nodes.
    #[error("it speaks for another node")]
    Name,
    /// Older than what was heard already.
    #[error("it is older than what is known")]
    Older,
}

impl Unbelieved {
    /// The word for it in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TooLarge => "too-large",
            Self::Malformed => "malformed",
            Self::Certificate => "certificate",
            Self::ShutOut => "shut-out",
            Self::Signature => "signature",
            Self::Name => "name",
            Self::Older => "older",
        }
    }
}

/// A node that proved itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Speaker {
    /// The node.
    pub node: NodeName,
    /// What it may do.
    pub roles: BTreeSet<RoleName>,
    certificate: CertificateDer<'static>,
}

impl Speaker {
    /// Whether it signed this.
    pub fn signed(&self, message: &[u8], signature: &[u8]) -> bool {
        EndEntityCert::try_from(&self.certificate)
            .is_ok_and(|cert| cert.verify_signature(ECDSA_P256_SHA256, message, signature).is_ok())
    }
}
