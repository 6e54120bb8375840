//! Modification sequences and quick resynchronisation (RFC 7162).

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
    let after = number(told.with("1 FETCH (UID 1 FLAGS (\\Flagged) MODSEQ (")[0], "MODSEQ");
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
    let now = number(stored.with("2 FETCH (UID 2 MODSEQ")[0], "MODSEQ");
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
    assert_eq!(answer.with("2 FETCH (UID 2 FLAGS (\\Answered").len(), 1, "{answer:?}");
    assert_eq!(
        (answer.with("1 FETCH (UID 1 MODSEQ").len(), answer.with("3 FETCH (UID 3 MODSEQ").len()),
        (1, 1),
        "{answer:?}"
    );
    let answer = client.command(&format!("UID STORE 2 (UNCHANGEDSINCE {start}) +FLAGS (\\Deleted)")).await;
    assert!(answer.completion.starts_with("OK [MODIFIED 2] "), "{answer:?}");
    let flags = client.ok("FETCH 1:3 FLAGS").await;
    assert_eq!((flags.with("\\Deleted").len(), flags.with("\\Answered").len()), (2, 1), "{flags:?}");
}

#[tokio::test]
async fn who_remembers_a_mailbox_hears_what_was_missed() {
    let house = House::new().await;
    let (mut client, mut other) = (house.connect(), house.select().await);
    fill(&mut other, 6).await;
    client.fails("SELECT INBOX (QRESYNC (1 1))", "BAD").await;
    assert_eq!(client.ok("ENABLE QRESYNC").await.untagged, ["ENABLED QRESYNC"]);
    let first = client.ok("SELECT INBOX").await;
    let validity = number(first.with("UIDVALIDITY")[0], "UIDVALIDITY");
    let since = number(first.with("HIGHESTMODSEQ")[0], "HIGHESTMODSEQ");
    client.ok("UNSELECT").await;
    other.ok("STORE 2,3,5 +FLAGS (\\Deleted)").await;
    other.ok("STORE 4 +FLAGS (\\Flagged)").await;
    other.ok("EXPUNGE").await;
    let missed = client.ok(&format!("SELECT INBOX (QRESYNC ({validity} {since}))")).await;
    assert_eq!(missed.with("VANISHED"), ["VANISHED (EARLIER) 2:3,5"]);
    assert_eq!(missed.with("FETCH").len(), 1, "{missed:?}");
    assert!(missed.with("FETCH")[0].starts_with("2 FETCH (UID 4 FLAGS (\\Flagged"), "{missed:?}");
    assert_eq!((missed.with("EXISTS"), missed.with("CLOSED").len()), (vec!["3 EXISTS"], 0));
    // Of the UIDs that it knows only.
    let missed = client.ok(&format!("SELECT INBOX (QRESYNC ({validity} {since} 1:3 (1 1)))")).await;
    assert_eq!((missed.with("VANISHED"), missed.with("FETCH").len()), (vec!["VANISHED (EARLIER) 2:3"], 0));
    assert_eq!(missed.with("CLOSED").len(), 1);
    // Of another life of the mailbox it knows nothing.
    let other_life = client.ok(&format!("SELECT INBOX (QRESYNC ({} {since}))", validity + 1)).await;
    assert_eq!((other_life.with("VANISHED").len(), other_life.with("FETCH").len()), (0, 0));
    let fetched = client.ok(&format!("UID FETCH 1:* (FLAGS) (CHANGEDSINCE {since} VANISHED)")).await;
    assert_eq!((fetched.untagged[0].as_str(), fetched.with("FETCH").len()), ("VANISHED (EARLIER) 2:3,5", 1));
    // From now on it hears VANISHED, and what its own EXPUNGE came to.
    other.ok("STORE 1 +FLAGS (\\Deleted)").await;
    other.ok("EXPUNGE").await;
    assert_eq!(client.ok("NOOP").await.untagged, ["VANISHED 1"]);
    client.ok("STORE 1 +FLAGS.SILENT (\\Deleted)").await;
    let answer = client.ok("EXPUNGE").await;
    assert_eq!(answer.untagged, ["VANISHED 4"]);
    let told = number(&answer.completion, "OK [HIGHESTMODSEQ");
    let status = other.ok("STATUS INBOX (HIGHESTMODSEQ)").await;
    assert_eq!(number(status.with("STATUS")[0], "HIGHESTMODSEQ"), told);
    assert_eq!(status.with("EXPUNGE"), ["1 EXPUNGE"]);
}

/// The highest modification sequence that a client remembers which knew `known` and hears this.
fn remembered(known: u64, told: &[String]) -> u64 {
    told.iter().fold(known, |known, line| match line {
        _ if line.contains("HIGHESTMODSEQ ") => number(line, "HIGHESTMODSEQ"),
        _ if line.contains("MODSEQ (") => known.max(number(line, "MODSEQ")),
        _ => known,
    })
}

#[tokio::test]
async fn an_expunge_that_must_wait_is_not_lost_with_the_connection() {
    for (notify, command) in [
        ("NOOP", "FETCH 1 (FLAGS MODSEQ)"),
        ("NOOP", "STORE 1 +FLAGS.SILENT (\\Seen)"),
        ("NOOP", "FETCH 1 BODY[]"),
        ("NOTIFY NONE", "STORE 1 +FLAGS.SILENT (\\Seen)"),
        ("NOTIFY SET (selected-delayed (MessageNew MessageExpunge FlagChange))", "FETCH 1 (FLAGS MODSEQ)"),
    ] {
        let house = House::new().await;
        let (mut client, mut other) = (house.connect(), house.select().await);
        fill(&mut other, 3).await;
        client.ok("ENABLE QRESYNC").await;
        let selected = client.ok("SELECT INBOX").await;
        let validity = number(selected.with("UIDVALIDITY")[0], "UIDVALIDITY");
        let mut known = remembered(0, &selected.untagged);
        client.ok(notify).await;
        other.ok("UID STORE 3 +FLAGS.SILENT (\\Deleted)").await;
        other.ok("EXPUNGE").await;
        other.ok("STORE 1 +FLAGS (\\Flagged)").await;
        let told = client.ok(command).await;
        assert_eq!((told.with("MODSEQ (").is_empty(), told.with("VANISHED").len()), (false, 0), "{command}: {told:?}");
        known = remembered(known, &told.untagged);
        // The line drops.
        let mut again = house.connect();
        again.ok("ENABLE QRESYNC").await;
        let missed = again.ok(&format!("SELECT INBOX (QRESYNC ({validity} {known}))")).await;
        assert_eq!(missed.with("VANISHED"), ["VANISHED (EARLIER) 3"], "{notify}, {command}: {told:?}");
        if notify != "NOTIFY NONE" {
            let told = client.ok("NOOP").await;
            assert_eq!(told.with("VANISHED"), ["VANISHED 3"]);
            let now = client.ok("STATUS INBOX (HIGHESTMODSEQ)").await;
            assert_eq!(remembered(known, &told.untagged), number(now.with("STATUS")[0], "HIGHESTMODSEQ"), "{told:?}");
            assert_eq!(client.ok("NOOP").await.untagged, [""; 0]);
        }
    }
}

#[tokio::test]
async fn who_hears_modification_sequences_hears_whose_they_are() {
    let house = House::new().await;
    let (mut client, mut other) = (house.connect(), house.select().await);
    fill(&mut other, 2).await;
    other.ok("NOOP").await;
    client.ok("SELECT INBOX (CONDSTORE)").await;
    other.ok("STORE 2 +FLAGS (\\Flagged)").await;
    let told = client.ok("NOOP").await;
    assert!(told.with("2 FETCH (UID 2 FLAGS (\\Flagged) MODSEQ (").len() == 1, "{told:?}");
    let told = client.ok("STORE 2 +FLAGS.SILENT (\\Answered)").await;
    assert!(told.with("2 FETCH (UID 2 MODSEQ (").len() == 1, "{told:?}");
    let told = client.ok("FETCH 1 BODY[TEXT]").await;
    assert!(told.untagged[0].contains(" FLAGS (\\Seen) UID 1 MODSEQ ("), "{told:?}");
}
