//! A node's life: check → bind every endpoint → drop privileges → open the roles → serve under supervision → drain.
//!
//! Nothing is served before every role has tried to open what it keeps. What an operator must mend ends the program with its
//! line; a role whose database is away waits for it, and the others serve.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use estafeta_cluster::enrolment::{self, ADMINISTRATION, Enrolled, GOSSIP};
use estafeta_cluster::files::AuthorityFiles;
use estafeta_cluster::membership::Membership;
use estafeta_core::ServiceName;
use estafeta_core::certificate::Issuer;
use estafeta_core::members::{Members, MembersView};
use estafeta_net::role::{Context, Remote, Role, Transport};
use estafeta_net::sockets::Sockets;
use estafeta_net::tls::{Tls, TlsFiles};
use nix::unistd::{Uid, User, initgroups, setgid, setuid};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;

use crate::config::{self, NodeConfig};
use crate::exit::{Code, Exit};
use crate::health::Health;
use crate::logging::Logging;
use crate::membership;
use crate::operate::{self, Drainer};
use crate::renewal::Renewal;
use crate::settings::SettingsWatch;
use crate::supervise::Supervisor;
use crate::wiring::Wiring;
use crate::{administration, status};

/// Runs a node until it is told to stop.
pub fn serve(file: &Path, table: Vec<Role>, until_stdin_closes: bool) -> anyhow::Result<()> {
    let config = NodeConfig::load(file, &table)?;
    config::check(&config)?;
    let logging = Logging::start(&config.log_filter, config.log_format)?;
    let metrics = status::install_metrics()?;
    raise_file_limit();
    let sockets = bind(&config, &table)?;
    prepare_data(&config)?;
    // Keys are for root alone: they are read before the node becomes somebody else.
    let tls = Tls::load(config.tls.clone()).map_err(|error| Exit::error(Code::Config, error))?;
    let authority = membership::read_authority(&config)?;
    let certificates = Certificates { tls, issuer: issuer(&config)?, authority };
    drop_privileges(&config)?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("the runtime cannot be started")?;
    let changes = Changes { file: file.to_owned(), table, logging };
    let ended = runtime.block_on(run(config, changes, sockets, certificates, metrics, until_stdin_closes));
    // Whoever blocks on standard input would hold the runtime for ever.
    runtime.shutdown_background();
    ended
}

/// Every socket of the node.
struct Bound {
    /// The roles' own, each role's apart.
    roles: Vec<Arc<Sockets>>,
    /// The administration API for other nodes, and the status page.
    node: Sockets,
}

const STATUS: ServiceName = ServiceName::fixed("status");

/// What a role that is drained after the deadline still gets.
const LAST_MOMENT: Duration = Duration::from_secs(1);

fn bind(config: &NodeConfig, table: &[Role]) -> anyhow::Result<Bound> {
    let bind = |sockets: &mut Sockets, service: &ServiceName, address, transport| {
        sockets.bind(service, address, transport).map_err(|error| {
            let mend = match error.kind() {
                io::ErrorKind::AddrInUse if *service == STATUS => {
                    "something listens there already: stop it, or give status another address".into()
                }
                io::ErrorKind::AddrInUse => {
                    format!("something listens there already: stop it, or give [listen] {service} another address")
                }
                io::ErrorKind::PermissionDenied => {
                    "this port is for root: start the node as root with user = \"…\", or choose a port above 1023"
                        .into()
                }
                io::ErrorKind::AddrNotAvailable => {
                    "this machine does not have this address: give it to an interface, or mend address or [listen]"
                        .into()
                }
                _ => error.to_string(),
            };
            // The most particular key that is there decided the address.
            let keys = [format!("listen.{service}"), service.to_string(), "address".to_owned()];
            let place = keys.iter().map(|key| config.places.at(key)).find(|place| place.line.is_some());
            let place = place.unwrap_or_else(|| config.places.at(""));
            Exit::error(Code::OsError, format_args!("{place} cannot bind {service} at {address}: {mend}"))
        })
    };
    let mut roles = Vec::new();
    for (name, plan) in &config.plans {
        let mut sockets = Sockets::default();
        let services = table.iter().filter(|role| &role.name == name).flat_map(|role| &role.services);
        for service in services.filter(|row| config.tls.service.is_some() || !plan.needs_certificate_for(&row.name)) {
            if let Some(address) = config.address_of(&service.name, service.port, service.between_nodes) {
                bind(&mut sockets, &service.name, address, service.transport)?;
            }
        }
        roles.push(Arc::new(sockets));
    }
    let mut node = Sockets::default();
    if let Some(address) = config.address_of(&ADMINISTRATION.0, ADMINISTRATION.1, true) {
        bind(&mut node, &ADMINISTRATION.0, address, Transport::Tcp)?;
    }
    if let Some(address) = config.address_of(&GOSSIP.0, GOSSIP.1, true) {
        bind(&mut node, &GOSSIP.0, address, Transport::Udp)?;
    }
    if let Some(address) = config.status {
        bind(&mut node, &STATUS, address, Transport::Tcp)?;
    }
    Ok(Bound { roles, node })
}

/// What was read while the node was root.
struct Certificates {
    tls: Tls,
    issuer: Option<Arc<dyn Issuer>>,
    /// The authority's certificates, in PEM.
    authority: Option<Vec<u8>>,
}

/// The cluster's authority, when this node holds its key.
fn issuer(config: &NodeConfig) -> anyhow::Result<Option<Arc<dyn Issuer>>> {
    let (Some(key), Some((_, certificate))) = (&config.authority_key, &config.tls.cluster) else { return Ok(None) };
    let authority = AuthorityFiles::load(certificate, key).map_err(|error| {
        Exit::error(Code::Config, format_args!("{} {error}", config.places.at("cluster.authority_key")))
    })?;
    Ok(Some(Arc::new(authority)))
}

/// The data directory and each role's own below it, with mode 0700, for whom the node runs as.
fn prepare_data(config: &NodeConfig) -> anyhow::Result<()> {
    let user = config::run_as(config)?;
    let directories = std::iter::once(config.data.clone())
        .chain(config.plans.iter().map(|(role, _)| config.data.join(role.as_str())));
    for directory in directories {
        let made = || -> io::Result<()> {
            if directory.exists() {
                return Ok(());
            }
            // What stands above it is everybody's way, not the node's own.
            directory.parent().map_or(Ok(()), fs::create_dir_all)?;
            fs::DirBuilder::new().mode(0o700).create(&directory)?;
            chown(&directory, Some(user.as_raw()), None)
        };
        made().map_err(|error| {
            Exit::error(
                Code::CannotCreate,
                format_args!("{}: cannot make the data directory: {error}", directory.display()),
            )
        })?;
    }
    Ok(())
}

fn drop_privileges(config: &NodeConfig) -> anyhow::Result<()> {
    let Some(name) = config.user.as_ref().filter(|_| Uid::effective().is_root()) else { return Ok(()) };
    let user = User::from_name(name)?.with_context(|| format!("the user {name} is gone"))?;
    let name = std::ffi::CString::new(name.as_str())?;
    initgroups(&name, user.gid).context("the groups cannot be taken on")?;
    setgid(user.gid).context("the group cannot be taken on")?;
    setuid(user.uid).context("the user cannot be taken on")?;
    Ok(())
}

/// Each connection is a file descriptor: take as many as the machine gives.
fn raise_file_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
    {
        tracing::warn!(%error, "the limit of open files cannot be raised");
    }
}

async fn run(
    config: NodeConfig,
    changes: Changes,
    bound: Bound,
    certificates: Certificates,
    metrics: status::Metrics,
    until_stdin_closes: bool,
) -> anyhow::Result<()> {
    let Certificates { tls, issuer, authority } = certificates;
    let tls = Arc::new(tls);
    let members = MembersView::new(changes.enrolled(&config.nodes));
    let wiring = Wiring::new(&config, &changes.table, tls.clone(), members.clone())?;
    let settings = SettingsWatch::open(&config.data)?;
    let how = config.operate.drain.clone();
    let drainer = Drainer::open(config.name.clone(), members.clone(), how, config.drain, &config.data)?;
    let template = Context {
        node: config.name.clone(),
        hostname: config.hostname.clone(),
        data: config.data.clone(),
        sockets: Arc::default(),
        tls: tls.clone(),
        contracts: wiring.contracts.clone(),
        members: members.clone(),
        settings: settings.view(),
        issuer,
        drain: Default::default(),
    };
    let remote = Remote { node: config.name.clone(), hostname: config.hostname.clone(), tls: tls.clone() };
    let mut health = Health::new(config.health, &changes.table, remote, members.clone());
    let mut supervisors = Vec::new();
    for ((role, plan), sockets) in config.plans.into_iter().zip(bound.roles) {
        let context = Context { sockets, data: config.data.join(role.as_str()), ..template.clone() };
        let locals = wiring.locals_of(&role);
        let watched = health.watch(role.clone(), context.data.clone(), context.sockets.clone());
        let opening = Supervisor::open(role.clone(), plan.into(), context, locals, watched);
        let supervisor = opening.await.map_err(|failure| {
            Exit::error(Code::Unavailable, format_args!("the role {role} cannot start: {failure}"))
        })?;
        supervisors.push(supervisor);
    }
    // What the members are is known before anything is served.
    let joined = authority.map(|authority| {
        let parts = membership::Parts {
            config: config.membership,
            node: config.name.clone(),
            authority,
            enrolled: changes.enrolled(&config.nodes),
            members: members.clone(),
            settings: settings.view(),
            data: config.data.clone(),
        };
        membership::start(parts, &tls, &bound.node)
    });
    let (membership, renewed) = joined.transpose()?.unzip();
    if let Some(membership) = &membership {
        health.watch_others(Membership::clone(membership));
    }
    let administration = administration::listen(&wiring.administration, &config.socket, &bound.node, tls.clone())
        .map_err(|error| {
            Exit::error(
                Code::CannotCreate,
                format_args!("{}: the administration socket cannot be made: {error}", config.socket.display()),
            )
        })?;
    let status = status::listen(&bound.node, &STATUS, members.clone(), config.name.clone(), metrics.clone())?;
    let (watch, removed) = settings.start(wiring.contracts.settings.clone(), tls.clone());
    let renewal =
        Renewal { node: config.name.clone(), tls: tls.clone(), administration: wiring.administration.clone() };
    let renewal = renewal.start();
    let running: Vec<_> = supervisors.into_iter().map(Supervisor::run).collect();
    let announce = Duration::from_millis(config.operate.drain.announce_ms);
    let parts = operate::Parts {
        config: config.operate,
        node: config.name.clone(),
        hostname: config.hostname,
        members: members.clone(),
        membership: membership.clone(),
        tls: tls.clone(),
        metrics,
        certificates: certificate_files(&config.tls),
    };
    let (operating, operations) = operate::start(parts, drainer, &config.data, &running);
    wiring.node.provide(operations);
    tracing::info!(node = %config.name, roles = ?running.iter().map(|role| role.name.as_str()).collect::<Vec<_>>(), version = env!("CARGO_PKG_VERSION"), "serving");

    let asked = wait_for_the_end(|| changes.apply(&tls, membership.as_ref()), until_stdin_closes);
    let removed = tokio::select! {
        asked = asked => asked.map(|()| None)?,
        Ok(failure) = removed => Some(failure),
    };
    if let Some(failure) = &removed {
        // What it took in now, it could hand on to nobody.
        tracing::error!(%failure, "the cluster refuses this node, so it stops serving");
    }
    tracing::info!(seconds = config.drain.as_secs(), "draining: nothing new is taken, what runs is finished");
    members.change(&config.name, |member| member.draining = true);
    if membership.is_some() {
        // Whoever asks for a name now is sent elsewhere, before anybody is refused here.
        tokio::time::sleep(announce).await;
    }
    drop(operating);
    // One deadline for all; whoever comes late still gets a moment to close what it keeps.
    let deadline = Instant::now() + config.drain;
    let left = || deadline.saturating_duration_since(Instant::now()).max(LAST_MOMENT);
    for role in running {
        role.stop(left()).await;
    }
    watch.abort();
    renewal.abort();
    renewed.inspect(JoinHandle::abort);
    administration.finish(left()).await;
    status.finish(LAST_MOMENT).await;
    membership.inspect(Membership::stop);
    let _ = fs::remove_file(&config.socket);
    tracing::info!("stopped");
    match removed {
        None => Ok(()),
        Some(failure) => Err(Exit::error(
            Code::NoPermission,
            format_args!(
                "{failure}. What it kept stays in {}: mail that its queue still holds is handed on once it has joined again (estafeta cluster join)",
                config.data.display()
            ),
        )),
    }
}

/// The files of this node's certificates, each with a word for what it is.
fn certificate_files(tls: &TlsFiles) -> Vec<(&'static str, PathBuf)> {
    let service = tls.service.iter().map(|own| ("service", own.certificate.clone()));
    let node = tls.cluster.iter().map(|(own, _)| ("node", own.certificate.clone()));
    service.chain(node).collect()
}

/// What can change while the node runs, and where it comes from.
struct Changes {
    file: PathBuf,
    table: Vec<Role>,
    logging: Logging,
}

impl Changes {
    fn enrolled(&self, nodes: &[Enrolled]) -> Members {
        enrolment::members(nodes, &config::usual_ports(&self.table))
    }

    /// Reads the configuration anew and takes over its certificates, its log filter and its nodes. When something is
    /// wrong with it, nothing changes.
    fn apply(&self, tls: &Tls, membership: Option<&Membership>) -> anyhow::Result<()> {
        let config = NodeConfig::load(&self.file, &self.table)?;
        config::check(&config)?;
        self.logging.filter(&config.log_filter)?;
        tls.reload()?;
        if let Some(membership) = membership {
            membership.enrol(self.enrolled(&config.nodes));
        }
        Ok(())
    }
}

/// Reloads on SIGHUP; completes on SIGTERM or SIGINT, or when standard input closes and that was asked for.
async fn wait_for_the_end(reload: impl Fn() -> anyhow::Result<()>, until_stdin_closes: bool) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let closed = async {
        let mut nowhere = tokio::io::sink();
        if !until_stdin_closes || tokio::io::copy(&mut tokio::io::stdin(), &mut nowhere).await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    let mut closed = std::pin::pin!(closed);
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            () = &mut closed => return Ok(()),
            _ = hangup.recv() => match reload() {
                Ok(()) => tracing::info!("reloaded: certificates, log filter and nodes are as on disk now"),
                Err(error) => tracing::error!(%error, "not reloaded: everything stays as it was"),
            },
        }
    }
}
