//! What a server offers in its answer to EHLO (RFC 5321 §4.1.1.1).

use crate::smtp::reply::Reply;

/// The extensions that matter to us.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Offers {
    pub(super) pipelining: bool,
    pub(super) chunking: bool,
    pub(super) eight_bit: bool,
    pub(super) smtputf8: bool,
    pub(super) start_tls: bool,
    pub(super) dsn: bool,
    pub(super) auth_plain: bool,
    /// SIZE is offered; the limit in bytes, if one is said (RFC 1870 §4).
    pub(super) size: Option<Option<u64>>,
}

impl Offers {
    pub(super) fn read(reply: &Reply) -> Self {
        let mut offers = Self::default();
        for line in reply.text.lines().skip(1) {
            let mut words = line.split_ascii_whitespace();
            match words.next().unwrap_or_default().to_ascii_uppercase().as_str() {
                "PIPELINING" => offers.pipelining = true,
                "CHUNKING" => offers.chunking = true,
                "8BITMIME" => offers.eight_bit = true,
                "SMTPUTF8" => offers.smtputf8 = true,
                "STARTTLS" => offers.start_tls = true,
                "DSN" => offers.dsn = true,
                "AUTH" => offers.auth_plain |= words.any(|word| word.eq_ignore_ascii_case("PLAIN")),
                // RFC 1870 §4: zero is no limit.
                "SIZE" => {
                    let limit_bytes = words.next().and_then(|word| word.parse().ok());
                    offers.size = Some(limit_bytes.filter(|&limit_bytes| limit_bytes > 0));
                }
                _ => {}
            }
        }
        offers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answers() {
        let offers = Offers::read(&Reply::plain(250, "mx\nSIZE 1000\npipelining\nAUTH LOGIN PLAIN\n8BITMIME\nX-FOO"));
        let expected =
            Offers { pipelining: true, eight_bit: true, auth_plain: true, size: Some(Some(1000)), ..Offers::default() };
        assert_eq!(offers, expected);
        assert_eq!(Offers::read(&Reply::plain(250, "mx\nSIZE 0")).size, Some(None));
        assert_eq!(Offers::read(&Reply::plain(250, "SIZE is my name")).size, None);
    }
}
