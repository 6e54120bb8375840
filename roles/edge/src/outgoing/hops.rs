//! Which hosts take the mail of a domain, in the order to try them (RFC 5321 §5.1).
//!
//! Invariant: this cluster is never among them, so that mail does not come back to where it is sent from.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use estafeta_core::delivery::Answer;
use serde::Deserialize;

use super::names::{Exchange, Names, NamesError};

/// The most hosts that one attempt tries.
const HOSTS_LIMIT: usize = 10;

/// A host to send to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hop {
    /// Its name, or its address.
    pub host: String,
    /// Its port.
    pub port: u16,
}

/// A way that is configured: `host`, `host:port`, `192.0.2.1:25`, `[2001:db8::1]:25`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Route {
    host: String,
    port: Option<u16>,
}

impl Route {
    /// As a host to try, at `port` unless it names its own.
    pub fn hop(&self, port: u16) -> Hop {
        Hop { host: self.host.clone(), port: self.port.unwrap_or(port) }
    }
}

impl FromStr for Route {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(Self { host: address.ip().to_string(), port: Some(address.port()) });
        }
        if text.parse::<IpAddr>().is_ok() {
            return Ok(Self { host: text.to_owned(), port: None });
        }
        let (host, port) = match text.split_once(':') {
            Some((host, port)) => (host, Some(port.parse().map_err(|_| not_a_route(text))?)),
            None => (text, None),
        };
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        if host.is_empty() || !host.bytes().all(legal) {
            return Err(not_a_route(text));
        }
        Ok(Self { host: host.to_ascii_lowercase(), port })
    }
}

fn not_a_route(text: &str) -> String {
    format!("{text:?} is not a host: write a name or an address, with a port if it is not the usual one")
}

impl TryFrom<String> for Route {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            None => f.write_str(&self.host),
            Some(port) if self.host.contains(':') => write!(f, "[{}]:{port}", self.host),
            Some(port) => write!(f, "{}:{port}", self.host),
        }
    }
}

/// The hosts of a domain's MX records, or the domain itself when it has none. `hostname` is ours.
pub async fn by_exchange(names: &dyn Names, domain: &str, hostname: &str, port: u16) -> Result<Vec<Hop>, Answer> {
    let mut exchanges = names.exchanges(domain).await.map_err(|error| unknown(domain, &error))?;
    // RFC 7505 §3: one MX of the root says that the domain takes no mail.
    if let [Exchange { host, .. }] = exchanges.as_slice()
        && host.is_empty()
    {
        return Err(answer(556, "5.1.10", format!("{domain} takes no mail (null MX)")));
    }
    exchanges.retain(|exchange| !exchange.host.is_empty());
    if exchanges.is_empty() {
        // The implicit MX.
        exchanges.push(Exchange { preference: 0, host: domain.to_owned() });
    }
    // Equal ones in random order: they share the load. The sort is stable.
    fastrand::shuffle(&mut exchanges);
    exchanges.sort_by_key(|exchange| exchange.preference);
    // Ourselves and all that are not preferred to us must not be tried, or mail would go in a circle.
    if let Some(own) = exchanges.iter().find(|exchange| exchange.host.eq_ignore_ascii_case(hostname)) {
        let preference = own.preference;
        exchanges.retain(|exchange| exchange.preference < preference);
    }
    if exchanges.is_empty() {
        return Err(loops(domain));
    }
    Ok(exchanges.into_iter().take(HOSTS_LIMIT).map(|exchange| Hop { host: exchange.host, port }).collect())
}

/// The addresses of a host, or why there are none.
pub async fn addresses(names: &dyn Names, hop: &Hop) -> Result<Vec<SocketAddr>, Answer> {
    if let Ok(address) = hop.host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, hop.port)]);
    }
    let addresses = names.addresses(&hop.host).await.map_err(|error| unknown(&hop.host, &error))?;
    if addresses.is_empty() {
        return Err(answer(550, "5.1.2", format!("{} has no address", hop.host)));
    }
    Ok(addresses.into_iter().map(|address| SocketAddr::new(address, hop.port)).collect())
}

/// The domain's mail would come back to this cluster, where the domain is not known.
pub fn loops(domain: &str) -> Answer {
    // RFC 3463 §3.5: X.4.6 routing loop.
    answer(554, "5.4.6", format!("the mail servers of {domain} are this one, which does not take its mail"))
}

fn unknown(name: &str, error: &NamesError) -> Answer {
    match error {
        // RFC 3463 §3.2: X.1.2 bad destination system address; §3.5: X.4.3 directory server failure.
        NamesError::Missing => answer(550, "5.1.2", format!("{name}: {error}")),
        NamesError::Silent(_) => answer(451, "4.4.3", format!("{name}: {error}")),
    }
}

/// An answer of our own.
pub fn answer(code: u16, status: &str, text: String) -> Answer {
    Answer { code, status: status.to_owned(), text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Zone;

    async fn hosts(zone: &Zone, domain: &str) -> Result<Vec<String>, u16> {
        let hops = by_exchange(zone, domain, "mx.ours.example", 25).await.map_err(|answer| answer.code)?;
        Ok(hops.into_iter().map(|hop| hop.host).collect())
    }

    #[tokio::test]
    async fn by_preference_and_never_ourselves() {
        let zone = Zone::default()
            .with_mx("a.example", &[(20, "two"), (10, "one"), (30, "three")])
            .with_mx("b.example", &[(10, "one"), (20, "MX.ours.example"), (20, "other"), (30, "three")])
            .with_mx("c.example", &[(10, "mx.ours.example"), (20, "two")])
            .with_mx("null.example", &[(0, "")])
            .with_mx("bare.example", &[])
            .silent("silent.example");
        assert_eq!(hosts(&zone, "a.example").await, Ok(vec!["one".to_owned(), "two".to_owned(), "three".to_owned()]));
        assert_eq!(hosts(&zone, "b.example").await, Ok(vec!["one".to_owned()]));
        assert_eq!(hosts(&zone, "c.example").await, Err(554));
        assert_eq!(hosts(&zone, "null.example").await, Err(556));
        assert_eq!(hosts(&zone, "bare.example").await, Ok(vec!["bare.example".to_owned()]));
        assert_eq!(hosts(&zone, "silent.example").await, Err(451));
        assert_eq!(hosts(&zone, "missing.example").await, Err(550));
    }

    #[tokio::test]
    async fn equal_ones_are_shuffled() {
        let zone = Zone::default().with_mx("a.example", &[(10, "one"), (10, "two"), (10, "three")]);
        let mut firsts = std::collections::HashSet::new();
        for _ in 0..200 {
            firsts.insert(hosts(&zone, "a.example").await.unwrap().remove(0));
        }
        assert_eq!(firsts.len(), 3);
    }

    #[test]
    fn routes_are_read_and_written() {
        for text in
            ["smart.example", "smart.example:587", "127.0.0.1:2526", "192.0.2.1", "[2001:db8::1]:25", "2001:db8::1"]
        {
            assert_eq!(text.parse::<Route>().unwrap().to_string(), text);
        }
        for text in ["", ":25", "a:b", "a:99999", "a b", "a:1:2"] {
            assert!(text.parse::<Route>().is_err(), "{text}");
        }
    }
}
