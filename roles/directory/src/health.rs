//! What the directory proves about itself beside its listener: its database takes writes.

use async_trait::async_trait;
use estafeta_net::role::Health;

use crate::store::Store;

/// The store, under watch.
pub struct StoreHealth(pub Store);

#[async_trait]
impl Health for StoreHealth {
    async fn check(&self) -> Result<(), String> {
        self.0.check().await.map_err(|error| format!("the database does not work: {error}"))
    }
}
