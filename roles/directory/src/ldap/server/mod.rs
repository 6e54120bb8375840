//! The service `ldaps`: who may ask what, and each operation to its file.
//!
//! A connection is TLS between nodes, so its peer has proved to be a node of the cluster; any node may ask, because
//! administration is done on any. On it, a bind says for whom:
//! - SASL EXTERNAL: the node itself. It may read and change everything;
//! - simple, with an account's name (`uid=…` or its mail address) and password: that account. It may read itself and
//!   change its own password. A node that asks for a client says so by the session tracking control;
//! - nobody, as it begins: the server's own entry and the schema.
//!
//! Invariants: one operation at a time on a connection; a search ends within [`SEARCH_SECONDS`] and [`ENTRIES`] entries
//! a page; a refused login does not tell why.

mod bind;
mod candidates;
mod change;
mod edit;
mod extended;
mod search;

use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use estafeta_core::Address;
use estafeta_net::connection::Connection;
use estafeta_net::drain::Drain;
use estafeta_net::drive::{Flow, Handler, Output, Timeouts, Upgrade, drive};
use estafeta_net::identity::PeerIdentity;
use ldap3_proto::control::LdapControl;
use ldap3_proto::proto::{LdapBindResponse, LdapMsg, LdapOp, LdapResultCode};

use super::machine::{LdapMachine, encode};
use super::outcome::{Refusal, result};
use super::place::Place;
use super::{dn, session_tracking};
use crate::store::Store;

/// How long a search may take, in seconds.
pub const SEARCH_SECONDS: u64 = 30;

/// How many entries a search answers with, or a page of it when it asks for pages.
pub const ENTRIES: usize = 1000;

/// How long a connection may be silent, and how long a peer may take to read.
const TIMEOUTS: Timeouts = Timeouts { read: Duration::from_secs(600), write: Duration::from_secs(30) };

/// For whom a connection asks.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Who {
    /// Nobody has bound yet.
    Nobody,
    /// The peer itself.
    Node,
    /// The account of this address.
    Account(Address),
}

/// One connection's conversation.
struct Conversation {
    store: Store,
    node: PeerIdentity,
    peer: IpAddr,
    who: Who,
}

/// Talks with one peer until either side ends it.
pub async fn talk(connection: Connection, store: Store, drain: Drain) {
    let peer = connection.peer;
    let Some(node) = connection.identity.clone() else {
        tracing::warn!(client = %peer, "a connection to ldaps without a node's certificate: closed");
        return;
    };
    let mut conversation = Conversation { store, node, peer: peer.ip(), who: Who::Nobody };
    let ended =
        drive(connection, &mut LdapMachine::default(), &mut conversation, Upgrade::Never, TIMEOUTS, &drain).await;
    if let Err(error) = ended {
        tracing::debug!(client = %peer, node = %conversation.node.node, %error, "an LDAP connection broke");
    }
}

/// Describes what is counted here.
pub fn describe_metrics() {
    metrics::describe_counter!(
        "estafeta_ldap_operations_total",
        "LDAP operations carried out, by operation and result code"
    );
    metrics::describe_histogram!(
        "estafeta_ldap_operation_seconds",
        metrics::Unit::Seconds,
        "How long LDAP operations took"
    );
}

impl Handler<LdapMachine> for Conversation {
    async fn handle(
        &mut self,
        message: LdapMsg,
        machine: &mut LdapMachine,
        output: &mut Output<'_>,
    ) -> io::Result<Flow> {
        let LdapMsg { msgid, op, ctrl } = message;
        let begun = Instant::now();
        let controls = check_controls(&ctrl);
        let (operation, answer) = match op {
            LdapOp::BindRequest(request) => {
                let outcome = match controls {
                    Ok(()) => self.bind(request, &ctrl).await,
                    refused => refused,
                };
                let res = result(outcome);
                ("bind", LdapOp::BindResponse(LdapBindResponse { res, saslcreds: None }))
            }
            LdapOp::SearchRequest(request) => {
                let (outcome, control) = match controls {
                    Ok(()) => self.search(msgid, request, &ctrl, output).await?,
                    Err(refusal) => (Err(refusal), None),
                };
                let done = LdapOp::SearchResultDone(result(outcome));
                count("search", &done, begun);
                let controls = control.into_iter().collect();
                output.write(&encode(LdapMsg::new_with_ctrls(msgid, done, controls))?).await?;
                return Ok(Flow::Continue);
            }
            LdapOp::AddRequest(request) => {
                ("add", LdapOp::AddResponse(result(also(controls, self.add(request)).await)))
            }
            LdapOp::ModifyRequest(request) => {
                ("modify", LdapOp::ModifyResponse(result(also(controls, self.modify(request)).await)))
            }
            LdapOp::DelRequest(name) => {
                ("delete", LdapOp::DelResponse(result(also(controls, self.delete(name)).await)))
            }
            LdapOp::CompareRequest(request) => {
                ("compare", LdapOp::CompareResult(result(also(controls, self.compare(request)).await)))
            }
            LdapOp::ModifyDNRequest(_) => {
                let refusal = Refusal::new(
                    LdapResultCode::UnwillingToPerform,
                    "an address is for ever its account's: nothing is renamed",
                );
                ("modify-dn", LdapOp::ModifyDNResponse(result(controls.and(Err(refusal)))))
            }
            LdapOp::ExtendedRequest(request) => {
                ("extended", LdapOp::ExtendedResponse(self.extended(request, controls).await))
            }
            // RFC 4511 §4.11: what was to be abandoned is done already; there is no answer.
            LdapOp::AbandonRequest(_) => return Ok(Flow::Continue),
            // The machine lets requests through, and no others.
            _ => {
                machine.disconnect(LdapResultCode::ProtocolError, "the operation is not a request");
                return Ok(Flow::Continue);
            }
        };
        count(operation, &answer, begun);
        output.write(&encode(LdapMsg::new(msgid, answer))?).await?;
        Ok(Flow::Continue)
    }
}

async fn also(
    controls: Result<(), Refusal>,
    operation: impl Future<Output = Result<(), Refusal>>,
) -> Result<(), Refusal> {
    controls?;
    operation.await
}

fn count(operation: &'static str, answer: &LdapOp, begun: Instant) {
    let code = match answer {
        LdapOp::BindResponse(answer) => &answer.res.code,
        LdapOp::ExtendedResponse(answer) => &answer.res.code,
        LdapOp::SearchResultDone(result)
        | LdapOp::AddResponse(result)
        | LdapOp::ModifyResponse(result)
        | LdapOp::DelResponse(result)
        | LdapOp::CompareResult(result)
        | LdapOp::ModifyDNResponse(result) => &result.code,
        _ => return,
    };
    metrics::counter!("estafeta_ldap_operations_total", "operation" => operation, "code" => format!("{code:?}"))
        .increment(1);
    metrics::histogram!("estafeta_ldap_operation_seconds", "operation" => operation)
        .record(begun.elapsed().as_secs_f64());
}

/// RFC 4511 §4.1.11: a critical control that is not known here refuses the operation.
fn check_controls(controls: &[LdapControl]) -> Result<(), Refusal> {
    for control in controls {
        let refused = match control {
            // ManageDsaIT asks for no referrals, and there are none.
            LdapControl::SimplePagedResults { .. } | LdapControl::ManageDsaIT { .. } => false,
            LdapControl::Unknown { oid, criticality, .. } => *criticality && oid != session_tracking::OID,
            LdapControl::SyncRequest { criticality, .. }
            | LdapControl::PasswordPolicyRequest { criticality }
            | LdapControl::SearchOptions { criticality, .. }
            | LdapControl::ShowDeleted { criticality }
            | LdapControl::SdFlags { criticality, .. }
            | LdapControl::ExtendedDn { criticality, .. } => *criticality,
            // The decoder does not say whether these were critical.
            LdapControl::ServerSort { .. } | LdapControl::AdDirsync { .. } => true,
            LdapControl::SyncState { .. } | LdapControl::SyncDone { .. } | LdapControl::ServerSortResult { .. } => {
                false
            }
        };
        if refused {
            return Err(Refusal::new(
                LdapResultCode::UnavailableCriticalExtension,
                "a critical control is not supported",
            ));
        }
    }
    Ok(())
}

impl Conversation {
    /// Notes who changed something; what it was, the store notes.
    fn note_change(&self, operation: &'static str, dn: &str) {
        tracing::info!(operation, dn, node = %self.node.node, by = self.who_am_i(), client = %self.peer, "changed over LDAP");
    }

    /// That the peer asks as a node.
    fn check_node(&self) -> Result<(), Refusal> {
        match &self.who {
            Who::Node => Ok(()),
            Who::Nobody => Err(denied("bind first, by SASL EXTERNAL")),
            Who::Account(_) => Err(denied("an account may read itself and change its own password")),
        }
    }
}

fn denied(why: &str) -> Refusal {
    Refusal::new(LdapResultCode::InsufficentAccessRights, why)
}

/// The place of a name.
fn place(name: &str) -> Result<Place, Refusal> {
    let parsed = dn::parse(name)
        .map_err(|error| Refusal::new(LdapResultCode::InvalidDNSyntax, format!("{name:?} is {error}")))?;
    Place::of(&parsed)
        .ok_or_else(|| Refusal::new(LdapResultCode::NoSuchObject, format!("there is nothing at {name:?}")))
}
