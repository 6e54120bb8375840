//! Membership as the binary runs it: its socket, its identity out of TLS and the configuration, and who asks it what.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use estafeta_cluster::enrolment::GOSSIP;
use estafeta_cluster::gossip::identity::Identity;
use estafeta_cluster::membership::{Beginning, Config, Membership};
use estafeta_core::members::{Members, MembersView};
use estafeta_core::settings::SettingsView;
use estafeta_core::{NodeName, RoleName};
use estafeta_net::sockets::Sockets;
use estafeta_net::tls::{OwnCertificate, Tls};
use tokio::task::JoinHandle;

use crate::config::NodeConfig;
use crate::exit::{Code, Exit};
use crate::health::Watch;

/// How often it is looked whether this node's certificate was renewed.
const PERIOD: Duration = Duration::from_secs(1);

/// The authority's certificates in PEM; none without `[cluster]`. Read while the node may still read everything.
pub fn read_authority(config: &NodeConfig) -> anyhow::Result<Option<Vec<u8>>> {
    let Some((_, file)) = &config.tls.cluster else { return Ok(None) };
    let content = fs::read(file).map_err(|error| {
        Exit::error(Code::NoInput, format_args!("{}: {error}: this is [cluster] authority", file.display()))
    })?;
    Ok(Some(content))
}

/// What membership is started with, besides the node's TLS and sockets.
pub struct Parts {
    /// The thresholds.
    pub config: Config,
    /// This node.
    pub node: NodeName,
    /// The authority's certificates in PEM.
    pub authority: Vec<u8>,
    /// Who is enrolled by configuration.
    pub enrolled: Members,
    /// Where the view goes.
    pub members: MembersView,
    /// Where keys and joined nodes come from.
    pub settings: SettingsView,
    /// The node's data directory.
    pub data: std::path::PathBuf,
}

/// Starts membership, and the task that hands it this node's renewed certificates.
pub fn start(parts: Parts, tls: &Arc<Tls>, sockets: &Sockets) -> anyhow::Result<(Membership, JoinHandle<()>)> {
    let failed = |error: &dyn std::fmt::Display| Exit::error(Code::Config, format_args!("[cluster] {error}"));
    let own = tls.own().ok_or_else(|| failed(&"this node has no certificate"))?;
    let identity = identity(&parts.authority, &own).map_err(|error| failed(&error))?;
    let socket = sockets.udp(&GOSSIP.0)?.into_iter().next();
    let membership = Membership::start(Beginning {
        config: parts.config,
        node: parts.node,
        identity,
        socket,
        enrolled: parts.enrolled,
        members: parts.members,
        settings: parts.settings,
        snapshot: parts.data.join("members.json"),
        version: env!("CARGO_PKG_VERSION"),
    });
    let renewing = tokio::spawn(follow(membership.clone(), parts.authority, tls.clone(), own));
    Ok((membership, renewing))
}

fn identity(authority: &[u8], own: &OwnCertificate) -> Result<Identity, String> {
    let certificate = own.chain.first().ok_or("the certificate file holds none")?;
    Identity::new(authority, certificate.clone(), &own.key).map_err(|error| error.to_string())
}

/// Hands membership each certificate that TLS has taken over since.
async fn follow(membership: Membership, authority: Vec<u8>, tls: Arc<Tls>, mut known: Arc<OwnCertificate>) {
    loop {
        tokio::time::sleep(PERIOD).await;
        let Some(own) = tls.own().filter(|own| !Arc::ptr_eq(own, &known)) else { continue };
        match identity(&authority, &own) {
            Ok(identity) => membership.identify(identity),
            Err(error) => tracing::error!(%error, "gossip goes on with the former certificate"),
        }
        known = own;
    }
}

impl Watch for Membership {
    fn targets(&self) -> Vec<NodeName> {
        self.probe_targets()
    }

    fn probed(&self, node: &NodeName, role: &RoleName, result: Result<(), String>) {
        Membership::probed(self, node, role, result);
    }
}
