//! The section `[dns]` of the configuration.

pub mod fixed;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use estafeta_core::{Address, Domain, SiteName};
use hickory_proto::rr::Name;
use ipnet::IpNet;
use serde::Deserialize;

pub use self::fixed::FixedRecord;
use crate::content::reverse::reverse_zone;
use crate::dnssec::DnssecConfig;
use crate::packet::edns::IDENTIFIER_BYTES;
use crate::zone::absolute;

/// The section `[dns]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Zones to serve beside the mail domains: the cluster's own domain, say. Each holds what a mail domain's zone
    /// holds. Default: none.
    pub zones: Vec<Domain>,
    /// Whether each mail domain of the cluster is served as a zone; switch it off where another name server has them.
    /// Default: true.
    pub mail_domains: bool,
    /// How long service names (`imap`, `pop`, `smtp`, `mx`), SRV records and negative answers may be kept, in seconds,
    /// 1 to 86400. It bounds how long clients go on trying a node that died. Default: 30.
    pub service_ttl_seconds: u32,
    /// How long MX, NS, SPF and the nodes' own names may be kept, in seconds, 1 to 86400. Default: 300.
    pub stable_ttl_seconds: u32,
    /// How many clients may hold a TCP connection at once; further ones wait. Default: 1000.
    pub tcp_connections: usize,
    /// What this node says of itself to whoever asks for it (NSID, RFC 5001), at most 64 bytes. Default: nothing.
    pub identifier: String,
    /// How many answers a network gets over UDP.
    pub limits: crate::limit::Config,
    /// The name servers that the zones name (NS), when they are not this cluster's `dns` nodes: the secondaries of a
    /// hidden primary, say. Default: none, each enrolled `dns` node by its own name.
    pub name_servers: Vec<Domain>,
    /// The primary name server that the zones name (SOA). Default: the first of the name servers.
    pub primary: Option<Domain>,
    /// Who answers for the zones (SOA). Default: none, `hostmaster@` the zone.
    pub hostmaster: Option<Address>,
    /// Whether a node that is less busy comes first more often. Default: false.
    pub weighted: bool,
    /// Addresses and networks beside those of the edge nodes that mail of our domains comes from, for SPF: where a NAT
    /// stands before them, say. Default: none.
    pub outgoing_addresses: Vec<IpNet>,
    /// More terms for SPF, put before its end (RFC 7208 §4.6): `include:_spf.example.org`. Default: none.
    pub sender_policy_terms: Vec<String>,
    /// What receivers do with what fails both SPF and DKIM (RFC 7489 §6.3); empty for no such record. Default:
    /// `v=DMARC1; p=none`.
    pub dmarc: String,
    /// The public keys that DKIM signatures are checked with, by selector: the key alone, in base64, or the whole text
    /// (`v=DKIM1; …`). Default: none.
    pub dkim: BTreeMap<String, String>,
    /// The MTA-STS policy that is announced (RFC 8461); `off` for none. It takes a web server with the policy at
    /// `mta-sts.`. Default: off.
    pub mta_sts: StrictTransport,
    /// How long other servers keep the MTA-STS policy, in seconds, 86400 to 31557600. Default: 604800.
    pub mta_sts_seconds: u32,
    /// Where other servers send reports on failed TLS (RFC 8460 §3): `mailto:…` or `https:…`. Default: none.
    pub tls_reports: Vec<String>,
    /// Who may issue certificates for the zones' names (RFC 8659), each as `0 issue "letsencrypt.org"`. Default: none.
    pub caa: Vec<String>,
    /// The keys of the certificates that clients see, for DANE (RFC 7672 §3.1.1): SHA-256 of each public key in
    /// hexadecimal digits. Published in zones that are signed. Default: none.
    pub tlsa: Vec<String>,
    /// Further names that lead to the web pages, in each zone: `autoconfig`, `autodiscover`. They are there while a
    /// node serves `https`. Default: none.
    pub web_names: Vec<String>,
    /// Networks whose reverse zones are ours: on a boundary of /8, /16, /24, or for IPv6 of four bits. Default: none.
    pub reverse_zones: Vec<IpNet>,
    /// The domain under which reverse zones name the nodes. Default: none, the first of `zones`, else the first mail
    /// domain.
    pub reverse_domain: Option<Domain>,
    /// Zone files (RFC 1035 §5) by zone: what they hold is served beside what the cluster says itself. Read again when
    /// they change. Default: none.
    pub zone_files: BTreeMap<Domain, PathBuf>,
    /// Single records beside what the cluster says itself. Default: none.
    pub records: Vec<FixedRecord>,
    /// The sites and whose clients are near them. Default: none, all nodes are equally near.
    pub sites: Vec<Site>,
    /// The name servers that `estafeta dns check` asks. Default: none, those of the system.
    pub resolvers: Vec<IpOrSocket>,
    /// Which zones are signed. Default: none.
    pub dnssec: DnssecConfig,
    /// Which name servers elsewhere have zones of ours by transfer.
    pub transfer: crate::transfer::Config,
}

/// One site.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Site {
    /// Its name, as the nodes' `site` has it.
    pub name: SiteName,
    /// The networks whose clients and resolvers are near it; the longest prefix decides. Default: none.
    #[serde(default)]
    pub networks: Vec<IpNet>,
    /// Which sites come next when this one has nobody ready, the nearest first; after them the others as listed.
    /// Default: none.
    #[serde(default)]
    pub next: Vec<SiteName>,
}

/// What the MTA-STS policy says (RFC 8461 §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StrictTransport {
    /// There is no policy.
    Off,
    /// Failures are reported and the mail delivered.
    Testing,
    /// What cannot be delivered over verified TLS is not.
    Enforce,
    /// There was a policy; it is withdrawn.
    None,
}

/// A name server: an address, with port 53 unless it says another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct IpOrSocket(pub SocketAddr);

impl TryFrom<String> for IpOrSocket {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let address = text.parse::<IpAddr>().map(|address| SocketAddr::new(address, 53));
        let address = address.or_else(|_| text.parse());
        address.map(Self).map_err(|_| format!("{text:?} is neither an address nor address:port"))
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            zones: Vec::new(),
            mail_domains: true,
            service_ttl_seconds: 30,
            stable_ttl_seconds: 300,
            tcp_connections: 1000,
            identifier: String::new(),
            limits: crate::limit::Config::default(),
            name_servers: Vec::new(),
            primary: None,
            hostmaster: None,
            weighted: false,
            outgoing_addresses: Vec::new(),
            sender_policy_terms: Vec::new(),
            dmarc: "v=DMARC1; p=none".into(),
            dkim: BTreeMap::new(),
            mta_sts: StrictTransport::Off,
            mta_sts_seconds: 604_800,
            tls_reports: Vec::new(),
            caa: Vec::new(),
            tlsa: Vec::new(),
            web_names: Vec::new(),
            reverse_zones: Vec::new(),
            reverse_domain: None,
            zone_files: BTreeMap::new(),
            records: Vec::new(),
            sites: Vec::new(),
            resolvers: Vec::new(),
            dnssec: DnssecConfig::default(),
            transfer: crate::transfer::Config::default(),
        }
    }
}

impl Config {
    /// What is wrong with the values, in words for whoever wrote them.
    pub fn check(&self) -> Result<(), String> {
        self.limits.check()?;
        self.dnssec.check().map_err(|why| format!("dnssec.{why}"))?;
        self.transfer.check()?;
        if self.identifier.len() > IDENTIFIER_BYTES {
            return Err(format!(
                "identifier is {} bytes long: it takes at most {IDENTIFIER_BYTES}",
                self.identifier.len()
            ));
        }
        if self.tcp_connections == 0 {
            return Err("tcp_connections = 0: it takes at least 1, for answers that do not fit a datagram".into());
        }
        bounded("service_ttl_seconds", self.service_ttl_seconds, 1, 86_400)?;
        bounded("stable_ttl_seconds", self.stable_ttl_seconds, 1, 86_400)?;
        // RFC 8461 §3.2: max_age is at most a year; below a day it protects nobody.
        bounded("mta_sts_seconds", self.mta_sts_seconds, 86_400, 31_557_600)?;
        self.check_policies()?;
        for network in &self.reverse_zones {
            reverse_zone(network)?;
        }
        for record in &self.records {
            record.read()?;
        }
        if let Some((zone, path)) = self.zone_files.iter().find(|(_, path)| !path.is_absolute()) {
            return Err(format!("zone_files: {zone}: {} is no whole path: it begins with /", path.display()));
        }
        self.check_sites()
    }

    fn check_policies(&self) -> Result<(), String> {
        if !self.dmarc.is_empty() && !self.dmarc.starts_with("v=DMARC1") {
            return Err(format!("dmarc = {:?}: it begins with v=DMARC1 (or is empty, for no record)", self.dmarc));
        }
        for term in &self.sender_policy_terms {
            if term.is_empty() || term.contains(char::is_whitespace) || term.ends_with("all") {
                return Err(format!(
                    "sender_policy_terms: {term:?} is not one term of SPF before its end (no \"all\")"
                ));
            }
        }
        for (selector, key) in &self.dkim {
            if selector.parse::<Domain>().is_err() {
                return Err(format!("dkim: {selector:?} is no selector: it takes letters, digits, hyphens and dots"));
            }
            let whole = key.contains("p=");
            let base64 = |c: char| c.is_ascii_alphanumeric() || "+/=".contains(c);
            if key.is_empty() || !(whole || key.chars().all(base64)) {
                return Err(format!("dkim.{selector}: neither a public key in base64 nor a text with p="));
            }
        }
        for target in &self.tls_reports {
            // RFC 8460 §3: a comma or a semicolon would end the target.
            if !(target.starts_with("mailto:") || target.starts_with("https:")) || target.contains([',', ';', ' ']) {
                return Err(format!("tls_reports: {target:?} is neither mailto:… nor https:…"));
            }
        }
        for issuer in &self.caa {
            crate::content::policy::authorised_issuer(issuer).map_err(|why| format!("caa: {issuer:?}: {why}"))?;
        }
        for key in &self.tlsa {
            if key.len() != 64 || !key.chars().all(|c| c.is_ascii_hexdigit()) {
                return Err(format!("tlsa: {key:?} is no SHA-256: it takes 64 hexadecimal digits"));
            }
        }
        for name in &self.web_names {
            name.parse::<SiteName>().map_err(|_| {
                format!("web_names: {name:?} is no label: it takes lower-case letters, digits, hyphens")
            })?;
        }
        Ok(())
    }

    fn check_sites(&self) -> Result<(), String> {
        for (index, site) in self.sites.iter().enumerate() {
            if self.sites[..index].iter().any(|before| before.name == site.name) {
                return Err(format!("sites: {} is there twice", site.name));
            }
            for next in &site.next {
                if !self.sites.iter().any(|known| &known.name == next) {
                    return Err(format!("sites: {} is followed by {next}, which is not there", site.name));
                }
            }
            for network in &site.networks {
                let taken = |other: &&Site| other.networks.iter().any(|n| n.trunc() == network.trunc());
                if let Some(other) = self.sites[..index].iter().find(taken) {
                    return Err(format!("sites: {network} is near both {} and {}", other.name, site.name));
                }
            }
        }
        Ok(())
    }

    /// Whether a zone is signed.
    pub fn is_signed(&self, zone: &Name) -> bool {
        self.dnssec.all || self.dnssec.zones.iter().any(|signed| absolute(signed) == *zone)
    }

    /// The two times that data may be kept.
    pub fn times_to_live(&self) -> TimesToLive {
        TimesToLive { service_seconds: self.service_ttl_seconds, stable_seconds: self.stable_ttl_seconds }
    }
}

fn bounded(key: &str, seconds: u32, least: u32, most: u32) -> Result<(), String> {
    match (least..=most).contains(&seconds) {
        true => Ok(()),
        false => Err(format!("{key} = {seconds}: it takes {least} to {most} seconds")),
    }
}

/// How long data may be kept by whoever asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimesToLive {
    /// What follows readiness, and the knowledge that a name does not exist.
    pub service_seconds: u32,
    /// The rest.
    pub stable_seconds: u32,
}

#[cfg(test)]
mod tests {
    use estafeta_net::section::Section;

    use super::*;

    #[test]
    fn values_out_of_bounds_are_named() {
        assert_eq!(Config::default().check(), Ok(()));
        for (text, part) in [
            ("stable_ttl_seconds = 0", "stable_ttl_seconds = 0"),
            ("service_ttl_seconds = 86401", "service_ttl_seconds"),
            ("tcp_connections = 0", "tcp_connections"),
            ("identifier = '12345678901234567890123456789012345678901234567890123456789012345'", "at most 64"),
            ("limits = { window_seconds = 0 }", "window_seconds"),
            ("dmarc = 'p=none'", "v=DMARC1"),
            ("sender_policy_terms = ['-all']", "-all"),
            ("dkim = { s1 = 'not a key' }", "dkim.s1"),
            ("tls_reports = ['tls@example.edu']", "mailto:"),
            ("caa = ['letsencrypt.org']", "caa"),
            ("tlsa = ['abc']", "64 hexadecimal"),
            ("web_names = ['Auto.Config']", "web_names"),
            ("reverse_zones = ['192.0.2.0/25']", "192.0.2.0/25"),
            ("records = [{ zone = 'example.edu', name = 'a', type = 'A', value = 'x' }]", "a.example.edu"),
            ("records = [{ zone = 'example.edu', name = 'a', type = 'SOA', value = 'x' }]", "SOA"),
            ("records = [{ zone = 'example.edu', name = 'a.example.org.', type = 'A', value = '192.0.2.1' }]", "zone"),
            ("zone_files = { 'example.edu' = 'zones/example.edu' }", "begins with /"),
            ("sites = [{ name = 'a' }, { name = 'a' }]", "twice"),
            ("sites = [{ name = 'a', next = ['b'] }]", "not there"),
            ("sites = [{ name = 'a', networks = ['10.0.0.1/8'] }, { name = 'b', networks = ['10.0.0.0/8'] }]", "both"),
        ] {
            let config: Config = Section::parse(text).unwrap().read().unwrap();
            let wrong = config.check().expect_err(text);
            assert!(wrong.contains(part), "{text}: {wrong}");
        }
    }

    #[test]
    fn resolvers_have_the_usual_port() {
        let config: Config = Section::parse("resolvers = ['192.0.2.1', '[::1]:5353']").unwrap().read().unwrap();
        let ports: Vec<u16> = config.resolvers.iter().map(|resolver| resolver.0.port()).collect();
        assert_eq!(ports, [53, 5353]);
        assert!(Section::parse("resolvers = ['x']").unwrap().read::<Config>().is_err());
    }
}
