//! Messages whose bodies are missing, and a store of bodies that is away for now.

use super::*;

impl House {
    /// The files of bodies, and their copies.
    fn body_files(&self) -> Vec<std::path::PathBuf> {
        let directory = self._directory.path();
        let mut paths = vec![crate::tests::engine::body_files(directory), directory.join("cache")];
        let mut files = Vec::new();
        while let Some(path) = paths.pop() {
            match std::fs::read_dir(&path) {
                Ok(entries) => paths.extend(entries.map(|entry| entry.unwrap().path())),
                Err(_) => files.extend(path.is_file().then_some(path)),
            }
        }
        files
    }

    /// INBOX with three messages, of which the second's body is lost.
    async fn with_a_lost_one() -> Self {
        let house = Self::new().await;
        let mut client = house.connect();
        client.append("INBOX", "", &message(1)).await;
        let before = house.body_files();
        let mut random = fastrand::Rng::with_seed(1);
        let large: String = std::iter::repeat_with(|| random.alphanumeric()).take(40_000).collect();
        client.append("INBOX", "", &format!("{}{large}\r\n", message(2))).await;
        let of_second = house.body_files().into_iter().filter(|file| !before.contains(file));
        of_second.for_each(|file| std::fs::remove_file(file).unwrap());
        client.append("INBOX", "", &message(3)).await;
        house
    }
}

#[tokio::test]
async fn one_that_is_lost_keeps_nothing_else_from_coming() {
    let house = House::with_a_lost_one().await;
    let mut client = house.select().await;
    let answer = client.command("FETCH 1:* BODY.PEEK[]").await;
    assert_eq!((answer.with("body 1").len(), answer.with("body 3").len()), (1, 1), "{answer:?}");
    assert_eq!(answer.with("FETCH").len(), 2);
    let lost = "NO [SERVERBUG] A message cannot be read: an administrator should run estafeta mailbox verify";
    assert_eq!(answer.completion, lost);
    // That it is seen now is told all the same, and what was kept of it.
    let answer = client.command("UID FETCH 2:3 BODY[]").await;
    assert_eq!(answer.completion, lost);
    assert_eq!(answer.with("2 FETCH"), ["2 FETCH (UID 2 FLAGS (\\Seen \\Recent))"]);
    assert_eq!(client.ok("FETCH 1:* (FLAGS ENVELOPE)").await.with("number").len(), 3);
    // Made anew, it can't be; the others are.
    house.mail.forget_contents().await;
    let answer = client.command("FETCH 1:* ENVELOPE").await;
    assert_eq!((answer.with("FETCH").len(), answer.completion.as_str()), (2, lost), "{answer:?}");
}

#[tokio::test]
async fn one_that_is_lost_has_no_text() {
    let house = House::with_a_lost_one().await;
    let mut client = house.select().await;
    assert_eq!(client.ok("SEARCH BODY \"body\"").await.with("SEARCH"), ["SEARCH 1 3"]);
    assert_eq!(client.ok("SEARCH OR BODY \"body 3\" SUBJECT 2").await.with("SEARCH"), ["SEARCH 2 3"]);
    assert_eq!(client.ok("SORT (REVERSE SUBJECT) UTF-8 TEXT number").await.with("SORT"), ["SORT 3 2 1"]);
    house.mail.forget_contents().await;
    assert_eq!(client.ok("SORT (REVERSE SUBJECT) UTF-8 ALL").await.with("SORT"), ["SORT 3 1 2"]);
    client.ok("THREAD REFERENCES UTF-8 ALL").await;
}

#[tokio::test]
async fn what_is_away_for_now_is_not_lost() {
    let house = House::with_a_lost_one().await;
    let bodies = house._directory.path().join("bodies");
    if !bodies.exists() {
        return;
    }
    let mut client = house.select().await;
    let elsewhere = house._directory.path().join("unmounted");
    std::fs::rename(&bodies, &elsewhere).unwrap();
    std::fs::create_dir(&bodies).unwrap();
    client.fails("FETCH 1:* BODY.PEEK[]", "NO [UNAVAILABLE]").await;
    client.fails("SEARCH BODY \"body\"", "NO [UNAVAILABLE]").await;
    std::fs::remove_dir(&bodies).unwrap();
    std::fs::rename(&elsewhere, &bodies).unwrap();
    client.fails("FETCH 1:* BODY.PEEK[]", "NO [SERVERBUG]").await;
}
