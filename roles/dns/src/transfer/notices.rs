//! Telling secondaries of new versions (RFC 1996): who is to be told what, and when again. Pure; [`super::notify`] sends.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hickory_proto::rr::Name;

/// The first pause between two tries; it doubles (RFC 1996 §3.6).
const PAUSE_SHORTEST: Duration = Duration::from_secs(2);

/// The longest pause.
const PAUSE_LONGEST: Duration = Duration::from_secs(300);

/// How often one is told before it is left to find out by itself, by the SOA's refresh time: over half an hour.
const TRIES: u32 = 14;

/// The notices that have not been answered yet.
#[derive(Debug, Default)]
pub struct Notices(BTreeMap<(SocketAddr, Name), Notice>);

#[derive(Debug)]
struct Notice {
    serial: u32,
    tries: u32,
    due: Instant,
    /// The number of the last message, which its answer carries.
    id: u16,
}

/// What to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sending {
    /// To whom.
    pub to: SocketAddr,
    /// About which zone.
    pub origin: Name,
    /// Its serial number.
    pub serial: u32,
    /// The number of the message.
    pub id: u16,
    /// Whether it is the last try.
    pub is_last: bool,
}

impl Notices {
    /// A secondary is to be told of this version, instead of any before it.
    pub fn announce(&mut self, to: SocketAddr, origin: &Name, serial: u32, now: Instant) {
        self.0.insert((to, origin.clone()), Notice { serial, tries: 0, due: now, id: 0 });
    }

    /// What is to be sent now, at most `limit`; `number` makes the messages' numbers.
    pub fn due(&mut self, now: Instant, limit: usize, mut number: impl FnMut() -> u16) -> Vec<Sending> {
        let mut sending = Vec::new();
        for ((to, origin), notice) in self.0.iter_mut().filter(|(_, notice)| notice.due <= now).take(limit) {
            notice.id = number();
            notice.due = now + PAUSE_SHORTEST.saturating_mul(1 << notice.tries.min(16)).min(PAUSE_LONGEST);
            notice.tries += 1;
            let is_last = notice.tries >= TRIES;
            sending.push(Sending { to: *to, origin: origin.clone(), serial: notice.serial, id: notice.id, is_last });
        }
        self.0.retain(|_, notice| notice.tries < TRIES);
        sending
    }

    /// An answer came: gives the serial number that it is about, when it is one to our last message (§4.7).
    pub fn answered(&mut self, from: SocketAddr, origin: &Name, id: u16) -> Option<u32> {
        let key = (from, origin.clone());
        self.0.get(&key).filter(|notice| notice.tries > 0 && notice.id == id)?;
        self.0.remove(&key).map(|notice| notice.serial)
    }
}

#[cfg(test)]
mod tests {
    use super::super::version::tests::name;
    use super::*;

    fn address() -> SocketAddr {
        "192.0.2.1:53".parse().unwrap()
    }

    #[test]
    fn one_is_told_until_it_answers() {
        let (mut notices, start, zone) = (Notices::default(), Instant::now(), name("demo.test."));
        notices.announce(address(), &zone, 7, start);
        assert_eq!(notices.answered(address(), &zone, 0), None, "nothing was asked yet");
        let first = notices.due(start, 10, || 11);
        assert_eq!((first[0].serial, first[0].id), (7, 11));
        assert!(notices.due(start + Duration::from_secs(1), 10, || 12).is_empty());
        assert_eq!(notices.due(start + Duration::from_secs(2), 10, || 12).len(), 1);
        assert_eq!(notices.answered(address(), &zone, 11), None, "an answer to what was sent before");
        assert_eq!(notices.answered("192.0.2.2:53".parse().unwrap(), &zone, 12), None);
        assert_eq!(notices.answered(address(), &zone, 12), Some(7));
        assert!(notices.due(start + Duration::from_secs(900), 10, || 13).is_empty());
    }

    #[test]
    fn a_new_version_takes_the_place_of_the_one_before() {
        let (mut notices, start, zone) = (Notices::default(), Instant::now(), name("demo.test."));
        notices.announce(address(), &zone, 7, start);
        notices.due(start, 10, || 1);
        notices.announce(address(), &zone, 8, start);
        assert_eq!(notices.answered(address(), &zone, 1), None);
        assert_eq!(notices.due(start, 10, || 2)[0].serial, 8);
    }

    #[test]
    fn tries_are_bounded_and_slow_down() {
        let (mut notices, start) = (Notices::default(), Instant::now());
        notices.announce(address(), &name("demo.test."), 7, start);
        let (mut now, mut tries) = (start, Vec::new());
        while now < start + Duration::from_secs(10_000) {
            tries.extend(notices.due(now, 10, || 1).into_iter().map(|sending| (now, sending.is_last)));
            now += Duration::from_secs(1);
        }
        assert_eq!(tries.len(), usize::try_from(TRIES).unwrap());
        assert!(tries.pop().unwrap().1 && tries.iter().all(|(_, is_last)| !is_last));
        assert!(tries.last().unwrap().0 - start > Duration::from_secs(1500));
    }
}
