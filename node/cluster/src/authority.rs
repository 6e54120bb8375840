//! The cluster's own certificate authority: `estafeta cluster init` makes it, every node's certificate comes from it.
//!
//! Invariants: a node's certificate names one node and the roles granted to it, and lasts [`NODE_DAYS`] days; the
//! authority's key never leaves the file that `init` wrote (mode 0600); of a request only the key is taken over.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
pub use estafeta_core::certificate::NODE_DAYS;
use estafeta_core::certificate::{self, Issued, NODE_URI, ROLE_URI, dns_name, serial_text};
use estafeta_core::{Failure, NodeName, Reason, RoleName};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType, SerialNumber,
};
use x509_parser::prelude::{Pem, parse_x509_pem};

/// How long the authority's own certificate lasts, in days.
const AUTHORITY_DAYS: u64 = 20 * 365;

/// How far before now certificates begin, so that a node whose clock is a little behind takes them.
const BACKDATE: Duration = Duration::from_secs(3600);

/// Why a certificate cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// It cannot be made, or the key does not read.
    #[error("the cluster's authority: {0}")]
    Certificate(#[from] rcgen::Error),
    /// What should be the authority's certificate is none.
    #[error("the cluster's authority: no certificate in PEM can be read")]
    Unreadable,
    /// The key is of another certificate.
    #[error("the cluster's authority: the key is not that of the certificate: give ca.pem and ca.key of one cluster")]
    Mismatch,
}

/// A node's key, and the request by which it proves to hold it. The key stays on the node.
pub struct Request {
    /// The private key, in PEM: written with mode 0600 or not at all.
    pub key: String,
    /// The PKCS #10 request (RFC 2986), in PEM.
    pub request: String,
}

impl Request {
    /// Of a new key.
    pub fn new() -> Result<Self, AuthorityError> {
        Self::of(&KeyPair::generate()?)
    }

    /// Of a key that is there, in DER (PKCS #8).
    pub fn of_key(key: &[u8]) -> Result<Self, AuthorityError> {
        Self::of(&KeyPair::try_from(key)?)
    }

    fn of(key: &KeyPair) -> Result<Self, AuthorityError> {
        // The request names nothing: name and roles are the cluster's to say.
        let request = CertificateParams::default().serialize_request(key)?.pem()?;
        Ok(Self { key: key.serialize_pem(), request })
    }
}

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
    certificate: String,
    fingerprint: [u8; 32],
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
        let (_, pem) = parse_x509_pem(pair.certificate.as_bytes()).map_err(|_| AuthorityError::Unreadable)?;
        let certificate = pem.parse_x509().map_err(|_| AuthorityError::Unreadable)?;
        // Nodes would refuse whatever it issued.
        if certificate.public_key().subject_public_key.data.as_ref() != key.der_bytes() {
            return Err(AuthorityError::Mismatch);
        }
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(digest(&SHA256, &pem.contents).as_ref());
        let issuer = Issuer::from_ca_cert_pem(&pair.certificate, key)?;
        Ok(Self { issuer, certificate: pair.certificate.clone(), fingerprint })
    }

    /// A key and a certificate for a node, granting it these roles.
    pub fn issue_node(&self, node: &NodeName, roles: &[RoleName], now: SystemTime) -> Result<Pair, AuthorityError> {
        self.sign(node_params(node, roles, now)?)
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
        leaf(&mut params);
        self.sign(params)
    }

    fn sign(&self, params: CertificateParams) -> Result<Pair, AuthorityError> {
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Pair { certificate: certificate.pem(), key: key.serialize_pem() })
    }
}

impl certificate::Issuer for Authority {
    fn certificate(&self) -> &str {
        &self.certificate
    }

    fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }

    fn issue(&self, node: &NodeName, roles: &[RoleName], request: &str, now: SystemTime) -> Result<Issued, Failure> {
        let invalid = |why: &str| Failure::new(Reason::Invalid, format!("the certificate request {why}"));
        let pem = Pem::iter_from_buffer(request.as_bytes()).next().and_then(Result::ok);
        let pem = pem.ok_or_else(|| invalid("is no PEM"))?;
        // Reading it checks its signature: whoever asks holds the key.
        let request = CertificateSigningRequestParams::from_der(&pem.contents.as_slice().into())
            .map_err(|error| invalid("proves no key").because(error))?;
        if request.public_key.algorithm() != &PKCS_ECDSA_P256_SHA256 {
            return Err(invalid("is not for an ECDSA key on P-256"));
        }
        let failed = |error: rcgen::Error| Failure::internal(AuthorityError::from(error));
        let params = node_params(node, roles, now).map_err(failed)?;
        let serial = params.serial_number.as_ref().map(|serial| serial_text(&serial.to_bytes())).unwrap_or_default();
        let not_after_seconds = u64::try_from(params.not_after.unix_timestamp()).map_err(Failure::internal)?;
        let certificate = params.signed_by(&request.public_key, &self.issuer).map_err(failed)?.pem();
        Ok(Issued { certificate, serial, not_after_seconds })
    }
}

/// What a node's certificate says.
fn node_params(node: &NodeName, roles: &[RoleName], now: SystemTime) -> Result<CertificateParams, rcgen::Error> {
    let mut params = params(node.as_str(), now, NODE_DAYS);
    params.subject_alt_names.push(SanType::DnsName(dns_name(node).try_into()?));
    params.subject_alt_names.push(SanType::URI(format!("{NODE_URI}{node}").try_into()?));
    for role in roles {
        params.subject_alt_names.push(SanType::URI(format!("{ROLE_URI}{role}").try_into()?));
    }
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    leaf(&mut params);
    Ok(params)
}

/// What every certificate says that is no authority's.
fn leaf(params: &mut CertificateParams) {
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
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
    use estafeta_core::certificate::Issuer as _;
    use x509_parser::prelude::*;

    #[test]
    fn a_request_gets_its_key_certified_and_nothing_else() {
        let now = SystemTime::now();
        let pair = Authority::create(now).unwrap();
        let authority = Authority::load(&pair).unwrap();
        let node = "edge1".parse().unwrap();
        // What the request says of itself is not heard.
        let key = KeyPair::generate().unwrap();
        let mut wish = CertificateParams::new(vec!["directory1.node.estafeta.invalid".to_owned()]).unwrap();
        wish.subject_alt_names.push(SanType::URI("estafeta:role:directory".try_into().unwrap()));
        let request = wish.serialize_request(&key).unwrap().pem().unwrap();
        let issued = authority.issue(&node, &[RoleName::EDGE], &request, now).unwrap();
        let (_, pem) = parse_x509_pem(issued.certificate.as_bytes()).unwrap();
        let certificate = pem.parse_x509().unwrap();
        assert_eq!(certificate.public_key().subject_public_key.data.as_ref(), key.der_bytes());
        assert_eq!(serial_text(certificate.raw_serial()), issued.serial);
        assert_eq!(certificate.validity().not_after.timestamp(), issued.not_after_seconds as i64);
        let names = certificate.subject_alternative_name().unwrap().unwrap().value.general_names.len();
        assert!(names == 3 && !format!("{certificate:?}").contains("directory"), "{certificate:?}");

        let own = Request::new().unwrap();
        authority.issue(&node, &[], &own.request, now).unwrap();
        let der = Pem::iter_from_buffer(own.key.as_bytes()).next().unwrap().unwrap().contents;
        authority.issue(&node, &[], &Request::of_key(&der).unwrap().request, now).unwrap();

        // A request whose signature is another key's proves nothing.
        let mut forged = Pem::iter_from_buffer(request.as_bytes()).next().unwrap().unwrap().contents;
        let last = forged.len() - 1;
        forged[last] ^= 1;
        let forged = request_pem(&forged);
        for wrong in ["", "nonsense", pair.certificate.as_str(), forged.as_str()] {
            let refused = authority.issue(&node, &[], wrong, now).unwrap_err();
            assert_eq!(refused.reason, Reason::Invalid, "{refused}");
        }
    }

    /// A request in PEM.
    fn request_pem(der: &[u8]) -> String {
        use base64::Engine as _;
        let body = base64::engine::general_purpose::STANDARD.encode(der);
        let lines: Vec<&str> = body.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
        format!("-----BEGIN CERTIFICATE REQUEST-----\n{}\n-----END CERTIFICATE REQUEST-----\n", lines.join("\n"))
    }

    #[test]
    fn a_key_of_another_authority_is_not_taken() {
        let (one, other) =
            (Authority::create(SystemTime::now()).unwrap(), Authority::create(SystemTime::now()).unwrap());
        let mixed = Pair { certificate: one.certificate, key: other.key };
        assert!(matches!(Authority::load(&mixed), Err(AuthorityError::Mismatch)));
    }

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
