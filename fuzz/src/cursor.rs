//! Cursors of page links: a sealed cursor can be opened with the same key in the same search. No other text can be opened.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use dicomweb_gateway::http::sealing::SealingKeys;

use crate::chunks::RandomNumbers;

/// A position in a list: numbers and texts, like the positions in real cursors.
type Position = (u64, Vec<String>, Option<String>);

/// Checks one search and its position: the first line is the query, the other lines are the parts of the position.
pub fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (query, rest) = text.split_once('\n').unwrap_or((&text, ""));
    let parts: Vec<_> = rest.split('\n').map(str::to_owned).collect();
    let position: Position = (rest.len() as u64, parts, rest.lines().next().map(str::to_owned));
    let key = cursor_key(b"one secret");
    // This key depends on the input: a fuzzer observes comparisons, and would learn the authentication tag of a fixed key.
    let unknown_key = cursor_key(data);
    for unsealed in [query, rest, &text] {
        assert_eq!(open(&unknown_key, query, unsealed), None, "a text that was not sealed can be opened");
    }
    let sealed = key.seal(query, &position);
    if sealed.is_empty() {
        let length = serde_json::to_vec(&position).expect("a position can be written").len();
        assert!(length > 6000, "a cursor of {length} bytes is rejected");
        return;
    }
    assert_eq!(
        open(&key, query, &sealed),
        Some(position.clone()),
        "opening a cursor does not return its position"
    );
    assert_eq!(key.seal(query, &position), sealed, "sealing a position twice returns different texts");
    assert!(
        sealed.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')),
        "the cursor contains characters that a link cannot contain"
    );
    assert_eq!(open(&key, &format!("{query}&"), &sealed), None, "a cursor can be opened in another search");
    assert_eq!(
        open(&cursor_key(b"another secret"), query, &sealed),
        None,
        "a cursor can be opened with another key"
    );
    let other: Position = (position.0 + 1, position.1, position.2);
    assert_ne!(key.seal(query, &other), sealed, "two positions have the same cursor");
    check_changed_cursors(&key, query, &sealed, &mut RandomNumbers::from_seed(data));
}

fn check_changed_cursors(key: &SealingKeys, query: &str, sealed: &str, numbers: &mut RandomNumbers) {
    let bytes = URL_SAFE_NO_PAD.decode(sealed).expect("a cursor is base64url");
    let open_bytes = |bytes: &[u8]| open(key, query, &URL_SAFE_NO_PAD.encode(bytes));
    for _ in 0..24 {
        let (index, bit) = (numbers.below(bytes.len()), numbers.below(8));
        let mut changed = bytes.clone();
        changed[index] ^= 1 << bit;
        assert_eq!(open_bytes(&changed), None, "bit {bit} of byte {index} can be changed");
        changed[index] ^= 1 << bit;
        changed.swap(index, bytes.len() - 1 - index);
        assert!(changed == bytes || open_bytes(&changed).is_none(), "bytes of a cursor can be swapped");
    }
    let length = numbers.below(bytes.len());
    assert_eq!(open_bytes(&bytes[..length]), None, "a truncated cursor can be opened");
    assert_eq!(open_bytes(&bytes[length + 1..]), None, "a cursor without its beginning can be opened");
    assert_eq!(open_bytes(&[&bytes[..], &[0]].concat()), None, "a cursor can be extended");
    // No other text is accepted as the same cursor.
    let index = numbers.below(sealed.len());
    for character in ["A", "_", "=", "+", " ", "\n"] {
        let changed = [&sealed[..index], character, &sealed[index + 1..]].concat();
        assert!(
            changed == sealed || open(key, query, &changed).is_none(),
            "a character of a cursor can be changed"
        );
        let longer = [&sealed[..index], character, &sealed[index..]].concat();
        assert_eq!(open(key, query, &longer), None, "a character can be added to a cursor");
    }
    assert_eq!(open(key, query, &format!("{sealed}=")), None, "a cursor can be padded");
}

fn cursor_key(secret: &[u8]) -> SealingKeys {
    SealingKeys::derive([secret]).expect("any secret is valid")
}

fn open(key: &SealingKeys, query: &str, text: &str) -> Option<Position> {
    key.open(query, text)
}
