//! ImagingStudy (R4 imagingstudy.html).

use std::borrow::Cow;

use serde::ser::SerializeStruct;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::element::{element, resource};
use super::{Annotation, CodeableConcept, Coding, Identifier, Reference};

resource! {
    /// An ImagingStudy.
    pub struct ImagingStudy = "ImagingStudy" {
        /// Study Instance UID, accession number and Study ID.
        identifier: Vec<Identifier> = "identifier",
        /// `available` or `unknown`.
        status: Cow<'static, str> = "status" + "_status",
        /// Modalities of the series.
        modality: Vec<Coding> = "modality",
        /// Reference to the Patient.
        subject: Reference = "subject",
        /// The visit, with its identifier only.
        encounter: Option<Reference> = "encounter",
        /// Start of the study, at the known precision.
        started: Option<String> = "started" + "_started",
        /// The orders, with their identifiers only.
        based_on: Vec<Reference> = "basedOn",
        /// Referring physician.
        referrer: Option<Reference> = "referrer",
        /// Interpreting physicians.
        interpreter: Vec<Reference> = "interpreter",
        /// Endpoints that serve the study.
        endpoint: Vec<Reference> = "endpoint",
        /// Number of series that the archive reports.
        number_of_series: Option<u32> = "numberOfSeries" + "_numberOfSeries",
        /// Number of instances that the archive reports.
        number_of_instances: Option<u32> = "numberOfInstances" + "_numberOfInstances",
        /// The performed Procedure.
        procedure_reference: Option<Reference> = "procedureReference",
        /// Codes of the procedure.
        procedure_code: Vec<CodeableConcept> = "procedureCode",
        /// Location of the study.
        location: Option<Reference> = "location",
        /// Reasons for the study.
        reason_code: Vec<CodeableConcept> = "reasonCode",
        /// References to the reasons.
        reason_reference: Vec<Reference> = "reasonReference",
        /// Comments.
        note: Vec<Annotation> = "note",
        /// Study Description.
        description: Option<String> = "description" + "_description",
        /// The series, if they were requested.
        series: Vec<Series> = "series",
    }
}

element! {
    /// ImagingStudy.series.
    pub struct Series {
        /// The Series Instance UID.
        uid: String = "uid" + "_uid",
        /// Series Number.
        number: Option<u32> = "number" + "_number",
        /// Modality.
        modality: Coding = "modality",
        /// Series Description.
        description: Option<String> = "description" + "_description",
        /// Number of instances that the archive reports.
        number_of_instances: Option<u32> = "numberOfInstances" + "_numberOfInstances",
        /// Endpoints that serve the series, if they differ from those of the study.
        endpoint: Vec<Reference> = "endpoint",
        /// Examined body part.
        body_site: Option<Coding> = "bodySite",
        /// Side of the body part.
        laterality: Option<Coding> = "laterality",
        /// Examined specimens.
        specimen: Vec<Reference> = "specimen",
        /// Start of the series.
        started: Option<String> = "started" + "_started",
        /// Performers of the series.
        performer: Vec<Performer> = "performer",
        /// The instances, if they were requested.
        instance: Vec<Instance> = "instance",
    }
}

element! {
    /// ImagingStudy.series.performer.
    pub struct Performer {
        /// Function of the performer.
        function: Option<CodeableConcept> = "function",
        /// The performer.
        actor: Reference = "actor",
    }
}

element! {
    /// ImagingStudy.series.instance. A study can have thousands of instances, so serialization does not copy values.
    pub struct Instance {
        /// The SOP Instance UID.
        uid: Box<str> = "uid" + "_uid",
        /// SOP class.
        sop_class: SopClass = "sopClass",
        /// Instance Number.
        number: Option<u32> = "number" + "_number",
        /// Title.
        title: Option<Box<str>> = "title" + "_title",
    }
}

/// ImagingStudy.series.instance.sopClass, which is usually only a UID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SopClass {
    /// The SOP Class UID.
    Uid(Cow<'static, str>),
    /// Any other coding.
    Coded(Box<Coding>),
}

/// The system of codes that are URIs (R4 identifier-registry).
const URI_SYSTEM: &str = "urn:ietf:rfc:3986";

impl SopClass {
    /// Returns an unknown SOP class: the element is required, but the archive does not report it.
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
                coding.serialize_field("system", URI_SYSTEM)?;
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
            Some(uid) if coding == Coding::new(URI_SYSTEM, format!("urn:oid:{uid}"), None) => {
                Self::Uid(uid.into())
            }
            _ => Self::Coded(Box::new(coding)),
        })
    }
}

/// `urn:oid:` and a UID, serialized without an intermediate string.
struct Urn<'a>(&'a str);

impl Serialize for Urn<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("urn:oid:{}", self.0))
    }
}
