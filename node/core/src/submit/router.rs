//! The router of `Submit`: any edge node sends mail as well as another.

use async_trait::async_trait;

use super::{Submission, Submit};
use crate::failure::Failure;
use crate::route::Routes;

/// Asks the local edge, then the others in turn.
pub struct SubmitRouter(pub Routes<dyn Submit>);

#[async_trait]
impl Submit for SubmitRouter {
    async fn submit(&self, submission: &Submission) -> Result<(), Failure> {
        self.0.ask(None, |edge| async move { edge.submit(submission).await }).await
    }
}
