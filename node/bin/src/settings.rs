//! The settings of the cluster as this node knows them: asked anew every second, kept in `settings.json` (mode 0600), so
//! that the node starts with them while the directory is away.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use estafeta_cluster::files::replace;
use estafeta_core::settings::{Settings, SettingsStore, SettingsView};
use estafeta_core::{Failure, Reason};
use estafeta_net::tls::Tls;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::exit::{Code, Exit};

const PERIOD: Duration = Duration::from_secs(1);

/// How many times in a row the cluster must refuse this node before it takes itself for removed.
const REFUSALS: u32 = 3;

/// Where a node with this data directory keeps the settings that it knows.
pub fn file(data: &Path) -> PathBuf {
    data.join("settings.json")
}

/// The watch over the settings.
pub struct SettingsWatch {
    file: PathBuf,
    view: SettingsView,
}

impl SettingsWatch {
    /// Starts from what the data directory keeps.
    pub fn open(data: &Path) -> anyhow::Result<Self> {
        let file = file(data);
        let settings = match fs::read(&file) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|error| {
                // A snapshot is a convenience: without it the node waits for the directory.
                tracing::warn!(file = %file.display(), %error, "the kept settings cannot be read and are asked anew");
                Settings::default()
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Settings::default(),
            Err(error) => return Err(Exit::error(Code::NoPermission, format_args!("{}: {error}", file.display()))),
        };
        Ok(Self { file, view: SettingsView::new(settings) })
    }

    /// The view that roles are handed.
    pub fn view(&self) -> SettingsView {
        self.view.clone()
    }

    /// Keeps asking. Whom the settings shut out is not talked with any more, over this TLS. The receiver gets why, once
    /// the directory has refused this node itself: it was removed.
    pub fn start(self, store: Arc<dyn SettingsStore>, tls: Arc<Tls>) -> (JoinHandle<()>, oneshot::Receiver<Failure>) {
        tls.shut_out(&self.view.current().shut_out);
        let (removed, told) = oneshot::channel();
        let mut removed = Some(removed);
        let watch = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(PERIOD);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            let (mut away, mut refusals) = (false, 0);
            loop {
                ticks.tick().await;
                match store.read().await {
                    Ok(settings) => {
                        if away {
                            tracing::info!("the directory answers again");
                        }
                        (away, refusals) = (false, 0);
                        tls.shut_out(&settings.shut_out);
                        let version = settings.version;
                        if self.view.replace(settings) {
                            tracing::info!(version, "new settings");
                            self.keep();
                        }
                    }
                    Err(failure) if failure.reason == Reason::Denied => {
                        refusals += 1;
                        if let Some(removed) = removed.take_if(|_| refusals >= REFUSALS) {
                            // Nobody waits any more when the node ends already.
                            removed.send(failure).ok();
                        }
                    }
                    Err(failure) => {
                        refusals = 0;
                        if !away {
                            tracing::warn!(%failure, version = self.view.current().version, "no directory answers: the settings stay as they were");
                        }
                        away = true;
                    }
                }
            }
        });
        (watch, told)
    }

    fn keep(&self) {
        let kept = serde_json::to_vec_pretty(self.view.current().as_ref())
            .map_err(io::Error::other)
            .and_then(|content| replace(&self.file, &content, 0o600));
        if let Err(error) = kept {
            tracing::error!(file = %self.file.display(), %error, "the settings cannot be kept: a restart without the directory would know older ones");
        }
    }
}
