//! R4 imagingstudy.html.

use std::borrow::Cow;

use serde::ser::SerializeStruct;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::element::{element, resource};
use super::{Annotation, CodeableConcept, Coding, Identifier, Reference};

resource! {
    /// An ImagingStudy.
    pub struct ImagingStudy = "ImagingStudy" {
        /// UID, accession number, Study ID.
        identifier: Vec<Identifier> = "identifier",
        /// available, unknown.
        status: Cow<'static, str> = "status" + "_status",
        /// Every modality of its series.
        modality: Vec<Coding> = "modality",
        /// The Patient.
        subject: Reference = "subject",
        /// The visit, by its number.
        encounter: Option<Reference> = "encounter",
        /// When it began, as precisely as is known.
        started: Option<String> = "started" + "_started",
        /// The orders, by their numbers.
        based_on: Vec<Reference> = "basedOn",
        /// Who asked for it.
        referrer: Option<Reference> = "referrer",
        /// Who read it.
        interpreter: Vec<Reference> = "interpreter",
        /// Where it can be retrieved.
        endpoint: Vec<Reference> = "endpoint",
        /// As the archive counts.
        number_of_series: Option<u32> = "numberOfSeries" + "_numberOfSeries",
        /// As the archive counts.
        number_of_instances: Option<u32> = "numberOfInstances" + "_numberOfInstances",
        /// The Procedure that was done.
        procedure_reference: Option<Reference> = "procedureReference",
        /// What was done.
        procedure_code: Vec<CodeableConcept> = "procedureCode",
        /// Where it was done.
        location: Option<Reference> = "location",
        /// Why it was done.
        reason_code: Vec<CodeableConcept> = "reasonCode",
        /// Findings for which it was done.
        reason_reference: Vec<Reference> = "reasonReference",
        /// Comments.
        note: Vec<Annotation> = "note",
        /// What the archive calls it.
        description: Option<String> = "description" + "_description",
        /// Its series, when they were asked for.
        series: Vec<Series> = "series",
    }
}

element! {
    /// ImagingStudy.series.
    pub struct Series {
        /// The Series Instance UID.
        uid: String = "uid" + "_uid",
        /// Its number in the study.
        number: Option<u32> = "number" + "_number",
        /// How it was acquired.
        modality: Coding = "modality",
        /// What the archive calls it.
        description: Option<String> = "description" + "_description",
        /// As the archive counts.
        number_of_instances: Option<u32> = "numberOfInstances" + "_numberOfInstances",
        /// Where it can be retrieved, if elsewhere than the study.
        endpoint: Vec<Reference> = "endpoint",
        /// What was examined.
        body_site: Option<Coding> = "bodySite",
        /// Which side of it.
        laterality: Option<Coding> = "laterality",
        /// What was taken from the patient and examined.
        specimen: Vec<Reference> = "specimen",
        /// When it began.
        started: Option<String> = "started" + "_started",
        /// Who did it.
        performer: Vec<Performer> = "performer",
        /// Its instances, when they were asked for.
        instance: Vec<Instance> = "instance",
    }
}

element! {
    /// ImagingStudy.series.performer.
    pub struct Performer {
        /// What they did.
        function: Option<CodeableConcept> = "function",
        /// Who they are.
        actor: Reference = "actor",
    }
}

element! {
    /// ImagingStudy.series.instance. A study has thousands: nothing is copied to write one.
    pub struct Instance {
        /// The SOP Instance UID.
        uid: Box<str> = "uid" + "_uid",
        /// What kind of object it is.
        sop_class: SopClass = "sopClass",
        /// Its number in the series.
        number: Option<u32> = "number" + "_number",
        /// What it is called.
        title: Option<Box<str>> = "title" + "_title",
    }
}

/// ImagingStudy.series.instance.sopClass: as a rule a UID and nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SopClass {
    /// The SOP Class UID.
    Uid(Cow<'static, str>),
    /// Any other coding.
    Coded(Box<Coding>),
}

const URI: &str = "urn:ietf:rfc:3986";

impl SopClass {
    /// That the archive does not say, as the element must be there.
    pub fn unknown() -> Self {
        Self::Coded(Box::new(Coding::unknown()))
    }
}

impl Default for SopClass {
    fn default() -> Self {
        Self::unknown()
    }
}

impl Serialize for SopClass {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Uid(uid) => {
                let mut coding = serializer.serialize_struct("Coding", 2)?;
                coding.serialize_field("system", URI)?;
                coding.serialize_field("code", &Urn(uid))?;
                coding.end()
            }
            Self::Coded(coding) => coding.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for SopClass {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let coding = Coding::deserialize(deserializer)?;
        let uid = coding.code.as_deref().and_then(|code| code.strip_prefix("urn:oid:")).map(str::to_owned);
        Ok(match uid {
            Some(uid) if coding == Coding::new(URI, format!("urn:oid:{uid}"), None) => Self::Uid(uid.into()),
            _ => Self::Coded(Box::new(coding)),
        })
    }
}

/// `urn:oid:` and a UID, written without putting them together first.
struct Urn<'a>(&'a str);

impl Serialize for Urn<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("urn:oid:{}", self.0))
    }
}
