//! Searches by instants: a search for `started` of a study finds this study, in every precision that clients write.

use serde_json::json;

use crate::support::gateway::RunningGateway;
use crate::support::pacs::{Pacs, Study};

/// Returns a study on 11 May 2023 with this Study Time and Timezone Offset From UTC.
fn study(uid: &str, time: &str, offset: &str) -> Study {
    Study::new(uid)
        .study_date("20230511")
        .attribute("00080030", json!({"vr": "TM", "Value": [time]}))
        .attribute("00080201", json!({"vr": "SH", "Value": [offset]}))
}

fn encode_plus(text: &str) -> String {
    text.replace('+', "%2B")
}

#[tokio::test]
async fn studies_are_found_by_their_instant_in_the_notation_of_every_client() {
    // The time and offset in the archive, the expected `started`, and the same instant as JavaScript, Python and .NET write it.
    let cases = [
        (
            "081530.25",
            "+0200",
            "2023-05-11T08:15:30.25+02:00",
            ["06:15:30.250Z", "06:15:30.25Z", "06:15:30.2500000Z"],
        ),
        (
            "081530.250000",
            "+0200",
            "2023-05-11T08:15:30.250000+02:00",
            ["06:15:30.250Z", "06:15:30.250000Z", "06:15:30Z"],
        ),
        ("173000", "-0500", "2023-05-11T17:30:00-05:00", ["22:30:00.000Z", "22:30:00Z", "22:30:00.0000000Z"]),
        (
            "173000.000",
            "-0500",
            "2023-05-11T17:30:00.000-05:00",
            ["22:30:00.000Z", "22:30:00Z", "22:30:00.0000000Z"],
        ),
        ("0730", "+0000", "2023-05-11T07:30:00Z", ["07:30:00.000Z", "07:30:00Z", "07:30Z"]),
        (
            "165447.788281",
            "+0000",
            "2023-05-11T16:54:47.788281Z",
            ["16:54:47.788Z", "16:54:47.788281Z", "16:54:47.7882810Z"],
        ),
    ];
    for (time, offset, expected, utc_times) in cases {
        let pacs = Pacs::new().with_study(study("1.2.1", time, offset)).start().await;
        let gateway = RunningGateway::start(&pacs.url(), "").await;
        let study = gateway.get_json("/fhir/ImagingStudy/1.2.1").await;
        assert_eq!(study["started"], expected, "{time}");
        let total = async |value: &str| {
            let path = format!("/fhir/ImagingStudy?_summary=count&started={}", encode_plus(value));
            gateway.get_json(&path).await["total"].clone()
        };
        let instants = utc_times.map(|utc_time| format!("2023-05-11T{utc_time}"));
        for instant in [expected].into_iter().chain(instants.iter().map(String::as_str)) {
            for (prefix, expected_total) in
                [("", 1), ("ge", 1), ("le", 1), ("gt", 0), ("lt", 0), ("sa", 0), ("eb", 0), ("ne", 0)]
            {
                assert_eq!(
                    total(&format!("{prefix}{instant}")).await,
                    expected_total,
                    "{prefix}{instant}, started {expected}"
                );
            }
        }
    }
}

#[tokio::test]
async fn instants_within_the_same_second_are_distinguished_and_sorted() {
    let studies =
        [("1.2.1", "081530.25"), ("1.2.2", "081530.3"), ("1.2.3", "081530"), ("1.2.4", "081530.125000")];
    let pacs =
        studies.iter().fold(Pacs::new(), |pacs, (uid, time)| pacs.with_study(study(uid, time, "+0000")));
    let pacs = pacs.start().await;
    let gateway = RunningGateway::start(&pacs.url(), "").await;
    let ids =
        async |query: &str| gateway.search_ids(&format!("/fhir/ImagingStudy?_sort=started&{query}")).await;
    assert_eq!(ids("started=2023-05-11T08:15:30Z").await, ["1.2.3", "1.2.4", "1.2.1", "1.2.2"]);
    assert_eq!(ids("started=gt2023-05-11T08:15:30.125Z").await, ["1.2.1", "1.2.2"]);
    assert_eq!(ids("started=lt2023-05-11T08:15:30.250Z").await, ["1.2.3", "1.2.4"]);
    assert_eq!(ids("started=2023-05-11T08:15:30.2Z").await, ["1.2.1"]);
}

#[tokio::test]
async fn studies_with_dates_in_any_format_are_found_by_their_value_of_started() {
    let dates = [
        "1997.04.24",
        "19970424",
        "1993.01.01",
        "1989.12.31",
        "19930101",
        "2000.06.15",
        "19000101",
        "2023.05.11",
        "20230511",
    ];
    let times = [None, Some("08:15:30"), Some("0000")];
    let mut pacs = Pacs::new();
    for (date_index, date) in dates.into_iter().enumerate() {
        for (time_index, time) in times.into_iter().enumerate() {
            let mut study = Study::new(&format!("1.{date_index}.{time_index}")).study_date(date);
            if let Some(time) = time {
                study = study.attribute("00080030", json!({"vr": "TM", "Value": [time]}));
                let offset = ["+1400", "-1200", "+0530"][time_index % 3];
                study = study.attribute("00080201", json!({"vr": "SH", "Value": [offset]}));
            }
            pacs = pacs.with_study(study);
        }
    }
    let pacs = pacs.start().await;
    let gateway = RunningGateway::start(&pacs.url(), "").await;
    let (all_studies, _) = gateway.search("/fhir/ImagingStudy?_count=100&_elements=started").await;
    assert_eq!(all_studies.len(), dates.len() * times.len());
    for study in &all_studies {
        let (id, started) = (study["id"].as_str().unwrap(), study["started"].as_str().unwrap());
        // The gateway searches for dates with dots, the format of ACR-NEMA (PS3.5 6.2), only in years until 2000.
        if id.starts_with("1.7.") {
            continue;
        }
        let is_found = async |value: &str| {
            let path = format!("/fhir/ImagingStudy?_count=100&_elements=id&started={}", encode_plus(value));
            gateway.search_ids(&path).await.contains(&id.to_owned())
        };
        for precision in [started, &started[..10], &started[..7], &started[..4]] {
            for prefix in ["", "ge", "le", "ap"] {
                assert!(
                    is_found(&format!("{prefix}{precision}")).await,
                    "{prefix}{precision} started {started}"
                );
            }
            for prefix in ["sa", "eb"] {
                assert!(
                    !is_found(&format!("{prefix}{precision}")).await,
                    "{prefix}{precision} started {started}"
                );
            }
        }
    }
}
