//! Rows of searches and metadata, from archives with every framing, encoding and error that occurs.

use dicom_model::{Attributes, StudyUid, tags};
use dicomweb_gateway::telemetry::Metrics;
use dicomweb_gateway::upstream::{
    Archive, ArchiveError, ArchiveErrorKind as Kind, DicomResource, MatchValue, Profile, QidoQuery,
    Retrieval, RowsOutcome, SearchLevel, UpstreamRequest,
};

use super::settings;
use crate::support::pacs::{CannedResponse, Framing, Pacs, Paging, RunningPacs, Study};

fn search() -> UpstreamRequest {
    UpstreamRequest::search(QidoQuery::new(SearchLevel::Studies))
}

fn series_search() -> UpstreamRequest {
    let study = StudyUid::parse("1.2").unwrap();
    UpstreamRequest::search(QidoQuery::new(SearchLevel::Series { study }))
}

fn metadata() -> UpstreamRequest {
    let study = StudyUid::parse("1.2").unwrap();
    UpstreamRequest::retrieve(Retrieval::metadata(DicomResource::Study(study)))
}

fn archive(pacs: &RunningPacs) -> Archive {
    Archive::new(settings(&pacs.url()), Metrics::default()).unwrap()
}

async fn read(
    archive: &Archive,
    request: UpstreamRequest,
) -> Result<(Vec<Attributes>, RowsOutcome), ArchiveError> {
    let mut rows = Vec::new();
    let outcome = archive.rows(request, |row| rows.push(row)).await?;
    Ok((rows, outcome))
}

#[tokio::test]
async fn rows_are_read_with_every_framing_and_encoding() {
    let body = r#"[{"0020000D":{"Value":["1.2"]}},{"0020000D":{"Value":["1.3"]}}]"#;
    for response in [
        CannedResponse::json(body),
        CannedResponse::json(body).with_framing(Framing::Chunked).in_pieces(3, std::time::Duration::ZERO),
        CannedResponse::json(body).with_framing(Framing::UntilClose),
        CannedResponse::json(body).gzip(),
        CannedResponse::json(body).undeclared_gzip(),
        CannedResponse::bytes("text/plain", format!("\u{feff}{body}\r\n")),
    ] {
        let pacs = Pacs::new().with_response("/studies", response.clone()).start().await;
        let (rows, outcome) = read(&archive(&pacs), search()).await.unwrap();
        assert_eq!((rows.len(), outcome.row_count, outcome.has_more), (2, 2, false), "{response:?}");
        assert_eq!(rows[1].text(tags::STUDY_INSTANCE_UID), Some("1.3"));
    }
}

#[tokio::test]
async fn queries_send_matching_keys_and_paging_to_the_archive() {
    let pacs = Pacs::new()
        .with_study(Study::new("1.2").patient("P1", "Doe^Jane").study_date("20240101").accession_number("A1"))
        .with_study(Study::new("1.3").patient("P2", "Doe^John"))
        .start()
        .await;
    let archive = archive(&pacs);
    let of =
        |id| QidoQuery::new(SearchLevel::Studies).matching(tags::PATIENT_ID, MatchValue::exact(id).unwrap());
    let (rows, _) = read(&archive, UpstreamRequest::search(of("P2"))).await.unwrap();
    assert_eq!(rows[0].text(tags::STUDY_INSTANCE_UID), Some("1.3"));
    let page = QidoQuery::new(SearchLevel::Studies).page(1, 1);
    let (rows, _) = read(&archive, UpstreamRequest::search(page.clone())).await.unwrap();
    assert_eq!(rows.len(), 1);
    let ignoring = Pacs::new()
        .with_study(Study::new("1.2"))
        .with_study(Study::new("1.3"))
        .ignore_matching_keys()
        .with_paging(Paging::Ignored);
    let ignoring = ignoring.start().await;
    let archive = self::archive(&ignoring);
    assert_eq!(read(&archive, UpstreamRequest::search(of("P9"))).await.unwrap().0.len(), 2);
    assert_eq!(read(&archive, UpstreamRequest::search(page)).await.unwrap().0.len(), 2);
}

#[tokio::test]
async fn responses_without_matches_are_empty_and_not_an_error() {
    for (scripted, request) in [
        (Pacs::new().with_response("/studies", CannedResponse::status(204)), search()),
        (Pacs::new().with_response("/studies", CannedResponse::json("[]")), search()),
        (Pacs::new().with_response("/studies", CannedResponse::html("")), search()),
        (
            Pacs::new().with_response("/studies", CannedResponse::json("").with_framing(Framing::Chunked)),
            search(),
        ),
        (Pacs::new().with_response("/studies/1.2/series", CannedResponse::status(404)), series_search()),
    ] {
        let pacs = scripted.start().await;
        assert_eq!(read(&archive(&pacs), request).await.unwrap().1.row_count, 0);
    }
    let pacs = Pacs::new().with_response("/studies", CannedResponse::status(404)).start().await;
    let mut settings = settings(&pacs.url());
    settings.profile = Profile::find("static-dicomweb").unwrap();
    let archive = Archive::new(settings, Metrics::default()).unwrap();
    assert_eq!(read(&archive, search()).await.unwrap().1.row_count, 0);
}

#[tokio::test]
async fn a_warning_header_reports_additional_results() {
    let warning = "299 pacs: \"There are 1000 additional results that can be requested\"";
    let pacs = Pacs::new()
        .with_response("/studies", CannedResponse::json("[{}]").header("Warning", warning))
        .start()
        .await;
    assert!(read(&archive(&pacs), search()).await.unwrap().1.has_more);
}

#[tokio::test]
async fn responses_that_are_not_a_list_of_rows_are_errors_with_their_cause() {
    let truncated = r#"[{"0020000D":{"Value":["1.2"]}},{"0020000D":"#;
    for (response, expected) in [
        (CannedResponse::bytes("application/json", "500"), "malformed"),
        (CannedResponse::json("null"), "malformed"),
        (CannedResponse::json("{}"), "malformed"),
        (CannedResponse::json("").with_framing(Framing::UntilClose), "malformed"),
        (CannedResponse::json(" "), "malformed"),
        (CannedResponse::html("<!doctype html>"), "malformed"),
        (CannedResponse::json("[1]"), "malformed"),
        (CannedResponse::json(truncated), "malformed"),
        (CannedResponse::json(truncated).with_framing(Framing::UntilClose), "malformed"),
        (
            CannedResponse::json("[{}]").with_framing(Framing::WrongContentLength(100)).abort_after(4),
            "truncated",
        ),
        (CannedResponse::json("[{}]").with_framing(Framing::Chunked).abort_after(4), "truncated"),
        (CannedResponse::json("[{}]").gzip().with_framing(Framing::UntilClose).abort_after(9), "truncated"),
        (
            CannedResponse::json("[{}]").undeclared_gzip().with_framing(Framing::UntilClose).abort_after(9),
            "unreadable",
        ),
        (CannedResponse::json("no gzip").header("Content-Encoding", "gzip"), "truncated"),
        (CannedResponse::status(401), "unauthorized"),
        (CannedResponse::status(403), "unauthorized"),
        (CannedResponse::status(404), "not found"),
        (CannedResponse::status(500), "refused"),
        (CannedResponse::status(501), "refused"),
        (CannedResponse::status(503).header("Retry-After", "7"), "unavailable"),
        (CannedResponse::status(302).header("Location", "http://127.0.0.1:1/"), "redirected"),
        (CannedResponse::connection_closed(), "disconnected"),
        (CannedResponse::raw("nonsense\r\n\r\n"), "disconnected"),
    ] {
        let pacs = Pacs::new().with_response("/studies", response.clone()).start().await;
        let error = read(&archive(&pacs), search()).await.unwrap_err();
        let kind = match error.kind {
            Kind::Malformed(_) => "malformed",
            Kind::Truncated => "truncated",
            Kind::Unreadable(_) => "unreadable",
            Kind::Unauthorized(_) => "unauthorized",
            Kind::NotFound => "not found",
            Kind::Rejected(_) => "refused",
            Kind::Unavailable { retry_after: Some(7), .. } => "unavailable",
            Kind::Redirected => "redirected",
            Kind::Disconnected => "disconnected",
            _ => "something else",
        };
        assert_eq!(kind, expected, "{response:?}: {error}");
        let text = format!("{error} {error:?}");
        assert!(!text.contains("127.0.0.1") && !text.contains(&pacs.authority()), "{text}");
    }
}

#[tokio::test]
async fn missing_metadata_is_an_error() {
    let pacs = Pacs::new().start().await;
    let error = read(&archive(&pacs), metadata()).await.unwrap_err();
    assert!(matches!(error.kind, Kind::NotFound), "{error}");
}

#[tokio::test]
async fn a_list_truncated_at_any_byte_is_an_error() {
    let body = r#"[{"00100010":{"vr":"PN","Value":[{"Alphabetic":"D]"}]}},{"00080061":{"Value":["CT"]}}]"#;
    for framing in [Framing::UntilClose, Framing::ContentLength, Framing::Chunked] {
        let cut = |bytes| CannedResponse::json(body).with_framing(framing).abort_after(bytes);
        let pacs = Pacs::new().with_responses("/studies", (0..body.len()).map(cut)).start().await;
        let archive = archive(&pacs);
        for bytes in 0..body.len() {
            assert!(read(&archive, search()).await.is_err(), "{framing:?} cut after {bytes}");
        }
    }
}

#[tokio::test]
async fn compressed_responses_above_the_size_limit_are_rejected() {
    let mut blanks = vec![b' '; 520 * 1024 * 1024];
    blanks[0] = b'[';
    let packed = CannedResponse::bytes("application/json", blanks).gzip();
    let pacs = Pacs::new().with_response("/studies", packed).start().await;
    let error = read(&archive(&pacs), search()).await.unwrap_err();
    assert!(matches!(error.kind, Kind::TooLarge(_)), "{error}");
    let row = format!("[{{\"0020000D\":\"{}", "a".repeat(100 * 1024 * 1024));
    let pacs = Pacs::new()
        .with_response("/studies", CannedResponse::bytes("application/json", row).gzip())
        .start()
        .await;
    let error = read(&archive(&pacs), search()).await.unwrap_err();
    assert!(matches!(error.kind, Kind::TooLarge(_) | Kind::Malformed(_)), "{error}");
}
