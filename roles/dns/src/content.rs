//! What a zone of the cluster holds, computed from configuration, settings and members.
//!
//! All mail zones are alike. Under the zone `example.edu` of a cluster with the nodes dns1, edge1, edge2 and access1:
//!
//! ```text
//! example.edu.          SOA  dns1.example.edu. hostmaster…
//!                       NS   dns1.example.edu.             the dns nodes, enrolled
//!                       MX   10 mx.example.edu.            the edges, first in rotation …
//!                       MX   20 edge1.example.edu. …       … then each by its own name
//!                       TXT  v=spf1 ip4:… -all             the edges' addresses, enrolled
//! edge1.example.edu.    A    192.0.2.1                     every node, enrolled
//! mx.   imap.  pop.     A    …                             service names: nodes that are ready, in rotation
//! smtp. webmail.                                           (smtp is where users submit; mx is port 25)
//! _imaps._tcp           SRV  0 1 993 imap.example.edu.     and so _imap, _pop3s, _pop3, _submissions, _submission
//! _dmarc  _mta-sts  …   TXT  …                             policies (content/policy.rs)
//! ```
//!
//! With edges at several sites the exchanges are `10 mx-NORTH`, `20 mx-SOUTH` …, `30 edge1` …
//!
//! Invariants (DESIGN.md, 5): service names, SRV and MX follow readiness, never name only nodes that are not ready
//! while a ready one is known, and name all when none is ready. A node's own name, NS, SPF and policies, which others
//! cache and judge us by, follow enrolment. A service name wins over a node of the same name, and both over a record that
//! was written by hand. What a zone holds is a function of its sources alone, so that name servers that know the same
//! answer the same.

mod fixed;
pub mod policy;
pub mod reverse;
pub mod services;

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use estafeta_core::members::{Member, Members, Readiness};
use estafeta_core::settings::Settings;
use estafeta_core::{Domain, RoleName};
use hickory_proto::rr::rdata::{A, AAAA, NS, SOA};
use hickory_proto::rr::{Name, RData, RecordType};

use crate::config::{Config, TimesToLive};
use crate::sites::Sites;
use crate::zone::{Choice, Datum, RecordSet, Zone, absolute};
use crate::zonefile::Held;

/// What zones are computed from.
#[derive(Clone, Copy)]
pub struct Sources<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// The sites.
    pub sites: &'a Sites,
    /// The settings.
    pub settings: &'a Settings,
    /// The members.
    pub members: &'a Members,
}

impl Sources<'_> {
    /// The mail domains that are served.
    pub fn mail_domains(&self) -> &[Domain] {
        if self.config.mail_domains { &self.settings.domains } else { &[] }
    }

    fn ttl(&self) -> TimesToLive {
        self.config.times_to_live()
    }
}

/// Services whose addresses are a node's public ones: what its own name resolves to.
const PUBLIC_ROLES: [RoleName; 3] = [RoleName::EDGE, RoleName::ACCESS, RoleName::DNS];

/// A zone of the cluster, with serial number 0; `fixed` is what was written by hand, and what of it has no place is told
/// to `notes`.
pub fn zone(origin: &Name, sources: Sources<'_>, fixed: &Held, notes: &mut BTreeSet<String>) -> Zone {
    let mut zone = Zone { origin: origin.clone(), serial: 0, names: Default::default() };
    for member in sources.members.iter() {
        let addresses = own_addresses(member).into_iter().map(|address| Datum::plain(address_data(address)));
        if let Some(name) = zone.host(&[member.name.as_str()]) {
            zone.names.insert(name.clone(), vec![]);
            zone.put_addresses(&name, sources.ttl().stable_seconds, Choice::All, addresses.collect());
        }
    }
    authority(&mut zone, origin, sources);
    services::put(&mut zone, sources);
    policy::put(&mut zone, sources);
    fixed::put(&mut zone, fixed, notes);
    zone.name_what_is_between();
    zone
}

/// A zone of which the cluster says nothing itself but whose it is.
pub fn foreign_zone(origin: &Name, sources: Sources<'_>, fixed: &Held, notes: &mut BTreeSet<String>) -> Zone {
    let mut zone = Zone { origin: origin.clone(), serial: 0, names: Default::default() };
    authority(&mut zone, &host_domain(sources).unwrap_or_else(|| origin.clone()), sources);
    fixed::put(&mut zone, fixed, notes);
    zone.name_what_is_between();
    zone
}

/// The domain under which nodes are named where the zone's own does not do.
fn host_domain(sources: Sources<'_>) -> Option<Name> {
    let config = sources.config;
    let domain = config.reverse_domain.iter().chain(&config.zones).chain(sources.mail_domains()).next();
    domain.map(absolute)
}

/// SOA and NS. The name servers are the dns nodes by their own names under `hosts`, unless the configuration says others.
fn authority(zone: &mut Zone, hosts: &Name, sources: Sources<'_>) {
    let (config, ttl) = (sources.config, sources.ttl());
    let servers: Vec<Name> = match config.name_servers.as_slice() {
        [] => enrolled(sources.members, RoleName::DNS)
            .filter_map(|member| under(&[member.name.as_str()], hosts))
            .collect(),
        configured => configured.iter().map(absolute).collect(),
    };
    let origin = zone.origin.clone();
    let primary = config.primary.as_ref().map(absolute).or_else(|| servers.first().cloned());
    let responsible = match &config.hostmaster {
        // RFC 1035 §8: the local part is one label, whatever dots it has.
        Some(address) => absolute(address.domain()).prepend_label(address.local().as_bytes()),
        None => origin.prepend_label(&b"hostmaster"[..]),
    };
    // RFC 1035 §3.3.13; RFC 2308 §4: the last field is how long negative answers may be kept.
    let soa = SOA::new(
        primary.unwrap_or_else(|| origin.clone()),
        responsible.unwrap_or_else(|_| origin.clone()),
        zone.serial,
        3600,
        600,
        604_800,
        ttl.service_seconds,
    );
    zone.put(&origin, RecordSet::all(RecordType::SOA, ttl.stable_seconds, vec![RData::SOA(soa)]));
    let servers = servers.into_iter().map(|server| RData::NS(NS(server))).collect();
    zone.put(&origin, RecordSet::all(RecordType::NS, ttl.stable_seconds, servers));
}

impl RecordSet {
    /// A set of which answers name all, as they stand.
    pub fn all(kind: RecordType, ttl_seconds: u32, data: Vec<RData>) -> Self {
        Self { kind, ttl_seconds, choice: Choice::All, data: data.into_iter().map(Datum::plain).collect() }
    }
}

impl Zone {
    /// A name in the zone. None when it does not fit there (RFC 1035 §3.1: 255 octets).
    fn host(&self, labels: &[&str]) -> Option<Name> {
        under(labels, &self.origin)
    }

    /// Puts a set in place of what the name holds of its type; an empty one is none.
    fn put(&mut self, name: &Name, set: RecordSet) {
        let sets = self.names.entry(name.clone()).or_default();
        sets.retain(|other| other.kind != set.kind);
        if !set.data.is_empty() {
            sets.push(set);
        }
    }

    /// Puts addresses in place of those that the name has.
    fn put_addresses(&mut self, name: &Name, ttl_seconds: u32, choice: Choice, data: Vec<Datum>) {
        for kind in [RecordType::A, RecordType::AAAA] {
            let data = data.iter().filter(|datum| datum.data.record_type() == kind).cloned().collect();
            self.put(name, RecordSet { kind, ttl_seconds, choice, data });
        }
    }

    /// Puts the names between the zone's own and those that it holds: they exist and are empty (RFC 8020 §2).
    fn name_what_is_between(&mut self) {
        let mut between = BTreeSet::new();
        for name in self.names.keys() {
            let mut above = name.base_name();
            while self.origin.zone_of(&above) && !self.names.contains_key(&above) && between.insert(above.clone()) {
                above = above.base_name();
            }
        }
        self.names.extend(between.into_iter().map(|name| (name, vec![])));
    }
}

/// A name of these labels under a domain. They are ours (node names, service labels) and legal: what can fail is the length.
fn under(labels: &[&str], domain: &Name) -> Option<Name> {
    let relative = Name::from_labels(labels.iter().map(|label| label.as_bytes())).ok()?;
    let mut name = relative.append_domain(domain).ok()?;
    name.set_fqdn(true);
    Some(name)
}

/// The record data of an address.
fn address_data(address: IpAddr) -> RData {
    match address {
        IpAddr::V4(address) => RData::A(A(address)),
        IpAddr::V6(address) => RData::AAAA(AAAA(address)),
    }
}

/// The members as those who cache us see them: whoever is enrolled serves, and nobody is busy.
pub fn enrolled_only(members: &Members) -> Members {
    let enrolled = members.iter().cloned().map(|mut member| {
        member.roles.values_mut().for_each(|readiness| *readiness = Readiness::Ready);
        member.draining = false;
        member.load = 0;
        member
    });
    Members::new(enrolled.collect())
}

/// The members with a role, alive or not.
fn enrolled(members: &Members, role: RoleName) -> impl Iterator<Item = &Member> {
    members.iter().filter(move |member| member.roles.contains_key(&role))
}

/// Where a member offers one service of a role. An unspecified address (`0.0.0.0`) is no answer to anyone.
fn endpoints(member: &Member, role: &RoleName, service: &str) -> Vec<SocketAddr> {
    let offered =
        member.endpoints.iter().filter(|endpoint| &endpoint.role == role && endpoint.service.as_str() == service);
    offered.map(|endpoint| endpoint.address).filter(|address| !address.ip().is_unspecified()).collect()
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

/// The edges by name, each with the addresses that its mail comes from.
pub fn edge_hosts(origin: &Name, members: &Members) -> Vec<(Name, IpAddr)> {
    let hosts =
        enrolled(members, RoleName::EDGE).filter_map(|member| Some((under(&[member.name.as_str()], origin)?, member)));
    hosts
        .flat_map(|(host, member)| own_addresses(member).into_iter().map(move |address| (host.clone(), address)))
        .collect()
}

/// Whether these are the addresses of a node that nobody outside talks with: what other name servers need not have.
pub fn is_inner(name: &Name, sets: &[RecordSet], origin: &Name, members: &Members) -> bool {
    let inner = |member: &Member| !PUBLIC_ROLES.iter().any(|role| member.roles.contains_key(role));
    // A service name takes turns; a node's own does not.
    sets.iter().all(|set| set.choice == Choice::All)
        && members
            .iter()
            .filter(|member| inner(member))
            .any(|member| under(&[member.name.as_str()], origin).as_ref() == Some(name))
}

fn distinct<T: Ord>(all: impl Iterator<Item = T>) -> Vec<T> {
    all.collect::<BTreeSet<T>>().into_iter().collect()
}

#[cfg(test)]
pub(crate) mod tests;
