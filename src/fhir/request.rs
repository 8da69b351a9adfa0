//! A request to the FHIR API, routed and decoded.

use http::HeaderMap;

use crate::error::{Failure, Issue};
use crate::fhir::FhirContext;
use crate::http::conditional;
use crate::http::forwarded::PublicBase;
use crate::http::preference::{PreferredHandling, has_preference};
use crate::studies::Freshness;
use dicom_model::{Uid, UidRule};
use fhir_r4::search::{
    Handling, Parameter, ParseContext, ResultParameters, Search, SearchError, Searchable,
    parameter_expression,
};
use fhir_r4::types::ImagingStudy;

/// The warning about a Patient id that cannot be decrypted. It continues the name of the parameter.
const UNKNOWN_PATIENT_ID: &str = "a Patient id in the value was not made with the keys of this gateway (fhir.keys), so it is the id of no \
                                  patient; to search by PatientID, use patient.identifier, or identifier for Patients";

/// The parameters of a read.
const READ_PARAMETERS: [&str; 4] = ["_elements", "_format", "_pretty", "_summary"];

/// A request whose query and body are decoded.
#[derive(Debug)]
pub struct FhirRequest<'a> {
    /// The headers of the request.
    pub headers: &'a HeaderMap,
    /// The decoded query and, for a search by POST, the decoded body.
    pub pairs: Vec<(String, String)>,
    /// The public base URL of the gateway.
    pub public_base: PublicBase,
}

impl FhirRequest<'_> {
    /// Parses the parameters of a search for `R`. All errors are reported together.
    pub(super) fn parse_search<R: Searchable>(&self, context: &FhirContext) -> Result<Search<R>, Failure> {
        let parse_context = ParseContext {
            base: &self.base(),
            handling: self.handling(),
            default_count: context.limits.default_count,
            max_count: context.limits.max_count,
            is_uid: Uid::is_legal,
            is_other_uid: match context.studies.uid_rule() {
                UidRule::Strict => |_| false,
                UidRule::Lenient => |text| UidRule::of(text) == Some(UidRule::Lenient),
            },
        };
        let parsed = Search::parse(&self.pairs, &parse_context).map_err(|errors| to_failure(&errors));
        let mut search: Search<R> = parsed?;
        search.replace_patient_ids(&|id| context.studies.current_patient_id(id), UNKNOWN_PATIENT_ID);
        Ok(search)
    }

    /// Parses the parameters of a read, which select the representation of the resource (R4 http#read). Other parameters are
    /// ignored, because a read has no criteria, or rejected if the client requests strict handling.
    pub(super) fn parse_read_parameters(&self) -> Result<ResultParameters, Failure> {
        let context = ParseContext {
            base: "",
            handling: self.handling(),
            default_count: 0,
            max_count: 0,
            is_uid: Uid::is_legal,
            is_other_uid: |_| false,
        };
        let is_strict = self.is_strict();
        let is_read_parameter =
            |name: &str| READ_PARAMETERS.contains(&name.split(':').next().unwrap_or_default());
        let pairs = self.pairs.iter().filter(|(name, _)| is_strict || is_read_parameter(name));
        let pairs: Vec<_> = pairs.cloned().collect();
        if let Some((name, _)) = pairs.iter().find(|(name, _)| !is_read_parameter(name)) {
            let parameter = Parameter::<ImagingStudy>::with_name(name);
            let name = parameter.map_or("a parameter", |parameter| parameter.name);
            return Err(Failure::bad_request(
                "not-supported",
                format!("{name}: this parameter does not apply to a read."),
            ));
        }
        let search = Search::<ImagingStudy>::parse(&pairs, &context).map_err(|errors| to_failure(&errors))?;
        Ok(search.result)
    }

    /// Returns the base URL of the FHIR API, without a trailing slash.
    pub(super) fn base(&self) -> String {
        fhir_base(&self.public_base)
    }

    /// Returns whether cached data may be used.
    pub(super) fn freshness(&self) -> Freshness {
        freshness(self.headers)
    }

    /// Returns the request with only the parameters that `is_kept` selects by their names without modifiers and chains.
    pub(super) fn with_parameters(&self, is_kept: impl Fn(&str) -> bool) -> Self {
        let base_name = |name: &str| name.split([':', '.']).next().unwrap_or_default().to_owned();
        let pairs = self.pairs.iter().filter(|(name, _)| is_kept(&base_name(name))).cloned().collect();
        Self { headers: self.headers, pairs, public_base: self.public_base.clone() }
    }

    /// Whether unsupported parameters are errors (`Prefer: handling=strict`).
    pub(super) fn is_strict(&self) -> bool {
        self.handling() == Handling::Strict
    }

    /// Returns the last value of the parameter `name`.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.pairs.iter().rev().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// Whether the client accepts a response without archives that fail. `by_default` applies to clients without a preference.
    pub(super) fn accepts_partial_answers(&self, by_default: bool) -> bool {
        PreferredHandling::from_headers(self.headers)
            .map_or(by_default, |handling| handling == PreferredHandling::Lenient)
    }

    /// Whether the client requests details about the result (`Prefer: return=OperationOutcome`, R4 http#return).
    pub(super) fn requests_outcome(&self) -> bool {
        has_preference(self.headers, "return=operationoutcome")
    }

    /// Returns the handling of unsupported parameters, which is lenient by default (R4 search#errors).
    fn handling(&self) -> Handling {
        match PreferredHandling::from_headers(self.headers) {
            Some(PreferredHandling::Strict) => Handling::Strict,
            Some(PreferredHandling::Lenient) | None => Handling::Lenient,
        }
    }
}

/// Returns the base URL of the FHIR API of a gateway at `public_base`, without a trailing slash.
pub(super) fn fhir_base(public_base: &PublicBase) -> String {
    [public_base.as_str(), "/fhir"].concat()
}

/// Returns whether cached data may be used for a request with these headers.
pub(super) fn freshness(headers: &HeaderMap) -> Freshness {
    if conditional::bypasses_cache(headers) { Freshness::Reload } else { Freshness::Cached }
}

/// Returns a failure with an issue for each error.
fn to_failure(errors: &[SearchError]) -> Failure {
    let issue = |error: &SearchError| Issue {
        code: error.code,
        diagnostics: format!("Parameter {}: {}.", error.parameter, error.diagnostics).into(),
        expression: parameter_expression(&error.parameter),
    };
    let mut failure = Failure::bad_request("invalid", "");
    failure.issues = errors.iter().map(issue).collect();
    failure
}
