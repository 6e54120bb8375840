//! GETMETADATA, SETMETADATA (RFC 5464), and METADATA in LIST (RFC 9590).
//!
//! The server's own `/shared` entries are the administrators' (§6.2.1): of them there is `/shared/admin`, and no client
//! changes them.

use estafeta_protocols::imap::command::metadata::{Depth, Entries, Metadata};
use estafeta_protocols::imap::response::{Code, Completion, Output};
use estafeta_protocols::imap::types::MailboxName;

use super::engine::Engine;
use super::notify::Own;
use super::refusal::{Outcome, Refused};
use super::translate::store_name;
use crate::store::{ENTRY_NAME_BYTES, ENTRY_VALUE_BYTES, EntryName, Scope, StoreError, print};

/// An entry as the client names it, with its value.
type Valued = (String, Vec<u8>);

impl Engine {
    pub(super) async fn metadata(&mut self, metadata: Metadata, output: &mut Output) -> Outcome {
        match metadata {
            Metadata::Get { mailbox, entries } => {
                let longest = self.tell_metadata(mailbox.as_ref(), &entries, output).await?;
                let completion = Completion::ok("GETMETADATA completed");
                Ok(match longest {
                    Some(longest) => completion.with(Code::MetadataLongEntries(longest)),
                    None => completion,
                })
            }
            Metadata::Set { mailbox, entries } => {
                let own = self.own_entries(mailbox.as_ref(), &entries)?;
                self.set_metadata(mailbox.as_ref(), entries).await?;
                own.into_iter().for_each(|own| self.note_own(own));
                Ok(Completion::ok("SETMETADATA completed"))
            }
        }
    }

    /// Tells the entries that are asked for; those that are named and not there as NIL. Gives the size of the longest that
    /// was left out for its size.
    pub(super) async fn tell_metadata(
        &self,
        mailbox: Option<&MailboxName>,
        asked: &Entries,
        output: &mut Output,
    ) -> Result<Option<u64>, Refused> {
        let known = self.known_entries(mailbox, asked).await?;
        let mut told: Vec<(&str, Option<&[u8]>)> = Vec::new();
        let mut longest = None;
        for name in &asked.names {
            let mut found = known.iter().filter(|(entry, _)| lies(entry, name, asked.depth)).peekable();
            if found.peek().is_none() && asked.depth == Depth::Zero {
                told.push((name, None));
            }
            for (entry, value) in found {
                let size = value.len() as u64;
                if asked.max_size.is_some_and(|most| size > most) {
                    longest = longest.max(Some(size));
                } else if !told.iter().any(|(one, _)| one == entry) {
                    told.push((entry, Some(value)));
                }
            }
        }
        if !told.is_empty() {
            output.metadata(mailbox, told);
        }
        Ok(longest)
    }

    /// All entries of the scopes that are asked for.
    async fn known_entries(&self, mailbox: Option<&MailboxName>, asked: &Entries) -> Result<Vec<Valued>, Refused> {
        let mut known = Vec::new();
        let mailbox = match mailbox {
            Some(mailbox) => {
                let place = self.place(mailbox).await?;
                place.need_to_annotate(false)?;
                Some(place.mail.mailbox(&place.name).await?)
            }
            None => None,
        };
        for (scope, prefix) in [(Scope::Private, "/private"), (Scope::Shared, "/shared")] {
            if !asked.names.iter().any(|name| name.starts_with(prefix)) {
                continue;
            }
            let entries = match (&mailbox, scope) {
                (Some(mailbox), scope) => mailbox.entries(scope, &self.mail).await?,
                (None, Scope::Private) => self.mail.entries().await?,
                (None, Scope::Shared) => vec![("/admin".to_owned(), self.mail.postmaster().into_bytes())],
            };
            known.extend(entries.into_iter().map(|(name, value)| (format!("{prefix}{name}"), value)));
        }
        Ok(known)
    }

    /// What the client changes itself, where that matters.
    fn own_entries(
        &self,
        mailbox: Option<&MailboxName>,
        entries: &[(String, Option<Vec<u8>>)],
    ) -> Result<Vec<Own>, Refused> {
        if !self.notes_own() {
            return Ok(Vec::new());
        }
        let mailbox = mailbox.map(store_name).transpose()?;
        let own = |(name, value): &(String, Option<Vec<u8>>)| {
            let (scope, path) = scope_of(name)?;
            let print = value.as_deref().map(print);
            Some(Own::Entry { mailbox: mailbox.clone(), scope, name: path.to_owned(), print })
        };
        Ok(entries.iter().filter_map(own).collect())
    }

    async fn set_metadata(
        &self,
        mailbox: Option<&MailboxName>,
        entries: Vec<(String, Option<Vec<u8>>)>,
    ) -> Result<(), Refused> {
        let refuse = |text: &'static str, code| Err(Refused::Answer(Completion::no(text).with(code)));
        let mut checked: Vec<(EntryName, Option<Vec<u8>>)> = Vec::new();
        for (name, value) in entries {
            if value.as_ref().is_some_and(|value| value.len() > ENTRY_VALUE_BYTES) {
                return refuse("A value is too long", Code::MetadataMaxSize(ENTRY_VALUE_BYTES as u64));
            }
            if name.len() > ENTRY_NAME_BYTES {
                return refuse("The name of an entry is too long", Code::Limit);
            }
            let Some((scope, path)) = scope_of(&name) else {
                return refuse("Not the name of an entry", Code::Cannot);
            };
            checked.push(((scope, path.to_owned()), value));
        }
        let set = match mailbox {
            Some(mailbox) => {
                let place = self.place(mailbox).await?;
                place.need_to_annotate(checked.iter().any(|((scope, _), _)| *scope == Scope::Shared))?;
                let mailbox = place.mail.mailbox(&place.name).await?;
                mailbox.set_entries(&self.mail, checked).await
            }
            None if checked.iter().any(|((scope, _), _)| *scope == Scope::Shared) => {
                return refuse("The server's shared entries are the administrators'", Code::NoPermission);
            }
            None => {
                let own = checked.into_iter().map(|((_, path), value)| (path, value)).collect();
                self.mail.set_entries(own).await
            }
        };
        match set {
            Err(StoreError::Limit(text)) => refuse(text, Code::MetadataTooMany),
            other => Ok(other?),
        }
    }
}

/// Scope and path of a name.
fn scope_of(name: &str) -> Option<(Scope, &str)> {
    match (name.strip_prefix("/private"), name.strip_prefix("/shared")) {
        (Some(path), _) => Some((Scope::Private, path)),
        (None, Some(path)) => Some((Scope::Shared, path)),
        (None, None) => None,
    }
}

/// Whether an entry is the one that is named, or lies so far below it.
fn lies(entry: &str, named: &str, depth: Depth) -> bool {
    let Some(below) = entry.strip_prefix(named) else { return false };
    match (below.strip_prefix('/'), depth) {
        (None, _) => below.is_empty(),
        (Some(_), Depth::Zero) => false,
        (Some(path), Depth::One) => !path.contains('/'),
        (Some(_), Depth::Infinity) => true,
    }
}
