//! What the tests of this crate run on: SQLite and files, and with `ESTAFETA_TEST_ENGINE=postgres` a PostgreSQL and an S3
//! server of their own.
//! `integration-tests/all` runs them on both.

use std::path::{Path, PathBuf};

use estafeta_storage::blobs::suite::ObjectServer;
use estafeta_storage::sql::Servers;
use estafeta_storage::sql::suite::PostgresServer;

use crate::store::BodyPlace;

fn is_distributed() -> bool {
    std::env::var_os("ESTAFETA_TEST_ENGINE").is_some_and(|engine| engine == "postgres")
}

/// The PostgreSQL database that belongs to this directory; none where the test runs on SQLite.
pub fn servers(directory: &Path) -> Option<Servers> {
    is_distributed().then(|| on_postgres(directory))
}

/// Where the bodies of the store in this directory are.
pub fn bodies(directory: &Path) -> BodyPlace {
    if is_distributed() { in_objects(directory) } else { BodyPlace::Files }
}

/// The same, whatever the tests run on.
pub fn in_objects(directory: &Path) -> BodyPlace {
    BodyPlace::Objects { options: ObjectServer::shared().options(&prefix(directory)), cache_bytes: 1 << 20 }
}

fn prefix(directory: &Path) -> String {
    directory.to_string_lossy().replace(['/', '.'], "")
}

/// Where those bodies are files.
pub fn body_files(directory: &Path) -> PathBuf {
    if is_distributed() { ObjectServer::shared().bucket().join(prefix(directory)) } else { directory.join("bodies") }
}

/// The same, whatever the tests run on.
pub fn on_postgres(directory: &Path) -> Servers {
    let name: String = directory.to_string_lossy().bytes().map(|byte| format!("{byte:02x}")).collect();
    let name = &name[name.len().saturating_sub(50)..];
    PostgresServer::shared().database(&format!("t{name}"))
}
