//! `dns records`: what another name server needs to serve a mail domain, in the form of a zone file.

use std::collections::BTreeSet;

use estafeta_core::Domain;
use hickory_proto::rr::{Name, RData, RecordType};
use serde::Serialize;

use crate::content::policy::{outgoing, strict_transport_policy};
use crate::content::reverse::name_of;
use crate::content::{self, Sources, edge_hosts, is_inner};
use crate::zone::absolute;
use crate::zonefile::Held;

/// One line: a record, or a remark.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// The line as a zone file has it.
    pub record: String,
    /// The record's name; none for a remark.
    pub name: Option<String>,
    /// How long it may be kept, in seconds.
    pub ttl_seconds: Option<u32>,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// What it says.
    pub value: Option<String>,
}

/// The lines for a mail domain: all that the cluster says of it but SOA and NS, which are the other name server's.
pub fn records(domain: &Domain, sources: Sources<'_>) -> Vec<Line> {
    let origin = absolute(domain);
    let zone = content::zone(&origin, sources, &Held::new(), &mut BTreeSet::new());
    let mut lines = vec![remark(format!(
        "Records of {domain} as the cluster is now. Once nodes join or leave, they change: estafeta dns check {domain}"
    ))];
    for (name, sets) in zone.names.iter().filter(|(name, sets)| !is_inner(name, sets, &origin, sources.members)) {
        for set in sets.iter().filter(|set| !matches!(set.kind, RecordType::SOA | RecordType::NS)) {
            lines.extend(set.data.iter().map(|datum| line(name, set.ttl_seconds, &datum.data)));
        }
    }
    lines.extend(reverse_remarks(&origin, sources));
    if let Some(policy) = strict_transport_policy(&origin, sources) {
        lines.push(remark(format!("The MTA-STS policy, https://mta-sts.{domain}/.well-known/mta-sts.txt:")));
        lines.extend(policy.lines().map(|line| remark(format!("  {line}"))));
    }
    lines
}

/// What belongs into other zones than this one.
fn reverse_remarks(origin: &Name, sources: Sources<'_>) -> Vec<Line> {
    let pointer = |(host, address): (Name, std::net::IpAddr)| remark(format!("  {} IN PTR {host}", name_of(address)));
    let pointers: Vec<Line> = edge_hosts(origin, sources.members).into_iter().map(pointer).collect();
    let mut lines = Vec::new();
    if !pointers.is_empty() {
        lines.push(remark("The reverse zones of the addresses that mail goes out from:".into()));
        lines.extend(pointers);
    }
    let shared: Vec<String> = outgoing(sources)
        .iter()
        .filter(|network| !network.max_prefix_len().eq(&network.prefix_len()))
        .map(ToString::to_string)
        .collect();
    if !shared.is_empty() {
        lines.push(remark(format!("  and each address that is used of {}", shared.join(", "))));
    }
    lines
}

fn remark(text: String) -> Line {
    Line { record: format!("; {text}"), name: None, ttl_seconds: None, kind: None, value: None }
}

fn line(name: &Name, ttl_seconds: u32, data: &RData) -> Line {
    let (name, kind, value) = (name.to_ascii(), data.record_type().to_string(), presented(data));
    Line {
        record: format!("{name} {ttl_seconds} IN {kind} {value}"),
        name: Some(name),
        ttl_seconds: Some(ttl_seconds),
        kind: Some(kind),
        value: Some(value),
    }
}

/// What a record says, as a zone file has it (RFC 1035 §5.1).
pub fn presented(data: &RData) -> String {
    match data {
        RData::TXT(text) => {
            let quoted: Vec<String> = text.txt_data.iter().map(|part| quoted(part)).collect();
            quoted.join(" ")
        }
        other => other.to_string(),
    }
}

fn quoted(bytes: &[u8]) -> String {
    let escaped = |byte: &u8| match byte {
        b'"' | b'\\' => format!("\\{}", char::from(*byte)),
        b' '..=b'~' => char::from(*byte).to_string(),
        byte => format!("\\{byte:03}"),
    };
    format!("\"{}\"", bytes.iter().map(escaped).collect::<String>())
}

#[cfg(test)]
mod tests {
    use estafeta_core::settings::Settings;

    use super::*;
    use crate::content::tests::{cluster, config};
    use crate::sites::Sites;
    use crate::zonefile;

    #[test]
    fn what_is_pasted_is_read_as_what_we_serve() {
        let config = config(
            "mta_sts = 'testing'\ncaa = ['0 issue \"letsencrypt.org\"']\noutgoing_addresses = ['203.0.113.0/28']\n\
             dnssec = { all = true }\ntlsa = ['0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef']\n\
             dkim = { s1 = 'v=DKIM1; n=say \"hi\" \\; p=AAAA' }",
        );
        let (sites, settings, members) = (Sites::default(), Settings::default(), cluster([true; 4]));
        let sources = Sources { config: &config, sites: &sites, settings: &settings, members: &members };
        let domain: Domain = "example.edu".parse().unwrap();
        let lines = records(&domain, sources);
        let text: String = lines.iter().map(|line| format!("{}\n", line.record)).collect();
        for part in [
            "example.edu. 300 IN MX 10 mx.example.edu.",
            "_dmarc.example.edu. 300 IN TXT \"v=DMARC1; p=none\"",
            ";   11.2.0.192.in-addr.arpa. IN PTR edge1.example.edu.",
            "203.0.113.0/28",
            ";   mode: testing",
            "_25._tcp.mx.example.edu. 300 IN TLSA 3 1 1 ",
            "_993._tcp.imap.example.edu. 300 IN TLSA 3 1 1 ",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        let origin = absolute(&domain);
        let read = zonefile::read(&text, &origin).unwrap();
        let served = content::zone(&origin, sources, &Held::new(), &mut BTreeSet::new());
        let mut compared = 0;
        for (name, sets) in &served.names {
            for set in sets.iter().filter(|set| !matches!(set.kind, RecordType::SOA | RecordType::NS)) {
                let pasted = read[name].iter().find(|other| other.kind == set.kind).unwrap();
                let data = |set: &crate::zone::RecordSet| set.data.iter().map(|d| d.data.clone()).collect::<Vec<_>>();
                assert_eq!(data(pasted), data(set), "{name} {}", set.kind);
                compared += 1;
            }
        }
        assert!(compared > 25, "{compared}");
    }
}
