//! The service and its client, over real mutual TLS on the loopback.

mod limits;
mod rights;
mod tools;

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use estafeta_cluster::authority::{Authority, Pair};
use estafeta_core::directory::{Directory, NewAccount, suite};
use estafeta_core::members::{Candidate, Endpoint};
use estafeta_core::settings::{SettingsStore as _, SettingsView};
use estafeta_core::{Reason, RoleName, Secret};
use estafeta_net::accept::{ConnectionLimits, Security, serve};
use estafeta_net::drain::Drain;
use estafeta_net::role::{Context, Plan, Transport};
use estafeta_net::sockets::Sockets;
use estafeta_net::tls::{KeyFiles, Tls, TlsFiles};
use tokio::net::TcpListener;

use super::client::RemoteDirectory;
use super::server;
use crate::role::{Config, LDAPS};
use crate::store::Store;

/// A directory that is served, and the authority of its cluster.
struct Served {
    store: Store,
    address: SocketAddr,
    authority: Authority,
    drain: Drain,
    data: tempfile::TempDir,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.drain.begin();
    }
}

impl Served {
    async fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        let pair = Authority::create(SystemTime::now()).unwrap();
        fs::write(data.path().join("ca.pem"), &pair.certificate).unwrap();
        let store = Store::open(data.path().join("directory")).await.unwrap();
        for domain in ["example.edu", "example.org"] {
            store.add_domain(&domain.parse().unwrap()).await.unwrap();
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, drain) = (listener.local_addr().unwrap(), Drain::new());
        let served = Self { store, address, authority: Authority::load(&pair).unwrap(), drain, data };
        let (store, drain) = (served.store.clone(), served.drain.clone());
        let talk = move |connection| server::talk(connection, store.clone(), drain.clone());
        let security = Security::Cluster(served.tls("directory1", &[RoleName::DIRECTORY]), &[]);
        tokio::spawn(serve(listener, LDAPS, security, ConnectionLimits::default(), served.drain.clone(), talk));
        served
    }

    /// The files of a node's certificate, which is made.
    fn files(&self, node: &str, roles: &[RoleName]) -> (KeyFiles, PathBuf) {
        let Pair { certificate, key } =
            self.authority.issue_node(&node.parse().unwrap(), roles, SystemTime::now()).unwrap();
        let path = |what: &str| self.data.path().join(format!("{node}-{what}.pem"));
        fs::write(path("certificate"), certificate).unwrap();
        fs::write(path("key"), key).unwrap();
        (KeyFiles { certificate: path("certificate"), key: path("key") }, self.data.path().join("ca.pem"))
    }

    fn tls(&self, node: &str, roles: &[RoleName]) -> Arc<Tls> {
        Arc::new(Tls::load(TlsFiles { service: None, cluster: Some(self.files(node, roles)) }).unwrap())
    }

    fn candidate(&self, node: &str) -> Candidate {
        let endpoint = Endpoint { role: RoleName::DIRECTORY, service: LDAPS, address: self.address };
        Candidate { node: node.parse().unwrap(), endpoint }
    }

    /// The directory as a node with these roles reaches it.
    fn client(&self, node: &str, roles: &[RoleName]) -> RemoteDirectory {
        RemoteDirectory::new(self.tls(node, roles), self.candidate("directory1"))
    }

    async fn add(&self, address: &str, password: Option<&str>) {
        let account = NewAccount {
            address: address.parse().unwrap(),
            name: String::new(),
            store_group: "group1".parse().unwrap(),
            quota_bytes: None,
            quota_messages: None,
            password: password.map(|password| Secret::new(password.into())),
        };
        self.store.add_account(&account).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_the_contract_over_the_network() {
    suite::run(async || {
        let served = Served::start().await;
        suite::Fixture { directory: Arc::new(served.client("edge1", &[RoleName::EDGE])), keep: Box::new(served) }
    })
    .await;
}

#[tokio::test]
async fn settings_through_administration() {
    use crate::operations::domain::{DomainAdministration, settings_client};
    let served = Served::start().await;
    let view = SettingsView::default();
    let settings = settings_client(Arc::new(DomainAdministration::new(served.store.clone(), view.clone())));
    let domain = "example.net".parse().unwrap();
    settings.add_domain(&domain).await.unwrap();
    assert_eq!(settings.add_domain(&domain).await.unwrap_err().reason, Reason::Exists);
    assert_eq!(settings.read().await.unwrap(), *view.current());
    assert_eq!(view.current().version, 3);
    settings.remove_domain(&domain).await.unwrap();
    assert_eq!(settings.remove_domain(&domain).await.unwrap_err().reason, Reason::NotFound);
    assert_eq!(view.current().domains.len(), 2);
}

/// A role whose listeners were not its run's would stand there deaf after a panic of one, and nobody would start it anew.
#[tokio::test]
async fn the_role_listens_while_it_runs_and_not_longer() {
    use crate::operations::{domain::DomainAdministration, tests::contracts};
    let mut served = Served::start().await;
    let mut sockets = Sockets::default();
    sockets.bind(&LDAPS, ([127, 0, 0, 1], 0).into(), Transport::Tcp).unwrap();
    served.address = sockets.tcp(&LDAPS).unwrap()[0].local_addr().unwrap();
    let (sockets, settings) = (Arc::new(sockets), SettingsView::default());
    let domains = Arc::new(DomainAdministration::new(served.store.clone(), settings.clone()));
    let context = Context {
        node: "directory1".parse().unwrap(),
        hostname: "directory1.example.edu".into(),
        data: served.data.path().join("role"),
        sockets: sockets.clone(),
        tls: served.tls("directory1", &[RoleName::DIRECTORY]),
        contracts: contracts(served.store.clone(), domains),
        members: Default::default(),
        settings,
        issuer: None,
        drain: Drain::new(),
    };
    let edge = served.tls("edge1", &[RoleName::EDGE]);
    let role = served.candidate("directory1");
    let answers = async || {
        let connecting = tokio::time::timeout(Duration::from_millis(500), edge.connect(&role));
        connecting.await.is_ok_and(|connected| connected.is_ok())
    };
    let run = Config::default().start(context).await.unwrap().run;
    assert!(!answers().await);
    let run = tokio::spawn(run);
    assert!(answers().await);
    run.abort();
    let _ = run.await;
    assert!(!answers().await);
}
