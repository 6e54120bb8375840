//! Bind (RFC 4511 §4.2, RFC 4513 §5): for whom the connection asks.

use std::net::IpAddr;

use estafeta_core::directory::Directory as _;
use estafeta_core::{RoleName, Secret};
use ldap3_proto::control::LdapControl;
use ldap3_proto::proto::{LdapBindCred, LdapBindRequest, LdapResultCode, SaslCredentials};

use super::{Conversation, Who, place};
use crate::ldap::outcome::Refusal;
use crate::ldap::place::Place;
use crate::ldap::session_tracking;

/// The roles that talk with clients and may say where a client is.
const FRONTS: [RoleName; 4] = [RoleName::EDGE, RoleName::ACCESS, RoleName::MAILBOX, RoleName::DIRECTORY];

impl Conversation {
    pub(super) async fn bind(&mut self, request: LdapBindRequest, controls: &[LdapControl]) -> Result<(), Refusal> {
        // RFC 4511 §4.2.1: whoever was bound is no longer.
        self.who = Who::Nobody;
        if request.version != 3 {
            return Err(Refusal::new(LdapResultCode::ProtocolError, "only LDAP version 3 is spoken"));
        }
        self.who = match request.cred {
            LdapBindCred::Simple(password) => self.bind_simple(&request.dn, Secret::new(password), controls).await?,
            LdapBindCred::SASL(credentials) => self.bind_sasl(&credentials)?,
            LdapBindCred::Unsupported => return Err(unsupported()),
        };
        Ok(())
    }

    async fn bind_simple(&self, name: &str, password: Secret, controls: &[LdapControl]) -> Result<Who, Refusal> {
        match (name.is_empty(), password.expose().is_empty()) {
            // RFC 4513 §5.1.1.
            (true, true) => return Ok(Who::Nobody),
            // RFC 4513 §5.1.2: a client that asks its user for a password, gets none and takes success for a login.
            (false, true) => {
                return Err(Refusal::new(LdapResultCode::UnwillingToPerform, "a bind with a name takes a password"));
            }
            _ => {}
        }
        let login = match place(name) {
            Ok(Place::Account(address)) => address.to_string(),
            _ => name.to_owned(),
        };
        let account = self.store.authenticate(&login, &password, self.client(controls)).await?;
        Ok(Who::Account(account.address))
    }

    fn bind_sasl(&self, credentials: &SaslCredentials) -> Result<Who, Refusal> {
        if credentials.mechanism != "EXTERNAL" {
            return Err(unsupported());
        }
        // RFC 4422 appendix A: an authorisation identity, when there is one, must be the node's own.
        let identity = &credentials.credentials;
        if !identity.is_empty() && *identity != self.node_identity().into_bytes() {
            return Err(Refusal::new(LdapResultCode::InvalidCredentials, "a node asks for itself alone"));
        }
        Ok(Who::Node)
    }

    /// The node as an authorisation identity (RFC 4513 §5.2.1.8).
    pub(super) fn node_identity(&self) -> String {
        format!("u:node:{}", self.node.node)
    }

    /// Where the client is for whom the peer asks: as the peer says, when it is one that has clients, else where it is
    /// itself.
    fn client(&self, controls: &[LdapControl]) -> IpAddr {
        let tracked = controls.iter().find_map(|control| match control {
            LdapControl::Unknown { oid, value: Some(value), .. } if oid == session_tracking::OID => {
                session_tracking::decode(value)
            }
            _ => None,
        });
        tracked.filter(|_| self.node.holds_any(&FRONTS)).unwrap_or(self.peer)
    }
}

fn unsupported() -> Refusal {
    Refusal::new(LdapResultCode::AuthMethodNotSupported, "bind by SASL EXTERNAL or with a name and a password")
}
