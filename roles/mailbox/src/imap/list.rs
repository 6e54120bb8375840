//! LIST (RFC 3501 §6.3.8, RFC 5258) and LSUB (RFC 3501 §6.3.9).

use std::collections::{BTreeMap, BTreeSet};

use estafeta_protocols::imap::command::list::{List, Lsub};
use estafeta_protocols::imap::response::{Attribute, Completion, ListEntry};
use estafeta_protocols::imap::types::{ListPattern, Rights};

use super::engine::{Engine, Reply};
use super::place::name_of_shared;
use super::refusal::{Outcome, Refused};
use super::translate::{attribute, wire_name};
use crate::store::{MailboxEntry, MailboxName, SharedMailbox};

/// A name that may be listed.
struct Name {
    /// None when there is only a subscription, or a subscription below it.
    mailbox: Option<MailboxEntry>,
    subscribed: bool,
    /// What the user may do with it.
    rights: Rights,
}

impl Name {
    fn is_special(&self) -> bool {
        self.mailbox.as_ref().is_some_and(|mailbox| mailbox.special_use.is_some())
    }

    fn is_selectable(&self) -> bool {
        self.mailbox.as_ref().is_some_and(|mailbox| mailbox.selectable)
    }
}

impl Engine {
    /// Every name that there is; with `subscriptions`, every name that is subscribed to, too.
    async fn names(&self, subscriptions: bool) -> Result<BTreeMap<MailboxName, Name>, Refused> {
        let mailboxes = self.mail.mailboxes().await?;
        let mut names: BTreeMap<_, _> = mailboxes
            .into_iter()
            .map(|entry| {
                (entry.name.clone(), Name { subscribed: entry.subscribed, mailbox: Some(entry), rights: Rights::ALL })
            })
            .collect();
        let shared = self.mail.shared().await?;
        let others = !shared.is_empty();
        add_shared(&mut names, shared);
        let subscribed = if subscriptions || others { self.mail.subscriptions().await? } else { Vec::new() };
        for name in subscribed {
            match names.get_mut(&name) {
                Some(name) => name.subscribed = true,
                None if subscriptions => {
                    names.insert(name, Name { mailbox: None, subscribed: true, rights: Rights::NONE });
                }
                None => {}
            }
        }
        Ok(names)
    }

    pub(super) async fn list(&mut self, list: &List, reply: &mut Reply<'_, '_>) -> Outcome {
        if list.patterns.iter().any(ListPattern::is_empty) {
            reply.output().list_separator();
        }
        let names = self.names(list.select.subscribed).await?;
        let meets = |name: &Name| {
            let exists = name.mailbox.is_some() || list.select.subscribed;
            exists && (!list.select.subscribed || name.subscribed) && (!list.select.special_use || name.is_special())
        };
        // RFC 5258 §3.5: names above one that meets the selection.
        let mut above = BTreeSet::new();
        if list.select.recursive_match {
            above = names.iter().filter(|(_, name)| meets(name)).flat_map(|(name, _)| name.superiors()).collect();
        }
        let mut child_info = Vec::new();
        child_info.extend(list.select.subscribed.then_some("SUBSCRIBED"));
        child_info.extend(list.select.special_use.then_some("SPECIAL-USE"));
        let absent = Name { mailbox: None, subscribed: false, rights: Rights::NONE };
        let candidates: BTreeSet<_> = names.keys().chain(&above).collect();
        for name in candidates {
            let (found, is_above) = (names.get(name).unwrap_or(&absent), above.contains(name));
            if !(meets(found) || is_above) || !list.patterns.iter().any(|pattern| pattern.matches(name.as_str())) {
                continue;
            }
            let Some(wire) = wire_name(name) else { continue };
            let attributes = attributes(found, list.select.subscribed || list.give.subscribed);
            let child_info = if is_above { &child_info[..] } else { &[] };
            reply.output().list(&ListEntry { child_info, ..ListEntry::new(&wire, &attributes) });
            // RFC 5819 §2: what cannot be selected has no status.
            if !list.give.status.is_empty() && found.is_selectable() {
                match self.tell_status(&wire, &list.give.status, reply.output()).await {
                    Ok(()) => {}
                    // Deleted since it was listed.
                    Err(Refused::Answer(_)) => {}
                    Err(refused) => return Err(refused),
                }
            }
            // RFC 8440 §3: as for STATUS.
            if list.give.my_rights && found.is_selectable() {
                reply.output().my_rights(&wire, found.rights);
            }
            // RFC 9590 §3: as for STATUS.
            if let Some(entries) = list.give.metadata.as_ref().filter(|_| found.is_selectable()) {
                match self.tell_metadata(Some(&wire), entries, reply.output()).await {
                    Ok(_) | Err(Refused::Answer(_)) => {}
                    Err(refused) => return Err(refused),
                }
            }
            reply.send_much().await?;
        }
        Ok(Completion::ok("LIST completed"))
    }

    pub(super) async fn lsub(&mut self, lsub: &Lsub, reply: &mut Reply<'_, '_>) -> Outcome {
        let names = self.names(true).await?;
        let subscribed = || names.iter().filter(|(_, name)| name.subscribed);
        let mut listed: BTreeMap<_, _> =
            subscribed().map(|(name, found)| (name.clone(), found.is_selectable())).collect();
        // RFC 3501 §6.3.9: "%" names what lies above a subscription, too, and that it is not one itself.
        if lsub.pattern.as_str().contains('%') {
            for above in subscribed().flat_map(|(name, _)| name.superiors()) {
                listed.entry(above).or_insert(false);
            }
        }
        for (name, selectable) in listed.iter().filter(|(name, _)| lsub.pattern.matches(name.as_str())) {
            let Some(wire) = wire_name(name) else { continue };
            let attributes: &[Attribute] = if *selectable { &[] } else { &[Attribute::NoSelect] };
            reply.output().lsub(&ListEntry::new(&wire, attributes));
            reply.send_much().await?;
        }
        Ok(Completion::ok("LSUB completed"))
    }
}

/// Adds the mailboxes of others that the user may know of, and the names above them.
fn add_shared(names: &mut BTreeMap<MailboxName, Name>, shared: Vec<SharedMailbox>) {
    let entry = |name: MailboxName, selectable| MailboxEntry {
        name,
        special_use: None,
        selectable,
        has_children: false,
        subscribed: false,
    };
    let known = shared.into_iter().filter(|shared| shared.rights.contains(Rights::LOOKUP));
    for SharedMailbox { owner, name, selectable, rights } in known {
        let Some(name) = name_of_shared(&owner, &name) else { continue };
        for above in name.superiors().collect::<Vec<_>>() {
            let added = names.entry(above.clone()).or_insert_with(|| Name {
                mailbox: Some(entry(above, false)),
                subscribed: false,
                rights: Rights::NONE,
            });
            added.mailbox.iter_mut().for_each(|mailbox| mailbox.has_children = true);
        }
        let has_children = names.get(&name).is_some_and(|name| name.mailbox.is_some());
        let mailbox = MailboxEntry { has_children, ..entry(name.clone(), selectable) };
        names.insert(name, Name { mailbox: Some(mailbox), subscribed: false, rights });
    }
}

fn attributes(name: &Name, subscribed: bool) -> Vec<Attribute> {
    let mut attributes = Vec::new();
    match &name.mailbox {
        None => attributes.push(Attribute::NonExistent),
        Some(mailbox) => {
            if !mailbox.selectable {
                attributes.push(Attribute::NoSelect);
            }
            attributes.push(if mailbox.has_children { Attribute::HasChildren } else { Attribute::HasNoChildren });
            attributes.extend(mailbox.special_use.map(attribute));
        }
    }
    if subscribed && name.subscribed {
        attributes.push(Attribute::Subscribed);
    }
    attributes
}
