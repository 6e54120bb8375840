//! What a sender is told of a delivery, as a mail server sees it that hands mail over by LMTP and asks for it.

use std::sync::Mutex;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

/// An edge that takes what it is given, once it is there.
#[derive(Default)]
struct Edge {
    away: Mutex<u32>,
    taken: Mutex<Vec<Submission>>,
}

#[async_trait]
impl Submit for Edge {
    async fn submit(&self, submission: &Submission) -> Result<(), Failure> {
        let mut away = self.away.lock().unwrap();
        if *away > 0 {
            *away -= 1;
            return Err(Failure::unavailable("as the test wants"));
        }
        self.taken.lock().unwrap().push(submission.clone());
        Ok(())
    }
}

impl Edge {
    /// So many letters, in the order in which they came.
    async fn taken(&self, count: usize) -> Vec<Submission> {
        for _ in 0..1200 {
            let taken = self.taken.lock().unwrap().clone();
            if taken.len() >= count {
                return taken;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{} letters of {count}", self.taken.lock().unwrap().len())
    }
}

/// Says all of it at once, and gives the codes of the answers.
async fn say(node: &Node, dialog: &str) -> Vec<String> {
    let (remote, candidate) = node.remote(RoleName::EDGE, LMTP);
    let mut stream = remote.tls.connect(&candidate).await.unwrap().stream;
    stream.write_all(format!("LHLO mx.example.edu\r\n{dialog}QUIT\r\n").as_bytes()).await.unwrap();
    let mut said = String::new();
    tokio::time::timeout(PATIENCE, stream.read_to_string(&mut said)).await.unwrap().unwrap();
    let answers = said.lines().filter(|line| line.as_bytes().get(3) == Some(&b' '));
    answers.map(|line| line[..3].to_owned()).skip(2).collect()
}

fn text(submission: &Submission) -> String {
    String::from_utf8(submission.message.contiguous().to_vec()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_who_asked_is_told_of_those_that_were_delivered() {
    let edge = Arc::new(Edge::default());
    let node = Node::start_beside("store_group = 'group1'", edge.clone()).await;
    for name in ["ana", "ben", "eva"] {
        node.account(&format!("{name}@example.edu"), None).await;
    }
    node.account("full@example.edu", Some(1)).await;
    let dialog = "MAIL FROM:<luis@elsewhere.example> RET=HDRS ENVID=QQ+2B314159\r\n\
        RCPT TO:<ana@example.edu> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Staff@example.edu\r\n\
        RCPT TO:<ana+drafts@example.edu> NOTIFY=SUCCESS\r\nRCPT TO:<ben@example.edu> NOTIFY=NEVER\r\n\
        RCPT TO:<eva@example.edu> NOTIFY=SUCCESS\r\nRCPT TO:<full@example.edu> NOTIFY=SUCCESS\r\n\
        DATA\r\nSubject: hello\r\n\r\nsecret\r\n.\r\n";
    let answers = say(&node, dialog).await;
    assert_eq!(answers.join(" "), "250 250 250 250 250 250 354 250 250 250 250 452 221");
    let taken = edge.taken(1).await;
    assert_eq!((&taken[0].sender, &taken[0].recipients[..]), (&None, &["luis@elsewhere.example".parse().unwrap()][..]));
    let report = text(&taken[0]);
    for part in [
        "To: <luis@elsewhere.example>\r\n",
        "report-type=delivery-status",
        "Original-Envelope-Id: QQ+314159\r\nReporting-MTA: dns; mailbox1.example.edu\r\n",
        "Original-Recipient: rfc822; Staff@example.edu\r\nFinal-Recipient: rfc822; ana@example.edu\r\nAction: delivered\r\nStatus: 2.0.0\r\n",
        "Final-Recipient: rfc822; ana+drafts@example.edu\r\nAction: delivered\r\n",
        "Final-Recipient: rfc822; eva@example.edu\r\nAction: delivered\r\n",
        "\r\nSubject: hello\r\n",
    ] {
        assert!(report.contains(part), "{part} is not in {report}");
    }
    for absent in ["ben@", "full@", "secret"] {
        assert!(!report.contains(absent), "{absent} is in {report}");
    }
    // Nothing is told to nobody, nor of what is spam.
    let dialog = "MAIL FROM:<>\r\nRCPT TO:<ana@example.edu> NOTIFY=SUCCESS\r\nDATA\r\nx\r\n.\r\n\
        MAIL FROM:<spam@elsewhere.example>\r\nRCPT TO:<ana@example.edu> NOTIFY=SUCCESS\r\nDATA\r\nX-Spam: Yes\r\n\r\nx\r\n.\r\n\
        MAIL FROM:<last@elsewhere.example>\r\nRCPT TO:<ana@example.edu> NOTIFY=SUCCESS\r\nDATA\r\nx\r\n.\r\n";
    assert_eq!(say(&node, dialog).await.join(" "), "250 250 354 250 250 250 354 250 250 250 354 250 221");
    let taken = edge.taken(2).await;
    assert_eq!(taken.len(), 2);
    assert_eq!(taken[1].recipients, ["last@elsewhere.example".parse().unwrap()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_no_edge_is_there_it_waits() {
    let edge = Arc::new(Edge::default());
    *edge.away.lock().unwrap() = 1;
    let node = Node::start_beside("store_group = 'group1'", edge.clone()).await;
    node.account("ana@example.edu", None).await;
    let id = "01913c6e-5f3a-7000-8000-000000000001";
    let dialog = format!(
        "MAIL FROM:<luis@elsewhere.example> ENVID=estafeta-{id}\r\nRCPT TO:<ana@example.edu> NOTIFY=SUCCESS\r\nDATA\r\nx\r\n.\r\n"
    );
    assert_eq!(say(&node, &dialog).await.join(" "), "250 250 354 250 221");
    let taken = edge.taken(1).await;
    assert!(text(&taken[0]).contains(&format!("X-Estafeta-Delivery-Id: {id}\r\n")));
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(edge.taken(1).await.len(), 1);
}

/// Postfix hands on how a stranger calls a message: two that are called the same are two.
#[tokio::test(flavor = "multi_thread")]
async fn what_strangers_call_their_messages_is_not_theirs_to_be_known_by() {
    let node = Node::start().await;
    let ana = node.account("ana@example.edu", None).await;
    for text in ["one", "two"] {
        let dialog = format!(
            "MAIL FROM:<luis@elsewhere.example> ENVID=01913c6e-5f3a-7000-8000-000000000001\r\n\
             RCPT TO:<ana@example.edu>\r\nDATA\r\n{text}\r\n.\r\n"
        );
        assert_eq!(say(&node, &dialog).await.join(" "), "250 250 354 250 221");
    }
    let by_imap = super::suites::ByImap(node.provides.sessions.clone().unwrap());
    assert_eq!(by_imap.messages(&ana, "INBOX").await.len(), 2);
}
