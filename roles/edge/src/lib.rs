//! Cluster E: SMTP in and out. Mail from outside and from our users, judged and delivered inside the transaction where
//! that can be; a durable queue for the rest; the way to other people's servers; reports to senders.
//!
//! A message's way: [`incoming`] (session, envelope) → [`passage`] (swept, judged, delivered) → [`queue`] (what is left
//! over) → [`dispatch`] (tried again) → [`outgoing`] (to other servers), with [`report`]s on failure. What the cluster itself
//! sends comes by [`submit`].
#![forbid(unsafe_code)]

mod config;
mod dispatch;
mod edge;
mod health;
mod incoming;
mod metrics_help;
mod operations;
mod outgoing;
mod passage;
mod queue;
mod report;
mod submit;

#[cfg(test)]
mod testing;

use std::sync::Arc;

use async_trait::async_trait;
use estafeta_core::{Failure, RoleName};
use estafeta_net::drain::Drain;
use estafeta_net::login::Gate;
use estafeta_net::probe;
use estafeta_net::role::{Clients, Context, Plan, Probe, Provides, Role, Running, Service, Transport};
use estafeta_net::section::{ConfigError, Section};
use estafeta_net::sockets::Sockets;
use estafeta_net::tls::Tls;
use estafeta_storage::spool::SpoolDirectory;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::config::Config;
use crate::edge::Edge;
use crate::health::QueueHealth;
use crate::outgoing::Outgoing;
use crate::outgoing::names::{Dns, Names};
use crate::queue::{Paces, Queue};
use crate::report::Reporter;

/// The role's row in the table.
pub fn role() -> Role {
    let service = |name, port, about, probe: Probe| Service {
        between_nodes: name == submit::EDGE_SUBMISSION,
        name,
        port,
        transport: Transport::Tcp,
        about,
        probe,
    };
    Role {
        name: RoleName::EDGE,
        cluster: Some('E'),
        purpose: "takes mail in over SMTP, delivers it, sends mail out",
        services: vec![
            service(incoming::SMTP, 25, "SMTP from other mail servers", probe::smtp),
            service(incoming::SUBMISSIONS, 465, "submission by users, over TLS", probe::smtp_over_tls),
            service(incoming::SUBMISSION, 587, "submission by users, over STARTTLS", probe::smtp),
            service(submit::EDGE_SUBMISSION, 11587, "SMTP: mail that other nodes send", submit::probe),
        ],
        operations: operations::operations(),
        plan,
        clients: Clients { submit: Some(submit::client), ..Clients::default() },
    }
}

fn plan(section: Section<'_>) -> Result<Box<dyn Plan>, ConfigError> {
    let config = section.read::<Config>()?.check()?;
    Ok(Box::new(EdgePlan { config }))
}

struct EdgePlan {
    config: Config,
}

#[async_trait]
impl Plan for EdgePlan {
    fn needs_service_certificate(&self) -> bool {
        true
    }

    async fn start(&self, context: Context) -> Result<Running, Failure> {
        let names = Arc::new(Dns::new(&self.config.outgoing.resolvers)?);
        let tls = context.tls.clone();
        let sockets = context.sockets.clone();
        let edge = open(self.config.clone(), names, context).await?;
        metrics_help::describe();
        let administration = Arc::new(operations::QueueOperations(edge.queue.clone()));
        let provides = Provides {
            submit: Some(Arc::new(submit::LocalSubmit(edge.clone()))),
            administration: Some(administration),
            health: Some(Arc::new(QueueHealth(edge.queue.clone()))),
            needs: health::needs(&self.config),
            ..Provides::default()
        };
        Ok(Running { provides, run: Box::pin(serve(edge, sockets, tls)) })
    }
}

/// Listens, and works on the queue, until the drain begins.
async fn serve(edge: Arc<Edge>, sockets: Arc<Sockets>, tls: Arc<Tls>) -> Result<(), Failure> {
    let mut loops = incoming::listen(&edge, &sockets, &tls)?;
    submit::listen(&edge, &sockets, &tls, &mut loops)?;
    loops.spawn(dispatch::run(edge.clone()));
    hold(loops, &edge.drain).await
}

/// Waits for loops that end when the drain begins. One that ends before, or panics, is the failure of all: half a role
/// looks alive and is not.
async fn hold(mut loops: JoinSet<()>, drain: &Drain) -> Result<(), Failure> {
    while let Some(ended) = loops.join_next().await {
        ended.map_err(|error| Failure::internal(format!("a listener or the queue's dispatcher ended: {error}")))?;
        if !drain.has_begun() {
            return Err(Failure::internal("a listener or the queue's dispatcher ended before the drain"));
        }
    }
    Ok(())
}

/// Opens what the role keeps.
async fn open(config: Config, names: Arc<dyn Names>, context: Context) -> Result<Arc<Edge>, Failure> {
    let Context { hostname, data, tls, contracts, members, settings, drain, .. } = context;
    let queue = Queue::open(&data.join("queue"), config.queue.messages_limit).await?;
    Ok(Arc::new(Edge {
        spool: SpoolDirectory::open(&data.join("spool"))?,
        own_mail: Arc::new(Semaphore::new(submit::AT_ONCE)),
        paces: Paces::of(&config.queue),
        reporter: Reporter::new(hostname.clone()),
        outgoing: Outgoing::new(config.outgoing.clone(), names, tls, hostname.clone(), members),
        gate: Gate::new(contracts.directory.clone()),
        hostname,
        config,
        contracts,
        settings,
        queue,
        drain,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_loop_that_ends_early_ends_the_role() {
        let drain = Drain::new();
        let others = || {
            let (drain, mut loops) = (drain.clone(), JoinSet::new());
            loops.spawn(async move { drain.begun().await });
            loops
        };
        let mut panics = others();
        panics.spawn(async { panic!("as the test wants") });
        assert!(hold(panics, &drain).await.unwrap_err().cause.contains("panic"));
        let mut ends = others();
        ends.spawn(async {});
        assert!(hold(ends, &drain).await.unwrap_err().cause.contains("before the drain"));
        drain.begin();
        assert_eq!(hold(others(), &drain).await, Ok(()));
    }

    #[tokio::test]
    async fn the_role_serves_until_the_drain() {
        let world = testing::World::new("", testing::Zone::default()).await;
        let run = tokio::spawn(serve(world.edge.clone(), world.sockets.clone(), world.tls.clone()));
        world.dialog().await;
        assert!(!run.is_finished());
        world.edge.drain.begin();
        assert_eq!(run.await.unwrap(), Ok(()));
    }

    #[test]
    fn the_row_is_complete_and_its_section_is_checked() {
        let role = role();
        for service in &role.services {
            assert_eq!(service.name.as_str().parse::<estafeta_core::ServiceName>().as_ref(), Ok(&service.name));
        }
        assert!((role.plan)(Section::absent()).is_ok_and(|plan| plan.needs_service_certificate()));
        let error = (role.plan)(Section::parse("unjudgd = 'accept'").unwrap()).err().unwrap();
        assert!(error.message.contains("unjudged"), "{error}");
    }
}
