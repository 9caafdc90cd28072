//! What the archive does when the log is not what it was.

use epicenter_bus::topics::EVENTS_ENRICHED;
use epicenter_tests::process::{Process, Signal};
use serde_json::json;

use crate::site::{LIMIT, Site, partition};

fn stop(mut archive: Process) {
    archive.signal(Signal::Term).unwrap();
    assert!(archive.wait(LIMIT).unwrap().success(), "{}", archive.tail());
}

#[test]
fn what_the_log_deleted_unread_is_told_and_a_new_log_is_told_from_the_old_one() {
    let mut site = Site::new();
    site.write_events("a", 0..1000);
    let mut archive = site.start(&[]);
    site.until("events", 1000, &mut archive);
    stop(archive);

    site.write_events("a", 1000..2000);
    // The commit took an offset, too.
    let (first, position) = (1501, 1000);
    let deleted = json!({"version": 1, "partitions": [
        {"topic": format!("epicenter.{}", EVENTS_ENRICHED.name), "partition": partition("a"), "offset": first},
    ]});
    let file = site.directory.path().join("deleted.json");
    std::fs::write(&file, deleted.to_string()).unwrap();
    let arguments = ["--offset-json-file", file.to_str().unwrap()];
    site.kafka.tool("org.apache.kafka.tools.DeleteRecordsCommand", &arguments).unwrap();
    let mut archive = site.start(&[]);
    site.until("events", 1500, &mut archive);
    let lost = format!("epicenter_archive_lost_offsets_total{{table=\"events\"}} {}\n", first - position);
    assert!(site.shows("/metrics").contains(&lost), "{lost}{}", site.shows("/metrics"));
    stop(archive);

    site.renew_log();
    site.write_events("a", 0..10);
    let mut archive = site.start(&[]);
    assert_eq!(archive.wait(LIMIT).unwrap().code(), Some(69), "{}", archive.tail());
    assert!(archive.tail().contains("Raise archive.generation by one"), "{}", archive.tail());
    let mut archive = site.start(&[("EPICENTER_ARCHIVE__GENERATION", "2")]);
    site.until("events", 1510, &mut archive);
    stop(archive);
}
