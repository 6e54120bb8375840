//! Group commit: what is shared, what fails alone, what is durable when. Each test that says nothing of an engine runs on
//! both.

mod failover;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::suite::PostgresServer;
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

/// Counts commits.
#[derive(Default)]
struct Counter(AtomicUsize);

impl Observer for Counter {
    fn committed(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Where a test's database is.
enum Bench {
    File(tempfile::TempDir),
    Server(PostgresServer),
}

impl Bench {
    fn sqlite() -> Self {
        Self::File(tempfile::tempdir().unwrap())
    }

    fn postgres() -> Self {
        Self::Server(PostgresServer::start(false))
    }

    fn options(&self) -> DatabaseOptions {
        let place = match self {
            Self::File(directory) => Place::File(directory.path().join("test.db")),
            Self::Server(server) => Place::Servers(server.servers()),
        };
        DatabaseOptions { place, ..DatabaseOptions::new("", MIGRATIONS) }
    }

    async fn open(&self) -> (Database, Arc<Counter>) {
        let commits = Arc::new(Counter::default());
        let database = Database::open(DatabaseOptions { observer: commits.clone(), ..self.options() }).await;
        (database.unwrap(), commits)
    }
}

/// Each of these on both engines.
macro_rules! on_both {
    ($($name:ident),*) => {
        mod sqlite {$(
            #[tokio::test]
            async fn $name() {
                super::$name(super::Bench::sqlite()).await;
            }
        )*}
        mod postgres {$(
            #[tokio::test]
            async fn $name() {
                super::$name(super::Bench::postgres()).await;
            }
        )*}
    };
}

on_both!(
    many_jobs_share_few_commits,
    a_job_that_fails_is_undone_alone,
    when_the_commit_fails_only_the_job_to_blame_does,
    a_job_that_panics_fails_alone,
    a_job_whose_asker_went_away_is_done_all_the_same
);

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
    let bench = Bench::sqlite();
    let (database, _) = bench.open().await;
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

async fn many_jobs_share_few_commits(bench: Bench) {
    let (database, commits) = bench.open().await;
    assert!(together(&database, (1..=500).map(|id| (id, 0))).await.into_iter().all(|good| good));
    assert_eq!(rows(&database).await.len(), 500);
    assert!(commits.0.load(Ordering::SeqCst) < 250, "{} commits", commits.0.load(Ordering::SeqCst));
}

async fn a_job_that_fails_is_undone_alone(bench: Bench) {
    let (database, _) = bench.open().await;
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

async fn when_the_commit_fails_only_the_job_to_blame_does(bench: Bench) {
    let (database, _) = bench.open().await;
    let bad = |id: i64| id % 50 == 7;
    let outcomes = together(&database, (0..200).map(|id| (id, if bad(id) { 99 } else { 0 }))).await;
    for (id, good) in outcomes.into_iter().enumerate() {
        assert_eq!(good, !bad(id as i64), "{id}");
    }
    assert_eq!(rows(&database).await, (0..200).filter(|&id| !bad(id)).collect::<Vec<_>>());
}

async fn a_job_that_panics_fails_alone(bench: Bench) {
    let (database, _) = bench.open().await;
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

async fn a_job_whose_asker_went_away_is_done_all_the_same(bench: Bench) {
    let (database, _) = bench.open().await;
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
    let bench = Bench::sqlite();
    let (database, _) = bench.open().await;
    insert(&database, 1, 0).await.unwrap();
    let second = Database::open(bench.options()).await;
    let error = second.err().unwrap();
    assert!(
        matches!(&error, StorageError::Locked { holder, .. } if *holder == std::process::id().to_string()),
        "{error}"
    );
    database.close().await;
    assert!(matches!(insert(&database, 2, 0).await, Err(StorageError::Closed)));
    let (database, _) = bench.open().await;
    assert_eq!(rows(&database).await, [1]);
}
