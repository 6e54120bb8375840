//! The composition root: one router a contract, which holds the local implementation, the remote clients and the
//! members, and chooses at each call.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context as _;
use estafeta_core::administration::{Administration, OperationContext};
use estafeta_core::contracts::Contracts;
use estafeta_core::delivery::{Delivery, DeliveryRouter};
use estafeta_core::directory::{CacheAges, Directory, DirectoryCache, DirectoryRouter};
use estafeta_core::judge::{Judge, JudgeRouter};
use estafeta_core::members::MembersView;
use estafeta_core::route::{Local, Routes};
use estafeta_core::sessions::{Sessions, SessionsRouter};
use estafeta_core::submit::{Submit, SubmitRouter};
use estafeta_core::{RoleName, ServiceName};
use estafeta_net::role::{Client, Clients, Provides, Remote, Role};
use estafeta_net::tls::Tls;

use crate::administration::{AdministrationRouter, Table};
use crate::config::NodeConfig;

/// The local implementations that one role may provide.
#[derive(Clone, Default)]
pub struct Locals {
    directory: Local<dyn Directory>,
    judge: Local<dyn Judge>,
    delivery: Local<dyn Delivery>,
    sessions: Local<dyn Sessions>,
    submit: Local<dyn Submit>,
    administration: Local<dyn Administration>,
}

impl Locals {
    /// The role runs.
    pub fn provide(&self, provides: &Provides) {
        provide(&self.directory, provides.directory.as_ref());
        provide(&self.judge, provides.judge.as_ref());
        provide(&self.delivery, provides.delivery.as_ref());
        provide(&self.sessions, provides.sessions.as_ref());
        provide(&self.submit, provides.submit.as_ref());
        provide(&self.administration, provides.administration.as_ref());
    }

    /// Whether the role offers its operations now.
    #[cfg(test)]
    pub fn provides_administration(&self) -> bool {
        self.administration.get().is_some()
    }

    /// The role has stopped.
    pub fn withdraw(&self) {
        self.directory.withdraw();
        self.judge.withdraw();
        self.delivery.withdraw();
        self.sessions.withdraw();
        self.submit.withdraw();
        self.administration.withdraw();
    }
}

fn provide<C: ?Sized>(local: &Local<C>, implementation: Option<&Arc<C>>) {
    if let Some(implementation) = implementation {
        local.provide(implementation.clone());
    }
}

/// The routers, and where the roles of this node put their implementations.
pub struct Wiring {
    /// What roles are handed.
    pub contracts: Contracts,
    /// What the administration API asks.
    pub administration: Arc<AdministrationRouter>,
    /// Where the node puts what carries its own operations out.
    pub node: Local<dyn Administration>,
    locals: BTreeMap<RoleName, Locals>,
}

impl Wiring {
    /// Wires the routers of this node.
    pub fn new(config: &NodeConfig, table: &[Role], tls: Arc<Tls>, members: MembersView) -> anyhow::Result<Self> {
        let locals: BTreeMap<RoleName, Locals> =
            table.iter().map(|role| (role.name.clone(), Locals::default())).collect();
        let remote = Remote { node: config.name.clone(), hostname: config.hostname.clone(), tls };

        let (role, client) = serving(table, |clients| clients.directory)?;
        let directory_uncached: Arc<dyn Directory> =
            Arc::new(DirectoryRouter(routes("ldaps", &locals[role].directory, client, &remote, &members)));
        let directory = Arc::new(DirectoryCache::new(directory_uncached.clone(), CacheAges::default()));

        let (role, client) = serving(table, |clients| clients.judge)?;
        let judge = Arc::new(JudgeRouter(routes("filter", &locals[role].judge, client, &remote, &members)));

        let (role, client) = serving(table, |clients| clients.delivery)?;
        let delivery = Arc::new(DeliveryRouter {
            routes: routes("lmtp", &locals[role].delivery, client, &remote, &members),
            directory: directory_uncached.clone(),
        });

        let (role, imap) = serving(table, |clients| clients.imap)?;
        let (_, pop3) = serving(table, |clients| clients.pop3)?;
        let sessions = Arc::new(SessionsRouter {
            imap: routes("mailbox-imap", &locals[role].sessions, imap, &remote, &members),
            pop3: routes("mailbox-pop3", &locals[role].sessions, pop3, &remote, &members),
            directory: directory_uncached.clone(),
        });

        let (role, client) = serving(table, |clients| clients.submit)?;
        let submit = Arc::new(SubmitRouter(routes("edge-submission", &locals[role].submit, client, &remote, &members)));

        let by_role = locals.iter().map(|(role, locals)| (role.clone(), locals.administration.clone())).collect();
        let node = Local::default();
        let administration = Arc::new(AdministrationRouter::new(
            Table::of(table),
            by_role,
            node.clone(),
            remote.clone(),
            members.clone(),
        ));
        let (_, settings) = serving(table, |clients| clients.settings)?;
        let contracts = Contracts {
            directory,
            directory_uncached,
            judge,
            delivery,
            sessions,
            submit,
            settings: settings(administration.clone()),
            administration: administration.clone(),
        };
        administration.complete(OperationContext { contracts: contracts.clone(), members });
        Ok(Self { contracts, administration, node, locals })
    }

    /// Where a role of this node puts what it provides.
    pub fn locals_of(&self, role: &RoleName) -> Locals {
        self.locals.get(role).cloned().unwrap_or_default()
    }
}

/// The role that serves a contract, and its client.
fn serving<T>(table: &[Role], client: impl Fn(&Clients) -> Option<T>) -> anyhow::Result<(&RoleName, T)> {
    table
        .iter()
        .find_map(|role| Some((&role.name, client(&role.clients)?)))
        .context("a bug: a contract has no client in the role table")
}

fn routes<C: ?Sized + 'static>(
    service: &'static str,
    local: &Local<C>,
    client: Client<C>,
    remote: &Remote,
    members: &MembersView,
) -> Routes<C> {
    let connect = {
        let remote = remote.clone();
        Box::new(move |candidate: &_| client(&remote, candidate))
    };
    Routes::new(ServiceName::fixed(service), remote.node.clone(), local.clone(), members.clone(), connect)
}

/// What tests of this crate hand to a role.
#[cfg(test)]
pub mod testing {
    use estafeta_core::members::{Member, Members, Readiness};
    use estafeta_net::tls::TlsFiles;

    use super::*;
    use crate::roles;

    /// One member with one role.
    pub fn members(name: &str, role: RoleName) -> MembersView {
        MembersView::new(Members::new(vec![Member {
            roles: [(role, Readiness::Ready)].into(),
            ..Member::named(name.parse().unwrap())
        }]))
    }

    /// The contracts of a node that runs nothing and knows nobody.
    pub fn contracts() -> Contracts {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("node.toml");
        std::fs::write(&file, "name = 'me'\nroles = ['filter']\naddress = '127.0.0.1'\n").unwrap();
        let table = roles::table();
        let config = NodeConfig::load(&file, &table).unwrap();
        let tls = Arc::new(Tls::load(TlsFiles::default()).unwrap());
        Wiring::new(&config, &table, tls, MembersView::default()).unwrap().contracts
    }
}
