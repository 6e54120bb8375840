//! EDNS: what a request's OPT record says, and the one of its response (RFC 6891). What is not known here is ignored.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::cookie::{self, ClientCookie};
use crate::packet::UDP_BYTES;

/// The option codes (IANA, DNS EDNS0 Option Codes).
const NSID: u16 = 3;
const CLIENT_SUBNET: u16 = 8;
const COOKIE: u16 = 10;
const KEEPALIVE: u16 = 11;
const PADDING: u16 = 12;

/// The size of an OPT record without options, in bytes.
const OPT_BYTES: usize = 11;

/// To what multiple a padded response is made long, in bytes (RFC 8467 §4.1).
const PADDED_BLOCK_BYTES: usize = 468;

/// The longest node identifier that is sent, in bytes.
pub const IDENTIFIER_BYTES: usize = 64;

/// What a request's OPT record says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Edns {
    /// The largest datagram that the client takes, in bytes.
    pub payload_bytes: u16,
    /// The version; of any above 0 nothing else is known.
    pub version: u8,
    /// Whether it wants signatures (RFC 3225).
    pub dnssec_ok: bool,
    /// A cookie (RFC 7873).
    pub cookie: Option<Cookie>,
    /// The network that the question is asked for (RFC 7871).
    pub subnet: Option<IpNet>,
    /// Whether it asks which node answers (RFC 5001).
    pub asks_identifier: bool,
    /// Whether it asks how long it may keep the connection (RFC 7828).
    pub asks_keepalive: bool,
    /// Whether the request is padded, and so the response is to be (RFC 7830).
    pub padded: bool,
}

/// A cookie as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cookie {
    /// The client's part.
    pub client: ClientCookie,
    /// What it says that we gave it; empty when it never asked before.
    pub server: Vec<u8>,
}

/// An option breaks its own rules.
#[derive(Debug, PartialEq, Eq)]
pub struct Malformed;

impl Edns {
    /// Reads an OPT record: its class, its TTL and its data.
    pub fn read(class: u16, ttl: u32, mut data: &[u8]) -> Result<Self, Malformed> {
        let [_, version, flags, _] = ttl.to_be_bytes();
        // RFC 3225 §3: DO is the first bit of the flags.
        let mut edns = Self { payload_bytes: class, version, dnssec_ok: flags & 0x80 != 0, ..Self::default() };
        if version > 0 {
            return Ok(edns);
        }
        while !data.is_empty() {
            let (code, rest) = data.split_first_chunk::<2>().ok_or(Malformed)?;
            let (length, rest) = rest.split_first_chunk::<2>().ok_or(Malformed)?;
            let (value, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into()).ok_or(Malformed)?;
            edns.take_option(u16::from_be_bytes(*code), value)?;
            data = rest;
        }
        Ok(edns)
    }

    fn take_option(&mut self, code: u16, value: &[u8]) -> Result<(), Malformed> {
        match code {
            NSID => self.asks_identifier = true,
            // RFC 7871 §7.1.1 and RFC 7873 §5.2: of several, the first one counts.
            CLIENT_SUBNET if self.subnet.is_none() => self.subnet = read_subnet(value)?,
            COOKIE if self.cookie.is_none() => self.cookie = Some(read_cookie(value)?),
            // RFC 7828 §3.2.1: a client names no time.
            KEEPALIVE if !value.is_empty() => return Err(Malformed),
            KEEPALIVE => self.asks_keepalive = true,
            PADDING => self.padded = true,
            _ => {}
        }
        Ok(())
    }
}

/// RFC 7873 §5.2.2: eight bytes of the client's, and none or 8 to 32 of the server's.
fn read_cookie(value: &[u8]) -> Result<Cookie, Malformed> {
    let (client, server) = value.split_first_chunk::<8>().ok_or(Malformed)?;
    if !matches!(server.len(), 0 | 8..=32) {
        return Err(Malformed);
    }
    Ok(Cookie { client: *client, server: server.to_vec() })
}

/// RFC 7871 §6, §7.1.2: no more bytes than the prefix needs, no bit set behind it, no scope. A network of an unknown
/// family is as none.
fn read_subnet(value: &[u8]) -> Result<Option<IpNet>, Malformed> {
    let [family_high, family_low, prefix_bits, scope, address @ ..] = value else { return Err(Malformed) };
    if *scope != 0 || address.len() != usize::from(*prefix_bits).div_ceil(8) {
        return Err(Malformed);
    }
    let whole = match u16::from_be_bytes([*family_high, *family_low]) {
        1 => IpAddr::from(widened::<4>(address)?),
        2 => IpAddr::from(widened::<16>(address)?),
        _ => return Ok(None),
    };
    // An IPv4 address in IPv6 clothes would be another family than the response must name.
    if whole.to_canonical() != whole {
        return Ok(None);
    }
    match IpNet::new(whole, *prefix_bits) {
        Ok(subnet) if subnet.trunc() == subnet => Ok(Some(subnet)),
        _ => Err(Malformed),
    }
}

/// The bytes, with zeros behind them.
fn widened<const N: usize>(bytes: &[u8]) -> Result<[u8; N], Malformed> {
    let mut all = [0; N];
    all.get_mut(..bytes.len()).ok_or(Malformed)?.copy_from_slice(bytes);
    Ok(all)
}

/// The OPT record of a response.
#[derive(Debug, Clone, Copy, Default)]
pub struct Opt<'a> {
    /// The upper eight bits of the response code.
    pub code_high: u8,
    /// Copied from the request (RFC 3225 §3).
    pub dnssec_ok: bool,
    /// The client's part of the cookie and ours.
    pub cookie: Option<(ClientCookie, cookie::ServerCookie)>,
    /// The network as it was asked for, and for how many bits of it the answer is the same.
    pub subnet: Option<(IpNet, u8)>,
    /// Which node answers.
    pub identifier: Option<&'a [u8]>,
    /// How long an idle connection stays, in units of 100 ms.
    pub keepalive: Option<u16>,
    /// Whether to pad.
    pub padded: bool,
}

impl Opt<'_> {
    /// How many bytes it takes; without padding, which comes on top where there is room.
    pub fn length(&self) -> usize {
        let subnet = |(subnet, _): (IpNet, u8)| 8 + usize::from(subnet.prefix_len()).div_ceil(8);
        OPT_BYTES
            + self.cookie.map_or(0, |_| 4 + 8 + 16)
            + self.subnet.map_or(0, subnet)
            + self.identifier.map_or(0, |identifier| 4 + identifier.len())
            + self.keepalive.map_or(0, |_| 6)
    }

    /// Writes it behind `message`.
    pub fn write(&self, message: &mut Vec<u8>) {
        // The root name, the type, our size, the upper bits of the code, version 0, the flags.
        message.extend([0, 0, 41]);
        message.extend(UDP_BYTES.to_be_bytes());
        message.extend([self.code_high, 0, if self.dnssec_ok { 0x80 } else { 0 }, 0]);
        let length_at = message.len();
        message.extend([0, 0]);
        if let Some((client, server)) = &self.cookie {
            option(message, COOKIE, &[&client[..], &server[..]]);
        }
        if let Some((subnet, scope_bits)) = &self.subnet {
            let bytes = usize::from(subnet.prefix_len()).div_ceil(8);
            match subnet.addr() {
                IpAddr::V4(v4) => option(
                    message,
                    CLIENT_SUBNET,
                    &[&[0, 1, subnet.prefix_len(), *scope_bits], &v4.octets()[..bytes.min(4)]],
                ),
                IpAddr::V6(v6) => option(
                    message,
                    CLIENT_SUBNET,
                    &[&[0, 2, subnet.prefix_len(), *scope_bits], &v6.octets()[..bytes.min(16)]],
                ),
            }
        }
        if let Some(identifier) = self.identifier {
            option(message, NSID, &[identifier]);
        }
        if let Some(hundredths) = self.keepalive {
            option(message, KEEPALIVE, &[&hundredths.to_be_bytes()]);
        }
        if self.padded {
            let before = message.len() + 4;
            let padding = before.next_multiple_of(PADDED_BLOCK_BYTES).min(usize::from(u16::MAX)).saturating_sub(before);
            option(message, PADDING, &[&[0; PADDED_BLOCK_BYTES][..padding.min(PADDED_BLOCK_BYTES)]]);
        }
        let length = (message.len() - length_at - 2) as u16;
        message[length_at..length_at + 2].copy_from_slice(&length.to_be_bytes());
    }
}

fn option(message: &mut Vec<u8>, code: u16, parts: &[&[u8]]) {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    message.extend(code.to_be_bytes());
    message.extend((length as u16).to_be_bytes());
    parts.iter().for_each(|part| message.extend_from_slice(part));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(data: &[u8]) -> Result<Edns, Malformed> {
        Edns::read(1232, 0x8000, data)
    }

    fn one(code: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        option(&mut bytes, code, &[value]);
        bytes
    }

    #[test]
    fn what_is_known_is_read_and_the_rest_ignored() {
        let mut data = one(65_001, &[9; 40]);
        data.extend(one(NSID, &[]));
        data.extend(one(COOKIE, &[1; 8]));
        data.extend(one(CLIENT_SUBNET, &[0, 1, 20, 0, 192, 0, 32]));
        data.extend(one(KEEPALIVE, &[]));
        data.extend(one(PADDING, &[0; 100]));
        let edns = read(&data).unwrap();
        assert_eq!((edns.payload_bytes, edns.version, edns.dnssec_ok), (1232, 0, true));
        assert_eq!(edns.cookie, Some(Cookie { client: [1; 8], server: vec![] }));
        assert_eq!(edns.subnet, Some("192.0.32.0/20".parse().unwrap()));
        assert!(edns.asks_identifier && edns.asks_keepalive && edns.padded);
        // Of another version nothing else is known: these bytes are no options.
        assert_eq!(Edns::read(512, 1 << 16, &[1, 2, 3]).unwrap().version, 1);
    }

    #[test]
    fn broken_options_are_found() {
        for wrong in [
            vec![0, 3, 0],
            vec![0, 3, 0, 1],
            one(COOKIE, &[1; 7]),
            one(COOKIE, &[1; 9]),
            one(COOKIE, &[1; 15]),
            one(COOKIE, &[1; 41]),
            one(CLIENT_SUBNET, &[0, 1, 24]),
            one(CLIENT_SUBNET, &[0, 1, 24, 0, 192, 0]),
            one(CLIENT_SUBNET, &[0, 1, 24, 0, 192, 0, 2, 0]),
            one(CLIENT_SUBNET, &[0, 1, 33, 0, 192, 0, 2, 0, 0]),
            one(CLIENT_SUBNET, &[0, 1, 20, 0, 192, 0, 33]),
            one(CLIENT_SUBNET, &[0, 1, 24, 8, 192, 0, 2]),
            one(CLIENT_SUBNET, &[&[0, 2, 129, 0][..], &[1; 17]].concat()),
            one(KEEPALIVE, &[0, 1]),
        ] {
            assert_eq!(read(&wrong), Err(Malformed), "{wrong:?}");
        }
        assert_eq!(read(&one(CLIENT_SUBNET, &[0, 9, 8, 0, 1])).unwrap().subnet, None);
        assert_eq!(read(&one(CLIENT_SUBNET, &[0, 1, 0, 0])).unwrap().subnet, Some("0.0.0.0/0".parse().unwrap()));
    }

    #[test]
    fn what_is_written_can_be_read_and_is_as_long_as_said() {
        let mut opt = Opt {
            code_high: 1,
            dnssec_ok: true,
            cookie: Some(([7; 8], [8; 16])),
            subnet: Some(("2001:db8::/33".parse().unwrap(), 0)),
            identifier: Some(b"dns1"),
            keepalive: Some(100),
            padded: false,
        };
        let mut message = vec![0; 40];
        opt.write(&mut message);
        assert_eq!(message.len(), 40 + opt.length());
        assert_eq!(&message[40..51], [0, 0, 41, 4, 208, 1, 0, 128, 0, 0, opt.length() as u8 - 11]);
        opt.padded = true;
        opt.keepalive = None;
        let mut message = vec![0; 40];
        opt.write(&mut message);
        assert_eq!(message.len(), 468);
        let edns = read(&message[51..]).unwrap();
        assert_eq!(edns.cookie, Some(Cookie { client: [7; 8], server: vec![8; 16] }));
        assert!(edns.padded && edns.subnet == Some("2001:db8::/33".parse().unwrap()));
    }
}
