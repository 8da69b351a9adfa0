//! A thousand random searches, answered by the gateway and by another evaluator, which was written from R4's text alone and
//! knows nothing of the gateway's: it looks through the list of all resources. Both must find the same, in the same order.
//!
//! `ORACLE_SEED` repeats a run, `ORACLE_QUERIES` makes it longer.

mod draw;
mod queries;
mod truth;

use crate::support::gateway::{RunningGateway, entries, link};
use draw::Draw;
use queries::Query;
use truth::World;

#[tokio::test]
async fn a_thousand_random_searches_find_what_the_text_of_r4_says() {
    let gateway = RunningGateway::over_samples().await;
    let world = World {
        studies: gateway.matches("/fhir/ImagingStudy?_count=100").await.0,
        patients: gateway.matches("/fhir/Patient?_count=100").await.0,
        endpoints: gateway.matches("/fhir/Endpoint").await.0,
        base: format!("{}/fhir", gateway.address()),
    };
    assert_eq!((world.studies.len(), world.endpoints.len()), (30, 1));
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seed = number("ORACLE_SEED").unwrap_or_else(draw::any_seed);
    eprintln!("ORACLE_SEED={seed}");
    let mut draw = Draw::from(seed);
    let (mut found_something, mut found_not_all) = (0, 0);
    for round in 0..number("ORACLE_QUERIES").unwrap_or(1000) {
        let query = queries::any(&mut draw, &world);
        let expected = truth::answer(&world, &query);
        let found = ask(&gateway, &query, expected.len()).await;
        assert_eq!(found, expected, "ORACLE_SEED={seed}, query {round}: {}", query.path());
        found_something += usize::from(!found.is_empty());
        found_not_all += usize::from(!found.is_empty() && found.len() < world.all(query.kind).len());
    }
    // Queries that nothing or everything matches would hold for many wrong servers.
    eprintln!("{found_something} searches found something, {found_not_all} of them a part");
    assert!(found_not_all > 0);
}

/// The ids of all matches over all pages, each of which must be as long as it may and tell the same total.
async fn ask(gateway: &RunningGateway, query: &Query, total: usize) -> Vec<String> {
    let path = query.path();
    let mut page = gateway.json(&path).await;
    let mut ids = Vec::new();
    loop {
        assert_eq!(page["total"], total, "{path}");
        let matches = entries(&page, "match");
        ids.extend(matches.iter().map(|resource| resource["id"].as_str().unwrap().to_owned()));
        assert!(entries(&page, "outcome").is_empty(), "{path}: {page}");
        let Some(next) = link(&page, "next") else { return ids };
        assert_eq!(matches.len(), query.count, "{path}: only the last page is short");
        page = gateway.json(next.strip_prefix(gateway.address()).unwrap()).await;
    }
}
