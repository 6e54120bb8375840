//! The section `[mailbox]` of the configuration.

use std::time::Duration;

use estafeta_core::StoreGroup;
use estafeta_net::accept::ConnectionLimits;
use estafeta_net::drive::Timeouts;
use estafeta_net::section::ConfigError;
use serde::Deserialize;

/// Every key of `[mailbox]`, with its default.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The store group whose mail this node keeps. Accounts name their group; on SQLite a group has one node. Required.
    pub store_group: StoreGroup,
    /// The largest message that is taken, in bytes. 104,857,600 by default: not below what edge accepts, for edge adds
    /// to it.
    #[serde(default = "default_message_limit_bytes")]
    pub message_limit_bytes: u32,
    /// Whether what is judged to be spam goes into Junk; else into INBOX. `true` by default.
    #[serde(default = "default_junk")]
    pub junk: bool,
    /// What a sender hears when the quota does not hold its message: `defer` (452, it tries again for days) or `refuse`
    /// (552, it learns at once). `defer` by default.
    #[serde(default)]
    pub when_over_quota: WhenOverQuota,
    /// At how many percent of its quota, of bytes or of messages, an account finds a warning in its INBOX, ascending; an
    /// empty list for no warnings. 80 and 95 by default.
    #[serde(default = "default_warn_at_percent")]
    pub warn_at_percent: Vec<u8>,
    /// The most connections of each service between nodes. 50,000 by default: each user that access relays holds one.
    #[serde(default = "default_connections_limit")]
    pub connections_limit: usize,
    /// How many may read the database at the same moment; the others wait. 8 by default.
    #[serde(default = "default_readers_limit")]
    pub readers_limit: u32,
    /// How long an edge node's connection may be silent, in seconds. 300 by default.
    #[serde(default = "default_delivery_timeout_seconds")]
    pub delivery_timeout_seconds: u64,
}

/// What a sender hears when the mailbox is full.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhenOverQuota {
    /// Later.
    #[default]
    Defer,
    /// Never.
    Refuse,
}

fn default_message_limit_bytes() -> u32 {
    100 * 1024 * 1024
}

fn default_junk() -> bool {
    true
}

fn default_warn_at_percent() -> Vec<u8> {
    vec![80, 95]
}

fn default_connections_limit() -> usize {
    50_000
}

fn default_readers_limit() -> u32 {
    8
}

fn default_delivery_timeout_seconds() -> u64 {
    300
}

impl Config {
    /// Refuses what is legal TOML and makes no sense.
    pub fn check(self) -> Result<Self, ConfigError> {
        for (key, zero) in [
            ("message_limit_bytes", self.message_limit_bytes == 0),
            ("connections_limit", self.connections_limit == 0),
            ("readers_limit", self.readers_limit == 0),
            ("delivery_timeout_seconds", self.delivery_timeout_seconds == 0),
        ] {
            if zero {
                return Err(ConfigError::new(format!("{key} = 0 would let nothing in: give at least 1")));
            }
        }
        let sorted = self.warn_at_percent.is_sorted_by(|one, next| one < next);
        if !sorted || self.warn_at_percent.iter().any(|percent| !(1..=100).contains(percent)) {
            return Err(ConfigError::new("warn_at_percent takes percentages from 1 to 100, ascending"));
        }
        Ok(self)
    }

    /// The limits of a service between nodes: all its connections may come from one node.
    pub(crate) fn connection_limits(&self) -> ConnectionLimits {
        ConnectionLimits { connections: self.connections_limit, connections_per_address: self.connections_limit }
    }

    /// How long an edge node may be silent or slow.
    pub(crate) fn delivery_timeouts(&self) -> Timeouts {
        let read = Duration::from_secs(self.delivery_timeout_seconds);
        Timeouts { read, write: read.min(WRITE) }
    }
}

/// How long another node may take what is sent to it.
const WRITE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;
    use estafeta_net::section::Section;

    fn read(text: &str) -> Result<Config, ConfigError> {
        Section::parse(text)?.read::<Config>()?.check()
    }

    #[test]
    fn defaults_and_faults() {
        let config = read("store_group = 'g1'").unwrap();
        assert_eq!(
            (config.message_limit_bytes, config.junk, config.when_over_quota),
            (100 << 20, true, WhenOverQuota::Defer)
        );
        assert_eq!(
            read("store_group = 'g1'\nwhen_over_quota = 'refuse'").unwrap().when_over_quota,
            WhenOverQuota::Refuse
        );
        for (text, word) in [
            ("", "store_group"),
            ("store_group = 'G 1'", "store group"),
            ("store_group = 'g'\nreaders_limit = 0", "readers_limit"),
            ("store_group = 'g'\njunks = true", "junk"),
            ("store_group = 'g'\nwarn_at_percent = [95, 80]", "ascending"),
            ("store_group = 'g'\nwarn_at_percent = [0]", "percentages"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.message.contains(word), "{error}");
        }
    }
}
