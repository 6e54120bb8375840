//! The contract `Directory`: people. Asked by edge, access, mailbox and administration; remote, LDAP.

mod cache;
#[cfg(feature = "suite")]
pub mod memory;
mod router;
#[cfg(feature = "suite")]
pub mod suite;

use std::net::IpAddr;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::address::{Address, Domain};
use crate::failure::Failure;
use crate::name::{AccountId, StoreGroup};
use crate::secret::Secret;

pub use cache::{CacheAges, DirectoryCache};
pub use router::DirectoryRouter;

/// One person's mail, or one function's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Who it is, for ever.
    pub id: AccountId,
    /// The address, and the name to log in with.
    pub address: Address,
    /// The person's name, for people to read; may be empty.
    pub name: String,
    /// Where the mailboxes live.
    pub store_group: StoreGroup,
    /// How much the mailboxes may hold, in bytes; none for no limit.
    pub quota_bytes: Option<u64>,
    /// How many messages the mailboxes may hold; none for no limit.
    #[serde(default)]
    pub quota_messages: Option<u64>,
    /// Whether it may log in and receive mail.
    pub enabled: bool,
    /// When it was made, in seconds since 1970.
    pub created: u64,
}

/// An account to make.
#[derive(Debug, Clone)]
pub struct NewAccount {
    /// The address.
    pub address: Address,
    /// The person's name; may be empty.
    pub name: String,
    /// Where the mailboxes shall live.
    pub store_group: StoreGroup,
    /// In bytes; none for no limit.
    pub quota_bytes: Option<u64>,
    /// How many messages; none for no limit.
    pub quota_messages: Option<u64>,
    /// Without one nobody can log in.
    pub password: Option<Secret>,
}

/// What to change of an account; what is none stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccountChange {
    /// The person's name.
    pub name: Option<String>,
    /// Where the mailboxes live: for the mailbox nodes that move them, and nobody else.
    pub store_group: Option<StoreGroup>,
    /// In bytes; the inner none for no limit.
    pub quota_bytes: Option<Option<u64>>,
    /// How many messages; the inner none for no limit.
    pub quota_messages: Option<Option<u64>>,
    /// Whether it may log in and receive mail.
    pub enabled: Option<bool>,
}

/// An address that stands for others, here or elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alias {
    /// The address.
    pub address: Address,
    /// Whom it stands for: at least one, at most [`ALIAS_TARGETS`].
    pub targets: Vec<Address>,
}

/// The most targets of one alias, and the most recipients that one address expands to.
pub const ALIAS_TARGETS: usize = 1000;

/// How deep aliases may name aliases.
pub const ALIAS_DEPTH: usize = 10;

/// The shortest password that is taken, in characters (NIST SP 800-63B §3.1.1.2).
pub const PASSWORD_CHARACTERS: usize = 8;

/// Where mail for an address goes, aliases expanded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolution {
    /// To these; at least one, none twice.
    Recipients(Vec<Target>),
    /// The domain is ours and nobody has this address.
    Unknown,
    /// The address is known, and may not receive now: the account is disabled, or the alias leads in a circle or too
    /// deep. The text is for the operator.
    Blocked(String),
    /// The domain is not ours.
    Foreign,
}

/// One place that mail goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A mailbox of ours.
    Account(Account),
    /// An address elsewhere.
    Remote(Address),
}

/// The contract. Look-ups may be answered from a cache; changes never.
#[async_trait]
pub trait Directory: Send + Sync {
    /// Where mail for `address` goes.
    ///
    /// An address that nobody has is looked for without its detail, `name+detail@` as `name@` (RFC 5233).
    async fn resolve(&self, address: &Address) -> Result<Resolution, Failure>;

    /// Whose login this is. [`crate::Reason::Credentials`] when the name is unknown, the password wrong or the account
    /// disabled: the client is not told which. [`crate::Reason::Busy`] after too many wrong ones.
    async fn authenticate(&self, login: &str, password: &Secret, client: IpAddr) -> Result<Account, Failure>;

    /// The account of this address, which is not an alias. [`crate::Reason::NotFound`] when there is none.
    async fn account(&self, address: &Address) -> Result<Account, Failure>;

    /// All accounts, or those of one domain, by address.
    async fn accounts(&self, domain: Option<&Domain>) -> Result<Vec<Account>, Failure>;

    /// How many accounts live in a store group. By default they are all read and counted.
    async fn accounts_in(&self, group: &StoreGroup) -> Result<u64, Failure> {
        let accounts = self.accounts(None).await?;
        Ok(accounts.iter().filter(|account| &account.store_group == group).map(|_| 1).sum())
    }

    /// Makes an account. [`crate::Reason::Exists`] when the address is an account's or an alias's;
    /// [`crate::Reason::NotFound`] when the domain is not ours; [`crate::Reason::Invalid`] when the password is too
    /// short.
    async fn add_account(&self, account: &NewAccount) -> Result<Account, Failure>;

    /// Changes an account and gives it as it is then.
    async fn change_account(&self, address: &Address, change: &AccountChange) -> Result<Account, Failure>;

    /// Sets the password: every verifier of it is written anew, the old ones are gone.
    async fn set_password(&self, address: &Address, password: &Secret) -> Result<(), Failure>;

    /// Removes an account. Its id is never used again.
    async fn remove_account(&self, address: &Address) -> Result<(), Failure>;

    /// All aliases, or those of one domain, by address.
    async fn aliases(&self, domain: Option<&Domain>) -> Result<Vec<Alias>, Failure>;

    /// Makes an alias. [`crate::Reason::Exists`], [`crate::Reason::NotFound`] as for an account;
    /// [`crate::Reason::Invalid`] without a target or with too many.
    async fn add_alias(&self, alias: &Alias) -> Result<(), Failure>;

    /// Removes an alias.
    async fn remove_alias(&self, address: &Address) -> Result<(), Failure>;
}
