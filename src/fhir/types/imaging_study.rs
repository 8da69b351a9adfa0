//! R4 imagingstudy.html.

use std::borrow::Cow;

use serde::ser::SerializeStruct;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{CodeableConcept, Coding, Identifier, Meta, Reference};

/// An ImagingStudy.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(tag = "resourceType", rename_all = "camelCase")]
pub struct ImagingStudy {
    /// The Study Instance UID.
    pub id: String,
    /// Profiles and tags.
    pub meta: Meta,
    /// UID, accession number, Study ID.
    pub identifier: Vec<Identifier>,
    /// available, unknown.
    pub status: Cow<'static, str>,
    /// Every modality of its series.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub modality: Vec<Coding>,
    /// The Patient.
    pub subject: Reference,
    /// The visit, by its number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encounter: Option<Reference>,
    /// When it began, as precisely as is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<String>,
    /// The orders, by their numbers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub based_on: Vec<Reference>,
    /// Who asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub referrer: Option<Reference>,
    /// Who read it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interpreter: Vec<Reference>,
    /// Where it can be retrieved.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub endpoint: Vec<Reference>,
    /// As the archive counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number_of_series: Option<u32>,
    /// As the archive counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number_of_instances: Option<u32>,
    /// What was done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub procedure_code: Vec<CodeableConcept>,
    /// Why it was done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reason_code: Vec<CodeableConcept>,
    /// What the archive calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Its series, when they were asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub series: Vec<Series>,
}

/// ImagingStudy.series.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Series {
    /// The Series Instance UID.
    pub uid: String,
    /// Its number in the study.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u32>,
    /// How it was acquired.
    pub modality: Coding,
    /// What the archive calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// As the archive counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number_of_instances: Option<u32>,
    /// What was examined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_site: Option<Coding>,
    /// Which side of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub laterality: Option<Coding>,
    /// When it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<String>,
    /// Who did it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub performer: Vec<Performer>,
    /// Its instances, when they were asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub instance: Vec<Instance>,
}

/// ImagingStudy.series.performer.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct Performer {
    /// What they did.
    pub function: CodeableConcept,
    /// Who they are.
    pub actor: Reference,
}

/// ImagingStudy.series.instance. A study has thousands: nothing is copied to write one.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Instance {
    /// The SOP Instance UID.
    pub uid: Box<str>,
    /// What kind of object it is.
    pub sop_class: SopClass,
    /// Its number in the series.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u32>,
    /// What it is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<Box<str>>,
}

/// ImagingStudy.series.instance.sopClass: a UID, or that it is not known, as the element must be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SopClass {
    /// The SOP Class UID.
    Uid(Cow<'static, str>),
    /// The archive does not say.
    Unknown,
}

impl Serialize for SopClass {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Uid(uid) => {
                let mut coding = serializer.serialize_struct("Coding", 2)?;
                coding.serialize_field("system", "urn:ietf:rfc:3986")?;
                coding.serialize_field("code", &Urn(uid))?;
                coding.end()
            }
            Self::Unknown => Coding::unknown().serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for SopClass {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let code = Coding::deserialize(deserializer)?.code;
        let uid = code.as_deref().and_then(|code| code.strip_prefix("urn:oid:"));
        Ok(uid.map_or(Self::Unknown, |uid| Self::Uid(uid.to_owned().into())))
    }
}

/// `urn:oid:` and a UID, written without putting them together first.
struct Urn<'a>(&'a str);

impl Serialize for Urn<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("urn:oid:{}", self.0))
    }
}
