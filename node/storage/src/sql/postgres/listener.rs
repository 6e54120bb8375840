//! Hears what other processes have changed: one notice a turn, sent in its transaction.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgListener;

use super::super::Observer;
use super::Postgres;

/// How long after a lost connection it is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// Listens until it is dropped. Whenever it begins, something may have been missed.
pub(in crate::sql) async fn listen(postgres: Arc<Postgres>, observer: Arc<dyn Observer>) {
    loop {
        if let Err(error) = hear(&postgres, &*observer).await {
            tracing::debug!(%error, "the notices of PostgreSQL are not heard");
        }
        tokio::time::sleep(AGAIN).await;
    }
}

async fn hear(postgres: &Postgres, observer: &dyn Observer) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect_with(&postgres.pool()).await?;
    listener.listen("estafeta").await?;
    observer.missed();
    // None: the connection was lost, and what came meanwhile too.
    while let Some(notice) = listener.try_recv().await? {
        match notice.payload().split_once(' ') {
            Some((sender, notice)) if sender != postgres.name => observer.heard(notice),
            _ => {}
        }
    }
    Ok(())
}
