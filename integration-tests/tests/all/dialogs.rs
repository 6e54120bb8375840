//! The dialog files of `integration-tests/dialogs`, played against the real binary.

use std::fs;
use std::path::PathBuf;

use anyhow::ensure;
use estafeta_integration_tests::binary::repository;
use estafeta_integration_tests::cluster::Cluster;
use estafeta_integration_tests::dialog;
use estafeta_integration_tests::topology::Topology;

fn files() -> anyhow::Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> = fs::read_dir(repository().join("integration-tests/dialogs"))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "txt"));
    files.sort();
    ensure!(!files.is_empty(), "no dialogs");
    Ok(files)
}

/// Plays every file, each with an account of its own, and tells all that failed.
fn play_all(cluster: &mut Cluster) -> anyhow::Result<()> {
    let mut failed = Vec::new();
    for (number, file) in files()?.iter().enumerate() {
        let account = cluster.account(&format!("dialog{number}"))?;
        let text = fs::read_to_string(file)?;
        if let Err(error) = dialog::play(cluster, &account, &text) {
            failed.push(format!("{}: {error:#}", file.display()));
        }
    }
    ensure!(failed.is_empty(), "{}", failed.join("\n"));
    Ok(())
}

#[test]
fn on_one_node() -> anyhow::Result<()> {
    Cluster::run(&Topology::single(), play_all)
}

#[test]
fn across_nodes() -> anyhow::Result<()> {
    Cluster::run(&Topology::apart(), play_all)
}
