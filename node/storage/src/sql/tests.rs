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
    a_job_whose_asker_went_away_is_done_all_the_same,
    values_come_back_as_they_went_in,
    a_row_that_is_there_already_is_told_apart,
    a_snapshot_sees_one_moment
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

/// Jobs that share a turn, after that of one that lasts until they are all in line: what each did, and how often each ran.
async fn in_one_turn(database: &Database, jobs: &[(i64, &'static str)]) -> (Vec<bool>, Vec<usize>) {
    let (open, opened) = tokio::sync::oneshot::channel::<()>();
    let mut opened = Some(opened);
    let first = tokio::spawn({
        let database = database.clone();
        async move {
            let wait = async move |_: &mut Connection| {
                if let Some(opened) = opened.take() {
                    opened.await.ok();
                }
                Ok::<(), StorageError>(())
            };
            database.run(wait).await.unwrap();
        }
    });
    let runs: Vec<_> = jobs.iter().map(|_| Arc::new(AtomicUsize::new(0))).collect();
    let tasks: Vec<_> = jobs
        .iter()
        .zip(&runs)
        .map(|(&(id, after), runs)| {
            let (database, runs) = (database.clone(), runs.clone());
            tokio::spawn(async move {
                let job = async move |transaction: &mut Connection| {
                    runs.fetch_add(1, Ordering::SeqCst);
                    if !after.starts_with("refuse at once") {
                        // A statement that is not read to its end counts as well.
                        let inserted = query("INSERT INTO rows VALUES (?, 0) RETURNING id").bind(id);
                        inserted.fetch_one(&mut *transaction).await?;
                    }
                    match after {
                        "" => Ok(()),
                        "ROLLBACK" => query(after).execute(transaction).await.map(drop).map_err(StorageError::from),
                        _ => Err(StorageError::BrokenSpool),
                    }
                };
                database.run(job).await.is_ok()
            })
        })
        .collect();
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    open.send(()).unwrap();
    first.await.unwrap();
    let mut good = Vec::new();
    for task in tasks {
        good.push(task.await.unwrap());
    }
    (good, runs.iter().map(|runs| runs.load(Ordering::SeqCst)).collect())
}

#[tokio::test]
async fn a_turn_runs_again_only_when_a_job_must_be_undone() {
    let bench = Bench::sqlite();
    let (database, commits) = bench.open().await;
    let (good, runs) = in_one_turn(&database, &[(1, ""), (2, "refuse at once"), (3, "")]).await;
    assert_eq!((good, runs), (vec![true, false, true], vec![1, 1, 1]));
    let (good, runs) = in_one_turn(&database, &[(4, ""), (5, "refuse"), (6, "")]).await;
    assert_eq!((good, runs[0], runs[1]), (vec![true, false, true], 2, 2));
    // From now on each is undone alone.
    let (good, runs) = in_one_turn(&database, &[(7, ""), (8, "refuse"), (9, "")]).await;
    assert_eq!((good, runs), (vec![true, false, true], vec![1, 1, 1]));
    assert_eq!(rows(&database).await, [1, 3, 4, 6, 7, 9]);
    // That of the one in front, and theirs.
    assert_eq!(commits.0.load(Ordering::SeqCst), 3 * 2);
}

#[tokio::test]
async fn when_the_transaction_was_ended_nothing_is_done_in_part() {
    let bench = Bench::sqlite();
    let (database, _) = bench.open().await;
    let (good, _) = in_one_turn(&database, &[(1, ""), (2, "ROLLBACK"), (3, "")]).await;
    assert_eq!(good, [true, false, true]);
    assert_eq!(rows(&database).await, [1, 3]);
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

async fn values_come_back_as_they_went_in(bench: Bench) {
    let (database, _) = bench.open().await;
    let mut reader = database.reader().await.unwrap();
    let sql =
        "SELECT CAST(? AS BIGINT) AS number, CAST(? AS TEXT) AS words, CAST(? AS BIGINT) AS absent, 1 = 1 AS truth";
    for (number, words) in [(0, ""), (i64::MIN, "\u{1F4EE} ñ"), (i64::MAX, "'; --")] {
        let asked = query(sql).bind(number).bind(words).bind(None::<i64>);
        let row = asked.fetch_one(&mut reader).await.unwrap();
        assert_eq!(row.try_get::<i64>("number").unwrap(), number);
        assert_eq!(row.try_get::<&str>("words").unwrap(), words);
        assert_eq!(row.try_get::<String>(1).unwrap(), words);
        assert_eq!(row.try_get::<Option<i64>>(2).unwrap(), None);
        assert!(row.try_get::<bool>("truth").unwrap());
        assert!(row.try_get::<i64>("absent").is_err());
        assert!(row.try_get::<i64>("words").is_err());
        assert!(row.try_get::<i64>("number_of_none").is_err());
        assert!(row.try_get::<i64>(4).is_err());
        assert_eq!(row.try_get::<u8>("number").is_ok(), number == 0);
    }
    assert!(matches!(query("SELECT 1 WHERE 1 = 0").fetch_one(&mut reader).await, Err(Error::RowNotFound)));
    assert!(query("SELECT * FROM nowhere").fetch_all(&mut reader).await.is_err());
}

async fn a_row_that_is_there_already_is_told_apart(bench: Bench) {
    let (database, _) = bench.open().await;
    insert(&database, 1, 0).await.unwrap();
    let taken = |outcome| matches!(outcome, Err(StorageError::Database(error)) if error.is_taken());
    assert!(taken(insert(&database, 1, 0).await));
    assert!(!taken(insert(&database, 2, 77).await));
}

async fn a_snapshot_sees_one_moment(bench: Bench) {
    let (database, _) = bench.open().await;
    let count = async |connection: &mut Connection| {
        let counted = query("SELECT count(*) FROM rows").fetch_one(connection).await.unwrap();
        counted.try_get::<i64>(0).unwrap()
    };
    let (mut snapshot, mut reader) = (database.snapshot().await.unwrap(), database.reader().await.unwrap());
    assert_eq!(count(&mut snapshot).await, 0);
    insert(&database, 1, 0).await.unwrap();
    assert_eq!((count(&mut snapshot).await, count(&mut reader).await), (0, 1));
    // What it held on to goes with it, though its connection is used again.
    drop((snapshot, reader));
    for _ in 0..8 {
        assert_eq!(count(&mut database.reader().await.unwrap()).await, 1);
    }
}

#[tokio::test]
async fn bytes_come_back_as_they_went_in_and_readers_write_nothing() {
    let bench = Bench::sqlite();
    let (database, _) = bench.open().await;
    let bytes: Vec<u8> = (0..=255).cycle().take(70_000).collect();
    let mut reader = database.reader().await.unwrap();
    let asked = query("SELECT ? AS here, CAST('' AS BLOB) AS empty, ? AS gone").bind(bytes.as_slice());
    let row = asked.bind(None::<&[u8]>).fetch_one(&mut reader).await.unwrap();
    assert_eq!(row.try_get::<&[u8]>("here").unwrap(), bytes);
    assert_eq!(row.try_get::<Vec<u8>>("here").unwrap(), bytes);
    assert_eq!(row.try_get::<bytes::Bytes>("here").unwrap(), bytes);
    assert_eq!(row.try_get::<&[u8]>("empty").unwrap(), b"");
    assert_eq!(row.try_get::<Option<bytes::Bytes>>("gone").unwrap(), None);
    assert!(query("INSERT INTO rows VALUES (1, 0)").execute(&mut reader).await.is_err());
}

#[tokio::test]
async fn a_read_that_is_given_up_gives_its_place_back() {
    let bench = Bench::sqlite();
    let (database, _) = bench.open().await;
    const LONG: &str =
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000000) SELECT count(*) FROM n";
    for _ in 0..8 {
        let mut reader = database.reader().await.unwrap();
        let given_up = tokio::time::timeout(std::time::Duration::from_millis(1), query(LONG).fetch_one(&mut reader));
        if given_up.await.is_err() {
            // The connection is still at work: this one is of no more use.
            assert!(matches!(query("SELECT 1").fetch_one(&mut reader).await, Err(Error::Closed)));
        }
    }
    assert_eq!(rows(&database).await, Vec::<i64>::new());
    database.close().await;
}

#[tokio::test]
async fn a_schema_that_is_newer_or_another_is_refused() {
    let bench = Bench::sqlite();
    const OTHER: &[Migration] = &[Migration::new(1, "parents", "CREATE TABLE parents (id INTEGER)")];
    bench.open().await.0.close().await;
    let older = DatabaseOptions { migrations: &MIGRATIONS[..1], ..bench.options() };
    assert!(matches!(Database::open(older).await.err(), Some(StorageError::Newer { step: 2 })));
    let other = DatabaseOptions { migrations: OTHER, ..bench.options() };
    // That it has a step more, too, says nothing then.
    assert!(matches!(Database::open(other).await.err(), Some(StorageError::Changed { step: 1, .. })));
    bench.open().await.0.close().await;
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
