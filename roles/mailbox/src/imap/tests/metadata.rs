//! GETMETADATA, SETMETADATA (RFC 5464) and LIST with METADATA (RFC 9590).

use super::*;

#[tokio::test]
async fn entries_come_back_as_they_were_set() {
    let house = House::new().await;
    let mut client = house.connect();
    let missing = client.ok("GETMETADATA INBOX (/private/comment /shared/comment)").await;
    assert_eq!(missing.untagged, ["METADATA INBOX (/private/comment NIL /shared/comment NIL)"]);
    client.ok("SETMETADATA INBOX (/private/comment \"mine\" /SHARED/Comment {5+}\r\na\r\nb\")").await;
    let both = client.ok("GETMETADATA INBOX (/shared/comment /Private/Comment)").await;
    assert_eq!(both.untagged, ["METADATA INBOX (/shared/comment {5}\r\na\r\nb\" /private/comment \"mine\")"]);
    client.ok("SETMETADATA INBOX (/private/comment NIL /shared/comment ~{3+}\r\nx\0y)").await;
    let after = client.ok("GETMETADATA INBOX (/private/comment /shared/comment)").await;
    assert_eq!(after.untagged, ["METADATA INBOX (/private/comment NIL /shared/comment ~{3}\r\nx\0y)"]);
    // They are the mailbox's, whatever it is called, and go with it.
    client.ok("CREATE a").await;
    client.ok("SETMETADATA a (/private/color \"red\")").await;
    client.ok("RENAME a b").await;
    assert_eq!(client.ok("GETMETADATA b /private/color").await.untagged, ["METADATA b (/private/color \"red\")"]);
    client.ok("DELETE b").await;
    client.ok("CREATE b").await;
    assert_eq!(client.ok("GETMETADATA b /private/color").await.untagged, ["METADATA b (/private/color NIL)"]);
    client.fails("GETMETADATA nowhere /private/color", "NO [NONEXISTENT]").await;
    client.fails("SETMETADATA nowhere (/private/color NIL)", "NO [NONEXISTENT]").await;
    client.fails("GETMETADATA INBOX /public/color", "BAD").await;
}

#[tokio::test]
async fn depth_and_size() {
    let house = House::new().await;
    let mut client = house.connect();
    client
        .ok("SETMETADATA INBOX (/private/a \"1\" /private/a/b \"22\" /private/a/b/c \"4444\" /private/ab \"x\")")
        .await;
    for (options, told) in [
        ("(DEPTH 0)", "(/private/a \"1\")"),
        ("(DEPTH 1)", "(/private/a \"1\" /private/a/b \"22\")"),
        ("(DEPTH infinity)", "(/private/a \"1\" /private/a/b \"22\" /private/a/b/c \"4444\")"),
    ] {
        let answer = client.ok(&format!("GETMETADATA {options} INBOX /private/a")).await;
        assert_eq!(answer.untagged, [format!("METADATA INBOX {told}")]);
    }
    let answer = client.ok("GETMETADATA INBOX (MAXSIZE 1 DEPTH infinity) (/private/a /private/a/b)").await;
    assert_eq!(answer.untagged, ["METADATA INBOX (/private/a \"1\")"]);
    assert!(answer.completion.starts_with("OK [METADATA LONGENTRIES 4]"), "{answer:?}");
    assert_eq!(client.ok("GETMETADATA (DEPTH 1) INBOX /private/none").await.untagged, [""; 0]);
    // All of a mailbox, as Kolab's clients ask for it.
    client.ok("SETMETADATA INBOX (/shared/x \"y\")").await;
    for (options, told) in [
        (
            "(DEPTH infinity)",
            "(/private/a \"1\" /private/a/b \"22\" /private/a/b/c \"4444\" /private/ab \"x\" /shared/x \"y\")",
        ),
        ("(DEPTH 1)", "(/private/a \"1\" /private/ab \"x\" /shared/x \"y\")"),
        ("(DEPTH 0)", "(/private NIL /shared NIL)"),
    ] {
        let answer = client.ok(&format!("GETMETADATA {options} INBOX (/private /shared)")).await;
        assert_eq!(answer.untagged, [format!("METADATA INBOX {told}")]);
    }
    client.fails("SETMETADATA INBOX (/private \"x\")", "BAD").await;
}

#[tokio::test]
async fn the_server_s_entries() {
    let house = House::new().await;
    let mut client = house.connect();
    client.ok("SETMETADATA \"\" (/private/vendor/x/y \"z\")").await;
    assert_eq!(
        client.ok("GETMETADATA \"\" (/private/vendor/x/y /shared/admin /shared/comment)").await.untagged,
        ["METADATA \"\" (/private/vendor/x/y \"z\" /shared/admin \"mailto:postmaster@example.edu\" \
             /shared/comment NIL)"]
    );
    client.fails("SETMETADATA \"\" (/private/a \"1\" /shared/comment \"x\")", "NO [NOPERM]").await;
    // All or none.
    assert_eq!(client.ok("GETMETADATA \"\" /private/a").await.untagged, ["METADATA \"\" (/private/a NIL)"]);
}

#[tokio::test]
async fn limits() {
    let house = House::new().await;
    let mut client = house.connect();
    let long = "x".repeat(crate::store::ENTRY_VALUE_BYTES + 1);
    let command = format!("SETMETADATA INBOX (/private/a {{{}+}}\r\n{long})", long.len());
    client.fails(&command, "NO [METADATA MAXSIZE 32768]").await;
    for number in 0..crate::store::ENTRIES {
        client.ok(&format!("SETMETADATA INBOX (/private/n{number} \"\")")).await;
    }
    client.fails("SETMETADATA INBOX (/private/n0 \"changed\" /private/more \"\")", "NO [METADATA TOOMANY]").await;
    assert_eq!(client.ok("GETMETADATA INBOX /private/n0").await.untagged, ["METADATA INBOX (/private/n0 \"\")"]);
    client.ok("SETMETADATA INBOX (/private/n0 NIL /private/more \"\")").await;
    // The other scope has room of its own.
    client.ok("SETMETADATA INBOX (/shared/a \"\")").await;
}

#[tokio::test]
async fn list_gives_them() {
    let house = House::new().await;
    let mut client = house.connect();
    client.ok("CREATE a/b").await;
    client.ok("SETMETADATA a/b (/shared/color \"#b71c1c\")").await;
    assert_eq!(
        client.ok("LIST \"\" (INBOX a/%) RETURN (METADATA (/shared/color) STATUS (MESSAGES))").await.untagged,
        [
            "LIST (\\HasNoChildren) \"/\" INBOX",
            "STATUS INBOX (MESSAGES 0)",
            "METADATA INBOX (/shared/color NIL)",
            "LIST (\\HasNoChildren) \"/\" a/b",
            "STATUS a/b (MESSAGES 0)",
            "METADATA a/b (/shared/color \"#b71c1c\")",
        ]
    );
    // A name that only holds others has none.
    assert_eq!(
        client.ok("LIST \"\" a RETURN (METADATA (/shared/color))").await.untagged,
        ["LIST (\\Noselect \\HasChildren) \"/\" a"]
    );
}
