//! The rendered resource of an instance that encapsulates a PDF document or a video (PS3.18 8.7.4).

use crate::support::archive_root::ArchiveRoot;
use crate::support::client::{self, ReceivedResponse};
use crate::support::pacs::{CannedResponse, Pacs, RunningPacs};
use crate::support::raw_objects::{
    EXPLICIT, EXPLICIT_LITTLE, PIXEL_DATA, RawObject, encapsulated_pixel_data,
};

const INSTANCE: &str = "studies/1.2/series/1.2.1/instances/1.2.1.1";
const MPEG_2: &str = "1.2.840.10008.1.2.4.100";
const MPEG_4: &str = "1.2.840.10008.1.2.4.102";
const HEVC: &str = "1.2.840.10008.1.2.4.107";
const MP4_BEGINNING: &[u8] = b"\0\0\0\x20ftypisom\0\0\x02\0isomiso2avc1mp41";
const ENCAPSULATED_DOCUMENT: u32 = 0x0042_0011;

/// Returns `beginning` and further bytes, of the given even length.
fn content(beginning: &[u8], length: usize) -> Vec<u8> {
    let rest = (0..=250_u8).cycle().skip(1).take(length - beginning.len());
    beginning.iter().copied().chain(rest).collect()
}

/// Creates a video whose fragments are the chunks of `video`.
fn video_file(syntax: &'static str, video: &[u8]) -> Vec<u8> {
    let fragments: Vec<_> = video.chunks(1 << 20).map(<[u8]>::to_vec).collect();
    let image = RawObject::image(EXPLICIT_LITTLE, syntax, 1)
        .frames("25")
        .unsigned_shorts(0x0028_0002, &[3])
        .text(0x0028_0004, "CS", "YBR_PARTIAL_420");
    image.with_element(PIXEL_DATA, encapsulated_pixel_data(&[], &fragments)).to_file()
}

/// Creates an object of `sop_class` without an image, with the padded `document`.
fn document_file(sop_class: &str, document: &[u8]) -> Vec<u8> {
    let padding = &[0][..document.len() % 2];
    let value = EXPLICIT_LITTLE.element(ENCAPSULATED_DOCUMENT, "OB", &[document, padding].concat());
    let mut object = RawObject::image(EXPLICIT_LITTLE, EXPLICIT, 1).text(0x0008_0016, "UI", sop_class);
    for element in [0x0002, 0x0004, 0x0010, 0x0011, 0x0100, 0x0101, 0x0102, 0x0103] {
        object = object.with_element(0x0028_0000 | element, Vec::new());
    }
    object.with_element(ENCAPSULATED_DOCUMENT, value).text(0x0042_0012, "LO", "application/pdf").to_file()
}

fn pdf_file(document: &[u8]) -> Vec<u8> {
    document_file("1.2.840.10008.5.1.4.1.1.104.1", document)
}

fn image_file() -> Vec<u8> {
    RawObject::image(EXPLICIT_LITTLE, EXPLICIT, 1).pixels(&[10, 60, 120, 250]).to_file()
}

/// Starts an archive that holds `file` and renders nothing.
async fn start_archive(file: &[u8]) -> RunningPacs {
    let instance = CannedResponse::multipart("b", [("Content-Type: application/dicom", file)]);
    Pacs::new().with_response(&format!("/{INSTANCE}"), instance).start().await
}

async fn get_rendered(root: &ArchiveRoot, accept: &str) -> ReceivedResponse {
    client::get_with_headers(&root.url(&format!("{INSTANCE}/rendered")), &[("Accept", accept)]).await
}

#[tokio::test]
async fn documents_and_videos_are_their_own_rendered_resources() {
    let pdf = b"%PDF-1.7\n1 0 obj\nendobj\n%%EOF".to_vec();
    assert_eq!(pdf.len() % 2, 1, "the value is padded");
    let even_pdf = [&pdf[..], b"\n"].concat();
    let mp4 = content(MP4_BEGINNING, 200_000);
    let program_stream = content(b"\0\0\x01\xBA\x44\0\x04\0", 1000);
    let elementary_stream = content(b"\0\0\x01\xB3\x16\0\xF0\xC4", 3 << 20);
    for (file, media_type, content) in [
        (pdf_file(&pdf), "application/pdf", pdf),
        (pdf_file(&even_pdf), "application/pdf", even_pdf),
        (video_file(MPEG_4, &mp4), "video/mp4", mp4.clone()),
        (video_file(HEVC, &mp4), "video/mp4", mp4),
        (video_file(MPEG_2, &program_stream), "video/mpeg", program_stream),
        (video_file(MPEG_2, &elementary_stream), "video/mpeg", elementary_stream),
    ] {
        let pacs = start_archive(&file).await;
        let root = ArchiveRoot::start(&pacs).await;
        let with_image = format!("image/jpeg, {media_type};q=0.1");
        for accept in [media_type, "*/*", &with_image] {
            let response = get_rendered(&root, accept).await;
            assert_eq!((response.status, response.is_complete), (200, true), "{accept}: {}", response.text());
            assert_eq!(response.header("content-type"), Some(media_type), "{accept}");
            assert!(response.body == content, "{media_type} {accept}");
        }
        let parts = get_rendered(&root, &format!("multipart/related; type=\"{media_type}\"")).await;
        let parts = super::unusual_objects::parts(&parts).expect("no complete multipart body");
        assert!(parts == [(media_type.to_owned(), content)], "{media_type}");
    }
}

#[tokio::test]
async fn a_client_that_accepts_no_media_type_of_the_object_is_told_the_available_ones() {
    let video = video_file(MPEG_4, &content(MP4_BEGINNING, 100_000));
    let pdf = pdf_file(b"%PDF-1.7\n%%EOF\n");
    for (file, accept, available) in [
        (&video, "image/png", "available are video/mp4"),
        (&video, "application/pdf, video/mpeg", "available are video/mp4"),
        (&pdf, "image/*, video/*", "available are application/pdf"),
        (&pdf, "application/pdf;q=0, */*", "available are application/pdf"),
        (&image_file(), "video/mp4", "available are image/jpeg, image/png, image/gif"),
        (&pdf, "text/html", "available are image/jpeg, image/png, image/gif, application/pdf, video/mp4"),
    ] {
        let pacs = start_archive(file).await;
        let root = ArchiveRoot::start(&pacs).await;
        let response = get_rendered(&root, accept).await;
        assert_eq!(response.status, 406, "{accept}: {}", response.text());
        assert!(response.text().contains(available), "{accept}: {}", response.text());
    }
}

#[tokio::test]
async fn content_without_a_rendered_media_type_is_never_labeled_as_another_one() {
    let transport_stream = content(b"\x47\x40\0\x10\0\0\xB0\x0D", 1880);
    let h264_stream = content(b"\0\0\0\x01\x67\x64\0\x29", 1000);
    let clinical_document = document_file("1.2.840.10008.5.1.4.1.1.104.2", b"<ClinicalDocument/>");
    for (file, status, reason) in [
        (video_file(MPEG_4, &transport_stream), 501, "a video that is neither an MP4 file nor"),
        (video_file(MPEG_2, &transport_stream), 501, "a video that is neither an MP4 file nor"),
        (video_file(MPEG_4, &h264_stream), 501, "a video that is neither an MP4 file nor"),
        (pdf_file(b"PK\x03\x04 a spreadsheet"), 502, "its document is not PDF"),
        (clinical_document, 406, "it is not an image"),
    ] {
        let pacs = start_archive(&file).await;
        let root = ArchiveRoot::start(&pacs).await;
        for accept in ["*/*", "video/*, application/pdf"] {
            let response = get_rendered(&root, accept).await;
            assert_eq!(response.status, status, "{accept}: {}", response.text());
            let message = response.json()["message"].as_str().unwrap().to_owned();
            assert!(message.starts_with("The object cannot be rendered: "), "{message}");
            assert!(message.contains(reason), "{message}");
        }
    }
}

#[tokio::test]
async fn a_video_is_streamed_whatever_the_memory_for_rendering() {
    let video = content(MP4_BEGINNING, 12 << 20);
    let pacs = start_archive(&video_file(MPEG_4, &video)).await;
    let root = ArchiveRoot::start_with_config(&pacs.url(), "[render]\nmemory = \"4MiB\"\n").await;
    let response = get_rendered(&root, "*/*").await;
    assert_eq!((response.status, response.is_complete), (200, true), "{}", response.text());
    assert!(response.body == video);
    for target in ["thumbnail", "frames/1/rendered"] {
        let image = client::get(&root.url(&format!("{INSTANCE}/{target}"))).await;
        assert_eq!(image.status, 501, "{target}: {}", image.text());
        assert!(image.text().contains("the transfer syntax 1.2.840.10008.1.2.4.102"), "{}", image.text());
    }
}

#[tokio::test]
async fn truncated_content_is_an_error_or_an_aborted_transfer() {
    let short_video = video_file(MPEG_4, &content(MP4_BEGINNING, 100_000));
    let short_pdf = pdf_file(&content(b"%PDF-1.7\n", 100_000));
    for file in [&short_video[..90_000], &short_pdf[..90_000]] {
        let pacs = start_archive(file).await;
        let root = ArchiveRoot::start(&pacs).await;
        let response = get_rendered(&root, "video/*, application/pdf").await;
        assert_eq!(response.status, 502, "{}", response.text());
    }
    let long_video = video_file(MPEG_4, &content(MP4_BEGINNING, 9 << 20));
    let long_pdf = pdf_file(&content(b"%PDF-1.7\n", 9 << 20));
    for file in [&long_video[..8 << 20], &long_pdf[..8 << 20]] {
        let pacs = start_archive(file).await;
        let root = ArchiveRoot::start(&pacs).await;
        let response = get_rendered(&root, "video/*, application/pdf").await;
        assert_eq!((response.status, response.is_complete), (200, false));
    }
}

#[tokio::test]
async fn rendering_parameters_of_images_are_rejected_for_documents_and_videos() {
    let pacs = start_archive(&pdf_file(b"%PDF-1.7\n%%EOF\n")).await;
    let root = ArchiveRoot::start(&pacs).await;
    for (query, status) in
        [("viewport=100,100", 501), ("annotation=patient", 501), ("quality=50", 501), ("iccprofile=no", 200)]
    {
        let url = root.url(&format!("{INSTANCE}/rendered?{query}"));
        let response = client::get(&url).await;
        assert_eq!(response.status, status, "{query}: {}", response.text());
        let name = query.split('=').next().unwrap();
        assert!(status == 200 || response.text().contains(name), "{}", response.text());
    }
}

#[tokio::test]
async fn a_document_that_the_archive_renders_is_forwarded() {
    let pacs = Pacs::new()
        .with_response(
            &format!("/{INSTANCE}/rendered"),
            CannedResponse::bytes("application/pdf", "%PDF-1.4 x"),
        )
        .start()
        .await;
    let root = ArchiveRoot::start(&pacs).await;
    let response = get_rendered(&root, "application/pdf").await;
    assert_eq!((response.status, response.text().as_str()), (200, "%PDF-1.4 x"));
    assert_eq!(pacs.targets(), [format!("/dicom-web/{INSTANCE}/rendered")]);
}
