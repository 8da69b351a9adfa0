//! The search parameters of ImagingStudy (R4 imagingstudy#search).

use super::{Parameter, Searchable, common};
use crate::id::is_id;
use crate::search::{
    Comparison, Criterion, Direction, ParseContext, ReferenceMatch, ResourceType, SortKey, System, Token,
    Value,
};
use crate::types::{ImagingStudy, Meta, SopClass};
use ImagingStudyParam as Param;

const STATUS: &str = "http://hl7.org/fhir/imagingstudy-status";

/// The search parameters of ImagingStudy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ImagingStudyParam {
    /// `_id`.
    Id,
    /// `_lastUpdated`.
    LastUpdated,
    /// `_profile`.
    Profile,
    /// `_security`.
    Security,
    /// `_source`.
    Source,
    /// `_tag`.
    Tag,
    /// `basedon`.
    BasedOn,
    /// `bodysite`.
    BodySite,
    /// `dicom-class`.
    DicomClass,
    /// `encounter`.
    Encounter,
    /// `endpoint`.
    Endpoint,
    /// `identifier`.
    Identifier,
    /// `instance`.
    Instance,
    /// `interpreter`.
    Interpreter,
    /// `modality`.
    Modality,
    /// `patient`.
    Patient,
    /// `performer`.
    Performer,
    /// `reason`.
    Reason,
    /// `referrer`.
    Referrer,
    /// `series`.
    Series,
    /// `started`.
    Started,
    /// `status`.
    Status,
    /// `subject`.
    Subject,
}

impl Searchable for ImagingStudy {
    type Param = ImagingStudyParam;

    const TYPE: ResourceType = ResourceType::ImagingStudy;
    const COMMON_PARAMETERS: &'static [Parameter<Self>] = &common::parameters([
        Param::Id,
        Param::LastUpdated,
        Param::Profile,
        Param::Security,
        Param::Source,
        Param::Tag,
    ]);
    const ID_NOTE: &'static str = "The Study Instance UID. Archives are queried with a list of UIDs.";
    const LAST_UPDATED_NOTE: &'static str = "When this server first saw the current content of the study; archives do not report when a study changed. Searching by it always queries the archives, bypassing the cache. To continue an incremental copy, search next time from the meta.lastUpdated of this search's first page.";
    const TYPE_PARAMETERS: &'static [Parameter<Self>] = &[
        Parameter::<Self>::reference(
            Param::BasedOn, "basedon",
            "http://hl7.org/fhir/SearchParameter/ImagingStudy-basedon",
            "Orders have no resources here. Use `basedon:identifier` with an accession, placer or filler number.",
            &["ServiceRequest", "CarePlan", "Appointment", "AppointmentResponse", "Task"],
            |study, each| study.based_on.iter().for_each(|order| each(Value::Reference(order))),
        ),
        Parameter::<Self>::token(
            Param::BodySite, "bodysite",
            "http://hl7.org/fhir/SearchParameter/ImagingStudy-bodysite",
            "The body site of a series, as a SNOMED CT code. The series of candidate studies are fetched.",
            |study, each| {
                let sites = study.series.iter().filter_map(|series| series.body_site.as_ref());
                sites.for_each(|site| each(Value::coding(site)));
            },
        ),
        Parameter::<Self>::token(
            Param::DicomClass, "dicom-class",
            "http://hl7.org/fhir/SearchParameter/ImagingStudy-dicom-class",
            "The SOP class of an instance, as urn:oid:…, with or without the system urn:ietf:rfc:3986. The instances of candidate studies are fetched.",
            |study, each| {
                let instances = study.series.iter().flat_map(|series| &series.instance);
                instances.for_each(|instance| {
                    if let SopClass::Uid(uid) = &instance.sop_class {
                        each(Value::Oid(uid));
                    }
                });
            },
        ),
        Parameter::<Self>::reference(
            Param::Encounter, "encounter",
            "http://hl7.org/fhir/SearchParameter/ImagingStudy-encounter",
            "Encounters have no resources here. Use `encounter:identifier` with the visit number.",
            &["Encounter"],
            |study, each| study.encounter.iter().for_each(|visit| each(Value::Reference(visit))),
        ),
        Parameter::<Self>::reference(
            Param::Endpoint, "endpoint",
            "http://hl7.org/fhir/SearchParameter/ImagingStudy-endpoint",
            "The archive of the study. Only the named archives are queried.",
            &["Endpoint"],
            |study, each| {
                let series_endpoints = study.series.iter().flat_map(|series| &series.endpoint);
                study.endpoint.iter().chain(series_endpoints).for_each(|endpoint| each(Value::Reference(endpoint)));
            },
        )
        .with_chain(ResourceType::Endpoint),
        Parameter::<Self>::token(
            Param::Identifier, "identifier",
            "http://hl7.org/fhir/SearchParameter/clinical-identifier",
            "The Study Instance UID as urn:oid:…, with or without the system urn:dicom:uid; the accession number, with or \
             without its system; the Study ID.",
            |study, each| study.identifier.iter().for_each(|identifier| each(Value::identifier(identifier))),
        )
        .with_identifiers()
        .with_validation(validate_study_uid),
        Parameter::<Self>::token(
            Param::Instance, "instance",
            "http://hl7.org/fhir/SearchParameter/ImagingStudy-instance",
            "The SOP Instance UID of an instance, without urn:oid:. Archives are queried at instance level.",
            |study, each| {
                let instances = study.series.iter().flat_map(|series| &series.instance);
                instances.for_each(|instance| each(Value::without_system(&instance.uid)));
            },
        )
        .with_validation(validate_uid_without_prefix),
        Parameter::<Self>::reference(
            Param::Interpreter, "interpreter",
            "http://hl7.org/fhir/SearchParameter/ImagingStudy-interpreter",
            "The reading physician has no Practitioner resource here. Use `interpreter:identifier`.",
            &["Practitioner", "PractitionerRole"],
            |study, each| study.interpreter.iter().for_each(|reader| each(Value::Reference(reader))),
        ),
        Parameter::<Self>::token(
            Param::Modality, "modality",
            "http://hl7.org/fhir/SearchParameter/ImagingStudy-modality",
            "The modality of a series.",
            |study, each| study.modality.iter().for_each(|modality| each(Value::coding(modality))),
        ),
        PATIENT,
        Parameter::<Self>::reference(
            Param::Performer, "performer",
            "http://hl7.org/fhir/SearchParameter/ImagingStudy-performer",
            "The performer of a series has no resource here. Use `performer:identifier`. The objects of candidate studies are fetched.",
            &[
                "Practitioner",
                "PractitionerRole",
                "Organization",
                "CareTeam",
                "Patient",
                "Device",
                "RelatedPerson",
            ],
            |study, each| {
                let performers = study.series.iter().flat_map(|series| &series.performer);
                performers.for_each(|performer| each(Value::Reference(&performer.actor)));
            },
        ),
        Parameter::<Self>::token(
            Param::Reason, "reason",
            "http://hl7.org/fhir/SearchParameter/ImagingStudy-reason",
            "A reason for the study, by its code or, with `:text`, by its text. The objects of candidate studies are fetched.",
            |study, each| study.reason_code.iter().for_each(|reason| Value::for_each_coding(reason, each)),
        ),
        Parameter::<Self>::reference(
            Param::Referrer, "referrer",
            "http://hl7.org/fhir/SearchParameter/ImagingStudy-referrer",
            "The referring physician has no Practitioner resource here. Use `referrer:identifier`.",
            &["Practitioner", "PractitionerRole"],
            |study, each| study.referrer.iter().for_each(|referrer| each(Value::Reference(referrer))),
        ),
        Parameter::<Self>::token(
            Param::Series, "series",
            "http://hl7.org/fhir/SearchParameter/ImagingStudy-series",
            "The Series Instance UID of a series, without urn:oid:. Archives are queried at series level.",
            |study, each| study.series.iter().for_each(|series| each(Value::without_system(&series.uid))),
        )
        .with_validation(validate_uid_without_prefix),
        STARTED,
        Parameter::<Self>::token(
            Param::Status, "status",
            "http://hl7.org/fhir/SearchParameter/ImagingStudy-status",
            "The status: whether the archive can return the study's objects.",
            |study, each| each(Value::code(STATUS, &study.status)),
        ),
        Parameter::<Self>::reference(
            Param::Subject, "subject",
            "http://hl7.org/fhir/SearchParameter/ImagingStudy-subject",
            "The same as `patient`: every subject is a Patient.",
            &["Patient", "Device", "Group"],
            |study, each| each(Value::Reference(&study.subject)),
        )
        .with_chain(ResourceType::Patient)
        .sortable(),
    ];

    fn id(&self) -> &str {
        &self.id
    }

    fn meta(&self) -> Option<&Meta> {
        Some(&self.meta)
    }
}

const PATIENT: Parameter<ImagingStudy> = Parameter::<ImagingStudy>::reference(
    Param::Patient,
    "patient",
    "http://hl7.org/fhir/SearchParameter/clinical-patient",
    "A Patient of this server, by id, Patient/id or absolute URL, or by a chained parameter of Patient.",
    &["Patient"],
    |study, each| each(Value::Reference(&study.subject)),
)
.with_chain(ResourceType::Patient)
.sortable();

const STARTED: Parameter<ImagingStudy> = Parameter::<ImagingStudy>::date(
    Param::Started,
    "started",
    "http://hl7.org/fhir/SearchParameter/ImagingStudy-started",
    "When the study started. All prefixes and precisions are supported. A date without a time zone is a local date at the archive.",
    |study, each| study.started.iter().for_each(|date| each(Value::Date(date))),
)
.sortable();

impl SortKey<ImagingStudy> {
    /// `-started`: the newest study first.
    pub const NEWEST_FIRST: Self = Self::new(&STARTED, Direction::Descending);
}

impl Criterion<ImagingStudy> {
    /// Creates the criterion `patient=Patient/id`: studies of the Patient with this id.
    pub fn of_patient(id: &str) -> Self {
        let resource_type = Some(ResourceType::Patient.name().to_owned());
        let comparison =
            Comparison::Reference(vec![ReferenceMatch::Local { resource_type, id: id.to_owned() }]);
        Self { parameter: &PATIENT, comparison }
    }
}

/// The warning about a UID that is not an id.
const NO_ID: &str =
    "no resource has this UID, because an id consists of letters, digits, hyphens and dots (R4 datatypes#id)";

/// Rejects a code that has the prefix or the system of a Study Instance UID and is not a valid UID. Warns about a valid one that no
/// resource can have.
fn validate_study_uid(token: &Token, context: &ParseContext<'_>) -> Result<Option<&'static str>, String> {
    let Some(code) = token.code.as_deref() else { return Ok(None) };
    let uid = code.strip_prefix("urn:oid:");
    let is_malformed = match &token.system {
        System::Uri(system) if system == "urn:dicom:uid" => {
            !uid.map_or_else(|| (context.is_other_uid)(code), context.is_uid)
        }
        System::Any => uid.is_some_and(|uid| !(context.is_uid)(uid)),
        System::Uri(_) | System::None => return Ok(None),
    };
    if is_malformed {
        return Err(
            "expected a Study Instance UID: urn:oid: followed by dot-separated digits, at most 64 characters"
                .to_owned(),
        );
    }
    // Without the system, the code may also be an accession number.
    let is_study_uid = matches!(token.system, System::Uri(_)) && uid.is_none();
    Ok((is_study_uid && !is_id(code)).then_some(NO_ID))
}

/// Rejects a code that is not a valid UID. In R4 the UIDs of series and instances have the type `id`, without `urn:oid:`. Warns about
/// a valid UID that is not an id.
fn validate_uid_without_prefix(
    token: &Token,
    context: &ParseContext<'_>,
) -> Result<Option<&'static str>, String> {
    match (&token.system, token.code.as_deref()) {
        (System::Any | System::None, Some(code))
            if !(context.is_uid)(code) && !(context.is_other_uid)(code) =>
        {
            Err("expected a UID: dot-separated digits, at most 64 characters, without urn:oid:".to_owned())
        }
        (System::Any | System::None, Some(code)) if !is_id(code) => Ok(Some(NO_ID)),
        _ => Ok(None),
    }
}
