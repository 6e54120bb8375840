//! The contracts as a role is handed them: routers, each of which chooses an implementation at each call.

use std::sync::Arc;

use crate::administration::Administration;
use crate::delivery::Delivery;
use crate::directory::Directory;
use crate::judge::Judge;
use crate::sessions::Sessions;
use crate::settings::SettingsStore;
use crate::submit::Submit;

/// Every contract that a role may ask.
#[derive(Clone)]
pub struct Contracts {
    /// People, answered from a cache of bounded age where possible, and by it while no directory can be reached.
    pub directory: Arc<dyn Directory>,
    /// People, never from a cache: for what must not be decided on a stale answer.
    pub directory_uncached: Arc<dyn Directory>,
    /// Verdicts.
    pub judge: Arc<dyn Judge>,
    /// Into mailboxes.
    pub delivery: Arc<dyn Delivery>,
    /// Out of mailboxes.
    pub sessions: Arc<dyn Sessions>,
    /// Mail that the cluster itself sends.
    pub submit: Arc<dyn Submit>,
    /// Changes to the settings. To read them, use the view that the role was given.
    pub settings: Arc<dyn SettingsStore>,
    /// Operations, of this node and of others.
    pub administration: Arc<dyn Administration>,
}
