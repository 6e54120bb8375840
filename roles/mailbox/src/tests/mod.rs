//! The contracts' suites: on this node, and through the remote clients and listeners over mutual TLS.

mod dovecot;
pub mod engine;
mod odd;
mod receipts;
mod suites;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use estafeta_cluster::files::AuthorityFiles;
use estafeta_core::contracts::Contracts;
use estafeta_core::delivery::{Delivery, Outcome, Parcel};
use estafeta_core::directory::memory::MemoryDirectory;
use estafeta_core::directory::{Account, AccountChange, Directory, NewAccount};
use estafeta_core::members::{Candidate, Endpoint, Members, MembersView};
use estafeta_core::nobody::Nobody;
use estafeta_core::sessions::{Session, SessionRequest, Sessions};
use estafeta_core::settings::{SettingsStore as _, SettingsView};
use estafeta_core::submit::{Submission, Submit};
use estafeta_core::{Failure, Message, RoleName, ServiceName};
use estafeta_net::drain::Drain;
use estafeta_net::role::{Clients, Context, Plan as _, Provides, Remote, Transport};
use estafeta_net::sockets::Sockets;
use estafeta_net::tls::{KeyFiles, Tls, TlsFiles};
use tempfile::TempDir;

use crate::{Config, LMTP, MAILBOX_IMAP, MAILBOX_POP3};

/// The contracts of a node that knows a directory, and nobody else.
pub(crate) fn contracts(directory: &Arc<MemoryDirectory>) -> Contracts {
    Contracts {
        directory: directory.clone(),
        directory_uncached: directory.clone(),
        judge: Arc::new(Nobody),
        delivery: Arc::new(Nobody),
        sessions: Arc::new(Nobody),
        submit: Arc::new(Nobody),
        settings: directory.clone(),
        administration: directory.clone(),
    }
}

/// A node with the role, started from its plan as the binary starts it, and the certificates of a cluster.
struct Node {
    directory: Arc<MemoryDirectory>,
    provides: Provides,
    addresses: BTreeMap<ServiceName, SocketAddr>,
    authority: AuthorityFiles,
    drain: Drain,
    files: TempDir,
}

impl Node {
    async fn start() -> Self {
        Self::start_with("store_group = 'group1'").await
    }

    async fn start_with(section: &str) -> Self {
        Self::start_beside(section, Arc::new(Nobody)).await
    }

    /// Where mail of its own goes there.
    async fn start_beside(section: &str, submit: Arc<dyn Submit>) -> Self {
        let files = tempfile::tempdir().unwrap();
        let authority = AuthorityFiles::init(&files.path().join("authority"), SystemTime::now()).unwrap();
        let directory = Arc::new(MemoryDirectory::default());
        directory.add_domain(&"example.edu".parse().unwrap()).await.unwrap();

        let mut sockets = Sockets::default();
        let mut addresses = BTreeMap::new();
        for service in [LMTP, MAILBOX_IMAP, MAILBOX_POP3] {
            // A port that is free now: sockets do not tell which one they were given.
            let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
            sockets.bind(&service, address, Transport::Tcp).unwrap();
            addresses.insert(service, address);
        }
        let config = estafeta_net::section::Section::parse(section).unwrap().read::<Config>().unwrap();
        let drain = Drain::new();
        let context = Context {
            node: "mailbox1".parse().unwrap(),
            hostname: "mailbox1.example.edu".into(),
            data: files.path().join("data"),
            sockets: Arc::new(sockets),
            tls: tls(&authority, "mailbox1", RoleName::MAILBOX),
            contracts: Contracts { submit, ..contracts(&directory) },
            members: MembersView::new(Members::default()),
            settings: SettingsView::default(),
            issuer: None,
            drain: drain.clone(),
        };
        let running = config.start(context).await.unwrap();
        tokio::spawn(running.run);
        Self { directory, provides: running.provides, addresses, authority, drain, files }
    }

    /// What another node needs to ask a service of this one.
    fn remote(&self, asking: RoleName, service: ServiceName) -> (Remote, Candidate) {
        remote(&self.authority, asking, service.clone(), self.addresses[&service])
    }

    fn remote_delivery(&self) -> Arc<dyn Delivery> {
        let (remote, candidate) = self.remote(RoleName::EDGE, LMTP);
        clients().delivery.unwrap()(&remote, &candidate)
    }

    async fn account(&self, address: &str, quota_bytes: Option<u64>) -> Account {
        let new = NewAccount {
            address: address.parse().unwrap(),
            name: String::new(),
            store_group: "group1".parse().unwrap(),
            quota_bytes,
            quota_messages: None,
            password: None,
        };
        self.directory.add_account(&new).await.unwrap()
    }

    async fn disabled(&self, address: &str) -> Account {
        self.account(address, None).await;
        let change = AccountChange { enabled: Some(false), ..AccountChange::default() };
        self.directory.change_account(&address.parse().unwrap(), &change).await.unwrap()
    }

    /// An account that was removed.
    async fn unknown(&self, address: &str) -> Account {
        let account = self.account(address, None).await;
        self.directory.remove_account(&account.address).await.unwrap();
        account
    }
}

/// What a node with the role `asking` needs to ask a service of mailbox1.
fn remote(
    authority: &AuthorityFiles,
    asking: RoleName,
    service: ServiceName,
    address: SocketAddr,
) -> (Remote, Candidate) {
    let node = format!("{asking}1");
    let tls = tls(authority, &node, asking);
    let remote = Remote { node: node.parse().unwrap(), hostname: format!("{node}.example.edu"), tls };
    let endpoint = Endpoint { role: RoleName::MAILBOX, service, address };
    (remote, Candidate { node: "mailbox1".parse().unwrap(), endpoint })
}

fn clients() -> Clients {
    crate::role().clients
}

fn tls(authority: &AuthorityFiles, node: &str, role: RoleName) -> Arc<Tls> {
    let files = authority.issue_node(&node.parse().unwrap(), &[role], SystemTime::now()).unwrap();
    let own = KeyFiles { certificate: files.certificate, key: files.key };
    Arc::new(Tls::load(TlsFiles { service: None, cluster: Some((own, authority.certificate())) }).unwrap())
}

/// Long enough for a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);
