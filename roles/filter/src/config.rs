//! The section `[filter]` of the configuration.

use std::net::SocketAddr;
use std::time::Duration;

use estafeta_net::section::ConfigError;
use serde::Deserialize;

use crate::authentication::{Authenticator, Policies, Policy};
use crate::content::Limits;
use crate::inspect::Inspector;
use crate::judge::{LocalJudge, Parts, WhenClamdFails};
use crate::network::Network;
use crate::verdict::Thresholds;
use crate::virus::clamd::{Clamd, ClamdAddress};

/// Every key of `[filter]`, with its default.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where a real rspamd listens (its normal worker, in clear text): it judges in place of everything that is
    /// configured here but `message_bytes` and `connections`. Not set: the rules of this role.
    pub rspamd: Option<SocketAddr>,
    /// The score from which a message goes to Junk.
    pub junk_score: f64,
    /// The score from which a message is refused.
    pub reject_score: f64,
    /// The score from which the sender is asked to come again in some minutes. Not set: never.
    pub greylist_score: Option<f64>,
    /// What is done with mail that fails the DMARC policy `reject` of its domain: `reject`, `junk`, or `score` to count
    /// it only. RFC 9989 §7.4 warns that mailing lists break honest mail; those of today rewrite `From` to prevent it.
    pub dmarc_reject: Policy,
    /// The same for the DMARC policy `quarantine`.
    pub dmarc_quarantine: Policy,
    /// The DNS servers to ask, each an address with a port. None: those of `/etc/resolv.conf`.
    pub resolvers: Vec<SocketAddr>,
    /// How long SPF, DKIM and DMARC of a message may take together, in seconds. What is not answered by then counts as
    /// not known.
    pub authentication_seconds: u64,
    /// Networks whose clients SPF, DKIM and DMARC are not asked about, because they are our own.
    pub local_networks: Vec<Network>,
    /// Where clamd listens: `127.0.0.1:3310`, or the path of its socket. Not set: the built-in scan, which knows the
    /// EICAR test virus alone.
    pub clamd: Option<String>,
    /// How long clamd may take for a message, in seconds.
    pub clamd_seconds: u64,
    /// What is done when clamd does not answer: `defer` the message, or `accept` it unscanned.
    pub when_clamd_fails: WhenClamdFails,
    /// How deep archives may stand in each other. Past this and the next two, a message is refused.
    pub archive_depth: usize,
    /// The most files in all archives of a message.
    pub archive_entries: usize,
    /// The most bytes that all archives of a message may unpack to.
    pub archive_bytes: u64,
    /// The largest message that is judged for another node, in bytes. Not below the largest that edge accepts.
    pub message_bytes: u64,
    /// How large all messages together may be that are judged at once, in bytes; the others wait.
    pub memory_bytes: u64,
    /// How long one verdict may take, in seconds. Less than the 60 that edge has for verdict and delivery.
    pub verdict_seconds: u64,
    /// The most connections of other nodes.
    pub connections: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            rspamd: None,
            junk_score: 6.0,
            reject_score: 15.0,
            greylist_score: None,
            dmarc_reject: Policy::Reject,
            dmarc_quarantine: Policy::Junk,
            resolvers: Vec::new(),
            authentication_seconds: 5,
            local_networks: local_networks(),
            clamd: None,
            clamd_seconds: 30,
            when_clamd_fails: WhenClamdFails::Defer,
            archive_depth: 4,
            archive_entries: 10_000,
            archive_bytes: 200 * 1024 * 1024,
            message_bytes: 100 * 1024 * 1024,
            memory_bytes: 256 * 1024 * 1024,
            verdict_seconds: 40,
            connections: 256,
        }
    }
}

/// Loopback, private (RFC 1918, RFC 4193) and link-local networks.
fn local_networks() -> Vec<Network> {
    const NETWORKS: [&str; 8] = [
        "127.0.0.0/8",
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "169.254.0.0/16",
        "::1/128",
        "fc00::/7",
        "fe80::/10",
    ];
    NETWORKS.iter().filter_map(|network| network.parse().ok()).collect()
}

impl Config {
    /// Says what is wrong in what the types cannot tell.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.clamd_address()?;
        if !(self.junk_score > 0.0 && self.reject_score >= self.junk_score) {
            return Err(ConfigError::new("junk_score must be above 0, and reject_score not below it"));
        }
        if self.greylist_score.is_some_and(|greylist| !(greylist > 0.0 && greylist <= self.junk_score)) {
            return Err(ConfigError::new("greylist_score must be above 0 and not above junk_score"));
        }
        for (key, value) in [
            ("authentication_seconds", self.authentication_seconds),
            ("clamd_seconds", self.clamd_seconds),
            ("verdict_seconds", self.verdict_seconds),
            ("message_bytes", self.message_bytes),
            ("memory_bytes", self.memory_bytes),
            ("connections", self.connections as u64),
        ] {
            if value == 0 {
                return Err(ConfigError::new(format!("{key} must be above 0")));
            }
        }
        Ok(())
    }

    fn clamd_address(&self) -> Result<Option<ClamdAddress>, ConfigError> {
        let address = self.clamd.as_deref().map(str::parse).transpose();
        address.map_err(|error: String| ConfigError::new(format!("clamd: {error}")))
    }

    /// The judge of this configuration. `hostname` names us in the results of SPF, DKIM and DMARC.
    pub fn judge(&self, hostname: &str) -> Result<LocalJudge, String> {
        let clamd = self.clamd_address().map_err(|error| error.message)?;
        let thresholds = Thresholds { greylist: self.greylist_score, junk: self.junk_score, reject: self.reject_score };
        let limits = Limits {
            archive_depth: self.archive_depth,
            archive_entries: self.archive_entries,
            archive_bytes: self.archive_bytes,
            time: Duration::from_secs(self.verdict_seconds),
        };
        let policies = Policies { reject: self.dmarc_reject, quarantine: self.dmarc_quarantine };
        let time_limit = Duration::from_secs(self.authentication_seconds);
        Ok(LocalJudge::new(Parts {
            inspector: Inspector { thresholds, limits, scan_files: clamd.is_none() },
            authenticator: Authenticator::new(hostname.to_owned(), &self.resolvers, policies, time_limit)?,
            clamd: clamd.map(|address| {
                (Clamd { address, time_limit: Duration::from_secs(self.clamd_seconds) }, self.when_clamd_fails)
            }),
            local_networks: self.local_networks.clone(),
            time_limit: Duration::from_secs(self.verdict_seconds),
            memory_bytes: self.memory_bytes,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use estafeta_net::section::Section;

    fn read(text: &str) -> Result<Config, ConfigError> {
        let config: Config = Section::parse(text)?.read()?;
        config.check().map(|()| config)
    }

    #[test]
    fn every_key_has_a_default_and_is_read() {
        assert_eq!(read("").unwrap(), Config::default());
        assert_eq!(Config::default().local_networks.len(), 8);
        let config = read(
            "clamd = '/run/clamd'\ndmarc_reject = 'junk'\nlocal_networks = ['10.0.0.0/8']\nwhen_clamd_fails = 'accept'",
        )
        .unwrap();
        assert_eq!((config.dmarc_reject, config.when_clamd_fails), (Policy::Junk, WhenClamdFails::Accept));
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        for (text, says) in [
            ("clamd = 'localhost'", "clamd"),
            ("junk_score = 20", "junk_score"),
            ("greylist_score = 7", "greylist_score"),
            ("verdict_seconds = 0", "verdict_seconds"),
            ("local_networks = ['x']", "network"),
            ("dmarc_reject = 'bounce'", "bounce"),
            ("junk_scor = 1", "junk_score"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.message.contains(says), "{text}: {error}");
        }
    }
}
