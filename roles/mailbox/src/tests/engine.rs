//! Which database the tests of this crate run on: SQLite, and with `ESTAFETA_TEST_ENGINE=postgres` a PostgreSQL of their own.
//! `integration-tests/all` runs them on both.

use std::path::Path;

use estafeta_storage::sql::Servers;
use estafeta_storage::sql::suite::PostgresServer;

/// The PostgreSQL database that belongs to this directory; none where the test runs on SQLite.
pub fn servers(directory: &Path) -> Option<Servers> {
    std::env::var_os("ESTAFETA_TEST_ENGINE").filter(|engine| engine == "postgres")?;
    Some(on_postgres(directory))
}

/// The same, whatever the tests run on.
pub fn on_postgres(directory: &Path) -> Servers {
    let name: String = directory.to_string_lossy().bytes().map(|byte| format!("{byte:02x}")).collect();
    let name = &name[name.len().saturating_sub(50)..];
    PostgresServer::shared().database(&format!("t{name}"))
}
