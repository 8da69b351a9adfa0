//! Seals the queries of an archive's URLs, such as signatures, for the URLs of the gateway.
//!
//! An archive may write URLs with a query into its metadata (BulkDataURI, PS3.18 F.2.6). The query is meant for the archive alone, so
//! the URL of the gateway contains the sealed query, as the parameter [`SEALED_QUERY`], and any replica with the same key opens it.

use std::sync::Arc;

use crate::dicomweb::request::retrieval_query::SEALED_QUERY;
use crate::http::sealing::SealingKeys;
use crate::upstream::{ArchiveId, ArchiveQuery};

/// Maximum length of a sealed query, so that the whole URL fits in a request line of 8 KiB.
const MAX_SEALED_LEN: usize = 7 * 1024;

/// Seals and opens the queries of one archive's URLs.
#[derive(Debug, Clone)]
pub struct QuerySeal {
    key: Arc<SealingKeys>,
    archive: ArchiveId,
}

impl QuerySeal {
    /// Creates the seal of `archive`.
    pub fn new(key: Arc<SealingKeys>, archive: ArchiveId) -> Self {
        Self { key, archive }
    }

    /// Seals the query of the URL with `path`, relative to the root of the archive, as a query of the gateway; `None` if the query
    /// is not valid in a URL or is too long.
    pub(crate) fn seal(&self, path: &str, query: &str) -> Option<String> {
        let query = ArchiveQuery::parse(query)?;
        let sealed = self.key.seal(&self.context(path), &query.expose());
        (1..=MAX_SEALED_LEN).contains(&sealed.len()).then(|| format!("{SEALED_QUERY}={sealed}"))
    }

    /// Opens a sealed query of the URL with `path`; `None` if it was not sealed for this archive and path with this key.
    pub(crate) fn open(&self, path: &str, sealed: &str) -> Option<ArchiveQuery> {
        let query: String = self.key.open(&self.context(path), sealed)?;
        ArchiveQuery::parse(&query)
    }

    fn context(&self, path: &str) -> String {
        format!("query of {}/{path}", self.archive)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seal(secret: &str, archive: &str) -> QuerySeal {
        let key = SealingKeys::derive([secret.as_bytes()]).unwrap();
        QuerySeal::new(Arc::new(key), ArchiveId::parse(archive).unwrap())
    }

    #[test]
    fn a_query_is_valid_only_for_its_archive_path_and_key() {
        let text = seal("s", "main").seal("studies/1.2/bulkdata/1", "sig=abc").unwrap();
        assert!(!text.contains("abc"));
        let text = text.strip_prefix("sealed=").unwrap();
        let open = |secret, archive, path| seal(secret, archive).open(path, text);
        assert_eq!(open("s", "main", "studies/1.2/bulkdata/1"), ArchiveQuery::parse("sig=abc"));
        assert_eq!(open("s", "main", "studies/1.3/bulkdata/1"), None);
        assert_eq!(open("s", "other", "studies/1.2/bulkdata/1"), None);
        assert_eq!(open("t", "main", "studies/1.2/bulkdata/1"), None);
    }

    #[test]
    fn a_query_that_is_invalid_or_too_long_is_not_sealed() {
        for query in [String::new(), "a b".to_owned(), "a".repeat(MAX_SEALED_LEN)] {
            assert_eq!(seal("s", "main").seal("studies/1.2", &query), None);
        }
    }
}
