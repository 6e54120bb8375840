//! What edge proves about itself beside its listeners: its queue takes mail.
//!
//! A full queue makes this node not ready, because it can keep no promise about mail that is not delivered at once, and
//! another edge node can. A directory, filter or mailbox that is down for all nodes does not.

use async_trait::async_trait;
use estafeta_core::RoleName;
use estafeta_net::role::{Health, Needs};

use crate::config::{Config, Unjudged};
use crate::queue::Queue;

/// The queue, under watch.
pub struct QueueHealth(pub Queue);

#[async_trait]
impl Health for QueueHealth {
    async fn check(&self) -> Result<(), String> {
        let (waiting, limit) = (self.0.len(), self.0.limit());
        if waiting >= limit {
            return Err(format!(
                "the queue is full: {waiting} messages wait; see why with estafeta queue list, or raise [edge.queue] messages_limit"
            ));
        }
        self.0.check().await.map_err(|error| format!("the queue does not work: {error}"))
    }
}

/// Unjudged mail that may be accepted needs no filter. Mail for a mailbox that is away waits in the queue.
pub fn needs(config: &Config) -> Needs {
    let filter = (config.unjudged == Unjudged::Defer).then_some(RoleName::FILTER);
    Needs { disk: true, roles: std::iter::once(RoleName::DIRECTORY).chain(filter).collect() }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use estafeta_core::{DeliveryId, Message};

    use super::*;
    use crate::queue::{Letter, Waiting};

    #[tokio::test]
    async fn a_full_queue_is_not_ready_until_it_has_room() {
        let directory = tempfile::tempdir().unwrap();
        let queue = Queue::open(directory.path(), 1).await.unwrap();
        let health = QueueHealth(queue.clone());
        assert_eq!(health.check().await, Ok(()));
        let id = DeliveryId::generate();
        let letter = Letter {
            id,
            sender: None,
            message: Message::new("Subject: s\r\n\r\nb\r\n".into()),
            smtputf8: false,
            arrived: SystemTime::now(),
            recipients: vec![Waiting::at("a@example.org".parse().unwrap())],
        };
        queue.keep(vec![letter]).await.unwrap();
        assert!(health.check().await.unwrap_err().starts_with("the queue is full: 1 messages wait"));
        assert!(queue.remove(id).await.unwrap());
        assert_eq!(health.check().await, Ok(()));
        queue.close().await;
        assert!(health.check().await.unwrap_err().starts_with("the queue does not work"));
    }

    #[test]
    fn a_filter_is_needed_only_where_mail_is_deferred_without_one() {
        assert_eq!(needs(&Config::default()).roles, [RoleName::DIRECTORY, RoleName::FILTER]);
        let accepting = Config { unjudged: Unjudged::Accept, ..Config::default() };
        assert_eq!(needs(&accepting).roles, [RoleName::DIRECTORY]);
    }
}
