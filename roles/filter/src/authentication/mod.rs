//! Who a message is from, as the domains themselves say: SPF (RFC 7208), DKIM (RFC 6376) and DMARC (RFC 9989), by the
//! crate `mail_auth`, whose types do not leave this folder; and the `Authentication-Results` of them (RFC 8601).
//!
//! Invariants: bounded in signatures and in time; what DNS does not answer in time is a temporary error of the check,
//! never of the message. The body is hashed on a thread that may block; from then on the header alone is needed.

mod dkim;
mod dmarc;
mod spf;

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use estafeta_core::judge::Envelope;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::system_conf::read_system_conf;
use mail_auth::common::crypto::HashAlgorithm;
use mail_auth::dkim::Canonicalization;
use mail_auth::{AuthenticatedMessage, AuthenticationResults, MessageAuthenticator};
use tokio::time::Instant;

use crate::verdict::Finding;

pub use dmarc::{Policies, Policy};

/// The header field of the results.
pub const RESULTS_HEADER: &str = "Authentication-Results";

/// The most characters of that field. RFC 5322 §2.1.1 ends a line at 998.
const RESULTS_CHARACTERS: usize = 900;

/// What the checks say of one message.
#[derive(Debug, Clone, PartialEq)]
pub struct Results {
    /// One or more a check.
    pub findings: Vec<Finding>,
    /// The value of [`RESULTS_HEADER`].
    pub header: String,
}

/// A message's header section and the hashes of its body that its signatures ask for. Of a message without a single
/// field there is neither, and SPF, which asks about its client, is checked all the same.
pub struct Hashed {
    head: Bytes,
    hashes: Vec<(Canonicalization, HashAlgorithm, u64, Vec<u8>)>,
}

impl Hashed {
    /// Hashes the body, which takes time that grows with it.
    pub fn new(message: &Bytes) -> Self {
        let parsed = AuthenticatedMessage::parse(message).unwrap_or_default();
        let head = message.slice(..parsed.body_offset().min(message.len()));
        Self { head, hashes: parsed.body_hashes }
    }
}

/// Checks messages.
pub struct Authenticator {
    dns: MessageAuthenticator,
    hostname: String,
    policies: Policies,
    time_limit: Duration,
}

impl Authenticator {
    /// `hostname` names us in the results (RFC 8601 §2.5). Without `resolvers` those of `/etc/resolv.conf` are asked.
    pub fn new(
        hostname: String,
        resolvers: &[SocketAddr],
        policies: Policies,
        time_limit: Duration,
    ) -> Result<Self, String> {
        let (config, mut options) = match resolvers {
            [] => {
                read_system_conf().map_err(|error| format!("/etc/resolv.conf: {error}: mend it, or set `resolvers`"))?
            }
            resolvers => (name_servers(resolvers), ResolverOpts::default()),
        };
        // Two tries within the time of a check.
        options.timeout = time_limit / 3;
        options.attempts = 2;
        options.try_tcp_on_error = true;
        let resolver =
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()).with_options(options).build();
        let dns = MessageAuthenticator(resolver.map_err(|error| format!("the resolver cannot be made: {error}"))?);
        Ok(Self { dns, hostname, policies, time_limit })
    }

    /// Runs all checks.
    pub async fn check(&self, envelope: &Envelope, message: &Hashed) -> Results {
        let until = Instant::now() + self.time_limit;
        let mut parsed = AuthenticatedMessage::parse(&message.head).unwrap_or_default();
        let refused = dkim::prepare(&mut parsed, &message.hashes);
        let identity = spf::Identity::of(envelope);
        let (spf, signatures) = tokio::join!(
            spf::verify(&self.dns, &self.hostname, envelope, &identity, until),
            dkim::verify(&self.dns, &parsed, until),
        );
        let dmarc = dmarc::verify(&self.dns, &parsed, &identity, &spf, &signatures, until).await;
        let mut findings = vec![spf::finding(&spf)];
        findings.extend(dkim::findings(&signatures, refused));
        findings.push(dmarc::finding(&dmarc, parsed.froms().len(), &self.policies));

        let mut shown = signatures.len();
        let header = loop {
            let mut results = spf::report(AuthenticationResults::new(&self.hostname), &spf, envelope, &identity);
            results = results.with_dkim_results(&signatures[..shown], parsed.from());
            if !dmarc.domain().is_empty() {
                results = results.with_dmarc_result(&dmarc);
            }
            let text = one_line(&results.to_string());
            // Long domains and selectors are the sender's choice, the length of a line is not.
            match shown.checked_sub(1) {
                Some(fewer) if text.chars().count() > RESULTS_CHARACTERS => shown = fewer,
                _ => break text,
            }
        };
        Results { findings, header }
    }
}

fn name_servers(addresses: &[SocketAddr]) -> ResolverConfig {
    let server = |address: &SocketAddr| {
        let (mut udp, mut tcp) = (ConnectionConfig::udp(), ConnectionConfig::tcp());
        (udp.port, tcp.port) = (address.port(), address.port());
        NameServerConfig::new(address.ip(), true, vec![udp, tcp])
    };
    ResolverConfig::from_parts(None, Vec::new(), addresses.iter().map(server).collect())
}

/// Folding white space as one space, control characters gone, cut to a line's length.
fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    words.join(" ").chars().filter(|character| !character.is_control()).take(RESULTS_CHARACTERS).collect()
}

/// Whether DNS, not the sender, is why a check has no result.
fn no_answer() -> mail_auth::Error {
    mail_auth::Error::Dns(mail_auth::DnsError::Resolver("no answer in time".into()))
}
