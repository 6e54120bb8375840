//! The router of `Judge`: any filter of the cluster judges alike, so the first that answers does.

use async_trait::async_trait;

use super::{Envelope, Judge, Verdict};
use crate::failure::Failure;
use crate::message::Message;
use crate::route::Routes;

/// Asks the local filter, then the others in turn.
pub struct JudgeRouter(pub Routes<dyn Judge>);

#[async_trait]
impl Judge for JudgeRouter {
    async fn judge(&self, envelope: &Envelope, message: &Message) -> Result<Verdict, Failure> {
        self.0.ask(None, |judge| async move { judge.judge(envelope, message).await }).await
    }
}
