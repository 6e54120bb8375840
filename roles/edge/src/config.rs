//! The section `[edge]` of the configuration.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use estafeta_net::accept::ConnectionLimits;
use estafeta_net::section::ConfigError;
use estafeta_protocols::smtp::server::Limits;
use serde::Deserialize;

use crate::incoming::progress::Pace;
use crate::outgoing::Route;

/// What to do with mail while no filter answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unjudged {
    /// Answer 451: the sender comes again.
    #[default]
    Defer,
    /// Accept it, with a header that says so.
    Accept,
}

/// The whole section.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The largest message, in bytes. 50 MiB by default.
    pub message_limit_bytes: u64,
    /// The most recipients of a transaction. 1,000 by default.
    pub recipients_limit: usize,
    /// The most connections of each service at a time. 2,000 by default.
    pub connections_limit: usize,
    /// The most connections of each service from one address. 100 by default.
    pub connections_per_address_limit: usize,
    /// `"defer"` (451, the default) or `"accept"`: mail while no filter answers.
    pub unjudged: Unjudged,
    /// What verdict and delivery may take together, in seconds, before what is not delivered is queued. 60 by default.
    pub transaction_deadline_seconds: u64,
    /// How long a client may be silent, in seconds. 300 by default (RFC 5321 §4.5.3.2.7).
    pub client_timeout_seconds: u64,
    /// How long a client may take from its greeting or its last message to the next MAIL, and from there to the message's
    /// end, in seconds: more only while its bytes come fast enough. 300 by default.
    pub client_step_seconds: u64,
    /// How fast bytes have to come to give a client more time, in bytes a second. 1,000 by default.
    pub client_slowest_bytes_per_second: u64,
    /// How long a session may last, in seconds; a message that has begun may still come in. 2 hours by default.
    pub session_limit_seconds: u64,
    /// Mail that waits, and its way out.
    pub queue: QueueConfig,
    /// Mail to other domains.
    pub outgoing: OutgoingConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            message_limit_bytes: 50 * 1024 * 1024,
            recipients_limit: 1_000,
            connections_limit: 2_000,
            connections_per_address_limit: 100,
            unjudged: Unjudged::Defer,
            transaction_deadline_seconds: 60,
            client_timeout_seconds: 300,
            client_step_seconds: 300,
            client_slowest_bytes_per_second: 1_000,
            session_limit_seconds: 2 * 3600,
            queue: QueueConfig::default(),
            outgoing: OutgoingConfig::default(),
        }
    }
}

impl Config {
    /// Refuses what is legal TOML and makes no sense.
    pub fn check(self) -> Result<Self, ConfigError> {
        let queue = &self.queue;
        for (key, value) in [
            ("message_limit_bytes", self.message_limit_bytes),
            ("recipients_limit", self.recipients_limit as u64),
            ("connections_limit", self.connections_limit as u64),
            ("connections_per_address_limit", self.connections_per_address_limit as u64),
            ("transaction_deadline_seconds", self.transaction_deadline_seconds),
            ("client_timeout_seconds", self.client_timeout_seconds),
            ("client_step_seconds", self.client_step_seconds),
            ("client_slowest_bytes_per_second", self.client_slowest_bytes_per_second),
            ("session_limit_seconds", self.session_limit_seconds),
            ("queue.messages_limit", queue.messages_limit as u64),
            ("queue.concurrency", queue.concurrency as u64),
            ("queue.destination_concurrency", queue.destination_concurrency as u64),
            ("queue.retry_shortest_seconds", queue.retry_shortest_seconds),
            ("outgoing.port", self.outgoing.port.into()),
        ] {
            if value == 0 {
                return Err(ConfigError::new(format!("[edge] {key} = 0 would stop all mail: give at least 1")));
            }
        }
        if queue.retry_longest_seconds < queue.retry_shortest_seconds {
            return Err(ConfigError::new(
                "[edge.queue] retry_longest_seconds is less than retry_shortest_seconds: swap them",
            ));
        }
        Ok(self)
    }

    /// The bounds that the protocol machine keeps.
    pub fn limits(&self) -> Limits {
        Limits { message_bytes: self.message_limit_bytes, recipients: self.recipients_limit, ..Limits::default() }
    }

    /// The bounds that the accept loop keeps.
    pub fn connection_limits(&self) -> ConnectionLimits {
        ConnectionLimits {
            connections: self.connections_limit,
            connections_per_address: self.connections_per_address_limit,
        }
    }

    /// How fast clients have to get on.
    pub fn pace(&self) -> Pace {
        Pace {
            session: Duration::from_secs(self.session_limit_seconds),
            step: Duration::from_secs(self.client_step_seconds),
            slowest_bytes_per_second: self.client_slowest_bytes_per_second,
        }
    }

    /// What verdict and delivery may take together.
    pub fn transaction_deadline(&self) -> Duration {
        Duration::from_secs(self.transaction_deadline_seconds)
    }
}

/// `[edge.queue]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QueueConfig {
    /// The most messages that wait; past it new ones that would have to wait are answered 452. 100,000 by default.
    pub messages_limit: usize,
    /// How many deliveries to other servers run at a time, and as many to mailboxes of our own. 50 by default.
    pub concurrency: usize,
    /// How many deliveries to one destination run at a time. 5 by default.
    pub destination_concurrency: usize,
    /// The pause before the first new attempt, in seconds; each further one is twice as long, and one in five longer
    /// or shorter by chance. 300 by default.
    pub retry_shortest_seconds: u64,
    /// The longest pause, in seconds. 4 hours by default.
    pub retry_longest_seconds: u64,
    /// The same two for mailboxes of our own, whose nodes come back or are replaced soon. 10 by default.
    pub mailbox_retry_shortest_seconds: u64,
    /// 10 minutes by default.
    pub mailbox_retry_longest_seconds: u64,
    /// How long an attempt to deliver to mailboxes of our own may take, in seconds. 60 by default.
    pub mailbox_attempt_seconds: u64,
    /// When the sender is told that a message is late, in seconds; 0 for never. 4 hours by default.
    pub warn_after_seconds: u64,
    /// When a message is given up and returned, in seconds. 5 days by default (RFC 5321 §4.5.4.1 asks for 4 to 5).
    pub give_up_after_seconds: u64,
}

impl Default for QueueConfig {
    fn default() -> Self {
        Self {
            messages_limit: 100_000,
            concurrency: 50,
            destination_concurrency: 5,
            retry_shortest_seconds: 300,
            retry_longest_seconds: 4 * 3600,
            mailbox_retry_shortest_seconds: 10,
            mailbox_retry_longest_seconds: 600,
            mailbox_attempt_seconds: 60,
            warn_after_seconds: 4 * 3600,
            give_up_after_seconds: 5 * 24 * 3600,
        }
    }
}

/// `[edge.outgoing]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OutgoingConfig {
    /// Where mail for a domain goes instead of to its MX: `"example.org" = "127.0.0.1:2526"`, `"*" = "smarthost.example"`.
    /// A host may be a name or an address, with or without a port.
    pub routes: BTreeMap<String, Route>,
    /// The name servers to ask, `"127.0.0.1:5353"`; those of the system when none.
    pub resolvers: Vec<SocketAddr>,
    /// The port of other mail servers. 25 by default.
    pub port: u16,
    /// How long a connection may take to be made, in seconds. 30 by default.
    pub connect_timeout_seconds: u64,
    /// How long a server may be silent, in seconds. 300 by default (RFC 5321 §4.5.3.2); twice that for its answer to
    /// a message.
    pub server_timeout_seconds: u64,
    /// How many messages go over one connection. 50 by default.
    pub messages_per_connection: usize,
}

impl Default for OutgoingConfig {
    fn default() -> Self {
        Self {
            routes: BTreeMap::new(),
            resolvers: Vec::new(),
            port: 25,
            connect_timeout_seconds: 30,
            server_timeout_seconds: 300,
            messages_per_connection: 50,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use estafeta_net::section::Section;

    fn read(text: &str) -> Result<Config, ConfigError> {
        Section::parse(text)?.read::<Config>()?.check()
    }

    #[test]
    fn an_empty_section_is_the_defaults() {
        assert_eq!(read("").unwrap(), Config::default());
        assert_eq!(read("").unwrap().limits().message_bytes, 52_428_800);
    }

    #[test]
    fn keys_are_read_and_unknown_ones_named() {
        let config = read(
            "unjudged = 'accept'\nmessage_limit_bytes = 1000\n[queue]\nconcurrency = 3\n\
             [outgoing]\nresolvers = ['127.0.0.1:5353']\nroutes = { 'example.org' = '127.0.0.1:2526', '*' = 'smart.example' }\n",
        )
        .unwrap();
        assert_eq!(
            (config.unjudged, config.message_limit_bytes, config.queue.concurrency),
            (Unjudged::Accept, 1000, 3)
        );
        assert_eq!(config.outgoing.routes["*"].to_string(), "smart.example");
        assert!(read("mesage_limit_bytes = 1").unwrap_err().message.contains("message_limit_bytes"));
        assert!(read("[outgoing]\nroutes = { 'a.example' = 'b:c:d' }").unwrap_err().message.contains("b:c:d"));
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(read("recipients_limit = 0").unwrap_err().message.contains("recipients_limit"));
        assert!(read("[queue]\nretry_longest_seconds = 1").unwrap_err().message.contains("retry_longest_seconds"));
    }
}
