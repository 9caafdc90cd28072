//! Under which subject each schema is registered.

use epicenter_bus::topics;
use epicenter_model::RecordType;

/// The subject of a record's schema: `<topic>-value` where the topic has records of one type, which is what tools look
/// for; the record's own name where it has several.
pub fn subject(record: RecordType, prefix: &str) -> String {
    let topic = match record {
        RecordType::WatchPosition => topics::POSITIONS,
        RecordType::ObjectFacts => topics::OBJECTS,
        RecordType::IncidentChange => topics::INCIDENT_CHANGES,
        RecordType::Incident => topics::INCIDENTS,
        RecordType::Silence => topics::SILENCES,
        RecordType::DeadLetter => topics::DEAD_LETTER,
        RecordType::RawEvent
        | RecordType::ObjectChange
        | RecordType::Swept
        | RecordType::Heartbeat
        | RecordType::Gap
        | RecordType::Command
        | RecordType::EnrichedEvent
        | RecordType::ContextUpdate
        | RecordType::FleetSignal => return record.full_name().to_owned(),
    };
    format!("{prefix}{}-value", topic.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_topic_where_it_has_one_type() {
        assert_eq!(subject(RecordType::Incident, "epicenter."), "epicenter.incidents-value");
        assert_eq!(subject(RecordType::Heartbeat, "epicenter."), "dev.epicenter.v1.Heartbeat");
    }
}
