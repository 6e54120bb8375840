//! Whose session it is, as the directory has them now: an administrator may change an account's limits while it has sessions
//! open, disable it, or remove it.
//!
//! The directory is asked once a minute at most, by a session that does something or hears something, and waited for by those
//! commands alone that count against the limits: while it is away, mail is read all the same. A session of an account that is
//! disabled or gone ends as soon as that was answered.

use std::time::{Duration, Instant};

use estafeta_core::directory::Account;
use estafeta_core::{Failure, Reason};
use tokio::sync::oneshot::{self, error::TryRecvError};

use super::engine::Engine;
use super::refusal::Refused;

/// How long what the directory said serves.
const AGE: Duration = Duration::from_secs(60);

/// What the directory said.
type Answer = Result<Account, Failure>;

/// How fresh a session's word of its account is.
pub(super) struct Owner {
    asked: Instant,
    age: Duration,
    /// The answer that is to come.
    coming: Option<oneshot::Receiver<Answer>>,
    /// The answer that has come.
    heard: Option<Box<Answer>>,
}

impl Owner {
    /// The directory has just been asked, at the login.
    pub(super) fn known() -> Self {
        Self { asked: Instant::now(), age: AGE, coming: None, heard: None }
    }

    /// The same, serving so long.
    #[cfg(test)]
    pub(super) fn serving(age: Duration) -> Self {
        Self { age, ..Self::known() }
    }

    /// Completes when the directory has answered. Cancel-safe.
    pub(super) async fn answered(&mut self) {
        match &mut self.coming {
            Some(coming) => self.heard = coming.await.ok().map(Box::new),
            None => std::future::pending().await,
        }
        self.coming = None;
    }

    /// What was answered, unless that was long ago.
    fn take_heard(&mut self) -> Option<Answer> {
        if let Some(coming) = &mut self.coming
            && let come @ (Ok(_) | Err(TryRecvError::Closed)) = coming.try_recv()
        {
            (self.heard, self.coming) = (come.ok().map(Box::new), None);
        }
        self.heard.take().filter(|_| self.asked.elapsed() < AGE).map(|answer| *answer)
    }
}

impl Engine {
    /// Before a command that counts against the account's limits: they are those that the directory has now, if it answers.
    pub(super) async fn renew_owner(&mut self) -> Result<(), Refused> {
        let owner = &mut self.owner;
        let answer = match (owner.take_heard(), owner.coming.take()) {
            (Some(answer), _) => Some(answer),
            (None, Some(coming)) => coming.await.ok(),
            (None, None) if owner.asked.elapsed() < owner.age => None,
            (None, None) => {
                owner.asked = Instant::now();
                Some(self.neighbours.account(&self.mail.account().address).await)
            }
        };
        answer.map_or(Ok(()), |answer| self.hear_of_owner(answer))
    }

    /// Before anything else that the session does: hears what was answered since, and asks anew when that is long ago.
    pub(super) fn look_after_owner(&mut self) -> Result<(), Refused> {
        if let Some(answer) = self.owner.take_heard() {
            self.hear_of_owner(answer)?;
        }
        if self.owner.coming.is_none() && self.owner.asked.elapsed() >= self.owner.age {
            let (answered, coming) = oneshot::channel();
            let (neighbours, address) = (self.neighbours.clone(), self.mail.account().address.clone());
            tokio::spawn(async move { answered.send(neighbours.account(&address).await).ok() });
            (self.owner.asked, self.owner.coming) = (Instant::now(), Some(coming));
        }
        Ok(())
    }

    fn hear_of_owner(&mut self, answer: Answer) -> Result<(), Refused> {
        match answer {
            Ok(account) if account.id == self.mail.account().id && account.enabled => {
                self.mail.take_limits(&account);
                Ok(())
            }
            Ok(account) if account.id == self.mail.account().id => {
                Err(Refused::End("This account is disabled, please ask your administrators"))
            }
            // The address is somebody else's now, or nobody's.
            Ok(_) => Err(Refused::End("This account is no more")),
            Err(failure) if failure.reason == Reason::NotFound => Err(Refused::End("This account is no more")),
            Err(failure) => {
                tracing::debug!(%failure, "how an account stands is not seen now");
                Ok(())
            }
        }
    }
}
