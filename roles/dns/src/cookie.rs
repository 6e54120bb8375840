//! DNS cookies (RFC 7873) as all name servers make them alike (RFC 9018): who shows ours has asked from its address
//! before, so an answer to it floods nobody else. Pure: time and secrets are arguments.

pub mod secrets;

use std::net::IpAddr;

use siphasher::sip::SipHasher24;

/// The client's part.
pub type ClientCookie = [u8; 8];

/// Our part: version, three reserved bytes, when it was made, and the hash that proves it (RFC 9018 §4).
pub type ServerCookie = [u8; 16];

/// The version of the cookies that are made here (RFC 9018 §4.1).
const VERSION: u8 = 1;

/// How old a cookie may be, in seconds (RFC 9018 §4.3).
const AGE_SECONDS: i32 = 3600;

/// From which age on it is made anew, in seconds (RFC 9018 §4.3).
const RENEW_SECONDS: i32 = 1800;

/// How far another node's clock may be ahead, in seconds (RFC 9018 §4.3).
const AHEAD_SECONDS: i32 = 300;

/// What cookies are made with; all name servers of the cluster share it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub [u8; 16]);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

/// The secrets of now: cookies of any are taken, new ones are made with the one that is current.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jar {
    /// What new cookies are made with.
    pub current: Secret,
    /// What others, or we a while ago, have made theirs with.
    pub others: Vec<Secret>,
}

impl Jar {
    /// A new cookie for a client. `seconds` since 1970, whose upper bits fall away by design (RFC 9018 §4.3).
    pub fn bake(&self, client: &ClientCookie, address: IpAddr, seconds: u32) -> ServerCookie {
        let mut cookie = [0; 16];
        cookie[0] = VERSION;
        cookie[4..8].copy_from_slice(&seconds.to_be_bytes());
        seal(&mut cookie, &self.current, client, address);
        cookie
    }

    /// What a client's cookie is worth: itself while it is young, a new one when it is older; none when we did not make
    /// it, not for this client, or too long ago.
    pub fn taken(&self, client: &ClientCookie, server: &[u8], address: IpAddr, seconds: u32) -> Option<ServerCookie> {
        let given: ServerCookie = server.try_into().ok()?;
        let made = u32::from_be_bytes([given[4], given[5], given[6], given[7]]);
        // RFC 9018 §4.3: in serial number arithmetic (RFC 1982), for the clock wraps around.
        let age = seconds.wrapping_sub(made).cast_signed();
        if given[0] != VERSION || !(-AHEAD_SECONDS..=AGE_SECONDS).contains(&age) {
            return None;
        }
        let is_of = |secret: &Secret| {
            let mut own = given;
            seal(&mut own, secret, client, address);
            same(&own, &given)
        };
        if is_of(&self.current) && age < RENEW_SECONDS {
            return Some(given);
        }
        let ours = std::iter::once(&self.current).chain(&self.others).any(is_of);
        ours.then(|| self.bake(client, address, seconds))
    }
}

/// Writes the hash into a cookie: over the client's part, all of ours before the hash, and the client's address.
fn seal(cookie: &mut ServerCookie, secret: &Secret, client: &ClientCookie, address: IpAddr) {
    // At most 8 + 8 + 16 bytes.
    let mut input = [0; 32];
    input[..8].copy_from_slice(client);
    input[8..16].copy_from_slice(&cookie[..8]);
    let length = match address.to_canonical() {
        IpAddr::V4(v4) => {
            input[16..20].copy_from_slice(&v4.octets());
            20
        }
        IpAddr::V6(v6) => {
            input[16..].copy_from_slice(&v6.octets());
            32
        }
    };
    let hash = SipHasher24::new_with_key(&secret.0).hash(&input[..length]);
    cookie[8..].copy_from_slice(&hash.to_le_bytes());
}

/// Compares in a time that says nothing of where they differ.
fn same(a: &ServerCookie, b: &ServerCookie) -> bool {
    a.iter().zip(b).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex<const N: usize>(text: &str) -> [u8; N] {
        std::array::from_fn(|index| u8::from_str_radix(&text[2 * index..2 * index + 2], 16).unwrap())
    }

    fn jar(secret: &str) -> Jar {
        Jar { current: Secret(hex(secret)), others: vec![] }
    }

    /// RFC 9018, Appendix A.
    #[test]
    fn the_cookies_of_the_rfc() {
        let ours = jar("e5e973e5a6b2a43f48e7dc849e37bfcf");
        let client = hex("2464c4abcf10c957");
        let address = IpAddr::from([198, 51, 100, 100]);
        // A.1, A.2.
        let first: ServerCookie = hex("010000005cf79f111f8130c3eee29480");
        assert_eq!(ours.bake(&client, address, 1_559_731_985), first);
        let second: ServerCookie = hex("010000005cf7a871d4a564a1442aca77");
        assert_eq!(ours.taken(&client, &first, address, 1_559_734_385), Some(second), "it is old enough to be renewed");
        // A.4: an IPv6 client, and a secret that was rolled over meanwhile.
        let old = Secret(hex("dd3bdf9344b678b185a6f5cb60fca715"));
        let rolled = Jar { current: Secret(hex("445536bcd2513298075a5d379663c962")), others: vec![old] };
        let address = "2001:db8:220:1:59de:d0f4:8769:82b8".parse().unwrap();
        let client = hex("22681ab97d52c298");
        let shown: ServerCookie = hex("010000005cf7c57926556bd0934c72f8");
        let renewed: ServerCookie = hex("010000005cf7c609a6bb79d16625507a");
        assert_eq!(rolled.taken(&client, &shown, address, 1_559_741_961), Some(renewed));
    }

    #[test]
    fn a_cookie_is_one_clients_and_for_an_hour() {
        let jar = jar("000102030405060708090a0b0c0d0e0f");
        let (client, address) = ([1; 8], IpAddr::from([192, 0, 2, 1]));
        let now = u32::MAX - 10;
        let cookie = jar.bake(&client, address, now);
        let at = |seconds: u32| jar.taken(&client, &cookie, address, seconds);
        assert_eq!(at(now), Some(cookie));
        // Around the end of the clock.
        assert_eq!(at(now.wrapping_add(1799)), Some(cookie));
        assert!(at(now.wrapping_add(3600)).is_some_and(|renewed| renewed != cookie));
        assert_eq!(at(now.wrapping_add(3601)), None);
        assert!(at(now.wrapping_sub(300)).is_some());
        assert_eq!(at(now.wrapping_sub(301)), None);
        assert_eq!(jar.taken(&[2; 8], &cookie, address, now), None);
        assert_eq!(jar.taken(&client, &cookie, IpAddr::from([192, 0, 2, 2]), now), None);
        assert_eq!(jar.taken(&client, &cookie[..8], address, now), None);
        let mut changed = cookie;
        changed[15] ^= 1;
        assert_eq!(jar.taken(&client, &changed, address, now), None);
    }
}
