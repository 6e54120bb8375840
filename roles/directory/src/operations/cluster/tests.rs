//! Nodes that join, renew and go, as the operations and the store have it.

use std::time::SystemTime;

use base64::Engine as _;
use estafeta_cluster::authority::{Authority, Request};
use estafeta_core::members::{Endpoint, Members, Readiness, STORE};
use estafeta_core::settings::Settings;
use estafeta_core::{ServiceName, StoreGroup};
use estafeta_net::identity::PeerIdentity;

use super::*;

struct Directory {
    administration: ClusterAdministration,
    _data: tempfile::TempDir,
}

/// A directory node that holds the authority's key, in a cluster with one more node in the configurations.
async fn directory() -> Directory {
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(data.path().to_owned()).await.unwrap();
    store.ensure_gossip_key(now()).await.unwrap();
    let pair = Authority::create(SystemTime::now()).unwrap();
    let own = Member {
        administration: Some("192.0.2.1:7443".parse().unwrap()),
        roles: [(RoleName::DIRECTORY, Readiness::Ready)].into(),
        ..Member::named("directory1".parse().unwrap())
    };
    let configured = Member {
        roles: [(RoleName::MAILBOX, Readiness::Ready)].into(),
        store_group: Some("a".parse().unwrap()),
        ..Member::named("mailbox1".parse().unwrap())
    };
    let administration = ClusterAdministration {
        settings: SettingsView::new(store.read().await.unwrap()),
        store,
        members: MembersView::new(Members::new(vec![own, configured])),
        node: "directory1".parse().unwrap(),
        issuer: Some(Arc::new(Authority::load(&pair).unwrap())),
    };
    Directory { administration, _data: data }
}

fn member(name: &str, group: Option<&str>) -> Member {
    let endpoint = |role: RoleName, service, port| Endpoint {
        role,
        service: ServiceName::fixed(service),
        address: (std::net::Ipv4Addr::new(192, 0, 2, 7), port).into(),
    };
    Member {
        roles: [(RoleName::DIRECTORY, Readiness::Ready)].into(),
        endpoints: vec![endpoint(RoleName::EDGE, "smtp", 25), endpoint(RoleName::DIRECTORY, "ldaps", 636)],
        store_group: group.map(|group| group.parse::<StoreGroup>().unwrap()),
        ..Member::named(name.parse().unwrap())
    }
}

/// Who a certificate says that its node is.
fn identity(certificate: &str) -> PeerIdentity {
    let body: String = certificate.lines().filter(|line| !line.starts_with('-')).collect();
    PeerIdentity::from_certificate(&base64::engine::general_purpose::STANDARD.decode(body).unwrap()).unwrap()
}

impl Directory {
    async fn token(&self, input: Value) -> String {
        self.administration.perform(TOKEN, input).await.unwrap()["token"].as_str().unwrap().to_owned()
    }

    async fn join(&self, token: &str, member: Member) -> Result<estafeta_core::joining::Joined, Failure> {
        let request = JoinRequest { token: token.into(), member, request: Request::new().unwrap().request };
        let answer = self.administration.perform(JOIN, serde_json::to_value(request).unwrap()).await?;
        Ok(serde_json::from_value(answer).unwrap())
    }

    async fn refused(&self, token: &str, member: Member) -> (Reason, String) {
        let failure = self.join(token, member).await.err().expect("this node may not join");
        (failure.reason, failure.client)
    }

    fn settings(&self) -> Arc<Settings> {
        self.administration.settings.current()
    }
}

#[tokio::test]
async fn a_token_lets_one_node_in_with_its_roles_and_no_more() {
    let directory = directory().await;
    let made = directory.administration.perform(TOKEN, json!({ "role": ["edge", "dns", "edge"] })).await.unwrap();
    let (token, line) = (made["token"].as_str().unwrap(), made["join"].as_str().unwrap());
    assert_eq!(line, format!("estafeta cluster join 192.0.2.1:7443 --token {token} --name NAME --address IP"));
    assert_eq!(made["roles"], json!(["dns", "edge"]));
    let before = directory.settings();

    let joined = directory.join(token, member("edge1", Some("b"))).await.unwrap();
    let roles = [RoleName::DNS, RoleName::EDGE];
    let said = identity(&joined.issued.certificate);
    assert_eq!(
        (said.node.as_str(), said.roles, said.serial),
        ("edge1", roles.clone().into(), joined.issued.serial.clone())
    );
    assert_eq!(joined.roles, roles);
    // What it said of a role that was not granted is not believed.
    let enrolled = &joined.settings.nodes[0];
    assert!(enrolled.roles.keys().eq(&roles) && enrolled.store_group.is_none());
    assert_eq!(enrolled.endpoints.iter().map(|one| one.address.port()).collect::<Vec<_>>(), [25]);
    assert_eq!(*directory.settings(), joined.settings);
    assert!(joined.settings.version == before.version + 1 && joined.settings.gossip_keys.len() == 1);
    let configured: Vec<&str> = joined.configured.iter().map(|member| member.name.as_str()).collect();
    assert_eq!(configured, ["directory1", "mailbox1"]);

    let (reason, text) = directory.refused(token, member("edge2", None)).await;
    assert!(reason == Reason::Denied && text.contains("was used by node edge1"), "{text}");
    let listed = directory.administration.perform(LIST, json!({})).await.unwrap();
    let rows: Vec<_> = listed.as_array().unwrap().iter().map(|row| (&row["node"], &row["enrolled_by"])).collect();
    assert_eq!(
        format!("{rows:?}"),
        format!(
            "{:?}",
            [
                (&json!("directory1"), &json!("configuration")),
                (&json!("edge1"), &json!("token")),
                (&json!("mailbox1"), &json!("configuration")),
            ]
        )
    );
    assert!(listed[1]["certificate_until"].is_string() && listed[0]["certificate_until"].is_null());
}

#[tokio::test]
async fn a_store_group_takes_another_node_once_its_own_says_that_its_store_is_shared() {
    let directory = directory().await;
    let token = directory.token(json!({ "role": ["mailbox"] })).await;
    let says = |store: &str| {
        let change = |member: &mut Member| drop(member.facts.insert(STORE.into(), store.into()));
        directory.administration.members.change(&"mailbox1".parse().unwrap(), change);
    };
    says("estafeta 0123456789abcdef");
    let (reason, text) = directory.refused(&token, member("mailbox2", Some("a"))).await;
    assert!(reason == Reason::Exists && text.contains("[mailbox.s3]"), "{text}");
    says("estafeta 0123456789abcdef shared");
    let joined = directory.join(&token, member("mailbox2", Some("a"))).await.unwrap();
    assert_eq!(joined.settings.nodes[0].store_group, Some("a".parse().unwrap()));
}

#[tokio::test]
async fn who_may_not_join_learns_why_and_the_token_stays_good() {
    let directory = directory().await;
    let edge = directory.token(json!({ "role": ["edge"] })).await;
    let mailbox = directory.token(json!({ "role": ["mailbox"] })).await;
    let bound = directory.token(json!({ "role": ["edge"], "node": "edge9" })).await;
    let unknown = JoinToken { secret: [1; 16], ..edge.parse().unwrap() }.to_string();
    for (token, joins, reason, words) in [
        (edge.as_str(), member("directory1", None), Reason::Exists, "directory1 is enrolled already"),
        (&edge, member("mailbox1", None), Reason::Exists, "estafeta node remove mailbox1"),
        (&mailbox, member("mailbox2", None), Reason::Invalid, "--store-group"),
        (&mailbox, member("mailbox2", Some("a")), Reason::Exists, "the store group a is on the node mailbox1"),
        (&bound, member("edge1", None), Reason::Denied, "for the node edge9"),
        (&unknown, member("edge1", None), Reason::Denied, "not known to the cluster"),
        ("nonsense", member("edge1", None), Reason::Invalid, "not a join token"),
    ] {
        let (said, text) = directory.refused(token, joins).await;
        assert!(said == reason && text.contains(words), "{text}");
    }
    let mut crowd = member("edge1", None);
    crowd.endpoints = vec![crowd.endpoints[0].clone(); ENDPOINTS_LIMIT + 1];
    assert_eq!(directory.refused(&edge, crowd).await.0, Reason::TooLarge);
    let request = JoinRequest { token: edge.clone(), member: member("edge1", None), request: "none".into() };
    let failure = directory.administration.perform(JOIN, serde_json::to_value(&request).unwrap()).await.unwrap_err();
    assert_eq!(failure.reason, Reason::Invalid);

    // At its end, by the clock.
    let store = &directory.administration.store;
    let issuer = directory.administration.issuer().unwrap();
    let good = JoinRequest { request: Request::new().unwrap().request, ..request };
    let late = store.join(good.clone(), Vec::new(), issuer.clone(), now() + 24 * 3600 + 1).await.err().unwrap();
    assert!(late.reason == Reason::Denied && late.client.contains("expired"), "{late}");
    store.join(good, Vec::new(), issuer, now() + 23 * 3600).await.unwrap();
    directory.join(&mailbox, member("mailbox2", Some("b"))).await.unwrap();
    directory.join(&bound, member("edge9", None)).await.unwrap();

    for wrong in
        [json!({ "role": [] }), json!({ "role": ["edge"], "hours": 0 }), json!({ "role": ["edge"], "hours": 721 })]
    {
        assert_eq!(directory.administration.perform(TOKEN, wrong).await.unwrap_err().reason, Reason::Invalid);
    }
    let powerless = ClusterAdministration { issuer: None, ..directory.administration };
    let failure = powerless.perform(TOKEN, json!({ "role": ["edge"] })).await.unwrap_err();
    assert!(failure.reason == Reason::Unavailable && failure.client.contains("authority_key"), "{failure}");
}

#[tokio::test]
async fn a_removed_node_is_shut_out_until_it_joins_anew() {
    let directory = directory().await;
    let remove = |node: &'static str| directory.administration.perform(REMOVE, json!({ "node": node }));
    let token = directory.token(json!({ "role": ["edge"] })).await;
    let first = directory.join(&token, member("edge1", None)).await.unwrap().issued.serial;
    assert_eq!(remove("edge1").await.unwrap(), Value::Null);
    let settings = directory.settings();
    assert!(settings.nodes.is_empty() && settings.shut_out.nodes == ["edge1".parse().unwrap()]);
    assert_eq!(settings.shut_out.serials, std::slice::from_ref(&first));
    // The key that it knows goes out of use.
    assert_eq!(settings.gossip_keys.len(), 2);
    assert!(settings.gossip_keys[1].from_seconds > now());
    assert_eq!(remove("edge1").await.unwrap_err().reason, Reason::NotFound);
    assert_eq!(remove("directory1").await.unwrap_err().reason, Reason::Denied);
    let renewal = json!({ "asking_node": "edge1", "request": Request::new().unwrap().request });
    assert_eq!(directory.administration.perform(RENEW, renewal).await.unwrap_err().reason, Reason::NotFound);

    // Its name may be given anew; its old certificate stays worthless.
    let token = directory.token(json!({ "role": ["edge"] })).await;
    let second = directory.join(&token, member("edge1", None)).await.unwrap();
    assert!(second.settings.shut_out.nodes.is_empty() && second.settings.shut_out.serials == [first]);
    assert!(!identity(&second.issued.certificate).is_shut_out(&second.settings.shut_out));

    // The certificate of a configured node was not issued from here: while it may be good, its name is not given.
    remove("mailbox1").await.unwrap();
    let token = directory.token(json!({ "role": ["edge"] })).await;
    let (reason, text) = directory.refused(&token, member("mailbox1", None)).await;
    assert!(reason == Reason::Denied && text.contains("was removed"), "{text}");
    let store = &directory.administration.store;
    let request = JoinRequest { token, member: member("mailbox1", None), request: Request::new().unwrap().request };
    let later = now() + 31 * 86_400;
    let renewed = json!({ "role": ["edge"], "hours": 720 });
    let token = directory.token(renewed).await;
    let issuer = directory.administration.issuer().unwrap();
    let known = directory.administration.known();
    let early = store.join(
        JoinRequest { token: token.clone(), ..request.clone() },
        known.clone(),
        issuer.clone(),
        later - 2 * 86_400,
    );
    assert_eq!(early.await.err().unwrap().reason, Reason::Denied);

    // What has expired is forgotten.
    assert!(store.forget_what_is_over(later).await.unwrap());
    assert!(!store.forget_what_is_over(later).await.unwrap());
    let settings = store.read().await.unwrap();
    assert!(settings.shut_out.serials.is_empty() && settings.gossip_keys.len() == 1);
}

#[tokio::test]
async fn a_node_renews_with_the_roles_that_it_is_enrolled_with() {
    let directory = directory().await;
    let token = directory.token(json!({ "role": ["edge", "dns"] })).await;
    directory.join(&token, member("edge1", None)).await.unwrap();
    let renew = async |node: &str| {
        let input = json!({ "asking_node": node, "request": Request::new().unwrap().request });
        directory.administration.perform(RENEW, input).await
    };
    for (node, roles) in [("edge1", vec![RoleName::DNS, RoleName::EDGE]), ("mailbox1", vec![RoleName::MAILBOX])] {
        let answer = renew(node).await.unwrap();
        let said = identity(answer["certificate"].as_str().unwrap());
        assert_eq!((said.node.as_str(), said.roles), (node, roles.into_iter().collect()));
    }
    assert_eq!(renew("stranger").await.unwrap_err().reason, Reason::NotFound);
    for _ in 0..30 {
        renew("edge1").await.unwrap();
    }
    assert_eq!(renew("edge1").await.unwrap_err().reason, Reason::Busy);
    directory.administration.perform(REMOVE, json!({ "node": "edge1" })).await.unwrap();
    assert_eq!(directory.settings().shut_out.serials.len(), 32);
}

#[tokio::test]
async fn gossip_keys_are_rolled_on_request() {
    let directory = directory().await;
    let store = &directory.administration.store;
    store.ensure_gossip_key(now()).await.unwrap();
    assert_eq!(store.read().await.unwrap().gossip_keys.len(), 1);
    let answer = directory.administration.perform(KEY_ROLL, json!({})).await.unwrap();
    let keys = directory.settings().gossip_keys.clone();
    assert_eq!(answer["in_use_from"], json!(rfc3339(keys[1].from_seconds)));
    assert!(!store.forget_what_is_over(now() + 500).await.unwrap());
    assert!(store.forget_what_is_over(now() + 700).await.unwrap());
    assert_eq!(store.read().await.unwrap().gossip_keys, keys[1..]);
}
