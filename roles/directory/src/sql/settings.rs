//! The settings of the cluster, put together from what is kept, and their version.

use estafeta_core::settings::{Settings, ShutOut};
use estafeta_storage::StorageError;
use estafeta_storage::sql::{Connection, query};

use super::{certificates, domains, gossip_keys, nodes, unsigned};

/// The settings as of now. Ask inside a transaction: the version and what it counts belong together.
pub async fn read(connection: &mut Connection) -> Result<Settings, StorageError> {
    let row = query("SELECT version FROM settings").fetch_one(&mut *connection).await?;
    Ok(Settings {
        version: unsigned(&row, "version")?,
        domains: domains::all(&mut *connection).await?,
        gossip_keys: gossip_keys::all(&mut *connection).await?,
        nodes: nodes::all(&mut *connection).await?,
        shut_out: ShutOut {
            nodes: nodes::removed(&mut *connection).await?,
            serials: certificates::revoked(connection).await?,
        },
    })
}

/// Counts the version: whatever changes the settings calls it.
pub async fn count_version(connection: &mut Connection) -> Result<(), StorageError> {
    query("UPDATE settings SET version = version + 1").execute(connection).await?;
    Ok(())
}
