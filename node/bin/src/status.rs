//! `/health` and `/metrics` (Prometheus), in clear text, on loopback unless configured otherwise.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use estafeta_core::members::{MembersView, Readiness};
use estafeta_core::{NodeName, ServiceName};
use estafeta_net::accept::{ConnectionLimits, Security, serve};
use estafeta_net::drain::Drain;
use estafeta_net::http;
use estafeta_net::sockets::Sockets;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use serde_json::json;

use crate::exit::{Code, Exit};

/// What the program counts.
pub type Metrics = PrometheusHandle;

/// Buckets for durations, in seconds.
const SECONDS: &[f64] = &[0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0];

/// Buckets for how many jobs share a commit: a turn of the writer takes a thousand at most.
const TURN_JOBS: (&str, &[f64]) =
    ("estafeta_database_turn_jobs", &[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0]);

/// Starts counting.
pub fn install_metrics() -> anyhow::Result<Metrics> {
    let failed =
        |error: &dyn std::fmt::Display| Exit::error(Code::Software, format_args!("metrics cannot be started: {error}"));
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), SECONDS)
        .and_then(|builder| builder.set_buckets_for_metric(Matcher::Full(TURN_JOBS.0.into()), TURN_JOBS.1))
        .map_err(|error| failed(&error))?
        .install_recorder()
        .map_err(|error| failed(&error))?;
    metrics::describe_counter!("estafeta_connections_total", "Connections accepted, by service.");
    metrics::describe_gauge!("estafeta_connections_open", "Connections open now, by service.");
    metrics::describe_counter!(
        "estafeta_connections_refused_total",
        "Connections closed at once, by service and cause."
    );
    metrics::describe_counter!(
        "estafeta_logins_total",
        "Logins, by whether they were right, wrong, refused unasked or unanswered."
    );
    metrics::describe_counter!("estafeta_panics_total", "Conversations that a bug has ended.");
    metrics::describe_counter!(
        "estafeta_role_failures_total",
        "Failures after which a role was started anew, by role."
    );
    metrics::describe_counter!(
        "estafeta_directory_cache_total",
        "Answers about people, by whether they were fresh, asked anew or stale."
    );
    crate::operate::describe_metrics();
    Ok(handle)
}

#[derive(Clone)]
struct Status {
    node: NodeName,
    members: MembersView,
    metrics: Metrics,
}

/// Serves the status page on its sockets.
pub fn listen(
    sockets: &Sockets,
    service: &ServiceName,
    members: MembersView,
    node: NodeName,
    metrics: Metrics,
) -> anyhow::Result<Drain> {
    let drain = Drain::new();
    let router = Router::new()
        .route("/health", get(health))
        .route("/metrics", get(async |State(status): State<Status>| status.metrics.render()))
        .with_state(Status { node, members, metrics: metrics.clone() });
    for listener in sockets.tcp(service)? {
        let (router, talking) = (router.clone(), drain.clone());
        let talk = move |connection| http::serve(connection, router.clone(), talking.clone());
        let limits = ConnectionLimits { connections: 64, connections_per_address: 64 };
        drain.spawn("status", serve(listener, service.clone(), Security::Clear, limits, drain.clone(), talk));
    }
    // Histograms are folded up now and then, or they grow.
    drain.spawn("metrics", {
        let drain = drain.clone();
        async move {
            loop {
                tokio::select! {
                    () = tokio::time::sleep(std::time::Duration::from_secs(5)) => metrics.run_upkeep(),
                    () = drain.begun() => return,
                }
            }
        }
    });
    Ok(drain)
}

/// 200 when every role of this node is ready, 503 otherwise; the body says which is not, and why.
async fn health(State(status): State<Status>) -> Response {
    let members = status.members.current();
    let Some(own) = members.get(&status.node) else { return StatusCode::SERVICE_UNAVAILABLE.into_response() };
    let ready = !own.draining && own.roles.values().all(|readiness| *readiness == Readiness::Ready);
    let roles: serde_json::Map<_, _> = own
        .roles
        .iter()
        .map(|(role, readiness)| {
            let text = match readiness {
                Readiness::Ready => "ready".to_owned(),
                Readiness::NotReady(why) => format!("not ready: {why}"),
            };
            (role.to_string(), text.into())
        })
        .collect();
    let code = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(json!({ "node": status.node, "ready": ready, "draining": own.draining, "roles": roles })))
        .into_response()
}
