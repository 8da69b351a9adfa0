//! URLs of an archive with a query, such as a signature: the gateway seals the query and sends it to the archive alone.

use crate::support::archive_root::{ArchiveRoot, PUBLIC_URL};
use crate::support::client;
use crate::support::pacs::{CannedResponse, Pacs};

const METADATA: &str = "studies/1.2/series/1.2.1/metadata";
const BULKDATA: &str = "studies/1.2/series/1.2.1/instances/1.2.1.1/bulkdata/7FE00010";
const QUERY: &str = "X-Signature=abc%2Fd&expires=1767225600";

fn metadata_with_signed_url() -> CannedResponse {
    CannedResponse::json(format!(
        r#"[{{"0020000D":{{"vr":"UI","Value":["1.2"]}},"0020000E":{{"vr":"UI","Value":["1.2.1"]}},"00080018":{{"vr":"UI","Value":["1.2.1.1"]}},"7FE00010":{{"vr":"OW","BulkDataURI":"http://pacs.internal/dicom-web/{BULKDATA}?{QUERY}"}}}}]"#
    ))
}

fn bulk_data_url(metadata: &str) -> String {
    let start = metadata.find(&format!("{PUBLIC_URL}/{BULKDATA}?")).expect("no URL of the gateway");
    let url = metadata.get(start..).and_then(|rest| rest.split('"').next()).expect("no end of the URL");
    url.strip_prefix(&format!("{PUBLIC_URL}/")).expect("another URL").to_owned()
}

#[tokio::test]
async fn a_signed_bulk_data_url_can_be_retrieved_and_does_not_reveal_its_signature() {
    let pacs = Pacs::new()
        .with_response(&format!("/{METADATA}"), metadata_with_signed_url())
        .with_response(&format!("/{BULKDATA}"), CannedResponse::bytes("application/octet-stream", "pixels"))
        .start()
        .await;
    let root = ArchiveRoot::start(&pacs).await;
    // The second response is from the cache.
    for _ in 0..2 {
        let text = client::get(&root.url(METADATA)).await.text();
        assert!(!text.contains("abc") && !text.contains("pacs.internal"), "{text}");
        let response = client::get(&root.url(&bulk_data_url(&text))).await;
        assert_eq!((response.status, response.text().as_str()), (200, "pixels"), "{:?}", pacs.targets());
    }
    let last_target = pacs.targets().pop().expect("no upstream request");
    assert!(last_target.ends_with(&format!("{BULKDATA}?{QUERY}")), "{last_target}");
}

#[tokio::test]
async fn a_sealed_query_is_rejected_for_another_url_and_after_a_change() {
    let pacs = Pacs::new().with_response(&format!("/{METADATA}"), metadata_with_signed_url()).start().await;
    let root = ArchiveRoot::start(&pacs).await;
    let target = bulk_data_url(&client::get(&root.url(METADATA)).await.text());
    let request_count = pacs.targets().len();
    for changed in
        [target.replace("7FE00010", "7FE00008"), format!("{target}A"), format!("{BULKDATA}?sealed=")]
    {
        let response = client::get(&root.url(&changed)).await;
        assert_eq!(response.status, 400, "{changed}");
        assert!(response.text().contains("retrieve the metadata"), "{}", response.text());
    }
    assert_eq!(pacs.targets().len(), request_count);
}
