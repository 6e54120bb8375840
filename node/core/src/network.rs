//! Whom an address stands for: what is counted by client is counted by this.

use std::net::{IpAddr, Ipv6Addr};

/// The network that one client holds, as its first address: an IPv4 address, or an IPv6 network of 56 bits, in which a
/// customer may use any address (RFC 6177 §2). An IPv4 address is one and the same however it is written.
pub fn network_of(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (!0 << (128 - 56))).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks() {
        let network = |text: &str| network_of(text.parse().unwrap()).to_string();
        assert_eq!(network("192.0.2.7"), "192.0.2.7");
        assert_eq!(network("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(network("2001:db8:1:2ff:3::4"), "2001:db8:1:200::");
        assert_eq!(network("2001:db8:1:200::"), network("2001:db8:1:2ab:ffff::1"));
        assert_ne!(network("2001:db8:1:200::"), network("2001:db8:1:300::"));
    }
}
