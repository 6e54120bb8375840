//! What a node says of itself and of those whom it probes, signed with the key of its certificate.
//!
//! Invariants: a description counts only for the node that its certificate names; it grants no role that the certificate
//! does not; an older one never replaces a newer; [`LIMIT`] bytes at most.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use estafeta_core::members::Member;
use estafeta_core::settings::ShutOut;
use estafeta_core::{NodeName, RoleName};
use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};

use super::identity::{CERTIFICATE_LIMIT, Identity, Speaker, Unbelieved};

/// The largest description that is taken, in bytes.
pub const LIMIT: usize = 8192;

/// What is signed begins with this, so that the signature is good for nothing else.
const PURPOSE: &[u8] = b"estafeta gossip description 1\n";

/// How many complaints a description carries, and how many bytes each may have.
const COMPLAINTS: usize = 32;
const COMPLAINT_BYTES: usize = 160;

/// How long a certificate that was found good is taken for good unseen.
const RECHECK: Duration = Duration::from_secs(60);

/// A role of another node that the speaker probed in vain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unreached {
    /// The node.
    pub node: NodeName,
    /// The role.
    pub role: RoleName,
    /// What came instead of an answer, in a few words.
    pub why: String,
}

/// What a node says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// Grows with each new description of one start of the node.
    pub sequence: u64,
    /// The node.
    pub member: Member,
    /// Whom it probed in vain.
    #[serde(default)]
    pub cannot_reach: Vec<Unreached>,
    /// Of whom it has not heard for too long.
    #[serde(default)]
    pub cannot_hear: BTreeSet<NodeName>,
}

impl Description {
    /// As text, signed for this start (`boot`) of the node. None when it cannot be made small enough.
    pub fn seal(mut self, identity: &Identity, boot: u64) -> Option<String> {
        self.cannot_reach.truncate(COMPLAINTS);
        for complaint in &mut self.cannot_reach {
            complaint.why = shortened(&complaint.why, COMPLAINT_BYTES).to_owned();
        }
        let mut json = serde_json::to_string(&self).ok()?;
        if json.len() > LIMIT - 128 {
            // Facts are a courtesy between roles; readiness and endpoints are not.
            self.member.facts.clear();
            json = serde_json::to_string(&self).ok().filter(|json| json.len() <= LIMIT - 128)?;
        }
        let signature = identity.sign(&signed(&self.member.name, boot, &json))?;
        Some(format!("{} {json}", STANDARD_NO_PAD.encode(signature)))
    }

    /// Reads what `speaker` is said to have said at its start `boot`.
    pub fn open(text: &str, speaker: &Speaker, boot: u64) -> Result<Self, Unbelieved> {
        if text.len() > LIMIT {
            return Err(Unbelieved::TooLarge);
        }
        let (signature, json) = text.split_once(' ').ok_or(Unbelieved::Malformed)?;
        let signature = STANDARD_NO_PAD.decode(signature).map_err(|_| Unbelieved::Malformed)?;
        if !speaker.signed(&signed(&speaker.node, boot, json), &signature) {
            return Err(Unbelieved::Signature);
        }
        Self::read(json, &speaker.node, &speaker.roles)
    }

    /// Reads what `node` signed, without what it was not granted.
    pub fn read(json: &str, node: &NodeName, granted: &BTreeSet<RoleName>) -> Result<Self, Unbelieved> {
        let mut said: Self = serde_json::from_str(json).map_err(|_| Unbelieved::Malformed)?;
        if &said.member.name != node {
            return Err(Unbelieved::Name);
        }
        said.member.roles.retain(|role, _| granted.contains(role));
        said.member.endpoints.retain(|endpoint| granted.contains(&endpoint.role));
        if !granted.contains(&RoleName::MAILBOX) {
            said.member.store_group = None;
        }
        said.cannot_reach.truncate(COMPLAINTS);
        Ok(said)
    }
}

fn signed(node: &NodeName, boot: u64, json: &str) -> Vec<u8> {
    [PURPOSE, node.as_str().as_bytes(), b"\n", boot.to_string().as_bytes(), b"\n", json.as_bytes()].concat()
}

/// The longest beginning of at most so many bytes that ends at a character.
fn shortened(text: &str, bytes: usize) -> &str {
    let mut end = bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// What was heard of one node, checked: each certificate and each description once.
#[derive(Debug, Default)]
pub struct Believed {
    boot: u64,
    certificate: String,
    speaker: Option<(Result<Speaker, Unbelieved>, SystemTime)>,
    text: String,
    /// The newest description of its newest start that was right.
    pub said: Option<Description>,
}

impl Believed {
    /// Takes what gossip carries for the node `name` since its start `boot`. Gives whether something new was believed.
    pub fn hear(
        &mut self,
        identity: &Identity,
        shut_out: &ShutOut,
        heard: Saying<'_>,
        now: SystemTime,
    ) -> Result<bool, Unbelieved> {
        let anew = self.boot != heard.boot;
        if anew {
            *self = Self { boot: heard.boot, said: self.said.take(), ..Self::default() };
        }
        let fresh = |checked: SystemTime| now.duration_since(checked).is_ok_and(|age| age < RECHECK);
        if self.certificate != heard.certificate || !self.speaker.as_ref().is_some_and(|(_, checked)| fresh(*checked)) {
            self.certificate = heard.certificate.to_owned();
            self.text.clear();
            let speaker = read(identity, shut_out, heard, now);
            let refused = speaker.as_ref().err().copied();
            self.speaker = Some((speaker, now));
            if let Some(why) = refused {
                return Err(why);
            }
        }
        // Who was refused is refused until the next look at the certificate; that is counted once.
        let Some((Ok(speaker), _)) = &self.speaker else { return Ok(false) };
        if self.text == heard.text {
            return Ok(false);
        }
        // Looked at once, right or wrong: what is wrong is counted once, not at every look.
        self.text = heard.text.to_owned();
        let said = Description::open(heard.text, speaker, heard.boot)?;
        if !anew && self.said.as_ref().is_some_and(|known| known.sequence > said.sequence) {
            return Err(Unbelieved::Older);
        }
        let differs = self.said.as_ref() != Some(&said);
        self.said = Some(said);
        Ok(differs)
    }
}

/// What gossip carries for a node.
#[derive(Debug, Clone, Copy)]
pub struct Saying<'a> {
    /// The node that it is carried for.
    pub name: &'a NodeName,
    /// Which of its starts.
    pub boot: u64,
    /// Its certificate, DER in base64.
    pub certificate: &'a str,
    /// Its description, signed.
    pub text: &'a str,
}

fn read(identity: &Identity, shut_out: &ShutOut, heard: Saying<'_>, now: SystemTime) -> Result<Speaker, Unbelieved> {
    let certificate = heard.certificate;
    if certificate.len() > CERTIFICATE_LIMIT * 4 / 3 + 4 {
        return Err(Unbelieved::TooLarge);
    }
    let der = STANDARD_NO_PAD.decode(certificate).map_err(|_| Unbelieved::Malformed)?;
    let speaker = identity.examine(&CertificateDer::from(der), shut_out, now)?;
    if &speaker.node == heard.name { Ok(speaker) } else { Err(Unbelieved::Name) }
}

/// The certificate of this node as gossip carries it.
pub fn certificate(identity: &Identity) -> String {
    STANDARD_NO_PAD.encode(identity.certificate())
}
