//! The members of a JSON object in their order, with their values as raw text (RFC 8259 4). Callers use it to change a
//! few members of an object and to copy all others unchanged.
//!
//! This crate does not know about DICOM, FHIR or the meaning of members.

use std::borrow::Cow;
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// The names and values of an object in the order of the input. Duplicate names are preserved.
#[derive(Debug, Default)]
pub struct Members<'a>(pub Vec<(Cow<'a, str>, &'a RawValue)>);

/// The name of a member, borrowed from the input if it contains no escape.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor;

        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = Members<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(Name(name)) = object.next_key()? {
                    members.push((name, object.next_value()?));
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(MembersVisitor)
    }
}

impl Serialize for Members<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_keep_their_order_and_every_digit() {
        let text = r#"{"b":1.50,"a":[ {"x":null}],"\u0062":"\u00e4","":{}}"#;
        let members: Members<'_> = serde_json::from_str(text).unwrap();
        let names: Vec<_> = members.0.iter().map(|(name, _)| name.as_ref()).collect();
        assert_eq!(names, ["b", "a", "b", ""]);
        assert!(matches!(members.0[0].0, Cow::Borrowed(_)));
        assert_eq!(serde_json::to_string(&members).unwrap(), text.replace("\\u0062", "b"));
    }

    #[test]
    fn json_that_is_not_an_object_is_rejected() {
        for text in ["[]", "null", "{", r#"{"a"}"#] {
            assert!(serde_json::from_str::<Members<'_>>(text).is_err(), "{text}");
        }
    }
}
