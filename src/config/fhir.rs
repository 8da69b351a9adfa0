//! `[fhir]`: the optional content of resources.

use std::collections::BTreeSet;

use secrecy::{ExposeSecret, SecretString};

use super::secret::Secret;
use super::section::Section;
use super::values::{boolean, several_of};

/// The default of `profiles`: the guide for gateways of this kind.
const PROFILES: [ImplementationGuide; 1] = [ImplementationGuide::SmartImagingAccess];

/// The default of `narrative`. A narrative repeats the elements as text for people, and makes a study a third larger.
const NARRATIVE: bool = false;

/// The default of `notes`. Comments are free text that may contain names, so an operator must decide to return them.
const NOTES: bool = false;

/// Minimum length of a secret of `keys` in bytes without a warning: 128 random bits as text have at least 22.
const MIN_KEY_LEN: usize = 16;

/// An implementation guide in `profiles`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ImplementationGuide {
    /// SMART Imaging Access of the Argonaut project.
    SmartImagingAccess,
    /// IHE Radiology: Interactive Multimedia Report.
    IheImr,
    /// HL7 Europe's imaging guides, based on IHE MADO.
    EuImaging,
    /// HL7 US Core.
    UsCore,
    /// HL7 International Patient Access.
    Ipa,
}

impl ImplementationGuide {
    const NAMES: [(&'static str, Self); 5] = [
        ("smart-imaging-access", Self::SmartImagingAccess),
        ("ihe-imr", Self::IheImr),
        ("eu-imaging", Self::EuImaging),
        ("us-core", Self::UsCore),
        ("ipa", Self::Ipa),
    ];
}

/// The optional content of resources.
#[derive(Debug, Clone)]
pub struct FhirConfig {
    /// The implementation guides that resources follow. A resource claims only profiles to which it conforms.
    pub guides: BTreeSet<ImplementationGuide>,
    /// Whether every resource has a generated narrative; `_summary=text` always includes it.
    pub narrative: bool,
    /// Whether comments on studies and series are requested from archives and included in resources.
    pub notes: bool,
    /// The secrets from which the keys of Patient ids and links are derived, the current one first; empty if they are not configured.
    pub keys: Vec<SecretString>,
}

impl FhirConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        Self {
            guides: section.take_or(
                "profiles",
                several_of(&ImplementationGuide::NAMES),
                BTreeSet::from(PROFILES),
            ),
            narrative: section.take_or("narrative", boolean, NARRATIVE),
            notes: section.take_or("notes", boolean, NOTES),
            keys: read_keys(section),
        }
    }
}

/// Reads the secrets, which white space separates. Anyone who guesses one can decrypt the Patient ids and links that contain it.
fn read_keys(section: &mut Section<'_>) -> Vec<SecretString> {
    let secret = Secret::take_several(section, "keys", "keys_file");
    let location = secret.location().cloned();
    let Some(secret) = secret.into_optional() else { return Vec::new() };
    let keys: Vec<_> = secret.expose_secret().split_whitespace().collect();
    if let Some(location) = location.clone().filter(|_| keys.is_empty()) {
        section.report_error(
            location,
            "keys",
            "contains no secret; make one with: openssl rand -hex 32".to_owned(),
        );
    }
    if let Some(location) = location.filter(|_| keys.iter().any(|key| key.len() < MIN_KEY_LEN)) {
        let message = format!(
            "contains a secret of fewer than {MIN_KEY_LEN} bytes, which could be guessed; make one with: openssl rand -hex 32"
        );
        section.warn(location, "keys", message);
    }
    keys.into_iter().map(SecretString::from).collect()
}
