//! Connections to one directory node: a few, kept for a while, each checked to be the node that it was taken for.
//!
//! Invariants: at most [`CONNECTIONS`] at once; a connection on which an operation did not come to its end is not used
//! again; nobody waits longer than [`ANSWER`] for anything.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use estafeta_core::Failure;
use estafeta_core::certificate::dns_name;
use estafeta_core::members::Candidate;
use estafeta_net::identity::PeerIdentity;
use estafeta_net::tls::{CONNECT, Tls};
use ldap3::controls::RawControl;
use ldap3::{Ldap, LdapConnAsync, LdapConnSettings, LdapError, LdapResult, Scope, SearchEntry, StdStream};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::super::ber::{self, INTEGER, OCTET_STRING, SEQUENCE};
use super::super::entry::Received;
use super::super::{PAGED_RESULTS, outcome};

/// How long an operation may take, with the connection that it needs.
pub const ANSWER: Duration = Duration::from_secs(5);

/// How many connections at most.
const CONNECTIONS: usize = 8;

/// How long a connection is kept that nobody uses. The server's own patience is longer.
const KEPT: Duration = Duration::from_secs(60);

/// Whether connections are bound when they are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binding {
    /// As this node, by SASL EXTERNAL.
    Node,
    /// Not: each use binds.
    None,
}

/// The connections.
pub struct Pool {
    tls: Arc<Tls>,
    candidate: Candidate,
    binding: Binding,
    places: Semaphore,
    idle: Mutex<Vec<(Ldap, Instant)>>,
}

impl Pool {
    /// No connections yet.
    pub fn new(tls: Arc<Tls>, candidate: Candidate, binding: Binding) -> Self {
        Self { tls, candidate, binding, places: Semaphore::new(CONNECTIONS), idle: Mutex::default() }
    }

    /// The node, for the operator's texts.
    pub fn node(&self) -> String {
        format!("directory node {} at {}", self.candidate.node, self.candidate.endpoint.address)
    }

    /// `work`, or Unavailable when it takes too long.
    pub async fn in_time<T>(&self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        tokio::time::timeout(ANSWER, work).await.unwrap_or_else(|_| {
            Err(Failure::unavailable(format!("{}: no answer within {} s", self.node(), ANSWER.as_secs())))
        })
    }

    /// A connection of one's own for a while.
    pub async fn lease(&self) -> Result<Lease<'_>, Failure> {
        let place = self.places.acquire().await.map_err(Failure::internal)?;
        let kept = {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.retain_mut(|(ldap, since)| since.elapsed() < KEPT && !ldap.is_closed());
            idle.pop()
        };
        let ldap = match kept {
            Some((ldap, _)) => ldap,
            None => self.connect().await?,
        };
        Ok(Lease { pool: self, ldap, whole: true, _place: place })
    }

    async fn connect(&self) -> Result<Ldap, Failure> {
        let failed = |cause: &dyn std::fmt::Display| Failure::unavailable(format!("{}: {cause}", self.node()));
        let config = self.tls.cluster_client().ok_or_else(|| failed(&"this node has no [cluster] certificate"))?;
        let address = self.candidate.endpoint.address;
        let stream = tokio::time::timeout(CONNECT, TcpStream::connect(address))
            .await
            .map_err(|_| failed(&"no connection in time"))?;
        let stream = stream
            .and_then(|stream| stream.set_nodelay(true).and_then(|()| stream.into_std()))
            .map_err(|error| failed(&error))?;
        let settings = LdapConnSettings::new().set_config(config).set_std_stream(StdStream::Tcp(stream));
        // The name is what TLS checks the certificate for; the connection is there already.
        let url = format!("ldaps://{}:{}", dns_name(&self.candidate.node), address.port());
        let (connection, mut ldap) =
            LdapConnAsync::with_settings(settings, &url).await.map_err(|error| failed(&error))?;
        let node = self.node();
        tokio::spawn(async move {
            if let Err(error) = connection.drive().await {
                tracing::debug!(node, %error, "an LDAP connection broke");
            }
        });
        let certificate = ldap.get_peer_certificate().await.map_err(|error| failed(&error))?;
        let peer = certificate.and_then(|certificate| PeerIdentity::from_certificate(&certificate));
        let role = &self.candidate.endpoint.role;
        if !peer.is_some_and(|peer| peer.node == self.candidate.node && peer.roles.contains(role)) {
            return Err(failed(&format_args!("its certificate does not grant it the role {role}")));
        }
        if self.binding == Binding::Node {
            let bound = ldap.sasl_external_bind().await.map_err(|error| failed(&error))?;
            if bound.rc != 0 {
                return Err(failed(&format_args!("it refuses this node: {bound}")));
            }
        }
        Ok(ldap)
    }
}

/// A connection of one's own. When it is dropped, it goes back to the pool.
pub struct Lease<'a> {
    pool: &'a Pool,
    ldap: Ldap,
    /// Whether the last operation came to its end.
    whole: bool,
    _place: SemaphorePermit<'a>,
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        if self.whole && !self.ldap.is_closed() {
            let mut idle = self.pool.idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.push((self.ldap.clone(), Instant::now()));
        }
    }
}

/// A page of a search's answer.
pub struct Found {
    /// The entries.
    pub entries: Vec<Received>,
    /// Where the next page begins; empty when this is the last.
    pub cookie: Vec<u8>,
    /// How many entries there are on all pages, as the server estimates; zero when it does not.
    pub estimate: u64,
}

impl Lease<'_> {
    /// Carries an operation out; gives its result when it is a success.
    pub async fn run(
        &mut self,
        operation: impl AsyncFnOnce(&mut Ldap) -> Result<LdapResult, LdapError>,
    ) -> Result<LdapResult, Failure> {
        self.whole = false;
        let result = operation(&mut self.ldap).await.map_err(|error| self.broken(&error))?;
        self.whole = true;
        self.check(result)
    }

    /// A search: one page of so many entries, from a cookie on, or all of it.
    pub async fn search(
        &mut self,
        base: &str,
        scope: Scope,
        filter: &str,
        pages: Option<(u32, Vec<u8>)>,
    ) -> Result<Found, Failure> {
        self.whole = false;
        if let Some((size, cookie)) = pages {
            self.ldap.with_controls(paged_results(size, &cookie));
        }
        let found = self.ldap.search(base, scope, filter, ["*", "+"]).await.map_err(|error| self.broken(&error))?;
        self.whole = true;
        let result = self.check(found.1)?;
        let entries = found.0.into_iter().map(|entry| Received::new(SearchEntry::construct(entry).attrs)).collect();
        let control = result.ctrls.iter().find(|control| control.1.ctype == PAGED_RESULTS);
        let (estimate, cookie) = control.and_then(|control| page(control.1.val.as_deref()?)).unwrap_or_default();
        Ok(Found { entries, cookie, estimate })
    }

    /// Ends the connection as RFC 4511 §4.3 has it, in place of giving it back.
    pub async fn unbind(mut self) {
        self.whole = false;
        let _ = self.ldap.unbind().await;
    }

    fn broken(&self, error: &LdapError) -> Failure {
        Failure::unavailable(format!("{}: {error}", self.pool.node()))
    }

    fn check(&self, result: LdapResult) -> Result<LdapResult, Failure> {
        if result.rc == 0 { Ok(result) } else { Err(outcome::failure(result.rc, &result.text, &self.pool.node())) }
    }
}

/// The paged results control of a request (RFC 2696 §2): `SEQUENCE { size INTEGER, cookie OCTET STRING }`.
fn paged_results(size: u32, cookie: &[u8]) -> RawControl {
    ldap3::controls::PagedResults { size: i32::try_from(size).unwrap_or(i32::MAX), cookie: cookie.to_vec() }.into()
}

/// Size and cookie in that of an answer. The library's own reader panics when they are not there.
fn page(value: &[u8]) -> Option<(u64, Vec<u8>)> {
    let (SEQUENCE, parts, _) = ber::element(value)? else { return None };
    let (INTEGER, size, rest) = ber::element(parts)? else { return None };
    let (OCTET_STRING, cookie, _) = ber::element(rest)? else { return None };
    Some((size.iter().fold(0, |size, &byte| size << 8 | u64::from(byte)), cookie.to_vec()))
}
