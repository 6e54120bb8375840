//! Out and in again, once and again.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use async_trait::async_trait;
use estafeta_core::directory::Account;
use estafeta_core::directory::memory::MemoryDirectory;
use estafeta_core::{AccountId, Address, DeliveryId, Message};
use estafeta_protocols::imap::command::acl::RightsChange;
use estafeta_protocols::imap::types::Rights;
use tokio::sync::watch;

use super::*;
use crate::imap::Neighbours;
use crate::store::{
    AccountMail, Folder, MailboxName, NewMessage, Progress, Scope, SpecialUse, Store, StoreOptions, SystemFlags,
};

fn name(text: &str) -> MailboxName {
    text.parse().unwrap()
}

async fn account(store: &Store, name: &str) -> AccountMail {
    store.create_account(&person(name)).await.unwrap()
}

fn person(name: &str) -> Account {
    Account {
        id: AccountId::random(),
        address: format!("{name}@example.edu").parse().unwrap(),
        name: String::new(),
        store_group: "g".parse().unwrap(),
        quota_bytes: None,
        quota_messages: None,
        enabled: true,
        created: 0,
    }
}

/// Who lives in the store group: whoever is called ben.
struct Street(Account);

impl Street {
    fn empty() -> Self {
        Self(person("nobody"))
    }
}

#[async_trait]
impl Neighbours for Street {
    async fn account(&self, address: &Address) -> Result<Account, Failure> {
        let is_here = self.0.address.key() == address.key();
        is_here.then(|| self.0.clone()).ok_or_else(|| Failure::new(Reason::NotFound, "there is no such account"))
    }
}

async fn store(directory: &Path) -> Store {
    let options = StoreOptions {
        directory: directory.to_owned(),
        servers: crate::tests::engine::servers(directory),
        bodies: crate::tests::engine::bodies(directory),
        message_limit_bytes: 1_000_000,
        readers: 2,
        warn_at_percent: Vec::new(),
        keep_expunged: true,
    };
    Store::open(options).await.unwrap()
}

/// What a mailbox shows: flags, keywords, date and text of each message.
async fn shown(mail: &AccountMail, mailbox: &str) -> Vec<(SystemFlags, Vec<String>, i64, Vec<u8>)> {
    let mailbox = mail.mailbox(&name(mailbox)).await.unwrap();
    let snapshot = mailbox.snapshot(crate::store::RecentClaim::Leave).await.unwrap();
    let mut shown = Vec::new();
    for entry in snapshot.messages.iter() {
        let text = mailbox.text(entry.uid).await.unwrap().contiguous().to_vec();
        let keywords = snapshot.keywords.of(entry.flags.keywords).map(|keyword| keyword.as_str().to_owned()).collect();
        shown.push((entry.flags.system, keywords, entry.internal_date, text));
    }
    shown.sort_by(|one, other| one.3.cmp(&other.3));
    shown
}

#[tokio::test]
async fn mail_goes_out_and_comes_in_again_and_twice_is_once() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(&directory.path().join("store")).await;
    let (ana, ben) = (account(&store, "ana").await, account(&store, "ben").await);
    let out = directory.path().join("out");
    let progress = watch::Sender::new(Progress::default());

    let consignment = store.consign(DeliveryId::generate(), &Message::new("Subject: 1\r\n\r\n".into())).await.unwrap();
    ana.deliver(&consignment, b"Return-Path: <>\r\n", Folder::Inbox).await.unwrap();
    ana.create(&name("Año/.2026/cur"), None).await.unwrap();
    let flagged = NewMessage {
        system: SystemFlags::SEEN | SystemFlags::FLAGGED,
        keywords: vec!["$Forwarded".parse().unwrap()],
        internal_date: Some(1_000_000_000),
        ..NewMessage::received(Message::new("Subject: 2\r\n\r\n8 bits: \u{e9}\r\n".into()))
    };
    // Two that are alike stay two.
    ana.append(&name("Año/.2026/cur"), vec![flagged.clone(), flagged]).await.unwrap();

    let all = Transferred { messages: 3, ..Transferred::default() };
    let again = Transferred { there_already: 3, ..Transferred::default() };
    assert_eq!(export(&ana, &out, Format::Maildir, &progress).await.unwrap(), all);
    assert_eq!(*progress.borrow(), Progress { done: 3, of: 3, found: 0 });
    assert_eq!(export(&ana, &out, Format::Maildir, &progress).await.unwrap(), again);
    assert_eq!(import(&ben, &Street::empty(), &out, &progress).await.unwrap(), all);
    for mailbox in ["INBOX", "Año/.2026/cur"] {
        assert_eq!(shown(&ben, mailbox).await, shown(&ana, mailbox).await);
    }
    assert_eq!(import(&ben, &Street::empty(), &out, &progress).await.unwrap(), again);
    assert_eq!(
        import(&ana, &Street::empty(), &out, &progress).await.unwrap(),
        again,
        "where it came from it is already"
    );

    // A flag that changed renames the file and writes nothing anew.
    let inbox = ana.mailbox(&MailboxName::inbox()).await.unwrap();
    let change = crate::store::FlagChange {
        action: crate::store::FlagAction::Add,
        system: SystemFlags::ANSWERED,
        keywords: Vec::new(),
    };
    inbox.store_flags(&crate::store::UidSet::all(), &change, None).await.unwrap();
    assert_eq!(export(&ana, &out, Format::Maildir, &progress).await.unwrap(), again);
    let files: Vec<_> = fs::read_dir(out.join("INBOX/cur")).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert!(files.len() == 1 && files[0].to_str().unwrap().ends_with(":2,R"), "{files:?}");
}

#[tokio::test]
async fn a_mailbox_that_is_called_like_a_file_of_ours_goes_out_and_comes_in() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(&directory.path().join("store")).await;
    let ana = account(&store, "ana").await;
    let names = ["estafeta.json", "estafeta.json/below", "x", "x/dovecot-keywords", "x/estafeta.json"];
    for mailbox in names {
        ana.create(&name(mailbox), None).await.unwrap();
        let message = NewMessage::received(Message::new(format!("Subject: {mailbox}\r\n\r\n").into()));
        ana.append(&name(mailbox), vec![message]).await.unwrap();
    }
    let progress = watch::Sender::new(Progress::default());
    for (format, to) in [(Format::Maildir, "maildir"), (Format::Mbox, "mbox")] {
        let out = directory.path().join(to);
        for _ in 0..2 {
            export(&ana, &out, format, &progress).await.unwrap();
        }
        let ben = account(&store, to).await;
        import(&ben, &Street::empty(), &out, &progress).await.unwrap();
        for mailbox in names {
            assert_eq!(shown(&ben, mailbox).await, shown(&ana, mailbox).await, "{mailbox}");
        }
    }
}

/// Everything below a directory, and it, with what others than its owner may do.
fn open_to_others(path: &Path) -> Vec<(std::path::PathBuf, u32)> {
    let mode = fs::metadata(path).unwrap().permissions().mode() & 0o077;
    let mut found = vec![(path.to_owned(), mode)];
    if path.is_dir() {
        found.extend(fs::read_dir(path).unwrap().flat_map(|entry| open_to_others(&entry.unwrap().path())));
    }
    found.retain(|(_, mode)| *mode != 0);
    found
}

#[tokio::test]
async fn what_goes_out_nobody_else_may_read() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(&directory.path().join("store")).await;
    let ana = account(&store, "ana").await;
    let keywords = vec!["k".parse().unwrap()];
    let text = Message::new("Subject: 1\r\n\r\n".into());
    let message = NewMessage { keywords, ..NewMessage::received(text) };
    ana.append(&MailboxName::inbox(), vec![message]).await.unwrap();
    let progress = watch::Sender::new(Progress::default());
    for (format, out) in [(Format::Maildir, "maildir"), (Format::Mbox, "mbox")] {
        let out = directory.path().join(out);
        export(&ana, &out, format, &progress).await.unwrap();
        assert_eq!(open_to_others(&out), []);
    }
    let out = directory.path().join("backups/here");
    let people = Arc::new(MemoryDirectory::default());
    let of = Some((ana.account().id, ana.account().address.clone()));
    backup(&store, people.as_ref(), of, &out, &progress).await.unwrap();
    assert_eq!(open_to_others(&directory.path().join("backups")), []);
}

#[tokio::test]
async fn a_maildir_of_another_program_comes_in() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(&directory.path().join("store")).await;
    let mail = account(&store, "ana").await;
    let root = directory.path().join("Maildir");
    for path in ["cur", "new", "tmp", ".Sent.2026/cur", ".Sent.2026/new"] {
        fs::create_dir_all(root.join(path)).unwrap();
    }
    fs::write(root.join("cur/1.host:2,S"), "Subject: unix\n\nline\n").unwrap();
    fs::write(root.join("new/2.host"), "Subject: crlf\r\n\r\nkept\nas it is\r\n").unwrap();
    fs::write(root.join("cur/3.host:2,"), "").unwrap();
    fs::write(root.join("tmp/4.host"), "half").unwrap();
    fs::write(root.join(".Sent.2026/cur/5.host:2,ST"), "Subject: sent\n\n").unwrap();
    let progress = watch::Sender::new(Progress::default());
    let done = import(&mail, &Street::empty(), &root, &progress).await.unwrap();
    assert_eq!((done.messages, done.there_already, done.refused), (3, 0, 1));
    assert!(done.first_refused[0].ends_with("cur/3.host:2,: it is empty"), "{done:?}");
    let texts: Vec<_> = shown(&mail, "INBOX").await.into_iter().map(|(flags, .., text)| (flags, text)).collect();
    assert_eq!(
        texts,
        [
            (SystemFlags::NONE, b"Subject: crlf\r\n\r\nkept\nas it is\r\n".to_vec()),
            (SystemFlags::SEEN, b"Subject: unix\r\n\r\nline\r\n".to_vec()),
        ]
    );
    assert_eq!(shown(&mail, "Sent/2026").await[0].0, SystemFlags::SEEN | SystemFlags::DELETED);
    assert!(import(&mail, &Street::empty(), &directory.path().join("nowhere"), &progress).await.is_err());
    assert_eq!(
        import(&mail, &Street::empty(), directory.path(), &progress).await.unwrap().messages,
        3,
        "as mailboxes below Maildir"
    );
}

#[tokio::test]
async fn mail_goes_out_as_mbox_and_comes_in_byte_for_byte() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(&directory.path().join("store")).await;
    let (ana, ben) = (account(&store, "ana").await, account(&store, "ben").await);
    let out = directory.path().join("out");
    let progress = watch::Sender::new(Progress::default());
    let texts =
        ["From the start\r\n\r\n>From here\r\n", "no end", "Status: RO\r\n\r\nbare\nends\r\n", "\r\n\r\n", "\rx\r\r\n"];
    let messages = |mailbox: i64| {
        let message = move |(number, text): (usize, &str)| NewMessage {
            system: if number % 2 == 0 { SystemFlags::SEEN | SystemFlags::DELETED } else { SystemFlags::FLAGGED },
            keywords: vec![format!("k{number}").parse().unwrap()],
            internal_date: Some(mailbox * 1_000_000_000 + number as i64),
            ..NewMessage::received(Message::new(text.to_owned().into()))
        };
        texts.into_iter().enumerate().map(message).collect::<Vec<_>>()
    };
    ana.create(&name("a.mbox/b"), None).await.unwrap();
    ana.create(&name("a"), None).await.unwrap();
    for (number, mailbox) in [(1, "INBOX"), (2, "a.mbox/b")] {
        ana.append(&name(mailbox), messages(number)).await.unwrap();
    }
    let all = Transferred { messages: 10, ..Transferred::default() };
    for _ in 0..2 {
        assert_eq!(export(&ana, &out, Format::Mbox, &progress).await.unwrap(), all);
    }
    let street = Street::empty();
    assert_eq!(import(&ben, &street, &out, &progress).await.unwrap(), all);
    for mailbox in ["INBOX", "a.mbox/b", "a"] {
        assert_eq!(shown(&ben, mailbox).await, shown(&ana, mailbox).await, "{mailbox}");
    }
    let again = Transferred { there_already: 10, ..Transferred::default() };
    assert_eq!(import(&ben, &street, &out, &progress).await.unwrap(), again);
    assert_eq!(import(&ana, &street, &out, &progress).await.unwrap(), again);
    let cora = account(&store, "cora").await;
    assert_eq!(import(&cora, &street, &out.join("a.mbo%78/b.mbox"), &progress).await.unwrap().messages, 5);
    assert_eq!(shown(&cora, "INBOX").await, shown(&ana, "a.mbox/b").await);
}

#[tokio::test]
async fn what_belongs_to_mailboxes_goes_out_and_comes_in() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(&directory.path().join("store")).await;
    let (ana, dora) = (account(&store, "ana").await, account(&store, "dora").await);
    let ben = person("ben");
    let out = directory.path().join("out");
    let progress = watch::Sender::new(Progress::default());
    ana.create(&name("Old"), None).await.unwrap();
    ana.unsubscribe(&name("Junk")).await.unwrap();
    ana.subscribe(&name("Gone/Away")).await.unwrap();
    ana.set_entries(vec![("/comment".into(), Some(b"mine".to_vec()))]).await.unwrap();
    let old = ana.mailbox(&name("Old")).await.unwrap();
    let entry = |scope, text: &str| ((scope, "/comment".to_owned()), Some(text.as_bytes().to_vec()));
    old.set_entries(&ana, vec![entry(Scope::Shared, "for all"), entry(Scope::Private, "for me")]).await.unwrap();
    let rights = Rights::READ.with(Rights::LOOKUP);
    old.grant(("ben@example.edu", false), Some(ben.id), RightsChange::Replace(rights)).await.unwrap();
    old.grant(("cora@example.edu", false), Some(AccountId::random()), RightsChange::Replace(rights)).await.unwrap();
    old.grant(("anyone", true), None, RightsChange::Replace(Rights::READ)).await.unwrap();
    export(&ana, &out, Format::Maildir, &progress).await.unwrap();

    dora.delete(&name("Sent")).await.unwrap();
    let there = dora.mailbox(&name("Drafts")).await.unwrap();
    there.set_entries(&dora, vec![entry(Scope::Shared, "stays")]).await.unwrap();
    for _ in 0..2 {
        let done = import(&dora, &Street(ben.clone()), &out, &progress).await.unwrap();
        assert_eq!(done.refused, 1, "cora does not live here");
    }
    let kept = dora.mailbox(&name("Old")).await.unwrap();
    assert_eq!(kept.entries(Scope::Shared, &dora).await.unwrap(), old.entries(Scope::Shared, &ana).await.unwrap());
    assert_eq!(kept.entries(Scope::Private, &dora).await.unwrap(), old.entries(Scope::Private, &ana).await.unwrap());
    let mut grants = old.grants().await.unwrap();
    grants.retain(|grant| grant.identifier != "cora@example.edu");
    assert_eq!(kept.grants().await.unwrap(), grants);
    assert_eq!(dora.entries().await.unwrap(), ana.entries().await.unwrap());
    assert!(dora.subscriptions().await.unwrap().contains(&name("Gone/Away")));
    let sent = dora.mailboxes().await.unwrap().into_iter().find(|entry| entry.name == name("Sent"));
    assert_eq!(sent.unwrap().special_use, Some(SpecialUse::Sent));
    assert_eq!(there.entries(Scope::Shared, &dora).await.unwrap()[0].1, b"stays");
}
