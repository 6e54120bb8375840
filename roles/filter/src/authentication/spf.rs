//! SPF (RFC 7208): may this client send for this domain? Symbols and weights are rspamd's.

use estafeta_core::judge::Envelope;
use mail_auth::common::to_a_label;
use mail_auth::spf::verify::SpfParameters;
use mail_auth::{AuthenticationResults, MessageAuthenticator, SpfOutput, SpfResult};
use tokio::time::{Instant, timeout_at};

use crate::verdict::Finding;

/// Whose SPF record is asked: the sender's domain, or for the null reverse-path the client's own name (RFC 7208 §2.4).
pub struct Identity {
    /// MAIL FROM, its domain in ASCII; empty for the null reverse-path.
    sender: String,
    /// Its domain, or the client's name.
    pub domain: String,
}

impl Identity {
    /// The identity of a transaction.
    pub fn of(envelope: &Envelope) -> Self {
        match &envelope.sender {
            Some(sender) => {
                let domain = to_a_label(sender.domain().as_str()).into_owned();
                Self { sender: format!("{}@{domain}", sender.local()), domain }
            }
            None => Self { sender: String::new(), domain: to_a_label(&envelope.helo).into_owned() },
        }
    }
}

pub(super) async fn verify(
    dns: &MessageAuthenticator,
    hostname: &str,
    envelope: &Envelope,
    identity: &Identity,
    until: Instant,
) -> SpfOutput {
    let parameters = if identity.sender.is_empty() {
        SpfParameters::verify_ehlo(envelope.client, &identity.domain, hostname)
    } else {
        SpfParameters::verify_mail_from(envelope.client, &envelope.helo, hostname, &identity.sender)
    };
    let late = || SpfOutput::new(identity.domain.clone()).with_result(SpfResult::TempError);
    timeout_at(until, dns.verify_spf(parameters)).await.unwrap_or_else(|_| late())
}

pub(super) fn finding(output: &SpfOutput) -> Finding {
    let (symbol, score) = match output.result() {
        SpfResult::Pass => ("R_SPF_ALLOW", -0.2),
        SpfResult::Fail => ("R_SPF_FAIL", 1.0),
        SpfResult::SoftFail => ("R_SPF_SOFTFAIL", 0.0),
        SpfResult::Neutral => ("R_SPF_NEUTRAL", 0.0),
        SpfResult::TempError => ("R_SPF_DNSFAIL", 0.0),
        SpfResult::PermError => ("R_SPF_PERMFAIL", 0.0),
        SpfResult::None => ("R_SPF_NA", 0.0),
    };
    Finding::new(symbol, score).with(output.domain())
}

pub(super) fn report<'h>(
    results: AuthenticationResults<'h>,
    output: &SpfOutput,
    envelope: &Envelope,
    identity: &Identity,
) -> AuthenticationResults<'h> {
    if identity.sender.is_empty() {
        results.with_spf_ehlo_result(output, envelope.client, &envelope.helo)
    } else {
        results.with_spf_mailfrom_result(output, envelope.client, &identity.sender, &envelope.helo)
    }
}
