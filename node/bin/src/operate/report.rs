//! What `cluster status` answers: every enrolled node as the asked one sees it, and what changed lately.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use estafeta_cluster::membership::{NodeStanding, Standing};
use estafeta_core::members::{Member, Members, Readiness};
use estafeta_core::{NodeName, RoleName, SiteName};
use serde::{Deserialize, Serialize};

use super::journal::Event;

/// The whole answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The node that was asked.
    pub seen_from: NodeName,
    /// When, in milliseconds since 1970, by that node's clock.
    pub at_ms: u64,
    /// Every enrolled node, in the order of their names.
    pub nodes: Vec<NodeRow>,
    /// What changed lately, the newest first.
    pub events: Vec<Event>,
}

/// One node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRow {
    /// Its name.
    pub name: NodeName,
    /// Its roles.
    pub roles: BTreeMap<RoleName, RoleRow>,
    /// Whether it drains.
    pub draining: bool,
    /// Where it is.
    pub address: Option<IpAddr>,
    /// The site it stands in.
    pub site: Option<SiteName>,
    /// Which version it runs; empty when it has not been heard of.
    pub version: String,
    /// How busy it is, in hundredths of what its processors can do.
    pub load: u16,
    /// How long ago it was last heard of, in milliseconds; none when never, or for the asked node itself.
    pub heard_ms: Option<u64>,
}

/// One role of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleRow {
    /// How it stands.
    pub standing: Standing,
    /// Why; empty when there is nothing to say.
    pub why: String,
    /// Since when, in milliseconds since 1970, when that is known.
    pub since_ms: Option<u64>,
}

impl Report {
    /// Puts together what is known at `now`. Without gossip (no standings) the members say how they stand.
    pub fn new(
        seen_from: NodeName,
        members: &Members,
        standings: &[NodeStanding],
        events: Vec<Event>,
        now: SystemTime,
    ) -> Self {
        let rows = members.iter().map(|member| {
            let standing = standings.iter().find(|standing| standing.node == member.name);
            row(member, standing)
        });
        let nodes = rows.collect();
        Self { seen_from, at_ms: milliseconds(now), nodes, events }
    }
}

fn row(member: &Member, standing: Option<&NodeStanding>) -> NodeRow {
    let roles = member.roles.iter().map(|(role, readiness)| {
        let known = standing.and_then(|standing| standing.roles.get(role));
        let row = match known {
            Some(known) => {
                RoleRow { standing: known.standing, why: known.why.clone(), since_ms: Some(milliseconds(known.since)) }
            }
            None => said_by_itself(member.draining, readiness),
        };
        (role.clone(), row)
    });
    let address = member.administration.or_else(|| Some(member.endpoints.first()?.address));
    NodeRow {
        name: member.name.clone(),
        roles: roles.collect(),
        draining: member.draining,
        address: address.map(|address| address.ip()),
        site: member.site.clone(),
        version: member.version.clone(),
        load: member.load,
        heard_ms: standing.and_then(|standing| standing.last_heard_ms),
    }
}

fn said_by_itself(draining: bool, readiness: &Readiness) -> RoleRow {
    let (standing, why) = match readiness {
        Readiness::NotReady(why) => (Standing::NotReady, why.clone()),
        Readiness::Ready if draining => (Standing::Draining, String::new()),
        Readiness::Ready => (Standing::Ready, String::new()),
    };
    RoleRow { standing, why, since_ms: None }
}

fn milliseconds(time: SystemTime) -> u64 {
    u64::try_from(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use estafeta_cluster::membership::RoleStanding;

    use super::*;

    #[test]
    fn gossip_says_more_than_the_members_alone() {
        let member = |name: &str, readiness| Member {
            roles: [(RoleName::ACCESS, readiness)].into(),
            administration: Some("192.0.2.7:7443".parse().unwrap()),
            ..Member::named(name.parse().unwrap())
        };
        let away = Readiness::NotReady("not heard of".into());
        let members = Members::new(vec![member("a", Readiness::Ready), member("b", away.clone()), member("c", away)]);
        let standing = RoleStanding {
            standing: Standing::Unheard,
            why: "not heard of for 3 s".into(),
            since: UNIX_EPOCH + Duration::from_secs(5),
        };
        let standings = [NodeStanding {
            node: "b".parse().unwrap(),
            own: false,
            roles: [(RoleName::ACCESS, standing)].into(),
            last_heard_ms: Some(3000),
            draining: false,
            version: "1".into(),
            load: 0,
            site: None,
        }];
        let now = UNIX_EPOCH + Duration::from_secs(8);
        let report = Report::new("a".parse().unwrap(), &members, &standings, Vec::new(), now);
        let shown: Vec<_> = report
            .nodes
            .iter()
            .map(|node| (node.name.as_str(), &node.roles[&RoleName::ACCESS], node.heard_ms))
            .collect();
        assert_eq!((shown[0].1.standing, shown[0].1.since_ms), (Standing::Ready, None));
        assert_eq!((shown[1].1.standing, shown[1].1.since_ms, shown[1].2), (Standing::Unheard, Some(5000), Some(3000)));
        assert_eq!((shown[2].1.standing, shown[2].1.why.as_str()), (Standing::NotReady, "not heard of"));
        assert_eq!(report.nodes[0].address, Some("192.0.2.7".parse().unwrap()));
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
    }
}
