//! One process of the counting processor, for the fault tests: `counter BOOTSTRAP PREFIX PARTITIONS SESSION_MS HEARTBEAT_MS
//! classic|consumer alone|standby [INSTANCE]`.
//! Runs until SIGTERM closes its standard input, or until it is killed.

use std::io::Read;
use std::time::Duration;

use epicenter_bus::{Bus, GroupProtocol, KafkaConfig, Stop};
use epicenter_tests::counting::{Counter, spec};

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [bootstrap, prefix, partitions, session, heartbeat, protocol, standby, instance @ ..] = arguments.as_slice()
    else {
        anyhow::bail!(
            "usage: counter BOOTSTRAP PREFIX PARTITIONS SESSION_MS HEARTBEAT_MS classic|consumer alone|standby [INSTANCE]"
        );
    };
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(tracing::Level::DEBUG)
        .with_ansi(false)
        .init();
    let mut config = KafkaConfig::new(bootstrap);
    config.prefix.clone_from(prefix);
    config.partitions = partitions.parse()?;
    config.session_timeout = Duration::from_millis(session.parse()?);
    config.heartbeat_interval = Duration::from_millis(heartbeat.parse()?);
    config.group_protocol = if protocol == "consumer" { GroupProtocol::Consumer } else { GroupProtocol::Classic };
    config.standby = standby == "standby";
    config.instance = instance.first().cloned();
    let bus = Bus::kafka(config)?;
    let stop = Stop::new();
    let watched = stop.clone();
    std::thread::spawn(move || {
        // The end of standard input asks for an orderly end; so does the death of the test that holds the other side.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        watched.request();
    });
    bus.run(&spec(), Counter::default, &|_, _, _| {}, &stop)?;
    Ok(())
}
