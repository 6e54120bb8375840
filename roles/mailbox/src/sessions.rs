//! The local implementation of the contract `Sessions`: an account's mail, open on this node.

use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use estafeta_core::directory::Account;
use estafeta_core::sessions::{Protocol, Session, SessionRequest, Sessions};
use estafeta_core::{Address, Failure, Reason, Secret};
use estafeta_net::drain::Drain;

use crate::accounts::Accounts;
use crate::imap::{Doorkeeper, ImapSession, Mailroom, Neighbours};
use crate::pop3::Pop3Session;
use crate::store::AccountMail;

/// Sessions on the mail of these accounts.
pub struct LocalSessions {
    accounts: Accounts,
    drain: Drain,
}

impl LocalSessions {
    /// When `drain` begins, sessions end between two commands.
    pub fn new(accounts: Accounts, drain: Drain) -> Self {
        Self { accounts, drain }
    }
}

#[async_trait]
impl Sessions for LocalSessions {
    async fn open(&self, request: &SessionRequest) -> Result<Box<dyn Session>, Failure> {
        let mail = self.accounts.open(&request.account).await?;
        Ok(match request.protocol {
            Protocol::Imap => {
                let accounts = Arc::new(self.accounts.clone());
                Box::new(ImapSession::new(mail, accounts.clone(), accounts, request.client, self.drain.clone()))
            }
            Protocol::Pop3 => Box::new(Pop3Session::open(&mail, request.client, self.drain.clone()).await?),
        })
    }
}

/// For clients that an access node relays: it names the account, whose password it has seen.
#[async_trait]
impl Mailroom for Accounts {
    async fn open(&self, address: &str) -> Result<AccountMail, Failure> {
        let address = address.parse().map_err(|error| Failure::new(Reason::Invalid, format!("{error}")))?;
        let account = self.of(&address).await?;
        self.open(&account).await
    }
}

/// For mailboxes that accounts share.
#[async_trait]
impl Neighbours for Accounts {
    async fn account(&self, address: &Address) -> Result<Account, Failure> {
        self.neighbour(address).await
    }
}

/// For clients that log in here, after UNAUTHENTICATE.
#[async_trait]
impl Doorkeeper for Accounts {
    async fn admit(
        &self,
        login: &str,
        password: &Secret,
        on_behalf_of: Option<&str>,
        client: IpAddr,
    ) -> Result<AccountMail, Failure> {
        let account = self.authenticate(login, password, on_behalf_of, client).await?;
        self.open(&account).await
    }
}
