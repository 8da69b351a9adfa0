//! A thousand random searches. The results of the gateway are compared with those of an independent evaluator, which filters the
//! list of all resources and was written from the text of R4 only. Both must return the same resources in the same order.
//!
//! The environment variable `ORACLE_SEED` sets the seed, to repeat a run; `ORACLE_QUERIES` sets the number of searches.

mod evaluator;
mod queries;
mod random;

use crate::support::gateway::{RunningGateway, link_url, resources_with_mode};
use evaluator::Dataset;
use queries::Query;
use random::RandomNumbers;
use serde_json::Value;

#[tokio::test]
async fn a_thousand_random_searches_match_an_independent_evaluator() {
    let gateway = RunningGateway::start_with_samples().await;
    let dataset = Dataset {
        studies: gateway.search("/fhir/ImagingStudy?_count=100").await.0,
        patients: gateway.search("/fhir/Patient?_count=100").await.0,
        endpoints: gateway.search("/fhir/Endpoint").await.0,
        base_url: format!("{}/fhir", gateway.base_url()),
    };
    assert_eq!((dataset.studies.len(), dataset.endpoints.len()), (30, 1));
    let env_number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seed = env_number("ORACLE_SEED").unwrap_or_else(random::new_seed);
    eprintln!("ORACLE_SEED={seed}");
    let mut random = RandomNumbers::from(seed);
    let (mut nonempty_count, mut subset_count) = (0, 0);
    for index in 0..env_number("ORACLE_QUERIES").unwrap_or(1000) {
        let query = queries::random_query(&mut random, &dataset);
        let expected = evaluator::evaluate(&dataset, &query);
        let ids = search_all_pages(&gateway, &query, expected.len()).await;
        assert_eq!(ids, expected, "ORACLE_SEED={seed}, query {index}: {}", query.path());
        nonempty_count += usize::from(!ids.is_empty());
        subset_count +=
            usize::from(!ids.is_empty() && ids.len() < dataset.resources(query.resource_type).len());
    }
    // Searches that match no resources or all resources would not detect a wrong result.
    eprintln!(
        "{nonempty_count} searches had matches, and for {subset_count} of them not all resources matched"
    );
    assert!(subset_count > 0);
}

/// Returns the ids of the matches on all pages. Asserts that every page has the total `total`, and that every page except the last
/// one is full.
async fn search_all_pages(gateway: &RunningGateway, query: &Query, total: usize) -> Vec<String> {
    let path = query.path();
    let mut page = gateway.get_json(&path).await;
    let mut ids = Vec::new();
    loop {
        assert_eq!(page["total"], total, "{path}");
        let matches = resources_with_mode(&page, "match");
        ids.extend(matches.iter().map(|resource| resource["id"].as_str().unwrap().to_owned()));
        let issues = |outcome: &Value| outcome["issue"].as_array().cloned().unwrap_or_default();
        let is_about_unknown_id = |issue: Value| {
            issue["diagnostics"]
                .as_str()
                .is_some_and(|text| text.contains(": a Patient id in the value was not made"))
        };
        let outcomes = resources_with_mode(&page, "outcome");
        assert!(outcomes.iter().flat_map(issues).all(is_about_unknown_id), "{path}: {page}");
        let Some(next) = link_url(&page, "next") else { return ids };
        assert_eq!(matches.len(), query.count, "{path}: a page before the last one is short");
        page = gateway.get_json(next.strip_prefix(gateway.base_url()).unwrap()).await;
    }
}
