//! Pages of archives with random studies, whose dates are missing, invalid, in another format, or in other time zones.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::json;

use super::{
    MAX_SCAN_CONFIG, archive, assert_pages, ids_of, outcome_of, start_with_two, study, uid, undated_study,
};
use crate::support::gateway::RunningGateway;
use crate::support::pacs::Study;

/// A gateway searches for up to fifty copies of studies in another archive at once, and reads at most fifty studies.
const MAX_SCAN_OF_SEVERAL_CONFIG: &str = "[search]\nmax_scan = 50\n";

#[derive(Debug, Clone)]
struct RandomStudy {
    number: usize,
    date: Option<String>,
    time: Option<&'static str>,
    offset: Option<&'static str>,
}

impl RandomStudy {
    fn to_study(&self) -> Study {
        let study = match &self.date {
            Some(date) => study(self.number, date),
            None => undated_study(self.number),
        };
        let set = |study: Study, tag: &str, vr: &str, value: Option<&str>| match value {
            Some(value) => study.attribute(tag, json!({"vr": vr, "Value": [value]})),
            None => study,
        };
        let study = set(study, "00080030", "TM", self.time);
        set(study, "00080201", "SH", self.offset)
    }
}

fn random_date() -> impl Strategy<Value = Option<String>> {
    let day = |years: std::ops::Range<i32>| {
        (years, 1..13, 1..29).prop_map(|(year, month, day)| format!("{year}{month:02}{day:02}"))
    };
    prop_oneof![
        6 => day(2019..2029).prop_map(Some),
        3 => day(2024..2025).prop_map(Some),
        1 => (1..5).prop_map(|day| Some(format!("202401{day:02}"))),
        1 => (1995..2001, 1..13).prop_map(|(year, month)| Some(format!("{year}.{month:02}.17"))),
        1 => prop_oneof![Just("00010101"), Just("99991231"), Just("20249999")].prop_map(|date| Some(date.to_owned())),
        1 => Just(None),
    ]
}

fn random_studies(numbers: std::ops::Range<usize>, count: usize) -> impl Strategy<Value = Vec<RandomStudy>> {
    let time = prop::option::of(prop_oneof![Just("000000"), Just("115959.5"), Just("235959")]);
    let offset = prop::option::of(prop_oneof![Just("-1200"), Just("+0000"), Just("+1400")]);
    let study = (numbers, random_date(), time, offset).prop_map(|(number, date, time, offset)| RandomStudy {
        number,
        date,
        time,
        offset,
    });
    prop::collection::vec(study, count..count * 2).prop_map(|mut studies| {
        // An archive lists a study once.
        studies.sort_by_key(|study| study.number);
        studies.dedup_by_key(|study| study.number);
        studies.sort_by_key(|study| study.number * 7919 % 101);
        studies
    })
}

fn samples<T>(strategy: &impl Strategy<Value = T>, count: usize) -> Vec<T> {
    let mut runner = TestRunner::deterministic();
    (0..count).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect()
}

/// Returns the ids of all studies in the order of `search`, according to a gateway that may read all of them.
async fn truth(gateway: &RunningGateway, search: &str) -> Vec<String> {
    let bundle = gateway.get_json(&format!("{search}&_count=200")).await;
    assert!(bundle["total"].is_u64(), "{bundle}");
    ids_of(&bundle)
}

#[tokio::test]
async fn pages_of_random_archives_have_the_order_of_the_whole_list_in_both_directions() {
    let cases = samples(&(random_studies(0..200, 20), 3_usize..9, 0_usize..4), 8);
    for (random, count, zone) in cases {
        let keys = ["", "time_zone = \"Asia/Tokyo\"", "time_zone = \"America/New_York\"", ""][zone];
        let pacs = archive(random.iter().map(RandomStudy::to_study)).start().await;
        let whole = RunningGateway::start(&pacs.url(), keys).await;
        let gateway = RunningGateway::start(&pacs.url(), &format!("{keys}\n{MAX_SCAN_CONFIG}")).await;
        let undated: Vec<_> = random
            .iter()
            .filter(|study| matches!(study.date.as_deref(), None | Some("20249999")))
            .map(|study| uid(study.number))
            .collect();
        for sort in ["", "&_sort=-started", "&_sort=started", "&_sort=-started,-_id"] {
            let search = format!("/fhir/ImagingStudy?_elements=id{sort}");
            let mut expected = truth(&whole, &search).await;
            let is_long = expected.len() > 10;
            expected.retain(|id| !is_long || !undated.contains(id));
            let search = format!("{search}&_count={count}");
            let last_page = assert_pages(&gateway, &search, &expected).await;
            assert_eq!(outcome_of(&last_page).contains("without a date"), is_long, "{search}");
        }
    }
}

#[tokio::test]
async fn pages_of_two_random_archives_have_the_order_of_the_whole_list_in_both_directions() {
    let archives = (random_studies(0..160, 80), random_studies(0..160, 80), 7_usize..25, 0_usize..3);
    for (main_studies, second_studies, count, zone) in samples(&archives, 6) {
        let keys = [
            ["", ""],
            ["time_zone = \"Asia/Tokyo\"", "time_zone = \"America/New_York\""],
            ["", "time_zone = \"Pacific/Auckland\""],
        ][zone];
        let main = archive(main_studies.iter().map(RandomStudy::to_study)).start().await;
        let second = archive(second_studies.iter().map(RandomStudy::to_study)).start().await;
        let whole = start_with_two(&main, &second, keys, "").await;
        let gateway = start_with_two(&main, &second, keys, MAX_SCAN_OF_SEVERAL_CONFIG).await;
        let is_dated = |study: &&RandomStudy| study.date.as_deref().is_some_and(|date| date != "20249999");
        let dated: Vec<_> = main_studies
            .iter()
            .chain(&second_studies)
            .filter(is_dated)
            .map(|study| uid(study.number))
            .collect();
        for criteria in ["", "&_sort=started", "&endpoint=Endpoint/second", "&modality=CT", "&started=ge2024"]
        {
            let search = format!("/fhir/ImagingStudy?_elements=id{criteria}");
            let mut expected = truth(&whole, &search).await;
            expected.retain(|id| dated.contains(id));
            assert_pages(&gateway, &format!("{search}&_count={count}"), &expected).await;
        }
    }
}
