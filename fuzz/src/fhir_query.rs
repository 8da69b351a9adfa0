//! Queries of FHIR searches (R4 search.html): each parameter becomes a criterion, a warning or an error, and none is ignored in
//! silence; the query of the self link means the same; strict and lenient handling differ only in what is not supported; messages
//! repeat no value; and a negated criterion matches what the criterion does not.

use std::fmt::Debug;

use dicom_model::Uid;
use dicomweb_gateway::http::query::{decode, encode};
use fhir_r4::search::{
    Context, Criterion, EvaluationContext, Handling, ResultParameters, Search, SearchError, Searched, shown,
};
use fhir_r4::types::{Endpoint, ImagingStudy, Patient};
use jiff::Timestamp;
use jiff::tz::TimeZone;

type Pairs = Vec<(String, String)>;

/// Checks one query string.
pub fn check(query: &[u8]) {
    let Ok(query) = str::from_utf8(query) else { return };
    let Ok(pairs) = decode(query) else { return };
    assert_eq!(decode(&print(&pairs)).as_ref(), Ok(&pairs), "a query is printed as another");
    check_search::<ImagingStudy>(&pairs);
    check_search::<Patient>(&pairs);
    check_search::<Endpoint>(&pairs);
    check_matches(&pairs);
}

fn print(pairs: &[(String, String)]) -> String {
    encode(pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())))
}

fn read<R: Searched>(pairs: &[(String, String)], handling: Handling) -> Result<Search<R>, Vec<SearchError>> {
    let context = Context {
        base: "https://gateway.example/fhir",
        handling,
        default_count: 50,
        max_count: 200,
        is_uid: Uid::is_legal,
    };
    Search::parse(pairs, &context)
}

fn check_search<R: Searched + Debug>(pairs: &Pairs) {
    let lenient = read::<R>(pairs, Handling::Lenient);
    let strict = read::<R>(pairs, Handling::Strict);
    check_messages(pairs, &lenient);
    check_messages(pairs, &strict);
    let search = match lenient {
        Ok(search) => search,
        Err(errors) => {
            assert!(!errors.is_empty(), "a search is refused without a reason");
            assert!(strict.is_err(), "strict handling accepts what lenient handling refuses");
            return;
        }
    };
    assert_eq!(
        strict.is_ok(),
        search.ignored.is_empty(),
        "strict handling refuses what is not supported, and only that"
    );
    check_accounts(pairs, &search);
    let printed = print(&search.applied);
    let again = read::<R>(&decode(&printed).expect("a query that was printed"), Handling::Strict);
    let again = again.unwrap_or_else(|errors| panic!("the self link is refused: {errors:?}"));
    assert_eq!(meaning(&again), meaning(&search), "the self link is another search");
    assert_eq!(again.applied, search.applied, "the self link of the self link is another one");
}

/// Every parameter is understood, named as ignored, or one that is no matter of the search.
fn check_accounts<R: Searched>(pairs: &Pairs, search: &Search<R>) {
    for pair in pairs {
        let base = pair.0.split([':', '.']).next().unwrap_or_default();
        let is_applied = search.applied.contains(pair);
        let is_named = search.ignored.iter().any(|(name, _)| *name == shown(&pair.0));
        let is_of_request = matches!(base, "_format" | "_pretty");
        assert!(is_applied || is_named || is_of_request, "a parameter is ignored in silence");
    }
    let base = |name: &str| name.split([':', '.']).next().unwrap_or_default().to_owned();
    let narrows = |pair: &&(String, String)| !ResultParameters::are_named(&base(&pair.0));
    let (reverse, own): (Vec<_>, Vec<_>) =
        search.applied.iter().filter(narrows).partition(|pair| base(&pair.0) == "_has");
    assert_eq!(search.criteria.len(), own.len(), "a parameter that was understood is no criterion");
    assert_eq!(search.reverse.len(), reverse.len(), "a _has that was understood is no criterion");
}

/// All that a search says, in words.
fn meaning<R: Searched + Debug>(search: &Search<R>) -> String {
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
        search.criteria, search.reverse, search.sort, search.remarks
    )
}

/// A long number in a value, as patients' identifiers are, is in no message.
fn check_messages<R: Searched>(pairs: &Pairs, read: &Result<Search<R>, Vec<SearchError>>) {
    let messages = match read {
        Ok(search) => {
            let remarks = search.remarks.iter().map(|(name, remark)| format!("{name} {remark}"));
            search
                .ignored
                .iter()
                .map(|(name, why)| format!("{name} {why}"))
                .chain(remarks)
                .collect::<Vec<_>>()
        }
        Err(errors) => errors.iter().map(ToString::to_string).collect(),
    };
    for number in pairs.iter().flat_map(|(_, value)| value.split(|letter: char| !letter.is_ascii_digit())) {
        let is_in_a_name = pairs.iter().any(|(name, _)| name.contains(number));
        if number.len() >= 6 && !is_in_a_name {
            assert!(!messages.iter().any(|message| message.contains(number)), "a message repeats a value");
        }
    }
}

/// Criteria hold for a study or not, the same after they were read again; `:not` and `:missing=false` hold when they do not.
fn check_matches(pairs: &Pairs) {
    let study: ImagingStudy = serde_json::from_str(include_str!("fhir_query/study.json")).expect("a study");
    let patient: Patient = serde_json::from_str(include_str!("fhir_query/patient.json")).expect("a patient");
    let endpoints: Vec<Endpoint> =
        serde_json::from_str(include_str!("fhir_query/endpoints.json")).expect("endpoints");
    let around = EvaluationContext {
        zone: &TimeZone::UTC,
        now: Timestamp::UNIX_EPOCH,
        patient: Some(&patient),
        endpoints: &endpoints,
    };
    let only = |name: &str, value: &str| -> Option<Criterion<ImagingStudy>> {
        let pair = [(name.to_owned(), value.to_owned())];
        read::<ImagingStudy>(&pair, Handling::Strict).ok()?.criteria.pop()
    };
    for (name, value) in pairs {
        let Some(criterion) = only(name, value) else { continue };
        let matches = criterion.matches(&study, &around);
        if let Some(opposite) = only(&format!("{name}:not"), value).filter(|_| !name.contains([':', '.'])) {
            assert_ne!(opposite.matches(&study, &around), matches, ":not holds for the same");
        }
        let base = name.split([':', '.']).next().unwrap_or_default();
        let missing = |value| {
            only(&format!("{base}:missing"), value).map(|criterion| criterion.matches(&study, &around))
        };
        let (Some(is_missing), Some(is_there)) = (missing("true"), missing("false")) else {
            panic!("a parameter without :missing");
        };
        assert_ne!(is_missing, is_there, ":missing is true and false");
        let negates = name.ends_with(":not") || name.ends_with(":missing");
        assert!(negates || !matches || is_there, "what is missing is found");
    }
}
