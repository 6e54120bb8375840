//! The schema, brought up to date when a database is opened.

use std::borrow::Cow;

use sqlx::SqlSafeStr;
use sqlx::migrate::{MigrationType, Migrator};
use sqlx::sqlite::SqliteConnection;

use crate::error::StorageError;

/// One step of a schema. Once released it is never changed: the next step changes what it made. Steps only add, as
/// long as an older version of this program may run beside this one (DESIGN.md, invariant 12).
#[derive(Debug, Clone, Copy)]
pub struct Migration {
    /// Ascending.
    pub version: i64,
    /// What it makes, in a few words.
    pub description: &'static str,
    /// The statements.
    pub sql: &'static str,
}

/// Runs those that were not run yet, each in a transaction of its own.
pub(super) async fn run(connection: &mut SqliteConnection, migrations: &[Migration]) -> Result<(), StorageError> {
    let migrations = migrations.iter().map(|one| {
        let description = Cow::Borrowed(one.description);
        sqlx::migrate::Migration::new(one.version, description, MigrationType::Simple, one.sql.into_sql_str(), false)
    });
    let migrator = Migrator::with_migrations(migrations.collect());
    // `Migrator::run` is generic over how it gets a connection, and so its future cannot be proved `Send`; this is what
    // it calls.
    migrator.run_direct(None, connection, false).await.map_err(|error| StorageError::Database(error.into()))
}
