//! Rows and metadata in XML (PS3.18 8.7.3.2): forwarded from the archive, or converted from its JSON.

use crate::support::archive_root::{ArchiveRoot, PUBLIC_URL};
use crate::support::client::{self, ReceivedResponse};
use crate::support::gateway::RunningGateway;
use crate::support::pacs::{CannedResponse, Framing, Pacs, Study};

const ACCEPT: (&str, &str) = ("Accept", "multipart/related; type=\"application/dicom+xml\"");
const UPSTREAM_XML: &str = "<?xml version=\"1.0\"?><NativeDicomModel><DicomAttribute tag=\"00081190\" vr=\"UR\"><Value number=\"1\">http://inner:8042/dicom-web/studies/1.2</Value></DicomAttribute></NativeDicomModel>";

/// Returns the XML documents of a multipart response, which must be well-formed.
fn documents(response: &ReceivedResponse) -> Vec<String> {
    assert_eq!((response.status, response.is_complete), (200, true), "{}", response.text());
    let content_type = response.header("content-type").unwrap();
    assert!(content_type.starts_with("multipart/related; type=\"application/dicom+xml\""), "{content_type}");
    let boundary = content_type.split("boundary=").nth(1).unwrap();
    let text = response.text();
    let mut parts = text.split(&format!("--{boundary}")).skip(1).collect::<Vec<_>>();
    assert_eq!(parts.pop().unwrap().trim_end(), "--");
    let parse = |part: &str| {
        let (_, document) = part.split_once("\r\n\r\n").unwrap();
        roxmltree::Document::parse(document.trim()).unwrap_or_else(|error| panic!("{error}: {document}"));
        document.to_owned()
    };
    parts.into_iter().map(parse).collect()
}

#[tokio::test]
async fn xml_of_the_archive_is_forwarded_with_rewritten_urls() {
    let parts =
        CannedResponse::multipart("b", [("Content-Type: application/dicom+xml", UPSTREAM_XML.as_bytes())]);
    let parts = parts.with_content_type("multipart/related; type=\"application/dicom+xml\"; boundary=b");
    let pacs = Pacs::new()
        .with_response("/studies", parts.clone())
        .with_response("/studies/1.2/metadata", parts)
        .start()
        .await;
    let root = ArchiveRoot::start(&pacs).await;
    for target in ["studies", "studies/1.2/metadata"] {
        let response = client::get_with_headers(&root.url(target), &[ACCEPT]).await;
        let [document] = documents(&response).try_into().unwrap();
        assert!(
            document.contains(&format!("{PUBLIC_URL}/studies/1.2<")) && !document.contains("inner"),
            "{document}"
        );
    }
    assert_eq!(pacs.targets().len(), 2, "not one upstream request per response");
}

#[tokio::test]
async fn xml_is_converted_from_json_if_the_archive_provides_only_json() {
    let study = Study::new("1.2").patient("P1", "Doe^Jane").series("1.2.1", "CT", 2);
    let rows = CannedResponse::json(r#"[{"00080061":{"vr":"CS","Value":["CT"]}}]"#);
    let pacs = Pacs::new()
        .with_study(study)
        .with_responses("/studies/1.3/metadata", [CannedResponse::status(406), rows.clone()])
        .with_responses(
            "/studies/1.4/metadata",
            [CannedResponse::bytes("text/plain", "no").with_status(400), rows],
        )
        .start()
        .await;
    let root = ArchiveRoot::start(&pacs).await;
    for (target, document_count) in [
        ("studies", 1),
        ("studies/1.2/instances", 2),
        ("studies/1.2/metadata", 2),
        ("studies/1.3/metadata", 1),
        ("studies/1.4/metadata", 1),
    ] {
        let response = client::get_with_headers(&root.url(target), &[ACCEPT]).await;
        let documents = documents(&response);
        assert_eq!(documents.len(), document_count, "{target}");
        assert!(!response.text().contains(&pacs.authority()), "{}", response.text());
    }
    let metadata = client::get_with_headers(&root.url("studies/1.2/metadata"), &[ACCEPT]).await.text();
    let uri =
        format!("<BulkData uri=\"{PUBLIC_URL}/studies/1.2/series/1.2.1/instances/1.2.1.1/bulk/7fe00010\"/>");
    assert!(metadata.contains(&uri), "{metadata}");
    let accepts: Vec<_> =
        pacs.requests().iter().map(|request| request.header("accept").unwrap().to_owned()).collect();
    assert_eq!(accepts[3..5], [ACCEPT.1, "application/dicom+json, application/json;q=0.9"]);
}

#[tokio::test]
async fn json_is_returned_if_it_is_preferred() {
    let pacs = Pacs::new().with_response("/studies", CannedResponse::json("[{}]")).start().await;
    let root = ArchiveRoot::start(&pacs).await;
    for (accept, is_xml) in [
        ("application/dicom+xml, application/dicom+json;q=0.5", true),
        ("application/dicom+xml;q=0.5, application/dicom+json", false),
        ("application/dicom+xml;q=0.5, */*;q=0.6", false),
        ("*/*", false),
    ] {
        let response = client::get_with_headers(&root.url("studies"), &[("Accept", accept)]).await;
        assert_eq!(response.text() != "[{}]", is_xml, "{accept}: {}", response.text());
    }
}

#[tokio::test]
async fn empty_lists_in_xml_are_a_204() {
    let pacs = Pacs::new()
        .with_response(
            "/studies",
            CannedResponse::json(" [ ] ").in_pieces(2, std::time::Duration::from_millis(1)),
        )
        .with_response("/studies/1.2/metadata", CannedResponse::json("[]"))
        .with_response("/studies/1.3/series", CannedResponse::status(404))
        .start()
        .await;
    let root = ArchiveRoot::start(&pacs).await;
    for (target, status) in [("studies", 204), ("studies/1.3/series", 204), ("studies/1.2/metadata", 404)] {
        let response = client::get_with_headers(&root.url(target), &[ACCEPT]).await;
        assert_eq!((response.status, response.is_complete), (status, true), "{target}");
        assert_eq!(response.body.is_empty(), status == 204, "{target}");
    }
}

#[tokio::test]
async fn truncated_or_inconvertible_lists_abort_the_transfer() {
    let rows = r#"[{"00080061":{"vr":"CS","Value":["CT"]}},{"00080061":{"vr":"CS"}}]"#;
    let truncated = |bytes| CannedResponse::json(rows).with_framing(Framing::UntilClose).abort_after(bytes);
    let pacs = Pacs::new()
        .with_responses("/studies", (0..rows.len()).map(truncated))
        .with_response("/series", CannedResponse::json(r#"[{"00080061":{"vr":"CS"}},{"nonsense":1}]"#))
        .start()
        .await;
    let root = ArchiveRoot::start(&pacs).await;
    for bytes in 0..rows.len() {
        let response = client::get_with_headers(&root.url("studies"), &[ACCEPT]).await;
        assert!(
            !response.is_complete || response.status >= 500,
            "truncated after {bytes}: {}",
            response.text()
        );
    }
    let inconvertible = client::get_with_headers(&root.url("series"), &[ACCEPT]).await;
    assert!(!inconvertible.is_complete || inconvertible.status == 502, "{}", inconvertible.text());
}

#[tokio::test]
async fn lists_of_the_aggregate_root_are_written_as_xml() {
    let first = Pacs::new().with_study(Study::new("1.2").series("1.2.1", "CT", 1)).start().await;
    let second = Pacs::new().with_study(Study::new("1.3").series("1.3.1", "MR", 1)).start().await;
    let config = format!("[[archive]]\nid = \"second\"\nurl = \"{}\"\n", second.url());
    let gateway = RunningGateway::start(&first.url(), &config).await;
    let merged = gateway.get_with_headers("/dicom-web/studies", &[ACCEPT]).await;
    let documents = documents(&merged);
    assert_eq!(documents.len(), 2);
    for (document, uid) in documents.iter().zip(["1.2", "1.3"]) {
        assert!(document.contains(&format!("{}/dicom-web/studies/{uid}<", gateway.base_url())), "{document}");
    }
    for target in ["/dicom-web/studies?PatientID=unknown", "/dicom-web/studies/9.9/series"] {
        let empty = gateway.get_with_headers(target, &[ACCEPT]).await;
        assert_eq!((empty.status, empty.text().as_str()), (204, ""), "{target}");
    }
    let rejected = gateway.get_with_headers("/dicom-web/studies", &[("Accept", "text/html")]).await;
    assert_eq!(rejected.status, 406);
}

#[tokio::test]
async fn a_row_that_cannot_be_converted_is_an_error_with_a_status_at_every_root() {
    let object = |instance: &str, attribute: &str| {
        format!(
            r#"{{"00080018":{{"vr":"UI","Value":["{instance}"]}},"0020000D":{{"vr":"UI","Value":["1.2"]}},"0020000E":{{"vr":"UI","Value":["1.2.1"]}}{attribute}}}"#
        )
    };
    let nested = format!(",\"00400275\":{}{}", "[".repeat(100), "]".repeat(100));
    let instances = ["instances", "studies/1.2/instances", "studies/1.2/series/1.2.1/metadata"];
    for attribute in [
        r#","foo":{"vr":"LO"}"#,
        r#","_comment":"x""#,
        r#","\ud800":{"vr":"LO"}"#,
        r#","00081030":null"#,
        r#","00081030":"x""#,
        &nested,
    ] {
        let only = object("1.2.1.1", attribute);
        let second = format!("{},{}", object("1.2.1.1", ""), object("1.2.1.2", attribute));
        for (rows, targets) in [
            (only, &["studies", "series", "studies/1.2/series", "studies/1.2/metadata"][..]),
            (second, &instances[..]),
        ] {
            let list = CannedResponse::json(format!("[{rows}]"));
            let pacs = Pacs::new().with_fallback(list).start().await;
            let gateway = RunningGateway::start(&pacs.url(), "").await;
            for target in targets {
                for root in ["/dicom-web/main", "/dicom-web"] {
                    let response = gateway.get_with_headers(&format!("{root}/{target}"), &[ACCEPT]).await;
                    assert_eq!(response.status, 502, "{root}/{target} {attribute}: {}", response.text());
                    assert!(response.text().contains("Archive main"), "{}", response.text());
                }
            }
        }
    }
}
