//! Domains in the database: the contract `SettingsStore`.

use async_trait::async_trait;
use estafeta_core::settings::{KeptSecret, Settings, SettingsStore};
use estafeta_core::{Domain, Failure, Reason, RoleName};
use estafeta_storage::StorageError;
use sqlx::Acquire;

use super::Store;
use crate::sql::domains::{self, Uses};

impl Store {
    /// Every domain and what of it is in use.
    pub async fn domains(&self) -> Result<Vec<(Domain, Uses)>, Failure> {
        let mut connection = self.reader().await?;
        let mut answer = Vec::new();
        for domain in domains::settings(&mut connection).await?.domains {
            let uses = domains::uses(&mut connection, &domain).await?;
            answer.push((domain, uses));
        }
        Ok(answer)
    }
}

#[async_trait]
impl SettingsStore for Store {
    async fn read(&self) -> Result<Settings, Failure> {
        let mut connection = self.reader().await?;
        let mut moment = connection.begin().await.map_err(StorageError::from)?;
        Ok(domains::settings(&mut moment).await?)
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

    async fn read_secret(&self, _: &RoleName, _: &str) -> Result<Option<KeptSecret>, Failure> {
        Err(Failure::unavailable("not kept yet"))
    }

    async fn write_secret(&self, _: &RoleName, _: &str, _: u64, _: &str) -> Result<(), Failure> {
        Err(Failure::unavailable("not kept yet"))
    }
}

fn count(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}
