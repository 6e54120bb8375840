//! PostgreSQL alone: several writers and processes, and what happens when a server is lost.

use std::time::{Duration, Instant};

use super::*;

/// Tries again until it succeeds, as a sender does.
async fn insist(database: &Database, id: i64) {
    let started = Instant::now();
    while let Err(error) = insert(database, id, 0).await {
        assert!(error.is_away() || rows(database).await.contains(&id), "{error}");
        assert!(started.elapsed() < Duration::from_secs(60), "{error}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn writers_that_wait_for_each_other_all_succeed() {
    let bench = Bench::postgres();
    let (one, _) = bench.open().await;
    let (other, _) = bench.open().await;
    for id in 1..=8 {
        insert(&one, id, 0).await.unwrap();
    }
    // Each job changes two rows, in either order: they lock each other out.
    let jobs: Vec<_> = (0..200i64)
        .map(|job| {
            let database = if job % 2 == 0 { one.clone() } else { other.clone() };
            let (first, second) = (1 + job % 8, 1 + (job * 5 + 3) % 8);
            tokio::spawn(async move {
                let change = async move |transaction: &mut Connection| {
                    for id in [first, second] {
                        let changed = query("UPDATE rows SET parent = parent WHERE id = ?").bind(id);
                        changed.execute(&mut *transaction).await?;
                    }
                    query("INSERT INTO rows VALUES (?, 0)").bind(100 + job).execute(transaction).await?;
                    Ok::<_, StorageError>(())
                };
                database.run_for(job, change).await
            })
        })
        .collect();
    for job in jobs {
        job.await.unwrap().unwrap();
    }
    assert_eq!(rows(&one).await.len(), 208);
}

#[tokio::test]
async fn nodes_that_start_at_once_make_one_schema() {
    let bench = Bench::postgres();
    let opened =
        [bench.options(), bench.options(), bench.options()].map(|options| tokio::spawn(Database::open(options)));
    for database in opened {
        let database = database.await.unwrap().unwrap();
        database.check().await.unwrap();
    }
}

#[tokio::test]
async fn a_lease_is_held_by_one_and_its_number_grows() {
    let bench = Bench::postgres();
    let (one, _) = bench.open().await;
    let (other, _) = bench.open().await;
    let held = one.lease("work", 60).await.unwrap().unwrap();
    assert_eq!(one.lease("work", 60).await.unwrap().as_ref(), Some(&held));
    assert_eq!(other.lease("work", 60).await.unwrap(), None);
    one.lease("work", 0).await.unwrap().unwrap();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let taken = other.lease("work", 60).await.unwrap().unwrap();
    let check = async |database: &Database, lease: Lease| {
        database.run(async move |transaction| lease.check(transaction).await).await.unwrap()
    };
    assert!(!check(&one, held).await);
    assert!(check(&other, taken).await);
}

#[tokio::test]
async fn a_restarted_server_is_found_again() {
    let Bench::Server(mut server) = Bench::postgres() else { unreachable!() };
    let place = Place::Servers(server.servers());
    let options = DatabaseOptions { place, ..DatabaseOptions::new("", MIGRATIONS) };
    let database = Database::open(options).await.unwrap();
    insert(&database, 1, 0).await.unwrap();
    server.kill();
    let error = insert(&database, 2, 0).await.unwrap_err();
    assert!(error.is_away(), "{error}");
    server.run();
    insist(&database, 3).await;
    assert_eq!(rows(&database).await, [1, 3]);
}

#[tokio::test]
async fn the_primary_is_followed_and_what_was_acknowledged_is_there() {
    let mut primary = PostgresServer::start(true);
    let standby = primary.standby();
    let mut servers = PostgresServer::together(&[&standby, &primary]);
    servers.synchronous = Synchronous::Required;
    let options = DatabaseOptions { place: Place::Servers(servers), ..DatabaseOptions::new("", MIGRATIONS) };
    let database = Database::open(DatabaseOptions { after_loss: &["INSERT INTO rows VALUES (1000, 0)"], ..options });
    let database = database.await.unwrap();
    for id in 1..20 {
        insert(&database, id, 0).await.unwrap();
    }
    primary.kill();
    assert!(insert(&database, 50, 0).await.unwrap_err().is_away());
    standby.promote();
    // The one that is left has no standby of its own.
    let error = insert(&database, 51, 0).await.unwrap_err();
    assert!(matches!(error, StorageError::NoStandby | StorageError::Away(_)), "{error}");
    assert_eq!(rows(&database).await, (1..20).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_commit_does_not_hang_on_a_lost_standby_and_is_not_acknowledged() {
    let primary = PostgresServer::start(true);
    let mut standby = primary.standby();
    let options = DatabaseOptions { place: Place::Servers(primary.servers()), ..DatabaseOptions::new("", MIGRATIONS) };
    let database = Database::open(options).await.unwrap();
    insert(&database, 1, 0).await.unwrap();
    standby.kill();
    let started = Instant::now();
    let error = insert(&database, 2, 0).await.unwrap_err();
    assert!(error.is_away() && started.elapsed() < Duration::from_secs(60), "{error}");
    standby.run();
    insist(&database, 3).await;
}

#[tokio::test]
async fn lost_commits_are_noticed() {
    let mut primary = PostgresServer::start(true);
    let standby = primary.standby();
    // The administrator made it asynchronous, and it lags.
    primary.statement("ALTER SYSTEM SET synchronous_standby_names = ''");
    primary.statement("SELECT pg_reload_conf()");
    let place = Place::Servers(PostgresServer::together(&[&primary, &standby]));
    let options = DatabaseOptions { place, ..DatabaseOptions::new("", MIGRATIONS) };
    let database = Database::open(DatabaseOptions { after_loss: &["INSERT INTO rows VALUES (1000, 0)"], ..options });
    let database = database.await.unwrap();
    insert(&database, 1, 0).await.unwrap();
    primary.kill();
    standby.promote();
    insist(&database, 2).await;
    assert!(rows(&database).await.contains(&1000));
}
