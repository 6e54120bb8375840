//! The role as the supervisor runs it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use estafeta_cluster::files::AuthorityFiles;
use estafeta_core::RoleName;
use estafeta_core::contracts::Contracts;
use estafeta_core::directory::memory::MemoryDirectory;
use estafeta_core::members::{Candidate, Endpoint};
use estafeta_core::nobody::Nobody;
use estafeta_filter::SERVICE;
use estafeta_net::drain::Drain;
use estafeta_net::role::{Context, Plan, Transport};
use estafeta_net::sockets::Sockets;

use super::{config, dns::FakeDns, remote::tls};

/// A role whose listeners were not its run's would stand there deaf after a panic of one, and nobody would start it anew.
#[tokio::test]
async fn the_role_listens_while_it_runs_and_not_longer() {
    let directory = tempfile::tempdir().unwrap();
    let authority = AuthorityFiles::init(&directory.path().join("ca"), SystemTime::now()).unwrap();
    let mut sockets = Sockets::default();
    sockets.bind(&SERVICE, ([127, 0, 0, 1], 0).into(), Transport::Tcp).unwrap();
    let address = sockets.tcp(&SERVICE).unwrap()[0].local_addr().unwrap();
    let (sockets, memory) = (Arc::new(sockets), Arc::new(MemoryDirectory::default()));
    let contracts = Contracts {
        directory: memory.clone(),
        directory_uncached: memory.clone(),
        judge: Arc::new(Nobody),
        delivery: Arc::new(Nobody),
        sessions: Arc::new(Nobody),
        submit: Arc::new(Nobody),
        settings: memory.clone(),
        administration: memory,
    };
    let context = Context {
        node: "filter1".parse().unwrap(),
        hostname: "filter1.example.edu".into(),
        data: directory.path().to_owned(),
        sockets: sockets.clone(),
        tls: tls(&authority, "filter1", RoleName::FILTER),
        contracts,
        members: Default::default(),
        settings: Default::default(),
        issuer: None,
        drain: Drain::new(),
    };
    let edge = tls(&authority, "edge1", RoleName::EDGE);
    let endpoint = Endpoint { role: RoleName::FILTER, service: SERVICE, address };
    let filter = Candidate { node: "filter1".parse().unwrap(), endpoint };
    let answers = async || {
        let connecting = tokio::time::timeout(Duration::from_millis(500), edge.connect(&filter));
        connecting.await.is_ok_and(|connected| connected.is_ok())
    };
    let run = config(&FakeDns::start(&[]).await).start(context).await.unwrap().run;
    assert!(!answers().await);
    let run = tokio::spawn(run);
    assert!(answers().await);
    run.abort();
    let _ = run.await;
    assert!(!answers().await);
}
