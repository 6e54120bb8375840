//! Clients that come through an access node.

use super::*;
use estafeta_net::connection::Connection;

use crate::imap::talk_relayed;

#[tokio::test]
async fn the_account_is_named_and_the_stream_goes_on() {
    let house = House::new().await;
    let (near, far) = tokio::io::duplex(64 * 1024);
    let address = ([127, 0, 0, 1], 1).into();
    let connection = Connection { stream: Box::new(near), peer: address, local: address, tls: None, identity: None };
    let (rooms, neighbours, drain) = (Rooms(house.mail.clone()), house.neighbours.clone(), house.drain.clone());
    let talk = tokio::spawn(async move { talk_relayed(connection, &rooms, neighbours, &rooms, 1_000, &drain).await });
    let mut client = Client::new(far);
    let greeting = client.response().await.unwrap();
    assert!(greeting.starts_with("* OK [CAPABILITY ") && greeting.contains("AUTH=EXTERNAL"), "{greeting}");
    client.fails("SELECT INBOX", "BAD Not authenticated").await;
    client.fails("LOGIN a b", "NO").await;
    client.fails("AUTHENTICATE EXTERNAL =", "NO [AUTHORIZATIONFAILED]").await;
    // "bob@example.edu", then "ana@example.edu".
    client.fails("AUTHENTICATE EXTERNAL Ym9iQGV4YW1wbGUuZWR1", "NO [NONEXISTENT]").await;
    client.ok("ID (\"x-originating-ip\" \"192.0.2.7\" \"x-originating-port\" \"4711\")").await;
    let answer = client.ok("AUTHENTICATE EXTERNAL YW5hQGV4YW1wbGUuZWR1").await;
    assert!(answer.completion.starts_with("OK [CAPABILITY IMAP4rev1") && answer.completion.contains("UIDPLUS"));
    client.append("INBOX", "", &message(1)).await;
    client.fails("APPEND INBOX {1001}", "NO [TOOBIG]").await;
    client.ok("SELECT INBOX").await;
    let tag = client.begin("IDLE").await;
    assert_eq!(client.response().await.unwrap(), "+ idling");
    fill(&mut house.connect(), 1).await;
    assert_eq!(client.response().await.unwrap(), "* 2 EXISTS");
    client.send("DONE\r\n").await;
    client.end(&tag).await;
    client.send("x LOGOUT\r\n").await;
    while client.response().await.is_some() {}
    talk.await.unwrap().unwrap();
}
