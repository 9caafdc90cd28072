//! The kernel on a log in a directory: every commit synced to disk.

use std::time::Duration;

use epicenter_bus::{Bus, Emit, LocalConfig};

use crate::kernel::{PAYLOAD, pass_through, payload};
use crate::report::{Report, median, thousands};

const RECORDS: u64 = 400_000;
const ROUNDS: usize = 5;
/// What a source commits at once.
const BATCH: u64 = 5_000;

/// Measures, and adds the table.
pub fn measure(report: &mut Report) -> anyhow::Result<()> {
    let (mut written, mut passed) = (vec![], vec![]);
    for round in 0..ROUNDS {
        let directory = tempfile::tempdir()?;
        let bus = Bus::local(LocalConfig {
            directory: directory.path().to_owned(),
            partitions: 1,
            retention: Duration::from_secs(3600),
        })?;
        let (mut source, _) = bus.source("bench", 0, b"")?;
        let began = std::time::Instant::now();
        for batch in 0..RECORDS / BATCH {
            let records: Vec<_> = (batch * BATCH..(batch + 1) * BATCH).map(emit).collect();
            source.commit(&records, &[(b"bench".to_vec(), batch.to_be_bytes().to_vec())])?;
        }
        written.push(RECORDS as f64 / began.elapsed().as_secs_f64());
        passed.push(pass_through(&bus, "kernel", RECORDS)?);
        println!("round {round}: source {}/s, pass-through {}/s", thousands(written[round]), thousands(passed[round]));
    }
    let body = format!(
        "{RECORDS} records of {PAYLOAD} bytes, one partition; medians of {ROUNDS} rounds. A commit counts when it is synced.\n\n\
         | | records/s |\n|---|---|\n| source, commits of {BATCH} records | {} |\n| processor, pass-through | {} |",
        thousands(median(written)),
        thousands(median(passed)),
    );
    report.section("Kernel on a directory", &body);
    Ok(())
}

fn emit(n: u64) -> Emit {
    Emit {
        topic: "in",
        timestamp: 1_795_435_684_036 + n as i64,
        key: n.to_be_bytes().to_vec().into(),
        payload: Some(payload(n).into()),
        headers: vec![],
    }
}
