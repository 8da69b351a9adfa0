//! The parameters that shape a result (R4 search#return): how many matches, how much of each, what goes with them.

use super::parameters::{Parameter, StudyInclude};
use super::{Context, SearchError};

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

/// All of them.
const KNOWN: [&str; 8] =
    ["_count", "_summary", "_elements", "_include", "_total", "_format", "_pretty", "_cursor"];

/// What of the matches is wanted, and how. Each can be given once, or again with the same value; `_include` may be given
/// with several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResultParameters {
    /// Matches on a page; 0 wants the total only.
    pub count: usize,
    /// How much of each.
    pub summary: Summary,
    /// `_elements`: names of root elements, sorted, each once.
    pub elements: Option<Vec<String>>,
    /// What goes with the matches.
    pub includes: Vec<StudyInclude>,
    /// Whether the total is wanted.
    pub total: Option<Total>,
    /// Where the page begins.
    pub cursor: Option<String>,
    given: Vec<&'static str>,
}

impl ResultParameters {
    pub(super) fn new(count: usize) -> Self {
        Self {
            count,
            summary: Summary::default(),
            elements: None,
            includes: Vec::new(),
            total: None,
            cursor: None,
            given: Vec::new(),
        }
    }

    /// Whether only the total is wanted (R4 search#count: `_count=0` is `_summary=count`).
    pub fn only_count(&self) -> bool {
        self.summary == Summary::Count || self.count == 0
    }

    pub(super) fn read<C>(
        &mut self,
        name: &str,
        value: &str,
        table: &[Parameter<C>],
        context: &Context<'_>,
    ) -> Result<(), (&'static str, String)> {
        let bad = |diagnostics: &str| ("value", diagnostics.to_owned());
        let Some(known) = KNOWN.into_iter().find(|known| *known == name) else { return Ok(()) };
        if known != "_include" && self.given.contains(&known) {
            return Err(("invalid", "one value only".to_owned()));
        }
        self.given.push(known);
        match known {
            "_count" => {
                if !value.bytes().all(|byte| byte.is_ascii_digit()) {
                    return Err(bad("a whole number, 0 or more"));
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
                let mut names: Vec<_> = value
                    .split(',')
                    .map(str::trim)
                    .filter(|name| !name.is_empty())
                    .map(str::to_owned)
                    .collect();
                if names.is_empty()
                    || names
                        .iter()
                        .any(|name| name.len() > 64 || !name.bytes().all(|byte| byte.is_ascii_alphanumeric()))
                {
                    return Err(bad("names of elements at the root of the resource, parted by commas"));
                }
                names.sort_unstable();
                names.dedup();
                self.elements = Some(names);
            }
            "_include" => {
                let supported = || table.iter().filter_map(|parameter| parameter.include).collect::<Vec<_>>();
                let include = supported().into_iter().find(|include| include.accepts(value));
                let names =
                    || supported().iter().map(|include| include.name()).collect::<Vec<_>>().join(", ");
                let include = include.ok_or_else(|| {
                    let names = names();
                    let supported = if names.is_empty() {
                        "nothing can be included here".to_owned()
                    } else {
                        format!("one of {names}")
                    };
                    ("not-supported", supported)
                })?;
                if !self.includes.contains(&include) {
                    self.includes.push(include);
                }
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
            Summary::Text if !self.includes.is_empty() => {
                conflict("_summary", "text and _include cannot stand together")
            }
            Summary::True | Summary::Text | Summary::Data if self.elements.is_some() => {
                conflict("_elements", "_summary and _elements cannot stand together")
            }
            _ => Ok(()),
        }
    }
}

/// Whether a parameter shapes the result.
pub(super) fn is_known(name: &str) -> bool {
    KNOWN.contains(&name)
}
