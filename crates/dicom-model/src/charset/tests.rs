//! The examples of PS3.5 Annexes H, I, J and K, compared byte by byte.

use super::*;
use proptest::prelude::*;

fn assert_decodes_and_encodes(terms: &[&str], bytes: &[u8], text: &str) {
    let sets = CharacterSets::from_terms(terms.iter().copied());
    assert_eq!(sets.decode(bytes, Delimiters::Names), text, "{terms:?}");
    assert_eq!(sets.encode(text, Delimiters::Names).unwrap(), bytes, "{terms:?}");
}

#[test]
fn japanese_names_of_annex_h_are_decoded_and_encoded_with_their_escape_sequences() {
    assert_decodes_and_encodes(
        &["", "ISO 2022 IR 87"],
        b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B",
        "Yamada^Tarou=山田^太郎=やまだ^たろう",
    );
    assert_decodes_and_encodes(
        &["ISO 2022 IR 13", "ISO 2022 IR 87"],
        b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J=\x1b$B$d$^$@\x1b(J^\x1b$B$?$m$&\x1b(J",
        "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう",
    );
}

#[test]
fn korean_names_of_annex_i_repeat_their_escape_sequence_in_every_component() {
    assert_decodes_and_encodes(
        &["", "ISO 2022 IR 149"],
        b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf",
        "Hong^Gildong=洪^吉洞=홍^길동",
    );
}

#[test]
fn chinese_names_are_decoded_from_gb18030_utf_8_and_escape_sequences() {
    assert_decodes_and_encodes(
        &["GB18030"],
        b"Wang^XiaoDong=\xcd\xf5^\xd0\xa1\xb6\xab",
        "Wang^XiaoDong=王^小东",
    );
    assert_decodes_and_encodes(&["ISO_IR 192"], "Wang^XiaoDong=王^小東".as_bytes(), "Wang^XiaoDong=王^小東");
    assert_decodes_and_encodes(
        &["", "ISO 2022 IR 58"],
        b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab",
        "Zhang^XiaoDong=张^小东",
    );
}

#[test]
fn single_byte_sets_need_no_escape_sequence() {
    assert_decodes_and_encodes(&["ISO_IR 100"], b"Buc^J\xe9r\xf4me", "Buc^Jérôme");
    assert_decodes_and_encodes(&["ISO_IR 144"], b"\xbb\xee\xdace\xdc\xd1yp\xd3", "Люкceмбypг");
    assert_decodes_and_encodes(&["ISO_IR 126"], b"\xc4\xe9\xef\xed\xf5\xf3\xe9\xef\xf2", "Διονυσιος");
    assert_decodes_and_encodes(&["ISO_IR 138"], b"\xf9\xf8\xe5\xef^\xe3\xe1\xe5\xf8\xe4", "שרון^דבורה");
    assert_decodes_and_encodes(&["ISO_IR 127"], b"\xe2\xc8\xc7\xe6\xea^\xe4\xe6\xd2\xc7\xd1", "قباني^لنزار");
    assert_decodes_and_encodes(&["ISO_IR 13"], b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3", "ﾔﾏﾀﾞ^ﾀﾛｳ");
}

#[test]
fn escape_sequence_is_active_up_to_the_next_delimiter() {
    let sets = CharacterSets::from_terms(["ISO 2022 IR 100", "ISO 2022 IR 144"]);
    let bytes = b"\x1b-L\xbb\xee\xda^\xe9\\\xe9";
    assert_eq!(sets.decode_values(bytes, Delimiters::Names), ["Люк^é", "é"]);
}

#[test]
fn backslash_as_the_second_byte_of_a_character_is_not_a_delimiter() {
    let sets = CharacterSets::from_terms(["", "ISO 2022 IR 87"]);
    assert_eq!(sets.decode_values(b"\x1b$B0\\\x1b(B\\B", Delimiters::Values), ["移", "B"]);
    let chinese = CharacterSets::from_terms(["GB18030"]);
    assert_eq!(chinese.decode_values(b"\x81\x5c\\B", Delimiters::Values), ["乗", "B"]);
}

#[test]
fn bytes_outside_the_declared_sets_are_decoded_as_utf_8_or_latin_1() {
    let undeclared = CharacterSets::default();
    assert_eq!(undeclared.decode("Müller".as_bytes(), Delimiters::Names), "Müller");
    assert_eq!(undeclared.decode(b"M\xfcller", Delimiters::Names), "Müller");
}

#[test]
fn character_outside_every_declared_set_is_rejected() {
    let sets = CharacterSets::from_terms(["ISO_IR 100"]);
    assert_eq!(sets.encode("山", Delimiters::Names), Err(EncodeError(0x5C71)));
}

proptest! {
    #[test]
    fn decoding_never_fails_and_never_panics(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        terms in prop::collection::vec(prop::sample::select(vec![
            "", "ISO 2022 IR 6", "ISO 2022 IR 13", "ISO 2022 IR 87", "ISO 2022 IR 149", "ISO 2022 IR 58",
            "ISO 2022 IR 159", "ISO_IR 192", "GB18030", "ISO_IR 100", "nonsense",
        ]), 0..4),
    ) {
        let sets = CharacterSets::from_terms(terms);
        for delimiters in [Delimiters::Text, Delimiters::Values, Delimiters::Names] {
            let _ = sets.decode_values(&bytes, delimiters);
        }
    }

    #[test]
    fn encoded_text_decodes_to_the_same_text(text in "[A-Za-z^= ぁ-ん山田太郎ｱ-ﾝ]{0,40}") {
        let sets = CharacterSets::from_terms(["ISO 2022 IR 13", "ISO 2022 IR 87"]);
        let bytes = sets.encode(&text, Delimiters::Names).unwrap();
        prop_assert_eq!(sets.decode(&bytes, Delimiters::Names), text);
    }
}
