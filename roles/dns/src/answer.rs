//! From a question to its answer: pure, and total. Which zone, which name, which records, in which order.

use std::net::IpAddr;

use hickory_proto::op::{Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use ipnet::IpNet;

use crate::choice::choose;
use crate::sites::Nearness;
use crate::zone::{RecordSet, Zone};
use crate::zones::Zones;

/// How many aliases are followed for one question.
const ALIASES: usize = 8;

/// What an answer depends on beside the question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asker {
    /// Which of several equals comes first.
    pub turn: usize,
    /// Who asks: the resolver.
    pub client: IpAddr,
    /// Where the resolver's own client stands, when it says so (RFC 7871).
    pub subnet: Option<IpNet>,
}

/// What is said to a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The response code.
    pub code: ResponseCode,
    /// Whether the name is in one of our zones, and not in one that is delegated to others.
    pub authoritative: bool,
    /// The answer section.
    pub answers: Vec<Record>,
    /// The authority section: the SOA of a negative answer, the NS of a delegation.
    pub authorities: Vec<Record>,
    /// The additional section: the addresses of hosts named in the answer. It may be left out, but for a delegation.
    pub additionals: Vec<Record>,
    /// To a question with a client subnet, how many leading bits of it the answer holds for (RFC 7871 §7.2.1).
    pub scope_prefix: Option<u8>,
}

impl Answer {
    /// An answer without records.
    pub fn refusal(code: ResponseCode) -> Self {
        Self {
            code,
            authoritative: false,
            answers: vec![],
            authorities: vec![],
            additionals: vec![],
            scope_prefix: None,
        }
    }
}

/// Answers `question` out of `zones`.
pub fn answer(zones: &Zones, question: &Query, asker: &Asker) -> Answer {
    let kind = question.query_type();
    // Transfers have their own way (RFC 5936 §2.2.1), and there is no zone of another class than IN.
    if question.query_class() != DNSClass::IN || matches!(kind, RecordType::AXFR | RecordType::IXFR) {
        return Answer::refusal(ResponseCode::Refused);
    }
    let Some(zone) = zones.find_for(question.name(), kind) else {
        let code = if zones.lacks(question.name()) { ResponseCode::ServFail } else { ResponseCode::Refused };
        return Answer::refusal(code);
    };
    let nearness = zones.sites.nearness(asker.client, asker.subnet);
    let mut answering = Answering {
        zones,
        zone,
        turn: asker.turn,
        nearness,
        depends_on_site: false,
        answer: Answer { authoritative: true, ..Answer::refusal(ResponseCode::NoError) },
    };
    answering.run(question.name(), kind);
    let Answering { mut answer, depends_on_site, .. } = answering;
    answer.scope_prefix = asker.subnet.map(|_| if depends_on_site { nearness.scope_prefix } else { 0 });
    answer
}

/// What a zone says to a name.
#[derive(Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// The name, or the wildcard that stands for it, and what it holds.
    Sets {
        /// The name in the zone that holds it: a wildcard, when it is not the one that was asked for.
        owner: &'a Name,
        /// What it holds.
        sets: &'a [RecordSet],
    },
    /// The name is delegated here: only those name servers know.
    Delegation(&'a Name, &'a RecordSet),
    /// There is no such name.
    Nothing,
}

/// Looks a name of a zone up (RFC 1034 §4.3.2, RFC 4592 §3.3.1); `kind`, because DS is answered above the cut
/// (RFC 4035 §3.1.4.1).
pub fn look_up<'a>(zone: &'a Zone, name: &Name, kind: RecordType) -> Found<'a> {
    let above = zone.origin.num_labels();
    for labels in above + 1..=name.num_labels() {
        let cut = name.trim_to(usize::from(labels));
        let Some((cut, sets)) = zone.names.get_key_value(&cut) else { break };
        let ours = kind == RecordType::DS && labels == name.num_labels();
        if let (Some(servers), false) = (sets.iter().find(|set| set.kind == RecordType::NS), ours) {
            return Found::Delegation(cut, servers);
        }
    }
    if let Some((owner, sets)) = zone.names.get_key_value(name) {
        return Found::Sets { owner, sets };
    }
    let mut encloser = name.base_name();
    while encloser != zone.origin && !zone.names.contains_key(&encloser) && !encloser.is_root() {
        encloser = encloser.base_name();
    }
    let wildcard = encloser.prepend_label(&b"*"[..]).ok();
    match wildcard.and_then(|wildcard| zone.names.get_key_value(&wildcard)) {
        Some((owner, sets)) => Found::Sets { owner, sets },
        None => Found::Nothing,
    }
}

struct Answering<'a> {
    zones: &'a Zones,
    zone: &'a Zone,
    turn: usize,
    nearness: Nearness,
    depends_on_site: bool,
    answer: Answer,
}

impl Answering<'_> {
    fn run(&mut self, asked: &Name, kind: RecordType) {
        let zone = self.zone;
        let mut name = asked.clone();
        for _ in 0..=ALIASES {
            match look_up(zone, &name, kind) {
                Found::Nothing => {
                    // RFC 6604 §3: of an alias, the code is that of the last name.
                    self.answer.code = ResponseCode::NXDomain;
                    return self.deny();
                }
                Found::Delegation(cut, servers) => return self.refer(cut, servers),
                Found::Sets { sets, .. } => {
                    let alias = sets.iter().find(|set| set.kind == RecordType::CNAME && kind != RecordType::CNAME);
                    match alias.filter(|_| kind != RecordType::ANY) {
                        None => return self.give(&name, kind, sets),
                        Some(alias) => {
                            let data = self.choose(alias);
                            let target = data.iter().find_map(alias_of);
                            let records = data.into_iter().map(|data| record(&name, alias, data));
                            self.answer.answers.extend(records);
                            match target {
                                // RFC 1034 §3.6.2: a name elsewhere is the resolver's to look up.
                                Some(target) if zone.origin.zone_of(&target) => name = target,
                                _ => return,
                            }
                        }
                    }
                }
            }
        }
        // An alias that leads in a circle: what was found of it is all that there is.
    }

    /// Answers with what a name holds of a type.
    fn give(&mut self, name: &Name, kind: RecordType, sets: &[RecordSet]) {
        let chosen = match kind {
            // RFC 8482 §4.1: to ANY, one of the name's record sets.
            RecordType::ANY => sets.iter().find(|set| set.kind != RecordType::SOA),
            kind => sets.iter().find(|set| set.kind == kind),
        };
        let Some(set) = chosen else { return self.deny() };
        let data = self.choose(set);
        self.add_addresses_of_hosts(&data);
        self.answer.answers.extend(data.into_iter().map(|data| record(name, set, data)));
    }

    /// RFC 2308 §3, §5: the SOA's own TTL says how long the denial may be remembered.
    fn deny(&mut self) {
        let Some(set) = self.zone.set(&self.zone.origin, RecordType::SOA) else { return };
        let remembered_seconds = |data: &RData| match data {
            RData::SOA(authority) => authority.minimum.min(set.ttl_seconds),
            _ => set.ttl_seconds,
        };
        let denial = set.data.iter().map(|datum| {
            Record::from_rdata(self.zone.origin.clone(), remembered_seconds(&datum.data), datum.data.clone())
        });
        self.answer.authorities.extend(denial);
    }

    /// RFC 1034 §4.3.2: whose name servers know, and where these are if we know that.
    fn refer(&mut self, cut: &Name, servers: &RecordSet) {
        self.answer.authoritative = !self.answer.answers.is_empty();
        let data = self.choose(servers);
        self.add_addresses_of_hosts(&data);
        self.answer.authorities.extend(data.into_iter().map(|data| record(cut, servers, data)));
    }

    /// RFC 1035 §3.3.9, RFC 2782: what whoever reads these data will ask next.
    fn add_addresses_of_hosts(&mut self, data: &[RData]) {
        let zone = self.zone;
        let mut hosts: Vec<&Name> = Vec::new();
        for host in data.iter().filter_map(host) {
            if !hosts.contains(&host) {
                hosts.push(host);
            }
        }
        for host in hosts {
            for kind in [RecordType::A, RecordType::AAAA] {
                if let Some(set) = zone.set(host, kind) {
                    let chosen = self.choose(set);
                    self.answer.additionals.extend(chosen.into_iter().map(|data| record(host, set, data)));
                }
            }
        }
    }

    fn choose(&mut self, set: &RecordSet) -> Vec<RData> {
        self.depends_on_site |= set.data.iter().any(|datum| datum.site.is_some());
        choose(set, self.turn, &self.zones.sites, self.nearness)
    }
}

fn record(owner: &Name, set: &RecordSet, data: RData) -> Record {
    Record::from_rdata(owner.clone(), set.ttl_seconds, data)
}

fn alias_of(data: &RData) -> Option<Name> {
    match data {
        RData::CNAME(alias) => Some(alias.0.clone()),
        _ => None,
    }
}

/// The host whose addresses whoever reads this will want next.
fn host(data: &RData) -> Option<&Name> {
    match data {
        RData::NS(server) => Some(&server.0),
        RData::MX(exchange) => Some(&exchange.exchange),
        RData::SRV(server) => Some(&server.target),
        _ => None,
    }
}

#[cfg(test)]
pub(crate) mod tests;
