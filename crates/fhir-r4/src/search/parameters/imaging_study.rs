//! What ImagingStudies are searched by (R4 imagingstudy.html#search).

use super::{Parameter, Searched, common};
use crate::search::{Context, ResourceType, System, Token, Value};
use crate::types::{ImagingStudy, Meta, SopClass};
use ImagingStudyParam as Param;

const STATUS: &str = "http://hl7.org/fhir/imagingstudy-status";

/// What ImagingStudys are searched by.
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

impl Searched for ImagingStudy {
    type Param = ImagingStudyParam;

    const TYPE: ResourceType = ResourceType::ImagingStudy;
    const COMMON: &'static [Parameter<Self>] = &common::of([
        Param::Id,
        Param::LastUpdated,
        Param::Profile,
        Param::Security,
        Param::Source,
        Param::Tag,
    ]);
    const ID_NOTE: &'static str = "The Study Instance UID. Asked of the archives as a list of UIDs.";
    const LAST_UPDATED_NOTE: &'static str = "When this server first saw the present content of the study, as archives do not tell. A search by it asks the archives in any case. meta.lastUpdated of its first page is the moment to ask from the next time.";
    const OWN: &'static [Parameter<Self>] = &[
        Parameter::<Self>::reference(
            Param::BasedOn, "basedon",
            "http://hl7.org/fhir/SearchParameter/ImagingStudy-basedon",
            "The orders are known by their numbers only: basedon:identifier finds accession, placer and filler numbers.",
            &["ServiceRequest", "CarePlan", "Appointment", "AppointmentResponse", "Task"],
            |study, each| study.based_on.iter().for_each(|order| each(Value::Reference(order))),
        ),
        Parameter::<Self>::token(
            Param::BodySite, "bodysite",
            "http://hl7.org/fhir/SearchParameter/ImagingStudy-bodysite",
            "A body part that a series of the study shows, as SNOMED CT has it; series are looked through.",
            |study, each| {
                let sites = study.series.iter().filter_map(|series| series.body_site.as_ref());
                sites.for_each(|site| each(Value::coding(site)));
            },
        ),
        Parameter::<Self>::token(
            Param::DicomClass, "dicom-class",
            "http://hl7.org/fhir/SearchParameter/ImagingStudy-dicom-class",
            "The SOP class of an instance, as urn:oid:…, with or without the system urn:ietf:rfc:3986; studies are opened.",
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
            "The visit is known by its number only: encounter:identifier finds it.",
            &["Encounter"],
            |study, each| study.encounter.iter().for_each(|visit| each(Value::Reference(visit))),
        ),
        Parameter::<Self>::reference(
            Param::Endpoint, "endpoint",
            "http://hl7.org/fhir/SearchParameter/ImagingStudy-endpoint",
            "Asks only the archives that are named.",
            &["Endpoint"],
            |study, each| study.endpoint.iter().for_each(|endpoint| each(Value::Reference(endpoint))),
        )
        .chained(ResourceType::Endpoint),
        Parameter::<Self>::token(
            Param::Identifier, "identifier",
            "http://hl7.org/fhir/SearchParameter/clinical-identifier",
            "The Study Instance UID as urn:oid:…, with or without the system urn:dicom:uid; the accession number, with or \
             without its system; the Study ID.",
            |study, each| study.identifier.iter().for_each(|identifier| each(Value::identifier(identifier))),
        )
        .identifying()
        .checked(study_uid),
        Parameter::<Self>::token(
            Param::Instance, "instance",
            "http://hl7.org/fhir/SearchParameter/ImagingStudy-instance",
            "The SOP Instance UID of one of its instances, as it is. Asked of the archives at instance level.",
            |study, each| {
                let instances = study.series.iter().flat_map(|series| &series.instance);
                instances.for_each(|instance| each(Value::bare(&instance.uid)));
            },
        )
        .checked(bare_uid),
        Parameter::<Self>::reference(
            Param::Interpreter, "interpreter",
            "http://hl7.org/fhir/SearchParameter/ImagingStudy-interpreter",
            "Readers are known by names and identifiers only: interpreter:identifier finds them.",
            &["Practitioner", "PractitionerRole"],
            |study, each| study.interpreter.iter().for_each(|reader| each(Value::Reference(reader))),
        ),
        Parameter::<Self>::token(
            Param::Modality, "modality",
            "http://hl7.org/fhir/SearchParameter/ImagingStudy-modality",
            "A modality that a series of the study has.",
            |study, each| study.modality.iter().for_each(|modality| each(Value::coding(modality))),
        ),
        Parameter::<Self>::reference(
            Param::Patient, "patient",
            "http://hl7.org/fhir/SearchParameter/clinical-patient",
            "A Patient of this server, by id, Patient/id or absolute address, or by what is known of the Patient.",
            &["Patient"],
            |study, each| each(Value::Reference(&study.subject)),
        )
        .chained(ResourceType::Patient)
        .sorting(),
        Parameter::<Self>::reference(
            Param::Performer, "performer",
            "http://hl7.org/fhir/SearchParameter/ImagingStudy-performer",
            "Who made a series is known by name and identifier only: performer:identifier finds them; studies are opened.",
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
            "A reason for the study, by its code or, with :text, by its words; studies are opened.",
            |study, each| study.reason_code.iter().for_each(|reason| Value::each_of_concept(reason, each)),
        ),
        Parameter::<Self>::reference(
            Param::Referrer, "referrer",
            "http://hl7.org/fhir/SearchParameter/ImagingStudy-referrer",
            "Who asked for the study is known by name and identifier only: referrer:identifier finds them.",
            &["Practitioner", "PractitionerRole"],
            |study, each| study.referrer.iter().for_each(|referrer| each(Value::Reference(referrer))),
        ),
        Parameter::<Self>::token(
            Param::Series, "series",
            "http://hl7.org/fhir/SearchParameter/ImagingStudy-series",
            "The Series Instance UID of one of its series, as it is. Asked of the archives at series level.",
            |study, each| study.series.iter().for_each(|series| each(Value::bare(&series.uid))),
        )
        .checked(bare_uid),
        Parameter::<Self>::date(
            Param::Started, "started",
            "http://hl7.org/fhir/SearchParameter/ImagingStudy-started",
            "All prefixes, all precisions. A day without a zone is the study's own local day.",
            |study, each| study.started.iter().for_each(|moment| each(Value::Date(moment))),
        )
        .sorting(),
        Parameter::<Self>::token(
            Param::Status, "status",
            "http://hl7.org/fhir/SearchParameter/ImagingStudy-status",
            "Whether the archive can give the study's objects.",
            |study, each| each(Value::code(STATUS, &study.status)),
        ),
        Parameter::<Self>::reference(
            Param::Subject, "subject",
            "http://hl7.org/fhir/SearchParameter/ImagingStudy-subject",
            "The same as patient: every subject is a Patient.",
            &["Patient", "Device", "Group"],
            |study, each| each(Value::Reference(&study.subject)),
        )
        .chained(ResourceType::Patient)
        .sorting(),
    ];

    fn id(&self) -> &str {
        &self.id
    }

    fn meta(&self) -> Option<&Meta> {
        Some(&self.meta)
    }
}

/// What claims to be a Study Instance UID must be one.
fn study_uid(token: &Token, context: &Context<'_>) -> Result<(), String> {
    let Some(code) = token.code.as_deref() else { return Ok(()) };
    let uid = code.strip_prefix("urn:oid:");
    let is_broken = match &token.system {
        System::Uri(system) if system == "urn:dicom:uid" => !uid.is_some_and(context.is_uid),
        System::Any => uid.is_some_and(|uid| !(context.is_uid)(uid)),
        System::Uri(_) | System::None => false,
    };
    if is_broken {
        return Err(
            "a Study Instance UID is written urn:oid: and digits parted by dots, 64 characters at most"
                .to_owned(),
        );
    }
    Ok(())
}

/// R4 writes the UIDs of series and instances without `urn:oid:`, as they are ids.
fn bare_uid(token: &Token, context: &Context<'_>) -> Result<(), String> {
    match (&token.system, token.code.as_deref()) {
        (System::Any | System::None, Some(code)) if !(context.is_uid)(code) => {
            Err("a UID is digits parted by dots, 64 characters at most, without urn:oid: before it"
                .to_owned())
        }
        _ => Ok(()),
    }
}
