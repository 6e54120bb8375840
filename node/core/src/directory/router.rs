//! The router of `Directory`: any directory node answers.

use std::net::IpAddr;

use async_trait::async_trait;

use super::{Account, AccountChange, Alias, Directory, NewAccount, Resolution};
use crate::address::{Address, Domain};
use crate::failure::Failure;
use crate::name::StoreGroup;
use crate::route::Routes;
use crate::secret::Secret;

/// Asks the local directory, then the others in turn. A change that got no answer may have been made: the next node
/// then answers `Exists` or `NotFound`, which is the truth.
pub struct DirectoryRouter(pub Routes<dyn Directory>);

macro_rules! ask {
    ($self:ident, $method:ident($($argument:expr),*)) => {
        $self.0.ask(None, |directory| async move { directory.$method($($argument),*).await }).await
    };
}

#[async_trait]
impl Directory for DirectoryRouter {
    async fn resolve(&self, address: &Address) -> Result<Resolution, Failure> {
        ask!(self, resolve(address))
    }

    async fn authenticate(&self, login: &str, password: &Secret, client: IpAddr) -> Result<Account, Failure> {
        ask!(self, authenticate(login, password, client))
    }

    async fn account(&self, address: &Address) -> Result<Account, Failure> {
        ask!(self, account(address))
    }

    async fn accounts(&self, domain: Option<&Domain>) -> Result<Vec<Account>, Failure> {
        ask!(self, accounts(domain))
    }

    async fn accounts_in(&self, group: &StoreGroup) -> Result<u64, Failure> {
        ask!(self, accounts_in(group))
    }

    async fn add_account(&self, account: &NewAccount) -> Result<Account, Failure> {
        ask!(self, add_account(account))
    }

    async fn change_account(&self, address: &Address, change: &AccountChange) -> Result<Account, Failure> {
        ask!(self, change_account(address, change))
    }

    async fn set_password(&self, address: &Address, password: &Secret) -> Result<(), Failure> {
        ask!(self, set_password(address, password))
    }

    async fn remove_account(&self, address: &Address) -> Result<(), Failure> {
        ask!(self, remove_account(address))
    }

    async fn aliases(&self, domain: Option<&Domain>) -> Result<Vec<Alias>, Failure> {
        ask!(self, aliases(domain))
    }

    async fn add_alias(&self, alias: &Alias) -> Result<(), Failure> {
        ask!(self, add_alias(alias))
    }

    async fn remove_alias(&self, address: &Address) -> Result<(), Failure> {
        ask!(self, remove_alias(address))
    }
}
