//! The section `[mailbox.s3]`, and the file with the keys.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use estafeta_core::StoreGroup;
use estafeta_net::section::{ConfigError, Section};
use estafeta_storage::blobs::ObjectsOptions;
use serde::Deserialize;

/// The least that a cache is of use with, in bytes.
const CACHE_SHORTEST_BYTES: u64 = 1 << 20;

/// Every key of `[mailbox.s3]`, with its default.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct S3 {
    /// Where it answers, as `https://s3.example.edu`; in the clear, `http://`, on this machine's loopback alone. None for
    /// Amazon's own, by default.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// The bucket, which exists. Required.
    pub bucket: String,
    /// What stands before the name of every object; the name of the store group is added to it. Empty by default.
    #[serde(default)]
    pub prefix: String,
    /// The region. `us-east-1` by default, which stores other than Amazon's take, too.
    #[serde(default = "default_region")]
    pub region: String,
    /// The file with `access_key_id = "…"` and `secret_access_key = "…"`, of mode 0600. Required.
    pub credentials_file: PathBuf,
    /// A file of certificates in PEM that are believed beside those of the system. None by default.
    #[serde(default)]
    pub authority: Option<PathBuf>,
    /// The most bytes of copies in the data directory. 10,737,418,240 by default.
    #[serde(default = "default_cache_bytes")]
    pub cache_bytes: u64,
}

fn default_region() -> String {
    "us-east-1".into()
}

fn default_cache_bytes() -> u64 {
    10 << 30
}

/// What is in the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Credentials {
    access_key_id: String,
    secret_access_key: String,
}

impl S3 {
    /// Where it is, for people.
    pub(crate) fn place(&self) -> String {
        let at = self.endpoint.as_deref().map(|endpoint| format!(" at {endpoint}")).unwrap_or_default();
        format!("s3://{}{at}", self.bucket)
    }

    /// The files that it names.
    pub(super) fn files(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        std::iter::once(&mut self.credentials_file).chain(&mut self.authority)
    }

    /// Refuses what is legal TOML and makes no sense.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let wrong = |text: String| Err(ConfigError::new(text));
        // What S3 allows: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html>.
        let letters = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || "-.".contains(letter);
        if !(3..=63).contains(&self.bucket.len()) || !self.bucket.chars().all(letters) {
            return wrong(format!(
                "bucket {:?} is no bucket's name: 3 to 63 lower-case letters, digits, dots and hyphens",
                self.bucket
            ));
        }
        let named = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
        let prefix = self.prefix.trim_matches('/');
        let parts = prefix.split('/').all(|part| !["", ".", ".."].contains(&part) && part.chars().all(named));
        if !prefix.is_empty() && (!parts || prefix.len() > 500) {
            return wrong(format!(
                "prefix {:?}: give names of letters, digits, -, _ and . with / between them",
                self.prefix
            ));
        }
        if let Some(endpoint) = &self.endpoint
            && !endpoint.starts_with("https://")
            && !endpoint.strip_prefix("http://").is_some_and(is_loopback)
        {
            return wrong(format!(
                "endpoint {endpoint:?}: give https://…: bodies and keys do not cross a network in the clear; http:// is for an address of this machine's loopback alone"
            ));
        }
        if self.cache_bytes < CACHE_SHORTEST_BYTES {
            return wrong(format!("cache_bytes = {}: give at least {CACHE_SHORTEST_BYTES}", self.cache_bytes));
        }
        Ok(())
    }

    /// How to reach the bodies of a store group. The text says what is wrong with the files.
    pub(crate) fn options(&self, group: &StoreGroup) -> Result<ObjectsOptions, String> {
        if let Some(authority) = &self.authority {
            fs::metadata(authority).map_err(|error| format!("authority {}: {error}", authority.display()))?;
        }
        let credentials = credentials(&self.credentials_file)?;
        let prefix = format!("{}/{group}", self.prefix.trim_matches('/'));
        Ok(ObjectsOptions {
            endpoint: self.endpoint.clone(),
            bucket: self.bucket.clone(),
            prefix: prefix.trim_start_matches('/').to_owned(),
            region: self.region.clone(),
            access_key_id: credentials.access_key_id,
            secret_access_key: credentials.secret_access_key,
            authority: self.authority.clone(),
        })
    }
}

/// Whether an authority, `127.0.0.1:9000`, is an address of the loopback.
fn is_loopback(authority: &str) -> bool {
    let host = authority.split('/').next().unwrap_or_default();
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host).trim_matches(['[', ']']);
    host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn credentials(path: &Path) -> Result<Credentials, String> {
    let failed = |error: std::io::Error| format!("credentials_file {}: {error}", path.display());
    let mode = fs::metadata(path).map_err(failed)?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(format!(
            "credentials_file {}: others may read it (mode {:03o}): chmod 600 {}",
            path.display(),
            mode & 0o777,
            path.display()
        ));
    }
    let text = fs::read_to_string(path).map_err(failed)?;
    let read = Section::parse(&text).and_then(|section| section.read::<Credentials>());
    read.map_err(|error| {
        let line = error.place.map(|place| text[..place.start.min(text.len())].matches('\n').count() + 1);
        let line = line.map(|line| format!(" line {line}:")).unwrap_or_default();
        format!("credentials_file {}:{line} {}", path.display(), error.message)
    })
}
