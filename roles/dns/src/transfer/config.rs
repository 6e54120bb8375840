//! The section `[dns.transfer]` of the configuration: who may have the zones whole.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use estafeta_core::{Domain, Secret};
use hickory_proto::rr::Name;
use hickory_proto::rr::rdata::tsig::TsigAlgorithm;
use ipnet::IpNet;
use serde::Deserialize;

use super::tsig::Key;
use crate::config::IpOrSocket;
use crate::zone::absolute;

/// How many secondaries there may be: each is told of every change of its zones.
const SECONDARIES_LIMIT: usize = 100;

/// The section `[dns.transfer]`. It is the same on every dns node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The name servers that have zones of ours by transfer: they are told of each change, and may ask. Default: none.
    pub secondaries: Vec<Secondary>,
    /// The keys that they sign with (TSIG). Default: none.
    pub keys: Vec<KeyConfig>,
    /// The networks that transfers may be asked from; empty for anywhere, as the key alone decides. Default: none.
    pub allow: Vec<IpNet>,
}

/// One secondary.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Secondary {
    /// Where it is told of changes: an address, with port 53 unless it says another.
    pub address: IpOrSocket,
    /// The name of the key that both sides sign with.
    pub key: Domain,
    /// Its zones. Default: all.
    #[serde(default)]
    pub zones: Vec<Domain>,
}

/// One key.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyConfig {
    /// Its name, the same on both sides.
    pub name: Domain,
    /// Its algorithm. Default: hmac-sha256.
    #[serde(default)]
    pub algorithm: Algorithm,
    /// The secret in base64, or
    #[serde(default)]
    pub secret: Option<String>,
    /// the file that holds it, which only this node's user may read.
    #[serde(default)]
    pub secret_file: Option<PathBuf>,
}

impl std::fmt::Debug for KeyConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, algorithm, secret_file, .. } = self;
        f.debug_struct("KeyConfig")
            .field("name", name)
            .field("algorithm", algorithm)
            .field("secret_file", secret_file)
            .finish_non_exhaustive()
    }
}

/// What signatures are made with (RFC 8945 §6).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub enum Algorithm {
    /// HMAC over SHA-256.
    #[default]
    #[serde(rename = "hmac-sha256")]
    HmacSha256,
    /// HMAC over SHA-512.
    #[serde(rename = "hmac-sha512")]
    HmacSha512,
}

impl Config {
    /// Relative paths are relative to `directory`.
    pub fn beside(&mut self, directory: &Path) {
        let files = self.keys.iter_mut().filter_map(|key| key.secret_file.as_mut());
        files.for_each(|path| *path = directory.join(&path));
    }

    /// What is wrong with the values, in words for whoever wrote them.
    pub fn check(&self) -> Result<(), String> {
        if self.secondaries.len() > SECONDARIES_LIMIT {
            return Err(format!("transfer.secondaries: at most {SECONDARIES_LIMIT}"));
        }
        let mut names = BTreeSet::new();
        for key in &self.keys {
            if !names.insert(absolute(&key.name)) {
                return Err(format!("transfer.keys: {} is there twice", key.name));
            }
            match (&key.secret, &key.secret_file) {
                (Some(secret), None) => key.key(Secret::new(secret.clone())).map(drop)?,
                (None, Some(_)) => {}
                _ => return Err(format!("transfer.keys: {} takes one of secret and secret_file", key.name)),
            }
        }
        match self.secondaries.iter().find(|secondary| !names.contains(&absolute(&secondary.key))) {
            Some(secondary) => Err(format!(
                "transfer.secondaries: {} has the key {}, which is not among transfer.keys",
                secondary.address.0, secondary.key
            )),
            None => Ok(()),
        }
    }

    /// Reads the secrets.
    pub fn access(&self) -> Result<Access, String> {
        let keys: Vec<Key> = self.keys.iter().map(KeyConfig::read).collect::<Result<_, _>>()?;
        let peer = |secondary: &Secondary| {
            let name = absolute(&secondary.key);
            let key = keys.iter().find(|key| key.name() == &name).cloned();
            key.map(|key| Peer {
                address: secondary.address.0,
                key,
                zones: secondary.zones.iter().map(absolute).collect(),
            })
        };
        let peers = self.secondaries.iter().filter_map(peer).collect();
        Ok(Access { peers, allow: self.allow.clone(), keys })
    }
}

impl KeyConfig {
    fn read(&self) -> Result<Key, String> {
        let secret = match (&self.secret, &self.secret_file) {
            (Some(secret), _) => Secret::new(secret.clone()),
            (None, Some(file)) => read_secret(file)?,
            (None, None) => return Err(format!("the key {} has no secret", self.name)),
        };
        self.key(secret)
    }

    fn key(&self, secret: Secret) -> Result<Key, String> {
        let algorithm = match self.algorithm {
            Algorithm::HmacSha256 => TsigAlgorithm::HmacSha256,
            Algorithm::HmacSha512 => TsigAlgorithm::HmacSha512,
        };
        Key::new(&absolute(&self.name), algorithm, secret)
            .map_err(|why| format!("transfer.keys: {}: {why}: make one with: openssl rand -base64 32", self.name))
    }
}

fn read_secret(file: &Path) -> Result<Secret, String> {
    let failed = |error: std::io::Error| format!("{}: the key's secret cannot be read: {error}", file.display());
    let mode = fs::metadata(file).map_err(failed)?.mode();
    if mode & 0o007 != 0 {
        return Err(format!("{}: everybody can get at the key's secret: chmod 600 it", file.display()));
    }
    fs::read_to_string(file).map(Secret::new).map_err(failed)
}

/// Who may have which zones, the secrets read.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// The secondaries.
    pub peers: Vec<Peer>,
    /// All keys.
    pub keys: Vec<Key>,
    allow: Vec<IpNet>,
}

/// One secondary.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Where it is told of changes.
    pub address: SocketAddr,
    /// What both sides sign with.
    pub key: Key,
    zones: Vec<Name>,
}

impl Peer {
    /// Whether it has this zone.
    pub fn has(&self, origin: &Name) -> bool {
        self.zones.is_empty() || self.zones.contains(origin)
    }
}

impl Access {
    /// Whether this zone has a secondary at all.
    pub fn concerns(&self, origin: &Name) -> bool {
        self.peers.iter().any(|peer| peer.has(origin))
    }

    /// Whether who holds this key may have the zone, asking from there.
    pub fn allows(&self, key: &Key, client: IpAddr, origin: &Name) -> bool {
        let client = client.to_canonical();
        let from_there = self.allow.is_empty() || self.allow.iter().any(|network| network.contains(&client));
        from_there && self.peers.iter().any(|peer| peer.key.name() == key.name() && peer.has(origin))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use estafeta_net::section::Section;

    use super::super::version::tests::name;
    use super::*;

    const SECRET: &str = "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0";

    fn config(text: &str) -> Config {
        Section::parse(text).unwrap().read().unwrap()
    }

    #[test]
    fn wrong_values_are_named() {
        for (text, part) in [
            ("keys = [{ name = 'k' }]", "one of secret and secret_file"),
            ("keys = [{ name = 'k', secret = 'x' }]", "openssl rand"),
            ("keys = [{ name = 'k', secret = 'c2hvcnQ=' }]", "shorter than 16"),
            ("secondaries = [{ address = '192.0.2.1', key = 'k' }]", "not among transfer.keys"),
            (
                &format!("keys = [{{ name = 'k', secret = '{SECRET}' }}, {{ name = 'k', secret = '{SECRET}' }}]"),
                "twice",
            ),
        ] {
            let wrong = config(text).check().unwrap_err();
            assert!(wrong.contains(part), "{text}: {wrong}");
        }
    }

    #[test]
    fn the_key_the_network_and_the_zone_decide() {
        let config = config(&format!(
            "keys = [{{ name = 'one', secret = '{SECRET}' }}, {{ name = 'two', secret = '{SECRET}', algorithm = 'hmac-sha512' }}]\n\
             allow = ['192.0.2.0/24']\n\
             secondaries = [{{ address = '192.0.2.1', key = 'one', zones = ['demo.test'] }}, {{ address = '[2001:db8::1]:5353', key = 'two' }}]"
        ));
        config.check().unwrap();
        let access = config.access().unwrap();
        let may = |key: usize, client: &str, zone: &str| {
            access.allows(&access.keys[key], client.parse().unwrap(), &name(zone))
        };
        assert!(may(0, "192.0.2.77", "demo.test.") && may(0, "::ffff:192.0.2.77", "Demo.Test."));
        assert!(!may(0, "198.51.100.1", "demo.test.") && !may(0, "192.0.2.77", "other.test."));
        assert!(may(1, "192.0.2.77", "other.test."));
        assert!(access.concerns(&name("any.test.")));
        let ports: Vec<u16> = access.peers.iter().map(|peer| peer.address.port()).collect();
        assert_eq!(ports, [53, 5353]);
    }

    #[test]
    fn a_secret_that_everybody_reads_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("key");
        let config = config(&format!("keys = [{{ name = 'k', secret_file = '{}' }}]", file.display()));
        config.check().unwrap();
        assert!(config.access().unwrap_err().contains("cannot be read"));
        fs::write(&file, format!("{SECRET}\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(config.access().unwrap_err().contains("chmod 600"));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(config.access().unwrap().keys.len(), 1);
        assert!(!format!("{config:?}{:?}", config.access().unwrap()).contains(SECRET));
    }
}
