//! Where a name leads: to a mailbox of one's own, or below `Other users/` to one that somebody shares, and what may be done
//! there (RFC 4314 §4).
//!
//! Invariants: who has no right to know of a mailbox hears the same as if there were none; an owner may do everything.

use async_trait::async_trait;
use estafeta_core::directory::Account;
use estafeta_core::{Address, Failure, Reason};
use estafeta_protocols::imap::response::{Code, Completion};
use estafeta_protocols::imap::types::{self as wire, Rights};

use super::engine::Engine;
use super::refusal::Refused;
use super::translate::store_name;
use crate::store::{AccountMail, DELIMITER, FlagScope, MailboxName, StoreError, SystemFlags};

/// Above the mailboxes of others (RFC 2342 §3): then comes the owner's address, then the name there.
pub(super) const OTHERS: &str = "Other users";

/// Who else lives in the store group.
#[async_trait]
pub trait Neighbours: Send + Sync {
    /// The account of an address. [`Reason::Denied`] when it lives in another store group.
    async fn account(&self, address: &Address) -> Result<Account, Failure>;
}

/// Where a name leads.
pub(super) struct Place {
    /// The owner's mail.
    pub(super) mail: AccountMail,
    /// The name there. There may be no such mailbox.
    pub(super) name: MailboxName,
    /// What the user may do with it.
    pub(super) rights: Rights,
    /// It is the user's own.
    pub(super) own: bool,
}

impl Place {
    /// Refuses who does not have all of these rights.
    pub(super) fn need(&self, rights: Rights) -> Result<(), Refused> {
        if self.rights.contains(rights) {
            Ok(())
        } else if self.rights.contains(Rights::LOOKUP) {
            Err(not_permitted())
        } else {
            Err(StoreError::NoMailbox.into())
        }
    }

    /// Refuses who may not read entries of the mailbox; or, to change those that all see, who may not change messages for all:
    /// RFC 5464 §3.3 leaves that to the same rights, but a reader's note is no notice for everybody.
    pub(super) fn need_to_annotate(&self, shared: bool) -> Result<(), Refused> {
        self.need(if shared { Rights::LOOKUP.with(Rights::WRITE) } else { Rights::LOOKUP })?;
        if may_annotate(self.rights) { Ok(()) } else { Err(not_permitted()) }
    }

    /// Refuses who may not create mailboxes below the nearest name above this one.
    pub(super) async fn need_to_create(&self, user: &AccountMail) -> Result<(), Refused> {
        if self.own {
            return Ok(());
        }
        for above in self.name.superiors().collect::<Vec<_>>().into_iter().rev() {
            let rights = self.mail.rights_on(&above, user).await?;
            if rights.contains(Rights::CREATE) {
                return Ok(());
            }
            if rights.contains(Rights::LOOKUP) {
                break;
            }
        }
        Err(not_permitted())
    }
}

/// RFC 5530: for who may know of the mailbox.
pub(super) fn not_permitted() -> Refused {
    Refused::Answer(Completion::no("You do not have the right to do this").with(Code::NoPermission))
}

/// Whether entries of a mailbox may be read, and private ones kept (RFC 5464 §3.3): by who knows of it, and may do something
/// with its messages.
pub(super) fn may_annotate(rights: Rights) -> bool {
    const ANY: Rights = Rights::READ.with(Rights::SEEN).with(Rights::WRITE).with(Rights::INSERT).with(Rights::POST);
    rights.contains(Rights::LOOKUP) && rights.intersects(ANY)
}

/// Which flags may be changed by whom (RFC 4314 §4).
pub(super) fn flag_scope(rights: Rights) -> FlagScope {
    let others = SystemFlags::ANSWERED | SystemFlags::FLAGGED | SystemFlags::DRAFT;
    let granted =
        [(Rights::SEEN, SystemFlags::SEEN), (Rights::DELETE_MESSAGES, SystemFlags::DELETED), (Rights::WRITE, others)];
    let granted = granted.into_iter().filter(|(right, _)| rights.contains(*right));
    FlagScope {
        system: granted.fold(SystemFlags::NONE, |all, (_, flags)| all | flags),
        keywords: rights.contains(Rights::WRITE),
    }
}

/// The owner's address and the name there, of a name below [`OTHERS`]; none of one's own.
fn elsewhere(name: &MailboxName) -> Option<(&str, &str)> {
    let rest = name.as_str().strip_prefix(OTHERS)?;
    if rest.is_empty() {
        return Some(("", ""));
    }
    let below = rest.strip_prefix(DELIMITER)?;
    Some(below.split_once(DELIMITER).unwrap_or((below, "")))
}

/// The name by which a user knows another's mailbox; none when it would be too long.
pub(super) fn name_of_shared(owner: &str, name: &MailboxName) -> Option<MailboxName> {
    format!("{OTHERS}{DELIMITER}{owner}{DELIMITER}{name}").parse().ok()
}

impl Engine {
    /// Where a name leads.
    pub(super) async fn place(&self, name: &wire::MailboxName) -> Result<Place, Refused> {
        let name = store_name(name)?;
        match elsewhere(&name) {
            None => Ok(Place { mail: self.mail.clone(), name, rights: Rights::ALL, own: true }),
            Some((_, "")) => Err(StoreError::NotSelectable.into()),
            Some((owner, there)) => {
                let mail = self.neighbour(owner).await?.ok_or(StoreError::NoMailbox)?;
                let name: MailboxName = there.parse().map_err(|_| StoreError::NoMailbox)?;
                let rights = mail.rights_on(&name, &self.mail).await?;
                Ok(Place { mail, name, rights, own: false })
            }
        }
    }

    /// The mail of another account that shares something, by its address.
    pub(super) async fn neighbour(&self, address: &str) -> Result<Option<AccountMail>, Refused> {
        let Ok(address) = address.parse::<Address>() else { return Ok(None) };
        // The directory is not asked for whoever shares nothing.
        if !self.mail.has_neighbour(&address).await? {
            return Ok(None);
        }
        match self.neighbours.account(&address).await {
            Ok(account) => Ok(self.mail.neighbour(&account).await?),
            Err(failure) if matches!(failure.reason, Reason::NotFound | Reason::Denied) => Ok(None),
            Err(failure) => Err(failure.into()),
        }
    }

    /// Before a command on the open mailbox of another: what may be done with it now. Whoever may no longer read it does not
    /// hear of it any more.
    pub(super) async fn refresh_rights(&mut self) -> Result<(), Refused> {
        let Some(selected) = self.selected.as_mut().filter(|selected| selected.shared) else { return Ok(()) };
        selected.rights = selected.mailbox.rights_of(&self.mail).await?;
        if selected.rights.contains(Rights::READ) {
            Ok(())
        } else {
            Err(Refused::End("The selected mailbox is no longer shared with you"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_others() {
        let split = |text: &str| elsewhere(&text.parse().unwrap()).map(|(owner, name)| format!("{owner}|{name}"));
        assert_eq!(split("Other users/ana@example.edu/a/b").as_deref(), Some("ana@example.edu|a/b"));
        assert_eq!(split("Other users/ana@example.edu").as_deref(), Some("ana@example.edu|"));
        assert_eq!(split("Other users").as_deref(), Some("|"));
        for own in ["Other usersx", "other users/a/b", "a/Other users/b", "INBOX"] {
            assert_eq!(split(own), None, "{own}");
        }
        let name: MailboxName = "a/b".parse().unwrap();
        assert_eq!(name_of_shared("x@y", &name).unwrap().as_str(), "Other users/x@y/a/b");
        assert_eq!(name_of_shared("x@y", &"n".repeat(1000).parse().unwrap()), None);
    }

    #[test]
    fn entries_follow_rights() {
        let may = |letters: &[u8]| may_annotate(Rights::parse(letters).unwrap());
        assert!([&b"lr"[..], b"ls", b"lw", b"li", b"lp"].into_iter().all(may));
        assert!(![&b""[..], b"l", b"lkxtea", b"rswip"].into_iter().any(may));
    }

    #[test]
    fn flags_follow_rights() {
        let scope = |letters: &[u8]| flag_scope(Rights::parse(letters).unwrap());
        assert_eq!(flag_scope(Rights::ALL), FlagScope::ALL);
        assert_eq!(scope(b"lri"), FlagScope { system: SystemFlags::NONE, keywords: false });
        assert_eq!(scope(b"st").system, SystemFlags::SEEN | SystemFlags::DELETED);
        assert!(scope(b"w").keywords && !scope(b"w").system.contains(SystemFlags::SEEN));
    }
}
