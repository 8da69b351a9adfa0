//! ImagingStudy.series.instance, from a row of an instance search or from metadata. The parser skips attributes that are not
//! used.

use std::borrow::Cow;
use std::fmt;

use dicom_core::dictionary::UidDictionary;
use dicom_dictionary_std::StandardSopClassDictionary;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{NAMED_PATIENT_TAGS, specimens};
use dicom_model::{Attributes, ElementOf, Tag, Uid, Value, tag, tags};
use fhir_r4::id::is_id;
use fhir_r4::types::{Element, Extension, Instance, SopClass, to_fhir_string};

/// The extension for the number of frames (IHE RAD MADO 1.0.0).
const NUMBER_OF_FRAMES: &str = "https://profiles.ihe.net/RAD/MADO/StructureDefinition/MadoNumberOfFrames";

/// The attributes of an instance that the mapping uses.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MappedInstance {
    /// SOPInstanceUID (0008,0018) without padding, even if the archive's rule does not accept it.
    pub uid: Option<Box<str>>,
    /// SeriesInstanceUID (0020,000E) without padding, which shows whether the row belongs to the series.
    pub series: Option<Box<str>>,
    /// SOPClassUID (0008,0016).
    pub sop_class: Option<Cow<'static, str>>,
    /// InstanceNumber (0020,0013).
    pub number: Option<u32>,
    /// The concept name of a document, else the content label, else the document title, else the image type.
    pub title: Option<Box<str>>,
    /// NumberOfFrames (0028,0008), of SOP classes that allow several frames.
    pub frames: Option<u32>,
    /// ImageLaterality (0020,0062), which is the laterality of the series if all of its images have the same value.
    pub laterality: Option<Cow<'static, str>>,
    /// The items of SpecimenDescriptionSequence (0040,0560), with the attributes that are used.
    pub specimens: Box<[Attributes]>,
    /// The attributes that name the patient ([`NAMED_PATIENT_TAGS`](super::NAMED_PATIENT_TAGS)), which show whether the instance
    /// belongs to the patient of the study.
    pub patient: Attributes,
}

impl MappedInstance {
    /// Estimates the size in memory, in bytes.
    pub fn size(&self) -> usize {
        let texts =
            [self.uid.as_deref(), self.series.as_deref(), self.sop_class.as_deref(), self.title.as_deref()];
        let texts: usize = texts.iter().flatten().map(|text| text.len()).sum();
        let items = self.specimens.iter().chain([&self.patient]);
        size_of::<Self>() + texts + items.map(Attributes::size).sum::<usize>()
    }

    /// Creates the element; `None` without a UID that can be its `uid`, which has the type `id` and is required.
    pub(super) fn into_resource(self, with_frame_counts: bool) -> Option<Instance> {
        let frames = self.frames.filter(|_| with_frame_counts).and_then(|frames| i32::try_from(frames).ok());
        let extension = frames.map(|frames| Extension::integer(NUMBER_OF_FRAMES, frames));
        Some(Instance {
            element: Element::with(extension.into_iter().collect()),
            uid: self.uid.filter(|uid| is_id(uid))?,
            sop_class: self.sop_class.map_or_else(SopClass::unknown, SopClass::Uid),
            number: self.number,
            title: self.title,
        })
    }
}

impl<'de> Deserialize<'de> for MappedInstance {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Row;

        impl<'de> Visitor<'de> for Row {
            type Value = MappedInstance;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an instance as an object of the DICOM JSON model")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<MappedInstance, A::Error> {
                let mut instance = MappedInstance::default();
                let mut titles: [Option<Box<str>>; 4] = Default::default();
                while let Some(Member(tag)) = members.next_key()? {
                    match tag {
                        Some(tags::SOP_INSTANCE_UID) => {
                            instance.uid = members.next_value::<FirstValue<'de>>()?.uid();
                        }
                        Some(tags::SERIES_INSTANCE_UID) => {
                            instance.series = members.next_value::<FirstValue<'de>>()?.uid();
                        }
                        Some(tags::SOP_CLASS_UID) => {
                            instance.sop_class = first_uid(&mut members)?.map(intern);
                        }
                        Some(tags::INSTANCE_NUMBER) => {
                            instance.number = members.next_value::<FirstValue<'de>>()?.number();
                        }
                        Some(tags::IMAGE_LATERALITY) => {
                            instance.laterality = members.next_value::<FirstValue<'de>>()?.laterality();
                        }
                        Some(tags::NUMBER_OF_FRAMES) => {
                            instance.frames = members
                                .next_value::<FirstValue<'de>>()?
                                .number()
                                .filter(|frames| *frames > 0);
                        }
                        Some(tag @ tags::SPECIMEN_DESCRIPTION_SEQUENCE) => {
                            let sequence = members.next_value_seed(ElementOf(tag))?;
                            instance.specimens = specimens::specimen_items(sequence);
                        }
                        Some(tag @ tags::CONCEPT_NAME_CODE_SEQUENCE) => {
                            titles[0] = code_meaning(&members.next_value_seed(ElementOf(tag))?);
                        }
                        Some(tags::CONTENT_LABEL) => {
                            titles[1] = members.next_value::<FirstValue<'de>>()?.title();
                        }
                        Some(tags::DOCUMENT_TITLE) => {
                            titles[2] = members.next_value::<FirstValue<'de>>()?.title();
                        }
                        Some(tag) if NAMED_PATIENT_TAGS.contains(&tag) => {
                            instance.patient.insert(tag, members.next_value_seed(ElementOf(tag))?);
                        }
                        Some(tags::IMAGE_TYPE) => titles[3] = members.next_value::<JoinedValues>()?.0,
                        _ => drop(members.next_value::<IgnoredAny>()?),
                    }
                }
                instance.title = titles.into_iter().find_map(|title| title);
                Ok(instance)
            }
        }

        deserializer.deserialize_map(Row)
    }
}

/// Returns the tag of a member, or `None` if the attribute is not used. Keywords are looked up only if the key is not
/// hexadecimal.
fn tag_of(key: &str) -> Option<Tag> {
    match key {
        "00080018" => Some(tags::SOP_INSTANCE_UID),
        "0020000E" => Some(tags::SERIES_INSTANCE_UID),
        "00080016" => Some(tags::SOP_CLASS_UID),
        "00200013" => Some(tags::INSTANCE_NUMBER),
        "00280008" => Some(tags::NUMBER_OF_FRAMES),
        "00200062" => Some(tags::IMAGE_LATERALITY),
        "00400560" => Some(tags::SPECIMEN_DESCRIPTION_SEQUENCE),
        "0040A043" => Some(tags::CONCEPT_NAME_CODE_SEQUENCE),
        "00700080" => Some(tags::CONTENT_LABEL),
        "00420010" => Some(tags::DOCUMENT_TITLE),
        "00080008" => Some(tags::IMAGE_TYPE),
        "00100020" => Some(tags::PATIENT_ID),
        "00100021" => Some(tags::ISSUER_OF_PATIENT_ID),
        "00100024" => Some(tags::ISSUER_OF_PATIENT_ID_QUALIFIERS_SEQUENCE),
        _ if key.starts_with("00") && !key.bytes().any(|byte| byte.is_ascii_lowercase()) => None,
        _ => tag::parse(key),
    }
}

fn first_uid<'de, A: MapAccess<'de>>(members: &mut A) -> Result<Option<Cow<'de, str>>, A::Error> {
    let first = members.next_value::<FirstValue<'de>>()?;
    Ok(match first {
        FirstValue::Text(text) => {
            let trimmed = text.trim_matches([' ', '\0']);
            let is_unpadded = trimmed.len() == text.len();
            match (Uid::is_legal(trimmed), is_unpadded) {
                (true, true) => Some(text),
                (true, false) => Some(Cow::Owned(trimmed.to_owned())),
                (false, _) => None,
            }
        }
        FirstValue::Number(_) | FirstValue::Absent => None,
    })
}

/// Replaces the UID of a standard SOP class by a static string, which thousands of instances share.
fn intern(uid: Cow<'_, str>) -> Cow<'static, str> {
    match StandardSopClassDictionary.by_uid(&uid) {
        Some(entry) => Cow::Borrowed(entry.uid),
        None => Cow::Owned(uid.into_owned()),
    }
}

fn code_meaning(element: &dicom_model::Element) -> Option<Box<str>> {
    let items = element.values.iter().filter_map(|value| match value {
        Value::Item(item) => Some(item),
        Value::Text(_) | Value::Name(_) => None,
    });
    items.filter_map(|item| item.text(tags::CODE_MEANING)).find_map(to_fhir_string).map(Into::into)
}

/// The name of a member of a row, as a tag.
struct Member(Option<Tag>);

impl<'de> Deserialize<'de> for Member {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Name(|name: &str| Self(tag_of(name))))
    }
}

/// Whether the name of a member of an element is `Value`.
struct IsValue(bool);

impl<'de> Deserialize<'de> for IsValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Name(|name: &str| Self(name == "Value")))
    }
}

/// Reads a name without copying it.
struct Name<F>(F);

impl<T, F: FnOnce(&str) -> T> Visitor<'_> for Name<F> {
    type Value = T;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the name of a member")
    }

    fn visit_str<E>(self, name: &str) -> Result<T, E> {
        Ok((self.0)(name))
    }
}

/// The first value of an element.
enum FirstValue<'a> {
    Text(Cow<'a, str>),
    Number(i64),
    Absent,
}

impl FirstValue<'_> {
    fn number(&self) -> Option<u32> {
        let number = match self {
            Self::Number(number) => *number,
            Self::Text(text) => {
                let text = text.trim_matches([' ', '\0']);
                let whole = text.split_once('.').map_or(text, |(whole, rest)| {
                    if rest.bytes().all(|byte| byte == b'0') { whole } else { "" }
                });
                whole.parse().ok()?
            }
            Self::Absent => return None,
        };
        u32::try_from(number).ok().filter(|number| i32::try_from(*number).is_ok())
    }

    /// Returns the laterality, without copying standard values.
    fn laterality(&self) -> Option<Cow<'static, str>> {
        let Self::Text(text) = self else { return None };
        let text = to_fhir_string(text)?;
        let standard = ["R", "L", "U", "B"].into_iter().find(|value| text.eq_ignore_ascii_case(value));
        Some(standard.map_or(Cow::Owned(text), Cow::Borrowed))
    }

    fn uid(&self) -> Option<Box<str>> {
        match self {
            Self::Text(text) => {
                Some(text.trim_matches([' ', '\0'])).filter(|uid| !uid.is_empty()).map(Into::into)
            }
            Self::Number(_) | Self::Absent => None,
        }
    }

    fn title(&self) -> Option<Box<str>> {
        match self {
            Self::Text(text) => to_fhir_string(text).map(Into::into),
            Self::Number(_) | Self::Absent => None,
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for FirstValue<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FirstValueVisitor;

        impl<'de> Visitor<'de> for FirstValueVisitor {
            type Value = FirstValue<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an element or a value")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<FirstValue<'de>, A::Error> {
                let mut first = FirstValue::Absent;
                while let Some(IsValue(is_value)) = members.next_key()? {
                    if is_value {
                        first = members.next_value()?;
                    } else {
                        members.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(first)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<FirstValue<'de>, A::Error> {
                let mut first = FirstValue::Absent;
                while let Some(value) = values.next_element::<FirstValue<'de>>()? {
                    if matches!(first, FirstValue::Absent) {
                        first = value;
                    }
                }
                Ok(first)
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<FirstValue<'de>, E> {
                Ok(FirstValue::Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<FirstValue<'de>, E> {
                Ok(FirstValue::Text(Cow::Owned(text.to_owned())))
            }

            fn visit_i64<E>(self, number: i64) -> Result<FirstValue<'de>, E> {
                Ok(FirstValue::Number(number))
            }

            fn visit_u64<E>(self, number: u64) -> Result<FirstValue<'de>, E> {
                Ok(i64::try_from(number).map_or(FirstValue::Absent, FirstValue::Number))
            }

            fn visit_f64<E>(self, number: f64) -> Result<FirstValue<'de>, E> {
                Ok(FirstValue::Text(Cow::Owned(number.to_string())))
            }

            fn visit_bool<E>(self, _: bool) -> Result<FirstValue<'de>, E> {
                Ok(FirstValue::Absent)
            }

            fn visit_unit<E>(self) -> Result<FirstValue<'de>, E> {
                Ok(FirstValue::Absent)
            }
        }

        deserializer.deserialize_any(FirstValueVisitor)
    }
}

/// All values of a text element, joined by the backslash that separates values in DICOM.
struct JoinedValues(Option<Box<str>>);

impl<'de> Deserialize<'de> for JoinedValues {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct JoinedValuesVisitor;

        impl<'de> Visitor<'de> for JoinedValuesVisitor {
            type Value = JoinedValues;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an element or its values")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<JoinedValues, A::Error> {
                let mut joined = JoinedValues(None);
                while let Some(IsValue(is_value)) = members.next_key()? {
                    if is_value {
                        joined = members.next_value()?;
                    } else {
                        members.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(joined)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<JoinedValues, A::Error> {
                let mut joined = String::new();
                while let Some(value) = values.next_element::<FirstValue<'de>>()? {
                    if let FirstValue::Text(text) = value
                        && let text = text.trim_matches([' ', '\0'])
                        && !text.is_empty()
                    {
                        if !joined.is_empty() {
                            joined.push('\\');
                        }
                        joined.push_str(text);
                    }
                }
                Ok(JoinedValues(to_fhir_string(&joined).map(Into::into)))
            }

            fn visit_str<E>(self, text: &str) -> Result<JoinedValues, E> {
                Ok(JoinedValues(to_fhir_string(text).map(Into::into)))
            }

            fn visit_bool<E>(self, _: bool) -> Result<JoinedValues, E> {
                Ok(JoinedValues(None))
            }

            fn visit_i64<E>(self, _: i64) -> Result<JoinedValues, E> {
                Ok(JoinedValues(None))
            }

            fn visit_u64<E>(self, _: u64) -> Result<JoinedValues, E> {
                Ok(JoinedValues(None))
            }

            fn visit_f64<E>(self, _: f64) -> Result<JoinedValues, E> {
                Ok(JoinedValues(None))
            }

            fn visit_unit<E>(self) -> Result<JoinedValues, E> {
                Ok(JoinedValues(None))
            }
        }

        deserializer.deserialize_any(JoinedValuesVisitor)
    }
}
