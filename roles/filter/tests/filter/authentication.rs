//! SPF, DKIM and DMARC with DNS answers and signatures made here.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use estafeta_core::Message;
use estafeta_core::judge::{Action, Envelope, Judge, Verdict};
use estafeta_filter::config::Config;
use mail_auth::common::crypto::{Ed25519Key, RsaKey, Sha256};
use mail_auth::common::headers::HeaderWriter;
use mail_auth::dkim::DkimSigner;

use super::dns::{Answer, FakeDns};
use super::{config, envelope, judge, message, symbols};

const INSIDE: &str = "192.0.2.7";
const OUTSIDE: &str = "198.51.100.7";

fn txt(text: &str) -> Answer {
    Answer::Txt(text.to_owned())
}

async fn verdict(dns: &[(&str, Answer)], envelope: &Envelope, message: &Message) -> Verdict {
    let dns = FakeDns::start(dns).await;
    judge(&config(&dns)).judge(envelope, message).await.unwrap()
}

fn results(verdict: &Verdict) -> &str {
    let header = verdict.headers.iter().find(|(name, _)| name == "Authentication-Results");
    header.map_or("", |(_, value)| value.as_str())
}

#[tokio::test(flavor = "multi_thread")]
async fn spf_says_who_may_send() {
    let records = [
        ("pass.example", txt("v=spf1 ip4:192.0.2.0/24 -all")),
        ("soft.example", txt("v=spf1 ip4:192.0.2.0/24 ~all")),
        ("neutral.example", txt("v=spf1 ?all")),
        ("host.example", txt("v=spf1 a:mail.host.example -all")),
        ("mail.host.example", Answer::A([192, 0, 2, 7].into())),
        ("included.example", txt("v=spf1 include:pass.example -all")),
        ("syntax.example", txt("v=spf1 what")),
        ("broken.example", Answer::Broken),
        ("mail.example.org", txt("v=spf1 ip4:192.0.2.7 -all")),
    ];
    for (client, sender, symbol, result) in [
        (INSIDE, "a@pass.example", "R_SPF_ALLOW", "spf=pass"),
        (OUTSIDE, "a@pass.example", "R_SPF_FAIL", "spf=fail"),
        (OUTSIDE, "a@soft.example", "R_SPF_SOFTFAIL", "spf=softfail"),
        (INSIDE, "a@neutral.example", "R_SPF_NEUTRAL", "spf=neutral"),
        (INSIDE, "a@host.example", "R_SPF_ALLOW", "spf=pass"),
        (INSIDE, "a@included.example", "R_SPF_ALLOW", "spf=pass"),
        (OUTSIDE, "a@included.example", "R_SPF_FAIL", "spf=fail"),
        (INSIDE, "a@syntax.example", "R_SPF_PERMFAIL", "spf=permerror"),
        (INSIDE, "a@nobody.example", "R_SPF_NA", "spf=none"),
        (INSIDE, "a@broken.example", "R_SPF_DNSFAIL", "spf=temperror"),
        // The null reverse-path: the client's own name (RFC 7208 §2.4).
        (INSIDE, "", "R_SPF_ALLOW", "spf=pass"),
        (OUTSIDE, "", "R_SPF_FAIL", "spf=fail"),
    ] {
        let verdict = verdict(&records, &envelope(client, sender), &message("a@other.example", "hi")).await;
        assert!(symbols(&verdict).contains(&symbol), "{client} {sender}: {verdict:?}");
        assert!(
            results(&verdict).starts_with("mx.example.edu; ") && results(&verdict).contains(result),
            "{client} {sender}: {verdict:?}"
        );
        assert_eq!(verdict.action, Action::Accept, "{verdict:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_without_a_header_is_asked_for_spf_too() {
    let records = [("example.org", txt("v=spf1 ip4:192.0.2.0/24 -all"))];
    for text in ["", "no field at all", "\r\nDKIM-Signature: v=1; a=rsa-sha256; d=example.org; s=s1\r\n"] {
        let verdict = verdict(&records, &envelope(OUTSIDE, "a@example.org"), &Message::new(text.into())).await;
        assert!(
            ["R_SPF_FAIL", "R_DKIM_NA", "DMARC_NA"].iter().all(|symbol| symbols(&verdict).contains(symbol)),
            "{text:?}: {verdict:?}"
        );
        assert!(results(&verdict).contains("spf=fail"), "{text:?}: {verdict:?}");
    }
}

fn signed(message: &Message, domain: &str) -> (String, Message) {
    let key = Ed25519Key::from_pkcs8_der(&Ed25519Key::generate_pkcs8().unwrap()).unwrap();
    let record = format!("v=DKIM1; k=ed25519; p={}", BASE64.encode(key.public_key()));
    let signature = DkimSigner::from_key(key)
        .domain(domain)
        .selector("s1")
        .headers(["From", "To", "Subject", "Date"])
        .sign(message.body())
        .unwrap();
    (record, Message::new([signature.to_header().into_bytes(), message.body().to_vec()].concat().into()))
}

fn signed_by_rsa(message: &Message, domain: &str) -> (String, Message) {
    use aws_lc_rs::encoding::AsDer;
    let pair = aws_lc_rs::rsa::KeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
    let der: aws_lc_rs::encoding::Pkcs8V1Der<'_> = pair.as_der().unwrap();
    let der = rustls::pki_types::PrivatePkcs8KeyDer::from(der.as_ref().to_vec());
    let key = RsaKey::<Sha256>::from_key_der(der.into()).unwrap();
    let record = format!("v=DKIM1; k=rsa; p={}", BASE64.encode(key.public_key()));
    let signature = DkimSigner::from_key(key)
        .domain(domain)
        .selector("s1")
        .headers(["From", "Subject"])
        .sign(message.body())
        .unwrap();
    (record, Message::new([signature.to_header().into_bytes(), message.body().to_vec()].concat().into()))
}

#[tokio::test(flavor = "multi_thread")]
async fn dkim_says_who_signed() {
    let envelope = envelope(INSIDE, "a@example.org");
    let plain = message("a@example.org", "Lunch?");
    for (record, message) in [signed(&plain, "example.org"), signed_by_rsa(&plain, "example.org")] {
        let key = ("s1._domainkey.example.org", txt(&record));
        let verdict = verdict(std::slice::from_ref(&key), &envelope, &message).await;
        assert!(symbols(&verdict).contains(&"R_DKIM_ALLOW"), "{verdict:?}");
        assert!(results(&verdict).contains("dkim=pass header.d=example.org header.s=s1"), "{verdict:?}");
        // With what edge puts before it.
        let relayed = message.with_prefix("Received: from a by b; Mon, 23 Nov 2026 12:00:00 +0100\r\n");
        let verdict = self::verdict(&[key], &envelope, &relayed).await;
        assert!(symbols(&verdict).contains(&"R_DKIM_ALLOW"), "{verdict:?}");
    }
    let verdict = verdict(&[], &envelope, &plain).await;
    assert!(symbols(&verdict).contains(&"R_DKIM_NA") && !results(&verdict).contains("dkim="), "{verdict:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn dkim_says_what_is_wrong() {
    let envelope = envelope(INSIDE, "a@example.org");
    let (record, message) = signed(&message("a@example.org", "Lunch?"), "example.org");
    let key = |answer: Answer| [("s1._domainkey.example.org", answer)];
    let text = String::from_utf8(message.body().to_vec()).unwrap();
    let changed = |from: &str, to: &str| {
        assert!(text.contains(from));
        Message::new(text.replace(from, to).into())
    };
    let (other_record, _) = signed(&message, "example.org");
    for (records, message, symbol) in [
        (key(txt(&record)), changed("Lunch?", "Dinner?"), "R_DKIM_REJECT"),
        (key(txt(&record)), changed("Subject: s", "Subject: t"), "R_DKIM_REJECT"),
        (key(txt(&other_record)), message.clone(), "R_DKIM_REJECT"),
        (key(txt("v=DKIM1; p=")), message.clone(), "R_DKIM_PERMFAIL"),
        (key(txt("nonsense")), message.clone(), "R_DKIM_PERMFAIL"),
        (key(Answer::Broken), message.clone(), "R_DKIM_TEMPFAIL"),
        (key(txt(&record)), changed("v=1", "v=7"), "R_DKIM_PERMFAIL"),
        (key(txt(&record)), changed("a=ed25519-sha256", "a=rsa-sha1"), "R_DKIM_PERMFAIL"),
    ] {
        let verdict = verdict(&records, &envelope, &message).await;
        assert!(symbols(&verdict).contains(&symbol), "{symbol}: {verdict:?}");
        assert_eq!(verdict.action, Action::Accept, "{verdict:?}");
    }
    // A key that is gone.
    let verdict = verdict(&[], &envelope, &message).await;
    assert!(symbols(&verdict).contains(&"R_DKIM_PERMFAIL"), "{verdict:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn dmarc_says_what_the_domain_wishes() {
    let plain = message("Ana <a@example.org>", "Lunch?");
    let (record, good) = signed(&plain, "mail.example.org");
    let (other_record, unaligned) = signed(&plain, "other.example");
    let records = |policy: &str| {
        [
            ("_dmarc.example.org", txt(policy)),
            ("s1._domainkey.mail.example.org", txt(&record)),
            ("s1._domainkey.other.example", txt(&other_record)),
            ("example.org", txt("v=spf1 ip4:192.0.2.0/24 -all")),
        ]
    };
    let from_elsewhere = envelope(OUTSIDE, "bounce@other.example");
    for (policy, message, envelope, symbol, action) in [
        ("v=DMARC1; p=reject", &good, &from_elsewhere, "DMARC_POLICY_ALLOW", Action::Accept),
        ("v=DMARC1; p=reject", &plain, &envelope(INSIDE, "a@example.org"), "DMARC_POLICY_ALLOW", Action::Accept),
        ("v=DMARC1; p=reject", &plain, &from_elsewhere, "DMARC_POLICY_REJECT", Action::Reject),
        ("v=DMARC1; p=reject", &unaligned, &from_elsewhere, "DMARC_POLICY_REJECT", Action::Reject),
        ("v=DMARC1; p=reject; adkim=s", &good, &from_elsewhere, "DMARC_POLICY_REJECT", Action::Reject),
        ("v=DMARC1; p=quarantine", &plain, &from_elsewhere, "DMARC_POLICY_QUARANTINE", Action::Junk),
        ("v=DMARC1; p=none", &plain, &from_elsewhere, "DMARC_POLICY_SOFTFAIL", Action::Accept),
    ] {
        let verdict = verdict(&records(policy), envelope, message).await;
        assert!(symbols(&verdict).contains(&symbol), "{policy}: {verdict:?}");
        assert_eq!(verdict.action, action, "{policy}: {verdict:?}");
        assert!(results(&verdict).contains("dmarc="), "{policy}: {verdict:?}");
    }
    let refused = verdict(&records("v=DMARC1; p=reject"), &from_elsewhere, &plain).await;
    assert!(refused.explanation.unwrap().contains("DMARC"));
    let none = verdict(&[], &from_elsewhere, &plain).await;
    assert!(symbols(&none).contains(&"DMARC_NA"), "{none:?}");
    let broken = verdict(&[("_dmarc.example.org", Answer::Broken)], &from_elsewhere, &plain).await;
    assert!(symbols(&broken).contains(&"DMARC_DNSFAIL") && broken.action == Action::Accept, "{broken:?}");
    let two = message("a@example.org, b@other.example", "Lunch?");
    let two = verdict(&records("v=DMARC1; p=reject"), &from_elsewhere, &two).await;
    assert!(symbols(&two).contains(&"DMARC_NA"), "{two:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_policies_are_the_administrators_choice() {
    use estafeta_filter::authentication::Policy;
    let dns = FakeDns::start(&[("_dmarc.example.org", txt("v=DMARC1; p=reject"))]).await;
    for (policy, action) in
        [(Policy::Reject, Action::Reject), (Policy::Junk, Action::Junk), (Policy::Score, Action::Accept)]
    {
        let judge = judge(&Config { dmarc_reject: policy, ..config(&dns) });
        let verdict =
            judge.judge(&envelope(OUTSIDE, "b@other.example"), &message("a@example.org", "hi")).await.unwrap();
        assert_eq!(verdict.action, action, "{verdict:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_clients_are_not_asked_about() {
    let records = [("_dmarc.example.org", txt("v=DMARC1; p=reject"))];
    let submission = Envelope { authenticated: Some("a@example.org".into()), ..envelope(OUTSIDE, "a@example.org") };
    for envelope in [submission, envelope("127.0.0.1", "a@example.org"), envelope("::ffff:10.1.2.3", "a@example.org")] {
        let verdict = verdict(&records, &envelope, &message("a@example.org", "hi")).await;
        assert!(symbols(&verdict).is_empty() && results(&verdict).is_empty(), "{verdict:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_dns_costs_its_time_and_no_more() {
    let records = [
        ("example.org", Answer::Silent),
        ("_dmarc.example.org", Answer::Silent),
        ("s1._domainkey.example.org", Answer::Silent),
    ];
    let (_, message) = signed(&message("a@example.org", "hi"), "example.org");
    let start = Instant::now();
    let verdict = verdict(&records, &envelope(OUTSIDE, "a@example.org"), &message).await;
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
    let symbols = symbols(&verdict);
    assert!(
        ["R_SPF_DNSFAIL", "R_DKIM_TEMPFAIL", "DMARC_DNSFAIL"].iter().all(|symbol| symbols.contains(symbol)),
        "{verdict:?}"
    );
    assert_eq!(verdict.action, Action::Accept);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_signatures_are_not_a_thousand_questions() {
    let (record, message) = signed(&message("a@example.org", "hi"), "example.org");
    let text = String::from_utf8(message.body().to_vec()).unwrap();
    let (signature, _) = text.split_once("From:").unwrap();
    let many = Message::new([signature.repeat(1000), text.clone()].concat().into());
    let long = Message::new(
        text.replace("d=example.org", &format!("d={}.org", ["a".repeat(60).as_str(); 4].join("."))).into(),
    );
    let key = [("s1._domainkey.example.org", txt(&record))];
    let verdict = verdict(&key, &envelope(INSIDE, "a@example.org"), &many).await;
    let allowed = verdict.symbols.iter().find(|symbol| symbol.name == "R_DKIM_ALLOW").unwrap();
    assert_eq!(allowed.options.len(), 8);
    assert!(results(&verdict).len() <= 900);
    assert!(results(&self::verdict(&key, &envelope(INSIDE, "a@example.org"), &long).await).len() <= 900);
}
