//! What a node's certificate says, in names: the cluster's authority writes them, whoever is asked reads them.

use crate::name::NodeName;

/// The URI SAN that names the node: `estafeta:node:NAME`.
pub const NODE_URI: &str = "estafeta:node:";

/// The URI SANs that grant roles: `estafeta:role:ROLE`.
pub const ROLE_URI: &str = "estafeta:role:";

/// The DNS SAN of a node's certificate, so that TLS libraries have a name to check: `NAME.node.estafeta.invalid`
/// (RFC 2606 §2: a name that is nobody's).
pub fn dns_name(node: &NodeName) -> String {
    format!("{node}.node.estafeta.invalid")
}
