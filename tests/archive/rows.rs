//! Rows of searches and metadata, from archives that answer in all the ways that archives do.

use dicom_model::{Attributes, StudyUid, tags};
use dicomweb_gateway::telemetry::Metrics;
use dicomweb_gateway::upstream::{
    Archive, ArchiveError, ArchiveErrorKind as Kind, DicomResource, MatchValue, Profile, QidoQuery,
    Retrieval, RowsEnd, SearchLevel, UpstreamRequest,
};

use super::settings;
use crate::support::pacs::{Answer, Framing, Pacs, Paging, RunningPacs, Study};

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
) -> Result<(Vec<Attributes>, RowsEnd), ArchiveError> {
    let mut rows = Vec::new();
    let end = archive.rows(request, |row| rows.push(row)).await?;
    Ok((rows, end))
}

#[tokio::test]
async fn rows_stream_in_whatever_the_framing() {
    let body = r#"[{"0020000D":{"Value":["1.2"]}},{"0020000D":{"Value":["1.3"]}}]"#;
    for told in [
        Answer::json(body),
        Answer::json(body).framed(Framing::Chunked).in_pieces(3, std::time::Duration::ZERO),
        Answer::json(body).framed(Framing::UntilClose),
        Answer::json(body).gzip(),
        Answer::json(body).undeclared_gzip(),
        Answer::bytes("text/plain", format!("\u{feff}{body}\r\n")),
    ] {
        let pacs = Pacs::new().at("/studies", told.clone()).start().await;
        let (rows, end) = read(&archive(&pacs), search()).await.unwrap();
        assert_eq!((rows.len(), end.rows, end.more), (2, 2, false), "{told:?}");
        assert_eq!(rows[1].text(tags::STUDY_INSTANCE_UID), Some("1.3"));
    }
}

#[tokio::test]
async fn a_search_is_narrowed_and_paged_by_what_the_archive_knows() {
    let pacs = Pacs::new()
        .study(Study::new("1.2").of("P1", "Doe^Jane").on("20240101").accession("A1"))
        .study(Study::new("1.3").of("P2", "Doe^John"))
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
    let heedless = Pacs::new()
        .study(Study::new("1.2"))
        .study(Study::new("1.3"))
        .ignores_filters()
        .pages(Paging::Ignored);
    let heedless = heedless.start().await;
    let archive = self::archive(&heedless);
    assert_eq!(read(&archive, UpstreamRequest::search(of("P9"))).await.unwrap().0.len(), 2);
    assert_eq!(read(&archive, UpstreamRequest::search(page)).await.unwrap().0.len(), 2);
}

#[tokio::test]
async fn no_match_is_no_error() {
    for (told, request) in [
        (Pacs::new().at("/studies", Answer::status(204)), search()),
        (Pacs::new().at("/studies", Answer::json("[]")), search()),
        (Pacs::new().at("/studies", Answer::html("")), search()),
        (Pacs::new().at("/studies", Answer::json("").framed(Framing::Chunked)), search()),
        (Pacs::new().at("/studies/1.2/series", Answer::status(404)), series_search()),
    ] {
        let pacs = told.start().await;
        assert_eq!(read(&archive(&pacs), request).await.unwrap().1.rows, 0);
    }
    let pacs = Pacs::new().at("/studies", Answer::status(404)).start().await;
    let mut told = settings(&pacs.url());
    told.profile = Profile::named("static-dicomweb").unwrap();
    let archive = Archive::new(told, Metrics::default()).unwrap();
    assert_eq!(read(&archive, search()).await.unwrap().1.rows, 0);
}

#[tokio::test]
async fn the_archive_may_say_that_there_are_more() {
    let warning = "299 pacs: \"There are 1000 additional results that can be requested\"";
    let pacs = Pacs::new().at("/studies", Answer::json("[{}]").header("Warning", warning)).start().await;
    assert!(read(&archive(&pacs), search()).await.unwrap().1.more);
}

#[tokio::test]
async fn what_is_no_list_of_rows_is_an_error_that_says_why() {
    let truncated = r#"[{"0020000D":{"Value":["1.2"]}},{"0020000D":"#;
    for (told, expected) in [
        (Answer::bytes("application/json", "500"), "malformed"),
        (Answer::json("null"), "malformed"),
        (Answer::json("{}"), "malformed"),
        (Answer::json("").framed(Framing::UntilClose), "malformed"),
        (Answer::json(" "), "malformed"),
        (Answer::html("<!doctype html>"), "malformed"),
        (Answer::json("[1]"), "malformed"),
        (Answer::json(truncated), "malformed"),
        (Answer::json(truncated).framed(Framing::UntilClose), "malformed"),
        (Answer::json("[{}]").framed(Framing::FalseLength(100)).breaks_after(4), "broken off"),
        (Answer::json("[{}]").framed(Framing::Chunked).breaks_after(4), "broken off"),
        (Answer::json("[{}]").gzip().framed(Framing::UntilClose).breaks_after(9), "broken off"),
        (Answer::json("[{}]").undeclared_gzip().framed(Framing::UntilClose).breaks_after(9), "unreadable"),
        (Answer::json("no gzip").header("Content-Encoding", "gzip"), "broken off"),
        (Answer::status(401), "unauthorized"),
        (Answer::status(403), "unauthorized"),
        (Answer::status(404), "not found"),
        (Answer::status(500), "refused"),
        (Answer::status(501), "refused"),
        (Answer::status(503).header("Retry-After", "7"), "unavailable"),
        (Answer::status(302).header("Location", "http://127.0.0.1:1/"), "redirected"),
        (Answer::closes(), "disconnected"),
        (Answer::raw("nonsense\r\n\r\n"), "disconnected"),
    ] {
        let pacs = Pacs::new().at("/studies", told.clone()).start().await;
        let error = read(&archive(&pacs), search()).await.unwrap_err();
        let kind = match error.kind {
            Kind::Malformed(_) => "malformed",
            Kind::Truncated => "broken off",
            Kind::Unreadable(_) => "unreadable",
            Kind::Unauthorized(_) => "unauthorized",
            Kind::NotFound => "not found",
            Kind::Refused(_) => "refused",
            Kind::Unavailable { retry_after: Some(7), .. } => "unavailable",
            Kind::Redirected => "redirected",
            Kind::Disconnected => "disconnected",
            _ => "something else",
        };
        assert_eq!(kind, expected, "{told:?}: {error}");
        let said = format!("{error} {error:?}");
        assert!(!said.contains("127.0.0.1") && !said.contains(&pacs.authority()), "{said}");
    }
}

#[tokio::test]
async fn metadata_that_are_not_there_are_an_error() {
    let pacs = Pacs::new().start().await;
    let error = read(&archive(&pacs), metadata()).await.unwrap_err();
    assert!(matches!(error.kind, Kind::NotFound), "{error}");
}

#[tokio::test]
async fn a_list_cut_at_any_byte_is_never_taken_for_a_whole_one() {
    let body = r#"[{"00100010":{"vr":"PN","Value":[{"Alphabetic":"D]"}]}},{"00080061":{"Value":["CT"]}}]"#;
    for framing in [Framing::UntilClose, Framing::Length, Framing::Chunked] {
        let cut = |bytes| Answer::json(body).framed(framing).breaks_after(bytes);
        let pacs = Pacs::new().in_turn("/studies", (0..body.len()).map(cut)).start().await;
        let archive = archive(&pacs);
        for bytes in 0..body.len() {
            assert!(read(&archive, search()).await.is_err(), "{framing:?} cut after {bytes}");
        }
    }
}

#[tokio::test]
async fn a_bomb_is_put_out_before_it_fills_the_memory() {
    let mut blanks = vec![b' '; 520 * 1024 * 1024];
    blanks[0] = b'[';
    let packed = Answer::bytes("application/json", blanks).gzip();
    let pacs = Pacs::new().at("/studies", packed).start().await;
    let error = read(&archive(&pacs), search()).await.unwrap_err();
    assert!(matches!(error.kind, Kind::TooLarge(_)), "{error}");
    let row = format!("[{{\"0020000D\":\"{}", "a".repeat(100 * 1024 * 1024));
    let pacs = Pacs::new().at("/studies", Answer::bytes("application/json", row).gzip()).start().await;
    let error = read(&archive(&pacs), search()).await.unwrap_err();
    assert!(matches!(error.kind, Kind::TooLarge(_) | Kind::Malformed(_)), "{error}");
}
