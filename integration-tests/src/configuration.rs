//! The configuration files of a test cluster's nodes.

use std::net::IpAddr;

use crate::cluster::DOMAIN;
use crate::topology::{ADMINISTRATION_PORT, GOSSIP_PORT, Planned, SERVICES, STATUS_PORT, Topology};

/// The file of the node at `index`; the nodes stand at `addresses`.
pub fn configuration(topology: &Topology, addresses: &[IpAddr], index: usize) -> String {
    let (planned, address) = (&topology.nodes[index], addresses[index]);
    let name = &planned.name;
    let mut file = basics(planned, address);
    file += &format!("hostname = \"{name}.{DOMAIN}\"\ndata = \"data\"\nstatus = \"{address}:{STATUS_PORT}\"\n");
    file += &format!("drain_seconds = 10\n{}\n[listen]\n{}", topology.top, listen(planned, address));
    file += "\n[tls]\ncertificate = \"service.pem\"\nkey = \"service.key\"\n";
    for role in &planned.roles {
        let lines = topology.sections.iter().filter(|(known, _)| known == role).map(|(_, lines)| format!("{lines}\n"));
        let group =
            planned.store_group.filter(|_| *role == "mailbox").map(|group| format!("store_group = \"{group}\"\n"));
        let lines: String = group.into_iter().chain(lines).collect();
        file += &format!("\n[{role}]\n{lines}");
        if *role == "edge" {
            file += &edge(topology);
        }
    }
    if topology.nodes.len() > 1 {
        file += "\n[cluster]\nauthority = \"../ca.pem\"\ncertificate = \"node.pem\"\nkey = \"node.key\"\n";
        let others = topology.nodes.iter().zip(addresses).filter(|(other, _)| other.name != *name);
        for (other, address) in others {
            let group = other.store_group.map(|group| format!("store_group = \"{group}\"\n")).unwrap_or_default();
            let (basics, listen) = (basics(other, *address), listen(other, *address));
            file += &format!("\n[[nodes]]\n{basics}{group}\n[nodes.listen]\n{listen}");
        }
    }
    file
}

/// In tests, what waits is tried again soon, and no mail leaves this machine.
fn edge(topology: &Topology) -> String {
    let routes = topology.routes.iter().map(|(domain, to)| format!("\"{domain}\" = \"{to}\", "));
    let routes: String = routes.chain(["\"*\" = \"127.0.0.1:1\"".to_owned()]).collect();
    format!(
        "\n[edge.queue]\nretry_shortest_seconds = 1\nretry_longest_seconds = 4\nmailbox_retry_shortest_seconds = 1\n\
         mailbox_retry_longest_seconds = 2\n\n[edge.outgoing]\nroutes = {{ {routes} }}\nresolvers = [\"127.0.0.1:1\"]\n"
    )
}

fn basics(planned: &Planned, address: IpAddr) -> String {
    format!("name = {:?}\naddress = \"{address}\"\nroles = {:?}\n", planned.name, planned.roles)
}

fn listen(planned: &Planned, address: IpAddr) -> String {
    let own = SERVICES.iter().filter(|service| planned.roles.contains(&service.role));
    let services = own
        .map(|service| (service.name, service.port))
        .chain([("administration", ADMINISTRATION_PORT), ("gossip", GOSSIP_PORT)]);
    services.map(|(name, port)| format!("{name} = \"{address}:{port}\"\n")).collect()
}
