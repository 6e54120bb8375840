//! Which implementation of a contract answers a call: the local one when this node has the role, else a remote client
//! of a member, chosen anew at each call by readiness and what lately could not be reached; what concerns one account, by
//! its store group and affinity too.
//!
//! Affinity is rendezvous hashing: each node of a store group has a number for each account, and the highest ready one is
//! preferred. So all who ask prefer the same node, without talking of it, and its caches stay warm; when a node comes or
//! goes, only its own accounts move.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use crate::directory::Account;
use crate::failure::{Failure, Reason};
use crate::members::{Candidate, MembersView};
use crate::name::{AccountId, NodeName, ServiceName};

/// How long an endpoint that could not be reached is tried last.
pub const REST: Duration = Duration::from_secs(5);

/// Where a role puts its own implementation while it runs. Empty while the role is down; cheap to clone.
pub struct Local<C: ?Sized>(Arc<RwLock<Option<Arc<C>>>>);

impl<C: ?Sized> Clone for Local<C> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<C: ?Sized> Default for Local<C> {
    fn default() -> Self {
        Self(Arc::new(RwLock::new(None)))
    }
}

impl<C: ?Sized> Local<C> {
    /// The role runs and this is its implementation.
    pub fn provide(&self, implementation: Arc<C>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(implementation);
    }

    /// The role has stopped.
    pub fn withdraw(&self) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The implementation, while the role runs.
    pub fn get(&self) -> Option<Arc<C>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Makes the client of a remote implementation. It connects when it is first asked, not when it is made.
pub type Connect<C> = Box<dyn Fn(&Candidate) -> Arc<C> + Send + Sync>;

/// The ways to one contract's implementations.
pub struct Routes<C: ?Sized> {
    service: ServiceName,
    node: NodeName,
    local: Local<C>,
    members: MembersView,
    connect: Connect<C>,
    clients: Mutex<HashMap<SocketAddr, Arc<C>>>,
    resting: Mutex<HashMap<SocketAddr, Instant>>,
    turn: AtomicUsize,
}

/// One way to try.
pub struct Route<C: ?Sized> {
    /// The implementation.
    pub to: Arc<C>,
    /// The member that it speaks to; none for the local one.
    pub candidate: Option<Candidate>,
}

impl<C: ?Sized> Routes<C> {
    /// Routes for the contract that is served remotely as `service`; `node` is this node's own name, which is never
    /// reached through the network.
    pub fn new(
        service: ServiceName,
        node: NodeName,
        local: Local<C>,
        members: MembersView,
        connect: Connect<C>,
    ) -> Self {
        Self {
            service,
            node,
            local,
            members,
            connect,
            clients: Mutex::default(),
            resting: Mutex::default(),
            turn: AtomicUsize::new(0),
        }
    }

    /// The ways in the order to try them at `now`: the local implementation, then the remote ones in rotation, those
    /// that lately could not be reached last. For an `account`, those of its store group, by affinity; the local one is
    /// one of them then, and last while this node is not ready.
    pub fn choose(&self, account: Option<&Account>, now: Instant) -> Vec<Route<C>> {
        let members = self.members.current();
        let group = account.map(|account| &account.store_group);
        let mine = members.get(&self.node).and_then(|member| member.store_group.clone());
        let local = self.local.get().filter(|_| group.is_none() || mine.as_ref() == group);
        let mut candidates = members.candidates(&self.service, group);
        let here = |candidate: &Candidate| candidate.node == self.node;
        let mut place = 0;
        match account {
            Some(account) => {
                candidates.sort_by_cached_key(|candidate| Reverse(attraction(account.id, &candidate.node)));
                place = candidates.iter().position(here).unwrap_or(candidates.len());
                candidates.retain(|candidate| !here(candidate));
            }
            None => {
                candidates.retain(|candidate| !here(candidate));
                if !candidates.is_empty() {
                    let turn = self.turn.fetch_add(1, Ordering::Relaxed) % candidates.len();
                    candidates.rotate_left(turn);
                }
            }
        }
        {
            let mut resting = self.resting.lock().unwrap_or_else(PoisonError::into_inner);
            resting.retain(|_, until| *until > now);
            let rests = |candidate: &Candidate| resting.contains_key(&candidate.endpoint.address);
            place -= candidates[..place].iter().filter(|candidate| rests(candidate)).count();
            candidates.sort_by_key(rests);
        }
        let mut ways: Vec<_> = candidates.into_iter().map(|candidate| self.remote(candidate)).collect();
        if let Some(to) = local {
            ways.insert(place, Route { to, candidate: None });
        }
        ways
    }

    /// Asks one way after the other until one answers something else than [`Reason::Unavailable`]. Only for what may
    /// be asked twice: look-ups, and changes that are idempotent.
    pub async fn ask<T, F>(&self, account: Option<&Account>, question: impl Fn(Arc<C>) -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let mut last = None;
        for route in self.choose(account, Instant::now()) {
            match question(route.to.clone()).await {
                Err(failure) if failure.reason == Reason::Unavailable => {
                    tracing::debug!(service = %self.service, node = ?route.candidate.as_ref().map(|c| c.node.as_str()), %failure, "no answer");
                    self.rest(&route, Instant::now());
                    last = Some(failure);
                }
                answer => return answer,
            }
        }
        Err(last.unwrap_or_else(|| {
            let group = account.map(|account| format!(" for store group {}", account.store_group)).unwrap_or_default();
            Failure::unavailable(format!(
                "no node serves {}{group}: add one to the cluster or see why it is down",
                self.service
            ))
        }))
    }

    /// Notes that a way could not be used: it is tried last for [`REST`].
    pub fn rest(&self, route: &Route<C>, now: Instant) {
        if let Some(candidate) = &route.candidate {
            let mut resting = self.resting.lock().unwrap_or_else(PoisonError::into_inner);
            resting.insert(candidate.endpoint.address, now + REST);
        }
    }

    fn remote(&self, candidate: Candidate) -> Route<C> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let to = clients.entry(candidate.endpoint.address).or_insert_with(|| (self.connect)(&candidate)).clone();
        Route { to, candidate: Some(candidate) }
    }
}

/// How much a node draws an account: the same number wherever it is computed.
fn attraction(account: AccountId, node: &NodeName) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(account.0.as_bytes()).update(node.as_str().as_bytes());
    *hasher.finalize().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::members::{Endpoint, Member, Members, Readiness};
    use crate::name::RoleName;

    const SERVICE: ServiceName = ServiceName::fixed("lmtp");

    fn member(name: &str, port: u16, group: &str) -> Member {
        Member {
            roles: [(RoleName::MAILBOX, Readiness::Ready)].into(),
            endpoints: vec![Endpoint {
                role: RoleName::MAILBOX,
                service: SERVICE,
                address: SocketAddr::from(([127, 0, 0, 1], port)),
            }],
            store_group: Some(group.parse().unwrap()),
            ..Member::named(name.parse().unwrap())
        }
    }

    fn routes(members: Vec<Member>, local: Local<str>) -> Routes<str> {
        let connect: Connect<str> = Box::new(|candidate| Arc::from(candidate.node.as_str()));
        Routes::new(SERVICE, "me".parse().unwrap(), local, MembersView::new(Members::new(members)), connect)
    }

    fn account(group: &str) -> Account {
        Account {
            id: AccountId::random(),
            address: "ana@example.edu".parse().unwrap(),
            name: String::new(),
            store_group: group.parse().unwrap(),
            quota_bytes: None,
            quota_messages: None,
            enabled: true,
            created: 0,
        }
    }

    fn order(routes: &Routes<str>, account: Option<&Account>, now: Instant) -> Vec<String> {
        routes.choose(account, now).iter().map(|route| route.to.to_string()).collect()
    }

    #[test]
    fn local_first_then_in_turn_and_the_unreachable_last() {
        let local = Local::default();
        let routes = routes(vec![member("a", 1, "g"), member("b", 2, "g"), member("me", 3, "g")], local.clone());
        let now = Instant::now();
        assert_eq!(order(&routes, None, now), ["a", "b"]);
        assert_eq!(order(&routes, None, now), ["b", "a"]);
        local.provide(Arc::from("local"));
        assert_eq!(order(&routes, None, now), ["local", "a", "b"]);
        let a = routes.choose(None, now).into_iter().find(|route| &*route.to == "a").unwrap();
        routes.rest(&a, now);
        for _ in 0..3 {
            assert_eq!(order(&routes, None, now), ["local", "b", "a"]);
        }
        // Rested: it takes its turn again.
        let firsts = [(); 2].map(|()| order(&routes, None, now + REST)[1].clone());
        assert!(firsts.contains(&"a".to_owned()) && firsts.contains(&"b".to_owned()), "{firsts:?}");
    }

    #[test]
    fn a_store_group_is_served_by_its_own_nodes_alone() {
        let local = Local::default();
        local.provide(Arc::from("local"));
        let routes = routes(vec![member("a", 1, "g1"), member("me", 3, "g2")], local);
        assert_eq!(order(&routes, Some(&account("g1")), Instant::now()), ["a"]);
        assert_eq!(order(&routes, Some(&account("g2")), Instant::now()), ["local"]);
        assert!(order(&routes, Some(&account("g3")), Instant::now()).is_empty());
    }

    #[test]
    fn all_who_ask_prefer_the_same_node_for_an_account_and_a_node_that_goes_moves_its_own_accounts_alone() {
        let (now, names) = (Instant::now(), ["a", "b", "c"]);
        let group = || names.iter().zip(1..).map(|(name, port)| member(name, port, "g")).collect::<Vec<_>>();
        let outside = routes(group(), Local::default());
        let mut here = routes(group(), Local::default());
        here.node = "b".parse().unwrap();
        here.local.provide(Arc::from("b"));
        let mut without_c = group();
        without_c[2].draining = true;
        let without_c = routes(without_c, Local::default());
        let mut preferred = HashMap::new();
        for _ in 0..300 {
            let account = account("g");
            let ways = order(&outside, Some(&account), now);
            assert_eq!((ways.len(), &ways), (3, &order(&outside, Some(&account), now)));
            assert_eq!(order(&here, Some(&account), now), ways, "where one of them is local, too");
            let left: Vec<_> = ways.iter().filter(|name| *name != "c").cloned().collect();
            assert_eq!(order(&without_c, Some(&account), now), left);
            *preferred.entry(ways[0].clone()).or_insert(0) += 1;
        }
        assert!(names.iter().all(|name| preferred[*name] > 50), "{preferred:?}");

        // One that could not be reached is tried last, whomever it draws.
        let account = account("g");
        let first = &here.choose(Some(&account), now)[0];
        let ways = order(&here, Some(&account), now);
        here.rest(first, now);
        let expected: Vec<_> = match ways[0].as_str() {
            "b" => ways.clone(),
            _ => ways[1..].iter().chain(&ways[..1]).cloned().collect(),
        };
        assert_eq!(order(&here, Some(&account), now), expected);
        // A node that is not ready itself prefers those that are.
        here.members.change(&"b".parse().unwrap(), |member| member.draining = true);
        assert_eq!(order(&here, Some(&account), now + REST).last().unwrap(), "b");
    }
}
