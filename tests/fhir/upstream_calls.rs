//! The number and kind of the requests to the archive that typical questions cause, at archives that understand lists of UIDs and at
//! archives that do not, with a stated profile and with the profile `auto`.

use crate::support::gateway::{RunningGateway, resources_with_mode};
use crate::support::pacs::{Dialect, Pacs, RunningPacs, Study, UidLists};

const AUTO: &str = "profile = \"auto\"\n[fhir]\nkeys = \"some-key\"\n";
const GENERIC: &str = "profile = \"generic\"\n[fhir]\nkeys = \"some-key\"\n";

/// An archive that understands no lists of UIDs, and has no searches for series across studies.
const WITHOUT_LISTS: Dialect = Dialect {
    uid_lists: UidLists::OneValue,
    lacks_searches_across_studies: true,
    rejects_repeated_keys: false,
    rejects_unknown_keys: false,
    rejects_unrestricted_with: None,
    fails_with: None,
    not_found_without_match: false,
    matches_names: false,
    decodes_escapes: false,
};

/// Returns an archive with `day_count` studies on one day, five studies of the patient 4711 on other days, and a hundred other studies.
/// Each study has two series.
fn archive(day_count: usize, dialect: Dialect) -> Pacs {
    let study = |number: usize, patient: &str, date: &str| {
        let uid = format!("1.2.{number}");
        let study = Study::new(&uid).patient(patient, "Doe^Jane").study_date(date);
        study.series(&format!("{uid}.1"), "CT", 3).series(&format!("{uid}.2"), "SR", 1)
    };
    let studies = (0..day_count + 105).map(|number| match number {
        0..5 => study(number, "4711", &format!("202301{:02}", number + 10)),
        5..105 => study(number, &format!("P{number}"), "20220505"),
        _ => study(number, &format!("P{number}"), "20240131"),
    });
    studies.fold(Pacs::new(), Pacs::with_study).with_dialect(dialect)
}

/// Starts a gateway, and waits until it has probed the archive.
async fn start(pacs: &RunningPacs, lines: &str) -> RunningGateway {
    let gateway = RunningGateway::start(&pacs.url(), lines).await;
    if lines.contains("auto") {
        gateway.wait_for_probes(1).await;
    }
    gateway
}

/// Returns the numbers of requests that `path` causes: for studies, for series, and for metadata or instances.
async fn calls(pacs: &RunningPacs, gateway: &RunningGateway, path: &str) -> [usize; 3] {
    let before = pacs.targets().len();
    let received = gateway.get(path).await;
    assert!(matches!(received.status, 200 | 404), "{path}: {}", received.text());
    let targets = pacs.targets().split_off(before);
    let count = |names: &[&str]| {
        let is_counted = |target: &&String| {
            let path = target.split('?').next().unwrap();
            names.iter().any(|name| path.ends_with(name))
        };
        targets.iter().filter(is_counted).count()
    };
    let counts = [count(&["/studies"]), count(&["/series"]), count(&["/metadata", "/instances"])];
    assert_eq!(counts.iter().sum::<usize>(), targets.len(), "{targets:?}");
    counts
}

#[tokio::test]
async fn a_page_of_summaries_of_a_day_needs_three_calls_with_lists_of_uids_and_one_per_study_without() {
    for (day_count, dialect, lines, expected) in [
        (40, Dialect::default(), AUTO, [1, 1, 0]),
        (50, Dialect::default(), AUTO, [1, 1, 0]),
        // Pages of more rows than the first question of the probe are followed by an empty page.
        (90, Dialect::default(), AUTO, [2, 1, 0]),
        (90, Dialect::default(), GENERIC, [2, 1, 0]),
        (50, WITHOUT_LISTS, AUTO, [1, 50, 0]),
        (90, WITHOUT_LISTS, AUTO, [2, 50, 0]),
    ] {
        let pacs = archive(day_count, dialect).start().await;
        let gateway = start(&pacs, lines).await;
        let path = "/fhir/ImagingStudy?started=2024-01-31&_summary=true&_count=50";
        assert_eq!(calls(&pacs, &gateway, path).await, expected, "{day_count} {lines} {dialect:?}");
        let page = gateway.get_json(path).await;
        assert_eq!(
            (&page["total"], resources_with_mode(&page, "match").len()),
            (&day_count.into(), day_count.min(50))
        );
    }
}

#[tokio::test]
async fn five_complete_studies_of_a_patient_need_twelve_calls_with_lists_of_uids() {
    for (dialect, lines, expected) in [
        (Dialect::default(), AUTO, [1, 1, 10]),
        (Dialect::default(), "profile = \"orthanc\"", [1, 1, 10]),
        (Dialect::default(), GENERIC, [2, 1, 10]),
        (WITHOUT_LISTS, AUTO, [1, 5, 10]),
    ] {
        let pacs = archive(10, dialect).start().await;
        let gateway = start(&pacs, lines).await;
        let path = "/fhir/ImagingStudy?patient.identifier=4711";
        assert_eq!(calls(&pacs, &gateway, path).await, expected, "{lines} {dialect:?}");
        let (studies, _) = gateway.search(path).await;
        assert_eq!(studies.len(), 5);
        assert!(studies.iter().all(|study| study["series"][0]["instance"].as_array().unwrap().len() == 3));
    }
}

#[tokio::test]
async fn a_patient_that_the_gateway_has_never_seen_needs_two_calls_before_the_details() {
    for (dialect, lines, studies) in
        [(Dialect::default(), AUTO, 1), (Dialect::default(), GENERIC, 2), (WITHOUT_LISTS, AUTO, 1)]
    {
        let pacs = archive(10, dialect).start().await;
        let bundle = start(&pacs, lines).await.get_json("/fhir/Patient?identifier=4711").await;
        let id = bundle["entry"][0]["resource"]["id"].as_str().unwrap().to_owned();
        for path in [
            format!("/fhir/ImagingStudy?patient={id}&_elements=id"),
            format!("/fhir/Patient/{id}"),
            format!("/fhir/Patient/{id}/ImagingStudy?_elements=id"),
        ] {
            let gateway = start(&pacs, lines).await;
            assert_eq!(calls(&pacs, &gateway, &path).await, [studies, 0, 0], "{lines} {dialect:?} {path}");
        }
        let gateway = start(&pacs, lines).await;
        for path in ["/fhir/Patient/nobody", "/fhir/ImagingStudy?patient=nobody"] {
            assert_eq!(calls(&pacs, &gateway, path).await, [0, 0, 0], "{path}");
        }
    }
}

#[tokio::test]
async fn studies_by_their_ids_need_one_call_with_lists_of_uids_and_one_each_without() {
    let path = "/fhir/ImagingStudy?_id=1.2.0,1.2.1,1.2.2,1.2.99999&_elements=id";
    for (dialect, expected) in [(Dialect::default(), [1, 0, 0]), (WITHOUT_LISTS, [4, 0, 0])] {
        let pacs = archive(10, dialect).start().await;
        let gateway = start(&pacs, AUTO).await;
        assert_eq!(calls(&pacs, &gateway, path).await, expected, "{dialect:?}");
        assert_eq!(gateway.get_json(path).await["total"], 3);
    }
}

#[tokio::test]
async fn more_studies_than_one_list_may_have_need_one_call_for_each_list() {
    let pacs = archive(120, Dialect::default()).start().await;
    let gateway = start(&pacs, AUTO).await;
    let path = "/fhir/ImagingStudy?started=2024-01-31&_summary=true&_count=120";
    assert_eq!(calls(&pacs, &gateway, path).await, [2, 3, 0]);
    // Cached studies are not asked for again.
    assert_eq!(
        calls(&pacs, &gateway, "/fhir/ImagingStudy?started=2024-01&_summary=true&_count=120").await,
        [2, 0, 0]
    );
}
