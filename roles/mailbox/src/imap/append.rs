//! APPEND (RFC 3501 §6.3.11, RFC 3502, RFC 4469) and REPLACE (RFC 8508): messages come in piece by piece, and are
//! acknowledged when all are durable; nothing of them is there before.

use estafeta_protocols::imap::command::append::{self as command, Append, Literal};
use estafeta_protocols::imap::message::Message;
use estafeta_protocols::imap::response::{Code, Completion, Output};
use estafeta_protocols::imap::types::MessageUrl;
use estafeta_storage::StorageError;
use estafeta_storage::spool::Spool;

use super::engine::Engine;
use super::line_ends::LineEnds;
use super::refusal::{Outcome, Refused};
use super::selected::Telling;
use super::translate::{store_flags, store_name, wire_uid, wire_validity};
use crate::store::{Appended, Keyword, Mailbox, MailboxName, NewMessage, StoreError, SystemFlags, Uid, Usage};

/// Messages on their way in.
pub(super) struct Appending {
    mailbox: MailboxName,
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
}

impl Engine {
    /// Refuses what can be refused before a message is sent.
    pub(super) async fn begin_append(&mut self, append: &Append) -> Result<Appending, Refused> {
        let mailbox = store_name(&append.mailbox)?;
        let replaces = match &append.replaces {
            Some(messages) => {
                let selected = self.selected()?;
                selected.check_writable()?;
                let sequence = selected.resolve(messages)?.into_iter().flatten().next();
                let entry = sequence.and_then(|sequence| selected.view.get(sequence));
                let entry = entry.ok_or(Refused::no("There is no such message to replace"))?;
                Some((selected.mailbox.clone(), *entry))
            }
            None => None,
        };
        self.mail.mailbox(&mailbox).await.map_err(Refused::of_target)?;
        let mut usage = self.mail.usage().await?;
        if let Some((_, entry)) = &replaces {
            usage.used_bytes = usage.used_bytes.saturating_sub(entry.size.into());
            usage.messages = usage.messages.saturating_sub(1);
        }
        let replaces = replaces.map(|(mailbox, entry)| (mailbox, entry.uid));
        Ok(Appending { mailbox, replaces, usage, whole: Vec::new(), coming: None })
    }

    /// The next message begins.
    pub(super) async fn begin_message(&mut self, message: &command::NewMessage) -> Result<(), Refused> {
        let spool = self.mail.spool();
        let appending = self.appending()?;
        appending.end_message().await?;
        let (system, keywords) = store_flags(&message.flags)?;
        let internal_date = message.date.map(|date| date.unix_seconds());
        appending.coming =
            Some(Coming { system, keywords, internal_date, line_ends: LineEnds::new(), spool, binary: false });
        Ok(())
    }

    /// A literal is announced. Refuses it before it is sent when there is no room for it.
    pub(super) fn begin_literal(&mut self, literal: &Literal) -> Result<(), Refused> {
        let appending = self.appending()?;
        if !appending.usage.holds_one_more(literal.size) {
            return Err(StoreError::OverQuota.into());
        }
        appending.coming()?.binary = literal.binary;
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
            Some(name) => match self.mail.mailbox(&store_name(name)?).await {
                Ok(mailbox) => mailbox,
                Err(StoreError::NoMailbox | StoreError::NotSelectable) => return Ok(None),
                Err(error) => return Err(error.into()),
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

    /// All have come: stores them durably, all or none.
    pub(super) async fn end_append(&mut self, output: &mut Output) -> Outcome {
        let mut appending = self.appending.take().ok_or(Refused::no("No message was accepted"))?;
        appending.end_message().await?;
        let Appending { mailbox, replaces, mut whole, .. } = appending;
        let Some((from, uid)) = replaces else {
            let appended = self.mail.append(&mailbox, whole).await.map_err(Refused::of_target)?;
            let completion = Completion::ok("APPEND completed");
            return Ok(match code(&appended) {
                Some(code) => completion.with(code),
                None => completion,
            });
        };
        let new = whole.pop().ok_or(Refused::no("No message was accepted"))?;
        let appended = self.mail.replace((&from, uid), &mailbox, new).await.map_err(Refused::of_target)?;
        // RFC 8508 §3.3: before the EXPUNGE response, which follows as for any change.
        if let Some(code) = code(&appended) {
            output.notice(&code, "The replacement");
        }
        let completion = Completion::ok("REPLACE completed");
        let selected = self.selected()?;
        if !selected.qresync {
            return Ok(completion);
        }
        // RFC 7162 §3.2.7, as for EXPUNGE: up to where the client knows everything, so it is told first.
        selected.tell(output, Telling::ALL).await?;
        Ok(completion.with(Code::HighestModSeq(selected.view.modseq().0)))
    }

    fn appending(&mut self) -> Result<&mut Appending, Refused> {
        self.appending.as_mut().ok_or(Refused::no("No message was accepted"))
    }
}

impl Appending {
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
    let uids = (appended.uids.start.0..appended.uids.end.0).filter_map(|uid| wire_uid(Uid(uid))).collect();
    Some(Code::AppendUid(wire_validity(appended.uid_validity)?, uids))
}

fn of_spool(error: StorageError) -> Refused {
    match error {
        StorageError::TooLarge { .. } => StoreError::TooLarge.into(),
        other => StoreError::Storage(other).into(),
    }
}
