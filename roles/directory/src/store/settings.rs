//! Settings in the database: the contract `SettingsStore`.

use async_trait::async_trait;
use estafeta_core::settings::{KeptSecret, Settings, SettingsStore};
use estafeta_core::{Domain, Failure, Reason, RoleName};

use super::Store;
use crate::sql::domains::{self, Uses};
use crate::sql::{secrets, settings};

/// The longest name of a secret, and the most that one holds, in bytes.
const NAME_BYTES: usize = 255;
const SECRET_BYTES: usize = 256 * 1024;

impl Store {
    /// Every domain and what of it is in use.
    pub async fn domains(&self) -> Result<Vec<(Domain, Uses)>, Failure> {
        let mut connection = self.reader().await?;
        let mut answer = Vec::new();
        for domain in domains::all(&mut connection).await? {
            let uses = domains::uses(&mut connection, &domain).await?;
            answer.push((domain, uses));
        }
        Ok(answer)
    }
}

#[async_trait]
impl SettingsStore for Store {
    async fn read(&self) -> Result<Settings, Failure> {
        let mut moment = self.moment().await?;
        Ok(settings::read(&mut moment).await?)
    }

    async fn add_domain(&self, domain: &Domain) -> Result<(), Failure> {
        let asked = domain.clone();
        self.database
            .run(async move |connection| {
                if domains::exists(&mut *connection, &asked).await? {
                    return Err(Failure::new(Reason::Exists, format!("{asked} is a domain of this cluster already")));
                }
                Ok(domains::insert(connection, &asked).await?)
            })
            .await?;
        tracing::info!(%domain, "domain added");
        Ok(())
    }

    async fn remove_domain(&self, domain: &Domain) -> Result<(), Failure> {
        let asked = domain.clone();
        self.database
            .run(async move |connection| {
                let Uses { accounts, aliases } = domains::uses(&mut *connection, &asked).await?;
                if accounts + aliases > 0 {
                    let accounts = count(accounts, "account", "accounts");
                    let aliases = count(aliases, "alias", "aliases");
                    let text = format!("{asked} is in use by {accounts} and {aliases}: remove them first");
                    return Err(Failure::new(Reason::Denied, text));
                }
                let missing = || Failure::new(Reason::NotFound, format!("{asked} is not a domain of this cluster"));
                let found = domains::delete(connection, &asked).await?;
                if found { Ok(()) } else { Err(missing()) }
            })
            .await?;
        tracing::info!(%domain, "domain removed");
        Ok(())
    }

    async fn read_secret(&self, role: &RoleName, name: &str) -> Result<Option<KeptSecret>, Failure> {
        Ok(secrets::find(&mut self.reader().await?, role, name).await?)
    }

    async fn write_secret(&self, role: &RoleName, name: &str, known: u64, content: &str) -> Result<(), Failure> {
        if name.is_empty() || name.len() > NAME_BYTES || content.len() > SECRET_BYTES {
            let text =
                format!("a secret takes a name of 1 to {NAME_BYTES} bytes and at most {SECRET_BYTES} bytes of content");
            return Err(Failure::new(Reason::TooLarge, text));
        }
        let (asked_role, asked_name, content) = (role.clone(), name.to_owned(), content.to_owned());
        self.database
            .run(async move |connection| {
                let replaced = secrets::replace(&mut *connection, &asked_role, &asked_name, known, &content).await?;
                let text = || format!("the secret {asked_name} of {asked_role} is not at version {known} any more");
                if replaced { Ok(()) } else { Err(Failure::new(Reason::Exists, text())) }
            })
            .await?;
        tracing::info!(%role, name, version = known + 1, "secret written");
        Ok(())
    }
}

fn count(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}
