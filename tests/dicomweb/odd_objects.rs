//! Odd objects that archives accept: whoever reads them reads the same. Metadata and bulk data made of instances, rendered
//! frames, and the embedded archive with its frames agree on whether an object can be read, and on the bytes of each frame.

use std::fmt::Write as _;

use dicomweb_archive::Content;
use dicomweb_archive::archive::Progress;
use serde_json::{Value, json};

use crate::support::client::{self, Received};
use crate::support::front::Front;
use crate::support::odd_objects::{
    BIG_ENDIAN, DEFLATED, EXPLICIT, EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT, IMPLICIT_LITTLE, Odd,
    PIXEL_DATA, UNDEFINED, encapsulated,
};
use crate::support::pacs::{Answer, Pacs};

const JPEG: &str = "1.2.840.10008.1.2.4.50";
const RLE: &str = "1.2.840.10008.1.2.5";
const MPEG_4: &str = "1.2.840.10008.1.2.4.102";
const EXTENDED_OFFSETS: u32 = 0x7FE0_0001;
const NATIVE: [u8; 4] = [10, 60, 120, 250];

/// What everyone finds in an object.
#[derive(Debug, Clone)]
enum UrlRewrite {
    /// Nothing: it cannot be read.
    Unreadable,
    /// Frames of octets.
    Native(Vec<Vec<u8>>),
    /// Compressed frames: their media type, and whether they can be rendered.
    Compressed { media_type: &'static str, syntax: &'static str, frames: Vec<Vec<u8>>, rendered: bool },
}

struct Case {
    name: &'static str,
    file: Vec<u8>,
    verdict: UrlRewrite,
    /// Elements that its metadata have, by tag.
    told: Value,
}

/// The objects, numbered as they are added.
#[derive(Default)]
struct Corpus(Vec<Case>);

impl Corpus {
    fn image(&self, syntax: &'static str) -> Odd {
        let writing = match syntax {
            IMPLICIT => IMPLICIT_LITTLE,
            BIG_ENDIAN => EXPLICIT_BIG,
            _ => EXPLICIT_LITTLE,
        };
        Odd::image(writing, syntax, self.0.len() + 1)
    }

    fn add(&mut self, name: &'static str, file: Vec<u8>, verdict: UrlRewrite, told: Value) {
        self.0.push(Case { name, file, verdict, told });
    }

    /// A native image of one frame, with these elements beside.
    fn native(&mut self, name: &'static str, syntax: &'static str, told: Value, change: impl Fn(Odd) -> Odd) {
        let image = change(self.image(syntax).pixels(&NATIVE));
        self.add(name, image.file(), UrlRewrite::Native(vec![NATIVE.to_vec()]), told);
    }

    /// A compressed image with these frames in these fragments.
    fn frames(
        &mut self,
        name: &'static str,
        table: &[u32],
        fragments: &[Vec<u8>],
        frames: &[Vec<u8>],
        change: impl Fn(Odd) -> Odd,
    ) {
        let image = self.image(JPEG).size(8).frames(&frames.len().to_string());
        let image = change(image.with(PIXEL_DATA, encapsulated(table, fragments)));
        let verdict = UrlRewrite::Compressed {
            media_type: "image/jpeg",
            syntax: JPEG,
            frames: frames.to_vec(),
            rendered: true,
        };
        self.add(name, image.file(), verdict, json!({}));
    }
}

/// A frame as JPEG of even length.
fn jpeg(level: u8) -> Vec<u8> {
    let mut stream = Vec::new();
    let picture = image::GrayImage::from_pixel(8, 8, image::Luma([level]));
    picture.write_to(&mut std::io::Cursor::new(&mut stream), image::ImageFormat::Jpeg).unwrap();
    stream.extend(vec![0; stream.len() % 2]);
    stream
}

/// Each frame in two fragments.
fn halves(frames: &[Vec<u8>]) -> Vec<Vec<u8>> {
    frames.iter().flat_map(|frame| frame.split_at(frame.len() / 4 * 2).to_vec()).collect()
}

trait ToVec {
    fn to_vec(self) -> Vec<Vec<u8>>;
}

impl ToVec for (&[u8], &[u8]) {
    fn to_vec(self) -> Vec<Vec<u8>> {
        vec![self.0.to_owned(), self.1.to_owned()]
    }
}

/// Where the item of each of those fragments begins.
fn offsets(fragments: &[Vec<u8>], chosen: impl Fn(usize) -> bool) -> Vec<u32> {
    let mut position = 0;
    let mut found = Vec::new();
    for (index, fragment) in fragments.iter().enumerate() {
        if chosen(index) {
            found.push(position);
        }
        position += 8 + u32::try_from(fragment.len()).unwrap();
    }
    found
}

fn corpus() -> Vec<Case> {
    let mut corpus = Corpus::default();
    unknown_sequences(&mut corpus);
    odd_elements(&mut corpus);
    fragments(&mut corpus);
    films(&mut corpus);
    unreadable(&mut corpus);
    corpus.0
}

/// PS3.5 6.2.2.
fn unknown_sequences(corpus: &mut Corpus) {
    let code = IMPLICIT_LITTLE.element(0x0008_0100, "SH", b"CODE1 ");
    let told = json!({"vr": "SQ", "Value": [{"00080100": {"vr": "SH", "Value": ["CODE1"]}}]});
    for (name, item) in [
        ("unknown sequence of open items", IMPLICIT_LITTLE.open_item(&code)),
        ("unknown sequence of items with a length", IMPLICIT_LITTLE.item(&code)),
    ] {
        for syntax in [EXPLICIT, BIG_ENDIAN, DEFLATED] {
            let (item, told) = (item.clone(), json!({"00091010": told, "00081032": told}));
            corpus.native(name, syntax, told, move |odd| {
                let writing = odd.writing;
                let unknown = |tag| writing.open(tag, "UN", IMPLICIT_LITTLE, &item);
                odd.with(0x0009_1010, unknown(0x0009_1010)).with(0x0008_1032, unknown(0x0008_1032))
            });
        }
        let inner = EXPLICIT_LITTLE.open(0x0009_1010, "UN", IMPLICIT_LITTLE, &item);
        let nested = json!({"00081140": {"vr": "SQ", "Value": [{"00091010": told}]}});
        for outer in [EXPLICIT_LITTLE.item(&inner), EXPLICIT_LITTLE.open_item(&inner)] {
            corpus.native("unknown sequence in an item", EXPLICIT, nested.clone(), |odd| {
                odd.with(0x0008_1140, EXPLICIT_LITTLE.element(0x0008_1140, "SQ", &outer))
            });
        }
        let unknown_inside = IMPLICIT_LITTLE.open(0x0009_1011, "", IMPLICIT_LITTLE, &item);
        let inside = json!({"00091010": {"vr": "SQ", "Value": [{"00091011": told}]}});
        corpus.native("unknown sequence in an unknown one", EXPLICIT, inside.clone(), |odd| {
            let items = IMPLICIT_LITTLE.item(&unknown_inside);
            odd.with(0x0009_1010, EXPLICIT_LITTLE.open(0x0009_1010, "UN", IMPLICIT_LITTLE, &items))
        });
        corpus.native("private sequence in Implicit VR", IMPLICIT, inside, |odd| {
            let items = IMPLICIT_LITTLE.open_item(&unknown_inside);
            odd.with(0x0009_1010, IMPLICIT_LITTLE.open(0x0009_1010, "", IMPLICIT_LITTLE, &items))
        });
    }
    corpus.native("sequences without items", EXPLICIT, json!({"00091010": {"vr": "SQ"}}), |odd| {
        let empty = EXPLICIT_LITTLE.element(0x0008_1032, "SQ", &[]);
        odd.with(0x0008_1032, empty)
            .with(0x0009_1010, EXPLICIT_LITTLE.open(0x0009_1010, "UN", IMPLICIT_LITTLE, &[]))
    });
    corpus.native(
        "closed unknown value",
        EXPLICIT,
        json!({"00091010": {"vr": "UN", "InlineBinary": "TUFSSw=="}}),
        |odd| odd.with(0x0009_1010, EXPLICIT_LITTLE.element(0x0009_1010, "UN", b"MARK")),
    );
}

fn odd_elements(corpus: &mut Corpus) {
    for vr in ["\0\0", "  ", "??"] {
        let unknown = json!({"00091010": {"vr": "UN", "InlineBinary": "TUFSSw=="}});
        corpus.native("invalid representation", EXPLICIT, unknown, |odd| {
            odd.with(0x0009_1010, EXPLICIT_LITTLE.element(0x0009_1010, vr, b"MARK"))
        });
        corpus.native("invalid representation of the first element", EXPLICIT, json!({}), |odd| {
            odd.with(0x0008_0008, EXPLICIT_LITTLE.element(0x0008_0008, vr, b"ORIGINAL\\PRIMARY"))
        });
        let item = EXPLICIT_LITTLE.item(&EXPLICIT_LITTLE.element(0x0009_1010, vr, b"MARK"));
        corpus.native("invalid representation in an item", EXPLICIT, json!({}), |odd| {
            odd.with(0x0008_1140, EXPLICIT_LITTLE.element(0x0008_1140, "SQ", &item))
        });
    }
    corpus.native("representation of the future", EXPLICIT, json!({}), |odd| {
        odd.with(0x0009_1010, EXPLICIT_LITTLE.element(0x0009_1010, "ZZ", b"MARK"))
    });
    let name = json!({"00100010": {"vr": "PN", "Value": [{"Alphabetic": "Doe^Jane"}]}});
    for syntax in [EXPLICIT, IMPLICIT, BIG_ENDIAN, DEFLATED] {
        corpus.native("plain", syntax, name.clone(), |odd| odd);
        corpus.native("odd length", syntax, json!({"00100020": {"vr": "LO", "Value": ["ABC"]}}), |odd| {
            let element = odd.writing.element(0x0010_0020, "LO", b"ABC");
            odd.with(0x0010_0020, element)
        });
        corpus.native("group lengths", syntax, name.clone(), |odd| {
            let length = |tag| odd.writing.element(tag, "UL", &odd.writing.long(1234));
            let (first, second) = (length(0x0010_0000), length(0x0028_0000));
            odd.with(0x0010_0000, first).with(0x0028_0000, second)
        });
        corpus.native("trailing padding", syntax, name.clone(), |odd| {
            let padding = odd.writing.element(0xFFFC_FFFC, "OB", &[0; 100]);
            odd.with(0xFFFC_FFFC, padding).with(u32::MAX, vec![0; 30])
        });
        for frames in ["0", "-1", "", "1.0"] {
            corpus.native("one frame that is called something else", syntax, json!({}), |odd| {
                odd.frames(frames)
            });
        }
        corpus.native("the same element twice", syntax, name.clone(), |odd| {
            let again = odd.writing.element(0x0010_0010, "PN", b"Other^One ");
            odd.with(0x0010_0011, again)
        });
    }
    let several = [NATIVE, [1, 2, 3, 4], [9, 8, 7, 6]].map(|frame| frame.to_vec()).to_vec();
    let image = corpus.image(EXPLICIT).frames("3").pixels(&several.concat());
    corpus.add("several frames", image.file(), UrlRewrite::Native(several), json!({}));
    let unlike = Odd::image(IMPLICIT_LITTLE, EXPLICIT, corpus.0.len() + 1).pixels(&NATIVE);
    corpus.add(
        "Implicit VR that says Explicit",
        unlike.file(),
        UrlRewrite::Native(vec![NATIVE.to_vec()]),
        name.clone(),
    );
    let unlike = Odd::image(EXPLICIT_LITTLE, IMPLICIT, corpus.0.len() + 1).pixels(&NATIVE);
    corpus.add(
        "Explicit VR that says Implicit",
        unlike.file(),
        UrlRewrite::Native(vec![NATIVE.to_vec()]),
        name.clone(),
    );
    corpus.native("file meta information with a length and more", EXPLICIT, name, |odd| {
        let more = EXPLICIT_LITTLE.element(0x0002_0001, "OB", &[0, 1]);
        let length = EXPLICIT_LITTLE.element(0x0002_0000, "UL", &[99, 0, 0, 0]);
        odd.meta([length, more].concat())
    });
}

/// PS3.5 A.4.
fn fragments(corpus: &mut Corpus) {
    let frames = [jpeg(20), jpeg(120), jpeg(220)];
    let halves = halves(&frames);
    let right = offsets(&halves, |index| index.is_multiple_of(2));
    let with_empty = [halves.clone(), vec![Vec::new()]].concat();
    let (one, plain) = (offsets(&frames, |_| true), |odd: Odd| odd);
    corpus.frames("one fragment a frame", &[], &frames, &frames, plain);
    corpus.frames("one fragment a frame, offsets", &one, &frames, &frames, plain);
    corpus.frames("one fragment a frame, offsets of zero", &[0, 0, 0], &frames, &frames, plain);
    corpus.frames("one fragment a frame, wrong offsets", &[0, 13, 77], &frames, &frames, plain);
    corpus.frames("one fragment a frame, too large offsets", &[0, 100_000, 200_000], &frames, &frames, plain);
    corpus.frames("one fragment a frame, too few offsets", &one[..2], &frames, &frames, plain);
    corpus.frames("several fragments, no offsets", &[], &halves, &frames, plain);
    corpus.frames("several fragments, offsets", &right, &halves, &frames, plain);
    corpus.frames("several fragments, offsets of zero", &[0, 0, 0], &halves, &frames, plain);
    corpus.frames("several fragments, descending offsets", &[0, right[2], right[1]], &halves, &frames, plain);
    corpus.frames("several fragments, wrong offsets", &[0, 13, 77], &halves, &frames, plain);
    corpus.frames("an empty fragment at the end", &[], &with_empty, &frames, plain);
    corpus.frames("an empty fragment at the end, offsets", &right, &with_empty, &frames, plain);
    let ones_and_empty = [frames.to_vec(), vec![Vec::new()]].concat();
    corpus.frames("one fragment a frame and an empty one", &[], &ones_and_empty, &frames, plain);
    let single = [frames[0].clone()];
    let parts = halves[..2].to_vec();
    corpus.frames("one frame of several fragments", &[], &parts, &single, plain);
    corpus.frames("one frame of several fragments that is called none", &[], &parts, &single, |odd| {
        odd.frames("0")
    });
    let long =
        |offsets: &[u32]| -> Vec<u8> { offsets.iter().flat_map(|at| u64::from(*at).to_le_bytes()).collect() };
    for (name, offsets) in [("right", right), ("wrong", vec![0, 13, 77])] {
        let table = EXPLICIT_LITTLE.element(EXTENDED_OFFSETS, "OV", &long(&offsets));
        let name = if name == "right" { "extended offsets" } else { "wrong extended offsets" };
        corpus.frames(name, &[], &halves, &frames, |odd| odd.with(EXTENDED_OFFSETS, table.clone()));
    }
    // Of a codec whose streams have no beginning that tells them apart.
    let octets: Vec<Vec<u8>> = (0..6_u8).map(|number| vec![number; 10]).collect();
    let joined: Vec<Vec<u8>> = octets.chunks(2).map(<[_]>::concat).collect();
    let right = offsets(&octets, |index| index.is_multiple_of(2));
    for (name, offsets, count, expected) in [
        ("unmarked fragments", vec![], 6, Some(octets.clone())),
        ("unmarked fragments, wrong offsets", vec![0, 18, 37, 54, 72, 91], 6, Some(octets.clone())),
        ("unmarked fragments, offsets of several", right.clone(), 3, Some(joined.clone())),
        ("unmarked fragments, extended offsets of several", vec![], 3, Some(joined)),
        ("unmarked fragments that nothing tells apart", vec![], 3, None),
        ("fewer fragments than frames", vec![], 7, None),
    ] {
        let mut image = corpus.image(RLE).frames(&count.to_string());
        if name.contains("extended") {
            image =
                image.with(EXTENDED_OFFSETS, EXPLICIT_LITTLE.element(EXTENDED_OFFSETS, "OV", &long(&right)));
        }
        let image = image.with(PIXEL_DATA, encapsulated(&offsets, &octets));
        let frames = expected.unwrap_or_default();
        let verdict =
            UrlRewrite::Compressed { media_type: "image/dicom-rle", syntax: RLE, frames, rendered: false };
        corpus.add(name, image.file(), verdict, json!({}));
    }
}

/// PS3.5 8.2.5 to 8.2.9.
fn films(corpus: &mut Corpus) {
    let film: Vec<u8> = (0..=255).cycle().take(10_000).collect();
    for (syntax, media_type) in [
        ("1.2.840.10008.1.2.4.100", "video/mpeg"),
        ("1.2.840.10008.1.2.4.101.1", "video/mpeg"),
        (MPEG_4, "video/mp4"),
        ("1.2.840.10008.1.2.4.106.1", "video/mp4"),
        ("1.2.840.10008.1.2.4.108", "video/H265"),
    ] {
        for fragments in [vec![film.clone()], film.chunks(4000).map(<[_]>::to_vec).collect()] {
            let image = corpus.image(syntax).frames("25").with(PIXEL_DATA, encapsulated(&[], &fragments));
            let verdict =
                UrlRewrite::Compressed { media_type, syntax, frames: vec![film.clone()], rendered: false };
            corpus.add("film", image.file(), verdict, json!({}));
        }
    }
}

fn unreadable(corpus: &mut Corpus) {
    let mut add = |name, change: &dyn Fn(Odd) -> Vec<u8>| {
        let file = change(corpus.image(EXPLICIT).pixels(&NATIVE));
        corpus.add(name, file, UrlRewrite::Unreadable, json!({}));
    };
    add("no preamble", &|odd| odd.file().split_off(128));
    add("no file meta information", &|odd| odd.data_set());
    add("an item longer than its sequence", &|odd| {
        let item = EXPLICIT_LITTLE.item(&[0; 40]);
        odd.with(0x0008_1140, EXPLICIT_LITTLE.element(0x0008_1140, "SQ", &item[..20])).file()
    });
    add("a value longer than its item", &|odd| {
        let item = EXPLICIT_LITTLE.item(&EXPLICIT_LITTLE.claiming(0x0008_0100, "SH", 20, b"CODE"));
        odd.with(0x0008_1140, EXPLICIT_LITTLE.element(0x0008_1140, "SQ", &item)).file()
    });
    add("a delimiter that ends nothing", &|odd| {
        odd.with(0x0009_0000, [0xFE, 0xFF, 0x0D, 0xE0, 0, 0, 0, 0].to_vec()).file()
    });
    add("a transfer syntax that claims gigabytes", &|odd| {
        odd.meta(EXPLICIT_LITTLE.claiming(0x0002_0010, "UT", 0x7000_0000, b"1.2.840.10008.1.2.1")).file()
    });
    add("a sequence without end", &|odd| {
        odd.with(0x0008_1140, EXPLICIT_LITTLE.claiming(0x0008_1140, "SQ", UNDEFINED, &[])).file()
    });
}

/// The parts of a multipart body, each with its type; nothing of one that is not whole.
fn parts(answer: &Received) -> Option<Vec<(String, Vec<u8>)>> {
    if answer.status != 200 || !answer.complete {
        return None;
    }
    let boundary = answer.header("content-type")?.split("boundary=").nth(1)?.trim_matches('"');
    let body: String = answer.body.iter().map(|byte| char::from(*byte)).collect();
    let delimiter = format!("--{boundary}");
    let part = |piece: &str| {
        let (head, bytes) = piece.split_once("\r\n\r\n").unwrap();
        let bytes = bytes.strip_suffix("\r\n").unwrap();
        let content_type = head.trim().strip_prefix("Content-Type: ").unwrap();
        (content_type.to_owned(), bytes.chars().map(|byte| u8::try_from(byte).unwrap()).collect())
    };
    Some(body.split(delimiter.as_str()).skip(1).filter(|piece| !piece.starts_with("--")).map(part).collect())
}

/// The gateway before the two archives.
struct Readers {
    made: Front,
    embedded: Front,
}

impl Readers {
    /// What is wrong with what is told of `case`.
    async fn disagreements(&self, case: &Case, number: usize) -> String {
        let instance = format!("studies/1.2/series/1.2.{number}/instances/1.2.{number}.1");
        let mut wrong = String::new();
        let made = client::get(&self.made.url(&format!("{instance}/metadata"))).await;
        let embedded = client::get(&self.embedded.url(&format!("{instance}/metadata"))).await;
        let readable = |answer: &Received| answer.status == 200 && answer.complete;
        let expected = !matches!(case.verdict, UrlRewrite::Unreadable);
        if (readable(&made), readable(&embedded)) != (expected, expected) {
            let _ = writeln!(wrong, "  metadata: made {}, embedded {}", made.status, embedded.status);
        } else if expected {
            if made.json() != embedded.json() {
                let _ = writeln!(wrong, "  metadata differ: {}\n  {}", made.text(), embedded.text());
            }
            for (tag, element) in case.told.as_object().unwrap() {
                if made.json()[0][tag] != *element {
                    let _ = writeln!(wrong, "  {tag}: {}", made.json()[0][tag]);
                }
            }
        }
        let (parts_of_value, frames, rendered) = match &case.verdict {
            UrlRewrite::Unreadable => (None, None, false),
            UrlRewrite::Native(frames) => {
                let octets = "application/octet-stream";
                (Some((octets.to_owned(), vec![frames.concat()])), Some((octets.to_owned(), frames)), true)
            }
            UrlRewrite::Compressed { frames, .. } if frames.is_empty() => (None, None, false),
            UrlRewrite::Compressed { media_type, syntax, frames, rendered } => {
                let content_type = format!("{media_type}; transfer-syntax={syntax}");
                (Some((content_type.clone(), frames.clone())), Some((content_type, frames)), *rendered)
            }
        };
        let expected = parts_of_value.map(|(content_type, parts)| {
            parts.into_iter().map(|part| (content_type.clone(), part)).collect::<Vec<_>>()
        });
        for (name, front) in [("made", &self.made), ("embedded", &self.embedded)] {
            let answer = client::get(&front.url(&format!("{instance}/bulkdata/7FE00010"))).await;
            if parts(&answer) != expected {
                let _ = writeln!(wrong, "  bulk data, {name}: {} {}", answer.status, answer.complete);
            }
        }
        let (content_type, frames) =
            frames.map_or_else(Default::default, |(content_type, frames)| (content_type, frames.clone()));
        for (index, frame) in frames.iter().enumerate() {
            let address = format!("{instance}/frames/{}", index + 1);
            let answer = client::get(&self.embedded.url(&address)).await;
            if parts(&answer) != Some(vec![(content_type.clone(), frame.clone())]) {
                let _ = writeln!(wrong, "  frame {}: {} {}", index + 1, answer.status, answer.complete);
            }
        }
        let beyond = format!("{instance}/frames/{}", frames.len() + 1);
        let beyond = client::get(&self.embedded.url(&beyond)).await;
        if beyond.status == 200 {
            let _ = writeln!(wrong, "  a frame behind the last one");
        }
        for index in 0..frames.len().max(1) {
            let address = format!("{instance}/frames/{}/rendered", index + 1);
            let answer = client::get(&self.made.url(&address)).await;
            if readable(&answer) != rendered {
                let _ =
                    writeln!(wrong, "  rendered frame {}: {} {}", index + 1, answer.status, answer.text());
            }
        }
        wrong
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everyone_who_reads_an_odd_object_reads_the_same() {
    let corpus = corpus();
    let folder = tempfile::tempdir().unwrap();
    let mut pacs = Pacs::new();
    for (index, case) in corpus.iter().enumerate() {
        let number = index + 1;
        std::fs::write(folder.path().join(format!("{number:03}.dcm")), &case.file).unwrap();
        let part = Answer::parts("odd-object", [("Content-Type: application/dicom", case.file.as_slice())]);
        pacs = pacs.at(&format!("/studies/1.2/series/1.2.{number}/instances/1.2.{number}.1"), part);
    }
    let pacs = pacs.start().await;
    let content = Content::Folder(folder.path().to_owned());
    let archive = dicomweb_archive::start_archive(content, "127.0.0.1:0".parse().unwrap(), Progress::Silent)
        .await
        .unwrap();
    let readers = Readers {
        made: Front::told(&pacs.url(), "synthesize = [\"metadata\"]").await,
        embedded: Front::told(&archive.url(), "").await,
    };
    let mut wrong = String::new();
    for (index, case) in corpus.iter().enumerate() {
        let found = readers.disagreements(case, index + 1).await;
        if !found.is_empty() {
            let _ = writeln!(wrong, "{} {}:\n{found}", index + 1, case.name);
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[tokio::test]
async fn a_film_is_given_as_what_it_is() {
    let film: Vec<u8> = (0..=255).cycle().take(5000).collect();
    let image = Odd::image(EXPLICIT_LITTLE, MPEG_4, 1).frames("25");
    let file = image.with(PIXEL_DATA, encapsulated(&[], std::slice::from_ref(&film))).file();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("film.dcm"), &file).unwrap();
    let instance = "studies/1.2/series/1.2.1/instances/1.2.1.1";
    let part = Answer::parts("b", [("Content-Type: application/dicom", file.as_slice())]);
    let pacs = Pacs::new().at(&format!("/{instance}"), part).start().await;
    let content = Content::Folder(folder.path().to_owned());
    let archive = dicomweb_archive::start_archive(content, "127.0.0.1:0".parse().unwrap(), Progress::Silent)
        .await
        .unwrap();
    let made = Front::told(&pacs.url(), "synthesize = [\"metadata\"]").await;
    let embedded = Front::told(&archive.url(), "").await;
    let value = format!("{instance}/bulkdata/7FE00010");
    for url in [made.url(&value), embedded.url(&value), embedded.url(&format!("{instance}/frames/1"))] {
        for accept in ["video/mp4", "video/*"] {
            let answer = client::get_with(&url, &[("Accept", accept)]).await;
            assert_eq!((answer.status, answer.complete), (200, true), "{url} {accept}: {}", answer.text());
            assert!(answer.header("content-type").unwrap().starts_with("video/mp4"), "{url} {accept}");
            assert!(answer.body == film, "{url} {accept}");
        }
        let parted = client::get_with(&url, &[("Accept", "multipart/related; type=\"video/mp4\"")]).await;
        assert_eq!(parts(&parted).unwrap()[0].1, film, "{url}");
        let other = client::get_with(&url, &[("Accept", "multipart/related; type=\"image/jpeg\"")]).await;
        assert_eq!(other.status, 406, "{url}");
    }
}
