//! Alerts: when something changes for the worse, people are told once; and once when it is over.
//!
//! Every node that has somebody to tell keeps the same book; the lowest-named ready one of them tells. That is opinion, not
//! a lease: in a partition each side may tell of the other, and a change of the one that tells may repeat an alert that
//! it had no time to say was told.

mod book;
mod own;
mod telling;
mod troubles;
pub(super) mod webhook;

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use estafeta_cluster::files::replace;
use estafeta_core::NodeName;
use estafeta_core::members::MembersView;
use tokio::sync::mpsc;

use self::book::{Alert, AlertBook, Turn};
pub use self::own::OwnTroubles;
use super::config::AlertsConfig;
use super::facts;
use super::post::Post;

/// How often the cluster is looked at.
const PERIOD: Duration = Duration::from_secs(1);

/// Describes what alerts count.
pub fn describe_metrics() {
    metrics::describe_counter!("estafeta_alerts_total", "Alerts to people, by the way taken and whether it was sent.");
    metrics::describe_gauge!(
        "estafeta_troubles",
        "What is wrong in the cluster and was told, as this node sees it; only on nodes that have somebody to tell."
    );
    metrics::describe_gauge!(
        "estafeta_certificate_expires_seconds",
        "How long this node's certificates are still valid, by certificate; below 0: how long they have not been."
    );
}

/// The watch over the cluster.
pub struct Alerts {
    config: AlertsConfig,
    node: NodeName,
    members: MembersView,
    /// Where the book is kept, so that a restart repeats nothing.
    file: PathBuf,
    book: AlertBook,
    ways: mpsc::Sender<Alert>,
}

impl Alerts {
    /// Starts to watch, with what the data directory remembers.
    pub fn start(config: AlertsConfig, post: Post, file: PathBuf) -> tokio::task::JoinSet<()> {
        let (ways, waiting) = mpsc::channel(telling::WAITING_LIMIT);
        // Without its book the node may repeat an alert, which is better than none.
        let book = fs::read(&file).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        let (node, members) = (post.node.clone(), post.members.clone());
        let alerts = Self { config: config.clone(), node, members, file, book, ways };
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(telling::tell(config, post, waiting));
        tasks.spawn(alerts.watch());
        tasks
    }

    async fn watch(mut self) {
        facts::set(&self.members, &self.node, facts::TELLS, Some("yes"));
        let mut ticks = tokio::time::interval(PERIOD);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.look(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs());
        }
    }

    fn look(&mut self, now_seconds: u64) {
        let members = self.members.current();
        let before = self.book.clone();
        let told = facts::words(&members, &self.node, facts::TOLD);
        self.book.learn(|about| told.contains(about));
        let speaks = facts::holds(&members, &self.node, facts::TELLS);
        let troubles = troubles::troubles(&members);
        for alert in self.book.observe(&troubles, now_seconds, self.config.after_seconds, speaks) {
            let (about, what) = (&alert.about, &alert.text);
            match alert.turn {
                Turn::Began => tracing::warn!(about, what, "alert"),
                Turn::Over => tracing::info!(about, what, "alert: over"),
            }
            if let Err(error) = self.ways.try_send(alert) {
                tracing::error!(%error, "too many alerts wait to be sent: this one stands in the log alone");
            }
        }
        metrics::gauge!("estafeta_troubles").set(self.book.told().count() as f64);
        if self.book != before {
            self.keep();
        }
        // Whoever does not speak has told nothing.
        let told = speaks.then(|| facts::list(self.book.told())).filter(|told| !told.is_empty());
        facts::set(&self.members, &self.node, facts::TOLD, told.as_deref());
    }

    fn keep(&self) {
        let kept = serde_json::to_vec(&self.book)
            .map_err(std::io::Error::other)
            .and_then(|content| replace(&self.file, &content, 0o600));
        if let Err(error) = kept {
            tracing::warn!(file = %self.file.display(), %error, "the alerts that were told cannot be kept: after a restart they may be repeated");
        }
    }
}
