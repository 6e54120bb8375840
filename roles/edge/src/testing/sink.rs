//! Somebody else's mail server: takes what it is sent, refuses whom it was told to.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use estafeta_net::connection::Connection;
use estafeta_net::drain::Drain;
use estafeta_net::drive::{Flow, Handler, Output, Timeouts, Upgrade, drive};
use estafeta_protocols::smtp::server::{Config, Event, Limits, Server, Tls};
use estafeta_protocols::smtp::{Dialect, Enhanced, Reply};
use tokio::net::TcpListener;

use super::Received;

/// How a sink behaves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Manners {
    /// Offers STARTTLS.
    pub tls: bool,
    /// And then speaks no TLS.
    pub tls_is_broken: bool,
    /// Greets with 554.
    pub is_closed: bool,
    /// Closes the connection after this many messages.
    pub messages: Option<u64>,
}

/// A sink. Recipients that begin with `no` are refused for good, with `later` for now, with `odd` without a word.
pub struct Sink {
    pub address: SocketAddr,
    pub received: Arc<Mutex<Vec<Received>>>,
    pub connections: Arc<AtomicU64>,
    /// How often a recipient that begins with `later` was named.
    pub postponed: Arc<AtomicU64>,
}

impl Sink {
    pub async fn open(manners: Manners, files: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let sink = Self {
            address: listener.local_addr().unwrap(),
            received: Arc::default(),
            connections: Arc::default(),
            postponed: Arc::default(),
        };
        let (received, connections, postponed) =
            (sink.received.clone(), sink.connections.clone(), sink.postponed.clone());
        let tls = super::certificate(files);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::SeqCst);
                let upgrade = match tls.service().filter(|_| manners.tls && !manners.tls_is_broken) {
                    Some(acceptor) => Upgrade::Accept(acceptor),
                    None => Upgrade::Never,
                };
                let config = Config {
                    dialect: Dialect::Smtp,
                    hostname: "sink.example".to_owned(),
                    tls: if manners.tls { Tls::Offered } else { Tls::Unavailable },
                    limits: Limits::default(),
                };
                let mut session = SinkSession {
                    manners,
                    taken: 0,
                    received: received.clone(),
                    postponed: postponed.clone(),
                    current: None,
                };
                tokio::spawn(async move {
                    let minute = Duration::from_secs(60);
                    let timeouts = Timeouts { read: minute, write: minute };
                    let connection = Connection::clear(stream).unwrap();
                    // How a client ends the conversation is its own affair.
                    let _ = drive(connection, &mut Server::new(config), &mut session, upgrade, timeouts, &Drain::new())
                        .await;
                });
            }
        });
        sink
    }

    pub fn all(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }
}

struct SinkSession {
    manners: Manners,
    taken: u64,
    received: Arc<Mutex<Vec<Received>>>,
    postponed: Arc<AtomicU64>,
    current: Option<Received>,
}

impl Handler<Server> for SinkSession {
    async fn handle(&mut self, event: Event, machine: &mut Server, _: &mut Output<'_>) -> io::Result<Flow> {
        match event {
            Event::Connected if self.manners.is_closed => machine.reply(Reply::plain(554, "closed")),
            Event::Mail(_) if self.manners.messages.is_some_and(|most| self.taken >= most) => return Ok(Flow::Close),
            Event::Mail(mail) => {
                let secured = machine.is_secured();
                let (recipients, text) = (vec![], bytes::Bytes::new());
                self.current = Some(Received { secured, mail, recipients, text });
                machine.accept();
            }
            Event::Recipient(recipient) => {
                let to = recipient.path.to_string();
                if to.starts_with("no") {
                    machine.reply(Reply::known(550, Enhanced(5, 1, 1), "Nobody of that name"));
                } else if to.starts_with("later") {
                    self.postponed.fetch_add(1, Ordering::SeqCst);
                    machine.reply(Reply::known(450, Enhanced(4, 2, 1), "Not now"));
                } else if to.starts_with("odd") {
                    return Ok(Flow::Close);
                } else {
                    self.current.as_mut().unwrap().recipients.push(to);
                    machine.accept();
                }
            }
            Event::Data(bytes) => {
                let current = self.current.as_mut().unwrap();
                current.text = [&current.text[..], &bytes].concat().into();
            }
            Event::EndOfMessage => {
                self.taken += 1;
                self.received.lock().unwrap().push(self.current.take().unwrap());
                machine.accept();
            }
            Event::Reset => self.current = None,
            _ => machine.accept(),
        }
        Ok(Flow::Continue)
    }
}
