//! The router of `Delivery`: one parcel becomes one a store group, each to a mailbox node that serves that group.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use async_trait::async_trait;

use super::{Delivery, ELSEWHERE, Outcome, Parcel, Recipient, later};
use crate::directory::Directory;
use crate::name::StoreGroup;
use crate::route::Routes;

/// Splits by store group and delivers to each group's mailbox nodes. A repeat after a failure is safe: the mailbox
/// knows the delivery id. An account that has moved meanwhile is looked for once more.
pub struct DeliveryRouter {
    /// The ways to mailbox nodes.
    pub routes: Routes<dyn Delivery>,
    /// Never a cache: it is asked for accounts that a cached answer did not lead to.
    pub directory: Arc<dyn Directory>,
}

#[async_trait]
impl Delivery for DeliveryRouter {
    async fn deliver(&self, parcel: &Parcel) -> Vec<Outcome> {
        let mut outcomes = self.deliver_by_groups(parcel).await;
        let (mut places, mut moved) = (Vec::new(), Vec::new());
        for (place, recipient) in parcel.recipients.iter().enumerate() {
            if let Outcome::Later(answer) = &outcomes[place]
                && answer.status == ELSEWHERE
                && let Some(recipient) = self.found_elsewhere(recipient).await
            {
                places.push(place);
                moved.push(recipient);
            }
        }
        if !moved.is_empty() {
            let again = self.deliver_by_groups(&Parcel { recipients: moved, ..parcel.clone() }).await;
            places.into_iter().zip(again).for_each(|(place, outcome)| outcomes[place] = outcome);
        }
        outcomes
    }
}

impl DeliveryRouter {
    /// The recipient as the directory has it now, if its account has moved.
    async fn found_elsewhere(&self, recipient: &Recipient) -> Option<Recipient> {
        let known = &recipient.account;
        let account = self.directory.account(&known.address).await.ok()?;
        let has_moved = account.id == known.id && account.store_group != known.store_group;
        has_moved.then(|| Recipient { account, original: recipient.original.clone() })
    }

    async fn deliver_by_groups(&self, parcel: &Parcel) -> Vec<Outcome> {
        let mut groups: BTreeMap<&StoreGroup, Vec<usize>> = BTreeMap::new();
        for (index, recipient) in parcel.recipients.iter().enumerate() {
            groups.entry(&recipient.account.store_group).or_default().push(index);
        }
        // Each group in its own time: one that is away must not hold the others up.
        let deliveries = groups.into_iter().map(|(group, indices)| async move {
            let recipients = indices.iter().map(|&index| parcel.recipients[index].clone()).collect();
            let outcomes = self.deliver_to(group, &Parcel { recipients, ..parcel.clone() }).await;
            indices.into_iter().zip(outcomes).collect::<Vec<_>>()
        });
        let mut outcomes = vec![None; parcel.recipients.len()];
        for (index, outcome) in all(deliveries.collect()).await.into_iter().flatten() {
            outcomes[index] = Some(outcome);
        }
        outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(|| later("no answer for this recipient"))).collect()
    }
}

/// Runs futures side by side in one task, and gives their results in their order.
async fn all<T>(futures: Vec<impl Future<Output = T> + Send>) -> Vec<T> {
    let mut running: Vec<_> = futures.into_iter().map(|future| (Box::pin(future), None)).collect();
    poll_fn(|context| {
        for (future, result) in running.iter_mut().filter(|(_, result)| result.is_none()) {
            if let Poll::Ready(done) = future.as_mut().poll(context) {
                *result = Some(done);
            }
        }
        if running.iter().all(|(_, result)| result.is_some()) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    running.into_iter().filter_map(|(_, result)| result).collect()
}

impl DeliveryRouter {
    /// Tries the group's nodes in order until one takes the parcel; whoever is left `Later` by one is asked of the next.
    async fn deliver_to(&self, group: &StoreGroup, parcel: &Parcel) -> Vec<Outcome> {
        let mut outcomes =
            vec![later(format_args!("no mailbox node of store group {group} can be reached")); parcel.recipients.len()];
        // Where the first one's mail is read, so that it is in that node's cache.
        let account = parcel.recipients.first().map(|recipient| &recipient.account);
        for route in self.routes.choose(account, Instant::now()) {
            let waiting: Vec<usize> =
                (0..outcomes.len()).filter(|&i| matches!(outcomes[i], Outcome::Later(_))).collect();
            if waiting.is_empty() {
                break;
            }
            let part = Parcel {
                recipients: waiting.iter().map(|&i| parcel.recipients[i].clone()).collect(),
                ..parcel.clone()
            };
            let answers = route.to.deliver(&part).await;
            if answers.iter().all(|outcome| matches!(outcome, Outcome::Later(_))) {
                self.routes.rest(&route, Instant::now());
            }
            for (index, outcome) in waiting.into_iter().zip(answers) {
                outcomes[index] = outcome;
            }
        }
        outcomes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::Account;
    use crate::directory::NewAccount;
    use crate::members::{Endpoint, Member, Members, MembersView, Readiness};
    use crate::message::{DeliveryId, Message};
    use crate::name::{AccountId, RoleName, ServiceName};
    use crate::route::{Connect, Local};
    use crate::settings::SettingsStore as _;

    const LMTP: ServiceName = ServiceName::fixed("lmtp");

    /// Takes what is for its own group's accounts, unless it is away.
    struct Node {
        group: String,
        away: bool,
    }

    #[async_trait]
    impl Delivery for Node {
        async fn deliver(&self, parcel: &Parcel) -> Vec<Outcome> {
            assert!(parcel.recipients.iter().all(|recipient| recipient.account.store_group.as_str() == self.group));
            vec![if self.away { later("away") } else { Outcome::Delivered }; parcel.recipients.len()]
        }
    }

    fn member(name: &str, port: u16, group: &str) -> Member {
        let address = ([127, 0, 0, 1], port).into();
        Member {
            roles: [(RoleName::MAILBOX, Readiness::Ready)].into(),
            endpoints: vec![Endpoint { role: RoleName::MAILBOX, service: LMTP, address }],
            store_group: Some(group.parse().unwrap()),
            ..Member::named(name.parse().unwrap())
        }
    }

    fn recipient(name: &str, group: &str) -> crate::delivery::Recipient {
        let address: crate::Address = format!("{name}@example.edu").parse().unwrap();
        let account = Account {
            id: AccountId::random(),
            address: address.clone(),
            name: String::new(),
            store_group: group.parse().unwrap(),
            quota_bytes: None,
            quota_messages: None,
            enabled: true,
            created: 0,
        };
        crate::delivery::Recipient { account, original: address }
    }

    #[tokio::test]
    async fn each_group_in_its_own_time_and_outcomes_in_order() {
        // Two nodes serve red, the first of which is away; blue is away altogether; nobody serves green.
        let members = Members::new(vec![member("a", 1, "red"), member("b", 2, "red"), member("c", 3, "blue")]);
        let connect: Connect<dyn Delivery> = Box::new(|candidate| {
            let group = if candidate.node.as_str() == "c" { "blue" } else { "red" };
            Arc::new(Node { group: group.into(), away: candidate.node.as_str() != "b" })
        });
        let routes = Routes::new(LMTP, "edge1".parse().unwrap(), Local::default(), MembersView::new(members), connect);
        let parcel = Parcel {
            id: DeliveryId::generate(),
            sender: None,
            recipients: vec![
                recipient("x", "blue"),
                recipient("y", "red"),
                recipient("z", "green"),
                recipient("w", "red"),
            ],
            message: Message::default(),
        };
        let directory = Arc::new(crate::directory::memory::MemoryDirectory::default());
        let router = DeliveryRouter { routes, directory };
        for _ in 0..2 {
            let outcomes = router.deliver(&parcel).await;
            assert!(matches!(&outcomes[0], Outcome::Later(answer) if answer.text == "away"), "{outcomes:?}");
            assert!(
                matches!(&outcomes[2], Outcome::Later(answer) if answer.text.contains("store group green")),
                "{outcomes:?}"
            );
            assert_eq!((&outcomes[1], &outcomes[3]), (&Outcome::Delivered, &Outcome::Delivered));
        }
    }

    /// Has had the account.
    struct Before;

    #[async_trait]
    impl Delivery for Before {
        async fn deliver(&self, parcel: &Parcel) -> Vec<Outcome> {
            vec![
                Outcome::Later(crate::delivery::Answer { code: 451, status: ELSEWHERE.into(), text: "moved".into() });
                parcel.recipients.len()
            ]
        }
    }

    #[tokio::test]
    async fn an_account_that_has_moved_is_followed_at_once() {
        let members = Members::new(vec![member("a", 1, "red"), member("b", 2, "blue")]);
        let connect: Connect<dyn Delivery> = Box::new(|candidate| match candidate.node.as_str() {
            "a" => Arc::new(Before),
            _ => Arc::new(Node { group: "blue".into(), away: false }),
        });
        let routes = Routes::new(LMTP, "edge1".parse().unwrap(), Local::default(), MembersView::new(members), connect);
        let directory = Arc::new(crate::directory::memory::MemoryDirectory::default());
        directory.add_domain(&"example.edu".parse().unwrap()).await.unwrap();
        let new = NewAccount {
            address: "x@example.edu".parse().unwrap(),
            name: String::new(),
            store_group: "blue".parse().unwrap(),
            quota_bytes: None,
            quota_messages: None,
            password: None,
        };
        let moved = directory.add_account(&new).await.unwrap();
        let known = Account { store_group: "red".parse().unwrap(), ..moved };
        let here = crate::delivery::Recipient { account: known, original: new.address.clone() };
        let recipients = vec![recipient("y", "red"), here, recipient("z", "blue")];
        let parcel = Parcel { id: DeliveryId::generate(), sender: None, recipients, message: Message::default() };
        let outcomes = DeliveryRouter { routes, directory }.deliver(&parcel).await;
        // Nobody knows of y.
        assert!(matches!(&outcomes[0], Outcome::Later(answer) if answer.status == ELSEWHERE), "{outcomes:?}");
        assert_eq!(outcomes[1..], [Outcome::Delivered, Outcome::Delivered]);
    }
}
