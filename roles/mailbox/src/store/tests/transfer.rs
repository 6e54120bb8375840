//! Very many messages that are copied, moved or deleted, in several turns.

use super::*;
use crate::store::sql::unfinished::{CopyNumber, Which};
use crate::store::transfer::Transfer;

/// More than go in one turn.
const MANY: usize = 5 << 10;

/// An account with [`MANY`] messages in INBOX.
async fn with_many(quota_messages: Option<u64>) -> (tempfile::TempDir, Account, AccountMail) {
    let directory = tempfile::tempdir().unwrap();
    let account = Account { quota_messages, ..account("ana", None) };
    let mail = open(directory.path()).await.create_account(&account).await.unwrap();
    for body in ["1", "2", "3", "4", "5"] {
        append(&mail, "INBOX", body).await;
    }
    let inbox = mail.mailbox(&name("INBOX")).await.unwrap();
    for _ in 0..10 {
        inbox.copy(&UidSet::all(), &name("INBOX")).await.unwrap();
    }
    assert_eq!(uids(&inbox).await, (1..=MANY as u32).collect::<Vec<_>>());
    (directory, account, mail)
}

async fn messages(mail: &AccountMail, mailbox: &str) -> usize {
    mail.status(&name(mailbox)).await.unwrap().messages as usize
}

#[tokio::test]
async fn all_are_copied_and_moved_once() {
    let (_directory, _account, mail) = with_many(None).await;
    let inbox = mail.mailbox(&name("INBOX")).await.unwrap();
    let pairs = |first: u32, to: u32| (0..MANY as u32).map(|n| (Uid(first + n), Uid(to + n))).collect::<Vec<_>>();
    assert_eq!(inbox.copy(&UidSet::all(), &name("Sent")).await.unwrap().uids, pairs(1, 1));
    let moved = inbox.move_to(&UidSet::all(), &name("Sent")).await.unwrap();
    assert_eq!((moved.copied.uids, moved.stopped.is_none()), (pairs(1, 1 + MANY as u32), true));
    assert_eq!((messages(&mail, "INBOX").await, messages(&mail, "Sent").await), (0, 2 * MANY));
    // Into itself: what comes by that is not moved again.
    let sent = mail.mailbox(&name("Sent")).await.unwrap();
    assert_eq!(sent.move_to(&UidSet::all(), &name("Sent")).await.unwrap().copied.uids.len(), 2 * MANY);
    assert_eq!(sent.copy(&UidSet::all(), &name("Sent")).await.unwrap().uids.len(), 2 * MANY);
    assert_eq!(mail.usage().await.unwrap().messages as usize, 4 * MANY);
}

#[tokio::test]
async fn a_large_mailbox_is_renamed_and_deleted() {
    let (_directory, _account, mail) = with_many(None).await;
    mail.rename(&name("INBOX"), &name("old/inbox")).await.unwrap();
    assert_eq!((messages(&mail, "INBOX").await, messages(&mail, "old/inbox").await), (0, MANY));
    assert!(matches!(mail.rename(&name("INBOX"), &name("old/inbox")).await, Err(StoreError::Exists)));
    let watched = mail.mailbox(&name("old/inbox")).await.unwrap();
    mail.delete(&name("old/inbox")).await.unwrap();
    assert!(matches!(watched.snapshot(RecentClaim::Leave).await, Err(StoreError::NoMailbox)));
    assert_eq!(mail.usage().await.unwrap().messages, 0);
    // All of it can be had back, whichever turn it went in.
    let deleted = mail.deleted(&Wanted::default()).await.unwrap();
    assert_eq!(deleted.iter().map(|deleted| deleted.messages as usize).collect::<Vec<_>>(), [MANY]);
}

#[tokio::test]
async fn a_copy_that_has_no_room_is_refused_before_it_begins() {
    let (_directory, _account, mail) = with_many(Some(2 * MANY as u64)).await;
    let inbox = mail.mailbox(&name("INBOX")).await.unwrap();
    append(&mail, "Sent", "before").await;
    assert!(matches!(inbox.copy(&UidSet::all(), &name("Sent")).await, Err(StoreError::OverQuota)));
    assert_eq!(mail.usage().await.unwrap().messages as usize, MANY + 1);
    assert_eq!(append(&mail, "Sent", "after").await, Uid(2));
}

#[tokio::test]
async fn a_copy_of_which_a_part_was_undone_does_not_go_on() {
    let (_directory, _account, mail) = with_many(None).await;
    let (inbox, sent) = (mail.mailbox(&name("INBOX")).await.unwrap(), mail.mailbox(&name("Sent")).await.unwrap());
    let number = CopyNumber::draw();
    let turn = |turns| Transfer::Copy { number, turns };
    let (all, rest) = (UidSet::all(), UidSet::from_uids([Uid(MANY as u32)]));
    let (first, _) = inbox.transfer_some(&all, &sent, FlagScope::ALL, turn(0)).await.unwrap();
    let (second, _) = inbox.transfer_some(&all, &sent, FlagScope::ALL, turn(1)).await.unwrap();
    let undo = async move |transaction: &mut Connection| {
        sql::unfinished::undo_some(transaction, Which::Number(number), 0).await
    };
    assert_eq!(mail.store().run(undo).await.unwrap().unwrap().messages as usize, first.len());
    let refused = inbox.transfer_some(&rest, &sent, FlagScope::ALL, turn(2)).await;
    assert!(matches!(refused, Err(StoreError::NotAllowed(_))));
    assert_eq!(messages(&mail, "Sent").await, second.len());
    assert_eq!(mail.store().undo_copies(Which::Number(number)).await.unwrap() as usize, second.len());
    // It is not what somebody has expunged: nothing of it can be had back.
    assert!(mail.deleted(&Wanted::default()).await.unwrap().is_empty());
    assert!(append(&mail, "Sent", "after").await > second.last().unwrap().1);
}

#[tokio::test]
async fn a_copy_that_nobody_waits_for_is_undone() {
    let (_directory, _account, mail) = with_many(None).await;
    let inbox = mail.mailbox(&name("INBOX")).await.unwrap();
    for round in 0..3 {
        inbox.copy(&UidSet::from_ranges([Uid(1)..=Uid(MANY as u32)]), &name("INBOX")).await.unwrap();
        assert_eq!(messages(&mail, "INBOX").await, (round + 2) * MANY);
    }
    let (all, sent) = (UidSet::all(), name("Sent"));
    let begun = async { while messages(&mail, "Sent").await == 0 {} };
    tokio::select! {
        biased;
        () = begun => {}
        _ = inbox.copy(&all, &sent) => panic!("four times as many take more turns"),
    }
    while messages(&mail, "Sent").await > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(mail.usage().await.unwrap().messages as usize, 4 * MANY);
}

#[tokio::test]
async fn a_copy_that_a_crash_ended_is_undone() {
    let (directory, account, mail) = with_many(None).await;
    let (inbox, sent) = (mail.mailbox(&name("INBOX")).await.unwrap(), mail.mailbox(&name("Sent")).await.unwrap());
    let number = CopyNumber::draw();
    let first = Transfer::Copy { number, turns: 0 };
    let (copied, left) = inbox.transfer_some(&UidSet::all(), &sent, FlagScope::ALL, first).await.unwrap();
    assert_eq!(messages(&mail, "Sent").await, copied.len());
    mail.store().close().await;
    drop((inbox, sent, mail));
    let store = open(directory.path()).await;
    let mail = store.account(&account).await.unwrap().unwrap();
    if crate::tests::engine::servers(directory.path()).is_some() {
        // Another node may be at it.
        assert_eq!(messages(&mail, "Sent").await, copied.len());
        assert_eq!(store.undo_copies(Which::Before(i64::MAX)).await.unwrap() as usize, copied.len());
    }
    assert_eq!((messages(&mail, "Sent").await, messages(&mail, "INBOX").await), (0, MANY));
    // Whoever was only slow does not go on.
    let (inbox, sent) = (mail.mailbox(&name("INBOX")).await.unwrap(), mail.mailbox(&name("Sent")).await.unwrap());
    let second = Transfer::Copy { number, turns: 1 };
    let refused = inbox.transfer_some(&left, &sent, FlagScope::ALL, second).await;
    assert!(matches!(refused, Err(StoreError::NotAllowed(_))));
    assert_eq!(messages(&mail, "Sent").await, 0);
}

#[tokio::test]
async fn what_an_account_that_leaves_has_copied_half_way_stays_behind() {
    let (_directory, _account, mail) = with_many(None).await;
    let (inbox, sent) = (mail.mailbox(&name("INBOX")).await.unwrap(), mail.mailbox(&name("Sent")).await.unwrap());
    let first = Transfer::Copy { number: CopyNumber::draw(), turns: 0 };
    inbox.transfer_some(&UidSet::all(), &sent, FlagScope::ALL, first).await.unwrap();
    mail.store().leaving(mail.account().id, "attempt".to_owned()).freeze().await.unwrap();
    assert!(mail.store().stay(mail.account().id).await.unwrap());
    assert_eq!((messages(&mail, "Sent").await, messages(&mail, "INBOX").await), (0, MANY));
}
