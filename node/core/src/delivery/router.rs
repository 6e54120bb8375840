//! The router of `Delivery`: one parcel becomes one a store group, each to a mailbox node that serves that group.

use std::collections::BTreeMap;
use std::time::Instant;

use async_trait::async_trait;

use super::{Delivery, Outcome, Parcel, later};
use crate::name::StoreGroup;
use crate::route::Routes;

/// Splits by store group and delivers to each group's mailbox nodes. A repeat after a failure is safe: the mailbox
/// knows the delivery id.
pub struct DeliveryRouter(pub Routes<dyn Delivery>);

#[async_trait]
impl Delivery for DeliveryRouter {
    async fn deliver(&self, parcel: &Parcel) -> Vec<Outcome> {
        let mut groups: BTreeMap<&StoreGroup, Vec<usize>> = BTreeMap::new();
        for (index, recipient) in parcel.recipients.iter().enumerate() {
            groups.entry(&recipient.account.store_group).or_default().push(index);
        }
        let mut outcomes = vec![None; parcel.recipients.len()];
        for (group, indices) in groups {
            let part = Parcel {
                recipients: indices.iter().map(|&i| parcel.recipients[i].clone()).collect(),
                ..parcel.clone()
            };
            for (index, outcome) in indices.into_iter().zip(self.deliver_to(group, &part).await) {
                outcomes[index] = Some(outcome);
            }
        }
        outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(|| later("no answer for this recipient"))).collect()
    }
}

impl DeliveryRouter {
    /// Tries the group's nodes in order until one takes the parcel; whoever is left `Later` by one is asked of the next.
    async fn deliver_to(&self, group: &StoreGroup, parcel: &Parcel) -> Vec<Outcome> {
        let mut outcomes =
            vec![later(format_args!("no mailbox node of store group {group} can be reached")); parcel.recipients.len()];
        for route in self.0.choose(Some(group), Instant::now()) {
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
                self.0.rest(&route, Instant::now());
            }
            for (index, outcome) in waiting.into_iter().zip(answers) {
                outcomes[index] = outcome;
            }
        }
        outcomes
    }
}
