//! DKIM (RFC 6376): did this domain sign this message, and is it unchanged? Symbols and weights are rspamd's.

use mail_auth::common::crypto::{Algorithm, HashAlgorithm};
use mail_auth::dkim::{Canonicalization, DkimError};
use mail_auth::{AuthenticatedMessage, DkimOutput, DkimResult, Error, MessageAuthenticator};
use tokio::time::{Instant, timeout_at};

use super::no_answer;
use crate::verdict::Finding;

/// The most signatures that are checked, from the top (RFC 6376 §4.2 lets a verifier choose). Each asks DNS once.
const SIGNATURES: usize = 8;

/// Gives the message the hashes of its body, and takes away the signatures that are not checked. The domains of those
/// that are refused unchecked are given: made with SHA-1, which no longer proves anything (RFC 8301 §3.1).
pub(super) fn prepare(
    message: &mut AuthenticatedMessage<'_>,
    hashes: &[(Canonicalization, HashAlgorithm, u64, Vec<u8>)],
) -> Vec<String> {
    let refused = message.dkim_headers.iter().filter(|header| header.header.a == Algorithm::RsaSha1).take(SIGNATURES);
    let refused = refused.map(|header| header.header.d.clone()).collect();
    // The crate takes it for granted that every signature's hash is there.
    message.dkim_headers.retain(|header| {
        let signature = &header.header;
        let hashed = hashes.iter().any(|(canonicalization, algorithm, length, _)| {
            *canonicalization == signature.cb
                && *algorithm == HashAlgorithm::from(signature.a)
                && *length == signature.l
        });
        hashed && signature.a != Algorithm::RsaSha1
    });
    message.dkim_headers.truncate(SIGNATURES);
    message.errors.truncate(SIGNATURES);
    message.body_hashes = hashes.to_vec();
    refused
}

pub(super) async fn verify<'m>(
    dns: &MessageAuthenticator,
    message: &'m AuthenticatedMessage<'m>,
    until: Instant,
) -> Vec<DkimOutput<'m>> {
    let late = || {
        message
            .dkim_headers
            .iter()
            .map(|header| DkimOutput::temp_err(no_answer()).with_signature(&header.header))
            .collect()
    };
    timeout_at(until, dns.verify_dkim(message)).await.unwrap_or_else(|_| late())
}

/// One finding for each kind of result, with the signers that have it.
pub(super) fn findings(outputs: &[DkimOutput<'_>], refused: Vec<String>) -> Vec<Finding> {
    let mut allow = Finding::new("R_DKIM_ALLOW", -0.2);
    let mut reject = Finding::new("R_DKIM_REJECT", 1.0);
    let mut unsound = refused.into_iter().fold(Finding::new("R_DKIM_PERMFAIL", 0.0), Finding::with);
    let mut unanswered = Finding::new("R_DKIM_TEMPFAIL", 0.0);
    for output in outputs {
        let finding = match output.result() {
            DkimResult::Pass => &mut allow,
            DkimResult::Fail(_) | DkimResult::Neutral(Error::Dkim(DkimError::FailedBodyHashMatch)) => &mut reject,
            DkimResult::Neutral(_) | DkimResult::PermError(_) => &mut unsound,
            DkimResult::TempError(_) => &mut unanswered,
            DkimResult::None => continue,
        };
        let signer = output.signature().map(|signature| format!("{}:s={}", signature.d, signature.s));
        finding.symbol.options.push(signer.unwrap_or_else(|| "unreadable".into()));
    }
    let found: Vec<_> =
        [allow, reject, unsound, unanswered].into_iter().filter(|finding| !finding.symbol.options.is_empty()).collect();
    if found.is_empty() { vec![Finding::new("R_DKIM_NA", 0.0)] } else { found }
}
