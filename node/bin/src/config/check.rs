//! What can be known to be wrong before anything is bound.

use std::fs;
use std::os::unix::fs::MetadataExt;

use estafeta_core::RoleName;
use estafeta_net::tls::{Tls, TlsFiles};
use nix::unistd::{Uid, User};

use super::NodeConfig;
use crate::exit::{Code, Exit};

/// Checks what the file says against itself and this machine. Reads certificates; writes and binds nothing.
pub fn check(config: &NodeConfig) -> anyhow::Result<()> {
    let wrong =
        |key: &str, message: String| Exit::error(Code::Config, format_args!("{} {message}", config.places.at(key)));
    store_groups(config).map_err(|(key, message)| wrong(&key, message))?;
    if config.tls.service.is_none()
        && let Some((role, _)) = config.plans.iter().find(|(_, plan)| plan.needs_service_certificate())
    {
        return Err(wrong(
            "roles",
            format!(
                "the role {role} shows clients a certificate: give one in a section [tls] with certificate = \"…\" and key = \"…\""
            ),
        ));
    }
    if config.tls.cluster.is_none() && config.nodes.len() > 1 {
        return Err(wrong(
            "nodes.0",
            "other nodes are listed and there is no section [cluster]: issue this node's certificate with \
             `estafeta cluster certificate` and name it there"
                .into(),
        ));
    }
    let only = |tls: TlsFiles| Tls::load(tls).map(drop);
    only(TlsFiles { service: config.tls.service.clone(), cluster: None })
        .map_err(|error| wrong("tls", error.to_string()))?;
    only(TlsFiles { service: None, cluster: config.tls.cluster.clone() })
        .map_err(|error| wrong("cluster", error.to_string()))?;
    if config.authority_key.is_some() && !config.plans.iter().any(|(role, _)| *role == RoleName::DIRECTORY) {
        return Err(wrong(
            "cluster.authority_key",
            "only a node with the role directory issues certificates: remove this key, and the file from this machine"
                .into(),
        ));
    }
    for (_, plan) in &config.plans {
        plan.check_files().map_err(|(key, message)| wrong(key, message))?;
    }
    config.operate.check().map_err(|(section, message)| wrong(section, format!("[{section}] {message}")))?;
    data_owner(config)?;
    Ok(())
}

/// Each mailbox node has a store group, and this node's has other nodes only where nothing of it is this node's alone
/// (DESIGN.md, Words). Of other groups, their own nodes know. An error comes with the key that it is about.
fn store_groups(config: &NodeConfig) -> Result<(), (String, String)> {
    let own = config.plans.iter().find_map(|(_, plan)| Some((plan.store_group()?, plan.shares_store())));
    let nodes = config.nodes.iter().enumerate().filter(|(_, node)| node.roles.contains(&RoleName::MAILBOX));
    for (index, node) in nodes {
        let Some(group) = &node.store_group else {
            let message = format!("node {} has the role mailbox and no store_group: name it in this entry", node.name);
            return Err((format!("nodes.{index}"), message));
        };
        if let Some((own, false)) = &own
            && node.name != config.name
            && own == group
        {
            let message = format!(
                "the store group {group} is on the node {}, too: a store group has exactly one node while its rows are in SQLite or its bodies in files; give one of them another store_group, or both the same database and the same [mailbox.s3]",
                node.name
            );
            return Err(("mailbox.store_group".into(), message));
        }
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
            "{} the data directory {} belongs to {}, and this node runs as {}: run it as that user, or chown -R {} {}",
            config.places.at("data"),
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
                "{} there is no user {name:?} on this machine: make it with: useradd --system {name}",
                config.places.at("user")
            ),
        )
    };
    User::from_name(name)?.map(|user| user.uid).ok_or_else(unknown)
}
