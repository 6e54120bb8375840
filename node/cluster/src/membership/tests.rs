//! Real gossip over real sockets, in one process.

use super::*;
use crate::authority::{Authority, Pair};
use crate::gossip::seal::{Keys, Sealer};
use estafeta_core::ServiceName;
use estafeta_core::members::{Endpoint, Member, Readiness};
use estafeta_core::settings::{GossipKey, ShutOut};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::time::SystemTime;

const COUNT: usize = 5;

struct Cluster {
    authority: Pair,
    nodes: Vec<Running>,
    settings: SettingsView,
    directory: tempfile::TempDir,
}

struct Running {
    name: NodeName,
    members: MembersView,
    membership: Membership,
    identity: (Vec<u8>, Vec<u8>),
}

fn identity(authority: &Pair, certificate: &[u8], key: &[u8]) -> Identity {
    let certificate = CertificateDer::from_pem_slice(certificate).unwrap();
    Identity::new(authority.certificate.as_bytes(), certificate, &PrivateKeyDer::from_pem_slice(key).unwrap()).unwrap()
}

fn key(id: u32, digit: &str, from_seconds: u64) -> GossipKey {
    GossipKey { id, from_seconds, secret: digit.repeat(64) }
}

fn settings(version: u64, gossip_keys: Vec<GossipKey>) -> Settings {
    Settings { version, gossip_keys, ..Settings::default() }
}

impl Cluster {
    /// Nodes `n0` to `n4`, edge all of them, on sockets of their own.
    async fn start() -> Self {
        let authority = Authority::create(SystemTime::now()).unwrap();
        let mut sockets = Vec::new();
        for number in 0..COUNT {
            sockets.push(UdpSocket::bind((format!("127.0.71.{}", number + 1), 0)).await.unwrap());
        }
        let member = |(number, socket): (usize, &UdpSocket)| Member {
            roles: [(RoleName::EDGE, Readiness::Ready)].into(),
            endpoints: vec![Endpoint {
                role: RoleName::EDGE,
                service: ServiceName::fixed("smtp"),
                address: format!("127.0.71.{}:25", number + 1).parse().unwrap(),
            }],
            gossip: Some(socket.local_addr().unwrap()),
            ..Member::named(format!("n{number}").parse().unwrap())
        };
        let enrolled = Members::new(sockets.iter().enumerate().map(member).collect());
        let settings = SettingsView::new(settings(1, vec![key(1, "a", 0)]));
        let mut cluster = Self { authority, nodes: Vec::new(), settings, directory: tempfile::tempdir().unwrap() };
        for (number, socket) in sockets.into_iter().enumerate() {
            let running = cluster.begin(format!("n{number}").parse().unwrap(), socket, &enrolled, RoleName::EDGE);
            cluster.nodes.push(running);
        }
        cluster
    }

    fn begin(&self, name: NodeName, socket: UdpSocket, enrolled: &Members, role: RoleName) -> Running {
        let pair = Authority::load(&self.authority).unwrap().issue_node(&name, &[role], SystemTime::now()).unwrap();
        let files = (pair.certificate.clone().into_bytes(), pair.key.as_bytes().to_vec());
        let members = MembersView::new(enrolled.clone());
        let membership = Membership::start(Beginning {
            config: Config::default(),
            node: name.clone(),
            identity: identity(&self.authority, &files.0, &files.1),
            socket: Some(socket),
            enrolled: enrolled.clone(),
            members: members.clone(),
            settings: self.settings.clone(),
            snapshot: self.directory.path().join(format!("{name}.json")),
            version: "9.9.9",
        });
        Running { name, members, membership, identity: files }
    }

    /// Until this holds, at most so long; gives how long it took.
    async fn until(&self, what: &str, limit: Duration, holds: impl Fn(&Self) -> bool) -> Duration {
        let begin = Instant::now();
        while !holds(self) {
            assert!(begin.elapsed() < limit, "not in {limit:?}: {what}: {:#?}", self.nodes[0].membership.standings());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        begin.elapsed()
    }

    /// Everyone but `number` sees this of it.
    fn others_see(&self, number: usize, sees: impl Fn(&Member) -> bool) -> bool {
        let name = &self.nodes[number].name;
        let others = self.nodes.iter().filter(|node| &node.name != name);
        others.clone().all(|node| sees(node.members.current().get(name).unwrap()))
    }

    async fn all_hear_all(&self) {
        self.until("all hear all", Duration::from_secs(20), |cluster| {
            (0..cluster.nodes.len()).all(|number| {
                cluster.others_see(number, |member| member.version == "9.9.9" && member.is_ready(&RoleName::EDGE))
            })
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_killed_drains_or_changes_is_seen_by_all() {
    let mut cluster = Cluster::start().await;
    let mut events = cluster.nodes[0].membership.events();
    cluster.all_hear_all().await;

    // A drain, and its end.
    let drained = cluster.nodes[4].clone_handles();
    drained.0.change(&drained.1, |own| own.draining = true);
    cluster
        .until("the drain is seen", Duration::from_secs(5), |cluster| cluster.others_see(4, |member| member.draining))
        .await;
    drained.0.change(&drained.1, |own| own.draining = false);
    cluster.all_hear_all().await;

    // Another key, sent with at once: the old one is still taken.
    cluster.settings.replace(settings(2, vec![key(1, "a", 0), key(2, "b", 1)]));
    tokio::time::sleep(Duration::from_millis(1500)).await;
    cluster.all_hear_all().await;
    cluster.settings.replace(settings(3, vec![key(2, "b", 1)]));
    tokio::time::sleep(Duration::from_millis(2500)).await;
    cluster.all_hear_all().await;

    // A renewed certificate, and one that grants another role: it speaks no more for the first.
    let renewed = Authority::load(&cluster.authority).unwrap();
    let renewed = renewed.issue_node(&cluster.nodes[3].name, &[RoleName::DNS], SystemTime::now()).unwrap();
    let other = identity(&cluster.authority, renewed.certificate.as_bytes(), renewed.key.as_bytes());
    cluster.nodes[3].membership.identify(other);
    cluster
        .until("a role without a grant is not believed", Duration::from_secs(5), |cluster| {
            cluster.others_see(3, |member| member.roles.is_empty() && member.endpoints.is_empty())
        })
        .await;
    let (certificate, key_pem) = cluster.nodes[3].identity.clone();
    cluster.nodes[3].membership.identify(identity(&cluster.authority, &certificate, &key_pem));
    cluster.all_hear_all().await;

    // Killed.
    let killed = cluster.nodes.remove(4);
    killed.membership.stop();
    let gone = |cluster: &Cluster| {
        let sees = |node: &Running| !node.members.current().get(&killed.name).unwrap().is_ready(&RoleName::EDGE);
        cluster.nodes.iter().all(sees)
    };
    let took = cluster.until("everyone sees that it was killed", Duration::from_secs(6), gone).await;
    assert!(took > Duration::from_millis(500), "{took:?}");

    // Removed: nobody knows it any more.
    let removed = Settings {
        shut_out: ShutOut { nodes: vec![killed.name.clone()], serials: Vec::new() },
        ..settings(4, vec![key(2, "b", 1)])
    };
    cluster.settings.replace(removed);
    cluster
        .until("the removed node is gone", Duration::from_secs(3), |cluster| {
            cluster.nodes.iter().all(|node| node.members.current().get(&killed.name).is_none())
        })
        .await;
    let mut told = Vec::new();
    while let Ok(change) = events.try_recv() {
        told.push((change.node, change.to));
    }
    for to in [Standing::Draining, Standing::Unheard, Standing::Removed] {
        assert!(told.contains(&(killed.name.clone(), to)), "{to:?} in {told:?}");
    }
    assert_eq!(cluster.nodes[0].membership.standings().len(), 4);
}

impl Running {
    fn clone_handles(&self) -> (MembersView, NodeName) {
        (self.members.clone(), self.name.clone())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_has_no_key_or_plays_back_is_not_heard_and_hostile_bytes_end_nothing() {
    let cluster = Cluster::start().await;
    cluster.all_hear_all().await;
    let target = cluster.nodes[0].members.current().get(&cluster.nodes[0].name).unwrap().gossip.unwrap();
    let attacker = UdpSocket::bind("127.0.71.99:0").await.unwrap();
    let now_ms = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as u64;
    let (right, wrong) = (Keys::new(&[key(1, "a", 0)]), Keys::new(&[key(1, "c", 0)]));
    let mut sealer = Sealer::new("n1".parse().unwrap(), 5);
    let mut random = fastrand::Rng::with_seed(1);
    // A message as chitchat writes it: magic, version, kind; and then what it does not expect.
    for round in 0..400 {
        let mut bytes: Vec<u8> = (0..random.usize(..600)).map(|_| random.u8(..)).collect();
        if bytes.len() > 4 {
            bytes[..4].copy_from_slice(&[0x53, 0xb0, 0, round as u8 % 4]);
        }
        attacker.send_to(&bytes, target).await.unwrap();
        let forged = sealer.seal(&wrong, (0, 1), &bytes, now_ms()).unwrap();
        attacker.send_to(&forged, target).await.unwrap();
        let sealed = sealer.seal(&right, (0, 1), &bytes, now_ms()).unwrap();
        attacker.send_to(&sealed, target).await.unwrap();
        attacker.send_to(&sealed, target).await.unwrap();
        if round % 50 == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    tokio::time::sleep(Duration::from_millis(3000)).await;
    cluster.all_hear_all().await;
    // What one start of a node said is not taken for another's, and not by another key.
    let other = Cluster::start().await;
    assert_ne!(other.authority.certificate, cluster.authority.certificate);
    let said = crate::gossip::description::Description {
        sequence: 1,
        member: Member::named("n1".parse().unwrap()),
        cannot_reach: Vec::new(),
        cannot_hear: Default::default(),
    };
    let own = identity(&cluster.authority, &cluster.nodes[1].identity.0, &cluster.nodes[1].identity.1);
    let text = said.seal(&own, 77).unwrap();
    let certificate = crate::gossip::description::certificate(&own);
    let name = cluster.nodes[1].name.clone();
    let hear = |judge: &Identity, name: &NodeName, boot: u64, shut_out: &ShutOut| {
        let saying = crate::gossip::description::Saying { name, boot, certificate: &certificate, text: &text };
        crate::gossip::description::Believed::default().hear(judge, shut_out, saying, SystemTime::now())
    };
    use crate::gossip::identity::Unbelieved;
    let nobody = ShutOut::default();
    assert_eq!(hear(&own, &name, 77, &nobody), Ok(true));
    assert_eq!(hear(&own, &name, 78, &nobody), Err(Unbelieved::Signature));
    assert_eq!(hear(&own, &"n2".parse().unwrap(), 77, &nobody), Err(Unbelieved::Name));
    let out = ShutOut { nodes: vec![name.clone()], serials: Vec::new() };
    assert_eq!(hear(&own, &name, 77, &out), Err(Unbelieved::ShutOut));
    let stranger = identity(&other.authority, &other.nodes[1].identity.0, &other.nodes[1].identity.1);
    assert_eq!(hear(&stranger, &name, 77, &nobody), Err(Unbelieved::Certificate));
}

#[test]
fn who_is_enrolled() {
    let member = |name: &str| Member::named(name.parse().unwrap());
    let configured = Members::new(vec![member("a"), member("b"), member("me")]);
    let shut_out = ShutOut { nodes: ["b", "d", "me"].map(|name| name.parse().unwrap()).into(), serials: Vec::new() };
    let joined = Member { version: "from the settings".into(), ..member("a") };
    let settings = Settings { nodes: vec![joined, member("c"), member("d")], shut_out, ..Settings::default() };
    let enrolled = enrolled(&configured, &settings, &"me".parse().unwrap());
    assert_eq!(enrolled.iter().map(|member| member.name.as_str()).collect::<Vec<_>>(), ["a", "c", "me"]);
    assert!(enrolled.get(&"a".parse().unwrap()).unwrap().version.is_empty());
}
