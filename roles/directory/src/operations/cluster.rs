//! `cluster token`, `cluster key roll`, `node list|remove`, and what nodes ask for themselves: to join, and their next
//! certificate. Carried out where the directory is.

use std::sync::Arc;

use async_trait::async_trait;
use aws_lc_rs::rand;
use estafeta_core::administration::{
    ASKING_NODE, Administration, Field, Kind, Operation, Perform, Placing, input, output,
};
use estafeta_core::certificate::Issuer;
use estafeta_core::joining::{JOIN, JoinRequest, JoinToken, RENEW, RenewRequest};
use estafeta_core::members::{Member, MembersView};
use estafeta_core::settings::{SettingsStore as _, SettingsView};
use estafeta_core::{Failure, NodeName, Reason, RoleName};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{option, positional};
use crate::calendar::rfc3339;
use crate::sql::{join_tokens, now};
use crate::store::Store;

const TOKEN: &str = "cluster token";
const KEY_ROLL: &str = "cluster key roll";
const LIST: &str = "node list";
const REMOVE: &str = "node remove";

/// How long a token is good, in hours, unless another time is asked for; and the longest.
const TOKEN_HOURS: u64 = 24;
const TOKEN_HOURS_LIMIT: u64 = 30 * 24;

/// The most endpoints that a node may name: far more than all roles have services.
const ENDPOINTS_LIMIT: usize = 256;

/// Whoever makes a token grants roles: no other node may make itself more than it is.
const GRANTORS: &[RoleName] = &[RoleName::DIRECTORY];

const REQUEST: Field = positional("request", Kind::Text, "Its PKCS #10 request, in PEM");
const TOKEN_FIELDS: &[Field] = &[
    Field { name: "role", kind: Kind::Roles, placing: Placing::Required, about: "What the node may do" },
    option("hours", Kind::Integer, "How long the token is good, in hours; 24 by default, at most 720"),
    option("node", Kind::Text, "The only node that may use it; any by default"),
];
const NODE_FIELDS: &[Field] = &[positional("node", Kind::Text, "The node's name")];
const JOIN_FIELDS: &[Field] = &[
    positional("token", Kind::Text, "The token"),
    positional("member", Kind::Object, "The node: its name, endpoints, store group, site"),
    REQUEST,
];
const RENEW_FIELDS: &[Field] = &[positional(ASKING_NODE, Kind::Text, "The node that asks"), REQUEST];

/// The rows.
pub fn operations() -> Vec<Operation> {
    let row = Operation {
        name: TOKEN,
        about: "Make a token with which one node may join the cluster; ask for it on a node with the role directory",
        fields: TOKEN_FIELDS,
        changes: true,
        confirm: None,
        columns: &[],
        asked_by: GRANTORS,
        hidden: false,
        perform: Perform::ByRole(RoleName::DIRECTORY),
    };
    let anybody = Operation { asked_by: &[], fields: &[], ..row.clone() };
    vec![
        row.clone(),
        Operation {
            name: KEY_ROLL,
            about: "Give the members' gossip a new key; the old one is taken for ten more minutes",
            ..anybody.clone()
        },
        Operation {
            name: LIST,
            about: "List the enrolled nodes, and until when the certificate of each is known to be good",
            changes: false,
            columns: &["node", "roles", "address", "store_group", "site", "enrolled_by", "certificate_until"],
            ..anybody.clone()
        },
        Operation {
            name: REMOVE,
            about: "Shut a node out of the cluster at once: for good, unless it joins again with a new token",
            fields: NODE_FIELDS,
            confirm: Some("No node will talk with {node} any more. Remove {node} from the cluster?"),
            ..anybody.clone()
        },
        Operation {
            name: JOIN,
            about: "What a node asks that joins; the token decides",
            fields: JOIN_FIELDS,
            hidden: true,
            ..anybody.clone()
        },
        Operation {
            name: RENEW,
            about: "What a node asks whose certificate comes to its end",
            fields: RENEW_FIELDS,
            hidden: true,
            ..anybody
        },
    ]
}

/// The operations on the cluster, where the directory is.
pub struct ClusterAdministration {
    /// Where nodes, tokens and keys are kept.
    pub store: Store,
    /// What changes is in this node's own view at once.
    pub settings: SettingsView,
    /// Who is known here: nodes of the configuration among them.
    pub members: MembersView,
    /// This node.
    pub node: NodeName,
    /// The authority, when this node holds its key.
    pub issuer: Option<Arc<dyn Issuer>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewToken {
    role: Vec<RoleName>,
    hours: Option<u64>,
    node: Option<NodeName>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfNode {
    node: NodeName,
}

#[derive(Serialize)]
struct Row {
    node: NodeName,
    roles: Vec<RoleName>,
    address: Option<String>,
    store_group: Option<String>,
    site: Option<String>,
    enrolled_by: &'static str,
    certificate_until: Option<String>,
}

impl ClusterAdministration {
    fn issuer(&self) -> Result<Arc<dyn Issuer>, Failure> {
        self.issuer.clone().ok_or_else(|| {
            Failure::new(
                Reason::Unavailable,
                format!(
                    "the node {} cannot issue certificates: name the authority's key in its configuration as \
                     authority_key in [cluster], where estafeta cluster init has put it",
                    self.node
                ),
            )
        })
    }

    fn known(&self) -> Vec<Member> {
        self.members.current().iter().cloned().collect()
    }

    async fn advance(&self) -> Result<(), Failure> {
        self.settings.replace(self.store.read().await?);
        Ok(())
    }

    async fn token(&self, asked: NewToken) -> Result<Value, Failure> {
        let issuer = self.issuer()?;
        let hours = asked.hours.unwrap_or(TOKEN_HOURS);
        if asked.role.is_empty() || !(1..=TOKEN_HOURS_LIMIT).contains(&hours) {
            let text = format!("a token grants at least one role and is good for 1 to {TOKEN_HOURS_LIMIT} hours");
            return Err(Failure::new(Reason::Invalid, text));
        }
        let mut roles = asked.role;
        roles.sort();
        roles.dedup();
        let mut secret = [0; 16];
        rand::fill(&mut secret).map_err(|_| Failure::internal("the system gives no random bytes"))?;
        let token = JoinToken { fingerprint: issuer.fingerprint(), secret };
        let (now, name) = (now(), asked.node.as_ref().map_or("NAME", NodeName::as_str));
        let expires = now + hours * 3600;
        let members = self.members.current();
        let address = members.get(&self.node).and_then(|own| own.administration);
        let address = address.map_or_else(|| "ADDRESS".to_owned(), |address| address.to_string());
        let group = if roles.contains(&RoleName::MAILBOX) { " --store-group GROUP" } else { "" };
        let answer = json!({
            "roles": roles,
            "expires": rfc3339(expires),
            "token": token.to_string(),
            "join": format!("estafeta cluster join {address} --token {token} --name {name} --address IP{group}"),
        });
        let kept = join_tokens::JoinToken { hash: token.hash(), roles, node: asked.node, expires, used: None };
        self.store.add_token(kept, now).await?;
        Ok(answer)
    }

    async fn join(&self, request: JoinRequest) -> Result<Value, Failure> {
        let issuer = self.issuer()?;
        if request.member.endpoints.len() > ENDPOINTS_LIMIT {
            return Err(Failure::new(Reason::TooLarge, format!("a node names at most {ENDPOINTS_LIMIT} endpoints")));
        }
        let joined = self.store.join(request, self.known(), issuer, now()).await?;
        self.advance().await?;
        output(&joined)
    }

    async fn renew(&self, RenewRequest { asking_node, request }: RenewRequest) -> Result<Value, Failure> {
        output(&self.store.renew(asking_node, request, self.known(), self.issuer()?, now()).await?)
    }

    async fn remove(&self, node: NodeName) -> Result<Value, Failure> {
        if node == self.node {
            let text = format!("the node {node} keeps the directory, so it cannot remove itself");
            return Err(Failure::new(Reason::Denied, text));
        }
        self.store.remove_node(&node, self.known(), now()).await?;
        self.advance().await?;
        Ok(Value::Null)
    }

    async fn list(&self) -> Result<Value, Failure> {
        let enrolled = self.store.enrolled(&self.known()).await?;
        let rows = enrolled.into_iter().map(|(member, joined, expires)| Row {
            node: member.name,
            roles: member.roles.into_keys().collect(),
            address: member.administration.map(|address| address.to_string()),
            store_group: member.store_group.map(String::from),
            site: member.site.map(String::from),
            enrolled_by: if joined { "token" } else { "configuration" },
            certificate_until: expires.map(rfc3339),
        });
        output(&rows.collect::<Vec<_>>())
    }
}

#[async_trait]
impl Administration for ClusterAdministration {
    async fn perform(&self, operation: &str, value: Value) -> Result<Value, Failure> {
        match operation {
            TOKEN => self.token(input(value)?).await,
            KEY_ROLL => {
                let from = self.store.roll_gossip_key(now()).await?;
                self.advance().await?;
                Ok(json!({ "in_use_from": rfc3339(from) }))
            }
            LIST => self.list().await,
            REMOVE => {
                let OfNode { node } = input(value)?;
                self.remove(node).await
            }
            JOIN => self.join(input(value)?).await,
            RENEW => self.renew(input(value)?).await,
            other => Err(Failure::new(Reason::NotFound, format!("the cluster has no operation {other:?}"))),
        }
    }
}

#[cfg(test)]
mod tests;
