//! Which nodes are enrolled, and what lets them in: tokens, certificates, gossip keys.
//!
//! Invariants: a token is used in the transaction that records its node, so it lets one node in; a certificate is
//! written down before it is handed out; whoever is removed is shut out in the transaction that removes them.

use estafeta_storage::sql::Connection;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use estafeta_core::certificate::{Issued, Issuer, NODE_DAYS};
use estafeta_core::joining::{JoinRequest, JoinToken, Joined};
use estafeta_core::members::{Member, Readiness, SHARED, STORE};
use estafeta_core::{Failure, NodeName, Reason, RoleName};

use super::Store;
use crate::calendar::rfc3339;
use crate::gossip_keys::{self, ANNOUNCED_SECONDS};
use crate::sql::{certificates, gossip_keys as kept_keys, join_tokens, nodes, settings};

/// The most good certificates of one node: a node that asks for more is broken.
const CERTIFICATES_LIMIT: u64 = 32;

impl Store {
    /// Makes the first gossip key when there is none.
    pub async fn ensure_gossip_key(&self, now: u64) -> Result<(), Failure> {
        self.database
            .run(async move |connection| {
                let keys = kept_keys::all(&mut *connection).await?;
                if !keys.is_empty() {
                    return Ok(());
                }
                kept_keys::insert(&mut *connection, &gossip_keys::next(&keys, now)?).await?;
                Ok::<_, Failure>(settings::count_version(connection).await?)
            })
            .await
    }

    /// Adds a gossip key, and says from when it is the one to send with.
    pub async fn roll_gossip_key(&self, now: u64) -> Result<u64, Failure> {
        self.database
            .run(async move |connection| {
                roll_gossip_key(&mut *connection, now).await?;
                settings::count_version(connection).await?;
                Ok::<_, Failure>(now + ANNOUNCED_SECONDS)
            })
            .await
    }

    /// Forgets the gossip keys that nobody sends with any more and the certificates that have expired. Says whether the
    /// settings have changed.
    pub async fn forget_what_is_over(&self, now: u64) -> Result<bool, Failure> {
        self.database
            .run(async move |connection| {
                let keys = kept_keys::all(&mut *connection).await?;
                let mut changed = certificates::prune(&mut *connection, now).await?;
                if let Some(oldest) = gossip_keys::oldest_taken(&keys, now) {
                    changed |= kept_keys::delete_before(&mut *connection, oldest).await?;
                }
                if changed {
                    settings::count_version(connection).await?;
                }
                Ok::<_, Failure>(changed)
            })
            .await
    }

    /// Keeps what a token grants.
    pub async fn add_token(&self, token: join_tokens::JoinToken, now: u64) -> Result<(), Failure> {
        self.database
            .run(async move |connection| Ok::<_, Failure>(join_tokens::insert(connection, &token, now).await?))
            .await
    }

    /// Lets a node in. `known` are the members that this node knows: those that did not join are in configurations.
    pub async fn join(
        &self,
        request: JoinRequest,
        known: Vec<Member>,
        issuer: Arc<dyn Issuer>,
        now: u64,
    ) -> Result<Joined, Failure> {
        let name = request.member.name.clone();
        let joined = self
            .database
            .run(async move |connection| join(connection, &request, &known, issuer.as_ref(), now).await)
            .await?;
        tracing::info!(node = %name, roles = ?joined.roles, certificate = joined.issued.serial, "a node has joined");
        Ok(joined)
    }

    /// The next certificate of an enrolled node, with the roles that it is enrolled with.
    pub async fn renew(
        &self,
        node: NodeName,
        request: String,
        known: Vec<Member>,
        issuer: Arc<dyn Issuer>,
        now: u64,
    ) -> Result<Issued, Failure> {
        let name = node.clone();
        let issued = self
            .database
            .run(async move |connection| {
                let enrolled = enrolled(&mut *connection, &known).await?;
                let member = enrolled.get(&node).map(|(member, _)| member).ok_or_else(|| not_enrolled(&node))?;
                if certificates::count(&mut *connection, &node, now).await? >= CERTIFICATES_LIMIT {
                    let text = format!(
                        "node {node} has {CERTIFICATES_LIMIT} good certificates already: why does it not use them?"
                    );
                    return Err(Failure::new(Reason::Busy, text));
                }
                let roles: Vec<RoleName> = member.roles.keys().cloned().collect();
                let issued = issue(issuer.as_ref(), &node, &roles, &request, now)?;
                certificates::insert(connection, &node, &issued).await?;
                Ok(issued)
            })
            .await?;
        tracing::info!(node = %name, certificate = issued.serial, "a node's certificate was renewed");
        Ok(issued)
    }

    /// Removes a node: nobody talks with it any more, whatever certificate or gossip key it has.
    pub async fn remove_node(&self, node: &NodeName, known: Vec<Member>, now: u64) -> Result<(), Failure> {
        let name = node.clone();
        self.database
            .run(async move |connection| {
                let enrolled = enrolled(&mut *connection, &known).await?;
                let (_, joined) = enrolled.get(&name).ok_or_else(|| not_enrolled(&name))?;
                // A certificate that was issued elsewhere is known by no serial number: its name stays shut out as long as
                // it may be good.
                let free_from = if *joined { now } else { now + NODE_DAYS * 86_400 };
                nodes::delete(&mut *connection, &name).await?;
                nodes::shut_out(&mut *connection, &name, now, free_from).await?;
                certificates::revoke(&mut *connection, &name).await?;
                roll_gossip_key(&mut *connection, now).await?;
                Ok::<_, Failure>(settings::count_version(connection).await?)
            })
            .await?;
        tracing::warn!(%node, "the node was removed: every node refuses it within seconds, and the gossip key is rolled");
        Ok(())
    }

    /// Every enrolled node and whether it joined by a token, with until when its newest known certificate is good, in
    /// seconds since 1970.
    pub async fn enrolled(&self, known: &[Member]) -> Result<Vec<(Member, bool, Option<u64>)>, Failure> {
        let mut connection = self.reader().await?;
        let expiries = certificates::expiries(&mut connection).await?;
        let enrolled = enrolled(&mut connection, known).await?;
        Ok(enrolled
            .into_iter()
            .map(|(name, (member, joined))| (member, joined, expiries.get(&name).copied()))
            .collect())
    }
}

/// Every enrolled node, and whether it joined: those that did, and those of `known` that are in configurations.
async fn enrolled(
    connection: &mut Connection,
    known: &[Member],
) -> Result<BTreeMap<NodeName, (Member, bool)>, Failure> {
    let removed = nodes::removed(&mut *connection).await?;
    let configured = known.iter().filter(|member| !removed.contains(&member.name));
    let mut enrolled: BTreeMap<NodeName, (Member, bool)> =
        configured.map(|member| (member.name.clone(), (member.clone(), false))).collect();
    for member in nodes::all(connection).await? {
        enrolled.insert(member.name.clone(), (member, true));
    }
    Ok(enrolled)
}

fn not_enrolled(node: &NodeName) -> Failure {
    Failure::new(Reason::NotFound, format!("no node {node} is enrolled: see estafeta node list"))
}

async fn roll_gossip_key(connection: &mut Connection, now: u64) -> Result<(), Failure> {
    let mut keys = kept_keys::all(&mut *connection).await?;
    let key = gossip_keys::next(&keys, now + ANNOUNCED_SECONDS)?;
    kept_keys::insert(&mut *connection, &key).await?;
    keys.push(key);
    if let Some(oldest) = gossip_keys::oldest_taken(&keys, now) {
        kept_keys::delete_before(connection, oldest).await?;
    }
    Ok(())
}

fn issue(issuer: &dyn Issuer, node: &NodeName, roles: &[RoleName], request: &str, now: u64) -> Result<Issued, Failure> {
    issuer.issue(node, roles, request, UNIX_EPOCH + Duration::from_secs(now))
}

async fn join(
    connection: &mut Connection,
    request: &JoinRequest,
    known: &[Member],
    issuer: &dyn Issuer,
    now: u64,
) -> Result<Joined, Failure> {
    let name = &request.member.name;
    let token = good_token(&mut *connection, request, now).await?;
    let enrolled = enrolled(&mut *connection, known).await?;
    if enrolled.contains_key(name) {
        let text = format!(
            "a node {name} is enrolled already: choose another name, or remove that one first: estafeta node remove {name}"
        );
        return Err(Failure::new(Reason::Exists, text));
    }
    if let Some(free_from) = nodes::free_from(&mut *connection, name).await?.filter(|free_from| *free_from > now) {
        let text = format!(
            "the node {name} was removed, and a certificate of it that was not issued by a token may be good until {}: choose another name",
            rfc3339(free_from)
        );
        return Err(Failure::new(Reason::Denied, text));
    }
    // What a node says of itself now stands with those that are known, not with what was written down when it joined.
    let others = enrolled.values();
    let others = others.map(|(member, _)| known.iter().find(|heard| heard.name == member.name).unwrap_or(member));
    let member = granted(&request.member, &token.roles, others)?;
    let issued = issue(issuer, name, &token.roles, &request.request, now)?;
    nodes::let_in(&mut *connection, name).await?;
    nodes::insert(&mut *connection, &member, now).await?;
    certificates::insert(&mut *connection, name, &issued).await?;
    join_tokens::set_used(&mut *connection, &token.hash, name, now).await?;
    settings::count_version(&mut *connection).await?;
    let configured = enrolled.into_values().filter(|(_, joined)| !joined).map(|(member, _)| member).collect();
    let settings = settings::read(connection).await?;
    Ok(Joined { issued, authority: issuer.certificate().to_owned(), roles: token.roles, settings, configured })
}

/// The token of a request, unless it lets nobody in, or somebody else.
async fn good_token(
    connection: &mut Connection,
    request: &JoinRequest,
    now: u64,
) -> Result<join_tokens::JoinToken, Failure> {
    let again = "make a new one with: estafeta cluster token --role …";
    let refused = |text: String| Failure::new(Reason::Denied, text);
    let asked: JoinToken = request.token.parse().map_err(|error| Failure::new(Reason::Invalid, format!("{error}")))?;
    let token = join_tokens::find(connection, &asked.hash()).await?;
    let token = token.ok_or_else(|| refused(format!("this token is not known to the cluster: {again}")))?;
    if let Some((node, at)) = &token.used {
        return Err(refused(format!("this token was used by node {node} at {}: {again}", rfc3339(*at))));
    }
    if token.expires <= now {
        return Err(refused(format!("this token has expired at {}: {again}", rfc3339(token.expires))));
    }
    match &token.node {
        Some(node) if node != &request.member.name => {
            Err(refused(format!("this token is for the node {node}, not for {}: {again}", request.member.name)))
        }
        _ => Ok(token),
    }
}

/// Whether a node says that others may serve its store group.
fn shares_store(member: &Member) -> bool {
    member.facts.get(STORE).is_some_and(|store| store.ends_with(SHARED))
}

/// The node with what the token grants and no more: what a node says of itself is not believed beyond that.
fn granted<'a>(
    member: &Member,
    roles: &[RoleName],
    mut others: impl Iterator<Item = &'a Member>,
) -> Result<Member, Failure> {
    let invalid = |text: String| Failure::new(Reason::Invalid, text);
    let store_group = member.store_group.clone().filter(|_| roles.contains(&RoleName::MAILBOX));
    if roles.contains(&RoleName::MAILBOX) && store_group.is_none() {
        return Err(invalid("the role mailbox needs a store group: name it with --store-group".into()));
    }
    // A store group has several nodes only where nothing of it is one node's alone (DESIGN.md, Words).
    if let Some(group) = &store_group
        && let Some(other) = others.find(|other| other.store_group.as_ref() == Some(group) && !shares_store(other))
    {
        let text = format!(
            "the store group {group} is on the node {}, which does not say that others may share its database and its bodies: choose another with --store-group, or let that node run with database and [mailbox.s3] first",
            other.name
        );
        return Err(Failure::new(Reason::Exists, text));
    }
    Ok(Member {
        roles: roles.iter().map(|role| (role.clone(), Readiness::Ready)).collect(),
        endpoints: member.endpoints.iter().filter(|endpoint| roles.contains(&endpoint.role)).cloned().collect(),
        administration: member.administration,
        gossip: member.gossip,
        store_group,
        site: member.site.clone(),
        ..Member::named(member.name.clone())
    })
}
