//! Watching from outside: what every name server says, over and over; whether a client that resolves anew is served; and
//! whether this machine itself stood still meanwhile.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hickory_proto::rr::{RData, RecordType};

use crate::client::{Imap, Smtp, Trust, dns, wire::Wire};
use crate::cluster::DOMAIN;

/// The service names that clients of mail use.
const SERVICE_NAMES: [&str; 4] = ["imap", "pop", "smtp", "mx"];

/// How often every name server is asked everything.
const PERIOD: Duration = Duration::from_millis(40);

/// How long a resolver waits for a name server before it asks the next one.
const RESOLVER_PATIENCE: Duration = Duration::from_millis(400);

/// How often a new client comes.
const CLIENT_PERIOD: Duration = Duration::from_millis(100);

/// How long a client waits for a greeting.
const CLIENT_PATIENCE: Duration = Duration::from_millis(1500);

/// What one name server said at one moment.
#[derive(Debug, Clone)]
pub struct Said {
    /// When it had said all.
    pub at: Instant,
    /// The addresses behind service names.
    pub addresses: BTreeSet<IpAddr>,
    /// The hosts of the MX set, without the domain.
    pub exchanges: BTreeSet<String>,
}

/// What all of them say, from the newest run on.
#[derive(Default)]
pub struct Answers(Mutex<Vec<(SocketAddr, Said)>>);

impl Answers {
    /// Asks one name server until told to stop.
    pub fn watch(&self, server: SocketAddr, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            let begun = Instant::now();
            if let Some(said) = everything(server) {
                self.lock().push((server, said));
            }
            thread::sleep(PERIOD.saturating_sub(begun.elapsed()));
        }
    }

    /// Forgets what was said until now.
    pub fn forget(&self) {
        self.lock().clear();
    }

    /// The last moment at which any of them named the node; none when none did.
    pub fn last_named(&self, node: &str, address: IpAddr) -> Option<Instant> {
        self.lock().iter().filter(|(_, said)| said.names(node, address)).map(|(_, said)| said.at).max()
    }

    /// Whether each that has answered lately names the node, or whether none does.
    pub fn agreed(&self, node: &str, address: IpAddr) -> Option<bool> {
        let all = self.lock();
        let servers: BTreeSet<SocketAddr> = all.iter().map(|(server, _)| *server).collect();
        let newest = servers.iter().filter_map(|server| all.iter().rfind(|(known, _)| known == server));
        let newest: Vec<bool> = newest.map(|(_, said)| said.names(node, address)).collect();
        match newest.first() {
            Some(first) if newest.iter().all(|names| names == first) => Some(*first),
            _ => None,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(SocketAddr, Said)>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Said {
    fn names(&self, node: &str, address: IpAddr) -> bool {
        self.addresses.contains(&address) || self.exchanges.contains(node)
    }
}

fn everything(server: SocketAddr) -> Option<Said> {
    let mut said = Said { at: Instant::now(), addresses: BTreeSet::new(), exchanges: BTreeSet::new() };
    for name in SERVICE_NAMES {
        let answers = dns::ask_within(server, &format!("{name}.{DOMAIN}."), RecordType::A, RESOLVER_PATIENCE).ok()?;
        said.addresses.extend(answers.into_iter().filter_map(address));
    }
    let answers = dns::ask_within(server, &format!("{DOMAIN}."), RecordType::MX, RESOLVER_PATIENCE).ok()?;
    said.exchanges.extend(answers.into_iter().filter_map(|data| match data {
        RData::MX(mx) => mx.exchange.to_ascii().strip_suffix(&format!(".{DOMAIN}.")).map(str::to_owned),
        _ => None,
    }));
    said.at = Instant::now();
    Some(said)
}

fn address(data: RData) -> Option<IpAddr> {
    match data {
        RData::A(a) => Some(IpAddr::V4(a.0)),
        RData::AAAA(a) => Some(IpAddr::V6(a.0)),
        _ => None,
    }
}

/// The addresses of a host as a resolver without memory finds them: the next name server when one does not answer.
pub fn resolve(servers: &[SocketAddr], host: &str, random: &mut fastrand::Rng) -> Vec<IpAddr> {
    asked(servers, &format!("{host}."), RecordType::A, random).into_iter().filter_map(address).collect()
}

/// Where mail for the domain goes, in the order in which a sender tries: each exchange by preference, with its addresses.
pub fn exchanges(servers: &[SocketAddr], random: &mut fastrand::Rng) -> Vec<IpAddr> {
    let mut hosts: Vec<(u16, String)> = asked(servers, &format!("{DOMAIN}."), RecordType::MX, random)
        .into_iter()
        .filter_map(|data| if let RData::MX(mx) = data { Some((mx.preference, mx.exchange.to_ascii())) } else { None })
        .collect();
    random.shuffle(&mut hosts);
    hosts.sort_by_key(|(preference, _)| *preference);
    let mut addresses = Vec::new();
    for (_, host) in hosts {
        for address in resolve(servers, host.trim_end_matches('.'), random) {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
    }
    addresses
}

fn asked(servers: &[SocketAddr], name: &str, kind: RecordType, random: &mut fastrand::Rng) -> Vec<RData> {
    let mut servers = servers.to_vec();
    random.shuffle(&mut servers);
    servers.iter().find_map(|server| dns::ask_within(*server, name, kind, RESOLVER_PATIENCE).ok()).unwrap_or_default()
}

/// What a client that comes now does.
#[derive(Clone)]
pub enum Client {
    /// Brings mail: takes the first exchange and waits for its 250 to EHLO.
    Mail(u16),
    /// Reads mail: takes the first address of `imap` and waits for the greeting, through TLS.
    Reader(u16, Trust),
}

impl Client {
    /// Comes once, without a second try.
    fn come(&self, servers: &[SocketAddr], random: &mut fastrand::Rng) -> anyhow::Result<()> {
        let (host, port) = match self {
            Self::Mail(port) => ("mx", *port),
            Self::Reader(port, _) => ("imap", *port),
        };
        let addresses = resolve(servers, &format!("{host}.{DOMAIN}"), random);
        let address = addresses.first().copied().ok_or_else(|| anyhow::anyhow!("{host} has no address"))?;
        let mut wire = Wire::connect_within(SocketAddr::new(address, port), CLIENT_PATIENCE, CLIENT_PATIENCE)?;
        match self {
            Self::Mail(_) => Smtp::greeted(wire).map(drop),
            Self::Reader(_, trust) => {
                wire.start_tls(trust)?;
                Imap::greeted(wire).map(drop)
            }
        }
    }
}

/// What became of clients that came one after the other, each as of when it came.
#[derive(Default)]
pub struct Visits(Mutex<Vec<(Instant, bool)>>);

impl Visits {
    /// Lets one client after the other come until told to stop; none waits for the one before.
    pub fn watch(&self, client: &Client, servers: &[SocketAddr], stop: &AtomicBool) {
        thread::scope(|scope| {
            while !stop.load(Ordering::Relaxed) {
                scope.spawn(|| {
                    let came = Instant::now();
                    let served = client.come(servers, &mut fastrand::Rng::new()).is_ok();
                    self.lock().push((came, served));
                });
                thread::sleep(CLIENT_PERIOD);
            }
        });
    }

    /// When the last client came that was not served; none when all were.
    pub fn last_unserved(&self) -> Option<Instant> {
        self.lock().iter().filter(|(_, served)| !served).map(|(came, _)| *came).max()
    }

    /// How many came, and how many of them were not served.
    pub fn counts(&self) -> (usize, usize) {
        let all = self.lock();
        (all.len(), all.iter().filter(|(_, served)| !served).count())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(Instant, bool)>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// The longest time by which a ticker of 100 ms came late until told to stop: how long this machine stood still.
pub fn longest_stall(stop: &AtomicBool) -> Duration {
    const TICK: Duration = Duration::from_millis(100);
    let mut longest = Duration::ZERO;
    while !stop.load(Ordering::Relaxed) {
        let before = Instant::now();
        thread::sleep(TICK);
        longest = longest.max(before.elapsed().saturating_sub(TICK));
    }
    longest
}
