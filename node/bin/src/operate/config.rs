//! How a node is operated: the sections `[drain]`, `[alerts]` and `[canary]` of the configuration.

use std::path::{Path, PathBuf};

use estafeta_core::Address;
use estafeta_net::tls::SYSTEM_AUTHORITIES;
use serde::Deserialize;

/// How a node leaves. `drain_seconds`, at the top of the file, is what SIGTERM leaves to what is running.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DrainConfig {
    /// How long SIGTERM goes on serving after the others were told, in milliseconds, so that no name leads here when the
    /// listeners close. 1000 by default; a node in no cluster tells nobody, and does not wait.
    pub announce_ms: u64,
    /// How long `node drain` goes on serving who is or comes here, in seconds. 600 by default.
    pub deadline_seconds: u64,
    /// It does not wait that long when nobody has a session any more after this time, in seconds: what names were kept
    /// (DNS) has run out by then. 60 by default.
    pub quiet_seconds: u64,
}

impl Default for DrainConfig {
    fn default() -> Self {
        Self { announce_ms: 1000, deadline_seconds: 600, quiet_seconds: 60 }
    }
}

/// Whom to tell when something is wrong. Nobody by default.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AlertsConfig {
    /// Addresses of this cluster that get a mail. None by default.
    pub mail_to: Vec<Address>,
    /// Where a JSON object is POSTed: an `http` or `https` URL. Nowhere by default.
    pub webhook: Option<String>,
    /// The authorities that an `https` webhook may be vouched for by, in PEM. The system's by default.
    pub webhook_authorities: PathBuf,
    /// A program and its arguments, run with the JSON object on its standard input. None by default.
    pub command: Vec<String>,
    /// How long mail, webhook and command may take each, in seconds; a command is killed then. 30 by default.
    pub send_seconds: u64,
    /// How long something must be wrong before it is told, and well again before that is told, in seconds. 30 by
    /// default.
    pub after_seconds: u64,
    /// Tell of a certificate that ends within so many days: less than what is left when it renews itself. 5 by default.
    pub certificate_days: u32,
    /// Tell of an edge node whose queue holds more messages than this. 10000 by default.
    pub queue_messages: u64,
}

impl Default for AlertsConfig {
    fn default() -> Self {
        Self {
            mail_to: Vec::new(),
            webhook: None,
            webhook_authorities: SYSTEM_AUTHORITIES.into(),
            command: Vec::new(),
            send_seconds: 30,
            after_seconds: 30,
            certificate_days: 5,
            queue_messages: 10_000,
        }
    }
}

impl AlertsConfig {
    /// Whether anybody is told.
    pub fn tells(&self) -> bool {
        !self.mail_to.is_empty() || self.webhook.is_some() || !self.command.is_empty()
    }

    /// What cannot work, in a line.
    pub fn check(&self) -> Result<(), String> {
        if let Some(webhook) = &self.webhook {
            super::alerts::webhook::target(webhook)
                .map_err(|why| format!("webhook {webhook:?} {why}: write it like \"https://example.org/path\""))?;
        }
        if self.send_seconds == 0 {
            return Err("send_seconds is 0: nothing could be sent in no time".into());
        }
        Ok(())
    }
}

/// A message that goes all the way, again and again.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CanaryConfig {
    /// The test account: mail is sent to it and read from it, and what the canary sent is deleted from its INBOX. Required.
    pub account: Address,
    /// A file whose first line is the account's password; the node's user must be able to read it. Required.
    pub password_file: PathBuf,
    /// How often, in seconds. 60 by default.
    #[serde(default = "default_interval_seconds")]
    pub interval_seconds: u64,
    /// When a message that has not come back counts as lost, in seconds. 60 by default.
    #[serde(default = "default_patience_seconds")]
    pub patience_seconds: u64,
    /// The name that the certificate of the access nodes must have. `imap.` and the account's domain by default.
    #[serde(default)]
    pub imap_name: Option<String>,
    /// The authorities that may vouch for it, in PEM. The system's by default.
    #[serde(default = "default_authorities")]
    pub authorities: PathBuf,
}

fn default_interval_seconds() -> u64 {
    60
}

fn default_patience_seconds() -> u64 {
    60
}

fn default_authorities() -> PathBuf {
    SYSTEM_AUTHORITIES.into()
}

impl CanaryConfig {
    /// The name that clients of the account would ask for.
    pub fn imap_name(&self) -> String {
        self.imap_name.clone().unwrap_or_else(|| format!("imap.{}", self.account.domain()))
    }

    /// What cannot work, in a line.
    pub fn check(&self) -> Result<(), String> {
        for (key, seconds) in [("interval_seconds", self.interval_seconds), ("patience_seconds", self.patience_seconds)]
        {
            if seconds == 0 {
                return Err(format!("{key} is 0: give it a second at least"));
            }
        }
        Ok(())
    }
}

/// The three sections.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OperateConfig {
    /// How a node leaves.
    pub drain: DrainConfig,
    /// Whom to tell.
    pub alerts: AlertsConfig,
    /// The message that goes all the way.
    pub canary: Option<CanaryConfig>,
}

impl OperateConfig {
    /// Paths are relative to the configuration file, which stands in `directory`.
    #[must_use]
    pub fn beside(mut self, directory: &Path) -> Self {
        let beside = |path: &mut PathBuf| *path = directory.join(&*path);
        beside(&mut self.alerts.webhook_authorities);
        if let Some(canary) = &mut self.canary {
            beside(&mut canary.password_file);
            beside(&mut canary.authorities);
        }
        self
    }

    /// What cannot work: the section, and what is wrong in a line.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        self.alerts.check().map_err(|why| ("alerts", why))?;
        self.canary.as_ref().map_or(Ok(()), CanaryConfig::check).map_err(|why| ("canary", why))
    }
}

#[cfg(test)]
mod tests {
    use estafeta_net::section::Section;

    use super::*;

    /// The keys that a section of this type may have.
    fn keys<T: serde::de::DeserializeOwned + std::fmt::Debug>() -> Vec<String> {
        let error = Section::parse("nonsense = 1").unwrap().read::<T>().unwrap_err();
        let (_, keys) = error.message.split_once("the keys here are ").unwrap();
        keys.split(", ").map(str::to_owned).collect()
    }

    #[test]
    fn the_example_shows_every_key() {
        let example = include_str!("../../../../deploy/estafeta.toml");
        let sections =
            [("drain", keys::<DrainConfig>()), ("alerts", keys::<AlertsConfig>()), ("canary", keys::<CanaryConfig>())];
        for (name, keys) in sections {
            let (_, section) = example.split_once(&format!("[{name}]\n")).expect("the section");
            let section = section.split("\n[").next().unwrap();
            for key in keys {
                let shown = section.lines().any(|line| line.trim_start_matches('#').starts_with(&format!("{key} =")));
                assert!(shown, "deploy/estafeta.toml does not show [{name}] {key}");
            }
        }
    }

    #[test]
    fn what_cannot_work_is_said() {
        let read = |text: &str| {
            let config = OperateConfig { alerts: Section::parse(text).unwrap().read().unwrap(), ..Default::default() };
            config.check()
        };
        assert_eq!(read("webhook = 'https://example.org/x'"), Ok(()));
        let (section, why) = read("webhook = 'ftp://example.org'").unwrap_err();
        assert!(section == "alerts" && why.contains("ftp://example.org"), "{why}");
        assert!(read("send_seconds = 0").is_err());
        let canary = "account = 'canary@example.org'\npassword_file = 'p'\n";
        let canary: CanaryConfig = Section::parse(canary).unwrap().read().unwrap();
        assert_eq!(canary.imap_name(), "imap.example.org");
        assert!(CanaryConfig { interval_seconds: 0, ..canary.clone() }.check().is_err());
        let beside = OperateConfig { canary: Some(canary), ..Default::default() }.beside(Path::new("/etc/x"));
        assert_eq!(beside.canary.unwrap().password_file, Path::new("/etc/x/p"));
    }
}
