//! Cluster B: a verdict on every message.
//!
//! - [`judge`]: the local implementation of `Judge`: rules on what stands in the message ([`inspect`], [`rules`]), who
//!   it is from ([`authentication`]), viruses ([`virus`]), and what follows from all of it ([`verdict`]);
//! - [`content`]: what a message holds, walked within bounds;
//! - [`rspamd`]: rspamd's HTTP protocol, by which other nodes ask;
//! - [`config`]: the section `[filter]`.

pub mod authentication;
pub mod config;
pub mod content;
mod health;
pub mod inspect;
pub mod judge;
pub mod network;
pub mod rspamd;
pub mod rules;
pub mod verdict;
pub mod virus;

use std::sync::Arc;

use async_trait::async_trait;
use estafeta_core::judge::Judge;
use estafeta_core::{Failure, RoleName, ServiceName};
use estafeta_net::accept::{ConnectionLimits, Listeners, Security, serve};
use estafeta_net::http;
use estafeta_net::role::{Clients, Context, Health, Needs, Plan, Provides, Role, Running, Service, Transport};
use estafeta_net::section::{ConfigError, Section};
use estafeta_storage::spool::SpoolDirectory;

use config::Config;
use health::JudgeHealth;
use rspamd::client::RemoteJudge;
use rspamd::server::{Server, router};

/// Where other nodes ask.
pub const SERVICE: ServiceName = ServiceName::fixed("filter");

/// Who may ask.
const ASKED_BY: &[RoleName] = &[RoleName::EDGE];

/// The role's row.
pub fn role() -> Role {
    Role {
        name: RoleName::FILTER,
        cluster: Some('B'),
        purpose: "judges every message: spam, viruses, and whether it is from whom it says",
        services: vec![Service {
            name: SERVICE,
            port: 11333,
            transport: Transport::Tcp,
            between_nodes: true,
            about: "verdicts, by rspamd's HTTP protocol",
            probe: health::probe,
        }],
        operations: Vec::new(),
        plan,
        clients: Clients { judge: Some(rspamd::client::connect), ..Clients::default() },
    }
}

fn plan(section: Section<'_>) -> Result<Box<dyn Plan>, ConfigError> {
    let config: Config = section.read()?;
    config.check()?;
    Ok(Box::new(config))
}

#[async_trait]
impl Plan for Config {
    async fn start(&self, context: Context) -> Result<Running, Failure> {
        judge::describe_metrics();
        let judge: Arc<dyn Judge> = match self.rspamd {
            Some(address) => Arc::new(RemoteJudge::rspamd(address)),
            None => Arc::new(self.judge(&context.hostname).map_err(Failure::unavailable)?),
        };
        let spools = SpoolDirectory::open(&context.data.join("spool")).map_err(Failure::unavailable)?;
        let router = router(Server { judge: judge.clone(), spools, message_bytes: self.message_bytes });
        let limits = ConnectionLimits { connections: self.connections, connections_per_address: self.connections };
        let listeners = context.sockets.tcp(&SERVICE).map_err(Failure::unavailable)?;
        let needs = Needs { disk: true, ..Needs::default() };
        // Where others ask, the listener's own probe asks for a verdict.
        let health: Option<Arc<dyn Health>> =
            if listeners.is_empty() { Some(Arc::new(JudgeHealth(judge.clone()))) } else { None };
        let run = async move {
            let (tls, drain) = (context.tls, context.drain);
            let mut loops = Listeners::default();
            for listener in listeners {
                let (router, conversations) = (router.clone(), drain.clone());
                let talk = move |connection| http::serve(connection, router.clone(), conversations.clone());
                let security = Security::Cluster(tls.clone(), ASKED_BY);
                loops.spawn(serve(listener, SERVICE, security, limits, drain.clone(), talk));
            }
            loops.run(&drain).await
        };
        let provides = Provides { judge: Some(judge), health, needs, ..Provides::default() };
        Ok(Running { provides, run: Box::pin(run) })
    }
}
