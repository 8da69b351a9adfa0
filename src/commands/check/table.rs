//! The output of `check`: one line per archive, followed by its problems, then the settings to change. Every line that
//! concerns an archive contains its id, so that users can search for the id.

use std::fmt;

use super::Checks;
use super::probe::{ArchiveCheck, ProbeResult};
use crate::upstream::{ProbeFindings, UnknownKeys};

const COLUMNS: [&str; 7] = ["studies", "series", "metadata", "instances", "WADO-URI", "changes", "images"];

impl fmt::Display for ProbeResult {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotTried => formatter.write_str("-"),
            Self::Rows(rows, duration) => write!(formatter, "{rows} in {} ms", duration.as_millis()),
            Self::Failed(error) => formatter.write_str(error.label()),
            Self::Unexpected(_) => formatter.write_str("wrong"),
        }
    }
}

fn verdict(check: &ArchiveCheck) -> &'static str {
    if !check.can_read_studies() {
        return "DOES NOT WORK";
    }
    match (check.uri_service.is_success(), check.change_feed.is_success()) {
        (true, true) if check.is_empty() => "empty",
        (true, true) => "works",
        (false, true) => "works, WADO-URI DOES NOT",
        (true, false) => "works, CHANGE FEED DOES NOT",
        (false, false) => "works, WADO-URI AND CHANGE FEED DO NOT",
    }
}

/// Returns the columns of an archive; `None` if no request succeeded, so that the problem is printed instead.
fn cells(check: &ArchiveCheck) -> Option<[String; 7]> {
    let results = [
        &check.studies,
        &check.series,
        &check.metadata,
        &check.instances,
        &check.uri_service,
        &check.change_feed,
    ];
    let has_rows = results.iter().any(|result| matches!(result, ProbeResult::Rows(..)));
    has_rows.then(|| {
        let [studies, series, metadata, instances, uri_service, changes] = results.map(ToString::to_string);
        [studies, series, metadata, instances, uri_service, changes, check.images.to_string()]
    })
}

impl fmt::Display for Checks {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let max_width = |heading: &str, widths: &mut dyn Iterator<Item = usize>| {
            widths.fold(heading.len(), std::cmp::Ord::max)
        };
        let rows: Vec<_> = self.0.iter().map(cells).collect();
        let id_width = max_width("archive", &mut self.0.iter().map(|check| check.archive.as_str().len()));
        let verdict_width = max_width("verdict", &mut self.0.iter().map(|check| verdict(check).len()));
        let widths: [usize; 7] = std::array::from_fn(|column| {
            max_width(COLUMNS[column], &mut rows.iter().flatten().map(|cells| cells[column].len()))
        });
        let mut write_line = |id: &str, verdict: &str, rest: &str| {
            let line = format!("{id:<id_width$}  {verdict:<verdict_width$}  {rest}");
            writeln!(formatter, "{}", line.trim_end())
        };
        let join_columns = |texts: [&str; 7]| {
            let padded: Vec<_> =
                texts.iter().zip(widths).map(|(text, width)| format!("{text:<width$}")).collect();
            padded.join("  ")
        };
        write_line("archive", "verdict", &join_columns(COLUMNS))?;
        for (check, cells) in self.0.iter().zip(&rows) {
            let id = check.archive.as_str();
            let mut problems =
                check.problems().into_iter().map(|(request, problem)| format!("{request}: {problem}"));
            let result = match cells {
                Some(cells) => join_columns(cells.each_ref().map(String::as_str)),
                None => problems.next().unwrap_or_default(),
            };
            write_line(id, verdict(check), &result)?;
            for problem in problems {
                write_line(id, "", &problem)?;
            }
            if let Some(findings) = &check.findings {
                write_line(id, "", &describe(findings))?;
            }
        }
        if self.0.iter().any(|check| matches!(check.series, ProbeResult::Rows(..))) {
            writeln!(
                formatter,
                "\nOne study of each archive was tried. The counts of metadata and instances are those of its first series."
            )?;
        }
        if self.0.iter().any(|check| check.images.match_count + check.images.findings.len() > 0) {
            writeln!(
                formatter,
                "Images of the first studies were rendered by the archive and by the gateway, and compared."
            )?;
        }
        self.write_hints(formatter)?;
        self.write_summary(formatter)
    }
}

/// Describes how an archive answers searches.
fn describe(findings: &ProbeFindings) -> String {
    let answer = |answer: Option<bool>| match answer {
        Some(true) => "yes",
        Some(false) => "no",
        None => "unknown",
    };
    let unknown_keys = match findings.unknown_keys {
        Some(UnknownKeys::Ignored) => "ignored",
        Some(UnknownKeys::Rejected) => "rejected",
        Some(UnknownKeys::MatchNothing) => "nothing found",
        None => "unknown",
    };
    let paging = match findings.short_page_limit {
        0 => "every list is read until an empty page".to_owned(),
        limit => format!("reliable below {limit} rows"),
    };
    format!(
        "searches: uid lists: {}; series of several studies: {}; paging: {paging}; escaped names: {}; unknown keys: {unknown_keys}; nothing found: {}",
        answer(findings.uid_lists),
        answer(findings.series_by_uid_lists),
        answer(findings.decodes_escapes),
        if findings.not_found_means_no_match { "404" } else { "empty list" },
    )
}

impl Checks {
    /// Writes the settings to change. A hint for several archives is written once.
    fn write_hints(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut hints: Vec<(&str, Vec<&str>)> = Vec::new();
        for check in &self.0 {
            for hint in check.hints() {
                match hints.iter_mut().find(|(known, _)| *known == hint) {
                    Some((_, archives)) => archives.push(check.archive.as_str()),
                    None => hints.push((hint, vec![check.archive.as_str()])),
                }
            }
        }
        if !hints.is_empty() {
            writeln!(formatter)?;
        }
        for (hint, archives) in hints {
            writeln!(formatter, "{}: {hint}", archives.join(", "))?;
        }
        Ok(())
    }

    /// Writes a summary, if there are several archives.
    fn write_summary(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.len() < 2 {
            return Ok(());
        }
        let count =
            |predicate: fn(&ArchiveCheck) -> bool| self.0.iter().filter(|check| predicate(check)).count();
        let empty_count = count(|check| check.is_usable() && check.is_empty());
        let working_count = count(ArchiveCheck::is_usable);
        write!(formatter, "\n{} archives: {} work", self.0.len(), working_count - empty_count)?;
        if empty_count > 0 {
            write!(formatter, ", {empty_count} empty")?;
        }
        writeln!(formatter, ", {} with errors", self.0.len() - working_count)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use http::StatusCode;

    use super::*;
    use crate::commands::check::image_difference::ImageDifference;
    use crate::commands::check::images::{ImageCheck, ImageFinding, ImageProblem, StopReason};
    use crate::commands::check::probe::{MissingSetting, ServiceAddress, ServiceAddresses};
    use crate::dicomweb::DicomwebError;
    use crate::upstream::{ArchiveError, ArchiveErrorKind, ArchiveId, ConnectFailure, Profile, Synthesized};
    use dicom_model::json::reader::RowError;

    fn archive(
        id: &str,
        studies: ProbeResult,
        metadata: ProbeResult,
        instances: ProbeResult,
    ) -> ArchiveCheck {
        let series = studies.clone();
        let qido = ServiceAddress { host: "pacs.example:8042".to_owned(), path: "/dicomweb".to_owned() };
        ArchiveCheck {
            archive: ArchiveId::parse(id).unwrap(),
            addresses: ServiceAddresses {
                qido: qido.clone(),
                wado: qido.clone(),
                wado_uri: qido.clone(),
                rest: qido,
            },
            profile: Profile::default(),
            findings: None,
            studies,
            series,
            metadata,
            instances,
            retrieval: ProbeResult::NotTried,
            uri_service: ProbeResult::NotTried,
            change_feed: ProbeResult::NotTried,
            images: ImageCheck::default(),
            missing_services: BTreeSet::from([Synthesized::Counts]),
            missing_settings: BTreeSet::new(),
        }
    }

    fn checks_of(studies: ProbeResult, metadata: ProbeResult, instances: ProbeResult) -> Checks {
        Checks(vec![archive("main", studies, metadata, instances)])
    }

    fn failed(kind: ArchiveErrorKind) -> ProbeResult {
        ProbeResult::Failed(ArchiveError { archive: ArchiveId::parse("main").unwrap(), kind })
    }

    fn unreachable() -> ProbeResult {
        failed(ArchiveErrorKind::Unreachable(ConnectFailure::Refused))
    }

    fn rows(count: usize) -> ProbeResult {
        ProbeResult::Rows(count, Duration::from_millis(12))
    }

    fn check_without_series(id: &str, studies: ProbeResult) -> ArchiveCheck {
        let mut check = archive(id, studies, ProbeResult::NotTried, ProbeResult::NotTried);
        check.series = ProbeResult::NotTried;
        check.missing_services.clear();
        check
    }

    #[test]
    fn an_archive_works_if_one_source_of_instances_works() {
        assert!(checks_of(rows(1), rows(9), rows(9)).is_success());
        let checks = checks_of(rows(1), unreachable(), rows(9));
        assert!(
            checks.is_success() && checks.to_string().contains("main: set detail = \"qido\""),
            "{checks}"
        );
        assert!(!checks_of(rows(1), unreachable(), unreachable()).is_success());
        assert!(!Checks(vec![check_without_series("main", unreachable())]).is_success());
    }

    #[test]
    fn the_table_contains_counts_durations_and_problems() {
        let table = checks_of(rows(1), unreachable(), rows(9)).to_string();
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(
            lines[0],
            "archive  verdict  studies     series      metadata     instances   WADO-URI  changes  images"
        );
        assert_eq!(
            lines[1],
            "main     works    1 in 12 ms  1 in 12 ms  unreachable  9 in 12 ms  -         -        -"
        );
        assert_eq!(
            lines[2],
            "main              metadata of a series: cannot be reached: connection refused (pacs.example:8042)"
        );
        assert!(table.contains("\nmain: add \"counts\" to synthesize"), "{table}");
        assert_eq!(
            lines[4],
            "One study of each archive was tried. The counts of metadata and instances are those of its first series."
        );
    }

    #[test]
    fn an_archive_without_studies_is_empty_and_works() {
        let empty = Checks(vec![check_without_series("main", rows(0))]);
        let table = empty.to_string();
        assert!(empty.is_success(), "{table}");
        assert!(table.contains("main     empty    0 in 12 ms  -"), "{table}");
        assert!(table.contains("main: the search found no study") && !table.contains("One study"), "{table}");
    }

    #[test]
    fn an_archive_whose_change_feed_fails_has_errors_even_if_it_is_empty() {
        let mut check = check_without_series("main", rows(0));
        check.change_feed = failed(ArchiveErrorKind::NotFound);
        let checks = Checks(vec![check, archive("other", rows(1), rows(9), rows(9))]);
        let table = checks.to_string();
        assert!(!checks.is_success() && table.contains("main     works, CHANGE FEED DOES NOT"), "{table}");
        assert!(table.ends_with("\n2 archives: 1 work, 1 with errors\n"), "{table}");
    }

    #[test]
    fn an_archive_that_does_not_work_has_one_line_with_the_reason() {
        let mut checks: Vec<_> =
            (1..=20).map(|number| check_without_series(&format!("pacs-{number}"), unreachable())).collect();
        checks.push(archive("main", rows(1), rows(9), rows(9)));
        checks.push(archive("other", rows(1), rows(9), rows(9)));
        checks.push(check_without_series("new", rows(0)));
        let table = Checks(checks).to_string();
        for number in 1..=20 {
            let id = format!("pacs-{number}");
            let lines: Vec<_> = table.lines().filter(|line| line.starts_with(&format!("{id} "))).collect();
            assert_eq!(
                lines,
                [format!(
                    "{id:<7}  DOES NOT WORK  search for studies: cannot be reached: connection refused (pacs.example:8042)"
                )]
            );
        }
        assert!(table.contains("\nmain, other: add \"counts\""), "{table}");
        assert!(table.ends_with("\n23 archives: 2 work, 1 empty, 20 with errors\n"), "{table}");
    }

    #[test]
    fn each_cause_is_explained_with_the_setting_that_it_concerns() {
        let problem = |kind| check_without_series("main", failed(kind)).problems().remove(0).1;
        let unauthorized = ArchiveErrorKind::Unauthorized(StatusCode::UNAUTHORIZED);
        let forbidden = ArchiveErrorKind::Unauthorized(StatusCode::FORBIDDEN);
        assert_eq!(
            problem(ArchiveErrorKind::NoCredentials(StatusCode::UNAUTHORIZED)),
            "asks for credentials (status 401), and none are configured: set [archive.auth]"
        );
        assert!(problem(unauthorized).starts_with("rejected the gateway's credentials"));
        assert!(problem(forbidden).starts_with("this account may not do that (status 403)"));
        assert!(
            problem(ArchiveErrorKind::NoSearchService(StatusCode::NOT_FOUND))
                .starts_with("/dicomweb/studies does not exist there")
        );
        assert!(problem(ArchiveErrorKind::Disconnected).contains("https://"));
        let login_page = ArchiveErrorKind::Malformed(RowError::NotAnArray("markup"));
        assert!(
            problem(login_page)
                .ends_with("starts with markup; is it a login page, or is there a proxy in between?")
        );
        let blocked = ArchiveErrorKind::ForbiddenAddress;
        assert!(problem(blocked).ends_with("(pacs.example:8042)"));
    }

    #[test]
    fn missing_settings_that_the_study_requires_are_listed() {
        let mut check = archive("main", rows(1), rows(9), rows(9));
        check.missing_settings = BTreeSet::from([MissingSetting::TimeZone, MissingSetting::PatientIdSystem]);
        let table = Checks(vec![check]).to_string();
        assert!(table.contains("main: set time_zone: "), "{table}");
        assert!(table.contains("main: set patient_id_system: "), "{table}");
    }

    #[test]
    fn images_that_an_archive_renders_wrongly_are_listed_and_the_archive_still_works() {
        let mut check = archive("main", rows(1), rows(9), rows(9));
        let difference = ImageDifference::Values { mean: 80.25, tolerance: 3.0 };
        let finding = ImageFinding {
            image: "monochrome 2 with a requested window",
            problem: ImageProblem::Different(difference),
        };
        check.images = ImageCheck { match_count: 3, findings: vec![finding], stop: None };
        let checks = Checks(vec![check]);
        let table = checks.to_string();
        assert!(checks.is_success() && table.contains("  3 of 4 match\n"), "{table}");
        let line = "main              rendered image, monochrome 2 with a requested window: its values differ by 80.2 of 255 on average (tolerance 3.0)\n";
        assert!(table.contains(line), "{table}");
        assert!(
            table.contains("\nmain: add \"rendered\" to synthesize: it does not render all images correctly"),
            "{table}"
        );
    }

    #[test]
    fn an_image_that_an_archive_is_not_available_for_is_reported_without_a_setting() {
        let mut check = archive("main", rows(1), rows(9), rows(9));
        let error = DicomwebError::ErrorStatus {
            archive: ArchiveId::parse("main").unwrap(),
            status: StatusCode::SERVICE_UNAVAILABLE,
            retry_after: None,
        };
        let finding = ImageFinding { image: "color", problem: ImageProblem::Failed(error) };
        check.images =
            ImageCheck { match_count: 0, findings: vec![finding], stop: Some(StopReason::ArchiveFailed) };
        let table = Checks(vec![check]).to_string();
        assert!(table.contains("rendered image, color: archive main responded with status 503"), "{table}");
        assert!(table.contains("rendered images: not all were compared"), "{table}");
        assert!(!table.contains("\"rendered\""), "{table}");
    }
}
