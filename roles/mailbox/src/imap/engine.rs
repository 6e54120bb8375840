//! The conversation with a client whose mail is open: each event of the machine carried out, each command answered
//! once, and behind its answer what others did meanwhile.

use std::io;
use std::num::NonZeroU32;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use estafeta_net::drive::{self, Flow, Handler};
use estafeta_protocols::imap::command::Command;
use estafeta_protocols::imap::response::{Code, Completion, Output};
use estafeta_protocols::imap::server::{Event, Server, State};
use estafeta_protocols::imap::types::Messages;

use super::append::Appending;
use super::home::Home;
use super::metrics::{OpenSession, name};
use super::notify::Notifying;
use super::owner::Owner;
use super::place::{Neighbours, OTHERS};
use super::refusal::{Outcome, Refused};
use super::selected::{Selected, Telling};
use crate::store::AccountMail;

/// From this size on, what was said is sent before more is said. In bytes.
const SEND_BYTES: usize = 64 * 1024;

/// How long a client hears nothing of its command before it is told that it goes on (RFC 9585 §4).
const PATIENCE: Duration = Duration::from_secs(10);

/// Where a command writes to.
pub(super) struct Reply<'a, 'b> {
    pub(super) server: &'a mut Server,
    stream: &'a mut drive::Output<'b>,
    /// When the client heard of the command last.
    told: Instant,
    patience: Duration,
}

impl Reply<'_, '_> {
    pub(super) fn output(&mut self) -> &mut Output {
        self.server.output()
    }

    /// Sends what was said, when it is much: the client's pace bounds our memory.
    pub(super) async fn send_much(&mut self) -> io::Result<()> {
        if self.server.output().len() >= SEND_BYTES {
            self.send().await?;
        }
        Ok(())
    }

    async fn send(&mut self) -> io::Result<()> {
        while let Some(bytes) = self.server.output().take() {
            self.stream.write(&bytes).await?;
        }
        Ok(())
    }

    /// A piece of the command is done: `done` of `goal`. The client hears of it, if it has waited long enough.
    pub(super) async fn progress(&mut self, done: u32, goal: u32) -> io::Result<()> {
        if self.told.elapsed() < self.patience {
            return Ok(());
        }
        self.tell_progress(NonZeroU32::new(goal).map(|goal| (done.min(goal.get()), goal))).await
    }

    /// Waits for work that says nothing before it is done. The client hears that it goes on.
    pub(super) async fn waiting<T>(&mut self, work: impl Future<Output = T>) -> io::Result<T> {
        let mut work = pin!(work);
        loop {
            let left = self.patience.saturating_sub(self.told.elapsed());
            if left.is_zero() {
                self.tell_progress(None).await?;
            }
            tokio::select! {
                biased;
                done = &mut work => return Ok(done),
                () = tokio::time::sleep(left) => {}
            }
        }
    }

    async fn tell_progress(&mut self, progress: Option<(u32, NonZeroU32)>) -> io::Result<()> {
        self.server.in_progress(progress);
        self.send().await?;
        self.stream.flush().await?;
        self.told = Instant::now();
        Ok(())
    }
}

/// One session.
pub(super) struct Engine {
    pub(super) mail: AccountMail,
    /// Who else lives in the store group.
    pub(super) neighbours: Arc<dyn Neighbours>,
    pub(super) selected: Option<Selected>,
    /// The client has shown that it knows modification sequences, and hears them from then on (RFC 7162 §3.1).
    pub(super) condstore: bool,
    /// The client has switched QRESYNC on (RFC 7162 §3.2.3).
    pub(super) qresync: bool,
    pub(super) appending: Option<Appending>,
    pub(super) idling: bool,
    /// The client has said what it wants to hear unasked (RFC 5465).
    pub(super) notifying: Option<Notifying>,
    pub(super) home: Home,
    pub(super) owner: Owner,
    patience: Duration,
    _open: OpenSession,
}

impl Engine {
    pub(super) fn new(mail: AccountMail, neighbours: Arc<dyn Neighbours>) -> Self {
        Self {
            home: Home::of(&mail),
            owner: Owner::known(),
            mail,
            neighbours,
            selected: None,
            condstore: false,
            qresync: false,
            appending: None,
            idling: false,
            notifying: None,
            patience: PATIENCE,
            _open: OpenSession::new(),
        }
    }

    /// With another word of the account.
    #[cfg(test)]
    pub(super) fn with_owner(self, owner: Owner) -> Self {
        Self { owner, ..self }
    }

    /// With a client that wants to hear of its commands after so long.
    #[cfg(test)]
    pub(super) fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// The client asked for modification sequences: it hears them from now on, and first of all the mailbox's (RFC 7162
    /// §3.1.2.1).
    pub(super) fn enable_condstore(&mut self, output: &mut Output) {
        if std::mem::replace(&mut self.condstore, true) {
            return;
        }
        if let Some(selected) = &mut self.selected {
            selected.condstore = true;
            output.notice(&Code::HighestModSeq(selected.view.whole().0), "The last change");
        }
    }

    /// The open mailbox. The machine lets no command through that needs one and has none.
    pub(super) fn selected(&mut self) -> Result<&mut Selected, Refused> {
        self.selected.as_mut().ok_or(Refused::no("No mailbox selected"))
    }

    async fn carry_out(&mut self, command: Command, reply: &mut Reply<'_, '_>) -> Outcome {
        match command {
            Command::Copy(_) | Command::Quota(_) => self.renew_owner().await?,
            _ => self.look_after_owner()?,
        }
        self.refresh_rights().await?;
        match command {
            Command::Noop => Ok(Completion::ok("NOOP completed")),
            Command::Check => Ok(Completion::ok("CHECK completed")),
            // Carried out by whoever gave this client its place (`seat`).
            Command::Unauthenticate => Err(Refused::no("Not here")),
            Command::Id(_) => {
                reply.output().id(&[("name", "Estafeta")]);
                Ok(Completion::ok("ID completed"))
            }
            Command::Enable(enable) => Ok(self.enable(&enable, reply.output())),
            Command::Namespace => {
                let others = estafeta_protocols::imap::types::MailboxName::new(OTHERS);
                let others = others.map_err(|_| Refused::no("Internal error"))?;
                reply.output().namespace(&others);
                Ok(Completion::ok("NAMESPACE completed"))
            }
            Command::Select(select) => self.select(&select, reply.server).await,
            Command::Close => self.close(reply.server).await,
            Command::Unselect => Ok(self.unselect(reply.server)),
            Command::Create(create) => self.create(&create).await,
            Command::Delete(name) => self.delete(&name, reply.server).await,
            Command::Rename(rename) => self.rename(&rename).await,
            Command::Subscribe(name) => self.subscribe(&name).await,
            Command::Unsubscribe(name) => self.unsubscribe(&name).await,
            Command::List(list) => self.list(&list, reply).await,
            Command::Lsub(lsub) => self.lsub(&lsub, reply).await,
            Command::Status(status) => self.status(&status, reply.output()).await,
            Command::Expunge(expunge) => self.expunge(&expunge, reply).await,
            Command::Search(search) => self.search(&search, reply).await,
            Command::Sort(sort) => self.sort(&sort, reply).await,
            Command::Thread(thread) => self.thread(&thread, reply).await,
            Command::Fetch(fetch) => self.fetch(&fetch, reply).await,
            Command::Store(store) => self.store(&store, reply).await,
            Command::Copy(copy) => self.copy(&copy, reply).await,
            Command::Move(copy) => self.move_messages(&copy, reply).await,
            Command::Acl(acl) => self.acl(&acl, reply.output()).await,
            Command::Metadata(metadata) => self.metadata(metadata, reply.output()).await,
            Command::Notify(notify) => self.notify(notify, reply).await,
            Command::Quota(quota) => self.quota(&quota, reply.output()).await,
        }
    }

    /// Tells what has changed, and completes the command.
    async fn finish(&mut self, outcome: Outcome, telling: Telling, reply: &mut Reply<'_, '_>) -> io::Result<Flow> {
        let completion = match outcome {
            Ok(completion) | Err(Refused::Answer(completion)) => completion,
            Err(Refused::End(text)) => return Ok(end(reply.server, text)),
            Err(Refused::Gone(error)) => return Err(error),
        };
        match self.tell_news(telling, reply).await {
            Ok(()) => {}
            // The command itself is done. What could not be told now is told after the next one.
            Err(Refused::Answer(warning)) => reply.output().warning(warning.code.as_ref(), &warning.text),
            Err(Refused::End(text)) => {
                reply.server.complete(completion);
                return Ok(end(reply.server, text));
            }
            Err(Refused::Gone(error)) => return Err(error),
        }
        reply.server.complete(completion);
        Ok(Flow::Continue)
    }

    /// What a piece of an APPEND came to: with a refusal, all of it is given up.
    async fn go_on_appending(&mut self, taken: Result<(), Refused>, reply: &mut Reply<'_, '_>) -> io::Result<Flow> {
        match taken {
            Ok(()) => Ok(Flow::Continue),
            Err(refused) => {
                self.appending = None;
                self.finish(Err(refused), Telling::ALL, reply).await
            }
        }
    }

    /// Tells a client that asks nothing now what has changed, as far as it wants to hear that.
    async fn tell_waiting(&mut self, reply: &mut Reply<'_, '_>) -> io::Result<Flow> {
        if let Err(Refused::End(text)) = self.home.look(&self.mail).await {
            return Ok(end(reply.server, text));
        }
        if let Err(Refused::End(text)) = self.look_after_owner() {
            return Ok(end(reply.server, text));
        }
        if let Err(Refused::End(text)) = self.refresh_rights().await {
            return Ok(end(reply.server, text));
        }
        match self.tell_unasked(reply).await {
            Ok(()) => {}
            Err(Refused::Answer(warning)) => reply.output().warning(warning.code.as_ref(), &warning.text),
            Err(Refused::End(text)) => return Ok(end(reply.server, text)),
            Err(Refused::Gone(error)) => return Err(error),
        }
        Ok(Flow::Continue)
    }
}

/// The machine says the last words, then closes.
fn end(server: &mut Server, text: &'static str) -> Flow {
    server.goodbye(Some(&Code::Unavailable), text);
    Flow::Continue
}

/// What may be told behind the answer to a command.
fn telling(command: &Command) -> Telling {
    let numbering = |messages: &Messages| if messages.by_uid() { Telling::BY_UID } else { Telling::NO_EXPUNGES };
    match command {
        Command::Fetch(fetch) => numbering(&fetch.messages),
        Command::Store(store) => numbering(&store.messages),
        Command::Search(search) if search.by_uid => Telling::BY_UID,
        Command::Search(_) => Telling::NO_EXPUNGES,
        // RFC 5256 §3: as SEARCH.
        Command::Sort(sort) if sort.by_uid => Telling::BY_UID,
        Command::Thread(thread) if thread.by_uid => Telling::BY_UID,
        Command::Sort(_) | Command::Thread(_) => Telling::NO_EXPUNGES,
        Command::Copy(copy) if copy.messages.by_uid() => Telling::BY_UID,
        Command::Move(copy) if copy.messages.by_uid() => Telling::BY_UID.asked(),
        Command::Move(_) | Command::Expunge(_) => Telling::ALL.asked(),
        _ => Telling::ALL,
    }
}

impl Handler<Server> for Engine {
    async fn handle(&mut self, event: Event, server: &mut Server, stream: &mut drive::Output<'_>) -> io::Result<Flow> {
        let reply = &mut Reply { server, stream, told: Instant::now(), patience: self.patience };
        match event {
            Event::Command(command) => {
                let (name, telling, began) = (name(&command), telling(&command), Instant::now());
                let outcome = self.carry_out(command, reply).await;
                let flow = self.finish(outcome, telling, reply).await;
                metrics::counter!("estafeta_imap_commands_total", "command" => name).increment(1);
                metrics::histogram!("estafeta_imap_command_seconds", "command" => name).record(began.elapsed());
                flow
            }
            Event::AppendBegin(append) => {
                // The answers before it must not wait for the message.
                reply.stream.flush().await?;
                let begun = match self.renew_owner().await {
                    Ok(()) => self.begin_append(&append).await.map(|appending| self.appending = Some(appending)),
                    Err(refused) => Err(refused),
                };
                self.go_on_appending(begun, reply).await
            }
            Event::AppendMessage(message) => {
                let begun = self.begin_message(&message, reply.output().dialect()).await;
                self.go_on_appending(begun, reply).await
            }
            Event::AppendLiteral(literal) => {
                let begun = self.begin_literal(&literal);
                self.go_on_appending(begun, reply).await
            }
            Event::AppendData(bytes) => {
                let taken = self.take_data(&bytes).await;
                self.go_on_appending(taken, reply).await
            }
            Event::AppendUrl(url) => {
                let taken = self.take_url(&url).await;
                self.go_on_appending(taken, reply).await
            }
            Event::AppendEnd => {
                let replaces = self.appending.as_ref().is_some_and(Appending::replaces);
                let telling = if replaces { Telling::ALL.asked() } else { Telling::ALL };
                let outcome = self.end_append(reply.output()).await;
                self.appending = None;
                self.finish(outcome, telling, reply).await
            }
            Event::AppendAbort => {
                self.appending = None;
                Ok(Flow::Continue)
            }
            Event::IdleBegin => {
                self.idling = true;
                self.tell_waiting(reply).await
            }
            Event::IdleEnd => {
                self.idling = false;
                self.finish(Ok(Completion::ok("IDLE completed")), Telling::ALL, reply).await
            }
            // The machine is in the state in which these do not come.
            Event::Authenticate(_) => {
                reply.server.complete(Completion::bad("Already authenticated"));
                Ok(Flow::Continue)
            }
            Event::HandOver => Ok(Flow::Close),
        }
    }

    async fn woken(&mut self) {
        self.news().await;
    }

    async fn wake(&mut self, server: &mut Server, stream: &mut drive::Output<'_>) -> io::Result<Flow> {
        self.tell_waiting(&mut Reply { server, stream, told: Instant::now(), patience: self.patience }).await
    }
}

impl Engine {
    /// Leaves the open mailbox, if there is one.
    pub(super) fn leave(&mut self, server: &mut Server) {
        self.selected = None;
        server.enter(State::Authenticated);
    }
}
