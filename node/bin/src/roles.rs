//! The table of roles: adding one is a new crate and one line here.
//!
//! The order is that of a drain: what talks with the outside stops first, what the others ask stops last.

use estafeta_net::role::Role;

/// Every role that a node may have.
pub fn table() -> Vec<Role> {
    vec![
        estafeta_dns::role(),
        estafeta_access::role(),
        estafeta_edge::role(),
        estafeta_filter::role(),
        estafeta_mailbox::role(),
        estafeta_directory::role(),
    ]
}
