//! Sessions of an account that an administrator takes away.

use std::time::Duration;

use super::client::Client;
use super::*;
use crate::imap::engine::Engine;
use crate::imap::owner::Owner;
use crate::imap::session::serve_engine;

/// How long a session believes what the directory said.
const AGE: Duration = Duration::from_secs(1);

fn connect(house: &House) -> Client {
    let engine = Engine::new(house.mail.clone(), house.neighbours.clone()).with_owner(Owner::serving(AGE));
    let (near, far) = tokio::io::duplex(64 * 1024);
    tokio::spawn(serve_engine(engine, Box::new(near), house.drain.clone()));
    Client::new(far)
}

const DISABLED: &str = "BYE [UNAVAILABLE] This account is disabled, please ask your administrators";

#[tokio::test]
async fn a_session_of_an_account_that_is_disabled_ends() {
    let house = House::new().await;
    let known = house.mail.account().clone();
    *house.neighbours.0.lock().unwrap() = vec![known.clone()];
    let (mut idling, mut asking) = (connect(&house), connect(&house));
    for client in [&mut idling, &mut asking] {
        client.ok("SELECT INBOX").await;
    }
    *house.neighbours.0.lock().unwrap() = vec![Account { enabled: false, ..known }];
    tokio::time::sleep(AGE + Duration::from_millis(10)).await;
    // Who begins to wait asks, and hears the answer.
    idling.begin("IDLE").await;
    assert_eq!(idling.response().await.unwrap(), "+ idling");
    assert_eq!(idling.hears().await, DISABLED);
    assert_eq!(idling.response().await, None);
    // So does who asks for something else, then or a moment later.
    asking.begin("NOOP").await;
    let mut said = asking.response().await.unwrap();
    if !said.starts_with("* ") {
        said = asking.response().await.unwrap();
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
        tokio::time::sleep(AGE + Duration::from_millis(10)).await;
        client.begin("GETQUOTAROOT INBOX").await;
        assert_eq!(client.hears().await, "BYE [UNAVAILABLE] This account is no more");
        assert_eq!(client.response().await, None);
    }
}
