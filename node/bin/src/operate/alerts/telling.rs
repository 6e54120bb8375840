//! How people are told: a mail through the cluster's own edge, a webhook, a command. Each way stands alone: one that fails
//! keeps no other from telling.

use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use estafeta_core::Address;
use estafeta_protocols::date::DateTime;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::sync::mpsc;

use super::book::{Alert, Turn};
use super::webhook;
use crate::operate::config::AlertsConfig;
use crate::operate::post::Post;

/// How many alerts wait to be told; what comes while so many wait stands in the log alone.
pub const WAITING_LIMIT: usize = 100;

/// How often each way is tried, and how long it rests between.
const TRIES: u32 = 3;
const REST: Duration = Duration::from_secs(5);

/// Tells what comes through the channel, one after the other.
pub async fn tell(config: AlertsConfig, post: Post, mut alerts: mpsc::Receiver<Alert>) {
    let teller = Arc::new(Teller { config, post });
    while let Some(alert) = alerts.recv().await {
        let alert = &alert;
        tokio::join!(teller.by_mail(alert), teller.by_webhook(alert), teller.by_command(alert));
    }
}

struct Teller {
    config: AlertsConfig,
    post: Post,
}

impl Teller {
    async fn by_mail(&self, alert: &Alert) {
        let Some(first) = self.config.mail_to.first() else { return };
        let id = uuid::Uuid::new_v4();
        let letter = Bytes::from(letter(&self.post, first, &self.config.mail_to, alert, &id.to_string()));
        self.try_hard("mail", || async { self.post.send(&self.config.mail_to, &letter).await.map(drop) }).await;
    }

    async fn by_webhook(&self, alert: &Alert) {
        let Some(url) = &self.config.webhook else { return };
        let json = json(&self.post, alert);
        self.try_hard("webhook", || webhook::post(url, &self.config.webhook_authorities, json.clone())).await;
    }

    async fn by_command(&self, alert: &Alert) {
        let Some((program, arguments)) = self.config.command.split_first() else { return };
        let json = json(&self.post, alert);
        self.try_hard("command", || run(program, arguments, &json)).await;
    }

    async fn try_hard<F>(&self, way: &'static str, attempt: impl Fn() -> F)
    where
        F: Future<Output = Result<(), String>>,
    {
        let limit = Duration::from_secs(self.config.send_seconds);
        let mut last = String::new();
        for _ in 0..TRIES {
            match tokio::time::timeout(limit, attempt()).await {
                Ok(Ok(())) => {
                    metrics::counter!("estafeta_alerts_total", "way" => way, "result" => "sent").increment(1);
                    return;
                }
                Ok(Err(why)) => last = why,
                Err(_) => last = format!("not done within {} seconds", limit.as_secs()),
            }
            tokio::time::sleep(REST).await;
        }
        metrics::counter!("estafeta_alerts_total", "way" => way, "result" => "failed").increment(1);
        tracing::error!(way, why = last, tries = TRIES, "an alert could not be sent: see [alerts]");
    }
}

/// What webhook and command are given.
fn json(post: &Post, alert: &Alert) -> Vec<u8> {
    let mut value = serde_json::json!(alert);
    if let Some(object) = value.as_object_mut() {
        object.insert("told_by".into(), post.node.as_str().into());
    }
    value.to_string().into_bytes()
}

/// The mail about an alert.
fn letter(post: &Post, first: &Address, to: &[Address], alert: &Alert, id: &str) -> String {
    let (word, about) = (if alert.turn == Turn::Began { "PROBLEM" } else { "over" }, &alert.about);
    let to: Vec<String> = to.iter().map(Address::to_string).collect();
    let since = DateTime::from_unix_seconds(i64::try_from(alert.since_seconds).unwrap_or_default()).rfc5322();
    let state = if alert.turn == Turn::Began { "It is not repeated while it lasts." } else { "It is over." };
    let date = DateTime::of(SystemTime::now()).rfc5322();
    // RFC 3834 §5: nobody's vacation answers it.
    format!(
        "From: Estafeta <postmaster@{domain}>\r\nTo: {to}\r\nSubject: [estafeta] {word}: {about}\r\nDate: {date}\r\n\
         Message-ID: <{id}@{host}>\r\nAuto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n\
         Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\
         {text}\r\n\r\nSince {since}. {state}\r\n\r\nSee: estafeta cluster status\r\nTold by {node}.\r\n",
        domain = first.domain(),
        to = to.join(", "),
        host = post.hostname,
        text = alert.text,
        node = post.node,
    )
}

/// Runs the command with the JSON on its standard input. Dropped, it kills it.
async fn run(program: &str, arguments: &[String], json: &[u8]) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{program}: {error}");
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    if let Some(mut input) = child.stdin.take() {
        // A command that does not read is no failure; its exit status says whether it did what it is for.
        let _ = input.write_all(json).await;
    }
    let status = child.wait().await.map_err(failed)?;
    if status.success() { Ok(()) } else { Err(format!("{program} ended with {status}")) }
}

#[cfg(test)]
mod tests {
    use estafeta_core::members::MembersView;
    use estafeta_net::tls::{Tls, TlsFiles};

    use super::*;

    fn post() -> Post {
        Post {
            node: "dns1".parse().unwrap(),
            hostname: "dns1.example.org".into(),
            tls: Arc::new(Tls::load(TlsFiles::default()).unwrap()),
            members: MembersView::default(),
        }
    }

    fn alert(turn: Turn) -> Alert {
        Alert { about: "access1".into(), turn, text: "node access1 is not ready: test".into(), since_seconds: 0 }
    }

    #[test]
    fn a_mail_says_what_since_when_and_who_told() {
        let to = ["ana@example.org".parse().unwrap(), "berta@example.org".parse().unwrap()];
        let letter = letter(&post(), &to[0], &to, &alert(Turn::Began), "1");
        for line in [
            "From: Estafeta <postmaster@example.org>",
            "To: ana@example.org, berta@example.org",
            "Subject: [estafeta] PROBLEM: access1",
            "node access1 is not ready: test",
            "Since Thu, 01 Jan 1970 00:00:00 +0000. It is not repeated while it lasts.",
            "Told by dns1.",
        ] {
            assert!(letter.split("\r\n").any(|found| found == line), "{line} in {letter}");
        }
    }

    #[tokio::test]
    async fn a_command_reads_json_and_its_failure_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("told");
        let shell = |script: String| ["-c".to_owned(), script];
        let json = json(&post(), &alert(Turn::Over));
        run("sh", &shell(format!("cat > {}", file.display())), &json).await.unwrap();
        let told: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        assert_eq!(
            (&told["turn"], &told["about"], &told["told_by"]),
            (&"over".into(), &"access1".into(), &"dns1".into())
        );
        assert!(run("sh", &shell("exit 3".into()), &json).await.unwrap_err().contains("3"));
        assert!(run("/nonexistent/command", &[], &json).await.is_err());
    }
}
