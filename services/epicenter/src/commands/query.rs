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
    use std::net::SocketAddr;
    use std::time::Duration;

    use anyhow::Context as _;
    use epicenter_archive::ArchiveError;
    use epicenter_archive::ask::{self, Archive, Cursor, Filter, Malformed, Of, Page, Row};
    use epicenter_model::{Incident, Severity, Timestamp};
    use epicenter_runtime::now;
    use serde_json::{Value, json};

    use super::{Aggregate, ExitCode, Query, Settings};
    use crate::cli::{Aggregated, Asked, Document, Rows};
    use crate::commands::{print, show};
    use crate::directory::DataDirectory;
    use crate::render::{self, Columns, Paint};
    use crate::view::{self, View};

    /// Who answers.
    enum Source {
        /// This process, of the tables and the log.
        Here(Box<Archive>),
        /// The one that has the log open.
        Running(SocketAddr, Option<String>, Duration),
    }

    impl Source {
        async fn open(settings: &Settings) -> anyhow::Result<Self> {
            let is_log =
                settings.bus.is_kafka() || DataDirectory::of(settings).is_ok_and(|directory| directory.exists());
            let log = if is_log { Some(View::open(settings).await?) } else { None };
            Ok(match log {
                Some(View::Running { address, token }) => {
                    // It has as long itself, and says so in time.
                    Self::Running(address, token, Duration::from_secs(settings.archive.query.seconds + 5))
                }
                Some(View::Log(bus, codec)) => {
                    Self::Here(Box::new(crate::archive::open(settings, Some((bus, codec)))?))
                }
                None => Self::Here(Box::new(crate::archive::open(settings, None)?)),
            })
        }
    }

    /// What a running process answers to `path` with a query of `asked`.
    async fn answered(
        source: (SocketAddr, Option<&str>, Duration),
        path: &str,
        asked: &[(&str, String)],
    ) -> anyhow::Result<Value> {
        let (address, token, limit) = source;
        let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(asked).finish();
        let answer = view::answer(address, &format!("GET /api/v1/{path}?{query}"), token, "", limit).await?;
        let mut answer: Value = serde_json::from_slice(&answer).context("reading the answer")?;
        if let Some(missing) = answer["missing"].take().as_str() {
            eprintln!("epicenter: {missing}");
        }
        Ok(answer)
    }

    async fn page(source: &Source, path: &str, rows: &Rows) -> anyhow::Result<Page> {
        match source {
            Source::Here(archive) => {
                let (filter, after) = (rows.asked.filter(now())?, rows.cursor()?);
                let page = match path {
                    "events" => archive.events(&filter, rows.limit, after).await?,
                    _ => archive.incidents(&filter, rows.limit, after).await?,
                };
                tell(archive).await;
                Ok(page)
            }
            Source::Running(address, token, limit) => {
                let mut asked = rows.asked.pairs();
                asked.push(("limit", rows.limit.to_string()));
                asked.extend(rows.cursor.clone().map(|cursor| ("cursor", cursor)));
                let mut answer = answered((*address, token.as_deref(), *limit), path, &asked).await?;
                let next = answer["next"].as_str().map(str::parse).transpose().map_err(ArchiveError::from)?;
                Ok(Page { rows: serde_json::from_value(answer["rows"].take())?, next })
            }
        }
    }

    pub(in crate::commands) async fn run(settings: &Settings, what: Query) -> anyhow::Result<ExitCode> {
        let source = Source::open(settings).await?;
        match what {
            Query::Events(rows) => {
                let page = page(&source, "events", &rows).await?;
                told(&rows, &page, |page| page.rows.iter().map(line).collect())
            }
            Query::Incidents(rows) => {
                let page = page(&source, "incidents", &rows).await?;
                told(&rows, &page, incidents)
            }
            Query::Sql { query } => match source {
                Source::Here(archive) => sql(&archive, &query).await,
                Source::Running(address, token, limit) => {
                    let answer = view::answer(address, "POST /api/v1/sql", token.as_deref(), &query, limit).await?;
                    print(&String::from_utf8_lossy(&answer))?;
                    Ok(ExitCode::SUCCESS)
                }
            },
        }
    }

    pub(in crate::commands) async fn aggregate(settings: &Settings, what: Aggregate) -> anyhow::Result<ExitCode> {
        let now = now();
        let (of, named) = match what.of {
            Aggregated::Events => (Of::Events, "events"),
            Aggregated::Incidents => (Of::Incidents, "incidents"),
        };
        let by = what.by.iter().map(|word| word.parse()).collect::<Result<_, Malformed>>()?;
        let every = what.every.as_deref().map(ask::stretch).transpose()?;
        let how = ask::Aggregate { of, by, every, limit: what.limit };
        let rows: Vec<Row> = match Source::open(settings).await? {
            Source::Here(archive) => {
                let rows = archive.aggregate(&what.asked.filter(now)?, &how, now).await?;
                tell(&archive).await;
                rows
            }
            Source::Running(address, token, limit) => {
                let mut asked = what.asked.pairs();
                asked.extend([("of", named.to_owned()), ("by", what.by.join(",")), ("limit", what.limit.to_string())]);
                asked.extend(what.every.clone().map(|every| ("every", every)));
                let mut answer = answered((address, token.as_deref(), limit), "aggregate", &asked).await?;
                serde_json::from_value(answer["rows"].take())?
            }
        };
        show(what.output, &rows, || render::groups(&how.columns(), &rows, Paint::detect()))?;
        Ok(ExitCode::SUCCESS)
    }

    /// Says what an answer lacks.
    async fn tell(archive: &Archive) {
        if let Some(missing) = archive.missing().await {
            eprintln!("epicenter: {missing}");
        }
    }

    impl Rows {
        fn cursor(&self) -> Result<Option<Cursor>, ArchiveError> {
            Ok(self.cursor.as_deref().map(str::parse).transpose()?)
        }
    }

    impl Asked {
        /// What is asked for, as the archive takes it.
        pub(in crate::commands) fn filter(&self, now: Timestamp) -> Result<Filter, ArchiveError> {
            let mut filter = Filter::new(now);
            for (key, value) in self.pairs() {
                filter.set(key, &value, now)?;
            }
            Ok(filter)
        }

        /// What is asked for, by its name.
        fn pairs(&self) -> Vec<(&'static str, String)> {
            let all = [
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
            ];
            all.into_iter().filter_map(|(key, value)| Some((key, value.clone()?))).collect()
        }
    }

    fn told(rows: &Rows, page: &Page, text: impl Fn(&Page) -> String) -> anyhow::Result<ExitCode> {
        let next = page.next.map(|cursor| cursor.to_string());
        show(rows.output, &json!({"rows": page.rows, "next": next}), || text(page))?;
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
        tell(archive).await;
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
