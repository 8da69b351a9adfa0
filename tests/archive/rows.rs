//! Rows of searches and metadata: they are read with every framing and encoding, and invalid responses are errors.

use std::io::Write as _;

use dicom_model::{Attributes, StudyUid, tags};
use dicomweb_gateway::telemetry::Metrics;
use dicomweb_gateway::upstream::{
    Archive, ArchiveError, ArchiveErrorKind as Kind, DicomResource, MatchValue, Profile, QidoQuery,
    Retrieval, RowsOutcome, SearchLevel, UpstreamRequest,
};

use super::settings_for;
use crate::support::pacs::{CannedResponse, Framing, Pacs, Paging, RunningPacs, Study};

fn search_request() -> UpstreamRequest {
    UpstreamRequest::search(QidoQuery::new(SearchLevel::Studies))
}

fn series_request() -> UpstreamRequest {
    let study = StudyUid::parse("1.2").unwrap();
    UpstreamRequest::search(QidoQuery::new(SearchLevel::Series { study }))
}

fn metadata_request() -> UpstreamRequest {
    let study = StudyUid::parse("1.2").unwrap();
    UpstreamRequest::retrieve(Retrieval::metadata(DicomResource::Study(study)))
}

fn archive_at(pacs: &RunningPacs) -> Archive {
    Archive::new(settings_for(&pacs.url()), Metrics::default()).unwrap()
}

async fn read_rows(
    archive: &Archive,
    request: UpstreamRequest,
) -> Result<(Vec<Attributes>, RowsOutcome), ArchiveError> {
    let mut rows = Vec::new();
    let outcome = archive.rows(request, |row| rows.push(row)).await?;
    Ok((rows, outcome))
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn rows_are_read_with_every_framing_and_encoding() {
    let body = r#"[{"0020000D":{"Value":["1.2"]}},{"0020000D":{"Value":["1.3"]}}]"#;
    // RFC 1952 2.2: a gzip file consists of members.
    let members = body.split_at(20);
    let two_members = [members.0, members.1].map(gzip).concat();
    for response in [
        CannedResponse::json(body),
        CannedResponse::json(body).with_framing(Framing::Chunked).in_pieces(3, std::time::Duration::ZERO),
        CannedResponse::json(body).with_framing(Framing::UntilClose),
        CannedResponse::json(body).gzip(),
        CannedResponse::json(body).undeclared_gzip(),
        CannedResponse::bytes("application/json", two_members).header("Content-Encoding", "gzip"),
        CannedResponse::bytes("text/plain", format!("\u{feff}{body}\r\n")),
    ] {
        let pacs = Pacs::new().with_response("/studies", response.clone()).start().await;
        let (rows, outcome) = read_rows(&archive_at(&pacs), search_request()).await.unwrap();
        assert_eq!((rows.len(), outcome.row_count, outcome.has_more), (2, 2, false), "{response:?}");
        assert_eq!(rows[1].text(tags::STUDY_INSTANCE_UID), Some("1.3"));
    }
}

#[tokio::test]
async fn matching_keys_and_paging_are_sent_to_the_archive() {
    let pacs = Pacs::new()
        .with_study(Study::new("1.2").patient("P1", "Doe^Jane").study_date("20240101").accession_number("A1"))
        .with_study(Study::new("1.3").patient("P2", "Doe^John"))
        .start()
        .await;
    let archive = archive_at(&pacs);
    let query_by_patient =
        |id| QidoQuery::new(SearchLevel::Studies).matching(tags::PATIENT_ID, MatchValue::exact(id).unwrap());
    let (rows, _) = read_rows(&archive, UpstreamRequest::search(query_by_patient("P2"))).await.unwrap();
    assert_eq!(rows[0].text(tags::STUDY_INSTANCE_UID), Some("1.3"));
    let page = QidoQuery::new(SearchLevel::Studies).page(1, 1);
    let (rows, _) = read_rows(&archive, UpstreamRequest::search(page.clone())).await.unwrap();
    assert_eq!(rows.len(), 1);
    let ignoring_pacs = Pacs::new()
        .with_study(Study::new("1.2"))
        .with_study(Study::new("1.3"))
        .ignore_matching_keys()
        .with_paging(Paging::Ignored);
    let ignoring_pacs = ignoring_pacs.start().await;
    let archive = archive_at(&ignoring_pacs);
    assert_eq!(
        read_rows(&archive, UpstreamRequest::search(query_by_patient("P9"))).await.unwrap().0.len(),
        2
    );
    assert_eq!(read_rows(&archive, UpstreamRequest::search(page)).await.unwrap().0.len(), 2);
}

#[tokio::test]
async fn responses_without_matches_are_read_as_an_empty_list() {
    for (pacs, request) in [
        (Pacs::new().with_response("/studies", CannedResponse::status(204)), search_request()),
        (Pacs::new().with_response("/studies", CannedResponse::json("[]")), search_request()),
        (Pacs::new().with_response("/studies", CannedResponse::status(200)), search_request()),
        (
            Pacs::new().with_response("/studies", CannedResponse::json("").with_framing(Framing::Chunked)),
            search_request(),
        ),
        (Pacs::new().with_response("/studies/1.2/series", CannedResponse::status(404)), series_request()),
    ] {
        let pacs = pacs.start().await;
        assert_eq!(read_rows(&archive_at(&pacs), request).await.unwrap().1.row_count, 0);
    }
    let pacs = Pacs::new().with_response("/studies", CannedResponse::status(404)).start().await;
    let mut settings = settings_for(&pacs.url());
    settings.profile = Profile::find("static-dicomweb").unwrap();
    let archive = Archive::new(settings, Metrics::default()).unwrap();
    assert_eq!(read_rows(&archive, search_request()).await.unwrap().1.row_count, 0);
}

#[tokio::test]
async fn a_warning_header_reports_additional_results() {
    let warning = "299 pacs: \"There are 1000 additional results that can be requested\"";
    let pacs = Pacs::new()
        .with_response("/studies", CannedResponse::json("[{}]").header("Warning", warning))
        .start()
        .await;
    assert!(read_rows(&archive_at(&pacs), search_request()).await.unwrap().1.has_more);
}

#[tokio::test]
async fn responses_without_a_valid_list_of_rows_are_errors_that_name_the_cause() {
    let truncated = r#"[{"0020000D":{"Value":["1.2"]}},{"0020000D":"#;
    for (response, expected) in [
        (CannedResponse::bytes("application/json", "500"), "malformed"),
        (CannedResponse::json("null"), "malformed"),
        (CannedResponse::json("{}"), "malformed"),
        (CannedResponse::json("").with_framing(Framing::UntilClose), "malformed"),
        (CannedResponse::json(" "), "malformed"),
        (CannedResponse::html(""), "malformed"),
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
            "truncated",
        ),
        (CannedResponse::json("[{}]       ").header("Content-Encoding", "gzip"), "unreadable"),
        (CannedResponse::status(401), "no credentials"),
        (CannedResponse::status(403), "no credentials"),
        (CannedResponse::status(407), "proxy credentials"),
        (CannedResponse::status(404), "no search service"),
        (CannedResponse::status(410), "no search service"),
        (CannedResponse::status(500), "rejected"),
        (CannedResponse::status(501), "rejected"),
        (CannedResponse::status(503).header("Retry-After", "7"), "unavailable"),
        (CannedResponse::status(302).header("Location", "http://127.0.0.1:1/"), "redirected"),
        (CannedResponse::connection_closed(), "disconnected"),
        (CannedResponse::raw("nonsense\r\n\r\n"), "disconnected"),
    ] {
        let pacs = Pacs::new().with_response("/studies", response.clone()).start().await;
        let error = read_rows(&archive_at(&pacs), search_request()).await.unwrap_err();
        let kind = match error.kind {
            Kind::Malformed(_) => "malformed",
            Kind::Truncated => "truncated",
            Kind::Unreadable(_) => "unreadable",
            Kind::NoCredentials(_) => "no credentials",
            Kind::ProxyCredentials => "proxy credentials",
            Kind::NoSearchService(_) => "no search service",
            Kind::Rejected(_) => "rejected",
            Kind::Unavailable { retry_after: Some(7), .. } => "unavailable",
            Kind::Redirected => "redirected",
            Kind::Disconnected => "disconnected",
            _ => "another kind",
        };
        assert_eq!(kind, expected, "{response:?}: {error}");
        let text = format!("{error} {error:?}");
        assert!(!text.contains("127.0.0.1") && !text.contains(&pacs.authority()), "{text}");
    }
}

#[tokio::test]
async fn missing_metadata_is_an_error() {
    let pacs = Pacs::new().start().await;
    let error = read_rows(&archive_at(&pacs), metadata_request()).await.unwrap_err();
    assert!(matches!(error.kind, Kind::NotFound), "{error}");
}

#[tokio::test]
async fn a_list_truncated_at_any_byte_is_an_error() {
    let body = r#"[{"00100010":{"vr":"PN","Value":[{"Alphabetic":"D]"}]}},{"00080061":{"Value":["CT"]}}]"#;
    for framing in [Framing::UntilClose, Framing::ContentLength, Framing::Chunked] {
        let truncated = |length| CannedResponse::json(body).with_framing(framing).abort_after(length);
        let pacs = Pacs::new().with_responses("/studies", (0..body.len()).map(truncated)).start().await;
        let archive = archive_at(&pacs);
        for length in 0..body.len() {
            assert!(read_rows(&archive, search_request()).await.is_err(), "{framing:?}: {length} bytes");
        }
    }
}

#[tokio::test]
async fn compressed_responses_beyond_the_size_limit_are_rejected() {
    let mut list = vec![b' '; 520 * 1024 * 1024];
    list[0] = b'[';
    let compressed = CannedResponse::bytes("application/json", list).gzip();
    let pacs = Pacs::new().with_response("/studies", compressed).start().await;
    let error = read_rows(&archive_at(&pacs), search_request()).await.unwrap_err();
    assert!(error.to_string().contains("decodes to more bytes than any list has"), "{error}");
    let row = format!("[{{\"0020000D\":\"{}", "a".repeat(100 * 1024 * 1024));
    let pacs = Pacs::new()
        .with_response("/studies", CannedResponse::bytes("application/json", row).gzip())
        .start()
        .await;
    let error = read_rows(&archive_at(&pacs), search_request()).await.unwrap_err();
    assert!(matches!(error.kind, Kind::TooLarge(_) | Kind::Malformed(_)), "{error}");
}
