//! The cluster's own certificate authority: `estafeta cluster init` makes it, every node's certificate comes from it.
//!
//! Invariants: a node's certificate names one node and the roles granted to it, and lasts [`NODE_DAYS`] days; the
//! authority's key never leaves the directory that `init` wrote it to (mode 0600).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use estafeta_core::certificate::{NODE_URI, ROLE_URI, dns_name};
use estafeta_core::{NodeName, RoleName};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType, SerialNumber,
};

/// How long a node's certificate lasts, in days.
pub const NODE_DAYS: u64 = 30;

/// How long the authority's own certificate lasts, in days.
const AUTHORITY_DAYS: u64 = 20 * 365;

/// How far before now certificates begin, so that a node whose clock is a little behind takes them.
const BACKDATE: Duration = Duration::from_secs(3600);

/// Why a certificate cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("the cluster's authority: {0}")]
pub struct AuthorityError(#[from] rcgen::Error);

/// A certificate and its key, in PEM.
pub struct Pair {
    /// The certificate.
    pub certificate: String,
    /// The key: written with mode 0600 or not at all.
    pub key: String,
}

/// The authority, able to issue.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Makes a new one. The pair is what [`Authority::load`] takes.
    pub fn create(now: SystemTime) -> Result<Pair, AuthorityError> {
        let key = KeyPair::generate()?;
        let mut params = params("Estafeta cluster authority", now, AUTHORITY_DAYS);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        let certificate = params.self_signed(&key)?;
        Ok(Pair { certificate: certificate.pem(), key: key.serialize_pem() })
    }

    /// The authority of a pair that [`Authority::create`] made.
    pub fn load(pair: &Pair) -> Result<Self, AuthorityError> {
        let key = KeyPair::from_pem(&pair.key)?;
        Ok(Self { issuer: Issuer::from_ca_cert_pem(&pair.certificate, key)? })
    }

    /// A certificate for a node, granting it these roles.
    pub fn issue_node(&self, node: &NodeName, roles: &[RoleName], now: SystemTime) -> Result<Pair, AuthorityError> {
        let mut params = params(node.as_str(), now, NODE_DAYS);
        params.subject_alt_names.push(SanType::DnsName(dns_name(node).try_into()?));
        params.subject_alt_names.push(SanType::URI(format!("{NODE_URI}{node}").try_into()?));
        for role in roles {
            params.subject_alt_names.push(SanType::URI(format!("{ROLE_URI}{role}").try_into()?));
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(params)
    }

    /// A certificate for what clients see, for demonstrations and tests: it names these hosts and no node.
    pub fn issue_service(&self, names: &[String], now: SystemTime) -> Result<Pair, AuthorityError> {
        let mut params = params(names.first().map_or("service", String::as_str), now, NODE_DAYS);
        for name in names {
            params.subject_alt_names.push(match name.parse() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName(name.as_str().try_into()?),
            });
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(params)
    }

    fn sign(&self, mut params: CertificateParams) -> Result<Pair, AuthorityError> {
        let key = KeyPair::generate()?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Pair { certificate: certificate.pem(), key: key.serialize_pem() })
    }
}

fn params(common_name: &str, now: SystemTime, days: u64) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, common_name);
    let seconds = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    params.not_before = since_epoch(seconds(now - BACKDATE));
    params.not_after = since_epoch(seconds(now + Duration::from_secs(days * 86_400)));
    // A serial number is positive and at most 20 octets (RFC 5280 §4.1.2.2).
    let mut serial = uuid::Uuid::new_v4().into_bytes();
    serial[0] &= 0x7f;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params
}

/// A point in time in the type that rcgen takes.
fn since_epoch(seconds: u64) -> time::OffsetDateTime {
    rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use x509_parser::prelude::*;

    #[test]
    fn a_node_certificate_names_node_and_roles_and_verifies() {
        let now = SystemTime::now();
        let pair = Authority::create(now).unwrap();
        let authority = Authority::load(&pair).unwrap();
        let node = authority.issue_node(&"edge1".parse().unwrap(), &[RoleName::EDGE, RoleName::DNS], now).unwrap();
        let (_, pem) = parse_x509_pem(node.certificate.as_bytes()).unwrap();
        let certificate = pem.parse_x509().unwrap();
        let names: Vec<String> = certificate
            .subject_alternative_name()
            .unwrap()
            .unwrap()
            .value
            .general_names
            .iter()
            .map(|name| match name {
                GeneralName::URI(text) | GeneralName::DNSName(text) => (*text).to_owned(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(
            names,
            ["edge1.node.estafeta.invalid", "estafeta:node:edge1", "estafeta:role:edge", "estafeta:role:dns"]
        );
        let days =
            (certificate.validity().not_after.timestamp() - certificate.validity().not_before.timestamp()) / 86_400;
        assert_eq!(days, NODE_DAYS as i64);
        let (_, root) = parse_x509_pem(pair.certificate.as_bytes()).unwrap();
        assert_eq!(certificate.issuer(), root.parse_x509().unwrap().subject());
    }
}
