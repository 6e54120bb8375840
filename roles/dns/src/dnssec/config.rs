//! The section `[dns.dnssec]` of the configuration: which zones are signed, and how long each step waits.

use estafeta_core::Domain;
use serde::Deserialize;

use super::timeline::Waits;

/// The shortest time that signatures hold, in seconds: a secondary must get new ones while the old ones hold.
const SHORTEST_VALIDITY_SECONDS: u32 = 3600;

/// The longest, in seconds: RFC 4034 §3.1.5 counts in serial number arithmetic, and a stolen answer lives as long.
const LONGEST_VALIDITY_SECONDS: u32 = 90 * 86_400;

/// The section `[dns.dnssec]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DnssecConfig {
    /// The zones that are signed. Default: none.
    pub zones: Vec<Domain>,
    /// Whether every zone is signed. Default: false.
    pub all: bool,
    /// How long the keys may be kept by resolvers, in seconds, 1 to 86400. A roll-over waits as long. Default: 3600.
    pub dnskey_ttl_seconds: u32,
    /// How long signatures hold, in seconds, an hour to 90 days. They are renewed when half of it is over. Default:
    /// 1209600, two weeks.
    pub signature_seconds: u32,
    /// How long resolvers may keep the parent's DS records, in seconds: their TTL at the parent, and how long the parent
    /// takes to publish. Default: 172800, two days.
    pub parent_ds_seconds: u32,
    /// The longest TTL of anything in the signed zones, in seconds. Default: 86400.
    pub longest_ttl_seconds: u32,
    /// What every wait of a roll-over gets on top, in seconds: clocks that differ, secondaries that come late. Default:
    /// 3600.
    pub margin_seconds: u32,
}

impl Default for DnssecConfig {
    fn default() -> Self {
        Self {
            zones: Vec::new(),
            all: false,
            dnskey_ttl_seconds: 3600,
            signature_seconds: 1_209_600,
            parent_ds_seconds: 172_800,
            longest_ttl_seconds: 86_400,
            margin_seconds: 3600,
        }
    }
}

impl DnssecConfig {
    /// What is wrong with the values, in words for whoever wrote them.
    pub fn check(&self) -> Result<(), String> {
        let bounds = SHORTEST_VALIDITY_SECONDS..=LONGEST_VALIDITY_SECONDS;
        if !bounds.contains(&self.signature_seconds) {
            return Err(format!(
                "signature_seconds = {}: it takes {SHORTEST_VALIDITY_SECONDS} to {LONGEST_VALIDITY_SECONDS} seconds",
                self.signature_seconds,
            ));
        }
        if !(1..=86_400).contains(&self.dnskey_ttl_seconds) {
            return Err(format!("dnskey_ttl_seconds = {}: it takes 1 to 86400 seconds", self.dnskey_ttl_seconds));
        }
        // RFC 6781 §4.4.2: what resolvers keep must not outlive the signatures over it.
        if self.longest_ttl_seconds > self.signature_seconds / 4 {
            return Err(format!(
                "longest_ttl_seconds = {}: it takes at most a quarter of signature_seconds, {}",
                self.longest_ttl_seconds,
                self.signature_seconds / 4,
            ));
        }
        Ok(())
    }

    /// The waits of a roll-over.
    pub fn waits(&self) -> Waits {
        let with_margin = |seconds: u32| u64::from(seconds) + u64::from(self.margin_seconds);
        Waits {
            keys_seconds: with_margin(self.dnskey_ttl_seconds),
            delegation_seconds: with_margin(self.parent_ds_seconds),
            content_seconds: with_margin(self.longest_ttl_seconds),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_out_of_bounds_are_named() {
        assert_eq!(DnssecConfig::default().check(), Ok(()));
        for (wrong, named) in [
            (DnssecConfig { signature_seconds: 60, ..Default::default() }, "signature_seconds = 60"),
            (DnssecConfig { signature_seconds: u32::MAX, ..Default::default() }, "signature_seconds = 4294967295"),
            (DnssecConfig { dnskey_ttl_seconds: 0, ..Default::default() }, "dnskey_ttl_seconds = 0"),
            (DnssecConfig { longest_ttl_seconds: 1_209_600, ..Default::default() }, "longest_ttl_seconds = 1209600"),
        ] {
            let said = wrong.check().unwrap_err();
            assert!(said.contains(named), "{said}");
        }
    }
}
