//! Packets: what of a request is read ([`request`], [`edns`]), and how a response is written ([`response`]). Pure.
//!
//! Invariants: no bytes make it panic; what is no request gets no answer, so that two servers never answer each other's
//! answers; over UDP a response is at most what the client takes and never above [`UDP_BYTES`], which no path on the
//! Internet fragments (RFC 9715 §3); a response in which records had to be left out says so (TC).

pub mod edns;
pub mod request;
pub mod response;

/// The largest UDP message that is sent or advertised, in bytes (DNS flag day 2020).
pub const UDP_BYTES: u16 = 1232;

/// The largest UDP message for a client that does not speak EDNS, in bytes (RFC 1035 §4.2.1).
pub const PLAIN_UDP_BYTES: u16 = 512;

/// How long whoever holds a connection may be silent, or take nothing, in seconds (RFC 7766 §6.2.3: a few).
pub const TCP_PATIENCE_SECONDS: u16 = 10;

/// How a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// In one datagram.
    Udp,
    /// Over a stream.
    Tcp,
    /// Over a stream that nobody else reads (RFC 7858).
    Tls,
}

impl Transport {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Udp, Self::Tcp, Self::Tls];

    /// Its name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
        }
    }
}
