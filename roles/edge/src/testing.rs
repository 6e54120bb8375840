//! A world for edge to be tested in: people in memory, a judge and mailboxes that do as they are told, a zone, other
//! people's mail servers.

pub mod sink;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use estafeta_core::contracts::Contracts;
use estafeta_core::delivery::{Answer, Delivery, Outcome, Parcel, later};
use estafeta_core::directory::memory::MemoryDirectory;
use estafeta_core::directory::{Alias, Directory, DirectoryRouter, NewAccount};
use estafeta_core::judge::{Action, Envelope, Judge, JudgeRouter, Verdict};
use estafeta_core::members::MembersView;
use estafeta_core::nobody::Nobody;
use estafeta_core::route::{Local, Routes};
use estafeta_core::settings::{SettingsStore, SettingsView};
use estafeta_core::{Address, DeliveryId, Failure, Message, Secret, ServiceName};
use estafeta_net::drain::Drain;
use estafeta_net::role::{Context, Transport};
use estafeta_net::section::Section;
use estafeta_net::sockets::Sockets;
use estafeta_net::tls::{KeyFiles, Tls, TlsFiles};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::edge::Edge;
use crate::incoming::{SMTP, SUBMISSION, SUBMISSIONS};
use crate::outgoing::names::{Exchange, Names, NamesError};

pub const PASSWORD: &str = "correct horse";

pub fn address(text: &str) -> Address {
    text.parse().unwrap()
}

/// Waits until something is so, for some seconds.
pub async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    for _ in 0..500 {
        if is_so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("never came true: {what}");
}

/// A judge that goes by words in the message; it keeps what it was asked about.
#[derive(Default)]
pub struct Words(pub Mutex<Vec<(Envelope, Message)>>);

#[async_trait]
impl Judge for Words {
    async fn judge(&self, envelope: &Envelope, message: &Message) -> Result<Verdict, Failure> {
        self.0.lock().unwrap().push((envelope.clone(), message.clone()));
        let text = String::from_utf8_lossy(&message.contiguous()).into_owned();
        if text.contains("SLOWLY") {
            tokio::time::sleep(Duration::from_secs(3600)).await;
        }
        let actions =
            [("GTUBE", Action::Reject), ("JUNK", Action::Junk), ("GREY", Action::Greylist), ("DEFER", Action::Defer)];
        let action = actions.iter().find(|(word, _)| text.contains(word)).map_or(Action::Accept, |(_, action)| *action);
        let mut headers = vec![("Authentication-Results".to_owned(), "mx.example.edu; spf=none".to_owned())];
        // The filter and rspamd say themselves what makes mail Junk.
        headers.extend((action == Action::Junk).then(|| ("X-Spam".to_owned(), "Yes".to_owned())));
        Ok(Verdict {
            action,
            score: 1.0,
            required_score: 15.0,
            symbols: vec![],
            headers,
            explanation: (action == Action::Reject).then(|| "Gtube pattern".to_owned()),
        })
    }
}

/// What a mailbox does with mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Later,
    Refuse,
    Hang,
}

/// Mail as it lies in a mailbox.
#[derive(Debug, Clone)]
pub struct Stored {
    pub id: DeliveryId,
    pub to: String,
    pub sender: Option<Address>,
    pub text: String,
}

/// Mailboxes that store what they get once, unless they were told otherwise.
#[derive(Default)]
pub struct Mailboxes {
    pub stored: Mutex<Vec<Stored>>,
    pub modes: Mutex<BTreeMap<String, Mode>>,
    pub repeats: AtomicU64,
    seen: Mutex<BTreeSet<(DeliveryId, String)>>,
}

impl Mailboxes {
    pub fn set(&self, to: &str, mode: Option<Mode>) {
        let mut modes = self.modes.lock().unwrap();
        match mode {
            Some(mode) => modes.insert(to.to_owned(), mode),
            None => modes.remove(to),
        };
    }

    pub fn of(&self, to: &str) -> Vec<Stored> {
        self.stored.lock().unwrap().iter().filter(|stored| stored.to == to).cloned().collect()
    }
}

#[async_trait]
impl Delivery for Mailboxes {
    async fn deliver(&self, parcel: &Parcel) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        for recipient in &parcel.recipients {
            let to = recipient.account.address.to_string();
            let mode = self.modes.lock().unwrap().get(&to).copied();
            outcomes.push(match mode {
                Some(Mode::Later) => later("told so"),
                Some(Mode::Refuse) => {
                    Outcome::Refused(Answer { code: 552, status: "5.2.2".into(), text: "Mailbox full".into() })
                }
                Some(Mode::Hang) => std::future::pending().await,
                None => {
                    if self.seen.lock().unwrap().insert((parcel.id, to.clone())) {
                        let text = String::from_utf8_lossy(&parcel.message.contiguous()).into_owned();
                        self.stored.lock().unwrap().push(Stored {
                            id: parcel.id,
                            to,
                            sender: parcel.sender.clone(),
                            text,
                        });
                    } else {
                        self.repeats.fetch_add(1, Ordering::Relaxed);
                    }
                    Outcome::Delivered
                }
            });
        }
        outcomes
    }
}

/// MX records; every host that they name is this machine.
#[derive(Default)]
pub struct Zone {
    exchanges: BTreeMap<String, Vec<Exchange>>,
    silent: BTreeSet<String>,
    missing_once: Mutex<BTreeSet<String>>,
}

impl Zone {
    pub fn with_mx(mut self, domain: &str, hosts: &[(u16, &str)]) -> Self {
        let exchange =
            |(preference, host): &(u16, &str)| Exchange { preference: *preference, host: (*host).to_owned() };
        self.exchanges.insert(domain.to_owned(), hosts.iter().map(exchange).collect());
        self
    }

    pub fn silent(mut self, domain: &str) -> Self {
        self.silent.insert(domain.to_owned());
        self
    }

    /// Whoever asks first is told that there is no such domain.
    pub fn missing_once(self, domain: &str) -> Self {
        self.missing_once.lock().unwrap().insert(domain.to_owned());
        self
    }
}

#[async_trait]
impl Names for Zone {
    async fn exchanges(&self, domain: &str) -> Result<Vec<Exchange>, NamesError> {
        if self.silent.contains(domain) {
            return Err(NamesError::Silent("told so".to_owned()));
        }
        if self.missing_once.lock().unwrap().remove(domain) {
            return Err(NamesError::Missing);
        }
        self.exchanges.get(domain).cloned().ok_or(NamesError::Missing)
    }

    async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, NamesError> {
        if host.starts_with("gone") { Err(NamesError::Missing) } else { Ok(vec![Ipv4Addr::LOCALHOST.into()]) }
    }
}

/// A self-signed certificate and its key, in files.
pub fn certificate(directory: &Path) -> Arc<Tls> {
    let pair = rcgen::generate_simple_self_signed(vec!["mx.example.edu".to_owned()]).unwrap();
    let files = KeyFiles { certificate: directory.join("certificate.pem"), key: directory.join("key.pem") };
    std::fs::write(&files.certificate, pair.cert.pem()).unwrap();
    std::fs::write(&files.key, pair.signing_key.serialize_pem()).unwrap();
    Arc::new(Tls::load(TlsFiles { service: Some(files), cluster: None }).unwrap())
}

/// An edge and all around it. Domain `example.edu` is ours, with `ana`, `bob`, `staff` (both) and `away` (forwarded).
pub struct World {
    pub edge: Arc<Edge>,
    pub people: Arc<dyn Directory>,
    pub directory: Local<dyn Directory>,
    pub judge: Local<dyn Judge>,
    pub words: Arc<Words>,
    pub mailboxes: Arc<Mailboxes>,
    pub tls: Arc<Tls>,
    pub sockets: Arc<Sockets>,
    memory: Arc<MemoryDirectory>,
    zone: Arc<Zone>,
    config: String,
    data: Arc<TempDir>,
}

impl World {
    /// With this section `[edge]`.
    pub async fn new(config: &str, zone: Zone) -> Self {
        let memory = Arc::new(MemoryDirectory::default());
        let domain = "example.edu".parse().unwrap();
        memory.add_domain(&domain).await.unwrap();
        for name in ["ana", "bob"] {
            let new = NewAccount {
                address: address(&format!("{name}@example.edu")),
                name: String::new(),
                store_group: "one".parse().unwrap(),
                quota_bytes: None,
                quota_messages: None,
                password: Some(Secret::new(PASSWORD.to_owned())),
            };
            memory.add_account(&new).await.unwrap();
        }
        for (alias, targets) in [
            ("staff@example.edu", &["ana@example.edu", "bob@example.edu"][..]),
            ("away@example.edu", &["friend@elsewhere.example"]),
        ] {
            let targets = targets.iter().map(|target| address(target)).collect();
            memory.add_alias(&Alias { address: address(alias), targets }).await.unwrap();
        }
        let data = Arc::new(tempfile::tempdir().unwrap());
        Self::open(memory, Arc::default(), Arc::new(zone), config.to_owned(), data).await
    }

    async fn open(
        memory: Arc<MemoryDirectory>,
        mailboxes: Arc<Mailboxes>,
        zone: Arc<Zone>,
        config: String,
        data: Arc<TempDir>,
    ) -> Self {
        let (directory, judge) = (Local::<dyn Directory>::default(), Local::<dyn Judge>::default());
        directory.provide(memory.clone());
        let words = Arc::new(Words::default());
        judge.provide(words.clone());
        let members = MembersView::default();
        let node: estafeta_core::NodeName = "edge1".parse().unwrap();
        let people = Arc::new(DirectoryRouter(Routes::new(
            ServiceName::fixed("ldaps"),
            node.clone(),
            directory.clone(),
            members.clone(),
            Box::new(|_| panic!("nobody else is in this world")),
        )));
        let filters = Arc::new(JudgeRouter(Routes::new(
            ServiceName::fixed("filter"),
            node.clone(),
            judge.clone(),
            members.clone(),
            Box::new(|_| panic!("nobody else is in this world")),
        )));
        let contracts = Contracts {
            directory: people.clone(),
            directory_uncached: people,
            judge: filters,
            delivery: mailboxes.clone(),
            sessions: Arc::new(Nobody),
            submit: Arc::new(Nobody),
            settings: memory.clone(),
            administration: memory.clone(),
        };
        let mut sockets = Sockets::default();
        for service in [SMTP, SUBMISSIONS, SUBMISSION] {
            sockets.bind(&service, (Ipv4Addr::LOCALHOST, 0).into(), Transport::Tcp).unwrap();
        }
        let tls = certificate(data.path());
        let context = Context {
            node,
            hostname: "mx.example.edu".to_owned(),
            data: data.path().join("edge"),
            sockets: Arc::new(Sockets::default()),
            tls: tls.clone(),
            contracts,
            members,
            settings: SettingsView::new(memory.read().await.unwrap()),
            issuer: None,
            drain: Drain::new(),
        };
        std::fs::create_dir_all(&context.data).unwrap();
        let section = Section::parse(&config).unwrap().read::<crate::config::Config>().unwrap().check().unwrap();
        let edge = crate::open(section, zone.clone(), context).await.unwrap();
        let people: Arc<dyn Directory> = memory.clone();
        let sockets = Arc::new(sockets);
        Self { edge, people, directory, judge, words, mailboxes, tls, sockets, memory, zone, config, data }
    }

    /// Begins to listen, and to work on the queue.
    pub fn serve(&self) -> &Self {
        let serving = crate::serve(self.edge.clone(), self.sockets.clone(), self.tls.clone());
        self.edge.drain.spawn("edge", async { serving.await.unwrap() });
        self
    }

    /// The process dies, without a word to anybody, and starts again on the same disk.
    pub async fn crash(self) -> Self {
        let Self { edge, memory, mailboxes, zone, config, data, .. } = self;
        // No goodbye: what runs is cut off at its next await.
        edge.drain.finish(Duration::ZERO).await;
        edge.queue.close().await;
        drop(edge);
        Self::open(memory, mailboxes, zone, config, data).await
    }

    pub fn port(&self, service: &ServiceName) -> SocketAddr {
        let listeners = self.sockets.tcp(service).unwrap();
        listeners[0].local_addr().unwrap()
    }

    pub async fn dialog(&self) -> Dialog {
        let (dialog, greeting) = Dialog::connect(self.port(&SMTP)).await;
        assert!(greeting.starts_with("220 mx.example.edu ESMTP"), "{greeting}");
        dialog
    }

    /// Sends one message from outside; gives the answers to each RCPT and to the message.
    pub async fn send(&self, sender: &str, recipients: &[&str], text: &str) -> Vec<String> {
        let mut dialog = self.dialog().await;
        dialog.say("EHLO client.example\r\n").await;
        dialog.send(sender, recipients, text).await
    }

    /// Waits until the queue is empty.
    pub async fn settled(&self) {
        until("the queue is empty", async || self.edge.queue.len() == 0).await;
    }
}

/// A client that speaks plainly.
pub struct Dialog(BufReader<TcpStream>);

impl Dialog {
    pub async fn connect(to: SocketAddr) -> (Self, String) {
        let mut dialog = Self(BufReader::new(TcpStream::connect(to).await.unwrap()));
        let greeting = dialog.hear().await;
        (dialog, greeting)
    }

    /// One reply, all its lines; empty when the connection is closed.
    pub async fn hear(&mut self) -> String {
        let mut reply = String::new();
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).await.unwrap();
            let last = line.as_bytes().get(3) != Some(&b'-');
            reply.push_str(&line);
            if last {
                return reply;
            }
        }
    }

    pub async fn tell(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    pub async fn say(&mut self, text: &str) -> String {
        self.tell(text).await;
        self.hear().await
    }

    pub async fn send(&mut self, sender: &str, recipients: &[&str], text: &str) -> Vec<String> {
        let mut answers = Vec::new();
        assert!(self.say(&format!("MAIL FROM:<{sender}>\r\n")).await.starts_with("250"));
        for recipient in recipients {
            answers.push(self.say(&format!("RCPT TO:<{recipient}>\r\n")).await);
        }
        let go = self.say("DATA\r\n").await;
        if go.starts_with("354") {
            answers.push(self.say(&format!("{text}\r\n.\r\n")).await);
        }
        answers
    }
}

/// What somebody else's mail server got.
#[derive(Debug, Clone)]
pub struct Received {
    pub secured: bool,
    pub mail: estafeta_protocols::smtp::server::Mail,
    pub recipients: Vec<String>,
    pub text: Bytes,
}
