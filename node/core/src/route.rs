//! Which implementation of a contract answers a call: the local one when this node has the role, else a remote client
//! of a member, chosen anew at each call by store group, readiness and what lately could not be reached.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use crate::failure::{Failure, Reason};
use crate::members::{Candidate, MembersView};
use crate::name::{NodeName, ServiceName, StoreGroup};

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
    /// that lately could not be reached last. With a `group`, only that store group's.
    pub fn choose(&self, group: Option<&StoreGroup>, now: Instant) -> Vec<Route<C>> {
        let members = self.members.current();
        let mine = members.get(&self.node).and_then(|member| member.store_group.clone());
        let local = self.local.get().filter(|_| group.is_none() || mine.as_ref() == group);
        let mut remote: Vec<Candidate> = members
            .candidates(&self.service, group)
            .into_iter()
            .filter(|candidate| candidate.node != self.node)
            .collect();
        if !remote.is_empty() {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed) % remote.len();
            remote.rotate_left(turn);
        }
        {
            let mut resting = self.resting.lock().unwrap_or_else(PoisonError::into_inner);
            resting.retain(|_, until| *until > now);
            remote.sort_by_key(|candidate| resting.contains_key(&candidate.endpoint.address));
        }
        let local = local.map(|to| Route { to, candidate: None });
        local.into_iter().chain(remote.into_iter().map(|candidate| self.remote(candidate))).collect()
    }

    /// Asks one way after the other until one answers something else than [`Reason::Unavailable`]. Only for what may
    /// be asked twice: look-ups, and changes that are idempotent.
    pub async fn ask<T, F>(&self, group: Option<&StoreGroup>, question: impl Fn(Arc<C>) -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let mut last = None;
        for route in self.choose(group, Instant::now()) {
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
            let group = group.map(|group| format!(" for store group {group}")).unwrap_or_default();
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

    fn order(routes: &Routes<str>, group: Option<&str>, now: Instant) -> Vec<String> {
        let group = group.map(|group| group.parse().unwrap());
        routes.choose(group.as_ref(), now).iter().map(|route| route.to.to_string()).collect()
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
        assert_eq!(order(&routes, Some("g1"), Instant::now()), ["a"]);
        assert_eq!(order(&routes, Some("g2"), Instant::now()), ["local"]);
        assert!(order(&routes, Some("g3"), Instant::now()).is_empty());
    }
}
