//! Between the words of the store and those of the protocol.

use estafeta_protocols::imap::command::store as command;
use estafeta_protocols::imap::response::{Attribute, Code, Completion};
use estafeta_protocols::imap::types::{self as wire, Flag};

use super::refusal::Refused;
use crate::store::{
    FlagAction, FlagChange, FlagScope, Flags, Keyword, Keywords, MailboxName, SpecialUse, SystemFlags, Uid, UidValidity,
};

/// A name that the client gave. The store allows fewer.
pub(super) fn store_name(name: &wire::MailboxName) -> Result<MailboxName, Refused> {
    name.as_str().parse().map_err(|error: crate::store::MailboxNameError| {
        Refused::Answer(Completion::no(error.to_string()).with(Code::Cannot))
    })
}

/// A name that the store holds: all of them can be told.
pub(super) fn wire_name(name: &MailboxName) -> Option<wire::MailboxName> {
    wire::MailboxName::new(name.as_str()).ok()
}

pub(super) fn wire_uid(uid: Uid) -> Option<wire::Uid> {
    wire::Uid::new(uid.0)
}

pub(super) fn wire_validity(validity: UidValidity) -> Option<wire::UidValidity> {
    wire::UidValidity::new(validity.0)
}

fn system_flag(flag: &Flag) -> SystemFlags {
    match flag {
        Flag::Answered => SystemFlags::ANSWERED,
        Flag::Flagged => SystemFlags::FLAGGED,
        Flag::Deleted => SystemFlags::DELETED,
        Flag::Seen => SystemFlags::SEEN,
        Flag::Draft => SystemFlags::DRAFT,
        Flag::Keyword(_) => SystemFlags::NONE,
    }
}

/// The system flags among these.
pub fn system_flags(flags: &wire::Flags) -> SystemFlags {
    flags.iter().fold(SystemFlags::NONE, |all, flag| all | system_flag(&flag))
}

/// Flags that the client gave.
pub(super) fn store_flags(flags: &wire::Flags) -> Result<(SystemFlags, Vec<Keyword>), Refused> {
    let system = system_flags(flags);
    let keywords: Result<_, _> = flags.keywords().iter().map(|keyword| keyword.as_str().parse::<Keyword>()).collect();
    match keywords {
        Ok(keywords) => Ok((system, keywords)),
        Err(error) => Err(Refused::Answer(Completion::no(error.to_string()).with(Code::Cannot))),
    }
}

/// What STORE asks for.
pub(super) fn flag_change(store: &command::Store) -> Result<FlagChange, Refused> {
    let (system, keywords) = store_flags(&store.flags)?;
    let action = match store.change {
        command::FlagChange::Add => FlagAction::Add,
        command::FlagChange::Remove => FlagAction::Remove,
        command::FlagChange::Replace => FlagAction::Replace,
    };
    Ok(FlagChange { action, system, keywords })
}

/// A message's flags, as they are told.
pub(super) fn flag_names<'k>(flags: Flags, keywords: &'k Keywords) -> impl Iterator<Item = &'k str> {
    let system = flags.system.names().map(|name| -> &'k str { name });
    system.chain(keywords.of(flags.keywords).map(Keyword::as_str))
}

/// Whether a message has a flag that the client named.
pub(super) fn has_flag(flags: Flags, keywords: &Keywords, flag: &Flag) -> bool {
    match flag {
        Flag::Keyword(keyword) => {
            keywords.of(flags.keywords).any(|one| one.as_str().eq_ignore_ascii_case(keyword.as_str()))
        }
        system => flags.system.contains(system_flag(system)),
    }
}

/// All flags that messages of a mailbox can have, of those in the scope.
pub(super) fn mailbox_flags(keywords: &Keywords, scope: FlagScope) -> wire::Flags {
    let keywords = keywords
        .iter()
        .filter(|_| scope.keywords)
        .filter_map(|keyword| wire::Keyword::new(keyword.as_str().as_bytes()));
    let system = Flag::SYSTEM.into_iter().filter(|flag| scope.system.contains(system_flag(flag)));
    system.chain(keywords.map(Flag::Keyword)).collect()
}

pub(super) fn attribute(special_use: SpecialUse) -> Attribute {
    match special_use {
        SpecialUse::Archive => Attribute::Archive,
        SpecialUse::Drafts => Attribute::Drafts,
        SpecialUse::Junk => Attribute::Junk,
        SpecialUse::Sent => Attribute::Sent,
        SpecialUse::Trash => Attribute::Trash,
    }
}
