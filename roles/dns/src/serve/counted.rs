//! What is counted. Each counter is looked up once: the registry is far slower than an answer.

use std::sync::OnceLock;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use metrics::Counter;

use crate::limit::Verdict;
use crate::packet::Transport;
use crate::respond::Said;

/// Says what the metrics mean.
pub fn describe_metrics() {
    metrics::describe_counter!(
        "estafeta_dns_queries_total",
        "Questions answered, by transport, type and response code."
    );
    metrics::describe_counter!(
        "estafeta_dns_limited_total",
        "Answers over UDP beyond [dns.limits], by what was done: truncated or not sent."
    );
}

/// Types by their names in metrics: a bounded set, whatever clients ask for.
const KINDS: [RecordType; 17] = [
    RecordType::A,
    RecordType::AAAA,
    RecordType::ANY,
    RecordType::AXFR,
    RecordType::CAA,
    RecordType::CNAME,
    RecordType::DNSKEY,
    RecordType::DS,
    RecordType::HTTPS,
    RecordType::IXFR,
    RecordType::MX,
    RecordType::NS,
    RecordType::PTR,
    RecordType::SOA,
    RecordType::SRV,
    RecordType::TLSA,
    RecordType::TXT,
];

/// Codes as `dig` writes them.
const CODES: [(ResponseCode, &str); 8] = [
    (ResponseCode::NoError, "NOERROR"),
    (ResponseCode::FormErr, "FORMERR"),
    (ResponseCode::ServFail, "SERVFAIL"),
    (ResponseCode::NXDomain, "NXDOMAIN"),
    (ResponseCode::NotImp, "NOTIMP"),
    (ResponseCode::Refused, "REFUSED"),
    (ResponseCode::BADVERS, "BADVERS"),
    (ResponseCode::BADCOOKIE, "BADCOOKIE"),
];

/// Every transport, type (any other, none) and code (any other).
const COUNTERS: usize = Transport::ALL.len() * (KINDS.len() + 2) * (CODES.len() + 1);

/// The counters as far as something was counted.
pub(super) struct Counted {
    answered: [OnceLock<Counter>; COUNTERS],
    truncated: OnceLock<Counter>,
    silenced: OnceLock<Counter>,
}

impl Default for Counted {
    fn default() -> Self {
        Self {
            answered: std::array::from_fn(|_| OnceLock::new()),
            truncated: OnceLock::new(),
            silenced: OnceLock::new(),
        }
    }
}

impl Counted {
    /// Counts what was said.
    pub(super) fn add(&self, transport: Transport, said: &Said) {
        let limited = |what: &'static str| metrics::counter!("estafeta_dns_limited_total", "what" => what);
        match said.verdict {
            Verdict::Silence => return self.silenced.get_or_init(|| limited("not sent")).increment(1),
            Verdict::Truncate => self.truncated.get_or_init(|| limited("truncated")).increment(1),
            Verdict::Answer => {}
        }
        let kind = said
            .kind
            .map_or(KINDS.len() + 1, |kind| KINDS.iter().position(|known| *known == kind).unwrap_or(KINDS.len()));
        let code = CODES.iter().position(|(known, _)| u16::from(*known) == u16::from(said.code)).unwrap_or(CODES.len());
        let index = (transport as usize * (KINDS.len() + 2) + kind) * (CODES.len() + 1) + code;
        if let Some(counter) = self.answered.get(index) {
            let counter = counter.get_or_init(|| {
                let kind: &'static str = match said.kind {
                    None => "none",
                    Some(kind) => KINDS.iter().find(|known| **known == kind).map_or("other", |kind| (*kind).into()),
                };
                let code = CODES.get(code).map_or("other", |(_, name)| *name);
                metrics::counter!("estafeta_dns_queries_total", "transport" => transport.as_str(), "type" => kind, "rcode" => code)
            });
            counter.increment(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_has_a_counter_of_its_own() {
        let counted = Counted::default();
        let kinds = [Some(RecordType::A), Some(RecordType::TXT), Some(RecordType::Unknown(999)), None];
        for transport in Transport::ALL {
            for kind in kinds {
                for code in [ResponseCode::NoError, ResponseCode::BADCOOKIE, ResponseCode::YXDomain] {
                    counted.add(transport, &Said { kind, code, verdict: Verdict::Answer });
                }
            }
        }
        let used = counted.answered.iter().filter(|counter| counter.get().is_some()).count();
        assert_eq!(used, Transport::ALL.len() * kinds.len() * 3);
        counted.add(Transport::Udp, &Said { kind: None, code: ResponseCode::NoError, verdict: Verdict::Silence });
        assert!(counted.silenced.get().is_some() && counted.truncated.get().is_none());
    }
}
