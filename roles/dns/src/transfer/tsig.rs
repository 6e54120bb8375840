//! Transaction signatures (RFC 8945): who asks for a zone proves that it holds a key, and sees that we do.
//!
//! hickory-proto's own verification is not used on what strangers send: it asserts what it should refuse. Its HMACs are.
//! Truncated signatures are refused (§5.2.2.1), every message of a transfer is signed (§5.3.1).

use estafeta_core::Secret;
use hickory_proto::op::{Header, ResponseCode};
use hickory_proto::rr::rdata::tsig::TsigAlgorithm;
use hickory_proto::rr::{Name, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder, BinEncodable, BinEncoder, NameEncoding};

/// How far a peer's clock may be away, in seconds (RFC 8945 §10).
pub const FUDGE_SECONDS: u16 = 300;

/// The most that a signature adds to a message, in bytes: two names, the longest HMAC, the time of a refusal.
pub const SIGNATURE_BYTES: usize = 2 * 255 + 64 + 64;

/// The codes of §3: why a signature is not taken.
const BADSIG: u16 = 16;
const BADKEY: u16 = 17;
const BADTIME: u16 = 18;
const BADTRUNC: u16 = 22;

/// A key that both sides hold.
#[derive(Debug, Clone)]
pub struct Key {
    name: Name,
    algorithm: TsigAlgorithm,
    algorithm_name: Name,
    /// As it is written: base64.
    secret: Secret,
}

impl Key {
    /// A key; its name is lower case and absolute from here on. The error says what is wrong with the secret.
    pub fn new(name: &Name, algorithm: TsigAlgorithm, secret: Secret) -> Result<Self, String> {
        let mut name = name.to_lowercase();
        name.set_fqdn(true);
        let mut algorithm_name = algorithm.to_name().to_lowercase();
        algorithm_name.set_fqdn(true);
        let key = Self { name, algorithm, algorithm_name, secret };
        match key.bytes()?.len() {
            // §8: not shorter than the hash; a little less than its half is somebody's typing error.
            0..16 => Err("the secret is shorter than 16 bytes".into()),
            _ => Ok(key),
        }
    }

    /// What it is called.
    pub fn name(&self) -> &Name {
        &self.name
    }

    fn bytes(&self) -> Result<Vec<u8>, String> {
        use base64::Engine;
        let text: String = self.secret.expose().split_whitespace().collect();
        base64::engine::general_purpose::STANDARD
            .decode(text)
            .map_err(|error| format!("the secret is no base64: {error}"))
    }

    /// How long a signature is, in bytes (RFC 8945 §6).
    fn signature_bytes(&self) -> usize {
        match self.algorithm {
            TsigAlgorithm::HmacSha512 => 64,
            _ => 32,
        }
    }

    fn signature(&self, message: &[u8]) -> Option<Vec<u8>> {
        self.algorithm.mac_data(&self.bytes().ok()?, message).ok()
    }

    fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.bytes().is_ok_and(|key| self.algorithm.verify_mac(&key, message, signature).is_ok())
    }
}

/// The TSIG record of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Signature {
    key: Name,
    algorithm: Name,
    time_seconds: u64,
    fudge_seconds: u16,
    mac: Vec<u8>,
    original_id: u16,
    error: u16,
    other: Vec<u8>,
}

impl Signature {
    /// §4.3.3: the variables that are signed beside the message; lower case, not compressed.
    fn variables(&self) -> Option<Vec<u8>> {
        let mut bytes = wire(&self.key)?;
        bytes.extend_from_slice(&[0, 255, 0, 0, 0, 0]);
        bytes.extend(wire(&self.algorithm)?);
        bytes.extend(self.timers());
        bytes.extend(self.error.to_be_bytes());
        bytes.extend(u16::try_from(self.other.len()).ok()?.to_be_bytes());
        bytes.extend_from_slice(&self.other);
        Some(bytes)
    }

    /// §5.3.1: what is signed beside the messages after the first.
    fn timers(&self) -> Vec<u8> {
        [&time(self.time_seconds)[..], &self.fudge_seconds.to_be_bytes()].concat()
    }

    /// Appends the record to a message and counts it.
    fn append(&self, message: &mut Vec<u8>) -> Option<()> {
        let mut data = wire(&self.algorithm)?;
        data.extend(self.timers());
        data.extend(u16::try_from(self.mac.len()).ok()?.to_be_bytes());
        data.extend_from_slice(&self.mac);
        data.extend(self.original_id.to_be_bytes());
        data.extend(self.error.to_be_bytes());
        data.extend(u16::try_from(self.other.len()).ok()?.to_be_bytes());
        data.extend_from_slice(&self.other);
        let additionals = u16::from_be_bytes([*message.get(10)?, *message.get(11)?]).checked_add(1)?;
        message.get_mut(10..12)?.copy_from_slice(&additionals.to_be_bytes());
        message.extend(wire(&self.key)?);
        // §4.2: the class is ANY, the time to live 0.
        message.extend(u16::from(RecordType::TSIG).to_be_bytes());
        message.extend_from_slice(&[0, 255, 0, 0, 0, 0]);
        message.extend(u16::try_from(data.len()).ok()?.to_be_bytes());
        message.extend(data);
        Some(())
    }
}

fn time(seconds: u64) -> [u8; 6] {
    let [_, _, bytes @ ..] = seconds.to_be_bytes();
    bytes
}

fn wire(name: &Name) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(64);
    let mut encoder = BinEncoder::new(&mut bytes);
    encoder.set_name_encoding(NameEncoding::UncompressedLowercase);
    name.emit(&mut encoder).ok()?;
    Some(bytes)
}

/// What a request's signature says.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "one a signed request, and taken apart at once")]
pub enum Verified {
    /// It has none.
    Unsigned,
    /// It is right: the request without it, and how to sign the answer.
    Signed {
        /// The request as it was before it was signed.
        request: Vec<u8>,
        /// Signs what is answered.
        signer: Signer,
    },
    /// It is not: what to answer.
    Refused(Refusal),
}

/// Why a request's signature is not taken, and how that is said.
#[derive(Debug)]
pub struct Refusal {
    /// The response code.
    pub code: ResponseCode,
    /// In words, for the log.
    pub why: &'static str,
    signature: Option<Signature>,
    /// §5.2.3: that the clocks differ is said under a signature; that the key is unknown cannot be.
    signer: Option<Signer>,
}

impl Refusal {
    fn malformed(why: &'static str) -> Self {
        Self { code: ResponseCode::FormErr, why, signature: None, signer: None }
    }

    /// Finishes the answer: `response` has the code of this refusal and no signature.
    pub fn seal(self, mut response: Vec<u8>) -> Option<Vec<u8>> {
        match (self.signature, self.signer) {
            (Some(signature), Some(mut signer)) => signer.seal_as(response, signature),
            (Some(signature), None) => {
                signature.append(&mut response)?;
                Some(response)
            }
            _ => Some(response),
        }
    }
}

/// Whether a message may carry a signature: cheap, and never no where one stands.
pub fn may_be_signed(message: &[u8]) -> bool {
    // The type TSIG and the class ANY, as they stand in the record.
    message.get(10..12).is_some_and(|count| count != [0, 0])
        && message.windows(4).any(|window| window == [0, 250, 0, 255])
}

/// Verifies a request (§5.2). `keys` are those that are known, `now_seconds` counts from 1970.
pub fn verify(message: &[u8], keys: &[Key], now_seconds: u64) -> Verified {
    let (signature, start) = match find(message) {
        Ok(Some(found)) => found,
        Ok(None) => return Verified::Unsigned,
        Err(why) => return Verified::Refused(Refusal::malformed(why)),
    };
    let refuse = |error: u16, why, other: Vec<u8>, key: Option<&Key>| {
        let said = Signature {
            error,
            other,
            mac: vec![],
            // §5.2.3: the client's own time, so that its check of the answer's does not fail as well.
            time_seconds: signature.time_seconds,
            ..signature.clone()
        };
        let signer = key.map(|key| Signer::new(key.clone(), &signature));
        Verified::Refused(Refusal { code: ResponseCode::NotAuth, why, signature: Some(said), signer })
    };
    // §5.2.1: by name and algorithm.
    let known = |key: &&Key| key.name == signature.key && key.algorithm_name == signature.algorithm;
    let Some(key) = keys.iter().find(known) else {
        return refuse(BADKEY, "this key is not known here: compare its name and algorithm", vec![], None);
    };
    let Some((request, mut signed)) = unsigned(message, start, signature.original_id) else {
        return Verified::Refused(Refusal::malformed("a signature in an empty message"));
    };
    let Some(variables) = signature.variables() else {
        return Verified::Refused(Refusal::malformed("a signature that cannot be written"));
    };
    // §5.2.2.1: longer than the hash or shorter than its half is malformed; what is between them is for us to decide.
    let (length, whole) = (signature.mac.len(), key.signature_bytes());
    if length > whole || length < (whole / 2).max(10) {
        return Verified::Refused(Refusal::malformed("its signature has no possible length"));
    }
    if length < whole {
        return refuse(BADTRUNC, "the signature is truncated: let the client send it whole", vec![], None);
    }
    signed.extend(variables);
    if !key.verifies(&signed, &signature.mac) {
        return refuse(BADSIG, "the signature is wrong: compare the secret", vec![], None);
    }
    if now_seconds.abs_diff(signature.time_seconds) > u64::from(signature.fudge_seconds) {
        return refuse(BADTIME, "the clocks differ too much: set them", time(now_seconds).to_vec(), Some(key));
    }
    Verified::Signed { request, signer: Signer::new(key.clone(), &signature) }
}

/// The message as it was before it was signed: with its number in the header, and with the original one as it is signed.
fn unsigned(message: &[u8], start: usize, original_id: u16) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut request = message.get(..start)?.to_vec();
    let additionals = u16::from_be_bytes([*request.get(10)?, *request.get(11)?]).checked_sub(1)?;
    request.get_mut(10..12)?.copy_from_slice(&additionals.to_be_bytes());
    let mut signed = request.clone();
    signed.get_mut(..2)?.copy_from_slice(&original_id.to_be_bytes());
    Some((request, signed))
}

/// Finds the TSIG record, which must be the last (§5.1), and where it begins.
fn find(message: &[u8]) -> Result<Option<(Signature, usize)>, &'static str> {
    const MALFORMED: &str = "it cannot be read";
    let mut decoder = BinDecoder::new(message);
    let header = Header::read(&mut decoder).map_err(|_| MALFORMED)?;
    let counts = header.counts;
    for _ in 0..counts.queries {
        Name::read(&mut decoder).map_err(|_| MALFORMED)?;
        decoder.read_slice(4).map_err(|_| MALFORMED)?;
    }
    let records = u32::from(counts.answers) + u32::from(counts.authorities) + u32::from(counts.additionals);
    for left in (0..records).rev() {
        let start = decoder.index();
        let name = Name::read(&mut decoder).map_err(|_| MALFORMED)?;
        let number =
            |decoder: &mut BinDecoder<'_>| decoder.read_u16().map(|number| number.unverified()).map_err(|_| MALFORMED);
        let kind = number(&mut decoder)?;
        let class = number(&mut decoder)?;
        let _ttl = decoder.read_u32().map_err(|_| MALFORMED)?;
        let length = number(&mut decoder)?;
        let data = decoder.index()..decoder.index() + usize::from(length);
        decoder.read_slice(usize::from(length)).map_err(|_| MALFORMED)?;
        if kind != u16::from(RecordType::TSIG) {
            continue;
        }
        if left > 0 || counts.additionals == 0 || class != 255 || decoder.index() != message.len() {
            return Err("its signature is not the last record");
        }
        let signature = read_data(message, data, name).ok_or(MALFORMED)?;
        return Ok(Some((signature, start)));
    }
    Ok(None)
}

/// §4.2.
fn read_data(message: &[u8], data: std::ops::Range<usize>, key: Name) -> Option<Signature> {
    // The algorithm's name is not compressed in what is written by the book; whoever compresses it is understood.
    let mut decoder = BinDecoder::new(message.get(..data.end)?);
    decoder.read_slice(data.start).ok()?;
    let algorithm = Name::read(&mut decoder).ok()?.to_lowercase();
    let time_high = u64::from(decoder.read_u16().ok()?.unverified());
    let time_low = u64::from(decoder.read_u32().ok()?.unverified());
    let fudge_seconds = decoder.read_u16().ok()?.unverified();
    let mac_length = decoder.read_u16().ok()?.unverified();
    let mac = decoder.read_vec(usize::from(mac_length)).ok()?.unverified();
    let original_id = decoder.read_u16().ok()?.unverified();
    let error = decoder.read_u16().ok()?.unverified();
    let other_length = decoder.read_u16().ok()?.unverified();
    let other = decoder.read_vec(usize::from(other_length)).ok()?.unverified();
    let time_seconds = time_high << 32 | time_low;
    let signature =
        Signature { key: key.to_lowercase(), algorithm, time_seconds, fudge_seconds, mac, original_id, error, other };
    decoder.is_empty().then_some(signature)
}

/// Signs the messages of one answer, in their order.
#[derive(Debug)]
pub struct Signer {
    key: Key,
    original_id: u16,
    /// The signature that the next one builds on: the request's, then that of the message before.
    before: Vec<u8>,
    is_first: bool,
}

impl Signer {
    fn new(key: Key, request: &Signature) -> Self {
        Self { key, original_id: request.original_id, before: request.mac.clone(), is_first: true }
    }

    /// The key that the request was signed with.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Signs the next message. None when there is no room for the signature.
    pub fn seal(&mut self, message: Vec<u8>, now_seconds: u64) -> Option<Vec<u8>> {
        let signature = Signature {
            key: self.key.name.clone(),
            algorithm: self.key.algorithm_name.clone(),
            time_seconds: now_seconds,
            fudge_seconds: FUDGE_SECONDS,
            mac: vec![],
            original_id: self.original_id,
            error: 0,
            other: vec![],
        };
        self.seal_as(message, signature)
    }

    fn seal_as(&mut self, mut message: Vec<u8>, mut signature: Signature) -> Option<Vec<u8>> {
        let before = u16::try_from(self.before.len()).ok()?.to_be_bytes();
        let variables = if self.is_first { signature.variables()? } else { signature.timers() };
        // §4.3.2: what is signed has the original number.
        let signed =
            [&before[..], &self.before, &self.original_id.to_be_bytes(), message.get(2..)?, &variables].concat();
        signature.mac = self.key.signature(&signed)?;
        signature.append(&mut message)?;
        self.before = signature.mac;
        self.is_first = false;
        Some(message)
    }
}

/// Signs a request of our own; the answer is verified with what is given back.
pub fn sign_request(mut message: Vec<u8>, key: &Key, now_seconds: u64) -> Option<(Vec<u8>, Awaiting)> {
    let id = u16::from_be_bytes([*message.first()?, *message.get(1)?]);
    let mut signature = Signature {
        key: key.name.clone(),
        algorithm: key.algorithm_name.clone(),
        time_seconds: now_seconds,
        fudge_seconds: FUDGE_SECONDS,
        mac: vec![],
        original_id: id,
        error: 0,
        other: vec![],
    };
    let signed = [&message[..], &signature.variables()?].concat();
    signature.mac = key.signature(&signed)?;
    signature.append(&mut message)?;
    Some((message, Awaiting { key: key.clone(), before: signature.mac, is_first: true }))
}

/// What verifies the answer to a request of our own, message by message.
#[derive(Debug, Clone)]
pub struct Awaiting {
    key: Key,
    before: Vec<u8>,
    is_first: bool,
}

impl Awaiting {
    /// Whether the next message is signed and right (§5.3.2). The clock was the request's affair.
    pub fn verifies(&mut self, message: &[u8]) -> bool {
        let Ok(Some((signature, start))) = find(message) else { return false };
        let Some((_, signed)) = unsigned(message, start, signature.original_id) else { return false };
        let variables = if self.is_first { signature.variables() } else { Some(signature.timers()) };
        let (Some(variables), Ok(length)) = (variables, u16::try_from(self.before.len())) else { return false };
        let signed = [&length.to_be_bytes()[..], &self.before, &signed, &variables].concat();
        let right = signature.key == self.key.name
            && signature.algorithm == self.key.algorithm_name
            && self.key.verifies(&signed, &signature.mac);
        self.before = signature.mac;
        self.is_first = false;
        right
    }
}

#[cfg(test)]
mod tests;
