//! What the client hears of a failure.

use estafeta_core::{Failure, Reason};
use estafeta_protocols::pop3::response::{Code, Completion};

/// The answer to the command that failed, with the code that says whether to try again (RFC 3206).
pub(super) fn refusal(failure: &Failure) -> Completion<'_> {
    let code = match failure.reason {
        Reason::Unavailable | Reason::Busy | Reason::Internal | Reason::OverQuota | Reason::Elsewhere => Code::SysTemp,
        Reason::Credentials | Reason::Denied => Code::Auth,
        Reason::NotFound | Reason::Exists | Reason::Invalid | Reason::TooLarge => Code::SysPerm,
    };
    Completion::no(failure.client.as_str()).with(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_learns_whether_to_try_again() {
        let temporary = Failure::unavailable("the disk of node d1 is full");
        assert_eq!(refusal(&temporary), Completion::no("temporarily unavailable, try again later").with(Code::SysTemp));
        let permanent = Failure::new(Reason::NotFound, "there is no such account");
        assert_eq!(refusal(&permanent).code, Some(Code::SysPerm));
    }
}
