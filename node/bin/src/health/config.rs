//! The section `[health]` of the configuration.

use std::time::Duration;

use estafeta_net::section::ConfigError;
use serde::Deserialize;

/// Every key of `[health]`, with its default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How often each role is checked, and other nodes are probed, in milliseconds. 1,000 by default.
    pub interval_ms: u64,
    /// How long one probe or check may take, in milliseconds. 3,000 by default: a node that dies is found by gossip, and
    /// one that is only busy should not come and go.
    pub timeout_ms: u64,
    /// After how many failures in a row a role is not ready. After the first one it is asked again at once, so that this
    /// costs little time. 2 by default.
    pub fail_after: u32,
    /// After how many successes in a row it is ready again. 3 by default.
    pub pass_after: u32,
    /// How much room the disk of a role that writes must have, in bytes. 100 MB by default.
    pub free_bytes: u64,
    /// How long a write to that disk may take, in milliseconds, until the disk counts as hanging. 5,000 by default.
    pub disk_timeout_ms: u64,
    /// How long no node of a role that this one needs may answer it, in milliseconds, while others find one ready. 10,000
    /// by default: longer than it takes the members to see that one is gone, and than one slow answer.
    pub need_timeout_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            interval_ms: 1_000,
            timeout_ms: 3_000,
            fail_after: 2,
            pass_after: 3,
            free_bytes: 100_000_000,
            disk_timeout_ms: 5_000,
            need_timeout_ms: 10_000,
        }
    }
}

impl Config {
    /// Refuses what is legal TOML and makes no sense.
    pub fn check(self) -> Result<Self, ConfigError> {
        for (key, value) in [
            ("interval_ms", self.interval_ms),
            ("timeout_ms", self.timeout_ms),
            ("fail_after", self.fail_after.into()),
            ("pass_after", self.pass_after.into()),
            ("disk_timeout_ms", self.disk_timeout_ms),
            ("need_timeout_ms", self.need_timeout_ms),
        ] {
            if value == 0 {
                return Err(ConfigError::new(format!("[health] {key} must be above 0")));
            }
        }
        Ok(self)
    }

    /// How often each role is checked.
    pub fn interval(&self) -> Duration {
        Duration::from_millis(self.interval_ms)
    }

    /// How long one probe or check may take.
    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }

    /// How long a write to the disk may take.
    pub fn disk_timeout(&self) -> Duration {
        Duration::from_millis(self.disk_timeout_ms)
    }

    /// How long a needed role may be silent.
    pub fn need_timeout(&self) -> Duration {
        Duration::from_millis(self.need_timeout_ms)
    }
}

#[cfg(test)]
mod tests {
    use estafeta_net::section::Section;

    use super::*;

    #[test]
    fn zeros_are_refused_and_the_example_shows_every_key_with_its_default() {
        let error = Section::parse("pass_after = 0").unwrap().read::<Config>().unwrap().check().unwrap_err();
        assert_eq!(error.message, "[health] pass_after must be above 0");
        let example =
            std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/estafeta.toml")).unwrap();
        let lines = example.lines().map(|line| line.strip_prefix('#').unwrap_or(line));
        let section: Vec<&str> = lines
            .skip_while(|line| *line != "[health]")
            .skip(1)
            .take_while(|line| !line.starts_with('['))
            .filter(|line| line.contains('=') && !line.starts_with(' '))
            .collect();
        let unknown = Section::parse("nonsense = 1").unwrap().read::<Config>().unwrap_err().message;
        for key in unknown.split_once("the keys here are ").unwrap().1.split(", ") {
            assert!(section.iter().any(|line| line.starts_with(&format!("{key} = "))), "{key} is not shown");
        }
        let shown: Config = Section::parse(&section.join("\n")).unwrap().read().unwrap();
        assert_eq!(shown, Config::default());
    }
}
