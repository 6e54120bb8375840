//! Any bytes as requests to the name server, one after the other, over each transport: no panic, no answer to what is no
//! request, answers that other software can read, none too large; and what is ready is what would be made.
#![no_main]

use std::sync::{Arc, LazyLock};
use std::time::SystemTime;

use estafeta_core::members::Members;
use estafeta_core::settings::Settings;
use estafeta_dns::cache::ReadyAnswers;
use estafeta_dns::config::Config;
use estafeta_dns::cookie::secrets::Secrets;
use estafeta_dns::files::ZoneFiles;
use estafeta_dns::limit::{self, Limiter};
use estafeta_dns::packet::{Transport, UDP_BYTES};
use estafeta_dns::respond::{Client, Moment, Responder};
use estafeta_dns::zones::Zones;
use hickory_proto::op::Message;
use libfuzzer_sys::fuzz_target;

static ZONES: LazyLock<Arc<Zones>> = LazyLock::new(|| {
    let domains = ["demo.test", "example.edu"].iter().filter_map(|domain| domain.parse().ok()).collect();
    let settings = Settings { version: 1, domains, ..Settings::default() };
    Arc::new(Zones::new(&Config::default(), &settings, &Members::default(), &ZoneFiles::default()))
});

static RESPONDER: LazyLock<Responder> = LazyLock::new(|| {
    let limits = limit::Config { same_per_second: 0, all_per_second: 0, ..limit::Config::default() };
    Responder::new(Limiter::new(limits), Secrets::own().expect("random numbers"), None, "dns1")
});

const NOW: Moment = Moment { time: SystemTime::UNIX_EPOCH, unix_seconds: 0, elapsed_ms: 0 };

fuzz_target!(|data: &[u8]| {
    let (mut ready, mut message, mut again) = (ReadyAnswers::default(), Vec::new(), Vec::new());
    ready.refresh(&ZONES, 0, 0);
    // Requests in one input, each behind its length.
    let mut rest = data;
    while let Some((&length, behind)) = rest.split_first() {
        let (request, behind) = behind.split_at(usize::from(length).min(behind.len()));
        rest = behind;
        for transport in Transport::ALL {
            let client = Client { address: [192, 0, 2, 1].into(), transport };
            let Some(said) = RESPONDER.respond(request, &client, NOW, &ZONES, None, &mut message) else {
                assert!(request.len() < 12 || request[2] & 0x80 != 0);
                continue;
            };
            assert!(message.len() <= if transport == Transport::Udp { UDP_BYTES.into() } else { 65_535 });
            assert!(message[..2] == request[..2] && message[2] & 0x80 != 0);
            Message::from_vec(&message).expect("readable");
            if transport == Transport::Udp {
                for _ in 0..2 {
                    let ready = RESPONDER.respond(request, &client, NOW, &ZONES, Some(&mut ready), &mut again);
                    assert!(ready == Some(said) && again.len() == message.len());
                }
            }
        }
    }
});
