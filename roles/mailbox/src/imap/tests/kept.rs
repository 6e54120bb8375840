//! What is answered from what was kept when the message came.

use super::*;

const MESSAGE: &str = "From: Ana <ana@example.edu>\r\nSubject: kept\r\nMessage-ID: <two@x>\r\nReferences: <one@x>\r\n\
    Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nHello,\r\n  world\r\n--b--\r\n";

/// The words behind `name (` of the first response.
fn id(answer: &client::Answer, name: &str) -> String {
    let line = &answer.untagged[0];
    let (_, rest) = line.split_once(&format!("{name} (")).unwrap_or_else(|| panic!("{line}"));
    rest.split_once(')').unwrap().0.to_owned()
}

#[tokio::test]
async fn no_body_is_read_for_what_was_kept() {
    let house = House::new().await;
    let mut client = house.select().await;
    // After the last part stands what no reader shows, so that the body is too large for the database.
    let mut random = fastrand::Rng::with_seed(1);
    let epilogue: String = std::iter::repeat_with(|| random.alphanumeric()).take(40_000).collect();
    client.append("INBOX", "", &format!("{MESSAGE}{epilogue}\r\n")).await;
    client.ok("NOOP").await;
    let items = "(ENVELOPE BODY BODYSTRUCTURE PREVIEW EMAILID THREADID BODY.PEEK[HEADER] RFC822.HEADER \
                 BODY.PEEK[HEADER.FIELDS (SUBJECT)] BODY.PEEK[HEADER.FIELDS.NOT (FROM)]<2.9>)";
    // With the message's text too, then from what was kept alone.
    let read = client.ok("FETCH 1 (ENVELOPE BODY BODYSTRUCTURE BODY.PEEK[HEADER] BODY.PEEK[])").await;
    let all = house.lose_bodies().await;
    let kept = client.ok(&format!("FETCH 1 {items}")).await;
    let shared = &read.untagged[0][..read.untagged[0].find(" BODY[HEADER]").unwrap()];
    assert!(kept.untagged[0].starts_with(shared), "{kept:?}\n{read:?}");
    let header = &MESSAGE[..MESSAGE.find("\r\n\r\n").unwrap() + 4];
    assert!(kept.untagged[0].contains(&format!("BODY[HEADER] {{{}}}\r\n{header}", header.len())), "{kept:?}");
    assert!(kept.untagged[0].contains("PREVIEW \"Hello, world\""), "{kept:?}");
    assert!(kept.untagged[0].contains("BODY[HEADER.FIELDS (SUBJECT)] {17}\r\nSubject: kept\r\n\r\n"), "{kept:?}");
    if all {
        client.fails("FETCH 1 BODY.PEEK[TEXT]", "NO").await;
    }
}

#[tokio::test]
async fn what_was_not_kept_is_made() {
    let house = House::new().await;
    let mut client = house.select().await;
    client.append("INBOX", "", MESSAGE).await;
    client.append("INBOX", "", &message(2)).await;
    client.ok("NOOP").await;
    let before = client.ok("FETCH 1:* (ENVELOPE BODYSTRUCTURE PREVIEW THREADID)").await;
    house.mail.forget_contents().await;
    assert_eq!(client.ok("FETCH 1:* (ENVELOPE BODYSTRUCTURE PREVIEW THREADID)").await.untagged, before.untagged);
    // And kept then.
    house.lose_bodies().await;
    assert_eq!(client.ok("FETCH 1:* (ENVELOPE BODYSTRUCTURE PREVIEW THREADID)").await.untagged, before.untagged);
}

#[tokio::test]
async fn identifiers_of_objects() {
    let house = House::new().await;
    let mut client = house.select().await;
    client.append("INBOX", "", MESSAGE).await;
    client.append("INBOX", "", "Message-ID: <one@x>\r\n\r\nfirst\r\n").await;
    client.append("INBOX", "", "Subject: nobody knows\r\n\r\n\r\n").await;
    client.ok("NOOP").await;
    let all = client.ok("FETCH 1:3 (EMAILID THREADID)").await;
    let ids = [0, 1, 2].map(|index| {
        let answer = client::Answer { untagged: vec![all.untagged[index].clone()], completion: String::new() };
        (id(&answer, "EMAILID"), id(&answer, "THREADID"))
    });
    assert!(ids[0].0 != ids[1].0 && ids[1].0 != ids[2].0);
    // The second began what the first answers; the third stands alone.
    assert!(ids[0].1 == ids[1].1 && ids[1].1 != ids[2].1);
    // RFC 8474 §5.1: a copy, and a moved message, keep theirs.
    client.ok("COPY 1 Archive").await;
    client.ok("MOVE 2 Archive").await;
    client.ok("SELECT Archive").await;
    let copies = client.ok("FETCH 1:* (UID EMAILID THREADID)").await.untagged;
    for (copy, (email, thread)) in copies.iter().zip(&ids) {
        assert!(copy.contains(&format!("EMAILID ({email}) THREADID ({thread})")), "{copy}");
    }
    assert_eq!(copies.len(), 2);
    // And they are searched for.
    let search = client.ok(&format!("SEARCH EMAILID {}", ids[0].0)).await;
    assert_eq!(search.untagged, ["SEARCH 1"]);
    assert_eq!(client.ok(&format!("SEARCH THREADID {}", ids[0].1)).await.untagged, ["SEARCH 1 2"]);
    assert_eq!(client.ok("SEARCH OR EMAILID Mx THREADID Ty").await.untagged, ["SEARCH"]);
}

#[tokio::test]
async fn identifiers_of_mailboxes() {
    let house = House::new().await;
    let mut client = house.connect();
    let created = client.ok("CREATE new").await.completion;
    let id = created.split_once("[MAILBOXID (").unwrap().1.split_once(")]").unwrap().0.to_owned();
    assert_eq!(client.ok("STATUS new (MAILBOXID)").await.untagged, [format!("STATUS new (MAILBOXID ({id}))")]);
    // RFC 8474 §4: it outlives a new name; what is made under the old one is another.
    client.ok("RENAME new newer").await;
    let again = client.ok("CREATE new").await.completion;
    assert!(!again.contains(&id), "{again}");
    assert_eq!(client.ok("SELECT newer").await.with(&format!("OK [MAILBOXID ({id})]")).len(), 1);
    let all = client.ok("LIST \"\" * RETURN (STATUS (MAILBOXID))").await;
    assert_eq!(all.with("MAILBOXID").len(), all.with("LIST").len());
    assert_eq!(all.with(&format!("STATUS newer (MAILBOXID ({id}))")).len(), 1);
}

#[tokio::test]
async fn a_search_of_headers_reads_no_body() {
    let house = House::new().await;
    let mut client = house.select().await;
    fill(&mut client, 3).await;
    client.append("INBOX", "", MESSAGE).await;
    client.ok("NOOP").await;
    house.lose_bodies().await;
    assert_eq!(client.ok("SEARCH SUBJECT number FROM ana").await.untagged, ["SEARCH 1 2 3"]);
    assert_eq!(client.ok("SEARCH OR SUBJECT KEPT 2").await.untagged, ["SEARCH 2 4"]);
    assert_eq!(client.ok("SEARCH TEXT example.edu").await.untagged, ["SEARCH 1 2 3 4"]);
    assert_eq!(client.ok("SEARCH HEADER References \"\" SENTSINCE 1-Jan-1990").await.untagged, ["SEARCH"]);
    assert_eq!(client.ok("SEARCH BODY o").await.untagged, ["SEARCH"]);
}

#[tokio::test]
async fn previews() {
    let house = House::new().await;
    let mut client = house.select().await;
    client
        .append(
            "INBOX",
            "",
            "Content-Type: text/plain; charset=iso-8859-1\r\n\
        Content-Transfer-Encoding: quoted-printable\r\n\r\nMa=F1ana\r\n",
        )
        .await;
    client.append("INBOX", "", "Content-Type: image/png\r\n\r\nAAAA").await;
    client.ok("NOOP").await;
    assert_eq!(client.ok("FETCH 1 PREVIEW").await.untagged, ["1 FETCH (PREVIEW {7}\r\nMañana)"]);
    assert_eq!(client.ok("UID FETCH 2 (PREVIEW (LAZY))").await.untagged, ["2 FETCH (UID 2 PREVIEW \"\")"]);
    assert!(client.ok("FETCH 1:2 PREVIEW (CHANGEDSINCE 9999)").await.with("FETCH").is_empty());
    // Not seen by that.
    assert_eq!(client.ok("SEARCH SEEN").await.untagged, ["SEARCH"]);
}
