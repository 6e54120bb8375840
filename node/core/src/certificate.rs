//! What a node's certificate says, in names: the cluster's authority writes them, whoever is asked reads them.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::name::{NodeName, RoleName};

/// How long a node's certificate lasts, in days.
pub const NODE_DAYS: u64 = 30;

/// The URI SAN that names the node: `estafeta:node:NAME`.
pub const NODE_URI: &str = "estafeta:node:";

/// The URI SANs that grant roles: `estafeta:role:ROLE`.
pub const ROLE_URI: &str = "estafeta:role:";

/// The DNS SAN of a node's certificate, so that TLS libraries have a name to check: `NAME.node.estafeta.invalid`
/// (RFC 2606 §2: a name that is nobody's).
pub fn dns_name(node: &NodeName) -> String {
    format!("{node}.node.estafeta.invalid")
}

/// How a certificate's serial number is written where certificates are named: in lower-case hexadecimal digits, without
/// leading zeros. `bytes` is the number as the certificate has it, the highest byte first.
pub fn serial_text(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    digits.trim_start_matches('0').to_owned()
}

/// A certificate that the cluster's authority has made for a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issued {
    /// The certificate, in PEM.
    pub certificate: String,
    /// Its serial number, as [`serial_text`] writes it.
    pub serial: String,
    /// When it expires, in seconds since 1970.
    pub not_after_seconds: u64,
}

/// The cluster's authority on a node that holds its key.
pub trait Issuer: Send + Sync {
    /// The authority's certificate, in PEM.
    fn certificate(&self) -> &str;

    /// The SHA-256 of the authority's certificate in DER: what a join token knows it by.
    fn fingerprint(&self) -> [u8; 32];

    /// A certificate for the key that the PKCS #10 request (in PEM; RFC 2986) proves to hold. Nothing else of the request
    /// is heard. [`crate::Reason::Invalid`] when it proves nothing.
    fn issue(&self, node: &NodeName, roles: &[RoleName], request: &str, now: SystemTime) -> Result<Issued, Failure>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_serial_number_has_one_text() {
        assert_eq!(serial_text(&[0x00, 0x0a, 0xff]), "aff");
        assert_eq!(serial_text(&[0xa0, 0x00]), "a000");
    }
}
