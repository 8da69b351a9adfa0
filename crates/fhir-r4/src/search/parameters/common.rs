//! The search parameters of every resource (R4 resource#search).

use super::super::{Parameter, ParseContext, Searchable, Token, Value, id as ids};
use crate::types::Coding;

/// Returns the parameters of all resources. `keys` are the keys of `_id`, `_lastUpdated`, `_profile`, `_security`, `_source` and
/// `_tag`, in this order.
pub(super) const fn parameters<R: Searchable>(keys: [R::Param; 6]) -> [Parameter<R>; 6] {
    let [id, last_updated, profile, security, source, tag] = keys;
    [
        Parameter::<R>::token(
            id,
            "_id",
            "http://hl7.org/fhir/SearchParameter/Resource-id",
            R::ID_NOTE,
            |resource, each| each(Value::without_system(resource.id())),
        )
        .with_validation(ids::validate)
        .sortable(),
        Parameter::<R>::date(
            last_updated,
            "_lastUpdated",
            "http://hl7.org/fhir/SearchParameter/Resource-lastUpdated",
            R::LAST_UPDATED_NOTE,
            |resource, each| {
                if let Some(instant) = resource.meta().and_then(|meta| meta.last_updated.as_deref()) {
                    each(Value::Date(instant));
                }
            },
        )
        .sortable(),
        Parameter::<R>::uri(
            profile,
            "_profile",
            "http://hl7.org/fhir/SearchParameter/Resource-profile",
            "The profiles that the resource claims to conform to.",
            |resource, each| {
                resource
                    .meta()
                    .into_iter()
                    .flat_map(|meta| meta.profile.iter())
                    .for_each(|uri| each(Value::Uri(uri)));
            },
        ),
        Parameter::<R>::token(
            security,
            "_security",
            "http://hl7.org/fhir/SearchParameter/Resource-security",
            "The security labels of the resource.",
            |resource, each| {
                resource
                    .meta()
                    .into_iter()
                    .flat_map(|meta| &meta.security)
                    .for_each(|label| each(Value::coding(label)));
            },
        ),
        Parameter::<R>::uri(
            source,
            "_source",
            "http://hl7.org/fhir/SearchParameter/Resource-source",
            "The source of the resource (meta.source).",
            |resource, each| {
                if let Some(uri) = resource.meta().and_then(|meta| meta.source.as_deref()) {
                    each(Value::Uri(uri));
                }
            },
        ),
        Parameter::<R>::token(
            tag,
            "_tag",
            "http://hl7.org/fhir/SearchParameter/Resource-tag",
            "The tags of the resource, except SUBSETTED, which describes a response.",
            |resource, each| {
                let tags = resource.meta().into_iter().flat_map(|meta| &meta.tag);
                tags.filter(|tag| !is_subsetted(tag)).for_each(|tag| each(Value::coding(tag)));
            },
        )
        .with_validation(reject_subsetted),
    ]
}

/// Whether the tag says that a response contains only a part of the resource (R4 resource#simple-tags).
fn is_subsetted(tag: &Coding) -> bool {
    *tag == Coding::subsetted()
}

/// Rejects the tag SUBSETTED, because what a response lacks is not a property of the resource, and is known only once the response has
/// been made.
fn reject_subsetted(token: &Token, _: &ParseContext<'_>) -> Result<Option<&'static str>, String> {
    let subsetted = Coding::subsetted();
    let (system, code) = (subsetted.system.as_deref(), subsetted.code.as_deref());
    if token.matches(system, code) {
        return Err(
            "expected another tag than SUBSETTED, which says what a response lacks and is not compared"
                .to_owned(),
        );
    }
    Ok(None)
}
