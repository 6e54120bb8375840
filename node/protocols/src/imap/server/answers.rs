//! How a role answers events.

use std::num::NonZeroU32;

use super::{Offer, Phase, Server, State};
use crate::imap::capability::Capabilities;
use crate::imap::command::search::Give;
use crate::imap::response::{Code, Completion, Output};
use crate::imap::types::Dialect;

impl Server {
    /// Where untagged responses go: while a command runs, or in IDLE.
    pub fn output(&mut self) -> &mut Output {
        &mut self.output
    }

    /// Answers the search that runs by ESEARCH (RFC 4731 §3.1), or the SORT (RFC 5267 §3.1). `found` is ascending, or in the
    /// order asked for; `mod_sequence` is the highest among what
    /// is given, when the search asked for one; `scores` how relevant each is (RFC 6203 §4), when it asked for that.
    pub fn extended_search(
        &mut self,
        by_uid: bool,
        give: Give,
        found: &[u32],
        scores: &[u8],
        mod_sequence: Option<u64>,
    ) {
        self.output.extended_search(self.tag.as_ref(), by_uid, give, found, scores, mod_sequence);
    }

    /// The command that runs goes on, and is so far, of so much, where that is known (RFC 9585 §4).
    pub fn in_progress(&mut self, progress: Option<(u32, NonZeroU32)>) {
        self.output.notice(&Code::InProgress(self.tag.as_ref(), progress), "Still working");
    }

    /// Moves the connection to another state: after SELECT, CLOSE, or an AUTHENTICATE that is not handed over. The
    /// command still has to be completed.
    pub fn enter(&mut self, state: State) {
        self.state = state;
    }

    /// UNAUTHENTICATE is done (RFC 8437 §2): nobody is logged in, nothing is switched on any more, and this is how
    /// somebody may log in next. TLS and compression stay.
    pub fn forget(&mut self, offer: Offer) {
        (self.state, self.offer) = (State::NotAuthenticated, offer);
        self.output.speak(Dialect::default());
        let capabilities = self.offer.capabilities(self.secure).to_string();
        let code = Code::Capability(Capabilities::Listed(&capabilities));
        self.complete(Completion::ok("Nobody is logged in").with(code));
    }

    /// Ends the command that runs. Without one, it does nothing.
    pub fn complete(&mut self, completion: Completion<'_>) {
        let next = match self.phase {
            Phase::Appending => self.behind_refused_append(),
            Phase::Offered { announcement } if announcement.synchronising => Phase::Ready,
            Phase::Offered { announcement } => Phase::Skipping { remaining: announcement.size },
            Phase::Receiving { remaining } => Phase::Skipping { remaining },
            Phase::Received => Phase::Skipping { remaining: 0 },
            Phase::Ready | Phase::Running | Phase::Authenticating(_) => Phase::Ready,
            Phase::Skipping { .. }
            | Phase::Idling
            | Phase::AwaitingTls
            | Phase::AwaitingCompression
            | Phase::HandingOver
            | Phase::Closing => return,
        };
        self.appending = None;
        self.output.completion(self.tag.take().as_ref(), &completion);
        self.phase = next;
    }

    /// Completes the authentication, after which another machine takes the stream over: no command is read any more.
    pub fn hand_over(&mut self, completion: Completion<'_>) {
        self.complete(completion);
        self.phase = Phase::HandingOver;
    }

    /// Closes, after a last word (RFC 3501 §7.1.5). No command is read any more.
    pub fn goodbye(&mut self, code: Option<&Code<'_>>, text: &str) {
        if !matches!(self.phase, Phase::Closing) {
            self.output.bye(code, text);
            self.close();
        }
    }

    pub(super) fn close(&mut self) {
        self.phase = Phase::Closing;
        self.input.clear();
    }
}
