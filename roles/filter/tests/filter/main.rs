//! The filter as others meet it: its judge on messages and DNS made for the test, over the network, with a real clamd.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

mod authentication;
mod clamd;
mod dns;
mod remote;
mod role;

use estafeta_core::judge::{Envelope, Verdict};
use estafeta_core::{DeliveryId, Message};
use estafeta_filter::config::Config;
use estafeta_filter::judge::LocalJudge;

/// The name that the filter calls itself by in these tests.
const HOSTNAME: &str = "mx.example.edu";

/// The configuration of these tests: asks this DNS, and no other.
fn config(dns: &dns::FakeDns) -> Config {
    Config { resolvers: vec![dns.address()], authentication_seconds: 3, ..Config::default() }
}

fn judge(config: &Config) -> LocalJudge {
    config.judge(HOSTNAME).unwrap()
}

fn envelope(client: &str, sender: &str) -> Envelope {
    Envelope {
        id: DeliveryId::generate(),
        client: client.parse().unwrap(),
        helo: "mail.example.org".into(),
        authenticated: None,
        sender: (!sender.is_empty()).then(|| sender.parse().unwrap()),
        recipients: vec!["luis@example.edu".parse().unwrap()],
    }
}

fn message(from: &str, body: &str) -> Message {
    let header = format!(
        "From: {from}\r\nTo: luis@example.edu\r\nSubject: s\r\nDate: Mon, 23 Nov 2026 12:00:00 +0100\r\nMessage-ID: <1@example.org>\r\n"
    );
    Message::new(format!("{header}\r\n{body}\r\n").into())
}

fn symbols(verdict: &Verdict) -> Vec<&str> {
    verdict.symbols.iter().map(|symbol| symbol.name.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_local_judge_passes_the_suite() {
    let dns = dns::FakeDns::start(&[]).await;
    estafeta_core::judge::suite::run(&judge(&config(&dns))).await;
}
