//! What a session that asked for events knows of all mailboxes, and what a later look finds to be different: pure, so
//! that nothing is remembered of single changes. However many there were, a client hears how things stand now.
//!
//! Invariants: a mailbox is the same by its object number, whatever it is called; what is told is true of the later of
//! the two pictures.

use std::collections::{BTreeMap, BTreeSet};

use estafeta_protocols::imap::command::notify::{EventGroup, Events, Which};
use estafeta_protocols::imap::response::Attribute;
use estafeta_protocols::imap::types::{self as wire, Rights};

use super::own::Own;
use crate::imap::place::{OTHERS, may_annotate, name_of_shared};
use crate::imap::translate::{attribute, store_name};
use crate::store::{DELIMITER, EntryPrint, MailboxName, Overview, Scope, Seen, SpecialUse, Standing};

/// Which mailboxes the client wants to hear of, and what.
#[derive(Debug)]
pub(super) struct Wanted(Vec<(Reach, Events)>);

#[derive(Debug)]
enum Reach {
    Own,
    Subscribed,
    Below(Vec<MailboxName>),
    Named(Vec<MailboxName>),
}

/// Whether a name is not one of the user's own.
fn is_of_others(name: &MailboxName) -> bool {
    name.as_str() == OTHERS || name.superiors().next().is_some_and(|first| first.as_str() == OTHERS)
}

impl Wanted {
    /// RFC 5465 §3.1: names that can be no mailbox's are passed over. §6.3: mail can be delivered into every mailbox, by
    /// subaddresses, so that INBOXES are all of the user's own.
    pub(super) fn new(groups: &[EventGroup]) -> Self {
        let names = |names: &[wire::MailboxName]| names.iter().filter_map(|name| store_name(name).ok()).collect();
        let reach = |which: &Which| match which {
            Which::Inboxes | Which::Personal => Reach::Own,
            Which::Subscribed => Reach::Subscribed,
            Which::Subtree(tops) => Reach::Below(names(tops)),
            Which::Named(named) => Reach::Named(names(named)),
        };
        Self(groups.iter().map(|group| (reach(&group.which), group.events)).collect())
    }

    /// What is told of a name.
    fn of(&self, name: &MailboxName, subscribed: bool) -> Events {
        let reaches = |reach: &Reach| match reach {
            Reach::Own => !is_of_others(name),
            Reach::Subscribed => subscribed,
            Reach::Below(tops) => tops.iter().any(|top| top == name || top.is_above(name)),
            Reach::Named(names) => names.contains(name),
        };
        self.0.iter().filter(|(reach, _)| reaches(reach)).fold(Events::default(), |all, (_, events)| all.or(*events))
    }

    /// All that is told of some mailbox.
    pub(super) fn any(&self) -> Events {
        self.0.iter().fold(Events::default(), |all, (_, events)| all.or(*events))
    }

    /// Whether it may be of mailboxes that others share.
    pub(super) fn reaches_others(&self) -> bool {
        self.0.iter().any(|(reach, _)| match reach {
            Reach::Own => false,
            Reach::Subscribed => true,
            Reach::Below(names) | Reach::Named(names) => names.iter().any(is_of_others),
        })
    }
}

/// A mailbox in the picture.
#[derive(Debug, Clone)]
pub(super) struct Known {
    /// As the user calls it.
    name: MailboxName,
    selectable: bool,
    special_use: Option<SpecialUse>,
    /// RFC 5465 §5: whoever may not read it hears nothing of its messages and entries.
    readable: bool,
    standing: Standing,
}

/// What is known.
#[derive(Debug, Default)]
pub(super) struct Picture {
    /// Each that the user may know of, by its object number.
    mailboxes: BTreeMap<u64, Known>,
    /// Their numbers, by name.
    names: BTreeMap<String, u64>,
    subscriptions: BTreeSet<MailboxName>,
    entries: Entries,
}

/// Other values have other numbers.
pub(super) type Entries = BTreeMap<(Option<u64>, Scope, String), u64>;

/// Something to tell.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum News {
    /// LIST: how the name stands.
    Name {
        name: MailboxName,
        attributes: Vec<Attribute>,
        /// How it was called before.
        old_name: Option<MailboxName>,
    },
    /// STATUS
    Standing { name: MailboxName, standing: Standing, flags: bool },
    /// METADATA: these entries have changed; of a mailbox, or of the server.
    Entries { mailbox: Option<MailboxName>, entries: Vec<String> },
}

/// What counts beside the pictures.
#[derive(Debug, Default)]
pub(super) struct Circumstances<'a> {
    /// The open mailbox, of whose messages is told elsewhere.
    pub(super) selected: Option<u64>,
    /// The client hears modification sequences.
    pub(super) condstore: bool,
    /// What the client did itself.
    pub(super) own: &'a [Own],
}

/// How the user calls it; none when that would be too long, or the user may not know of it.
fn name_of(seen: &Seen) -> Option<MailboxName> {
    match &seen.owner {
        None => Some(seen.name.clone()),
        Some(owner) if seen.rights.contains(Rights::LOOKUP) => name_of_shared(owner, &seen.name),
        Some(_) => None,
    }
}

impl Picture {
    pub(super) fn new(overview: Overview) -> Self {
        let mut picture = Self { subscriptions: overview.subscriptions, ..Self::default() };
        for seen in overview.mailboxes {
            let Some(name) = name_of(&seen) else { continue };
            picture.names.insert(name.to_string(), seen.object_number);
            let (selectable, special_use, standing) = (seen.selectable, seen.special_use, seen.standing);
            let readable = seen.rights.contains(Rights::READ);
            let known = Known { name, selectable, special_use, readable, standing };
            picture.mailboxes.insert(seen.object_number, known);
        }
        picture
    }

    /// Of those that were seen, the ones of whose messages something is told.
    pub(super) fn with_messages<'s>(seen: &'s Overview, wanted: &Wanted) -> Vec<&'s Seen> {
        Self::chosen(seen, wanted, |rights| rights.contains(Rights::READ), |events| events.messages)
    }

    /// The ones of whose entries something is told.
    pub(super) fn with_entries<'s>(seen: &'s Overview, wanted: &Wanted) -> Vec<&'s Seen> {
        Self::chosen(seen, wanted, may_annotate, |events| events.metadata)
    }

    fn chosen<'s>(
        seen: &'s Overview,
        wanted: &Wanted,
        may: fn(Rights) -> bool,
        chooses: fn(Events) -> bool,
    ) -> Vec<&'s Seen> {
        let chosen = |one: &&Seen| {
            let name = name_of(one).filter(|_| one.selectable && may(one.rights));
            name.is_some_and(|name| chooses(wanted.of(&name, seen.subscriptions.contains(&name))))
        };
        seen.mailboxes.iter().filter(chosen).collect()
    }

    pub(super) fn note_entries(&mut self, prints: Vec<EntryPrint>) {
        let entry = |one: EntryPrint| ((one.mailbox, one.scope, one.name), one.print);
        self.entries = prints.into_iter().map(entry).collect();
    }

    /// The entries of an earlier picture still hold.
    pub(super) fn keep_entries(&mut self, before: &mut Self) {
        self.entries = std::mem::take(&mut before.entries);
    }

    fn wants(&self, name: &MailboxName, wanted: &Wanted) -> Events {
        wanted.of(name, self.subscriptions.contains(name))
    }

    fn called(&self, name: &MailboxName) -> Option<&Known> {
        self.mailboxes.get(self.names.get(name.as_str())?)
    }

    fn has_below(&self, name: &MailboxName) -> bool {
        let start = format!("{name}{DELIMITER}");
        self.names.range(start.clone()..).next().is_some_and(|(below, _)| below.starts_with(&start))
    }

    /// What LIST says of a name, also of one that is none any more.
    fn attributes(&self, name: &MailboxName) -> Vec<Attribute> {
        let (known, below) = (self.called(name), self.has_below(name));
        let mut attributes = Vec::new();
        if known.is_some() || below {
            attributes.extend((!known.is_some_and(|known| known.selectable)).then_some(Attribute::NoSelect));
            attributes.push(if below { Attribute::HasChildren } else { Attribute::HasNoChildren });
            attributes.extend(known.and_then(|known| known.special_use).map(attribute));
        } else {
            attributes.push(Attribute::NonExistent);
        }
        attributes.extend(self.subscriptions.contains(name).then_some(Attribute::Subscribed));
        attributes
    }

    /// LIST of a name into which the user may not look (RFC 5465 §3.1).
    fn without_access(&self, name: &MailboxName) -> News {
        let mut attributes = self.attributes(name);
        attributes.retain(|attribute| *attribute != Attribute::NonExistent);
        attributes.push(Attribute::NoAccess);
        News::Name { name: name.clone(), attributes, old_name: None }
    }

    /// What NOTIFY SET is answered with (§3.1): the mailboxes into which the user may not look, and with `standing` how
    /// the others stand.
    pub(super) fn begin(&self, wanted: &Wanted, standing: bool, selected: Option<u64>) -> Vec<News> {
        let mut news = Vec::new();
        for (number, known) in &self.mailboxes {
            let events = self.wants(&known.name, wanted);
            if !known.selectable || !(events.messages || events.metadata) {
                continue;
            }
            if !known.readable {
                news.push(self.without_access(&known.name));
            } else if standing && events.messages && Some(*number) != selected {
                let (name, standing, flags) = (known.name.clone(), known.standing, events.flags);
                news.push(News::Standing { name, standing, flags });
            }
        }
        news
    }

    /// What is to be told of the changes since an earlier picture.
    pub(super) fn since(&self, before: &Self, wanted: &Wanted, circumstances: &Circumstances<'_>) -> Vec<News> {
        let mut news = self.names_since(before, wanted, circumstances.own);
        self.access_since(before, wanted, &mut news);
        self.standings_since(before, wanted, circumstances, &mut news);
        self.entries_since(before, wanted, circumstances.own, &mut news);
        news
    }

    /// RFC 5465 §5.4, §5.5
    fn names_since(&self, before: &Self, wanted: &Wanted, own: &[Own]) -> Vec<News> {
        // Whose events: of a name that was subscribed to, SUBSCRIBED tells that it is so no more.
        let wants = |name: &MailboxName| self.wants(name, wanted).or(before.wants(name, wanted));
        let is_selectable = |name: &MailboxName| self.called(name).is_some_and(|known| known.selectable);
        let expected = |name: &MailboxName| own.iter().any(|own| own.explains_name(name, is_selectable));
        let mut told: BTreeMap<MailboxName, Option<MailboxName>> = BTreeMap::new();
        let renamed: Vec<(&MailboxName, &MailboxName)> = self
            .mailboxes
            .iter()
            .filter_map(|(number, now)| Some((&before.mailboxes.get(number)?.name, &now.name)))
            .filter(|(old, new)| old != new)
            .collect();
        // Children go along with their parent, without a word.
        let goes_along = |(old, new): (&MailboxName, &MailboxName)| {
            renamed.iter().any(|(above, now)| {
                above.is_above(old)
                    && new.as_str().strip_prefix(now.as_str()) == old.as_str().strip_prefix(above.as_str())
            })
        };
        for &(old, new) in &renamed {
            let own = own.iter().any(|own| own.explains_renaming(old, new));
            if goes_along((old, new)) || own {
                continue;
            }
            if wants(new).names {
                told.insert(new.clone(), Some(old.clone()));
            } else if wants(old).names {
                told.insert(old.clone(), None);
            }
        }
        let made = self.mailboxes.iter().filter(|(number, _)| !before.mailboxes.contains_key(number));
        let gone = before.mailboxes.iter().filter(|(number, _)| !self.mailboxes.contains_key(number));
        for name in made.chain(gone).map(|(_, known)| &known.name).filter(|name| !expected(name)) {
            // The direct parent is affected, too.
            let parent = name.superiors().last();
            for affected in [Some(name.clone()), parent].into_iter().flatten().filter(|name| wants(name).names) {
                told.entry(affected).or_insert(None);
            }
        }
        for name in self.subscriptions.symmetric_difference(&before.subscriptions) {
            let now = self.subscriptions.contains(name);
            if wants(name).subscriptions && !own.iter().any(|own| own.explains_subscription(name, now)) {
                told.entry(name.clone()).or_insert(None);
            }
        }
        let tell = |(name, old_name): (MailboxName, _)| {
            let attributes = self.attributes(&name);
            News::Name { name, attributes, old_name }
        };
        told.into_iter().map(tell).collect()
    }

    /// RFC 5465 §5.9: what the user may look into, and no longer, or again.
    fn access_since(&self, before: &Self, wanted: &Wanted, news: &mut Vec<News>) {
        let watched = |events: Events| events.messages || events.metadata;
        for (number, then) in &before.mailboxes {
            let events = before.wants(&then.name, wanted);
            match self.mailboxes.get(number) {
                Some(now) if now.readable != then.readable && now.selectable && watched(events) => {
                    news.push(if now.readable {
                        let attributes = self.attributes(&now.name);
                        News::Name { name: now.name.clone(), attributes, old_name: None }
                    } else {
                        self.without_access(&now.name)
                    });
                }
                // Whoever asks for names hears that it is gone.
                None if is_of_others(&then.name)
                    && self.called(&then.name).is_none()
                    && watched(events)
                    && !events.names =>
                {
                    news.push(self.without_access(&then.name));
                }
                _ => {}
            }
        }
    }

    /// RFC 5465 §5.1 to §5.3, in mailboxes that are not open.
    fn standings_since(&self, before: &Self, wanted: &Wanted, around: &Circumstances<'_>, news: &mut Vec<News>) {
        for (number, known) in &self.mailboxes {
            let events = self.wants(&known.name, wanted);
            if !events.messages || !known.selectable || !known.readable || Some(*number) == around.selected {
                continue;
            }
            let now = known.standing;
            // By its number, else by its name: then its UIDs have begun another life.
            let then = before.mailboxes.get(number).or_else(|| before.called(&known.name));
            let tell = match then.map(|then| then.standing) {
                None => now.uid_next.0 > 1,
                Some(then) if then == now => false,
                Some(then) if around.own.iter().any(|own| own.explains_messages(&then, &now)) => false,
                Some(then) => {
                    then.uid_validity != now.uid_validity
                        || (then.messages, then.uid_next) != (now.messages, now.uid_next)
                        || (events.flags && (around.condstore || then.unseen != now.unseen))
                }
            };
            if tell {
                news.push(News::Standing { name: known.name.clone(), standing: now, flags: events.flags });
            }
        }
    }

    /// RFC 5465 §5.6, §5.7
    fn entries_since(&self, before: &Self, wanted: &Wanted, own: &[Own], news: &mut Vec<News>) {
        let differs = |entry: &&(Option<u64>, Scope, String)| self.entries.get(*entry) != before.entries.get(*entry);
        let changed: BTreeSet<_> = self.entries.keys().chain(before.entries.keys()).filter(differs).collect();
        let mut told: BTreeMap<Option<u64>, Vec<String>> = BTreeMap::new();
        for entry in changed {
            let (number, scope, name) = entry;
            let mailbox = number.and_then(|number| self.mailboxes.get(&number));
            // Of one that is new, or gone, that is told; of one of whose entries was not told before, nothing has changed.
            let wants = match (number, mailbox) {
                (None, _) => wanted.any().server_metadata,
                (Some(number), Some(known)) => {
                    let wanted_before = |then: &Known| then.readable && before.wants(&then.name, wanted).metadata;
                    before.mailboxes.get(number).is_some_and(wanted_before)
                        && known.readable
                        && self.wants(&known.name, wanted).metadata
                }
                (Some(_), None) => false,
            };
            let print = self.entries.get(entry).copied();
            let called = mailbox.map(|known| &known.name);
            if wants && !own.iter().any(|own| own.explains_entry(called, (*scope, name), print)) {
                let scope = match scope {
                    Scope::Private => "/private",
                    Scope::Shared => "/shared",
                };
                told.entry(*number).or_default().push(format!("{scope}{name}"));
            }
        }
        news.extend(told.into_iter().map(|(number, entries)| {
            let mailbox = number.and_then(|number| self.mailboxes.get(&number)).map(|known| known.name.clone());
            News::Entries { mailbox, entries }
        }));
    }
}
