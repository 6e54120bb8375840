//! Queued mail for mailboxes of our own.

use std::time::Duration;

use estafeta_core::delivery::{Answer, Outcome, Parcel, Recipient, later};
use estafeta_core::directory::{Account, Resolution, Target};
use estafeta_core::{Address, Failure, Reason};

use crate::edge::Edge;
use crate::outgoing::answer;
use crate::queue::{Fate, Job, Waiting};

/// Delivers to the mailboxes of a store group. A mailbox that got it before, under the same id, says so again.
pub async fn deliver(edge: &Edge, job: &Job) -> Vec<Fate> {
    let mut fates: Vec<Option<Fate>> = vec![None; job.recipients.len()];
    let (mut places, mut recipients) = (Vec::new(), Vec::new());
    for (place, recipient) in job.recipients.iter().enumerate() {
        match still_there(edge, &recipient.waiting).await {
            Ok(account) => {
                places.push(place);
                recipients.push(Recipient { account, original: recipient.waiting.original.clone() });
            }
            Err(fate) => fates[place] = Some(fate),
        }
    }
    if !recipients.is_empty() {
        let limit = Duration::from_secs(edge.config.queue.mailbox_attempt_seconds);
        let parcel = Parcel { id: job.id, sender: job.sender.clone(), recipients, message: job.message.clone() };
        let outcomes = tokio::time::timeout(limit, edge.contracts.delivery.deliver(&parcel)).await.unwrap_or_default();
        for (place, outcome) in places.into_iter().zip(outcomes) {
            let to = &job.recipients[place].waiting.address;
            tracing::info!(id = %job.id, %to, ?outcome, attempt = job.recipients[place].attempts + 1, "delivered from the queue");
            fates[place] = Some(match outcome {
                Outcome::Delivered => Fate::Done,
                Outcome::Later(answer) => Fate::Later(answer),
                Outcome::Refused(answer) => Fate::Never(answer),
            });
        }
    }
    fates.into_iter().map(|fate| fate.unwrap_or_else(unknown_fate)).collect()
}

fn unknown_fate() -> Fate {
    match later("no answer in time") {
        Outcome::Later(answer) => Fate::Later(answer),
        _ => Fate::Later(answer(451, "4.4.1", String::new())),
    }
}

/// The account as the directory has it now. While nobody can be asked, as it was: the mailbox checks it once more.
async fn still_there(edge: &Edge, waiting: &Waiting) -> Result<Account, Fate> {
    let gone = || Fate::Never(no_such_user());
    let Some(known) = &waiting.account else { return Err(gone()) };
    match edge.contracts.directory.account(&known.address).await {
        Ok(account) if account.id == known.id && account.enabled => Ok(account),
        Ok(account) if account.id == known.id => Err(Fate::Never(blocked())),
        Err(failure) if failure.is_temporary() => Ok(known.clone()),
        // The address is somebody else's now, or nobody's. The account itself may have been renamed: what the sender
        // wrote may still lead to it.
        Ok(_) | Err(_) => match edge.contracts.directory.resolve(&waiting.original).await {
            Ok(Resolution::Recipients(targets)) => {
                targets.into_iter().find_map(|target| same(target, known)).ok_or_else(gone)
            }
            Err(failure) if failure.is_temporary() => Ok(known.clone()),
            Ok(_) | Err(_) => Err(gone()),
        },
    }
}

fn same(target: Target, known: &Account) -> Option<Account> {
    match target {
        Target::Account(account) if account.id == known.id => Some(account),
        _ => None,
    }
}

/// Finds out where addresses of our own domains lead: those of reports, and of domains that became ours.
pub async fn resolve(edge: &Edge, job: &Job) -> Vec<Fate> {
    let mut fates = Vec::with_capacity(job.recipients.len());
    for recipient in &job.recipients {
        let address = &recipient.waiting.address;
        let fate = match edge.contracts.directory.resolve(address).await {
            Ok(Resolution::Recipients(targets)) => {
                let replaced = targets.into_iter().map(|target| placed(&recipient.waiting.original, target));
                Fate::Replaced(replaced.collect())
            }
            Ok(Resolution::Unknown) => Fate::Never(no_such_user()),
            Ok(Resolution::Blocked(_)) => Fate::Never(blocked()),
            // The settings say that the domain is ours, the directory does not know that yet.
            Ok(Resolution::Foreign) => {
                Fate::Later(unresolved(&Failure::unavailable("the domain is not in the directory")))
            }
            Err(failure) => Fate::Later(unresolved(&failure)),
        };
        fates.push(fate);
    }
    fates
}

fn placed(original: &Address, target: Target) -> Waiting {
    match target {
        Target::Account(account) => {
            Waiting { address: account.address.clone(), original: original.clone(), account: Some(account) }
        }
        Target::Remote(address) => Waiting { address, original: original.clone(), account: None },
    }
}

fn no_such_user() -> Answer {
    answer(550, "5.1.1", "No such user here".to_owned())
}

fn blocked() -> Answer {
    answer(550, "5.2.1", "This mailbox takes no mail".to_owned())
}

fn unresolved(failure: &Failure) -> Answer {
    debug_assert!(failure.reason != Reason::Exists);
    answer(451, "4.3.0", format!("the recipient cannot be checked now: {}", failure.client))
}
