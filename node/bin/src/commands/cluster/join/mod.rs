//! `estafeta cluster join`: makes this machine a node. It asks a node of the cluster for a certificate with a token, and
//! writes what the node needs to serve.
//!
//! Invariants: the private key never leaves this machine; nothing is sent to whom the token does not know; what can
//! fail here is tried before the token is used.

mod configuration;
mod place;

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use estafeta_cluster::authority::Request;
use estafeta_cluster::enrolment::{self, ADMINISTRATION, Enrolled};
use estafeta_core::joining::{JoinRequest, JoinToken, Joined};
use estafeta_core::members::Member;
use estafeta_core::{NodeName, ServiceName, SiteName, StoreGroup};
use estafeta_net::role::Role;

use crate::administration::ask_to_join;
use crate::commands::table::say;
use crate::config::{self, NodeConfig};
use crate::exit::{Code, Exit};
use place::Place;

/// What the command line says of the node.
struct Wanted {
    name: NodeName,
    address: IpAddr,
    hostname: Option<String>,
    store_group: Option<StoreGroup>,
    site: Option<SiteName>,
    data: PathBuf,
    user: Option<String>,
    listen: Vec<(ServiceName, Option<SocketAddr>)>,
    status: Option<String>,
    tls: Option<(PathBuf, PathBuf)>,
}

/// The command.
pub fn command() -> Command {
    let option = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    let path = |name, help| option(name, "FILE", help).value_parser(value_parser!(PathBuf));
    Command::new("join").about("Make this machine a node of a cluster").args([
        Arg::new("node-address")
            .value_name("ADDRESS")
            .required(true)
            .help("Any node of the cluster, by address or name; its administration port unless it is 7443"),
        option("token", "TOKEN", "The token, as estafeta cluster token has printed it")
            .required(true)
            .env("ESTAFETA_TOKEN")
            .hide_env_values(true),
        option("name", "NODE", "This node's name in the cluster").required(true).value_parser(value_parser!(NodeName)),
        option("address", "IP", "Where its services listen and the other nodes find it")
            .required(true)
            .value_parser(value_parser!(IpAddr)),
        option("hostname", "HOST", "What it calls itself in SMTP; its name by default"),
        option("store-group", "GROUP", "The store group of its mailboxes, with the role mailbox")
            .value_parser(value_parser!(StoreGroup)),
        option("site", "SITE", "Where it stands").value_parser(value_parser!(SiteName)),
        option("data", "DIR", "Where it keeps what it keeps")
            .value_parser(value_parser!(PathBuf))
            .default_value("/var/lib/estafeta"),
        option("user", "USER", "Whom it becomes once its ports are bound, when started as root"),
        option("listen", "SERVICE=ADDRESS", "A service elsewhere than on its usual port, or \"off\"; several times")
            .action(ArgAction::Append),
        option("status", "ADDRESS", "Where /health and /metrics answer; 127.0.0.1:7480 by default, or \"off\""),
        path("tls-certificate", "The certificate that clients see, for the roles edge and access").requires("tls-key"),
        path("tls-key", "Its private key").requires("tls-certificate"),
        Arg::new("force").long("force").action(ArgAction::SetTrue).help("Write over a configuration that is there"),
    ])
}

/// Carries it out.
pub fn run(roles: &[Role], arguments: &ArgMatches, file: &Path) -> anyhow::Result<()> {
    let wanted = wanted(roles, arguments)?;
    let token: JoinToken =
        required::<String>(arguments, "token")?.parse().map_err(|error| Exit::error(Code::DataError, error))?;
    let asked = address(required::<String>(arguments, "node-address")?)?;
    let place = Place::prepare(&wanted, file, arguments.get_flag("force"))?;
    let request = Request::new().map_err(|error| Exit::error(Code::Software, error))?;
    let member = member(&wanted, roles);
    let input = JoinRequest { token: token.to_string(), member, request: request.request.clone() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let joined = runtime.block_on(ask_to_join(asked, token.fingerprint, &input))?;
    place.write(&wanted, &joined, &request.key, roles)?;
    report(&wanted, &joined, roles, file)
}

fn required<'a, T: Clone + Send + Sync + 'static>(arguments: &'a ArgMatches, name: &str) -> anyhow::Result<&'a T> {
    arguments.get_one::<T>(name).ok_or_else(|| Exit::error(Code::Usage, format_args!("--{name} is missing")))
}

fn wanted(roles: &[Role], arguments: &ArgMatches) -> anyhow::Result<Wanted> {
    let one = |name: &str| arguments.get_one::<String>(name).cloned();
    let mut listen = Vec::new();
    for text in arguments.get_many::<String>("listen").unwrap_or_default() {
        listen.push(listen_at(roles, text).ok_or_else(|| {
            Exit::error(
                Code::Usage,
                format_args!(
                    "--listen {text}: it takes SERVICE=ADDRESS:PORT or SERVICE=off, with a service of [listen]"
                ),
            )
        })?);
    }
    let file = |name: &str| arguments.get_one::<PathBuf>(name).map(std::path::absolute).transpose();
    Ok(Wanted {
        name: required::<NodeName>(arguments, "name")?.clone(),
        address: *required::<IpAddr>(arguments, "address")?,
        hostname: one("hostname"),
        store_group: arguments.get_one::<StoreGroup>("store-group").cloned(),
        site: arguments.get_one::<SiteName>("site").cloned(),
        data: std::path::absolute(required::<PathBuf>(arguments, "data")?)?,
        user: one("user"),
        listen,
        status: one("status"),
        tls: file("tls-certificate")?.zip(file("tls-key")?),
    })
}

/// `smtp=192.0.2.1:2525` or `smtp=off`.
fn listen_at(roles: &[Role], text: &str) -> Option<(ServiceName, Option<SocketAddr>)> {
    let (service, address) = text.split_once('=')?;
    let service: ServiceName = service.parse().ok()?;
    let address = if address == "off" { None } else { Some(address.parse().ok()?) };
    config::is_service(roles, &service).then_some((service, address))
}

/// Where the administration API of a node is that is named like this.
fn address(text: &str) -> anyhow::Result<SocketAddr> {
    let unknown = |why: &dyn std::fmt::Display| {
        Exit::error(
            Code::Unavailable,
            format_args!("{text}: {why}: name a node of the cluster by address or host name"),
        )
    };
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(SocketAddr::new(address, ADMINISTRATION.1));
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(address);
    }
    let found = match text.rsplit_once(':') {
        Some(_) => text.to_socket_addrs(),
        None => (text, ADMINISTRATION.1).to_socket_addrs(),
    };
    let mut found = found.map_err(|error| unknown(&error))?;
    found.next().ok_or_else(|| unknown(&"no address is known for it"))
}

/// The node with the services of every role: the cluster leaves out those of the roles that the token does not grant.
fn member(wanted: &Wanted, roles: &[Role]) -> Member {
    let node = Enrolled {
        name: wanted.name.clone(),
        address: wanted.address,
        roles: roles.iter().map(|role| role.name.clone()).collect(),
        store_group: wanted.store_group.clone(),
        site: wanted.site.clone(),
        listen: wanted.listen.iter().cloned().collect(),
    };
    let members = enrolment::members(&[node], &config::usual_ports(roles));
    members.get(&wanted.name).cloned().unwrap_or_else(|| Member::named(wanted.name.clone()))
}

/// Says what was done, and what is left to do.
fn report(wanted: &Wanted, joined: &Joined, roles: &[Role], file: &Path) -> anyhow::Result<()> {
    let granted: Vec<&str> = joined.roles.iter().map(|role| role.as_str()).collect();
    say(&format!("the node {} has joined with the roles {}", wanted.name, granted.join(", ")));
    say(&format!("its configuration: {}", file.display()));
    // What the file lacks is said by the same check that starting it makes.
    match NodeConfig::load(file, roles).and_then(|config| config::check(&config)) {
        Ok(()) => say(&format!("start it with: estafeta serve --config {}", file.display())),
        Err(error) => {
            say(&format!("before it can start: {error:#}"));
            say(&format!("then start it with: estafeta serve --config {}", file.display()));
        }
    }
    Ok(())
}
