//! Out of servers that others wrote, that break off, and that lie.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use estafeta_core::AccountId;
use estafeta_core::directory::Account;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, DuplexStream};

use super::*;
use crate::store::{RecentClaim, Store, StoreOptions, SystemFlags};

/// By their names; each message with its UID.
type Mailboxes = BTreeMap<String, Vec<(u32, String)>>;

/// A server as old ones are: IMAP4rev1, names in UTF-7 below `INBOX.`.
#[derive(Clone, Default)]
struct Old {
    mailboxes: Arc<Mutex<Mailboxes>>,
    uid_validity: u32,
    /// After so many texts the connection breaks.
    breaks_after: Option<usize>,
    /// What is said in place of an answer to a command that begins so.
    lie: Option<(&'static str, String)>,
}

impl Old {
    fn add(&self, mailbox: &str, uid: u32, text: &str) {
        self.mailboxes.lock().unwrap().entry(mailbox.to_owned()).or_default().push((uid, text.to_owned()));
    }

    /// A connection to it.
    fn connect(&self) -> Connection {
        let (near, far) = tokio::io::duplex(64 * 1024);
        tokio::spawn(self.clone().serve(far));
        let address = "127.0.0.1:993".parse().unwrap();
        Connection { stream: Box::new(near), peer: address, local: address, tls: None, identity: None }
    }

    async fn serve(self, stream: DuplexStream) {
        let (read, mut write) = tokio::io::split(stream);
        let mut lines = BufReader::new(read);
        let (mut selected, mut texts) = (String::new(), 0);
        let mut say = String::from("* OK hello\r\n");
        loop {
            if write.write_all(say.as_bytes()).await.is_err() {
                return;
            }
            let mut line = String::new();
            if lines.read_line(&mut line).await.unwrap_or(0) == 0 {
                return;
            }
            while let Some(size) = line.trim_end().strip_suffix('}').and_then(|line| line.rsplit_once('{')) {
                let mut literal = vec![0; size.1.parse().unwrap()];
                write.write_all(b"+ go on\r\n").await.unwrap();
                lines.read_exact(&mut literal).await.unwrap();
                line = format!("{} {}", size.0, String::from_utf8_lossy(&literal));
                lines.read_line(&mut line).await.unwrap();
            }
            let (tag, command) = line.trim_end().split_once(' ').unwrap();
            if let Some((begin, lie)) = &self.lie
                && command.starts_with(begin)
            {
                say = format!("{lie}\r\n{tag} OK\r\n");
                continue;
            }
            let answer = self.answer(command, &mut selected);
            texts += answer.matches("BODY[]").count();
            if self.breaks_after.is_some_and(|limit| texts > limit) {
                return;
            }
            say = format!("{answer}{tag} OK done\r\n");
        }
    }

    fn answer(&self, command: &str, selected: &mut String) -> String {
        let mailboxes = self.mailboxes.lock().unwrap();
        let quoted = |text: &str| text.split('"').nth(1).unwrap_or_default().to_owned();
        let words: Vec<&str> = command.split(' ').collect();
        match words[0] {
            "CAPABILITY" => "* CAPABILITY IMAP4rev1 NAMESPACE\r\n".to_owned(),
            "NAMESPACE" => "* NAMESPACE ((\"INBOX.\" \".\")) ((\"user.\" \".\")) NIL\r\n".to_owned(),
            "LIST" => {
                let attributes = |name: &str| match name {
                    "INBOX.Gesendet" => "\\Sent",
                    "INBOX.All" => "\\All",
                    "INBOX.none" => "\\Noselect",
                    _ => "",
                };
                let one = |name: &String| format!("* LIST ({}) \".\" \"{name}\"\r\n", attributes(name));
                mailboxes.keys().map(one).collect()
            }
            "STATUS" => {
                let messages = &mailboxes[&quoted(command)];
                let next = messages.last().map_or(1, |(uid, _)| uid + 1);
                let (count, life) = (messages.len(), self.uid_validity);
                format!("* STATUS \"x\" (MESSAGES {count} UIDNEXT {next} UIDVALIDITY {life})\r\n")
            }
            "EXAMINE" => {
                *selected = quoted(command);
                let count = mailboxes[selected].len();
                format!("* {count} EXISTS\r\n* OK [UIDVALIDITY {}] UIDs valid\r\n", self.uid_validity)
            }
            "FETCH" => {
                let (first, last) = words[1].split_once(':').unwrap_or((words[1], words[1]));
                let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
                let one = |(index, (uid, text)): (usize, &(u32, String))| {
                    let (sequence, size) = (index + 1, text.len());
                    format!(
                        "* {sequence} FETCH (UID {uid} FLAGS (\\Seen $Label1) INTERNALDATE \"17-Jul-1996 02:44:25 -0700\" \
                         RFC822.SIZE {size})\r\n"
                    )
                };
                let all = mailboxes[selected].iter().enumerate();
                all.filter(|(index, _)| (first..=last).contains(&(index + 1))).map(one).collect()
            }
            "UID" => {
                let wanted: Vec<u32> = words[2].split(',').map(|uid| uid.parse().unwrap()).collect();
                let one = |(uid, text): &(u32, String)| match words[3].contains("BODY") || words.len() > 4 {
                    _ if command.contains("FLAGS") => format!(
                        "* 1 FETCH (UID {uid} FLAGS (\\Seen) INTERNALDATE \"17-Jul-1996 02:44:25 -0700\" RFC822.SIZE {})\r\n",
                        text.len()
                    ),
                    true => format!("* 1 FETCH (BODY[] {{{}}}\r\n{text} UID {uid})\r\n", text.len()),
                    false => format!("* 1 FETCH (UID {uid})\r\n"),
                };
                mailboxes[selected].iter().filter(|(uid, _)| wanted.contains(uid)).map(one).collect()
            }
            _ => String::new(),
        }
    }
}

struct Home {
    _directory: TempDir,
    store: Store,
    mail: AccountMail,
    progress: watch::Sender<Progress>,
}

impl Home {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let options = StoreOptions {
            directory: directory.path().to_owned(),
            servers: crate::tests::engine::servers(directory.path()),
            bodies: crate::tests::engine::bodies(directory.path()),
            message_limit_bytes: 1_000_000,
            readers: 2,
            warn_at_percent: Vec::new(),
            keep_expunged: true,
        };
        let store = Store::open(options).await.unwrap();
        let account = Account {
            id: AccountId::random(),
            address: "ana@example.edu".parse().unwrap(),
            name: String::new(),
            store_group: "g".parse().unwrap(),
            quota_bytes: None,
            quota_messages: None,
            enabled: true,
            created: 0,
        };
        let mail = store.create_account(&account).await.unwrap();
        Self { _directory: directory, store, mail, progress: watch::Sender::new(Progress::default()) }
    }

    /// Messages that came, that were there already, and what was refused.
    async fn import(&self, server: &Old, only: &[&str]) -> Result<(u64, u64, u64), Failure> {
        let Transferred { messages, there_already, refused, .. } = self.import_told(server, only).await?;
        Ok((messages, there_already, refused))
    }

    async fn import_told(&self, server: &Old, only: &[&str]) -> Result<Transferred, Failure> {
        let source: Source = "imaps://ana@old.example.edu".parse().unwrap();
        let only: Vec<String> = only.iter().map(|name| (*name).to_owned()).collect();
        let password = Secret::new("secret".to_owned());
        import_over(server.connect(), &self.mail, (&source, &password), &only, &self.progress).await
    }

    /// UID and text of each message.
    async fn texts(&self, mailbox: &str) -> Vec<String> {
        let mailbox = self.mail.mailbox(&mailbox.parse().unwrap()).await.unwrap();
        let mut texts = Vec::new();
        for entry in mailbox.snapshot(RecentClaim::Leave).await.unwrap().messages.iter() {
            assert_eq!(entry.internal_date, 837_596_665);
            assert_eq!(entry.flags.system, SystemFlags::SEEN);
            let text = mailbox.text(entry.uid).await.unwrap().contiguous().to_vec();
            texts.push(String::from_utf8(text).unwrap());
        }
        texts
    }
}

fn text(number: u32) -> String {
    format!("Subject: {number}\r\n\r\nbody\r\n")
}

#[tokio::test]
async fn names_and_uses_become_ours_and_foreign_ones_stay() {
    let (home, server) = (Home::new().await, Old { uid_validity: 7, ..Old::default() });
    for mailbox in [
        "INBOX",
        "INBOX.Env&AO0-os.a/b",
        "INBOX.Gesendet",
        "INBOX.All",
        "user.ben",
        "INBOX.none",
        "INBOX.&",
        "INBOX.leer",
    ] {
        server.add(mailbox, 3, &format!("Subject: {mailbox}\r\n\r\n"));
    }
    server.mailboxes.lock().unwrap().get_mut("INBOX.leer").unwrap().clear();
    assert_eq!(home.import(&server, &[]).await.unwrap(), (3, 0, 1), "a name in no encoding is refused");
    for (here, there) in [("INBOX", "INBOX"), ("Envíos/a_b", "INBOX.Env&AO0-os.a/b"), ("Sent", "INBOX.Gesendet")] {
        assert_eq!(home.texts(here).await, [format!("Subject: {there}\r\n\r\n")]);
    }
    assert_eq!(home.texts("leer").await, [""; 0]);
    assert_eq!(home.import(&server, &["INBOX.All"]).await.unwrap(), (1, 0, 0), "a view that is named");
    assert_eq!(home.import(&server, &["nowhere"]).await.unwrap_err().reason, Reason::NotFound);
}

#[tokio::test]
async fn what_was_cut_off_goes_on_and_again_is_once() {
    let home = Home::new().await;
    let mut server = Old { uid_validity: 7, breaks_after: Some(130), ..Old::default() };
    // More than a page, in UIDs with gaps; one is larger than is accepted here, one large, one has single line feeds.
    for number in 1..=620 {
        server.add("INBOX", number * 3, &text(number));
    }
    let large = format!("Subject: large\r\n\r\n{}", "0123456789\r\n".repeat(20_000));
    server.add("INBOX", 2000, &"x".repeat(1_000_001));
    server.add("INBOX", 2001, &large);
    server.add("INBOX", 2002, "Subject: lf\n\nend");
    let cut = home.import(&server, &[]).await.unwrap_err();
    assert!(cut.reason == Reason::Unavailable && cut.to_string().contains("ask again"), "{cut}");
    let come = home.texts("INBOX").await.len();
    assert!((50..=130).contains(&come), "{come}");
    server.breaks_after = None;
    assert_eq!(home.import(&server, &[]).await.unwrap(), (622 - come as u64, come as u64, 1));
    let mut expected: Vec<String> = (1..=620).map(text).collect();
    expected.extend([large, "Subject: lf\r\n\r\nend\r\n".to_owned()]);
    assert_eq!(home.texts("INBOX").await, expected);
    assert_eq!(home.import(&server, &[]).await.unwrap(), (0, 622, 1), "nothing is new");

    server.add("INBOX", 2010, &text(1));
    server.mailboxes.lock().unwrap().get_mut("INBOX").unwrap().remove(0);
    assert_eq!(home.import(&server, &[]).await.unwrap(), (1, 621, 1), "what is new, though it is like another");
    // Its UIDs begin another life: what is there already is known by itself.
    server.uid_validity = 8;
    let again = home.import(&server, &[]).await.unwrap();
    assert_eq!(again, (0, 622, 1));
    let progress = watch::Sender::new(Progress::default());
    assert_eq!(home.store.verify(None, false, &progress).await.unwrap(), []);
}

#[tokio::test]
async fn what_was_refused_is_told_and_tried_again() {
    let home = Home::new().await;
    let first = format!("* 1 FETCH (UID 3 BODY[] {{{}}}\r\n{})", text(3).len(), text(3));
    let mut server = Old { uid_validity: 7, lie: Some(("UID FETCH 3,6,9 (UID BODY", first)), ..Old::default() };
    for uid in [3, 6, 9] {
        server.add("INBOX", uid, &text(uid));
    }
    let told = home.import_told(&server, &[]).await.unwrap();
    assert_eq!((told.messages, told.refused), (1, 2));
    assert_eq!(told.first_refused[0], "INBOX, UID 6: the server does not send it");
    // It still cannot be had, and what is new comes.
    server.lie = Some(("UID FETCH 6,9 (UID BODY", String::from("* 4 EXISTS")));
    server.add("INBOX", 12, &text(12));
    assert_eq!(home.import(&server, &[]).await.unwrap(), (1, 1, 2));
    // One comes; the other is no longer there.
    server.lie = None;
    server.mailboxes.lock().unwrap().get_mut("INBOX").unwrap().retain(|(uid, _)| *uid != 6);
    assert_eq!(home.import(&server, &[]).await.unwrap(), (1, 2, 0));
    assert_eq!(home.import(&server, &[]).await.unwrap(), (0, 3, 0));
    assert_eq!(home.texts("INBOX").await, [text(3), text(12), text(9)]);
}

#[tokio::test]
async fn of_two_who_bring_the_same_one_is_refused() {
    let home = Home::new().await;
    let origin = |uid_validity| Origin {
        source: "ana@old.example.edu:993".to_owned(),
        mailbox: "INBOX".to_owned(),
        uid_validity,
    };
    let reached = |from, uid| Reached { origin: origin(7), from, uid };
    let put = async |reached| {
        let new = vec![NewMessage::received(Message::new(text(1).into()))];
        home.mail.append_reaching(&MailboxName::inbox(), new, reached).await
    };
    put(reached(0, 5)).await.unwrap();
    assert!(matches!(put(reached(0, 5)).await, Err(StoreError::NotAllowed(_))));
    assert!(home.mail.append_reaching(&MailboxName::inbox(), Vec::new(), reached(0, 9)).await.is_err());
    put(reached(5, 6)).await.unwrap();
    put(Reached { origin: origin(8), ..reached(0, 2) }).await.unwrap();
    assert_eq!(home.mail.usage().await.unwrap().messages, 3);
}

#[tokio::test]
async fn a_server_that_lies_is_bounded() {
    let home = Home::new().await;
    let endless = "* LIST () \".\" \"x\"\r\n".repeat(400_000);
    for (begin, lie, word) in [
        ("LIST", endless.as_str(), "more than it was asked"),
        ("UID", "* 1 FETCH (UID 3 BODY[] {90000000}", "more than it was asked"),
        ("STATUS", "* STATUS x (MESSAGES {70000}", "more than it was asked"),
        ("LIST", "* LIST (((", "no IMAP"),
        ("LIST", "BYE", "nobody asked"),
    ] {
        let server = Old { uid_validity: 7, lie: Some((begin, lie.to_owned())), ..Old::default() };
        server.add("INBOX", 3, &text(3));
        let error = home.import(&server, &[]).await.unwrap_err().to_string();
        assert!(error.contains(word), "{begin}: {error}");
    }
    // What it does not send is told, and is no endless loop.
    for (begin, lie, expected) in [
        ("UID FETCH 3 (UID BODY", "* 1 FETCH (UID 3 BODY[] NIL)", (0, 0, 1)),
        ("STATUS", "* 1 EXISTS", (0, 0, 1)),
        ("FETCH", "* 1 FETCH (UID 0)", (0, 0, 0)),
        ("EXAMINE", "* OK [UIDVALIDITY 7] x\r\n* 4294967295 EXISTS\r\n* 1 EXPUNGE\r\n* 0 EXISTS", (0, 0, 0)),
    ] {
        let home = Home::new().await;
        let server = Old { uid_validity: 7, lie: Some((begin, lie.to_owned())), ..Old::default() };
        server.add("INBOX", 3, &text(3));
        assert_eq!(home.import(&server, &[]).await.unwrap(), expected, "{begin}");
    }
    assert_eq!(home.texts("INBOX").await, [""; 0]);
}
