//! The form of a role: one row of the table in `node/bin/src/roles.rs`. From these rows derive the command line, the
//! configuration, start and restart, health, metrics, membership and the documentation.

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use estafeta_core::administration::{Administration, Operation};
use estafeta_core::certificate::Issuer;
use estafeta_core::contracts::Contracts;
use estafeta_core::delivery::Delivery;
use estafeta_core::directory::Directory;
use estafeta_core::judge::Judge;
use estafeta_core::members::{Candidate, MembersView};
use estafeta_core::sessions::Sessions;
use estafeta_core::settings::{SettingsStore, SettingsView};
use estafeta_core::submit::Submit;
use estafeta_core::{Failure, NodeName, RoleName, ServiceName, StoreGroup};

use crate::drain::Drain;
use crate::section::{ConfigError, Section};
use crate::sockets::Sockets;
pub use crate::sockets::Transport;
use crate::tls::Tls;

/// One service of a role.
#[derive(Clone)]
pub struct Service {
    /// Its name; in the configuration's `[listen]` it is the key.
    pub name: ServiceName,
    /// The port when the configuration names none.
    pub port: u16,
    /// What it listens to.
    pub transport: Transport,
    /// Whether only nodes of the cluster may use it, over mutual TLS. Such a service is not bound without `[cluster]`.
    pub between_nodes: bool,
    /// What it is, in a few words.
    pub about: &'static str,
    /// How to see whether it serves.
    pub probe: Probe,
}

/// A role's row.
pub struct Role {
    /// Its name.
    pub name: RoleName,
    /// The letter of its cluster in the published design, if it has one.
    pub cluster: Option<char>,
    /// What it is for, in a line.
    pub purpose: &'static str,
    /// What it may listen on.
    pub services: Vec<Service>,
    /// Its administrative operations.
    pub operations: Vec<Operation>,
    /// How its section of the configuration becomes a plan. Touches nothing.
    pub plan: fn(Section<'_>) -> Result<Box<dyn Plan>, ConfigError>,
    /// The remote clients of the contracts that it serves.
    pub clients: Clients,
}

/// A role as it was configured: ready to start, and to start again after a failure.
#[async_trait]
pub trait Plan: Send + Sync {
    /// The store group that the node serves, which members must know.
    fn store_group(&self) -> Option<StoreGroup> {
        None
    }

    /// Whether other nodes may serve the same store group, because this node has nothing of it to itself.
    fn shares_store(&self) -> bool {
        false
    }

    /// Looks at the files that the configuration names, and changes nothing. An error comes with the key that it is
    /// about, as `mailbox.s3`.
    fn check_files(&self) -> Result<(), (&'static str, String)> {
        Ok(())
    }

    /// Whether the role shows clients a certificate, so that `[tls]` must be configured.
    fn needs_service_certificate(&self) -> bool {
        false
    }

    /// Whether this one service shows clients a certificate: it is bound only where `[tls]` is configured.
    fn needs_certificate_for(&self, _service: &ServiceName) -> bool {
        false
    }

    /// Opens what the role keeps and gives what it provides and its run. Nothing is served before the run is polled.
    async fn start(&self, context: Context) -> Result<Running, Failure>;
}

/// What a role is handed.
#[derive(Clone)]
pub struct Context {
    /// This node.
    pub node: NodeName,
    /// The name that this node calls itself by in SMTP, `Received` and bounces.
    pub hostname: String,
    /// The role's own directory; it exists, with mode 0700.
    pub data: PathBuf,
    /// The role's sockets, bound.
    pub sockets: Arc<Sockets>,
    /// TLS.
    pub tls: Arc<Tls>,
    /// The other roles.
    pub contracts: Contracts,
    /// Who is in the cluster.
    pub members: MembersView,
    /// What the cluster agrees on.
    pub settings: SettingsView,
    /// The cluster's authority, on a node that holds its key.
    pub issuer: Option<Arc<dyn Issuer>>,
    /// When to stop. Everything that talks with somebody runs under it.
    pub drain: Drain,
}

/// A role that has started.
pub struct Running {
    /// What it provides to the other roles of this node, and to administration.
    pub provides: Provides,
    /// Serves until the drain begins, then gives `Ok`. What it spawned under the drain may still be running then. An
    /// error, or an early end, makes the supervisor start the role anew, with back-off.
    pub run: Pin<Box<dyn Future<Output = Result<(), Failure>> + Send>>,
}

/// The implementations that a running role offers.
#[derive(Clone, Default)]
pub struct Provides {
    /// People.
    pub directory: Option<Arc<dyn Directory>>,
    /// Verdicts.
    pub judge: Option<Arc<dyn Judge>>,
    /// Into mailboxes.
    pub delivery: Option<Arc<dyn Delivery>>,
    /// Out of mailboxes.
    pub sessions: Option<Arc<dyn Sessions>>,
    /// Mail of the cluster's own, on its way.
    pub submit: Option<Arc<dyn Submit>>,
    /// The role's own operations: those of its row that are [`estafeta_core::administration::Perform::ByRole`].
    pub administration: Option<Arc<dyn Administration>>,
    /// Whether it can serve.
    pub health: Option<Arc<dyn Health>>,
    /// What it cannot do without.
    pub needs: Needs,
}

/// What a role cannot keep its promise without, or another node of the same role would do better: without it the role
/// is not ready. What it only works worse without is not named here, so that one failure does not take half a cluster
/// out of DNS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// A disk below its data directory that has room and takes what is written.
    pub disk: bool,
    /// Roles of which a node must answer this one. It counts only while the members say that one is ready: what is down
    /// for all is nobody's own fault.
    pub roles: Vec<RoleName>,
}

/// What a remote client needs of this node.
#[derive(Clone)]
pub struct Remote {
    /// This node.
    pub node: NodeName,
    /// Its name in SMTP and LMTP.
    pub hostname: String,
    /// Its TLS: [`Tls::connect`] makes the connection.
    pub tls: Arc<Tls>,
}

/// What a running role proves about itself.
#[async_trait]
pub trait Health: Send + Sync {
    /// Whether the role can serve now. An error says in a line what is missing and who must act. It is asked every
    /// second: cheap, and answered within half a second.
    async fn check(&self) -> Result<(), String>;
}

/// A question to an endpoint, in its own protocol, that shows whether it serves.
#[derive(Clone)]
pub struct Probing {
    /// Who asks.
    pub remote: Remote,
    /// Whom.
    pub candidate: Candidate,
}

/// Asks an endpoint; an error says in a few words what came instead. Whoever calls it sets the time limit.
pub type Probe = fn(Probing) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// Makes a client of one contract at one member's endpoint.
pub type Client<C> = fn(&Remote, &Candidate) -> Arc<C>;

/// Makes a client of the settings out of one of administration.
pub type SettingsClient = fn(Arc<dyn Administration>) -> Arc<dyn SettingsStore>;

/// The remote clients that a role's crate offers, one for each contract that the role serves.
#[derive(Clone, Copy, Default)]
pub struct Clients {
    /// For the service `ldaps`.
    pub directory: Option<Client<dyn Directory>>,
    /// For the service `filter`.
    pub judge: Option<Client<dyn Judge>>,
    /// For the service `edge-submission`.
    pub submit: Option<Client<dyn Submit>>,
    /// For the service `lmtp`.
    pub delivery: Option<Client<dyn Delivery>>,
    /// For the service `mailbox-imap`.
    pub imap: Option<Client<dyn Sessions>>,
    /// For the service `mailbox-pop3`.
    pub pop3: Option<Client<dyn Sessions>>,
    /// Settings are asked through administration, so this client wraps that.
    pub settings: Option<SettingsClient>,
}
