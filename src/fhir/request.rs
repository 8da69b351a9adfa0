//! A request to the facade, routed and decoded.

use http::HeaderMap;

use crate::config;
use crate::error::{Failure, Issue};
use crate::http::conditional;
use crate::http::forwarded::PublicBase;
use crate::studies::Freshness;
use dicom_model::Uid;
use fhir_r4::search::{Context, Handling, Parameter, ResultParameters, Search, SearchError, Searched};
use fhir_r4::types::ImagingStudy;

/// The parameters that a read understands.
const SHAPING: [&str; 4] = ["_elements", "_format", "_pretty", "_summary"];

/// What the handlers are told of a request.
#[derive(Debug)]
pub struct FhirRequest<'a> {
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// Its query and, for a search by POST, its body, decoded.
    pub pairs: Vec<(String, String)>,
    /// The public address of the gateway.
    pub public_base: PublicBase,
}

impl FhirRequest<'_> {
    /// Parses the parameters of a search for `R`; everything that is wrong with them is told at once.
    pub(super) fn search<R: Searched>(&self, limits: &config::SearchConfig) -> Result<Search<R>, Failure> {
        let context = Context {
            base: &self.base(),
            handling: self.handling(),
            default_count: limits.default_count,
            max_count: limits.max_count,
            is_uid: Uid::is_legal,
        };
        Search::parse(&self.pairs, &context).map_err(|errors| refused(&errors))
    }

    /// Parses what a read can be told: in which form the resource is wanted (R4 http#read). It has no criteria, so other
    /// parameters mean nothing.
    pub(super) fn shape(&self) -> Result<ResultParameters, Failure> {
        let context = Context {
            base: "",
            handling: Handling::Strict,
            default_count: 0,
            max_count: 0,
            is_uid: Uid::is_legal,
        };
        let strict = self.is_strict();
        let shapes = |name: &str| SHAPING.contains(&name.split(':').next().unwrap_or_default());
        let pairs: Vec<_> = self.pairs.iter().filter(|(name, _)| strict || shapes(name)).cloned().collect();
        if let Some((name, _)) = pairs.iter().find(|(name, _)| !shapes(name)) {
            let known = Parameter::<ImagingStudy>::named(name).map_or("a parameter", |known| known.name);
            return Err(Failure::bad_request(
                "not-supported",
                format!("{known}: a read has no such parameter."),
            ));
        }
        let search = Search::<ImagingStudy>::parse(&pairs, &context).map_err(|errors| refused(&errors))?;
        Ok(search.result)
    }

    /// The address of the facade, without a slash at its end.
    pub(super) fn base(&self) -> String {
        base_of(&self.public_base)
    }

    /// Whether what is remembered will do.
    pub(super) fn freshness(&self) -> Freshness {
        freshness(self.headers)
    }

    /// The same request with only the parameters whose names are kept; a name may have a modifier or a chain behind it.
    pub(super) fn with(&self, keep: impl Fn(&str) -> bool) -> Self {
        let base = |name: &str| name.split([':', '.']).next().unwrap_or_default().to_owned();
        let pairs = self.pairs.iter().filter(|(name, _)| keep(&base(name))).cloned().collect();
        Self { headers: self.headers, pairs, public_base: self.public_base.clone() }
    }

    /// Whether what is not understood is an error (`Prefer: handling=strict`).
    pub(super) fn is_strict(&self) -> bool {
        self.handling() == Handling::Strict
    }

    /// The last value of a parameter.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.pairs.iter().rev().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// `Prefer: handling=strict` (R4 search#errors).
    fn handling(&self) -> Handling {
        let lines = self.headers.get_all("prefer").iter().filter_map(|line| line.to_str().ok());
        let mut preferences =
            lines.flat_map(|line| line.split([',', ';'])).map(|part| part.trim().to_ascii_lowercase());
        if preferences.any(|preference| preference == "handling=strict") {
            Handling::Strict
        } else {
            Handling::Lenient
        }
    }
}

/// The address of the facade of a gateway that is known as `public`, without a slash at its end.
pub(super) fn base_of(public: &PublicBase) -> String {
    [public.as_str(), "/fhir"].concat()
}

/// Whether what is remembered will do for a request with these headers.
pub(super) fn freshness(headers: &HeaderMap) -> Freshness {
    if conditional::wants_reload(headers) { Freshness::Reload } else { Freshness::Cached }
}

fn refused(errors: &[SearchError]) -> Failure {
    let issue = |error: &SearchError| Issue {
        code: error.code,
        diagnostics: format!("Parameter {}: {}.", error.parameter, error.diagnostics).into(),
        expression: Some(format!("http.{}", error.parameter)),
    };
    let mut failure = Failure::bad_request("invalid", "");
    failure.issues = errors.iter().map(issue).collect();
    failure
}
