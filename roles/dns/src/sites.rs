//! Which site is nearest to whoever asks: pure, out of the prefix tables of the configuration.
//!
//! The longest prefix decides. The client subnet that a resolver passes on (RFC 7871) goes before the resolver's own
//! address.

use std::net::IpAddr;

use estafeta_core::SiteName;
use ipnet::IpNet;

use crate::config::Site;

/// The sites and their networks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sites {
    /// By site, in the order of the configuration: itself, what comes next to it, then the others.
    preferences: Vec<Vec<SiteName>>,
    /// Networks and the number of the site that they are near, the longest prefix first.
    networks: Vec<(IpNet, usize)>,
}

/// Where whoever asks stands: everyone of one kind gets the same answers, the turn aside.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Nearness {
    /// The number of the nearest site; none when no table knows.
    site: Option<usize>,
    /// How many leading bits of the client subnet that depends on (RFC 7871 §7.2.1).
    pub scope_prefix: u8,
}

impl Nearness {
    /// The same number for all who get the same answers, and are told the same scope.
    pub fn place(&self) -> u32 {
        let site = self.site.map_or(0, |site| u32::try_from(site).unwrap_or(u32::MAX).saturating_add(1));
        site << 8 | u32::from(self.scope_prefix)
    }
}

impl Sites {
    /// The sites of the configuration.
    pub fn new(sites: &[Site]) -> Self {
        let preference = |site: &Site| {
            let mut order = vec![site.name.clone()];
            for name in site.next.iter().chain(sites.iter().map(|other| &other.name)) {
                if !order.contains(name) {
                    order.push(name.clone());
                }
            }
            order
        };
        let of_site = |(number, site): (usize, &Site)| -> Vec<(IpNet, usize)> {
            site.networks.iter().map(|network| (network.trunc(), number)).collect()
        };
        let mut networks: Vec<_> = sites.iter().enumerate().flat_map(of_site).collect();
        networks.sort_by_key(|(network, _)| std::cmp::Reverse(network.prefix_len()));
        Self { preferences: sites.iter().map(preference).collect(), networks }
    }

    /// The sites in the order of the configuration.
    pub fn names(&self) -> impl Iterator<Item = &SiteName> {
        self.preferences.iter().filter_map(|order| order.first())
    }

    /// How near whoever asks is to the sites: `client` is the resolver, `subnet` where its own client stands.
    pub fn nearness(&self, client: IpAddr, subnet: Option<IpNet>) -> Nearness {
        let scope_prefix = subnet.map_or(0, |subnet| self.scope(&subnet));
        // RFC 7871 §7.1.2: a subnet of no bits says that the client's is not to be known.
        let told = subnet.filter(|subnet| subnet.prefix_len() > 0).and_then(|subnet| self.site_of(&subnet.trunc()));
        let site = told.or_else(|| self.site_of(&IpNet::from(client.to_canonical())));
        Nearness { site, scope_prefix }
    }

    /// The sites as whoever stands there prefers them, the nearest first; nothing for one whom no table knows.
    pub fn preference(&self, nearness: Nearness) -> &[SiteName] {
        nearness.site.and_then(|site| self.preferences.get(site)).map_or(&[], Vec::as_slice)
    }

    fn site_of(&self, network: &IpNet) -> Option<usize> {
        self.networks.iter().find(|(known, _)| known.contains(network)).map(|(_, site)| *site)
    }

    /// How many leading bits of the subnet the nearest site depends on: as many as tell it from every network of the
    /// tables that it is not in, and no more than were given.
    fn scope(&self, subnet: &IpNet) -> u8 {
        let telling = |(known, _): &(IpNet, usize)| match known.contains(subnet) {
            true => known.prefix_len(),
            false => shared_bits(known, subnet).map_or(0, |bits| bits + 1),
        };
        self.networks.iter().map(telling).max().unwrap_or(0).min(subnet.prefix_len())
    }
}

/// How many leading bits two networks share; none when they are of different families.
fn shared_bits(a: &IpNet, b: &IpNet) -> Option<u8> {
    let bits = match (a.network(), b.network()) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
        _ => return None,
    };
    u8::try_from(bits).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn site(name: &str, networks: &[&str], next: &[&str]) -> Site {
        Site {
            name: name.parse().unwrap(),
            networks: networks.iter().map(|network| network.parse().unwrap()).collect(),
            next: next.iter().map(|name| name.parse().unwrap()).collect(),
        }
    }

    fn sites() -> Sites {
        Sites::new(&[
            site("north", &["10.0.0.0/8", "2001:db8:1::/48"], &[]),
            site("south", &["10.1.0.0/16"], &["east"]),
            site("east", &["192.0.2.0/24"], &[]),
        ])
    }

    fn order(client: &str, subnet: Option<&str>) -> (String, u8) {
        let sites = sites();
        let nearness = sites.nearness(client.parse().unwrap(), subnet.map(|subnet| subnet.parse().unwrap()));
        let names: Vec<&str> = sites.preference(nearness).iter().map(SiteName::as_str).collect();
        (names.join(" "), nearness.scope_prefix)
    }

    #[test]
    fn the_longest_prefix_decides() {
        assert_eq!(order("10.2.3.4", None), ("north south east".into(), 0));
        assert_eq!(order("10.1.3.4", None), ("south east north".into(), 0));
        assert_eq!(order("::ffff:10.1.3.4", None), ("south east north".into(), 0));
        assert_eq!(order("2001:db8:1::7", None), ("north south east".into(), 0));
        assert_eq!(order("198.51.100.1", None), (String::new(), 0));
    }

    #[test]
    fn the_clients_subnet_goes_before_the_resolver() {
        assert_eq!(order("10.2.3.4", Some("192.0.2.0/24")), ("east north south".into(), 24));
        assert_eq!(order("192.0.2.1", Some("10.1.7.0/24")), ("south east north".into(), 16));
        assert_eq!(order("192.0.2.1", Some("10.2.7.0/24")).1, 15, "10.2 is told from 10.1 by fifteen bits");
        assert_eq!(order("10.1.3.4", Some("0.0.0.0/0")), ("south east north".into(), 0), "told nothing");
        assert_eq!(order("10.1.3.4", Some("198.51.100.0/24")).0, "south east north", "unknown: the resolver's own");
        assert_eq!(order("192.0.2.1", Some("10.0.0.0/12")), ("north south east".into(), 12));
    }

    proptest! {
        #[test]
        fn whoever_shares_the_scope_is_near_the_same_site(address in any::<u32>(), other in any::<u32>()) {
            let sites = sites();
            let net = |bits: u32| IpNet::new(IpAddr::V4(bits.into()), 32).unwrap();
            let unknown: IpAddr = "203.0.113.1".parse().unwrap();
            // Half of them within the tables.
            let address = if address % 2 == 0 { 0x0A00_0000 | (address >> 12) } else { address };
            let nearness = sites.nearness(unknown, Some(net(address)));
            let kept = u32::MAX.checked_shl(32 - u32::from(nearness.scope_prefix)).unwrap_or(0);
            let neighbour = (address & kept) | (other & !kept);
            prop_assert_eq!(sites.nearness(unknown, Some(net(neighbour))).site, nearness.site);
        }
    }
}
