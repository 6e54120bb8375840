//! The nodes that the configuration lists, as members.
//!
//! [`crate::membership`] begins with them. A node without `[cluster]` has no others; where there is no gossip, every listed
//! node counts as ready, and whoever asks one that is not goes on to the next.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use estafeta_core::members::{Endpoint, Member, Members, Readiness};
use estafeta_core::{NodeName, RoleName, ServiceName, SiteName, StoreGroup};

/// One node as a configuration lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolled {
    /// Its name.
    pub name: NodeName,
    /// Where its services are.
    pub address: IpAddr,
    /// What it may do.
    pub roles: Vec<RoleName>,
    /// The store group that its mailbox role serves.
    pub store_group: Option<StoreGroup>,
    /// Where it stands.
    pub site: Option<SiteName>,
    /// Services that are elsewhere than on their usual port of the node's address; none for one that is off.
    pub listen: BTreeMap<ServiceName, Option<SocketAddr>>,
}

/// One service with its usual port, as the role table has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsualPort {
    /// The role.
    pub role: RoleName,
    /// Its service.
    pub service: ServiceName,
    /// The port.
    pub port: u16,
}

/// The administration API's service name and usual port: every node has it, whatever its roles.
pub const ADMINISTRATION: (ServiceName, u16) = (ServiceName::fixed("administration"), 7443);

/// The service by which members hear of each other, and its usual port, UDP: every node of a cluster has it.
pub const GOSSIP: (ServiceName, u16) = (ServiceName::fixed("gossip"), 7946);

/// The members that these nodes are.
pub fn members(nodes: &[Enrolled], usual: &[UsualPort]) -> Members {
    Members::new(nodes.iter().map(|node| member(node, usual)).collect())
}

fn member(node: &Enrolled, usual: &[UsualPort]) -> Member {
    let at = |service: &ServiceName, port: u16| match node.listen.get(service) {
        Some(elsewhere) => *elsewhere,
        None => Some(SocketAddr::new(node.address, port)),
    };
    let endpoints = usual
        .iter()
        .filter(|usual| node.roles.contains(&usual.role))
        .filter_map(|usual| {
            let address = at(&usual.service, usual.port)?;
            Some(Endpoint { role: usual.role.clone(), service: usual.service.clone(), address })
        })
        .collect();
    Member {
        roles: node.roles.iter().map(|role| (role.clone(), Readiness::Ready)).collect(),
        endpoints,
        administration: at(&ADMINISTRATION.0, ADMINISTRATION.1),
        gossip: at(&GOSSIP.0, GOSSIP.1),
        store_group: node.store_group.clone(),
        site: node.site.clone(),
        ..Member::named(node.name.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_ports_give_way_to_listed_ones() {
        let smtp = ServiceName::fixed("smtp");
        let usual = [
            UsualPort { role: RoleName::EDGE, service: smtp.clone(), port: 25 },
            UsualPort { role: RoleName::EDGE, service: ServiceName::fixed("submission"), port: 587 },
            UsualPort { role: RoleName::DNS, service: ServiceName::fixed("dns"), port: 53 },
        ];
        let node = Enrolled {
            name: "edge1".parse().unwrap(),
            address: "127.0.10.1".parse().unwrap(),
            roles: vec![RoleName::EDGE],
            store_group: None,
            site: None,
            listen: [(smtp, Some("127.0.10.1:2525".parse().unwrap())), (ADMINISTRATION.0, None)].into(),
        };
        let members = members(&[node], &usual);
        let member = members.get(&"edge1".parse().unwrap()).unwrap();
        let addresses: Vec<String> = member.endpoints.iter().map(|endpoint| endpoint.address.to_string()).collect();
        assert_eq!(addresses, ["127.0.10.1:2525", "127.0.10.1:587"]);
        assert_eq!(member.administration, None);
        assert!(member.is_ready(&RoleName::EDGE) && !member.is_ready(&RoleName::DNS));
    }
}
