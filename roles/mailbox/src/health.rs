//! What a mailbox node proves about itself: its listeners greet, its database takes writes, and its bodies can be reached.
//!
//! The directory is not needed: who has mail here already is served without it, and the first mail of a new account
//! waits in the queue of edge.

use std::time::Duration;

use async_trait::async_trait;
use estafeta_core::members::{MembersView, SHARED, STORE};
use estafeta_core::{NodeName, StoreGroup};
use estafeta_net::probe::{self, Answer};
use estafeta_net::role::{Health, Probing};

use crate::role::{ACCESS, EDGE};
use crate::store::Store;

/// How long the store of bodies may take to say whose they are: less than a check may take in all, so that it is named.
const BODIES: Duration = Duration::from_secs(2);

/// The store, under watch.
pub struct StoreHealth {
    /// The store.
    pub store: Store,
    /// This node.
    pub node: NodeName,
    /// The store group that it serves.
    pub group: StoreGroup,
    /// Where its bodies are, for people.
    pub bodies: String,
    /// Whether other nodes may serve it, too.
    pub shared: bool,
    /// Who else does.
    pub members: MembersView,
}

impl StoreHealth {
    /// Tells the others which store this node serves.
    pub fn tell(&self) {
        let shared = if self.shared { SHARED } else { "" };
        let store = format!("{}{shared}", self.store.identity());
        self.members.change(&self.node, |own| {
            own.facts.insert(STORE.to_owned(), store.clone());
        });
    }

    /// Two stores under the name of one group would each hold a part of everybody's mail.
    fn check_group(&self) -> Result<(), String> {
        let members = self.members.current();
        let others =
            members.iter().filter(|other| other.name != self.node && other.store_group.as_ref() == Some(&self.group));
        for other in others {
            let Some(store) = other.facts.get(STORE) else { continue };
            if store.strip_suffix(SHARED).unwrap_or(store) != self.store.identity() {
                return Err(format!(
                    "the node {} serves the store group {} from another database: give both the same database, or one of them another store_group",
                    other.name, self.group
                ));
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Health for StoreHealth {
    async fn check(&self) -> Result<(), String> {
        self.check_group()?;
        let bodies = tokio::time::timeout(BODIES, self.store.check_bodies());
        let (writable, bodies) = tokio::join!(self.store.is_writable(), bodies);
        let silent = |_| Err(format!("the bodies in {}: no answer within {} ms", self.bodies, BODIES.as_millis()));
        let failed = |error| format!("the store does not work: {error}");
        writable.map_err(failed)?;
        bodies.map_or_else(silent, |checked| checked.map_err(failed))
    }
}

/// Of the service `lmtp`.
pub fn lmtp(probing: Probing) -> Answer {
    Box::pin(async move { probe::lmtp_between_nodes(probing, EDGE).await })
}

/// Of the service `mailbox-imap`.
pub fn imap(probing: Probing) -> Answer {
    Box::pin(async move { probe::imap_between_nodes(probing, ACCESS).await })
}

/// Of the service `mailbox-pop3`.
pub fn pop3(probing: Probing) -> Answer {
    Box::pin(async move { probe::pop3_between_nodes(probing, ACCESS).await })
}

#[cfg(test)]
mod tests {
    use estafeta_core::members::{Member, Members};

    use super::*;
    use crate::store::{BodyPlace, StoreOptions};

    #[tokio::test]
    async fn a_node_that_serves_the_group_from_another_database_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let options = StoreOptions {
            servers: None,
            directory: directory.path().into(),
            bodies: BodyPlace::Files,
            message_limit_bytes: 1000,
            readers: 1,
            warn_at_percent: Vec::new(),
            keep_expunged: true,
        };
        let store = Store::open(options).await.unwrap();
        let member = |name: &str, group: &str| Member {
            store_group: Some(group.parse().unwrap()),
            ..Member::named(name.parse().unwrap())
        };
        let members = [member("mailbox1", "g"), member("mailbox2", "g"), member("mailbox3", "h")];
        let members = MembersView::new(Members::new(members.into()));
        let (node, group) = ("mailbox1".parse().unwrap(), "g".parse().unwrap());
        let bodies = "files".to_owned();
        let health = StoreHealth { store, node, group, bodies, shared: true, members: members.clone() };
        health.tell();
        let own = members.current().get(&health.node).unwrap().facts[STORE].clone();
        assert_eq!(own, format!("{} shared", health.store.identity()));
        health.check().await.unwrap();
        for (name, says, wrong) in [
            ("mailbox3", "estafeta 1", false),
            ("mailbox2", own.as_str(), false),
            ("mailbox2", "estafeta 1 shared", true),
        ] {
            members.change(&name.parse().unwrap(), |member| drop(member.facts.insert(STORE.into(), says.into())));
            let said = health.check().await;
            assert!(said.is_err() == wrong && (!wrong || said.as_ref().unwrap_err().contains("mailbox2")), "{said:?}");
        }
    }
}
