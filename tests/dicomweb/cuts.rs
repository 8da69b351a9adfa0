//! Answers of an archive that break off after each of their bytes: no client may take what it got for the whole, whichever
//! version of HTTP it speaks and however the archive tells the end of a body.

use crate::support::client::Received;
use crate::support::gateway::RunningGateway;
use crate::support::http2::Http2;
use crate::support::pacs::{Answer, Framing, Pacs, Study};
use crate::support::secure_pacs::{End, SecurePacs, TRUST};

const INSTANCE: &str = "studies/1.2/series/1.2.1/instances/1.2.1.1";
const ROWS: &str =
    r#"[{"00081190":{"vr":"UR","Value":["http://x/studies/1"]},"00400275":{"vr":"SQ","Value":[{}]}}]"#;

/// An archive's answer, and how it is asked for.
struct Case {
    target: &'static str,
    accept: &'static str,
    /// What the archive says before, each time, because it has something else only.
    refused_first: bool,
    /// In how many formats the archive is asked for what it has, while it sends nothing at all.
    formats: usize,
    whole: Answer,
    /// So many bytes at the end of the body belong to nothing.
    behind: usize,
}

impl Case {
    fn new(target: &'static str, accept: &'static str, whole: Answer) -> Self {
        Self { target, accept, refused_first: false, formats: 1, whole, behind: 0 }
    }

    /// The whole at the end is complete, so that nothing but the cut made the others incomplete.
    async fn passes_for_whole_only_when_it_is(self) {
        // The last: a length that fits what is left, as whoever stands before the archive may make of a cut.
        for framing in [Framing::UntilClose, Framing::Length, Framing::Chunked, Framing::FalseLength(0)] {
            let whole = self.whole.clone().framed(framing);
            let cuts = match framing {
                // A search that is answered with a length of nothing finds nothing.
                Framing::FalseLength(_) if self.target == "studies" => 1..whole.length() - self.behind,
                // The end of the body is then all that tells the end.
                Framing::UntilClose | Framing::FalseLength(_) => 0..whole.length() - self.behind,
                // The last chunk is still to come.
                Framing::Chunked => 0..whole.length() + 1,
                Framing::Length => 0..whole.length(),
            };
            let fitting = |bytes| match framing {
                Framing::FalseLength(_) => Framing::FalseLength(bytes),
                framing => framing,
            };
            let cut = cuts.clone().map(|bytes| whole.clone().framed(fitting(bytes)).breaks_after(bytes));
            let cut = cut.chain([whole.clone().framed(fitting(whole.length()))]);
            // A body that ends with the connection, before it began, is an answer of nothing, and no broken one.
            let nothing = whole.clone().breaks_after(0);
            let is_empty = matches!(framing, Framing::UntilClose);
            let again = std::iter::repeat_n(nothing, if is_empty { 2 * (self.formats - 1) } else { 0 });
            let told = cut.flat_map(|answer| [answer.clone(), answer]);
            let told = again.chain(told).flat_map(|answer| {
                let refusal = self.refused_first.then(|| Answer::status(406));
                refusal.into_iter().chain([answer])
            });
            let pacs = Pacs::new().in_turn(&format!("/{}", self.target), told).start().await;
            let gateway = RunningGateway::over(&pacs.url(), "").await;
            let client = Http2::to(gateway.address()).await;
            let path = format!("/dicom-web/main/{}", self.target);
            let headers = [("Accept", self.accept)];
            for bytes in cuts {
                let first = gateway.get_with(&path, &headers).await;
                let second = client.get(&path, &headers).await;
                for (version, answer) in [(1, first), (2, second)] {
                    let looks_complete = answer.complete && answer.status < 400;
                    assert!(
                        !looks_complete,
                        "{path} {framing:?} cut after {bytes}, HTTP/{version}: {answer:?}"
                    );
                }
            }
            let (first, second): (Received, Received) =
                (gateway.get_with(&path, &headers).await, client.get(&path, &headers).await);
            assert!(first.complete && first.status == 200, "{path} {framing:?}: {first:?}");
            assert!(second.complete && second.body == first.body, "{path} {framing:?}: {second:?}");
        }
    }
}

fn parts_of_two() -> Answer {
    let dicom = "Content-Type: application/dicom";
    Answer::parts("b", [(dicom, &b"DICM one \r\n--b"[..]), (dicom, &b"DICM two"[..])])
}

#[tokio::test]
async fn parts() {
    let accept = "multipart/related; type=\"application/dicom\"";
    let case = Case::new("studies/1.2", accept, parts_of_two());
    Case { behind: 2, ..case }.passes_for_whole_only_when_it_is().await;
}

#[tokio::test]
async fn the_one_part_of_several() {
    let whole = Answer::parts("b", [("Content-Type: application/dicom", &b"DICM one \r\n--a"[..])]);
    let case = Case::new(INSTANCE, "application/dicom", whole);
    Case { behind: 2, refused_first: true, ..case }.passes_for_whole_only_when_it_is().await;
}

#[tokio::test]
async fn rows_in_json() {
    Case::new("studies", "application/dicom+json", Answer::json(ROWS))
        .passes_for_whole_only_when_it_is()
        .await;
}

#[tokio::test]
async fn rows_in_compressed_json() {
    let whole = Answer::json(ROWS).gzip();
    Case::new("studies", "application/dicom+json", whole).passes_for_whole_only_when_it_is().await;
}

#[tokio::test]
async fn rows_in_xml_of_our_own() {
    let case = Case::new("studies", "application/dicom+xml", Answer::json(ROWS));
    Case { formats: 2, ..case }.passes_for_whole_only_when_it_is().await;
}

#[tokio::test]
async fn rows_in_xml_of_the_archives() {
    let document = b"<NativeDicomModel><DicomAttribute tag=\"00080005\" vr=\"CS\"/></NativeDicomModel>";
    let whole = Answer::parts("b", [("Content-Type: application/dicom+xml", &document[..])])
        .with_type("multipart/related; type=\"application/dicom+xml\"; boundary=b");
    let case = Case::new("studies", "application/dicom+xml", whole);
    Case { behind: 2, ..case }.passes_for_whole_only_when_it_is().await;
}

#[tokio::test]
async fn whatever_an_archive_sends_over_http2() {
    let pacs = SecurePacs::start().await;
    let gateway = RunningGateway::over(&pacs.url(), TRUST).await;
    let client = Http2::to(gateway.address()).await;
    let related = "multipart/related; type=\"application/dicom\"; boundary=b";
    let parts = b"--b\r\nContent-Type: application/dicom\r\n\r\nDICM one\r\n--b\r\n\r\nDICM two\r\n--b--";
    for (path, content_type, whole) in [
        ("/dicom-web/main/studies", "application/dicom+json", ROWS.as_bytes()),
        ("/dicom-web/main/studies/1.2", related, &parts[..]),
    ] {
        let early = (0..whole.len())
            .flat_map(|bytes| [End::Early(bytes), End::Short(bytes), End::Reset(bytes), End::Gone(bytes)]);
        // A body that is all there is not whole before its stream has ended.
        for end in early.chain([End::Reset(whole.len()), End::Gone(whole.len())]) {
            pacs.says(content_type, whole, end);
            for answer in [gateway.get(path).await, client.get(path, &[]).await] {
                let looks_complete = answer.complete && answer.status < 400;
                assert!(!looks_complete, "{path} {end:?}: {answer:?}");
            }
        }
        pacs.says(content_type, whole, End::Well);
        let (first, second) = (gateway.get(path).await, client.get(path, &[]).await);
        assert!(first.complete && first.status == 200, "{path}: {first:?}");
        assert!(second.complete && second.body == first.body, "{path}: {second:?}");
    }
}

#[tokio::test]
async fn metadata_that_were_cut_are_nowhere_remembered() {
    let metadata = r#"[{"00080016":{"vr":"UI","Value":["1.2.840.10008.5.1.4.1.1.2"]},"00080018":{"vr":"UI","Value":["1.2.1.1"]},"0020000D":{"vr":"UI","Value":["1.2"]},"0020000E":{"vr":"UI","Value":["1.2.1"]}}]"#;
    let whole = Answer::json(metadata).framed(Framing::UntilClose);
    let cuts = 0..metadata.len();
    let told = cuts.clone().map(|bytes| whole.clone().breaks_after(bytes)).chain([whole.clone()]);
    let pacs = Pacs::new()
        .study(Study::new("1.2").of("P1", "Doe^Jane").series("1.2.1", "CT", 1))
        .in_turn("/studies/1.2/series/1.2.1/metadata", told)
        // The other source of instances has none.
        .at("/studies/1.2/series/1.2.1/instances", Answer::status(501))
        .start()
        .await;
    let gateway = RunningGateway::over(&pacs.url(), "profile = \"orthanc\"").await;
    for bytes in cuts {
        let answer = gateway.get("/fhir/ImagingStudy/1.2").await;
        assert!(answer.status >= 500, "cut after {bytes}: {}", answer.text());
    }
    let study = gateway.json("/fhir/ImagingStudy/1.2").await;
    assert_eq!(study["series"][0]["instance"][0]["uid"], "1.2.1.1");
    let asked = pacs.targets().len();
    assert_eq!(gateway.json("/fhir/ImagingStudy/1.2").await, study);
    assert_eq!(pacs.targets().len(), asked, "what is whole is remembered");
}
