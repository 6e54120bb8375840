//! FUZZY and RELEVANCY (RFC 6203).

use super::*;

/// Messages of which some answer better than others.
async fn fuzzy_house() -> (House, client::Client) {
    let house = House::new().await;
    let mut client = house.select().await;
    for (subject, body) in [
        ("saludos", "nada de eso"),
        ("acta", "se habl\u{f3} de las reuniones que fueron aplazadas"),
        ("Reuni\u{f3}n aplazada", "la reuni\u{f3}n aplazada ser\u{e1} el lunes"),
        ("aplazado", "la reuni\u{f3}n del lunes"),
    ] {
        client.append("INBOX", "", &format!("Subject: {subject}\r\n\r\n{body}\r\n")).await;
    }
    fill(&mut client, 20).await;
    client.ok("NOOP").await;
    (house, client)
}

/// The scores of an ESEARCH response.
fn scores(answer: &client::Answer) -> Vec<u32> {
    let (_, behind) = answer.untagged[0].split_once(" RELEVANCY (").unwrap_or_else(|| panic!("{answer:?}"));
    let (scores, _) = behind.split_once(')').unwrap();
    scores.split_whitespace().map(|score| score.parse().unwrap()).collect()
}

const KEY: &str = "FUZZY TEXT \"reuniones aplazadas\"";

#[tokio::test]
async fn words_are_found_in_any_order_and_form() {
    let (house, mut client) = fuzzy_house().await;
    assert!(client.ok("CAPABILITY").await.untagged[0].contains(" SEARCH=FUZZY"));
    for _ in ["read", "indexed"] {
        assert_eq!(client.ok(&format!("SEARCH {KEY}")).await.untagged, ["SEARCH 2 3 4"]);
        assert_eq!(client.ok("SEARCH TEXT \"reuniones aplazadas\"").await.untagged, ["SEARCH"]);
        assert_eq!(client.ok("SEARCH FUZZY (SUBJECT aplazar BODY x)").await.untagged, ["SEARCH"]);
        assert_eq!(client.ok("SEARCH FUZZY SUBJECT aplazadas 1:*").await.untagged, ["SEARCH 3 4"]);
        assert_eq!(client.ok("SEARCH FUZZY SEEN").await.untagged, ["SEARCH"]);
        house.mail.index_all().await;
    }
}

#[tokio::test]
async fn the_best_answer_has_a_hundred() {
    let (house, mut client) = fuzzy_house().await;
    let mut before = None;
    for state in ["read", "indexed"] {
        let answer = client.ok("SEARCH RETURN (RELEVANCY ALL) FUZZY TEXT \"reunion aplazada\"").await;
        let found = scores(&answer);
        assert!(answer.untagged[0].contains(" ALL 2:4 RELEVANCY ("), "{answer:?}");
        assert!(found[1] == 100 && found.iter().all(|score| (1..=100).contains(score)), "{found:?}");
        assert!(found[2] < found[0] && found[0] < 100, "{found:?}");
        // By reading or by the index: the same.
        assert!(before.get_or_insert_with(|| found.clone()) == &found, "{state}");
        let sorted = client.ok("SORT (RELEVANCY) UTF-8 FUZZY TEXT \"reunion aplazada\"").await;
        assert_eq!(sorted.untagged, ["SORT 3 2 4"]);
        let reverse = client.ok("UID SORT (REVERSE RELEVANCY) UTF-8 FUZZY TEXT \"reunion aplazada\"").await;
        assert_eq!(reverse.untagged, ["SORT 4 2 3"]);
        let page = "SORT RETURN (RELEVANCY PARTIAL 1:2) (RELEVANCY) UTF-8 FUZZY TEXT \"reunion aplazada\"";
        let page = client.ok(page).await;
        assert!(page.untagged[0].contains(" PARTIAL (1:2 3,2) RELEVANCY (100 "), "{page:?}");
        assert_eq!(scores(&page), [100, found[0]]);
        house.mail.index_all().await;
    }
    let none = client.ok("SEARCH RETURN (RELEVANCY COUNT) FUZZY TEXT nowhere").await;
    assert!(none.untagged[0].ends_with(" COUNT 0 RELEVANCY ()"), "{none:?}");
    client.fails("SEARCH RETURN (RELEVANCY) TEXT x", "BAD").await;
    client.fails("SORT (RELEVANCY) UTF-8 ALL", "BAD").await;
}
