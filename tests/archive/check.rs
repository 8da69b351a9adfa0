//! What `check` finds out of what an archive lacks, and what it says is to be done.

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
    picture: Answer,
) -> RunningPacs {
    let rows = |row: &str| Answer::json(format!("[{{{row}}}]"));
    Pacs::new()
        .at("/studies", rows(&format!(r#""0020000D":{{"vr":"UI","Value":["1.2"]}}{study}"#)))
        .at("/studies/1.2/series", rows(series))
        .at("/studies/1.2/series/1.2.1/metadata", rows(metadata))
        .at("/studies/1.2/series/1.2.1/instances", rows(instance))
        .at("/studies/1.2/series/1.2.1/instances/1.2.1.1/rendered", picture)
        .start()
        .await
}

async fn said(pacs: &RunningPacs, supplied: SynthesizedSet) -> String {
    let mut settings = settings(&pacs.url());
    settings.profile.supplied = supplied;
    let checks = check([Archive::new(settings, Metrics::default()).unwrap()]).await;
    assert!(checks.all_well(), "{checks}");
    checks.to_string()
}

#[tokio::test]
async fn nothing_is_said_of_an_archive_that_lacks_nothing() {
    let counts = r#","00080061":{"vr":"CS","Value":["CT"]},"00201206":{"vr":"IS","Value":[1]},"00201208":{"vr":"IS","Value":["1"]}"#;
    let series = format!(r#"{UIDS},"00201209":{{"vr":"IS","Value":[1]}}"#);
    let whole = format!("{UIDS},{INSTANCE}");
    // It refuses to draw, which says itself what is to be done.
    let pacs = archive_with(counts, &series, &whole, &whole, Answer::status(501)).await;
    let said = said(&pacs, SynthesizedSet::NONE).await;
    assert!(!said.contains("synthesize"), "{said}");
}

#[tokio::test]
async fn what_an_archive_lacks_is_told_until_it_is_supplied() {
    let series = r#""0020000E":{"vr":"UI","Value":["1.2.1"]}"#;
    let picture = Answer::json("[]");
    let pacs = archive_with("", series, series, INSTANCE, picture).await;
    let told = said(&pacs, SynthesizedSet::NONE).await;
    for name in ["metadata", "rendered", "counts", "parents"] {
        assert!(told.contains(&format!("main: add \"{name}\" to synthesize")), "{name}: {told}");
    }
    let all = Synthesized::NAMES.into_iter().fold(SynthesizedSet::NONE, |all, (_, supply)| all.with(supply));
    let told = said(&pacs, all).await;
    assert!(!told.contains("synthesize"), "{told}");
}

#[tokio::test]
async fn a_uri_service_is_tried_where_one_is_configured() {
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
        let told = check([Archive::new(settings.clone(), Metrics::default()).unwrap()]).await;
        assert!(told.all_well() && !pacs.targets().iter().any(|target| target.contains("/uri/")), "{told}");
        settings.wado_uri_url = Some(format!("{}/uri/wado", pacs.url()).parse().unwrap());
        let told = check([Archive::new(settings, Metrics::default()).unwrap()]).await;
        assert_eq!(told.all_well(), complaint.is_none(), "{told}");
        let verdict = if complaint.is_some() { "works, WADO-URI DOES NOT" } else { "works" };
        assert!(told.to_string().lines().any(|line| line.ends_with(verdict)), "{told}");
        let complained = told.to_string().contains("main: WADO-URI: ");
        assert_eq!(complained, complaint.is_some(), "{told}");
        assert!(complaint.is_none_or(|complaint| told.to_string().contains(complaint)), "{told}");
    }
}
