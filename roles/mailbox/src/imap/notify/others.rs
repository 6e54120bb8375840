//! What a session watches beside the open mailbox, and when it looks.

use std::collections::BTreeSet;
use std::time::Duration;

use estafeta_protocols::imap::command::notify::{EventGroup, Events};
use tokio::time::Instant;

use super::own::Own;
use super::picture::{Picture, Wanted};
use crate::imap::refusal::Refused;
use crate::store::{AccountMail, Overview, Seen, StoreError, Watcher};

/// The most mailboxes of one's own and of others that are looked at.
const MAILBOXES: usize = 5_000;
/// The most things that a client does itself and that are remembered until the next look.
const OWN: usize = 100;
/// How long after a look the next one comes at the earliest, when the client asks nothing.
const PACE: Duration = Duration::from_millis(200);
/// The same after a look that failed.
const PACE_FAILED: Duration = Duration::from_secs(2);
/// How often what is watched is set up anew before the next wake is waited for: only when mailboxes come all the time.
const SETTINGS: usize = 8;

/// Why nothing is seen.
pub(super) enum Unseen {
    /// There is too much to look at.
    TooMuch,
    /// The store does not answer.
    Refused(Refused),
}

impl From<StoreError> for Unseen {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Limit(_) => Self::TooMuch,
            other => Self::Refused(other.into()),
        }
    }
}

/// What is watched.
pub(super) struct Others {
    pub(super) wanted: Wanted,
    /// As the client knows it.
    pub(super) picture: Picture,
    /// What the client did itself since.
    pub(super) own: Vec<Own>,
    names: Watcher,
    messages: Watcher,
    /// Those whose messages are watched, and whose names are, by their object numbers.
    watched: (BTreeSet<u64>, BTreeSet<u64>),
    /// What has changed since the last look.
    behind_names: bool,
    behind_messages: bool,
    not_before: Instant,
}

impl Others {
    /// Begins to watch; nothing when there is nothing to hear of.
    pub(super) async fn begin(mail: &AccountMail, groups: &[EventGroup]) -> Result<Option<Self>, Unseen> {
        let wanted = Wanted::new(groups);
        if wanted.any() == Events::default() {
            return Ok(None);
        }
        let mut others = Self {
            names: mail.watch_names([], wanted.reaches_others()),
            messages: mail.watch_messages([]),
            wanted,
            picture: Picture::default(),
            own: Vec::new(),
            watched: Default::default(),
            behind_names: true,
            behind_messages: true,
            not_before: Instant::now(),
        };
        others.look(mail).await?;
        Ok(Some(others))
    }

    /// Completes when it is time to look. Cancel-safe.
    pub(super) async fn changed(&mut self) {
        if !self.behind_names && !self.behind_messages {
            tokio::select! {
                () = self.names.changed() => self.behind_names = true,
                () = self.messages.changed() => self.behind_messages = true,
            }
        }
        tokio::time::sleep_until(self.not_before).await;
    }

    /// Looks, if something has changed, and gives the picture before.
    pub(super) async fn look(&mut self, mail: &AccountMail) -> Result<Option<Picture>, Unseen> {
        self.behind_names |= self.names.take();
        self.behind_messages |= self.messages.take();
        if !self.behind_names && !self.behind_messages {
            return Ok(None);
        }
        self.not_before = Instant::now() + PACE_FAILED;
        let mut picture = self.take_picture(mail).await?;
        if !self.behind_names {
            picture.keep_entries(&mut self.picture);
        }
        (self.behind_names, self.behind_messages) = (false, false);
        self.not_before = Instant::now() + PACE;
        Ok(Some(std::mem::replace(&mut self.picture, picture)))
    }

    async fn take_picture(&mut self, mail: &AccountMail) -> Result<Picture, Unseen> {
        let mut overview = self.overview(mail).await?;
        for _ in 0..SETTINGS {
            if !self.watch(mail, &overview) {
                break;
            }
            overview = self.overview(mail).await?;
        }
        let any = self.wanted.any();
        let prints = if self.behind_names && (any.metadata || any.server_metadata) {
            let of = Picture::with_entries(&overview, &self.wanted);
            mail.entry_prints(&of, any.server_metadata).await?
        } else {
            Vec::new()
        };
        let mut picture = Picture::new(overview);
        picture.note_entries(prints);
        Ok(picture)
    }

    async fn overview(&self, mail: &AccountMail) -> Result<Overview, Unseen> {
        let overview = mail.overview(self.wanted.reaches_others()).await?;
        if overview.mailboxes.len() > MAILBOXES { Err(Unseen::TooMuch) } else { Ok(overview) }
    }

    /// Watches all that is seen. Says whether there was something that was not watched.
    fn watch(&mut self, mail: &AccountMail, overview: &Overview) -> bool {
        let with_messages = Picture::with_messages(overview, &self.wanted);
        let shared: Vec<&Seen> = overview.mailboxes.iter().filter(|seen| seen.owner.is_some()).collect();
        let numbers = |seen: &[&Seen]| seen.iter().map(|seen| seen.object_number).collect::<BTreeSet<_>>();
        let (messages, names) = (numbers(&with_messages), numbers(&shared));
        let new_messages = !messages.is_subset(&self.watched.0);
        let new_names = !names.is_subset(&self.watched.1);
        if new_messages {
            self.messages = mail.watch_messages(with_messages);
        }
        if new_names {
            self.names = mail.watch_names(shared, self.wanted.reaches_others());
            // What came before it was watched may have gone unseen.
            self.behind_names = true;
        }
        if new_messages || new_names {
            self.watched = (messages, names);
        }
        new_messages || new_names
    }

    pub(super) fn note(&mut self, own: Own) {
        if self.own.len() < OWN {
            self.own.push(own);
        }
    }
}
