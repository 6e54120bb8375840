//! Names: LIST, LSUB, STATUS, CREATE, DELETE, RENAME, SUBSCRIBE.

use super::*;

#[tokio::test]
async fn special_folders_exist() {
    let house = House::new().await;
    let mut client = house.connect();
    assert_eq!(
        client.ok("LIST \"\" *").await.untagged,
        [
            "LIST (\\HasNoChildren \\Archive) \"/\" Archive",
            "LIST (\\HasNoChildren \\Drafts) \"/\" Drafts",
            "LIST (\\HasNoChildren) \"/\" INBOX",
            "LIST (\\HasNoChildren \\Junk) \"/\" Junk",
            "LIST (\\HasNoChildren \\Sent) \"/\" Sent",
            "LIST (\\HasNoChildren \\Trash) \"/\" Trash",
        ]
    );
    assert_eq!(client.ok("LIST (SPECIAL-USE) \"\" *").await.untagged.len(), 5);
    assert_eq!(client.ok("LIST \"\" \"\"").await.untagged, ["LIST (\\Noselect) \"/\" \"\""]);
    assert_eq!(client.ok("LIST \"\" iNbOx").await.untagged, ["LIST (\\HasNoChildren) \"/\" INBOX"]);
    assert_eq!(client.ok("LSUB \"\" *").await.untagged.len(), 6);
}

#[tokio::test]
async fn names_and_levels() {
    let house = House::new().await;
    let mut client = house.connect();
    client.ok("CREATE \"a/Entw&APw-rfe/c\"").await;
    client.fails("CREATE a/Entw&APw-rfe/c", "NO [ALREADYEXISTS]").await;
    client.fails("CREATE INBOX", "NO [ALREADYEXISTS]").await;
    client.fails("CREATE \"x*\"", "NO [CANNOT]").await;
    client.fails("CREATE a//b", "NO [CANNOT]").await;
    assert_eq!(
        client.ok("LIST a/ *").await.untagged,
        ["LIST (\\Noselect \\HasChildren) \"/\" a/Entw&APw-rfe", "LIST (\\HasNoChildren) \"/\" a/Entw&APw-rfe/c",]
    );
    client.fails("SELECT a", "NO [CANNOT]").await;
    client.fails("STATUS a (MESSAGES)", "NO [CANNOT]").await;
    client.ok("CREATE a/").await;
    client.ok("SELECT a").await;
    client.ok("RENAME a b").await;
    assert_eq!(client.ok("LIST \"\" (a* b*)").await.untagged.len(), 3);
    client.fails("RENAME a c", "NO [NONEXISTENT]").await;
    client.fails("RENAME b b/c", "NO [CANNOT]").await;
    client.ok("DELETE b").await;
    client.fails("CHECK", "BAD No mailbox selected").await;
    assert_eq!(client.ok("LIST \"\" b").await.untagged, ["LIST (\\Noselect \\HasChildren) \"/\" b"]);
    client.fails("DELETE INBOX", "NO [CANNOT]").await;
    client.fails("DELETE nowhere", "NO [NONEXISTENT]").await;
}

#[tokio::test]
async fn subscriptions() {
    let house = House::new().await;
    let mut client = house.connect();
    client.ok("UNSUBSCRIBE Trash").await;
    client.ok("UNSUBSCRIBE Trash").await;
    client.ok("SUBSCRIBE x/y").await;
    client.ok("SUBSCRIBE x/y").await;
    assert_eq!(client.ok("LSUB \"\" x/*").await.untagged, ["LSUB (\\Noselect) \"/\" x/y"]);
    assert_eq!(client.ok("LSUB \"\" %").await.with(" x"), ["LSUB (\\Noselect) \"/\" x"]);
    assert!(client.ok("LSUB \"\" *").await.with("Trash").is_empty());
    assert_eq!(
        client.ok("LIST (SUBSCRIBED) \"\" (Sent x/*)").await.untagged,
        ["LIST (\\HasNoChildren \\Sent \\Subscribed) \"/\" Sent", "LIST (\\NonExistent \\Subscribed) \"/\" x/y"]
    );
    assert_eq!(
        client.ok("LIST (SUBSCRIBED RECURSIVEMATCH) \"\" x").await.untagged,
        ["LIST (\\NonExistent) \"/\" x (\"CHILDINFO\" (\"SUBSCRIBED\"))"]
    );
    assert_eq!(
        client.ok("LIST \"\" (Trash Sent) RETURN (SUBSCRIBED)").await.untagged,
        ["LIST (\\HasNoChildren \\Sent \\Subscribed) \"/\" Sent", "LIST (\\HasNoChildren \\Trash) \"/\" Trash"]
    );
    // A subscription outlives its mailbox (RFC 3501 §6.3.9).
    client.ok("DELETE Sent").await;
    assert_eq!(client.ok("LSUB \"\" Sent").await.untagged, ["LSUB (\\Noselect) \"/\" Sent"]);
}

#[tokio::test]
async fn status() {
    let house = House::new().await;
    let mut client = house.connect();
    fill(&mut client, 2).await;
    client.append("INBOX", "(\\Seen)", &message(3)).await;
    let answer = client.ok("STATUS INBOX (MESSAGES RECENT UIDNEXT UIDVALIDITY UNSEEN)").await;
    assert!(answer.untagged[0].starts_with("STATUS INBOX (MESSAGES 3 RECENT 3 UIDNEXT 4 UIDVALIDITY "), "{answer:?}");
    assert!(answer.untagged[0].ends_with(" UNSEEN 2)"), "{answer:?}");
    client.fails("STATUS nowhere (MESSAGES)", "NO [NONEXISTENT]").await;
    assert_eq!(
        client.ok("LIST \"\" (INBOX Sent) RETURN (STATUS (MESSAGES))").await.untagged,
        [
            "LIST (\\HasNoChildren) \"/\" INBOX",
            "STATUS INBOX (MESSAGES 3)",
            "LIST (\\HasNoChildren \\Sent) \"/\" Sent",
            "STATUS Sent (MESSAGES 0)",
        ]
    );
}

#[tokio::test]
async fn mailboxes_are_made_for_a_use() {
    let house = House::new().await;
    let mut client = house.connect();
    // Each use has its mailbox from the beginning.
    client.fails("CREATE Old (USE (\\Drafts))", "NO [USEATTR]").await;
    client.ok("DELETE Drafts").await;
    client.ok("CREATE Old (USE (\\drafts))").await;
    let answer = client.ok("LIST (SPECIAL-USE) \"\" *").await;
    assert_eq!(answer.with("\\Drafts"), ["LIST (\\HasNoChildren \\Drafts) \"/\" Old"]);
    client.fails("CREATE a (USE (\\All))", "NO [USEATTR]").await;
    client.fails("CREATE a (USE (\\Sent \\Trash))", "NO [USEATTR]").await;
    client.fails("CREATE a (FOO)", "BAD").await;
    assert!(client.ok("LIST \"\" a").await.untagged.is_empty());
    client.ok("CREATE a (USE ())").await;
}
