//! Reads a request by hand: a header, one question, and of the records behind it what concerns us. It allocates nothing
//! but a cookie, and follows no compression pointer: a question stands where nothing precedes it that it could point to.

use std::fmt;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;

use super::edns::Edns;

/// The size of a header, in bytes (RFC 1035 §4.1.1).
pub const HEADER_BYTES: usize = 12;

/// The longest name, in bytes (RFC 1035 §3.1).
const NAME_BYTES: usize = 255;

/// The opcode of a usual question (RFC 1035 §4.1.1).
pub const QUERY: u8 = 0;

/// Types by number (IANA, Resource Record TYPEs).
const OPT: u16 = 41;
const TSIG: u16 = 250;

/// The beginning of every message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// What its response repeats.
    pub id: [u8; 2],
    /// QR, opcode, AA, TC, RD.
    pub flags_high: u8,
    /// RA, Z, AD, CD, response code.
    pub flags_low: u8,
}

impl Head {
    /// The opcode.
    pub fn op_code(&self) -> u8 {
        self.flags_high >> 3 & 0xf
    }

    /// RD, as it is copied into a response.
    pub fn recursion_desired(&self) -> u8 {
        self.flags_high & 0x01
    }

    /// CD, as it is copied into a response (RFC 4035 §3.1.6).
    pub fn checking_disabled(&self) -> u8 {
        self.flags_low & 0x10
    }
}

/// A question.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Question<'a> {
    /// The name as it came, in its own case: labels and the root's zero.
    pub name: &'a [u8],
    /// The type that is asked for.
    pub kind: RecordType,
    /// The class.
    pub class: u16,
    /// Name, type and class.
    pub bytes: &'a [u8],
}

impl fmt::Debug for Question<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.name.escape_ascii(), self.class, self.kind)
    }
}

/// A request that can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request<'a> {
    /// Its beginning.
    pub head: Head,
    /// What is asked.
    pub question: Question<'a>,
    /// Its OPT record.
    pub edns: Option<Edns>,
    /// Whether it is signed with a key that both sides know (RFC 8945).
    pub signed: bool,
}

/// Why a message is no request.
#[derive(Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// It deserves no answer: too short to be one, or an answer itself.
    Nothing,
    /// It is answered with this code and nothing else.
    Wrong(Head, ResponseCode),
}

/// Reads a message's beginning; none when it is too short, or an answer.
pub fn head(message: &[u8]) -> Option<Head> {
    let &[id0, id1, flags_high, flags_low] = message.get(..HEADER_BYTES)?.first_chunk()?;
    (flags_high & 0x80 == 0).then_some(Head { id: [id0, id1], flags_high, flags_low })
}

/// Reads a request.
pub fn read(message: &[u8]) -> Result<Request<'_>, Unreadable> {
    let head = head(message).ok_or(Unreadable::Nothing)?;
    if head.op_code() != QUERY {
        return Err(Unreadable::Wrong(head, ResponseCode::NotImp));
    }
    let parts = |bytes| parts(bytes).ok_or(Unreadable::Wrong(head, ResponseCode::FormErr));
    let (question, edns, signed) = parts(message)?;
    Ok(Request { head, question, edns, signed })
}

/// What stands behind the header; none when it is not as it must be.
fn parts(message: &[u8]) -> Option<(Question<'_>, Option<Edns>, bool)> {
    let counts = &message[4..HEADER_BYTES];
    let [questions, answers, authorities, additionals] =
        [0, 2, 4, 6].map(|at| u16::from_be_bytes([counts[at], counts[at + 1]]));
    // RFC 9619 §4: one question. An authority comes with a question for changes (RFC 1995 §3).
    if questions != 1 || answers != 0 || authorities > 1 {
        return None;
    }
    let (question, mut rest) = question(&message[HEADER_BYTES..])?;
    for _ in 0..authorities {
        rest = record(rest)?.rest;
    }
    let (mut edns, mut signed) = (None, false);
    for _ in 0..additionals {
        // RFC 8945 §5.1: a signature is the last record.
        if signed {
            return None;
        }
        let record = record(rest)?;
        match record.kind {
            // RFC 6891 §6.1.1: one, of the root.
            OPT if edns.is_some() || !record.of_root => return None,
            OPT => edns = Some(Edns::read(record.class, record.ttl, record.data).ok()?),
            TSIG => signed = true,
            _ => {}
        }
        rest = record.rest;
    }
    rest.is_empty().then_some((question, edns, signed))
}

fn question(bytes: &[u8]) -> Option<(Question<'_>, &[u8])> {
    let mut length = 0;
    loop {
        match *bytes.get(length)? {
            0 => break,
            label @ 1..=63 => length += 1 + usize::from(label),
            // A pointer, or a kind of label that was never agreed on (RFC 6891 §5).
            _ => return None,
        }
    }
    length += 1;
    if length > NAME_BYTES {
        return None;
    }
    let (all, rest) = bytes.split_at_checked(length + 4)?;
    let (name, fixed) = all.split_at(length);
    let kind = RecordType::from(u16::from_be_bytes([fixed[0], fixed[1]]));
    Some((Question { name, kind, class: u16::from_be_bytes([fixed[2], fixed[3]]), bytes: all }, rest))
}

/// A record as far as it concerns us.
struct Record<'a> {
    of_root: bool,
    kind: u16,
    class: u16,
    ttl: u32,
    data: &'a [u8],
    rest: &'a [u8],
}

fn record(bytes: &[u8]) -> Option<Record<'_>> {
    let mut at = 0;
    // The name is stepped over: where it points to does not matter.
    loop {
        match *bytes.get(at)? {
            0 => {
                at += 1;
                break;
            }
            label @ 1..=63 => at += 1 + usize::from(label),
            0xc0.. => {
                at += 2;
                break;
            }
            _ => return None,
        }
    }
    let (&[kind_high, kind_low, class_high, class_low, t0, t1, t2, t3, length_high, length_low], rest) =
        bytes.get(at..)?.split_first_chunk::<10>()?;
    let (data, rest) = rest.split_at_checked(u16::from_be_bytes([length_high, length_low]).into())?;
    Some(Record {
        of_root: at == 1,
        kind: u16::from_be_bytes([kind_high, kind_low]),
        class: u16::from_be_bytes([class_high, class_low]),
        ttl: u32::from_be_bytes([t0, t1, t2, t3]),
        data,
        rest,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: [u8; HEADER_BYTES] = [1, 2, 1, 0x10, 0, 1, 0, 0, 0, 0, 0, 0];
    const QUESTION: &[u8] = b"\x02MX\x04demo\x04test\x00\x00\x01\x00\x01";
    const OPT_RECORD: [u8; 11] = [0, 0, 41, 4, 208, 0, 0, 128, 0, 0, 0];

    fn message(counts: [u8; 4], parts: &[&[u8]]) -> Vec<u8> {
        let mut message = HEADER.to_vec();
        for (index, count) in counts.into_iter().enumerate() {
            message[5 + 2 * index] = count;
        }
        parts.iter().for_each(|part| message.extend_from_slice(part));
        message
    }

    #[test]
    fn a_question_is_read_in_its_own_case() {
        let bytes = message([1, 0, 0, 1], &[QUESTION, &OPT_RECORD]);
        let request = read(&bytes).unwrap();
        assert_eq!((request.head.id, request.head.op_code()), ([1, 2], 0));
        assert_eq!((request.head.recursion_desired(), request.head.checking_disabled()), (1, 0x10));
        assert_eq!(request.question.name, b"\x02MX\x04demo\x04test\x00");
        assert_eq!((request.question.kind, request.question.class), (RecordType::A, 1));
        assert!(request.edns.unwrap().dnssec_ok && !request.signed);
    }

    #[test]
    fn records_behind_it_are_stepped_over() {
        let soa = [&[0xc0, 12, 0, 6, 0, 1, 0, 0, 0, 0, 0, 3][..], b"abc"].concat();
        let tsig = [b"\x03key\x00\x00\xfa\x00\xff\x00\x00\x00\x00\x00\x02".as_slice(), b"xy"].concat();
        let bytes = message([1, 0, 1, 2], &[QUESTION, &soa, &OPT_RECORD, &tsig]);
        let request = read(&bytes).unwrap();
        assert!(request.signed && request.edns.is_some());
        let behind = message([1, 0, 0, 2], &[QUESTION, &tsig, &OPT_RECORD]);
        assert!(matches!(read(&behind), Err(Unreadable::Wrong(_, ResponseCode::FormErr))), "a signature comes last");
    }

    #[test]
    fn what_is_wrong_is_told_apart_from_what_is_nothing() {
        let wrong = |bytes: &[u8]| match read(bytes) {
            Err(Unreadable::Wrong(_, code)) => code,
            other => panic!("{other:?}"),
        };
        assert_eq!(read(&HEADER[..11]), Err(Unreadable::Nothing));
        let mut answer = message([1, 0, 0, 0], &[QUESTION]);
        answer[2] |= 0x80;
        assert_eq!(read(&answer), Err(Unreadable::Nothing));
        let mut notify = message([1, 0, 0, 0], &[QUESTION]);
        notify[2] |= 4 << 3;
        assert_eq!(wrong(&notify), ResponseCode::NotImp);
        let long = [&[&b"\x3f"[..], &[b'a'; 63]].concat().repeat(4), &[0, 0, 1, 0, 1][..]].concat();
        for bad in [
            message([0, 0, 0, 0], &[]),
            message([2, 0, 0, 0], &[QUESTION, QUESTION]),
            message([1, 1, 0, 0], &[QUESTION]),
            message([1, 0, 2, 0], &[QUESTION]),
            message([1, 0, 0, 1], &[QUESTION]),
            message([1, 0, 0, 0], &[QUESTION, b"more"]),
            message([1, 0, 0, 0], &[&QUESTION[..QUESTION.len() - 1]]),
            // A name that points at itself, at the header, and one of a label type of long ago.
            message([1, 0, 0, 0], &[b"\xc0\x0c\x00\x01\x00\x01"]),
            message([1, 0, 0, 0], &[b"\xc0\x00\x00\x01\x00\x01"]),
            message([1, 0, 0, 0], &[b"\x41a\x00\x00\x01\x00\x01"]),
            // 257 bytes of name.
            message([1, 0, 0, 0], &[&long]),
            message([1, 0, 0, 2], &[QUESTION, &OPT_RECORD, &OPT_RECORD]),
            message([1, 0, 0, 1], &[QUESTION, &[1, b'a', 0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]]),
        ] {
            assert_eq!(wrong(&bad), ResponseCode::FormErr, "{bad:?}");
        }
    }
}
