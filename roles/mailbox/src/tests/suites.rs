//! Both suites, on both implementations; and what only the listeners show.

use bytes::Bytes;
use estafeta_core::delivery::{Recipient, suite as delivery_suite};
use estafeta_core::sessions::{Protocol, suite as sessions_suite};
use estafeta_core::{DeliveryId, Reason};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::relay::RemoteDelivery;

/// Reads mailboxes by IMAP, on the node itself.
pub(super) struct ByImap(pub(super) Arc<dyn Sessions>);

#[async_trait]
impl delivery_suite::Mailboxes for ByImap {
    async fn read(&self, account: &Account, junk: bool) -> Vec<Bytes> {
        self.messages(account, if junk { "Junk" } else { "INBOX" }).await
    }
}

impl ByImap {
    pub(super) async fn messages(&self, account: &Account, mailbox: &str) -> Vec<Bytes> {
        let request = SessionRequest {
            protocol: Protocol::Imap,
            account: account.clone(),
            client: "192.0.2.1:1".parse().unwrap(),
            tls: None,
        };
        let session = self.0.open(&request).await.unwrap();
        let (near, mut far) = tokio::io::duplex(4096);
        let commands = format!("a SELECT {mailbox}\r\nb FETCH 1:* BODY.PEEK[]\r\nc LOGOUT\r\n");
        let served = tokio::spawn(session.serve(Box::new(near), commands.into()));
        let mut said = Vec::new();
        far.read_to_end(&mut said).await.unwrap();
        served.await.unwrap().unwrap();
        literals(&said.into())
    }
}

/// The literals in what an IMAP server said.
pub(super) fn literals(said: &Bytes) -> Vec<Bytes> {
    let (mut found, mut from) = (Vec::new(), 0);
    while let Some(open) = said[from..].iter().position(|&byte| byte == b'{') {
        let digits = from + open + 1;
        let close = digits + said[digits..].iter().position(|&byte| byte == b'}').unwrap();
        let size: usize = std::str::from_utf8(&said[digits..close]).unwrap().parse().unwrap();
        let start = close + "}\r\n".len();
        found.push(said.slice(start..start + size));
        from = start + size;
    }
    found
}

async fn delivery_fixture(remote: bool) -> delivery_suite::Fixture {
    let node = Node::start().await;
    let local = node.provides.delivery.clone().unwrap();
    delivery_suite::Fixture {
        delivery: if remote { node.remote_delivery() } else { local },
        mailboxes: Arc::new(ByImap(node.provides.sessions.clone().unwrap())),
        accounts: [node.account("ana@example.edu", None).await, node.account("\"ben b\"@example.edu", None).await],
        utf8: node.account("josé@example.edu", None).await,
        small: node.account("small@example.edu", Some(2000)).await,
        disabled: node.disabled("disabled@example.edu").await,
        unknown: node.unknown("unknown@example.edu").await,
        keep: Box::new(node),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn delivery_on_this_node() {
    delivery_suite::run(async || delivery_fixture(false).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn delivery_by_lmtp() {
    delivery_suite::run(async || delivery_fixture(true).await).await;
}

/// Each protocol has its own client, as the router has its own routes for each.
struct ByProtocol {
    imap: Arc<dyn Sessions>,
    pop3: Arc<dyn Sessions>,
}

#[async_trait]
impl Sessions for ByProtocol {
    async fn open(&self, request: &SessionRequest) -> Result<Box<dyn Session>, Failure> {
        match request.protocol {
            Protocol::Imap => self.imap.open(request).await,
            Protocol::Pop3 => self.pop3.open(request).await,
        }
    }
}

fn remote_sessions(node: &Node, asking: RoleName) -> Arc<dyn Sessions> {
    let (remote, imap) = node.remote(asking.clone(), MAILBOX_IMAP);
    let (_, pop3) = node.remote(asking, MAILBOX_POP3);
    Arc::new(ByProtocol {
        imap: clients().imap.unwrap()(&remote, &imap),
        pop3: clients().pop3.unwrap()(&remote, &pop3),
    })
}

async fn sessions_fixture(remote: bool) -> sessions_suite::Fixture {
    let node = Node::start().await;
    let local = node.provides.sessions.clone().unwrap();
    sessions_suite::Fixture {
        sessions: if remote { remote_sessions(&node, RoleName::ACCESS) } else { local },
        accounts: [node.account("ana@example.edu", None).await, node.account("\"ben b\"@example.edu", None).await],
        disabled: node.disabled("disabled@example.edu").await,
        unknown: node.unknown("unknown@example.edu").await,
        keep: Box::new(node),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_on_this_node() {
    sessions_suite::run(async || sessions_fixture(false).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_by_imap_and_pop3() {
    sessions_suite::run(async || sessions_fixture(true).await).await;
}

fn parcel(account: &Account, text: &str) -> Parcel {
    Parcel {
        id: DeliveryId::generate(),
        sender: None,
        recipients: vec![Recipient { account: account.clone(), original: account.address.clone() }],
        message: Message::new(text.to_owned().into()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_detail_names_a_folder_here_and_by_lmtp() {
    let node = Node::start().await;
    let ana = node.account("ana@example.edu", None).await;
    let detailed = |original: &str| Parcel {
        recipients: vec![Recipient { account: ana.clone(), original: original.parse().unwrap() }],
        ..parcel(&ana, "Subject: x\r\n\r\nx\r\n")
    };
    for delivery in [node.provides.delivery.clone().unwrap(), node.remote_delivery()] {
        // By an alias, too.
        for original in ["ana+drafts@example.edu", "ana.perez+Drafts@example.edu", "ana+none@example.edu"] {
            assert_eq!(delivery.deliver(&detailed(original)).await, [Outcome::Delivered], "{original}");
        }
    }
    let by_imap = ByImap(node.provides.sessions.clone().unwrap());
    // Whom the sender named stands in the message, whichever way it came.
    let drafts = by_imap.messages(&ana, "Drafts").await;
    let named = |original: &str| {
        let line = format!("Original-Recipient: rfc822;{original}\r\n");
        drafts.iter().filter(|message| message.windows(line.len()).any(|window| window == line.as_bytes())).count()
    };
    assert_eq!((named("ana+drafts@example.edu"), named("ana.perez+Drafts@example.edu")), (2, 2));
    assert_eq!(by_imap.messages(&ana, "Drafts").await.len(), 4);
    assert_eq!(by_imap.messages(&ana, "INBOX").await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_is_named_twice_gets_one_copy_where_the_first_name_says() {
    let node = Node::start().await;
    let (ana, luis) = (node.account("ana@example.edu", None).await, node.account("luis@example.edu", None).await);
    let to = |account: &Account, original: &str| Recipient {
        account: account.clone(),
        original: format!("{original}@example.edu").parse().unwrap(),
    };
    let twice = || Parcel {
        recipients: vec![to(&ana, "ana+drafts"), to(&luis, "luis"), to(&ana, "ana"), to(&ana, "ana+none")],
        ..parcel(&ana, "Subject: x\r\n\r\nx\r\n")
    };
    for delivery in [node.provides.delivery.clone().unwrap(), node.remote_delivery()] {
        for _ in 0..10 {
            assert_eq!(delivery.deliver(&twice()).await, vec![Outcome::Delivered; 4]);
        }
    }
    let by_imap = ByImap(node.provides.sessions.clone().unwrap());
    assert_eq!(by_imap.messages(&ana, "Drafts").await.len(), 20);
    assert_eq!(by_imap.messages(&ana, "INBOX").await.len(), 0);
    assert_eq!(by_imap.messages(&luis, "INBOX").await.len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_service_is_for_its_own_role_alone() {
    let node = Node::start().await;
    let ana = node.account("ana@example.edu", None).await;
    let request =
        |protocol| SessionRequest { protocol, account: ana.clone(), client: "192.0.2.1:1".parse().unwrap(), tls: None };
    for protocol in [Protocol::Imap, Protocol::Pop3] {
        let refused = remote_sessions(&node, RoleName::EDGE).open(&request(protocol)).await;
        assert_eq!(refused.err().unwrap().reason, Reason::Unavailable);
    }
    let (remote, candidate) = node.remote(RoleName::ACCESS, LMTP);
    let outcomes = clients().delivery.unwrap()(&remote, &candidate).deliver(&parcel(&ana, "x\r\n")).await;
    assert!(matches!(outcomes[..], [Outcome::Later(_)]), "{outcomes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_kept_and_replaced_when_they_are_gone() {
    let node = Node::start_with("store_group = 'group1'\ndelivery_timeout_seconds = 2").await;
    let ana = node.account("ana@example.edu", None).await;
    let (remote, candidate) = node.remote(RoleName::EDGE, LMTP);
    let delivery = RemoteDelivery::new(remote, candidate);
    for _ in 0..3 {
        assert_eq!(delivery.deliver(&parcel(&ana, "x\r\n")).await, [Outcome::Delivered]);
        assert_eq!(delivery.idle_connections(), 1);
    }
    // The node has closed the connection that was silent, which nobody has read yet.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(delivery.deliver(&parcel(&ana, "x\r\n")).await, [Outcome::Delivered]);
    // Now nobody answers any more.
    node.drain.finish(PATIENCE).await;
    let outcomes = delivery.deliver(&parcel(&ana, "x\r\n")).await;
    assert!(matches!(outcomes[..], [Outcome::Later(_)]), "{outcomes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_client_delivers_by_lmtp_without_an_id() {
    let node = Node::start().await;
    let ana = node.account("ana@example.edu", None).await;
    let (remote, candidate) = node.remote(RoleName::EDGE, LMTP);
    let mut stream = remote.tls.connect(&candidate).await.unwrap().stream;
    let dialog = "LHLO mx\r\nMAIL FROM:<x@[192.0.2.1]>\r\nRCPT TO:<nobody@example.edu>\r\nRCPT TO:<ana@example.edu>\r\n\
        RCPT TO:<ANA@example.edu>\r\nDATA\r\nhi\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<ana@example.edu>\r\nDATA\r\nhi\r\n.\r\nQUIT\r\n";
    stream.write_all(dialog.as_bytes()).await.unwrap();
    let mut said = String::new();
    tokio::time::timeout(PATIENCE, stream.read_to_string(&mut said)).await.unwrap().unwrap();
    let codes: Vec<_> = said.lines().filter(|line| !line.starts_with("250-")).map(|line| &line[..3]).collect();
    assert_eq!(
        codes,
        ["220", "250", "250", "550", "250", "250", "354", "250", "250", "250", "250", "354", "250", "221"],
        "{said}"
    );
    // Once for both spellings of one account, and once more for the second transaction.
    let read = ByImap(node.provides.sessions.clone().unwrap());
    assert_eq!(delivery_suite::Mailboxes::read(&read, &ana, false).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_of_another_store_group_waits_and_a_successor_inherits_nothing() {
    let node = Node::start_with("store_group = 'group1'\nwhen_over_quota = 'refuse'\njunk = false").await;
    let delivery = node.provides.delivery.clone().unwrap();
    let ana = node.account("ana@example.edu", Some(3)).await;
    let new = NewAccount {
        address: "eva@example.edu".parse().unwrap(),
        name: String::new(),
        store_group: "group2".parse().unwrap(),
        quota_bytes: None,
        quota_messages: None,
        password: None,
    };
    let elsewhere = node.directory.add_account(&new).await.unwrap();
    let outcomes = delivery.deliver(&parcel(&elsewhere, "x")).await;
    assert!(matches!(outcomes[..], [Outcome::Later(_)]), "{outcomes:?}");
    // The directory's cache at edge still names the account that was removed since, and another has its address.
    node.directory.remove_account(&ana.address).await.unwrap();
    let successor = node.account("ana@example.edu", Some(100)).await;
    assert!(matches!(delivery.deliver(&parcel(&ana, "x")).await[..], [Outcome::Refused(_)]));
    assert_eq!(delivery.deliver(&parcel(&successor, "X-Spam: Yes\r\n\r\n")).await, [Outcome::Delivered]);
    let outcomes = delivery.deliver(&parcel(&successor, &"x".repeat(100))).await;
    assert!(matches!(&outcomes[..], [Outcome::Refused(answer)] if answer.code == 552), "{outcomes:?}");
    let read = ByImap(node.provides.sessions.clone().unwrap());
    assert_eq!(delivery_suite::Mailboxes::read(&read, &successor, false).await.len(), 1, "junk = false: into INBOX");
    assert!(node.files.path().join("data/mailbox.db").exists());
}
