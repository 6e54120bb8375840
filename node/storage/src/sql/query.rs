//! Statements, written once for both engines, and the rows that they give.
//!
//! A statement is written as SQLite has it, its parameters `?` in their order or `?1`, `?2` by number; for PostgreSQL they
//! become `$1`, `$2`. Both engines keep integers of 64 bits, text in the order of its bytes, and bytes; a truth value is
//! an integer in a column, and whatever an expression gives. Bytes joined by `||` are bytes behind `CAST(… AS BLOB)`.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use sqlx::postgres::{PgRow, Postgres};
use sqlx::{AssertSqlSafe, ColumnIndex, Row as _, TypeInfo, ValueRef};

use super::connection::{Connection, Native};
use super::error::Error;
use super::sqlite::{Cell, Table, Wanted};

/// What goes into a statement. An absent value still has a type: PostgreSQL asks for it.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// An integer.
    Integer(Option<i64>),
    /// A number.
    Real(f64),
    /// Text.
    Text(Option<Cow<'static, str>>),
    /// Bytes.
    Bytes(Option<Vec<u8>>),
}

/// A statement and its parameters.
#[must_use = "a statement does nothing until it is executed"]
pub struct Query {
    pub(super) sql: Cow<'static, str>,
    pub(super) values: Vec<Value>,
    /// Whether the engine keeps what it made of it, for the next time.
    pub(super) kept: bool,
}

/// A statement.
pub fn query(sql: &'static str) -> Query {
    Query { sql: Cow::Borrowed(sql), values: Vec::new(), kept: true }
}

/// A statement that was put together: only of texts and numbers of ours, never of what somebody sent.
pub fn query_built(sql: String) -> Query {
    Query { sql: Cow::Owned(sql), values: Vec::new(), kept: true }
}

impl Query {
    /// Gives the next parameter.
    pub fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }

    /// One whose text will hardly come again.
    pub fn once(mut self) -> Self {
        self.kept = false;
        self
    }

    /// Runs it, and says how many rows it touched.
    pub async fn execute(self, connection: &mut Connection) -> Result<u64, Error> {
        let outcome = match connection.native() {
            Native::Sqlite(native) => native.run(self, Wanted::All).await.map(|answer| answer.changed),
            Native::Postgres(native) => {
                self.postgres().execute(native).await.map(|done| done.rows_affected()).map_err(Error::from)
            }
        };
        connection.note(outcome)
    }

    /// Runs it and gives every row.
    pub async fn fetch_all(self, connection: &mut Connection) -> Result<Vec<Row>, Error> {
        let outcome = match connection.native() {
            Native::Sqlite(native) => native.run(self, Wanted::All).await.map(|answer| {
                (0..answer.table.rows()).map(|row| Row(Inner::Sqlite(answer.table.clone(), row))).collect()
            }),
            Native::Postgres(native) => {
                let rows = self.postgres().fetch_all(native).await.map_err(Error::from);
                rows.map(|rows| rows.into_iter().map(|row| Row(Inner::Postgres(row))).collect())
            }
        };
        connection.note(outcome)
    }

    /// Runs it and gives its row, if there is one.
    pub async fn fetch_optional(self, connection: &mut Connection) -> Result<Option<Row>, Error> {
        let outcome = match connection.native() {
            Native::Sqlite(native) => native
                .run(self, Wanted::One)
                .await
                .map(|answer| (answer.table.rows() > 0).then(|| Row(Inner::Sqlite(answer.table, 0)))),
            Native::Postgres(native) => {
                let row = self.postgres().fetch_optional(native).await.map_err(Error::from);
                row.map(|row| row.map(|row| Row(Inner::Postgres(row))))
            }
        };
        connection.note(outcome)
    }

    /// Runs it and gives its one row; [`Error::RowNotFound`] when there is none.
    pub async fn fetch_one(self, connection: &mut Connection) -> Result<Row, Error> {
        self.fetch_optional(connection).await?.ok_or(Error::RowNotFound)
    }

    fn postgres(self) -> sqlx::query::Query<'static, Postgres, <Postgres as sqlx::Database>::Arguments> {
        let query = sqlx::query(AssertSqlSafe(numbered(&self.sql))).persistent(self.kept);
        self.values.into_iter().fold(query, |query, value| match value {
            Value::Integer(value) => query.bind(value),
            Value::Real(value) => query.bind(value),
            Value::Text(value) => query.bind(value),
            Value::Bytes(value) => query.bind(value),
        })
    }
}

/// A statement with PostgreSQL's parameters. A question mark in quotes is left alone.
fn numbered(sql: &str) -> String {
    let mut text = String::with_capacity(sql.len() + 16);
    let (mut quoted, mut next) = (false, 1);
    let mut rest = sql.chars().peekable();
    while let Some(character) = rest.next() {
        quoted ^= character == '\'';
        if character != '?' || quoted {
            text.push(character);
            continue;
        }
        text.push('$');
        if !rest.peek().is_some_and(char::is_ascii_digit) {
            text.push_str(&next.to_string());
            next += 1;
        }
    }
    text
}

/// A row of either engine.
pub struct Row(Inner);

enum Inner {
    /// One of an answer's.
    Sqlite(Arc<Table>, usize),
    Postgres(PgRow),
}

/// How a column is named: by its place, or by its name.
pub trait Column: ColumnIndex<PgRow> + std::fmt::Display + Copy {
    #[doc(hidden)]
    fn place(self, name: impl Fn(&str) -> Option<usize>) -> Option<usize>;
}

impl Column for usize {
    fn place(self, _name: impl Fn(&str) -> Option<usize>) -> Option<usize> {
        Some(self)
    }
}

impl Column for &str {
    fn place(self, name: impl Fn(&str) -> Option<usize>) -> Option<usize> {
        name(self)
    }
}

/// A column's value is not what it is asked for.
fn unlike(column: impl Column, asked: &'static str) -> Error {
    Error::ColumnDecode { index: column.to_string(), source: format!("it is no {asked}").into() }
}

fn cell(table: &Table, row: usize, column: impl Column) -> Result<&Cell, Error> {
    let cell = column.place(|name| table.place(name)).and_then(|place| table.cell(row, place));
    cell.ok_or_else(|| Error::ColumnDecode { index: column.to_string(), source: "there is no such column".into() })
}

impl Row {
    /// A column's value. An error when it is of another type, or absent and the type is no `Option`.
    pub fn try_get<'r, T: FromColumn<'r>>(&'r self, column: impl Column) -> Result<T, Error> {
        T::from_column(self, column)
    }

    fn is_null(&self, column: impl Column) -> Result<bool, Error> {
        Ok(match &self.0 {
            Inner::Sqlite(table, row) => matches!(cell(table, *row, column)?, Cell::Null),
            Inner::Postgres(row) => row.try_get_raw(column)?.is_null(),
        })
    }
}

/// What a column's value becomes.
pub trait FromColumn<'r>: Sized {
    /// Reads it.
    fn from_column(row: &'r Row, column: impl Column) -> Result<Self, Error>;
}

impl<'r> FromColumn<'r> for &'r [u8] {
    fn from_column(row: &'r Row, column: impl Column) -> Result<Self, Error> {
        match &row.0 {
            Inner::Sqlite(table, row) => match cell(table, *row, column)? {
                Cell::Blob(range) | Cell::Text(range) => Ok(table.slice(range)),
                _ => Err(unlike(column, "blob")),
            },
            Inner::Postgres(row) => Ok(row.try_get(column)?),
        }
    }
}

impl<'r> FromColumn<'r> for &'r str {
    fn from_column(row: &'r Row, column: impl Column) -> Result<Self, Error> {
        match &row.0 {
            Inner::Sqlite(table, row) => match cell(table, *row, column)? {
                Cell::Text(range) => {
                    std::str::from_utf8(table.slice(range)).map_err(|_| unlike(column, "text in UTF-8"))
                }
                _ => Err(unlike(column, "text")),
            },
            Inner::Postgres(row) => Ok(row.try_get(column)?),
        }
    }
}

impl FromColumn<'_> for Vec<u8> {
    fn from_column(row: &Row, column: impl Column) -> Result<Self, Error> {
        match &row.0 {
            Inner::Sqlite(..) => <&[u8]>::from_column(row, column).map(<[u8]>::to_vec),
            Inner::Postgres(row) => Ok(row.try_get(column)?),
        }
    }
}

/// These bytes share memory with those of the answer's other rows: for what is soon sent, not for what is kept.
impl FromColumn<'_> for Bytes {
    fn from_column(row: &Row, column: impl Column) -> Result<Self, Error> {
        match &row.0 {
            Inner::Sqlite(table, number) => match cell(table, *number, column)? {
                Cell::Blob(range) | Cell::Text(range) => Ok(table.share(range)),
                _ => Err(unlike(column, "blob")),
            },
            Inner::Postgres(row) => Ok(row.try_get::<Vec<u8>, _>(column)?.into()),
        }
    }
}

impl FromColumn<'_> for String {
    fn from_column(row: &Row, column: impl Column) -> Result<Self, Error> {
        <&str>::from_column(row, column).map(str::to_owned)
    }
}

impl FromColumn<'_> for f64 {
    fn from_column(row: &Row, column: impl Column) -> Result<Self, Error> {
        match &row.0 {
            Inner::Sqlite(table, row) => match cell(table, *row, column)? {
                Cell::Real(value) => Ok(*value),
                _ => Err(unlike(column, "number")),
            },
            Inner::Postgres(row) => Ok(row.try_get(column)?),
        }
    }
}

impl FromColumn<'_> for i64 {
    fn from_column(row: &Row, column: impl Column) -> Result<Self, Error> {
        match &row.0 {
            Inner::Sqlite(table, row) => match cell(table, *row, column)? {
                Cell::Integer(value) => Ok(*value),
                _ => Err(unlike(column, "integer")),
            },
            // A bare number in a statement is one of 32 bits there.
            Inner::Postgres(row) if row.try_get_raw(column)?.type_info().name() == "INT4" => {
                Ok(row.try_get::<i32, _>(column)?.into())
            }
            Inner::Postgres(row) => Ok(row.try_get(column)?),
        }
    }
}

/// Integers that must be within bounds.
macro_rules! within_bounds {
    ($($type:ty),*) => {$(
        impl<'r> FromColumn<'r> for $type {
            fn from_column(row: &'r Row, column: impl Column) -> Result<Self, Error> {
                <$type>::try_from(i64::from_column(row, column)?).map_err(|error| Error::Decode(Box::new(error)))
            }
        }

        impl From<$type> for Value {
            fn from(value: $type) -> Self {
                Self::Integer(Some(value.into()))
            }
        }
    )*};
}

within_bounds!(u8, u16, u32);

impl<'r> FromColumn<'r> for bool {
    fn from_column(row: &'r Row, column: impl Column) -> Result<Self, Error> {
        match &row.0 {
            // An expression gives PostgreSQL's own truth values.
            Inner::Postgres(row) if row.try_get_raw(column)?.type_info().name() == "BOOL" => Ok(row.try_get(column)?),
            _ => Ok(i64::from_column(row, column)? != 0),
        }
    }
}

impl<'r, T: FromColumn<'r>> FromColumn<'r> for Option<T> {
    fn from_column(row: &'r Row, column: impl Column) -> Result<Self, Error> {
        if row.is_null(column)? { Ok(None) } else { T::from_column(row, column).map(Some) }
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Integer(Some(value))
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Integer(Some(value.into()))
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Real(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(Some(value.to_owned().into()))
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(Some(value.into()))
    }
}

impl From<&String> for Value {
    fn from(value: &String) -> Self {
        value.as_str().into()
    }
}

impl From<&[u8]> for Value {
    fn from(value: &[u8]) -> Self {
        Self::Bytes(Some(value.to_vec()))
    }
}

impl From<Vec<u8>> for Value {
    fn from(value: Vec<u8>) -> Self {
        Self::Bytes(Some(value))
    }
}

impl<const N: usize> From<&[u8; N]> for Value {
    fn from(value: &[u8; N]) -> Self {
        value.as_slice().into()
    }
}

/// Values that may be absent.
macro_rules! optional {
    ($($type:ty => $variant:ident),*) => {$(
        impl From<Option<$type>> for Value {
            fn from(value: Option<$type>) -> Self {
                value.map_or(Self::$variant(None), Self::from)
            }
        }
    )*};
}

optional!(bool => Integer, i64 => Integer, u32 => Integer, &str => Text, String => Text, Vec<u8> => Bytes, &[u8] => Bytes);

#[cfg(test)]
mod tests {
    use super::numbered;

    #[test]
    fn parameters_are_numbered_and_quotes_left_alone() {
        for (sql, expected) in [
            ("SELECT 1", "SELECT 1"),
            ("a = ? AND b = ?", "a = $1 AND b = $2"),
            ("a = ?2 OR b = ?10", "a = $2 OR b = $10"),
            ("a = '?''?' AND b = ?", "a = '?''?' AND b = $1"),
        ] {
            assert_eq!(numbered(sql), expected);
        }
    }
}
