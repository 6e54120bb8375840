//! What neither Maildir nor mbox has a place for: the file `estafeta.json` at the root, with what mailboxes are for, who may do
//! what with them, what is noted of them and of the account, and the subscriptions.
//!
//! Going in, nothing that is there is changed: only what is missing is added.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use estafeta_core::{Address, Failure, Reason};
use estafeta_protocols::imap::command::acl::RightsChange;
use estafeta_protocols::imap::types::Rights;
use serde::{Deserialize, Serialize};

use super::private::create_file;
use super::{blocking, failed};
use crate::imap::Neighbours;
use crate::store::relocation::{ImageOfAccount, ImageOfMailbox};
use crate::store::{AccountMail, EntryName, MailboxName, Scope, SpecialUse, StoreError};

/// Its name.
pub const FILE: &str = "estafeta.json";

/// The longest that is read, in bytes.
const FILE_BYTES: u64 = 64 << 20;

/// Entries by name, their values in base64.
type Entries = BTreeMap<String, String>;

/// The file.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Particulars {
    /// Subscriptions, by name.
    #[serde(default)]
    subscriptions: Vec<String>,
    /// The account's own entries (RFC 5464).
    #[serde(default)]
    entries: Entries,
    /// The mailboxes, by name, those that hold no messages too.
    #[serde(default)]
    mailboxes: BTreeMap<String, OfMailbox>,
}

#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct OfMailbox {
    /// As LIST shows it (RFC 6154).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    special_use: Option<String>,
    /// RFC 4314.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    rights: Vec<Given>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    shared: Entries,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    private: Entries,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Given {
    /// An address, `anyone` or `authenticated`.
    to: String,
    /// Taken away rather than given.
    #[serde(default)]
    negative: bool,
    rights: String,
}

fn given(kept: &crate::store::relocation::Given) -> Given {
    let rights = Rights::from_bits(u16::try_from(kept.rights).unwrap_or_default());
    Given { to: kept.identifier.clone(), negative: kept.negative, rights: rights.to_string() }
}

fn encoded(entries: Vec<(String, Vec<u8>)>) -> Entries {
    entries.into_iter().map(|(name, value)| (name, BASE64.encode(value))).collect()
}

impl Particulars {
    /// Those of an account.
    pub async fn of(mail: &AccountMail) -> Result<Self, Failure> {
        let subscriptions = mail.subscriptions().await?.iter().map(ToString::to_string).collect();
        let mut all = Self { subscriptions, entries: encoded(mail.entries().await?), ..Self::default() };
        for entry in mail.mailboxes().await?.into_iter().filter(|entry| entry.selectable) {
            let mailbox = match mail.mailbox(&entry.name).await {
                // Deleted meanwhile.
                Err(StoreError::NoMailbox | StoreError::NotSelectable) => continue,
                mailbox => mailbox?,
            };
            let given = mailbox.grants().await?.into_iter().map(|grant| Given {
                to: grant.identifier,
                negative: grant.negative,
                rights: grant.rights.to_string(),
            });
            let of_mailbox = OfMailbox {
                special_use: entry.special_use.map(|one| one.attribute().to_owned()),
                rights: given.collect(),
                shared: encoded(mailbox.entries(Scope::Shared, mail).await?),
                private: encoded(mailbox.entries(Scope::Private, mail).await?),
            };
            all.mailboxes.insert(entry.name.to_string(), of_mailbox);
        }
        Ok(all)
    }

    /// Those of a backup.
    pub fn of_image(image: &ImageOfAccount) -> Self {
        let entries = |of: &crate::store::relocation::Entries| -> Entries {
            of.iter().map(|(name, value)| (name.clone(), BASE64.encode(&value[..]))).collect()
        };
        let of_mailbox = |mailbox: &ImageOfMailbox| OfMailbox {
            special_use: mailbox.special_use.clone(),
            rights: mailbox.rights.iter().map(given).collect(),
            shared: entries(&mailbox.shared),
            private: entries(&mailbox.private),
        };
        let selectable = image.mailboxes.iter().filter(|mailbox| mailbox.selectable);
        Self {
            subscriptions: image.subscriptions.clone(),
            entries: entries(&image.entries),
            mailboxes: selectable.map(|mailbox| (mailbox.name.clone(), of_mailbox(mailbox))).collect(),
        }
    }

    /// Writes the file, which is whole whenever it is there.
    pub async fn write(&self, root: &Path) -> Result<(), Failure> {
        let text = serde_json::to_vec_pretty(self).map_err(Failure::internal)?;
        let (path, temporary) = (root.join(FILE), root.join(".estafeta.json.new"));
        blocking(move || {
            let write = || {
                let mut file = create_file(&temporary)?;
                file.write_all(&text)?;
                file.sync_all()?;
                fs::rename(&temporary, &path)
            };
            write().map_err(failed(&path))
        })
        .await
    }

    /// Reads the file, if there is one.
    pub async fn read(root: &Path) -> Result<Option<Self>, Failure> {
        let path = root.join(FILE);
        blocking(move || {
            let Ok(metadata) = fs::metadata(&path) else { return Ok(None) };
            if metadata.len() > FILE_BYTES {
                return Err(Failure::new(Reason::TooLarge, format!("{} is too long to be ours", path.display())));
            }
            let text = fs::read(&path).map_err(failed(&path))?;
            let wrong = |error| Failure::new(Reason::Invalid, format!("{}: {error}", path.display()));
            serde_json::from_slice(&text).map(Some).map_err(wrong)
        })
        .await
    }

    /// Adds what an account has not, and gives how much could not be: each is in the log. Whom a right names must live in this
    /// store group.
    pub async fn add_to(self, mail: &AccountMail, neighbours: &dyn Neighbours) -> Result<u64, Failure> {
        let mut refused = 0;
        for (name, particulars) in self.mailboxes {
            match add_mailbox(mail, &name, particulars, neighbours).await {
                Ok(count) => refused += count,
                Err(failure) if failure.is_temporary() => return Err(failure),
                Err(failure) => {
                    tracing::error!(mailbox = name, %failure, "what belongs to a mailbox is not imported");
                    refused += 1;
                }
            }
        }
        for name in self.subscriptions {
            if let Ok(name) = name.parse() {
                mail.subscribe(&name).await?;
            }
        }
        let there = mail.entries().await?;
        mail.set_entries(missing(self.entries, &there)).await?;
        Ok(refused)
    }
}

/// Makes a mailbox, if it is missing, and adds what it has not.
async fn add_mailbox(
    mail: &AccountMail,
    name: &str,
    OfMailbox { special_use, rights, shared, private }: OfMailbox,
    neighbours: &dyn Neighbours,
) -> Result<u64, Failure> {
    let name: MailboxName = name.parse().map_err(|error| Failure::new(Reason::Invalid, format!("{error}")))?;
    let special_use = special_use.as_deref().and_then(SpecialUse::from_attribute);
    match mail.create(&name, special_use).await {
        Ok(()) | Err(StoreError::Exists) => {}
        // Another one is for this use.
        Err(StoreError::NotAllowed(_)) => mail.create(&name, None).await?,
        Err(error) => return Err(error.into()),
    }
    let mailbox = mail.mailbox(&name).await?;
    let mut entries: Vec<(EntryName, Option<Vec<u8>>)> = Vec::new();
    for (scope, named) in [(Scope::Shared, shared), (Scope::Private, private)] {
        let there = mailbox.entries(scope, mail).await?;
        entries.extend(missing(named, &there).into_iter().map(|(name, value)| ((scope, name), value)));
    }
    mailbox.set_entries(mail, entries).await?;
    let (there, mut refused) = (mailbox.grants().await?, 0);
    for given in rights {
        if there.iter().any(|grant| grant.identifier == given.to && grant.negative == given.negative) {
            continue;
        }
        let account = match given.to.as_str() {
            "anyone" | "authenticated" => Ok(None),
            address => match address.parse::<Address>() {
                Ok(address) => neighbours.account(&address).await.map(|account| Some(account.id)),
                Err(error) => Err(Failure::new(Reason::Invalid, error.to_string())),
            },
        };
        match (account, Rights::parse(given.rights.as_bytes())) {
            (Ok(account), Some(rights)) => {
                mailbox.grant((&given.to, given.negative), account, RightsChange::Replace(rights)).await?;
            }
            (Err(failure), _) if failure.is_temporary() => return Err(failure),
            (account, _) => {
                let failure = account.err().map(|failure| failure.to_string());
                tracing::error!(mailbox = %name, to = given.to, rights = given.rights, failure, "a right is not imported");
                refused += 1;
            }
        }
    }
    Ok(refused)
}

/// Those that are not there yet; what is no base64 is left out.
fn missing(entries: Entries, there: &[(String, Vec<u8>)]) -> Vec<(String, Option<Vec<u8>>)> {
    let new = entries.into_iter().filter(|(name, _)| there.iter().all(|(known, _)| known != name));
    new.filter_map(|(name, value)| Some((name, Some(BASE64.decode(value).ok()?)))).collect()
}
