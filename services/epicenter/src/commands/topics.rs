//! `epicenter topics`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::ensure;
use epicenter_bus::topics::ALL;
use epicenter_bus::{Bus, Cleanup};

use super::print;
use crate::cli::Topics;
use crate::settings::Settings;

pub(super) fn run(what: Topics, settings: &Settings) -> anyhow::Result<ExitCode> {
    let prefix = &settings.bus.kafka.prefix;
    if matches!(what, Topics::List) {
        for topic in ALL {
            let cleanup = match topic.cleanup {
                Cleanup::Delete(after) => format!("delete after {} days", after.as_secs() / 86_400),
                Cleanup::Compact => "compact".to_owned(),
            };
            let partitions = settings.bus.kafka.partitions;
            print(&format!("{prefix}{:<18} {partitions} partitions  {cleanup}\n", topic.name))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let bus = kafka(settings)?;
    if matches!(what, Topics::Create) {
        let created = bus.create_topics()?;
        for topic in &created {
            print(&format!("created {topic}\n"))?;
        }
        if created.is_empty() {
            print("all topics are there\n")?;
        }
    }
    let problems = bus.check_topics()?;
    for problem in &problems {
        print(&format!("{problem}\n"))?;
    }
    Ok(ExitCode::from(u8::from(!problems.is_empty())))
}

fn kafka(settings: &Settings) -> anyhow::Result<Bus> {
    ensure!(
        settings.bus.is_kafka(),
        "there is no Kafka cluster: set bus.kafka.bootstrap (EPICENTER_BUS__KAFKA__BOOTSTRAP)"
    );
    Ok(settings.bus.open(Path::new(""))?)
}
