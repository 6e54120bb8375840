//! SORT and THREAD.

use super::*;

async fn mailbox() -> (House, Client) {
    let house = House::new().await;
    let mut client = house.select().await;
    for (date, header) in [
        (
            "1",
            "From: Zoe <ana@x>\r\nTo: one@x\r\nSubject: beta\r\nMessage-ID: <1@x>\r\nDate: Wed, 1 Jan 2020 12:00:00 +0000\r\n",
        ),
        (
            "2",
            "From: Ben <zed@x>\r\nTo: two@x\r\nSubject: Re: alpha\r\nMessage-ID: <2@x>\r\nReferences: <4@x>\r\n\
               Date: Wed, 1 Jan 2020 10:00:00 -0500\r\n",
        ),
        (
            "3",
            "From: =?utf-8?q?=C3=81lvaro?= <mid@x>\r\nSubject: [list] RE: Beta\r\nMessage-ID: <3@x>\r\nIn-Reply-To: <1@x>\r\n\
               Date: Wed, 1 Jan 2020 11:00:00 +0000\r\n",
        ),
        (
            "4",
            "From: yes@x\r\nSubject: alpha\r\nMessage-ID: <4@x>\r\nX-Pad: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n\
               X-Pad: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n",
        ),
    ] {
        let date = format!("\" {date}-Jan-2020 09:00:00 +0000\"");
        client.append("INBOX", &date, &format!("{header}\r\nbody\r\n")).await;
    }
    client.ok("NOOP").await;
    (house, client)
}

#[tokio::test]
async fn in_the_order_asked_for() {
    let (_house, mut client) = mailbox().await;
    for (criteria, found) in [
        ("(ARRIVAL)", "1 2 3 4"),
        ("(REVERSE ARRIVAL)", "4 3 2 1"),
        // The fourth has no date, and stands by its arrival.
        ("(DATE)", "3 1 2 4"),
        ("(SUBJECT)", "2 4 1 3"),
        ("(SUBJECT DATE)", "2 4 3 1"),
        ("(REVERSE SUBJECT REVERSE DATE)", "1 3 4 2"),
        ("(FROM)", "1 3 4 2"),
        ("(DISPLAYFROM)", "3 2 4 1"),
        ("(TO)", "3 4 1 2"),
        ("(DISPLAYTO CC)", "3 4 1 2"),
        ("(REVERSE SIZE)", "4 3 2 1"),
    ] {
        let answer = client.ok(&format!("SORT {criteria} UTF-8 ALL")).await;
        if criteria == "(REVERSE SIZE)" {
            assert!(answer.untagged[0].starts_with("SORT 4 "), "{answer:?}");
        } else {
            assert_eq!(answer.untagged, [format!("SORT {found}")], "{criteria}");
        }
    }
    client.ok("STORE 1 +FLAGS (\\Deleted)").await;
    client.ok("EXPUNGE").await;
    assert_eq!(client.ok("UID SORT (SUBJECT DATE) US-ASCII ALL").await.untagged, ["SORT 2 4 3"]);
    assert_eq!(client.ok("SORT (SUBJECT DATE) UTF-8 SUBJECT alpha").await.untagged, ["SORT 1 3"]);
    assert_eq!(client.ok("SORT (DATE) UTF-8 FROM nobody").await.untagged, ["SORT"]);
    client.fails("SORT (DATE) KOI8-R ALL", "NO [BADCHARSET").await;
    client.fails("SORT (RELEVANT) UTF-8 ALL", "BAD").await;
    // RFC 7162 §3.1.6
    let answer = client.ok("SORT (REVERSE DATE) UTF-8 MODSEQ 1").await;
    assert_eq!(answer.with("SORT 3 1 2 (MODSEQ ").len(), 1, "{answer:?}");
}

#[tokio::test]
async fn results_as_asked_for() {
    let (_house, mut client) = mailbox().await;
    for (options, given) in [
        ("()", " ALL 3,1:2,4"),
        ("(MIN MAX)", " MIN 3 MAX 4"),
        ("(ALL COUNT)", " ALL 3,1:2,4 COUNT 4"),
        // RFC 5267 §4.4, RFC 9394 §3.1: pages in the order asked for, from its beginning or its end.
        ("(PARTIAL 1:3)", " PARTIAL (1:3 3,1:2)"),
        ("(PARTIAL -1:-2)", " PARTIAL (-1:-2 2,4)"),
        ("(MIN PARTIAL 4:9 COUNT)", " MIN 3 PARTIAL (4:9 4) COUNT 4"),
        ("(PARTIAL 5:9)", " PARTIAL (5:9 NIL)"),
    ] {
        for (by_uid, form) in [("", ""), ("UID ", " UID")] {
            let answer = client.ok(&format!("{by_uid}SORT RETURN {options} (DATE) UTF-8 ALL")).await;
            let (_, rest) = answer.untagged[0].split_once(')').unwrap();
            assert_eq!(rest, format!("{form}{given}"));
        }
    }
    assert!(client.ok("SORT RETURN (SAVE MIN) (DATE) UTF-8 ALL").await.untagged[0].ends_with(" MIN 3"));
    assert_eq!(client.ok("FETCH $ UID").await.untagged, ["3 FETCH (UID 3)"]);
    assert!(client.ok("SORT RETURN (SAVE) (DATE) UTF-8 1:2").await.untagged.is_empty());
    assert_eq!(client.ok("FETCH $ UID").await.untagged.len(), 2);
}

#[tokio::test]
async fn conversations() {
    let (house, mut client) = mailbox().await;
    assert_eq!(client.ok("THREAD REFERENCES UTF-8 ALL").await.untagged, ["THREAD (1 3)(4 2)"]);
    assert_eq!(client.ok("THREAD ORDEREDSUBJECT UTF-8 ALL").await.untagged, ["THREAD (3 1)(2 4)"]);
    assert_eq!(client.ok("UID THREAD REFERENCES US-ASCII 2:3").await.untagged, ["THREAD (3)(2)"]);
    assert_eq!(client.ok("THREAD REFERENCES UTF-8 FROM nobody").await.untagged, ["THREAD"]);
    // Nothing of it is read from the bodies.
    client.append("INBOX", "", "Subject: x\r\nReferences: <4@x>\r\n\r\n\r\n").await;
    house.lose_bodies().await;
    assert_eq!(client.ok("THREAD REFERENCES UTF-8 ALL").await.untagged, ["THREAD (1 3)(4 (2)(5))"]);
    client.fails("THREAD REFERENCES X ALL", "NO [BADCHARSET").await;
    client.fails("THREAD JWZ UTF-8 ALL", "BAD").await;
}
