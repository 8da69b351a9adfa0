//! Data elements that readers must accept or reject: sequences and values with VR UN or an invalid VR, an encoding that differs
//! from the declared transfer syntax, and invalid structures.

use serde_json::json;

use super::{Corpus, Expectation, NATIVE};
use crate::support::raw_objects::{
    BIG_ENDIAN, DEFLATED, EXPLICIT, EXPLICIT_LITTLE, IMPLICIT, IMPLICIT_LITTLE, RawObject, UNDEFINED,
};

/// The position directly after Patient's Name.
const AFTER_PATIENT_NAME: u32 = 0x0010_0011;

/// The position after every element.
const LAST_POSITION: u32 = u32::MAX;

/// Adds sequences with VR UN, whose items have Implicit VR (PS3.5 6.2.2).
pub(super) fn add_sequences_with_vr_un(corpus: &mut Corpus) {
    let code_value = IMPLICIT_LITTLE.element(0x0008_0100, "SH", b"CODE1 ");
    let expected_sequence = json!({"vr": "SQ", "Value": [{"00080100": {"vr": "SH", "Value": ["CODE1"]}}]});
    for (name, item) in [
        (
            "VR UN: sequence of items of undefined length",
            IMPLICIT_LITTLE.item_of_undefined_length(&code_value),
        ),
        ("VR UN: sequence of items of defined length", IMPLICIT_LITTLE.item(&code_value)),
    ] {
        for syntax in [EXPLICIT, BIG_ENDIAN, DEFLATED] {
            let item = item.clone();
            let expected_elements = json!({"00091010": expected_sequence, "00081032": expected_sequence});
            corpus.add_native(name, syntax, expected_elements, move |object| {
                let encoding = object.encoding;
                let sequence = |tag| encoding.element_of_undefined_length(tag, "UN", IMPLICIT_LITTLE, &item);
                object
                    .with_element(0x0009_1010, sequence(0x0009_1010))
                    .with_element(0x0008_1032, sequence(0x0008_1032))
            });
        }
        let inner_sequence =
            EXPLICIT_LITTLE.element_of_undefined_length(0x0009_1010, "UN", IMPLICIT_LITTLE, &item);
        let expected_elements = json!({"00081140": {"vr": "SQ", "Value": [{"00091010": expected_sequence}]}});
        for outer_item in
            [EXPLICIT_LITTLE.item(&inner_sequence), EXPLICIT_LITTLE.item_of_undefined_length(&inner_sequence)]
        {
            corpus.add_native("VR UN: sequence in an item", EXPLICIT, expected_elements.clone(), |object| {
                object.with_element(0x0008_1140, EXPLICIT_LITTLE.element(0x0008_1140, "SQ", &outer_item))
            });
        }
        let inner_sequence =
            IMPLICIT_LITTLE.element_of_undefined_length(0x0009_1011, "", IMPLICIT_LITTLE, &item);
        let expected_elements = json!({"00091010": {"vr": "SQ", "Value": [{"00091011": expected_sequence}]}});
        corpus.add_native("VR UN: sequence in a sequence", EXPLICIT, expected_elements.clone(), |object| {
            let items = IMPLICIT_LITTLE.item(&inner_sequence);
            object.with_element(
                0x0009_1010,
                EXPLICIT_LITTLE.element_of_undefined_length(0x0009_1010, "UN", IMPLICIT_LITTLE, &items),
            )
        });
        corpus.add_native("private sequence in Implicit VR", IMPLICIT, expected_elements, |object| {
            let items = IMPLICIT_LITTLE.item_of_undefined_length(&inner_sequence);
            object.with_element(
                0x0009_1010,
                IMPLICIT_LITTLE.element_of_undefined_length(0x0009_1010, "", IMPLICIT_LITTLE, &items),
            )
        });
    }
    corpus.add_native("sequences without items", EXPLICIT, json!({"00091010": {"vr": "SQ"}}), |object| {
        let empty = EXPLICIT_LITTLE.element(0x0008_1032, "SQ", &[]);
        object.with_element(0x0008_1032, empty).with_element(
            0x0009_1010,
            EXPLICIT_LITTLE.element_of_undefined_length(0x0009_1010, "UN", IMPLICIT_LITTLE, &[]),
        )
    });
    corpus.add_native(
        "VR UN: value of defined length",
        EXPLICIT,
        json!({"00091010": {"vr": "UN", "InlineBinary": "TUFSSw=="}}),
        |object| object.with_element(0x0009_1010, EXPLICIT_LITTLE.element(0x0009_1010, "UN", b"MARK")),
    );
}

/// Adds objects with ordinary and unusual elements that every reader must accept.
pub(super) fn add_readable_objects(corpus: &mut Corpus) {
    for vr in ["\0\0", "  ", "??"] {
        let expected_elements = json!({"00091010": {"vr": "UN", "InlineBinary": "TUFSSw=="}});
        corpus.add_native("invalid VR", EXPLICIT, expected_elements, |object| {
            object.with_element(0x0009_1010, EXPLICIT_LITTLE.element(0x0009_1010, vr, b"MARK"))
        });
        corpus.add_native("invalid VR of the first element", EXPLICIT, json!({}), |object| {
            object.with_element(0x0008_0008, EXPLICIT_LITTLE.element(0x0008_0008, vr, b"ORIGINAL\\PRIMARY"))
        });
        let item = EXPLICIT_LITTLE.item(&EXPLICIT_LITTLE.element(0x0009_1010, vr, b"MARK"));
        corpus.add_native("invalid VR in an item", EXPLICIT, json!({}), |object| {
            object.with_element(0x0008_1140, EXPLICIT_LITTLE.element(0x0008_1140, "SQ", &item))
        });
    }
    corpus.add_native("undefined VR ZZ", EXPLICIT, json!({}), |object| {
        object.with_element(0x0009_1010, EXPLICIT_LITTLE.element(0x0009_1010, "ZZ", b"MARK"))
    });
    let expected_name = json!({"00100010": {"vr": "PN", "Value": [{"Alphabetic": "Doe^Jane"}]}});
    for syntax in [EXPLICIT, IMPLICIT, BIG_ENDIAN, DEFLATED] {
        corpus.add_native("ordinary elements", syntax, expected_name.clone(), |object| object);
        corpus.add_native(
            "value of odd length",
            syntax,
            json!({"00100020": {"vr": "LO", "Value": ["ABC"]}}),
            |object| {
                let element = object.encoding.element(0x0010_0020, "LO", b"ABC");
                object.with_element(0x0010_0020, element)
            },
        );
        corpus.add_native("group lengths", syntax, expected_name.clone(), |object| {
            let group_length = |tag| object.encoding.element(tag, "UL", &object.encoding.u32_bytes(1234));
            let [patient_group, image_group] = [0x0010_0000, 0x0028_0000].map(group_length);
            object.with_element(0x0010_0000, patient_group).with_element(0x0028_0000, image_group)
        });
        corpus.add_native("trailing padding", syntax, expected_name.clone(), |object| {
            let padding = object.encoding.element(0xFFFC_FFFC, "OB", &[0; 100]);
            object.with_element(0xFFFC_FFFC, padding).with_element(LAST_POSITION, vec![0; 30])
        });
        for frames in ["0", "-1", "", "1.0"] {
            corpus.add_native("one frame with an invalid Number of Frames", syntax, json!({}), |object| {
                object.frames(frames)
            });
        }
        corpus.add_native("the same element twice", syntax, expected_name.clone(), |object| {
            let duplicate = object.encoding.element(0x0010_0010, "PN", b"Other^One ");
            object.with_element(AFTER_PATIENT_NAME, duplicate)
        });
    }
    let image = RawObject::image(IMPLICIT_LITTLE, EXPLICIT, corpus.0.len() + 1).pixels(&NATIVE);
    corpus.add(
        "Implicit VR declared as Explicit VR",
        image.to_file(),
        Expectation::Native(vec![NATIVE.to_vec()]),
        expected_name.clone(),
    );
    let image = RawObject::image(EXPLICIT_LITTLE, IMPLICIT, corpus.0.len() + 1).pixels(&NATIVE);
    corpus.add(
        "Explicit VR declared as Implicit VR",
        image.to_file(),
        Expectation::Native(vec![NATIVE.to_vec()]),
        expected_name.clone(),
    );
    corpus.add_native(
        "file meta information with a wrong group length and a version",
        EXPLICIT,
        expected_name,
        |object| {
            let version = EXPLICIT_LITTLE.element(0x0002_0001, "OB", &[0, 1]);
            let group_length = EXPLICIT_LITTLE.element(0x0002_0000, "UL", &[99, 0, 0, 0]);
            object.file_meta_elements([group_length, version].concat())
        },
    );
}

/// Adds objects that every reader must reject.
pub(super) fn add_rejected_objects(corpus: &mut Corpus) {
    let mut add = |name, change: &dyn Fn(RawObject) -> Vec<u8>| {
        let file = change(corpus.image(EXPLICIT).pixels(&NATIVE));
        corpus.add(name, file, Expectation::Rejected, json!({}));
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
    add("an Item Delimitation Item outside a sequence", &|object| {
        object.with_element(0x0009_0000, [0xFE, 0xFF, 0x0D, 0xE0, 0, 0, 0, 0].to_vec()).to_file()
    });
    add("a Transfer Syntax UID element with a declared length of 1.8 GB", &|object| {
        object
            .file_meta_elements(EXPLICIT_LITTLE.element_with_length(
                0x0002_0010,
                "UT",
                0x7000_0000,
                b"1.2.840.10008.1.2.1",
            ))
            .to_file()
    });
    add("truncated native pixel data", &|object| {
        let mut file = object.to_file();
        file.pop();
        file
    });
    add("a sequence of undefined length without a Sequence Delimitation Item", &|object| {
        object
            .with_element(0x0008_1140, EXPLICIT_LITTLE.element_with_length(0x0008_1140, "SQ", UNDEFINED, &[]))
            .to_file()
    });
    let mut file = corpus.image(DEFLATED).pixels(&NATIVE).to_file();
    file.truncate(file.len() - 4);
    corpus.add("a truncated deflated data set", file, Expectation::Rejected, json!({}));
}
