//! The suite, on this node and by SMTP between nodes.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::SystemTime;

use estafeta_cluster::files::AuthorityFiles;
use estafeta_core::members::{Candidate, Endpoint};
use estafeta_core::submit::suite::{self, Envelope, Fixture, Taken};
use estafeta_core::{DeliveryId, Reason, RoleName};
use estafeta_net::role::{Remote, Transport};
use estafeta_net::sockets::Sockets;
use estafeta_net::tls::{KeyFiles, Tls, TlsFiles};
use tokio::task::JoinSet;

use super::*;
use crate::queue::Queue;
use crate::testing::{World, Zone, until};

/// Reads what waits in a queue that nobody works on.
struct Waits(Queue);

#[async_trait]
impl Taken for Waits {
    async fn read(&self, id: DeliveryId) -> Vec<Envelope> {
        let now = SystemTime::now();
        let mut jobs = Vec::new();
        for due in self.0.due(now).await.unwrap() {
            while let Some(job) = self.0.take(&due.destination, now).await.unwrap() {
                jobs.push(job);
            }
        }
        jobs.retain(|job| job.id == id);
        let Some(first) = jobs.first() else { return Vec::new() };
        let mut recipients: Vec<_> = jobs.iter().flat_map(|job| &job.recipients).collect();
        recipients.sort_by_key(|recipient| recipient.number);
        let numbers: std::collections::BTreeSet<_> = recipients.iter().map(|recipient| recipient.number).collect();
        assert_eq!(numbers.len(), recipients.len(), "each waits once");
        let recipients: Vec<_> = recipients.into_iter().map(|recipient| recipient.waiting.address.clone()).collect();
        vec![Envelope { sender: first.sender.clone(), recipients, message: first.message.contiguous() }]
    }
}

/// An edge node that listens to other nodes.
struct Nodes {
    world: World,
    authority: AuthorityFiles,
    address: SocketAddr,
    _listening: JoinSet<()>,
    _files: tempfile::TempDir,
}

impl Nodes {
    async fn start() -> Self {
        let world = World::new("", Zone::default()).await;
        let files = tempfile::tempdir().unwrap();
        let authority = AuthorityFiles::init(&files.path().join("authority"), SystemTime::now()).unwrap();
        let mut sockets = Sockets::default();
        sockets.bind(&EDGE_SUBMISSION, (Ipv4Addr::LOCALHOST, 0).into(), Transport::Tcp).unwrap();
        let address = sockets.tcp(&EDGE_SUBMISSION).unwrap()[0].local_addr().unwrap();
        let mut listening = JoinSet::new();
        let tls = tls(&authority, "edge1", RoleName::EDGE);
        listen(&world.edge, &sockets, &tls, &mut listening).unwrap();
        Self { world, authority, address, _listening: listening, _files: files }
    }

    /// As a node with this role asks.
    fn remote(&self, role: RoleName) -> Arc<dyn Submit> {
        let node = format!("{role}1");
        let tls = tls(&self.authority, &node, role);
        let remote = Remote { node: node.parse().unwrap(), hostname: format!("{node}.example.edu"), tls };
        let endpoint = Endpoint { role: RoleName::EDGE, service: EDGE_SUBMISSION, address: self.address };
        client(&remote, &Candidate { node: "edge1".parse().unwrap(), endpoint })
    }
}

fn tls(authority: &AuthorityFiles, node: &str, role: RoleName) -> Arc<Tls> {
    let files = authority.issue_node(&node.parse().unwrap(), &[role], SystemTime::now()).unwrap();
    let own = KeyFiles { certificate: files.certificate, key: files.key };
    Arc::new(Tls::load(TlsFiles { service: None, cluster: Some((own, authority.certificate())) }).unwrap())
}

async fn fixture(remote: bool) -> Fixture {
    let nodes = Nodes::start().await;
    let local = Arc::new(LocalSubmit(nodes.world.edge.clone()));
    Fixture {
        submit: if remote { nodes.remote(RoleName::MAILBOX) } else { local },
        taken: Arc::new(Waits(nodes.world.edge.queue.clone())),
        keep: Box::new(nodes),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn submission_on_this_node() {
    suite::run(async || fixture(false).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn submission_by_smtp() {
    suite::run(async || fixture(true).await).await;
}

fn report() -> Submission {
    Submission {
        id: DeliveryId::generate(),
        sender: None,
        recipients: vec!["ana@example.edu".parse().unwrap()],
        message: Message::new("Subject: report\r\n\r\nx\r\n".into()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_for_the_roles_that_send_mail_of_their_own() {
    let nodes = Nodes::start().await;
    for (role, may) in [(RoleName::DIRECTORY, true), (RoleName::FILTER, true), (RoleName::ACCESS, false)] {
        let submitted = nodes.remote(role.clone()).submit(&report()).await;
        assert_eq!(
            submitted.map_err(|failure| failure.reason),
            if may { Ok(()) } else { Err(Reason::Unavailable) },
            "{role}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_room_or_goes_down_leaves_it_to_another_node() {
    let world = World::new("[queue]\nmessages_limit = 1", Zone::default()).await;
    let local = LocalSubmit(world.edge.clone());
    let first = report();
    local.submit(&first).await.unwrap();
    assert_eq!(local.submit(&report()).await.unwrap_err().reason, Reason::Unavailable);
    local.submit(&first).await.unwrap();
    world.edge.drain.begin();
    assert_eq!(local.submit(&first).await.unwrap_err().reason, Reason::Unavailable);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_twice_at_the_same_moment_is_one_letter() {
    let nodes = Nodes::start().await;
    let (local, remote) = (LocalSubmit(nodes.world.edge.clone()), nodes.remote(RoleName::MAILBOX));
    for _ in 0..20 {
        let one = report();
        let (first, second) = tokio::join!(local.submit(&one), remote.submit(&one));
        assert_eq!((first, second), (Ok(()), Ok(())));
    }
    assert_eq!(nodes.world.edge.queue.len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_may_go_away_in_the_middle() {
    let world = World::new("", Zone::default()).await;
    let local = LocalSubmit(world.edge.clone());
    for number in 0..20 {
        let patience = std::time::Duration::from_micros(number * 50);
        let _ = tokio::time::timeout(patience, local.submit(&report())).await;
    }
    world.serve();
    world.settled().await;
    assert_eq!(world.edge.queue.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_for_a_mailbox_of_ours_gets_there() {
    let nodes = Nodes::start().await;
    nodes.remote(RoleName::MAILBOX).submit(&report()).await.unwrap();
    nodes.world.serve();
    nodes.world.settled().await;
    until("it is in the mailbox", async || nodes.world.mailboxes.of("ana@example.edu").len() == 1).await;
}
