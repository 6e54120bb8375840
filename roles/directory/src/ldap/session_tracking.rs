//! The session tracking control (draft-wahl-ldap-session-03 §2): how a node that asks on behalf of a client says where
//! that client is, so that limits on guessing meet the client and not the node.
//!
//! ```text
//! LDAPSession ::= SEQUENCE { sessionSourceIp LDAPString, sessionSourceName LDAPString,
//!                            formatOID LDAPOID, sessionTrackingIdentifier LDAPString }
//! ```

use std::net::IpAddr;

use super::ber::{OCTET_STRING, SEQUENCE, element};

/// The control's number.
pub const OID: &str = "1.3.6.1.4.1.21008.108.63.1";

/// The identifier is the name that the client logs in with.
const USERNAME_FORMAT: &str = "1.3.6.1.4.1.21008.108.63.1.3";

/// The value of the control for a client. The name that it logs in with stands in the request already.
pub fn encode(client: IpAddr) -> Vec<u8> {
    let client = client.to_string();
    let mut parts = Vec::new();
    for part in [client.as_str(), "", USERNAME_FORMAT, ""] {
        parts.extend([OCTET_STRING, short(part.len())]);
        parts.extend_from_slice(part.as_bytes());
    }
    let mut value = vec![SEQUENCE, short(parts.len())];
    value.extend(parts);
    value
}

/// The parts are an address and a constant: 39 and 29 bytes at most, so that a short length always holds them.
fn short(length: usize) -> u8 {
    debug_assert!(length < 0x80);
    u8::try_from(length).unwrap_or(0)
}

/// The client's address in the value of a control; none when it is not there or is no address.
pub fn decode(value: &[u8]) -> Option<IpAddr> {
    let (SEQUENCE, parts, _) = element(value)? else { return None };
    let (OCTET_STRING, address, _) = element(parts)? else { return None };
    std::str::from_utf8(address).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn addresses_come_back() {
        for address in ["192.0.2.1", "2001:db8:1111:2222:3333:4444:5555:6666", "::ffff:192.0.2.1"] {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(decode(&encode(address)), Some(address));
        }
        // As OpenLDAP's tools send it with -e sessiontracking=ana: long lengths are legal too.
        let theirs = b"\x30\x81\x2d\x04\x09127.0.0.1\x04\x00\x04\x1c1.3.6.1.4.1.21008.108.63.1.3\x04\x01a";
        assert_eq!(decode(theirs), Some("127.0.0.1".parse().unwrap()));
        for bad in [
            &b""[..],
            b"\x30",
            b"\x30\x05\x04\x09127",
            b"\x30\x04\x04\x02zz",
            b"\x31\x00",
            b"\x30\x80\x04\x00",
            b"\x30\x84\xff\xff\xff\xff",
        ] {
            assert_eq!(decode(bad), None);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = decode(&bytes);
        }
    }
}
