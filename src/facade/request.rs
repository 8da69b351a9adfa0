//! A request to the facade, routed and decoded.

use http::HeaderMap;

use crate::config;
use crate::error::{Failure, Issue};
use crate::fhir::search::{Context, Handling, Parameter, Search, SearchError};
use crate::http::conditional;
use crate::http::forwarded::PublicBase;
use crate::studies::Freshness;

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
    /// Parses the parameters by `table`; everything that is wrong with them is told at once.
    pub(super) fn search<C>(
        &self,
        table: &[Parameter<C>],
        limits: &config::Search,
    ) -> Result<Search<C>, Failure> {
        let context = Context {
            base: &self.base(),
            handling: self.handling(),
            default_count: limits.default_count,
            max_count: limits.max_count,
        };
        Search::parse(table, &self.pairs, &context).map_err(|errors| refused(&errors))
    }

    /// The address of the facade, without a slash at its end.
    pub(super) fn base(&self) -> String {
        [self.public_base.as_str(), "/fhir"].concat()
    }

    /// Whether what is remembered will do.
    pub(super) fn freshness(&self) -> Freshness {
        freshness(self.headers)
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
