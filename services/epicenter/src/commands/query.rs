//! `epicenter query` and `epicenter aggregate`: questions to the archive.

use std::process::ExitCode;

use crate::cli::{Aggregate, Query};
use crate::settings::Settings;

#[cfg(feature = "archive")]
pub(super) use asking::{aggregate, run};

#[cfg(not(feature = "archive"))]
pub(super) async fn run(_: &Settings, _: Query) -> anyhow::Result<ExitCode> {
    anyhow::bail!(crate::archive::MISSING)
}

#[cfg(not(feature = "archive"))]
pub(super) async fn aggregate(_: &Settings, _: Aggregate) -> anyhow::Result<ExitCode> {
    anyhow::bail!(crate::archive::MISSING)
}

#[cfg(feature = "archive")]
mod asking {
    use epicenter_archive::ArchiveError;
    use epicenter_archive::ask::{self, Archive, Cursor, Filter, Malformed, Of, Page, Row};
    use epicenter_model::{Incident, Severity, Timestamp};
    use serde_json::{Value, json};

    use super::{Aggregate, ExitCode, Query, Settings};
    use crate::cli::{Aggregated, Asked, Document, Rows};
    use crate::commands::{print, print_json};
    use crate::render::{self, Columns, Paint};

    pub(in crate::commands) async fn run(settings: &Settings, what: Query) -> anyhow::Result<ExitCode> {
        let archive = crate::archive::open(settings)?;
        match what {
            Query::Events(rows) => {
                let (filter, after) = (rows.asked.filter(now())?, rows.cursor()?);
                let page = archive.events(&filter, rows.limit, after).await?;
                show(&rows, &page, |page| page.rows.iter().map(line).collect())
            }
            Query::Incidents(rows) => {
                let (filter, after) = (rows.asked.filter(now())?, rows.cursor()?);
                let page = archive.incidents(&filter, rows.limit, after).await?;
                show(&rows, &page, incidents)
            }
            Query::Sql { query } => sql(&archive, &query).await,
        }
    }

    pub(in crate::commands) async fn aggregate(settings: &Settings, what: Aggregate) -> anyhow::Result<ExitCode> {
        let now = now();
        let of = match what.of {
            Aggregated::Events => Of::Events,
            Aggregated::Incidents => Of::Incidents,
        };
        let by = what.by.iter().map(|word| word.parse()).collect::<Result<_, Malformed>>()?;
        let every = what.every.as_deref().map(ask::stretch).transpose()?;
        let how = ask::Aggregate { of, by, every, limit: what.limit };
        let rows = crate::archive::open(settings)?.aggregate(&what.asked.filter(now)?, &how, now).await?;
        match what.output {
            Document::Json => print_json(&rows)?,
            Document::Text => print(&render::groups(&how.columns(), &rows, Paint::detect()))?,
        }
        Ok(ExitCode::SUCCESS)
    }

    fn now() -> Timestamp {
        Timestamp::from_micros(jiff::Timestamp::now().as_microsecond())
    }

    impl Rows {
        fn cursor(&self) -> Result<Option<Cursor>, ArchiveError> {
            Ok(self.cursor.as_deref().map(str::parse).transpose()?)
        }
    }

    impl Asked {
        fn filter(&self, now: Timestamp) -> Result<Filter, ArchiveError> {
            let mut filter = Filter::new(now);
            for (key, value) in [
                ("from", &self.from),
                ("to", &self.to),
                ("cluster", &self.cluster),
                ("namespace", &self.namespace),
                ("kind", &self.kind),
                ("name", &self.name),
                ("reason", &self.reason),
                ("category", &self.category),
                ("severity", &self.severity),
                ("class", &self.class),
                ("incident", &self.incident),
                ("text", &self.text),
            ] {
                if let Some(value) = value {
                    filter.set(key, value, now)?;
                }
            }
            Ok(filter)
        }
    }

    fn show(rows: &Rows, page: &Page, text: impl Fn(&Page) -> String) -> anyhow::Result<ExitCode> {
        let next = page.next.map(|cursor| cursor.to_string());
        match rows.output {
            Document::Json => print_json(&json!({"rows": page.rows, "next": next}))?,
            Document::Text => print(&text(page))?,
        }
        if let (Document::Text, Some(next)) = (rows.output, next) {
            eprintln!("there are more: --cursor {next}");
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn sql(archive: &Archive, query: &str) -> anyhow::Result<ExitCode> {
        let mut answer = archive.sql(query).await?;
        while let Some(lines) = answer.lines().await? {
            print(&String::from_utf8_lossy(&lines))?;
        }
        Ok(ExitCode::SUCCESS)
    }

    /// An Event as a line.
    fn line(row: &Row) -> String {
        let text = |name: &str| row.get(name).and_then(Value::as_str).unwrap_or_default();
        let object = [text("namespace"), text("kind"), text("name")].into_iter().filter(|part| !part.is_empty());
        let message = if text("error").is_empty() { text("message") } else { text("error") };
        let message: String = message.lines().next().unwrap_or_default().chars().take(100).collect();
        let occurrences = row.get("occurrences").and_then(Value::as_i64).unwrap_or(1);
        let at = text("time").parse().map_or_else(|_| text("time").to_owned(), render::instant);
        let severity = format!("{:<8}", text("severity"));
        let known = Severity::ALL.iter().find(|known| known.name() == text("severity"));
        let paint = Paint::detect();
        let severity = known.map_or_else(|| severity.clone(), |known| paint.severity(*known, &severity));
        format!(
            "{}  {severity}  {}  {}  {} ×{occurrences}  {message}\n",
            paint.faint(&at),
            text("cluster"),
            object.collect::<Vec<_>>().join("/"),
            paint.strong(text("reason")),
        )
    }

    fn incidents(page: &Page) -> String {
        let read = |row: &Row| serde_json::from_value::<Incident>(row.get("record")?.get("incident")?.clone()).ok();
        let incidents: Vec<_> = page.rows.iter().filter_map(read).collect();
        render::incidents(&incidents, Columns::Wide, Paint::detect())
    }
}
