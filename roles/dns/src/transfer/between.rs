//! How dns nodes hand each other versions: zone transfers over TLS (RFC 9103), under the nodes' certificates.
//!
//! What a node holds is itself a zone, a catalogue (RFC 9432): its members are the zones, and beside each stands, as a
//! property of ours, the mark of the version held. Whoever asks reads the catalogue first, and then by the same
//! connection the zones that are newer than its own.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use estafeta_core::members::Candidate;
use estafeta_net::accept::ConnectionLimits;
use estafeta_net::connection::Connection;
use estafeta_net::drain::Drain;
use estafeta_net::drive::{Flow, Handler, Output, Timeouts, Upgrade, drive};
use estafeta_net::tls::Tls;
use hickory_proto::op::{Message, MessageType, Metadata, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{NS, PTR, SOA, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::outgoing::{Outgoing, Sequence};
use super::version::{Digest, Mark, Version, from_records};
use super::{framed, now_seconds};
use crate::serve::stream::{Request, RequestStream};

/// The catalogue's name: one that no zone can have (RFC 6761 §6.4).
const CATALOGUE: &str = "versions.invalid.";

/// How long another node may be silent, or take nothing.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long it may take to hand over all that is newer.
const TOGETHER: Duration = Duration::from_secs(120);

/// The largest zone that is taken over, in bytes on the wire.
const ZONE_BYTES: usize = 256 * 1024 * 1024;

/// How many connections other nodes may hold: each needs one now and then.
pub(super) const CONNECTIONS: ConnectionLimits = ConnectionLimits { connections: 200, connections_per_address: 20 };

/// What this node holds, by zone: cheap to clone, always the newest.
#[derive(Clone, Default)]
pub(super) struct HeldView(Arc<ArcSwap<BTreeMap<Name, Arc<Version>>>>);

impl HeldView {
    /// Everything that is held.
    pub fn current(&self) -> Arc<BTreeMap<Name, Arc<Version>>> {
        self.0.load_full()
    }

    /// Holds these from now on.
    pub fn replace(&self, held: BTreeMap<Name, Arc<Version>>) {
        self.0.store(Arc::new(held));
    }

    /// The catalogue of what is held. None when it cannot be written down, which no zone's name makes true.
    pub fn catalogue(&self) -> Option<Version> {
        let origin = Name::from_ascii(CATALOGUE).ok()?;
        let below = |label: &str, name: &Name| name.prepend_label(label).ok();
        let text = |text: String| RData::TXT(TXT::new(vec![text]));
        // RFC 9432 §4.1, §4.2: the SOA and NS of a zone that nobody resolves, and the version of the form.
        let nobody = Name::from_ascii("invalid.").ok()?;
        let soa = SOA::new(nobody.clone(), nobody.clone(), 0, 3600, 600, 604_800, 0);
        let mut records = vec![
            Record::from_rdata(origin.clone(), 0, RData::SOA(soa)),
            Record::from_rdata(origin.clone(), 0, RData::NS(NS(nobody))),
            Record::from_rdata(below("version", &origin)?, 0, text("2".into())),
        ];
        let zones = below("zones", &origin)?;
        for (zone, version) in self.current().iter() {
            // RFC 9432 §4.3.1: a label that is the member's own as long as it is one; §4.4.2: `ext` for what is ours.
            let member = below(&Digest::of(zone.to_ascii().as_bytes()).to_string(), &zones)?;
            records.push(Record::from_rdata(member.clone(), 0, RData::PTR(PTR(zone.clone()))));
            let mark = below("mark", &below("ext", &member)?)?;
            records.push(Record::from_rdata(mark, 0, text(version.mark.to_string())));
        }
        Version::of(from_records(&origin, records).ok()?)
    }
}

/// The marks in a catalogue.
fn marks(catalogue: &Version) -> BTreeMap<Name, Mark> {
    let names = &catalogue.zone.names;
    let first = |name: &Name, kind| catalogue.zone.set(name, kind)?.data.first().map(|datum| &datum.data);
    let mark = |member: &Name| -> Option<(Name, Mark)> {
        let RData::PTR(zone) = first(member, RecordType::PTR)? else { return None };
        let property = member.prepend_label("ext").ok()?.prepend_label("mark").ok()?;
        let RData::TXT(text) = first(&property, RecordType::TXT)? else { return None };
        let text = text.txt_data.iter().flat_map(|part| part.iter().copied()).collect();
        let text = String::from_utf8(text).ok()?;
        let (serial, digest) = text.split_once(':')?;
        let mut zone = zone.0.to_lowercase();
        zone.set_fqdn(true);
        Some((zone, Mark { serial: serial.parse().ok()?, digest: digest.parse().ok()? }))
    };
    names.keys().filter_map(mark).collect()
}

/// Answers one other node until it has enough.
pub(super) async fn answer(connection: Connection, held: HeldView, drain: Drain) {
    let peer = connection.peer;
    let timeouts = Timeouts { read: PATIENCE, write: PATIENCE };
    let mut stream = RequestStream::default();
    if let Err(error) = drive(connection, &mut stream, &mut Answering(held), Upgrade::Never, timeouts, &drain).await {
        tracing::debug!(%peer, %error, "a dns node's conversation ended");
    }
}

struct Answering(HeldView);

impl Handler<RequestStream> for Answering {
    async fn handle(
        &mut self,
        Request(request): Request,
        stream: &mut RequestStream,
        output: &mut Output<'_>,
    ) -> io::Result<Flow> {
        let Some((metadata, question)) = read(&request) else { return Ok(Flow::Close) };
        let version = match (question.query_type(), question.name()) {
            (RecordType::AXFR, name) if name.to_ascii() == CATALOGUE => self.0.catalogue().map(Arc::new),
            (RecordType::AXFR, name) => self.0.current().get(name).cloned(),
            _ => None,
        };
        let Some(sequence) = version.as_deref().and_then(Sequence::whole) else {
            let mut refusal = Message::new(metadata.id, MessageType::Response, metadata.op_code);
            refusal.metadata.response_code = ResponseCode::Refused;
            stream.answer(&refusal.to_vec().map_err(io::Error::other)?);
            return Ok(Flow::Continue);
        };
        let mut reply = Metadata::response_from_request(&metadata);
        reply.authoritative = true;
        for message in Outgoing::new(reply, question, None, sequence, None, now_seconds, None) {
            output.write(&framed(&message.map_err(io::Error::other)?)).await?;
        }
        Ok(Flow::Continue)
    }
}

fn read(request: &[u8]) -> Option<(Metadata, Query)> {
    // Nodes of the cluster alone come here, so this bound is against bugs: one question and nothing beside it.
    if request.get(4..12) != Some(&[0, 1, 0, 0, 0, 0, 0, 0]) {
        return None;
    }
    let mut message = Message::from_vec(request).ok()?;
    Some((message.metadata, message.queries.pop()?))
}

/// What another node said.
pub(super) struct Heard {
    /// What it holds.
    pub marks: BTreeMap<Name, Mark>,
    /// What of it is newer than what was known.
    pub newer: Vec<Version>,
}

/// Asks another node what it holds, and fetches what comes after `known`; at most `limit` zones are listened to.
pub(super) async fn ask(
    tls: &Tls,
    candidate: &Candidate,
    known: &BTreeMap<Name, u32>,
    limit: usize,
) -> Result<Heard, String> {
    let talk = async {
        let mut connection = tls.connect(candidate).await.map_err(|failure| failure.to_string())?;
        let origin = Name::from_ascii(CATALOGUE).map_err(|error| error.to_string())?;
        let catalogue = fetch(&mut connection, &origin, 0).await?;
        let mut marks = marks(&catalogue);
        if marks.len() > limit {
            return Err(format!("it holds {} zones, and no more than {limit} are listened to", marks.len()));
        }
        let is_newer = |(zone, mark): &(&Name, &Mark)| known.get(zone).is_none_or(|serial| mark.is_after(*serial));
        let wanted: Vec<Name> = marks.iter().filter(is_newer).map(|(zone, _)| zone.clone()).collect();
        let mut newer = Vec::new();
        for (zone, id) in wanted.into_iter().zip(1..) {
            let version = fetch(&mut connection, &zone, id).await?;
            match marks.insert(zone.clone(), version.mark) {
                Some(said) if said.serial == version.mark.serial && said.digest != version.mark.digest => {
                    return Err(format!("a bug: what came of {zone} is {}, and {said} was announced", version.mark));
                }
                _ => newer.push(version),
            }
        }
        Ok(Heard { marks, newer })
    };
    tokio::time::timeout(TOGETHER, talk).await.unwrap_or_else(|_| Err("it takes too long".into()))
}

async fn fetch(connection: &mut Connection, origin: &Name, id: u16) -> Result<Version, String> {
    let text = |error: io::Error| error.to_string();
    let mut request = Message::new(id, MessageType::Query, OpCode::Query);
    request.add_query(Query::query(origin.clone(), RecordType::AXFR));
    let request = request.to_vec().map_err(|error| error.to_string())?;
    in_time(connection.stream.write_all(&framed(&request))).await.map_err(text)?;
    in_time(connection.stream.flush()).await.map_err(text)?;
    let mut incoming = Incoming { id, records: Vec::new() };
    let mut received_bytes = 0;
    loop {
        let length = usize::from(in_time(connection.stream.read_u16()).await.map_err(text)?);
        received_bytes += length;
        if received_bytes > ZONE_BYTES {
            return Err(format!("{origin} is larger than {ZONE_BYTES} bytes"));
        }
        let mut message = vec![0; length];
        in_time(connection.stream.read_exact(&mut message)).await.map_err(text)?;
        if incoming.take(&message)? {
            let zone = from_records(origin, incoming.records)?;
            return Version::of(zone).ok_or_else(|| format!("{origin} has no SOA record"));
        }
    }
}

/// A transfer that comes in.
struct Incoming {
    id: u16,
    records: Vec<Record>,
}

impl Incoming {
    /// Takes a message; whether it was the last (RFC 5936 §2.2: the SOA comes again).
    fn take(&mut self, message: &[u8]) -> Result<bool, String> {
        let message = Message::from_vec(message).map_err(|error| error.to_string())?;
        if message.metadata.id != self.id || message.metadata.message_type != MessageType::Response {
            return Err("it answers something else".into());
        }
        if message.metadata.response_code != ResponseCode::NoError || message.answers.is_empty() {
            return Err(format!("it answers {}", message.metadata.response_code));
        }
        for record in message.answers {
            let is_start = record.record_type() == RecordType::SOA;
            match (is_start, self.records.is_empty()) {
                (false, true) => return Err("it does not begin with the SOA record".into()),
                (true, false) => return Ok(true),
                _ => self.records.push(record),
            }
        }
        Ok(false)
    }
}

async fn in_time<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(PATIENCE, work)
        .await
        .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "it is silent for too long")))
}

#[cfg(test)]
mod tests {
    use super::super::version::tests::{name, zone};
    use super::*;

    fn held(zones: &[(&str, u32)]) -> HeldView {
        let view = HeldView::default();
        let version =
            |(origin, serial): &(&str, u32)| (name(origin), Arc::new(Version::of(zone(origin, *serial, 2)).unwrap()));
        view.replace(zones.iter().map(version).collect());
        view
    }

    #[test]
    fn a_catalogue_says_what_is_held() {
        let view = held(&[("demo.test.", 7), ("xn--espaa-rta.test.", 9)]);
        let catalogue = view.catalogue().unwrap();
        let marks = marks(&catalogue);
        assert_eq!(marks.len(), 2);
        assert_eq!(marks[&name("demo.test.")], view.current()[&name("demo.test.")].mark);
        assert_ne!(catalogue.content, held(&[("demo.test.", 8)]).catalogue().unwrap().content);
        assert_eq!(held(&[]).catalogue().unwrap().records().count(), 2);
    }

    #[test]
    fn what_is_no_transfer_is_refused() {
        let response = |id, code, answers: Vec<Record>| {
            let mut message = Message::new(id, MessageType::Response, OpCode::Query);
            message.metadata.response_code = code;
            message.answers = answers;
            message.to_vec().unwrap()
        };
        let version = Version::of(zone("demo.test.", 7, 1)).unwrap();
        let soa = version.start_of_authority().unwrap();
        let other = version.records().next().unwrap();
        let mut incoming = Incoming { id: 3, records: vec![] };
        assert!(incoming.take(b"garbage").is_err());
        assert!(incoming.take(&response(4, ResponseCode::NoError, vec![soa.clone()])).is_err());
        assert!(incoming.take(&response(3, ResponseCode::Refused, vec![])).unwrap_err().contains("Refused"));
        assert!(incoming.take(&response(3, ResponseCode::NoError, vec![])).is_err());
        assert!(incoming.take(&response(3, ResponseCode::NoError, vec![other.clone()])).is_err());
        assert_eq!(incoming.take(&response(3, ResponseCode::NoError, vec![soa.clone(), other])), Ok(false));
        assert_eq!(incoming.take(&response(3, ResponseCode::NoError, vec![soa])), Ok(true));
    }
}
