//! Changes of incidents, as columns.

use epicenter_bus::topics::INCIDENT_CHANGES;
use epicenter_model::{Codec, CodecError, IncidentChange, Timestamp};

use crate::column::{Column, Get};
use crate::entry::{Entry, Kind};

impl Entry for IncidentChange {
    const KIND: Kind = Kind { name: "incident_changes", topic: INCIDENT_CHANGES.name, text: "title" };

    const COLUMNS: &'static [Column<Self>] = &[
        Column::sought("incident", "The incident's id", Get::Text(|c| (&c.incident.id).into())),
        Column::new("version", "Counts the incident's changes, from 1", Get::Number(|c| c.incident.version)),
        Column::new(
            "transition",
            "What happened: opened, updated, resolved, reopened, merged",
            Get::Text(|c| c.transition.name().into()),
        ),
        Column::new(
            "state",
            "Where it is in its life since: open, resolved, merged",
            Get::Text(|c| c.incident.state.name().into()),
        ),
        Column::new(
            "severity",
            "How bad it is: info, low, medium, high, critical",
            Get::Text(|c| c.incident.severity.name().into()),
        ),
        Column::new("category", "What it is about", Get::Text(|c| c.incident.category.name().into())),
        Column::new(
            "class",
            "What its cause means, such as node.not_ready",
            Get::Text(|c| (&c.incident.cause.class).into()),
        ),
        Column::new(
            "namespace",
            "Namespace of the object that is its cause",
            Get::Text(|c| (&c.incident.cause.object.namespace).into()),
        ),
        Column::new("kind", "Kind of that object", Get::Text(|c| (&c.incident.cause.object.kind).into())),
        Column::sought("name", "Name of that object", Get::Text(|c| (&c.incident.cause.object.name).into())),
        Column::sought("uid", "Uid of that object", Get::Text(|c| (&c.incident.cause.object.uid).into())),
        Column::new("opened_at", "Log time of its first Event", Get::Time(|c| Some(c.incident.opened_at))),
        Column::new("last_event_at", "Log time of its newest Event", Get::Time(|c| Some(c.incident.last_event_at))),
        Column::new("resolved_at", "Log time of its end", Get::Time(|c| c.incident.resolved_at)),
        Column::new(
            "merged_into",
            "The incident that took it over",
            Get::Text(|c| c.incident.merged_into.as_deref().unwrap_or_default().into()),
        ),
        Column::new("objects", "Event objects in it", Get::Number(|c| c.incident.events.objects)),
        Column::new("occurrences", "Occurrences in it", Get::Number(|c| c.incident.events.occurrences)),
        Column::new("pods", "Pods that it touches", Get::Number(|c| c.incident.impact.pods)),
        Column::new(
            "backfill",
            "It concerns only what was there before Epicenter was installed",
            Get::Flag(|c| c.backfill),
        ),
        Column::new("engine", "Version of the engine that decided", Get::Text(|c| (&c.engine).into())),
        Column::new("rules", "Hash of the rules by which it decided", Get::Text(|c| (&c.rules).into())),
        Column::new("title", "One line", Get::Text(|c| (&c.incident.title).into())),
    ];

    fn cluster(&self) -> &str {
        &self.incident.cluster
    }

    fn at(&self) -> Timestamp {
        self.at
    }

    fn read(codec: &Codec, payload: &[u8]) -> Result<Option<Self>, CodecError> {
        codec.decode(payload).map(Some)
    }
}
