//! The probe of the service `filter`: a verdict on a small message, by everything that judges real ones.
//!
//! A filter that defers mail while clamd is away, or asks an rspamd that is away, gives no verdict then, so it is not
//! ready; one that is told to accept such mail stays ready. The probe comes from nowhere in the network, so that nobody's
//! DNS is asked about it, and neither log nor metrics count it as mail.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use async_trait::async_trait;
use estafeta_core::judge::{Envelope, Judge};
use estafeta_core::{DeliveryId, Message};
use estafeta_net::probe::{self, Answer};
use estafeta_net::role::{Health, Probing};

use crate::rspamd::client;
use crate::{ASKED_BY, SERVICE};

/// The name that a probe gives in place of a client's. No client of edge can pass for one: each has an address.
const HELO: &str = "probe.invalid";

/// What is judged (RFC 5322 §3.6: the least that a message has).
const MESSAGE: &str = "Date: Thu, 01 Jan 1970 00:00:00 +0000\r\nFrom: <>\r\nMessage-ID: <probe@probe.invalid>\r\nSubject: probe\r\n\r\nprobe\r\n";

/// Asks a filter node for a verdict; whoever may not sees by the handshake that it is there.
pub fn probe(probing: Probing) -> Answer {
    Box::pin(async move {
        if probe::may_ask(&probing, ASKED_BY) {
            ask(client::connect(&probing.remote, &probing.candidate).as_ref()).await
        } else {
            probe::between_nodes(&probing, ASKED_BY).await.map(drop)
        }
    })
}

/// Whether a message is a probe's.
pub fn is_probe(envelope: &Envelope) -> bool {
    envelope.client.is_unspecified() && envelope.helo == HELO
}

/// Asks the judge itself: for a node on which nobody listens for others.
pub struct JudgeHealth(pub Arc<dyn Judge>);

#[async_trait]
impl Health for JudgeHealth {
    async fn check(&self) -> Result<(), String> {
        ask(self.0.as_ref()).await.map_err(|why| format!("{SERVICE} gives no verdict: {why}"))
    }
}

async fn ask(judge: &dyn Judge) -> Result<(), String> {
    let envelope = Envelope {
        id: DeliveryId::generate(),
        client: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        helo: HELO.into(),
        authenticated: None,
        sender: None,
        recipients: Vec::new(),
    };
    let verdict = judge.judge(&envelope, &Message::new(MESSAGE.as_bytes().into())).await;
    verdict.map(drop).map_err(|failure| if failure.cause.is_empty() { failure.client } else { failure.cause })
}
