//! Unusual objects that archives accept: synthesized metadata and bulk data, rendered frames, and the embedded archive agree on
//! whether an object can be read, and on the bytes of each frame.

mod values;

use std::fmt::Write as _;

use dicomweb_archive::archive::Progress;
use dicomweb_archive::{Content, RunningArchive};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::archive_root::ArchiveRoot;
use crate::support::client::{self, ReceivedResponse};
use crate::support::pacs::{CannedResponse, Pacs, RunningPacs};
use crate::support::raw_objects::{
    BIG_ENDIAN, DEFLATED, EXPLICIT, EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT, IMPLICIT_LITTLE, PIXEL_DATA,
    RawObject, UNDEFINED, encapsulated_pixel_data,
};

const JPEG: &str = "1.2.840.10008.1.2.4.50";
const RLE: &str = "1.2.840.10008.1.2.5";
const MPEG_4: &str = "1.2.840.10008.1.2.4.102";
const EXTENDED_OFFSETS: u32 = 0x7FE0_0001;
const NATIVE: [u8; 4] = [10, 60, 120, 250];

/// What every reader must find in an object.
#[derive(Debug, Clone)]
enum Expectation {
    /// Nothing: it cannot be read.
    Unreadable,
    /// Native frames, which are the value of Pixel Data.
    Native(Vec<Vec<u8>>),
    /// Native pixel data with another value than its frames, which can be rendered if there are any.
    NativeValue { value: Vec<u8>, frames: Vec<Vec<u8>> },
    /// Compressed frames: their media type, and whether they can be rendered.
    Compressed { media_type: &'static str, syntax: &'static str, frames: Vec<Vec<u8>>, rendered: bool },
}

struct Case {
    name: &'static str,
    file: Vec<u8>,
    expectation: Expectation,
    /// Elements that its metadata must contain, by tag.
    elements: Value,
}

/// The objects, numbered as they are added.
#[derive(Default)]
struct Corpus(Vec<Case>);

impl Corpus {
    fn image(&self, syntax: &'static str) -> RawObject {
        let encoding = match syntax {
            IMPLICIT => IMPLICIT_LITTLE,
            BIG_ENDIAN => EXPLICIT_BIG,
            _ => EXPLICIT_LITTLE,
        };
        RawObject::image(encoding, syntax, self.0.len() + 1)
    }

    fn add(&mut self, name: &'static str, file: Vec<u8>, expectation: Expectation, elements: Value) {
        self.0.push(Case { name, file, expectation, elements });
    }

    /// A native image of one frame, with these elements in its metadata.
    fn native(
        &mut self,
        name: &'static str,
        syntax: &'static str,
        elements: Value,
        change: impl Fn(RawObject) -> RawObject,
    ) {
        let image = change(self.image(syntax).pixels(&NATIVE));
        self.add(name, image.to_file(), Expectation::Native(vec![NATIVE.to_vec()]), elements);
    }

    /// A compressed image with these frames in these fragments.
    fn frames(
        &mut self,
        name: &'static str,
        table: &[u32],
        fragments: &[Vec<u8>],
        frames: &[Vec<u8>],
        change: impl Fn(RawObject) -> RawObject,
    ) {
        let image = self.image(JPEG).size(8).frames(&frames.len().to_string());
        let image = change(image.with_element(PIXEL_DATA, encapsulated_pixel_data(table, fragments)));
        let expectation = Expectation::Compressed {
            media_type: "image/jpeg",
            syntax: JPEG,
            frames: frames.to_vec(),
            rendered: true,
        };
        self.add(name, image.to_file(), expectation, json!({}));
    }
}

/// A JPEG frame of even length.
fn jpeg(level: u8) -> Vec<u8> {
    let mut stream = Vec::new();
    let pixels = image::GrayImage::from_pixel(8, 8, image::Luma([level]));
    pixels.write_to(&mut std::io::Cursor::new(&mut stream), image::ImageFormat::Jpeg).unwrap();
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

/// The offsets of the items of the chosen fragments.
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
    unusual_elements(&mut corpus);
    fragments(&mut corpus);
    videos(&mut corpus);
    unreadable(&mut corpus);
    values::big_endian_cells(&mut corpus);
    values::numbers_with_another_representation(&mut corpus);
    values::numbers_of_frames(&mut corpus);
    values::truncated_stream(&mut corpus);
    corpus.0
}

/// PS3.5 6.2.2.
fn unknown_sequences(corpus: &mut Corpus) {
    let code = IMPLICIT_LITTLE.element(0x0008_0100, "SH", b"CODE1 ");
    let elements = json!({"vr": "SQ", "Value": [{"00080100": {"vr": "SH", "Value": ["CODE1"]}}]});
    for (name, item) in [
        ("unknown sequence of items of undefined length", IMPLICIT_LITTLE.item_of_undefined_length(&code)),
        ("unknown sequence of items with a length", IMPLICIT_LITTLE.item(&code)),
    ] {
        for syntax in [EXPLICIT, BIG_ENDIAN, DEFLATED] {
            let (item, elements) = (item.clone(), json!({"00091010": elements, "00081032": elements}));
            corpus.native(name, syntax, elements, move |object| {
                let encoding = object.encoding;
                let unknown = |tag| encoding.element_of_undefined_length(tag, "UN", IMPLICIT_LITTLE, &item);
                object
                    .with_element(0x0009_1010, unknown(0x0009_1010))
                    .with_element(0x0008_1032, unknown(0x0008_1032))
            });
        }
        let inner = EXPLICIT_LITTLE.element_of_undefined_length(0x0009_1010, "UN", IMPLICIT_LITTLE, &item);
        let nested = json!({"00081140": {"vr": "SQ", "Value": [{"00091010": elements}]}});
        for outer in [EXPLICIT_LITTLE.item(&inner), EXPLICIT_LITTLE.item_of_undefined_length(&inner)] {
            corpus.native("unknown sequence in an item", EXPLICIT, nested.clone(), |object| {
                object.with_element(0x0008_1140, EXPLICIT_LITTLE.element(0x0008_1140, "SQ", &outer))
            });
        }
        let unknown_inside =
            IMPLICIT_LITTLE.element_of_undefined_length(0x0009_1011, "", IMPLICIT_LITTLE, &item);
        let inside = json!({"00091010": {"vr": "SQ", "Value": [{"00091011": elements}]}});
        corpus.native("unknown sequence in an unknown one", EXPLICIT, inside.clone(), |object| {
            let items = IMPLICIT_LITTLE.item(&unknown_inside);
            object.with_element(
                0x0009_1010,
                EXPLICIT_LITTLE.element_of_undefined_length(0x0009_1010, "UN", IMPLICIT_LITTLE, &items),
            )
        });
        corpus.native("private sequence in Implicit VR", IMPLICIT, inside, |object| {
            let items = IMPLICIT_LITTLE.item_of_undefined_length(&unknown_inside);
            object.with_element(
                0x0009_1010,
                IMPLICIT_LITTLE.element_of_undefined_length(0x0009_1010, "", IMPLICIT_LITTLE, &items),
            )
        });
    }
    corpus.native("sequences without items", EXPLICIT, json!({"00091010": {"vr": "SQ"}}), |object| {
        let empty = EXPLICIT_LITTLE.element(0x0008_1032, "SQ", &[]);
        object.with_element(0x0008_1032, empty).with_element(
            0x0009_1010,
            EXPLICIT_LITTLE.element_of_undefined_length(0x0009_1010, "UN", IMPLICIT_LITTLE, &[]),
        )
    });
    corpus.native(
        "unknown value of defined length",
        EXPLICIT,
        json!({"00091010": {"vr": "UN", "InlineBinary": "TUFSSw=="}}),
        |object| object.with_element(0x0009_1010, EXPLICIT_LITTLE.element(0x0009_1010, "UN", b"MARK")),
    );
}

fn unusual_elements(corpus: &mut Corpus) {
    for vr in ["\0\0", "  ", "??"] {
        let unknown = json!({"00091010": {"vr": "UN", "InlineBinary": "TUFSSw=="}});
        corpus.native("invalid VR", EXPLICIT, unknown, |object| {
            object.with_element(0x0009_1010, EXPLICIT_LITTLE.element(0x0009_1010, vr, b"MARK"))
        });
        corpus.native("invalid VR of the first element", EXPLICIT, json!({}), |object| {
            object.with_element(0x0008_0008, EXPLICIT_LITTLE.element(0x0008_0008, vr, b"ORIGINAL\\PRIMARY"))
        });
        let item = EXPLICIT_LITTLE.item(&EXPLICIT_LITTLE.element(0x0009_1010, vr, b"MARK"));
        corpus.native("invalid VR in an item", EXPLICIT, json!({}), |object| {
            object.with_element(0x0008_1140, EXPLICIT_LITTLE.element(0x0008_1140, "SQ", &item))
        });
    }
    corpus.native("unknown VR", EXPLICIT, json!({}), |object| {
        object.with_element(0x0009_1010, EXPLICIT_LITTLE.element(0x0009_1010, "ZZ", b"MARK"))
    });
    let name = json!({"00100010": {"vr": "PN", "Value": [{"Alphabetic": "Doe^Jane"}]}});
    for syntax in [EXPLICIT, IMPLICIT, BIG_ENDIAN, DEFLATED] {
        corpus.native("plain", syntax, name.clone(), |object| object);
        corpus.native(
            "object length",
            syntax,
            json!({"00100020": {"vr": "LO", "Value": ["ABC"]}}),
            |object| {
                let element = object.encoding.element(0x0010_0020, "LO", b"ABC");
                object.with_element(0x0010_0020, element)
            },
        );
        corpus.native("group lengths", syntax, name.clone(), |object| {
            let length = |tag| object.encoding.element(tag, "UL", &object.encoding.u32_bytes(1234));
            let (first, second) = (length(0x0010_0000), length(0x0028_0000));
            object.with_element(0x0010_0000, first).with_element(0x0028_0000, second)
        });
        corpus.native("trailing padding", syntax, name.clone(), |object| {
            let padding = object.encoding.element(0xFFFC_FFFC, "OB", &[0; 100]);
            object.with_element(0xFFFC_FFFC, padding).with_element(u32::MAX, vec![0; 30])
        });
        for frames in ["0", "-1", "", "1.0"] {
            corpus.native("one frame with an invalid Number of Frames", syntax, json!({}), |object| {
                object.frames(frames)
            });
        }
        corpus.native("the same element twice", syntax, name.clone(), |object| {
            let again = object.encoding.element(0x0010_0010, "PN", b"Other^One ");
            object.with_element(0x0010_0011, again)
        });
    }
    let several = [NATIVE, [1, 2, 3, 4], [9, 8, 7, 6]].map(|frame| frame.to_vec()).to_vec();
    let image = corpus.image(EXPLICIT).frames("3").pixels(&several.concat());
    corpus.add("several frames", image.to_file(), Expectation::Native(several), json!({}));
    native_frames(corpus);
    let unlike = RawObject::image(IMPLICIT_LITTLE, EXPLICIT, corpus.0.len() + 1).pixels(&NATIVE);
    corpus.add(
        "Implicit VR declared as Explicit VR",
        unlike.to_file(),
        Expectation::Native(vec![NATIVE.to_vec()]),
        name.clone(),
    );
    let unlike = RawObject::image(EXPLICIT_LITTLE, IMPLICIT, corpus.0.len() + 1).pixels(&NATIVE);
    corpus.add(
        "Explicit VR declared as Implicit VR",
        unlike.to_file(),
        Expectation::Native(vec![NATIVE.to_vec()]),
        name.clone(),
    );
    corpus.native("file meta information with a length and more", EXPLICIT, name, |object| {
        let more = EXPLICIT_LITTLE.element(0x0002_0001, "OB", &[0, 1]);
        let length = EXPLICIT_LITTLE.element(0x0002_0000, "UL", &[99, 0, 0, 0]);
        object.file_meta_elements([length, more].concat())
    });
}

/// PS3.5 8.1.1: frames follow each other without padding, wherever words and bytes begin.
fn native_frames(corpus: &mut Corpus) {
    let samples: Vec<u8> = (1..=18).map(|sample| sample * 10).collect();
    let frames: Vec<_> = samples.chunks(9).map(<[u8]>::to_vec).collect();
    let swapped: Vec<u8> = samples.chunks(2).flat_map(|pair| [pair[1], pair[0]]).collect();
    for (syntax, vr, written) in
        [(EXPLICIT, "OW", &samples), (BIG_ENDIAN, "OB", &samples), (BIG_ENDIAN, "OW", &swapped)]
    {
        let image = corpus.image(syntax).size(3).frames("2");
        let element = image.encoding.element(PIXEL_DATA, vr, written);
        let file = image.with_element(PIXEL_DATA, element).to_file();
        corpus.add("frames of 9 bytes", file, Expectation::Native(frames.clone()), json!({}));
    }
    for (syntax, vr, written) in [
        (EXPLICIT, "OB", [0b1010_1010, 0b1100_1101, 0b0000_0010, 0]),
        (BIG_ENDIAN, "OW", [0b1100_1101, 0b1010_1010, 0, 0b0000_0010]),
    ] {
        let image = corpus.image(syntax).size(3).frames("2");
        let image = image
            .unsigned_shorts(0x0028_0100, &[1])
            .unsigned_shorts(0x0028_0101, &[1])
            .unsigned_shorts(0x0028_0102, &[0]);
        let element = image.encoding.element(PIXEL_DATA, vr, &written);
        let file = image.with_element(PIXEL_DATA, element).to_file();
        let value = vec![0b1010_1010, 0b1100_1101, 0b0000_0010, 0];
        let frames = vec![vec![0b1010_1010, 1], vec![0b0110_0110, 1]];
        corpus.add("frames of 9 bits", file, Expectation::NativeValue { value, frames }, json!({}));
    }
    for syntax in [EXPLICIT, IMPLICIT, BIG_ENDIAN, DEFLATED] {
        // The first frame is there; but one of the attributes is wrong, and perhaps it is Columns.
        let file = corpus.image(syntax).frames("2").pixels(&[1, 2, 3, 4, 5, 6]).to_file();
        let expectation = Expectation::NativeValue { value: vec![1, 2, 3, 4, 5, 6], frames: Vec::new() };
        corpus.add("pixel data shorter than its frames", file, expectation, json!({}));
    }
}

/// PS3.5 A.4.
fn fragments(corpus: &mut Corpus) {
    let frames = [jpeg(20), jpeg(120), jpeg(220)];
    let halves = halves(&frames);
    let right = offsets(&halves, |index| index.is_multiple_of(2));
    let with_empty = [halves.clone(), vec![Vec::new()]].concat();
    let (one, plain) = (offsets(&frames, |_| true), |object: RawObject| object);
    corpus.frames("one fragment per frame", &[], &frames, &frames, plain);
    corpus.frames("one fragment per frame, offsets", &one, &frames, &frames, plain);
    corpus.frames("one fragment per frame, offsets of zero", &[0, 0, 0], &frames, &frames, plain);
    corpus.frames("one fragment per frame, wrong offsets", &[0, 13, 77], &frames, &frames, plain);
    corpus.frames(
        "one fragment per frame, too large offsets",
        &[0, 100_000, 200_000],
        &frames,
        &frames,
        plain,
    );
    corpus.frames("one fragment per frame, too few offsets", &one[..2], &frames, &frames, plain);
    corpus.frames("several fragments, no offsets", &[], &halves, &frames, plain);
    corpus.frames("several fragments, offsets", &right, &halves, &frames, plain);
    corpus.frames("several fragments, offsets of zero", &[0, 0, 0], &halves, &frames, plain);
    corpus.frames("several fragments, descending offsets", &[0, right[2], right[1]], &halves, &frames, plain);
    corpus.frames("several fragments, wrong offsets", &[0, 13, 77], &halves, &frames, plain);
    corpus.frames("an empty fragment at the end", &[], &with_empty, &frames, plain);
    corpus.frames("an empty fragment at the end, offsets", &right, &with_empty, &frames, plain);
    let ones_and_empty = [frames.to_vec(), vec![Vec::new()]].concat();
    corpus.frames("one fragment per frame and an empty one", &[], &ones_and_empty, &frames, plain);
    let single = [frames[0].clone()];
    let parts = halves[..2].to_vec();
    corpus.frames("one frame of several fragments", &[], &parts, &single, plain);
    corpus.frames("one frame of several fragments with Number of Frames 0", &[], &parts, &single, |object| {
        object.frames("0")
    });
    let long =
        |offsets: &[u32]| -> Vec<u8> { offsets.iter().flat_map(|at| u64::from(*at).to_le_bytes()).collect() };
    for (name, offsets) in [("right", right), ("wrong", vec![0, 13, 77])] {
        let table = EXPLICIT_LITTLE.element(EXTENDED_OFFSETS, "OV", &long(&offsets));
        let name = if name == "right" { "extended offsets" } else { "wrong extended offsets" };
        corpus.frames(name, &[], &halves, &frames, |object| {
            object.with_element(EXTENDED_OFFSETS, table.clone())
        });
    }
    // A codec whose streams have no start marker.
    let octets: Vec<Vec<u8>> = (0..6_u8).map(|number| vec![number; 10]).collect();
    let joined: Vec<Vec<u8>> = octets.chunks(2).map(<[_]>::concat).collect();
    let right = offsets(&octets, |index| index.is_multiple_of(2));
    for (name, offsets, count, expected) in [
        ("unmarked fragments", vec![], 6, Some(octets.clone())),
        ("unmarked fragments, wrong offsets", vec![0, 18, 37, 54, 72, 91], 6, Some(octets.clone())),
        ("unmarked fragments, offsets of several", right.clone(), 3, Some(joined.clone())),
        ("unmarked fragments, extended offsets of several", vec![], 3, Some(joined)),
        ("unmarked fragments of unknown frames", vec![], 3, None),
        ("fewer fragments than frames", vec![], 7, None),
    ] {
        let mut image = corpus.image(RLE).frames(&count.to_string());
        if name.contains("extended") {
            image = image.with_element(
                EXTENDED_OFFSETS,
                EXPLICIT_LITTLE.element(EXTENDED_OFFSETS, "OV", &long(&right)),
            );
        }
        let image = image.with_element(PIXEL_DATA, encapsulated_pixel_data(&offsets, &octets));
        let frames = expected.unwrap_or_default();
        let expectation =
            Expectation::Compressed { media_type: "image/dicom-rle", syntax: RLE, frames, rendered: false };
        corpus.add(name, image.to_file(), expectation, json!({}));
    }
}

/// PS3.5 8.2.5 to 8.2.9.
fn videos(corpus: &mut Corpus) {
    let video: Vec<u8> = (0..=255).cycle().take(10_000).collect();
    for (syntax, media_type) in [
        ("1.2.840.10008.1.2.4.100", "video/mpeg"),
        ("1.2.840.10008.1.2.4.101.1", "video/mpeg"),
        (MPEG_4, "video/mp4"),
        ("1.2.840.10008.1.2.4.106.1", "video/mp4"),
        ("1.2.840.10008.1.2.4.108", "video/H265"),
    ] {
        for fragments in [vec![video.clone()], video.chunks(4000).map(<[_]>::to_vec).collect()] {
            let image = corpus
                .image(syntax)
                .frames("25")
                .with_element(PIXEL_DATA, encapsulated_pixel_data(&[], &fragments));
            let expectation =
                Expectation::Compressed { media_type, syntax, frames: vec![video.clone()], rendered: false };
            corpus.add("video", image.to_file(), expectation, json!({}));
        }
    }
}

fn unreadable(corpus: &mut Corpus) {
    let mut add = |name, change: &dyn Fn(RawObject) -> Vec<u8>| {
        let file = change(corpus.image(EXPLICIT).pixels(&NATIVE));
        corpus.add(name, file, Expectation::Unreadable, json!({}));
    };
    add("no preamble", &|object| object.to_file().split_off(128));
    add("no file meta information", &|object| object.data_set());
    add("an item longer than its sequence", &|object| {
        let item = EXPLICIT_LITTLE.item(&[0; 40]);
        object.with_element(0x0008_1140, EXPLICIT_LITTLE.element(0x0008_1140, "SQ", &item[..20])).to_file()
    });
    add("a value longer than its item", &|object| {
        let item = EXPLICIT_LITTLE.item(&EXPLICIT_LITTLE.element_with_length(0x0008_0100, "SH", 20, b"CODE"));
        object.with_element(0x0008_1140, EXPLICIT_LITTLE.element(0x0008_1140, "SQ", &item)).to_file()
    });
    add("a delimiter that ends nothing", &|object| {
        object.with_element(0x0009_0000, [0xFE, 0xFF, 0x0D, 0xE0, 0, 0, 0, 0].to_vec()).to_file()
    });
    add("a transfer syntax with a length of gigabytes", &|object| {
        object
            .file_meta_elements(EXPLICIT_LITTLE.element_with_length(
                0x0002_0010,
                "UT",
                0x7000_0000,
                b"1.2.840.10008.1.2.1",
            ))
            .to_file()
    });
    add("native pixel data that is truncated", &|object| {
        let mut file = object.to_file();
        file.pop();
        file
    });
    add("a sequence without end", &|object| {
        object
            .with_element(0x0008_1140, EXPLICIT_LITTLE.element_with_length(0x0008_1140, "SQ", UNDEFINED, &[]))
            .to_file()
    });
}

/// The parts of a multipart body with their media types; `None` if it is incomplete.
fn parts(answer: &ReceivedResponse) -> Option<Vec<(String, Vec<u8>)>> {
    if answer.status != 200 || !answer.is_complete {
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

/// The gateway in front of an archive whose metadata it synthesizes, and in front of the embedded archive.
struct Readers {
    synthesized: ArchiveRoot,
    embedded: ArchiveRoot,
    /// What both read from, while they are used.
    _sources: (RunningPacs, RunningArchive, TempDir),
}

impl Readers {
    /// Readers of `files`, each of which is the only instance, 1.2.N.1, of a series 1.2.N of the study 1.2, N being counted from 1.
    async fn of(files: &[&[u8]]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut pacs = Pacs::new();
        for (number, file) in (1..).zip(files) {
            std::fs::write(folder.path().join(format!("{number:03}.dcm")), file).unwrap();
            let part =
                CannedResponse::multipart("unusual-object", [("Content-Type: application/dicom", *file)]);
            pacs = pacs
                .with_response(&format!("/studies/1.2/series/1.2.{number}/instances/1.2.{number}.1"), part);
        }
        let pacs = pacs.start().await;
        let content = Content::Folder(folder.path().to_owned());
        let listen = "127.0.0.1:0".parse().unwrap();
        let archive = dicomweb_archive::start_archive(content, listen, Progress::Silent).await.unwrap();
        Self {
            synthesized: ArchiveRoot::start_with_config(&pacs.url(), "synthesize = [\"metadata\"]").await,
            embedded: ArchiveRoot::start_with_config(&archive.url(), "").await,
            _sources: (pacs, archive, folder),
        }
    }

    /// The differences between the responses for `case` and its expectation.
    async fn disagreements(&self, case: &Case, number: usize) -> String {
        let instance = format!("studies/1.2/series/1.2.{number}/instances/1.2.{number}.1");
        let mut wrong = String::new();
        let synthesized = client::get(&self.synthesized.url(&format!("{instance}/metadata"))).await;
        let embedded = client::get(&self.embedded.url(&format!("{instance}/metadata"))).await;
        let readable = |answer: &ReceivedResponse| answer.status == 200 && answer.is_complete;
        let expected = !matches!(case.expectation, Expectation::Unreadable);
        if (readable(&synthesized), readable(&embedded)) != (expected, expected) {
            let _ = writeln!(
                wrong,
                "  metadata: synthesized {}, embedded {}",
                synthesized.status, embedded.status
            );
        } else if expected {
            if synthesized.json() != embedded.json() {
                let _ = writeln!(wrong, "  metadata differ: {}\n  {}", synthesized.text(), embedded.text());
            }
            for (tag, element) in case.elements.as_object().unwrap() {
                if synthesized.json()[0][tag] != *element {
                    let _ = writeln!(wrong, "  {tag}: {}", synthesized.json()[0][tag]);
                }
            }
        }
        let (parts_of_value, frames, rendered) = match &case.expectation {
            Expectation::Unreadable => (None, None, false),
            Expectation::Native(frames) => {
                let octets = "application/octet-stream";
                (Some((octets.to_owned(), vec![frames.concat()])), Some((octets.to_owned(), frames)), true)
            }
            Expectation::NativeValue { value, frames } => {
                let octets = "application/octet-stream";
                let value = Some((octets.to_owned(), vec![value.clone()]));
                (value, Some((octets.to_owned(), frames)), !frames.is_empty())
            }
            Expectation::Compressed { frames, .. } if frames.is_empty() => (None, None, false),
            Expectation::Compressed { media_type, syntax, frames, rendered } => {
                let content_type = format!("{media_type}; transfer-syntax={syntax}");
                (Some((content_type.clone(), frames.clone())), Some((content_type, frames)), *rendered)
            }
        };
        let expected = parts_of_value.map(|(content_type, parts)| {
            parts.into_iter().map(|part| (content_type.clone(), part)).collect::<Vec<_>>()
        });
        for (name, root) in [("synthesized", &self.synthesized), ("embedded", &self.embedded)] {
            let answer = client::get(&root.url(&format!("{instance}/bulkdata/7FE00010"))).await;
            if parts(&answer) != expected {
                let _ = writeln!(wrong, "  bulk data, {name}: {} {}", answer.status, answer.is_complete);
            }
        }
        let (content_type, frames) =
            frames.map_or_else(Default::default, |(content_type, frames)| (content_type, frames.clone()));
        for (index, frame) in frames.iter().enumerate() {
            let path = format!("{instance}/frames/{}", index + 1);
            let answer = client::get(&self.embedded.url(&path)).await;
            if parts(&answer) != Some(vec![(content_type.clone(), frame.clone())]) {
                let _ = writeln!(wrong, "  frame {}: {} {}", index + 1, answer.status, answer.is_complete);
            }
        }
        let beyond = format!("{instance}/frames/{}", frames.len() + 1);
        let beyond = client::get(&self.embedded.url(&beyond)).await;
        if beyond.status == 200 {
            let _ = writeln!(wrong, "  a frame after the last one");
        }
        for index in 0..frames.len().max(1) {
            let path = format!("{instance}/frames/{}/rendered", index + 1);
            let answer = client::get(&self.synthesized.url(&path)).await;
            if readable(&answer) != rendered {
                let _ =
                    writeln!(wrong, "  rendered frame {}: {} {}", index + 1, answer.status, answer.text());
            }
        }
        wrong
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_readers_agree_on_unusual_objects() {
    let corpus = corpus();
    let files: Vec<_> = corpus.iter().map(|case| case.file.as_slice()).collect();
    let readers = Readers::of(&files).await;
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
async fn videos_are_returned_with_their_own_media_type() {
    let video: Vec<u8> = (0..=255).cycle().take(5000).collect();
    let image = RawObject::image(EXPLICIT_LITTLE, MPEG_4, 1).frames("25");
    let file =
        image.with_element(PIXEL_DATA, encapsulated_pixel_data(&[], std::slice::from_ref(&video))).to_file();
    let instance = "studies/1.2/series/1.2.1/instances/1.2.1.1";
    let Readers { synthesized, embedded, .. } = &Readers::of(&[&file]).await;
    let value = format!("{instance}/bulkdata/7FE00010");
    for url in [synthesized.url(&value), embedded.url(&value), embedded.url(&format!("{instance}/frames/1"))]
    {
        for accept in ["video/mp4", "video/*"] {
            let answer = client::get_with_headers(&url, &[("Accept", accept)]).await;
            assert_eq!((answer.status, answer.is_complete), (200, true), "{url} {accept}: {}", answer.text());
            assert!(answer.header("content-type").unwrap().starts_with("video/mp4"), "{url} {accept}");
            assert!(answer.body == video, "{url} {accept}");
        }
        let multipart =
            client::get_with_headers(&url, &[("Accept", "multipart/related; type=\"video/mp4\"")]).await;
        assert_eq!(parts(&multipart).unwrap()[0].1, video, "{url}");
        let other =
            client::get_with_headers(&url, &[("Accept", "multipart/related; type=\"image/jpeg\"")]).await;
        assert_eq!(other.status, 406, "{url}");
    }
}
