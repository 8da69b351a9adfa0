//! The parameters that shape a result (R4 search#return): how many matches, how much of each, what goes with them.

use super::include::Include;
use super::{Context, Parameter, SearchError, Searched};

/// `_summary` (R4 search#summary).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Summary {
    /// `false`: everything.
    #[default]
    False,
    /// `true`: the elements that R4 marks as summary.
    True,
    /// `text`: the narrative, id, meta and mandatory elements.
    Text,
    /// `data`: everything but the narrative.
    Data,
    /// `count`: only how many matches there are.
    Count,
}

/// `_total` (R4 search#total).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Total {
    /// Not wanted.
    None,
    /// A guess will do.
    Estimate,
    /// It must be right.
    Accurate,
}

/// One key of `_sort` (R4 search#sort).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SortKey {
    /// The parameter whose values are ordered.
    pub parameter: &'static str,
    /// Whether the last comes first.
    pub descending: bool,
}

/// `_contained` (R4 search#contained). No resource here contains another.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Contained {
    /// Contained resources are not wanted.
    #[default]
    No,
    /// Only contained resources are wanted.
    Only,
    /// Both are.
    Both,
}

/// All of them.
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

/// What of the matches is wanted, and how. Each can be given once, or again with the same value; `_include` and `_revinclude`
/// may be given with several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResultParameters {
    /// Matches on a page; 0 wants the total only.
    pub count: usize,
    /// How much of each.
    pub summary: Summary,
    /// `_elements`: names of root elements, sorted, each once.
    pub elements: Option<Vec<String>>,
    /// In which order.
    pub sort: Vec<SortKey>,
    /// What goes with the matches as they refer to it.
    pub includes: Vec<Include>,
    /// What goes with the matches as it refers to them.
    pub reverse_includes: Vec<Include>,
    /// Whether contained resources are wanted.
    pub contained: Contained,
    /// Whether the total is wanted.
    pub total: Option<Total>,
    /// Where the page begins.
    pub cursor: Option<String>,
    given: Vec<&'static str>,
}

/// What could not be read of a result parameter.
pub(super) enum Unread {
    /// It is an error: the code, and what was expected.
    Wrong(&'static str, String),
    /// It is left out, unless the search is strict: the code, and why.
    LeftOut(String),
}

impl ResultParameters {
    /// Whether `name` is a parameter that shapes the result and restricts nothing (R4 search#return).
    pub fn are_named(name: &str) -> bool {
        KNOWN.contains(&name)
    }

    pub(super) fn new(count: usize) -> Self {
        Self {
            count,
            summary: Summary::default(),
            elements: None,
            sort: Vec::new(),
            includes: Vec::new(),
            reverse_includes: Vec::new(),
            contained: Contained::default(),
            total: None,
            cursor: None,
            given: Vec::new(),
        }
    }

    /// Whether only the total is wanted (R4 search#count: `_count=0` is `_summary=count`).
    pub fn only_count(&self) -> bool {
        self.summary == Summary::Count || self.count == 0
    }

    /// Reads one; `name` is one of those [`is_known`].
    pub(super) fn read<R: Searched>(
        &mut self,
        name: &str,
        modifier: Option<&str>,
        value: &str,
        context: &Context<'_>,
    ) -> Result<(), Unread> {
        let bad = |diagnostics: &str| Unread::Wrong("value", diagnostics.to_owned());
        let Some(known) = KNOWN.into_iter().find(|known| *known == name) else { return Ok(()) };
        let repeats = matches!(known, "_include" | "_revinclude");
        let iterate = repeats && modifier == Some("iterate");
        if modifier.is_some() && !iterate {
            return Err(Unread::Wrong("not-supported", "this parameter has no such modifier".to_owned()));
        }
        if !repeats && self.given.contains(&known) {
            return Err(Unread::Wrong("invalid", "one value only".to_owned()));
        }
        self.given.push(known);
        match known {
            "_count" => {
                if !value.bytes().all(|byte| byte.is_ascii_digit()) {
                    return Err(bad("expected a non-negative integer"));
                }
                // Whatever is too large for the type is too large for a page.
                self.count = value.parse().unwrap_or(usize::MAX).min(context.max_count);
            }
            "_summary" => {
                self.summary = match value {
                    "true" => Summary::True,
                    "false" => Summary::False,
                    "text" => Summary::Text,
                    "data" => Summary::Data,
                    "count" => Summary::Count,
                    _ => return Err(bad("true, false, text, data or count")),
                };
            }
            "_elements" => {
                let names = elements(value);
                let expected = "names of elements at the root of the resource, parted by commas";
                self.elements = Some(names.ok_or_else(|| bad(expected))?);
            }
            "_sort" => self.sort = sort_keys::<R>(value)?,
            "_include" | "_revinclude" => {
                let include = Include::read(value, iterate).ok_or_else(|| {
                    let expected = "Type:parameter[:Target] with a reference parameter of a type that is served, Type:* or *";
                    Unread::Wrong("not-supported", expected.to_owned())
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
                    _ => return Err(bad("true, false or both")),
                };
            }
            "_containedType" if !matches!(value, "container" | "contained") => {
                return Err(bad("container or contained"));
            }
            "_total" => {
                self.total = Some(match value {
                    "none" => Total::None,
                    "estimate" => Total::Estimate,
                    "accurate" => Total::Accurate,
                    _ => return Err(bad("none, estimate or accurate")),
                });
            }
            "_pretty" if !matches!(value, "true" | "false") => return Err(bad("true or false")),
            "_cursor" => self.cursor = Some(value.to_owned()),
            _ => {}
        }
        Ok(())
    }

    /// What cannot stand together.
    pub(super) fn check(&self) -> Result<(), SearchError> {
        let conflict = |parameter: &str, diagnostics: &str| {
            let (parameter, diagnostics) = (parameter.to_owned(), diagnostics.to_owned());
            Err(SearchError { parameter, code: "invalid", diagnostics })
        };
        match self.summary {
            Summary::Text if !(self.includes.is_empty() && self.reverse_includes.is_empty()) => {
                conflict("_summary", "text and _include or _revinclude cannot stand together")
            }
            Summary::True | Summary::Text | Summary::Data if self.elements.is_some() => {
                conflict("_elements", "_summary and _elements cannot stand together")
            }
            _ => Ok(()),
        }
    }
}

/// Names of root elements, sorted, each once.
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

fn sort_keys<R: Searched>(value: &str) -> Result<Vec<SortKey>, Unread> {
    let sortable = || Parameter::<R>::all().filter(|parameter| parameter.sorts);
    let key = |name: &str| {
        let (name, descending) = match name.strip_prefix('-') {
            Some(name) => (name, true),
            None => (name, false),
        };
        let parameter = sortable().find(|parameter| parameter.name == name)?.name;
        Some(SortKey { parameter, descending })
    };
    let names = value.split(',').map(str::trim).filter(|name| !name.is_empty());
    let keys: Option<Vec<_>> = names.map(key).collect();
    keys.filter(|keys| !keys.is_empty()).ok_or_else(|| {
        let names = sortable().map(|parameter| parameter.name).collect::<Vec<_>>().join(", ");
        Unread::LeftOut(format!("_sort supports {names}; prefix a name with - for descending order."))
    })
}

/// Whether a parameter shapes the result.
pub(super) fn is_known(name: &str) -> bool {
    KNOWN.contains(&name)
}
