//! Changes of other nodes of which no notice came.

use super::*;
use crate::store::elsewhere::look_for_left;
use crate::store::hub::Subject;

#[tokio::test]
async fn an_account_that_leaves_is_seen_without_a_notice() {
    let (_directory, store, ana) = ana().await;
    let mut watcher = store.inner.hub.watch([Subject::Home(ana.row)]);
    look_for_left(&store.inner).await.unwrap();
    assert!(!watcher.take());
    // Nobody is told of it.
    let leave = async |transaction: &mut Connection| {
        query("UPDATE accounts SET state = 'moving'").execute(transaction).await?;
        Ok(())
    };
    store.run(leave).await.unwrap();
    assert!(!watcher.take());
    look_for_left(&store.inner).await.unwrap();
    assert!(watcher.take());
}
