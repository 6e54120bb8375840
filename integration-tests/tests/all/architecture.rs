//! What the manifests must keep: imports run downward only, and the protocols are pure.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use estafeta_integration_tests::binary::repository;

/// Which of our crates each of our crates may import (docs/architecture.md). A role may import what `role` names.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("core", &[]),
    ("protocols", &[]),
    ("cluster", &["core"]),
    ("storage", &["core"]),
    ("net", &["core", "protocols"]),
    ("role", &["core", "net", "protocols", "storage"]),
];

/// Each outside library that has one home, and its home.
const HOMES: &[(&str, &str)] = &[
    ("ldap3", "directory"),
    ("ldap3_proto", "directory"),
    ("tokio-rustls", "net"),
    ("clap", "estafeta"),
    ("mail-auth", "filter"),
    ("sqlx", "storage"),
    ("rusqlite", "storage"),
    ("object_store", "storage"),
];

/// The names of the dependencies in each section of a manifest.
fn dependencies(manifest: &Path, section: &str) -> Vec<String> {
    let text = fs::read_to_string(manifest).unwrap();
    let mut current = String::new();
    let mut names = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(header) = line.strip_prefix('[') {
            current = header.trim_end_matches(']').to_owned();
        } else if current == section
            && let Some((name, _)) = line.split_once('=')
        {
            names.push(name.trim().trim_end_matches(".workspace").to_owned());
        }
    }
    names
}

/// The crates under `node` and `roles`: the name of each folder and its manifest.
fn crates() -> BTreeMap<String, (bool, std::path::PathBuf)> {
    let mut crates = BTreeMap::new();
    for (folder, is_role) in [("node", false), ("roles", true)] {
        for entry in fs::read_dir(repository().join(folder)).unwrap() {
            let manifest = entry.unwrap().path().join("Cargo.toml");
            if manifest.is_file() {
                let name = manifest.parent().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
                crates.insert(name, (is_role, manifest));
            }
        }
    }
    assert!(crates.len() >= 12, "{crates:?}");
    crates
}

#[test]
fn imports_run_downward_only() {
    for (name, (is_role, manifest)) in crates() {
        if name == "bin" {
            continue;
        }
        let row = if is_role { "role" } else { name.as_str() };
        let allowed =
            MAY_IMPORT.iter().find(|(known, _)| *known == row).unwrap_or_else(|| panic!("no rule for {name}")).1;
        for import in dependencies(&manifest, "dependencies").iter().filter_map(|name| name.strip_prefix("estafeta-")) {
            assert!(allowed.contains(&import), "{name} imports {import}; it may import {allowed:?}");
        }
    }
}

#[test]
fn protocols_are_pure_and_core_does_no_io() {
    let crates = crates();
    let protocols = dependencies(&crates["protocols"].1, "dependencies");
    for impure in [
        "tokio",
        "tokio-util",
        "tokio-rustls",
        "rustls",
        "sqlx",
        "rusqlite",
        "socket2",
        "hyper",
        "axum",
        "async-trait",
        "metrics",
        "tracing",
    ] {
        assert!(!protocols.iter().any(|name| name == impure), "protocols imports {impure}");
    }
    let manifest = fs::read_to_string(&crates["core"].1).unwrap();
    let tokio = manifest.lines().find(|line| line.starts_with("tokio")).expect("core uses tokio's I/O traits");
    assert!(
        tokio.contains("default-features = false") && !tokio.contains(" features"),
        "core takes only the traits of tokio: {tokio}"
    );
    for impure in ["sqlx", "rusqlite", "rustls", "socket2", "hyper", "reqwest"] {
        assert!(
            !dependencies(&crates["core"].1, "dependencies").iter().any(|name| name == impure),
            "core imports {impure}"
        );
    }
}

#[test]
fn outside_libraries_have_one_home() {
    for (name, (_, manifest)) in crates() {
        for import in dependencies(&manifest, "dependencies") {
            if let Some((_, home)) = HOMES.iter().find(|(library, _)| *library == import) {
                let home_of = if *home == "estafeta" { "bin" } else { home };
                assert!(name == home_of || name == "bin", "{name} imports {import}, whose home is {home}");
            }
        }
    }
}

#[test]
fn every_crate_takes_the_workspaces_lints() {
    for (name, (_, manifest)) in crates() {
        let text = fs::read_to_string(manifest).unwrap();
        assert!(text.contains("[lints]\nworkspace = true"), "{name}");
    }
}
