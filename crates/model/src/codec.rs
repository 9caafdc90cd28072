//! Bytes: Avro behind one of two frames.

use std::collections::BTreeMap;

use crate::schema::{Contract, RecordType};

const SINGLE_OBJECT: [u8; 2] = [0xc3, 0x01];
const CONFLUENT: u8 = 0;

/// How the writer's schema is named in front of a payload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// Avro's single-object encoding: `C3 01`, then the schema's CRC-64-AVRO, little endian. Needs no registry.
    #[default]
    SingleObject,
    /// Confluent's wire format: `00`, then the id that a schema registry gave to the schema, big endian.
    Confluent,
}

/// Writes in one framing, reads both.
#[derive(Clone, Debug, Default)]
pub struct Codec {
    framing: Framing,
    id_of: BTreeMap<RecordType, u32>,
    type_of: BTreeMap<u32, RecordType>,
}

/// Why bytes are no record, or a record no bytes. Never retryable: the same bytes fail again.
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
    /// A Confluent frame with an id that is not configured.
    #[error(
        "schema id {id} is not known: register the schemas of this version, or point the consumer at the producer's registry"
    )]
    UnknownId {
        /// The id.
        id: u32,
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

impl Codec {
    /// A codec that writes single objects and needs no registry.
    pub fn single_object() -> Self {
        Self::default()
    }

    /// A codec that writes Confluent frames with the `ids` that a registry gave, and reads those and single objects.
    pub fn confluent(ids: BTreeMap<RecordType, u32>) -> Self {
        Self {
            framing: Framing::Confluent,
            type_of: ids.iter().map(|(record, id)| (*id, *record)).collect(),
            id_of: ids,
        }
    }

    /// The frame and payload of `value`.
    pub fn encode<T: Contract>(&self, value: &T) -> Result<Vec<u8>, CodecError> {
        let compiled = T::TYPE.compiled();
        let mut bytes = Vec::with_capacity(512);
        match self.framing {
            Framing::SingleObject => {
                bytes.extend_from_slice(&SINGLE_OBJECT);
                bytes.extend_from_slice(&compiled.fingerprint);
            }
            Framing::Confluent => {
                let id = self.id_of.get(&T::TYPE).ok_or(CodecError::Unregistered { record: T::TYPE })?;
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

    /// Reads a `T` in either framing.
    pub fn decode<T: Contract>(&self, bytes: &[u8]) -> Result<T, CodecError> {
        let (found, mut payload) = self.unframe(bytes)?;
        if found != T::TYPE {
            return Err(CodecError::WrongType { found, expected: T::TYPE });
        }
        let value = found
            .compiled()
            .reader
            .read_deser(&mut payload)
            .map_err(|source| CodecError::Malformed { record: found, source: Box::new(source) })?;
        match payload.len() {
            0 => Ok(value),
            extra => Err(CodecError::Trailing { record: found, extra }),
        }
    }

    /// The type that the frame of `bytes` names, without reading the payload.
    pub fn record_type(&self, bytes: &[u8]) -> Result<RecordType, CodecError> {
        Ok(self.unframe(bytes)?.0)
    }

    fn unframe<'b>(&self, bytes: &'b [u8]) -> Result<(RecordType, &'b [u8]), CodecError> {
        match bytes {
            [0xc3, 0x01, f @ ..] if f.len() >= 8 => {
                let (fingerprint, payload) = f.split_first_chunk::<8>().expect("it has 8 bytes: matched");
                let found = RecordType::by_fingerprint(*fingerprint)
                    .ok_or_else(|| CodecError::UnknownFingerprint { fingerprint: hex(fingerprint) })?;
                Ok((found, payload))
            }
            [CONFLUENT, a, b, c, d, payload @ ..] => {
                let id = u32::from_be_bytes([*a, *b, *c, *d]);
                let found = self.type_of.get(&id).ok_or(CodecError::UnknownId { id })?;
                Ok((*found, payload))
            }
            _ => Err(CodecError::NoFrame { length: bytes.len(), start: hex(&bytes[..bytes.len().min(4)]) }),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXUPPER.encode(bytes)
}
