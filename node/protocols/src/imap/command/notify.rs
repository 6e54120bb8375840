//! NOTIFY (RFC 5465): of what a client wants to hear unasked.

use super::fetch::{self, FetchItem};
use super::{Command, Request};
use crate::imap::cursor::{Cursor, Refusal};
use crate::imap::types::MailboxName;

/// The most groups of one command.
const GROUPS: usize = 64;
/// The most names of mailboxes in one command.
const NAMES: usize = 1_000;

/// The events that a client may ask for (§8, `event-name`). Annotations (RFC 5257) there are none here.
pub(crate) const EVENTS: &str = "MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange \
    MailboxMetadataChange ServerMetadataChange";

/// What a client wants to hear from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notify {
    /// `NONE`: nothing at all, not even behind the answer to a command.
    None,
    /// `SET`: this, and nothing else.
    Set(NotifySet),
}

/// Of what a client wants to hear.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NotifySet {
    /// `STATUS`: first of all, how the mailboxes stand.
    pub status: bool,
    /// Of the open mailbox; none when the client wants to hear nothing of its messages.
    pub selected: Option<SelectedEvents>,
    /// Of the others. Several may name the same mailbox: then all hold.
    pub groups: Vec<EventGroup>,
}

/// What is told of the open mailbox: which messages come and go, and more.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SelectedEvents {
    /// `SELECTED-DELAYED`: EXPUNGE waits for a command that allows it (§6.1.2).
    pub delayed: bool,
    /// What is told of each new message, beside that it is there.
    pub items: Vec<FetchItem>,
    /// `FlagChange`
    pub flags: bool,
}

/// Some mailboxes, and of what in them is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventGroup {
    /// The mailboxes.
    pub which: Which,
    /// The events.
    pub events: Events,
}

/// `filter-mailboxes-other`
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// `INBOXES`: the user's own to which mail is delivered.
    Inboxes,
    /// `PERSONAL`: the user's own.
    Personal,
    /// `SUBSCRIBED`: to which the user is subscribed, whenever it is asked.
    Subscribed,
    /// `SUBTREE`: these, and all below them. A name that can be no mailbox's is left out.
    Subtree(Vec<MailboxName>),
    /// `MAILBOXES`: these.
    Named(Vec<MailboxName>),
}

/// `events`, each told or not; none of them is `NONE`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Events {
    /// `MessageNew` and `MessageExpunge`, which are named together or not at all (§5).
    pub messages: bool,
    /// `FlagChange`, which needs those two (§5).
    pub flags: bool,
    /// `MailboxName`
    pub names: bool,
    /// `SubscriptionChange`
    pub subscriptions: bool,
    /// `MailboxMetadataChange`
    pub metadata: bool,
    /// `ServerMetadataChange`
    pub server_metadata: bool,
}

impl Events {
    /// All that one of both tells.
    pub fn or(self, other: Self) -> Self {
        Self {
            messages: self.messages || other.messages,
            flags: self.flags || other.flags,
            names: self.names || other.names,
            subscriptions: self.subscriptions || other.subscriptions,
            metadata: self.metadata || other.metadata,
            server_metadata: self.server_metadata || other.server_metadata,
        }
    }
}

/// Events as they are read, before it is known whether they go together.
#[derive(Default)]
struct Named {
    new: bool,
    expunge: bool,
    /// Behind `MessageNew`; none without parentheses.
    items: Option<Vec<FetchItem>>,
    events: Events,
}

/// `notify     = "NOTIFY" SP (notify-set / notify-none)`
/// `notify-set = "SET" [SP "STATUS"] SP event-group *(SP event-group)`
pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Request, Refusal> {
    cursor.space()?;
    if cursor.take_word(b"NONE") {
        return Ok(Request::Role(Command::Notify(Notify::None)));
    }
    if !cursor.take_word(b"SET") {
        return Err(Refusal::Bad("Expected SET or NONE"));
    }
    cursor.space()?;
    let mut set = NotifySet { status: cursor.take_word(b"STATUS"), ..NotifySet::default() };
    if set.status {
        cursor.space()?;
    }
    let mut names = 0;
    let mut selected_once = false;
    for group in 0.. {
        if group == GROUPS {
            return Err(Refusal::Bad("Too many groups of events"));
        }
        cursor.expect(b'(')?;
        // §6.1: only one of these in a command.
        let delayed = cursor.take_word(b"SELECTED-DELAYED");
        if delayed || cursor.take_word(b"SELECTED") {
            if std::mem::replace(&mut selected_once, true) {
                return Err(Refusal::Bad("SELECTED and SELECTED-DELAYED stand once, and not together"));
            }
            cursor.space()?;
            set.selected = of_selected(events(cursor)?, delayed)?;
        } else {
            let which = which(cursor, &mut names)?;
            cursor.space()?;
            let Named { items, events, .. } = events(cursor)?;
            // §8: only of the open mailbox.
            if items.is_some() {
                return Err(Refusal::Bad("Items of new messages are told of the selected mailbox alone"));
            }
            set.groups.push(EventGroup { which, events });
        }
        cursor.expect(b')')?;
        if !cursor.take(b' ') || cursor.at_end() {
            break;
        }
    }
    Ok(Request::Role(Command::Notify(Notify::Set(set))))
}

/// §6.1: only events of messages.
fn of_selected(named: Named, delayed: bool) -> Result<Option<SelectedEvents>, Refusal> {
    let Named { items, events, .. } = named;
    if (Events { messages: false, flags: false, ..events }) != Events::default() {
        return Err(Refusal::Bad("Of the selected mailbox there are only events of messages"));
    }
    let selected = SelectedEvents { delayed, items: items.unwrap_or_default(), flags: events.flags };
    Ok(events.messages.then_some(selected))
}

/// `filter-mailboxes-other = "inboxes" / "personal" / "subscribed" / ("subtree" SP one-or-more-mailbox) /
///                           ("mailboxes" SP one-or-more-mailbox)`
fn which(cursor: &mut Cursor<'_>, names: &mut usize) -> Result<Which, Refusal> {
    match cursor.atom()?.to_ascii_uppercase().as_slice() {
        b"INBOXES" => Ok(Which::Inboxes),
        b"PERSONAL" => Ok(Which::Personal),
        b"SUBSCRIBED" => Ok(Which::Subscribed),
        b"SUBTREE" => mailboxes(cursor, names).map(Which::Subtree),
        b"MAILBOXES" => mailboxes(cursor, names).map(Which::Named),
        _ => Err(Refusal::Bad("Unknown choice of mailboxes")),
    }
}

/// `SP one-or-more-mailbox`, where `one-or-more-mailbox = mailbox / "(" mailbox *(SP mailbox) ")"`
fn mailboxes(cursor: &mut Cursor<'_>, names: &mut usize) -> Result<Vec<MailboxName>, Refusal> {
    cursor.space()?;
    let mut found = Vec::new();
    let mut add = |cursor: &mut Cursor<'_>| {
        *names += 1;
        if *names > NAMES {
            return Err(Refusal::Bad("Too many mailboxes"));
        }
        let wire = cursor.astring()?;
        // §3.1: what is no mailbox is passed over.
        found.extend(cursor.mailbox_name(&wire).ok());
        Ok(())
    };
    if !cursor.take(b'(') {
        add(cursor)?;
        return Ok(found);
    }
    loop {
        add(cursor)?;
        if cursor.take(b')') {
            return Ok(found);
        }
        cursor.space()?;
    }
}

/// `events = ("(" event *(SP event) ")") / "NONE"`
///
/// quirk_bare_events: the example of §3.1 has no parentheses around its events, and clients do as it does.
fn events(cursor: &mut Cursor<'_>) -> Result<Named, Refusal> {
    let mut named = Named::default();
    if cursor.take_word(b"NONE") {
        return Ok(named);
    }
    let bare = !cursor.take(b'(');
    loop {
        match cursor.atom()?.to_ascii_uppercase().as_slice() {
            b"MESSAGENEW" => {
                named.new = true;
                if cursor.rest().starts_with(b" (") {
                    cursor.space()?;
                    cursor.expect(b'(')?;
                    named.items = Some(fetch::parse_items(cursor)?);
                }
            }
            b"MESSAGEEXPUNGE" => named.expunge = true,
            b"FLAGCHANGE" => named.events.flags = true,
            b"MAILBOXNAME" => named.events.names = true,
            b"SUBSCRIPTIONCHANGE" => named.events.subscriptions = true,
            b"MAILBOXMETADATACHANGE" => named.events.metadata = true,
            b"SERVERMETADATACHANGE" => named.events.server_metadata = true,
            // §3.1: AnnotationChange, and what other extensions have thought of.
            _ => return Err(Refusal::BadEvent),
        }
        let ends = if bare { cursor.peek() == Some(b')') } else { cursor.take(b')') };
        if ends {
            break;
        }
        cursor.space()?;
    }
    // §5
    if named.new != named.expunge {
        return Err(Refusal::Bad("MessageNew and MessageExpunge go together"));
    }
    if named.events.flags && !named.new {
        return Err(Refusal::Bad("FlagChange needs MessageNew and MessageExpunge"));
    }
    named.events.messages = named.new;
    Ok(named)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imap::command::tests::{command, request};

    fn set(line: &str) -> NotifySet {
        match command(&format!("NOTIFY SET {line}")) {
            Some(Command::Notify(Notify::Set(set))) => set,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn as_the_rfc_writes_it() {
        assert_eq!(command("NOTIFY NONE"), Some(Command::Notify(Notify::None)));
        let found = set("status (selected MessageNew (uid body.peek[header.fields (from to subject)]) MessageExpunge)");
        let selected = found.selected.unwrap();
        assert_eq!((found.status, selected.items.len(), selected.flags, selected.delayed), (true, 2, false, false));
    }

    #[test]
    fn groups() {
        let found = set(
            "STATUS (selected-delayed (MessageNew (UID FLAGS) messageexpunge FlagChange)) (subtree Lists (MessageNew \
             MessageExpunge)) (mailboxes (INBOX \"a b\" a//b) (FlagChange MessageNew MessageExpunge MailboxName)) \
             (Personal (SubscriptionChange MailboxMetadataChange ServerMetadataChange)) (inboxes NONE)",
        );
        let selected = SelectedEvents { delayed: true, items: vec![FetchItem::Uid, FetchItem::Flags], flags: true };
        assert_eq!((found.status, found.selected), (true, Some(selected)));
        let messages = Events { messages: true, ..Events::default() };
        let name = |name: &str| MailboxName::new(name).unwrap();
        let which: Vec<_> = found.groups.iter().map(|group| group.which.clone()).collect();
        assert_eq!(
            which,
            [
                Which::Subtree(vec![name("Lists")]),
                Which::Named(vec![name("INBOX"), name("a b")]),
                Which::Personal,
                Which::Inboxes
            ]
        );
        let events: Vec<_> = found.groups.iter().map(|group| group.events).collect();
        let notes = Events { subscriptions: true, metadata: true, server_metadata: true, ..Events::default() };
        assert_eq!(events[..2], [messages, Events { flags: true, names: true, ..messages }]);
        assert_eq!(events[2..], [notes, Events::default()]);
        assert_eq!(set("(selected NONE)"), NotifySet::default());
        let plain = set("(selected (MessageNew MessageExpunge)) (subscribed (MailboxName))");
        assert_eq!(plain.selected, Some(SelectedEvents::default()));
        assert_eq!(plain.groups[0].which, Which::Subscribed);
    }

    #[test]
    fn refused() {
        for line in [
            "",
            "SET",
            "SET STATUS",
            "NONE x",
            "SET (selected (MessageNew))",
            "SET (selected (MessageExpunge))",
            "SET (personal (FlagChange))",
            "SET (selected (MailboxName))",
            "SET (selected (MessageNew MessageExpunge MailboxName))",
            "SET (selected NONE) (selected-delayed NONE)",
            "SET (personal (MessageNew (UID) MessageExpunge))",
            "SET (personal ())",
            "SET (nowhere NONE)",
            "SET (subtree NONE)",
            "SET (mailboxes () NONE)",
            "SET personal NONE",
            "SET (personal NONE",
            "SET (selected (MessageNew (FOO) MessageExpunge))",
        ] {
            assert_eq!(command(&format!("NOTIFY {line}")), None, "{line}");
        }
        for event in ["AnnotationChange", "MessageNew MessageExpunge Weather"] {
            assert_eq!(request(format!("NOTIFY SET (selected ({event}))").as_bytes()), Err(Refusal::BadEvent));
        }
        let many = "(personal NONE) ".repeat(GROUPS + 1);
        assert_eq!(command(&format!("NOTIFY SET {}", many.trim())), None);
    }
}
