//! Who a peer inside the cluster is, as its certificate says: one node, and the roles granted to it.

use std::collections::BTreeSet;

use estafeta_core::certificate::{NODE_URI, ROLE_URI, serial_text};
use estafeta_core::settings::ShutOut;
use estafeta_core::{NodeName, RoleName};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// A node that proved itself by a certificate of the cluster's authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerIdentity {
    /// The node.
    pub node: NodeName,
    /// What it may do.
    pub roles: BTreeSet<RoleName>,
    /// The serial number of its certificate, in lower-case hexadecimal digits.
    pub serial: String,
}

impl PeerIdentity {
    /// Reads a verified certificate. None when it names no node: not a certificate of a node of ours.
    pub fn from_certificate(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let names = &certificate.subject_alternative_name().ok()??.value.general_names;
        let mut node = None;
        let mut roles = BTreeSet::new();
        for name in names {
            let GeneralName::URI(uri) = name else { continue };
            if let Some(name) = uri.strip_prefix(NODE_URI) {
                node = name.parse().ok();
            } else if let Some(role) = uri.strip_prefix(ROLE_URI) {
                roles.extend(role.parse::<RoleName>());
            }
        }
        Some(Self { node: node?, roles, serial: serial_text(certificate.raw_serial()) })
    }

    /// Whether nobody may talk with it any more.
    pub fn is_shut_out(&self, shut_out: &ShutOut) -> bool {
        shut_out.nodes.contains(&self.node) || shut_out.serials.contains(&self.serial)
    }

    /// Whether the node holds one of these roles.
    pub fn holds_any(&self, roles: &[RoleName]) -> bool {
        roles.iter().any(|role| self.roles.contains(role))
    }
}
