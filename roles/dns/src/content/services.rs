//! The names of services and who stands behind them: A and AAAA, MX, SRV.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use estafeta_core::members::{Member, Members, ready_or_all};
use estafeta_core::{RoleName, SiteName};
use hickory_proto::rr::rdata::{MX, SRV};
use hickory_proto::rr::{Name, RData, RecordType};

use super::{Sources, address_data, endpoints, enrolled, under};
use crate::config::StrictTransport;
use crate::zone::{Choice, Datum, RecordSet, Zone};

/// A service name and what stands behind it.
struct Service {
    label: &'static str,
    role: RoleName,
    /// The services of the role that it stands for, each with its SRV label where it has one (RFC 6186 §3,
    /// RFC 8314 §5.1).
    offers: &'static [(&'static str, Option<&'static str>)],
}

const EXCHANGE: Service = Service { label: "mx", role: RoleName::EDGE, offers: &[("smtp", None)] };

const SERVICES: [Service; 5] = [
    Service { label: "imap", role: RoleName::ACCESS, offers: &[("imaps", Some("_imaps")), ("imap", Some("_imap"))] },
    Service { label: "pop", role: RoleName::ACCESS, offers: &[("pop3s", Some("_pop3s")), ("pop3", Some("_pop3"))] },
    Service {
        label: "smtp",
        role: RoleName::EDGE,
        offers: &[("submissions", Some("_submissions")), ("submission", Some("_submission"))],
    },
    WEB,
    EXCHANGE,
];

const WEB: Service = Service { label: "webmail", role: RoleName::ACCESS, offers: &[("https", None)] };

/// The preference of the exchanges at the nearest site (RFC 5321 §5.1: the lowest is tried first).
pub const NEAREST: u16 = 10;
/// That of the exchanges at any other site.
pub const ELSEWHERE: u16 = 20;
/// That of each edge by its own name, when there are several sites.
const SINGLE: u16 = 30;

/// Puts the service names into a zone.
pub fn put(zone: &mut Zone, sources: Sources<'_>) {
    exchanges(zone, sources);
    for service in &SERVICES {
        let chosen = service.chosen(sources.members);
        if chosen.is_empty() {
            continue;
        }
        if let Some(name) = zone.host(&[service.label]) {
            service.put_addresses(zone, &name, &chosen, sources);
        }
        for (offer, label) in service.offers.iter().filter_map(|(offer, label)| Some((offer, (*label)?))) {
            let servers = service.servers(offer, &chosen, sources.members, &zone.origin);
            if let (Some(name), false) = (zone.host(&[label, "_tcp"]), servers.is_empty()) {
                let ttl_seconds = sources.ttl().service_seconds;
                let choice = Choice::InTurn;
                zone.put(&name, RecordSet { kind: RecordType::SRV, ttl_seconds, choice, data: servers });
            }
        }
    }
    let web = WEB.chosen(sources.members);
    let policy = (sources.config.mta_sts != StrictTransport::Off).then_some("mta-sts");
    for label in sources.config.web_names.iter().map(String::as_str).chain(policy) {
        if let (Some(name), false) = (zone.host(&[label]), web.is_empty()) {
            WEB.put_addresses(zone, &name, &web, sources);
        }
    }
}

/// MX: the exchanges of the first site, those of each other one, then every edge by its own name. Which site is the
/// nearest is whoever asks' affair: [`crate::answer`] prefers it. Without sites: all of them, then each.
fn exchanges(zone: &mut Zone, sources: Sources<'_>) {
    let chosen = EXCHANGE.chosen(sources.members);
    if chosen.is_empty() {
        return;
    }
    let ttl = sources.ttl();
    let sites = sites_of_exchanges(sources);
    let mut data = Vec::new();
    for site in &sites {
        let Some(name) = zone.host(&[&site_label(site)]) else { continue };
        let here: Vec<&Member> = chosen.iter().filter(|member| member.site.as_ref() == Some(site)).copied().collect();
        if !here.is_empty() {
            let preference = if data.is_empty() { NEAREST } else { ELSEWHERE };
            let exchange = RData::MX(MX::new(preference, name.clone()));
            data.push(Datum { data: exchange, site: Some(site.clone()), weight: 1 });
        }
        // Who still knows the name of a site where nobody is ready is sent elsewhere.
        EXCHANGE.put_addresses(zone, &name, if here.is_empty() { &chosen } else { &here }, sources);
    }
    let single = if sites.is_empty() { ELSEWHERE } else { SINGLE };
    if sites.is_empty() {
        let all = zone.host(&[EXCHANGE.label]);
        data.extend(all.map(|name| Datum::plain(RData::MX(MX::new(NEAREST, name)))));
    }
    let each = chosen.iter().filter_map(|member| zone.host(&[member.name.as_str()]));
    data.extend(each.map(|name| Datum::plain(RData::MX(MX::new(single, name)))));
    let origin = zone.origin.clone();
    let kind = RecordType::MX;
    zone.put(&origin, RecordSet { kind, ttl_seconds: ttl.stable_seconds, choice: Choice::InTurn, data });
}

/// The sites of the edges, in the configuration's order, the others after them; none when they all stand at one.
fn sites_of_exchanges(sources: Sources<'_>) -> Vec<SiteName> {
    let edges = enrolled(sources.members, RoleName::EDGE);
    let present: BTreeSet<&SiteName> = edges.filter_map(|member| member.site.as_ref()).collect();
    if present.len() < 2 {
        return vec![];
    }
    let mut sites: Vec<SiteName> = sources.sites.names().filter(|site| present.contains(site)).cloned().collect();
    let others: Vec<SiteName> = present.into_iter().filter(|site| !sites.contains(site)).cloned().collect();
    sites.extend(others);
    sites
}

/// The label of a site's exchanges. A site's name may be as long as a label; what does not fit is cut off.
fn site_label(site: &SiteName) -> String {
    format!("{}-{site}", EXCHANGE.label).chars().take(63).collect()
}

/// Every name that mail may be sent to, whoever is ready: what policies about exchanges speak of.
pub fn exchange_names(origin: &Name, sources: Sources<'_>) -> Vec<Name> {
    let edges = enrolled(sources.members, RoleName::EDGE).filter(|member| !EXCHANGE.endpoints(member).is_empty());
    let mut labels: Vec<String> = edges.map(|member| member.name.to_string()).collect();
    if labels.is_empty() {
        return vec![];
    }
    let sites = sites_of_exchanges(sources);
    labels.splice(0..0, [EXCHANGE.label.to_owned()].into_iter().chain(sites.iter().map(site_label)));
    labels.iter().filter_map(|label| under(&[label], origin)).collect()
}

/// The names under which clients reach services over TLS, each with the ports there.
pub fn encrypted_names(origin: &Name, sources: Sources<'_>) -> Vec<(Name, u16)> {
    let mut names: Vec<(Name, u16)> = exchange_names(origin, sources).into_iter().map(|name| (name, 25)).collect();
    for service in &SERVICES {
        let Some(name) = under(&[service.label], origin) else { continue };
        let offers = service.offers.iter().filter(|(offer, _)| *offer != "smtp");
        let ports = offers.flat_map(|(offer, _)| {
            let of_member = |member| endpoints(member, &service.role, offer);
            super::distinct(sources.members.iter().flat_map(of_member).map(|address| address.port()))
        });
        names.extend(super::distinct(ports).into_iter().map(|port| (name.clone(), port)));
    }
    names
}

/// How often a node comes first among its like when its load is `load` hundredths: ten times as often idle as full.
pub fn weight(load: u16) -> u16 {
    (105_u16.saturating_sub(load) / 10).clamp(1, 10)
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

    fn put_addresses(&self, zone: &mut Zone, name: &Name, chosen: &[&Member], sources: Sources<'_>) {
        let mut data: Vec<Datum> = Vec::new();
        for member in chosen {
            for address in super::distinct(self.endpoints(member).iter().map(SocketAddr::ip)) {
                let weight = if sources.config.weighted { weight(member.load) } else { 1 };
                let datum = Datum { data: address_data(address), site: member.site.clone(), weight };
                if !data.iter().any(|known| known.data == datum.data) {
                    data.push(datum);
                }
            }
        }
        data.sort_by(|a, b| a.data.cmp(&b.data));
        zone.put_addresses(name, sources.ttl().service_seconds, Choice::InTurn, data);
    }

    /// The SRV data of one offer. Mail programs keep the host that they find when they are set up, so it is the service
    /// name wherever that is right: when all who stand behind it offer this on one and the same port. Else it is each
    /// chosen node's own name.
    fn servers(&self, offer: &str, chosen: &[&Member], members: &Members, origin: &Name) -> Vec<Datum> {
        let ports = |member: &Member| -> Vec<u16> {
            super::distinct(endpoints(member, &self.role, offer).iter().map(SocketAddr::port))
        };
        let behind = members.iter().filter(|member| !self.endpoints(member).is_empty());
        let all: BTreeSet<Vec<u16>> = behind.map(ports).collect();
        let server = |port, label: &str| under(&[label], origin).map(|host| RData::SRV(SRV::new(0, 1, port, host)));
        if let (1, Some([port])) = (all.len(), all.first().map(Vec::as_slice)) {
            return server(*port, self.label).map(Datum::plain).into_iter().collect();
        }
        let each = |member: &&Member| -> Vec<Datum> {
            let servers = ports(member).into_iter().filter_map(|port| server(port, member.name.as_str()));
            servers.map(|data| Datum { data, site: member.site.clone(), weight: 1 }).collect()
        };
        chosen.iter().flat_map(each).collect()
    }
}
