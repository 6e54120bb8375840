//! The role's row in the table, and how it runs.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use estafeta_core::{Failure, RoleName, ServiceName, StoreGroup};
use estafeta_net::accept::{Listeners, Security, serve};
use estafeta_net::connection::Connection;
use estafeta_net::role::{Context, Needs, Plan, Probe, Provides, Role, Running, Service, Transport};
use estafeta_net::section::{ConfigError, Section};

use crate::accounts::Accounts;
use crate::config::{Config, S3};
use crate::delivery::LocalDelivery;
use crate::health::StoreHealth;
use crate::lmtp::{self, Lmtp};
use crate::operations::{MailboxOperations, operations};
use crate::relocation::Relocation;
use crate::sessions::LocalSessions;
use crate::store::{GarbageAges, Store, StoreError, StoreOptions};
use crate::tasks::Tasks;
use crate::{health, imap, outbox, pop3, relay};

/// The service: messages from edge.
pub const LMTP: ServiceName = ServiceName::fixed("lmtp");

/// The service: IMAP clients that access relays.
pub const MAILBOX_IMAP: ServiceName = ServiceName::fixed("mailbox-imap");

/// The service: POP3 clients that access relays.
pub const MAILBOX_POP3: ServiceName = ServiceName::fixed("mailbox-pop3");

/// Who hands messages over.
pub const EDGE: &[RoleName] = &[RoleName::EDGE];

/// Who relays clients.
pub const ACCESS: &[RoleName] = &[RoleName::ACCESS];

/// How often the store is asked whether it can still be written.
const CHECK: Duration = Duration::from_secs(10);

/// After how many failures in a row the role starts anew.
const FAILURES: u32 = 3;

/// How often garbage is collected, and how long after the start first: a node that restarts often collects too.
const COLLECTION: Duration = Duration::from_secs(3600);
const FIRST_COLLECTION: Duration = Duration::from_secs(60);

/// The role's row.
pub fn role() -> Role {
    let service = |name, port, about, probe: Probe| Service {
        name,
        port,
        transport: Transport::Tcp,
        between_nodes: true,
        about,
        probe,
    };
    Role {
        name: RoleName::MAILBOX,
        cluster: Some('D'),
        purpose: "keeps the mailboxes of a store group",
        services: vec![
            service(LMTP, 24, "LMTP: messages from edge nodes", health::lmtp),
            service(MAILBOX_IMAP, 11143, "IMAP clients that access nodes relay", health::imap),
            service(MAILBOX_POP3, 11110, "POP3 clients that access nodes relay", health::pop3),
        ],
        operations: operations(),
        plan,
        clients: relay::clients(),
    }
}

fn plan(section: Section<'_>) -> Result<Box<dyn Plan>, ConfigError> {
    let directory = section.directory().to_owned();
    Ok(Box::new(section.read::<Config>()?.beside(&directory).check()?))
}

#[async_trait]
impl Plan for Config {
    fn store_group(&self) -> Option<StoreGroup> {
        Some(self.store_group.clone())
    }

    fn shares_store(&self) -> bool {
        self.database.is_some() && self.s3.is_some()
    }

    fn check_files(&self) -> Result<(), (&'static str, String)> {
        let Some(s3) = &self.s3 else { return Ok(()) };
        s3.options(&self.store_group).map(drop).map_err(|message| ("mailbox.s3", message))
    }

    async fn start(&self, context: Context) -> Result<Running, Failure> {
        describe_metrics();
        let options = StoreOptions {
            directory: context.data.clone(),
            bodies: self.bodies()?,
            servers: self.servers()?,
            message_limit_bytes: self.message_limit_bytes,
            readers: self.readers_limit,
            warn_at_percent: self.warn_at_percent.clone(),
            keep_expunged: self.undelete_days > 0,
        };
        let store = Store::open(options).await?;
        let accounts = Accounts::new(store.clone(), self.store_group.clone(), &context.contracts);
        let delivery = LocalDelivery::new(accounts.clone(), self.junk, self.when_over_quota);
        let health = StoreHealth {
            store: store.clone(),
            node: context.node.clone(),
            group: self.store_group.clone(),
            bodies: self.s3.as_ref().map_or("files".to_owned(), S3::place),
            shared: self.shares_store(),
            members: context.members.clone(),
        };
        health.tell();
        let relocation = Relocation::new(accounts.clone(), context.contracts.administration.clone());
        let provides = Provides {
            delivery: Some(Arc::new(delivery.clone())),
            sessions: Some(Arc::new(LocalSessions::new(accounts.clone(), context.drain.clone()))),
            administration: Some(Arc::new(MailboxOperations {
                accounts: accounts.clone(),
                tasks: Tasks::new(context.drain.clone()),
                relocation: relocation.clone(),
                node: context.node.clone(),
                members: context.members.clone(),
            })),
            health: Some(Arc::new(health)),
            needs: Needs { disk: true, ..Needs::default() },
            ..Provides::default()
        };
        let config = self.clone();
        let run = async move {
            let listeners = config.listen(&context, &accounts, delivery)?;
            let collector = store.clone();
            context.drain.spawn("garbage collection", collect(collector, config.garbage_ages(), context.drain.clone()));
            let (submit, drain) = (context.contracts.submit.clone(), context.drain.clone());
            context.drain.spawn("outbox", outbox::send(store.clone(), submit, drain));
            let (indexed, drain) = (store.clone(), context.drain.clone());
            context.drain.spawn("search index", async move {
                tokio::select! {
                    () = indexed.keep_indexed() => {}
                    () = drain.begun() => {}
                }
            });
            context.drain.spawn("moves", relocation.resume(context.drain.clone()));
            let kept = tokio::select! {
                failure = watch(&store) => Err(failure),
                ended = listeners.run(&context.drain) => ended,
            };
            if kept.is_err() {
                // So that it can be opened anew: what still runs on it is cut off.
                store.close().await;
            }
            kept
        };
        Ok(Running { provides, run: Box::pin(run) })
    }
}

impl Config {
    /// The three listeners.
    fn listen(&self, context: &Context, accounts: &Accounts, delivery: LocalDelivery) -> Result<Listeners, Failure> {
        let mut listeners = Listeners::default();
        let drain = context.drain.clone();
        let lmtp = Arc::new(Lmtp {
            hostname: context.hostname.clone(),
            accounts: accounts.clone(),
            delivery,
            timeouts: self.delivery_timeouts(),
            drain: drain.clone(),
        });
        self.serve(&mut listeners, context, LMTP, EDGE, move |connection| lmtp::talk(lmtp.clone(), connection))?;

        let (mailroom, conversations, limit_bytes) = (accounts.clone(), drain.clone(), self.message_limit_bytes);
        self.serve(&mut listeners, context, MAILBOX_IMAP, ACCESS, move |connection| {
            let (mailroom, drain) = (mailroom.clone(), conversations.clone());
            let neighbours = Arc::new(mailroom.clone());
            async move {
                let talk = imap::talk_relayed(connection, &mailroom, neighbours, &mailroom, limit_bytes, &drain);
                log_end(MAILBOX_IMAP, talk.await)
            }
        })?;

        let (mailroom, conversations) = (accounts.clone(), drain);
        self.serve(&mut listeners, context, MAILBOX_POP3, ACCESS, move |connection| {
            let (mailroom, drain) = (mailroom.clone(), conversations.clone());
            async move { log_end(MAILBOX_POP3, pop3::talk_relayed(connection, &mailroom, &drain).await) }
        })?;
        Ok(listeners)
    }

    /// Serves one of them, for nodes that hold one of `asked_by` alone.
    fn serve<F, T>(
        &self,
        listeners: &mut Listeners,
        context: &Context,
        service: ServiceName,
        asked_by: &'static [RoleName],
        talk: F,
    ) -> Result<(), Failure>
    where
        F: Fn(Connection) -> T + Clone + Send + Sync + 'static,
        T: Future<Output = ()> + Send + 'static,
    {
        let failed = |error| Failure::internal(format!("the sockets of the service {service}: {error}"));
        for listener in context.sockets.tcp(&service).map_err(failed)? {
            let security = Security::Cluster(context.tls.clone(), asked_by);
            let (limits, drain) = (self.connection_limits(), context.drain.clone());
            listeners.spawn(serve(listener, service.clone(), security, limits, drain, talk.clone()));
        }
        Ok(())
    }
}

fn log_end(service: ServiceName, ended: std::io::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(%service, %error, "broken off");
    }
}

/// Completes when the store has failed several times in a row. A full disk is no such failure: mail can still be read,
/// and senders are told to come again.
async fn watch(store: &Store) -> Failure {
    let mut failures = 0;
    loop {
        tokio::time::sleep(CHECK).await;
        match store.check().await {
            Ok(()) => failures = 0,
            Err(StoreError::Storage(error)) if error.is_full() => tracing::error!(%error, "nothing can be stored"),
            // The primary is followed wherever it goes: to start anew would only cut off who waits.
            Err(StoreError::Storage(error)) if error.is_away() => {
                tracing::error!(%error, "the database, or the store of bodies, is away")
            }
            Err(error) => {
                failures += 1;
                tracing::error!(%error, failures, "the store does not work");
                if failures >= FAILURES {
                    return Failure::internal(error);
                }
            }
        }
    }
}

async fn collect(store: Store, ages: GarbageAges, drain: estafeta_net::drain::Drain) {
    let mut wait = FIRST_COLLECTION;
    loop {
        tokio::select! {
            () = tokio::time::sleep(wait) => wait = COLLECTION,
            () = drain.begun() => return,
        }
        if let Err(error) = store.collect_garbage(ages).await {
            tracing::warn!(%error, "garbage is collected next time");
        }
    }
}

fn describe_metrics() {
    estafeta_storage::describe_metrics();
    imap::describe_metrics();
    pop3::describe_metrics();
    metrics::describe_counter!(
        "estafeta_mailbox_deliveries_total",
        "Deliveries to one recipient: stored, repeated (and not stored again), deferred or refused."
    );
    metrics::describe_histogram!(
        "estafeta_mailbox_delivery_seconds",
        metrics::Unit::Seconds,
        "Time from a message's arrival at the store to its commit, for one recipient."
    );
    metrics::describe_counter!(
        "estafeta_mailbox_body_bytes_total",
        metrics::Unit::Bytes,
        "Bytes of new bodies, before they were compressed."
    );
    metrics::describe_counter!(
        "estafeta_mailbox_body_kept_bytes_total",
        metrics::Unit::Bytes,
        "Bytes that new bodies take as they are kept, compressed where that pays."
    );
    metrics::describe_counter!(
        "estafeta_mailbox_indexed_messages_total",
        "Messages that were put into the search index."
    );
    metrics::describe_gauge!(
        "estafeta_mailbox_outbox_messages",
        "Messages of the store group's own that wait to be handed to edge."
    );
    metrics::describe_counter!(
        "estafeta_mailbox_letters_total",
        "Messages of the store group's own: handed over to edge, given up, or not written because too many wait."
    );
    metrics::describe_counter!(
        "estafeta_mailbox_bodies_deleted_total",
        "Bodies that were deleted because no message named them."
    );
}
