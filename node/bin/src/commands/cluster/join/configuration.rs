//! The configuration of a node that has joined: short, with the keys that it needs.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use estafeta_cluster::enrolment::{ADMINISTRATION, GOSSIP};
use estafeta_core::joining::Joined;
use estafeta_core::members::Member;
use estafeta_core::{RoleName, ServiceName};
use estafeta_net::role::Role;
use toml::Value;

use super::Wanted;

/// A text, quoted as TOML has it.
fn quoted(text: &str) -> String {
    Value::String(text.to_owned()).to_string()
}

/// The file.
pub fn text(wanted: &Wanted, joined: &Joined, pair: &Path, authority: &Path, roles: &[Role]) -> String {
    let mut file =
        "# A node that has joined its cluster; written by `estafeta cluster join`. All keys there are, with their\n\
                    # meaning and default, are in deploy/estafeta.toml.\n"
            .to_owned();
    let path = |path: &Path| quoted(&path.display().to_string());
    let names: Vec<String> = joined.roles.iter().map(|role| quoted(role.as_str())).collect();
    let mut key = |key: &str, value: String| {
        // Writing into a text cannot fail.
        let _ = writeln!(file, "{key} = {value}");
    };
    key("name", quoted(wanted.name.as_str()));
    key("roles", format!("[{}]", names.join(", ")));
    key("address", quoted(&wanted.address.to_string()));
    if let Some(hostname) = &wanted.hostname {
        key("hostname", quoted(hostname));
    }
    if let Some(site) = &wanted.site {
        key("site", quoted(site.as_str()));
    }
    key("data", path(&wanted.data));
    if let Some(user) = &wanted.user {
        key("user", quoted(user));
    }
    if let Some(status) = &wanted.status {
        key("status", quoted(status));
    }
    let own = wanted.listen.iter().filter(|(service, _)| is_offered(service, &joined.roles, roles));
    let listen: Vec<String> = own.map(|(service, at)| listen_line(service, *at)).collect();
    if !listen.is_empty() {
        file += &format!("\n[listen]\n{}\n", listen.join("\n"));
    }
    match &wanted.tls {
        Some((certificate, key)) => {
            file +=
                &format!("\n# What clients see.\n[tls]\ncertificate = {}\nkey = {}\n", path(certificate), path(key));
        }
        None => {
            file += "\n# What clients see: the roles edge and access need it.\n#[tls]\n#certificate = \"/etc/estafeta/fullchain.pem\"\n#key = \"/etc/estafeta/privkey.pem\"\n";
        }
    }
    file += &format!(
        "\n# What other nodes see. Certificate and key are one file: the node renews both at once.\n[cluster]\n\
         authority = {}\ncertificate = {}\nkey = {}\n",
        path(authority),
        path(pair),
        path(pair)
    );
    if let Some(group) = wanted.store_group.as_ref().filter(|_| joined.roles.contains(&RoleName::MAILBOX)) {
        file += &format!("\n[mailbox]\nstore_group = {}\n", quoted(group.as_str()));
    }
    if !joined.configured.is_empty() {
        file += "\n# The nodes that did not join by a token; the others come with the cluster's settings.\n";
    }
    for member in &joined.configured {
        file += &listed(member, roles);
    }
    file
}

fn listen_line(service: &ServiceName, at: Option<SocketAddr>) -> String {
    format!("{service} = {}", quoted(&at.map_or_else(|| "off".to_owned(), |at| at.to_string())))
}

/// Whether a node with these roles has the service.
fn is_offered(service: &ServiceName, granted: &[RoleName], roles: &[Role]) -> bool {
    [ADMINISTRATION.0, GOSSIP.0].contains(service)
        || roles
            .iter()
            .filter(|role| granted.contains(&role.name))
            .any(|role| role.services.iter().any(|one| &one.name == service))
}

/// One of `[[nodes]]`.
fn listed(member: &Member, roles: &[Role]) -> String {
    let Some(address) = address(member) else { return String::new() };
    let names: Vec<String> = member.roles.keys().map(|role| quoted(role.as_str())).collect();
    let mut entry = format!(
        "\n[[nodes]]\nname = {}\naddress = {}\nroles = [{}]\n",
        quoted(member.name.as_str()),
        quoted(&address.to_string()),
        names.join(", ")
    );
    if let Some(group) = &member.store_group {
        entry += &format!("store_group = {}\n", quoted(group.as_str()));
    }
    if let Some(site) = &member.site {
        entry += &format!("site = {}\n", quoted(site.as_str()));
    }
    let services = roles
        .iter()
        .filter(|role| member.roles.contains_key(&role.name))
        .flat_map(|role| &role.services)
        .map(|service| {
            let at = member.endpoints.iter().find(|endpoint| endpoint.service == service.name);
            (service.name.clone(), service.port, at.map(|endpoint| endpoint.address))
        })
        .chain([(ADMINISTRATION.0, ADMINISTRATION.1, member.administration), (GOSSIP.0, GOSSIP.1, member.gossip)]);
    let unusual = services.filter(|(_, port, at)| *at != Some(SocketAddr::new(address, *port)));
    let listen: Vec<String> = unusual.map(|(service, _, at)| listen_line(&service, at)).collect();
    if !listen.is_empty() {
        entry += &format!("listen = {{ {} }}\n", listen.join(", "));
    }
    entry
}

/// Where the node is.
fn address(member: &Member) -> Option<IpAddr> {
    let known = member.administration.or(member.gossip).or(member.endpoints.first().map(|endpoint| endpoint.address));
    known.map(|address| address.ip())
}

#[cfg(test)]
mod tests;
