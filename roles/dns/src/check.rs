//! `dns check`: what the name servers of the world say of a mail domain, beside what the cluster would say.
//!
//! What is expected ([`expect`]) and what to think of an answer ([`judge::judge`]) is pure; [`run`] asks.

mod judge;
mod resolver;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use estafeta_core::Domain;
use hickory_proto::rr::{Name, RData, RecordType};
use serde::Serialize;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use self::judge::judge;
pub use self::resolver::Resolver;
use crate::content::policy::text_of;
use crate::content::reverse::name_of;
use crate::content::{self, Sources, edge_hosts, is_inner};
use crate::records::presented;
use crate::zone::{RecordSet, absolute};
use crate::zonefile::Held;

/// How many questions are under way at once.
const QUESTIONS: usize = 16;

/// The most reverse names that are asked for.
const POINTERS: usize = 50;

/// What an answer holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// These data; none when there is no such name or it has no such records.
    Data(Vec<RData>),
    /// The resolver answers, and could get nothing from those whom the parent zone names (SERVFAIL, REFUSED).
    Failed(String),
    /// Nobody answered, and why.
    Silence(String),
}

/// Who knows names.
#[async_trait]
pub trait Names: Send + Sync {
    /// The records of one type at a name.
    async fn look_up(&self, name: &Name, kind: RecordType) -> Found;
}

/// What is known of the zone here.
#[derive(Debug, Clone, Default)]
pub struct Delegated {
    /// Whether this cluster serves the zone.
    pub served: bool,
    /// The DS that the parent should have, as zone files write them; none for a zone that is not signed.
    pub keys: Option<Vec<String>>,
}

/// What a name should hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expectation {
    name: Name,
    kind: RecordType,
    want: Want,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Want {
    /// These name servers; whether the cluster serves the zone.
    NameServers(Vec<Name>, bool),
    /// Mail goes to these hosts, with the preference of each.
    Exchanges(Vec<(u16, Name)>),
    /// Addresses of these.
    Addresses(Vec<IpAddr>),
    /// This SPF.
    SenderPolicy(String),
    /// A text that begins with the tag and is this one.
    Text(&'static str, String),
    /// A text that begins with the tag; this would be one.
    SomeText(&'static str, String),
    /// Exactly these, as zone files write them.
    Exactly(Vec<String>),
    /// The name of the address, and back.
    Pointer(IpAddr, Name),
    /// These DS; none at all for a zone that is not signed.
    Delegation(Vec<String>),
}

/// How it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// As it should be.
    Good,
    /// It is not there.
    Missing,
    /// It says something else.
    Wrong,
    /// It says what was right before.
    Stale,
    /// Nobody answered, or it cannot be told.
    Unknown,
}

/// What became of one expectation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How it stands.
    pub state: State,
    /// The name that was asked for.
    pub name: String,
    /// The type.
    #[serde(rename = "type")]
    pub kind: String,
    /// What was answered.
    pub found: String,
    /// What to do; empty for nothing.
    pub mend: String,
    /// Whether something has to be done.
    pub wrong: bool,
}

/// What should be found of a mail domain.
pub fn expect(domain: &Domain, sources: Sources<'_>, delegated: Delegated) -> Vec<Expectation> {
    let origin = absolute(domain);
    let zone = content::zone(&origin, sources, &Held::new(), &mut BTreeSet::new());
    let mut expected = Vec::new();
    for (name, sets) in zone.names.iter().filter(|(name, sets)| !is_inner(name, sets, &origin, sources.members)) {
        for set in sets {
            let wanted = wanted(set, delegated.served);
            expected.extend(wanted.map(|want| Expectation { name: name.clone(), kind: set.kind, want }));
        }
    }
    let keys = delegated.keys.unwrap_or_default();
    expected.push(Expectation { name: origin.clone(), kind: RecordType::DS, want: Want::Delegation(keys) });
    let public = edge_hosts(&origin, sources.members).into_iter().filter(|(_, address)| is_public(*address));
    expected.extend(public.take(POINTERS).map(|(host, address)| Expectation {
        name: name_of(address),
        kind: RecordType::PTR,
        want: Want::Pointer(address, host),
    }));
    expected
}

fn wanted(set: &RecordSet, served: bool) -> Option<Want> {
    let data = || set.data.iter().map(|datum| &datum.data);
    Some(match set.kind {
        RecordType::SOA => return None,
        RecordType::NS => Want::NameServers(data().filter_map(name_server).collect(), served),
        RecordType::MX => Want::Exchanges(data().filter_map(exchange).collect()),
        RecordType::A | RecordType::AAAA => Want::Addresses(data().filter_map(RData::ip_addr).collect()),
        RecordType::TXT => {
            let text = data().find_map(text_of)?;
            match text.split([';', ' ']).next()? {
                "v=spf1" => Want::SenderPolicy(text),
                "v=DMARC1" => Want::SomeText("v=DMARC1", text),
                "v=STSv1" => Want::Text("v=STSv1", text),
                "v=TLSRPTv1" => Want::SomeText("v=TLSRPTv1", text),
                // RFC 6376 §3.6.1: the version may be left out.
                _ => Want::Text("", text),
            }
        }
        _ => Want::Exactly(data().map(presented).collect()),
    })
}

/// Asks for all that is expected, and says what came; what has to be mended first.
pub async fn run(expected: Vec<Expectation>, names: &Arc<dyn Names>) -> Vec<Finding> {
    let places = Arc::new(Semaphore::new(QUESTIONS));
    let mut asking = JoinSet::new();
    for (number, expectation) in expected.into_iter().enumerate() {
        let (names, places) = (names.clone(), places.clone());
        asking.spawn(async move {
            let _place = places.acquire().await;
            let found = names.look_up(&expectation.name, expectation.kind).await;
            let confirmed = match &expectation.want {
                Want::Pointer(address, _) => confirm(*address, &found, names.as_ref()).await,
                _ => false,
            };
            (number, expectation, found, confirmed)
        });
    }
    let mut answered: Vec<_> = asking.join_all().await;
    answered.sort_by_key(|(number, ..)| *number);
    let ours = answered.iter().any(|(_, expectation, found, _)| answered_by_us(expectation, found));
    let judged = answered.iter().map(|(_, expectation, found, confirmed)| judge(expectation, found, ours, *confirmed));
    let mut findings: Vec<Finding> = judged.collect();
    findings.sort_by_key(|finding| (!finding.wrong, finding.state != State::Unknown));
    findings
}

/// Whether one of the names that an address has leads back to it (RFC 1912 §2.1).
async fn confirm(address: IpAddr, found: &Found, names: &dyn Names) -> bool {
    let Found::Data(data) = found else { return false };
    let kind = if address.is_ipv4() { RecordType::A } else { RecordType::AAAA };
    for host in data.iter().filter_map(pointed_to).take(3) {
        if let Found::Data(data) = names.look_up(host, kind).await
            && data.iter().any(|data| data.ip_addr() == Some(address))
        {
            return true;
        }
    }
    false
}

/// Whether the world asks this cluster's name servers: then it hears of those who are ready alone.
fn answered_by_us(expectation: &Expectation, found: &Found) -> bool {
    match (&expectation.want, found) {
        (Want::NameServers(ours, true), Found::Data(data)) => {
            data.iter().filter_map(name_server).any(|server| ours.contains(&server))
        }
        _ => false,
    }
}

fn name_server(data: &RData) -> Option<Name> {
    match data {
        RData::NS(server) => Some(server.0.to_lowercase()),
        _ => None,
    }
}

fn exchange(data: &RData) -> Option<(u16, Name)> {
    match data {
        RData::MX(exchange) => Some((exchange.preference, exchange.exchange.to_lowercase())),
        _ => None,
    }
}

fn pointed_to(data: &RData) -> Option<&Name> {
    match data {
        RData::PTR(host) => Some(&host.0),
        _ => None,
    }
}

/// Whether an address is one of the world's, so that others see and judge it.
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => !(v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_unspecified()),
        IpAddr::V6(v6) => {
            !(v6.is_loopback() || v6.is_unspecified() || v6.is_unique_local() || v6.is_unicast_link_local())
        }
    }
}

#[cfg(test)]
mod tests;
