//! Searches of several types at once (R4 http#search: `[base]?_type=…`), everywhere or in a Patient's compartment.

use jiff::Timestamp;

use super::page::{Pages, Reading};
use super::search_match::SearchMatch;
use super::{
    compartment, cut_from, matching_endpoints, matching_patients, warn_of_what_is_left_out,
    warn_of_what_patients_do_not_tell,
};
use crate::auth::Access;
use crate::cache::Rendered;
use crate::error::Failure;
use crate::fhir::FhirContext;
use crate::fhir::FhirRequest;
use crate::studies::FoundPatient;
use dicom_model::StudyUid;
use fhir_r4::search::{
    Contained, Criterion, EvaluationContext, ResourceType, Search, SortKey, has_parameter, shown,
};
use fhir_r4::types::{Endpoint, ImagingStudy, Patient};

const NOT_OF_ALL: &str = "It is no parameter of every type that is searched for.";

/// Of all types that `_type` names, or that there are; in the compartment of `patient` where one is given. What is found stands
/// by type and id, unless another order is asked for.
pub(in crate::fhir) async fn all_types(
    context: &FhirContext,
    request: &FhirRequest<'_>,
    access: &Access,
    patient: Option<&str>,
) -> Result<Rendered, Failure> {
    let focus = match patient {
        Some(id) => Some(compartment::focus(context, request, access, id).await?),
        None => None,
    };
    let search = Searches::read(context, request, patient.is_some())?;
    let path = compartment::path(patient, if patient.is_some() { "*" } else { "" });
    let mut pages = Pages::of(&context.cursors, request, &path, search.reading()?);
    let found = search.found(context, request, access, focus.as_ref(), &mut pages).await?;
    let result = search.reading()?.result;
    let keys: &[SortKey] = if search.has_one_order { &result.sort } else { &[] };
    let standing = |found: &SearchMatch| found.standing(context, keys).under(found.name());
    let found = found.into_iter().map(|found| (standing(&found), found)).collect();
    cut_from(context, request, access, pages, result, found, keys).await
}

/// The same parameters, as each type reads them.
struct Searches {
    endpoints: Option<Search<Endpoint>>,
    studies: Option<Search<ImagingStudy>>,
    patients: Option<Search<Patient>>,
    applied: Vec<(String, String)>,
    ignored: Vec<(String, String)>,
    has_one_order: bool,
}

impl Searches {
    fn read(context: &FhirContext, request: &FhirRequest<'_>, in_compartment: bool) -> Result<Self, Failure> {
        let types = Types::of(request, in_compartment)?;
        let of_all = |name: &str| types.served.iter().all(|kind| has_parameter(*kind, name));
        let common = request.with(|name| name != "_type" && of_all(name));
        let mut ignored = types.unserved;
        for (name, _) in request.pairs.iter().filter(|(name, _)| name != "_type" && !of_all(name)) {
            if request.is_strict() {
                let name = shown(name);
                let failure =
                    Failure::bad_request("not-supported", format!("Parameter {name}: {NOT_OF_ALL}"));
                return Err(failure.at(format!("http.{name}")));
            }
            ignored.push((shown(name), NOT_OF_ALL.to_owned()));
        }
        let is_wanted = |kind| types.served.contains(&kind);
        let limits = &context.limits;
        let endpoints: Option<Search<Endpoint>> =
            is_wanted(ResourceType::Endpoint).then(|| common.search(limits)).transpose()?;
        let studies: Option<Search<ImagingStudy>> =
            is_wanted(ResourceType::ImagingStudy).then(|| common.search(limits)).transpose()?;
        let patients: Option<Search<Patient>> =
            is_wanted(ResourceType::Patient).then(|| common.search(limits)).transpose()?;
        let readings = [
            endpoints.as_ref().map(Reading::from),
            studies.as_ref().map(Reading::from),
            patients.as_ref().map(Reading::from),
        ];
        let readings: Vec<_> = readings.into_iter().flatten().collect();
        ignored.extend(readings.iter().flat_map(|reading| reading.ignored.iter().cloned()));
        ignored.sort();
        ignored.dedup();
        let mut applied = types.applied;
        let by_all = |pair: &&(String, String)| readings.iter().all(|reading| reading.applied.contains(pair));
        applied.extend(
            readings.first().into_iter().flat_map(|first| first.applied.iter().filter(by_all).cloned()),
        );
        let has_one_order = readings.windows(2).all(|pair| pair[0].result.sort == pair[1].result.sort);
        Ok(Self { endpoints, studies, patients, applied, ignored, has_one_order })
    }

    /// How the parameters were understood, of whichever type there is.
    fn reading(&self) -> Result<Reading<'_>, Failure> {
        let readings = [
            self.endpoints.as_ref().map(Reading::from),
            self.studies.as_ref().map(Reading::from),
            self.patients.as_ref().map(Reading::from),
        ];
        // At least one type is searched for.
        let reading = readings.into_iter().flatten().next().ok_or_else(Failure::internal)?;
        Ok(Reading { applied: &self.applied, ignored: &self.ignored, ..reading })
    }

    async fn found(
        &self,
        context: &FhirContext,
        request: &FhirRequest<'_>,
        access: &Access,
        focus: Option<&FoundPatient>,
        pages: &mut Pages<'_>,
    ) -> Result<Vec<SearchMatch>, Failure> {
        let mut found = Vec::new();
        if self.reading()?.result.contained == Contained::Only {
            return Ok(found);
        }
        if let Some(search) = &self.endpoints {
            let (criteria, reverse) = (&search.criteria, &search.reverse);
            found.extend(matching_endpoints(context, request, access, criteria, reverse).await?);
        }
        if let Some(search) = &self.studies {
            let mut criteria = search.criteria.clone();
            criteria.extend(focus.map(|focus| compartment::refers_to(&focus.resource.id)).transpose()?);
            let sort = &search.result.sort;
            let matching =
                context.studies.search_to_sort(&criteria, sort, access, request.freshness()).await?;
            let uids: Vec<StudyUid> =
                matching.patient_conflicts.iter().map(|study| study.uid().clone()).collect();
            warn_of_what_is_left_out(pages, &uids, matching.missing_uid);
            found.extend(matching.studies.into_iter().map(SearchMatch::Study));
        }
        if let Some(search) = &self.patients {
            warn_of_what_patients_do_not_tell(pages, &search.criteria);
        }
        match (&self.patients, focus) {
            (Some(search), Some(focus)) => {
                found.extend(
                    matches(focus, &search.criteria).then(|| SearchMatch::Patient(Box::new(focus.clone()))),
                );
            }
            (Some(search), None) => {
                let (criteria, reverse) = (&search.criteria, &search.reverse);
                found.extend(matching_patients(context, request, access, criteria, reverse).await?);
            }
            (None, _) => {}
        }
        Ok(found)
    }
}

/// Only what is true of all resources is asked of a Patient in its own compartment.
fn matches(patient: &FoundPatient, criteria: &[Criterion<Patient>]) -> bool {
    let around =
        EvaluationContext { zone: &patient.zone, now: Timestamp::UNIX_EPOCH, patient: None, endpoints: &[] };
    criteria.iter().all(|criterion| criterion.matches(&patient.resource, &around))
}

/// What `_type` says.
struct Types {
    served: Vec<ResourceType>,
    /// Types that nobody serves here, and what is to be said of them.
    unserved: Vec<(String, String)>,
    applied: Vec<(String, String)>,
}

impl Types {
    fn of(request: &FhirRequest<'_>, in_compartment: bool) -> Result<Self, Failure> {
        let there = if in_compartment {
            vec![ResourceType::ImagingStudy, ResourceType::Patient]
        } else {
            ResourceType::ALL.to_vec()
        };
        let given = request.pairs.iter().filter(|(name, value)| name == "_type" && !value.is_empty());
        let applied: Vec<_> = given.cloned().collect();
        if applied.is_empty() {
            return Ok(Self { served: there, unserved: Vec::new(), applied });
        }
        let mut types = Self { served: Vec::new(), unserved: Vec::new(), applied };
        for name in types.applied.iter().flat_map(|(_, value)| value.split(',')).map(str::trim) {
            match Named::read(name, &there)? {
                Named::Served(kind) if types.served.contains(&kind) => {}
                Named::Served(kind) => types.served.push(kind),
                Named::Unserved(remark) => types.unserved.push(remark),
            }
        }
        if types.served.is_empty() {
            let names: Vec<_> = there.iter().map(|kind| kind.name()).collect();
            let names = names.join(", ");
            return Err(wrong(&format!("none of the types is served here; there are {names}")));
        }
        types.served.sort_unstable();
        Ok(types)
    }
}

/// A type that a request names.
pub(super) enum Named {
    Served(ResourceType),
    /// Nobody serves it here; the parameter, and what is to be said of it.
    Unserved((String, String)),
}

impl Named {
    /// Of the types that are `there`; what no resource type can be called is refused.
    pub(super) fn read(name: &str, there: &[ResourceType]) -> Result<Self, Failure> {
        let is_name = name.starts_with(|first: char| first.is_ascii_uppercase())
            && name.len() <= 64
            && name.bytes().all(|byte| byte.is_ascii_alphabetic());
        match ResourceType::parse(name).filter(|kind| there.contains(kind)) {
            Some(kind) => Ok(Self::Served(kind)),
            None if is_name => {
                let why = format!("There is no {name} here, and none was looked for.");
                Ok(Self::Unserved(("_type".to_owned(), why)))
            }
            None => Err(wrong("names of resource types, parted by commas")),
        }
    }
}

fn wrong(diagnostics: &str) -> Failure {
    Failure::bad_request("value", format!("Parameter _type: {diagnostics}.")).at("http._type")
}
