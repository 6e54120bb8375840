//! DMARC (RFC 9989): does the domain that the reader sees stand behind the message, and what does it wish when it does
//! not? Symbols and weights are rspamd's.

use estafeta_core::judge::Action;
use mail_auth::dmarc::{self, verify::DmarcParameters};
use mail_auth::{AuthenticatedMessage, DkimOutput, DmarcOutput, DmarcResult, MessageAuthenticator, SpfOutput};
use serde::Deserialize;
use tokio::time::{Instant, timeout_at};

use super::no_answer;
use super::spf::Identity;
use crate::verdict::Finding;

/// How far a domain's wish is followed when its mail fails DMARC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// The message is refused.
    Reject,
    /// The message goes to Junk.
    Junk,
    /// Only the score tells.
    Score,
}

/// What is done at each wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policies {
    /// At `p=reject`.
    pub reject: Policy,
    /// At `p=quarantine`.
    pub quarantine: Policy,
}

pub(super) async fn verify<'m>(
    dns: &MessageAuthenticator,
    message: &'m AuthenticatedMessage<'m>,
    identity: &Identity,
    spf: &SpfOutput,
    signatures: &[DkimOutput<'m>],
    until: Instant,
) -> DmarcOutput {
    let late = || {
        let domain = message.from().rsplit_once('@').map_or("", |(_, domain)| domain);
        let error = DmarcResult::TempError(no_answer());
        DmarcOutput::new(domain.to_owned()).with_spf_result(error.clone()).with_dkim_result(error)
    };
    let check = dns.verify_dmarc(DmarcParameters::new(message, signatures, &identity.domain, spf));
    timeout_at(until, check).await.unwrap_or_else(|_| late())
}

/// `authors` is the number of addresses in `From`.
pub(super) fn finding(output: &DmarcOutput, authors: usize, policies: &Policies) -> Finding {
    let domain = output.domain();
    match output.result() {
        DmarcResult::Pass => Finding::new("DMARC_POLICY_ALLOW", -0.5).with(domain).with(output.policy().to_string()),
        // No record; or no From, or several of different domains, which no one domain can answer for.
        DmarcResult::None if domain.is_empty() => {
            Finding::new("DMARC_NA", 0.0).with(format!("{authors} addresses in From"))
        }
        DmarcResult::None => Finding::new("DMARC_NA", 0.0).with(domain),
        DmarcResult::TempError(_) => Finding::new("DMARC_DNSFAIL", 0.0).with(domain),
        DmarcResult::PermError(_) => Finding::new("DMARC_BAD_POLICY", 0.5).with(domain),
        DmarcResult::Fail(_) => match output.policy() {
            dmarc::Policy::Reject => failed("DMARC_POLICY_REJECT", 2.0, domain, policies.reject),
            dmarc::Policy::Quarantine => failed("DMARC_POLICY_QUARANTINE", 1.5, domain, policies.quarantine),
            dmarc::Policy::None | dmarc::Policy::Unspecified => Finding::new("DMARC_POLICY_SOFTFAIL", 0.1).with(domain),
        },
    }
}

fn failed(symbol: &str, score: f64, domain: &str, policy: Policy) -> Finding {
    let finding = Finding::new(symbol, score).with(domain);
    match policy {
        Policy::Reject => finding.demands(
            Action::Reject,
            format!("Message refused: it is not from {domain}, says that domain's DMARC policy"),
        ),
        Policy::Junk => finding.demands(Action::Junk, "Message filed into Junk by its domain's DMARC policy"),
        Policy::Score => finding,
    }
}
