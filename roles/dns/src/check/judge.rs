//! What to think of an answer: pure.

use std::collections::BTreeSet;
use std::net::IpAddr;

use hickory_proto::dnssec::rdata::DNSSECRData;
use hickory_proto::rr::{Name, RData};

use super::{Expectation, Finding, Found, State, Want, exchange, name_server};
use crate::content::policy::text_of;
use crate::dnssec::operations::ds_text;
use crate::records::presented;

/// What to think of an answer. `ours`: whether the zone is delegated to this cluster; `confirmed`: whether the names of an
/// address lead back to it.
pub fn judge(expectation: &Expectation, found: &Found, ours: bool, confirmed: bool) -> Finding {
    let (state, mend) = match found {
        Found::Failed(why) => (State::Wrong, failed(&expectation.want, why)),
        Found::Silence(why) => (State::Unknown, format!("nobody answered ({why}): ask again")),
        Found::Data(data) => match &expectation.want {
            Want::NameServers(servers, served) => judge_name_servers(servers, *served, data),
            Want::Exchanges(exchanges) => judge_exchanges(exchanges, data, ours),
            Want::Addresses(addresses) => judge_addresses(addresses, data, ours),
            Want::SenderPolicy(policy) => judge_sender_policy(policy, data),
            Want::Text(tag, text) => judge_text(tag, text, data, |found| squeezed(found) == squeezed(text)),
            Want::SomeText(tag, text) => judge_text(tag, text, data, |_| true),
            Want::Exactly(wanted) => judge_exactly(wanted, data),
            Want::Pointer(address, host) => judge_pointer(*address, host, data, confirmed),
            Want::Delegation(wanted) => judge_delegation(wanted, data),
        },
    };
    let shown = match found {
        Found::Data(data) => data.iter().map(shown).collect::<Vec<_>>().join(", "),
        Found::Failed(why) => why.clone(),
        Found::Silence(_) => String::new(),
    };
    Finding {
        state,
        name: expectation.name.to_ascii().trim_end_matches('.').to_owned(),
        kind: expectation.kind.to_string(),
        found: shown,
        mend,
        wrong: !matches!(state, State::Good | State::Unknown),
    }
}

/// A resolver that has no answer for a name whose zone exists found name servers that do not serve it (a lame delegation),
/// nobody at their addresses, or signatures that the parent's DS does not fit.
fn failed(want: &Want, why: &str) -> String {
    match want {
        Want::NameServers(servers, true) => format!(
            "resolvers get no answer for the zone ({why}): have the parent zone delegate to {}, whose addresses must be \
             reached on port 53 from outside, and see that its DS is the one that estafeta dns ds prints",
            listed(servers)
        ),
        Want::NameServers(_, false) => {
            format!("resolvers get no answer for the zone ({why}): its name servers are to be mended first")
        }
        Want::Pointer(address, _) => {
            format!(
                "resolvers get no answer for the reverse zone of {address} ({why}): tell whoever gave you the address"
            )
        }
        _ => format!("resolvers get no answer ({why}): mend the delegation of the zone first"),
    }
}

fn good() -> (State, String) {
    (State::Good, String::new())
}

pub(super) fn judge_name_servers(servers: &[Name], served: bool, data: &[RData]) -> (State, String) {
    let found: BTreeSet<Name> = data.iter().filter_map(name_server).collect();
    let lacking: Vec<&Name> = servers.iter().filter(|server| !found.contains(*server)).collect();
    let foreign: Vec<&Name> = found.iter().filter(|server| !servers.contains(server)).collect();
    match (served, found.is_empty(), lacking.is_empty(), foreign.is_empty()) {
        (false, false, ..) => good(),
        (false, true, ..) => (State::Missing, "no name server has the domain: register it".into()),
        (true, _, true, true) => good(),
        (true, true, ..) => (State::Missing, format!("have the parent zone delegate to {}", listed(servers))),
        (true, false, ..) if lacking.len() == servers.len() => (
            State::Wrong,
            format!(
                "this cluster serves the zone and is not asked: have the parent zone delegate to {}; if others are to \
                 serve it, set mail_domains = false in [dns]",
                listed(servers)
            ),
        ),
        (true, false, false, _) => (State::Stale, format!("have the parent zone add {}", listed(lacking))),
        (true, false, true, false) => (
            State::Wrong,
            format!("have the parent zone take out {}, or name it in [dns] name_servers", listed(foreign)),
        ),
    }
}

fn judge_exchanges(exchanges: &[(u16, Name)], data: &[RData], ours: bool) -> (State, String) {
    let found: Vec<(u16, Name)> = data.iter().filter_map(exchange).collect();
    let is_ours = |host: &Name| exchanges.iter().any(|(_, known)| known == host);
    let records = |hosts: Vec<&(u16, Name)>| {
        hosts.iter().map(|(preference, host)| format!("MX {preference} {host}")).collect::<Vec<_>>().join(", ")
    };
    let all = || records(exchanges.iter().collect());
    if found.is_empty() {
        return (State::Missing, format!("add {}", all()));
    }
    let foreign: Vec<&(u16, Name)> = found.iter().filter(|(_, host)| !is_ours(host)).collect();
    if foreign.len() == found.len() {
        return (State::Wrong, format!("mail goes elsewhere: put {} in their place", all()));
    }
    if !foreign.is_empty() {
        return (State::Wrong, format!("mail goes elsewhere too: take out {}", records(foreign)));
    }
    let lacking: Vec<_> = exchanges.iter().filter(|(_, host)| !found.iter().any(|(_, known)| known == host)).collect();
    match ours || lacking.is_empty() {
        true => good(),
        false => (State::Stale, format!("add {}", records(lacking))),
    }
}

fn judge_addresses(addresses: &[IpAddr], data: &[RData], ours: bool) -> (State, String) {
    let found: Vec<IpAddr> = data.iter().filter_map(RData::ip_addr).collect();
    if found.is_empty() {
        return match ours {
            // Of a name with addresses of both families only one may be ready.
            true => (State::Unknown, "no node of this family is ready now, or the name is not there yet".into()),
            false => (State::Missing, format!("add {}", listed(addresses))),
        };
    }
    let foreign: Vec<&IpAddr> = found.iter().filter(|address| !addresses.contains(address)).collect();
    if !foreign.is_empty() {
        return (State::Stale, format!("no node of this cluster has {}: take it out", listed(foreign)));
    }
    let lacking: Vec<&IpAddr> = addresses.iter().filter(|address| !found.contains(address)).collect();
    match ours || lacking.is_empty() {
        true => good(),
        false => (State::Stale, format!("add {}", listed(lacking))),
    }
}

pub(super) fn judge_sender_policy(policy: &str, data: &[RData]) -> (State, String) {
    let is_policy = |text: &String| text.split(' ').next().is_some_and(|tag| tag.eq_ignore_ascii_case("v=spf1"));
    let found: Vec<String> = data.iter().filter_map(text_of).filter(is_policy).collect();
    let [found] = found.as_slice() else {
        return match found.is_empty() {
            true => (State::Missing, format!("add TXT \"{policy}\"")),
            // RFC 7208 §4.5.
            false => (State::Wrong, format!("there are several, which is an error: leave one, \"{policy}\"")),
        };
    };
    let terms: Vec<String> = found.split_whitespace().map(str::to_ascii_lowercase).collect();
    let lacking: Vec<&str> = policy
        .split(' ')
        .filter(|term| term.contains(':') && !terms.iter().any(|known| known.trim_start_matches('+') == *term))
        .collect();
    if lacking.is_empty() {
        return good();
    }
    // What these stand for is not followed here.
    let by_name = |term: &String| {
        let term = term.trim_start_matches('+');
        term == "a"
            || term == "mx"
            || ["a:", "mx:", "include:", "redirect=", "exists:"].iter().any(|known| term.starts_with(known))
    };
    let lacking = lacking.join(" ");
    match terms.iter().any(by_name) {
        true => (State::Unknown, format!("see that it covers {lacking}, or write that into it")),
        false => (State::Stale, format!("mail from there is taken for forged: write {lacking} into it")),
    }
}

fn judge_text(tag: &str, text: &str, data: &[RData], is_right: impl Fn(&str) -> bool) -> (State, String) {
    let found: Vec<String> = data.iter().filter_map(text_of).filter(|found| found.starts_with(tag)).collect();
    match found.as_slice() {
        [] => (State::Missing, format!("add TXT \"{text}\"")),
        [found] if is_right(found) => good(),
        [_] => (State::Stale, format!("put \"{text}\" in its place")),
        _ => (State::Wrong, format!("there are several, which is an error: leave one, \"{text}\"")),
    }
}

fn judge_exactly(wanted: &[String], data: &[RData]) -> (State, String) {
    let alike = |a: &str, b: &str| squeezed(a).eq_ignore_ascii_case(&squeezed(b));
    let found: Vec<String> = data.iter().map(presented).collect();
    let lacking: Vec<&String> = wanted.iter().filter(|want| !found.iter().any(|found| alike(found, want))).collect();
    let foreign: Vec<&String> = found.iter().filter(|found| !wanted.iter().any(|want| alike(found, want))).collect();
    match (found.is_empty(), lacking.is_empty(), foreign.is_empty()) {
        (_, true, true) => good(),
        (true, ..) => (State::Missing, format!("add {}", listed(lacking))),
        (_, false, true) => (State::Stale, format!("add {}", listed(lacking))),
        (_, true, false) => (State::Stale, format!("take out {}", listed(foreign))),
        (_, false, false) => (State::Stale, format!("put {} in the place of {}", listed(lacking), listed(foreign))),
    }
}

fn judge_pointer(address: IpAddr, host: &Name, data: &[RData], confirmed: bool) -> (State, String) {
    let host = host.to_ascii();
    let host = host.trim_end_matches('.');
    match (data.is_empty(), confirmed) {
        (false, true) => good(),
        (true, _) => (
            State::Missing,
            format!("mail from {address} is often refused: have whoever gave you the address name it {host}"),
        ),
        (false, false) => (
            State::Wrong,
            format!("that name has not the address {address}, so mail from there is often refused: {host} has it"),
        ),
    }
}

pub(super) fn judge_delegation(wanted: &[String], data: &[RData]) -> (State, String) {
    let ds = |data: &RData| match data {
        RData::DNSSEC(DNSSECRData::DS(ds)) => Some(ds_text(ds)),
        _ => None,
    };
    let found: Vec<String> = data.iter().filter_map(ds).collect();
    let right = wanted.iter().any(|want| found.contains(want));
    match (wanted.is_empty(), found.is_empty()) {
        (true, true) => good(),
        (true, false) => (
            State::Wrong,
            "the parent says that the zone is signed, and this cluster has no keys of it: if it is to serve the zone, have \
             the parent take the DS out, wait for its TTL, then delegate"
                .into(),
        ),
        (false, true) => (State::Missing, format!("nobody checks the signatures: give the parent DS {}", listed(wanted))),
        (false, false) if right => good(),
        (false, false) => (State::Wrong, format!("whoever checks signatures sees nothing: give the parent DS {}", listed(wanted))),
    }
}

fn shown(data: &RData) -> String {
    match data {
        RData::DNSSEC(DNSSECRData::DS(ds)) => ds_text(ds),
        other => text_of(other).unwrap_or_else(|| presented(other)),
    }
}

fn squeezed(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).collect()
}

fn listed<T: std::fmt::Display>(all: impl IntoIterator<Item = T>) -> String {
    all.into_iter().map(|one| one.to_string()).collect::<Vec<_>>().join(", ")
}
