//! What a client says and hears.

use std::time::Duration;

use bytes::Bytes;
use estafeta_core::Message;
use estafeta_core::sessions::Session;
use estafeta_net::drain::Drain;
use tokio::io::{BufStream, duplex};

use super::{CLIENT, Client, Home};
use crate::pop3::Pop3Session;
use crate::store::{MailboxName, NewMessage};

#[tokio::test]
async fn an_empty_maildrop() {
    let home = Home::new().await;
    let mut client = home.log_in().await;
    assert_eq!(client.say("STAT").await, "+OK 0 0");
    assert!(client.lines("LIST").await.is_empty());
    assert!(client.lines("UIDL").await.is_empty());
    assert_eq!(client.say("RETR 1").await, "-ERR There is no such message");
    assert_eq!(client.say("RSET").await, "+OK");
    assert_eq!(client.quit().await, "+OK Goodbye\r\n");
}

#[tokio::test]
async fn a_whole_session() {
    let home = Home::with(&[
        "Subject: 1\r\n\r\none\r\n",
        "Subject: 2\r\n\r\n.two\r\n..\r\n.\r\nend",
        "Subject: 3\r\n\r\na\r\nb\r\n",
    ])
    .await;
    let mut client = home.log_in().await;
    assert_eq!(client.say("STAT").await, "+OK 3 69");
    assert_eq!(client.say("LIST 2").await, "+OK 2 30");
    assert_eq!(client.say("LIST").await, "+OK 3 messages (69 octets)");
    for line in ["1 19", "2 30", "3 20", "."] {
        assert_eq!(client.line().await, line);
    }
    assert_eq!(client.lines("RETR 2").await, ["Subject: 2", "", "..two", "...", "..", "end"]);
    assert_eq!(client.lines("TOP 3 1").await, ["Subject: 3", "", "a"]);
    assert_eq!(client.lines("TOP 3 0").await, ["Subject: 3", ""]);
    assert_eq!(client.lines("TOP 1 99").await, ["Subject: 1", "", "one"]);
    assert_eq!(client.say("DELE 2").await, "+OK Marked as deleted");
    for command in ["DELE 2", "RETR 2", "TOP 2 0", "LIST 2", "UIDL 2"] {
        assert_eq!(client.say(command).await, "-ERR The message is marked as deleted");
    }
    assert_eq!(client.say("STAT").await, "+OK 2 39");
    assert_eq!(client.lines("LIST").await, ["1 19", "3 20"]);
    assert_eq!(client.say("RSET").await, "+OK");
    assert_eq!(client.say("STAT").await, "+OK 3 69");
    assert_eq!(client.say("DELE 1").await, "+OK Marked as deleted");
    assert_eq!(client.say("DELE 3").await, "+OK Marked as deleted");
    assert_eq!(home.uids().await, [1, 2, 3]);
    assert_eq!(client.quit().await, "+OK Goodbye\r\n");
    assert_eq!(home.uids().await, [2]);
}

#[tokio::test]
async fn identifiers_outlive_the_session() {
    let home = Home::with(&["a\r\n", "b\r\n", "c\r\n"]).await;
    let mut client = home.log_in().await;
    let before = client.lines("UIDL").await;
    assert_eq!(client.say("UIDL 3").await, format!("+OK {}", before[2]));
    client.say("DELE 1").await;
    client.quit().await;
    home.receive("d\r\n").await;
    let mut client = home.log_in().await;
    let after = client.lines("UIDL").await;
    let ids =
        |lines: &[String]| lines.iter().map(|line| line.split_once(' ').unwrap().1.to_owned()).collect::<Vec<_>>();
    assert_eq!(ids(&before)[1..], ids(&after)[..2]);
    assert!(!ids(&before).contains(&ids(&after)[2]));
    assert_eq!(after.len(), 3);
    assert!(ids(&after).iter().all(|id| id.len() == 16));
}

#[tokio::test]
async fn a_session_that_breaks_removes_nothing() {
    let home = Home::with(&["a\r\n", "b\r\n"]).await;
    for cut in ["", "QUIT", "NOOP\r\n"] {
        let mut client = home.log_in().await;
        client.say("DELE 1").await;
        client.send(cut.as_bytes()).await;
        client.hang_up().await;
        assert_eq!(home.uids().await, [1, 2], "{cut:?}");
    }
}

#[tokio::test]
async fn a_quit_is_carried_out_though_nobody_reads_the_answer() {
    let home = Home::with(&["a\r\n", "b\r\n"]).await;
    let mut client = home.log_in().await;
    client.send(b"DELE 1\r\nQUIT\r\n").await;
    client.hang_up().await;
    assert_eq!(home.uids().await, [2]);
}

#[tokio::test]
async fn what_others_do_meanwhile_changes_nothing_here() {
    let home = Home::with(&["a\r\n", "b\r\n"]).await;
    let mut client = home.log_in().await;
    let mut other = home.log_in().await;
    home.receive("c\r\n").await;
    assert_eq!(client.say("STAT").await, "+OK 2 6");
    assert_eq!(other.say("DELE 1").await, "+OK Marked as deleted");
    assert_eq!(other.quit().await, "+OK Goodbye\r\n");
    assert_eq!(client.say("STAT").await, "+OK 2 6");
    assert_eq!(client.say("RETR 1").await, "-ERR Another session has removed the message");
    assert_eq!(client.lines("RETR 2").await, ["b"]);
    // What is gone already and what came later are no matter.
    client.say("DELE 1").await;
    client.say("DELE 2").await;
    assert_eq!(client.quit().await, "+OK Goodbye\r\n");
    assert_eq!(home.uids().await, [3]);
    let client = home.log_in().await;
    home.remove(3).await;
    assert_eq!(client.quit().await, "+OK Goodbye\r\n");
}

#[tokio::test]
async fn reading_sets_no_flag_and_takes_no_recent() {
    let home = Home::with(&["a\r\n"]).await;
    let mut client = home.log_in().await;
    client.lines("RETR 1").await;
    client.quit().await;
    let status = home.mail.status(&MailboxName::inbox()).await.unwrap();
    assert_eq!((status.unseen, status.recent), (1, 1));
}

#[tokio::test]
async fn commands_sent_ahead_are_answered_in_order() {
    let home = Home::with(&["a\r\n"]).await;
    let mut client = home.log_in().await;
    client.send(b"STAT\r\nRETR 1\r\nFROB\r\nNOOP\r\nQUIT\r\n").await;
    assert_eq!(
        client.rest().await,
        "+OK 1 3\r\n+OK 3 octets\r\na\r\n.\r\n-ERR Unknown command\r\n+OK\r\n+OK Goodbye\r\n"
    );
}

#[tokio::test]
async fn what_came_behind_the_login_is_read_first() {
    let home = Home::with(&["a\r\n"]).await;
    let session = Pop3Session::open(&home.mail, CLIENT.parse().unwrap(), Drain::new()).await.unwrap();
    let (near, far) = duplex(1024);
    let served = tokio::spawn(Box::new(session).serve(Box::new(near), Bytes::from_static(b"STAT\r\nQU")));
    let mut client = Client { stream: BufStream::new(far), served };
    client.send(b"IT\r\n").await;
    assert_eq!(client.rest().await, "+OK 1 3\r\n+OK Goodbye\r\n");
}

#[tokio::test]
async fn a_large_message_and_a_long_listing() {
    let home = Home::new().await;
    let line = "x".repeat(98) + "\r\n";
    let large = format!("Subject: large\r\n\r\n{}.\r\n", line.repeat(50_000));
    home.receive(large.clone()).await;
    let inbox = MailboxName::inbox();
    for _ in 0..30 {
        let many = (0..100).map(|_| NewMessage::received(Message::new(Bytes::from_static(b"a\r\n")))).collect();
        home.mail.append(&inbox, many).await.unwrap();
    }
    let mut client = home.log_in().await;
    assert_eq!(client.say("STAT").await, format!("+OK 3001 {}", large.len() + 9000));
    let listed = client.lines("LIST").await;
    assert_eq!((listed.len(), listed[3000].as_str()), (3001, "3001 3"));
    assert_eq!(client.lines("UIDL").await.len(), 3001);
    let lines = client.lines("RETR 1").await;
    assert_eq!(lines.len(), 50_003);
    assert_eq!(lines[50_002], "..");
    assert_eq!(client.lines("TOP 1 2").await.len(), 4);
    for number in 2..=3001 {
        client.send(format!("DELE {number}\r\n").as_bytes()).await;
        client.line().await;
    }
    client.quit().await;
    assert_eq!(home.uids().await, [1]);
}

#[tokio::test]
async fn bare_line_feeds_become_lines() {
    let home = Home::with(&["Subject: x\n\n.a\nb"]).await;
    let mut client = home.log_in().await;
    assert_eq!(client.lines("RETR 1").await, ["Subject: x", "", "..a", "b"]);
    assert_eq!(client.lines("TOP 1 1").await, ["Subject: x", "", "..a"]);
}

#[tokio::test]
async fn a_drain_lets_a_busy_session_finish() {
    let home = Home::with(&["a\r\n", "b\r\n"]).await;
    let drain = Drain::new();
    let mut busy = home.log_in_until(drain.clone()).await;
    let mut silent = home.log_in_until(drain.clone()).await;
    assert_eq!(silent.say("DELE 2").await, "+OK Marked as deleted");
    drain.begin();
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(busy.lines("RETR 1").await, ["a"]);
    }
    assert_eq!(busy.say("DELE 1").await, "+OK Marked as deleted");
    assert_eq!(busy.quit().await, "+OK Goodbye\r\n");
    let ended = tokio::time::timeout(Duration::from_secs(10), silent.rest()).await;
    assert_eq!(ended.unwrap(), "");
    assert_eq!(home.uids().await, [2]);
}

#[tokio::test]
async fn a_message_that_is_lost_need_not_be_asked_for_again() {
    let home = Home::with(&["Subject: 1\r\n\r\none\r\n"]).await;
    let mut client = home.log_in().await;
    home.mail.lose_small_bodies().await;
    let refusal = "-ERR [SYS/PERM] This message cannot be read: an administrator should run estafeta mailbox verify";
    assert_eq!(client.say("RETR 1").await, refusal);
    assert_eq!(client.say("TOP 1 0").await, refusal);
    assert_eq!(client.quit().await, "+OK Goodbye\r\n");
}
