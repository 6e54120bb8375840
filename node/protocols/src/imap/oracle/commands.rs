//! What imap-codec asks is understood here, and as it means it.

use std::collections::HashSet;

use arbitrary::{Arbitrary, Unstructured};
use imap_codec::CommandCodec;
use imap_codec::encode::Encoder;
use imap_codec::imap_types::command::{self as theirs, CommandBody, FetchModifier, SelectParameter, StoreModifier};
use imap_codec::imap_types::extensions::thread::ThreadingAlgorithm;
use imap_codec::imap_types::fetch::{Macro, MacroOrMessageDataItemNames, MessageDataItemName};
use imap_codec::imap_types::flag::{StoreResponse, StoreType};
use imap_codec::imap_types::mailbox::Mailbox;
use imap_codec::imap_types::search::SearchKey;
use imap_codec::imap_types::sequence::Sequence;

use super::draw;
use super::values::{
    Refused, all, criterion, entry_name, fetch_item, flag, known, messages, name, named, once, set, some, status_item,
    text, wire,
};
use crate::imap::command::Command;
use crate::imap::command::copy::Copy;
use crate::imap::command::create::Create;
use crate::imap::command::enable::Enable;
use crate::imap::command::expunge::Expunge;
use crate::imap::command::fetch::{Fetch, FetchItem};
use crate::imap::command::rename::Rename;
use crate::imap::command::search::Search;
use crate::imap::command::select::{Resync, Select};
use crate::imap::command::sort::{Criterion, Sort};
use crate::imap::command::status::Status;
use crate::imap::command::store::{FlagChange, Store};
use crate::imap::command::thread::{Algorithm, Thread};
use crate::imap::server::Event;
use crate::imap::server::tests::Dialog;
use crate::imap::types::{Flags, Messages, UidValidity};

#[test]
fn what_it_asks_is_understood_as_it_means_it() {
    let mut kinds = HashSet::new();
    let asked = agreed(40_000, |bytes| {
        let body = CommandBody::arbitrary(bytes)?;
        kinds.extend(format!("{body:?}").split_whitespace().next().map(str::to_owned));
        Ok(check(&body))
    });
    assert!(asked > 20_000 && kinds.len() > 35, "only {asked} commands of {} kinds", kinds.len());
}

/// Of these, few are made when any command may be.
#[test]
fn what_it_looks_for_and_fetches_is_so_too() {
    let asked = agreed(40_000, |bytes| {
        let criteria = SearchKey::arbitrary(bytes)?.into();
        Ok(check(&CommandBody::Search { charset: None, criteria, uid: false }))
    });
    assert!(asked > 10_000, "only {asked} keys");
    let asked = agreed(40_000, |bytes| {
        let items: [MessageDataItemName<'_>; 3] = Arbitrary::arbitrary(bytes)?;
        Ok(check(&CommandBody::Fetch {
            sequence_set: Sequence::arbitrary(bytes)?.into(),
            macro_or_item_names: MacroOrMessageDataItemNames::MessageDataItemNames(items.into()),
            uid: Arbitrary::arbitrary(bytes)?,
            modifiers: Vec::new(),
        }))
    });
    assert!(asked > 10_000, "only {asked} items");
}

/// Draws commands, none of which may be understood otherwise; says how many.
fn agreed(
    count: usize,
    mut check: impl FnMut(&mut Unstructured<'_>) -> arbitrary::Result<Result<(), String>>,
) -> usize {
    let mut wrong = Vec::new();
    let asked = draw(count, |bytes| check(bytes).map(|checked| wrong.extend(checked.err())));
    assert!(wrong.is_empty(), "{} of {asked}:\n{}", wrong.len(), wrong[..wrong.len().min(20)].join("\n\n"));
    asked
}

fn check(body: &CommandBody<'_>) -> Result<(), String> {
    let command = theirs::Command { tag: "a".try_into().unwrap(), body: body.clone() };
    let wire = CommandCodec::default().encode(&command).dump();
    let shown = String::from_utf8_lossy(&wire);
    let mut dialog = match body {
        CommandBody::Login { .. } | CommandBody::Authenticate { .. } => Dialog::front(),
        _ => Dialog::selected(),
    };
    let said = dialog.hear(&wire);
    let meaning = meaning(body);
    let right = match &meaning {
        Ok(Some(command)) => dialog.events == [Event::Command(command.clone())],
        Ok(None) => !said.contains("a BAD "),
        Err(_) => said.contains("a BAD ") || said.contains("a NO ["),
    };
    if right { Ok(()) } else { Err(format!("{shown}{said}{:?}, and not {meaning:?}", dialog.events)) }
}

/// The command that it is here; none where it is enough that it is understood.
fn meaning(body: &CommandBody<'_>) -> Result<Option<Command>, Refused> {
    Ok(Some(match body {
        CommandBody::Noop => Command::Noop,
        CommandBody::Check => Command::Check,
        CommandBody::Close => Command::Close,
        CommandBody::Unselect => Command::Unselect,
        CommandBody::Namespace => Command::Namespace,
        CommandBody::Expunge => Command::Expunge(Expunge::All),
        CommandBody::ExpungeUid { sequence_set } => Command::Expunge(Expunge::ByUid(set(sequence_set))),
        CommandBody::Select { mailbox, parameters } => select(mailbox, parameters, false)?,
        CommandBody::Examine { mailbox, parameters } => select(mailbox, parameters, true)?,
        CommandBody::Create { mailbox } => {
            // A separator at the end is no part of the name (RFC 3501 §6.3.3).
            let wire = wire(mailbox);
            let mailbox = named(wire.strip_suffix(b"/").unwrap_or(wire))?;
            Command::Create(Create { mailbox, uses: Vec::new() })
        }
        CommandBody::Delete { mailbox } => Command::Delete(name(mailbox)?),
        CommandBody::Subscribe { mailbox } => Command::Subscribe(name(mailbox)?),
        CommandBody::Unsubscribe { mailbox } => Command::Unsubscribe(name(mailbox)?),
        CommandBody::Rename { from, to } => Command::Rename(Rename { from: name(from)?, to: name(to)? }),
        CommandBody::Status { mailbox, item_names } => {
            let items = once(item_names.iter().map(status_item).collect());
            Command::Status(Status { mailbox: name(mailbox)?, items: some(items)? })
        }
        CommandBody::Copy { sequence_set, mailbox, uid } => {
            Command::Copy(Copy { messages: messages(sequence_set, *uid), mailbox: name(mailbox)? })
        }
        CommandBody::Move { sequence_set, mailbox, uid } => {
            Command::Move(Copy { messages: messages(sequence_set, *uid), mailbox: name(mailbox)? })
        }
        CommandBody::Store { sequence_set, kind, response, flags, uid, modifiers } => {
            let unchanged_since = match modifiers.as_slice() {
                [] => None,
                [StoreModifier::UnchangedSince(value)] => Some(*value),
                _ => return Err("the same modifier twice"),
            };
            Command::Store(Store {
                messages: messages(sequence_set, *uid),
                change: match kind {
                    StoreType::Replace => FlagChange::Replace,
                    StoreType::Add => FlagChange::Add,
                    StoreType::Remove => FlagChange::Remove,
                },
                flags: flags.iter().filter_map(|flag| self::flag(flag).transpose()).collect::<Result<Flags, _>>()?,
                silent: *response == StoreResponse::Silent,
                unchanged_since,
            })
        }
        CommandBody::Fetch { sequence_set, macro_or_item_names, uid, modifiers } => {
            Command::Fetch(fetched(messages(sequence_set, *uid), macro_or_item_names, modifiers)?)
        }
        CommandBody::Search { charset, criteria, uid } => {
            charset.as_ref().map_or(Ok(()), |charset| known(charset.as_ref()))?;
            Command::Search(Search { by_uid: *uid, key: all(criteria.as_ref())?, give: None })
        }
        CommandBody::Sort { sort_criteria, charset, search_criteria, uid } => {
            known(charset.as_ref())?;
            let criteria: Vec<Criterion> = sort_criteria.as_ref().iter().map(criterion).collect();
            if criteria.len() > 32 {
                return Err("more criteria than make sense");
            }
            Command::Sort(Sort { by_uid: *uid, criteria, key: all(search_criteria.as_ref())?, give: None })
        }
        CommandBody::Thread { algorithm, charset, search_criteria, uid } => {
            let algorithm = match algorithm {
                ThreadingAlgorithm::OrderedSubject => Algorithm::OrderedSubject,
                ThreadingAlgorithm::References => Algorithm::References,
                ThreadingAlgorithm::Other(_) => return Err("an algorithm that is not offered"),
            };
            known(charset.as_ref())?;
            Command::Thread(Thread { by_uid: *uid, algorithm, key: all(search_criteria.as_ref())? })
        }
        CommandBody::Enable { capabilities } => {
            let capabilities = capabilities.as_ref().iter().map(|name| name.to_string().to_ascii_uppercase()).collect();
            Command::Enable(Enable { capabilities })
        }
        CommandBody::GetQuotaRoot { mailbox } => return name(mailbox).map(|_| None),
        CommandBody::GetQuota { root } => return text(root).map(|_| None),
        CommandBody::SetQuota { root, .. } => return text(root).map(|_| None),
        CommandBody::GetMetadata { entries, .. } => {
            return entries.as_ref().iter().try_for_each(|entry| entry_name(entry.as_ref())).map(|()| None);
        }
        CommandBody::SetMetadata { entry_values, .. } => {
            return entry_values.as_ref().iter().try_for_each(|one| entry_name(one.entry.as_ref())).map(|()| None);
        }
        CommandBody::Append { mailbox, flags, .. } => {
            name(mailbox)?;
            return flags.iter().try_for_each(|flag| self::flag(flag).map(|_| ())).map(|()| None);
        }
        CommandBody::Login { username, password } => {
            return text(username).and_then(|_| text(password.declassify())).map(|_| None);
        }
        _ => return Ok(None),
    }))
}

fn select(mailbox: &Mailbox<'_>, parameters: &[SelectParameter], read_only: bool) -> Result<Command, Refused> {
    let mut select = Select { mailbox: name(mailbox)?, read_only, condstore: false, resync: None };
    for parameter in parameters {
        match parameter {
            SelectParameter::CondStore => select.condstore = true,
            SelectParameter::QResync { uid_validity, mod_sequence_value, known_uids, .. } => {
                select.resync = Some(Resync {
                    validity: UidValidity::new(uid_validity.get()).unwrap(),
                    since: mod_sequence_value.get(),
                    known: known_uids.as_ref().map(set),
                });
            }
        }
    }
    Ok(Command::Select(select))
}

fn fetched(
    messages: Messages,
    names: &MacroOrMessageDataItemNames<'_>,
    modifiers: &[FetchModifier],
) -> Result<Fetch, Refused> {
    const FAST: [FetchItem; 3] = [FetchItem::Flags, FetchItem::InternalDate, FetchItem::Rfc822Size];
    let items = match names {
        MacroOrMessageDataItemNames::Macro(Macro::Fast) => FAST.to_vec(),
        MacroOrMessageDataItemNames::Macro(Macro::All) => [&FAST[..], &[FetchItem::Envelope]].concat(),
        MacroOrMessageDataItemNames::Macro(Macro::Full) => {
            [&FAST[..], &[FetchItem::Envelope, FetchItem::Body]].concat()
        }
        MacroOrMessageDataItemNames::MessageDataItemNames(names) => {
            names.iter().map(fetch_item).collect::<Result<_, _>>()?
        }
        _ => return Err("no macro of RFC 3501"),
    };
    let items = some(once(items))?;
    let mut fetch = Fetch { messages, items, changed_since: None, vanished: false, window: None };
    for modifier in modifiers {
        match modifier {
            FetchModifier::ChangedSince(value) if fetch.changed_since.is_none() => {
                fetch.changed_since = Some(value.get());
            }
            FetchModifier::Vanished if !fetch.vanished && fetch.messages.by_uid() => fetch.vanished = true,
            _ => return Err("the same modifier twice, or VANISHED without UID (RFC 7162 §3.2.6)"),
        }
    }
    if fetch.vanished && fetch.changed_since.is_none() {
        return Err("VANISHED without CHANGEDSINCE (RFC 7162 §3.2.6)");
    }
    if fetch.changed_since.is_some() && !fetch.items.contains(&FetchItem::ModSeq) {
        fetch.items.push(FetchItem::ModSeq);
    }
    if fetch.messages.by_uid() && !fetch.items.contains(&FetchItem::Uid) {
        fetch.items.insert(0, FetchItem::Uid);
    }
    Ok(fetch)
}
