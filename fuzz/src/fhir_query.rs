//! Queries of FHIR searches (R4 search.html): each parameter becomes a criterion, a warning or an error, and none is silently ignored.
//! The query of the self link is the same search. Strict and lenient handling differ only for unsupported parameters. Messages repeat
//! no values. A negated criterion matches exactly the resources that the criterion does not match.

use std::fmt::Debug;

use dicom_model::{Uid, UidRule};
use dicomweb_gateway::http::query::{decode, encode};
use fhir_r4::search::{
    Criterion, EvaluationContext, Handling, ParseContext, ResultParameters, Search, SearchError, Searchable,
    is_result_parameter, printable_name,
};
use fhir_r4::types::{Endpoint, ImagingStudy, Patient};
use jiff::Timestamp;
use jiff::tz::TimeZone;

type Pairs = Vec<(String, String)>;

/// Checks one query string.
pub fn check(query: &[u8]) {
    let Ok(query) = str::from_utf8(query) else { return };
    let Ok(pairs) = decode(query) else { return };
    assert_eq!(decode(&encode_pairs(&pairs)).as_ref(), Ok(&pairs), "encoding changes the query");
    check_search::<ImagingStudy>(&pairs);
    check_search::<Patient>(&pairs);
    check_search::<Endpoint>(&pairs);
    check_matches(&pairs);
}

fn encode_pairs(pairs: &[(String, String)]) -> String {
    encode(pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())))
}

fn parse<R: Searchable>(
    pairs: &[(String, String)],
    handling: Handling,
) -> Result<Search<R>, Vec<SearchError>> {
    let context = ParseContext {
        base: "https://gateway.example/fhir",
        handling,
        default_count: 50,
        max_count: 200,
        is_uid: Uid::is_legal,
        is_other_uid: |text| UidRule::of(text) == Some(UidRule::Lenient),
    };
    Search::parse(pairs, &context)
}

fn check_search<R: Searchable + Debug>(pairs: &Pairs) {
    let lenient = parse::<R>(pairs, Handling::Lenient);
    let strict = parse::<R>(pairs, Handling::Strict);
    check_messages(pairs, &lenient);
    check_messages(pairs, &strict);
    let search = match lenient {
        Ok(search) => search,
        Err(errors) => {
            assert!(!errors.is_empty(), "a search is rejected without a reason");
            assert!(strict.is_err(), "strict handling accepts a search that lenient handling rejects");
            return;
        }
    };
    assert_eq!(
        strict.is_ok(),
        search.ignored.is_empty(),
        "strict handling does not reject exactly the searches with unsupported parameters"
    );
    check_parameters(pairs, &search);
    let self_link = encode_pairs(&search.applied);
    let repeated = parse::<R>(&decode(&self_link).expect("an encoded query"), Handling::Strict);
    let repeated = repeated.unwrap_or_else(|errors| panic!("the self link is rejected: {errors:?}"));
    assert_eq!(describe(&repeated), describe(&search), "the self link is another search");
    assert_eq!(repeated.applied, search.applied, "the self link of the self link has another query");
}

/// Checks that every parameter is applied, reported as ignored, or unrelated to the search.
fn check_parameters<R: Searchable>(pairs: &Pairs, search: &Search<R>) {
    for pair in pairs {
        let base = pair.0.split([':', '.']).next().unwrap_or_default();
        let is_applied = search.applied.contains(pair);
        let is_reported = search.ignored.iter().any(|(name, _)| *name == printable_name(&pair.0));
        let is_unrelated = matches!(base, "_format" | "_pretty");
        assert!(is_applied || is_reported || is_unrelated, "a parameter is silently ignored");
    }
    let base = |name: &str| name.split([':', '.']).next().unwrap_or_default().to_owned();
    let is_criterion = |pair: &&(String, String)| !is_result_parameter(&base(&pair.0));
    let (reverse_chains, criteria): (Vec<_>, Vec<_>) =
        search.applied.iter().filter(is_criterion).partition(|pair| base(&pair.0) == "_has");
    assert_eq!(search.criteria.len(), criteria.len(), "an applied parameter is not a criterion");
    assert_eq!(
        search.reverse_chains.len(),
        reverse_chains.len(),
        "an applied _has parameter is not a criterion"
    );
}

/// Returns a text with all parts of a search, for comparison.
fn describe<R: Searchable + Debug>(search: &Search<R>) -> String {
    let ResultParameters {
        count,
        summary,
        elements,
        includes,
        reverse_includes,
        contained,
        total,
        cursor,
        ..
    } = &search.result;
    format!(
        "{:?} {:?} {:?} {:?} {count} {summary:?} {elements:?} {includes:?} {reverse_includes:?} {contained:?} {total:?} {cursor:?}",
        search.criteria, search.reverse_chains, search.sort, search.warnings
    )
}

/// Checks that no message contains a long number, such as a patient identifier, from a value.
fn check_messages<R: Searchable>(pairs: &Pairs, parsed: &Result<Search<R>, Vec<SearchError>>) {
    let messages = match parsed {
        Ok(search) => {
            let warnings = search.warnings.iter().map(|(name, text)| format!("{name} {text}"));
            search
                .ignored
                .iter()
                .map(|(name, reason)| format!("{name} {reason}"))
                .chain(warnings)
                .collect::<Vec<_>>()
        }
        Err(errors) => errors.iter().map(ToString::to_string).collect(),
    };
    for number in
        pairs.iter().flat_map(|(_, value)| value.split(|character: char| !character.is_ascii_digit()))
    {
        let is_in_a_name = pairs.iter().any(|(name, _)| name.contains(number));
        if number.len() >= 6 && !is_in_a_name {
            assert!(!messages.iter().any(|message| message.contains(number)), "a message repeats a value");
        }
    }
}

/// Checks that a criterion and its `:not` never match the same study, nor `:missing=true` and `:missing=false`; and that a criterion
/// does not match a study without the element.
fn check_matches(pairs: &Pairs) {
    let study: ImagingStudy = serde_json::from_str(include_str!("fhir_query/study.json")).expect("a study");
    let patient: Patient = serde_json::from_str(include_str!("fhir_query/patient.json")).expect("a patient");
    let endpoints: Vec<Endpoint> =
        serde_json::from_str(include_str!("fhir_query/endpoints.json")).expect("endpoints");
    let evaluation_context = EvaluationContext {
        zone: &TimeZone::UTC,
        now: Timestamp::UNIX_EPOCH,
        patient: Some(&patient),
        endpoints: &endpoints,
    };
    let criterion = |name: &str, value: &str| -> Option<Criterion<ImagingStudy>> {
        let pair = [(name.to_owned(), value.to_owned())];
        parse::<ImagingStudy>(&pair, Handling::Strict).ok()?.criteria.pop()
    };
    for (name, value) in pairs {
        let Some(tested) = criterion(name, value) else { continue };
        let matches = tested.matches(&study, &evaluation_context);
        let opposite = criterion(&format!("{name}:not"), value).filter(|_| !name.contains([':', '.']));
        if let Some(opposite) = opposite {
            assert_ne!(
                opposite.matches(&study, &evaluation_context),
                matches,
                ":not has the same result as the parameter without it"
            );
        }
        let base = name.split([':', '.']).next().unwrap_or_default();
        let missing = |value| {
            criterion(&format!("{base}:missing"), value)
                .map(|missing| missing.matches(&study, &evaluation_context))
        };
        let (Some(is_missing), Some(is_present)) = (missing("true"), missing("false")) else {
            panic!("a parameter does not support :missing");
        };
        assert_ne!(is_missing, is_present, ":missing=true and :missing=false have the same result");
        let is_negated = name.ends_with(":not") || name.ends_with(":missing");
        assert!(is_negated || !matches || is_present, "a criterion matches a missing element");
    }
}
