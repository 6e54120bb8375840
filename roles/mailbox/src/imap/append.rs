//! APPEND (RFC 3501 §6.3.11, RFC 3502, RFC 4469) and REPLACE (RFC 8508): messages come in piece by piece, and are
//! acknowledged when all are durable; nothing of them is there before.

use estafeta_protocols::imap::command::append::{self as command, Append, Literal};
use estafeta_protocols::imap::message::Message;
use estafeta_protocols::imap::response::{Code, Completion, Output};
use estafeta_protocols::imap::types::{self as wire, Dialect, MessageUrl, Rights};
use estafeta_storage::StorageError;
use estafeta_storage::spool::Spool;

use super::engine::Engine;
use super::line_ends::LineEnds;
use super::place::{Place, flag_scope};
use super::refusal::{Outcome, Refused};
use super::selected::Telling;
use super::translate::{store_flags, wire_uid, wire_validity};
use crate::store::{
    AccountMail, Appended, FlagScope, Keyword, Mailbox, MailboxName, NewMessage, StoreError, SystemFlags, Uid, Usage,
};

/// Messages on their way in.
pub(super) struct Appending {
    /// The owner's, whose quota counts.
    mail: AccountMail,
    mailbox: MailboxName,
    /// The flags that may be set there.
    scope: FlagScope,
    /// What the message takes the place of.
    replaces: Option<(Mailbox, Uid)>,
    /// What the account holds, what came in already among it. The store has the last word.
    usage: Usage,
    whole: Vec<NewMessage>,
    coming: Option<Coming>,
}

/// The message that comes in now.
struct Coming {
    system: SystemFlags,
    keywords: Vec<Keyword>,
    /// In seconds since 1970.
    internal_date: Option<i64>,
    line_ends: LineEnds,
    spool: Spool,
    /// What comes in is binary.
    binary: bool,
    /// It comes as `UTF8 (…)`: whatever its literal is called, it is text.
    utf8: bool,
}

impl Engine {
    /// Refuses what can be refused before a message is sent.
    pub(super) async fn begin_append(&mut self, append: &Append) -> Result<Appending, Refused> {
        let place = self.place(&append.mailbox).await?;
        place.need(Rights::INSERT)?;
        let replaces = match &append.replaces {
            Some(messages) => {
                let selected = self.selected()?;
                selected.check_writable()?;
                selected.check(Rights::DELETE_MESSAGES.with(Rights::EXPUNGE))?;
                let sequence = selected.resolve(messages)?.into_iter().flatten().next();
                let entry = sequence.and_then(|sequence| selected.view.get(sequence));
                let entry = entry.ok_or(Refused::no("There is no such message to replace"))?;
                Some((selected.mailbox.clone(), *entry))
            }
            None => None,
        };
        let scope = flag_scope(place.rights);
        let Place { mail, name: mailbox, own, .. } = place;
        mail.mailbox(&mailbox).await.map_err(Refused::of_target)?;
        let mut usage = mail.usage().await?;
        // What goes makes room, where both are one's own.
        let within = own && self.selected.as_ref().is_some_and(|selected| !selected.shared);
        if let Some((_, entry)) = replaces.as_ref().filter(|_| within) {
            usage.used_bytes = usage.used_bytes.saturating_sub(entry.size.into());
            usage.messages = usage.messages.saturating_sub(1);
        }
        let replaces = replaces.map(|(mailbox, entry)| (mailbox, entry.uid));
        Ok(Appending { mail, mailbox, scope, replaces, usage, whole: Vec::new(), coming: None })
    }

    /// The next message begins.
    pub(super) async fn begin_message(
        &mut self,
        message: &command::NewMessage,
        dialect: Dialect,
    ) -> Result<(), Refused> {
        // RFC 9755 §4
        if message.utf8 && !dialect.utf8 {
            return Err(Refused::Answer(Completion::bad("ENABLE UTF8=ACCEPT comes first")));
        }
        let spool = self.mail.spool();
        let appending = self.appending()?;
        appending.end_message().await?;
        let (mut system, mut keywords) = store_flags(&message.flags)?;
        // RFC 4314 §4: flags that the user may not set are left out.
        system = system & appending.scope.system;
        keywords.retain(|_| appending.scope.keywords);
        let internal_date = message.date.map(|date| date.unix_seconds());
        appending.coming = Some(Coming {
            system,
            keywords,
            internal_date,
            line_ends: LineEnds::new(),
            spool,
            binary: false,
            utf8: message.utf8,
        });
        Ok(())
    }

    /// A literal is announced. Refuses it before it is sent when there is no room for it.
    pub(super) fn begin_literal(&mut self, literal: &Literal) -> Result<(), Refused> {
        let appending = self.appending()?;
        if !appending.usage.holds_one_more(literal.size) {
            return Err(StoreError::OverQuota.into());
        }
        let coming = appending.coming()?;
        coming.binary = literal.binary && !coming.utf8;
        Ok(())
    }

    /// A piece of the literal.
    pub(super) async fn take_data(&mut self, bytes: &[u8]) -> Result<(), Refused> {
        let coming = self.appending()?.coming()?;
        if !coming.binary {
            return coming.spool.write(&coming.line_ends.mend(bytes)).await.map_err(of_spool);
        }
        // RFC 3516 §4.4: what could be told to no client that knows of no binary data is not stored.
        if bytes.contains(&0) {
            let completion = Completion::no("Messages with NUL bytes are not stored").with(Code::UnknownCte);
            return Err(Refused::Answer(completion));
        }
        coming.line_ends.pass(bytes);
        coming.spool.write(bytes).await.map_err(of_spool)
    }

    /// CATENATE: the next piece is one of another message (RFC 4469 §3).
    pub(super) async fn take_url(&mut self, url: &str) -> Result<(), Refused> {
        let piece = self.resolve_url(url).await?;
        let Some(piece) = piece else {
            let bad = Code::BadUrl(url.to_owned().into());
            return Err(Refused::Answer(Completion::no("This URL names nothing here").with(bad)));
        };
        let coming = self.appending()?.coming()?;
        for stretch in piece {
            coming.spool.write(&coming.line_ends.mend(&stretch)).await.map_err(of_spool)?;
        }
        Ok(())
    }

    async fn resolve_url(&self, url: &str) -> Result<Option<[bytes::Bytes; 2]>, Refused> {
        let Some(url) = MessageUrl::parse(url) else { return Ok(None) };
        let mailbox = match &url.mailbox {
            Some(name) => match self.readable_mailbox(name).await? {
                Some(mailbox) => mailbox,
                None => return Ok(None),
            },
            None => match &self.selected {
                Some(selected) => selected.mailbox.clone(),
                None => return Ok(None),
            },
        };
        if url.validity.is_some_and(|validity| wire_validity(mailbox.uid_validity()) != Some(validity)) {
            return Ok(None);
        }
        let text = match mailbox.text(Uid(url.uid.get())).await {
            Ok(text) => text,
            Err(StoreError::NoMessage | StoreError::NoMailbox) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let [prefix, body] = text.parts();
        Ok(Message::new(prefix.clone(), body.clone()).section(&url.section, url.partial))
    }

    async fn readable_mailbox(&self, name: &wire::MailboxName) -> Result<Option<Mailbox>, Refused> {
        let place = match self.place(name).await {
            Ok(place) if place.rights.contains(Rights::READ) => place,
            Ok(_) | Err(Refused::Answer(_)) => return Ok(None),
            Err(refused) => return Err(refused),
        };
        match place.mail.mailbox(&place.name).await {
            Ok(mailbox) => Ok(Some(mailbox)),
            Err(StoreError::NoMailbox | StoreError::NotSelectable) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// All have come: stores them durably, all or none.
    pub(super) async fn end_append(&mut self, output: &mut Output) -> Outcome {
        let mut appending = self.appending.take().ok_or(Refused::no("No message was accepted"))?;
        appending.end_message().await?;
        let Appending { mail, mailbox, replaces, mut whole, .. } = appending;
        let Some((from, uid)) = replaces else {
            let appended = mail.append(&mailbox, whole).await.map_err(Refused::of_target)?;
            self.note_added(appended.uid_validity, appended.iter());
            let completion = Completion::ok("APPEND completed");
            return Ok(match code(&appended) {
                Some(code) => completion.with(code),
                None => completion,
            });
        };
        let new = whole.pop().ok_or(Refused::no("No message was accepted"))?;
        let appended = mail.replace((&from, uid), &mailbox, new).await.map_err(Refused::of_target)?;
        self.note_added(appended.uid_validity, appended.iter());
        // RFC 8508 §3.3: before the EXPUNGE response, which follows as for any change.
        if let Some(code) = code(&appended) {
            output.notice(&code, "The replacement");
        }
        let completion = Completion::ok("REPLACE completed");
        if !self.selected()?.qresync {
            return Ok(completion);
        }
        // RFC 7162 §3.2.7, as for EXPUNGE: up to where the client knows everything, so it is told first.
        self.tell_selected(Telling::ALL.asked(), output).await?;
        Ok(completion.with(Code::HighestModSeq(self.selected()?.view.modseq().0)))
    }

    fn appending(&mut self) -> Result<&mut Appending, Refused> {
        self.appending.as_mut().ok_or(Refused::no("No message was accepted"))
    }
}

impl Appending {
    /// It expunges a message.
    pub(super) fn replaces(&self) -> bool {
        self.replaces.is_some()
    }

    fn coming(&mut self) -> Result<&mut Coming, Refused> {
        self.coming.as_mut().ok_or(Refused::no("No message was accepted"))
    }

    /// The message that came in is whole, if there is one.
    async fn end_message(&mut self) -> Result<(), Refused> {
        let Some(Coming { system, keywords, internal_date, line_ends, mut spool, .. }) = self.coming.take() else {
            return Ok(());
        };
        if spool.is_empty() {
            return Err(Refused::no("An empty message cannot be stored"));
        }
        spool.write(line_ends.finish()).await.map_err(of_spool)?;
        let message = spool.finish().await.map_err(of_spool)?;
        self.usage.used_bytes = self.usage.used_bytes.saturating_add(message.len() as u64);
        self.usage.messages += 1;
        self.whole.push(NewMessage { message, system, keywords, internal_date });
        Ok(())
    }
}

/// APPENDUID (RFC 4315 §3, RFC 3502 §6.3.11).
fn code(appended: &Appended) -> Option<Code<'static>> {
    let uids = appended.iter().filter_map(wire_uid).collect();
    Some(Code::AppendUid(wire_validity(appended.uid_validity)?, uids))
}

fn of_spool(error: StorageError) -> Refused {
    match error {
        StorageError::TooLarge { .. } => StoreError::TooLarge.into(),
        other => StoreError::Storage(other).into(),
    }
}
