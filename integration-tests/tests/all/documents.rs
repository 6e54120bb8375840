//! What documents say is there, is there.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use estafeta_integration_tests::binary;
use estafeta_integration_tests::topology::SERVICES;

/// README.md and every page of docs.
fn documents() -> Vec<PathBuf> {
    let top = binary::repository();
    let mut documents = vec![top.join("README.md")];
    let pages = fs::read_dir(top.join("docs")).expect("the folder docs");
    documents.extend(pages.map(|page| page.unwrap().path()).filter(|page| page.extension().is_some_and(|e| e == "md")));
    documents
}

/// The paths that a text names: in backquotes and in links, when they look like paths of this repository.
fn paths(text: &str) -> BTreeSet<String> {
    let tops = ["node/", "roles/", "docs/", "deploy/", "integration-tests/", "fuzz/", ".ci/"];
    let quoted = text.split('`').skip(1).step_by(2);
    let linked = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    quoted
        .chain(linked)
        .flat_map(|part| part.split_whitespace().map(|word| word.trim_matches(['\"', ',', ';', ':', '(', ')'])))
        .map(|word| word.split('#').next().unwrap_or(word))
        .filter(|word| tops.iter().any(|top| word.starts_with(top)))
        // A pattern names several files, a line's number is no part of the path.
        .filter(|word| !word.contains(['*', '<', '{', '…']))
        .map(|word| word.split(':').next().unwrap_or(word).trim_end_matches('.').to_owned())
        .collect()
}

#[test]
fn every_path_named_in_a_document_exists() {
    let mut missing = Vec::new();
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap_or_else(|error| panic!("{}: {error}", document.display()));
        for path in paths(&text) {
            if !binary::repository().join(&path).exists() {
                missing.push(format!("{}: {path}", document.display()));
            }
        }
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let link = link.split('#').next().unwrap_or_default();
            let relative = !link.is_empty() && !link.contains("://") && !link.starts_with("mailto:");
            if relative && !document.parent().unwrap().join(link).exists() {
                missing.push(format!("{}: link to {link}", document.display()));
            }
        }
    }
    assert!(missing.is_empty(), "named and not there:\n{}", missing.join("\n"));
}

#[test]
fn the_pages_that_were_promised_exist() {
    for page in ["README.md", "docs/architecture.md", "docs/flows.md", "docs/rfcs.md", "docs/benchmarks.md"] {
        let text = fs::read_to_string(binary::repository().join(page)).unwrap_or_default();
        assert!(text.lines().count() > 10, "{page} is missing or nearly empty");
    }
}

fn help(arguments: &[&str]) -> String {
    let output = Command::new(binary::path().unwrap()).args(arguments).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_role_table_is_complete_everywhere() {
    let roles: BTreeSet<&str> = SERVICES.iter().map(|service| service.role).collect();
    let crates: BTreeSet<String> = fs::read_dir(binary::repository().join("roles"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("Cargo.toml").is_file())
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    assert_eq!(crates, roles.iter().map(|role| (*role).to_owned()).collect(), "the harness knows every role");
    let overview = help(&["--help"]);
    let readme = fs::read_to_string(binary::repository().join("README.md")).unwrap();
    for role in roles {
        let listed = |text: &str| text.lines().any(|line| line.split_whitespace().next() == Some(role));
        assert!(listed(&overview), "--help does not list the role {role}:\n{overview}");
        assert!(readme.contains(&format!("| `{role}` |")), "README.md does not list the role {role}");
    }
}

#[test]
fn commands_of_the_command_line_are_documented_by_its_help() {
    for (group, verbs) in [
        ("domain", &["add", "list", "remove"][..]),
        ("account", &["add", "list", "show", "password", "quota", "disable", "enable", "remove"]),
        ("alias", &["add", "list", "remove"]),
        ("cluster", &["init", "certificate"]),
    ] {
        let text = help(&[group, "--help"]);
        for verb in verbs {
            assert!(text.lines().any(|line| line.split_whitespace().next() == Some(verb)), "{group} {verb}:\n{text}");
        }
    }
}

#[test]
fn paths_are_found_in_text() {
    let text = "see `node/core/src/lib.rs`, [map](docs/architecture.md#x) and `cargo run`, `roles/*/src`, `roles/dns/src/table.rs:12`.";
    let found: Vec<String> = paths(text).into_iter().collect();
    assert_eq!(found, ["docs/architecture.md", "node/core/src/lib.rs", "roles/dns/src/table.rs"]);
}
