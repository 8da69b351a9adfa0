//! What `check` reports about resources that an archive does not provide, and what it recommends.

use dicomweb_gateway::commands::check::{ArchiveToCheck, Checks, check};
use dicomweb_gateway::telemetry::Metrics;
use dicomweb_gateway::upstream::{Archive, Settings, Synthesized, SynthesizedSet};

use super::settings;
use crate::support::pacs::{CannedResponse, Pacs, RunningPacs};

const UIDS: &str = r#""0020000D":{"vr":"UI","Value":["1.2"]},"0020000E":{"vr":"UI","Value":["1.2.1"]}"#;
const INSTANCE: &str = r#""00080016":{"vr":"UI","Value":["1.2.840.10008.5.1.4.1.1.2"]},"00080018":{"vr":"UI","Value":["1.2.1.1"]}"#;

async fn archive_with(
    study: &str,
    series: &str,
    metadata: &str,
    instance: &str,
    rendered: CannedResponse,
) -> RunningPacs {
    let rows = |row: &str| CannedResponse::json(format!("[{{{row}}}]"));
    Pacs::new()
        .with_response("/studies", rows(&format!(r#""0020000D":{{"vr":"UI","Value":["1.2"]}}{study}"#)))
        .with_response("/studies/1.2/series", rows(series))
        .with_response("/studies/1.2/series/1.2.1/metadata", rows(metadata))
        .with_response("/studies/1.2/series/1.2.1/instances", rows(instance))
        .with_response("/studies/1.2/series/1.2.1/instances/1.2.1.1/rendered", rendered)
        .start()
        .await
}

/// What `check` finds, with nothing configured besides `settings`.
async fn checked(settings: Settings) -> Checks {
    let archive = Archive::new(settings, Metrics::default()).unwrap();
    check([ArchiveToCheck { archive, has_time_zone: false, has_patient_id_system: false }]).await
}

async fn report(pacs: &RunningPacs, synthesized: SynthesizedSet) -> String {
    let mut settings = settings(&pacs.url());
    settings.profile.synthesized = synthesized;
    let checks = checked(settings).await;
    assert!(checks.is_success(), "{checks}");
    checks.to_string()
}

#[tokio::test]
async fn check_recommends_nothing_for_an_archive_that_provides_everything() {
    let counts = r#","00080061":{"vr":"CS","Value":["CT"]},"00201206":{"vr":"IS","Value":[1]},"00201208":{"vr":"IS","Value":["1"]}"#;
    let series = format!(r#"{UIDS},"00201209":{{"vr":"IS","Value":[1]}}"#);
    let whole = format!("{UIDS},{INSTANCE}");
    // A rejected rendering is synthesized without configuration.
    let pacs = archive_with(counts, &series, &whole, &whole, CannedResponse::status(501)).await;
    let text = report(&pacs, SynthesizedSet::NONE).await;
    assert!(!text.contains("synthesize"), "{text}");
}

#[tokio::test]
async fn check_recommends_to_synthesize_what_an_archive_lacks() {
    let series = r#""0020000E":{"vr":"UI","Value":["1.2.1"]}"#;
    let rendered = CannedResponse::json("[]");
    let pacs = archive_with("", series, series, INSTANCE, rendered).await;
    let text = report(&pacs, SynthesizedSet::NONE).await;
    for name in ["metadata", "rendered", "counts", "parents"] {
        assert!(text.contains(&format!("main: add \"{name}\" to synthesize")), "{name}: {text}");
    }
    let all = Synthesized::NAMES.into_iter().fold(SynthesizedSet::NONE, |all, (_, supply)| all.with(supply));
    let text = report(&pacs, all).await;
    assert!(!text.contains("synthesize"), "{text}");
}

#[tokio::test]
async fn check_tests_the_wado_uri_service_if_it_is_configured() {
    let whole = format!("{UIDS},{INSTANCE}");
    let object = [&[0; 128][..], b"DICM\x02\0"].concat();
    for (response, problem) in [
        (CannedResponse::bytes("application/dicom", object), None),
        (CannedResponse::bytes("application/dicom", "<html>"), Some("something other than a DICOM object")),
        (CannedResponse::status(404), Some("wado_uri_url")),
    ] {
        let rows = |row: &str| CannedResponse::json(format!("[{{{row}}}]"));
        let pacs = Pacs::new()
            .with_response("/studies", rows(UIDS))
            .with_response("/studies/1.2/series", rows(UIDS))
            .with_response("/studies/1.2/series/1.2.1/metadata", rows(&whole))
            .with_response("/studies/1.2/series/1.2.1/instances", rows(&whole))
            .with_response("/uri/wado", response)
            .start()
            .await;
        let mut settings = settings(&pacs.url());
        let checks = checked(settings.clone()).await;
        assert!(
            checks.is_success() && !pacs.targets().iter().any(|target| target.contains("/uri/")),
            "{checks}"
        );
        settings.wado_uri_url = Some(format!("{}/uri/wado", pacs.url()).parse().unwrap());
        let checks = checked(settings).await;
        assert_eq!(checks.is_success(), problem.is_none(), "{checks}");
        let verdict = if problem.is_some() { "works, WADO-URI DOES NOT  " } else { "works    " };
        let has_line = |start: &str| checks.to_string().lines().any(|line| line.starts_with(start));
        assert!(has_line(&format!("main     {verdict}")), "{checks}");
        let is_reported = checks.to_string().contains("  WADO-URI: ");
        assert_eq!(is_reported, problem.is_some(), "{checks}");
        assert!(problem.is_none_or(|problem| checks.to_string().contains(problem)), "{checks}");
    }
}

#[tokio::test]
async fn settings_are_suggested_for_times_without_a_zone_and_ids_without_an_issuer() {
    let time_and_id = r#","00080030":{"vr":"TM","Value":["101112"]},"00100020":{"vr":"LO","Value":["4711"]}"#;
    let zone = r#","00080201":{"vr":"SH","Value":["+0100"]}"#;
    let issuer = r#","00100021":{"vr":"LO","Value":["HOSPITAL"]}"#;
    let whole = format!("{UIDS},{INSTANCE}");
    for (row, is_configured, suggests_zone, suggests_system) in [
        (time_and_id.to_owned(), false, true, true),
        (time_and_id.to_owned(), true, false, false),
        (format!("{time_and_id}{zone}"), false, false, true),
        (format!("{time_and_id}{issuer}"), false, true, false),
        (String::new(), false, false, false),
    ] {
        let pacs = archive_with(&row, UIDS, &whole, &whole, CannedResponse::status(501)).await;
        let archive = Archive::new(settings(&pacs.url()), Metrics::default()).unwrap();
        let archive =
            ArchiveToCheck { archive, has_time_zone: is_configured, has_patient_id_system: is_configured };
        let table = check([archive]).await.to_string();
        assert_eq!(table.contains("main: set time_zone: "), suggests_zone, "{row}: {table}");
        assert_eq!(table.contains("main: set patient_id_system: "), suggests_system, "{row}: {table}");
        assert!(!table.contains("4711") && !table.contains("HOSPITAL"), "{table}");
    }
}

#[tokio::test]
async fn an_archive_without_studies_is_empty() {
    let pacs = Pacs::new().with_response("/studies", CannedResponse::json("[]")).start().await;
    let checks = checked(settings(&pacs.url())).await;
    assert!(checks.is_success(), "{checks}");
    assert!(checks.to_string().contains("\nmain     empty    0 in "), "{checks}");
}

#[tokio::test]
async fn a_wrong_path_is_named_and_credentials_are_asked_for() {
    for (response, reason) in [
        (
            CannedResponse::status(404),
            "search for studies: /dicom-web/studies does not exist there; check url",
        ),
        (
            CannedResponse::status(401),
            "search for studies: asks for credentials (status 401), and none are configured",
        ),
    ] {
        let pacs = Pacs::new().with_response("/studies", response).start().await;
        let checks = checked(settings(&pacs.url())).await.to_string();
        assert!(checks.contains(&format!("main     DOES NOT WORK  {reason}")), "{checks}");
    }
}
