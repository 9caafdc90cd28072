//! Events, as columns.

use std::borrow::Cow;

use epicenter_bus::topics::EVENTS_ENRICHED;
use epicenter_model::{Codec, CodecError, EnrichedEvent, EnrichedRecord, Timestamp};

use crate::column::{Column, Get};
use crate::entry::{Entry, Kind};

impl Entry for EnrichedEvent {
    const KIND: Kind = Kind { name: "events", topic: EVENTS_ENRICHED.name, text: "message" };

    const COLUMNS: &'static [Column<Self>] = &[
        Column::new(
            "occurred_at",
            "When its newest occurrence happened, by its emitter's clock",
            Get::Time(|e| Some(e.occurred_at)),
        ),
        Column::new(
            "namespace",
            "Namespace of the object that it is about",
            Get::Text(|e| (&e.event.regarding.namespace).into()),
        ),
        Column::new("kind", "Kind of that object", Get::Text(|e| (&e.event.regarding.kind).into())),
        Column::sought("name", "Name of that object", Get::Text(|e| (&e.event.regarding.name).into())),
        Column::sought("uid", "Uid of that object", Get::Text(|e| (&e.event.regarding.uid).into())),
        Column::new("reason", "The Event's reason", Get::Text(|e| (&e.event.reason).into())),
        Column::new(
            "type",
            "The Event's type, Normal or Warning: no severity",
            Get::Text(|e| (&e.event.event_type).into()),
        ),
        Column::new("category", "What it is about", Get::Text(|e| e.category.name().into())),
        Column::new(
            "severity",
            "How bad it is: info, low, medium, high, critical",
            Get::Text(|e| e.severity.name().into()),
        ),
        Column::new("class", "What it means, such as node.not_ready", Get::Text(|e| (&e.class).into())),
        Column::new(
            "role",
            "The part it plays: cause, symptom, change, recovery, noise",
            Get::Text(|e| e.role.name().into()),
        ),
        Column::new("component", "Who reported it", Get::Text(|e| (&e.event.component).into())),
        Column::sought("node", "The node that it happened on", Get::Text(node)),
        Column::sought("workload", "The top of its object's owners, Kind/name", Get::Text(workload)),
        Column::new(
            "occurrences",
            "How often it happened since its version before, at least 1",
            Get::Number(|e| e.occurrences),
        ),
        Column::sought("event_uid", "Uid of the Event itself", Get::Text(|e| (&e.event.uid).into())),
        Column::new("backfill", "It was there before Epicenter was installed", Get::Flag(|e| e.backfill)),
        Column::new("derived", "Made from an object's status: Kubernetes wrote no Event", Get::Flag(|e| e.derived)),
        Column::new("message", "The Event's text", Get::Text(|e| (&e.event.note).into())),
    ];

    fn cluster(&self) -> &str {
        &self.cluster
    }

    fn at(&self) -> Timestamp {
        self.at
    }

    fn read(codec: &Codec, payload: &[u8]) -> Result<Option<Self>, CodecError> {
        Ok(match EnrichedRecord::decode(codec, payload)? {
            EnrichedRecord::Event(event) => Some(*event),
            EnrichedRecord::Context(_) | EnrichedRecord::Heartbeat(_) | EnrichedRecord::Command(_) => None,
        })
    }
}

fn node(event: &EnrichedEvent) -> Cow<'_, str> {
    let regarding = &event.event.regarding;
    let own = (regarding.kind == "Node").then_some(regarding.name.as_str());
    let placed = Some(event.context.node.as_str()).filter(|node| !node.is_empty());
    own.or(placed).or_else(|| event.event.kubelet_node()).unwrap_or_default().into()
}

fn workload(event: &EnrichedEvent) -> Cow<'_, str> {
    event.context.workload().map_or(Cow::Borrowed(""), |top| format!("{}/{}", top.kind, top.name).into())
}
