//! Programs that read and keep mail: Python's libraries, imapclient, imapflow, mbsync, OfflineIMAP, fetchmail, getmail, mutt.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};
use estafeta_integration_tests::binary::repository;
use estafeta_integration_tests::client::Smtp;
use estafeta_integration_tests::cluster::{Cluster, DOMAIN, PASSWORD};
use estafeta_integration_tests::tokens::letter;
use estafeta_integration_tests::topology::Topology;

use super::{libraries, run, run_any, session, shown_certificate};

#[test]
fn pythons_libraries() -> anyhow::Result<()> {
    Cluster::run(&Topology::single(), |cluster| {
        let ana = cluster.account("ana")?;
        let host = cluster.at("imaps")?.ip().to_string();
        let mut command = Command::new("python3");
        command.arg(repository().join("integration-tests/programs/python_clients.py")).arg(&host);
        for service in ["submissions", "submission", "imaps", "imap", "pop3s", "pop3"] {
            command.arg(cluster.at(service)?.port().to_string());
        }
        command.arg(&cluster.authority).arg(&ana).arg(PASSWORD);
        let said = run(&mut command)?;
        ensure!(said.trim_end().ends_with("ok"), "{said}");
        Ok(())
    })
}

/// Runs a program of programs/, which connects to an access node apart from the mailboxes and says `ok` at its end.
fn program(program: impl FnOnce() -> anyhow::Result<Command>) -> anyhow::Result<()> {
    Cluster::run(&Topology::apart(), |cluster| {
        let ana = cluster.account("ana")?;
        let address = cluster.at("imaps")?;
        let mut command = program()?;
        command.args([address.ip().to_string(), address.port().to_string()]);
        command.arg(&cluster.authority).arg(&ana).arg(PASSWORD);
        let said = run(&mut command)?;
        ensure!(said.trim_end().ends_with("ok"), "{said}");
        Ok(())
    })
}

#[test]
fn imapclient_from_pypi() -> anyhow::Result<()> {
    program(|| {
        let mut command = Command::new("python3");
        command.env("PYTHONPATH", libraries("python")?);
        command.arg(repository().join("integration-tests/programs/imapclient_client.py"));
        Ok(command)
    })
}

#[test]
fn imapflow_from_npm() -> anyhow::Result<()> {
    program(|| {
        let mut command = Command::new("node");
        command.arg(repository().join("integration-tests/programs/imapflow_client.mjs")).arg(libraries("node")?);
        Ok(command)
    })
}

/// Every file under a directory but mbsync's own, with its content.
fn files(directory: &Path) -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![directory.to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            if path.is_dir() {
                waiting.push(path);
            } else if !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.')) {
                found.insert(path.display().to_string(), fs::read(&path)?);
            }
        }
    }
    Ok(found)
}

/// All that can be seen of an account's mailboxes.
fn server_state(cluster: &Cluster, login: &str) -> anyhow::Result<Vec<String>> {
    let mut imap = session(cluster, login)?;
    let mut state = imap.command("LIST \"\" \"*\"")?.ok()?.texts();
    for mailbox in ["INBOX", "Papers", "Papers/Old"] {
        state.push(mailbox.to_owned());
        state.extend(
            imap.command(&format!("STATUS \"{mailbox}\" (MESSAGES UIDNEXT UIDVALIDITY UNSEEN)"))?.ok()?.texts(),
        );
        imap.command(&format!("EXAMINE \"{mailbox}\""))?.ok()?;
        let messages = imap.command("UID FETCH 1:* (FLAGS RFC822.SIZE INTERNALDATE)")?.ok()?.texts();
        state.extend(
            messages.iter().map(|line| line.replace("\\Recent ", "").replace(" \\Recent", "").replace("\\Recent", "")),
        );
    }
    Ok(state)
}

#[test]
fn mbsync_both_ways_and_then_nothing() -> anyhow::Result<()> {
    Cluster::run(&Topology::apart(), |cluster| {
        let ana = cluster.account("ana")?;
        let mut imap = session(cluster, &ana)?;
        for mailbox in ["Papers", "Papers/Old"] {
            imap.command(&format!("CREATE \"{mailbox}\""))?.ok()?;
        }
        for (mailbox, count) in [("INBOX", 30), ("Papers", 5), ("Papers/Old", 3)] {
            for number in 0..count {
                let flags = ["", "\\Seen", "\\Flagged \\Answered", "\\Draft"][number % 4];
                let message = format!(
                    "From: a@example.com\r\nSubject: {mailbox} {number}\r\nMessage-ID: <{number}.{mailbox}@x>\r\n\r\nbody {number}\r\n"
                );
                imap.append(mailbox, flags, message.as_bytes())?.ok()?;
            }
        }
        let place = cluster.directory.path().join("mbsync");
        let mail = place.join("mail");
        fs::create_dir_all(&mail)?;
        let address = cluster.at("imaps")?;
        let certificate = shown_certificate(cluster, "access1")?;
        let file = place.join("mbsyncrc");
        fs::write(
            &file,
            format!(
                "IMAPAccount e\nHost {}\nPort {}\nUser {ana}\nPass \"{PASSWORD}\"\nSSLType IMAPS\nCertificateFile {}\n\n\
                 IMAPStore far\nAccount e\n\nMaildirStore near\nPath {mail}/\nInbox {mail}/INBOX\nSubFolders Verbatim\n\n\
                 Channel all\nFar :far:\nNear :near:\nPatterns *\nCreate Both\nExpunge Both\nSyncState *\n",
                address.ip(),
                address.port(),
                certificate.display(),
                mail = mail.display(),
            ),
        )?;
        let sync = || run(Command::new("mbsync").arg("-V").arg("-c").arg(&file).arg("all"));
        sync()?;
        let near = files(&mail)?;
        ensure!(near.len() == 38, "{} messages came here", near.len());

        // Changes on both sides.
        fs::write(mail.join("INBOX/new/1700000000.1.here"), "From: b@example.com\nSubject: written here\n\nx\n")?;
        let seen = near.keys().find(|name| name.contains("/INBOX/cur/")).context("a message here")?;
        fs::remove_file(seen)?;
        imap.command("SELECT Papers")?.ok()?;
        imap.command("STORE 1 +FLAGS (\\Flagged)")?.ok()?;
        imap.command("STORE 2 +FLAGS (\\Deleted)")?.ok()?;
        imap.command("EXPUNGE")?.ok()?;
        imap.command("LOGOUT")?.ok()?;
        sync()?;
        let inbox = session(cluster, &ana)?.command("STATUS INBOX (MESSAGES)")?.texts().join(" ");
        ensure!(inbox.contains("MESSAGES 30"), "one more and one less: {inbox}");
        ensure!(files(&mail)?.len() == 37);

        // And then there is nothing to do.
        let before = (files(&mail)?, server_state(cluster, &ana)?);
        let said = sync()?;
        ensure!(before == (files(&mail)?, server_state(cluster, &ana)?), "a second run changed something:\n{said}");
        Ok(())
    })
}

/// What a program is to believe that pins a certificate.
fn fingerprint(certificate: &Path) -> anyhow::Result<String> {
    let mut openssl = Command::new("openssl");
    let said = run(openssl.args(["x509", "-noout", "-fingerprint", "-sha256", "-in"]).arg(certificate))?;
    let digits = said.trim().rsplit('=').next().context("no fingerprint")?;
    Ok(digits.replace(':', "").to_lowercase())
}

#[test]
fn offlineimap_both_ways_and_then_nothing() -> anyhow::Result<()> {
    Cluster::run(&Topology::apart(), |cluster| {
        let ana = cluster.account("ana")?;
        let mut imap = session(cluster, &ana)?;
        for mailbox in ["Papers", "Papers/Old"] {
            imap.command(&format!("CREATE \"{mailbox}\""))?.ok()?;
        }
        for (mailbox, count) in [("INBOX", 12), ("Papers", 4), ("Papers/Old", 2)] {
            for number in 0..count {
                let flags = ["", "\\Seen", "\\Flagged \\Answered", "\\Draft"][number % 4];
                imap.append(mailbox, flags, letter(&format!("{mailbox} {number}"), "ñ").as_bytes())?.ok()?;
            }
        }
        let place = cluster.directory.path().join("offlineimap");
        let mail = place.join("mail");
        fs::create_dir_all(&mail)?;
        let address = cluster.at("imaps")?;
        let file = place.join("offlineimaprc");
        fs::write(
            &file,
            format!(
                "[general]\naccounts = e\nmetadata = {at}/metadata\n\n[Account e]\nlocalrepository = near\n\
                 remoterepository = far\n\n[Repository near]\ntype = Maildir\nlocalfolders = {mail}\nsep = /\n\n\
                 [Repository far]\ntype = IMAP\nremotehost = {}\nremoteport = {}\nremoteuser = {ana}\n\
                 remotepass = {PASSWORD}\nssl = yes\ncert_fingerprint = {}\n",
                address.ip(),
                address.port(),
                fingerprint(&shown_certificate(cluster, "access1")?)?,
                at = place.display(),
                mail = mail.display(),
            ),
        )?;
        let sync = || run(Command::new("offlineimap").env("HOME", &place).args(["-o", "-u", "basic", "-c"]).arg(&file));
        sync()?;
        ensure!(files(&mail)?.len() == 18, "{} messages came here", files(&mail)?.len());

        // Changes on both sides.
        fs::write(mail.join("INBOX/new/1700000000.1.here"), "From: b@example.com\nSubject: written here\n\nx\n")?;
        imap.command("SELECT Papers")?.ok()?;
        imap.command("STORE 1 +FLAGS (\\Flagged)")?.ok()?;
        imap.command("STORE 2 +FLAGS (\\Deleted)")?.ok()?;
        imap.command("EXPUNGE")?.ok()?;
        imap.command("LOGOUT")?.ok()?;
        sync()?;
        let inbox = session(cluster, &ana)?.command("STATUS INBOX (MESSAGES)")?.texts().join(" ");
        ensure!(inbox.contains("MESSAGES 13"), "{inbox}");
        ensure!(files(&mail)?.len() == 18, "one came and one went");

        let before = (files(&mail)?, server_state(cluster, &ana)?);
        let said = sync()?;
        ensure!(before == (files(&mail)?, server_state(cluster, &ana)?), "a second run changed something:\n{said}");
        Ok(())
    })
}

#[test]
fn getmail_by_pop3_and_imap() -> anyhow::Result<()> {
    Cluster::run(&Topology::apart(), |cluster| {
        let ana = cluster.account("ana")?;
        for (retriever, service, more) in
            [("SimplePOP3SSLRetriever", "pop3s", ""), ("SimpleIMAPSSLRetriever", "imaps", "mailboxes = (\"INBOX\",)\n")]
        {
            let place = cluster.directory.path().join(retriever);
            fs::create_dir_all(place.join("mail/new"))?;
            let address = cluster.at(service)?;
            fs::write(
                place.join("getmailrc"),
                format!(
                    "[retriever]\ntype = {retriever}\nserver = {}\nport = {}\nusername = {ana}\npassword = {PASSWORD}\n{more}\
                     ca_certs = {}\n\n[destination]\ntype = MDA_external\nallow_root_commands = true\npath = /bin/sh\n\
                     arguments = (\"-c\", \"cat > $(mktemp {}/mail/new/XXXXXX)\")\n\n\
                     [options]\nread_all = false\ndelete = false\n",
                    address.ip(),
                    address.port(),
                    cluster.authority.display(),
                    place.display(),
                ),
            )?;
            let get = || run(Command::new("getmail").arg(format!("--getmaildir={}", place.display())));
            let mut smtp = Smtp::connect(cluster.at("smtp")?)?;
            for number in 1..=3 {
                let message = letter(&format!("{retriever} {number}"), "x");
                smtp.send("sender@example.com", &[&ana], message.as_bytes())?.expect(250)?;
            }
            get()?;
            let got = files(&place.join("mail"))?;
            let of_now = |text: &&Vec<u8>| String::from_utf8_lossy(text).contains(&format!("Subject: {retriever} "));
            ensure!(got.values().filter(of_now).count() == 3, "{got:?}");
            // It knows again by UIDL, or by UID, what it has seen.
            get()?;
            ensure!(files(&place.join("mail"))?.len() == got.len(), "a second run brought something again");
        }
        Ok(())
    })
}

#[test]
fn fetchmail_by_pop3_and_imap() -> anyhow::Result<()> {
    Cluster::run(&Topology::apart(), |cluster| {
        let ana = cluster.account("ana")?;
        for (protocol, service) in [("pop3", "pop3s"), ("imap", "imaps")] {
            let mut smtp = Smtp::connect(cluster.at("smtp")?)?;
            for number in 1..=3 {
                let message = letter(&format!("{protocol} {number}"), "x");
                smtp.send("sender@example.com", &[&ana], message.as_bytes())?.expect(250)?;
            }
            let place = cluster.directory.path().join(format!("fetchmail-{protocol}"));
            fs::create_dir(&place)?;
            let (file, got) = (place.join("fetchmailrc"), place.join("got"));
            let address = cluster.at(service)?;
            fs::write(
                &file,
                format!(
                    "poll {} protocol {protocol} port {} user \"{ana}\" password \"{PASSWORD}\" ssl sslcertck sslcertfile \"{}\" \
                     sslcommonname \"{DOMAIN}\" no rewrite mda \"cat >> {}\"\n",
                    address.ip(),
                    address.port(),
                    cluster.authority.display(),
                    got.display(),
                ),
            )?;
            fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
            run(Command::new("fetchmail")
                .env("FETCHMAILHOME", &place)
                .env("HOME", &place)
                .args(["--nosyslog", "--nodetach", "-f"])
                .arg(&file))?;
            let text = fs::read_to_string(&got)?;
            for number in 1..=3 {
                ensure!(
                    text.contains(&format!("Subject: {protocol} {number}")),
                    "{protocol} {number} is not in\n{text}"
                );
            }
        }
        Ok(())
    })
}

#[test]
fn mutt_sends_keeps_a_copy_and_reads() -> anyhow::Result<()> {
    Cluster::run(&Topology::apart(), |cluster| {
        let ana = cluster.account("ana")?;
        let place = cluster.directory.path().join("mutt");
        fs::create_dir(&place)?;
        let (imaps, submissions) = (cluster.at("imaps")?, cluster.at("submissions")?);
        let (login, file, taken) = (ana.replace('@', "%40"), place.join("muttrc"), place.join("taken"));
        session(cluster, &ana)?.command("CREATE Copies")?.ok()?;
        fs::write(
            &file,
            format!(
                "set from = {ana}\nset hostname = client.example\nset smtp_url = \"smtps://{login}@{submissions}/\"\n\
                 set smtp_pass = \"{PASSWORD}\"\nset folder = \"imaps://{login}@{imaps}/\"\nset imap_pass = \"{PASSWORD}\"\n\
                 set record = \"=Copies\"\nset ssl_ca_certificates_file = \"{}\"\nset ssl_verify_host = no\nset ssl_force_tls = yes\n\
                 set ssl_usesystemcerts = no\nset certificate_file = \"{}\"\nset confirmappend = no\nset delete = no\nset quit = yes\n\
                 set header_cache = \"{}\"\n",
                cluster.authority.display(),
                place.join("certificates").display(),
                place.join("headers").display(),
            ),
        )?;
        fs::write(place.join("certificates"), fs::read(shown_certificate(cluster, "access1")?)?)?;
        fs::write(place.join("text"), "written with mutt\n")?;
        let shell = format!(
            "mutt -n -F {0} -s 'from mutt' -a {1} -- {ana} < {1}",
            file.display(),
            place.join("text").display()
        );
        run(Command::new("sh").env("HOME", &place).args(["-c", &shell]))?;
        let mut imap = session(cluster, &ana)?;
        for mailbox in ["INBOX", "Copies"] {
            let status = imap.command(&format!("STATUS {mailbox} (MESSAGES)"))?.texts().join(" ");
            ensure!(status.contains("MESSAGES 1"), "{status}");
        }
        // Reading wants a terminal: `script` gives it one. The message is opened and saved to a file.
        let keys = format!("push '<display-message><exit><copy-message>{}<enter><enter><exit>'", taken.display());
        let mutt = format!("mutt -n -F {} -f 'imaps://{login}@{imaps}/INBOX' -e \"{keys}\"", file.display());
        run_any(Command::new("script").env("HOME", &place).env("TERM", "xterm").args(["-qec", &mutt, "/dev/null"]))?;
        let text = fs::read_to_string(&taken).context("mutt saved nothing")?;
        ensure!(text.contains("Subject: from mutt") && text.contains("written with mutt"), "{text}");
        Ok(())
    })
}
