//! The remote clients towards a real Dovecot: what they speak is what others speak.
//!
//! Dovecot comes from Debian's packages dovecot-imapd, dovecot-pop3d and dovecot-lmtpd, which `integration-tests/all`
//! installs; where it is not there, or without root, nothing is tried.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use bytes::Bytes;
use estafeta_core::AccountId;
use estafeta_core::delivery::Recipient;
use estafeta_core::sessions::Protocol;
use tokio::io::AsyncReadExt;

use super::*;

const PROGRAM: &str = "/usr/sbin/dovecot";

/// A Dovecot that stands where a mailbox node would: the cluster's certificates, mutual TLS, everyone has mail.
struct Dovecot {
    authority: AuthorityFiles,
    addresses: BTreeMap<ServiceName, SocketAddr>,
    child: Child,
    files: TempDir,
}

impl Drop for Dovecot {
    fn drop(&mut self) {
        // Its master process ends the others on SIGTERM alone.
        let ended = Command::new("kill").arg(self.child.id().to_string()).status();
        if ended.is_err() {
            self.child.kill().ok();
        }
        self.child.wait().ok();
    }
}

impl Dovecot {
    async fn start() -> Option<Self> {
        let files = tempfile::Builder::new().prefix("estafeta-dovecot-").tempdir().unwrap();
        let root = fs::metadata("/root").is_ok_and(|_| fs::read_dir("/root").is_ok());
        if !Path::new(PROGRAM).exists() || !root {
            return None;
        }
        fs::set_permissions(files.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let authority = AuthorityFiles::init(&files.path().join("authority"), SystemTime::now()).unwrap();
        let own = authority.issue_node(&"mailbox1".parse().unwrap(), &[RoleName::MAILBOX], SystemTime::now()).unwrap();
        let mut addresses = BTreeMap::new();
        for service in [LMTP, MAILBOX_IMAP, MAILBOX_POP3] {
            addresses.insert(service, std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
        }
        let at = files.path().display();
        let port = |service: &ServiceName| addresses[service].port();
        let homes = files.path().join("homes");
        fs::create_dir(&homes).unwrap();
        fs::set_permissions(&homes, fs::Permissions::from_mode(0o777)).unwrap();
        let configuration = format!(
            "base_dir = {at}/run\nstate_dir = {at}/state\nlog_path = {at}/log\nprotocols = imap pop3 lmtp\n\
             listen = 127.0.0.1\nlogin_trusted_networks = 127.0.0.0/8\nfirst_valid_uid = 1\n\
             ssl = required\nssl_cert = <{certificate}\nssl_key = <{key}\nssl_ca = <{authority}\nssl_require_crl = no\n\
             ssl_verify_client_cert = yes\nauth_ssl_require_client_cert = yes\nauth_ssl_username_from_cert = yes\n\
             auth_mechanisms = external\nauth_master_user_separator = *\n\
             passdb {{\n driver = static\n args = nopassword=y\n master = yes\n}}\n\
             passdb {{\n driver = static\n args = nopassword=y\n}}\n\
             userdb {{\n driver = static\n args = uid=mail gid=mail home={at}/homes/%u\n}}\n\
             mail_location = maildir:~/mail\nnamespace inbox {{\n inbox = yes\n separator = /\n}}\n\
             service imap-login {{\n inet_listener imap {{\n port = 0\n }}\n inet_listener imaps {{\n port = {imap}\n }}\n}}\n\
             service pop3-login {{\n inet_listener pop3 {{\n port = 0\n }}\n inet_listener pop3s {{\n port = {pop3}\n }}\n}}\n\
             service lmtp {{\n inet_listener lmtp {{\n port = {lmtp}\n ssl = yes\n }}\n}}\n\
             protocol lmtp {{\n postmaster_address = postmaster@example.edu\n hostname = mailbox1\n}}\n",
            certificate = own.certificate.display(),
            key = own.key.display(),
            authority = authority.certificate().display(),
            imap = port(&MAILBOX_IMAP),
            pop3 = port(&MAILBOX_POP3),
            lmtp = port(&LMTP),
        );
        let file = files.path().join("dovecot.conf");
        fs::write(&file, configuration).unwrap();
        let quiet = || Stdio::from(fs::File::create(files.path().join("said")).unwrap());
        let child =
            Command::new(PROGRAM).arg("-F").arg("-c").arg(&file).stdout(quiet()).stderr(quiet()).spawn().unwrap();
        let dovecot = Self { authority, addresses, child, files };
        for _ in 0..200 {
            if dovecot.addresses.values().all(|address| std::net::TcpStream::connect(address).is_ok()) {
                return Some(dovecot);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("Dovecot does not start: {}", dovecot.log());
    }

    fn log(&self) -> String {
        ["said", "log"].map(|name| fs::read_to_string(self.files.path().join(name)).unwrap_or_default()).concat()
    }

    fn remote(&self, asking: RoleName, service: ServiceName) -> (Remote, Candidate) {
        remote(&self.authority, asking, service.clone(), self.addresses[&service])
    }

    async fn talk(&self, protocol: Protocol, account: &Account, commands: &str) -> String {
        let (service, client) = match protocol {
            Protocol::Imap => (MAILBOX_IMAP, clients().imap.unwrap()),
            Protocol::Pop3 => (MAILBOX_POP3, clients().pop3.unwrap()),
        };
        let (remote, candidate) = self.remote(RoleName::ACCESS, service);
        let request =
            SessionRequest { protocol, account: account.clone(), client: "192.0.2.7:4711".parse().unwrap(), tls: None };
        let opened = client(&remote, &candidate).open(&request).await;
        let session = opened.unwrap_or_else(|failure| panic!("{failure}\n{}", self.log()));
        if protocol == Protocol::Imap {
            assert!(session.capabilities().contains("IMAP4rev1"), "{}", session.capabilities());
        }
        let (near, mut far) = tokio::io::duplex(4096);
        let served = tokio::spawn(session.serve(Box::new(near), Bytes::from(commands.to_owned())));
        let mut said = String::new();
        tokio::time::timeout(PATIENCE, far.read_to_string(&mut said)).await.unwrap().unwrap();
        served.await.unwrap().unwrap();
        said
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dovecot_takes_our_deliveries_and_serves_our_clients() {
    let Some(dovecot) = Dovecot::start().await else {
        eprintln!("not tried: {PROGRAM} is not there, or this is not root");
        return;
    };
    let ana = Account {
        id: AccountId::random(),
        address: "ana@example.edu".parse().unwrap(),
        name: String::new(),
        store_group: "group1".parse().unwrap(),
        quota_bytes: None,
        quota_messages: None,
        enabled: true,
        created: 0,
    };
    let (remote, candidate) = dovecot.remote(RoleName::EDGE, LMTP);
    let delivery = clients().delivery.unwrap()(&remote, &candidate);
    for number in 0..3 {
        let parcel = Parcel {
            id: estafeta_core::DeliveryId::generate(),
            sender: Some("sender@elsewhere.example".parse().unwrap()),
            recipients: vec![Recipient { account: ana.clone(), original: ana.address.clone() }],
            message: Message::new(format!("Subject: {number} ñ\r\n\r\n.dots\r\n").into())
                .with_prefix("Received: by edge\r\n"),
        };
        assert_eq!(delivery.deliver(&parcel).await, [Outcome::Delivered], "{}", dovecot.log());
    }
    let said = dovecot.talk(Protocol::Imap, &ana, "a SELECT INBOX\r\nb FETCH 3 BODY.PEEK[TEXT]\r\nc LOGOUT\r\n").await;
    assert!(said.contains("* 3 EXISTS\r\n") && said.contains("\r\n.dots\r\n"), "{said}");
    let said = dovecot.talk(Protocol::Pop3, &ana, "RETR 2\r\nDELE 1\r\nQUIT\r\n").await;
    assert!(said.contains("Subject: 1 ñ\r\n\r\n..dots\r\n.\r\n"), "{said}");
    let said = dovecot.talk(Protocol::Pop3, &ana, "STAT\r\nQUIT\r\n").await;
    assert!(said.contains("+OK 2 "), "{said}");
    // Dovecot believes what we say of the client.
    assert_eq!(dovecot.log().matches("rip=192.0.2.7").count(), 3, "{}", dovecot.log());
}
