//! Credentials: one row for each scheme under which a password is kept.

use estafeta_core::AccountId;
use estafeta_storage::StorageError;
use estafeta_storage::sql::{Connection, query};
use uuid::Uuid;

use super::{now, signed};
use crate::password::{Scheme, Verifier};

/// The verifier of an account's password under a scheme; none when it has no password.
pub async fn find(
    connection: &mut Connection,
    account: AccountId,
    scheme: Scheme,
) -> Result<Option<String>, StorageError> {
    let row = query("SELECT verifier FROM credentials WHERE account = ? AND scope = '' AND scheme = ?");
    let row = row.bind(account.to_string()).bind(scheme.name()).fetch_optional(connection).await?;
    Ok(row.map(|row| row.try_get("verifier")).transpose()?)
}

/// Sets the password: the old verifiers go, these come. Ask inside a transaction.
pub async fn replace(
    connection: &mut Connection,
    account: AccountId,
    verifiers: &[Verifier],
) -> Result<(), StorageError> {
    let delete = query("DELETE FROM credentials WHERE account = ? AND scope = ''").bind(account.to_string());
    delete.execute(&mut *connection).await?;
    for verifier in verifiers {
        let add = query("INSERT INTO credentials (id, account, scheme, verifier, created) VALUES (?, ?, ?, ?, ?)");
        add.bind(Uuid::new_v4().to_string())
            .bind(account.to_string())
            .bind(verifier.scheme.name())
            .bind(&verifier.text)
            .bind(signed(now()))
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}
