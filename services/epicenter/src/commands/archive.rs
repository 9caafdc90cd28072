//! `epicenter archive`.

use std::process::ExitCode;

use crate::cli::Archive;
use crate::settings::Settings;

#[cfg(not(feature = "archive"))]
pub(super) async fn run(_: Settings, _: Archive) -> anyhow::Result<ExitCode> {
    anyhow::bail!(crate::archive::MISSING)
}

#[cfg(feature = "archive")]
pub(super) async fn run(settings: Settings, what: Archive) -> anyhow::Result<ExitCode> {
    if matches!(what, Archive::Run) {
        return super::services::archive(settings).await;
    }
    let directory = crate::archive::directory(&settings)?;
    let store = epicenter_archive::Store::open(&settings.archive, directory.as_deref())?;
    maintain::<epicenter_model::EnrichedEvent>(&store, &settings, &what).await?;
    maintain::<epicenter_model::IncidentChange>(&store, &settings, &what).await?;
    Ok(ExitCode::SUCCESS)
}

/// Does what is asked to one table, and says what was done.
#[cfg(feature = "archive")]
async fn maintain<T: epicenter_archive::Entry>(
    store: &epicenter_archive::Store,
    settings: &Settings,
    what: &Archive,
) -> anyhow::Result<()> {
    use super::{print, progress};

    let mut table = epicenter_archive::Table::open::<T>(store).await?;
    let name = T::KIND.name;
    let retention = &settings.archive.retention;
    let spinner = |doing: &str| progress::spinner(&format!("{name}: {doing}"));
    let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
    match what {
        Archive::Run => {}
        Archive::Compact => {
            let working = spinner("merging small files");
            let merged = table.compact(today).await?;
            working.set_message(format!("{name}: deleting files that nobody needs"));
            let deleted = table.vacuum().await?.files;
            working.finish_and_clear();
            print(&format!(
                "{name}: {} files of {} days and clusters became {}; {deleted} files that nobody needs were deleted\n",
                merged.before, merged.partitions, merged.after
            ))?;
        }
        Archive::Retain { dry_run: true } => {
            let working = spinner("counting rows");
            let expired = table.expired(retention, today).await?;
            working.finish_and_clear();
            let rows: u64 = expired.iter().map(|expired| expired.rows).sum();
            print(&format!("{name}: {rows} rows would be deleted\n"))?;
            for row in expired {
                let word = |text: String| if text.is_empty() { "-".to_owned() } else { text };
                print(&format!("  {:<14} {:<9} {:>12}\n", word(row.category), word(row.severity), row.rows))?;
            }
        }
        Archive::Retain { dry_run: false } => {
            let working = spinner("deleting rows");
            let rows = table.retain(retention, today).await?;
            working.finish_and_clear();
            print(&format!("{name}: {rows} rows deleted\n"))?;
        }
    }
    Ok(())
}
