//! `epicenter topics`.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::ensure;
use epicenter_bus::topics::ALL;
use epicenter_bus::{Bus, Cleanup, Fault, ProcessorSpec, Recovered, Topic, TopicProblem};
use epicenter_runtime::KafkaSection;

use super::{acls, print, progress};
use crate::cli::{TopicListing, Topics};
use crate::settings::Settings;

/// By then every broker knows of a topic that was created.
const KNOWN: Duration = Duration::from_secs(15);
const LOOK: Duration = Duration::from_millis(200);

pub(super) fn run(what: Topics, settings: &Settings) -> anyhow::Result<ExitCode> {
    if let Topics::Acls { services, principal } = &what {
        return acls::run(&settings.bus.kafka, services, principal.as_deref());
    }
    if let Topics::List { output } = what {
        let KafkaSection { prefix, partitions, batch_bytes, .. } = &settings.bus.kafka;
        let listed: String = match output {
            TopicListing::Table => ALL.iter().map(|topic| line(topic, prefix, *partitions)).collect(),
            TopicListing::Strimzi => {
                let topics = ALL.iter().map(|topic| strimzi(topic, prefix, *partitions, *batch_bytes));
                std::iter::once(STRIMZI.to_owned()).chain(topics).collect()
            }
        };
        print(&listed)?;
        return Ok(ExitCode::SUCCESS);
    }
    let bus = kafka(settings)?;
    match what {
        Topics::Recover { dry_run } => return recover(&bus, dry_run),
        Topics::Migrate { partitions: Some(partitions), to: Some(to), .. } => {
            return migrate(settings, &bus, partitions, to);
        }
        Topics::Migrate { .. } => {
            bus.undo_move(&processors())?;
            print(&format!("the installation {}* is open again\n", settings.bus.kafka.prefix))?;
            return Ok(ExitCode::SUCCESS);
        }
        _ => {}
    }
    let mut known_by = Instant::now();
    if matches!(what, Topics::Create) {
        let created = bus.create_topics()?;
        for topic in &created {
            print(&format!("created {topic}\n"))?;
        }
        if created.is_empty() {
            print("all topics are there\n")?;
        }
        known_by += KNOWN;
    }
    let mut problems = bus.check_topics()?;
    while problems.iter().any(|problem| matches!(problem, TopicProblem::Missing { .. })) && Instant::now() < known_by {
        std::thread::sleep(LOOK);
        problems = bus.check_topics()?;
    }
    for problem in &problems {
        print(&format!("{problem}\n"))?;
    }
    Ok(ExitCode::from(u8::from(!problems.is_empty())))
}

/// The processors, which stand still when a topic of theirs is lost.
pub(super) fn processors() -> [ProcessorSpec; 4] {
    [
        epicenter_enricher::spec(),
        epicenter_correlator::spec(),
        epicenter_correlator::fleet_spec(),
        epicenter_sink::spec(),
    ]
}

fn migrate(settings: &Settings, bus: &Bus, partitions: u32, to: String) -> anyhow::Result<ExitCode> {
    let from = &settings.bus.kafka.prefix;
    ensure!(partitions > 0, "--partitions must be at least 1");
    ensure!(!to.is_empty(), "--to must name a prefix");
    // Topics of one would count among those of the other.
    ensure!(
        !to.starts_with(from.as_str()) && !from.starts_with(&to),
        "--to must be another prefix than {from}, and neither may begin with the other"
    );
    let mut new = settings.clone();
    new.bus.kafka.partitions = partitions;
    new.bus.kafka.prefix.clone_from(&to);
    let new = kafka(&new)?;
    let mut said = Ok(());
    let working = progress::spinner("moving");
    let mut tell = |what: &str| {
        if said.is_ok() {
            said = working.suspend(|| print(&format!("{what}\n")));
        }
        working.set_message(what.to_owned());
    };
    let began = Instant::now();
    crate::archive::moving(&settings.archive, bus)?;
    let mut ready = || {
        crate::archive::moved(&settings.archive, &new).map_err(|error| Fault::Fatal {
            what: "letting the archive go on with the new topics".to_owned(),
            why: format!("{error:#}"),
            mend: "When that is mended, run this again: it goes on where it is".to_owned(),
        })
    };
    bus.move_to(&new, &processors(), &epicenter_alerts::Positions, &mut tell, &mut ready)?;
    working.finish_and_clear();
    said?;
    if let Some(generation) = crate::archive::next_generation(&settings.archive) {
        print(&format!("the archive goes on with the new topics: set archive.generation: {generation}\n"))?;
    }
    print(&format!(
        "done in {} s. Set for all services bus.kafka.prefix: {to} and bus.kafka.partitions: {partitions}, and start them.\n\
         The topics {from}* are as they were; delete them when you no longer need them.\n",
        began.elapsed().as_secs()
    ))?;
    Ok(ExitCode::SUCCESS)
}

fn recover(bus: &Bus, dry_run: bool) -> anyhow::Result<ExitCode> {
    let mut lost = 0;
    for spec in processors() {
        for loss in bus.losses(&spec)? {
            lost += 1;
            print(&format!("{loss}\n"))?;
            if dry_run {
                continue;
            }
            let Some(Recovered { from, rebuilt, listed, .. }) = bus.recover(&spec, loss.partition)? else { continue };
            let how = if rebuilt {
                format!("the state is made anew of what {} has from offset {from} on", spec.input)
            } else {
                format!("it goes on at offset {from} of {}, with the state that it has", spec.input)
            };
            print(&format!("  {how}\n"))?;
            // The others who write there have no positions.
            let listed: Vec<_> = listed.into_iter().filter(|id| id.starts_with("exporter.")).collect();
            if !listed.is_empty() {
                print(&format!("  {} list their clusters anew, with a gap\n", listed.join(", ")))?;
            }
        }
    }
    if lost == 0 {
        print("nothing is lost\n")?;
    }
    Ok(ExitCode::from(u8::from(dry_run && lost > 0)))
}

fn line(topic: &Topic, prefix: &str, partitions: u32) -> String {
    let cleanup = match topic.cleanup {
        Cleanup::Delete(after) => format!("delete after {} days", after.as_secs() / 86_400),
        Cleanup::Compact => "compact".to_owned(),
    };
    let partitions = match topic.partitions(partitions) {
        1 => "1 partition".to_owned(),
        several => format!("{several} partitions"),
    };
    format!("{prefix}{:<18} {partitions:<13}  {cleanup}\n", topic.name)
}

const STRIMZI: &str = "# Generated by `epicenter topics list -o strimzi`. The topics for Strimzi's topic operator, in place of `epicenter topics\n\
                       # create`: set strimzi.io/cluster to the Kafka resource's name. The number of partitions is fixed at creation;\n\
                       # that of topics about all clusters together is 1 in every installation.\n";

fn strimzi(topic: &Topic, prefix: &str, partitions: u32, batch_bytes: usize) -> String {
    let name = [prefix, topic.name].concat();
    let partitions = topic.partitions(partitions);
    let settings: Vec<String> =
        topic.settings(batch_bytes).iter().map(|(key, value)| format!("    {key}: \"{value}\"\n")).collect();
    format!(
        "---\napiVersion: kafka.strimzi.io/v1beta2\nkind: KafkaTopic\nmetadata:\n  name: {name}\n  labels:\n    \
         strimzi.io/cluster: kafka\nspec:\n  partitions: {partitions}\n  config:\n{}",
        settings.concat()
    )
}

fn kafka(settings: &Settings) -> anyhow::Result<Bus> {
    ensure!(
        settings.bus.is_kafka(),
        "there is no Kafka cluster: set bus.kafka.bootstrap (EPICENTER_BUS__KAFKA__BOOTSTRAP)"
    );
    Ok(settings.bus.open(Path::new(""))?)
}
