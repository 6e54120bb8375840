//! The router of `Settings`: any directory node answers.

use async_trait::async_trait;

use super::{Settings, SettingsStore};
use crate::address::Domain;
use crate::failure::Failure;
use crate::route::Routes;

/// Asks the local directory, then the others in turn.
pub struct SettingsRouter(pub Routes<dyn SettingsStore>);

#[async_trait]
impl SettingsStore for SettingsRouter {
    async fn read(&self) -> Result<Settings, Failure> {
        self.0.ask(None, |store| async move { store.read().await }).await
    }

    async fn add_domain(&self, domain: &Domain) -> Result<(), Failure> {
        self.0.ask(None, |store| async move { store.add_domain(domain).await }).await
    }

    async fn remove_domain(&self, domain: &Domain) -> Result<(), Failure> {
        self.0.ask(None, |store| async move { store.remove_domain(domain).await }).await
    }
}
