//! Values with an unusual VR or byte order.

use serde_json::json;

use super::{Corpus, Expectation, NATIVE, Readers};
use crate::support::client;
use crate::support::raw_objects::{
    BIG_ENDIAN, EXPLICIT, EXPLICIT_BIG, EXPLICIT_LITTLE, Encoding, IMPLICIT_LITTLE, RawObject,
};

const ROWS: u32 = 0x0028_0010;
const FLOAT_PIXEL_DATA: u32 = 0x7FE0_0008;
const DOUBLE_FLOAT_PIXEL_DATA: u32 = 0x7FE0_0009;
const OCTETS: (&str, &str) = ("Accept", "application/octet-stream");

/// Adds images whose Rows has another VR than US. OB has no byte order (PS3.5 7.3), and UN is little endian in every transfer
/// syntax (PS3.5 6.2.2).
pub(super) fn add_rows_with_another_vr(corpus: &mut Corpus) {
    let mut add = |syntax, encoding: Encoding, vr, value: &[u8], is_two_rows: bool| {
        let image = corpus.image(syntax).pixels(&NATIVE);
        let file = image.with_element(ROWS, encoding.element(ROWS, vr, value)).to_file();
        let frames = if is_two_rows { vec![NATIVE.to_vec()] } else { Vec::new() };
        let expectation = Expectation::NativeValue { value: NATIVE.to_vec(), frames };
        corpus.add("Rows with another VR", file, expectation, json!({}));
    };
    for vr in ["UN", "OB", "??"] {
        for (syntax, encoding) in [(EXPLICIT, EXPLICIT_LITTLE), (BIG_ENDIAN, EXPLICIT_BIG)] {
            add(syntax, encoding, vr, &[2, 0], true);
            add(syntax, encoding, vr, &[0, 2], false);
        }
    }
    for vr in ["US", "SS", "OW"] {
        add(BIG_ENDIAN, EXPLICIT_BIG, vr, &[0, 2], true);
    }
    add(EXPLICIT, EXPLICIT_LITTLE, "UL", &[2, 0, 0, 0], true);
    add(BIG_ENDIAN, EXPLICIT_BIG, "UL", &[0, 0, 0, 2], true);
    add(EXPLICIT, EXPLICIT_LITTLE, "IS", b"2 ", false);
}

/// Retrieves the bulk data at each path from the root with synthesized metadata, and from the root of the embedded archive.
async fn bulk_data(object: &RawObject, paths: &[&str]) -> Vec<[Option<Vec<u8>>; 2]> {
    let instance = "studies/1.2/series/1.2.1/instances/1.2.1.1";
    let readers = Readers::start(&[&object.to_file()]).await;
    let mut values = Vec::new();
    for path in paths {
        let mut value_per_reader = [None, None];
        for (value, root) in value_per_reader.iter_mut().zip([&readers.synthesized, &readers.embedded]) {
            let url = root.url(&format!("{instance}/bulkdata/{path}"));
            let response = client::get_with_headers(&url, &[OCTETS]).await;
            assert!([200, 404].contains(&response.status), "{url}: {} {}", response.status, response.text());
            *value = (response.status == 200 && response.is_complete).then_some(response.body);
        }
        values.push(value_per_reader);
    }
    values
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn float_pixel_data_is_bulk_data_of_no_other_tag() {
    let floats: Vec<u8> = (0..32).collect();
    for (tag, vr, path) in [(FLOAT_PIXEL_DATA, "OF", "7FE00008"), (DOUBLE_FLOAT_PIXEL_DATA, "OD", "7FE00009")]
    {
        let image = RawObject::image(EXPLICIT_LITTLE, EXPLICIT, 1);
        let image = image.with_element(tag, EXPLICIT_LITTLE.element(tag, vr, &floats));
        let values = bulk_data(&image, &[path, "7FE00010"]).await;
        assert_eq!(values[0], [Some(floats.clone()), Some(floats.clone())], "{path}");
        assert_eq!(values[1], [None, None], "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_in_an_item_has_the_byte_order_of_the_item() {
    let value: Vec<u8> = (0..3000_u32).map(|number| (number % 251).to_le_bytes()[0]).collect();
    let swapped: Vec<u8> = value.chunks(2).flat_map(|pair| [pair[1], pair[0]]).collect();
    // LUT Data in a sequence with VR UN, whose items are little endian (PS3.5 6.2.2), and in a sequence with VR SQ.
    let item_in_un = IMPLICIT_LITTLE.item(&IMPLICIT_LITTLE.element(0x0028_3006, "OW", &value));
    let item_in_sq = EXPLICIT_BIG.item(&EXPLICIT_BIG.element(0x0028_3006, "OW", &swapped));
    let object = RawObject::image(EXPLICIT_BIG, BIG_ENDIAN, 1)
        .with_element(
            0x0009_1010,
            EXPLICIT_BIG.element_of_undefined_length(0x0009_1010, "UN", IMPLICIT_LITTLE, &item_in_un),
        )
        .with_element(0x0028_3010, EXPLICIT_BIG.element(0x0028_3010, "SQ", &item_in_sq));
    let values = bulk_data(&object, &["00091010/1/00283006", "00283010/1/00283006"]).await;
    for value_per_reader in values {
        assert_eq!(value_per_reader, [Some(value.clone()), Some(value.clone())]);
    }
}
