//! What others judge our mail by, and what they are told of our servers: SPF, DMARC, DKIM, MTA-STS, reports, CAA, TLSA.
//! All of it follows enrolment, never readiness.

use std::net::IpAddr;

use estafeta_core::RoleName;
use hickory_proto::rr::rdata::tlsa::{CertUsage, Matching, Selector};
use hickory_proto::rr::rdata::{TLSA, TXT};
use hickory_proto::rr::{Name, RData, RecordType};
use ipnet::IpNet;

use super::services::{encrypted_names, exchange_names};
use super::{Sources, distinct, enrolled, own_addresses};
use crate::config::StrictTransport;
use crate::zone::{RecordSet, Zone};

/// The longest character string of a TXT record, in bytes (RFC 1035 §3.3).
const TEXT_BYTES: usize = 255;

/// Puts the policies into a mail zone.
pub fn put(zone: &mut Zone, sources: Sources<'_>) {
    let config = sources.config;
    let apex = zone.origin.clone();
    let ttl_seconds = sources.ttl().stable_seconds;
    put_text(zone, &[], &sender_policy(sources), ttl_seconds);
    if !config.dmarc.is_empty() {
        put_text(zone, &["_dmarc"], &config.dmarc, ttl_seconds);
    }
    for (selector, key) in &config.dkim {
        let labels: Vec<&str> = selector.split('.').chain(["_domainkey"]).collect();
        put_text(zone, &labels, &signing_key(key), ttl_seconds);
    }
    if let Some(policy) = strict_transport_policy(&apex, sources) {
        // RFC 8461 §3.1: a new id says that there is a new policy.
        let id: String = blake3::hash(policy.as_bytes()).to_hex().chars().take(32).collect();
        put_text(zone, &["_mta-sts"], &format!("v=STSv1; id={id};"), ttl_seconds);
    }
    if !config.tls_reports.is_empty() {
        // RFC 8460 §3.
        let text = format!("v=TLSRPTv1; rua={}", config.tls_reports.join(","));
        put_text(zone, &["_smtp", "_tls"], &text, ttl_seconds);
    }
    let issuers = config.caa.iter().filter_map(|issuer| authorised_issuer(issuer).ok()).collect();
    zone.put(&apex, RecordSet::all(RecordType::CAA, ttl_seconds, issuers));
    put_certificates(zone, sources);
}

/// RFC 7672 §3.1.1: DANE-EE(3), SPKI(1), SHA-256(1). Without DNSSEC nobody may believe it, so there it is not said.
fn put_certificates(zone: &mut Zone, sources: Sources<'_>) {
    if !sources.config.is_signed(&zone.origin) {
        return;
    }
    let keys: Vec<RData> = sources.config.tlsa.iter().filter_map(|key| certificate_key(key)).collect();
    let origin = zone.origin.clone();
    for (host, port) in encrypted_names(&origin, sources) {
        // RFC 6698 §3.
        let name = host.prepend_label("_tcp").and_then(|name| name.prepend_label(format!("_{port}").as_str()));
        if let Ok(name) = name {
            zone.put(&name, RecordSet::all(RecordType::TLSA, sources.ttl().stable_seconds, keys.clone()));
        }
    }
}

fn certificate_key(hexadecimal: &str) -> Option<RData> {
    let byte = |at: usize| u8::from_str_radix(hexadecimal.get(at..at + 2)?, 16).ok();
    let digest = (0..hexadecimal.len()).step_by(2).map(byte).collect::<Option<Vec<u8>>>()?;
    Some(RData::TLSA(TLSA::new(CertUsage::DaneEe, Selector::Spki, Matching::Sha256, digest)))
}

fn put_text(zone: &mut Zone, labels: &[&str], text: &str, ttl_seconds: u32) {
    let name = if labels.is_empty() { Some(zone.origin.clone()) } else { zone.host(labels) };
    if let Some(name) = name {
        zone.put(&name, RecordSet::all(RecordType::TXT, ttl_seconds, vec![text_data(text)]));
    }
}

/// A text as a record, cut into strings.
pub fn text_data(text: &str) -> RData {
    RData::TXT(TXT::from_bytes(text.as_bytes().chunks(TEXT_BYTES).collect()))
}

/// What a TXT record says, its strings put together (RFC 7208 §3.3).
pub fn text_of(data: &RData) -> Option<String> {
    match data {
        RData::TXT(text) => Some(String::from_utf8_lossy(&text.txt_data.concat()).into_owned()),
        _ => None,
    }
}

/// The addresses that mail of our domains comes from: those of the enrolled edges, and those configured.
pub fn outgoing(sources: Sources<'_>) -> Vec<IpNet> {
    let edges = enrolled(sources.members, RoleName::EDGE).flat_map(own_addresses).map(IpNet::from);
    distinct(edges.chain(sources.config.outgoing_addresses.iter().map(IpNet::trunc)))
}

/// Mail of our domains comes from our edges and from nowhere else (RFC 7208 §4.6, §5.6).
fn sender_policy(sources: Sources<'_>) -> String {
    let mechanism = |network: IpNet| {
        let family = if network.addr().is_ipv4() { "ip4" } else { "ip6" };
        match network.prefix_len() == network.max_prefix_len() {
            true => format!("{family}:{} ", network.addr()),
            false => format!("{family}:{network} "),
        }
    };
    let addresses: String = outgoing(sources).into_iter().map(mechanism).collect();
    let terms: String = sources.config.sender_policy_terms.iter().map(|term| format!("{term} ")).collect();
    format!("v=spf1 {addresses}{terms}-all")
}

/// RFC 6376 §3.6.1. A key without its tags is RSA when it is longer than Ed25519's 32 bytes (RFC 8463 §4.2).
fn signing_key(key: &str) -> String {
    match key {
        whole if whole.contains("p=") => whole.to_owned(),
        key if key.len() <= 44 => format!("v=DKIM1; k=ed25519; p={key}"),
        key => format!("v=DKIM1; k=rsa; p={key}"),
    }
}

/// RFC 8461 §3.2: the text that the web server at `mta-sts.` must give for a zone. None when there is no policy, or nobody
/// takes mail.
pub fn strict_transport_policy(origin: &Name, sources: Sources<'_>) -> Option<String> {
    let mode = match sources.config.mta_sts {
        StrictTransport::Off => return None,
        StrictTransport::Testing => "testing",
        StrictTransport::Enforce => "enforce",
        StrictTransport::None => "none",
    };
    let exchanges = exchange_names(origin, sources);
    if exchanges.is_empty() {
        return None;
    }
    let line = |name: &Name| format!("mx: {}\n", name.to_ascii().trim_end_matches('.'));
    let exchanges: String = exchanges.iter().map(line).collect();
    Some(format!("version: STSv1\nmode: {mode}\n{exchanges}max_age: {}\n", sources.config.mta_sts_seconds))
}

/// RFC 8659 §4.1: flags, tag and value, as a zone file has them.
pub fn authorised_issuer(text: &str) -> Result<RData, String> {
    if text.contains(char::is_control) {
        return Err("a control character stands in it".into());
    }
    RData::try_from_str(RecordType::CAA, text).map_err(|_| "it takes the form: 0 issue \"letsencrypt.org\"".to_owned())
}

/// Whether an address belongs to a network of these.
pub fn within(networks: &[IpNet], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&address))
}
