//! Clients that an access node relays.

use std::sync::Arc;

use async_trait::async_trait;
use estafeta_core::{Failure, Reason};
use estafeta_net::connection::Connection;
use estafeta_net::drain::Drain;
use tokio::io::{BufStream, duplex};

use super::{Client, Home};
use crate::imap::Mailroom;
use crate::pop3::talk_relayed;
use crate::store::AccountMail;

/// Opens one account's mail, and nobody else's.
struct Only(AccountMail);

#[async_trait]
impl Mailroom for Only {
    async fn open(&self, address: &str) -> Result<AccountMail, Failure> {
        match address {
            "ana@example.edu" => Ok(self.0.clone()),
            "busy@example.edu" => Err(Failure::unavailable("the node is on fire")),
            _ => Err(Failure::new(Reason::NotFound, "there is no such account")),
        }
    }
}

fn relay(home: &Home, drain: Drain) -> Client {
    let (near, far) = duplex(64 * 1024);
    let mailroom = Arc::new(Only(home.mail.clone()));
    let address = "127.0.10.1:1".parse().unwrap();
    let connection = Connection { stream: Box::new(near), peer: address, local: address, tls: None, identity: None };
    let served = tokio::spawn(async move { talk_relayed(connection, mailroom.as_ref(), &drain).await });
    Client { stream: BufStream::new(far), served }
}

#[tokio::test]
async fn a_relayed_session() {
    let home = Home::with(&["a\r\n"]).await;
    let mut client = relay(&home, Drain::new());
    assert_eq!(client.line().await, "+OK [XCLIENT] Estafeta ready.");
    assert_eq!(client.say("XCLIENT ADDR=192.0.2.7 PORT=40000").await, "+OK Updated");
    assert_eq!(client.say("USER ana@example.edu").await, "-ERR USER and PASS are not offered");
    assert_eq!(client.say("AUTH EXTERNAL =").await, "-ERR [AUTH] Name the account");
    // luis@example.edu, busy@example.edu
    assert_eq!(client.say("AUTH EXTERNAL bHVpc0BleGFtcGxlLmVkdQ==").await, "-ERR [SYS/PERM] there is no such account");
    let refusal = client.say("AUTH EXTERNAL YnVzeUBleGFtcGxlLmVkdQ==").await;
    assert_eq!(refusal, "-ERR [SYS/TEMP] temporarily unavailable, try again later");
    // What comes behind the login in the same breath is the session's.
    client.send(b"AUTH EXTERNAL YW5hQGV4YW1wbGUuZWR1\r\nSTAT\r\nDELE 1\r\nQUIT\r\n").await;
    assert_eq!(client.rest().await, "+OK Logged in\r\n+OK 1 3\r\n+OK Marked as deleted\r\n+OK Goodbye\r\n");
    assert!(home.uids().await.is_empty());
}

#[tokio::test]
async fn a_relay_that_gives_up_before_the_login() {
    let home = Home::new().await;
    let mut client = relay(&home, Drain::new());
    client.line().await;
    assert_eq!(client.say("STAT").await, "-ERR Log in first");
    assert_eq!(client.quit().await, "+OK Goodbye\r\n");
}
