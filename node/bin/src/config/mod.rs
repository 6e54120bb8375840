//! A node's configuration: one short TOML file.
//!
//! Loading touches nothing but the file. What is wrong is one line that names the file, the line and the mend.

mod basics;
mod check;
mod places;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use estafeta_cluster::enrolment::{ADMINISTRATION, Enrolled, GOSSIP, UsualPort};
use estafeta_core::{NodeName, RoleName, ServiceName};
use estafeta_net::role::{Plan, Role};
use estafeta_net::section::{ConfigError, Section, nearest};
use estafeta_net::tls::{KeyFiles, TlsFiles};
use toml::de::DeTable;

use crate::exit::{Code, Exit};
use crate::operate::OperateConfig;
pub use basics::LogFormat;
use basics::{Basics, ListenAddress};
pub use check::{check, run_as};
use places::Place;
pub use places::Places;

/// Where the configuration is looked for when the command line names none.
pub const DEFAULT_FILE: &str = "/etc/estafeta/estafeta.toml";

/// A node, as configured.
pub struct NodeConfig {
    /// Where its keys stand in its file.
    pub places: Places,
    /// The node's name.
    pub name: NodeName,
    /// What it calls itself in SMTP.
    pub hostname: String,
    /// Where its services listen, unless `listen` says otherwise.
    pub address: IpAddr,
    /// Its data directory.
    pub data: PathBuf,
    /// Whom to become once every socket is bound, when started as root.
    pub user: Option<String>,
    /// Its roles, each with its plan, in the order of the role table.
    pub plans: Vec<(RoleName, Box<dyn Plan>)>,
    /// Services that are elsewhere than on their usual port; none for one that is off.
    pub listen: BTreeMap<ServiceName, Option<SocketAddr>>,
    /// Its certificates.
    pub tls: TlsFiles,
    /// The key of the cluster's authority, on a node that lets others join.
    pub authority_key: Option<PathBuf>,
    /// Every enrolled node, this one included.
    pub nodes: Vec<Enrolled>,
    /// Where `/health` and `/metrics` answer; none for nowhere.
    pub status: Option<SocketAddr>,
    /// The Unix socket of the administration API.
    pub socket: PathBuf,
    /// What is logged: a filter as tracing has it.
    pub log_filter: String,
    /// How it is logged.
    pub log_format: LogFormat,
    /// How long whatever stops waits for what is running.
    pub drain: Duration,
    /// How it is operated.
    pub operate: OperateConfig,
    /// How soon other nodes are taken for gone, and named again.
    pub membership: estafeta_cluster::membership::Config,
    /// When a role is ready.
    pub health: crate::health::Config,
}

impl NodeConfig {
    /// Loads and understands the file.
    pub fn load(file: &Path, table: &[Role]) -> anyhow::Result<Self> {
        let text = fs::read_to_string(file).map_err(|error| {
            let mend = match error.kind() {
                io::ErrorKind::NotFound => "no such file: name the configuration with --config FILE".into(),
                _ => error.to_string(),
            };
            Exit::error(Code::NoInput, format_args!("{}: {mend}", file.display()))
        })?;
        Self::parse(file, &text, table).map_err(|error| {
            let place = Place { file, line: error.place.map(|place| places::line(&text, &place)) };
            Exit::error(Code::Config, format_args!("{place} {}", error.message))
        })
    }

    fn parse(file: &Path, text: &str, table: &[Role]) -> Result<Self, ConfigError> {
        let document = DeTable::parse(text).map_err(|error| ConfigError::from_toml(&error))?;
        let places = Places::of(file, text, document.get_ref());
        let span = document.span();
        let mut sections = BTreeMap::new();
        let mut rest = DeTable::new();
        for (key, value) in document.into_inner() {
            let name = key.get_ref().to_string();
            if let Some(role) = table.iter().find(|role| role.name.as_str() == name) {
                sections.insert(role.name.clone(), (key.span(), Section::new(value)));
            } else if Basics::KEYS.contains(&name.as_str()) {
                rest.insert(key, value);
            } else {
                let known = Basics::KEYS.iter().copied().chain(table.iter().map(|role| role.name.as_str()));
                let hint = nearest(&name, known).map(|known| format!("did you mean {known:?}? ")).unwrap_or_default();
                let message = format!("unknown key {name:?}: {hint}see deploy/estafeta.toml for all of them");
                return Err(ConfigError { message, place: Some(key.span()) });
            }
        }
        let basics: Basics = Section::new(toml::Spanned::new(span, toml::de::DeValue::Table(rest))).read()?;
        for role in &basics.roles {
            known_role(table, role)?;
        }
        if basics.roles.is_empty() {
            return Err(ConfigError::new("roles is empty: give this node at least one role"));
        }
        let mut plans = Vec::new();
        for role in table.iter().filter(|role| basics.roles.iter().any(|wanted| wanted.get_ref() == role.name.as_str()))
        {
            let section = sections.remove(&role.name);
            let place = section.as_ref().map(|(place, _)| place.clone());
            let section = section.map_or_else(Section::absent, |(_, section)| section);
            let section = section.beside(file.parent().unwrap_or(Path::new("")));
            let plan = (role.plan)(section).map_err(|mut error| {
                error.message = format!("[{}] {}", role.name, error.message);
                error.place = error.place.or(place);
                error
            })?;
            plans.push((role.name.clone(), plan));
        }
        if let Some((role, (place, _))) = sections.into_iter().next() {
            let message = format!(
                "the section [{role}] is for a role that this node does not have: add \"{role}\" to roles, or remove the section"
            );
            return Err(ConfigError { message, place: Some(place) });
        }
        basics.into_config(places, table, plans)
    }

    /// Where a service of this node listens; none when it is off, or is for nodes and this node is in no cluster.
    pub fn address_of(&self, service: &ServiceName, port: u16, between_nodes: bool) -> Option<SocketAddr> {
        if between_nodes && self.tls.cluster.is_none() {
            return None;
        }
        match self.listen.get(service) {
            Some(elsewhere) => *elsewhere,
            None => Some(SocketAddr::new(self.address, port)),
        }
    }
}

/// The usual ports of the role table.
pub fn usual_ports(table: &[Role]) -> Vec<UsualPort> {
    let services = table.iter().flat_map(|role| role.services.iter().map(move |service| (role, service)));
    services
        .map(|(role, service)| UsualPort { role: role.name.clone(), service: service.name.clone(), port: service.port })
        .collect()
}

/// Whether there is a service of this name.
pub fn is_service(table: &[Role], name: &ServiceName) -> bool {
    [ADMINISTRATION.0, GOSSIP.0].contains(name)
        || table.iter().any(|role| role.services.iter().any(|service| &service.name == name))
}

impl Basics {
    fn into_config(
        self,
        places: Places,
        table: &[Role],
        plans: Vec<(RoleName, Box<dyn Plan>)>,
    ) -> Result<NodeConfig, ConfigError> {
        let directory = places.at("").file.parent().unwrap_or(Path::new(".")).to_owned();
        let beside = |path: &PathBuf| directory.join(path);
        self.membership.check().map_err(|why| ConfigError::new(format!("[membership] {why}")))?;
        let mut nodes = Vec::new();
        for node in &self.nodes {
            for role in &node.roles {
                known_role(table, role)?;
            }
            nodes.push(Enrolled {
                name: node.name.clone(),
                address: node.address,
                roles: node.roles.iter().filter_map(|role| role.get_ref().parse().ok()).collect(),
                store_group: node.store_group.clone(),
                site: node.site.clone(),
                listen: listen(&node.listen, table)?,
            });
        }
        let own = Enrolled {
            name: self.name.clone(),
            address: self.address,
            roles: plans.iter().map(|(role, _)| role.clone()).collect(),
            store_group: plans.iter().find_map(|(_, plan)| plan.store_group()),
            site: self.site.clone(),
            listen: listen(&self.listen, table)?,
        };
        // What this node says of itself is truer than what the list says of it.
        let own_listen = own.listen.clone();
        match nodes.iter_mut().find(|node| node.name == own.name) {
            Some(listed) => *listed = own,
            None => nodes.push(own),
        }
        let cluster = self.cluster.as_ref().map(|cluster| {
            let own = KeyFiles { certificate: beside(&cluster.certificate), key: beside(&cluster.key) };
            (own, beside(&cluster.authority))
        });
        let authority_key = self.cluster.as_ref().and_then(|cluster| cluster.authority_key.as_ref()).map(beside);
        let service =
            self.tls.as_ref().map(|tls| KeyFiles { certificate: beside(&tls.certificate), key: beside(&tls.key) });
        let data = beside(&self.data);
        Ok(NodeConfig {
            places,
            hostname: self.hostname.unwrap_or_else(|| self.name.to_string()),
            name: self.name,
            address: self.address,
            user: self.user,
            plans,
            listen: own_listen,
            tls: TlsFiles { service, cluster },
            authority_key,
            nodes,
            status: self.status.0,
            socket: self.socket.map_or_else(|| data.join("estafeta.sock"), |socket| beside(&socket)),
            data,
            log_filter: self.log.filter,
            log_format: self.log.format,
            drain: Duration::from_secs(self.drain_seconds),
            operate: OperateConfig { drain: self.drain, alerts: self.alerts, canary: self.canary }.beside(&directory),
            membership: self.membership,
            health: self.health.check()?,
        })
    }
}

fn known_role(table: &[Role], role: &toml::Spanned<String>) -> Result<(), ConfigError> {
    let known = || table.iter().map(|row| row.name.as_str());
    if known().any(|known| known == role.get_ref()) {
        return Ok(());
    }
    let hint = nearest(role.get_ref(), known()).map(|role| format!("did you mean {role:?}? ")).unwrap_or_default();
    let message =
        format!("unknown role {:?}: {hint}the roles are {}", role.get_ref(), known().collect::<Vec<_>>().join(", "));
    Err(ConfigError { message, place: Some(role.span()) })
}

fn listen(
    listen: &BTreeMap<toml::Spanned<String>, ListenAddress>,
    table: &[Role],
) -> Result<BTreeMap<ServiceName, Option<SocketAddr>>, ConfigError> {
    let mut known = BTreeMap::new();
    for (key, address) in listen {
        let name =
            key.get_ref().parse::<ServiceName>().ok().filter(|name| is_service(table, name)).ok_or_else(|| {
                let services: Vec<&str> =
                    table.iter().flat_map(|role| role.services.iter().map(|service| service.name.as_str())).collect();
                let message = format!(
                    "unknown service {:?}: the services are {}, {}, {}",
                    key.get_ref(),
                    services.join(", "),
                    ADMINISTRATION.0,
                    GOSSIP.0
                );
                ConfigError { message, place: Some(key.span()) }
            })?;
        known.insert(name, address.0);
    }
    Ok(known)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;
    use crate::roles;

    const BASE: &str = "name = 'a'\nroles = ['filter']\naddress = '127.0.0.1'\n";

    fn load(text: &str) -> Result<NodeConfig, String> {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("node.toml");
        fs::write(&file, text).unwrap();
        let loaded = NodeConfig::load(&file, &roles::table()).and_then(|config| check(&config).map(|()| config));
        loaded.map_err(|error| {
            let exit = error.downcast_ref::<Exit>().unwrap();
            assert_eq!(exit.code, Code::Config);
            exit.message.replace(&format!("{}: ", file.display()), "").replace(&format!("{}:", file.display()), "")
        })
    }

    fn wrong(more: &str) -> String {
        load(&format!("{BASE}{more}")).err().expect("this configuration is wrong")
    }

    #[test]
    fn a_short_file_is_enough() {
        let config = load(BASE).unwrap();
        assert_eq!(config.hostname, "a");
        assert_eq!(config.plans.len(), 1);
        assert!(config.socket.ends_with("/var/lib/estafeta/estafeta.sock") || config.socket.ends_with("estafeta.sock"));
    }

    #[test]
    fn relative_paths_of_a_role_are_relative_to_the_file() {
        let files = "database = 'postgresql://u@127.0.0.1/d'\ndatabase_password_file = 'db'\n\
                     [mailbox.s3]\nbucket = 'mail'\nauthority = 'ca.pem'\ncredentials_file = 's3.toml'\n";
        let text = format!("{}[mailbox]\nstore_group = 'g'\n{files}", BASE.replace("filter", "mailbox"));
        let config = NodeConfig::parse(Path::new("/etc/here/node.toml"), &text, &roles::table()).ok().unwrap();
        let (key, wrong) = config.plans[0].1.check_files().unwrap_err();
        assert_eq!((key, wrong.contains("/etc/here/ca.pem")), ("mailbox.s3", true), "{wrong}");
    }

    #[test]
    fn what_is_mistyped_names_its_line_and_the_nearest_word() {
        assert_eq!(
            wrong("hostnam = 'x'\n"),
            "line 4: unknown key \"hostnam\": did you mean \"hostname\"? see deploy/estafeta.toml for all of them"
        );
        assert!(wrong("[flter]\n").starts_with("line 4: unknown key \"flter\": did you mean \"filter\"?"));
        assert!(wrong("[log]\nfilterr = 'info'\n").contains("did you mean \"filter\"?"));
        let section = wrong("[edge]\n");
        assert!(section.contains("add \"edge\" to roles, or remove the section"), "{section}");
        assert!(wrong("[listen]\nsmpt = '127.0.0.1:25'\n").starts_with("line 5: unknown service \"smpt\""));
        assert!(wrong("[listen]\nsmtp = '127.0.0.1'\n").contains("neither an address with a port"));
        assert!(wrong("[filter]\nnonsense = 1\n").starts_with("line 5: [filter] unknown key \"nonsense\""));
        let roles = load("name = 'a'\nroles = ['egde']\naddress = '127.0.0.1'\n").err().unwrap();
        assert!(roles.starts_with("line 2: unknown role \"egde\": did you mean \"edge\"?"), "{roles}");
        let name = load("name = 'A b'\nroles = ['edge']\naddress = '127.0.0.1'\n").err().unwrap();
        assert!(name.starts_with("line 1: \"A b\" is not a node name"), "{name}");
        let missing = load("name = 'a'\nroles = ['edge']\n").err().unwrap();
        assert!(missing.contains("missing field `address`"), "{missing}");
    }

    #[test]
    fn what_cannot_work_is_refused_before_anything_is_bound() {
        let group = "name = 'a'\nroles = ['mailbox']\naddress = '127.0.0.1'\n[mailbox]\nstore_group = 'g'\n";
        let twice = "[[nodes]]\nname = 'b'\naddress = '127.0.0.2'\nroles = ['mailbox']\nstore_group = 'g'\n";
        assert!(load(group).is_ok());
        let error = load(&format!("{group}{twice}")).err().unwrap();
        assert!(
            error.starts_with("line 5: the store group g is on the node b, too: a store group has exactly one node while its rows are in SQLite"),
            "{error}"
        );
        let key = std::env::temp_dir().join(format!("estafeta-s3-{}.toml", std::process::id()));
        let s3 = format!(
            "database = 'postgresql://db/mail'\n[mailbox.s3]\nbucket = 'mail'\nendpoint = 'https://s3.example.edu'\ncredentials_file = '{}'\n",
            key.display()
        );
        let error = load(&format!("{group}{s3}")).err().unwrap();
        assert!(error.starts_with("line 7: credentials_file") && error.contains("No such file"), "{error}");
        fs::write(&key, "access_key_id = 'a'\nsecret = 'b'\n").unwrap();
        let error = load(&format!("{group}{s3}")).err().unwrap();
        assert!(error.contains("others may read it") && error.contains("chmod 600"), "{error}");
        fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let error = load(&format!("{group}{s3}")).err().unwrap();
        assert!(error.contains("line 2: unknown key \"secret\"") && error.contains("secret_access_key"), "{error}");
        fs::write(&key, "access_key_id = 'a'\nsecret_access_key = 'b'\n").unwrap();
        let error = load(&format!("{group}{s3}{twice}")).err().unwrap();
        assert!(error.contains("there is no section [cluster]"), "the two nodes share their store: {error}");
        fs::remove_file(key).unwrap();
        let access = load("name = 'a'\nroles = ['access']\naddress = '127.0.0.1'\n").err().unwrap();
        assert!(access.contains("the role access shows clients a certificate"), "{access}");
        assert!(
            wrong("[[nodes]]\nname = 'b'\naddress = '127.0.0.2'\nroles = ['edge']\n")
                .contains("there is no section [cluster]")
        );
        assert!(wrong("[tls]\ncertificate = 'none.pem'\nkey = 'none.key'\n").contains("none.pem"));
    }

    #[test]
    fn the_example_shows_every_key_and_is_right() {
        let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/estafeta.toml");
        let text = fs::read_to_string(example).unwrap();
        let uncommented: String = text
            .lines()
            .map(|line| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line).to_owned() + "\n")
            .collect();
        let config =
            NodeConfig::parse(Path::new(example), &uncommented, &roles::table()).map_err(|error| error.message);
        assert_eq!(config.map(|config| config.plans.len()), Ok(6));
        for role in roles::table() {
            let error = (role.plan)(Section::parse("nonsense = 1").unwrap()).err().expect("no role has this key");
            let (_, keys) = error.message.split_once("the keys here are ").unwrap();
            let section = uncommented.split_once(&format!("[{}]", role.name)).expect("a section for each role").1;
            for service in &role.services {
                let line = format!("{} = \"192.0.2.10:{}\"", service.name, service.port);
                assert!(uncommented.contains(&line), "deploy/estafeta.toml does not show {line}");
            }
            for key in keys.split(", ") {
                let table = format!("[{}.{key}]", role.name);
                let shown = section.lines().any(|line| line.starts_with(&format!("{key} =")) || line == table);
                assert!(shown, "deploy/estafeta.toml does not show [{}] {key}", role.name);
            }
        }
        for key in Basics::KEYS {
            let shown = uncommented
                .lines()
                .any(|line| line.starts_with(&format!("{key} =")) || line.trim_matches(['[', ']']) == *key);
            assert!(shown, "deploy/estafeta.toml does not show {key}");
        }
    }
}
