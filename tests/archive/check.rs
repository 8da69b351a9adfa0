//! What `check` reports about resources that an archive does not provide, and what it recommends.

use dicomweb_gateway::commands::check::check;
use dicomweb_gateway::telemetry::Metrics;
use dicomweb_gateway::upstream::{Archive, Synthesized, SynthesizedSet};

use super::settings;
use crate::support::pacs::{Answer, Pacs, RunningPacs};

const UIDS: &str = r#""0020000D":{"vr":"UI","Value":["1.2"]},"0020000E":{"vr":"UI","Value":["1.2.1"]}"#;
const INSTANCE: &str = r#""00080016":{"vr":"UI","Value":["1.2.840.10008.5.1.4.1.1.2"]},"00080018":{"vr":"UI","Value":["1.2.1.1"]}"#;

async fn archive_with(
    study: &str,
    series: &str,
    metadata: &str,
    instance: &str,
    rendered: Answer,
) -> RunningPacs {
    let rows = |row: &str| Answer::json(format!("[{{{row}}}]"));
    Pacs::new()
        .at("/studies", rows(&format!(r#""0020000D":{{"vr":"UI","Value":["1.2"]}}{study}"#)))
        .at("/studies/1.2/series", rows(series))
        .at("/studies/1.2/series/1.2.1/metadata", rows(metadata))
        .at("/studies/1.2/series/1.2.1/instances", rows(instance))
        .at("/studies/1.2/series/1.2.1/instances/1.2.1.1/rendered", rendered)
        .start()
        .await
}

async fn report(pacs: &RunningPacs, synthesized: SynthesizedSet) -> String {
    let mut settings = settings(&pacs.url());
    settings.profile.supplied = synthesized;
    let checks = check([Archive::new(settings, Metrics::default()).unwrap()]).await;
    assert!(checks.all_well(), "{checks}");
    checks.to_string()
}

#[tokio::test]
async fn check_recommends_nothing_for_an_archive_that_provides_everything() {
    let counts = r#","00080061":{"vr":"CS","Value":["CT"]},"00201206":{"vr":"IS","Value":[1]},"00201208":{"vr":"IS","Value":["1"]}"#;
    let series = format!(r#"{UIDS},"00201209":{{"vr":"IS","Value":[1]}}"#);
    let whole = format!("{UIDS},{INSTANCE}");
    // A rejected rendering is synthesized without configuration.
    let pacs = archive_with(counts, &series, &whole, &whole, Answer::status(501)).await;
    let text = report(&pacs, SynthesizedSet::NONE).await;
    assert!(!text.contains("synthesize"), "{text}");
}

#[tokio::test]
async fn check_recommends_to_synthesize_what_an_archive_lacks() {
    let series = r#""0020000E":{"vr":"UI","Value":["1.2.1"]}"#;
    let rendered = Answer::json("[]");
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
    for (answer, complaint) in [
        (Answer::bytes("application/dicom", object), None),
        (Answer::bytes("application/dicom", "<html>"), Some("no DICOM object")),
        (Answer::status(404), Some("wado_uri_url")),
    ] {
        let rows = |row: &str| Answer::json(format!("[{{{row}}}]"));
        let pacs = Pacs::new()
            .at("/studies", rows(UIDS))
            .at("/studies/1.2/series", rows(UIDS))
            .at("/studies/1.2/series/1.2.1/metadata", rows(&whole))
            .at("/studies/1.2/series/1.2.1/instances", rows(&whole))
            .at("/uri/wado", answer)
            .start()
            .await;
        let mut settings = settings(&pacs.url());
        let checks = check([Archive::new(settings.clone(), Metrics::default()).unwrap()]).await;
        assert!(
            checks.all_well() && !pacs.targets().iter().any(|target| target.contains("/uri/")),
            "{checks}"
        );
        settings.wado_uri_url = Some(format!("{}/uri/wado", pacs.url()).parse().unwrap());
        let checks = check([Archive::new(settings, Metrics::default()).unwrap()]).await;
        assert_eq!(checks.all_well(), complaint.is_none(), "{checks}");
        let verdict = if complaint.is_some() { "works, WADO-URI DOES NOT" } else { "works" };
        assert!(checks.to_string().lines().any(|line| line.ends_with(verdict)), "{checks}");
        let is_reported = checks.to_string().contains("main: WADO-URI: ");
        assert_eq!(is_reported, complaint.is_some(), "{checks}");
        assert!(complaint.is_none_or(|complaint| checks.to_string().contains(complaint)), "{checks}");
    }
}
