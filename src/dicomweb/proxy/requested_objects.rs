//! Compares the objects of metadata with what was requested, while they stream: some archives return other objects than the requested
//! ones, and a viewer would show another patient's study under the requested one.
//!
//! Each object is held until its UIDs have been compared, and forwarded from then on while it arrives, so that its length does not
//! matter. DICOM JSON is in ascending order of tags (PS3.18 F.2.2), so the UIDs are among the first attributes. Not one byte is
//! forwarded of an object that was not requested; it is an error, because the rest of the list is doubtful, too. Requested objects are
//! unchanged, byte for byte.

use bytes::Bytes;

use super::stream_error::StreamError;
use super::xml_parts::to_stream_error;
use crate::upstream::DicomResource;
use dicom_model::json::attribute_texts::{AttributeTexts, Found};
use dicom_model::json::{self, complete::only_string};
use dicom_model::{Element, Tag, Value, tags};

/// Maximum length in bytes of an object whose UIDs have not been compared. In an object that lists its attributes in ascending order,
/// few are before the UIDs; the largest are references to some ten thousand other objects.
const MAX_UNCOMPARED_LEN: usize = 8 * 1024 * 1024;

/// Maximum length in bytes of the text of a UID in an object. A UID has at most 64 bytes (PS3.5 9.1).
const MAX_ATTRIBUTE_LEN: usize = 4 * 1024;

/// The UIDs that are compared.
const UIDS: &[Tag] = &[tags::STUDY_INSTANCE_UID, tags::SERIES_INSTANCE_UID, tags::SOP_INSTANCE_UID];

/// Forwards the metadata of the requested objects.
#[derive(Debug)]
pub(crate) struct RequestedObjects {
    scanner: AttributeTexts,
    comparison: Comparison,
    /// The beginning of an object that is not compared yet, and nothing before it.
    held: Vec<u8>,
    /// Whether an object has begun. Nothing is forwarded before the first one has been compared, so that the client receives an error
    /// status if it is another one.
    has_object: bool,
    max_uncompared_len: usize,
}

/// The comparison of the current object with what was requested.
#[derive(Debug)]
struct Comparison {
    /// The requested UIDs, in the order of [`UIDS`].
    requested: [Option<String>; 3],
    /// Which of the requested UIDs have not been compared.
    missing: [bool; 3],
    is_other: bool,
}

impl Comparison {
    fn begin(&mut self) {
        self.missing = [0, 1, 2].map(|index| self.requested[index].is_some());
    }

    /// Compares a UID, an attribute in DICOM JSON. An object may lack values.
    fn compare(&mut self, index: usize, attribute: &[u8]) {
        if let Some(requested) = self.requested.get(index).and_then(Option::as_deref) {
            self.is_other |=
                only_string(attribute) != Some(requested) && !has_no_other_value(attribute, requested);
        }
        if let Some(missing) = self.missing.get_mut(index) {
            *missing = false;
        }
    }

    /// Whether nothing remains to be compared in the current object.
    fn is_complete(&self) -> bool {
        !self.missing.contains(&true)
    }
}

/// Whether `attribute`, which is read tolerantly, has no other value than `uid`.
fn has_no_other_value(attribute: &[u8], uid: &str) -> bool {
    json::parse(&String::from_utf8_lossy(attribute)).is_ok_and(|element: Element| {
        element.values.iter().all(|value| matches!(value, Value::Text(text) if **text == *uid))
    })
}

impl RequestedObjects {
    /// Creates a check of the metadata of `objects`.
    pub(crate) fn new(objects: &DicomResource) -> Self {
        let (series, instance) = match objects {
            DicomResource::Study(_) => (None, None),
            DicomResource::Series(_, series) => (Some(series.to_string()), None),
            DicomResource::Instance(_, series, instance) | DicomResource::Frames(_, series, instance, _) => {
                (Some(series.to_string()), Some(instance.to_string()))
            }
        };
        Self {
            scanner: AttributeTexts::new(UIDS, MAX_ATTRIBUTE_LEN),
            comparison: Comparison {
                requested: [Some(objects.study().to_string()), series, instance],
                missing: [false; 3],
                is_other: false,
            },
            held: Vec::new(),
            has_object: false,
            max_uncompared_len: MAX_UNCOMPARED_LEN,
        }
    }

    /// Returns what can be forwarded after `chunk` has been read.
    pub(crate) fn push(&mut self, chunk: &Bytes) -> Result<Bytes, StreamError> {
        let Self { scanner, comparison, has_object, .. } = self;
        let is_first = scanner.objects() == 0;
        // Where the current object begins in this chunk; 0 if it began before.
        let mut begin = 0;
        let read = scanner.push(chunk, &mut |position, found| match found {
            Found::Object => {
                begin = position;
                *has_object = true;
                comparison.begin();
            }
            Found::Attribute { index, text } => comparison.compare(index, text),
            Found::End => comparison.missing = [false; 3],
        });
        // An error after an object of another study must not hide it.
        if comparison.is_other {
            return Err(StreamError::Unreadable("metadata of objects that were not requested"));
        }
        read.map_err(to_stream_error)?;
        if !*has_object || is_first && scanner.objects() == 0 && !comparison.is_complete() {
            begin = 0;
        } else if comparison.is_complete() {
            begin = chunk.len();
        }
        self.forward(chunk, begin)
    }

    /// Forwards what is held and `chunk` up to `end`, and holds the rest.
    fn forward(&mut self, chunk: &Bytes, end: usize) -> Result<Bytes, StreamError> {
        if end == 0 || self.held.is_empty() {
            let forwarded = chunk.slice(..end);
            self.hold(chunk.get(end..).unwrap_or_default())?;
            return Ok(forwarded);
        }
        let mut forwarded = std::mem::take(&mut self.held);
        forwarded.extend_from_slice(chunk.get(..end).unwrap_or_default());
        self.hold(chunk.get(end..).unwrap_or_default())?;
        Ok(forwarded.into())
    }

    fn hold(&mut self, bytes: &[u8]) -> Result<(), StreamError> {
        if self.held.len() + bytes.len() > self.max_uncompared_len {
            return Err(StreamError::Unreadable("an object that does not begin with its UIDs"));
        }
        self.held.extend_from_slice(bytes);
        Ok(())
    }

    /// Returns the number of bytes of an object whose UIDs have not been compared.
    pub(crate) fn held_len(&self) -> usize {
        self.held.len()
    }

    /// Requires that the list is complete.
    pub(crate) fn finish(&mut self) -> Result<Bytes, StreamError> {
        self.scanner.finish().map_err(to_stream_error)?;
        Ok(std::mem::take(&mut self.held).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicomweb::request::path::Resource;

    const STUDY: &str = "studies/1.2/metadata";
    const SERIES: &str = "studies/1.2/series/1.3/metadata";
    const INSTANCE: &str = "studies/1.2/series/1.3/instances/1.4/metadata";

    fn requested(path: &str) -> RequestedObjects {
        let Ok(Resource::Metadata(objects)) = Resource::parse(path) else { panic!("{path}") };
        RequestedObjects::new(&objects)
    }

    /// Returns what was forwarded, and the error.
    fn read(path: &str, text: &str, size: usize) -> (String, Option<StreamError>) {
        let mut objects = requested(path);
        let mut forwarded = Vec::new();
        for chunk in text.as_bytes().chunks(size) {
            match objects.push(&Bytes::copy_from_slice(chunk)) {
                Ok(bytes) => forwarded.extend_from_slice(&bytes),
                Err(error) => return (String::from_utf8(forwarded).unwrap(), Some(error)),
            }
        }
        let error = match objects.finish() {
            Ok(bytes) => {
                forwarded.extend_from_slice(&bytes);
                None
            }
            Err(error) => Some(error),
        };
        (String::from_utf8(forwarded).unwrap(), error)
    }

    fn object(study: &str, series: &str, instance: &str) -> String {
        format!(
            r#"{{"00080018":{{"vr":"UI","Value":["{instance}"]}},"00400275":{{"vr":"SQ","Value":[{{"0020000D":{{"vr":"UI","Value":["9.9"]}}}}]}},"0020000D":{{"vr":"UI","Value":["{study}"]}},"0020000E":{{"vr":"UI","Value":["{series} "]}},"x":1.50}}"#
        )
    }

    #[test]
    fn requested_objects_are_unchanged_for_every_chunk_size() {
        let own = object("1.2", "1.3", "1.4");
        let list = format!("\n[ {own} , {{}},{{\"0020000D\":{{\"vr\":\"UI\"}}}},{own}] ");
        for path in [STUDY, SERIES, INSTANCE] {
            for size in [1, 10, 100, 1000] {
                assert_eq!(read(path, &list, size), (list.clone(), None), "{path} {size}");
            }
        }
        assert_eq!(read(STUDY, "[]", 1), ("[]".to_owned(), None));
    }

    #[test]
    fn not_one_byte_of_an_object_that_was_not_requested_is_forwarded() {
        let own = object("1.2", "1.3", "1.4");
        for (path, other) in [
            (STUDY, object("9.9", "1.3", "1.4")),
            (SERIES, object("9.9", "1.3", "1.4")),
            (SERIES, object("1.2", "1.5", "1.4")),
            (INSTANCE, object("1.2", "1.5", "1.4")),
            (INSTANCE, object("1.2", "1.3", "1.5")),
        ] {
            let list = format!("[{own},{other}]");
            let before = format!("[{own},");
            for size in 1..=list.len() {
                let (forwarded, error) = read(path, &list, size);
                assert!(error.is_some() && before.starts_with(&forwarded), "{path} {size}: {forwarded}");
            }
        }
        let other_series = object("1.2", "1.5", "1.5");
        assert_eq!(read(STUDY, &format!("[{other_series}]"), 7).1, None);
    }

    #[test]
    fn uids_are_compared_in_every_form_that_is_read_tolerantly() {
        let list =
            |name: &str, attribute: &str| format!(r#"[{{"00080018":{{}},"{name}":{attribute},"x":1}}]"#);
        for name in ["0020000D", "0020000d", "StudyInstanceUID", r"0020\u0030\u0030\u0030d"] {
            for (attribute, is_requested) in [
                (r#"{"vr":"UI","Value":["1.2"]}"#, true),
                (r#"{"vr":"UI","Value":["1.2 "]}"#, true),
                (r#"{"vr":"UI","Value":[" 1.2"]}"#, true),
                (r#"{"vr":"UI","Value":[" 1.2\u0000"]}"#, true),
                (r#"{"vr":"UI","Value":["1.2","1.2"]}"#, true),
                (r#"{"vr":"UI","Value":[null,"1.2"]}"#, true),
                (r#"{"vr":"UI","Value":"1.2"}"#, true),
                (r#"{"vr":"UI","Value":[1.2]}"#, true),
                (r#"["1.2"]"#, true),
                (r#""1.2""#, true),
                (r#"{"vr":"UI","Value":[""]}"#, true),
                (r#"{"vr":"UI","Value":[" "]}"#, true),
                (r#"{"vr":"UI","Value":[]}"#, true),
                (r#"{"vr":"UI"}"#, true),
                ("null", true),
                (r#"{"vr":"UI","Value":["9.9"]}"#, false),
                (r#"{"vr":"UI","Value":[null,"9.9"]}"#, false),
                (r#"{"vr":"UI","Value":[[]]}"#, true),
                (r#"{"vr":"UI","Value":[["9.9"]]}"#, false),
                (r#"{"vr":"UI","Value":["1.2",["9.9"]]}"#, false),
                (r#"{"vr":"UI","Value":[true]}"#, false),
                (r#"{"vr":"UI","Value":["9.9"],"Value":["1.2"]}"#, false),
                (r#"{"vr":"UI","InlineBinary":"OS45"}"#, false),
                (r#"{"vr":"UI","BulkDataURI":"http://archive/9"}"#, false),
                ("true", false),
                (r#"{"vr":"UI","Value":["1.2","9.9"]}"#, false),
                (r#"{"vr":"UI","Value":["1.2\\9.9"]}"#, false),
                (r#"{"vr":"UI","Value":["1.2\ud800"]}"#, false),
                (r#"{"vr":"UI","Value":["1.2",1e999]}"#, false),
                (r#"{"vr":"PN","Value":["9.9"]}"#, false),
                (r#"{"vr":"PN","Value":[{"Alphabetic":"9.9"}]}"#, false),
                (r#"{"vr":"UI","Value":"9.9"}"#, false),
                (r#"{"vr":"UI","Value":[9.9]}"#, false),
                (r#"["9.9"]"#, false),
                (r#""9.9""#, false),
                ("9.9", false),
            ] {
                let list = list(name, attribute);
                for size in [1, 7, 1000] {
                    let (forwarded, error) = read(STUDY, &list, size);
                    assert_eq!((forwarded == list, error.is_none()), (is_requested, is_requested), "{list}");
                    assert!(is_requested || forwarded.is_empty(), "{forwarded}");
                }
            }
        }
        let long = list("0020000D", &format!("{{\"Value\":[\"1.2{}\"]}}", " ".repeat(MAX_ATTRIBUTE_LEN)));
        for twice in [
            r#"[{"0020000D":["1.2"],"0020000d":["1.2"]}]"#,
            r#"[{"StudyInstanceUID":"1.2","0020000D":"1.2"}]"#,
            &long,
        ] {
            assert!(read(STUDY, twice, 7).1.is_some(), "{twice}");
        }
    }

    #[test]
    fn nothing_is_forwarded_before_the_first_object_has_been_compared() {
        for other in [object("9.9", "1.3", "1.4"), object("1.2", "9.9", "1.4")] {
            let list = format!(" [ {other}]");
            for size in 1..=list.len() {
                assert_eq!(read(SERIES, &list, size).0, "", "{size}");
            }
        }
    }

    #[test]
    fn an_object_is_forwarded_while_it_arrives_once_its_uids_have_been_compared() {
        let mut objects = requested(SERIES);
        let start = r#"[{"0020000D":{"vr":"UI","Value":["1.2"]},"0020000E":{"vr":"UI","Value":["1.3"]}"#;
        let mut forwarded = objects.push(&start.into()).unwrap().len();
        forwarded += objects.push(&r#","7FE00010":{"vr":"OW","InlineBinary":""#.into()).unwrap().len();
        for _ in 0..4 * MAX_UNCOMPARED_LEN / 65536 {
            forwarded += objects.push(&vec![b'A'; 65536].into()).unwrap().len();
            assert_eq!(objects.held.capacity(), 0);
        }
        assert!(forwarded > 4 * MAX_UNCOMPARED_LEN);
    }

    #[test]
    fn an_object_that_does_not_begin_with_its_uids_is_an_error() {
        let value = "A".repeat(1000);
        let text = format!(
            r#"[{{"00080018":{{"vr":"UI","Value":["1.4"]}},"x":"{value}","0020000D":{{"Value":["1.2"]}},"0020000E":{{"Value":["1.3"]}}}}]"#
        );
        for (max_uncompared_len, is_accepted) in [(1000, false), (1100, true)] {
            let mut objects = RequestedObjects { max_uncompared_len, ..requested(SERIES) };
            let outcome = text
                .as_bytes()
                .chunks(10)
                .try_for_each(|chunk| objects.push(&chunk.to_vec().into()).map(drop));
            assert_eq!(outcome.is_ok(), is_accepted, "{max_uncompared_len}");
        }
    }

    #[test]
    fn a_list_that_is_truncated_or_malformed_is_an_error() {
        assert_eq!(read(STUDY, "[{}", 1).1, Some(StreamError::Incomplete));
        for malformed in ["[1]", "[{}]x", "[{\"x\":}]"] {
            assert!(matches!(read(STUDY, malformed, 1).1, Some(StreamError::NotAList(_))), "{malformed}");
        }
    }
}
