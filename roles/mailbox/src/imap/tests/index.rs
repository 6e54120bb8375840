//! SEARCH with the search index.

use std::time::Duration;

use super::super::engine::Engine;
use super::*;

/// More than are read sooner than the index is asked.
const MANY: u32 = 20;

#[tokio::test]
async fn a_search_of_what_is_indexed_reads_no_message() {
    let house = House::new().await;
    let mut client = house.select().await;
    fill(&mut client, MANY).await;
    client.ok("NOOP").await;
    house.mail.index_all().await;
    house.lose_bodies().await;
    for (keys, found) in [
        ("BODY \"body 20\"", "20"),
        ("BODY \"BODY 7\"", "7"),
        ("BODY absent", ""),
        ("TEXT \"number 11\"", "11"),
        ("TEXT \"body 12\"", "12"),
        ("NOT TEXT example.edu", ""),
        ("OR BODY \"body 3\" SUBJECT \"number 4\"", "3 4"),
        ("BODY \"\" 1:2", "1 2"),
    ] {
        let answer = client.ok(&format!("SEARCH {keys}")).await;
        assert_eq!(answer.untagged, [format!("SEARCH {found}").trim_end()], "{keys}");
    }
    // Too short for the index, and there is nothing to read.
    assert_eq!(client.ok("SEARCH BODY bo").await.untagged, ["SEARCH"]);
}

#[tokio::test]
async fn what_is_not_indexed_yet_is_read() {
    let house = House::new().await;
    let mut client = house.select().await;
    fill(&mut client, MANY).await;
    house.mail.index_all().await;
    client.append("INBOX", "", "Subject: late\r\n\r\nBody 7 again, CAF\u{c9}\r\n").await;
    client.ok("NOOP").await;
    assert_eq!(client.ok("SEARCH BODY \"body 7\"").await.untagged, ["SEARCH 7 21"]);
    assert_eq!(client.ok("SEARCH TEXT late").await.untagged, ["SEARCH 21"]);
    assert_eq!(client.ok("SEARCH BODY cafe").await.untagged, ["SEARCH 21"]);
    // What was expunged is not found, though the index may know it still.
    client.ok("STORE 7 +FLAGS.SILENT (\\Deleted)").await;
    client.ok("EXPUNGE").await;
    assert_eq!(client.ok("UID SEARCH BODY \"body 7\"").await.untagged, ["SEARCH 21"]);
    client.ok("MOVE 1:* Archive").await;
    house.mail.index_all().await;
    client.ok("SELECT Archive").await;
    assert_eq!(client.ok("SEARCH BODY \"body 7\"").await.untagged, ["SEARCH 20"]);
}

#[tokio::test]
async fn words_are_found_whatever_their_accents() {
    let house = House::new().await;
    let mut client = house.select().await;
    let quoted = "Subject: =?utf-8?q?Pr=C3=B3rroga_de_ma=C3=B1ana?=\r\nContent-Type: text/plain; charset=iso-8859-1\r\n\
        Content-Transfer-Encoding: quoted-printable\r\n\r\nEl ni=F1o estudi=F3 el\r\nexamen de ingl=E9s\r\n";
    client.append("INBOX", "", quoted).await;
    client.append("INBOX", "", "Subject: prorroga\r\n\r\nel nino\r\n").await;
    fill(&mut client, MANY).await;
    client.ok("NOOP").await;
    for _ in ["read", "indexed"] {
        for (keys, found) in [
            ("SUBJECT manana", "1"),
            ("SUBJECT {9+}\r\npr\u{f3}rroga", "1 2"),
            ("BODY {5+}\r\nni\u{f1}o", "1 2"),
            ("TEXT NINO", "1 2"),
            ("BODY \"el examen\"", "1"),
            ("BODY inglesa", ""),
        ] {
            let answer = client.ok(&format!("SEARCH {keys}")).await;
            assert_eq!(answer.untagged, [format!("SEARCH {found}").trim_end()], "{keys}");
        }
        house.mail.index_all().await;
    }
}

#[tokio::test]
async fn a_client_that_waits_hears_how_far_its_command_is() {
    let house = House::new().await;
    let mut client = house.select().await;
    assert!(client.ok("CAPABILITY").await.untagged[0].contains(" INPROGRESS"));
    fill(&mut client, 3).await;
    let mut client = house.connect_impatient().await;
    client.ok("SELECT INBOX").await;
    let tag = client.begin("SEARCH BODY \"body 2\"").await;
    let searched = client.end(&tag).await;
    assert_eq!(searched.untagged.last().unwrap(), "SEARCH 2");
    let told = searched.with("INPROGRESS");
    let expected = [1, 2, 3].map(|done| format!("OK [INPROGRESS (\"{tag}\" {done} 3)] Still working"));
    assert!(expected.iter().all(|line| told.contains(&line.as_str())), "{searched:?}");
    for command in ["COPY 1:3 Sent", "STORE 1:3 +FLAGS (\\Deleted)", "EXPUNGE", "SORT (SUBJECT) UTF-8 ALL"] {
        let tag = client.begin(command).await;
        let answer = client.end(&tag).await;
        let ours = format!("OK [INPROGRESS (\"{tag}\" ");
        assert!(answer.with("INPROGRESS").iter().all(|line| line.starts_with(&ours)), "{answer:?}");
        assert!(command.starts_with("SORT") || !answer.with("NIL NIL").is_empty(), "{command}: {answer:?}");
    }
}

impl House {
    /// A client that hears of its commands at once.
    async fn connect_impatient(&self) -> client::Client {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let engine = Engine::new(self.mail.clone(), self.neighbours.clone()).with_patience(Duration::ZERO);
        let drain = self.drain.clone();
        tokio::spawn(super::super::session::serve_engine(engine, Box::new(near), drain));
        client::Client::new(far)
    }
}
