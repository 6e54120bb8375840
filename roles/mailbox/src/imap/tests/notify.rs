//! NOTIFY: what a session hears unasked (RFC 5465).

use super::*;

const NEW: &str = "MessageNew MessageExpunge";

/// Nothing else is told before the answer to the next command.
async fn hears_nothing(client: &mut Client) {
    let answer = client.ok("NOOP").await;
    assert!(answer.untagged.is_empty(), "{answer:?}");
}

#[tokio::test]
async fn the_open_mailbox_is_told_of_at_once() {
    let house = House::new().await;
    let (mut one, mut other) = (house.select().await, house.select().await);
    fill(&mut other, 2).await;
    // As by NOOP, what has happened so far.
    let answer = one.ok("NOTIFY SET (selected (MessageNew (UID FLAGS PREVIEW) MessageExpunge FlagChange))").await;
    assert!(answer.untagged.contains(&"2 EXISTS".to_owned()), "{answer:?}");
    other.append("INBOX", "(\\Flagged)", &message(3)).await;
    assert_eq!(one.hears().await, "3 EXISTS");
    let mut told = one.hears().await;
    if told.ends_with(" RECENT") {
        told = one.hears().await;
    }
    assert!(told.starts_with("3 FETCH (UID 3 FLAGS (\\Flagged"), "{told}");
    assert!(told.ends_with("PREVIEW \"body 3\")"), "{told}");
    other.ok("STORE 1 +FLAGS.SILENT (\\Deleted)").await;
    let told = one.hears().await;
    assert!(told.starts_with("1 FETCH (UID 1 FLAGS (\\Deleted"), "{told}");
    other.ok("EXPUNGE").await;
    assert_eq!(one.hears().await, "1 EXPUNGE");
    // What the client does itself it need not be told of, but that it is there.
    let answer = one.append("INBOX", "", &message(4)).await;
    assert!(answer.untagged.contains(&"3 EXISTS".to_owned()) && answer.with("FETCH").is_empty(), "{answer:?}");
    one.ok("COPY 1 INBOX").await;
    hears_nothing(&mut one).await;
    // The same in IDLE.
    let idle = one.begin("IDLE").await;
    assert_eq!(one.response().await.unwrap(), "+ idling");
    other.append("INBOX", "", &message(5)).await;
    while !one.hears().await.starts_with("5 FETCH (UID 6 ") {}
    one.send("DONE\r\n").await;
    one.end(&idle).await;
}

#[tokio::test]
async fn what_is_not_asked_for_is_not_told() {
    let house = House::new().await;
    let (mut one, mut other) = (house.select().await, house.select().await);
    fill(&mut other, 3).await;
    one.ok(&format!("NOTIFY SET (selected ({NEW}))")).await;
    other.ok("STORE 1 +FLAGS (\\Seen)").await;
    other.append("INBOX", "", &message(4)).await;
    assert_eq!(one.hears().await, "4 EXISTS");
    one.ok("NOOP").await;
    // Of nobody's messages, but for what a command of its own does.
    for command in ["NOTIFY NONE", "NOTIFY SET (selected NONE)", "NOTIFY SET (personal (MailboxName))"] {
        one.ok(command).await;
        other.append("INBOX", "", &message(5)).await;
        other.ok("STORE 1 -FLAGS (\\Seen)").await;
        other.ok("STORE 1 +FLAGS (\\Seen)").await;
        hears_nothing(&mut one).await;
    }
    one.ok("STORE 2 +FLAGS.SILENT (\\Deleted)").await;
    let answer = one.ok("EXPUNGE").await;
    assert!(answer.untagged.contains(&"2 EXPUNGE".to_owned()), "{answer:?}");
}

#[tokio::test]
async fn a_delayed_expunge_waits_for_a_command_that_allows_it() {
    let house = House::new().await;
    let (mut one, mut other) = (house.select().await, house.select().await);
    fill(&mut other, 3).await;
    one.ok(&format!("NOTIFY SET (selected-delayed ({NEW} FlagChange))")).await;
    other.ok("STORE 1 +FLAGS.SILENT (\\Deleted)").await;
    other.ok("EXPUNGE").await;
    other.append("INBOX", "", &message(4)).await;
    let mut told = Vec::new();
    while !told.contains(&"4 EXISTS".to_owned()) {
        told.push(one.hears().await);
    }
    assert!(!told.iter().any(|line| line.contains("EXPUNGE")), "{told:?}");
    let answer = one.command("FETCH 2 UID").await;
    assert_eq!(answer.with("FETCH (UID"), ["2 FETCH (UID 2)"]);
    let answer = one.ok("NOOP").await;
    assert!(answer.untagged.contains(&"1 EXPUNGE".to_owned()), "{answer:?}");
    // Without the delay, and by UID.
    one.ok("ENABLE QRESYNC").await;
    one.ok(&format!("NOTIFY SET (selected ({NEW}))")).await;
    other.ok("NOOP").await;
    other.ok("STORE 1 +FLAGS.SILENT (\\Deleted)").await;
    other.ok("EXPUNGE").await;
    assert_eq!(one.hears().await, "VANISHED 2");
}

#[tokio::test]
async fn other_mailboxes_tell_how_they_stand() {
    let house = House::new().await;
    let (mut one, mut other) = (house.select().await, house.connect());
    other.ok("CREATE Lists/a").await;
    other.ok("CREATE Lists/b").await;
    other.ok("CREATE elsewhere").await;
    let answer = one.ok(&format!("NOTIFY SET STATUS (selected NONE) (subtree Lists ({NEW} FlagChange))")).await;
    let told = answer.with("STATUS");
    assert_eq!(told.len(), 2, "{answer:?}");
    assert!(told[0].starts_with("STATUS Lists/a (MESSAGES 0 UIDNEXT 1 UIDVALIDITY "), "{told:?}");
    assert!(told[0].contains(" UNSEEN 0 HIGHESTMODSEQ "), "{told:?}");
    other.append("elsewhere", "", &message(1)).await;
    other.append("Lists/b", "", &message(1)).await;
    let told = one.hears().await;
    assert!(told.starts_with("STATUS Lists/b (MESSAGES 1 UIDNEXT 2 UIDVALIDITY "), "{told}");
    assert!(told.ends_with(" UNSEEN 1)"), "{told}");
    other.ok("SELECT Lists/b").await;
    other.ok("STORE 1 +FLAGS (\\Seen)").await;
    assert!(one.hears().await.ends_with(" UNSEEN 0)"));
    // Whoever knows no modification sequences hears nothing of other flags.
    other.ok("STORE 1 +FLAGS (\\Flagged)").await;
    hears_nothing(&mut one).await;
    one.ok("ENABLE CONDSTORE").await;
    other.ok("STORE 1 +FLAGS (\\Deleted)").await;
    assert!(one.hears().await.contains(" UNSEEN 0 HIGHESTMODSEQ "));
    other.ok("EXPUNGE").await;
    assert!(one.hears().await.starts_with("STATUS Lists/b (MESSAGES 0 UIDNEXT 2 "));
    // What the client does itself it is not told.
    let answer = one.append("Lists/a", "", &message(2)).await;
    assert!(answer.untagged.is_empty(), "{answer:?}");
    hears_nothing(&mut one).await;
    // Not of the mailbox that is open, and of a new one as soon as there is something in it.
    one.ok("SELECT Lists/b").await;
    other.append("Lists/b", "", &message(3)).await;
    hears_nothing(&mut one).await;
    other.ok("CREATE Lists/b/new").await;
    other.append("Lists/b/new", "", &message(3)).await;
    assert!(one.hears().await.starts_with("STATUS Lists/b/new (MESSAGES 1 "));
}

#[tokio::test]
async fn names_come_and_go() {
    let house = House::new().await;
    let (mut one, mut other) = (house.connect(), house.connect());
    other.ok("CREATE a").await;
    one.ok("NOTIFY SET (personal (MailboxName SubscriptionChange))").await;
    other.ok("CREATE a/b").await;
    // Its parent is affected, too.
    assert_eq!(one.hears().await, "LIST (\\HasChildren) \"/\" a");
    assert_eq!(one.hears().await, "LIST (\\HasNoChildren) \"/\" a/b");
    other.ok("SUBSCRIBE a/b").await;
    assert_eq!(one.hears().await, "LIST (\\HasNoChildren \\Subscribed) \"/\" a/b");
    other.ok("RENAME a c").await;
    assert_eq!(one.hears().await, "LIST (\\HasChildren) \"/\" c (\"OLDNAME\" (a))");
    other.ok("DELETE c").await;
    assert_eq!(one.hears().await, "LIST (\\Noselect \\HasChildren) \"/\" c");
    other.ok("DELETE c/b").await;
    assert_eq!(one.hears().await, "LIST (\\NonExistent) \"/\" c");
    assert_eq!(one.hears().await, "LIST (\\NonExistent) \"/\" c/b");
    other.ok("UNSUBSCRIBE a/b").await;
    assert_eq!(one.hears().await, "LIST (\\NonExistent) \"/\" a/b");
    // What the client does itself it is not told.
    for command in ["CREATE x/y", "SUBSCRIBE x", "RENAME x/y x/z", "DELETE x/z", "UNSUBSCRIBE x", "RENAME INBOX old"] {
        assert_eq!(one.ok(command).await.with("LIST"), [""; 0], "{command}");
    }
    hears_nothing(&mut one).await;
    other.ok("SUBSCRIBE y").await;
    assert_eq!(one.hears().await, "LIST (\\NonExistent \\Subscribed) \"/\" y");
}

#[tokio::test]
async fn subscribed_mailboxes_are_those_that_are_subscribed_now() {
    let house = House::new().await;
    let (mut one, mut other) = (house.connect(), house.connect());
    other.ok("CREATE a").await;
    one.ok(&format!("NOTIFY SET (subscribed ({NEW})) (mailboxes (b nowhere) ({NEW}))")).await;
    other.append("a", "", &message(1)).await;
    hears_nothing(&mut one).await;
    other.ok("SUBSCRIBE a").await;
    other.append("a", "", &message(2)).await;
    while !one.hears().await.starts_with("STATUS a (MESSAGES 2 ") {}
    other.ok("UNSUBSCRIBE a").await;
    other.append("a", "", &message(3)).await;
    other.ok("CREATE b").await;
    other.append("b", "", &message(1)).await;
    assert!(one.hears().await.starts_with("STATUS b (MESSAGES 1 "));
}

#[tokio::test]
async fn entries_that_change_are_named() {
    let house = House::new().await;
    let (mut one, mut other) = (house.connect(), house.connect());
    other.ok("SETMETADATA INBOX (/private/comment \"x\")").await;
    one.ok("NOTIFY SET (personal (MailboxMetadataChange)) (inboxes (ServerMetadataChange))").await;
    other.ok("SETMETADATA INBOX (/shared/comment \"a\" /private/comment NIL)").await;
    assert_eq!(one.hears().await, "METADATA INBOX /private/comment /shared/comment");
    other.ok("SETMETADATA \"\" (/private/color \"red\")").await;
    assert_eq!(one.hears().await, "METADATA \"\" /private/color");
    one.ok("SETMETADATA INBOX (/shared/comment \"b\")").await;
    one.ok("SETMETADATA \"\" (/private/color NIL)").await;
    hears_nothing(&mut one).await;
    other.ok("SETMETADATA INBOX (/shared/comment \"c\")").await;
    assert_eq!(one.hears().await, "METADATA INBOX /shared/comment");
}

#[tokio::test]
async fn shared_mailboxes_as_far_as_the_rights_reach() {
    let house = House::new().await;
    house.neighbours.0.lock().unwrap().push(house.mail.account().clone());
    let bob = Account { address: "bob@example.edu".parse().unwrap(), ..account(None) };
    house.neighbours.0.lock().unwrap().push(bob.clone());
    let bob = house.mail.store().create_account(&bob).await.unwrap();
    let (mut ana, mut bob) = (house.connect(), house.connect_to(&bob));
    let team = "\"Other users/ana@example.edu/team\"";
    ana.ok("CREATE team").await;
    bob.ok(&format!("NOTIFY SET (subtree \"Other users\" ({NEW} MailboxName))")).await;
    ana.append("team", "", &message(1)).await;
    hears_nothing(&mut bob).await;
    ana.ok("SETACL team bob@example.edu lr").await;
    assert_eq!(bob.hears().await, "LIST (\\Noselect \\HasChildren) \"/\" \"Other users/ana@example.edu\"");
    assert_eq!(bob.hears().await, format!("LIST (\\HasNoChildren) \"/\" {team}"));
    assert!(bob.hears().await.starts_with(&format!("STATUS {team} (MESSAGES 1 ")));
    ana.append("team", "", &message(2)).await;
    assert!(bob.hears().await.starts_with(&format!("STATUS {team} (MESSAGES 2 ")));
    // Known of, and not to be looked into.
    ana.ok("SETACL team bob@example.edu l").await;
    assert_eq!(bob.hears().await, format!("LIST (\\HasNoChildren \\NoAccess) \"/\" {team}"));
    ana.append("team", "", &message(3)).await;
    hears_nothing(&mut bob).await;
    let answer = bob.ok(&format!("NOTIFY SET (mailboxes {team} ({NEW}))")).await;
    assert_eq!(answer.untagged, [format!("LIST (\\HasNoChildren \\NoAccess) \"/\" {team}")]);
    ana.ok("SETACL team bob@example.edu lr").await;
    assert_eq!(bob.hears().await, format!("LIST (\\HasNoChildren) \"/\" {team}"));
    ana.ok("DELETEACL team bob@example.edu").await;
    assert_eq!(bob.hears().await, format!("LIST (\\NoAccess) \"/\" {team}"));
}

#[tokio::test]
async fn refusals() {
    let house = House::new().await;
    let mut client = house.connect();
    client.fails("NOTIFY SET (selected (MessageNew))", "BAD").await;
    client.fails("NOTIFY SET (selected (MailboxName))", "BAD").await;
    client.fails("NOTIFY SET (personal (AnnotationChange))", "NO [BADEVENT (MessageNew ").await;
    // Names that lead nowhere are passed over.
    client.ok(&format!("NOTIFY SET STATUS (mailboxes (nowhere a//b \"*\") ({NEW}))")).await;
    client.ok("NOTIFY NONE").await;
}

#[tokio::test]
async fn what_an_account_shared_goes_with_it_to_another_store_group() {
    let house = House::new().await;
    house.neighbours.0.lock().unwrap().push(house.mail.account().clone());
    let bob = Account { address: "bob@example.edu".parse().unwrap(), ..account(None) };
    house.neighbours.0.lock().unwrap().push(bob.clone());
    let bob = house.mail.store().create_account(&bob).await.unwrap();
    let (mut ana, mut bob, mut again) = (house.connect(), house.connect_to(&bob), house.connect_to(&bob));
    let team = "\"Other users/ana@example.edu/team\"";
    ana.ok("CREATE team").await;
    ana.ok("SETACL team bob@example.edu lr").await;
    let begun = bob.ok(&format!("NOTIFY SET STATUS (subtree \"Other users\" ({NEW} MailboxName))")).await;
    assert_eq!(begun.with("STATUS").len(), 1, "{begun:?}");
    let leaving = house.mail.store().leaving(house.mail.account().id, "one".to_owned());
    leaving.freeze().await.unwrap();
    // Nothing more can be had of it, and all that lists says so.
    assert_eq!(bob.hears().await, "LIST (\\NonExistent) \"/\" \"Other users/ana@example.edu\"");
    assert_eq!(bob.hears().await, format!("LIST (\\NonExistent) \"/\" {team}"));
    for round in 0..2 {
        assert_eq!(again.ok("LIST \"\" \"Other users/*\"").await.untagged, [""; 0], "{round}");
        again.fails(&format!("SELECT {team}"), "NO [NONEXISTENT]").await;
        let begun = again.ok(&format!("NOTIFY SET STATUS (subtree \"Other users\" ({NEW} MailboxName))")).await;
        assert_eq!(begun.untagged, [""; 0]);
        leaving.go().await.unwrap();
    }
}

#[tokio::test]
async fn what_an_account_shares_is_there_again_when_it_stays() {
    let house = House::new().await;
    house.neighbours.0.lock().unwrap().push(house.mail.account().clone());
    let bob = Account { address: "bob@example.edu".parse().unwrap(), ..account(None) };
    house.neighbours.0.lock().unwrap().push(bob.clone());
    let bob = house.mail.store().create_account(&bob).await.unwrap();
    let (mut ana, mut bob) = (house.connect(), house.connect_to(&bob));
    ana.ok("CREATE team").await;
    ana.ok("SETACL team bob@example.edu lr").await;
    bob.ok(&format!("NOTIFY SET (subtree \"Other users\" ({NEW} MailboxName))")).await;
    let id = house.mail.account().id;
    house.mail.store().leaving(id, "one".to_owned()).freeze().await.unwrap();
    while !bob.hears().await.ends_with("/team\"") {}
    assert!(house.mail.store().stay(id).await.unwrap());
    assert_eq!(bob.hears().await, "LIST (\\Noselect \\HasChildren) \"/\" \"Other users/ana@example.edu\"");
    assert_eq!(bob.hears().await, "LIST (\\HasNoChildren) \"/\" \"Other users/ana@example.edu/team\"");
}

#[tokio::test]
async fn a_new_name_is_no_change_of_entries() {
    let house = House::new().await;
    let (mut one, mut other) = (house.connect(), house.connect());
    for name in ["a", "b"] {
        other.ok(&format!("CREATE {name}")).await;
        other.ok(&format!("SETMETADATA {name} (/private/comment \"x\" /shared/comment \"y\")")).await;
    }
    for groups in ["(personal (MailboxMetadataChange))", "(subtree new (MailboxMetadataChange))"] {
        one.ok(&format!("NOTIFY SET {groups}")).await;
        other.ok("RENAME a new/a").await;
        hears_nothing(&mut one).await;
        one.ok("RENAME b new/b").await;
        hears_nothing(&mut one).await;
        // What changes under the new name is told.
        other.ok("SETMETADATA new/a (/private/comment \"z\")").await;
        assert_eq!(one.hears().await, "METADATA new/a /private/comment", "{groups}");
        other.ok("SETMETADATA new/a (/private/comment \"x\")").await;
        assert_eq!(one.hears().await, "METADATA new/a /private/comment", "{groups}");
        other.ok("RENAME new/a a").await;
        other.ok("RENAME new/b b").await;
        hears_nothing(&mut one).await;
    }
    one.ok("NOTIFY SET (subscribed (MailboxMetadataChange))").await;
    other.ok("SUBSCRIBE a").await;
    hears_nothing(&mut one).await;
}
