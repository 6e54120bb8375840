//! What other nodes of the store group change: their notices come through the database; in case one is lost, what is watched
//! is also looked at.

use std::collections::HashMap;
use std::sync::Weak;
use std::time::Duration;

use super::hub::Subject;
use super::sql::{MailboxRow, accounts, mailboxes};
use super::{Inner, StoreError};

/// How often it is looked.
const LOOK: Duration = Duration::from_secs(1);

/// At which looks it is also seen whether accounts have left: that is rare.
const HOMES: u32 = 10;

/// Looks until the store is gone.
pub(super) async fn follow(store: Weak<Inner>) {
    let mut seen = HashMap::new();
    for number in 1_u32.. {
        tokio::time::sleep(LOOK).await;
        let Some(store) = store.upgrade() else { return };
        match look(&store, &seen).await {
            Ok(now) => seen = now,
            Err(error) => tracing::debug!(%error, "changes of other nodes are not seen"),
        }
        if number.is_multiple_of(HOMES)
            && let Err(error) = look_for_left(&store).await
        {
            tracing::debug!(%error, "it is not seen which accounts have left");
        }
    }
}

/// Wakes who waits for word of an account that does not live here any more.
pub(super) async fn look_for_left(store: &Inner) -> Result<(), StoreError> {
    let watched = store.hub.watched_homes();
    if !watched.is_empty() {
        let left = accounts::left(&mut store.database.reader().await?, &watched).await?;
        store.hub.changed_elsewhere(left.into_iter().map(Subject::Home));
    }
    Ok(())
}

/// Wakes who watches what changed since, and gives where everything that is watched stands now.
async fn look(store: &Inner, seen: &HashMap<MailboxRow, i64>) -> Result<HashMap<MailboxRow, i64>, StoreError> {
    let watched = store.hub.watched_mailboxes();
    if watched.is_empty() {
        return Ok(HashMap::new());
    }
    let now = mailboxes::modseqs(&mut store.database.reader().await?, &watched).await?;
    // One that is gone wakes its watchers too.
    let stands = |row: &MailboxRow| now.get(row).copied();
    let changed = watched.into_iter().filter(|row| match seen.get(row) {
        Some(before) => stands(row) != Some(*before),
        None => false,
    });
    store.hub.changed_elsewhere(changed.map(Into::into));
    Ok(now)
}
