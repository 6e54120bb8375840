//! From the bytes of a request to the bytes of its response, whatever carries them: reads it, checks its cookie, takes
//! an answer that is ready or makes one, charges it to whom it goes to, and writes it. No I/O; time is an argument.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use hickory_proto::op::{Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};

use crate::answer::{Answer, Asker, answer};
use crate::cache::{Key, Ready, ReadyAnswers, TURNS};
use crate::cookie::ServerCookie;
use crate::cookie::secrets::Secrets;
use crate::dnssec::Signer;
use crate::limit::{Limiter, Verdict};
use crate::packet::edns::{Cookie, Opt};
use crate::packet::request::{self, Head, Request, Unreadable};
use crate::packet::response::{Bare, Body, write_bare};
use crate::packet::{PLAIN_UDP_BYTES, TCP_PATIENCE_SECONDS, Transport, UDP_BYTES};
use crate::zones::Zones;

/// How many counts of turns there are: names that share one merely skip a turn now and then.
const TURN_COUNTS: usize = 256;

/// Room for the OPT record is set aside in steps of so many bytes, so that clients with other options share answers.
const ROOM_STEP_BYTES: usize = 32;

/// So are the sizes of datagrams that clients take.
const LIMIT_STEP_BYTES: u16 = 128;

/// How long an idle connection stays, in tenths of a second (RFC 7828 §3.1).
const KEEPALIVE_TENTHS: u16 = 10 * TCP_PATIENCE_SECONDS;

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub struct Client {
    /// Its address: over UDP it may be forged.
    pub address: IpAddr,
    /// How it asks.
    pub transport: Transport,
}

/// When it asks, by two clocks.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// What o'clock it is.
    pub time: SystemTime,
    /// Since 1970, in seconds, without the bits above 32: the clock of cookies.
    pub unix_seconds: u32,
    /// Since this node began, in milliseconds; it never goes back.
    pub elapsed_ms: u64,
}

/// What was said, for whoever counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Said {
    /// The type that was asked for, when there was a readable question.
    pub kind: Option<RecordType>,
    /// The response code.
    pub code: ResponseCode,
    /// What the limits made of it.
    pub verdict: Verdict,
}

/// What answers: shared by all that carry requests.
pub struct Responder {
    limiter: Limiter,
    secrets: Secrets,
    signer: Option<Arc<Signer>>,
    identifier: Vec<u8>,
    /// Turns, by the question: each of its answers has the next turn.
    turns: [AtomicUsize; TURN_COUNTS],
    hashing: RandomState,
}

impl Responder {
    /// `identifier`: what the node says of itself when it is asked (RFC 5001), empty for nothing.
    pub fn new(limiter: Limiter, secrets: Secrets, signer: Option<Arc<Signer>>, identifier: &str) -> Self {
        Self {
            limiter,
            secrets,
            signer,
            identifier: identifier.as_bytes().to_vec(),
            turns: std::array::from_fn(|_| AtomicUsize::new(0)),
            hashing: RandomState::new(),
        }
    }

    /// A number that changes when answers that are ready must not be used again, whatever the zones.
    pub fn epoch(&self) -> u64 {
        self.signer.as_ref().map_or(0, |signer| signer.ring().generation())
    }

    /// Answers a request out of `zones` into `message`, which is empty when the answer goes beyond a limit. `ready`: the
    /// answers that are ready, of these zones. None when what came deserves no answer.
    pub fn respond(
        &self,
        request: &[u8],
        client: &Client,
        now: Moment,
        zones: &Zones,
        ready: Option<&mut ReadyAnswers>,
        message: &mut Vec<u8>,
    ) -> Option<Said> {
        message.clear();
        let request = match request::read(request) {
            Ok(request) => request,
            Err(Unreadable::Nothing) => return None,
            Err(Unreadable::Wrong(head, code)) => {
                return Some(self.refuse_unread(&head, code, client, now, message));
            }
        };
        let cookie = self.cookie(&request, client, now);
        let asking = Asking { opt: self.opt(&request, cookie.as_ref(), client), request, client, now, cookie };
        match &asking.request.edns {
            // RFC 6891 §6.1.3.
            Some(edns) if edns.version > 0 => {
                Some(self.finish(&asking, ResponseCode::BADVERS, code_account(ResponseCode::BADVERS), message, None))
            }
            _ => self.answer(asking, zones, ready, message),
        }
    }

    fn answer(
        &self,
        mut asking: Asking<'_>,
        zones: &Zones,
        mut ready: Option<&mut ReadyAnswers>,
        message: &mut Vec<u8>,
    ) -> Option<Said> {
        let subnet = asking.request.edns.as_ref().and_then(|edns| edns.subnet);
        let nearness = zones.sites.nearness(asking.client.address, subnet);
        let (signed, room) = (asking.opt.is_some_and(|opt| opt.dnssec_ok), asking.room_bytes());
        let key = Key::new(&asking.request.question, signed, room, nearness.place(), subnet.is_some());
        let hash = self.hashing.hash_one(key.question());
        let turn = self.turns[hash as usize % TURN_COUNTS].fetch_add(1, Ordering::Relaxed) % TURNS;
        if let Some(found) = ready.as_mut().and_then(|ready| ready.get(&key, turn)) {
            return Some(self.give(&mut asking, found, message));
        }
        let asker = Asker { turn, client: asking.client.address, subnet };
        let made = self.make(&asking, &key, hash, zones, &asker)?;
        let said = self.give(&mut asking, &made.ready, message);
        if let Some(ready) = ready {
            ready.put(&key, turn, made.in_turn, made.ready);
        }
        Some(said)
    }

    fn give(&self, asking: &mut Asking<'_>, ready: &Ready, message: &mut Vec<u8>) -> Said {
        if let Some((_, scope_bits)) = asking.opt.as_mut().and_then(|opt| opt.subnet.as_mut()) {
            *scope_bits = ready.scope_bits;
        }
        self.finish(asking, ready.body.code, ready.account, message, Some(&ready.body))
    }

    /// Makes an answer for all who ask the same.
    fn make(&self, asking: &Asking<'_>, key: &Key, hash: u64, zones: &Zones, asker: &Asker) -> Option<Made> {
        let name = Name::read(&mut BinDecoder::new(key.name())).ok()?;
        let mut question = Query::query(name, asking.request.question.kind);
        question.set_query_class(DNSClass::from(asking.request.question.class));
        let mut answer = answer(zones, &question, asker);
        let signed = asking.opt.is_some_and(|opt| opt.dnssec_ok);
        if let Some(signer) = self.signer.as_ref().filter(|_| signed)
            && let Some(zone) = zones.find_for(question.name(), question.query_type())
        {
            answer = signer.sign(zone, &question, answer, asking.now.time);
        }
        let scope_bits = answer.scope_prefix.unwrap_or(0);
        let account = self.account(&answer, hash);
        // Of one record there is no other order; a negative answer is always the same.
        let in_turn = answer.authorities.is_empty() && answer.answers.len() + answer.additionals.len() > 1;
        let body = Body::new(&question, answer, asking.room_bytes().into())?;
        Some(Made { ready: Ready { body: Arc::new(body), account, scope_bits }, in_turn })
    }

    /// What limits count an answer as: whoever asks for names or types that are not there, or for what is refused, gets
    /// the same answer again and again, whatever the names.
    fn account(&self, answer: &Answer, question: u64) -> u64 {
        match answer.authorities.first() {
            _ if !answer.answers.is_empty() => question,
            Some(authority) => self.hashing.hash_one((&authority.name, u16::from(answer.code))),
            None => code_account(answer.code),
        }
    }

    /// Charges an answer and writes what the limits leave of it: `body`, or without one a refusal.
    fn finish(
        &self,
        asking: &Asking<'_>,
        code: ResponseCode,
        account: u64,
        message: &mut Vec<u8>,
        body: Option<&Body>,
    ) -> Said {
        let (head, question) = (&asking.request.head, Some(&asking.request.question));
        let verdict = self.judge(asking, account);
        let said = Said { kind: Some(asking.request.question.kind), code, verdict };
        let mut opt = asking.opt;
        let bare = match (verdict, code) {
            (Verdict::Silence, _) => return said,
            // RFC 7873 §5.2.3: who has a cookie to learn proves with it who it is, without a connection.
            (Verdict::Truncate, _) if asking.cookie.is_some() => Bare::Refused(ResponseCode::BADCOOKIE),
            (Verdict::Truncate, ResponseCode::NoError | ResponseCode::NXDomain) => Bare::Truncated,
            _ => match body {
                Some(body) => {
                    body.write(head, &asking.request.question, opt.as_ref(), message);
                    return said;
                }
                None => Bare::Refused(code),
            },
        };
        let code = if let Bare::Refused(code) = bare { code } else { code };
        if let Some(opt) = &mut opt {
            opt.code_high = code.high();
        }
        write_bare(bare, head, question, opt.as_ref(), message);
        Said { code, ..said }
    }

    /// Refuses what could not be read as a question.
    fn refuse_unread(
        &self,
        head: &Head,
        code: ResponseCode,
        client: &Client,
        now: Moment,
        message: &mut Vec<u8>,
    ) -> Said {
        let verdict = match client.transport {
            Transport::Udp => self.limiter.judge(client.address, code_account(code), now.elapsed_ms),
            Transport::Tcp | Transport::Tls => Verdict::Answer,
        };
        if verdict != Verdict::Silence {
            write_bare(Bare::Refused(code), head, None, None, message);
        }
        Said { kind: None, code, verdict }
    }

    /// Only over UDP, and only without one of our cookies, may the address be a victim's.
    fn judge(&self, asking: &Asking<'_>, account: u64) -> Verdict {
        match (asking.client.transport, &asking.cookie) {
            (Transport::Tcp | Transport::Tls, _) | (_, Some(Shown { known: true, .. })) => Verdict::Answer,
            (Transport::Udp, _) => self.limiter.judge(asking.client.address, account, asking.now.elapsed_ms),
        }
    }

    fn cookie(&self, request: &Request<'_>, client: &Client, now: Moment) -> Option<Shown> {
        let Cookie { client: theirs, server } = request.edns.as_ref()?.cookie.as_ref()?;
        let jar = self.secrets.current();
        let taken = jar.taken(theirs, server, client.address, now.unix_seconds);
        let ours = taken.unwrap_or_else(|| jar.bake(theirs, client.address, now.unix_seconds));
        Some(Shown { ours, known: taken.is_some() })
    }

    /// The OPT record of the response (RFC 6891 §6.1.1, §7).
    fn opt(&self, request: &Request<'_>, cookie: Option<&Shown>, client: &Client) -> Option<Opt<'_>> {
        let edns = request.edns.as_ref()?;
        let identifier = (edns.asks_identifier && !self.identifier.is_empty()).then_some(&self.identifier[..]);
        // RFC 7828 §3.2.2: over a connection alone. RFC 8467 §4: in padding lies only sense where nobody can read.
        let keeps = edns.asks_keepalive && client.transport != Transport::Udp;
        Some(Opt {
            code_high: 0,
            dnssec_ok: edns.dnssec_ok,
            cookie: cookie.zip(edns.cookie.as_ref()).map(|(shown, cookie)| (cookie.client, shown.ours)),
            subnet: edns.subnet.map(|subnet| (subnet, 0)),
            identifier,
            keepalive: keeps.then_some(KEEPALIVE_TENTHS),
            padded: edns.padded && client.transport == Transport::Tls,
        })
    }
}

/// A request, and what is known of it.
struct Asking<'a> {
    request: Request<'a>,
    client: &'a Client,
    now: Moment,
    cookie: Option<Shown>,
    opt: Option<Opt<'a>>,
}

/// A client's cookie.
struct Shown {
    /// Our part of it from now on.
    ours: ServerCookie,
    /// Whether it was ours before: then the address is not forged.
    known: bool,
}

/// An answer that was made, and whether another turn has another one.
struct Made {
    ready: Ready,
    in_turn: bool,
}

impl Asking<'_> {
    /// How long the response may be, without its OPT record.
    fn room_bytes(&self) -> u16 {
        let edns = self.request.edns.as_ref();
        let limit_bytes = match (self.client.transport, edns.map(|edns| edns.payload_bytes)) {
            (Transport::Tcp | Transport::Tls, _) => u16::MAX,
            (Transport::Udp, None) => PLAIN_UDP_BYTES,
            (Transport::Udp, Some(UDP_BYTES..)) => UDP_BYTES,
            // In steps, so that clients share answers.
            (Transport::Udp, Some(payload)) => (payload - payload % LIMIT_STEP_BYTES).max(PLAIN_UDP_BYTES),
        };
        let set_aside = self.opt.map_or(0, |opt| opt.length().next_multiple_of(ROOM_STEP_BYTES));
        limit_bytes.saturating_sub(u16::try_from(set_aside).unwrap_or(u16::MAX))
    }
}

/// Refusals are counted by their code.
fn code_account(code: ResponseCode) -> u64 {
    u64::from(u16::from(code))
}

#[cfg(test)]
mod tests;
