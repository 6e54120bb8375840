//! The ways in which a node fails, and how each is undone.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use nix::mount::{MsFlags, mount, umount};
use nix::sys::signal::Signal;

use super::dependency::Scanner;
use super::network::Network;
use crate::cluster::Cluster;

/// How large the disks are that can be filled, in bytes.
pub const DISK_BYTES: u64 = 96 << 20;

/// A way to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Failure {
    /// SIGKILL, as if the machine had gone.
    Kill,
    /// Nothing goes in or out of the machine; it does not know why.
    Cut,
    /// SIGSTOP: it holds its connections and says nothing.
    Freeze,
    /// Its disk is full.
    FullDisk,
    /// What it depends on is gone: of a filter, its virus scanner.
    Dependency,
}

impl Failure {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Kill, Self::Cut, Self::Freeze, Self::FullDisk, Self::Dependency];

    /// What it is, in a few words.
    pub fn about(self) -> &'static str {
        match self {
            Self::Kill => "SIGKILL",
            Self::Cut => "network cut (nftables)",
            Self::Freeze => "frozen (SIGSTOP)",
            Self::FullDisk => "disk full",
            Self::Dependency => "dependency gone (virus scanner)",
        }
    }

    /// The nodes that it may hit.
    pub fn victims(self) -> &'static [&'static str] {
        match self {
            Self::Kill | Self::Cut | Self::Freeze => &["edge1", "edge2", "edge3", "access1", "access2"],
            Self::FullDisk => &["edge1", "edge2", "edge3"],
            Self::Dependency => &["filter1", "filter2"],
        }
    }
}

/// What stands around the nodes and can fail.
pub struct Surroundings<'a> {
    /// The network, when the nodes have one of their own.
    pub network: Option<&'a Network>,
    /// The virus scanners, by the name of the filter that asks each.
    pub scanners: &'a mut [(String, Scanner)],
}

impl Surroundings<'_> {
    /// Makes a node fail.
    pub fn strike(&mut self, cluster: &mut Cluster, node: &str, failure: Failure) -> anyhow::Result<()> {
        match failure {
            Failure::Kill => cluster.node(node)?.kill(),
            Failure::Freeze => cluster.node(node)?.signal(Signal::SIGSTOP),
            Failure::Cut => self.network()?.cut(index(cluster, node)?, false),
            Failure::FullDisk => fill(&cluster.node(node)?.directory.join("data")),
            Failure::Dependency => self.scanner(node)?.stop(),
        }
    }

    /// Undoes it.
    pub fn undo(&mut self, cluster: &mut Cluster, node: &str, failure: Failure) -> anyhow::Result<()> {
        match failure {
            Failure::Kill => cluster.node(node)?.spawn(),
            Failure::Freeze => cluster.node(node)?.signal(Signal::SIGCONT),
            Failure::Cut => self.network()?.mend(index(cluster, node)?),
            Failure::FullDisk => Ok(fs::remove_file(filler(&cluster.node(node)?.directory.join("data")))?),
            Failure::Dependency => self.scanner(node)?.start(),
        }
    }

    fn network(&self) -> anyhow::Result<&Network> {
        self.network.context("a network can only be cut where the nodes have one of their own")
    }

    fn scanner(&mut self, node: &str) -> anyhow::Result<&mut Scanner> {
        let scanner = self.scanners.iter_mut().find(|(filter, _)| filter == node);
        scanner.map(|(_, scanner)| scanner).with_context(|| format!("{node} has no scanner"))
    }
}

/// Where a node stands in the order of the topology.
pub fn index(cluster: &Cluster, node: &str) -> anyhow::Result<usize> {
    cluster.nodes.iter().position(|known| known.name() == node).with_context(|| format!("no node {node}"))
}

/// A disk of a bounded size for a node's data; unmounted when it is dropped.
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts one at the directory, which is made.
    pub fn mount(directory: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(directory)?;
        let options = format!("size={DISK_BYTES},mode=0700");
        mount(Some("estafeta-test"), directory, Some("tmpfs"), MsFlags::empty(), Some(options.as_str()))
            .context("mounting a small tmpfs: this needs root")?;
        Ok(Self(directory.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = umount(&self.0);
    }
}

fn filler(data: &Path) -> PathBuf {
    data.join("filler")
}

/// Writes until nothing more goes in.
fn fill(data: &Path) -> anyhow::Result<()> {
    let mut file = File::create(filler(data))?;
    let chunk = vec![7; 64 << 10];
    for _ in 0..=DISK_BYTES / chunk.len() as u64 {
        if file.write_all(&chunk).is_err() {
            return Ok(());
        }
    }
    ensure!(false, "{} is no small disk: it took {DISK_BYTES} bytes", data.display());
    Ok(())
}
