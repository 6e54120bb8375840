//! Bad input against the real binary: a clear refusal, bounded memory, nothing lost.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use estafeta_integration_tests::client::{Imap, Pop3, Smtp, Wire};
use estafeta_integration_tests::cluster::{Cluster, PASSWORD};
use estafeta_integration_tests::tokens::letter;
use estafeta_integration_tests::topology::Topology;

/// How much more memory a node may hold after an attack than before, in bytes. A debug build and the allocator's own
/// habits want room; what is announced or sent here is a multiple of it.
const GROWTH_BYTES: u64 = 64 << 20;

/// A node that is being attacked.
struct Target<'a> {
    cluster: &'a Cluster,
    account: String,
    before: u64,
    messages: usize,
}

impl<'a> Target<'a> {
    fn new(cluster: &'a Cluster) -> anyhow::Result<Self> {
        let account = cluster.account("ana")?;
        let mut target = Self { cluster, account, before: 0, messages: 0 };
        // What a first message and a first login allocate for good is not the attack's.
        target.still_serves("warming up")?;
        target.before = cluster.nodes[0].resident_bytes()?;
        Ok(target)
    }

    fn smtp(&self) -> anyhow::Result<SocketAddr> {
        self.cluster.at("smtp")
    }

    /// A session that is logged in.
    fn imap(&self) -> anyhow::Result<Imap> {
        let mut imap = Imap::connect_tls(self.cluster.at("imaps")?, &self.cluster.trust)?;
        imap.login(&self.account, PASSWORD)?.ok()?;
        Ok(imap)
    }

    /// After an attack: the process is the same and small, takes a message, and has every message that it took.
    fn still_serves(&mut self, after: &str) -> anyhow::Result<()> {
        let mut smtp = Smtp::connect(self.smtp()?)?;
        smtp.send("sender@example.com", &[&self.account], letter(after, "still here").as_bytes())?.expect(250)?;
        self.messages += 1;
        let mut imap = self.imap()?;
        let status = imap.command("STATUS INBOX (MESSAGES)")?.ok()?.texts().join("\n");
        ensure!(status.contains(&format!("MESSAGES {}", self.messages)), "{}, got {status}", self.messages);
        let now = self.cluster.nodes[0].resident_bytes()?;
        if self.before > 0 {
            let growth = now.saturating_sub(self.before);
            ensure!(growth < GROWTH_BYTES, "{} MB more memory than before", growth >> 20);
        }
        Ok(())
    }
}

/// Sends `bytes` again and again, up to `total`, and gives what the server said; it may hang up on the way.
fn flood(wire: &mut Wire, bytes: &[u8], total: usize) -> String {
    let mut sent = 0;
    while sent < total && wire.write(bytes).is_ok() {
        sent += bytes.len();
    }
    let _ = wire.set_patience(Duration::from_secs(5));
    String::from_utf8_lossy(&wire.rest()).into_owned()
}

#[test]
fn over_smtp() -> anyhow::Result<()> {
    Cluster::run(&Topology::single(), |cluster| {
        let mut target = Target::new(cluster)?;

        let mut wire = Wire::connect(target.smtp()?)?;
        let answer = flood(&mut wire, &[b'x'; 64 * 1024], 256 << 20);
        ensure!(answer.contains("500 ") || answer.contains("554 ") || answer.starts_with("220 "), "{answer:?}");
        target.still_serves("a line of 256 MB")?;

        let mut smtp = Smtp::connect(target.smtp()?)?;
        let long = format!("NOOP {}", "x".repeat(5_000));
        ensure!((500..=501).contains(&smtp.command(&long)?.code));
        for bytes in [
            &b"NOOP \0\r\n"[..],
            b"MAIL FROM:<\xff\xfe@example.com>\r\n",
            b"\x80\x81\r\n",
            b"\r\n",
            b"\x16\x03\x01\x02\r\n",
        ] {
            smtp.wire.write(bytes)?;
            let reply = smtp.reply()?;
            ensure!((500..=555).contains(&reply.code), "{bytes:?}: {reply:?}");
        }
        smtp.command("NOOP")?.expect(250)?;
        target.still_serves("NUL and 8-bit bytes in commands")?;

        for half in ["", "EHL", "EHLO x\r\nMAIL FR", "EHLO x\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<"] {
            let mut wire = Wire::connect(target.smtp()?)?;
            wire.write(half.as_bytes())?;
            wire.finish()?;
            wire.rest();
        }
        target.still_serves("half commands")?;

        // A client that dies within its message has not sent one.
        let mut smtp = Smtp::connect(target.smtp()?)?;
        smtp.command("MAIL FROM:<a@example.com>")?.expect(250)?;
        smtp.command(&format!("RCPT TO:<{}>", target.account))?.expect(250)?;
        smtp.command("DATA")?.expect(354)?;
        smtp.wire.write(b"Subject: half\r\n\r\nhalf a mess")?;
        drop(smtp);
        target.still_serves("half a message")
    })
}

#[test]
fn a_hundred_thousand_recipients() -> anyhow::Result<()> {
    Cluster::run(&Topology::single(), |cluster| {
        let mut target = Target::new(cluster)?;
        let mut smtp = Smtp::connect(target.smtp()?)?;
        smtp.command("MAIL FROM:<a@example.com>")?.expect(250)?;
        let begun = Instant::now();
        let mut answers = std::collections::BTreeMap::<u16, usize>::new();
        let batch = format!("RCPT TO:<{}>\r\n", target.account).repeat(100);
        'sending: for _ in 0..1_000 {
            if smtp.wire.write(batch.as_bytes()).is_err() {
                break;
            }
            for _ in 0..100 {
                match smtp.reply() {
                    Ok(reply) => *answers.entry(reply.code).or_default() += 1,
                    Err(_) => break 'sending,
                }
            }
        }
        println!("answers to 100,000 recipients in {:?}: {answers:?}", begun.elapsed());
        let taken = answers.get(&250).copied().unwrap_or_default();
        ensure!((100..100_000).contains(&taken), "RFC 5321 §4.5.3.1.8 wants at least 100 to be taken: {answers:?}");
        ensure!(answers.keys().all(|code| matches!(code, 250 | 451 | 452 | 421 | 552 | 554)), "{answers:?}");
        drop(smtp);
        target.still_serves("100,000 recipients")
    })
}

#[test]
fn a_message_above_the_limit() -> anyhow::Result<()> {
    Cluster::run(&Topology::single(), |cluster| {
        let mut target = Target::new(cluster)?;
        let mut smtp = Smtp::connect(target.smtp()?)?;
        let offer = smtp.command("EHLO client.example")?.lines;
        let limit = offer.iter().find_map(|line| line.strip_prefix("SIZE ")?.trim().parse::<usize>().ok());
        let limit = limit.context("SIZE names no limit")?;
        ensure!((1 << 20..1 << 30).contains(&limit), "a limit of {limit} bytes");
        // Announced, it is refused at once (RFC 1870 §6.1); hidden, at its end.
        smtp.command(&format!("MAIL FROM:<a@example.com> SIZE={}", limit + 1))?.expect(552)?;
        smtp.command("MAIL FROM:<a@example.com>")?.expect(250)?;
        smtp.command(&format!("RCPT TO:<{}>", target.account))?.expect(250)?;
        smtp.command("DATA")?.expect(354)?;
        smtp.wire.write(b"Subject: too much\r\n\r\n")?;
        let line = [&[b'x'; 998][..], b"\r\n"].concat().repeat(64);
        for _ in 0..=limit / line.len() {
            smtp.wire.write(&line)?;
        }
        smtp.wire.write(b".\r\n")?;
        smtp.reply()?.expect(552)?;
        smtp.command("NOOP")?.expect(250)?;
        target.still_serves("a message above the limit")
    })
}

#[test]
fn over_imap() -> anyhow::Result<()> {
    Cluster::run(&Topology::single(), |cluster| {
        let mut target = Target::new(cluster)?;
        let imaps = cluster.at("imaps")?;

        // A literal of 10 GB: refused before a byte of it is asked for, with or without a login.
        for (before_login, command) in
            [(true, "LOGIN {10000000000}"), (false, "APPEND INBOX {10000000000}"), (false, "CREATE {10000000000}")]
        {
            let mut imap = if before_login { Imap::connect_tls(imaps, &cluster.trust)? } else { target.imap()? };
            let tag = imap.start(command)?;
            let mut answer = imap.wire.text_line()?;
            while answer.starts_with("* ") && !answer.starts_with("* BYE") {
                answer = imap.wire.text_line()?;
            }
            let refused = [format!("{tag} NO"), format!("{tag} BAD"), "* BYE".into()];
            ensure!(refused.iter().any(|refusal| answer.starts_with(refusal)), "{command}: {answer}");
        }
        target.still_serves("literals of 10 GB")?;

        // Not waiting to be asked for it (RFC 7888): the server must hang up or swallow, never keep.
        for command in ["APPEND INBOX {10000000000+}", "CREATE {10000000000+}"] {
            let mut imap = target.imap()?;
            imap.start(command)?;
            let answer = flood(&mut imap.wire, &[b'x'; 64 * 1024], 256 << 20);
            ensure!(
                answer.contains(" BAD") || answer.contains(" NO") || answer.contains("* BYE") || answer.is_empty(),
                "{answer}"
            );
            target.still_serves("256 MB of a literal of 10 GB")?;
        }

        let mut imap = target.imap()?;
        let answer = flood(&mut imap.wire, &[b'x'; 64 * 1024], 256 << 20);
        ensure!(answer.contains("BAD") || answer.contains("BYE") || answer.is_empty(), "{answer:?}");
        target.still_serves("a line of 256 MB")?;

        let mut imap = target.imap()?;
        imap.command("SELECT INBOX")?.ok()?;
        for command in [
            format!("SEARCH {}ALL", "(".repeat(4_000)),
            format!("SEARCH {}ALL", "NOT ".repeat(1_500)),
            format!("FETCH {} FLAGS", "1:*,".repeat(1_500)),
            format!("STORE 1 FLAGS ({})", "k ".repeat(3_000)),
            "FETCH 1 BODY[1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1]".to_owned(),
            "FETCH 1 BODY[]<4294967295.4294967295>".to_owned(),
        ] {
            let Ok(done) = imap.command(&command) else {
                // Hung up on: as clear as a refusal, and a new session goes on.
                imap = target.imap()?;
                imap.command("SELECT INBOX")?.ok()?;
                continue;
            };
            ensure!(["OK", "NO", "BAD"].contains(&done.status.as_str()), "{}", done.status);
        }
        for bytes in
            [&b"t0 LOGIN \0 \0\r\n"[..], b"t0 CREATE \"\xff\xfe\"\r\n", b"\0\0\0\r\n", b"t0 LIST \"\" \x80\r\n"]
        {
            let mut imap = target.imap()?;
            imap.wire.write(bytes)?;
            let answer = imap.wire.text_line()?;
            ensure!(answer.contains("BAD") || answer.contains("NO") || answer.contains("BYE"), "{bytes:?}: {answer}");
        }
        target.still_serves("commands that are none")
    })
}

#[test]
fn over_pop3() -> anyhow::Result<()> {
    Cluster::run(&Topology::single(), |cluster| {
        let mut target = Target::new(cluster)?;
        let pop3s = cluster.at("pop3s")?;
        let mut pop3 = Pop3::connect_tls(pop3s, &cluster.trust)?;
        for command in ["RETR 1", "DELE 1", "STAT", "PASS x", "", "RETR -1", "\0", "USER"] {
            ensure!(pop3.command(command)?.starts_with("-ERR"), "{command:?}");
        }
        ensure!(pop3.login(&target.account, PASSWORD)?.starts_with("+OK"));
        for command in ["RETR 0", "RETR 99999999999999999999", "TOP 1", "TOP 1 -1", "DELE x", "LIST 0", "UIDL 1 2"] {
            ensure!(pop3.command(command)?.starts_with("-ERR"), "{command:?}");
        }
        ensure!(
            pop3.command(&format!("NOOP {}", "x".repeat(600)))
                .is_ok_and(|answer| answer.starts_with('-') || answer.starts_with('+'))
        );
        target.still_serves("wrong commands")?;
        let mut pop3 = Pop3::connect_tls(pop3s, &cluster.trust)?;
        flood(&mut pop3.wire, &[b'x'; 64 * 1024], 256 << 20);
        target.still_serves("a line of 256 MB")
    })
}

#[test]
fn garbage_instead_of_tls() -> anyhow::Result<()> {
    Cluster::run(&Topology::single(), |cluster| {
        let mut target = Target::new(cluster)?;
        for service in ["imaps", "pop3s", "submissions"] {
            for garbage in [
                &b"EHLO client.example\r\n"[..],
                &[0x16, 3, 1, 0xff, 0xff, 1, 2, 3],
                &[0; 4096],
                b"GET / HTTP/1.1\r\n\r\n",
            ] {
                let mut wire = Wire::connect(cluster.at(service)?)?;
                wire.write(garbage)?;
                let _ = wire.finish();
                let said = wire.rest();
                ensure!(said.len() < 1024, "{service} says {} bytes", said.len());
            }
        }
        target.still_serves("garbage instead of TLS")
    })
}

/// Many that connect and say nothing hold no more than a connection each, and others are served meanwhile.
#[test]
fn a_crowd_that_says_nothing() -> anyhow::Result<()> {
    Cluster::run(&Topology::single(), |cluster| {
        let mut target = Target::new(cluster)?;
        let mut crowd = Vec::new();
        for service in ["smtp", "imap", "pop3", "imaps", "submissions"] {
            for _ in 0..50 {
                crowd.push(Wire::connect(cluster.at(service)?)?);
            }
        }
        thread::sleep(Duration::from_millis(500));
        target.still_serves("250 silent connections")?;
        drop(crowd);
        target.still_serves("their end")
    })
}
