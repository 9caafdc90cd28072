//! Schemas of those who wrote: this version's own, and those of older and newer versions.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use apache_avro::Schema;
use apache_avro::rabin::Rabin;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::writer::datum::GenericDatumWriter;

use crate::RecordType;
use crate::schema::Compiled;

/// Where the schemas come from to which a registry gave ids. Does I/O when it must; what it gave once it gives at once.
pub trait Schemas: fmt::Debug + Send + Sync {
    /// The schema of `id`.
    fn writer(&self, id: u32) -> Result<Arc<Writer>, NoWriter>;
}

/// Why there is no schema for an id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoWriter {
    /// The registry does not know it. Not retryable.
    #[error("the registry does not know it")]
    Unknown,
    /// It is none of Epicenter's record types, or cannot be resolved to them. Not retryable.
    #[error("{0}")]
    Foreign(String),
    /// The registry cannot be asked now. Retryable.
    #[error("{0}")]
    Unavailable(String),
}

/// A schema by which records of a type were written.
#[derive(Debug)]
pub struct Writer {
    record_type: RecordType,
    /// `None` when it is this version's own.
    other: Option<Schema>,
}

impl Writer {
    /// That of this version.
    pub fn own(record_type: RecordType) -> Self {
        Self { record_type, other: None }
    }

    /// Reads a schema's text. [`NoWriter::Foreign`] when it is none of a record type of any version that can be resolved
    /// to this version's.
    pub fn parse(text: &str) -> Result<Self, NoWriter> {
        let schema = Schema::parse_str(text).map_err(|error| NoWriter::Foreign(format!("it is no schema: {error}")))?;
        let name = schema.name().map(ToString::to_string).unwrap_or_default();
        let record_type =
            RecordType::ALL.iter().copied().find(|record| record.full_name() == name).ok_or_else(|| {
                NoWriter::Foreign(format!("it is the schema of `{name}`, which is no record of Epicenter"))
            })?;
        if fingerprint(&schema) == record_type.compiled().fingerprint {
            return Ok(Self::own(record_type));
        }
        Ok(Self { record_type, other: Some(schema) })
    }

    /// The type of the records.
    pub fn record_type(&self) -> RecordType {
        self.record_type
    }

    /// It is this version's own.
    pub fn is_own(&self) -> bool {
        self.other.is_none()
    }

    /// `payload` as this version would have written it, by Avro's rules of schema resolution; gives what is left of it,
    /// too. Costs far more than to read one's own records; it is for the time of an upgrade.
    pub(crate) fn resolve<'b>(
        &self,
        mut payload: &'b [u8],
    ) -> Result<(Cow<'b, [u8]>, &'b [u8]), Box<apache_avro::Error>> {
        let Some(writer) = &self.other else { return Ok((payload.into(), &[])) };
        let own = self.record_type.compiled().schema;
        let reader = GenericDatumReader::builder(writer).reader_schema(own).build()?;
        let value = reader.read_value(&mut payload)?;
        Ok((GenericDatumWriter::builder(own).build()?.write_value_to_vec(value)?.into(), payload))
    }
}

/// CRC-64-AVRO of the parsing canonical form, as it stands in a single-object header.
pub(crate) fn fingerprint(schema: &Schema) -> [u8; 8] {
    // Avro's specification has `"long"` where apache-avro leaves `{"type":"long"}` of what had a logical type; readers in
    // other languages look for the specification's.
    let primitives = ["null", "boolean", "int", "long", "float", "double", "bytes", "string"];
    let canonical = primitives.iter().fold(schema.canonical_form(), |canonical, primitive| {
        canonical.replace(&format!("{{\"type\":\"{primitive}\"}}"), &format!("\"{primitive}\""))
    });
    let canonical = Schema::parse_str(&canonical).expect("a schema's canonical form is a schema");
    canonical.fingerprint::<Rabin>().bytes.try_into().expect("a Rabin fingerprint has 8 bytes")
}

/// What is known of the schema that a frame names.
pub(crate) enum Frame {
    Own(&'static Compiled),
    Other(Arc<Writer>),
}

impl Frame {
    pub(crate) fn record_type(&self) -> RecordType {
        match self {
            Self::Own(compiled) => compiled.record_type,
            Self::Other(writer) => writer.record_type(),
        }
    }
}

impl From<Arc<Writer>> for Frame {
    fn from(writer: Arc<Writer>) -> Self {
        if writer.is_own() { Self::Own(writer.record_type.compiled()) } else { Self::Other(writer) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_readers_in_other_languages() {
        let check = |text: &str, expected: &str| {
            let found = fingerprint(&Schema::parse_str(text).unwrap());
            assert_eq!(data_encoding::HEXLOWER.encode(&found), expected);
        };
        // The first is the specification's own; the others are what fastavro 1.13.1 makes of them.
        check("\"null\"", "8a8f25cce724dd63");
        check(RecordType::Heartbeat.schema_text(), "201e584ea427cb1e");
        check(RecordType::Incident.schema_text(), "389ae0fb45f95bda");
    }
}
