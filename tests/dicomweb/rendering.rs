//! Pictures that the archive does not draw. What they show is compared with another drawing of them in tests/e2e.

use std::io::Cursor;

use image::codecs::gif::GifDecoder;
use image::{AnimationDecoder, GenericImageView};

use crate::support::client::{self, Received};
use crate::support::front::{Front, PUBLIC};
use crate::support::pacs::{Answer, Pacs, Study};
use crate::support::samples;

const INSTANCE: &str = "studies/1.2/series/1.2.1/instances/1.2.1.1";

fn size(picture: &[u8]) -> (u32, u32) {
    image::load_from_memory(picture).unwrap().dimensions()
}

/// Of the first series that has `modality`: its path, and its rows of instances in the order of their numbers.
async fn series(front: &Front, modality: &str) -> (String, Vec<serde_json::Value>) {
    let found = client::get(&front.url(&format!("series?Modality={modality}"))).await.json();
    let uid = |row: &serde_json::Value, tag: &str| row[tag]["Value"][0].as_str().unwrap().to_owned();
    let path = format!("studies/{}/series/{}", uid(&found[0], "0020000D"), uid(&found[0], "0020000E"));
    let rows = client::get(&front.url(&format!("{path}/instances?includefield=all"))).await.json();
    let mut rows = rows.as_array().unwrap().clone();
    rows.sort_by_key(|row| row["00200013"]["Value"][0].as_i64());
    (path, rows)
}

fn instance(path: &str, row: &serde_json::Value) -> String {
    format!("{path}/instances/{}", row["00080018"]["Value"][0].as_str().unwrap())
}

/// The headers and the body of each part.
fn parts(answer: &Received) -> Vec<(String, Vec<u8>)> {
    assert!(answer.complete);
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
async fn every_level_has_a_thumbnail_though_the_archive_draws_nothing() {
    let archive = samples::shared();
    let front = Front::told(&archive.url, "").await;
    let (path, rows) = series(&front, "CT").await;
    let study = path.split("/series").next().unwrap();
    let middle = instance(&path, &rows[(rows.len() - 1) / 2]);
    let of_middle = client::get(&front.url(&format!("{middle}/thumbnail"))).await;
    assert_eq!(
        (of_middle.status, of_middle.header("content-type")),
        (200, Some("image/jpeg")),
        "{}",
        of_middle.text()
    );
    for level in [study, &path, &format!("{middle}/frames/1")] {
        let answer = client::get(&front.url(&format!("{level}/thumbnail"))).await;
        assert_eq!(answer.status, 200, "{level}: {}", answer.text());
        let (width, height) = size(&answer.body);
        assert!(width.max(height) == 128, "{level}: {width} by {height}");
    }
    let of_series = client::get(&front.url(&format!("{path}/thumbnail"))).await;
    assert_eq!(of_series.body, of_middle.body, "the middle image stands for its series");
    let large = front.url(&format!("{path}/thumbnail?viewport=300,200"));
    let large = client::get_with(&large, &[("Accept", "image/png;q=0.5, image/webp")]).await;
    assert_eq!(large.header("content-type"), Some("image/png"));
    assert_eq!(size(&large.body).1, 200);
}

#[tokio::test]
async fn all_archives_together_draw_as_each_does() {
    let archive = samples::shared();
    let front = Front::told(&archive.url, "").await;
    let (path, _) = series(&front, "MR").await;
    let alone = client::get(&front.url(&format!("{path}/thumbnail"))).await;
    let together = client::get(&front.url(&format!("../{path}/thumbnail")).replace("/main/../", "/")).await;
    assert_eq!((together.status, together.body), (200, alone.body));
}

#[tokio::test]
async fn several_pictures_are_parts_and_never_one_of_them() {
    let archive = samples::shared();
    let front = Front::told(&archive.url, "").await;
    let (path, rows) = series(&front, "CT").await;
    let rendered = front.url(&format!("{path}/rendered"));
    let refused = client::get_with(&rendered, &[("Accept", "image/jpeg")]).await;
    assert_eq!(refused.status, 406);
    assert!(refused.text().contains("multipart/related"), "{}", refused.text());
    let png = [("Accept", "multipart/related; type=\"image/png\"")];
    let answer = client::get_with(&rendered, &png).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let parts = parts(&answer);
    assert_eq!(parts.len(), rows.len());
    for ((headers, picture), row) in parts.iter().zip(&rows) {
        let location = format!("{PUBLIC}/{}/frames/1/rendered", instance(&path, row));
        assert!(headers.contains("Content-Type: image/png") && headers.contains(&location), "{headers}");
        let alone = format!("{}/rendered", instance(&path, row));
        let alone = client::get_with(&front.url(&alone), &[("Accept", "image/png")]).await;
        assert_eq!((alone.status, &alone.body), (200, picture));
    }
}

#[tokio::test]
async fn frames_of_one_object_are_parts_too_and_can_be_had_alone() {
    let archive = samples::shared();
    let front = Front::told(&archive.url, "").await;
    let (path, rows) = series(&front, "XA").await;
    let frames = rows[0]["00280008"]["Value"][0].as_i64().unwrap();
    assert!(frames > 1, "the sample has several frames");
    let object = instance(&path, &rows[0]);
    let any = [("Accept", "multipart/related; type=image/jpeg")];
    let all = parts(&client::get_with(&front.url(&format!("{object}/rendered")), &any).await);
    assert_eq!(i64::try_from(all.len()), Ok(frames));
    let second = client::get(&front.url(&format!("{object}/frames/2/rendered"))).await;
    assert_eq!(second.body, all[1].1);
    let some = parts(&client::get_with(&front.url(&format!("{object}/frames/2,1/rendered")), &any).await);
    assert_eq!([&some[0].1, &some[1].1], [&all[1].1, &all[0].1]);
    let beyond = client::get(&front.url(&format!("{object}/frames/{}/rendered", frames + 1))).await;
    assert_eq!(beyond.status, 404, "{}", beyond.text());
}

#[tokio::test]
async fn frames_of_one_object_are_one_gif_for_those_who_ask_for_images() {
    let archive = samples::shared();
    let front = Front::told(&archive.url, "").await;
    let (path, rows) = series(&front, "XA").await;
    let object = instance(&path, &rows[0]);
    let in_a_page = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8";
    let moving = client::get_with(&front.url(&format!("{object}/rendered")), &[("Accept", in_a_page)]).await;
    assert_eq!((moving.status, moving.header("content-type")), (200, Some("image/gif")), "{}", moving.text());
    assert!(moving.complete);
    let png = [("Accept", "multipart/related; type=image/png")];
    let still = parts(&client::get_with(&front.url(&format!("{object}/rendered")), &png).await);
    let frames = GifDecoder::new(Cursor::new(moving.body)).unwrap().into_frames().collect_frames().unwrap();
    assert_eq!(frames.len(), still.len());
    for (frame, (_, still)) in frames.iter().zip(&still) {
        assert_eq!(frame.buffer(), &image::load_from_memory(still).unwrap().to_rgba8());
    }
    // Of one frame it is a picture as any other, and of several instances there is none.
    let gif = [("Accept", "image/gif")];
    let one = client::get_with(&front.url(&format!("{object}/frames/2/rendered")), &gif).await;
    assert_eq!((one.status, one.header("content-type")), (200, Some("image/gif")));
    let one = image::load_from_memory(&one.body).unwrap().to_rgba8();
    assert_eq!(one, image::load_from_memory(&still[1].1).unwrap().to_rgba8());
    let (of_several, _) = series(&front, "CT").await;
    let refused = client::get_with(&front.url(&format!("{of_several}/rendered")), &gif).await;
    assert_eq!(refused.status, 406);
}

#[tokio::test]
async fn who_takes_no_more_pictures_keeps_nobody_from_drawing() {
    let archive = samples::shared();
    let front = Front::told(&archive.url, "[render]\nparallelism = 1").await;
    let (path, rows) = series(&front, "XA").await;
    let object = instance(&path, &rows[0]);
    let png = [("Accept", "multipart/related; type=image/png")];
    let alone = front.url(&format!("{object}/frames/1,2/rendered?viewport=1024,1024"));
    let alone = parts(&client::get_with(&alone, &png).await);
    // More than the sockets in between hold.
    let many = format!("{object}/frames/{}/rendered?viewport=1024,1024", vec!["1,2"; 40].join(","));
    assert!(40 * (alone[0].1.len() + alone[1].1.len()) > 16 << 20, "{} bytes a picture", alone[0].1.len());
    let untaken = client::ask("GET", &front.url(&many), &png).await;
    untaken.readable().await.unwrap();
    // The only place is taken for as long as the sockets still take pictures, which a busy machine may need a while to draw.
    let mut thumbnail = client::get(&front.url(&format!("{path}/thumbnail"))).await;
    for _ in 0..30 {
        if thumbnail.status != 503 {
            break;
        }
        assert!(thumbnail.header("retry-after").is_some(), "{}", thumbnail.text());
        thumbnail = client::get(&front.url(&format!("{path}/thumbnail"))).await;
    }
    assert_eq!(thumbnail.status, 200, "{}", thumbnail.text());
    let all = parts(&client::receive("GET", untaken).await);
    assert_eq!(all.len(), 80);
    for (number, (headers, picture)) in all.iter().enumerate() {
        assert_eq!((headers, picture), (&alone[number % 2].0, &alone[number % 2].1), "picture {number}");
    }
}

#[tokio::test]
async fn what_cannot_be_drawn_is_refused_with_the_reason() {
    let archive = samples::shared();
    let front = Front::told(&archive.url, "").await;
    let (report, rows) = series(&front, "SR").await;
    for path in [format!("{report}/thumbnail"), format!("{}/rendered", instance(&report, &rows[0]))] {
        let answer = client::get(&front.url(&path)).await;
        assert_eq!(answer.status, 406, "{}", answer.text());
        assert!(answer.text().contains("no image"), "{}", answer.text());
    }
    let (path, rows) = series(&front, "CT").await;
    let image = instance(&path, &rows[0]);
    for (query, accept, status) in [
        ("annotation=patient&viewport=40,40", "image/png", 400),
        ("iccprofile=yes", "image/png", 501),
        ("viewport=0,1", "image/png", 400),
        ("viewport=10,10,5000,0,1,1", "image/png", 400),
        ("window=1,0,linear", "image/png", 400),
        ("viewport=60000,60000", "image/png", 413),
        ("quality=50", "image/webp", 406),
    ] {
        let answer =
            client::get_with(&front.url(&format!("{image}/rendered?{query}")), &[("Accept", accept)]).await;
        assert_eq!(answer.status, status, "{query}: {}", answer.text());
    }
    let missing = client::get(&front.url("studies/1.9/thumbnail")).await;
    assert_eq!(missing.status, 404);
}

/// Archives that draw ignore the parameter, so that the picture would not say whose it is.
#[tokio::test]
async fn annotations_are_written_here_whoever_draws_the_rest() {
    let archive = samples::shared();
    let front = Front::told(&archive.url, "").await;
    let (path, rows) = series(&front, "CT").await;
    let rendered = format!("{}/rendered?viewport=400,400", instance(&path, &rows[0]));
    let plain = client::get(&front.url(&rendered)).await;
    let annotated = client::get(&front.url(&format!("{rendered}&annotation=patient,technique"))).await;
    assert_eq!((plain.status, annotated.status), (200, 200), "{}", annotated.text());
    assert_eq!(size(&plain.body), size(&annotated.body));
    assert!(plain.body != annotated.body);

    let pacs = Pacs::new().otherwise(Answer::bytes("image/jpeg", "drawn by the archive")).start().await;
    let front = Front::of(&pacs).await;
    let image = "studies/1.2/series/1.2.1/instances/1.2.1.1/rendered";
    assert_eq!(client::get(&front.url(image)).await.text(), "drawn by the archive");
    let asked = pacs.targets().len();
    assert_eq!(client::get(&front.url(&format!("{image}?annotation=patient"))).await.status, 502);
    assert!(
        pacs.targets()[asked..].iter().all(|target| !target.contains("rendered")),
        "{:?}",
        pacs.targets()
    );
}

#[tokio::test]
async fn an_archive_that_is_not_to_draw_is_not_asked_to() {
    let object = Answer::parts("b", [("Content-Type: application/dicom", &b"no DICOM at all"[..])]);
    let pacs = Pacs::new()
        .study(Study::new("1.2").series("1.2.1", "CT", 1))
        .at(&format!("/{INSTANCE}"), object)
        .at(&format!("/{INSTANCE}/rendered"), Answer::bytes("image/jpeg", "wrong"))
        .start()
        .await;
    let front = Front::told(&pacs.url(), "synthesize = [\"rendered\"]").await;
    let answer = client::get(&front.url(&format!("{INSTANCE}/rendered"))).await;
    assert_eq!(answer.status, 502, "{}", answer.text());
    assert!(answer.text().contains("no DICOM file"), "{}", answer.text());
    assert_eq!(pacs.targets(), [format!("/dicom-web/{INSTANCE}")]);
}

#[tokio::test]
async fn an_object_that_is_too_large_or_not_whole_is_refused() {
    let large = Answer::endless("application/dicom", vec![0; 1 << 16]);
    let pacs = Pacs::new()
        .study(Study::new("1.2").series("1.2.1", "CT", 1))
        .at(&format!("/{INSTANCE}"), large)
        .at(
            "/studies/1.2/series/1.2.1/instances/1.2.1.2",
            Answer::bytes("application/dicom", vec![0; 999]).breaks_after(500),
        )
        .start()
        .await;
    let front = Front::told(&pacs.url(), "[render]\nmemory = \"4MiB\"\n").await;
    let answer = client::get(&front.url(&format!("{INSTANCE}/thumbnail"))).await;
    assert_eq!(answer.status, 413, "{}", answer.text());
    let answer = client::get(&front.url("studies/1.2/series/1.2.1/instances/1.2.1.2/thumbnail")).await;
    assert_eq!(answer.status, 502, "{}", answer.text());
}
