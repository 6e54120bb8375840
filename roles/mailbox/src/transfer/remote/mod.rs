//! Into the store, out of another IMAP server, whatever program it is.
//!
//! Messages come by ascending UID, and how far they have come is noted with them (see `store::Reached`): so a second run
//! brings only what is new, and one that was cut off goes on. Where nothing is noted, what is there already is not put there
//! again (see `intake`). What is refused is tried again each time (see `refused`). Nothing is changed there: mailboxes are
//! examined, and texts peeked at.
//!
//! Memory: a page of particulars, and a batch of texts, of which the large ones are on the disk. Sequence numbers are used for
//! the particulars alone, for no server may shift them meanwhile (RFC 3501 §7.4.1); what is expunged in between is counted.

mod refused;
mod session;
mod source;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use bytes::Bytes;
use estafeta_core::{Failure, Message, Reason, Secret};
use estafeta_net::connection::Connection;
use estafeta_net::tls::connect_verified;
use estafeta_protocols::imap::client::{
    Command, Fetched, Listed, Namespaces, Status, Value, exists, expunged, status_of,
};
use estafeta_storage::blobs::BlobHash;
use tokio::sync::watch;

use super::intake::{Identity, Intake, TOO_LARGE};
use super::{Transferred, blocking};
use crate::imap::{LineEnds, system_flags};
use crate::store::{AccountMail, MailboxName, NewMessage, Origin, Progress, Reached, SpecialUse, StoreError};
use refused::Refused;
use session::{Answer, Session};

pub use source::Source;

/// Of how many messages the particulars are asked at once.
const PAGE: u32 = 500;

/// How many texts are asked for at once, and about how many bytes.
const BATCH: usize = 50;
const BATCH_BYTES: u64 = 8 << 20;

/// How much more than it said a server may send: sizes are wrong by the ends of lines on some.
const SLACK_BYTES: u64 = 1 << 20;

/// The most mailboxes.
const MAILBOXES: usize = 10_000;

/// Views of messages that stand elsewhere too (RFC 6154 §2, RFC 8457): they come over only when they are named.
const VIEWS: [&str; 3] = ["\\All", "\\Flagged", "\\Important"];

/// A mailbox that comes over.
struct Coming {
    /// As the server wants to hear it.
    wire: Bytes,
    origin: Origin,
    /// As it is called here.
    here: MailboxName,
    special_use: Option<SpecialUse>,
    status: Status,
    /// Up to which UID it has come.
    reached: u32,
}

/// Puts the mail of an account on another server into an account's mailboxes, which are made where they are missing. `only`
/// names mailboxes, as they are called there; none for all. `authorities` is who vouches for the server: a PEM file.
pub async fn import_remote(
    mail: &AccountMail,
    (source, password): (&Source, &Secret),
    authorities: &Path,
    only: &[String],
    progress: &watch::Sender<Progress>,
) -> Result<Transferred, Failure> {
    let connection = connect_verified(&source.host, source.port, authorities).await?;
    import_over(connection, mail, (source, password), only, progress).await
}

async fn import_over(
    connection: Connection,
    mail: &AccountMail,
    (source, password): (&Source, &Secret),
    only: &[String],
    progress: &watch::Sender<Progress>,
) -> Result<Transferred, Failure> {
    let mut session = Session::begin(connection, mail, &source.user, password).await?;
    let mut done = Transferred::default();
    let coming = coming(&mut session, mail, source, only, &mut done).await?;
    if coming.is_empty() && done.refused == 0 {
        return Err(Failure::new(Reason::NotFound, "there is no such mailbox on the server"));
    }
    progress.send_modify(|progress| progress.of = coming.iter().map(|mailbox| u64::from(mailbox.at_most())).sum());
    for mailbox in coming {
        let place = mailbox.origin.mailbox.clone();
        match bring(&mut session, mail, mailbox, progress).await {
            Ok(brought) => done.add(brought),
            // This mailbox is refused, and the others are not.
            Err(failure) if failure.reason == Reason::NotFound => {
                done.refuse(place, failure);
            }
            Err(failure) if failure.reason == Reason::OverQuota => {
                let text = format!(
                    "the quota of {} has no room for the rest: what has come stays; raise it, with account quota, and ask again",
                    mail.address()
                );
                return Err(Failure::new(Reason::OverQuota, text));
            }
            Err(failure) => return Err(failure),
        }
    }
    session.end().await;
    Ok(done)
}

/// What is there, and how far each has come.
async fn coming(
    session: &mut Session,
    mail: &AccountMail,
    source: &Source,
    only: &[String],
    done: &mut Transferred,
) -> Result<Vec<Coming>, Failure> {
    // RFC 9755 §3: from then on names are UTF-8. A server of RFC 9051 alone knows no other.
    let mut utf8 = session.can("IMAP4REV2") && !session.can("IMAP4REV1");
    if session.can("ENABLE") && (session.can("UTF8=ACCEPT") || session.can("UTF8=ONLY")) {
        let answer = session.command(Command::new("ENABLE UTF8=ACCEPT")).await?;
        utf8 |= answer.data.iter().any(|(values, _)| values.iter().any(|value| value.is("UTF8=ACCEPT")));
    }
    let mut spaces = Namespaces::default();
    if session.can("NAMESPACE") {
        let answer = session.command(Command::new("NAMESPACE")).await?;
        spaces = answer.data.iter().find_map(|(values, _)| Namespaces::of(values)).unwrap_or_default();
    }
    let uses = session.can("SPECIAL-USE") && session.can("LIST-EXTENDED") || session.can("IMAP4REV2");
    let list = if uses { "LIST \"\" \"*\" RETURN (SPECIAL-USE)" } else { "LIST \"\" \"*\"" };
    let answer = session.command(Command::new(list)).await?;
    let listed: Vec<Listed> = answer.data.iter().filter_map(|(values, _)| Listed::of(values)).collect();
    if listed.len() > MAILBOXES {
        return Err(Failure::new(Reason::Invalid, "the server has too many mailboxes: name some"));
    }
    let here = mail.mailboxes().await?;
    let mut coming = Vec::new();
    for one in listed {
        let foreign = spaces.foreign.iter().any(|prefix| !prefix.is_empty() && one.wire.starts_with(prefix));
        if one.has("\\Noselect") || one.has("\\NonExistent") || foreign {
            continue;
        }
        let Some(there) = one.name(utf8) else {
            if only.is_empty() {
                done.refuse(format_args!("{:?}", one.wire), "its name is in no known encoding");
            }
            continue;
        };
        let is_view = VIEWS.into_iter().any(|view| one.has(view));
        if if only.is_empty() { is_view } else { !only.contains(&there) } {
            continue;
        }
        let special_use = SpecialUse::ALL.into_iter().map(|(one, _)| one).find(|known| one.has(known.attribute()));
        let of_use = here.iter().find(|entry| special_use.is_some() && entry.special_use == special_use);
        let name = match of_use {
            Some(entry) => Ok(entry.name.clone()),
            None => own_name(&there, one.delimiter, &spaces).parse(),
        };
        let status = session.command(Command::new("STATUS").string(&one.wire).words(" (MESSAGES UIDNEXT UIDVALIDITY)"));
        let status = match (status.await, &name) {
            (Ok(answer), Ok(_)) => answer.data.iter().find_map(|(values, _)| status_of(values)),
            (Err(failure), _) if failure.reason != Reason::NotFound => return Err(failure),
            _ => None,
        };
        let (Some(status), Ok(here)) = (status.filter(|status| status.uid_validity > 0), name) else {
            done.refuse(there, "the server does not tell its state, or it cannot be called so here");
            continue;
        };
        let origin = Origin { source: source.key(), mailbox: there, uid_validity: status.uid_validity };
        let reached = mail.reached(&origin).await?.unwrap_or(0);
        coming.push(Coming { wire: one.wire, origin, here, special_use, status, reached });
    }
    Ok(coming)
}

/// What a mailbox is called here: without what all names there begin with, and with our separator.
fn own_name(there: &str, delimiter: Option<char>, spaces: &Namespaces) -> String {
    let prefixes = spaces.own.iter().filter_map(|prefix| std::str::from_utf8(prefix).ok());
    let below = prefixes.filter_map(|prefix| there.strip_prefix(prefix)).find(|rest| !rest.is_empty());
    let levels: Vec<String> = match delimiter {
        Some(delimiter) => below.unwrap_or(there).split(delimiter).map(str::to_owned).collect(),
        None => vec![below.unwrap_or(there).to_owned()],
    };
    let levels = levels.iter().filter(|level| !level.is_empty()).map(|level| level.replace('/', "_"));
    levels.collect::<Vec<_>>().join("/")
}

impl Coming {
    /// At most how many messages are new.
    fn at_most(&self) -> u32 {
        let uids = self.status.uid_next.saturating_sub(1).saturating_sub(self.reached);
        if self.status.uid_next == 0 { self.status.messages } else { self.status.messages.min(uids) }
    }
}

/// Where a conversation is in the mailbox that it examines, by sequence numbers.
struct Position {
    /// The next message.
    next: u32,
    /// How many there are.
    count: u32,
}

impl Position {
    /// What an answer told of it.
    fn hear(&mut self, answer: &Answer) {
        for (values, _) in &answer.data {
            if let Some(count) = exists(values) {
                self.count = count;
            } else if let Some(gone) = expunged(values) {
                self.count = self.count.saturating_sub(1);
                self.next -= u32::from(gone < self.next);
            }
        }
    }
}

async fn bring(
    session: &mut Session,
    mail: &AccountMail,
    mailbox: Coming,
    progress: &watch::Sender<Progress>,
) -> Result<Transferred, Failure> {
    let Coming { wire, origin, here, special_use, status, reached } = &mailbox;
    let there = &origin.mailbox;
    if let Some(special_use) = special_use {
        match mail.create(here, Some(*special_use)).await {
            Ok(()) | Err(StoreError::Exists | StoreError::NotAllowed(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let mut refused = Refused::of(mail, origin.clone()).await?;
    if mailbox.at_most() == 0 && *reached > 0 && refused.uids().is_empty() {
        return Ok(Transferred { there_already: status.messages.into(), ..Transferred::default() });
    }
    let answer = session.command(Command::new("EXAMINE").string(wire)).await?;
    if answer.code("UIDVALIDITY").and_then(|code| code.trim().parse().ok()) != Some(status.uid_validity) {
        return Err(Failure::unavailable(format!("{there:?} was made anew meanwhile: ask again")));
    }
    let mut position = Position { next: 1, count: 0 };
    position.hear(&answer);
    let before: BTreeSet<u32> = refused.uids().iter().copied().collect();
    let mut done = again(session, mail, (there, here), &mut refused, &mut position, progress).await?;
    let noted = Reached { origin: origin.clone(), from: *reached, uid: *reached };
    let mut intake = Intake::beyond(mail, here.clone(), noted, progress).await?;
    if *reached > 0 {
        position.next = first_after(session, *reached, position.count).await?;
        let tried_again = done.messages + done.there_already + done.refused;
        done.there_already += u64::from(position.next - 1).saturating_sub(tried_again);
    }
    let mut reached = *reached;
    while position.next <= position.count {
        let last = position.count.min(position.next.saturating_add(PAGE - 1));
        let page = format!("FETCH {}:{last} ({PARTICULARS})", position.next);
        let answer = session.command(Command::new(&page)).await?;
        position.next = last + 1;
        position.hear(&answer);
        let all: Vec<Fetched> = answer.data.into_iter().filter_map(|(values, _)| Fetched::of(values)).collect();
        if all.is_empty() {
            return Err(Failure::new(Reason::NotFound, "the server says nothing of messages that it says it has"));
        }
        let is_new = |uid: &u32| *uid > reached && !before.contains(uid);
        let page: Vec<(u32, Fetched)> = by_uid(all).into_iter().filter(|(uid, _)| is_new(uid)).collect();
        take(session, mail, there, &page, &mut position, &mut intake, &mut refused).await?;
        reached = page.last().map_or(reached, |(uid, _)| *uid);
    }
    done.add(intake.end().await?);
    tracing::info!(mailbox = there, here = here.as_str(), messages = done.messages, "came over");
    Ok(done)
}

/// What is asked of each message before its text.
const PARTICULARS: &str = "UID FLAGS INTERNALDATE RFC822.SIZE";

fn by_uid(all: impl IntoIterator<Item = Fetched>) -> BTreeMap<u32, Fetched> {
    all.into_iter().filter_map(|fetched| Some((fetched.uid?, fetched))).collect()
}

/// Tries again what was refused before.
async fn again(
    session: &mut Session,
    mail: &AccountMail,
    (there, here): (&str, &MailboxName),
    refused: &mut Refused<'_>,
    position: &mut Position,
    progress: &watch::Sender<Progress>,
) -> Result<Transferred, Failure> {
    if refused.uids().is_empty() {
        return Ok(Transferred::default());
    }
    // What came and was not crossed out, because this was cut off, is there.
    let mut intake = Intake::into(mail, here.clone(), progress).await?;
    progress.send_modify(|progress| progress.of += refused.uids().len() as u64);
    let mut left = Vec::new();
    for uids in refused.uids().to_vec().chunks(PAGE as usize) {
        let named: Vec<String> = uids.iter().map(u32::to_string).collect();
        let asked = Command::new(&format!("UID FETCH {} ({PARTICULARS})", named.join(",")));
        let answer = match session.command(asked).await {
            // What is new comes nevertheless.
            Err(failure) if failure.reason == Reason::NotFound => {
                for uid in uids {
                    refuse(&mut intake, refused, *uid, there, &failure.client).await?;
                }
                left.extend(uids);
                continue;
            }
            answer => answer?,
        };
        position.hear(&answer);
        let all = answer.data.into_iter().filter_map(|(values, _)| Fetched::of(values));
        let page: Vec<(u32, Fetched)> = by_uid(all).into_iter().collect();
        left.extend(take(session, mail, there, &page, position, &mut intake, refused).await?);
    }
    let done = intake.end().await?;
    refused.set(left).await?;
    Ok(done)
}

/// Takes messages of which the particulars are known, and gives those that were refused.
async fn take(
    session: &mut Session,
    mail: &AccountMail,
    there: &str,
    page: &[(u32, Fetched)],
    position: &mut Position,
    intake: &mut Intake<'_>,
    refused: &mut Refused<'_>,
) -> Result<Vec<u32>, Failure> {
    let size = |fetched: &Fetched| fetched.size.unwrap_or(0);
    let mut left = Vec::new();
    let mut rest = page;
    while let Some((uid, fetched)) = rest.first() {
        if size(fetched) > u64::from(mail.message_limit_bytes()) {
            refuse(intake, refused, *uid, there, TOO_LARGE).await?;
            left.push(*uid);
            rest = &rest[1..];
            continue;
        }
        let mut bytes = 0;
        let fits = |(_, fetched): &&(u32, Fetched)| {
            bytes += size(fetched);
            bytes <= BATCH_BYTES
        };
        let count = rest.iter().take(BATCH).take_while(fits).count().max(1);
        let (batch, behind) = rest.split_at(count);
        left.extend(texts(session, mail, there, batch, position, intake, refused).await?);
        rest = behind;
    }
    Ok(left)
}

/// The sequence number of the first message with a higher UID than `reached`, found by halves.
async fn first_after(session: &mut Session, reached: u32, count: u32) -> Result<u32, Failure> {
    let (mut low, mut high) = (1, count + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        let answer = session.command(Command::new(&format!("FETCH {middle} (UID)"))).await?;
        let fetched = answer.data.into_iter().filter_map(|(values, _)| Fetched::of(values));
        let uid = fetched.filter(|fetched| fetched.sequence == middle).find_map(|fetched| fetched.uid);
        let uid = uid.ok_or_else(|| Failure::unavailable("the server does not tell a message's UID: ask again"))?;
        if uid <= reached { low = middle + 1 } else { high = middle }
    }
    Ok(low)
}

/// Brings the texts of a batch, and puts what has come. Gives those that were refused.
async fn texts(
    session: &mut Session,
    mail: &AccountMail,
    there: &str,
    batch: &[(u32, Fetched)],
    position: &mut Position,
    intake: &mut Intake<'_>,
    refused: &mut Refused<'_>,
) -> Result<Vec<u32>, Failure> {
    let mut come: BTreeMap<u32, Option<Message>> = BTreeMap::new();
    match ask(session, mail, batch, &mut come, position).await {
        Ok(()) => {}
        // Something among them cannot be read there: each is asked for alone.
        Err(failure) if failure.reason == Reason::NotFound => {
            for one in batch.chunks(1) {
                match ask(session, mail, one, &mut come, position).await {
                    Err(failure) if failure.reason != Reason::NotFound => return Err(failure),
                    _ => {}
                }
            }
        }
        Err(failure) => return Err(failure),
    }
    let mut left = Vec::new();
    for (uid, fetched) in batch {
        let why = match come.remove(uid) {
            Some(Some(message)) if message.is_empty() => "it is empty",
            Some(Some(message)) if message.len() > mail.message_limit_bytes() as usize => TOO_LARGE,
            Some(Some(message)) => {
                intake.reach(*uid);
                intake.take(Ok(new_message(message, fetched).await?), format!("{there}, UID {uid}")).await?;
                continue;
            }
            Some(None) => TOO_LARGE,
            None if is_there(session, *uid, position).await? => "the server does not send it",
            None => continue,
        };
        refuse(intake, refused, *uid, there, why).await?;
        left.push(*uid);
    }
    Ok(left)
}

/// Asks for the texts of some messages.
async fn ask(
    session: &mut Session,
    mail: &AccountMail,
    batch: &[(u32, Fetched)],
    come: &mut BTreeMap<u32, Option<Message>>,
    position: &mut Position,
) -> Result<(), Failure> {
    let uids: Vec<String> = batch.iter().map(|(uid, _)| uid.to_string()).collect();
    let said: u64 = batch.iter().map(|(_, fetched)| fetched.size.unwrap_or(0)).sum();
    let bytes = said.saturating_add(said / 4).saturating_add(SLACK_BYTES).max(match batch {
        // One alone may say nothing of its size.
        [_] => mail.message_limit_bytes().into(),
        _ => 0,
    });
    let command = Command::new(&format!("UID FETCH {} (UID BODY.PEEK[])", uids.join(",")));
    let answer = session.command_for(command, bytes).await?;
    position.hear(&answer);
    for (values, large) in answer.data {
        let Some(Fetched { uid: Some(uid), text: Some(text), .. }) = Fetched::of(values) else { continue };
        let message = match text {
            Value::Large(_) => large,
            Value::Atom(text) | Value::Text(text) => {
                let mut line_ends = LineEnds::new();
                let mut text = line_ends.mend(&text).into_owned();
                text.extend_from_slice(line_ends.finish());
                Some(Message::new(text.into()))
            }
            Value::List(_) => continue,
        };
        come.insert(uid, message);
    }
    Ok(())
}

/// Whether a message that did not come is there at all.
async fn is_there(session: &mut Session, uid: u32, position: &mut Position) -> Result<bool, Failure> {
    let answer = session.command(Command::new(&format!("UID FETCH {uid} (UID)"))).await?;
    position.hear(&answer);
    Ok(answer.data.into_iter().filter_map(|(values, _)| Fetched::of(values)).any(|fetched| fetched.uid == Some(uid)))
}

async fn refuse(
    intake: &mut Intake<'_>,
    refused: &mut Refused<'_>,
    uid: u32,
    there: &str,
    why: &str,
) -> Result<(), Failure> {
    refused.add(uid).await?;
    intake.reach(uid);
    intake.take(Err(Failure::new(Reason::Invalid, why)), format!("{there}, UID {uid}")).await
}

async fn new_message(message: Message, fetched: &Fetched) -> Result<(NewMessage, Identity), Failure> {
    let internal_date = fetched.internal_date.map(|date| date.unix_seconds());
    let text = message.clone();
    let hash = blocking(move || Ok(BlobHash::of(&text.contiguous()))).await?;
    let keywords = fetched.flags.keywords().iter().filter_map(|keyword| keyword.as_str().parse().ok()).collect();
    let system = system_flags(&fetched.flags);
    let new = NewMessage { message, system, keywords, internal_date };
    Ok((new, (hash, internal_date.unwrap_or_default())))
}
