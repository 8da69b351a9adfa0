//! A thousand random searches, evaluated by the gateway and by an independent evaluator that was written from the text of R4
//! alone and filters the list of all resources. Both must find the same resources in the same order.
//!
//! `ORACLE_SEED` repeats a run, `ORACLE_QUERIES` sets the number of searches.

mod evaluator;
mod queries;
mod random;

use crate::support::gateway::{RunningGateway, link_url, resources_with_mode};
use evaluator::Dataset;
use queries::Query;
use random::Random;

#[tokio::test]
async fn a_thousand_random_searches_match_an_independent_evaluator() {
    let gateway = RunningGateway::start_with_samples().await;
    let dataset = Dataset {
        studies: gateway.search("/fhir/ImagingStudy?_count=100").await.0,
        patients: gateway.search("/fhir/Patient?_count=100").await.0,
        endpoints: gateway.search("/fhir/Endpoint").await.0,
        base: format!("{}/fhir", gateway.base_url()),
    };
    assert_eq!((dataset.studies.len(), dataset.endpoints.len()), (30, 1));
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seed = number("ORACLE_SEED").unwrap_or_else(random::any_seed);
    eprintln!("ORACLE_SEED={seed}");
    let mut random = Random::from(seed);
    let (mut found_something, mut found_not_all) = (0, 0);
    for round in 0..number("ORACLE_QUERIES").unwrap_or(1000) {
        let query = queries::any(&mut random, &dataset);
        let expected = evaluator::evaluate(&dataset, &query);
        let found = all_ids(&gateway, &query, expected.len()).await;
        assert_eq!(found, expected, "ORACLE_SEED={seed}, query {round}: {}", query.path());
        found_something += usize::from(!found.is_empty());
        found_not_all += usize::from(!found.is_empty() && found.len() < dataset.all(query.kind).len());
    }
    // Queries that match nothing or everything would not detect a wrong search.
    eprintln!("{found_something} searches found something, {found_not_all} of them a subset");
    assert!(found_not_all > 0);
}

/// The ids of all matches on all pages, which must be full except the last one and have the same total.
async fn all_ids(gateway: &RunningGateway, query: &Query, total: usize) -> Vec<String> {
    let path = query.path();
    let mut page = gateway.get_json(&path).await;
    let mut ids = Vec::new();
    loop {
        assert_eq!(page["total"], total, "{path}");
        let matches = resources_with_mode(&page, "match");
        ids.extend(matches.iter().map(|resource| resource["id"].as_str().unwrap().to_owned()));
        assert!(resources_with_mode(&page, "outcome").is_empty(), "{path}: {page}");
        let Some(next) = link_url(&page, "next") else { return ids };
        assert_eq!(matches.len(), query.count, "{path}: only the last page is short");
        page = gateway.get_json(next.strip_prefix(gateway.base_url()).unwrap()).await;
    }
}
