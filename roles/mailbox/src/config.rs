//! The section `[mailbox]` of the configuration.

mod s3;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use estafeta_core::{Failure, StoreGroup};
use estafeta_net::accept::ConnectionLimits;
use estafeta_net::drive::Timeouts;
use estafeta_net::section::ConfigError;
use estafeta_storage::sql::{Servers, Synchronous};
use serde::Deserialize;

use crate::store::{BodyPlace, GarbageAges};

pub use s3::S3;

/// Every key of `[mailbox]`, with its default.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The store group whose mail this node keeps. Accounts name their group; a group has several nodes only where they
    /// share `database` and `s3`. Required.
    pub store_group: StoreGroup,
    /// Where the rows are: none for a SQLite file in the data directory, or a PostgreSQL with all its hosts, as
    /// `postgresql://user@db1.example.edu,db2.example.edu/mail`; the primary among them is found and followed. None by
    /// default.
    #[serde(default)]
    pub database: Option<String>,
    /// The file that holds the password for `database`, alone on its line. None by default.
    #[serde(default)]
    pub database_password_file: Option<PathBuf>,
    /// With a PostgreSQL: `required` refuses to acknowledge anything while no synchronous standby is connected;
    /// `as-configured` leaves that to the server. `as-configured` by default.
    #[serde(default)]
    pub synchronous: SynchronousStandby,
    /// With a PostgreSQL: how many transactions are written at once. 4 by default.
    #[serde(default = "default_writers")]
    pub writers: u32,
    /// Where bodies are that are too large for a row: none for files in the data directory, or an S3-compatible store. None
    /// by default.
    #[serde(default)]
    pub s3: Option<S3>,
    /// The largest message that is taken, in bytes. 104,857,600 by default: not below what edge accepts, for edge adds
    /// to it.
    #[serde(default = "default_message_limit_bytes")]
    pub message_limit_bytes: u32,
    /// Whether what is judged to be spam goes into Junk; else into INBOX. `true` by default.
    #[serde(default = "default_junk")]
    pub junk: bool,
    /// What a sender hears when the quota does not hold its message: `defer` (452, it tries again for days) or `refuse`
    /// (552, it learns at once). `defer` by default.
    #[serde(default)]
    pub when_over_quota: WhenOverQuota,
    /// At how many percent of its quota, of bytes or of messages, an account finds a warning in its INBOX, ascending; an
    /// empty list for no warnings. 80 and 95 by default.
    #[serde(default = "default_warn_at_percent")]
    pub warn_at_percent: Vec<u8>,
    /// After how many days messages in Junk, and those in Trash, are expunged, counted from when they came there; 0 for never.
    /// 30 by default.
    #[serde(default = "default_emptied_days")]
    pub junk_days: u32,
    /// The same for Trash.
    #[serde(default = "default_emptied_days")]
    pub trash_days: u32,
    /// For how many days what was expunged, and mailboxes that were deleted, can be had back with `mailbox undelete`; 0 to
    /// keep nothing. It counts for no quota, and takes its room. 14 by default.
    #[serde(default = "default_undelete_days")]
    pub undelete_days: u32,
    /// The most connections of each service between nodes. 50,000 by default: each user that access relays holds one.
    #[serde(default = "default_connections_limit")]
    pub connections_limit: usize,
    /// How many may read the database at the same moment; the others wait. 8 by default.
    #[serde(default = "default_readers_limit")]
    pub readers_limit: u32,
    /// How long an edge node's connection may be silent, in seconds. 300 by default.
    #[serde(default = "default_delivery_timeout_seconds")]
    pub delivery_timeout_seconds: u64,
}

/// What is asked of a PostgreSQL's replication.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SynchronousStandby {
    /// What the server is configured to do.
    #[default]
    AsConfigured,
    /// A standby has it too, or nothing is acknowledged.
    Required,
}

/// What a sender hears when the mailbox is full.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhenOverQuota {
    /// Later.
    #[default]
    Defer,
    /// Never.
    Refuse,
}

fn default_message_limit_bytes() -> u32 {
    100 * 1024 * 1024
}

fn default_writers() -> u32 {
    4
}

fn default_junk() -> bool {
    true
}

fn default_warn_at_percent() -> Vec<u8> {
    vec![80, 95]
}

fn default_emptied_days() -> u32 {
    30
}

fn default_undelete_days() -> u32 {
    14
}

fn default_connections_limit() -> usize {
    50_000
}

fn default_readers_limit() -> u32 {
    8
}

fn default_delivery_timeout_seconds() -> u64 {
    300
}

impl Config {
    /// Relative paths are relative to `directory`.
    pub(crate) fn beside(mut self, directory: &Path) -> Self {
        let password = self.database_password_file.iter_mut();
        let of_s3 = self.s3.iter_mut().flat_map(S3::files);
        password.chain(of_s3).for_each(|path| *path = directory.join(&path));
        self
    }

    /// Refuses what is legal TOML and makes no sense.
    pub fn check(self) -> Result<Self, ConfigError> {
        for (key, zero) in [
            ("message_limit_bytes", self.message_limit_bytes == 0),
            ("connections_limit", self.connections_limit == 0),
            ("readers_limit", self.readers_limit == 0),
            ("writers", self.writers == 0),
            ("delivery_timeout_seconds", self.delivery_timeout_seconds == 0),
        ] {
            if zero {
                return Err(ConfigError::new(format!("{key} = 0 would let nothing in: give at least 1")));
            }
        }
        let sorted = self.warn_at_percent.is_sorted_by(|one, next| one < next);
        if !sorted || self.warn_at_percent.iter().any(|percent| !(1..=100).contains(percent)) {
            return Err(ConfigError::new("warn_at_percent takes percentages from 1 to 100, ascending"));
        }
        if let Some(s3) = &self.s3 {
            s3.check()?;
        }
        match &self.database {
            Some(url) => {
                drop(Servers::parse(url, None).map_err(|error| ConfigError::new(format!("database: {error}")))?)
            }
            None if self.database_password_file.is_some() => {
                return Err(ConfigError::new("database_password_file is given without database"));
            }
            None if self.synchronous == SynchronousStandby::Required => {
                return Err(ConfigError::new("synchronous = \"required\" is for a PostgreSQL: name it with database"));
            }
            None => {}
        }
        Ok(self)
    }

    /// Where bodies are. The credentials are read now.
    pub(crate) fn bodies(&self) -> Result<BodyPlace, Failure> {
        let Some(s3) = &self.s3 else { return Ok(BodyPlace::Files) };
        let options = s3.options(&self.store_group).map_err(Failure::internal)?;
        Ok(BodyPlace::Objects { options, cache_bytes: s3.cache_bytes })
    }

    /// The PostgreSQL, if there is one. Its password is read now.
    pub(crate) fn servers(&self) -> Result<Option<Servers>, Failure> {
        let Some(url) = &self.database else { return Ok(None) };
        let password =
            match &self.database_password_file {
                None => None,
                Some(path) => Some(fs::read_to_string(path).map_err(|error| {
                    Failure::internal(format!("database_password_file {}: {error}", path.display()))
                })?),
            };
        let mut servers = Servers::parse(url, password.as_deref().map(|text| text.trim_end_matches(['\r', '\n'])))
            .map_err(Failure::internal)?;
        servers.synchronous = match self.synchronous {
            SynchronousStandby::AsConfigured => Synchronous::AsConfigured,
            SynchronousStandby::Required => Synchronous::Required,
        };
        servers.writers = self.writers;
        Ok(Some(servers))
    }

    /// The limits of a service between nodes: all its connections may come from one node.
    pub(crate) fn connection_limits(&self) -> ConnectionLimits {
        ConnectionLimits { connections: self.connections_limit, connections_per_address: self.connections_limit }
    }

    /// How long the store keeps what.
    pub(crate) fn garbage_ages(&self) -> GarbageAges {
        let age = |days: u32| (days > 0).then(|| Duration::from_secs(u64::from(days) * 24 * 3600));
        GarbageAges {
            junk: age(self.junk_days),
            trash: age(self.trash_days),
            undelete: age(self.undelete_days).unwrap_or_default(),
            ..GarbageAges::default()
        }
    }

    /// How long an edge node may be silent or slow.
    pub(crate) fn delivery_timeouts(&self) -> Timeouts {
        let read = Duration::from_secs(self.delivery_timeout_seconds);
        Timeouts { read, write: read.min(WRITE) }
    }
}

/// How long another node may take what is sent to it.
const WRITE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;
    use estafeta_net::section::Section;

    fn read(text: &str) -> Result<Config, ConfigError> {
        Section::parse(text)?.read::<Config>()?.check()
    }

    #[test]
    fn relative_paths_are_relative_to_a_directory() {
        let text = "store_group = 'g'\ndatabase = 'postgresql://h/d'\ndatabase_password_file = 'p'\n\
                    [s3]\nbucket = 'mail'\ncredentials_file = '/k'\nauthority = 'ca'";
        let config = read(text).unwrap().beside(Path::new("/etc/estafeta"));
        assert_eq!(config.database_password_file.unwrap(), Path::new("/etc/estafeta/p"));
        let s3 = config.s3.unwrap();
        assert_eq!((s3.credentials_file, s3.authority), ("/k".into(), Some("/etc/estafeta/ca".into())));
    }

    #[test]
    fn defaults_and_faults() {
        let config = read("store_group = 'g1'").unwrap();
        assert_eq!(
            (config.message_limit_bytes, config.junk, config.when_over_quota),
            (100 << 20, true, WhenOverQuota::Defer)
        );
        assert_eq!(
            read("store_group = 'g1'\nwhen_over_quota = 'refuse'").unwrap().when_over_quota,
            WhenOverQuota::Refuse
        );
        assert_eq!(config.garbage_ages().trash, Some(Duration::from_secs(30 * 24 * 3600)));
        assert_eq!(config.garbage_ages().undelete, Duration::from_secs(14 * 24 * 3600));
        assert_eq!(read("store_group = 'g1'\nundelete_days = 0").unwrap().garbage_ages().undelete, Duration::ZERO);
        assert_eq!(read("store_group = 'g1'\ntrash_days = 0").unwrap().garbage_ages().trash, None);
        for (text, word) in [
            ("", "store_group"),
            ("store_group = 'G 1'", "store group"),
            ("store_group = 'g'\nreaders_limit = 0", "readers_limit"),
            ("store_group = 'g'\njunks = true", "junk"),
            ("store_group = 'g'\ndatabase = 'mysql://h/db'", "postgresql://"),
            ("store_group = 'g'\nsynchronous = 'required'", "database"),
            ("store_group = 'g'\nwarn_at_percent = [95, 80]", "ascending"),
            ("store_group = 'g'\nwarn_at_percent = [0]", "percentages"),
            ("store_group = 'g'\n[s3]\nbucket = 'mail'", "credentials_file"),
            ("store_group = 'g'\n[s3]\nbucket = 'a/b'\ncredentials_file = 'f'", "bucket"),
            (
                "store_group = 'g'\n[s3]\nbucket = 'mail'\ncredentials_file = 'f'\nendpoint = 'http://s3.example.edu'",
                "https://",
            ),
            (
                "store_group = 'g'\n[s3]\nbucket = 'mail'\ncredentials_file = 'f'\nsecret_access_key = 'x'",
                "secret_access_key",
            ),
            ("store_group = 'g'\n[s3]\nbucket = 'mail'\ncredentials_file = 'f'\nprefix = 'a//b'", "prefix"),
            ("store_group = 'g'\n[s3]\nbucket = 'mail'\ncredentials_file = 'f'\ncache_bytes = 1000", "cache_bytes"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.message.contains(word), "{error}");
        }
    }
}
