//! `epicenter topics acls`.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::bail;
use epicenter_bus::topics::{
    ALERTS_STATE, CORRELATOR_STATE, DEAD_LETTER, EVENTS_ENRICHED, EVENTS_RAW, FLEET_SIGNALS, INCIDENT_CHANGES,
    INCIDENTS, POSITIONS, SILENCES,
};
use epicenter_bus::{Grant, Operation, ProcessorSpec, Resource};
use epicenter_runtime::KafkaSection;

use super::print;
use super::topics::processors;

/// What each service must be allowed to do.
fn services() -> Vec<(&'static str, Vec<Grant>)> {
    let read = |topic: &str| Grant::topic(topic, &[Operation::Read]);
    let mut exporter = Grant::of_sources("exporter.", POSITIONS.name, &[EVENTS_RAW.name, DEAD_LETTER.name]);
    // `epicenter forget`.
    exporter.extend([Grant::transactions("farewell."), Grant::groups("farewell."), Grant::group("table")]);
    let mut alerts = Grant::of_sources("alerts.", ALERTS_STATE.name, &[DEAD_LETTER.name]);
    // The second is the dead-man's switch.
    alerts.extend([read(INCIDENT_CHANGES.name), read(FLEET_SIGNALS.name), Grant::group("reader")]);
    vec![
        ("alerts", alerts),
        ("archive", vec![read(EVENTS_ENRICHED.name), read(INCIDENT_CHANGES.name), Grant::group("reader")]),
        ("exporter", exporter),
        ("enricher", Grant::of_processor(&epicenter_enricher::spec())),
        ("correlator", Grant::of_processor(&epicenter_correlator::spec())),
        ("fleet", Grant::of_processor(&epicenter_correlator::fleet_spec())),
        ("sink", Grant::of_processor(&epicenter_sink::spec())),
        ("sink-objects", [vec![Grant::groups("sink-objects.")], intake()].concat()),
        ("intake", intake()),
        ("console", console()),
        ("topics", Grant::of_administration()),
        ("recovery", recovery()),
        (
            "viewer",
            vec![
                Grant::group("table"),
                Grant::group("reader"),
                read(INCIDENTS.name),
                read(SILENCES.name),
                read(EVENTS_ENRICHED.name),
                read(DEAD_LETTER.name),
                // `epicenter doctor`.
                read(CORRELATOR_STATE.name),
                read(ALERTS_STATE.name),
                read(INCIDENT_CHANGES.name),
            ],
        ),
    ]
}

/// What it takes to say something: `epicenter ack` and the like, HTTP, annotations.
fn intake() -> Vec<Grant> {
    let mut grants = Grant::of_sources("intake.", POSITIONS.name, &[EVENTS_RAW.name, FLEET_SIGNALS.name]);
    let read = [INCIDENTS.name, SILENCES.name].map(|topic| Grant::topic(topic, &[Operation::Read]));
    grants.extend(read);
    grants.push(Grant::group("table"));
    grants
}

/// What the console shows, and what is said there.
fn console() -> Vec<Grant> {
    let mut grants = intake();
    grants.retain(|grant| grant.name != EVENTS_RAW.name);
    grants.extend([
        Grant::topic(EVENTS_RAW.name, &[Operation::Read, Operation::Write]),
        Grant::topic(EVENTS_ENRICHED.name, &[Operation::Read]),
        Grant::group("reader"),
        Grant::group("console"),
    ]);
    grants
}

/// What `topics recover` needs, and `doctor` to see what is lost.
fn recovery() -> Vec<Grant> {
    let alone = processors().map(|spec| ProcessorSpec { outputs: Vec::new(), ..spec });
    let mut grants: Vec<_> = alone.iter().flat_map(Grant::of_processor).collect();
    grants.retain(|grant| grant.name != DEAD_LETTER.name);
    grants.extend(Grant::of_sources("recover", POSITIONS.name, &[]));
    // All who write to events.raw are told that their positions are lost.
    grants.extend(["exporter.", "farewell.", "intake."].map(Grant::transactions));
    grants
}

pub(super) fn run(kafka: &KafkaSection, wanted: &[String], principal: Option<&str>) -> anyhow::Result<ExitCode> {
    let mut services = services();
    let names: Vec<_> = services.iter().map(|(name, _)| *name).collect();
    if let Some(unknown) = wanted.iter().find(|wanted| !names.contains(&wanted.as_str())) {
        bail!("there is no service {unknown}: name some of {}", names.join(", "));
    }
    services.retain(|(name, _)| wanted.is_empty() || wanted.iter().any(|wanted| wanted == name));
    let bootstrap = if kafka.bootstrap.is_empty() { "HOST:PORT" } else { &kafka.bootstrap };
    for (service, grants) in services {
        let principal = principal.map_or_else(|| format!("User:epicenter-{service}"), str::to_owned);
        print(&format!("# {service}\n"))?;
        for line in lines(&grants, &kafka.prefix) {
            print(&format!(
                "kafka-acls.sh --bootstrap-server {bootstrap} --add --allow-principal {principal} {line}\n"
            ))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Options of `kafka-acls.sh`, a line for all grants that differ only in their names.
fn lines(grants: &[Grant], prefix: &str) -> Vec<String> {
    let mut alike: BTreeMap<_, Vec<&str>> = BTreeMap::new();
    for Grant { resource, prefixed, operations, name } in grants {
        alike.entry((*resource, *prefixed, *operations)).or_default().push(name);
    }
    let line = |((resource, prefixed, operations), names): (_, Vec<&str>)| {
        let option = match resource {
            Resource::Topic => "topic",
            Resource::Group => "group",
            Resource::TransactionalId => "transactional-id",
        };
        let operations: &[Operation] = operations;
        let operations: Vec<_> = operations.iter().map(|operation| format!("--operation {operation}")).collect();
        let names: Vec<_> = names.iter().map(|name| format!("--{option} {prefix}{name}")).collect();
        let pattern = if prefixed { " --resource-pattern-type prefixed" } else { "" };
        format!("{}{pattern} {}", operations.join(" "), names.join(" "))
    };
    alike.into_iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_as_narrow_as_it_can_be() {
        let services = services();
        let of = |service: &str| {
            let (_, grants) = services.iter().find(|(name, _)| *name == service).unwrap();
            lines(grants, "epicenter.")
        };
        assert_eq!(
            of("fleet"),
            [
                "--operation Read --topic epicenter.fleet.signals",
                "--operation Read --operation Write --topic epicenter.fleet.state",
                "--operation Write --topic epicenter.incident.changes --topic epicenter.dead-letter",
                "--operation Read --group epicenter.fleet",
                "--operation Write --resource-pattern-type prefixed --transactional-id epicenter.fleet.",
            ]
        );
        assert_eq!(
            of("sink-objects"),
            [
                "--operation Read --topic epicenter.incidents --topic epicenter.silences",
                "--operation Read --operation Write --topic epicenter.positions",
                "--operation Write --topic epicenter.events.raw --topic epicenter.fleet.signals",
                "--operation Read --group epicenter.table",
                "--operation Read --resource-pattern-type prefixed --group epicenter.sink-objects. --group epicenter.intake.",
                "--operation Write --resource-pattern-type prefixed --transactional-id epicenter.intake.",
            ]
        );
        for (service, grants) in &services {
            let whole = |grant: &&Grant| grant.prefixed && grant.name.is_empty();
            assert!(*service == "topics" || grants.iter().find(whole).is_none(), "{service} may do everything");
        }
    }
}
