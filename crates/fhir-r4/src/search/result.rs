//! Parses the search result parameters (R4 search#return): number and subset of the matches, and included resources. This module
//! does not know about criteria.

use super::include::Include;
use super::{ParseContext, SearchError, Searchable, SortKey};
use crate::types::is_root_element;

/// `_summary` (R4 search#summary).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Summary {
    /// `false`: all elements.
    #[default]
    False,
    /// `true`: the summary elements of R4.
    True,
    /// `text`: narrative, id, meta and mandatory elements.
    Text,
    /// `data`: all elements except the narrative.
    Data,
    /// `count`: only the number of matches.
    Count,
}

/// `_total` (R4 search#total).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Total {
    /// No total.
    None,
    /// An estimate is sufficient.
    Estimate,
    /// The exact total.
    Accurate,
}

/// `_contained` (R4 search#contained). Resources of this server contain no others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Contained {
    /// `false`: no contained resources.
    #[default]
    False,
    /// `true`: only contained resources.
    True,
    /// `both`.
    Both,
}

/// The names of all result parameters.
const NAMES: [&str; 12] = [
    "_count",
    "_summary",
    "_elements",
    "_sort",
    "_include",
    "_revinclude",
    "_contained",
    "_containedType",
    "_total",
    "_format",
    "_pretty",
    "_cursor",
];

/// The values of the result parameters that [`ResultParameters::parse_parameter`] accepts, for readers of the CapabilityStatement.
/// Values that depend on the server or on the resource type, and `_cursor`, which occurs only in page links, are not listed.
const VALUE_DESCRIPTIONS: [(&str, &str); 8] = [
    ("_summary", "true, false, text, data or count."),
    ("_elements", "Comma-separated names of root elements of the resource."),
    ("_total", "none, estimate or accurate."),
    ("_contained", "true, false or both. No resource contains others."),
    ("_containedType", "container or contained."),
    (
        "_include",
        "Type:parameter[:Target], Type:* or *; with the modifier :iterate also for included resources.",
    ),
    (
        "_revinclude",
        "Type:parameter[:Target], Type:* or *; with the modifier :iterate also for included resources.",
    ),
    ("_pretty", "true or false."),
];

/// The result parameters of a search. Only `_include` and `_revinclude` can be repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResultParameters {
    /// Maximum number of matches per page; 0 for only the total.
    pub count: usize,
    /// `_summary`.
    pub summary: Summary,
    /// `_elements`: names of root elements, sorted, without duplicates.
    pub elements: Option<Vec<String>>,
    /// `_include`.
    pub includes: Vec<Include>,
    /// `_revinclude`.
    pub reverse_includes: Vec<Include>,
    /// `_contained`.
    pub contained: Contained,
    /// `_total`.
    pub total: Option<Total>,
    /// `_cursor`, the sealed state of a page link.
    pub cursor: Option<String>,
    /// The names of the parameters that were parsed.
    parsed_names: Vec<&'static str>,
}

/// The reason why a result parameter is not applied.
pub(super) enum ResultParameterError {
    /// The value or the modifier is invalid: the issue code, and what was expected.
    Invalid(&'static str, String),
    /// The parameter is ignored, or rejected with strict handling.
    Ignored(IgnoredReason),
}

/// The reason why a parameter, or a part of its value, is ignored, or rejected with strict handling.
pub(super) struct IgnoredReason {
    /// The sentences of the warning, after the sentence that says that the parameter was ignored.
    pub(super) warning: String,
    /// The clause of the error, after the name of the parameter.
    pub(super) error: String,
}

impl IgnoredReason {
    pub(super) fn not_supported() -> Self {
        let supported = "/fhir/metadata lists the supported parameters";
        Self {
            warning: format!("{supported}."),
            error: format!("this parameter is not supported; {supported}"),
        }
    }

    pub(super) fn no_value() -> Self {
        let error = "the parameter has no value".to_owned();
        Self { warning: "The parameter has no value.".to_owned(), error }
    }

    /// The unknown names are not part of the reason, because they may be PHI.
    fn unknown_elements(count: usize) -> Self {
        let reason = match count {
            1 => "one name in the value is not an element of any resource type".to_owned(),
            count => format!("{count} names in the value are not elements of any resource type"),
        };
        Self { warning: format!("In _elements, {reason}."), error: reason }
    }
}

impl ResultParameters {
    /// Returns the name of each result parameter with fixed values, and a description of the values.
    pub fn value_descriptions() -> impl Iterator<Item = (&'static str, &'static str)> {
        VALUE_DESCRIPTIONS.into_iter()
    }

    pub(super) fn new(count: usize) -> Self {
        Self {
            count,
            summary: Summary::default(),
            elements: None,
            includes: Vec::new(),
            reverse_includes: Vec::new(),
            contained: Contained::default(),
            total: None,
            cursor: None,
            parsed_names: Vec::new(),
        }
    }

    /// Whether only the total is requested (R4 search#count: `_count=0` is `_summary=count`).
    pub fn is_count_only(&self) -> bool {
        self.summary == Summary::Count || self.count == 0
    }

    /// Parses one result parameter; `name` must be known ([`is_result_parameter`]). Writes the keys of `_sort`, which depend on the
    /// searched resource type, to `sort`. If a part of the value has no effect, returns the reason.
    pub(super) fn parse_parameter<R: Searchable>(
        &mut self,
        name: &str,
        modifier: Option<&str>,
        value: &str,
        sort: &mut Vec<SortKey<R>>,
        context: &ParseContext<'_>,
    ) -> Result<Option<IgnoredReason>, ResultParameterError> {
        let invalid = |diagnostics: &str| ResultParameterError::Invalid("value", diagnostics.to_owned());
        let Some(name) = NAMES.into_iter().find(|known| *known == name) else { return Ok(None) };
        let is_repeatable = matches!(name, "_include" | "_revinclude");
        let iterate = is_repeatable && modifier == Some("iterate");
        if modifier.is_some() && !iterate {
            return Err(ResultParameterError::Invalid(
                "not-supported",
                if is_repeatable {
                    "the only modifier of this parameter is :iterate"
                } else {
                    "this parameter has no modifiers"
                }
                .to_owned(),
            ));
        }
        if !is_repeatable && self.parsed_names.contains(&name) {
            return Err(ResultParameterError::Invalid("invalid", "expected only one value".to_owned()));
        }
        self.parsed_names.push(name);
        match name {
            "_count" => {
                if !value.bytes().all(|byte| byte.is_ascii_digit()) {
                    return Err(invalid("expected a non-negative integer"));
                }
                // A number that overflows is also larger than the maximum.
                self.count = value.parse().unwrap_or(usize::MAX).min(context.max_count);
            }
            "_summary" => {
                self.summary = match value {
                    "true" => Summary::True,
                    "false" => Summary::False,
                    "text" => Summary::Text,
                    "data" => Summary::Data,
                    "count" => Summary::Count,
                    _ => return Err(invalid("expected true, false, text, data or count")),
                };
            }
            "_elements" => {
                let names = parse_element_names(value);
                let expected = "expected comma-separated names of root elements of the resource";
                let names = names.ok_or_else(|| invalid(expected))?;
                let (names, unknown_names): (Vec<_>, Vec<_>) =
                    names.into_iter().partition(|name| is_root_element(name));
                let reason = || IgnoredReason::unknown_elements(unknown_names.len());
                if names.is_empty() {
                    return Err(ResultParameterError::Ignored(reason()));
                }
                self.elements = Some(names);
                return Ok((!unknown_names.is_empty()).then(reason));
            }
            "_sort" => {
                let ignored;
                (*sort, ignored) = SortKey::parse_all(value)?;
                return Ok(ignored);
            }
            "_include" | "_revinclude" => {
                let include = Include::parse(value, iterate).ok_or_else(|| {
                    let expected = "expected Type:parameter[:Target] with a reference parameter of a supported type, such as ImagingStudy:patient, Type:* or *";
                    ResultParameterError::Invalid("not-supported", expected.to_owned())
                })?;
                let list = if name == "_include" { &mut self.includes } else { &mut self.reverse_includes };
                if !list.contains(&include) {
                    list.push(include);
                }
            }
            "_contained" => {
                self.contained = match value {
                    "false" => Contained::False,
                    "true" => Contained::True,
                    "both" => Contained::Both,
                    _ => return Err(invalid("expected true, false or both")),
                };
            }
            "_containedType" if !matches!(value, "container" | "contained") => {
                return Err(invalid("expected container or contained"));
            }
            "_total" => {
                self.total = Some(match value {
                    "none" => Total::None,
                    "estimate" => Total::Estimate,
                    "accurate" => Total::Accurate,
                    _ => return Err(invalid("expected none, estimate or accurate")),
                });
            }
            "_pretty" if !matches!(value, "true" | "false") => return Err(invalid("expected true or false")),
            "_cursor" => self.cursor = Some(value.to_owned()),
            _ => {}
        }
        Ok(None)
    }

    /// Rejects parameters that exclude each other.
    pub(super) fn check(&self) -> Result<(), SearchError> {
        let conflict = |parameter: &str, diagnostics: &str| {
            let (parameter, diagnostics) = (parameter.to_owned(), diagnostics.to_owned());
            Err(SearchError { parameter, code: "invalid", diagnostics })
        };
        match self.summary {
            Summary::Text if !(self.includes.is_empty() && self.reverse_includes.is_empty()) => {
                conflict("_summary", "_summary=text cannot be combined with _include or _revinclude")
            }
            Summary::True | Summary::Text | Summary::Data if self.elements.is_some() => {
                conflict("_elements", "_summary cannot be combined with _elements")
            }
            _ => Ok(()),
        }
    }
}

/// Parses the value of `_elements`: names of root elements, which are returned sorted and without duplicates.
fn parse_element_names(value: &str) -> Option<Vec<String>> {
    let is_legal = |name: &&str| name.len() <= 64 && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let names: Vec<_> = value.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    if names.is_empty() || !names.iter().all(is_legal) {
        return None;
    }
    let mut names: Vec<_> = names.into_iter().map(str::to_owned).collect();
    names.sort_unstable();
    names.dedup();
    Some(names)
}

/// Whether `name` is a result parameter, which does not restrict the matches (R4 search#return).
pub fn is_result_parameter(name: &str) -> bool {
    NAMES.contains(&name)
}
