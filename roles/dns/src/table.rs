//! What every zone of the cluster holds, computed from the members: names relative to the zone, each with its data.
//!
//! All zones are alike. Under the zone `example.edu` of a cluster with the nodes dns1, edge1, edge2 and access1:
//!
//! ```text
//! example.edu.          NS   dns1.example.edu.             the dns nodes, enrolled
//!                       MX   10 mx.example.edu.            the edges, first in rotation …
//!                       MX   20 edge1.example.edu. …       … then each by its own name
//!                       TXT  v=spf1 ip4:… -all             the edges' addresses, enrolled
//! edge1.example.edu.    A    192.0.2.1                     every node, enrolled
//! mx.   imap.  pop.     A    …                             service names: nodes that are ready, in rotation
//! smtp.                                                    (smtp is where users submit; mx is port 25)
//! _imaps._tcp           SRV  0 1 993 imap.example.edu.     and so _imap, _pop3s, _pop3, _submissions, _submission
//! ```
//!
//! Invariants (DESIGN.md, 5): service names, SRV and MX follow readiness, never name only nodes that are not ready
//! while a ready one is known, and name all when none is ready. A node's own name, NS and SPF, which others cache and
//! judge us by, follow enrolment. A service name wins over a node of the same name. There are no CNAMEs, so a name's
//! data are always its own.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use estafeta_core::members::{Member, Members, ready_or_all};
use estafeta_core::{NodeName, RoleName};
use hickory_proto::rr::{Name, RecordType};

use crate::config::TimesToLive;

/// One datum of a name. Hosts are named relative to the zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Datum {
    /// A or AAAA.
    Address(IpAddr),
    /// NS.
    NameServer(Name),
    /// MX: the lowest preference is tried first.
    Exchange(u16, Name),
    /// SRV: the port and the host.
    Server(u16, Name),
    /// TXT.
    Text(String),
}

impl Datum {
    /// The type of the record that carries it.
    pub fn record_type(&self) -> RecordType {
        match self {
            Self::Address(IpAddr::V4(_)) => RecordType::A,
            Self::Address(IpAddr::V6(_)) => RecordType::AAAA,
            Self::NameServer(_) => RecordType::NS,
            Self::Exchange(..) => RecordType::MX,
            Self::Server(..) => RecordType::SRV,
            Self::Text(_) => RecordType::TXT,
        }
    }

    /// The host whose addresses whoever reads this will want next.
    pub fn host(&self) -> Option<&Name> {
        match self {
            Self::NameServer(host) | Self::Exchange(_, host) | Self::Server(_, host) => Some(host),
            Self::Address(_) | Self::Text(_) => None,
        }
    }
}

/// A datum and how long it may be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// In seconds.
    pub ttl_seconds: u32,
    /// The datum.
    pub datum: Datum,
}

/// Names relative to the zone; the root is the zone itself. A name without entries exists and is empty
/// (RFC 8020 §2, an empty non-terminal).
pub type Table = BTreeMap<Name, Vec<Entry>>;

/// A service name and what stands behind it.
struct Service {
    label: &'static str,
    role: RoleName,
    /// The services of the role that it stands for, each with its SRV label where it has one (RFC 6186 §3,
    /// RFC 8314 §5.1).
    offers: &'static [(&'static str, Option<&'static str>)],
}

const EXCHANGE: Service = Service { label: "mx", role: RoleName::EDGE, offers: &[("smtp", None)] };

const SERVICES: [Service; 4] = [
    Service { label: "imap", role: RoleName::ACCESS, offers: &[("imaps", Some("_imaps")), ("imap", Some("_imap"))] },
    Service { label: "pop", role: RoleName::ACCESS, offers: &[("pop3s", Some("_pop3s")), ("pop3", Some("_pop3"))] },
    Service {
        label: "smtp",
        role: RoleName::EDGE,
        offers: &[("submissions", Some("_submissions")), ("submission", Some("_submission"))],
    },
    EXCHANGE,
];

/// Services whose addresses are a node's public ones: what its own name resolves to.
const PUBLIC_ROLES: [RoleName; 3] = [RoleName::EDGE, RoleName::ACCESS, RoleName::DNS];

/// The table for these members.
pub fn table(members: &Members, ttl: &TimesToLive) -> Table {
    let mut table = Table::new();
    let stable = |datum| Entry { ttl_seconds: ttl.stable_seconds, datum };
    let service = |datum| Entry { ttl_seconds: ttl.service_seconds, datum };

    for member in members.iter() {
        let addresses = own_addresses(member).into_iter().map(Datum::Address);
        table.insert(relative([member.name.as_str()]), addresses.map(stable).collect());
    }

    let apex = table.entry(Name::root()).or_default();
    apex.extend(enrolled(members, &RoleName::DNS).map(|member| stable(Datum::NameServer(node(&member.name)))));
    let exchanges = EXCHANGE.chosen(members);
    if !exchanges.is_empty() {
        apex.push(stable(Datum::Exchange(10, relative([EXCHANGE.label]))));
        apex.extend(exchanges.iter().map(|member| stable(Datum::Exchange(20, node(&member.name)))));
    }
    apex.push(stable(Datum::Text(sender_policy(members))));

    for kind in &SERVICES {
        let chosen = kind.chosen(members);
        if chosen.is_empty() {
            continue;
        }
        let addresses = distinct(chosen.iter().flat_map(|member| kind.endpoints(member)).map(|address| address.ip()));
        table.insert(relative([kind.label]), addresses.into_iter().map(Datum::Address).map(service).collect());
        for (offer, label) in kind.offers.iter().filter_map(|(offer, label)| Some((offer, (*label)?))) {
            let servers = kind.servers(offer, members, &chosen);
            if !servers.is_empty() {
                table.entry(relative(["_tcp"])).or_default();
                table.insert(relative([label, "_tcp"]), servers.into_iter().map(service).collect());
            }
        }
    }
    table
}

impl Service {
    /// The addresses at which a member offers any of it.
    fn endpoints(&self, member: &Member) -> Vec<SocketAddr> {
        self.offers.iter().flat_map(|(offer, _)| endpoints(member, &self.role, offer)).collect()
    }

    /// The members that are named now: those that offer it and are ready, or all that offer it when none is.
    fn chosen<'a>(&self, members: &'a Members) -> Vec<&'a Member> {
        let offering = members.iter().filter(|member| !self.endpoints(member).is_empty());
        ready_or_all(offering, |member| member.is_ready(&self.role))
    }

    /// The SRV data of one offer. Mail programs keep the host that they find when they are set up, so it is the service
    /// name wherever that is right: when all who stand behind it offer this on one and the same port. Else it is each
    /// chosen node's own name.
    fn servers(&self, offer: &str, members: &Members, chosen: &[&Member]) -> Vec<Datum> {
        let behind = members.iter().filter(|member| !self.endpoints(member).is_empty());
        let ports: BTreeSet<Vec<u16>> =
            behind.map(|member| distinct(endpoints(member, &self.role, offer).iter().map(SocketAddr::port))).collect();
        if let (1, Some([port])) = (ports.len(), ports.first().map(Vec::as_slice)) {
            return vec![Datum::Server(*port, relative([self.label]))];
        }
        let each = |member: &&Member| -> Vec<Datum> {
            let ports = distinct(endpoints(member, &self.role, offer).iter().map(SocketAddr::port));
            ports.into_iter().map(|port| Datum::Server(port, node(&member.name))).collect()
        };
        chosen.iter().flat_map(each).collect()
    }
}

/// Where a member offers one service of a role. An unspecified address (`0.0.0.0`) is no answer to anyone.
fn endpoints(member: &Member, role: &RoleName, service: &str) -> Vec<SocketAddr> {
    let offered =
        member.endpoints.iter().filter(|endpoint| &endpoint.role == role && endpoint.service.as_str() == service);
    offered.map(|endpoint| endpoint.address).filter(|address| !address.ip().is_unspecified()).collect()
}

/// The members with a role, alive or not.
fn enrolled<'a>(members: &'a Members, role: &RoleName) -> impl Iterator<Item = &'a Member> {
    members.iter().filter(|member| member.roles.contains_key(role))
}

/// What a node's own name resolves to: the addresses of what it offers to the public, or of all that it offers when
/// that is nothing.
fn own_addresses(member: &Member) -> Vec<IpAddr> {
    let addresses = |public: bool| {
        let endpoints =
            member.endpoints.iter().filter(move |endpoint| !public || PUBLIC_ROLES.contains(&endpoint.role));
        distinct(endpoints.map(|endpoint| endpoint.address.ip()).filter(|address| !address.is_unspecified()))
    };
    let public = addresses(true);
    if public.is_empty() { addresses(false) } else { public }
}

/// Mail of our domains comes from our edges and from nowhere else (RFC 7208 §4.6, §5.6).
fn sender_policy(members: &Members) -> String {
    let addresses = distinct(enrolled(members, &RoleName::EDGE).flat_map(own_addresses));
    let mechanisms = addresses.into_iter().map(|address| match address {
        IpAddr::V4(address) => format!("ip4:{address} "),
        IpAddr::V6(address) => format!("ip6:{address} "),
    });
    format!("v=spf1 {}-all", mechanisms.collect::<String>())
}

fn distinct<T: Ord>(all: impl Iterator<Item = T>) -> Vec<T> {
    all.collect::<BTreeSet<T>>().into_iter().collect()
}

fn node(name: &NodeName) -> Name {
    relative([name.as_str()])
}

/// A name under the zone. The labels are ours (node names, service labels) and legal, so nothing is lost here.
fn relative<const N: usize>(labels: [&str; N]) -> Name {
    Name::from_labels(labels.map(str::as_bytes)).unwrap_or_default()
}

#[cfg(test)]
pub(crate) mod tests;
