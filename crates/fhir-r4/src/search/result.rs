//! Parses the search result parameters (R4 search#return): number and subset of the matches, and included resources. This module
//! does not know about criteria.

use super::include::Include;
use super::{Context, SearchError, Searched, SortKey, shown_in_value};
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
    No,
    /// `true`: only contained resources.
    Only,
    /// `both`.
    Both,
}

/// The names of all result parameters.
const KNOWN: [&str; 12] = [
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

/// The values of the result parameters that [`ResultParameters::read`] accepts, for readers of the CapabilityStatement. Those
/// that depend on the server or on the type, and `_cursor`, which is only in page links, are not listed.
const VALUES: [(&str, &str); 8] = [
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

/// The result parameters of a search. Each can occur only with one value, except `_include` and `_revinclude`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResultParameters {
    /// Matches per page; 0 for only the total.
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
    /// `_cursor`, the sealed start of the page.
    pub cursor: Option<String>,
    seen: Vec<&'static str>,
}

/// Why a result parameter is not applied.
pub(super) enum Unread {
    /// It is rejected: the issue code, and what was expected.
    Error(&'static str, String),
    /// It is ignored, or rejected with strict handling.
    Ignored(IgnoredReason),
}

/// Why a parameter, or a part of its value, is ignored, or rejected with strict handling.
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

    fn unknown_elements(names: &str) -> Self {
        Self {
            warning: format!("No resource type has these elements: {names}."),
            error: format!("no resource type has these elements: {names}"),
        }
    }
}

impl ResultParameters {
    /// Whether `name` is a result parameter, which does not restrict the matches (R4 search#return).
    pub fn are_named(name: &str) -> bool {
        KNOWN.contains(&name)
    }

    /// Returns the result parameters with fixed values: the name, and a description of the values.
    pub fn with_fixed_values() -> impl Iterator<Item = (&'static str, &'static str)> {
        VALUES.into_iter()
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
            seen: Vec::new(),
        }
    }

    /// Whether only the total is requested (R4 search#count: `_count=0` is `_summary=count`).
    pub fn only_count(&self) -> bool {
        self.summary == Summary::Count || self.count == 0
    }

    /// Parses one result parameter; `name` must be known ([`is_known`]). The keys of `_sort` depend on the type that is searched:
    /// they are returned in `sort`. If a part of the value has no effect, returns the reason.
    pub(super) fn read<R: Searched>(
        &mut self,
        name: &str,
        modifier: Option<&str>,
        value: &str,
        sort: &mut Vec<SortKey<R>>,
        context: &Context<'_>,
    ) -> Result<Option<IgnoredReason>, Unread> {
        let invalid = |diagnostics: &str| Unread::Error("value", diagnostics.to_owned());
        let Some(known) = KNOWN.into_iter().find(|known| *known == name) else { return Ok(None) };
        let repeats = matches!(known, "_include" | "_revinclude");
        let iterate = repeats && modifier == Some("iterate");
        if modifier.is_some() && !iterate {
            return Err(Unread::Error(
                "not-supported",
                if repeats {
                    "the only modifier of this parameter is :iterate"
                } else {
                    "this parameter has no modifiers"
                }
                .to_owned(),
            ));
        }
        if !repeats && self.seen.contains(&known) {
            return Err(Unread::Error("invalid", "expected only one value".to_owned()));
        }
        self.seen.push(known);
        match known {
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
                let names = elements(value);
                let expected = "expected comma-separated names of root elements of the resource";
                let names = names.ok_or_else(|| invalid(expected))?;
                let (names, unknown_names): (Vec<_>, Vec<_>) =
                    names.into_iter().partition(|name| is_root_element(name));
                let reason = || {
                    let shown: Vec<_> = unknown_names.iter().map(|name| shown_in_value(name)).collect();
                    IgnoredReason::unknown_elements(&shown.join(", "))
                };
                if names.is_empty() {
                    return Err(Unread::Ignored(reason()));
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
                let include = Include::read(value, iterate).ok_or_else(|| {
                    let expected = "expected Type:parameter[:Target] with a reference parameter of a supported type, such as ImagingStudy:patient, Type:* or *";
                    Unread::Error("not-supported", expected.to_owned())
                })?;
                let list = if known == "_include" { &mut self.includes } else { &mut self.reverse_includes };
                if !list.contains(&include) {
                    list.push(include);
                }
            }
            "_contained" => {
                self.contained = match value {
                    "false" => Contained::No,
                    "true" => Contained::Only,
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

/// Names of root elements, sorted, without duplicates.
fn elements(value: &str) -> Option<Vec<String>> {
    let legal = |name: &&str| name.len() <= 64 && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let names: Vec<_> = value.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    if names.is_empty() || !names.iter().all(legal) {
        return None;
    }
    let mut names: Vec<_> = names.into_iter().map(str::to_owned).collect();
    names.sort_unstable();
    names.dedup();
    Some(names)
}

/// Whether `name` is a result parameter.
pub(super) fn is_known(name: &str) -> bool {
    KNOWN.contains(&name)
}
