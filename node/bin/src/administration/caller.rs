//! Who asks for an operation, and whether they may.
//!
//! Invariants: whoever is not known to be somebody is a stranger; a stranger, and who was removed, may do nothing but join; what a node says of
//! itself in its input is what its certificate says.

use axum::http::Extensions;
use estafeta_core::administration::{ASKING_NODE, ASKING_ROLE, Operation};
use estafeta_core::joining::JOIN;
use estafeta_core::{Failure, Reason};
use estafeta_net::identity::PeerIdentity;
use estafeta_net::tls::Tls;
use serde_json::Value;

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// A person or a program on this machine, through the Unix socket: its mode says who may.
    OwnSocket,
    /// A node of the cluster, by its certificate.
    Node(PeerIdentity),
    /// A node that was removed and still shows its certificate. It learns that, so that it stops, and nothing else.
    Removed(PeerIdentity),
    /// Somebody without a certificate.
    Stranger,
}

/// What marks the requests that came through the Unix socket.
#[derive(Debug, Clone, Copy)]
pub struct ThroughOwnSocket;

impl Caller {
    /// Who sent a request with these extensions.
    pub fn of(extensions: &Extensions, tls: &Tls) -> Self {
        if extensions.get::<ThroughOwnSocket>().is_some() {
            return Self::OwnSocket;
        }
        match extensions.get::<PeerIdentity>().cloned() {
            Some(peer) if tls.is_shut_out(&peer) => Self::Removed(peer),
            Some(peer) => Self::Node(peer),
            None => Self::Stranger,
        }
    }

    /// Refuses who is nobody here.
    pub fn check_known(&self) -> Result<(), Failure> {
        let denied = |text: String| Err(Failure::new(Reason::Denied, text));
        match self {
            Self::OwnSocket | Self::Node(_) => Ok(()),
            Self::Removed(peer) => denied(format!(
                "node {} was removed from the cluster: it gets in again with a new token alone",
                peer.node
            )),
            Self::Stranger => denied("who shows no certificate of the cluster may only join it".into()),
        }
    }

    /// Whether it may ask for this with this input.
    pub fn may_ask(&self, operation: &Operation, input: &Value) -> Result<(), Failure> {
        let denied = |text: String| Err(Failure::new(Reason::Denied, text));
        let peer = match self {
            Self::OwnSocket => return Ok(()),
            Self::Removed(_) | Self::Stranger if operation.name == JOIN => return Ok(()),
            Self::Removed(_) | Self::Stranger => return self.check_known(),
            Self::Node(peer) => peer,
        };
        if !operation.asked_by.is_empty() && !peer.holds_any(operation.asked_by) {
            let roles: Vec<&str> = operation.asked_by.iter().map(|role| role.as_str()).collect();
            return denied(format!(
                "the node {} may not ask for {:?}: ask on a node with the role {}",
                peer.node,
                operation.name,
                roles.join(" or ")
            ));
        }
        if input.get(ASKING_NODE).is_some_and(|node| node != peer.node.as_str()) {
            return denied(format!("the node {} cannot ask for another", peer.node));
        }
        if let Some(role) = input.get(ASKING_ROLE)
            && !peer.roles.iter().any(|held| role == held.as_str())
        {
            return denied(format!("the certificate of node {} does not hold the role {role}", peer.node));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use estafeta_core::RoleName;
    use estafeta_core::administration::Perform;
    use serde_json::json;

    const ROW: Operation = Operation {
        name: "account add",
        about: "",
        fields: &[],
        changes: true,
        confirm: None,
        columns: &[],
        asked_by: &[],
        hidden: false,
        perform: Perform::ByRole(RoleName::DIRECTORY),
    };

    #[test]
    fn nobody_may_ask_for_more_than_they_are() {
        let edge = Caller::Node(PeerIdentity {
            node: "edge1".parse().unwrap(),
            roles: [RoleName::EDGE].into(),
            serial: "1".into(),
        });
        static DIRECTORY: [RoleName; 1] = [RoleName::DIRECTORY];
        static EDGE: [RoleName; 1] = [RoleName::EDGE];
        let by = |asked_by| Operation { asked_by, ..ROW };
        let join = Operation { name: JOIN, ..ROW };
        let nothing = json!({});
        let may = |caller: &Caller, row: &Operation, input: &Value| caller.may_ask(row, input).is_ok();

        assert!(may(&Caller::Stranger, &join, &nothing) && !may(&Caller::Stranger, &ROW, &nothing));
        assert!(may(&edge, &ROW, &nothing) && may(&edge, &join, &nothing) && may(&edge, &by(&EDGE), &nothing));
        assert!(!may(&edge, &by(&DIRECTORY), &nothing) && may(&Caller::OwnSocket, &by(&DIRECTORY), &nothing));
        for (input, allowed) in [
            (json!({ ASKING_NODE: "edge1" }), true),
            (json!({ ASKING_NODE: "edge2" }), false),
            (json!({ ASKING_NODE: 1 }), false),
            (json!({ ASKING_NODE: null }), false),
            (json!({ ASKING_ROLE: "edge" }), true),
            (json!({ ASKING_ROLE: "dns" }), false),
            (json!({ ASKING_ROLE: ["edge"] }), false),
        ] {
            assert_eq!(may(&edge, &ROW, &input), allowed, "{input}");
            assert!(may(&Caller::OwnSocket, &ROW, &input));
        }

        let Caller::Node(peer) = &edge else { unreachable!() };
        let removed = Caller::Removed(peer.clone());
        assert!(may(&removed, &join, &nothing) && !may(&removed, &ROW, &nothing));
        assert!(removed.check_known().unwrap_err().client.contains("was removed"));
    }
}
