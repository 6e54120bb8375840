//! What can be known to be wrong before anything is bound.

use std::fs;
use std::os::unix::fs::MetadataExt;

use estafeta_core::RoleName;
use estafeta_net::tls::Tls;
use nix::unistd::{Uid, User};

use super::NodeConfig;
use crate::exit::{Code, Exit};

/// Checks what the file says against itself and this machine. Reads certificates; writes and binds nothing.
pub fn check(config: &NodeConfig) -> anyhow::Result<()> {
    let wrong = |message: String| Exit::error(Code::Config, format_args!("{}: {message}", config.file.display()));
    store_groups(config).map_err(wrong)?;
    if config.tls.service.is_none()
        && let Some((role, _)) = config.plans.iter().find(|(_, plan)| plan.needs_service_certificate())
    {
        return Err(wrong(format!(
            "the role {role} shows clients a certificate: give one in a section [tls] with certificate = \"…\" and key = \"…\""
        )));
    }
    if config.tls.cluster.is_none() && config.nodes.len() > 1 {
        return Err(wrong(
            "other nodes are listed and there is no section [cluster]: issue this node's certificate with \
             `estafeta cluster certificate` and name it there"
                .into(),
        ));
    }
    Tls::load(config.tls.clone()).map_err(|error| wrong(error.to_string()))?;
    data_owner(config)?;
    Ok(())
}

/// A store group on SQLite has exactly one node (DESIGN.md, Words), and each mailbox node has one.
fn store_groups(config: &NodeConfig) -> Result<(), String> {
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for node in config.nodes.iter().filter(|node| node.roles.contains(&RoleName::MAILBOX)) {
        let Some(group) = &node.store_group else {
            return Err(format!(
                "node {} has the role mailbox and no store_group: name it in its [[nodes]] entry",
                node.name
            ));
        };
        if let Some((other, _)) = seen.iter().find(|(_, known)| *known == group.as_str()) {
            return Err(format!(
                "the store group {group} is on the nodes {other} and {}: a store group on SQLite has exactly one node; give one of them another store_group",
                node.name
            ));
        }
        seen.push((node.name.as_str(), group.as_str()));
    }
    Ok(())
}

/// The data directory belongs to whom the node runs as.
fn data_owner(config: &NodeConfig) -> anyhow::Result<()> {
    let user = run_as(config)?;
    let Ok(metadata) = fs::metadata(&config.data) else { return Ok(()) };
    if metadata.uid() == user.as_raw() {
        return Ok(());
    }
    let name = |uid: Uid| User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name);
    Err(Exit::error(
        Code::NoPermission,
        format_args!(
            "{}: the data directory {} belongs to {}, and this node runs as {}: run it as that user, or chown -R {} {}",
            config.file.display(),
            config.data.display(),
            name(Uid::from_raw(metadata.uid())),
            name(user),
            name(user),
            config.data.display()
        ),
    ))
}

/// Whom the node will run as.
pub fn run_as(config: &NodeConfig) -> anyhow::Result<Uid> {
    let Some(name) = config.user.as_ref().filter(|_| Uid::effective().is_root()) else { return Ok(Uid::effective()) };
    let unknown = || {
        Exit::error(
            Code::Config,
            format_args!(
                "{}: there is no user {name:?} on this machine: make it with: useradd --system {name}",
                config.file.display()
            ),
        )
    };
    User::from_name(name)?.map(|user| user.uid).ok_or_else(unknown)
}
