//! Where a PostgreSQL stands: one or several hosts, of which one is the primary.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};
use sqlx::{Connection as _, Row as _};

use crate::error::StorageError;

/// How long a host may take to answer whether it is the primary.
const ANSWER: Duration = Duration::from_secs(3);

/// What every session asks for. A commit's time is bounded by us: PostgreSQL calls one a success whose wait for the standby
/// was broken off by `statement_timeout`.
const SESSION: &[(&str, &str)] = &[
    ("synchronous_commit", "on"),
    ("default_transaction_isolation", "read committed"),
    ("statement_timeout", "0"),
    ("lock_timeout", "10s"),
    ("idle_in_transaction_session_timeout", "60s"),
];

/// What is asked of replication before anything is acknowledged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Synchronous {
    /// A commit waits for what the server's `synchronous_standby_names` says.
    #[default]
    AsConfigured,
    /// Nothing is acknowledged while no synchronous standby is connected.
    Required,
}

/// The servers of one database.
#[derive(Clone)]
pub struct Servers {
    hosts: Vec<PgConnectOptions>,
    /// What is asked of replication.
    pub synchronous: Synchronous,
    /// How many transactions are written at once. An account's are always written by the same one.
    pub writers: u32,
}

impl fmt::Debug for Servers {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Servers({})", self.names())
    }
}

/// The server that takes writes.
pub(super) struct Primary {
    pub(super) connection: PgConnection,
    pub(super) host: usize,
    /// Grows with each promotion.
    pub(super) timeline: i64,
}

impl Servers {
    /// Reads `postgresql://user:password@host1:5432,host2/database?sslrootcert=/path`. A password that is given apart goes
    /// before. To another machine the connection is encrypted and the server's name verified (`sslmode=verify-full`,
    /// which is the default here); a weaker mode is refused.
    pub fn parse(url: &str, password: Option<&str>) -> Result<Self, StorageError> {
        let wrong = |text: String| StorageError::Address(format!("the address of PostgreSQL: {text}"));
        let (scheme, rest) = url
            .split_once("://")
            .filter(|(scheme, _)| ["postgresql", "postgres"].contains(scheme))
            .ok_or_else(|| wrong("write it as postgresql://user@host1,host2/database".into()))?;
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => return Err(wrong("the name of the database is missing: …/database".into())),
        };
        let (user, hosts) = match authority.rsplit_once('@') {
            Some((user, hosts)) => (format!("{user}@"), hosts),
            None => (String::new(), authority),
        };
        let explicit = path.contains("sslmode=") || path.contains("ssl-mode=");
        let hosts = hosts.split(',').map(|host| {
            let one = format!("{scheme}://{user}{host}{path}");
            // The text of the cause may hold the password.
            let options = PgConnectOptions::from_str(&one).map_err(|_| wrong(format!("{host} cannot be read")))?;
            let options = match password {
                Some(password) => options.password(password),
                None => options,
            };
            let local = options.get_socket().is_some()
                || ["localhost", "::1", "[::1]"].contains(&options.get_host())
                || options.get_host().starts_with("127.")
                || options.get_host().starts_with('/');
            match options.get_ssl_mode() {
                _ if local => Ok(options),
                PgSslMode::VerifyFull | PgSslMode::VerifyCa => Ok(options),
                _ if !explicit => Ok(options.ssl_mode(PgSslMode::VerifyFull)),
                _ => Err(wrong(format!(
                    "{host} is another machine: mail crosses a network only encrypted and verified; use sslmode=verify-full, with sslrootcert=FILE for an authority of your own"
                ))),
            }
        });
        let hosts: Vec<_> = hosts
            .map(|options| Ok(options?.application_name("estafeta").options(SESSION.iter().copied())))
            .collect::<Result<_, StorageError>>()?;
        Ok(Self { hosts, synchronous: Synchronous::default(), writers: 4 })
    }

    pub(super) fn host(&self, index: usize) -> PgConnectOptions {
        self.hosts[index].clone()
    }

    /// The hosts, for people.
    pub(super) fn names(&self) -> String {
        let names = self.hosts.iter().map(|options| match options.get_socket() {
            Some(socket) => socket.display().to_string(),
            None => format!("{}:{}", options.get_host(), options.get_port()),
        });
        names.collect::<Vec<_>>().join(", ")
    }

    /// Finds the primary. Where two say that they are, as after a failover when the old one comes back by mistake, the one
    /// that was promoted last is.
    pub(super) async fn primary(&self) -> Result<Primary, StorageError> {
        let mut found: Option<Primary> = None;
        let mut causes = Vec::new();
        for (host, options) in self.hosts.iter().enumerate() {
            let known = found.as_ref().map_or(0, |primary| primary.timeline);
            match tokio::time::timeout(ANSWER, ask(options)).await {
                Ok(Ok(Some((connection, timeline)))) if timeline > known => {
                    found = Some(Primary { connection, host, timeline });
                }
                Ok(Ok(Some(_))) => causes.push("an old primary".to_owned()),
                Ok(Ok(None)) => causes.push("a standby".to_owned()),
                Ok(Err(error)) => causes.push(error.to_string()),
                Err(_) => causes.push("no answer".to_owned()),
            }
        }
        found.ok_or_else(|| StorageError::Away(format!("{} ({})", self.names(), causes.join("; "))))
    }
}

/// A connection to a server and its timeline, if it is a primary.
async fn ask(options: &PgConnectOptions) -> Result<Option<(PgConnection, i64)>, sqlx::Error> {
    let mut connection = PgConnection::connect_with(options).await?;
    let standby: bool = sqlx::query("SELECT pg_is_in_recovery()").fetch_one(&mut connection).await?.try_get(0)?;
    if standby {
        connection.close().await?;
        return Ok(None);
    }
    // The first eight digits of a segment's name are the timeline; the control file tells it only at the next checkpoint.
    let timeline = "SELECT ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::BIGINT";
    let timeline = sqlx::query(timeline).fetch_one(&mut connection).await?.try_get(0)?;
    Ok(Some((connection, timeline)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_hosts_are_read_and_weak_encryption_is_refused() {
        let servers = Servers::parse("postgresql://u:p%40w@db1.example.edu,db2.example.edu:5433/mail", None).unwrap();
        assert_eq!(servers.names(), "db1.example.edu:5432, db2.example.edu:5433");
        assert!(servers.hosts.iter().all(|options| matches!(options.get_ssl_mode(), PgSslMode::VerifyFull)));
        assert_eq!((servers.hosts[1].get_username(), servers.hosts[1].get_database()), ("u", Some("mail")));
        let servers = Servers::parse("postgresql://u@%2Frun%2Fpostgresql/mail", Some("secret")).unwrap();
        assert_eq!(servers.names(), "/run/postgresql");
        assert!(Servers::parse("postgresql://u@127.0.0.1/mail?sslmode=disable", None).is_ok());
        for (url, word) in [
            ("mysql://u@h/db", "postgresql://"),
            ("postgresql://u@h", "name of the database"),
            ("postgresql://u:geheim@h/db?sslmode=prefer", "verify-full"),
        ] {
            let error = Servers::parse(url, None).err().unwrap().to_string();
            assert!(error.contains(word) && !error.contains("geheim"), "{error}");
        }
    }
}
