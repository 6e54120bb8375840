use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use estafeta_core::members::{Endpoint, Member, Members, Readiness};
use estafeta_core::{NodeName, ServiceName};
use estafeta_net::probe::Answer;
use estafeta_net::role::{Clients, Health as Proves, Needs, Probe, Probing, Service, Transport};
use estafeta_net::section::{ConfigError, Section};
use estafeta_net::tls::{Tls, TlsFiles};

use super::*;

const OPEN: ServiceName = ServiceName::fixed("open");
const BROKEN: ServiceName = ServiceName::fixed("broken");
const SMTP: ServiceName = ServiceName::fixed("smtp");
const SUBMISSION: ServiceName = ServiceName::fixed("submission");
const LDAPS: ServiceName = ServiceName::fixed("ldaps");
const LMTP: ServiceName = ServiceName::fixed("lmtp");

/// An endpoint answers when its port is odd, refuses when it is even, and never ends when it is 0.
fn by_port(probing: Probing) -> Answer {
    Box::pin(async move {
        match probing.candidate.endpoint.address.port() {
            0 => std::future::pending().await,
            port if port % 2 == 1 => Ok(()),
            _ => Err("refused".into()),
        }
    })
}

fn role(name: RoleName, services: &[(ServiceName, Probe)]) -> Role {
    let service = |(name, probe): &(ServiceName, Probe)| Service {
        name: name.clone(),
        port: 0,
        transport: Transport::Tcp,
        between_nodes: false,
        about: "",
        probe: *probe,
    };
    Role {
        name,
        cluster: None,
        purpose: "",
        services: services.iter().map(service).collect(),
        operations: vec![],
        plan: |_: Section<'_>| Err(ConfigError::new("not in this test")),
        clients: Clients::default(),
    }
}

fn table() -> Vec<Role> {
    vec![
        role(
            RoleName::EDGE,
            &[
                (SMTP, by_port),
                (SUBMISSION, by_port),
                (OPEN, |_| Box::pin(async { Ok(()) })),
                (BROKEN, |_| Box::pin(async { Err("refused".into()) })),
            ],
        ),
        role(RoleName::DIRECTORY, &[(LDAPS, by_port)]),
        role(RoleName::MAILBOX, &[(LMTP, by_port)]),
    ]
}

fn remote() -> Remote {
    let tls = Arc::new(Tls::load(TlsFiles::default()).unwrap());
    Remote { node: "me".parse().unwrap(), hostname: "me".into(), tls }
}

/// Quicker than the defaults.
fn config() -> Config {
    Config { timeout_ms: 1_000, need_timeout_ms: 5_000, ..Config::default() }
}

fn health(config: Config, members: &MembersView) -> Health {
    Health::new(config, &table(), remote(), members.clone())
}

/// A ready node with one role and these endpoints, heard of by gossip.
fn member(name: &str, role: RoleName, endpoints: &[(ServiceName, u16)], group: Option<&str>) -> Member {
    let endpoint = |(service, port): &(ServiceName, u16)| Endpoint {
        role: role.clone(),
        service: service.clone(),
        address: SocketAddr::from(([127, 0, 0, 1], *port)),
    };
    Member {
        roles: [(role.clone(), Readiness::Ready)].into(),
        endpoints: endpoints.iter().map(endpoint).collect(),
        store_group: group.map(|group| group.parse().unwrap()),
        version: "1".into(),
        ..Member::named(name.parse().unwrap())
    }
}

fn me() -> Member {
    member("me", RoleName::EDGE, &[], None)
}

fn readiness(members: &MembersView) -> Readiness {
    members.current().get(&"me".parse().unwrap()).unwrap().roles[&RoleName::EDGE].clone()
}

fn is_ready(members: &MembersView) -> bool {
    readiness(members) == Readiness::Ready
}

fn why(members: &MembersView) -> String {
    match readiness(members) {
        Readiness::Ready => "ready".into(),
        Readiness::NotReady(why) => why,
    }
}

/// Proves what the test tells it to; without an answer it never ends.
struct Told(Mutex<Option<Result<(), String>>>);

impl Told {
    fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(Some(Ok(())))))
    }

    fn tell(&self, answer: Option<Result<(), String>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = answer;
    }
}

#[async_trait]
impl Proves for Told {
    async fn check(&self) -> Result<(), String> {
        let answer = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match answer {
            Some(answer) => answer,
            None => std::future::pending().await,
        }
    }
}

fn provides(told: &Arc<Told>, roles: &[RoleName]) -> Provides {
    let needs = Needs { disk: false, roles: roles.to_vec() };
    Provides { health: Some(told.clone()), needs, ..Provides::default() }
}

async fn after_ms(milliseconds: u64) {
    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
}

#[tokio::test(start_paused = true)]
async fn a_role_is_ready_while_it_runs_and_proves_itself() {
    let members = MembersView::new(Members::new(vec![me()]));
    let health = health(config(), &members);
    let told = Told::new();
    let watched = health.watch(RoleName::EDGE, "/".into(), Arc::default());
    after_ms(1).await;
    assert_eq!(why(&members), "it is starting");
    watched.runs(&provides(&told, &[]));
    after_ms(1).await;
    assert!(is_ready(&members), "at once after the start");

    // It leaves after two failures, the second of which is sought at once, and comes back after three successes.
    told.tell(Some(Err("out of order".into())));
    after_ms(1_010).await;
    assert!(is_ready(&members));
    after_ms(250).await;
    assert_eq!(why(&members), "out of order");
    told.tell(Some(Ok(())));
    after_ms(2_010).await;
    assert!(!is_ready(&members));
    after_ms(1_000).await;
    assert!(is_ready(&members));

    // What does not end is a failure too.
    told.tell(None);
    after_ms(4_000).await;
    assert_eq!(why(&members), "its own check has not ended within 1000 ms");
    told.tell(Some(Ok(())));
    after_ms(5_000).await;
    assert!(is_ready(&members));

    // A failure of the role counts at once, and it comes back as slowly as ever.
    watched.fails("a listener has ended");
    after_ms(1).await;
    assert_eq!(why(&members), "a listener has ended");
    watched.runs(&provides(&told, &[]));
    after_ms(1_500).await;
    assert!(!is_ready(&members));
    after_ms(1_000).await;
    assert!(is_ready(&members));

    // Whoever leaves is not asked any more.
    watched.leaves();
    told.tell(Some(Err("nobody asks".into())));
    after_ms(10_000).await;
    assert!(is_ready(&members));
}

#[tokio::test]
async fn listeners_and_the_disk_are_asked() {
    let directory = tempfile::tempdir().unwrap();
    let members = MembersView::new(Members::new(vec![me()]));
    let config = Config { interval_ms: 50, fail_after: 1, pass_after: 1, ..Config::default() };
    let health = health(config, &members);
    let sockets = |services: &[ServiceName]| {
        let mut sockets = Sockets::default();
        for service in services {
            sockets.bind(service, ([127, 0, 0, 1], 0).into(), Transport::Tcp).unwrap();
        }
        Arc::new(sockets)
    };
    let needs = Needs { disk: true, roles: vec![] };
    let provides = Provides { needs, ..Provides::default() };
    let refusing = health.watch(RoleName::EDGE, directory.path().to_owned(), sockets(&[OPEN, BROKEN]));
    refusing.runs(&provides);
    after_ms(500).await;
    assert!(why(&members).starts_with("broken at 127.0.0.1:"), "{}", why(&members));
    drop(refusing);
    let answering = health.watch(RoleName::EDGE, directory.path().to_owned(), sockets(&[OPEN]));
    answering.runs(&provides);
    after_ms(500).await;
    assert!(is_ready(&members), "{}", why(&members));
    drop(directory);
    after_ms(3_000).await;
    assert!(why(&members).contains("cannot read"), "{}", why(&members));
}

#[tokio::test(start_paused = true)]
async fn silence_of_a_needed_role_counts_only_while_others_find_it_ready() {
    let directory = |port| member("directory1", RoleName::DIRECTORY, &[(LDAPS, port)], None);
    let members = MembersView::new(Members::new(vec![me(), directory(1)]));
    let health = health(config(), &members);
    let told = Told::new();
    let watched = health.watch(RoleName::EDGE, "/".into(), Arc::default());
    watched.runs(&provides(&told, &[RoleName::DIRECTORY, RoleName::MAILBOX]));
    after_ms(20_500).await;
    assert!(is_ready(&members), "it answers, and there is no mailbox node that could");

    let own = "me".parse().unwrap();
    let change = |member: Member| members.enrol(Members::new(vec![member]), &own);
    change(directory(2));
    after_ms(4_000).await;
    assert!(is_ready(&members), "not silent for long enough");
    after_ms(5_000).await;
    assert!(why(&members).starts_with("no directory node answers this one"), "{}", why(&members));
    assert!(why(&members).contains("directory1: ldaps at 127.0.0.1:2: refused"), "{}", why(&members));

    // Nobody has it: that is nobody's own fault. Neither is a node ready of which nothing was heard.
    let down = Readiness::NotReady("down".into());
    change(Member { roles: [(RoleName::DIRECTORY, down)].into(), ..directory(2) });
    after_ms(6_000).await;
    assert!(is_ready(&members));
    change(Member { version: String::new(), ..directory(2) });
    after_ms(20_000).await;
    assert!(is_ready(&members));
}

#[tokio::test(start_paused = true)]
async fn mailbox_nodes_stand_in_for_none_of_another_store_group() {
    let mailbox = |name, port, group| member(name, RoleName::MAILBOX, &[(LMTP, port)], Some(group));
    let members = MembersView::new(Members::new(vec![me(), mailbox("a", 1, "a"), mailbox("b", 2, "b")]));
    let health = health(config(), &members);
    let watched = health.watch(RoleName::EDGE, "/".into(), Arc::default());
    watched.runs(&provides(&Told::new(), &[RoleName::MAILBOX]));
    after_ms(15_000).await;
    assert!(why(&members).starts_with("no mailbox node of store group b answers"), "{}", why(&members));
    // This node serves the group itself.
    members.change(&"me".parse().unwrap(), |me| {
        me.roles.insert(RoleName::MAILBOX, Readiness::Ready);
        me.store_group = "b".parse().ok();
    });
    after_ms(10_000).await;
    assert!(is_ready(&members));
}

/// A node and its role, and what a probe of it saw.
type Seeing = (String, Result<(), String>);

/// What was seen of the nodes that are watched.
#[derive(Clone)]
struct Seen {
    targets: Vec<NodeName>,
    results: Arc<Mutex<Vec<Seeing>>>,
}

impl Watch for Seen {
    fn targets(&self) -> Vec<NodeName> {
        self.targets.clone()
    }

    fn probed(&self, node: &NodeName, role: &RoleName, result: Result<(), String>) {
        let mut results = self.results.lock().unwrap_or_else(PoisonError::into_inner);
        results.push((format!("{node} {role}"), result));
    }
}

#[tokio::test(start_paused = true)]
async fn other_nodes_are_probed_at_each_endpoint_in_turn() {
    let members = MembersView::new(Members::new(vec![
        me(),
        member("edge1", RoleName::EDGE, &[(SMTP, 25), (SUBMISSION, 586)], None),
        member("edge2", RoleName::EDGE, &[(SMTP, 0)], None),
        member("edge3", RoleName::EDGE, &[(SMTP, 24)], None),
        member("dns1", RoleName::DNS, &[(ServiceName::fixed("dns"), 52)], None),
    ]));
    let targets = ["edge1", "edge2", "dns1", "gone1"].map(|name| name.parse().unwrap()).to_vec();
    let seen = Seen { targets, results: Arc::default() };
    let probes = Arc::new(Probes::of(&table(), remote(), config().timeout()));
    let outside = tokio::spawn(Outside::new(config(), probes, members, seen.clone()).run());
    // Who does not answer is not asked again meanwhile, and holds nobody else up.
    after_ms(3_900).await;
    outside.abort();
    let results = seen.results.lock().unwrap_or_else(PoisonError::into_inner);
    let of = |name: &str| -> Vec<&Result<(), String>> {
        results.iter().filter(|(known, _)| known == name).map(|(_, result)| result).collect()
    };
    let refused = Err("submission at 127.0.0.1:586: refused".to_owned());
    assert_eq!(of("edge1 edge"), [&refused, &Ok(()), &refused, &Ok(())]);
    let silent = Err("smtp at 127.0.0.1:0: no answer within 1000 ms".to_owned());
    assert!(matches!(of("edge2 edge").len(), 1..=2) && of("edge2 edge").iter().all(|result| **result == silent));
    assert_eq!(results.len(), 4 + of("edge2 edge").len(), "nobody else is asked: {results:?}");
}
