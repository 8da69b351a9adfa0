//! Patient (R4 patient.html), with the elements that DICOM images contain.

use std::borrow::Cow;

use super::identifiers::Issuer;
use super::patient_ids::PatientIds;
use super::profiles::{self, Guide, profiles_of};
use super::{MappingContext, dates, names};
use dicom_model::{Attributes, tags};
use fhir_r4::types::{Identifier, Patient, to_fhir_string};

/// The key of a patient across responses: the identifier and its issuer.
///
/// Different archives may use the same identifier for different patients. Without a system, the archive and the local name of
/// the issuer are therefore part of the key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PatientKey {
    scope: PatientScope,
    value: String,
}

/// The scope within which the identifier is unique.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum PatientScope {
    /// The system of the identifier, in all archives.
    System(String),
    /// One archive, and the local name of the issuer, which may be empty.
    Archive { archive: String, issuer: String },
    /// A study without a PatientID in one archive; the value is the Study Instance UID.
    Study { archive: String },
}

impl PatientScope {
    fn text(&self) -> Cow<'_, str> {
        match self {
            Self::System(system) => Cow::Borrowed(system),
            Self::Archive { archive, issuer } => format!("archive {archive} issuer {issuer}").into(),
            Self::Study { archive } => format!("archive {archive} study").into(),
        }
    }
}

impl PatientKey {
    /// Returns the key of the patient in `row`. Without a PatientID the key is that of the study, because it is unknown whether
    /// two such studies are of the same patient.
    pub fn from_row(context: &MappingContext, row: &Attributes) -> Self {
        match row.text(tags::PATIENT_ID).filter(|value| to_fhir_string(value).is_some()) {
            Some(value) => {
                let value = value.to_owned();
                let issuer = issuer(context, row);
                let archive = context.archive.clone();
                let local = issuer.assigner.unwrap_or_default();
                let scope = issuer
                    .system
                    .map_or_else(|| PatientScope::Archive { archive, issuer: local }, PatientScope::System);
                Self { scope, value }
            }
            None => Self {
                scope: PatientScope::Study { archive: context.archive.clone() },
                value: row.text(tags::STUDY_INSTANCE_UID).unwrap_or_default().to_owned(),
            },
        }
    }

    /// Whether the patient has the identifier `value`, of `system` if it is set. A patient without a PatientID has no identifier.
    pub fn has_identifier(&self, system: Option<&str>, value: &str) -> bool {
        let has_system = match &self.scope {
            PatientScope::System(own_system) => system.is_none_or(|system| system == own_system),
            PatientScope::Archive { .. } => system.is_none(),
            PatientScope::Study { .. } => false,
        };
        has_system && self.value == value
    }

    /// Returns the length of the texts of the key in bytes.
    pub(super) fn text_len(&self) -> usize {
        self.scope.text().len() + self.value.len()
    }

    /// Whether the row has a PatientID.
    pub fn has_patient_id(&self) -> bool {
        !matches!(self.scope, PatientScope::Study { .. })
    }

    /// Whether both keys have the same identifier, of any issuer.
    pub(super) fn has_same_value(&self, other: &Self) -> bool {
        self.value == other.value
    }

    /// Whether the keys, both with an identifier, of rows of one study are of different patients. Equal identifiers without a system
    /// belong to the same patient, because the Study Instance UID is the same.
    pub(super) fn contradicts(&self, other: &Self) -> bool {
        use PatientScope as Scope;
        match (&self.scope, &other.scope) {
            (Scope::System(left), Scope::System(right)) if left != right => true,
            (Scope::Archive { issuer: left, .. }, Scope::Archive { issuer: right, .. })
                if left != right && !left.is_empty() && !right.is_empty() =>
            {
                true
            }
            _ => self.value != other.value,
        }
    }

    /// Returns the id of the Patient.
    pub fn id(&self, ids: &PatientIds) -> String {
        // An archive has to be searched for the exact PatientID, and text with control characters cannot be a matching key.
        let is_searchable = to_fhir_string(&self.value).is_some_and(|text| text == self.value);
        ids.id(&self.scope.text(), &self.value, self.has_patient_id() && is_searchable)
    }
}

fn issuer(context: &MappingContext, attributes: &Attributes) -> Issuer {
    let qualifiers = attributes.items(tags::ISSUER_OF_PATIENT_ID_QUALIFIERS_SEQUENCE).next();
    let local = attributes.text(tags::ISSUER_OF_PATIENT_ID);
    Issuer::resolve(context, qualifiers, local, context.patient_id_system.as_deref())
}

/// Returns the primary identifier of the patient, PatientID (0010,0020).
pub(super) fn primary_identifier(context: &MappingContext, row: &Attributes) -> Option<Identifier> {
    let value = row.text(tags::PATIENT_ID).and_then(to_fhir_string)?;
    Some(issuer(context, row).identifier(value, Some(("MR", "Medical record number"))))
}

/// Maps the patient in `row`.
pub fn patient(context: &MappingContext, row: &Attributes) -> Patient {
    let mut identifier: Vec<_> = primary_identifier(context, row).into_iter().collect();
    for other in row.items(tags::OTHER_PATIENT_I_DS_SEQUENCE) {
        let Some(value) = other.text(tags::PATIENT_ID).and_then(to_fhir_string) else { continue };
        // The configured default is the system of primary identifiers only.
        let qualifiers = other.items(tags::ISSUER_OF_PATIENT_ID_QUALIFIERS_SEQUENCE).next();
        let issuer = Issuer::resolve(context, qualifiers, other.text(tags::ISSUER_OF_PATIENT_ID), None);
        let other = issuer.identifier(value, None);
        if !identifier.iter().any(|known| known.system == other.system && known.value == other.value) {
            identifier.push(other);
        }
    }
    let mut patient = Patient {
        id: PatientKey::from_row(context, row).id(&context.patient_ids),
        identifier,
        name: row.names(tags::PATIENT_NAME).flat_map(names::human_names).collect(),
        gender: row.text(tags::PATIENT_SEX).map(|sex| gender(sex).into()),
        birth_date: dates::day(row, tags::PATIENT_BIRTH_DATE).map(|day| day.to_string()),
        ..Patient::default()
    };
    if context.follows(Guide::UsCore) {
        profiles::add_absent_reasons(&mut patient);
    }
    patient.meta.profile = profiles_of(&context.guides, &patient);
    patient.text = context.narrative_of(&patient);
    patient
}

/// Maps the sex to a code of R4 administrative-gender. A value that DICOM does not define becomes `unknown`.
fn gender(sex: &str) -> &'static str {
    match sex.to_ascii_uppercase().as_str() {
        "M" => "male",
        "F" => "female",
        "O" => "other",
        _ => "unknown",
    }
}
