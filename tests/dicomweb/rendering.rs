//! Images that the gateway renders because the archive does not. tests/e2e compares their pixels with another renderer.

use std::io::Cursor;

use image::codecs::gif::GifDecoder;
use image::{AnimationDecoder, GenericImageView};

use crate::support::archive_root::{ArchiveRoot, PUBLIC_URL};
use crate::support::client::{self, ReceivedResponse};
use crate::support::pacs::{CannedResponse, Pacs, Study};
use crate::support::samples;

const INSTANCE: &str = "studies/1.2/series/1.2.1/instances/1.2.1.1";

fn dimensions(image: &[u8]) -> (u32, u32) {
    image::load_from_memory(image).unwrap().dimensions()
}

/// Returns the path of the first series with `modality`, and the rows of its instances, sorted by Instance Number.
async fn find_series(root: &ArchiveRoot, modality: &str) -> (String, Vec<serde_json::Value>) {
    let matches = client::get(&root.url(&format!("series?Modality={modality}"))).await.json();
    let uid = |row: &serde_json::Value, tag: &str| row[tag]["Value"][0].as_str().unwrap().to_owned();
    let path = format!("studies/{}/series/{}", uid(&matches[0], "0020000D"), uid(&matches[0], "0020000E"));
    let rows = client::get(&root.url(&format!("{path}/instances?includefield=all"))).await.json();
    let mut rows = rows.as_array().unwrap().clone();
    rows.sort_by_key(|row| row["00200013"]["Value"][0].as_i64());
    (path, rows)
}

fn instance_path(path: &str, row: &serde_json::Value) -> String {
    format!("{path}/instances/{}", row["00080018"]["Value"][0].as_str().unwrap())
}

/// Returns the headers and the body of each part.
fn parts(response: &ReceivedResponse) -> Vec<(String, Vec<u8>)> {
    assert!(response.is_complete);
    let (_, boundary) = response.header("content-type").unwrap().split_once("boundary=").unwrap();
    let delimiter = format!("\r\n--{boundary}");
    let mut delimiters: Vec<_> = memchr::memmem::find_iter(&response.body, delimiter.as_bytes()).collect();
    let last = delimiters.pop().unwrap();
    assert!(response.body[last..].ends_with(b"--\r\n"));
    let ends = delimiters.iter().skip(1).copied().chain([last]);
    let parse = |(start, end): (&usize, usize)| {
        let part = &response.body[start + delimiter.len()..end];
        let headers_end = memchr::memmem::find(part, b"\r\n\r\n").unwrap();
        (String::from_utf8(part[..headers_end].to_vec()).unwrap(), part[headers_end + 4..].to_vec())
    };
    delimiters.iter().zip(ends).map(parse).collect()
}

#[tokio::test]
async fn thumbnails_are_rendered_for_every_level_if_the_archive_does_not_render() {
    let archive = samples::shared();
    let root = ArchiveRoot::start_with_config(&archive.url, "").await;
    let (path, rows) = find_series(&root, "CT").await;
    let study = path.split("/series").next().unwrap();
    let middle_instance = instance_path(&path, &rows[(rows.len() - 1) / 2]);
    let instance_thumbnail = client::get(&root.url(&format!("{middle_instance}/thumbnail"))).await;
    assert_eq!(
        (instance_thumbnail.status, instance_thumbnail.header("content-type")),
        (200, Some("image/jpeg")),
        "{}",
        instance_thumbnail.text()
    );
    for level in [study, &path, &format!("{middle_instance}/frames/1")] {
        let response = client::get(&root.url(&format!("{level}/thumbnail"))).await;
        assert_eq!(response.status, 200, "{level}: {}", response.text());
        let (width, height) = dimensions(&response.body);
        assert!(width.max(height) == 128, "{level}: {width} by {height}");
    }
    let series_thumbnail = client::get(&root.url(&format!("{path}/thumbnail"))).await;
    assert_eq!(series_thumbnail.body, instance_thumbnail.body, "the middle image represents its series");
    let url = root.url(&format!("{path}/thumbnail?viewport=300,200"));
    let large = client::get_with_headers(&url, &[("Accept", "image/png;q=0.5, image/webp")]).await;
    assert_eq!(large.header("content-type"), Some("image/png"));
    assert_eq!(dimensions(&large.body).1, 200);
}

#[tokio::test]
async fn thumbnails_below_the_aggregate_root_equal_thumbnails_below_the_archive_root() {
    let archive = samples::shared();
    let root = ArchiveRoot::start_with_config(&archive.url, "").await;
    let (path, _) = find_series(&root, "MR").await;
    let archive_thumbnail = client::get(&root.url(&format!("{path}/thumbnail"))).await;
    let aggregate_thumbnail =
        client::get(&root.url(&format!("../{path}/thumbnail")).replace("/main/../", "/")).await;
    assert_eq!((aggregate_thumbnail.status, aggregate_thumbnail.body), (200, archive_thumbnail.body));
}

#[tokio::test]
async fn several_rendered_images_are_a_multipart_body_and_never_a_single_image() {
    let archive = samples::shared();
    let root = ArchiveRoot::start_with_config(&archive.url, "").await;
    let (path, rows) = find_series(&root, "CT").await;
    let rendered = root.url(&format!("{path}/rendered"));
    let rejected = client::get_with_headers(&rendered, &[("Accept", "image/jpeg")]).await;
    assert_eq!(rejected.status, 406);
    assert!(rejected.text().contains("multipart/related"), "{}", rejected.text());
    let png = [("Accept", "multipart/related; type=\"image/png\"")];
    let response = client::get_with_headers(&rendered, &png).await;
    assert_eq!(response.status, 200, "{}", response.text());
    let parts = parts(&response);
    assert_eq!(parts.len(), rows.len());
    for ((headers, image), row) in parts.iter().zip(&rows) {
        let location = format!("{PUBLIC_URL}/{}/frames/1/rendered", instance_path(&path, row));
        assert!(headers.contains("Content-Type: image/png") && headers.contains(&location), "{headers}");
        let url = root.url(&format!("{}/rendered", instance_path(&path, row)));
        let single_image = client::get_with_headers(&url, &[("Accept", "image/png")]).await;
        assert_eq!((single_image.status, &single_image.body), (200, image));
    }
}

#[tokio::test]
async fn rendered_frames_of_an_instance_are_a_multipart_body_and_available_individually() {
    let archive = samples::shared();
    let root = ArchiveRoot::start_with_config(&archive.url, "").await;
    let (path, rows) = find_series(&root, "XA").await;
    let frame_count = rows[0]["00280008"]["Value"][0].as_i64().unwrap();
    assert!(frame_count > 1, "the sample has several frames");
    let object = instance_path(&path, &rows[0]);
    let jpeg = [("Accept", "multipart/related; type=image/jpeg")];
    let all_frames = parts(&client::get_with_headers(&root.url(&format!("{object}/rendered")), &jpeg).await);
    assert_eq!(i64::try_from(all_frames.len()), Ok(frame_count));
    let second_frame = client::get(&root.url(&format!("{object}/frames/2/rendered"))).await;
    assert_eq!(second_frame.body, all_frames[1].1);
    let reversed =
        parts(&client::get_with_headers(&root.url(&format!("{object}/frames/2,1/rendered")), &jpeg).await);
    assert_eq!([&reversed[0].1, &reversed[1].1], [&all_frames[1].1, &all_frames[0].1]);
    let missing_frame =
        client::get(&root.url(&format!("{object}/frames/{}/rendered", frame_count + 1))).await;
    assert_eq!(missing_frame.status, 404, "{}", missing_frame.text());
}

#[tokio::test]
async fn rendered_frames_of_an_instance_are_an_animated_gif_if_accepted() {
    let archive = samples::shared();
    let root = ArchiveRoot::start_with_config(&archive.url, "").await;
    let (path, rows) = find_series(&root, "XA").await;
    let object = instance_path(&path, &rows[0]);
    let browser_accept = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8";
    let animated =
        client::get_with_headers(&root.url(&format!("{object}/rendered")), &[("Accept", browser_accept)])
            .await;
    assert_eq!(
        (animated.status, animated.header("content-type")),
        (200, Some("image/gif")),
        "{}",
        animated.text()
    );
    assert!(animated.is_complete);
    let png = [("Accept", "multipart/related; type=image/png")];
    let still_images = parts(&client::get_with_headers(&root.url(&format!("{object}/rendered")), &png).await);
    let frames = GifDecoder::new(Cursor::new(animated.body)).unwrap().into_frames().collect_frames().unwrap();
    assert_eq!(frames.len(), still_images.len());
    for (frame, (_, still)) in frames.iter().zip(&still_images) {
        assert_eq!(frame.buffer(), &image::load_from_memory(still).unwrap().to_rgba8());
    }
    // A single frame is a GIF that is not animated. Several instances cannot be one GIF.
    let gif = [("Accept", "image/gif")];
    let single_frame =
        client::get_with_headers(&root.url(&format!("{object}/frames/2/rendered")), &gif).await;
    assert_eq!((single_frame.status, single_frame.header("content-type")), (200, Some("image/gif")));
    let single_frame = image::load_from_memory(&single_frame.body).unwrap().to_rgba8();
    assert_eq!(single_frame, image::load_from_memory(&still_images[1].1).unwrap().to_rgba8());
    let (ct_series, _) = find_series(&root, "CT").await;
    let rejected = client::get_with_headers(&root.url(&format!("{ct_series}/rendered")), &gif).await;
    assert_eq!(rejected.status, 406);
}

#[tokio::test]
async fn a_stalled_client_does_not_block_rendering_for_others() {
    let archive = samples::shared();
    let root = ArchiveRoot::start_with_config(&archive.url, "[render]\nparallelism = 1").await;
    let (path, rows) = find_series(&root, "XA").await;
    let object = instance_path(&path, &rows[0]);
    let png = [("Accept", "multipart/related; type=image/png")];
    let two_images = root.url(&format!("{object}/frames/1,2/rendered?viewport=1024,1024"));
    let two_images = parts(&client::get_with_headers(&two_images, &png).await);
    // The images do not fit into the socket buffers.
    let many_images = format!("{object}/frames/{}/rendered?viewport=1024,1024", vec!["1,2"; 40].join(","));
    assert!(
        40 * (two_images[0].1.len() + two_images[1].1.len()) > 16 << 20,
        "{} bytes per image",
        two_images[0].1.len()
    );
    let stalled = client::send_request("GET", &root.url(&many_images), &png).await;
    stalled.readable().await.unwrap();
    // The only permit is released when the socket buffers are full, which takes a while on a busy machine.
    let mut thumbnail = client::get(&root.url(&format!("{path}/thumbnail"))).await;
    for _ in 0..30 {
        if thumbnail.status != 503 {
            break;
        }
        assert!(thumbnail.header("retry-after").is_some(), "{}", thumbnail.text());
        thumbnail = client::get(&root.url(&format!("{path}/thumbnail"))).await;
    }
    assert_eq!(thumbnail.status, 200, "{}", thumbnail.text());
    let images = parts(&client::receive("GET", stalled).await);
    assert_eq!(images.len(), 80);
    for (number, (headers, image)) in images.iter().enumerate() {
        assert_eq!(
            (headers, image),
            (&two_images[number % 2].0, &two_images[number % 2].1),
            "image {number}"
        );
    }
}

#[tokio::test]
async fn resources_that_cannot_be_rendered_are_rejected_with_the_reason() {
    let archive = samples::shared();
    let root = ArchiveRoot::start_with_config(&archive.url, "").await;
    let (report, rows) = find_series(&root, "SR").await;
    for path in [format!("{report}/thumbnail"), format!("{}/rendered", instance_path(&report, &rows[0]))] {
        let response = client::get(&root.url(&path)).await;
        assert_eq!(response.status, 406, "{}", response.text());
        assert!(response.text().contains("not an image"), "{}", response.text());
    }
    let (path, rows) = find_series(&root, "CT").await;
    let image_path = instance_path(&path, &rows[0]);
    for (query, accept, status) in [
        ("annotation=patient&viewport=40,40", "image/png", 400),
        ("iccprofile=yes", "image/png", 501),
        ("viewport=0,1", "image/png", 400),
        ("viewport=10,10,5000,0,1,1", "image/png", 400),
        ("window=1,0,linear", "image/png", 400),
        ("viewport=60000,60000", "image/png", 400),
        ("quality=50", "image/webp", 406),
    ] {
        let response = client::get_with_headers(
            &root.url(&format!("{image_path}/rendered?{query}")),
            &[("Accept", accept)],
        )
        .await;
        assert_eq!(response.status, status, "{query}: {}", response.text());
    }
    let unknown_study = client::get(&root.url("studies/1.9/thumbnail")).await;
    assert_eq!(unknown_study.status, 404);
}

/// Archives ignore the parameter `annotation`.
#[tokio::test]
async fn annotations_are_always_rendered_by_the_gateway() {
    let archive = samples::shared();
    let root = ArchiveRoot::start_with_config(&archive.url, "").await;
    let (path, rows) = find_series(&root, "CT").await;
    let rendered = format!("{}/rendered?viewport=400,400", instance_path(&path, &rows[0]));
    let not_annotated = client::get(&root.url(&rendered)).await;
    let annotated = client::get(&root.url(&format!("{rendered}&annotation=patient,technique"))).await;
    assert_eq!((not_annotated.status, annotated.status), (200, 200), "{}", annotated.text());
    assert_eq!(dimensions(&not_annotated.body), dimensions(&annotated.body));
    assert!(not_annotated.body != annotated.body);

    let pacs = Pacs::new()
        .with_fallback(CannedResponse::bytes("image/jpeg", "rendered by the archive"))
        .start()
        .await;
    let root = ArchiveRoot::start(&pacs).await;
    let image = "studies/1.2/series/1.2.1/instances/1.2.1.1/rendered";
    assert_eq!(client::get(&root.url(image)).await.text(), "rendered by the archive");
    let request_count = pacs.targets().len();
    assert_eq!(client::get(&root.url(&format!("{image}?annotation=patient"))).await.status, 502);
    assert!(
        pacs.targets()[request_count..].iter().all(|target| !target.contains("rendered")),
        "{:?}",
        pacs.targets()
    );
}

#[tokio::test]
async fn archives_whose_rendered_images_are_synthesized_get_no_rendering_requests() {
    let object =
        CannedResponse::multipart("b", [("Content-Type: application/dicom", &b"not a DICOM file"[..])]);
    let pacs = Pacs::new()
        .with_study(Study::new("1.2").series("1.2.1", "CT", 1))
        .with_response(&format!("/{INSTANCE}"), object)
        .with_response(&format!("/{INSTANCE}/rendered"), CannedResponse::bytes("image/jpeg", "wrong"))
        .start()
        .await;
    let root = ArchiveRoot::start_with_config(&pacs.url(), "synthesize = [\"rendered\"]").await;
    let response = client::get(&root.url(&format!("{INSTANCE}/rendered"))).await;
    assert_eq!(response.status, 502, "{}", response.text());
    assert!(response.text().contains("not a DICOM file"), "{}", response.text());
    assert_eq!(pacs.targets(), [format!("/dicom-web/{INSTANCE}")]);
}

#[tokio::test]
async fn objects_that_are_too_large_or_truncated_are_not_rendered() {
    let large = CannedResponse::endless("application/dicom", vec![0; 1 << 16]);
    let pacs = Pacs::new()
        .with_study(Study::new("1.2").series("1.2.1", "CT", 1))
        .with_response(&format!("/{INSTANCE}"), large)
        .with_response(
            "/studies/1.2/series/1.2.1/instances/1.2.1.2",
            CannedResponse::bytes("application/dicom", vec![0; 999]).abort_after(500),
        )
        .start()
        .await;
    let root = ArchiveRoot::start_with_config(&pacs.url(), "[render]\nmemory = \"4MiB\"\n").await;
    let response = client::get(&root.url(&format!("{INSTANCE}/thumbnail"))).await;
    assert_eq!(response.status, 413, "{}", response.text());
    let response = client::get(&root.url("studies/1.2/series/1.2.1/instances/1.2.1.2/thumbnail")).await;
    assert_eq!(response.status, 502, "{}", response.text());
}
