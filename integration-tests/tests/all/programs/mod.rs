//! Real programs that people use, against the real cluster.

mod readers;
mod tools;

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use estafeta_integration_tests::binary::repository;
use estafeta_integration_tests::client::Imap;
use estafeta_integration_tests::cluster::{Cluster, PASSWORD};

/// What a program printed, both streams; it must succeed within a minute.
fn run(command: &mut Command) -> anyhow::Result<String> {
    let (text, success) = run_any(command)?;
    ensure!(success, "{command:?}:\n{text}");
    Ok(text)
}

/// What a program printed, and whether it succeeded.
fn run_any(command: &mut Command) -> anyhow::Result<(String, bool)> {
    let program = command.get_program().to_string_lossy().into_owned();
    let mut limited = Command::new("timeout");
    limited.arg("60").arg(&program).args(command.get_args());
    for (key, value) in command.get_envs() {
        if let Some(value) = value {
            limited.env(key, value);
        }
    }
    let output = limited
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{program} is not installed: see integration-tests/all"))?;
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Ok((text, output.status.success()))
}

/// Where the libraries of a language are that integration-tests/all has installed beside the build.
fn libraries(language: &str) -> anyhow::Result<PathBuf> {
    let clients =
        std::env::var_os("ESTAFETA_CLIENTS").map_or_else(|| repository().join("target/clients"), PathBuf::from);
    let place = clients.join(language);
    ensure!(place.is_dir(), "{} is not there: integration-tests/all installs it", place.display());
    Ok(place)
}

fn session(cluster: &Cluster, login: &str) -> anyhow::Result<Imap> {
    let mut imap = Imap::connect_tls(cluster.at("imaps")?, &cluster.trust)?;
    imap.login(login, PASSWORD)?.ok()?;
    Ok(imap)
}

/// The certificate that a node shows clients: programs that compare names, and know none for an address, pin it.
fn shown_certificate(cluster: &mut Cluster, node: &str) -> anyhow::Result<PathBuf> {
    Ok(cluster.node(node)?.directory.join("service.pem"))
}
