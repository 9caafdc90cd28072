//! Bytes: Avro behind one of two frames.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::schema::{Contract, RecordType, by_fingerprint};
use crate::writer::{Frame, NoWriter, Schemas};

const SINGLE_OBJECT: [u8; 2] = [0xc3, 0x01];
const CONFLUENT: u8 = 0;

/// Writes in one framing, reads both. Cheap to clone.
///
/// Avro's single-object encoding is `C3 01`, then the schema's CRC-64-AVRO, little endian. Confluent's wire format is
/// `00`, then the id that a schema registry gave to the schema, big endian.
#[derive(Clone, Debug, Default)]
pub struct Codec {
    /// The ids of this version's schemas, when it writes Confluent frames.
    ids: Option<Arc<BTreeMap<RecordType, u32>>>,
    /// Whose ids are read.
    schemas: Option<Arc<dyn Schemas>>,
}

/// Why bytes are no record, or a record no bytes. Not retryable, but for [`CodecError::Unavailable`]: the same bytes fail again.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// The payload does not begin with either frame.
    #[error(
        "{length} bytes that begin with {start} are neither single-object Avro (C3 01) nor Confluent-framed (00): the producer wrote something else to this topic"
    )]
    NoFrame {
        /// Length of the payload in bytes.
        length: usize,
        /// Its first bytes in hex.
        start: String,
    },
    /// A single-object frame of a schema that this version does not know.
    #[error("schema fingerprint {fingerprint} is not known: the producer is newer than this consumer, upgrade it")]
    UnknownFingerprint {
        /// The fingerprint in hex, as it stands in the frame.
        fingerprint: String,
    },
    /// A Confluent frame, and no registry.
    #[error(
        "the frame names schema {id} of a registry, and there is none: set registry.url to the producer's schema registry"
    )]
    NoRegistry {
        /// The id.
        id: u32,
    },
    /// A Confluent frame with the id of a schema by which nothing can be read.
    #[error("schema id {id}: {why}; the producer has another registry, or wrote to the wrong topic")]
    UnknownId {
        /// The id.
        id: u32,
        /// What is wrong with it.
        why: String,
    },
    /// A Confluent frame with an id whose schema cannot be had now. Retryable.
    #[error("the schema of id {id} cannot be had: {why}")]
    Unavailable {
        /// The id.
        id: u32,
        /// What the registry says.
        why: String,
    },
    /// The framing is Confluent and the type has no id.
    #[error("{record} has no schema id: register its schema before the service starts")]
    Unregistered {
        /// The type.
        record: RecordType,
    },
    /// The frame is right and the payload is not: cut off, or written by another schema.
    #[error("{record} is malformed: {source}")]
    Malformed {
        /// The type that the frame names.
        record: RecordType,
        /// What Avro says.
        source: Box<apache_avro::Error>,
    },
    /// It was written by the schema of another version, and cannot be resolved to this version's.
    #[error("{record} of another version cannot be read by this one: {source}")]
    Unresolvable {
        /// The type that the frame names.
        record: RecordType,
        /// What Avro says.
        source: Box<apache_avro::Error>,
    },
    /// There are bytes behind the record.
    #[error("{record} has {extra} bytes too many")]
    Trailing {
        /// The type that the frame names.
        record: RecordType,
        /// How many.
        extra: usize,
    },
    /// A record of another type than the caller asked for.
    #[error("found {found} where {expected} belongs")]
    WrongType {
        /// The type that the frame names.
        found: RecordType,
        /// The type that was asked for.
        expected: RecordType,
    },
    /// A record on a topic where its type does not belong.
    #[error("{found} does not belong on {topic}")]
    Misplaced {
        /// The type that the frame names.
        found: RecordType,
        /// The topic, without prefix.
        topic: &'static str,
    },
    /// A value does not fit its schema. A bug.
    #[error("{record} cannot be written: {source}")]
    Unwritable {
        /// The type.
        record: RecordType,
        /// What Avro says.
        source: Box<apache_avro::Error>,
    },
}

impl CodecError {
    /// The same bytes may be read later: nothing is wrong with them.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}

impl Codec {
    /// A codec that writes single objects and needs no registry.
    pub fn single_object() -> Self {
        Self::default()
    }

    /// A codec that writes Confluent frames with the `ids` that a registry gave.
    pub fn confluent(ids: BTreeMap<RecordType, u32>) -> Self {
        Self { ids: Some(Arc::new(ids)), schemas: None }
    }

    /// The same codec, which reads Confluent frames with the ids of these schemas.
    pub fn reading(self, schemas: Arc<dyn Schemas>) -> Self {
        Self { schemas: Some(schemas), ..self }
    }

    /// The frame and payload of `value`.
    pub fn encode<T: Contract>(&self, value: &T) -> Result<Vec<u8>, CodecError> {
        let compiled = T::TYPE.compiled();
        let mut bytes = Vec::with_capacity(512);
        match &self.ids {
            None => {
                bytes.extend_from_slice(&SINGLE_OBJECT);
                bytes.extend_from_slice(&compiled.fingerprint);
            }
            Some(ids) => {
                let id = ids.get(&T::TYPE).ok_or(CodecError::Unregistered { record: T::TYPE })?;
                bytes.push(CONFLUENT);
                bytes.extend_from_slice(&id.to_be_bytes());
            }
        }
        compiled
            .writer
            .write_ser(&mut bytes, value)
            .map_err(|source| CodecError::Unwritable { record: T::TYPE, source: Box::new(source) })?;
        Ok(bytes)
    }

    /// Reads a `T` in either framing, written by this or another version.
    pub fn decode<T: Contract>(&self, bytes: &[u8]) -> Result<T, CodecError> {
        let (frame, payload) = self.unframe(bytes)?;
        let found = frame.record_type();
        if found != T::TYPE {
            return Err(CodecError::WrongType { found, expected: T::TYPE });
        }
        match frame {
            Frame::Own(_) => read(payload),
            Frame::Other(writer) => {
                let (resolved, rest) =
                    writer.resolve(payload).map_err(|source| CodecError::Unresolvable { record: found, source })?;
                match rest.len() {
                    0 => read(&resolved),
                    extra => Err(CodecError::Trailing { record: found, extra }),
                }
            }
        }
    }

    /// The type that the frame of `bytes` names, without reading the payload.
    pub fn record_type(&self, bytes: &[u8]) -> Result<RecordType, CodecError> {
        Ok(self.unframe(bytes)?.0.record_type())
    }

    fn unframe<'b>(&self, bytes: &'b [u8]) -> Result<(Frame, &'b [u8]), CodecError> {
        match bytes {
            [0xc3, 0x01, f @ ..] if f.len() >= 8 => {
                let (fingerprint, payload) = f.split_first_chunk::<8>().expect("it has 8 bytes: matched");
                let found = by_fingerprint(*fingerprint)
                    .ok_or_else(|| CodecError::UnknownFingerprint { fingerprint: hex(fingerprint) })?;
                Ok((found, payload))
            }
            [CONFLUENT, a, b, c, d, payload @ ..] => {
                let id = u32::from_be_bytes([*a, *b, *c, *d]);
                let schemas = self.schemas.as_ref().ok_or(CodecError::NoRegistry { id })?;
                let writer = schemas.writer(id).map_err(|error| match error {
                    NoWriter::Unavailable(why) => CodecError::Unavailable { id, why },
                    NoWriter::Unknown | NoWriter::Foreign(_) => CodecError::UnknownId { id, why: error.to_string() },
                })?;
                Ok((writer.into(), payload))
            }
            _ => Err(CodecError::NoFrame { length: bytes.len(), start: hex(&bytes[..bytes.len().min(4)]) }),
        }
    }
}

/// Reads a payload that this version's schema describes.
fn read<T: Contract>(mut payload: &[u8]) -> Result<T, CodecError> {
    let reader = &T::TYPE.compiled().reader;
    let value = reader
        .read_deser(&mut payload)
        .map_err(|source| CodecError::Malformed { record: T::TYPE, source: Box::new(source) })?;
    match payload.len() {
        0 => Ok(value),
        extra => Err(CodecError::Trailing { record: T::TYPE, extra }),
    }
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXUPPER.encode(bytes)
}
