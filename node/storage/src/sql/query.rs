//! Statements, written once for both engines, and the rows that they give.
//!
//! A statement is written as SQLite has it, its parameters `?` in their order or `?1`, `?2` by number; for PostgreSQL they
//! become `$1`, `$2`. Both engines keep integers of 64 bits, text in the order of its bytes, and bytes; a truth value is
//! an integer in a column, and whatever an expression gives.

use std::borrow::Cow;

use sqlx::postgres::{PgRow, Postgres};
use sqlx::sqlite::{Sqlite, SqliteRow};
use sqlx::{AssertSqlSafe, ColumnIndex, Row as _, TypeInfo, ValueRef};

use super::connection::{Connection, Native};

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
    sql: Cow<'static, str>,
    values: Vec<Value>,
    /// Whether the engine keeps what it made of it, for the next time.
    kept: bool,
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
    pub async fn execute(self, connection: &mut Connection) -> Result<u64, sqlx::Error> {
        let outcome = match connection.native() {
            Native::Sqlite(native) => self.sqlite().execute(native).await.map(|done| done.rows_affected()),
            Native::Postgres(native) => self.postgres().execute(native).await.map(|done| done.rows_affected()),
        };
        connection.note(outcome)
    }

    /// Runs it and gives every row.
    pub async fn fetch_all(self, connection: &mut Connection) -> Result<Vec<Row>, sqlx::Error> {
        let outcome = match connection.native() {
            Native::Sqlite(native) => {
                let rows = self.sqlite().fetch_all(native).await;
                rows.map(|rows| rows.into_iter().map(|row| Row(Inner::Sqlite(row))).collect())
            }
            Native::Postgres(native) => {
                let rows = self.postgres().fetch_all(native).await;
                rows.map(|rows| rows.into_iter().map(|row| Row(Inner::Postgres(row))).collect())
            }
        };
        connection.note(outcome)
    }

    /// Runs it and gives its row, if there is one.
    pub async fn fetch_optional(self, connection: &mut Connection) -> Result<Option<Row>, sqlx::Error> {
        let outcome = match connection.native() {
            Native::Sqlite(native) => {
                self.sqlite().fetch_optional(native).await.map(|row| row.map(|row| Row(Inner::Sqlite(row))))
            }
            Native::Postgres(native) => {
                self.postgres().fetch_optional(native).await.map(|row| row.map(|row| Row(Inner::Postgres(row))))
            }
        };
        connection.note(outcome)
    }

    /// Runs it and gives its one row; [`sqlx::Error::RowNotFound`] when there is none.
    pub async fn fetch_one(self, connection: &mut Connection) -> Result<Row, sqlx::Error> {
        self.fetch_optional(connection).await?.ok_or(sqlx::Error::RowNotFound)
    }

    fn sqlite(self) -> sqlx::query::Query<'static, Sqlite, <Sqlite as sqlx::Database>::Arguments> {
        let query = match self.sql {
            Cow::Borrowed(sql) => sqlx::query(sql),
            Cow::Owned(sql) => sqlx::query(AssertSqlSafe(sql)),
        };
        let query = query.persistent(self.kept);
        self.values.into_iter().fold(query, |query, value| match value {
            Value::Integer(value) => query.bind(value),
            Value::Real(value) => query.bind(value),
            Value::Text(value) => query.bind(value),
            Value::Bytes(value) => query.bind(value),
        })
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
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

/// How a column is named: by its place, or by its name.
pub trait Column: ColumnIndex<SqliteRow> + ColumnIndex<PgRow> {}

impl<I: ColumnIndex<SqliteRow> + ColumnIndex<PgRow>> Column for I {}

impl Row {
    /// A column's value. An error when it is of another type, or absent and the type is no `Option`.
    pub fn try_get<'r, T: FromColumn<'r>>(&'r self, column: impl Column) -> Result<T, sqlx::Error> {
        T::from_column(self, column)
    }

    fn is_null(&self, column: impl Column) -> Result<bool, sqlx::Error> {
        Ok(match &self.0 {
            Inner::Sqlite(row) => row.try_get_raw(column)?.is_null(),
            Inner::Postgres(row) => row.try_get_raw(column)?.is_null(),
        })
    }
}

/// What a column's value becomes.
pub trait FromColumn<'r>: Sized {
    /// Reads it.
    fn from_column(row: &'r Row, column: impl Column) -> Result<Self, sqlx::Error>;
}

/// Types that both engines know.
macro_rules! known_to_both {
    ($($type:ty),*) => {$(
        impl<'r> FromColumn<'r> for $type {
            fn from_column(row: &'r Row, column: impl Column) -> Result<Self, sqlx::Error> {
                match &row.0 {
                    Inner::Sqlite(row) => row.try_get(column),
                    Inner::Postgres(row) => row.try_get(column),
                }
            }
        }
    )*};
}

known_to_both!(f64, &'r str, String, &'r [u8], Vec<u8>);

impl<'r> FromColumn<'r> for i64 {
    fn from_column(row: &'r Row, column: impl Column) -> Result<Self, sqlx::Error> {
        match &row.0 {
            Inner::Sqlite(row) => row.try_get(column),
            // A bare number in a statement is one of 32 bits there.
            Inner::Postgres(row) if row.try_get_raw(&column)?.type_info().name() == "INT4" => {
                row.try_get::<i32, _>(column).map(i64::from)
            }
            Inner::Postgres(row) => row.try_get(column),
        }
    }
}

/// Integers that must be within bounds.
macro_rules! within_bounds {
    ($($type:ty),*) => {$(
        impl<'r> FromColumn<'r> for $type {
            fn from_column(row: &'r Row, column: impl Column) -> Result<Self, sqlx::Error> {
                <$type>::try_from(i64::from_column(row, column)?).map_err(|error| sqlx::Error::Decode(Box::new(error)))
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
    fn from_column(row: &'r Row, column: impl Column) -> Result<Self, sqlx::Error> {
        match &row.0 {
            // An expression gives PostgreSQL's own truth values.
            Inner::Postgres(row) if row.try_get_raw(&column)?.type_info().name() == "BOOL" => row.try_get(column),
            _ => Ok(i64::from_column(row, column)? != 0),
        }
    }
}

impl<'r, T: FromColumn<'r>> FromColumn<'r> for Option<T> {
    fn from_column(row: &'r Row, column: impl Column) -> Result<Self, sqlx::Error> {
        if row.is_null(&column)? { Ok(None) } else { T::from_column(row, column).map(Some) }
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
