//! Any bytes as a gossip datagram, as what a key of the cluster has opened, as a part of a message, as what a node says of
//! itself and as its certificate.
#![no_main]

use std::collections::BTreeSet;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use estafeta_cluster::authority::Authority;
use estafeta_cluster::gossip::description::{Believed, Description, LIMIT, Saying};
use estafeta_cluster::gossip::identity::Identity;
use estafeta_cluster::gossip::parts::{PARTS, Waiting, cut};
use estafeta_cluster::gossip::seal::{DATAGRAM, Keys, Opened, Opener, PAYLOAD, Sealer};
use estafeta_core::settings::{GossipKey, ShutOut};
use estafeta_core::{NodeName, RoleName};
use libfuzzer_sys::fuzz_target;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

const NOW_MS: u64 = 1_800_000_000_000;

static IDENTITY: OnceLock<Identity> = OnceLock::new();

fn identity() -> Identity {
    let pair = Authority::create(SystemTime::now()).unwrap();
    let authority = Authority::load(&pair).unwrap();
    let own = authority.issue_node(&"n1".parse().unwrap(), &[RoleName::EDGE], SystemTime::now()).unwrap();
    let certificate = CertificateDer::from_pem_slice(own.certificate.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap();
    Identity::new(pair.certificate.as_bytes(), certificate, &key).unwrap()
}

fuzz_target!(|data: &[u8]| {
    let keys = Keys::new(&[GossipKey { id: 1, from_seconds: 0, secret: "a5".repeat(32) }]);
    let node: NodeName = "n1".parse().unwrap();
    let mut opener = Opener::new(Duration::from_secs(30));
    assert!(opener.open(&keys, data, NOW_MS).is_err(), "nobody sealed this");

    if let Some(opened) = Opened::read(data) {
        let _ = Waiting::default().take(opened);
    }
    if let Some(parts) = cut(data) {
        assert!(parts.len() <= PARTS);
        let (mut sealer, mut waiting) = (Sealer::new(node.clone(), 7), Waiting::default());
        let count = parts.len();
        for (at, (part, payload)) in parts.into_iter().enumerate() {
            assert!(payload.len() <= PAYLOAD);
            let datagram = sealer.seal(&keys, part, payload, NOW_MS).unwrap();
            assert!(datagram.len() <= DATAGRAM);
            let whole = waiting.take(opener.open(&keys, &datagram, NOW_MS).unwrap());
            assert!(opener.open(&keys, &datagram, NOW_MS).is_err(), "played back");
            assert_eq!(whole.is_some(), at + 1 == count);
            assert!(whole.is_none_or(|whole| whole == data));
        }
    }

    let text = String::from_utf8_lossy(data);
    if let Ok(said) = Description::read(&text, &node, &BTreeSet::from([RoleName::EDGE])) {
        assert!(said.member.name == node && said.member.roles.keys().all(|role| *role == RoleName::EDGE));
        let sealed = said.seal(IDENTITY.get_or_init(identity), 3);
        assert!(sealed.is_none_or(|sealed| sealed.len() <= LIMIT));
    }
    let (certificate, text) = text.split_once(' ').unwrap_or((&text, ""));
    let saying = Saying { name: &node, boot: 3, certificate, text };
    let mut believed = Believed::default();
    assert!(believed.hear(IDENTITY.get_or_init(identity), &ShutOut::default(), saying, SystemTime::now()).is_err());
    assert!(believed.said.is_none());
});
