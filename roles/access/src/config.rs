//! The section `[access]` of the configuration.

use estafeta_net::section::ConfigError;
use serde::Deserialize;

/// The whole section.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The most connections of each service at a time, those that were handed over included. 50,000 by default.
    pub connections_limit: usize,
    /// The most connections of each service from one address, over IPv6 from one network of 56 bits: a campus behind one
    /// NAT needs many. 2,000 by default.
    pub connections_per_address_limit: usize,
    /// How long a client may be silent before it has logged in, in seconds. 60 by default.
    pub login_timeout_seconds: u64,
    /// How long logging in may take altogether, in seconds. 180 by default.
    pub login_limit_seconds: u64,
    /// How many wrong passwords end a connection. 3 by default.
    pub tries_limit: u32,
    /// How long an account has to wait from one login by POP3 to the next, in seconds, at each access node. 0, not at all,
    /// by default.
    pub pop3_login_delay_seconds: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            connections_limit: 50_000,
            connections_per_address_limit: 2_000,
            login_timeout_seconds: 60,
            login_limit_seconds: 180,
            tries_limit: 3,
            pop3_login_delay_seconds: 0,
        }
    }
}

impl Config {
    /// Refuses what is legal TOML and makes no sense.
    pub fn check(self) -> Result<Self, ConfigError> {
        let zero = [
            ("connections_limit", self.connections_limit == 0),
            ("connections_per_address_limit", self.connections_per_address_limit == 0),
            ("login_timeout_seconds", self.login_timeout_seconds == 0),
            ("login_limit_seconds", self.login_limit_seconds == 0),
            ("tries_limit", self.tries_limit == 0),
        ]
        .into_iter()
        .find(|(_, zero)| *zero);
        match zero {
            Some((key, _)) => Err(ConfigError::new(format!("{key} = 0 would let nobody in: give at least 1"))),
            None => Ok(self),
        }
    }
}
