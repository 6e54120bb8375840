//! What an administrator does with whole mailboxes, through a node that keeps none.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, ensure};
use estafeta_integration_tests::client::{Imap, Smtp};
use estafeta_integration_tests::cluster::{Cluster, PASSWORD};
use estafeta_integration_tests::tokens;
use estafeta_integration_tests::topology::Topology;

fn session(cluster: &Cluster, login: &str) -> anyhow::Result<Imap> {
    let mut imap = Imap::connect_tls(cluster.at("imaps")?, &cluster.trust)?;
    imap.login(login, PASSWORD)?.ok()?;
    Ok(imap)
}

/// Every file of mail below a directory.
fn mail_below(directory: &Path) -> anyhow::Result<usize> {
    let mut count = 0;
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            count += mail_below(&path)?;
        } else if path.parent().and_then(Path::file_name).is_some_and(|name| name == "cur" || name == "new") {
            count += 1;
        }
    }
    Ok(count)
}

#[test]
fn are_verified_exported_and_imported_once() -> anyhow::Result<()> {
    Cluster::run(&Topology::apart(), |cluster| {
        let (ana, luis) = (cluster.account("ana")?, cluster.account("luis")?);
        let mut smtp = Smtp::connect(cluster.at("smtp")?)?;
        // Small ones rest in the database, large ones in files.
        for (number, size) in [1_000, 60_000, 400_000].into_iter().enumerate() {
            let text = tokens::message(&format!("kept-{number}"), &ana, size);
            smtp.send("a@example.com", &[&ana], &text)?.expect(250)?;
        }
        let mut imap = session(cluster, &ana)?;
        imap.command("CREATE Papers/2026")?.ok()?;
        imap.append("Papers/2026", "\\Flagged $Forwarded", &tokens::message("paper", &ana, 2_000))?.ok()?;

        let place = cluster.directory.path().join("exported");
        fs::create_dir(&place)?;
        let to = place.to_str().context("a path")?.to_owned();
        let say = |cluster: &mut Cluster, arguments: &[&str]| cluster.node("access1")?.command(arguments, "")?.ok();
        say(cluster, &["mailbox", "verify"])?;
        for again in [false, true] {
            say(cluster, &["mailbox", "export", &ana, "--to", &to])?;
            ensure!(mail_below(&place)? == 4, "{} messages are there, again: {again}", mail_below(&place)?);
        }
        for _ in 0..2 {
            say(cluster, &["mailbox", "import", &luis, "--from", &to])?;
        }
        let held: BTreeMap<String, usize> = tokens::in_mailbox(cluster.at("imaps")?, &cluster.trust, &luis)?;
        ensure!(held.len() == 3 && held.values().all(|copies| *copies == 1), "{held:?}");
        let mut imap = session(cluster, &luis)?;
        imap.command("SELECT Papers/2026")?.ok()?;
        let flags = imap.command("FETCH 1:* (FLAGS)")?.ok()?.texts().join(" ");
        ensure!(flags.contains("\\Flagged") && flags.contains("$Forwarded"), "{flags}");
        say(cluster, &["mailbox", "verify", "--account", &luis])?;
        Ok(())
    })
}

#[test]
fn what_was_expunged_and_deleted_is_had_back() -> anyhow::Result<()> {
    Cluster::run(&Topology::apart(), |cluster| {
        let ana = cluster.account("ana")?;
        let mut imap = session(cluster, &ana)?;
        imap.command("CREATE Papers/2026")?.ok()?;
        // One rests in the database, one in a file.
        for (mailbox, token, size) in
            [("INBOX", "small", 1_000), ("Papers/2026", "large", 90_000), ("INBOX", "left", 500)]
        {
            imap.append(mailbox, "\\Flagged $Forwarded", &tokens::message(token, &ana, size))?.ok()?;
        }
        imap.command("SELECT INBOX")?.ok()?;
        let text = imap.command("FETCH 1 (EMAILID INTERNALDATE BODY.PEEK[])")?.ok()?.texts().join("\n");
        imap.command("STORE 1 +FLAGS (\\Deleted)")?.ok()?;
        imap.command("EXPUNGE")?.ok()?;
        imap.command("DELETE Papers/2026")?.ok()?;
        let say = |cluster: &mut Cluster, arguments: &[&str]| cluster.node("access1")?.command(arguments, "");
        let told = say(cluster, &["mailbox", "undelete", &ana, "--dry-run", "--json"])?.ok()?.json()?;
        let mailboxes: Vec<_> = told.as_array().context("rows")?.iter().map(|row| row["mailbox"].as_str()).collect();
        ensure!(mailboxes == [Some("INBOX"), Some("Papers/2026")] && told[0]["messages"] == 1, "{told}");
        let refused = say(cluster, &["mailbox", "undelete", &ana, "--since", "yesterday"])?;
        ensure!(refused.ok().is_err(), "a time that is none");
        let unknown = say(cluster, &["mailbox", "undelete", &ana, "--mailbox", "Nope"])?;
        ensure!(
            unknown.code == 67 && unknown.errors.contains("Nope") && unknown.errors.contains("Papers/2026"),
            "{unknown:?}"
        );
        say(cluster, &["mailbox", "undelete", &ana, "--mailbox", "Sent"])?.ok()?;
        let later = say(cluster, &["mailbox", "undelete", &ana, "--since", "2100-01-01", "--json"])?.ok()?.json()?;
        ensure!(later == serde_json::json!([]), "{later}");
        say(cluster, &["mailbox", "verify"])?.ok()?;

        say(cluster, &["mailbox", "undelete", &ana])?.ok()?;
        let selected = imap.command("SELECT INBOX")?.ok()?.texts().join("\n");
        ensure!(selected.contains("2 EXISTS") && selected.contains("UIDNEXT 4"), "{selected}");
        let back = imap.command("FETCH 2 (EMAILID INTERNALDATE BODY.PEEK[])")?.ok()?.texts().join("\n");
        ensure!(back.replacen("2 FETCH", "1 FETCH", 1) == text, "{text} {back}");
        let flags = imap.command("FETCH 2 (FLAGS)")?.ok()?.texts().join(" ");
        ensure!(flags.contains("\\Flagged") && flags.contains("$Forwarded") && !flags.contains("\\Deleted"), "{flags}");
        let held = tokens::in_mailbox(cluster.at("imaps")?, &cluster.trust, &ana)?;
        ensure!(held.len() == 2, "{held:?}");
        let selected = imap.command("SELECT Papers/2026")?.ok()?.texts().join("\n");
        ensure!(selected.contains("1 EXISTS"), "{selected}");
        let again = say(cluster, &["mailbox", "undelete", &ana, "--json"])?.ok()?.json()?;
        ensure!(again == serde_json::json!([]), "{again}");
        say(cluster, &["mailbox", "verify"])?.ok()?;
        Ok(())
    })
}

#[test]
fn a_compressed_session_and_another_login_go_through_access() -> anyhow::Result<()> {
    Cluster::run(&Topology::apart(), |cluster| {
        let (ana, luis) = (cluster.account("ana")?, cluster.account("luis")?);
        let mut imap = session(cluster, &ana)?;
        imap.append("INBOX", "", &tokens::message("of-ana", &ana, 1_000))?.ok()?;
        imap.command("UNAUTHENTICATE")?.ok()?;
        let refused = imap.command("SELECT INBOX")?;
        ensure!(refused.status != "OK", "{} {}", refused.status, refused.text);
        let wrong = imap.login(&luis, "wrong")?;
        ensure!(wrong.status == "NO", "{} {}", wrong.status, wrong.text);
        imap.login(&luis, PASSWORD)?.ok()?;
        let selected = imap.command("SELECT INBOX")?.ok()?.texts().join("\n");
        ensure!(selected.contains("0 EXISTS"), "{selected}");
        // Python's zlib is the client: raw DEFLATE both ways (RFC 4978 §4).
        let address = cluster.at("imaps")?;
        let program = "import socket, ssl, sys, zlib\n\
            host, port, ca, login, password = sys.argv[1:]\n\
            trust = ssl.create_default_context(cafile=ca)\n\
            wire = trust.wrap_socket(socket.create_connection((host, int(port))), server_hostname=host)\n\
            def until(mark, take=lambda piece: piece):\n\
            \x20   text = b''\n\
            \x20   while mark not in text:\n\
            \x20       piece = wire.recv(4096)\n\
            \x20       assert piece, text\n\
            \x20       text += take(piece)\n\
            \x20   return text\n\
            until(b'\\r\\n')\n\
            wire.sendall(f'a LOGIN {login} \"{password}\"\\r\\n'.encode())\n\
            until(b'a OK')\n\
            wire.sendall(b'b COMPRESS DEFLATE\\r\\n')\n\
            until(b'b OK')\n\
            deflate, inflate = zlib.compressobj(9, zlib.DEFLATED, -15), zlib.decompressobj(-15)\n\
            def say(line):\n\
            \x20   wire.sendall(deflate.compress(line) + deflate.flush(zlib.Z_SYNC_FLUSH))\n\
            say(b'c SELECT INBOX\\r\\n')\n\
            assert b'1 EXISTS' in until(b'c OK', inflate.decompress)\n\
            say(b'd FETCH 1 BODY[]\\r\\n')\n\
            assert b'X-Token: of-ana' in until(b'd OK', inflate.decompress)\n\
            say(b'e LOGOUT\\r\\n')\n\
            until(b'e OK', inflate.decompress)\n\
            print('ok')\n";
        let output = std::process::Command::new("timeout")
            .args(["60", "python3", "-c", program, &address.ip().to_string(), &address.port().to_string()])
            .arg(&cluster.authority)
            .args([ana.as_str(), PASSWORD])
            .output()?;
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(said.trim_end().ends_with("ok"), "{said}");
        Ok(())
    })
}
