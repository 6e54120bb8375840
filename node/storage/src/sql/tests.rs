//! Group commit: what is shared, what fails alone, what is durable when.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

const MIGRATIONS: &[Migration] = &[
    Migration::new(1, "parents", "CREATE TABLE parents (id INTEGER PRIMARY KEY); INSERT INTO parents VALUES (0);"),
    // A foreign key that is looked at when the transaction commits: the way to make a commit fail.
    Migration::new(
        2,
        "rows",
        "CREATE TABLE rows (id INTEGER PRIMARY KEY, parent INTEGER NOT NULL REFERENCES parents DEFERRABLE INITIALLY DEFERRED)",
    ),
];

async fn open(directory: &Path) -> (Database, Arc<AtomicUsize>) {
    let commits = Arc::new(AtomicUsize::new(0));
    let counted = commits.clone();
    let mut options = DatabaseOptions::new(directory.join("test.db"), MIGRATIONS);
    options.after_commit = Box::new(move || {
        counted.fetch_add(1, Ordering::SeqCst);
    });
    (Database::open(options).await.unwrap(), commits)
}

async fn insert(database: &Database, id: i64, parent: i64) -> Result<(), StorageError> {
    database
        .run(async move |transaction| {
            query("INSERT INTO rows VALUES (?, ?)").bind(id).bind(parent).execute(transaction).await?;
            Ok(())
        })
        .await
}

async fn rows(database: &Database) -> Vec<i64> {
    let mut reader = database.reader().await.unwrap();
    let rows = query("SELECT id FROM rows ORDER BY id").fetch_all(&mut reader).await.unwrap();
    rows.iter().map(|row| row.try_get(0).unwrap()).collect()
}

/// Runs the inserts at the same moment and gives back which succeeded.
async fn together(database: &Database, jobs: impl Iterator<Item = (i64, i64)>) -> Vec<bool> {
    let tasks: Vec<_> = jobs
        .map(|(id, parent)| {
            let database = database.clone();
            tokio::spawn(async move { insert(&database, id, parent).await.is_ok() })
        })
        .collect();
    let mut outcomes = Vec::new();
    for task in tasks {
        outcomes.push(task.await.unwrap());
    }
    outcomes
}

#[tokio::test]
async fn what_is_answered_is_committed_and_synchronous() {
    let directory = tempfile::tempdir().unwrap();
    let (database, _) = open(directory.path()).await;
    for id in 1..20 {
        insert(&database, id, 0).await.unwrap();
        assert_eq!(rows(&database).await.len() as i64, id);
    }
    let (mode, synchronous, foreign_keys): (String, i64, i64) = database
        .run(async |transaction| {
            let mut values = Vec::new();
            for pragma in ["PRAGMA journal_mode", "PRAGMA synchronous", "PRAGMA foreign_keys"] {
                values.push(query(pragma).fetch_one(&mut *transaction).await?);
            }
            Ok::<_, StorageError>((values[0].try_get(0)?, values[1].try_get(0)?, values[2].try_get(0)?))
        })
        .await
        .unwrap();
    assert_eq!((mode.as_str(), synchronous, foreign_keys), ("wal", 2, 1));
}

#[tokio::test]
async fn many_jobs_share_few_commits() {
    let directory = tempfile::tempdir().unwrap();
    let (database, commits) = open(directory.path()).await;
    assert!(together(&database, (1..=500).map(|id| (id, 0))).await.into_iter().all(|good| good));
    assert_eq!(rows(&database).await.len(), 500);
    assert!(commits.load(Ordering::SeqCst) < 250, "{} commits", commits.load(Ordering::SeqCst));
}

#[tokio::test]
async fn a_job_that_fails_is_undone_alone() {
    let directory = tempfile::tempdir().unwrap();
    let (database, _) = open(directory.path()).await;
    // Every second one repeats the id of the one before it.
    let outcomes = together(&database, (0..200).map(|number| (number / 2, 0))).await;
    assert_eq!(outcomes.iter().filter(|good| **good).count(), 100);
    assert_eq!(rows(&database).await, (0..100).collect::<Vec<_>>());

    // What it did before it failed is undone too.
    let refused: Result<(), StorageError> = database
        .run(async |transaction| {
            query("INSERT INTO rows VALUES (1000, 0)").execute(&mut *transaction).await?;
            Err(StorageError::BrokenSpool)
        })
        .await;
    assert!(matches!(refused, Err(StorageError::BrokenSpool)));
    assert_eq!(rows(&database).await.len(), 100);
}

#[tokio::test]
async fn when_the_commit_fails_only_the_job_to_blame_does() {
    let directory = tempfile::tempdir().unwrap();
    let (database, _) = open(directory.path()).await;
    let bad = |id: i64| id % 50 == 7;
    let outcomes = together(&database, (0..200).map(|id| (id, if bad(id) { 99 } else { 0 }))).await;
    for (id, good) in outcomes.into_iter().enumerate() {
        assert_eq!(good, !bad(id as i64), "{id}");
    }
    assert_eq!(rows(&database).await, (0..200).filter(|&id| !bad(id)).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_job_that_panics_fails_alone() {
    let directory = tempfile::tempdir().unwrap();
    let (database, _) = open(directory.path()).await;
    let job = database.run(async |transaction| {
        query("INSERT INTO rows VALUES (1, 0)").execute(&mut *transaction).await?;
        if true {
            panic!("on purpose");
        }
        Ok::<(), StorageError>(())
    });
    assert!(matches!(job.await, Err(StorageError::Panicked)));
    insert(&database, 2, 0).await.unwrap();
    assert_eq!(rows(&database).await, [2]);
}

#[tokio::test]
async fn a_job_whose_asker_went_away_is_done_all_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let (database, _) = open(directory.path()).await;
    let task = tokio::spawn({
        let database = database.clone();
        async move { insert(&database, 1, 0).await }
    });
    tokio::task::yield_now().await;
    task.abort();
    insert(&database, 2, 0).await.unwrap();
    assert_eq!(rows(&database).await, [1, 2]);
}

#[tokio::test]
async fn one_process_alone_and_everything_is_there_when_it_opens_again() {
    let directory = tempfile::tempdir().unwrap();
    let (database, _) = open(directory.path()).await;
    insert(&database, 1, 0).await.unwrap();
    let second = Database::open(DatabaseOptions::new(directory.path().join("test.db"), MIGRATIONS)).await;
    let error = second.err().unwrap();
    assert!(
        matches!(&error, StorageError::Locked { holder, .. } if *holder == std::process::id().to_string()),
        "{error}"
    );
    database.close().await;
    assert!(matches!(insert(&database, 2, 0).await, Err(StorageError::Closed)));
    let (database, _) = open(directory.path()).await;
    assert_eq!(rows(&database).await, [1]);
}
