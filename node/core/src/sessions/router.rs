//! The router of `Sessions`: a session opens on a node of the account's store group, the same one while it is ready.

use async_trait::async_trait;

use super::{Protocol, Session, SessionRequest, Sessions};
use crate::failure::Failure;
use crate::route::Routes;

/// Opens on the node that the account prefers of those that serve its store group. Each protocol has its own
/// routes, for each is another service of the mailbox role.
pub struct SessionsRouter {
    /// For IMAP.
    pub imap: Routes<dyn Sessions>,
    /// For POP3.
    pub pop3: Routes<dyn Sessions>,
}

#[async_trait]
impl Sessions for SessionsRouter {
    async fn open(&self, request: &SessionRequest) -> Result<Box<dyn Session>, Failure> {
        let routes = match request.protocol {
            Protocol::Imap => &self.imap,
            Protocol::Pop3 => &self.pop3,
        };
        routes.ask(Some(&request.account), |sessions| async move { sessions.open(request).await }).await
    }
}
