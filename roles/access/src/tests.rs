//! Dialogs before login, against a directory in memory and mail that only echoes.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use estafeta_core::contracts::Contracts;
use estafeta_core::directory::memory::MemoryDirectory;
use estafeta_core::directory::{Directory, NewAccount};
use estafeta_core::nobody::Nobody;
use estafeta_core::sessions::{BoxStream, Session, SessionRequest, Sessions, TlsFacts};
use estafeta_core::settings::SettingsStore;
use estafeta_core::{Failure, Reason, Secret};
use estafeta_net::connection::Connection;
use estafeta_net::drain::Drain;
use estafeta_net::role::Context;
use estafeta_net::tls::{Tls, TlsFiles};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use crate::config::Config;
use crate::front::Front;

mod over_tls;

/// Mail that says whose it is, then says back what was unread and what comes.
#[derive(Default)]
struct Echo {
    away: AtomicBool,
}

/// Whose mail, and by what TLS.
struct EchoSession(String, Option<TlsFacts>);

#[async_trait]
impl Sessions for Echo {
    async fn open(&self, request: &SessionRequest) -> Result<Box<dyn Session>, Failure> {
        if self.away.load(Ordering::Relaxed) {
            return Err(Failure::unavailable("the test wants it so"));
        }
        Ok(Box::new(EchoSession(request.account.address.to_string(), request.tls.clone())))
    }
}

#[async_trait]
impl Session for EchoSession {
    fn capabilities(&self) -> &str {
        "IMAP4rev1 ECHO"
    }

    async fn serve(self: Box<Self>, mut stream: BoxStream, unread: Bytes) -> io::Result<()> {
        let tls = self.1.map(|tls| format!(" over {}", tls.version)).unwrap_or_default();
        stream.write_all(format!("mail of {}{tls}: ", self.0).as_bytes()).await?;
        stream.write_all(&unread).await?;
        let (mut from, mut to) = tokio::io::split(stream);
        tokio::io::copy(&mut from, &mut to).await?;
        to.shutdown().await
    }
}

struct House {
    front: Front,
    directory: Arc<dyn Directory>,
    echo: Arc<Echo>,
    drain: Drain,
}

async fn house() -> House {
    house_with(Config::default()).await
}

async fn house_with(config: Config) -> House {
    let (context, echo) = context(TlsFiles::default()).await;
    let front = Front::new(&config, &context);
    House { front, directory: context.contracts.directory, echo, drain: context.drain }
}

/// What the role is handed: `ana@example.edu` with the password `correct horse`, and mail that echoes.
async fn context(tls: TlsFiles) -> (Context, Arc<Echo>) {
    let directory = Arc::new(MemoryDirectory::default());
    directory.add_domain(&"example.edu".parse().unwrap()).await.unwrap();
    let ana = NewAccount {
        address: "ana@example.edu".parse().unwrap(),
        name: String::new(),
        store_group: "main".parse().unwrap(),
        quota_bytes: None,
        quota_messages: None,
        password: Some(Secret::new("correct horse".into())),
    };
    directory.add_account(&ana).await.unwrap();
    let echo = Arc::new(Echo::default());
    let contracts = Contracts {
        directory: directory.clone(),
        directory_uncached: directory.clone(),
        judge: Arc::new(Nobody),
        delivery: Arc::new(Nobody),
        sessions: echo.clone(),
        submit: Arc::new(Nobody),
        settings: directory.clone(),
        administration: directory,
    };
    let context = Context {
        node: "access1".parse().unwrap(),
        hostname: "access1.example.edu".into(),
        data: "/nonexistent".into(),
        sockets: Arc::default(),
        tls: Arc::new(Tls::load(tls).unwrap()),
        contracts,
        members: Default::default(),
        settings: Default::default(),
        issuer: None,
        drain: Drain::new(),
    };
    (context, echo)
}

/// Where connections come from.
const CLIENT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 40_000);

/// A connection as TLS leaves it, or in clear text.
fn connection(secure: bool) -> (Connection, DuplexStream) {
    let (near, far) = duplex(64 * 1024);
    let tls = secure.then(|| TlsFacts { version: "TLSv1_3".into(), cipher: "TLS13_AES_256_GCM_SHA384".into() });
    (Connection { stream: Box::new(near), peer: CLIENT, local: CLIENT, tls, identity: None }, far)
}

async fn dialog(house: &House, imap: bool, secure: bool, input: &[u8]) -> String {
    let (connection, mut far) = connection(secure);
    let client = async {
        far.write_all(input).await.unwrap();
        far.shutdown().await.unwrap();
        let mut output = Vec::new();
        far.read_to_end(&mut output).await.unwrap();
        String::from_utf8(output).unwrap()
    };
    let server = async {
        if imap {
            crate::imap::talk(&house.front, connection).await
        } else {
            crate::pop3::talk(&house.front, connection).await
        }
    };
    let ((), output) = tokio::join!(server, client);
    output
}

#[tokio::test]
async fn imap_hands_over_with_what_came_behind_the_login() {
    let house = house().await;
    let output = dialog(&house, true, true, b"a LOGIN ana@example.edu \"correct horse\"\r\nb SELECT INBOX\r\n").await;
    assert!(
        output.contains(
            "a OK [CAPABILITY IMAP4rev1 ECHO] Logged in\r\nmail of ana@example.edu over TLSv1_3: b SELECT INBOX\r\n"
        ),
        "{output}"
    );
    // AUTHENTICATE PLAIN with its initial response.
    let output =
        dialog(&house, true, true, b"a AUTHENTICATE PLAIN AGFuYUBleGFtcGxlLmVkdQBjb3JyZWN0IGhvcnNl\r\nrest").await;
    assert!(output.ends_with("mail of ana@example.edu over TLSv1_3: rest"), "{output}");
}

#[tokio::test]
async fn pop3_hands_over_with_what_came_behind_the_login() {
    let house = house().await;
    let output = dialog(&house, false, true, b"USER ana@example.edu\r\nPASS correct horse\r\nSTAT\r\n").await;
    assert!(output.ends_with("mail of ana@example.edu over TLSv1_3: STAT\r\n"), "{output}");
}

#[tokio::test]
async fn pop3_logins_keep_their_distance_where_it_is_configured() {
    let house = house_with(Config { pop3_login_delay_seconds: 60, ..Config::default() }).await;
    let output = dialog(&house, false, true, b"CAPA\r\nUSER ana@example.edu\r\nPASS correct horse\r\n").await;
    assert!(output.contains("\r\nLOGIN-DELAY 60\r\n") && output.contains("+OK Logged in"), "{output}");
    let output = dialog(&house, false, true, b"USER ana@example.edu\r\nPASS wrong\r\n").await;
    assert!(
        output.contains("-ERR [AUTH]"),
        "who does not know the password does not learn when the owner came: {output}"
    );
    let output = dialog(&house, false, true, b"USER ana@example.edu\r\nPASS correct horse\r\n").await;
    assert!(output.contains("-ERR [LOGIN-DELAY] too soon"), "{output}");
    let output = dialog(&house, true, true, b"a LOGIN ana@example.edu \"correct horse\"\r\n").await;
    assert!(output.contains("a OK"), "IMAP does not wait: {output}");
}

#[tokio::test]
async fn nothing_is_looked_at_before_tls() {
    let house = house().await;
    let output = dialog(&house, true, false, b"a LOGIN ana@example.edu \"correct horse\"\r\n").await;
    assert!(output.contains("LOGINDISABLED") && output.contains("a NO [PRIVACYREQUIRED]"), "{output}");
    let output = dialog(&house, false, false, b"USER ana@example.edu\r\nPASS correct horse\r\n").await;
    assert!(output.contains("-ERR") && !output.contains("mail of"), "{output}");
}

#[tokio::test]
async fn nobody_acts_for_another() {
    let house = house().await;
    // bob NUL ana@example.edu NUL correct horse
    let output =
        dialog(&house, true, true, b"a AUTHENTICATE PLAIN Ym9iAGFuYUBleGFtcGxlLmVkdQBjb3JyZWN0IGhvcnNl\r\n").await;
    assert!(output.contains("a NO [AUTHORIZATIONFAILED]"), "{output}");
}

#[tokio::test(start_paused = true)]
async fn three_wrong_passwords_end_a_connection_and_more_slow_the_network_down() {
    let house = house().await;
    let wrong = b"a LOGIN ana@example.edu wrong\r\nb LOGIN ana@example.edu wrong\r\nc LOGIN ana@example.edu wrong\r\nd LOGIN ana@example.edu \"correct horse\"\r\n";
    let output = dialog(&house, true, true, wrong).await;
    assert_eq!(output.matches("NO [AUTHENTICATIONFAILED]").count(), 3, "{output}");
    assert!(output.contains("* BYE") && !output.contains("mail of"), "{output}");
    let began = tokio::time::Instant::now();
    dialog(&house, true, true, wrong).await;
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
}

#[tokio::test]
async fn mail_that_is_away_is_said_in_the_clients_language() {
    let house = house().await;
    house.echo.away.store(true, Ordering::Relaxed);
    let output = dialog(&house, true, true, b"a LOGIN ana@example.edu \"correct horse\"\r\nb LOGOUT\r\n").await;
    assert!(output.contains("a NO [UNAVAILABLE]") && output.contains("b OK"), "{output}");
    let output = dialog(&house, false, true, b"USER ana@example.edu\r\nPASS correct horse\r\nQUIT\r\n").await;
    assert!(output.contains("-ERR [SYS/TEMP]") && !output.contains("horse"), "{output}");
}

#[tokio::test]
async fn mail_that_is_away_costs_no_try() {
    let house = house().await;
    house.echo.away.store(true, Ordering::Relaxed);
    let output = dialog(&house, true, true, &b"a LOGIN ana@example.edu \"correct horse\"\r\n".repeat(5)).await;
    assert_eq!((output.matches("[UNAVAILABLE]").count(), output.matches("BYE").count()), (5, 0), "{output}");
}

#[tokio::test(start_paused = true)]
async fn a_directory_that_is_busy_costs_no_try_and_is_not_asked_again_at_once() {
    let house = house().await;
    let (ana, wrong) = ("ana@example.edu", Secret::new("wrong".into()));
    while house.directory.authenticate(ana, &wrong, CLIENT.ip()).await.unwrap_err().reason != Reason::Busy {}
    let began = tokio::time::Instant::now();
    let output = dialog(&house, true, true, &b"a LOGIN ana@example.edu \"correct horse\"\r\n".repeat(5)).await;
    assert_eq!((output.matches("NO [LIMIT]").count(), output.matches("BYE").count()), (5, 0), "{output}");
    assert_eq!(began.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn whoever_is_slow_without_end_is_ended() {
    let house = house().await;
    let (connection, mut far) = connection(true);
    let client = async {
        let began = tokio::time::Instant::now();
        while far.write_all(b"a").await.is_ok() {
            tokio::time::sleep(Duration::from_secs(30)).await;
        }
        began.elapsed().as_secs()
    };
    let ((), seconds) = tokio::join!(crate::imap::talk(&house.front, connection), client);
    assert!((180..=240).contains(&seconds), "{seconds}");
}

#[tokio::test]
async fn a_drain_says_goodbye() {
    let house = house().await;
    house.drain.begin();
    let (connection, mut far) = connection(true);
    crate::imap::talk(&house.front, connection).await;
    let mut output = String::new();
    far.read_to_string(&mut output).await.unwrap();
    assert!(output.contains("* BYE [UNAVAILABLE]"), "{output}");
}

#[tokio::test(start_paused = true)]
async fn silence_is_not_waited_for() {
    let house = house().await;
    let began = tokio::time::Instant::now();
    let (connection, mut far) = connection(true);
    crate::pop3::talk(&house.front, connection).await;
    assert_eq!(began.elapsed().as_secs(), 60);
    let mut output = String::new();
    far.read_to_string(&mut output).await.unwrap();
    assert!(output.starts_with("+OK"), "{output}");
}
