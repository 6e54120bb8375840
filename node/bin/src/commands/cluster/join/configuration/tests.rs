//! What is written is what a node starts with.

use std::fs;
use std::path::PathBuf;

use estafeta_cluster::enrolment::{self, Enrolled};
use estafeta_core::NodeName;
use estafeta_core::certificate::Issued;
use estafeta_core::settings::Settings;

use super::*;
use crate::config::{NodeConfig, usual_ports};
use crate::roles;

fn wanted(directory: &Path) -> Wanted {
    Wanted {
        name: "mailbox2".parse().unwrap(),
        address: "192.0.2.7".parse().unwrap(),
        hostname: Some("mailbox2.example.edu".into()),
        store_group: Some("b".parse().unwrap()),
        site: Some("north".parse().unwrap()),
        data: directory.join("a \"strange\" place"),
        user: None,
        listen: vec![
            (ServiceName::fixed("lmtp"), Some("192.0.2.7:10024".parse().unwrap())),
            (ServiceName::fixed("smtp"), Some("192.0.2.7:10025".parse().unwrap())),
            (ADMINISTRATION.0, Some("192.0.2.7:17443".parse().unwrap())),
        ],
        status: Some("off".into()),
        tls: None,
    }
}

#[test]
fn the_file_says_what_was_wanted_and_who_else_is_there() {
    let table = roles::table();
    let directory = tempfile::tempdir().unwrap();
    let wanted = wanted(directory.path());
    let enrolled = |name: &str, address: &str, roles: &[RoleName], listen: &[(ServiceName, Option<&str>)]| Enrolled {
        name: name.parse::<NodeName>().unwrap(),
        address: address.parse().unwrap(),
        roles: roles.to_vec(),
        store_group: roles.contains(&RoleName::MAILBOX).then(|| "a".parse().unwrap()),
        site: None,
        listen: listen.iter().map(|(service, at)| (service.clone(), at.map(|at| at.parse().unwrap()))).collect(),
    };
    let configured = vec![
        enrolled("directory1", "192.0.2.1", &[RoleName::DIRECTORY], &[]),
        enrolled(
            "mailbox1",
            "2001:db8::2",
            &[RoleName::MAILBOX, RoleName::EDGE],
            &[(ServiceName::fixed("smtp"), None), (ServiceName::fixed("lmtp"), Some("[2001:db8::2]:2424"))],
        ),
    ];
    let members = enrolment::members(&configured, &usual_ports(&table));
    let joined = Joined {
        issued: Issued { certificate: String::new(), serial: String::new(), not_after_seconds: 0 },
        authority: String::new(),
        roles: vec![RoleName::FILTER, RoleName::MAILBOX],
        settings: Settings::default(),
        configured: members.iter().cloned().collect(),
    };
    let (pair, authority) = (PathBuf::from("/x/node.pem"), PathBuf::from("/x/ca.pem"));
    let text = text(&wanted, &joined, &pair, &authority, &table);
    let file = directory.path().join("estafeta.toml");
    fs::write(&file, &text).unwrap();
    let config = NodeConfig::load(&file, &table).unwrap_or_else(|error| panic!("{error}\n{text}"));

    assert_eq!((config.name.as_str(), config.hostname.as_str()), ("mailbox2", "mailbox2.example.edu"));
    assert_eq!((&config.data, config.status), (&wanted.data, None));
    let (own, ca) = config.tls.cluster.clone().unwrap();
    assert_eq!((own.certificate, own.key, ca), (pair.clone(), pair, authority));
    // The others are as they were; this node is as it was wanted, without services of roles that it does not have.
    let read = enrolment::members(&config.nodes, &usual_ports(&table));
    for member in members.iter() {
        assert_eq!(read.get(&member.name), Some(member));
    }
    let own = read.get(&wanted.name).unwrap();
    let expected = Enrolled {
        site: wanted.site.clone(),
        store_group: wanted.store_group.clone(),
        ..enrolled(
            "mailbox2",
            "192.0.2.7",
            &[RoleName::FILTER, RoleName::MAILBOX],
            &[(ServiceName::fixed("lmtp"), Some("192.0.2.7:10024")), (ADMINISTRATION.0, Some("192.0.2.7:17443"))],
        )
    };
    let expected = enrolment::members(&[expected], &usual_ports(&table));
    assert_eq!(own.site, wanted.site);
    let endpoints = |member: &Member| {
        let mut known: Vec<String> =
            member.endpoints.iter().map(|one| format!("{} {}", one.service, one.address)).collect();
        known.sort();
        known
    };
    let expected = expected.get(&wanted.name).unwrap();
    assert_eq!(endpoints(own), endpoints(expected));
    assert_eq!(
        (own.administration, own.gossip, &own.store_group),
        (expected.administration, expected.gossip, &expected.store_group)
    );
}
