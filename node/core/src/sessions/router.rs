//! The router of `Sessions`: a session opens on a node of the account's store group, the same one while it is ready. Where
//! that cannot be, the directory is asked whether the account has moved since.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Protocol, Session, SessionRequest, Sessions};
use crate::directory::Directory;
use crate::failure::{Failure, Reason};
use crate::route::Routes;

/// Opens on the node that the account prefers of those that serve its store group. Each protocol has its own
/// routes, for each is another service of the mailbox role.
pub struct SessionsRouter {
    /// For IMAP.
    pub imap: Routes<dyn Sessions>,
    /// For POP3.
    pub pop3: Routes<dyn Sessions>,
    /// Never a cache: it is asked for accounts that a cached answer did not lead to.
    pub directory: Arc<dyn Directory>,
}

impl SessionsRouter {
    async fn open_in_group(&self, request: &SessionRequest) -> Result<Box<dyn Session>, Failure> {
        let routes = match request.protocol {
            Protocol::Imap => &self.imap,
            Protocol::Pop3 => &self.pop3,
        };
        routes.ask(Some(&request.account), |sessions| async move { sessions.open(request).await }).await
    }
}

#[async_trait]
impl Sessions for SessionsRouter {
    async fn open(&self, request: &SessionRequest) -> Result<Box<dyn Session>, Failure> {
        let failure = match self.open_in_group(request).await {
            Err(failure) if matches!(failure.reason, Reason::Unavailable | Reason::Elsewhere) => failure,
            answer => return answer,
        };
        let known = &request.account;
        match self.directory.account(&known.address).await {
            Ok(account) if account.id == known.id && account.store_group != known.store_group => {
                self.open_in_group(&SessionRequest { account, ..request.clone() }).await
            }
            _ => Err(failure),
        }
    }
}
