//! Mail to other people's servers: whom to ask, and the conversation with them.
//!
//! TLS is opportunistic (RFC 7435): used whenever it is offered, whoever answers, since refusing an unproved certificate
//! would only mean clear text.

mod conversation;
mod hops;
pub mod names;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use estafeta_core::delivery::Answer;
use estafeta_core::members::MembersView;
use estafeta_net::connection::Connection;
use estafeta_net::drive::Upgrade;
use estafeta_net::tls::Tls;
use tokio::net::TcpStream;

pub use hops::{Hop, Route, answer};

use self::conversation::{Converse, converse};
use self::names::Names;
use crate::config::OutgoingConfig;
use crate::dispatch::Jobs;
use crate::incoming::SMTP;
use crate::queue::{Fate, Job};

/// The most addresses that one attempt tries.
const ADDRESSES_LIMIT: usize = 10;

/// The way out. Shared by all workers.
pub struct Outgoing {
    names: Arc<dyn Names>,
    tls: Arc<Tls>,
    hostname: String,
    config: OutgoingConfig,
    members: MembersView,
}

/// The conversation's part of the configuration.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For an answer.
    pub answer: Duration,
    /// For the answer to a message.
    pub verdict: Duration,
}

impl Outgoing {
    /// A way out under the name `hostname`. `members` are whom never to send to.
    pub fn new(
        config: OutgoingConfig,
        names: Arc<dyn Names>,
        tls: Arc<Tls>,
        hostname: String,
        members: MembersView,
    ) -> Self {
        let routes: BTreeMap<String, Route> =
            config.routes.iter().map(|(domain, route)| (domain.to_lowercase(), route.clone())).collect();
        Self { names, tls, hostname, config: OutgoingConfig { routes, ..config }, members }
    }

    /// Sends a job and, over the same connection, those behind it. Each is settled, but for the ones that come back with
    /// an answer: they could not be tried, and neither could any other for this domain. That answer is permanent only
    /// when none of the domain's servers may ever take mail: as long as one may, the job waits for it.
    pub async fn send(&self, domain: &str, job: Job, jobs: &mut Jobs) -> Result<(), (Box<Job>, Answer)> {
        let hops = match self.hops(domain).await {
            Ok(hops) => hops,
            Err(answer) => return Err((Box::new(job), answer)),
        };
        let mut job = job;
        let mut heard: Option<Answer> = None;
        let mut tried = 0;
        'hops: for hop in hops {
            let addresses = match hops::addresses(&*self.names, &hop).await {
                Ok(addresses) => addresses,
                Err(answer) => {
                    heard = Some(milder(heard, answer));
                    continue;
                }
            };
            for address in addresses {
                if jobs.drain().has_begun() {
                    // Not tried and not failed: it is still due when the node comes back.
                    return Ok(());
                }
                if tried == ADDRESSES_LIMIT {
                    break 'hops;
                }
                tried += 1;
                if self.is_own(address) {
                    heard = Some(milder(heard, hops::loops(domain)));
                    continue;
                }
                match self.try_address(&hop, address, job, jobs).await {
                    Ok(()) => return Ok(()),
                    Err((back, answer)) => (job, heard) = (*back, Some(milder(heard, answer))),
                }
            }
        }
        let none = || hops::answer(451, "4.4.1", format!("no mail server of {domain} has an address"));
        Err((Box::new(job), heard.unwrap_or_else(none)))
    }

    /// The hosts to try: a configured route, or the domain's MX.
    async fn hops(&self, domain: &str) -> Result<Vec<Hop>, Answer> {
        let routes = &self.config.routes;
        if let Some(route) = routes.get(domain).or_else(|| routes.get("*")) {
            return Ok(vec![route.hop(self.config.port)]);
        }
        hops::by_exchange(&*self.names, domain, &self.hostname, self.config.port).await
    }

    /// Whether an address is an SMTP service of this cluster, so that the mail would come back.
    fn is_own(&self, address: SocketAddr) -> bool {
        let members = self.members.current();
        members
            .iter()
            .flat_map(|member| &member.endpoints)
            .any(|endpoint| endpoint.service == SMTP && endpoint.address == address)
    }

    /// Sends over a connection to one address; in the clear when TLS was offered and its handshake failed. Gives the job
    /// back when it was not even begun.
    async fn try_address(
        &self,
        hop: &Hop,
        address: SocketAddr,
        job: Job,
        jobs: &mut Jobs,
    ) -> Result<(), (Box<Job>, Answer)> {
        let unreachable =
            |error: &dyn std::fmt::Display| hops::answer(451, "4.4.1", format!("{} [{}]: {error}", hop.host, address));
        let mut job = job;
        for encrypted in [true, false] {
            let connection = match self.connect(address).await {
                Ok(connection) => connection,
                Err(error) => return Err((Box::new(job), unreachable(&error))),
            };
            let peer = Converse {
                host: &hop.host,
                hostname: &self.hostname,
                upgrade: if encrypted { self.tls.upgrade_to(&hop.host) } else { Upgrade::Never },
                patience: Patience {
                    answer: Duration::from_secs(self.config.server_timeout_seconds),
                    verdict: Duration::from_secs(self.config.server_timeout_seconds.saturating_mul(2)),
                },
                messages: self.config.messages_per_connection,
            };
            match converse(peer, connection, job, jobs).await {
                Ok(()) => return Ok(()),
                Err(failed) if failed.in_handshake && encrypted => {
                    tracing::info!(host = hop.host, %address, error = failed.why, "TLS failed: trying in the clear");
                    metrics::counter!("estafeta_edge_tls_fallbacks_total").increment(1);
                    job = *failed.job;
                }
                Err(failed) => return Err((failed.job, failed.answer.unwrap_or_else(|| unreachable(&failed.why)))),
            }
        }
        Err((Box::new(job), unreachable(&"TLS failed")))
    }

    async fn connect(&self, address: SocketAddr) -> io::Result<Connection> {
        let limit = Duration::from_secs(self.config.connect_timeout_seconds);
        let stream = tokio::time::timeout(limit, TcpStream::connect(address))
            .await
            .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "no connection in time")))?;
        Connection::clear(stream)
    }
}

/// The one of two answers that leaves more hope; of two alike the newer one.
fn milder(known: Option<Answer>, new: Answer) -> Answer {
    match known {
        Some(known) if known.code < 500 && new.code >= 500 => known,
        _ => new,
    }
}

/// What an answer means for a recipient.
pub fn fate_of(answer: Answer) -> Fate {
    match answer.code {
        200..=299 => Fate::Done,
        500..=599 => Fate::Never(answer),
        _ => Fate::Later(answer),
    }
}
