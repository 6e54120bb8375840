//! Zones for name servers elsewhere: versions of them, handed out whole (AXFR) or as differences (IXFR), and notices.
//!
//! What is handed out is a version ([`version`]): a serial number that names one content, ever, made by one dns node and
//! held by all before anybody is shown it ([`minting`], [`keeper`]; the others fetch it over [`between`]). It is kept on
//! disk ([`files`]). Secondaries prove themselves by a key ([`tsig`], [`config`]), are told of each version ([`notify`]),
//! and take it over TCP ([`outgoing`]). Everybody else is refused.

mod between;
pub mod config;
mod files;
mod keeper;
mod minting;
mod notices;
mod notify;
pub mod outgoing;
pub mod shown;
pub mod tsig;
pub mod version;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use estafeta_core::{Failure, RoleName, ServiceName};
use estafeta_net::accept::{self, Listeners, Security};
use estafeta_net::role::Context;
use hickory_proto::op::{Edns, Message, MessageType, Metadata, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};
use tokio::sync::Semaphore;

use self::config::Access;
pub use self::config::Config;
use self::files::Files;
use self::keeper::{Keeper, Surroundings};
use self::notify::Notifier;
use self::outgoing::{Outgoing, Sequence};
use self::shown::{Shown, ShownView};
use self::tsig::{Key, SIGNATURE_BYTES, Signer as AnswerSigner, Verified, may_be_signed, verify};
use crate::DNS;
use crate::dnssec::Signer;
use crate::packet::{PLAIN_UDP_BYTES, Transport, UDP_BYTES};
use crate::zones::ZonesView;

/// The service between dns nodes: versions of zones.
pub const DNS_TRANSFER: ServiceName = ServiceName::fixed("dns-transfer");

/// Who may ask it.
pub const ASKED_BY: &[RoleName] = &[RoleName::DNS];

/// What a node says in the members of the versions that it holds: the digest of all of them, so that the others ask.
const FACT: &str = "dns.versions";

/// How many transfers are under way at a time; past it a secondary is told to come again.
const TRANSFERS: usize = 20;

/// Says what the metrics mean.
pub fn describe_metrics() {
    metrics::describe_counter!("estafeta_dns_transfers_total", "Zone transfers asked for, by kind and response code.");
    metrics::describe_counter!("estafeta_dns_versions_minted_total", "Versions of zones that this node has made.");
    metrics::describe_counter!("estafeta_dns_notices_total", "Notices sent to secondaries, repeated ones among them.");
}

/// The time as signatures and serial numbers count it.
fn now_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// A message behind its length (RFC 1035 §4.2.2).
pub(crate) fn framed(message: &[u8]) -> Vec<u8> {
    // What is longer was never written: messages end at 65,535 bytes.
    let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
    [&length.to_be_bytes()[..], message].concat()
}

/// What answers secondaries. Cheap to clone.
#[derive(Clone)]
pub struct Transfer {
    access: Arc<Access>,
    shown: ShownView,
    places: Arc<Semaphore>,
    now_seconds: fn() -> u64,
}

/// What became of a request.
pub enum Taken {
    /// It is an ordinary question, without a signature: somebody else answers it.
    No,
    /// This is the response.
    Answer(Vec<u8>),
    /// These are.
    Transfer(Box<Outgoing>),
    /// It deserves no answer.
    Silence,
}

impl Transfer {
    /// For these secondaries, and with nothing to show yet.
    fn new(access: Arc<Access>, now_seconds: fn() -> u64) -> Self {
        Self { access, shown: ShownView::default(), places: Arc::new(Semaphore::new(TRANSFERS)), now_seconds }
    }

    /// Starts everything that transfers need: what keeps versions and tells secondaries is added to `loops`. What is
    /// wrong with the versions on disk is said, and leaves secondaries with what they have; questions are answered.
    pub fn start(
        config: &Config,
        context: &Context,
        zones: &Arc<ZonesView>,
        signer: &Arc<Signer>,
        loops: &mut Listeners,
    ) -> Result<Self, Failure> {
        let sockets = |error: std::io::Error| Failure::internal(format!("the sockets of the role dns: {error}"));
        let udp = context.sockets.udp(&DNS).map_err(sockets)?;
        let addresses = udp.iter().filter_map(|socket| Some(socket.local_addr().ok()?.ip())).collect();
        let access = Arc::new(config.access().map_err(Failure::internal)?);
        let transfer = Self::new(access.clone(), now_seconds);
        let notifier = Notifier::new(access.clone());
        let held = between::HeldView::default();
        let surroundings = Surroundings {
            node: context.node.clone(),
            members: context.members.clone(),
            tls: context.tls.clone(),
            zones: zones.clone(),
            signer: signer.clone(),
            access,
            held: held.clone(),
            shown: transfer.shown.clone(),
            notifier: notifier.clone(),
        };
        let opened = Files::open(context.data.join("versions")).and_then(|files| Keeper::open(surroundings, files));
        match opened {
            Ok(keeper) => loops.spawn(keeper.run(context.drain.clone())),
            Err(failure) => {
                tracing::error!(%failure, "no zone is handed to secondaries until this is mended and the node started anew");
                let drain = context.drain.clone();
                loops.spawn(async move { drain.begun().await });
            }
        }
        loops.spawn(notifier.run(addresses, transfer.shown.clone(), context.drain.clone()));
        for listener in context.sockets.tcp(&DNS_TRANSFER).map_err(sockets)? {
            let (held, drain) = (held.clone(), context.drain.clone());
            let talk = move |connection| between::answer(connection, held.clone(), drain.clone());
            let security = Security::Cluster(context.tls.clone(), ASKED_BY);
            let (limits, drain) = (between::CONNECTIONS, context.drain.clone());
            loops.spawn(accept::serve(listener, DNS_TRANSFER, security, limits, drain, talk));
        }
        Ok(transfer)
    }

    /// The version of a zone that secondaries have, when it has any: what is answered of a signed one comes out of it.
    pub fn shown(&self) -> &ShownView {
        &self.shown
    }

    /// Looks at a request: answers what asks for a transfer, and what is signed. `respond` answers an ordinary question.
    pub fn take(
        &self,
        request: &[u8],
        client: SocketAddr,
        transport: Transport,
        respond: impl FnOnce(&[u8]) -> Option<Vec<u8>>,
    ) -> Taken {
        if !may_be_signed(request) {
            return Taken::No;
        }
        let now = (self.now_seconds)();
        let (request, signer) = match verify(request, &self.access.keys, now) {
            // Nobody has a zone without a key: who asks is refused like whoever asks for what is not ours.
            Verified::Unsigned => return Taken::No,
            Verified::Signed { request, signer } => (request, signer),
            // Never longer than what came, so that nobody gains by forging where it came from.
            Verified::Refused(refusal) => {
                tracing::info!(%client, why = refusal.why, "a signed request is refused");
                let response = refused(request, refusal.code);
                return response.and_then(|response| refusal.seal(response)).map_or(Taken::Silence, Taken::Answer);
            }
        };
        if asks_for_transfer(&request) {
            return self.transfer(&request, client, transport, signer).unwrap_or(Taken::Silence);
        }
        let answer = respond(&request).and_then(|response| seal(signer, response, transport, &request, now));
        answer.map_or(Taken::Silence, Taken::Answer)
    }

    fn transfer(
        &self,
        request: &[u8],
        client: SocketAddr,
        transport: Transport,
        mut signer: AnswerSigner,
    ) -> Option<Taken> {
        let asked = Asked::read(request);
        let kind = asked.as_ref().map_or("unread", |asked| asked.label());
        let chosen = asked
            .as_ref()
            .ok_or(ResponseCode::FormErr)
            .and_then(|asked| self.choose(asked, signer.key(), client.ip(), transport));
        let code = chosen.as_ref().map_or_else(|code| *code, |_| ResponseCode::NoError);
        metrics::counter!("estafeta_dns_transfers_total", "kind" => kind, "rcode" => label(code)).increment(1);
        let zone = asked.as_ref().map(|asked| asked.question.name().to_ascii()).unwrap_or_default();
        let (sequence, asked) = match (chosen, asked) {
            (Ok(sequence), Some(asked)) => (sequence, asked),
            _ => {
                let key = signer.key().name();
                tracing::info!(%client, zone, kind, %key, code = label(code), "a transfer is refused");
                return signer.seal(refused(request, code)?, (self.now_seconds)()).map(Taken::Answer);
            }
        };
        let place = self.places.clone().try_acquire_owned().ok();
        let mut metadata = Metadata::response_from_request(&asked.metadata);
        metadata.authoritative = true;
        let edns = asked.has_edns.then(|| {
            let mut edns = Edns::new();
            edns.set_max_payload(UDP_BYTES).set_version(0);
            edns
        });
        tracing::info!(%client, zone, kind, "a transfer begins");
        let mut outgoing =
            Outgoing::new(metadata, asked.question, edns, sequence, Some(signer), self.now_seconds, place);
        match transport {
            Transport::Udp => outgoing.next()?.ok().map(Taken::Answer),
            _ => Some(Taken::Transfer(Box::new(outgoing))),
        }
    }

    /// Which records are sent, or with which code it is refused.
    fn choose(&self, asked: &Asked, key: &Key, client: IpAddr, transport: Transport) -> Result<Sequence, ResponseCode> {
        let mut origin = asked.question.name().to_lowercase();
        origin.set_fqdn(true);
        if !self.access.allows(key, client, &origin) {
            return Err(ResponseCode::Refused);
        }
        // RFC 5936 §2.2.1: it is ours, and there is nothing to send yet.
        let shown = self.shown.of(&origin).ok_or(ResponseCode::ServFail)?;
        let soa = shown.version.start_of_authority().ok_or(ResponseCode::ServFail)?;
        let alone = || Ok(Sequence::Chosen([soa.clone()].into()));
        match (asked.question.query_type(), asked.serial, transport) {
            // RFC 5936 §4.2: not over UDP.
            (RecordType::AXFR, _, Transport::Udp) => Err(ResponseCode::FormErr),
            // RFC 1995 §2: who has it already, or will have to come over TCP, is told the version.
            (RecordType::IXFR, _, Transport::Udp) => alone(),
            (RecordType::IXFR, Some(serial), _) if !shown.version.mark.is_after(serial) => alone(),
            (RecordType::IXFR, serial, _) => self.differences(&shown, &soa, serial),
            _ => self.whole(&shown),
        }
    }

    /// RFC 1995 §4: the whole zone when the differences are not known any more.
    fn differences(&self, shown: &Shown, soa: &Record, serial: Option<u32>) -> Result<Sequence, ResponseCode> {
        match serial.ok_or(ResponseCode::FormErr).map(|serial| shown.since(serial))? {
            Some(differences) => Ok(Sequence::differences(soa, &differences)),
            None => self.whole(shown),
        }
    }

    fn whole(&self, shown: &Shown) -> Result<Sequence, ResponseCode> {
        // Too many at a time: the secondary comes again.
        if self.places.available_permits() == 0 {
            return Err(ResponseCode::ServFail);
        }
        Sequence::whole(&shown.version).ok_or(ResponseCode::ServFail)
    }
}

/// A request for a transfer.
struct Asked {
    metadata: Metadata,
    question: Query,
    has_edns: bool,
    /// The serial number that the client has (RFC 1995 §3).
    serial: Option<u32>,
}

impl Asked {
    fn read(request: &[u8]) -> Option<Self> {
        // Bounded before anything is allocated by these numbers: a question, at most an SOA, at most options.
        let counts: Vec<u16> =
            request.get(4..12)?.chunks(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
        let [1, 0, 0..=1, 0..=1] = counts[..] else { return None };
        let mut message = Message::from_vec(request).ok()?;
        let question = message.queries.pop().filter(|question| question.query_class() == DNSClass::IN)?;
        let serial = message.authorities.iter().find_map(|record| match &record.data {
            RData::SOA(soa) if &record.name == question.name() => Some(soa.serial),
            _ => None,
        });
        Some(Self { metadata: message.metadata, question, has_edns: message.edns.is_some(), serial })
    }

    /// Its kind in metrics.
    fn label(&self) -> &'static str {
        match self.question.query_type() {
            RecordType::IXFR => "ixfr",
            _ => "axfr",
        }
    }
}

/// A response code in metrics and the log.
fn label(code: ResponseCode) -> &'static str {
    match code {
        ResponseCode::NoError => "NOERROR",
        ResponseCode::FormErr => "FORMERR",
        ResponseCode::ServFail => "SERVFAIL",
        ResponseCode::Refused => "REFUSED",
        _ => "other",
    }
}

/// Whether the question is for a transfer.
fn asks_for_transfer(request: &[u8]) -> bool {
    // QR and the operation in the third byte (RFC 1035 §4.1.1).
    let is_query = request.get(2).is_some_and(|byte| byte & 0b1111_1000 == 0);
    let kind = question(request).map(|question| question.query_type());
    is_query && matches!(kind, Some(RecordType::AXFR | RecordType::IXFR))
}

/// The one question of a request.
fn question(request: &[u8]) -> Option<Query> {
    let mut decoder = BinDecoder::new(request);
    decoder.read_slice(12).ok()?;
    (request.get(4..6) == Some(&[0, 1])).then(|| Query::read(&mut decoder).ok()).flatten()
}

/// A response that says only a code, with the question when it can be read.
fn refused(request: &[u8], code: ResponseCode) -> Option<Vec<u8>> {
    let id = u16::from_be_bytes([*request.first()?, *request.get(1)?]);
    let byte = *request.get(2)?;
    // What is a response already gets none.
    if byte & 0b1000_0000 != 0 {
        return None;
    }
    let mut message = Message::new(id, MessageType::Response, OpCode::from_u8(byte >> 3 & 0b1111));
    message.metadata.response_code = code;
    message.metadata.recursion_desired = byte & 1 != 0;
    message.queries.extend(question(request));
    message.to_vec().ok()
}

/// Signs an ordinary answer. What would then not fit a datagram is to be asked over TCP (RFC 8945 §5.3).
fn seal(
    mut signer: AnswerSigner,
    response: Vec<u8>,
    transport: Transport,
    request: &[u8],
    now_seconds: u64,
) -> Option<Vec<u8>> {
    let limit = match transport {
        Transport::Udp if request.get(10..12) == Some(&[0, 0]) => usize::from(PLAIN_UDP_BYTES),
        Transport::Udp => usize::from(UDP_BYTES),
        _ => usize::from(u16::MAX),
    };
    if response.len() + SIGNATURE_BYTES <= limit {
        return signer.seal(response, now_seconds);
    }
    let mut short = refused(request, ResponseCode::NoError)?;
    // TC (RFC 1035 §4.1.1).
    *short.get_mut(2)? |= 0b0000_0010;
    signer.seal(short, now_seconds)
}

#[cfg(test)]
mod tests;
