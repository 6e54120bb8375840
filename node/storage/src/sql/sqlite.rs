//! SQLite: what runs a statement, and the pool of connections that read.
//!
//! The writer's statements run on the writer's thread, one after the other. A reader's run on a thread that may wait for
//! the disk, and a statement's rows come back all at once, in one piece of memory: a row costs neither a message between
//! threads nor an allocation of its own.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use rusqlite::types::ValueRef;
use rusqlite::{OpenFlags, Statement};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::Error;
use super::query::{Query, Value};

/// How long a statement waits for a lock, and how long somebody waits for a reader.
const PATIENCE: Duration = Duration::from_secs(10);

/// How many statements a connection keeps prepared.
const KEPT_STATEMENTS: usize = 128;

/// Opens the file to write, and makes it if it is missing.
pub(super) fn open_writer(path: &Path) -> Result<rusqlite::Connection, rusqlite::Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = open(path, flags)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // In KiB, when negative: the writer touches the same inner pages over and over. Not more, for a commit that has moved pages
    // about looks at every page of the cache, and a page that is read again comes from the kernel's.
    connection.pragma_update(None, "cache_size", -8192)?;
    // What a savepoint may have to give back is kept in memory: it is no more than the pages that one job changes (most
    // by the QUIT of a POP3 client that deletes very many), and a file of it is written as often as the database itself.
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    // In pages. A checkpoint costs two fsyncs and a page that many transactions have changed is written once.
    connection.pragma_update(None, "wal_autocheckpoint", 4000)?;
    // A WAL that grew under one large transaction shrinks again. In bytes.
    connection.pragma_update(None, "journal_size_limit", 64 << 20)?;
    Ok(connection)
}

fn open_reader(path: &Path) -> Result<rusqlite::Connection, rusqlite::Error> {
    let connection = open(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.pragma_update(None, "cache_size", -8192)?;
    Ok(connection)
}

fn open(path: &Path, flags: OpenFlags) -> Result<rusqlite::Connection, rusqlite::Error> {
    let connection = rusqlite::Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(PATIENCE)?;
    connection.set_prepared_statement_cache_capacity(KEPT_STATEMENTS);
    Ok(connection)
}

/// How many of a statement's rows are wanted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    One,
    All,
}

/// What a statement gave.
pub(super) struct Answer {
    pub(super) table: Arc<Table>,
    /// How many rows it touched.
    pub(super) changed: u64,
}

/// The rows of one answer.
pub(super) struct Table {
    columns: Vec<Box<str>>,
    cells: Vec<Cell>,
    /// Every text and every blob.
    bytes: Bytes,
}

/// One value.
pub(super) enum Cell {
    Null,
    Integer(i64),
    Real(f64),
    Text(Range<usize>),
    Blob(Range<usize>),
}

impl Table {
    /// How many rows it has.
    pub(super) fn rows(&self) -> usize {
        if self.columns.is_empty() { 0 } else { self.cells.len() / self.columns.len() }
    }

    /// The place of a column with this name.
    pub(super) fn place(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| **column == *name)
    }

    pub(super) fn cell(&self, row: usize, place: usize) -> Option<&Cell> {
        if place < self.columns.len() { self.cells.get(row * self.columns.len() + place) } else { None }
    }

    pub(super) fn slice(&self, range: &Range<usize>) -> &[u8] {
        self.bytes.get(range.clone()).unwrap_or_default()
    }

    /// The same, sharing the answer's memory.
    pub(super) fn share(&self, range: &Range<usize>) -> Bytes {
        self.bytes.slice(range.clone())
    }
}

/// Runs a statement where this is called.
pub(super) fn run(connection: &rusqlite::Connection, query: &Query, wanted: Wanted) -> Result<Answer, rusqlite::Error> {
    if query.kept {
        step(connection, &mut *connection.prepare_cached(&query.sql)?, &query.values, wanted)
    } else {
        step(connection, &mut connection.prepare(&query.sql)?, &query.values, wanted)
    }
}

fn step(
    connection: &rusqlite::Connection,
    statement: &mut Statement<'_>,
    values: &[Value],
    wanted: Wanted,
) -> Result<Answer, rusqlite::Error> {
    for (place, value) in (1..).zip(values) {
        match value {
            Value::Integer(value) => statement.raw_bind_parameter(place, value)?,
            Value::Real(value) => statement.raw_bind_parameter(place, value)?,
            Value::Text(value) => statement.raw_bind_parameter(place, value.as_deref())?,
            Value::Bytes(value) => statement.raw_bind_parameter(place, value.as_deref())?,
        }
    }
    let columns: Vec<Box<str>> = statement.column_names().into_iter().map(Box::from).collect();
    let (mut cells, mut bytes) = (Vec::new(), Vec::new());
    let mut keep = |content: &[u8]| {
        let start = bytes.len();
        bytes.extend_from_slice(content);
        start..bytes.len()
    };
    let mut rows = statement.raw_query();
    while let Some(row) = rows.next()? {
        for place in 0..columns.len() {
            cells.push(match row.get_ref(place)? {
                ValueRef::Null => Cell::Null,
                ValueRef::Integer(value) => Cell::Integer(value),
                ValueRef::Real(value) => Cell::Real(value),
                ValueRef::Text(text) => Cell::Text(keep(text)),
                ValueRef::Blob(blob) => Cell::Blob(keep(blob)),
            });
        }
        if wanted == Wanted::One {
            break;
        }
    }
    drop(rows);
    let changed = if statement.readonly() { 0 } else { connection.changes() };
    Ok(Answer { table: Arc::new(Table { columns, cells, bytes: bytes.into() }), changed })
}

/// Connections that read. Cheap to clone.
#[derive(Clone)]
pub(super) struct Readers(Arc<Shared>);

struct Shared {
    path: PathBuf,
    limit: u32,
    places: Arc<Semaphore>,
    idle: Mutex<Vec<rusqlite::Connection>>,
}

/// A connection of the pool: it goes back when this is dropped.
pub(super) struct Reader {
    pool: Arc<Shared>,
    /// None before the first statement.
    connection: Option<rusqlite::Connection>,
    snapshot: bool,
    _place: OwnedSemaphorePermit,
}

impl Readers {
    pub(super) fn new(path: PathBuf, limit: u32) -> Self {
        let places = Arc::new(Semaphore::new(limit as usize));
        Self(Arc::new(Shared { path, limit, places, idle: Mutex::default() }))
    }

    /// One of them. With `snapshot` all its statements see the database as it is at the first.
    pub(super) async fn acquire(&self, snapshot: bool) -> Result<Reader, Error> {
        let place = tokio::time::timeout(PATIENCE, self.0.places.clone().acquire_owned()).await;
        let place = place.map_err(|_| Error::Busy)?.map_err(|_| Error::Closed)?;
        let connection = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Ok(Reader { pool: self.0.clone(), connection, snapshot, _place: place })
    }

    /// Waits for those who read, then closes all.
    pub(super) async fn close(&self) {
        let all = self.0.places.acquire_many(self.0.limit);
        if let Ok(Err(_)) | Err(_) = tokio::time::timeout(PATIENCE, all).await {
            tracing::warn!(path = %self.0.path.display(), "somebody still reads the database while it is closed");
        }
        self.0.places.close();
        self.0.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Reader {
    /// Runs a statement on a thread that may wait. Given up, it runs on to its end, and its connection goes back then.
    pub(super) async fn run(this: &mut Option<Box<Self>>, query: Query, wanted: Wanted) -> Result<Answer, Error> {
        let mut reader = this.take().ok_or(Error::Closed)?;
        let run = move || {
            let outcome = reader.run_here(&query, wanted);
            (reader, outcome)
        };
        // It fails when the program ends.
        let (reader, outcome) = tokio::task::spawn_blocking(run).await.map_err(|_| Error::Closed)?;
        *this = Some(reader);
        Ok(outcome?)
    }

    fn run_here(&mut self, query: &Query, wanted: Wanted) -> Result<Answer, rusqlite::Error> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(open_reader(&self.pool.path)?),
        };
        if std::mem::take(&mut self.snapshot) {
            connection.execute_batch("BEGIN")?;
        }
        run(connection, query, wanted)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        if !connection.is_autocommit()
            && let Err(error) = connection.execute_batch("ROLLBACK")
        {
            tracing::debug!(%error, "a snapshot did not end");
            return;
        }
        if !self.pool.places.is_closed() {
            self.pool.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
    }
}
