//! The conversation with a client whose mail is open: each command carried out (RFC 1939 §5–§7).

use std::fmt::Display;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use estafeta_core::Failure;
use estafeta_net::drain::Drain;
use estafeta_net::drive::{Flow, Handler, Output};
use estafeta_protocols::pop3::command::{Command, MessageNumber};
use estafeta_protocols::pop3::lines::{DotStuffing, Top};
use estafeta_protocols::pop3::response::{Code, Completion};
use estafeta_protocols::pop3::server::{Event, Server};

use super::maildrop::{Held, Maildrop, NoMessage};
use super::metrics::{OpenSession, name};
use super::refusal::refusal;
use crate::store::{Mailbox, StoreError};

/// A listing is sent in pieces of about this size, in bytes.
const LISTING_BYTES: usize = 8 * 1024;

/// How long a client may pause once the node drains. A session that is cut short removes nothing of what its client has
/// fetched; so one that is busy goes on until the drain's own deadline.
const PAUSE: Duration = Duration::from_secs(1);

/// One session.
pub(super) struct Transaction {
    /// Whose mail it is, for the log.
    login: String,
    inbox: Mailbox,
    maildrop: Maildrop,
    drain: Drain,
    /// The drain has begun, and the session knows.
    draining: bool,
    retrieved: u64,
    removed: u64,
    _open: OpenSession,
}

impl Transaction {
    pub(super) fn new(login: String, inbox: Mailbox, maildrop: Maildrop, drain: Drain) -> Self {
        let draining = drain.has_begun();
        Self { login, inbox, maildrop, drain, draining, retrieved: 0, removed: 0, _open: OpenSession::new() }
    }

    /// Leaves word of what the session did.
    pub(super) fn log_end(&self, client: SocketAddr) {
        let Self { login, retrieved, removed, .. } = self;
        tracing::info!(login, %client, retrieved, removed, "POP3 session ended");
    }

    async fn carry_out(&mut self, command: Command, server: &mut Server, output: &mut Output<'_>) -> io::Result<()> {
        let found = match command {
            Command::Stat => Ok(Completion::ok(self.stat())),
            Command::List(Some(number)) => self.one(number, |held| held.size),
            Command::Uidl(Some(number)) => self.one(number, |held| self.maildrop.unique_id(held)),
            Command::Dele(number) => self.maildrop.mark(number).map(|()| Completion::ok("Marked as deleted")),
            Command::Rset => {
                self.maildrop.unmark_all();
                Ok(Completion::ok(""))
            }
            Command::List(None) => return self.list(|held| held.size, server, output).await,
            Command::Uidl(None) => return self.list(|held| self.maildrop.unique_id(held), server, output).await,
            Command::Retr(number) => return self.send(number, None, server, output).await,
            Command::Top { message, lines } => return self.send(message, Some(Top::new(lines)), server, output).await,
            Command::Quit => {
                self.quit(server).await;
                return Ok(());
            }
        };
        server.complete(found.unwrap_or_else(refused));
        Ok(())
    }

    fn stat(&self) -> String {
        let (count, bytes) = self.maildrop.totals();
        format!("{count} {bytes}")
    }

    /// What LIST and UIDL say of one message.
    fn one<T: Display>(
        &self,
        number: MessageNumber,
        figure: impl Fn(Held) -> T,
    ) -> Result<Completion<'static>, NoMessage> {
        self.maildrop.get(number).map(|held| Completion::ok(format!("{} {}", number.get(), figure(held))))
    }

    /// What LIST and UIDL say of all.
    async fn list<T: Display>(
        &self,
        figure: impl Fn(Held) -> T,
        server: &mut Server,
        output: &mut Output<'_>,
    ) -> io::Result<()> {
        let mut piece = BytesMut::new();
        let (count, bytes) = self.maildrop.totals();
        Completion::ok(format!("{count} messages ({bytes} octets)")).encode(&mut piece);
        for (number, held) in self.maildrop.listed() {
            piece.extend_from_slice(format!("{number} {}\r\n", figure(held)).as_bytes());
            if piece.len() >= LISTING_BYTES {
                output.write(&piece.split()).await?;
            }
        }
        piece.extend_from_slice(DotStuffing::new().finish());
        output.write(&piece).await?;
        server.answered();
        Ok(())
    }

    /// RETR, and TOP.
    async fn send(
        &mut self,
        number: MessageNumber,
        mut top: Option<Top>,
        server: &mut Server,
        output: &mut Output<'_>,
    ) -> io::Result<()> {
        let held = match self.maildrop.get(number) {
            Ok(held) => held,
            Err(why) => {
                server.complete(refused(why));
                return Ok(());
            }
        };
        let message = match self.inbox.text(held.uid).await {
            Ok(message) => message,
            Err(StoreError::NoMessage) => {
                server.complete(Completion::no("Another session has removed the message"));
                return Ok(());
            }
            Err(error) if error.is_lost() => {
                let login = &self.login;
                tracing::error!(login, uid = %held.uid, %error, "a message cannot be read: run estafeta mailbox verify");
                let text = "This message cannot be read: an administrator should run estafeta mailbox verify";
                server.complete(Completion::no(text).with(Code::SysPerm));
                return Ok(());
            }
            Err(error) => {
                let failure = Failure::from(error);
                tracing::error!(login = self.login, uid = %held.uid, %failure, "a message cannot be read");
                server.complete(refusal(&failure));
                return Ok(());
            }
        };
        let mut head = BytesMut::new();
        let text = if top.is_some() { String::new() } else { format!("{} octets", held.size) };
        Completion::ok(text).encode(&mut head);
        output.write(&head).await?;
        let mut stuffing = DotStuffing::new();
        for part in message.parts() {
            let piece = top.as_mut().map_or(&part[..], |top| top.take(part));
            for run in stuffing.stuff(piece) {
                output.write(run).await?;
            }
        }
        output.write(stuffing.finish()).await?;
        self.retrieved += u64::from(top.is_none());
        server.answered();
        Ok(())
    }

    /// RFC 1939 §6: the UPDATE state.
    async fn quit(&mut self, server: &mut Server) {
        let marked = self.maildrop.marked();
        if marked.is_empty() {
            server.goodbye(Completion::ok("Goodbye"));
            return;
        }
        match self.inbox.remove(&marked).await {
            Ok(removed) => {
                self.removed = removed.len() as u64;
                metrics::counter!("estafeta_pop3_removed_total").increment(self.removed);
                server.goodbye(Completion::ok("Goodbye"));
            }
            Err(error) => {
                let failure = Failure::from(error);
                tracing::error!(login = self.login, %failure, "a POP3 session's deletions cannot be committed");
                let completion = refusal(&failure);
                server.goodbye(Completion {
                    text: format!("Nothing is deleted: {}", failure.client).into(),
                    ..completion
                });
            }
        }
    }
}

fn refused(why: NoMessage) -> Completion<'static> {
    Completion::no(why.to_string())
}

impl Handler<Server> for Transaction {
    async fn handle(&mut self, event: Event, server: &mut Server, output: &mut Output<'_>) -> io::Result<Flow> {
        if let Event::Command(command) = event {
            let began = Instant::now();
            self.carry_out(command, server, output).await?;
            let name = name(command);
            metrics::counter!("estafeta_pop3_commands_total", "command" => name).increment(1);
            metrics::histogram!("estafeta_pop3_command_seconds", "command" => name).record(began.elapsed());
        }
        // Nothing else comes behind a login.
        Ok(Flow::Continue)
    }

    async fn woken(&mut self) {
        if self.draining {
            std::future::pending::<()>().await;
        }
        self.drain.begun().await;
        self.draining = true;
    }

    fn patience(&self, _: &Server) -> Option<Duration> {
        self.draining.then_some(PAUSE)
    }
}
