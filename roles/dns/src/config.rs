//! The section `[dns]` of the configuration.

use estafeta_core::Domain;
use serde::Deserialize;

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
}

impl Default for Config {
    fn default() -> Self {
        Self {
            zones: Vec::new(),
            mail_domains: true,
            service_ttl_seconds: 30,
            stable_ttl_seconds: 300,
            tcp_connections: 1000,
        }
    }
}

impl Config {
    /// What is wrong with the values, in words for whoever wrote them.
    pub fn check(&self) -> Result<(), String> {
        let ttls = [("service_ttl_seconds", self.service_ttl_seconds), ("stable_ttl_seconds", self.stable_ttl_seconds)];
        if self.tcp_connections == 0 {
            return Err("tcp_connections = 0: it takes at least 1, for answers that do not fit a datagram".into());
        }
        match ttls.iter().find(|(_, seconds)| !(1..=86_400).contains(seconds)) {
            Some((key, seconds)) => Err(format!("{key} = {seconds}: it takes 1 to 86400 seconds")),
            None => Ok(()),
        }
    }

    /// The two times that data may be kept.
    pub fn times_to_live(&self) -> TimesToLive {
        TimesToLive { service_seconds: self.service_ttl_seconds, stable_seconds: self.stable_ttl_seconds }
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
    use super::*;

    #[test]
    fn values_out_of_bounds_are_named() {
        assert_eq!(Config::default().check(), Ok(()));
        let wrong = Config { stable_ttl_seconds: 0, ..Config::default() };
        assert!(wrong.check().unwrap_err().contains("stable_ttl_seconds = 0"));
        let wrong = Config { service_ttl_seconds: 86_401, ..Config::default() };
        assert!(wrong.check().unwrap_err().contains("service_ttl_seconds"));
        let wrong = Config { tcp_connections: 0, ..Config::default() };
        assert!(wrong.check().unwrap_err().contains("tcp_connections"));
    }
}
