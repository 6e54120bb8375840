//! Modification sequences (RFC 7162 §3.1).

use super::*;

/// The number behind a word: `MODSEQ (7)`, `HIGHESTMODSEQ 7`.
fn number(text: &str, word: &str) -> u64 {
    let rest = text.split_once(word).unwrap_or_else(|| panic!("no {word} in {text}")).1;
    let digits: String = rest.trim_start_matches([' ', '(']).chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap()
}

#[tokio::test]
async fn only_those_who_ask_hear_them() {
    let house = House::new().await;
    let (mut plain, mut knowing) = (house.select().await, house.connect());
    fill(&mut plain, 2).await;
    plain.ok("NOOP").await;
    let selected = knowing.ok("SELECT INBOX (CONDSTORE)").await;
    let before = number(selected.with("HIGHESTMODSEQ")[0], "HIGHESTMODSEQ");
    assert_eq!(number(plain.ok("SELECT INBOX").await.with("HIGHESTMODSEQ")[0], "HIGHESTMODSEQ"), before);
    assert_eq!(plain.ok("STORE 1 +FLAGS (\\Flagged)").await.untagged, ["1 FETCH (FLAGS (\\Flagged))"]);
    let told = knowing.ok("NOOP").await;
    let after = number(told.with("1 FETCH (FLAGS (\\Flagged) MODSEQ (")[0], "MODSEQ");
    assert!(after > before);
    assert_eq!(number(&knowing.ok("STATUS INBOX (HIGHESTMODSEQ)").await.untagged[0], "HIGHESTMODSEQ"), after);
    // Asked for in passing, they are heard from then on, and the mailbox's is told at once.
    let first = plain.ok("FETCH 1 MODSEQ").await;
    assert_eq!(
        first.untagged,
        [format!("OK [HIGHESTMODSEQ {after}] The last change"), format!("1 FETCH (MODSEQ ({after}))")]
    );
    assert_eq!(plain.ok("STORE 1 -FLAGS (\\Flagged)").await.with("MODSEQ").len(), 1);
    assert_eq!(house.connect().ok("ENABLE X CONDSTORE").await.untagged, ["ENABLED CONDSTORE"]);
}

#[tokio::test]
async fn what_changed_since() {
    let house = House::new().await;
    let mut client = house.connect();
    fill(&mut client, 4).await;
    let start = number(client.ok("SELECT INBOX (CONDSTORE)").await.with("HIGHESTMODSEQ")[0], "HIGHESTMODSEQ");
    let stored = client.ok("STORE 2,4 +FLAGS.SILENT (\\Seen)").await;
    // Even in silence, whoever hears modification sequences hears the new ones.
    let now = number(stored.with("2 FETCH (MODSEQ")[0], "MODSEQ");
    assert_eq!((stored.untagged.len(), now > start), (2, true), "{stored:?}");
    let changed = client.ok(&format!("UID FETCH 1:* (FLAGS) (CHANGEDSINCE {start})")).await;
    let seen = |sequence: u32| format!("{sequence} FETCH (UID {sequence} FLAGS (\\Seen \\Recent) MODSEQ ({now}))");
    let flags = |line: &String| line.replace(" \\Recent", "");
    assert_eq!(changed.untagged.iter().map(flags).collect::<Vec<_>>(), [2, 4].map(|sequence| flags(&seen(sequence))));
    assert!(client.ok(&format!("FETCH 1:* (FLAGS) (CHANGEDSINCE {now})")).await.untagged.is_empty());
    assert_eq!(client.ok(&format!("SEARCH MODSEQ {now}")).await.untagged, [format!("SEARCH 2 4 (MODSEQ {now})")]);
    assert_eq!(client.ok(&format!("SEARCH MODSEQ {}", now + 1)).await.untagged, ["SEARCH"]);
    let answer = client.ok(&format!("SEARCH RETURN (MAX) MODSEQ \"/flags/\\\\Seen\" all {now}")).await;
    assert!(answer.untagged[0].ends_with(&format!(" MAX 4 MODSEQ {now}")), "{answer:?}");
}

#[tokio::test]
async fn a_conditional_store_leaves_alone_what_others_changed() {
    let house = House::new().await;
    let (mut client, mut other) = (house.connect(), house.connect());
    fill(&mut client, 3).await;
    let start = number(client.ok("SELECT INBOX (CONDSTORE)").await.with("HIGHESTMODSEQ")[0], "HIGHESTMODSEQ");
    other.ok("SELECT INBOX").await;
    other.ok("STORE 2 +FLAGS (\\Answered)").await;
    let answer = client.command(&format!("STORE 1:3 (UNCHANGEDSINCE {start}) +FLAGS.SILENT (\\Deleted)")).await;
    assert!(answer.completion.starts_with("OK [MODIFIED 2] "), "{answer:?}");
    // What the other did is told, and the new modification sequences of the rest.
    assert_eq!(answer.with("2 FETCH (FLAGS (\\Answered").len(), 1, "{answer:?}");
    assert_eq!((answer.with("1 FETCH (MODSEQ").len(), answer.with("3 FETCH (MODSEQ").len()), (1, 1), "{answer:?}");
    let answer = client.command(&format!("UID STORE 2 (UNCHANGEDSINCE {start}) +FLAGS (\\Deleted)")).await;
    assert!(answer.completion.starts_with("OK [MODIFIED 2] "), "{answer:?}");
    let flags = client.ok("FETCH 1:3 FLAGS").await;
    assert_eq!((flags.with("\\Deleted").len(), flags.with("\\Answered").len()), (2, 1), "{flags:?}");
}
