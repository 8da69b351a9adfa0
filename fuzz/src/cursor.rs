//! Cursors of page links: what is sealed opens again, in the same search and with the same key; nothing else opens.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use dicomweb_gateway::http::cursor::CursorKey;

use crate::chunks::Numbers;

/// A place in a list, as real ones are: words and numbers.
type Place = (u64, Vec<String>, Option<String>);

/// Checks one search and its place: a query on the first line, the parts of the place on the others.
pub fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (query, rest) = text.split_once('\n').unwrap_or((&text, ""));
    let parts: Vec<_> = rest.split('\n').map(str::to_owned).collect();
    let place: Place = (rest.len() as u64, parts, rest.lines().next().map(str::to_owned));
    let key = key(b"one secret");
    // What somebody makes up opens nowhere. The key depends on the input: a fuzzer watches comparisons, and would read the tag of
    // a fixed key there.
    let unknown_key = crate::cursor::key(data);
    for made_up in [query, rest, &text] {
        assert_eq!(open(&unknown_key, query, made_up), None, "a cursor that was not sealed opens");
    }
    let sealed = key.seal(query, &place);
    if sealed.is_empty() {
        let length = serde_json::to_vec(&place).expect("a place can be written").len();
        assert!(length > 6000, "a cursor of {length} bytes is refused");
        return;
    }
    assert_eq!(open(&key, query, &sealed), Some(place.clone()), "a cursor opens as something else");
    assert_eq!(key.seal(query, &place), sealed, "the same place becomes another text");
    assert!(
        sealed.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')),
        "a link cannot hold it"
    );
    assert_eq!(open(&key, &format!("{query}&"), &sealed), None, "a cursor opens in another search");
    assert_eq!(
        open(&crate::cursor::key(b"another secret"), query, &sealed),
        None,
        "a cursor opens with another key"
    );
    let other: Place = (place.0 + 1, place.1, place.2);
    assert_ne!(key.seal(query, &other), sealed, "two places become one text");
    check_changed(&key, query, &sealed, &mut Numbers::of(data));
}

fn check_changed(key: &CursorKey, query: &str, sealed: &str, numbers: &mut Numbers) {
    let bytes = URL_SAFE_NO_PAD.decode(sealed).expect("a cursor is base64url");
    let reopened = |bytes: &[u8]| open(key, query, &URL_SAFE_NO_PAD.encode(bytes));
    for _ in 0..24 {
        let (at, bit) = (numbers.below(bytes.len()), numbers.below(8));
        let mut changed = bytes.clone();
        changed[at] ^= 1 << bit;
        assert_eq!(reopened(&changed), None, "bit {bit} of byte {at} can be changed");
        changed[at] ^= 1 << bit;
        changed.swap(at, bytes.len() - 1 - at);
        assert!(changed == bytes || reopened(&changed).is_none(), "bytes can be exchanged");
    }
    let length = numbers.below(bytes.len());
    assert_eq!(reopened(&bytes[..length]), None, "a cursor can be cut off");
    assert_eq!(reopened(&bytes[length + 1..]), None, "the beginning of a cursor can be left out");
    assert_eq!(reopened(&[&bytes[..], &[0]].concat()), None, "a cursor can be made longer");
    // Nor is there another spelling of the same bytes.
    let at = numbers.below(sealed.len());
    for letter in ["A", "_", "=", "+", " ", "\n"] {
        let respelled = [&sealed[..at], letter, &sealed[at + 1..]].concat();
        assert!(
            respelled == sealed || open(key, query, &respelled).is_none(),
            "a letter of a cursor can be changed"
        );
        let longer = [&sealed[..at], letter, &sealed[at..]].concat();
        assert_eq!(open(key, query, &longer), None, "a letter can be added to a cursor");
    }
    assert_eq!(open(key, query, &format!("{sealed}=")), None, "a cursor can be padded");
}

fn key(secret: &[u8]) -> CursorKey {
    CursorKey::of(secret).expect("a key can be made of any secret")
}

fn open(key: &CursorKey, query: &str, text: &str) -> Option<Place> {
    key.open(query, text)
}
