//! Reverse zones: from the addresses of our networks to the names of our nodes (RFC 1035 §3.5, RFC 3596 §2.5).

use std::collections::BTreeSet;
use std::net::IpAddr;

use hickory_proto::rr::rdata::PTR;
use hickory_proto::rr::{Name, RData, RecordType};
use ipnet::IpNet;

use super::{Sources, foreign_zone, host_domain, own_addresses, under};
use crate::zone::{Choice, Datum, RecordSet, Zone};
use crate::zonefile::Held;

/// The name of a network's reverse zone. An error says what boundaries there are.
pub fn reverse_zone(network: &IpNet) -> Result<Name, String> {
    let (bits_each, most) = match network {
        IpNet::V4(_) => (8, 24),
        IpNet::V6(_) => (4, 124),
    };
    let prefix = network.prefix_len();
    if prefix == 0 || prefix > most || !prefix.is_multiple_of(bits_each) {
        let why = match network {
            // RFC 2317.
            IpNet::V4(_) => {
                "it takes /8, /16 or /24 (of a part of a /24, put the zone that was delegated to you into zones)"
            }
            IpNet::V6(_) => "it takes a multiple of four bits, at most /124",
        };
        return Err(format!("reverse_zones: {network}: {why}"));
    }
    let whole = Name::from(network.network());
    let host_labels = usize::from((network.max_prefix_len() - prefix) / bits_each);
    let mut name = Name::from_labels(whole.iter().skip(host_labels)).map_err(|error| error.to_string())?;
    name.set_fqdn(true);
    Ok(name)
}

/// A reverse zone, with serial number 0: each enrolled node's addresses, and what was written by hand.
pub fn zone(network: &IpNet, origin: &Name, sources: Sources<'_>, fixed: &Held, notes: &mut BTreeSet<String>) -> Zone {
    let mut held = fixed.clone();
    let domain = host_domain(sources);
    for member in sources.members.iter() {
        let Some(host) = domain.as_ref().and_then(|domain| under(&[member.name.as_str()], domain)) else { continue };
        for address in own_addresses(member).into_iter().filter(|address| network.contains(address)) {
            let sets = held.entry(name_of(address)).or_default();
            // What was written by hand stands: only a person knows which of several names an address has.
            if sets.iter().any(|set| fixed_pointer(fixed, address, set)) {
                continue;
            }
            let pointer = Datum::plain(RData::PTR(PTR(host.clone())));
            let ttl_seconds = sources.ttl().stable_seconds;
            match sets.iter_mut().find(|set| set.kind == RecordType::PTR) {
                Some(set) => set.data.push(pointer),
                None => sets.push(RecordSet {
                    kind: RecordType::PTR,
                    ttl_seconds,
                    choice: Choice::All,
                    data: vec![pointer],
                }),
            }
        }
    }
    foreign_zone(origin, sources, &held, notes)
}

/// Whether this set is a pointer, or an alias, that was written by hand.
fn fixed_pointer(fixed: &Held, address: IpAddr, set: &RecordSet) -> bool {
    let given = fixed.get(&name_of(address)).is_some_and(|sets| sets.contains(set));
    given && matches!(set.kind, RecordType::PTR | RecordType::CNAME)
}

/// The name by which an address is looked up.
pub fn name_of(address: IpAddr) -> Name {
    let mut name = Name::from(address);
    name.set_fqdn(true);
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_reverse_zones() {
        for (network, zone) in [
            ("192.0.2.0/24", "2.0.192.in-addr.arpa."),
            ("192.0.2.77/16", "0.192.in-addr.arpa."),
            ("10.0.0.0/8", "10.in-addr.arpa."),
            ("2001:db8::/32", "8.b.d.0.1.0.0.2.ip6.arpa."),
            ("2001:db8:f000::/36", "f.8.b.d.0.1.0.0.2.ip6.arpa."),
        ] {
            assert_eq!(reverse_zone(&network.parse().unwrap()).unwrap().to_ascii(), zone);
        }
        for network in ["0.0.0.0/0", "192.0.2.0/25", "192.0.2.1/32", "2001:db8::/33", "::1/128"] {
            assert!(reverse_zone(&network.parse().unwrap()).unwrap_err().contains(network));
        }
    }
}
