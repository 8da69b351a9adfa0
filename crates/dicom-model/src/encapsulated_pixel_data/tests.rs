//! Compares the frames that [`FrameLocator::locate`] finds with those of a [`Stream`].

use super::*;
use proptest::prelude::*;
use std::io::Read;

const JPEG: &str = uids::JPEG_BASELINE8_BIT;

/// Returns the value of encapsulated pixel data: a Basic Offset Table, fragments with these contents, and the delimiter.
fn encapsulate(table: &[u32], fragments: &[Vec<u8>]) -> Vec<u8> {
    let table: Vec<u8> = table.iter().flat_map(|offset| offset.to_le_bytes()).collect();
    let mut bytes = Vec::new();
    for value in std::iter::once(&table).chain(fragments) {
        bytes.extend([0xFE, 0xFF, 0x00, 0xE0]);
        bytes.extend(u32::try_from(value.len()).unwrap().to_le_bytes());
        bytes.extend(value);
    }
    bytes.extend([0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0]);
    bytes
}

fn locate(
    count: usize,
    syntax: &str,
    table: &[u32],
    extended: Option<&[u8]>,
    fragments: &[Vec<u8>],
) -> Result<Vec<Vec<u8>>, Inconsistent> {
    let mut offset = 0;
    let mut found = Vec::new();
    for bytes in fragments {
        let length = u32::try_from(bytes.len()).unwrap();
        found.push(Fragment::new(offset, length, bytes));
        offset += 8 + u64::from(length);
    }
    let table: Vec<u8> = table.iter().flat_map(|offset| offset.to_le_bytes()).collect();
    let extended = extended.map(Bytes::copy_from_slice);
    let frames = FrameLocator::new(count, syntax, &table.into(), extended.as_ref()).locate(&found)?;
    Ok(frames.iter().map(|frame| fragments[frame.clone()].concat()).collect())
}

fn read_stream(
    count: usize,
    syntax: &str,
    extended: Option<&[u8]>,
    mut source: impl Read,
) -> Result<Vec<Vec<u8>>, StreamError> {
    let extended = extended.map(Bytes::copy_from_slice);
    let mut stream = Stream::open(&mut source, count, syntax, extended.as_ref())?;
    let mut frames: Vec<Vec<u8>> = Vec::new();
    while let Some(piece) = stream.next(&mut source)? {
        if piece.begins_frame {
            frames.push(Vec::new());
        }
        frames.last_mut().unwrap().extend(piece.bytes);
    }
    Ok(frames)
}

/// Returns the frames that `locate` and `read_stream` find, after asserting that they find the same; `None` if both fail.
fn frames(
    count: usize,
    syntax: &str,
    table: &[u32],
    extended: Option<&[u8]>,
    fragments: &[Vec<u8>],
) -> Option<Vec<Vec<u8>>> {
    let located = locate(count, syntax, table, extended, fragments).ok();
    let streamed = read_stream(count, syntax, extended, &encapsulate(table, fragments)[..]).ok();
    assert_eq!(located, streamed, "{count} {table:?} {fragments:?}");
    located
}

/// Returns a fragment that begins with a JPEG marker.
fn marked(number: u8) -> Vec<u8> {
    vec![0xFF, 0xD8, 0xFF, number]
}

/// Returns a fragment that does not begin with a JPEG marker.
fn continuation(number: u8) -> Vec<u8> {
    vec![number; 6]
}

#[test]
fn frames_are_found_by_offsets_by_markers_or_by_the_number_of_fragments() {
    let two = [marked(1), continuation(1), marked(2), continuation(2)];
    let joined = vec![[marked(1), continuation(1)].concat(), [marked(2), continuation(2)].concat()];
    for table in [&[][..], &[0, 26], &[0, 0], &[0, 5], &[26, 0], &[0, 9999], &[8, 34], &[0]] {
        assert_eq!(frames(2, JPEG, table, None, &two).as_ref(), Some(&joined), "{table:?}");
    }
    let unmarked = [continuation(1), continuation(2), continuation(3)];
    assert_eq!(
        frames(2, JPEG, &[0, 28], None, &unmarked).unwrap(),
        [[continuation(1), continuation(2)].concat(), continuation(3)]
    );
    assert_eq!(frames(2, JPEG, &[], None, &unmarked), None);
    for table in [&[][..], &[0, 14, 28], &[0, 6, 12], &[0, 0, 0], &[0, 28, 42]] {
        assert_eq!(frames(3, JPEG, table, None, &unmarked).unwrap(), unmarked, "{table:?}");
    }
    assert_eq!(frames(1, JPEG, &[0], None, &unmarked).unwrap(), [unmarked.concat()]);
    assert_eq!(frames(4, JPEG, &[], None, &unmarked), None);
    assert_eq!(frames(1, JPEG, &[], None, &[]), None);
}

#[test]
fn extended_offset_table_takes_precedence_over_the_basic_one() {
    let long = |offsets: [u64; 2]| offsets.map(u64::to_le_bytes).concat();
    let fragments = [continuation(1), continuation(2), continuation(3)];
    let expected = [continuation(1), [continuation(2), continuation(3)].concat()];
    assert_eq!(frames(2, JPEG, &[0, 28], Some(&long([0, 14])), &fragments).unwrap(), expected);
    assert_eq!(frames(2, JPEG, &[0, 14], Some(&long([0, 0])), &fragments).unwrap(), expected);
    assert_eq!(frames(2, JPEG, &[], Some(&long([0, u64::MAX])), &fragments), None);
}

#[test]
fn empty_fragment_belongs_to_no_frame() {
    let fragments = [continuation(1), Vec::new(), continuation(2), Vec::new()];
    for table in [&[][..], &[0, 14], &[0, 22]] {
        assert_eq!(
            frames(2, JPEG, table, None, &fragments).unwrap(),
            [continuation(1), continuation(2)],
            "{table:?}"
        );
    }
    assert_eq!(frames(4, JPEG, &[0, 14, 22, 36], None, &fragments), None);
}

#[test]
fn video_is_one_stream_with_a_video_media_type() {
    let fragments = [marked(1), marked(2), continuation(3)];
    for syntax in [uids::MPEG2MPML, uids::MPEG2MPHLF, uids::MPEG4HP41, uids::HEVCM10P51] {
        assert_eq!(frames(25, syntax, &[0, 12], None, &fragments).unwrap(), [fragments.concat()]);
        assert!(is_video(syntax));
    }
    assert_eq!(media_type(uids::MPEG4HP42STEREOF), "video/mp4");
    assert_eq!(media_type(uids::HEVCMP51), "video/H265");
    assert!(!is_video(JPEG));
}

#[test]
fn invalid_number_of_frames_means_one() {
    for (text, expected) in
        [(None, 1), (Some("0"), 1), (Some("-3"), 1), (Some("x"), 1), (Some(" 12 "), 12), (Some("NaN"), 1)]
    {
        assert_eq!(number_of_frames(text), expected, "{text:?}");
    }
}

#[test]
fn fragments_truncated_at_any_byte_are_rejected() {
    let bytes = encapsulate(&[0, 14], &[continuation(1), continuation(2)]);
    for length in 0..bytes.len() {
        assert!(read_stream(2, JPEG, None, &bytes[..length]).is_err(), "{length}");
    }
}

#[test]
fn offset_table_that_is_longer_than_the_stream_is_an_io_error() {
    let mut bytes = encapsulate(&[], &[continuation(1)]);
    bytes[4..8].copy_from_slice(&0xFFFF_FFF0_u32.to_le_bytes());
    assert!(matches!(read_stream(1, JPEG, None, &bytes[..]), Err(StreamError::Io(_))));
}

proptest! {
    #[test]
    fn stream_finds_the_same_frames_as_the_locator(
        kinds in prop::collection::vec(0_u8..3, 0..9),
        table in prop::collection::vec(0_u32..90, 0..5),
        count in 1_usize..6,
    ) {
        let fragment = |(number, kind): (usize, &u8)| {
            let number = u8::try_from(number).unwrap();
            [marked(number), continuation(number), Vec::new()][usize::from(*kind)].clone()
        };
        let fragments: Vec<_> = kinds.iter().enumerate().map(fragment).collect();
        frames(count, JPEG, &table, None, &fragments);
    }
}
