//! What the enricher makes of files as `epicenter replay` takes them, in memory.

use std::path::Path;

use epicenter::replay::document;
use epicenter::replay::timeline::Timeline;
use epicenter_bus::{Driver, Record};
use epicenter_enricher::Enricher;
use epicenter_model::{Codec, EnrichedRecord};
use epicenter_rules::RuleSet;
use epicenter_scenarios::Recording;

/// The records that the engine is given of a recording.
pub fn of(recording: &Recording) -> anyhow::Result<Vec<EnrichedRecord>> {
    of_files(recording.files.iter().map(|(name, text)| (name.as_str(), text.as_str())))
}

/// The same of files, given as name and text.
pub fn of_files<'f>(files: impl Iterator<Item = (&'f str, &'f str)>) -> anyhow::Result<Vec<EnrichedRecord>> {
    let contents = files.map(|(name, text)| document::parse(Path::new(name), text)).collect::<Result<Vec<_>, _>>()?;
    let (codec, spec) = (Codec::single_object(), epicenter_enricher::spec());
    let mut enricher = Driver::new(&spec, Enricher::new(codec.clone(), RuleSet::builtin().classifier));
    let mut records = Vec::new();
    for (offset, raw) in Timeline::new("bench", contents).records().enumerate() {
        let record = Record {
            topic: "events.raw",
            offset: offset as i64,
            timestamp: raw.at().as_millis(),
            key: raw.key().into_bytes().into(),
            payload: Some(raw.encode(&codec)?.into()),
            ..Record::default()
        };
        for emit in enricher.feed(&record)? {
            records.push(EnrichedRecord::decode(&codec, emit.payload.as_deref().unwrap_or_default())?);
        }
    }
    Ok(records)
}
