//! The public contract: one Avro schema per record type, from `proto/`.

use std::sync::{Arc, LazyLock};

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::writer::datum::GenericDatumWriter;
use serde::{Serialize, de::DeserializeOwned};

use crate::writer::{Frame, Writer, fingerprint};
use crate::{
    Command, ContextUpdate, DeadLetter, EnrichedEvent, FleetSignal, Gap, Heartbeat, Incident, IncidentChange,
    ObjectChange, ObjectFacts, RawEvent, Silence, Swept, WatchPosition,
};

/// A type that travels on a public topic.
pub trait Contract: Serialize + DeserializeOwned {
    /// Which one.
    const TYPE: RecordType;
}

macro_rules! contracts {
    ($($type:ident => $file:literal),+ $(,)?) => {
        /// The types of the records on the public topics.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum RecordType { $(#[doc = concat!("[`crate::", stringify!($type), "`], `proto/", $file, ".avsc`.")] $type),+ }

        impl RecordType {
            /// All types.
            pub const ALL: &'static [Self] = &[$(Self::$type),+];

            /// Its name: that of the schema in `proto/`, and the value of the `ce_type` header behind `dev.epicenter.`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$type => $file),+ }
            }

            /// The schema's name with its namespace.
            pub const fn full_name(self) -> &'static str {
                match self { $(Self::$type => concat!("dev.epicenter.v1.", stringify!($type))),+ }
            }

            /// The type of its records as CloudEvents.
            pub const fn event_type(self) -> &'static str {
                match self { $(Self::$type => concat!("dev.epicenter.", $file)),+ }
            }

            /// The schema's text.
            pub const fn schema_text(self) -> &'static str {
                match self { $(Self::$type => include_str!(concat!("../../../proto/", $file, ".avsc"))),+ }
            }
        }

        $(impl Contract for $type { const TYPE: RecordType = RecordType::$type; })+
    };
}

contracts! {
    RawEvent => "raw-event",
    ObjectChange => "object-change",
    Swept => "swept",
    Heartbeat => "heartbeat",
    Gap => "gap",
    WatchPosition => "watch-position",
    ObjectFacts => "object-facts",
    EnrichedEvent => "enriched-event",
    ContextUpdate => "context-update",
    IncidentChange => "incident-change",
    Incident => "incident",
    FleetSignal => "fleet-signal",
    DeadLetter => "dead-letter",
    Command => "command",
    Silence => "silence",
}

impl std::fmt::Display for RecordType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// A schema with what is needed to read and write by it.
pub(crate) struct Compiled {
    pub(crate) record_type: RecordType,
    pub(crate) schema: &'static Schema,
    /// As it stands in a single-object header.
    pub(crate) fingerprint: [u8; 8],
    pub(crate) writer: GenericDatumWriter<'static>,
    pub(crate) reader: GenericDatumReader<'static>,
}

static SCHEMAS: LazyLock<Vec<Schema>> = LazyLock::new(|| {
    RecordType::ALL
        .iter()
        .map(|record| Schema::parse_str(record.schema_text()).expect("a schema in proto/ is valid: tested"))
        .collect()
});

static COMPILED: LazyLock<Vec<Compiled>> = LazyLock::new(|| {
    let compile = |(record_type, schema): (&RecordType, &'static Schema)| Compiled {
        record_type: *record_type,
        schema,
        fingerprint: fingerprint(schema),
        writer: GenericDatumWriter::builder(schema).human_readable(false).build().expect("a schema in proto/ resolves"),
        reader: GenericDatumReader::builder(schema).human_readable(false).build().expect("a schema in proto/ resolves"),
    };
    RecordType::ALL.iter().zip(SCHEMAS.iter()).map(compile).collect()
});

/// Schemas that released versions wrote by and that are not today's: their texts, from `proto/golden/`. A test says which
/// are missing.
const EARLIER: &[&str] = &[
    include_str!("../../../proto/golden/v1/incident.avsc"),
    include_str!("../../../proto/golden/v1/incident-change.avsc"),
    include_str!("../../../proto/golden/v2/command.avsc"),
    include_str!("../../../proto/golden/v2/incident.avsc"),
    include_str!("../../../proto/golden/v2/incident-change.avsc"),
];

static EARLIER_WRITERS: LazyLock<Vec<([u8; 8], Arc<Writer>)>> = LazyLock::new(|| {
    let read = |text: &&str| {
        let schema = Schema::parse_str(text).expect("a schema of proto/golden/ is valid: tested");
        (fingerprint(&schema), Arc::new(Writer::parse(text).expect("it is a record of Epicenter: tested")))
    };
    EARLIER.iter().map(read).collect()
});

impl RecordType {
    pub(crate) fn compiled(self) -> &'static Compiled {
        &COMPILED[self as usize]
    }
}

/// The schema with that fingerprint, of this version or of an earlier one.
pub(crate) fn by_fingerprint(fingerprint: [u8; 8]) -> Option<Frame> {
    let own = COMPILED.iter().find(|known| known.fingerprint == fingerprint).map(Frame::Own);
    own.or_else(|| {
        let earlier = EARLIER_WRITERS.iter().find(|(known, _)| *known == fingerprint);
        earlier.map(|(_, writer)| Frame::from(Arc::clone(writer)))
    })
}
