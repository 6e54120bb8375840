//! How nodes and roles stand in the view of this node, and each change of that: what `cluster status`, alerts and the
//! log tell people.

use std::collections::BTreeMap;
use std::time::SystemTime;

use estafeta_core::members::Member;
use estafeta_core::{NodeName, RoleName, SiteName};
use serde::{Deserialize, Serialize};

/// How a role of a node stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// It may be chosen.
    Ready,
    /// It says that it cannot serve, or others cannot reach it.
    NotReady,
    /// It finishes what it has.
    Draining,
    /// Its node has fallen silent.
    Unheard,
    /// Its node is not enrolled.
    Removed,
}

impl Standing {
    /// The word for it, as metrics and logs have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::NotReady => "not-ready",
            Self::Draining => "draining",
            Self::Unheard => "unheard",
            Self::Removed => "removed",
        }
    }
}

/// One change of a standing, as this node saw it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// When.
    pub at: SystemTime,
    /// Whose.
    pub node: NodeName,
    /// Of which role; none when the node came or went as a whole.
    pub role: Option<RoleName>,
    /// How it stood.
    pub from: Standing,
    /// How it stands.
    pub to: Standing,
    /// Why, in words for people.
    pub why: String,
}

/// How one role of a node stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleStanding {
    /// How.
    pub standing: Standing,
    /// Why, in words for people; empty when there is nothing to say.
    pub why: String,
    /// Since when it stands so.
    pub since: SystemTime,
}

/// One enrolled node, as this node sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStanding {
    /// Its name.
    pub node: NodeName,
    /// Whether it is this node itself.
    pub own: bool,
    /// Each of its roles.
    pub roles: BTreeMap<RoleName, RoleStanding>,
    /// How long ago it was last heard of, in milliseconds; none when never since this node started, or for this node.
    pub last_heard_ms: Option<u64>,
    /// Whether it drains.
    pub draining: bool,
    /// The version of the program that it runs; empty while it has not been heard of.
    pub version: String,
    /// How busy it is, in hundredths of what its processors can do.
    pub load: u16,
    /// Where it stands.
    pub site: Option<SiteName>,
}

impl NodeStanding {
    pub(super) fn of(member: &Member, own: bool, last_heard_ms: Option<u64>) -> Self {
        Self {
            node: member.name.clone(),
            own,
            roles: BTreeMap::new(),
            last_heard_ms,
            draining: member.draining,
            version: member.version.clone(),
            load: member.load,
            site: member.site.clone(),
        }
    }

    /// The worst that is to be said of the node.
    pub fn standing(&self) -> Standing {
        let worst = |standing: &Standing| match standing {
            Standing::Ready => 0,
            Standing::NotReady => 1,
            Standing::Draining => 2,
            Standing::Unheard => 3,
            Standing::Removed => 4,
        };
        self.roles.values().map(|role| role.standing).max_by_key(worst).unwrap_or(Standing::Ready)
    }
}
