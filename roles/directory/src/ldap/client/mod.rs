//! The remote implementation of `Directory`: another node's directory, asked over LDAP.
//!
//! It asks for nothing that is not in the published tree, so that what is expanded and resolved here is found by plain
//! searches. People are read and changed over connections on which this node is bound; a password is tried on others.

mod pool;
mod probe;

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use estafeta_core::directory::{Account, AccountChange, Alias, Directory, NewAccount, Resolution};
use estafeta_core::members::Candidate;
use estafeta_core::{Address, Domain, Failure, Reason, Secret, StoreGroup};
use estafeta_net::role::Remote;
use estafeta_net::tls::Tls;
use ldap3::controls::RawControl;
use ldap3::exop::PasswordModify;
use ldap3::{Mod, Scope, ldap_escape};

use self::pool::{Binding, Lease, Pool};
pub use self::probe::probe;
use super::entry::Received;
use super::place::Place;
use super::schema::{self, AttributeType};
use super::session_tracking;
use crate::expand::{self, Found, LookUp};

/// How many entries a page of a list holds.
const PAGE: u32 = 500;

/// How many addresses are looked up by one search. With their domains they stay below what a server answers at once.
const LOOK_UPS: usize = 100;

const EVERYTHING: &str = "(objectClass=*)";

/// A directory node's directory.
pub struct RemoteDirectory {
    people: Pool,
    logins: Pool,
}

/// The client for the service `ldaps` at one member's endpoint.
pub fn client(remote: &Remote, candidate: &Candidate) -> Arc<dyn Directory> {
    Arc::new(RemoteDirectory::new(remote.tls.clone(), candidate.clone()))
}

impl RemoteDirectory {
    /// It connects when it is first asked.
    pub fn new(tls: Arc<Tls>, candidate: Candidate) -> Self {
        Self {
            people: Pool::new(tls.clone(), candidate.clone(), Binding::Node),
            logins: Pool::new(tls, candidate, Binding::None),
        }
    }

    fn unreadable(&self, why: String) -> Failure {
        Failure::internal(format!("{}: {why}", self.people.node()))
    }

    /// The one account at a place, on a connection that may read it.
    async fn account_on(&self, lease: &mut Lease<'_>, address: &Address) -> Result<Account, Failure> {
        let dn = Place::Account(address.clone()).dn();
        let found = lease.search(&dn, Scope::Base, EVERYTHING, None).await;
        let nobody = || Failure::new(Reason::NotFound, format!("there is no account {address}"));
        match found {
            Ok(found) => found.entries.first().ok_or_else(nobody)?.account().map_err(|why| self.unreadable(why)),
            Err(failure) if failure.reason == Reason::NotFound => Err(nobody()),
            Err(failure) => Err(failure),
        }
    }

    /// All entries of a class, in the domain or in all, page by page.
    async fn list(
        &self,
        domain: Option<&Domain>,
        unit: fn(Domain) -> Place,
        class: &str,
    ) -> Result<Vec<Received>, Failure> {
        let base = domain.map_or_else(String::new, |domain| unit(domain.clone()).dn());
        let filter = format!("(objectClass={class})");
        let mut lease = self.people.in_time(self.people.lease()).await?;
        let mut all = Vec::new();
        let mut cookie = Vec::new();
        loop {
            let page = self.people.in_time(lease.search(&base, Scope::Subtree, &filter, Some((PAGE, cookie)))).await;
            let page = match page {
                // The domain is not ours.
                Err(failure) if failure.reason == Reason::NotFound => return Ok(Vec::new()),
                page => page?,
            };
            all.extend(page.entries);
            if page.cookie.is_empty() {
                return Ok(all);
            }
            cookie = page.cookie;
        }
    }

    async fn add(&self, place: &Place, attributes: Vec<(&AttributeType, Vec<String>)>) -> Result<(), Failure> {
        let attributes = attributes.into_iter().filter(|(_, values)| !values.is_empty());
        let attributes =
            attributes.map(|(attribute, values)| (attribute.name().to_owned(), values.into_iter().collect()));
        let (dn, attributes) = (place.dn(), attributes.collect());
        let add = async {
            let mut lease = self.people.lease().await?;
            lease.run(async |ldap| ldap.add(&dn, attributes).await).await
        };
        self.people.in_time(add).await.map(|_| ())
    }

    async fn delete(&self, place: &Place, nobody: String) -> Result<(), Failure> {
        let dn = place.dn();
        let delete = async {
            let mut lease = self.people.lease().await?;
            lease.run(async |ldap| ldap.delete(&dn).await).await
        };
        match self.people.in_time(delete).await {
            Ok(_) => Ok(()),
            Err(failure) if failure.reason == Reason::NotFound => Err(Failure::new(Reason::NotFound, nobody)),
            Err(failure) => Err(failure),
        }
    }

    /// What one search says of some addresses.
    async fn look_up_some(&self, addresses: &[Address]) -> Result<Vec<Found>, Failure> {
        let domains: HashSet<&Domain> = addresses.iter().map(Address::domain).collect();
        let equal = |attribute: &AttributeType, value: &str| format!("({}={})", attribute.name(), ldap_escape(value));
        let by_mail = addresses.iter().map(|address| equal(&schema::MAIL, &address.to_string()));
        let by_domain = domains.iter().map(|domain| equal(&schema::ASSOCIATED_DOMAIN, domain.as_str()));
        let filter = format!("(|{})", by_mail.chain(by_domain).collect::<String>());
        let search = async { self.people.lease().await?.search("", Scope::Subtree, &filter, None).await };
        let mut known = HashMap::new();
        let mut ours = HashSet::new();
        for entry in self.people.in_time(search).await?.entries {
            if entry.is("estafetaAccount") {
                let account = entry.account().map_err(|why| self.unreadable(why))?;
                known.insert(account.address.key(), Found::Account(account));
            } else if entry.is("estafetaAlias") {
                let alias = entry.alias().map_err(|why| self.unreadable(why))?;
                known.insert(alias.address.key(), Found::Alias(alias));
            } else {
                ours.extend(entry.all(&schema::ASSOCIATED_DOMAIN).iter().cloned());
            }
        }
        let found = addresses.iter().map(|address| match known.get(&address.key()) {
            Some(found) => found.clone(),
            None if ours.contains(address.domain().as_str()) => Found::Unknown,
            None => Found::Foreign,
        });
        Ok(found.collect())
    }
}

#[async_trait]
impl LookUp for RemoteDirectory {
    async fn look_up(&self, addresses: &[Address]) -> Result<Vec<Found>, Failure> {
        let mut found = Vec::with_capacity(addresses.len());
        for some in addresses.chunks(LOOK_UPS) {
            found.extend(self.look_up_some(some).await?);
        }
        Ok(found)
    }
}

#[async_trait]
impl Directory for RemoteDirectory {
    async fn resolve(&self, address: &Address) -> Result<Resolution, Failure> {
        expand::resolve(self, address).await
    }

    async fn authenticate(&self, login: &str, password: &Secret, client: IpAddr) -> Result<Account, Failure> {
        // RFC 4513 §5.1: without a name or a password the bind would ask for no login, and succeed or mean nothing.
        if login.is_empty() || password.expose().is_empty() {
            return Err(Failure::new(Reason::Credentials, "the name or the password is wrong"));
        }
        let tracking = RawControl {
            ctype: session_tracking::OID.to_owned(),
            crit: false,
            val: Some(session_tracking::encode(client)),
        };
        let log_in = async {
            let mut lease = self.logins.lease().await?;
            lease.run(async |ldap| ldap.with_controls(tracking).simple_bind(login, password.expose()).await).await?;
            let address =
                login.parse().map_err(|_| self.unreadable(format!("it lets {login:?} log in, which is no address")))?;
            self.account_on(&mut lease, &address).await
        };
        self.logins.in_time(log_in).await
    }

    async fn account(&self, address: &Address) -> Result<Account, Failure> {
        let read = async { self.account_on(&mut self.people.lease().await?, address).await };
        self.people.in_time(read).await
    }

    async fn accounts(&self, domain: Option<&Domain>) -> Result<Vec<Account>, Failure> {
        let entries = self.list(domain, Place::People, "estafetaAccount").await?;
        let mut accounts =
            entries.iter().map(Received::account).collect::<Result<Vec<_>, _>>().map_err(|why| self.unreadable(why))?;
        accounts.sort_by_cached_key(|account| account.address.key());
        Ok(accounts)
    }

    async fn accounts_in(&self, group: &StoreGroup) -> Result<u64, Failure> {
        // The size of a page's control is the server's estimate for all pages (RFC 2696 §2), and ours knows this one.
        let filter = format!("({}={group})", schema::STORE_GROUP.name());
        let search =
            async { self.people.lease().await?.search("", Scope::Subtree, &filter, Some((1, Vec::new()))).await };
        let found = self.people.in_time(search).await?;
        let first = u64::from(!found.entries.is_empty());
        if found.estimate < first {
            return Err(self.unreadable(format!("it does not say how many accounts the store group {group} has")));
        }
        Ok(found.estimate)
    }

    async fn add_account(&self, account: &NewAccount) -> Result<Account, Failure> {
        let classes = ["inetOrgPerson", "estafetaAccount"].map(str::to_owned).to_vec();
        let some = |text: &str| if text.is_empty() { vec![] } else { vec![text.to_owned()] };
        let attributes = vec![
            (&schema::OBJECT_CLASS, classes),
            (&schema::UID, some(account.address.local())),
            (&schema::MAIL, some(&account.address.to_string())),
            (&schema::DISPLAY_NAME, some(&account.name)),
            (&schema::STORE_GROUP, some(account.store_group.as_str())),
            (&schema::QUOTA, account.quota_bytes.iter().map(u64::to_string).collect()),
            (&schema::QUOTA_MESSAGES, account.quota_messages.iter().map(u64::to_string).collect()),
            (&schema::USER_PASSWORD, account.password.iter().map(|password| password.expose().to_owned()).collect()),
        ];
        self.add(&Place::Account(account.address.clone()), attributes).await?;
        self.account(&account.address).await
    }

    async fn change_account(&self, address: &Address, change: &AccountChange) -> Result<Account, Failure> {
        let dn = Place::Account(address.clone()).dn();
        let replace = |attribute: &AttributeType, values: Vec<String>| {
            Mod::Replace(attribute.name().to_owned(), values.into_iter().collect())
        };
        let mut changes = Vec::new();
        if let Some(name) = &change.name {
            changes.push(replace(
                &schema::DISPLAY_NAME,
                Some(name.clone()).filter(|name| !name.is_empty()).into_iter().collect(),
            ));
        }
        if let Some(group) = &change.store_group {
            changes.push(replace(&schema::STORE_GROUP, vec![group.as_str().to_owned()]));
        }
        if let Some(quota) = change.quota_bytes {
            changes.push(replace(&schema::QUOTA, quota.iter().map(u64::to_string).collect()));
        }
        if let Some(quota) = change.quota_messages {
            changes.push(replace(&schema::QUOTA_MESSAGES, quota.iter().map(u64::to_string).collect()));
        }
        if let Some(enabled) = change.enabled {
            changes.push(replace(&schema::ENABLED, vec![if enabled { "TRUE" } else { "FALSE" }.to_owned()]));
        }
        let modify = async {
            let mut lease = self.people.lease().await?;
            if !changes.is_empty() {
                lease.run(async |ldap| ldap.modify(&dn, changes).await).await?;
            }
            self.account_on(&mut lease, address).await
        };
        self.people.in_time(modify).await
    }

    async fn set_password(&self, address: &Address, password: &Secret) -> Result<(), Failure> {
        let dn = Place::Account(address.clone()).dn();
        let request = PasswordModify { user_id: Some(&dn), old_pass: None, new_pass: Some(password.expose()) };
        let modify = async {
            let mut lease = self.people.lease().await?;
            lease.run(async |ldap| ldap.extended(request).await.map(|answer| answer.1)).await
        };
        self.people.in_time(modify).await.map(|_| ())
    }

    async fn remove_account(&self, address: &Address) -> Result<(), Failure> {
        self.delete(&Place::Account(address.clone()), format!("there is no account {address}")).await
    }

    async fn aliases(&self, domain: Option<&Domain>) -> Result<Vec<Alias>, Failure> {
        let entries = self.list(domain, Place::Aliases, "estafetaAlias").await?;
        let mut aliases =
            entries.iter().map(Received::alias).collect::<Result<Vec<_>, _>>().map_err(|why| self.unreadable(why))?;
        aliases.sort_by_cached_key(|alias| alias.address.key());
        Ok(aliases)
    }

    async fn add_alias(&self, alias: &Alias) -> Result<(), Failure> {
        let attributes = vec![
            (&schema::OBJECT_CLASS, ["nisMailAlias", "estafetaAlias"].map(str::to_owned).to_vec()),
            (&schema::CN, vec![alias.address.local().to_owned()]),
            (&schema::MAIL, vec![alias.address.to_string()]),
            (&schema::MEMBER, alias.targets.iter().map(Address::to_string).collect()),
        ];
        self.add(&Place::Alias(alias.address.clone()), attributes).await
    }

    async fn remove_alias(&self, address: &Address) -> Result<(), Failure> {
        self.delete(&Place::Alias(address.clone()), format!("there is no alias {address}")).await
    }
}
