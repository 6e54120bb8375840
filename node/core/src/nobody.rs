//! An implementation of the contracts that nobody in a test asks.

use async_trait::async_trait;

use crate::delivery::{Delivery, Outcome, Parcel, later};
use crate::failure::Failure;
use crate::judge::{Envelope, Judge, Verdict};
use crate::message::Message;
use crate::sessions::{Session, SessionRequest, Sessions};
use crate::submit::{Submission, Submit};

/// Answers that nobody is there.
pub struct Nobody;

#[async_trait]
impl Judge for Nobody {
    async fn judge(&self, _: &Envelope, _: &Message) -> Result<Verdict, Failure> {
        Err(Failure::unavailable("nobody judges here"))
    }
}

#[async_trait]
impl Delivery for Nobody {
    async fn deliver(&self, parcel: &Parcel) -> Vec<Outcome> {
        vec![later("nobody delivers here"); parcel.recipients.len()]
    }
}

#[async_trait]
impl Sessions for Nobody {
    async fn open(&self, _: &SessionRequest) -> Result<Box<dyn Session>, Failure> {
        Err(Failure::unavailable("nobody opens here"))
    }
}

#[async_trait]
impl Submit for Nobody {
    async fn submit(&self, _: &Submission) -> Result<(), Failure> {
        Err(Failure::unavailable("nobody sends here"))
    }
}
