//! Rendered images that the archive does not provide. Their pixels are compared with another renderer in tests/e2e.

use std::io::Cursor;

use image::codecs::gif::GifDecoder;
use image::{AnimationDecoder, GenericImageView};

use crate::support::archive_root::{ArchiveRoot, PUBLIC_URL};
use crate::support::client::{self, ReceivedResponse};
use crate::support::pacs::{CannedResponse, Pacs, Study};
use crate::support::samples;

const INSTANCE: &str = "studies/1.2/series/1.2.1/instances/1.2.1.1";

fn size(image: &[u8]) -> (u32, u32) {
    image::load_from_memory(image).unwrap().dimensions()
}

/// The path of the first series with `modality`, and the rows of its instances in the order of their numbers.
async fn series(root: &ArchiveRoot, modality: &str) -> (String, Vec<serde_json::Value>) {
    let found = client::get(&root.url(&format!("series?Modality={modality}"))).await.json();
    let uid = |row: &serde_json::Value, tag: &str| row[tag]["Value"][0].as_str().unwrap().to_owned();
    let path = format!("studies/{}/series/{}", uid(&found[0], "0020000D"), uid(&found[0], "0020000E"));
    let rows = client::get(&root.url(&format!("{path}/instances?includefield=all"))).await.json();
    let mut rows = rows.as_array().unwrap().clone();
    rows.sort_by_key(|row| row["00200013"]["Value"][0].as_i64());
    (path, rows)
}

fn instance(path: &str, row: &serde_json::Value) -> String {
    format!("{path}/instances/{}", row["00080018"]["Value"][0].as_str().unwrap())
}

/// The headers and the body of each part.
fn parts(answer: &ReceivedResponse) -> Vec<(String, Vec<u8>)> {
    assert!(answer.is_complete);
    let (_, boundary) = answer.header("content-type").unwrap().split_once("boundary=").unwrap();
    let delimiter = format!("\r\n--{boundary}");
    let mut found: Vec<_> = memchr::memmem::find_iter(&answer.body, delimiter.as_bytes()).collect();
    let last = found.pop().unwrap();
    assert!(answer.body[last..].ends_with(b"--\r\n"));
    let ends = found.iter().skip(1).copied().chain([last]);
    let part = |(start, end): (&usize, usize)| {
        let part = &answer.body[start + delimiter.len()..end];
        let headers = memchr::memmem::find(part, b"\r\n\r\n").unwrap();
        (String::from_utf8(part[..headers].to_vec()).unwrap(), part[headers + 4..].to_vec())
    };
    found.iter().zip(ends).map(part).collect()
}

#[tokio::test]
async fn thumbnails_are_rendered_at_every_level_if_the_archive_renders_nothing() {
    let archive = samples::shared();
    let root = ArchiveRoot::start_with_config(&archive.url, "").await;
    let (path, rows) = series(&root, "CT").await;
    let study = path.split("/series").next().unwrap();
    let middle = instance(&path, &rows[(rows.len() - 1) / 2]);
    let of_middle = client::get(&root.url(&format!("{middle}/thumbnail"))).await;
    assert_eq!(
        (of_middle.status, of_middle.header("content-type")),
        (200, Some("image/jpeg")),
        "{}",
        of_middle.text()
    );
    for level in [study, &path, &format!("{middle}/frames/1")] {
        let answer = client::get(&root.url(&format!("{level}/thumbnail"))).await;
        assert_eq!(answer.status, 200, "{level}: {}", answer.text());
        let (width, height) = size(&answer.body);
        assert!(width.max(height) == 128, "{level}: {width} by {height}");
    }
    let of_series = client::get(&root.url(&format!("{path}/thumbnail"))).await;
    assert_eq!(of_series.body, of_middle.body, "the middle image represents its series");
    let large = root.url(&format!("{path}/thumbnail?viewport=300,200"));
    let large = client::get_with_headers(&large, &[("Accept", "image/png;q=0.5, image/webp")]).await;
    assert_eq!(large.header("content-type"), Some("image/png"));
    assert_eq!(size(&large.body).1, 200);
}

#[tokio::test]
async fn the_aggregate_root_renders_the_same_image_as_the_archive_root() {
    let archive = samples::shared();
    let root = ArchiveRoot::start_with_config(&archive.url, "").await;
    let (path, _) = series(&root, "MR").await;
    let alone = client::get(&root.url(&format!("{path}/thumbnail"))).await;
    let together = client::get(&root.url(&format!("../{path}/thumbnail")).replace("/main/../", "/")).await;
    assert_eq!((together.status, together.body), (200, alone.body));
}

#[tokio::test]
async fn several_rendered_images_are_multipart_and_never_a_single_image() {
    let archive = samples::shared();
    let root = ArchiveRoot::start_with_config(&archive.url, "").await;
    let (path, rows) = series(&root, "CT").await;
    let rendered = root.url(&format!("{path}/rendered"));
    let refused = client::get_with_headers(&rendered, &[("Accept", "image/jpeg")]).await;
    assert_eq!(refused.status, 406);
    assert!(refused.text().contains("multipart/related"), "{}", refused.text());
    let png = [("Accept", "multipart/related; type=\"image/png\"")];
    let answer = client::get_with_headers(&rendered, &png).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let parts = parts(&answer);
    assert_eq!(parts.len(), rows.len());
    for ((headers, image), row) in parts.iter().zip(&rows) {
        let location = format!("{PUBLIC_URL}/{}/frames/1/rendered", instance(&path, row));
        assert!(headers.contains("Content-Type: image/png") && headers.contains(&location), "{headers}");
        let alone = format!("{}/rendered", instance(&path, row));
        let alone = client::get_with_headers(&root.url(&alone), &[("Accept", "image/png")]).await;
        assert_eq!((alone.status, &alone.body), (200, image));
    }
}

#[tokio::test]
async fn rendered_frames_of_an_instance_are_multipart_and_available_individually() {
    let archive = samples::shared();
    let root = ArchiveRoot::start_with_config(&archive.url, "").await;
    let (path, rows) = series(&root, "XA").await;
    let frames = rows[0]["00280008"]["Value"][0].as_i64().unwrap();
    assert!(frames > 1, "the sample has several frames");
    let object = instance(&path, &rows[0]);
    let any = [("Accept", "multipart/related; type=image/jpeg")];
    let all = parts(&client::get_with_headers(&root.url(&format!("{object}/rendered")), &any).await);
    assert_eq!(i64::try_from(all.len()), Ok(frames));
    let second = client::get(&root.url(&format!("{object}/frames/2/rendered"))).await;
    assert_eq!(second.body, all[1].1);
    let some =
        parts(&client::get_with_headers(&root.url(&format!("{object}/frames/2,1/rendered")), &any).await);
    assert_eq!([&some[0].1, &some[1].1], [&all[1].1, &all[0].1]);
    let beyond = client::get(&root.url(&format!("{object}/frames/{}/rendered", frames + 1))).await;
    assert_eq!(beyond.status, 404, "{}", beyond.text());
}

#[tokio::test]
async fn rendered_frames_of_an_instance_are_an_animated_gif_if_accepted() {
    let archive = samples::shared();
    let root = ArchiveRoot::start_with_config(&archive.url, "").await;
    let (path, rows) = series(&root, "XA").await;
    let object = instance(&path, &rows[0]);
    let in_a_page = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8";
    let animated =
        client::get_with_headers(&root.url(&format!("{object}/rendered")), &[("Accept", in_a_page)]).await;
    assert_eq!(
        (animated.status, animated.header("content-type")),
        (200, Some("image/gif")),
        "{}",
        animated.text()
    );
    assert!(animated.is_complete);
    let png = [("Accept", "multipart/related; type=image/png")];
    let still = parts(&client::get_with_headers(&root.url(&format!("{object}/rendered")), &png).await);
    let frames = GifDecoder::new(Cursor::new(animated.body)).unwrap().into_frames().collect_frames().unwrap();
    assert_eq!(frames.len(), still.len());
    for (frame, (_, still)) in frames.iter().zip(&still) {
        assert_eq!(frame.buffer(), &image::load_from_memory(still).unwrap().to_rgba8());
    }
    // A single frame is a plain GIF, and several instances have no GIF.
    let gif = [("Accept", "image/gif")];
    let one = client::get_with_headers(&root.url(&format!("{object}/frames/2/rendered")), &gif).await;
    assert_eq!((one.status, one.header("content-type")), (200, Some("image/gif")));
    let one = image::load_from_memory(&one.body).unwrap().to_rgba8();
    assert_eq!(one, image::load_from_memory(&still[1].1).unwrap().to_rgba8());
    let (of_several, _) = series(&root, "CT").await;
    let refused = client::get_with_headers(&root.url(&format!("{of_several}/rendered")), &gif).await;
    assert_eq!(refused.status, 406);
}

#[tokio::test]
async fn a_stalled_client_does_not_block_rendering_for_others() {
    let archive = samples::shared();
    let root = ArchiveRoot::start_with_config(&archive.url, "[render]\nparallelism = 1").await;
    let (path, rows) = series(&root, "XA").await;
    let object = instance(&path, &rows[0]);
    let png = [("Accept", "multipart/related; type=image/png")];
    let alone = root.url(&format!("{object}/frames/1,2/rendered?viewport=1024,1024"));
    let alone = parts(&client::get_with_headers(&alone, &png).await);
    // More than the socket buffers hold.
    let many = format!("{object}/frames/{}/rendered?viewport=1024,1024", vec!["1,2"; 40].join(","));
    assert!(40 * (alone[0].1.len() + alone[1].1.len()) > 16 << 20, "{} bytes per image", alone[0].1.len());
    let stalled = client::send_request("GET", &root.url(&many), &png).await;
    stalled.readable().await.unwrap();
    // The only permit is in use until the socket buffers are full, which takes a while on a busy machine.
    let mut thumbnail = client::get(&root.url(&format!("{path}/thumbnail"))).await;
    for _ in 0..30 {
        if thumbnail.status != 503 {
            break;
        }
        assert!(thumbnail.header("retry-after").is_some(), "{}", thumbnail.text());
        thumbnail = client::get(&root.url(&format!("{path}/thumbnail"))).await;
    }
    assert_eq!(thumbnail.status, 200, "{}", thumbnail.text());
    let all = parts(&client::receive("GET", stalled).await);
    assert_eq!(all.len(), 80);
    for (number, (headers, image)) in all.iter().enumerate() {
        assert_eq!((headers, image), (&alone[number % 2].0, &alone[number % 2].1), "image {number}");
    }
}

#[tokio::test]
async fn resources_that_cannot_be_rendered_are_rejected_with_the_reason() {
    let archive = samples::shared();
    let root = ArchiveRoot::start_with_config(&archive.url, "").await;
    let (report, rows) = series(&root, "SR").await;
    for path in [format!("{report}/thumbnail"), format!("{}/rendered", instance(&report, &rows[0]))] {
        let answer = client::get(&root.url(&path)).await;
        assert_eq!(answer.status, 406, "{}", answer.text());
        assert!(answer.text().contains("not an image"), "{}", answer.text());
    }
    let (path, rows) = series(&root, "CT").await;
    let image = instance(&path, &rows[0]);
    for (query, accept, status) in [
        ("annotation=patient&viewport=40,40", "image/png", 400),
        ("iccprofile=yes", "image/png", 501),
        ("viewport=0,1", "image/png", 400),
        ("viewport=10,10,5000,0,1,1", "image/png", 400),
        ("window=1,0,linear", "image/png", 400),
        ("viewport=60000,60000", "image/png", 400),
        ("quality=50", "image/webp", 406),
    ] {
        let answer =
            client::get_with_headers(&root.url(&format!("{image}/rendered?{query}")), &[("Accept", accept)])
                .await;
        assert_eq!(answer.status, status, "{query}: {}", answer.text());
    }
    let missing = client::get(&root.url("studies/1.9/thumbnail")).await;
    assert_eq!(missing.status, 404);
}

/// Archives that render ignore the parameter, so that the image would not be annotated.
#[tokio::test]
async fn annotations_are_always_rendered_by_the_gateway() {
    let archive = samples::shared();
    let root = ArchiveRoot::start_with_config(&archive.url, "").await;
    let (path, rows) = series(&root, "CT").await;
    let rendered = format!("{}/rendered?viewport=400,400", instance(&path, &rows[0]));
    let plain = client::get(&root.url(&rendered)).await;
    let annotated = client::get(&root.url(&format!("{rendered}&annotation=patient,technique"))).await;
    assert_eq!((plain.status, annotated.status), (200, 200), "{}", annotated.text());
    assert_eq!(size(&plain.body), size(&annotated.body));
    assert!(plain.body != annotated.body);

    let pacs = Pacs::new()
        .with_fallback(CannedResponse::bytes("image/jpeg", "rendered by the archive"))
        .start()
        .await;
    let root = ArchiveRoot::start(&pacs).await;
    let image = "studies/1.2/series/1.2.1/instances/1.2.1.1/rendered";
    assert_eq!(client::get(&root.url(image)).await.text(), "rendered by the archive");
    let sent = pacs.targets().len();
    assert_eq!(client::get(&root.url(&format!("{image}?annotation=patient"))).await.status, 502);
    assert!(pacs.targets()[sent..].iter().all(|target| !target.contains("rendered")), "{:?}", pacs.targets());
}

#[tokio::test]
async fn archives_with_synthesized_rendering_get_no_rendering_requests() {
    let object =
        CannedResponse::multipart("b", [("Content-Type: application/dicom", &b"no DICOM at all"[..])]);
    let pacs = Pacs::new()
        .with_study(Study::new("1.2").series("1.2.1", "CT", 1))
        .with_response(&format!("/{INSTANCE}"), object)
        .with_response(&format!("/{INSTANCE}/rendered"), CannedResponse::bytes("image/jpeg", "wrong"))
        .start()
        .await;
    let root = ArchiveRoot::start_with_config(&pacs.url(), "synthesize = [\"rendered\"]").await;
    let answer = client::get(&root.url(&format!("{INSTANCE}/rendered"))).await;
    assert_eq!(answer.status, 502, "{}", answer.text());
    assert!(answer.text().contains("not a DICOM file"), "{}", answer.text());
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
    let answer = client::get(&root.url(&format!("{INSTANCE}/thumbnail"))).await;
    assert_eq!(answer.status, 413, "{}", answer.text());
    let answer = client::get(&root.url("studies/1.2/series/1.2.1/instances/1.2.1.2/thumbnail")).await;
    assert_eq!(answer.status, 502, "{}", answer.text());
}
