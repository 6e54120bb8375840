//! THREAD (RFC 5256 §3).

use estafeta_protocols::imap::command::thread::{Algorithm, Thread};
use estafeta_protocols::imap::message::Message;
use estafeta_protocols::imap::response::Completion;
use estafeta_protocols::imap::thread::{Threadable, ordered_subject, references};
use estafeta_storage::StorageError;

use super::engine::{Engine, Reply};
use super::finding::{Found, find};
use super::refusal::Outcome;
use super::sort::with_headers;
use crate::store::StoreError;

impl Engine {
    pub(super) async fn thread(&mut self, thread: &Thread, reply: &mut Reply<'_, '_>) -> Outcome {
        let selected = self.selected()?;
        let found = find(selected, &thread.key, false, reply).await?;
        let look = |message: &Message, found: &Found| message.threadable(found.entry.internal_date);
        let seen = with_headers(selected, found, &look, reply).await?;
        let (messages, found): (Vec<Threadable>, Vec<Found>) = seen.into_iter().unzip();
        let algorithm = thread.algorithm;
        // Off the threads that must not wait: a mailbox may be one long conversation.
        let threaded = tokio::task::spawn_blocking(move || match algorithm {
            Algorithm::OrderedSubject => ordered_subject(&messages),
            Algorithm::References => references(&messages),
        });
        let threads = reply.waiting(threaded).await?.map_err(|_| StoreError::Storage(StorageError::Closed))?;
        let number = |index: usize| {
            found.get(index).map_or(0, |found| if thread.by_uid { found.entry.uid.0 } else { found.sequence })
        };
        reply.output().thread(&threads, number);
        reply.send_much().await?;
        Ok(Completion::ok("THREAD completed"))
    }
}
