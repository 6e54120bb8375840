//! What is thought of answers, and the real resolver against a small server.

use std::net::SocketAddr;

use estafeta_core::members::Members;
use estafeta_core::settings::Settings;
use hickory_proto::op::{Message, MessageType, OpCode};
use tokio::net::UdpSocket;

use super::judge::{judge_delegation, judge_name_servers, judge_sender_policy};
use super::*;
use crate::answer::answer;
use crate::answer::tests::asker;
use crate::config::{Config, IpOrSocket};
use crate::content::tests::{cluster, config};
use crate::files::ZoneFiles;
use crate::sites::Sites;
use crate::zonefile;
use crate::zones::Zones;

const DOMAIN: &str = "example.edu";

fn expected(config: &Config, members: &Members, delegated: Delegated) -> Vec<Expectation> {
    let (sites, settings) = (Sites::default(), Settings::default());
    let sources = Sources { config, sites: &sites, settings: &settings, members };
    expect(&DOMAIN.parse().unwrap(), sources, delegated)
}

/// Serves these zones at an address of its own, and gives it.
async fn world(zones: Zones) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 4096];
        loop {
            let (length, client) = socket.recv_from(&mut buffer).await.unwrap();
            let request = Message::from_vec(&buffer[..length]).unwrap();
            let answer = answer(&zones, &request.queries[0], &asker(0));
            let mut response = Message::new(request.metadata.id, MessageType::Response, OpCode::Query);
            response.metadata.recursion_available = true;
            response.metadata.response_code = answer.code;
            response.queries = request.queries;
            (response.answers, response.authorities) = (answer.answers, answer.authorities);
            socket.send_to(&response.to_vec().unwrap(), client).await.unwrap();
        }
    });
    address
}

fn resolver(server: SocketAddr) -> Arc<dyn Names> {
    Arc::new(Resolver::of(&[IpOrSocket(server)]).unwrap())
}

/// What `dns check` says of a world that serves the zones of `config` and `files`.
async fn checked(
    expected: Vec<Expectation>,
    world_config: &Config,
    members: &Members,
    files: &ZoneFiles,
) -> Vec<Finding> {
    let address = world(Zones::new(world_config, &Settings::default(), members, files)).await;
    run(expected, &resolver(address)).await
}

fn lines(findings: &[Finding]) -> Vec<String> {
    findings
        .iter()
        .filter(|finding| finding.state != State::Good)
        .map(|f| format!("{:?} {} {}", f.state, f.name, f.kind))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_world_that_asks_us_is_good() {
    let text = "zones = ['example.edu']\nreverse_zones = ['192.0.2.0/24']\nmta_sts = 'enforce'\n\
        dkim = { s1 = 'v=DKIM1; k=rsa; p=AAAA' }\ntls_reports = ['mailto:tls@example.edu']\ncaa = ['0 issue \"ca.test\"']";
    let config = config(text);
    let members = cluster([true; 4]);
    let delegated = Delegated { served: true, keys: None };
    let findings =
        checked(expected(&config, &members, delegated.clone()), &config, &members, &ZoneFiles::default()).await;
    assert_eq!(lines(&findings), [""; 0]);
    assert!(findings.len() > 25, "{}", findings.len());
    // The world is served by us, and one edge is down: no fault of the world's.
    let some = cluster([true, false, true, true]);
    let findings = checked(expected(&config, &members, delegated), &config, &some, &ZoneFiles::default()).await;
    assert_eq!(lines(&findings), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_world_is_told_what_to_mend() {
    let origin = absolute(&DOMAIN.parse().unwrap());
    let written = "@ NS ns1.example.org.\n@ MX 10 mx\n@ MX 20 old\n@ TXT \"v=spf1 ip4:192.0.2.11 -all\"\n\
        mx A 192.0.2.11\nmx A 192.0.2.99\nsmtp A 192.0.2.11\nsmtp A 192.0.2.12\nimap A 192.0.2.21\n\
        edge1 A 192.0.2.11\n_imaps._tcp SRV 0 1 993 old\n_imap._tcp SRV 0 1 143 imap\n_dmarc TXT \"v=DMARC1; p=reject\"\n\
        s1._domainkey TXT \"v=DKIM1; k=rsa; p=BBBB\"\n";
    let held = zonefile::read(written, &origin).unwrap();
    let files = ZoneFiles { held: [(origin, Arc::new(held))].into(), ..ZoneFiles::default() };
    let world_config = config(
        "name_servers = ['ns1.example.org']\nrecords = [{ zone = '2.0.192.in-addr.arpa', name = '11', type = 'PTR', value = 'other.example.edu.' }]",
    );
    let ours = config("dkim = { s1 = 'v=DKIM1; k=rsa; p=AAAA' }");
    let members = cluster([true; 4]);
    let delegated = Delegated { served: false, keys: Some(vec!["7 13 2 AB".into()]) };
    let findings = checked(expected(&ours, &members, delegated), &world_config, &members, &files).await;
    let said = lines(&findings);
    for line in [
        "Wrong example.edu MX",
        "Stale example.edu TXT",
        "Stale mx.example.edu A",
        "Missing imap.example.edu AAAA",
        "Missing pop.example.edu A",
        "Missing edge2.example.edu A",
        "Stale _imaps._tcp.example.edu SRV",
        "Stale s1._domainkey.example.edu TXT",
        "Missing example.edu DS",
        "Wrong 11.2.0.192.in-addr.arpa PTR",
        "Missing 12.2.0.192.in-addr.arpa PTR",
    ] {
        assert!(said.iter().any(|known| known == line), "{line} is not in {said:#?}");
    }
    let good =
        |name: &str, kind: &str| findings.iter().any(|f| f.name == name && f.kind == kind && f.state == State::Good);
    assert!(good("example.edu", "NS") && good("smtp.example.edu", "A") && good("_dmarc.example.edu", "TXT"));
    let mend =
        |name: &str, kind: &str| findings.iter().find(|f| f.name == name && f.kind == kind).unwrap().mend.clone();
    assert_eq!(mend("example.edu", "MX"), "mail goes elsewhere too: take out MX 20 old.example.edu.");
    assert!(mend("example.edu", "TXT").contains("ip4:192.0.2.12"));
    assert!(mend("mx.example.edu", "A").contains("192.0.2.99"));
    let firsts: Vec<bool> = findings.iter().map(|finding| finding.wrong).collect();
    assert!(firsts.is_sorted_by(|a, b| a >= b), "what has to be mended comes first");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_answers() {
    // A socket that takes questions and says nothing.
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let names = resolver(silent.local_addr().unwrap());
    let expected = expected(&Config::default(), &cluster([true; 4]), Delegated::default());
    let findings = run(expected.into_iter().take(3).collect(), &names).await;
    assert!(findings.iter().all(|finding| finding.state == State::Unknown && !finding.wrong), "{findings:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lame_delegation_is_wrong_and_not_a_moment_of_silence() {
    // A resolver that got nothing from anybody.
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let names = resolver(socket.local_addr().unwrap());
    tokio::spawn(async move {
        let mut packet = [0; 1232];
        while let Ok((len, client)) = socket.recv_from(&mut packet).await {
            // RFC 1035 §4.1.1: a response, recursion available, SERVFAIL.
            (packet[2], packet[3]) = (packet[2] | 0x80, 0x82);
            socket.send_to(&packet[..len], client).await.unwrap();
        }
    });
    let delegated = Delegated { served: true, keys: None };
    let expected = expected(&config("name_servers = ['ns1.example.org']"), &cluster([true; 4]), delegated);
    let findings = run(expected, &names).await;
    assert!(findings.iter().all(|finding| finding.state == State::Wrong && finding.wrong), "{findings:?}");
    let servers = findings.iter().find(|finding| finding.kind == "NS").unwrap();
    assert!(servers.mend.contains("delegate to ns1.example.org.") && servers.mend.contains("dns ds"), "{servers:?}");
}

#[test]
fn name_servers_and_delegations() {
    let name = |text: &str| Name::from_ascii(text).unwrap();
    let servers = |names: &[&str]| -> Vec<RData> {
        names.iter().map(|server| RData::NS(hickory_proto::rr::rdata::NS(name(server)))).collect()
    };
    let ours = [name("dns1.example.edu."), name("dns2.example.edu.")];
    let state = |served, found: &[&str]| judge_name_servers(&ours, served, &servers(found)).0;
    assert_eq!(state(true, &["dns1.example.edu.", "DNS2.example.edu."]), State::Good);
    assert_eq!(state(true, &["dns1.example.edu."]), State::Stale);
    assert_eq!(state(true, &["dns1.example.edu.", "dns2.example.edu.", "ns.example.org."]), State::Wrong);
    assert_eq!(state(true, &["ns.example.org."]), State::Wrong);
    assert_eq!(state(true, &[]), State::Missing);
    assert_eq!(state(false, &["ns.example.org."]), State::Good);
    let ds = "7 13 2 0123456789012345678901234567890123456789012345678901234567890123";
    let data = vec![RData::try_from_str(RecordType::DS, ds).unwrap()];
    assert_eq!(judge_delegation(&[ds.into()], &data).0, State::Good);
    assert_eq!(judge_delegation(&["8 13 2 AB".into()], &data).0, State::Wrong);
    assert_eq!(judge_delegation(&[], &data).0, State::Wrong);
    assert_eq!(judge_delegation(&[ds.into()], &[]).0, State::Missing);
    assert_eq!(judge_delegation(&[], &[]).0, State::Good);
}

#[test]
fn sender_policies() {
    let policy = "v=spf1 ip4:192.0.2.11 ip4:192.0.2.12 -all";
    let state = |found: &[&str]| {
        let data: Vec<RData> = found.iter().map(|text| crate::content::policy::text_data(text)).collect();
        judge_sender_policy(policy, &data).0
    };
    assert_eq!(state(&[policy, "other=text"]), State::Good);
    assert_eq!(state(&["v=spf1 +ip4:192.0.2.12 include:x.test ip4:192.0.2.11 ~all"]), State::Good);
    assert_eq!(state(&["v=spf1 ip4:192.0.2.12 ?all"]), State::Stale);
    assert_eq!(state(&["v=spf1 mx -all"]), State::Unknown);
    assert_eq!(state(&[policy, "v=spf1 -all"]), State::Wrong);
    assert_eq!(state(&["v=spf10"]), State::Missing);
}
