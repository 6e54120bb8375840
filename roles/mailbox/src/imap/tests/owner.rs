//! Sessions of an account that an administrator takes away.

use std::time::Duration;

use super::client::Client;
use super::*;
use crate::imap::engine::Engine;
use crate::imap::owner::Owner;
use crate::imap::session::serve_engine;

/// A session that asks for its account at each command.
fn connect(house: &House) -> Client {
    let owner = Owner::serving(Duration::ZERO);
    let engine = Engine::new(house.mail.clone(), house.neighbours.clone()).with_owner(owner);
    let (near, far) = tokio::io::duplex(64 * 1024);
    tokio::spawn(serve_engine(engine, Box::new(near), house.drain.clone()));
    Client::new(far)
}

const DISABLED: &str = "BYE [UNAVAILABLE] This account is disabled, please ask your administrators";

#[tokio::test]
async fn a_session_of_an_account_that_is_disabled_ends() {
    let house = House::new().await;
    let known = house.mail.account().clone();
    let set = |account: Account| *house.neighbours.0.lock().unwrap() = vec![account];
    set(known.clone());
    let (mut asking, mut idling) = (connect(&house), connect(&house));
    for _ in 0..10 {
        asking.ok("NOOP").await;
    }
    idling.ok("SELECT INBOX").await;
    idling.begin("IDLE").await;
    assert_eq!(idling.response().await.unwrap(), "+ idling");
    set(Account { enabled: false, ..known.clone() });
    // The first command asks, a later one has the answer.
    let said = loop {
        asking.begin("NOOP").await;
        let said = asking.response().await.unwrap();
        if said.starts_with("* ") {
            break said;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert_eq!(said, format!("* {DISABLED}"));
    assert_eq!(asking.response().await, None);
    // Who waits hears of it with what comes.
    let mut said = String::new();
    while !said.contains("BYE") {
        append(&house).await;
        said = idling.response().await.unwrap();
    }
    assert_eq!(said, format!("* {DISABLED}"));
}

#[tokio::test]
async fn a_session_of_an_account_that_was_removed_ends() {
    let house = House::new().await;
    for next in [vec![], vec![account(None)]] {
        *house.neighbours.0.lock().unwrap() = vec![house.mail.account().clone()];
        let mut client = connect(&house);
        client.ok("GETQUOTAROOT INBOX").await;
        *house.neighbours.0.lock().unwrap() = next;
        client.begin("GETQUOTAROOT INBOX").await;
        assert_eq!(client.hears().await, "BYE [UNAVAILABLE] This account is no more");
        assert_eq!(client.response().await, None);
    }
}

async fn append(house: &House) {
    let new = crate::store::NewMessage::received(estafeta_core::Message::new("x".into()));
    house.mail.append(&"INBOX".parse().unwrap(), vec![new]).await.unwrap();
}
