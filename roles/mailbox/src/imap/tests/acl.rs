//! Mailboxes that accounts share, and what each may do with them (RFC 4314, RFC 8440).

use super::*;

impl House {
    /// Another account's mail in the same store.
    async fn neighbour(&self, name: &str) -> AccountMail {
        let account = Account { address: format!("{name}@example.edu").parse().unwrap(), ..account(None) };
        self.neighbours.0.lock().unwrap().push(account.clone());
        self.mail.store().create_account(&account).await.unwrap()
    }

    /// A house with a mailbox `team` of ana's, and a client of ana's and of bob's.
    async fn shared() -> (Self, Client, Client) {
        let house = Self::new().await;
        house.neighbours.0.lock().unwrap().push(house.mail.account().clone());
        let bob = house.neighbour("bob").await;
        let (mut ana, bob) = (house.connect(), house.connect_to(&bob));
        ana.ok("CREATE team").await;
        ana.append("team", "(\\Flagged)", &message(1)).await;
        ana.append("team", "", &message(2)).await;
        (house, ana, bob)
    }
}

/// As bob knows it.
const TEAM: &str = "\"Other users/ana@example.edu/team\"";

#[tokio::test]
async fn what_is_not_shared_is_not_there() {
    let (_house, mut ana, mut bob) = House::shared().await;
    for command in ["SELECT", "STATUS", "GETACL", "MYRIGHTS", "DELETE", "GETQUOTAROOT"] {
        let items = if command == "STATUS" { " (MESSAGES)" } else { "" };
        bob.fails(&format!("{command} {TEAM}{items}"), "NO [NONEXISTENT]").await;
    }
    // Nor after something else of ana's is shared.
    ana.ok("SETACL Sent bob@example.edu lr").await;
    for command in ["SELECT", "GETACL", "MYRIGHTS", "DELETE"] {
        bob.fails(&format!("{command} {TEAM}"), "NO [NONEXISTENT]").await;
    }
    bob.fails(&format!("APPEND {TEAM} {{3+}}\r\nabc"), "NO [NONEXISTENT]").await;
    assert_eq!(bob.ok("LIST \"\" *team").await.untagged, [""; 0]);
    bob.fails("SELECT \"Other users\"", "NO [CANNOT]").await;
    bob.fails("CREATE \"Other users/x\"", "NO [CANNOT]").await;
    bob.fails("CREATE \"Other users/ana@example.edu/new\"", "NO [NOPERM]").await;
}

#[tokio::test]
async fn identifiers_and_rights() {
    let (house, mut ana, mut bob) = House::shared().await;
    let far =
        Account { address: "eva@example.edu".parse().unwrap(), store_group: "h".parse().unwrap(), ..account(None) };
    house.neighbours.0.lock().unwrap().push(far);
    assert_eq!(ana.ok("GETACL team").await.untagged, ["ACL team ana@example.edu lrswipkxteacd"]);
    assert_eq!(ana.ok("MYRIGHTS INBOX").await.untagged, ["MYRIGHTS INBOX lrswipkxteacd"]);
    ana.ok("SETACL team BOB@example.edu lrx").await;
    ana.ok("SETACL team bob@example.edu +te").await;
    ana.ok("SETACL team bob@example.edu -x").await;
    ana.ok("SETACL team anyone lrw").await;
    ana.ok("SETACL team -bob@example.edu w").await;
    assert_eq!(
        ana.ok("GETACL team").await.untagged,
        ["ACL team ana@example.edu lrswipkxteacd anyone lrw bob@example.edu lrted -bob@example.edu w"]
    );
    assert_eq!(bob.ok(&format!("MYRIGHTS {TEAM}")).await.untagged, [format!("MYRIGHTS {TEAM} lrted")]);
    bob.fails(&format!("GETACL {TEAM}"), "NO [NOPERM]").await;
    bob.fails(&format!("SETACL {TEAM} bob@example.edu +a"), "NO [NOPERM]").await;
    ana.ok("DELETEACL team -bob@example.edu").await;
    assert_eq!(bob.ok(&format!("MYRIGHTS {TEAM}")).await.untagged, [format!("MYRIGHTS {TEAM} lrwted")]);
    // Who administers gives rights to others.
    ana.ok("SETACL team bob@example.edu +a").await;
    bob.ok(&format!("SETACL {TEAM} anyone \"\"")).await;
    assert_eq!(ana.ok("GETACL team").await.untagged, ["ACL team ana@example.edu lrswipkxteacd bob@example.edu lrtead"]);
    assert_eq!(
        ana.ok("LISTRIGHTS team bob@example.edu").await.untagged,
        ["LISTRIGHTS team bob@example.edu \"\" l r s w i p k x t e a c d"]
    );
    assert_eq!(
        ana.ok("LISTRIGHTS team ana@example.edu").await.untagged,
        ["LISTRIGHTS team ana@example.edu lrswipkxteacd"]
    );
    ana.fails("SETACL team bob@example.edu lrq", "BAD").await;
    ana.fails("SETACL team ana@example.edu r", "NO [CANNOT]").await;
    ana.fails("SETACL team nobody@example.edu r", "NO [CANNOT]").await;
    ana.fails("SETACL team bob r", "NO [CANNOT]").await;
    ana.fails("SETACL nowhere anyone r", "NO [NONEXISTENT]").await;
    let refused = ana.command("SETACL team eva@example.edu r").await.completion;
    assert!(refused.starts_with("NO [NOPERM]") && refused.contains("estafeta account move"), "{refused}");
}

#[tokio::test]
async fn an_address_that_another_has_now_inherits_nothing() {
    let (house, mut ana, _) = House::shared().await;
    ana.ok("SETACL team bob@example.edu lr").await;
    let second = house.neighbour("bob").await;
    house.connect_to(&second).fails(&format!("SELECT {TEAM}"), "NO [NONEXISTENT]").await;
}

#[tokio::test]
async fn lists_name_what_may_be_known() {
    let (_house, mut ana, mut bob) = House::shared().await;
    ana.ok("CREATE team/plans").await;
    ana.ok("SETACL team/plans bob@example.edu lr").await;
    ana.ok("SETACL Drafts bob@example.edu r").await;
    let other = "\"Other users/ana@example.edu";
    assert_eq!(
        bob.ok("LIST \"\" \"Other*\" RETURN (MYRIGHTS STATUS (MESSAGES))").await.untagged,
        [
            "LIST (\\Noselect \\HasChildren) \"/\" \"Other users\"".to_owned(),
            format!("LIST (\\Noselect \\HasChildren) \"/\" {other}\""),
            format!("LIST (\\Noselect \\HasChildren) \"/\" {other}/team\""),
            format!("LIST (\\HasNoChildren) \"/\" {other}/team/plans\""),
            format!("STATUS {other}/team/plans\" (MESSAGES 0)"),
            format!("MYRIGHTS {other}/team/plans\" lr"),
        ]
    );
    assert_eq!(bob.ok("LIST \"\" INBOX RETURN (MYRIGHTS)").await.with("MYRIGHTS"), ["MYRIGHTS INBOX lrswipkxteacd"]);
    // What may not be listed may still be read, by who knows of it.
    bob.ok("SELECT \"Other users/ana@example.edu/Drafts\"").await;
    bob.ok(&format!("SUBSCRIBE {other}/team/plans\"")).await;
    assert_eq!(
        bob.ok("LIST (SUBSCRIBED) \"\" \"Other*\"").await.untagged,
        [format!("LIST (\\HasNoChildren \\Subscribed) \"/\" {other}/team/plans\"")]
    );
    // A mailbox that is made begins with the rights of the one above it.
    ana.ok("CREATE team/plans/2027").await;
    assert_eq!(
        bob.ok("LIST \"\" *2027").await.untagged,
        [format!("LIST (\\HasNoChildren) \"/\" {other}/team/plans/2027\"")]
    );
}

#[tokio::test]
async fn reading_changes_nothing() {
    let (_house, mut ana, mut bob) = House::shared().await;
    ana.ok("SETACL team bob@example.edu lr").await;
    let answer = bob.ok(&format!("SELECT {TEAM}")).await;
    assert_eq!(answer.completion, "OK [READ-ONLY] SELECT completed");
    assert_eq!(answer.with("PERMANENTFLAGS"), ["OK [PERMANENTFLAGS ()] Flags that can be changed"]);
    assert_eq!(bob.ok("FETCH 1 (FLAGS BODY[TEXT])").await.with("\\Seen"), [""; 0]);
    assert_eq!(bob.ok("SEARCH FLAGGED").await.untagged, ["SEARCH 1"]);
    for command in ["STORE 1 +FLAGS (\\Seen)", "EXPUNGE", "MOVE 1 INBOX"] {
        bob.fails(command, "NO").await;
    }
    bob.fails(&format!("APPEND {TEAM} {{3+}}\r\nabc"), "NO [NOPERM]").await;
    bob.fails(&format!("COPY 1 {TEAM}"), "NO [NOPERM]").await;
    bob.fails(&format!("DELETE {TEAM}"), "NO [NOPERM]").await;
    bob.fails(&format!("RENAME {TEAM} \"Other users/ana@example.edu/x\""), "NO [NOPERM]").await;
    bob.ok("COPY 1 INBOX").await;
    bob.ok(&format!("SETMETADATA {TEAM} (/private/comment \"bob's\")")).await;
    bob.fails(&format!("SETMETADATA {TEAM} (/shared/comment \"x\")"), "NO [NOPERM]").await;
    assert_eq!(ana.ok("GETMETADATA team /private/comment").await.untagged, ["METADATA team (/private/comment NIL)"]);
    // It ends with the right.
    ana.ok("DELETEACL team bob@example.edu").await;
    bob.send("x NOOP\r\n").await;
    assert_eq!(bob.response().await.unwrap(), "* BYE [UNAVAILABLE] The selected mailbox is no longer shared with you");
}

/// RFC 5464 §3.3.
#[tokio::test]
async fn entries_by_rights() {
    let (_house, mut ana, mut bob) = House::shared().await;
    ana.ok("SETMETADATA team (/shared/comment \"ana's\")").await;
    let get = format!("GETMETADATA {TEAM} /shared/comment");
    let set = |scope: &str| format!("SETMETADATA {TEAM} (/{scope}/comment \"bob's\")");
    for rights in ["lr", "ls", "li", "lp", "lw"] {
        ana.ok(&format!("SETACL team bob@example.edu {rights}")).await;
        assert_eq!(bob.ok(&get).await.untagged, [format!("METADATA {TEAM} (/shared/comment \"ana's\")")], "{rights}");
        bob.ok(&set("private")).await;
        if rights != "lw" {
            bob.fails(&set("shared"), "NO [NOPERM]").await;
        }
    }
    bob.ok(&set("shared")).await;
    assert_eq!(ana.ok("GETMETADATA team /shared/comment").await.with("bob's").len(), 1);
    for (rights, code) in [("lkxtea", "NO [NOPERM]"), ("rswip", "NO [NONEXISTENT]")] {
        ana.ok(&format!("SETACL team bob@example.edu {rights}")).await;
        for command in [&get, &set("private"), &set("shared")] {
            bob.fails(command, code).await;
        }
    }
}

#[tokio::test]
async fn flags_by_rights() {
    let (_house, mut ana, mut bob) = House::shared().await;
    ana.ok("SETACL team bob@example.edu lrsi").await;
    let answer = bob.ok(&format!("SELECT {TEAM}")).await;
    assert_eq!(answer.with("PERMANENTFLAGS"), ["OK [PERMANENTFLAGS (\\Seen)] Flags that can be changed"]);
    assert!(answer.completion.starts_with("OK [READ-WRITE]"));
    bob.fails("STORE 1 +FLAGS (\\Deleted)", "NO [NOPERM]").await;
    bob.fails("STORE 1 -FLAGS (\\Flagged work)", "NO [NOPERM]").await;
    // What may not be changed stays, \\Flagged here.
    let stored = bob.ok("STORE 1 FLAGS (\\Seen \\Deleted)").await;
    assert!(stored.untagged[0].contains("\\Flagged") && stored.untagged[0].contains("\\Seen"), "{stored:?}");
    assert!(!stored.untagged[0].contains("\\Deleted"), "{stored:?}");
    assert_eq!(bob.ok("FETCH 2 BODY[TEXT]").await.with("\\Seen").len(), 1);
    bob.append(TEAM, "(\\Seen \\Flagged work)", &message(3)).await;
    assert_eq!(ana.ok("SELECT team").await.with("EXISTS"), ["3 EXISTS"]);
    assert_eq!(ana.ok("FETCH 3 FLAGS").await.with("FLAGS (\\Seen").len(), 1);
    // A copy keeps what may be set there.
    ana.ok("SELECT team").await;
    bob.ok("SELECT INBOX").await;
    bob.append("INBOX", "(\\Answered \\Seen x)", &message(4)).await;
    bob.ok(&format!("COPY 1 {TEAM}")).await;
    ana.ok("NOOP").await;
    let copied = ana.ok("FETCH 4 FLAGS").await;
    assert!(copied.untagged[0].contains("\\Seen") && !copied.untagged[0].contains("Answered"), "{copied:?}");
    assert!(!copied.untagged[0].contains(" x"), "{copied:?}");
}

#[tokio::test]
async fn deleting_takes_three_rights() {
    let (_house, mut ana, mut bob) = House::shared().await;
    ana.ok("SETACL team bob@example.edu lrt").await;
    bob.ok(&format!("SELECT {TEAM}")).await;
    bob.ok("STORE 1 +FLAGS (\\Deleted)").await;
    bob.fails("EXPUNGE", "NO [NOPERM]").await;
    bob.fails("MOVE 1 INBOX", "NO [NOPERM]").await;
    bob.ok("CLOSE").await;
    assert_eq!(ana.ok("STATUS team (MESSAGES)").await.untagged, ["STATUS team (MESSAGES 2)"]);
    ana.ok("SETACL team bob@example.edu +e").await;
    bob.ok(&format!("SELECT {TEAM}")).await;
    bob.ok("MOVE 2 INBOX").await;
    bob.ok("CLOSE").await;
    assert_eq!(ana.ok("STATUS team (MESSAGES)").await.untagged, ["STATUS team (MESSAGES 0)"]);
    bob.fails(&format!("DELETE {TEAM}"), "NO [NOPERM]").await;
    ana.ok("SETACL team bob@example.edu +kx").await;
    bob.ok("CREATE \"Other users/ana@example.edu/team/new\"").await;
    bob.fails("CREATE \"Other users/ana@example.edu/top\"", "NO [NOPERM]").await;
    bob.ok("RENAME \"Other users/ana@example.edu/team/new\" \"Other users/ana@example.edu/team/old\"").await;
    bob.fails("RENAME \"Other users/ana@example.edu/team/old\" mine", "NO [CANNOT]").await;
    bob.ok("DELETE \"Other users/ana@example.edu/team/old\"").await;
    assert_eq!(ana.ok("LIST \"\" team/*").await.untagged, [""; 0]);
}

#[tokio::test]
async fn what_comes_in_counts_against_the_owner() {
    let directory = tempfile::tempdir().unwrap();
    let owner = Account { quota_messages: Some(1), ..account(None) };
    let mail = open(directory.path()).await.create_account(&owner).await.unwrap();
    let house = House { mail, neighbours: Arc::default(), drain: Drain::new(), _directory: directory };
    house.neighbours.0.lock().unwrap().push(owner);
    let bob = house.neighbour("bob").await;
    let (mut ana, mut bob) = (house.connect(), house.connect_to(&bob));
    ana.ok("SETACL INBOX bob@example.edu lrite").await;
    let inbox = "\"Other users/ana@example.edu/INBOX\"";
    bob.append(inbox, "", &message(1)).await;
    bob.fails(&format!("APPEND {inbox} {{3+}}\r\nabc"), "NO [OVERQUOTA]").await;
    bob.append("INBOX", "", &message(2)).await;
    bob.ok("SELECT INBOX").await;
    bob.fails(&format!("COPY 1 {inbox}"), "NO [OVERQUOTA]").await;
    bob.fails(&format!("MOVE 1 {inbox}"), "NO [OVERQUOTA]").await;
    // The second is the warning, for which there is always room.
    assert_eq!(
        bob.ok(&format!("GETQUOTAROOT {inbox}")).await.untagged,
        [format!("QUOTAROOT {inbox} ana@example.edu"), "QUOTA ana@example.edu (MESSAGE 2 1)".to_owned()]
    );
    assert_eq!(bob.ok("GETQUOTA ana@example.edu").await.untagged, ["QUOTA ana@example.edu (MESSAGE 2 1)"]);
}

#[tokio::test]
async fn who_shares_hears_of_the_other() {
    let (_house, mut ana, mut bob) = House::shared().await;
    ana.ok("SETACL team bob@example.edu lrs").await;
    ana.ok("SELECT team").await;
    bob.ok(&format!("SELECT {TEAM}")).await;
    let tag = ana.begin("IDLE").await;
    assert_eq!(ana.response().await.unwrap(), "+ idling");
    bob.ok("STORE 2 +FLAGS (\\Seen)").await;
    assert!(ana.response().await.unwrap().starts_with("* 2 FETCH (FLAGS (\\Seen"));
    ana.send("DONE\r\n").await;
    ana.end(&tag).await;
}
