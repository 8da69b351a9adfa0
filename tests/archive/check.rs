//! The reports and recommendations of the command `check` about resources that an archive does not provide.

use dicomweb_gateway::commands::check::{ArchiveToCheck, Checks, check};
use dicomweb_gateway::telemetry::Metrics;
use dicomweb_gateway::upstream::{Archive, Settings, Synthesized, SynthesizedSet};

use super::settings_for;
use crate::support::pacs::{CannedResponse, Pacs, RunningPacs, Study};
use dicom_model::UidRule;

/// The UIDs of the study and the series, as members of a row.
const UIDS: &str = r#""0020000D":{"vr":"UI","Value":["1.2"]},"0020000E":{"vr":"UI","Value":["1.2.1"]}"#;
/// The attributes of the instance, as members of a row.
const INSTANCE: &str = r#""00080016":{"vr":"UI","Value":["1.2.840.10008.5.1.4.1.1.2"]},"00080018":{"vr":"UI","Value":["1.2.1.1"]}"#;

/// Starts an archive with one study. The texts are the members of the rows at each level, and `rendered` is the response to requests
/// for the rendered instance.
async fn start_archive(
    study: &str,
    series: &str,
    metadata: &str,
    instance: &str,
    rendered: CannedResponse,
) -> RunningPacs {
    let list_of_one = |row: &str| CannedResponse::json(format!("[{{{row}}}]"));
    Pacs::new()
        .with_response(
            "/studies",
            list_of_one(&format!(r#""0020000D":{{"vr":"UI","Value":["1.2"]}}{study}"#)),
        )
        .with_response("/studies/1.2/series", list_of_one(series))
        .with_response("/studies/1.2/series/1.2.1/metadata", list_of_one(metadata))
        .with_response("/studies/1.2/series/1.2.1/instances", list_of_one(instance))
        .with_response("/studies/1.2/series/1.2.1/instances/1.2.1.1/rendered", rendered)
        .start()
        .await
}

/// Runs `check` for an archive with `settings` and no other configuration.
async fn run_check(settings: Settings) -> Checks {
    let archive = Archive::new(settings, Metrics::default()).unwrap();
    check([ArchiveToCheck { archive, has_time_zone: false, has_patient_id_system: false }]).await
}

/// Returns the text that `check` prints if `synthesized` is configured.
async fn print_check(pacs: &RunningPacs, synthesized: SynthesizedSet) -> String {
    let mut settings = settings_for(&pacs.url());
    settings.profile.synthesized = synthesized;
    let checks = run_check(settings).await;
    assert!(checks.is_success(), "{checks}");
    checks.to_string()
}

#[tokio::test]
async fn check_recommends_no_synthesis_for_an_archive_that_provides_everything() {
    let counts = r#","00080061":{"vr":"CS","Value":["CT"]},"00201206":{"vr":"IS","Value":[1]},"00201208":{"vr":"IS","Value":["1"]}"#;
    let series = format!(r#"{UIDS},"00201209":{{"vr":"IS","Value":[1]}}"#);
    let row = format!("{UIDS},{INSTANCE}");
    // If the archive rejects a rendered image, the gateway renders it without configuration.
    let pacs = start_archive(counts, &series, &row, &row, CannedResponse::status(501)).await;
    let text = print_check(&pacs, SynthesizedSet::NONE).await;
    assert!(!text.contains("synthesize"), "{text}");
}

#[tokio::test]
async fn check_recommends_to_synthesize_the_resources_that_an_archive_lacks() {
    let series = r#""0020000E":{"vr":"UI","Value":["1.2.1"]}"#;
    let rendered = CannedResponse::json("[]");
    let pacs = start_archive("", series, series, INSTANCE, rendered).await;
    let text = print_check(&pacs, SynthesizedSet::NONE).await;
    for name in ["metadata", "rendered", "counts", "parents"] {
        assert!(text.contains(&format!("main: add \"{name}\" to synthesize")), "{name}: {text}");
    }
    let all =
        Synthesized::NAMES.into_iter().fold(SynthesizedSet::NONE, |set, (_, resource)| set.with(resource));
    let text = print_check(&pacs, all).await;
    assert!(!text.contains("synthesize"), "{text}");
}

#[tokio::test]
async fn check_tests_the_wado_uri_service_if_it_is_configured() {
    let row = format!("{UIDS},{INSTANCE}");
    let object = [&[0; 128][..], b"DICM\x02\0"].concat();
    for (response, problem) in [
        (CannedResponse::bytes("application/dicom", object), None),
        (CannedResponse::bytes("application/dicom", "<html>"), Some("something other than a DICOM object")),
        (CannedResponse::status(404), Some("wado_uri_url")),
    ] {
        let list_of_one = |row: &str| CannedResponse::json(format!("[{{{row}}}]"));
        let pacs = Pacs::new()
            .with_response("/studies", list_of_one(UIDS))
            .with_response("/studies/1.2/series", list_of_one(UIDS))
            .with_response("/studies/1.2/series/1.2.1/metadata", list_of_one(&row))
            .with_response("/studies/1.2/series/1.2.1/instances", list_of_one(&row))
            .with_response("/uri/wado", response)
            .start()
            .await;
        let mut settings = settings_for(&pacs.url());
        let checks = run_check(settings.clone()).await;
        assert!(
            checks.is_success() && !pacs.targets().iter().any(|target| target.contains("/uri/")),
            "{checks}"
        );
        settings.wado_uri_url = Some(format!("{}/uri/wado", pacs.url()).parse().unwrap());
        let checks = run_check(settings).await;
        assert_eq!(checks.is_success(), problem.is_none(), "{checks}");
        let result = if problem.is_some() { "works, WADO-URI DOES NOT  " } else { "works    " };
        let has_line = |beginning: &str| checks.to_string().lines().any(|line| line.starts_with(beginning));
        assert!(has_line(&format!("main     {result}")), "{checks}");
        let is_reported = checks.to_string().contains("  WADO-URI: ");
        assert_eq!(is_reported, problem.is_some(), "{checks}");
        assert!(problem.is_none_or(|problem| checks.to_string().contains(problem)), "{checks}");
    }
}

#[tokio::test]
async fn check_suggests_settings_for_times_without_a_zone_and_patient_ids_without_an_issuer() {
    let time_and_id = r#","00080030":{"vr":"TM","Value":["101112"]},"00100020":{"vr":"LO","Value":["4711"]}"#;
    let zone = r#","00080201":{"vr":"SH","Value":["+0100"]}"#;
    let issuer = r#","00100021":{"vr":"LO","Value":["HOSPITAL"]}"#;
    let row = format!("{UIDS},{INSTANCE}");
    for (study, is_configured, suggests_zone, suggests_system) in [
        (time_and_id.to_owned(), false, true, true),
        (time_and_id.to_owned(), true, false, false),
        (format!("{time_and_id}{zone}"), false, false, true),
        (format!("{time_and_id}{issuer}"), false, true, false),
        (String::new(), false, false, false),
    ] {
        let pacs = start_archive(&study, UIDS, &row, &row, CannedResponse::status(501)).await;
        let archive = Archive::new(settings_for(&pacs.url()), Metrics::default()).unwrap();
        let archive =
            ArchiveToCheck { archive, has_time_zone: is_configured, has_patient_id_system: is_configured };
        let table = check([archive]).await.to_string();
        assert_eq!(table.contains("main: set time_zone: "), suggests_zone, "{study}: {table}");
        assert_eq!(table.contains("main: set patient_id_system: "), suggests_system, "{study}: {table}");
        assert!(!table.contains("4711") && !table.contains("HOSPITAL"), "{table}");
    }
}

#[tokio::test]
async fn check_reports_an_archive_without_studies_as_empty() {
    let pacs = Pacs::new().with_response("/studies", CannedResponse::json("[]")).start().await;
    let checks = run_check(settings_for(&pacs.url())).await;
    assert!(checks.is_success(), "{checks}");
    assert!(checks.to_string().contains("\nmain     empty    0 in "), "{checks}");
}

#[tokio::test]
async fn check_reports_why_the_search_for_studies_fails() {
    for (response, reason) in [
        (
            CannedResponse::status(404),
            "search for studies: /dicom-web/studies does not exist there; check url",
        ),
        (
            CannedResponse::status(400),
            "search for studies: rejected the request (status 400 Bad Request); check url: a server that speaks TLS needs https://",
        ),
        (
            CannedResponse::status(401),
            "search for studies: asks for credentials (status 401), and none are configured",
        ),
        (
            CannedResponse::status(407),
            "search for studies: is behind a proxy that asks for credentials (status 407)",
        ),
        (CannedResponse::status(500), "search for studies: failed (status 500 Internal Server Error)"),
        (
            CannedResponse::json(r#"[{"00100020":{"vr":"LO","Value":["1.2"]}},{"0020"#),
            "search for studies: sent a response that cannot be read: the body ended inside the array",
        ),
    ] {
        let pacs = Pacs::new().with_response("/studies", response).start().await;
        let checks = run_check(settings_for(&pacs.url())).await.to_string();
        assert!(checks.contains(&format!("main     DOES NOT WORK  {reason}")), "{checks}");
    }
}

#[tokio::test]
async fn check_says_that_fhir_does_not_return_a_uid_that_is_no_fhir_id() {
    for (uid, is_id) in [("ab-1", true), ("ab_1", false)] {
        let pacs = Pacs::new().with_study(Study::new("1.2.1").series("1.2.1.1", "CT", 1));
        let pacs = pacs.with_study(Study::new(uid).series("1.2.2.1", "CT", 1)).start().await;
        let checks = run_check(settings_for(&pacs.url())).await.to_string();
        assert!(checks.contains("main: set lenient_uids = true: "), "{checks}");
        assert_eq!(checks.contains("DICOMweb returns them, but FHIR does not"), !is_id, "{checks}");
    }
}

#[tokio::test]
async fn check_recommends_lenient_uids_if_a_uid_is_not_a_dicom_uid() {
    let study = |uid: &str| Study::new(uid).series("1.2.1.1", "CT", 1);
    let hashed = Study::new("ab-1").series("ab-1.1", "CT", 1);
    let hint = "main: set lenient_uids = true: some of its UIDs are not DICOM UIDs (PS3.5 9.1)";
    for (studies, is_recommended, works) in [
        (vec![study("1.2.1"), study("1.2.02")], false, true),
        (vec![study("1.2.1"), hashed.clone()], true, true),
        (vec![hashed.clone(), study("1.2.1")], true, true),
        (vec![hashed.clone()], true, false),
        (vec![Study::new("1.2.1").series("1.2.1.1", "CT", 1).series("s-1", "MR", 1)], true, true),
        (vec![study("1.2.1"), Study::new("a b")], false, true),
    ] {
        let pacs = Pacs::new();
        let pacs = studies.into_iter().fold(pacs, Pacs::with_study).start().await;
        let checks = run_check(settings_for(&pacs.url())).await;
        assert_eq!(checks.to_string().contains(hint), is_recommended, "{checks}");
        assert_eq!(checks.is_success(), works, "{checks}");
        let lenient = Settings { uid_rule: UidRule::Lenient, ..settings_for(&pacs.url()) };
        let checks = run_check(lenient).await;
        assert!(checks.is_success() && !checks.to_string().contains("lenient_uids"), "{checks}");
    }
}

#[tokio::test]
async fn check_recommends_another_encoding_if_rows_lack_characters_that_metadata_has() {
    let name = |name: &str| format!(r#","00100010":{{"vr":"PN","Value":[{{"Alphabetic":"{name}"}}]}}"#);
    let description = |text: &str| format!(r#","00081030":{{"vr":"LO","Value":["{text}"]}}"#);
    for (of_row, of_object, is_recommended) in [
        (name("Mller^Jrg"), name("M\u{fc}ller^J\u{fc}rg"), true),
        (name("M?ller^J?rg"), name("M\u{fc}ller^J\u{fc}rg"), true),
        (name("^"), name("\u{5c71}\u{7530}^\u{592a}\u{90ce}"), true),
        (description("Schdel"), description("Sch\u{e4}del"), true),
        (name("M\u{fc}ller^J\u{fc}rg"), name("M\u{fc}ller^J\u{fc}rg"), false),
        (name("Doe^Jane"), name("Doe^Jane"), false),
        (name("Roe^Jane"), name("M\u{fc}ller^Jane"), false),
        (String::new(), description("Sch\u{e4}del"), false),
    ] {
        let row = format!("{UIDS},{INSTANCE}");
        let pacs =
            start_archive(&of_row, UIDS, &format!("{row}{of_object}"), &row, CannedResponse::status(501))
                .await;
        let table = print_check(&pacs, SynthesizedSet::default()).await;
        let hint = "main: set the character set of its search results to UTF-8 (\"DefaultEncoding\": \"Utf8\" in the configuration of Orthanc). Its rows lack";
        assert_eq!(table.contains(hint), is_recommended, "{of_row} {of_object}: {table}");
        assert!(!table.contains("ller") && !table.contains("del\""), "{table}");
    }
}

/// Starts an archive with one study, whose metadata and objects have `metadata` and `object` as responses.
async fn start_with_retrieval(metadata: CannedResponse, object: CannedResponse) -> RunningPacs {
    let row = CannedResponse::json(format!("[{{{UIDS},{INSTANCE}}}]"));
    Pacs::new()
        .with_response("/studies", row.clone())
        .with_response("/studies/1.2/series", row.clone())
        .with_response("/studies/1.2/series/1.2.1/metadata", metadata)
        .with_response("/studies/1.2/series/1.2.1/instances", row)
        .with_response("/studies/1.2/series/1.2.1/instances/1.2.1.1", object)
        .start()
        .await
}

#[tokio::test]
async fn check_reports_that_an_archive_whose_objects_cannot_be_retrieved_does_not_work() {
    let object =
        || CannedResponse::bytes("multipart/related; type=\"application/dicom\"; boundary=b", "--b--");
    let web_page = || CannedResponse::bytes("text/html", "<html></html>");
    for (metadata, object, problem) in [
        (CannedResponse::status(404), object(), None),
        (CannedResponse::status(501), object(), None),
        (
            CannedResponse::status(404),
            CannedResponse::status(404),
            Some("has no such resource; searches work"),
        ),
        (CannedResponse::status(404), CannedResponse::status(406), Some("rejected the request (status 406")),
        (CannedResponse::status(500), CannedResponse::status(500), Some("failed (status 500")),
        (web_page(), web_page(), Some("it returned something other than a DICOM object; check wado_url")),
    ] {
        let pacs = start_with_retrieval(metadata, object).await;
        let checks = run_check(settings_for(&pacs.url())).await;
        assert_eq!(checks.is_success(), problem.is_none(), "{checks}");
        let table = checks.to_string();
        let verdict = if problem.is_some() { "\nmain     DOES NOT WORK  " } else { "\nmain     works    " };
        assert!(table.contains(verdict), "{table}");
        assert_eq!(table.contains("main: set detail = \"qido\""), problem.is_none(), "{table}");
        let line = problem.map(|problem| format!("  retrieval of an instance: {problem}"));
        assert!(line.is_none_or(|line| table.contains(&line)), "{table}");
    }
}

#[tokio::test]
async fn check_names_wado_url_if_retrievals_have_another_root_that_does_not_exist() {
    let pacs = start_with_retrieval(CannedResponse::status(404), CannedResponse::status(404)).await;
    let other_root = format!("{}/wrong", pacs.url());
    for (wado_url, problem) in [
        (other_root.as_str(), "has no such resource; check wado_url"),
        ("http://127.0.0.1:1/rs", "cannot be reached: connection refused (127.0.0.1:1); check wado_url"),
    ] {
        let settings = Settings { wado_url: wado_url.parse().unwrap(), ..settings_for(&pacs.url()) };
        let checks = run_check(settings).await;
        let table = checks.to_string();
        assert!(!checks.is_success() && table.contains("\nmain     DOES NOT WORK  "), "{table}");
        assert!(table.contains(&format!("  retrieval of an instance: {problem}")), "{table}");
        assert!(!table.contains("detail"), "{table}");
    }
}

#[tokio::test]
async fn check_sends_the_first_request_for_changes_if_the_change_feed_is_configured() {
    let pacs = Pacs::new()
        .with_study(Study::new("1.2.1").series("1.2.1.1", "CT", 1))
        .with_response("/changes", CannedResponse::json(r#"{"Changes":[],"Done":true,"Last":5}"#))
        .start()
        .await;
    for (rest_url, problem) in [
        (None, None),
        (Some(pacs.url()), None),
        (
            Some(format!("{}/dicom-web", pacs.url())),
            Some("has no such resource; check rest_url (the root of"),
        ),
        (Some(format!("{}/studies?", pacs.url())), Some("check rest_url")),
        (
            Some("http://127.0.0.1:1".to_owned()),
            Some("cannot be reached: connection refused (127.0.0.1:1); check rest_url"),
        ),
    ] {
        let mut settings = settings_for(&pacs.url());
        settings.rest_url = rest_url.map(|url| url.parse().unwrap());
        let is_configured = settings.rest_url.is_some();
        let checks = run_check(settings).await;
        let table = checks.to_string();
        assert_eq!(checks.is_success(), problem.is_none(), "{table}");
        assert_eq!(table.contains("works, CHANGE FEED DOES NOT"), problem.is_some(), "{table}");
        let is_reported = table.lines().any(|line| {
            problem.is_some_and(|problem| line.contains("change feed: ") && line.contains(problem))
        });
        assert_eq!(is_reported, problem.is_some(), "{table}");
        let targets = pacs.targets();
        let is_asked = targets.iter().any(|target| target.ends_with("/changes?last"));
        assert_eq!(is_asked, is_configured, "{targets:?}");
    }
}

/// Starts an archive with studies of which only the last one's row lacks characters of its instance; `clean_count` precede it.
async fn start_with_lost_characters(clean_count: usize, row_text: &str) -> RunningPacs {
    let description = |text: &str| format!(r#""00081030":{{"vr":"LO","Value":["{text}"]}}"#);
    let uid = |tag: &str, uid: &str| format!(r#""{tag}":{{"vr":"UI","Value":["{uid}"]}}"#);
    let (mut pacs, mut rows) = (Pacs::new(), Vec::new());
    for number in 0..=clean_count {
        let (study, series) = (format!("1.2.{number}"), format!("1.2.{number}.1"));
        let instance = format!("{series}.1");
        let has_lost = number == clean_count;
        let texts = if has_lost { (row_text, "\u{141}\u{f3}d\u{17a} study") } else { ("CT head", "CT head") };
        let uids = format!("{},{}", uid("0020000D", &study), uid("0020000E", &series));
        let object =
            format!("{uids},{},{}", uid("00080018", &instance), uid("00080016", "1.2.840.10008.5.1.4.1.1.2"));
        rows.push(format!("{{{},{}}}", uid("0020000D", &study), description(texts.0)));
        let list = |row: &str| CannedResponse::json(format!("[{{{row}}}]"));
        let path = format!("/studies/{study}/series/{series}");
        let metadata = format!("{object},{}", description(texts.1));
        pacs = pacs
            .with_response(&format!("/studies/{study}/series"), list(&uids))
            .with_response(&format!("{path}/instances"), list(&object))
            .with_response(&format!("{path}/metadata"), list(&metadata))
            .with_response(&format!("{path}/instances/{instance}/metadata"), list(&metadata));
    }
    pacs.with_response("/studies", CannedResponse::json(format!("[{}]", rows.join(",")))).start().await
}

#[tokio::test]
async fn check_compares_several_studies_to_detect_a_character_set_that_loses_characters() {
    // A row that looks as if characters were missing is compared first, so it is found among the first twenty.
    for (clean_count, row_text, is_found) in [
        (1, "\u{f3}d study", true),
        (4, "?\u{f3}d? study", true),
        (18, "\u{f3}d study", true),
        (30, "\u{f3}d study", false),
        (4, "\u{141}\u{f3}d\u{17a} study", false),
    ] {
        let pacs = start_with_lost_characters(clean_count, row_text).await;
        let mut settings = settings_for(&pacs.url());
        settings.profile.synthesized = SynthesizedSet::NONE.with(Synthesized::Rendered);
        let checks = run_check(settings).await;
        let hint = "main: set the character set of its search results to UTF-8 (\"DefaultEncoding\": \"Utf8\" in the configuration of Orthanc). Its rows lack";
        assert_eq!(checks.to_string().contains(hint), is_found, "{clean_count} {row_text}: {checks}");
        assert!(checks.is_success(), "{checks}");
        let metadata_requests = pacs.targets().iter().filter(|target| target.contains("/metadata")).count();
        assert!(metadata_requests <= 9, "{:?}", pacs.targets());
    }
}
